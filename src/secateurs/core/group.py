"""Share one fit between several processes, each of which has its own rows.

A solver calls `Group.sum_` wherever it has summed over its own rows.  From there on everything is
the same on every process.  Only tensors and JSON are sent, never pickled objects.  `ALONE` is the
group of a single process, which sends nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun


class GroupError(ValueError):
    """The processes of a group cannot continue together; the message says why in one line."""


@dataclass(frozen=True)
class Group:
    """Processes that share one fit.

    All of them must call the same methods in the same order.

    Parameters
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        The number of processes; a group of 1 sends nothing.
    """

    rank: int = 0
    size: int = 1

    def sum_(self, array: Tensor) -> Tensor:
        """Sum an array over the processes, in place.

        Parameters
        ----------
        array : Tensor
            The part of this process; shape and type are the same on all.  It is overwritten.

        Returns
        -------
        Tensor
            `array` itself, which holds bit-identical sums on all processes.
        """
        if self.size > 1:
            dist.all_reduce(array)
        return array

    def sum_together_(self, *arrays: Tensor) -> None:
        """Apply `sum_` to several small arrays in one message.

        Parameters
        ----------
        *arrays : Tensor
            Arrays to overwrite with their sums.  They are summed as a float64 copy.
        """
        if self.size > 1:
            whole = self.sum_(torch.cat([array.reshape(-1).double() for array in arrays]))
            parts = torch.split(whole, [array.numel() for array in arrays])
            for array, part in zip(arrays, parts, strict=True):
                array.copy_(part.view_as(array))

    def total(self, number: float) -> float:
        """Return the sum of a number over the processes.

        Parameters
        ----------
        number : float
            The number of this process.

        Returns
        -------
        float
            The sum, the same on every process; a group of 1 returns `number`.
        """
        if self.size == 1:
            return number
        return float(self.sum_(torch.tensor(number, dtype=torch.float64)))

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, ordered by rank.

        Parameters
        ----------
        value : object
            The value of this process: anything that JSON can hold.

        Returns
        -------
        list
            One value for each process, the same list on every process.

        Raises
        ------
        GroupError
            Another process failed inside `failing_together`.
        """
        if self.size == 1:
            return [value]
        messages = self._all_gather({"value": value})
        for rank, message in enumerate(messages):
            if "error" in message:
                raise GroupError(f"process {rank} of {self.size}: {message['error']}")
        return [message["value"] for message in messages]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Turn an error of one process inside the block into an error of all processes.

        Without this, the other processes would wait for ever.  Inside the block, `gather` is the
        only method that may be called.

        Yields
        ------
        None
            The block gets no value.

        Raises
        ------
        GroupError
            Another process failed inside the block.
        """
        try:
            yield
        except GroupError:
            raise
        except Exception as error:
            if self.size > 1:
                self._all_gather({"error": str(error)})
            raise
        self.gather(None)

    def require_same(self, what: str, *arrays: Tensor | bytes) -> None:
        """Require that arrays are identical, byte for byte, on every process.

        Costs one pass over the arrays, and 16 bytes of traffic for each process.

        Parameters
        ----------
        what : str
            A name for the arrays, which the message starts with.
        *arrays : Tensor or bytes
            The arrays of this process.

        Raises
        ------
        GroupError
            On every process.  It names `what` and the processes that differ from process 0.
        """
        if self.size == 1:
            return
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            if isinstance(array, Tensor):
                array = array.detach().cpu().contiguous().numpy().tobytes()
            digest.update(array)
        digests = self.gather(digest.hexdigest())
        others = [str(rank) for rank, found in enumerate(digests) if found != digests[0]]
        if others:
            raise GroupError(
                f"{what} of process {', '.join(others)} differs from that of process 0; start "
                "every process with the same arguments and version, on processors of one kind"
            )

    def _all_gather(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a JSON text of any length to all processes, and receive theirs."""
        text = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(text)]))
        longest = int(max(int(length) for length in lengths))
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(text)] = text
        texts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(texts, padded)
        return [
            json.loads(bytes(found[: int(length)].tolist()))
            for found, length in zip(texts, lengths, strict=True)
        ]


ALONE = Group()


def launched() -> int:
    """Return the number of processes that ``torchrun`` started together; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _LAUNCHED) else 1


@contextmanager
def distributed() -> Iterator[Group]:
    """Yield the group of processes that ``torchrun`` started together.

    Entering the block shares nothing by itself: pass the group to the calls that should share
    their work.  An existing torch process group is used and left as it is.  Otherwise one is
    created (gloo for arrays on the CPU, NCCL for CUDA devices, one device for each process) and
    destroyed at the end.  Without torchrun the group is `ALONE`, so the same script runs both ways.

    Yields
    ------
    Group
        The group, with the rank of this process.

    Examples
    --------
    >>> from secateurs.core.group import distributed
    >>> with distributed() as group:
    ...     rows = slice(group.rank, None, group.size)
    >>> group.size
    1
    """
    if dist.is_available() and dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size())
        return
    if launched() == 1:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend)
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
