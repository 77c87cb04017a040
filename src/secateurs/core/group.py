"""One fit over several processes, each with its own rows: what they say to each other.

A solver's sums over rows become sums over shards: it calls `Group.sum_` where it has summed over
its own rows, and everything after that is the same on every process.  Only tensors and JSON
travel, never pickled objects.  `ALONE` is the group of one, in which nothing is sent.
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

_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


class GroupError(ValueError):
    """Processes that cannot go on together, and why, in one line."""


@dataclass(frozen=True)
class Group:
    """Processes that share one fit.

    Every method is called by all of them, in the same order.

    Attributes
    ----------
    rank : int
        Number of this process.
    size : int
        How many there are; 1 sends nothing.
    """

    rank: int = 0
    size: int = 1

    def sum_(self, array: Tensor) -> Tensor:
        """Sum over the processes, in place; every process gets the same bits."""
        if self.size > 1:
            dist.all_reduce(array)
        return array

    def sum_together_(self, *arrays: Tensor) -> None:
        """`sum_` of several small arrays in one message, which takes a copy in float64."""
        if self.size > 1:
            whole = self.sum_(torch.cat([array.reshape(-1).double() for array in arrays]))
            parts = torch.split(whole, [array.numel() for array in arrays])
            for array, part in zip(arrays, parts, strict=True):
                array.copy_(part.view_as(array))

    def total(self, number: float) -> float:
        """Sum of one number over the processes."""
        if self.size == 1:
            return number
        return float(self.sum_(torch.tensor(number, dtype=torch.float64)))

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, anything JSON can hold, by rank.

        Raises
        ------
        GroupError
            Another process failed inside `failing_together`.
        """
        if self.size == 1:
            return [value]
        messages = self._exchange({"value": value})
        for rank, message in enumerate(messages):
            if "error" in message:
                raise GroupError(f"process {rank} of {self.size}: {message['error']}")
        return [message["value"] for message in messages]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """An error of one process inside the block is an error of all, not an endless wait.

        Inside, processes may talk by `gather` only.
        """
        try:
            yield
        except GroupError:
            raise
        except Exception as error:
            if self.size > 1:
                self._exchange({"error": str(error)})
            raise
        self.gather(None)

    def require_same(self, what: str, *arrays: Tensor | bytes) -> None:
        """Refuse to go on unless the arrays are the same, byte for byte, on every process.

        Costs a pass over the arrays and 16 bytes a process.

        Raises
        ------
        GroupError
            On every process; names `what` and the processes that differ from the first.
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

    def _exchange(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """All-gather of JSON texts of any length."""
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
    """How many processes `torchrun` started together; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _LAUNCHED) else 1


@contextmanager
def distributed() -> Iterator[Group]:
    """The processes started together, by ``torchrun`` or whoever sets its variables.

    Nothing is shared out by entering the block: only a call that is given the group is.
    A process group that is already there is used and left as it is; otherwise one is made
    (gloo for arrays on the CPU, NCCL on CUDA devices, one device a process) and taken down at
    the end.  Without either, the group is `ALONE`, so a script runs with and without torchrun.

    Yields
    ------
    Group

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
