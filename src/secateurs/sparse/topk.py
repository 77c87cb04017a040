"""The k largest entries of a matrix that arrives in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SLACK = 1 << 14  # candidates beyond k that the buffer holds before it is cut back to k
SLACK_SHARE = 16  # a large buffer holds a sixteenth more than k
PIECE = 1 << 16  # scores handled together, so that temporary arrays stay small
_DIGITS = 1 << 16  # the values of half a float32


class StreamingTopK:
    """Keep the k largest positive scores of a stream; each score has an int64 key.

    Of equal scores the smaller key ranks first, so the result depends neither on the blocks nor
    on their order.  Scores <= 0 are never kept.

    Parameters
    ----------
    k : int
        Number of scores to keep.
    device : torch.device
        The device of the scores.
    n_keys : int
        All keys are smaller.  Keys that fit are stored in 4 bytes, others in 8.

    Notes
    -----
    Memory: 8 or 12 bytes for each of ``k + max(k / 16, 16384)`` candidates.  Time: O(b) for a block
    of b scores, and O(k) each time the buffer is full.
    """

    def __init__(
        self, k: int, device: torch.device | str = "cpu", *, n_keys: int = 2**63 - 1
    ) -> None:
        self.k = k
        capacity = k + max(k // SLACK_SHARE, SLACK) if k else 0
        key_type = torch.int32 if n_keys <= 2**31 else torch.int64
        self._scores = torch.empty(capacity, device=device)
        self._keys = torch.empty(capacity, dtype=key_type, device=device)
        self._n = 0
        self._floor = 0.0

    def update(self, scores: Tensor, row_keys: Tensor, col_keys: Tensor) -> None:
        """Offer a block in which entry (i, j) has the key ``row_keys[i] + col_keys[j]``.

        Parameters
        ----------
        scores : Tensor, shape [r, c]
            The block, on the device of the buffer.
        row_keys, col_keys : Tensor of int64, shapes [r] and [c]
            The two parts of the keys, on the same device.
        """
        if self.k == 0 or scores.numel() == 0:
            return
        flat = scores.reshape(-1)
        if flat.numel() > self.k:
            # no score below the k-th largest of this block can be in the result
            self._floor = max(self._floor, kth_largest(flat, self.k))
        for start in range(0, flat.numel(), PIECE):
            piece = flat[start : start + PIECE]
            chosen = torch.nonzero((piece >= self._floor) & (piece > 0)).squeeze(1)
            if len(chosen):
                rows = torch.div(chosen + start, scores.shape[1], rounding_mode="floor")
                columns = chosen + start - rows * scores.shape[1]
                self._append(piece[chosen], row_keys[rows] + col_keys[columns])

    def _append(self, scores: Tensor, keys: Tensor) -> None:
        while len(keys):
            if self._n == len(self._keys):
                self._shrink()
            where = slice(self._n, min(self._n + len(keys), len(self._keys)))
            n = where.stop - where.start
            self._scores[where], self._keys[where] = scores[:n], keys[:n]
            self._n += n
            scores, keys = scores[n:], keys[n:]

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the k largest scores.

        Returns
        -------
        keys : Tensor of int32 or int64, shape [at most k]
            Keys of the kept scores, increasing; fewer than k if fewer scores are positive.
        scores : Tensor, same shape
            The score of each key.
        """
        self._shrink()
        order = torch.argsort(self._keys[: self._n])
        return self._keys[: self._n][order], self._scores[: self._n][order]

    def keys(self) -> Tensor:
        """Return the keys of the k largest scores; no `update` may follow.

        Returns
        -------
        Tensor of int32 or int64, shape [at most k]
            The keys, increasing.  On a CPU they are sorted in the buffer, without a copy.
        """
        self._shrink()
        keys = self._keys[: self._n]
        if keys.device.type == "cpu":
            keys.numpy().sort()  # in place
            return keys
        return torch.sort(keys).values

    def _shrink(self) -> None:
        """Cut the buffer back to its k largest, in place."""
        if self._n <= self.k:
            return
        scores, keys = self._scores[: self._n], self._keys[: self._n]
        floor = self._floor = kth_smallest(scores.__getitem__, self._n, self._n - self.k + 1)
        pieces = [slice(a, min(a + SLACK, self._n)) for a in range(0, self._n, SLACK)]
        wanted = self.k - sum(int((scores[piece] > floor).sum()) for piece in pieces)
        ties = torch.cat([keys[piece][scores[piece] == floor] for piece in pieces])
        last_key = torch.sort(ties).values[wanted - 1]
        done = 0
        for piece in pieces:
            of_piece, keys_of = scores[piece], keys[piece]
            keep = (of_piece > floor) | ((of_piece == floor) & (keys_of <= last_key))
            kept = slice(done, done + int(keep.sum()))
            self._scores[kept], self._keys[kept] = of_piece[keep], keys_of[keep]
            done = kept.stop
        self._n = self.k


def kth_largest(values: Tensor, k: int) -> float:
    """Return the k-th largest of n entries, 1 <= k <= n; O(n) time, 4 n bytes on a CPU."""
    if values.device.type != "cpu":
        return float(torch.kthvalue(values, values.numel() - k + 1).values)
    # this takes 4 bytes for each entry, torch.kthvalue 12
    copy = values.numpy().copy()
    place = len(copy) - k
    copy.partition(place)
    return float(copy[place])


def kth_smallest(scores: Callable[[slice], Tensor], n: int, k: int) -> float:
    """Return the k-th smallest of n scores that are computed in pieces, 1 <= k <= n.

    Parameters
    ----------
    scores : callable
        ``scores(piece)`` returns the float32 scores of a slice of ``range(n)``, the same ones at
        every call; it is called twice for each piece.
    n, k : int

    Returns
    -------
    float
        Costs O(n) time, and memory that does not grow with n: the bits of a float are counted in
        two halves, the upper ones first (radix selection, Knuth 1998, section 5.2.5).
    """
    if n <= PIECE:
        return -kth_largest(-scores(slice(0, n)), k)
    high = _counts(scores, n, lambda ranks: ranks >> 16)
    upper = int(np.searchsorted(np.cumsum(high), k))
    k -= int(high[:upper].sum())
    low = _counts(scores, n, lambda ranks: ranks[ranks >> 16 == upper] & (_DIGITS - 1))
    lower = int(np.searchsorted(np.cumsum(low), k))
    rank = upper << 16 | lower
    bits = rank ^ (1 << 31) if rank >> 31 else rank ^ 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


def _counts(
    scores: Callable[[slice], Tensor], n: int, digits: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.int64]:
    """Count the digits of the scores, whose bits are mapped to integers of the same order."""
    counts = np.zeros(_DIGITS, dtype=np.int64)
    for start in range(0, n, PIECE):
        bits = scores(slice(start, min(start + PIECE, n))).cpu().numpy().view(np.uint32)
        ranks = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        counts += np.bincount(digits(ranks), minlength=_DIGITS)
    return counts


def smallest_mask(
    scores: Tensor | Callable[[slice], Tensor], n_smallest: int, n: int | None = None
) -> Tensor:
    """Mark the `n_smallest` smallest entries; of equal entries the first ones are marked.

    Parameters
    ----------
    scores : Tensor, shape [n], or callable
        Scores in float32, or a function that computes them, as in `kth_smallest`.
    n_smallest : int
        Nothing is marked if it is not positive.
    n : int, optional
        Number of the scores, where they are computed.

    Returns
    -------
    Tensor of bool, shape [n]
        Exactly `n_smallest` entries are True.  Memory beyond it does not grow with n.
    """
    score_of = scores.__getitem__ if isinstance(scores, Tensor) else scores
    n = scores.numel() if isinstance(scores, Tensor) else int(n or 0)
    device = score_of(slice(0, 0)).device
    mask = torch.zeros(n, dtype=torch.bool, device=device)
    if n_smallest <= 0:
        return mask
    cut = kth_smallest(score_of, n, n_smallest)
    pieces = [slice(a, min(a + PIECE, n)) for a in range(0, n, PIECE)]
    for piece in pieces:
        torch.lt(score_of(piece), cut, out=mask[piece])
    left = n_smallest - int(mask.sum())
    for piece in pieces:  # of the scores that equal the cut, the first ones are marked
        if left > 0:
            ties = torch.nonzero(score_of(piece) == cut).squeeze(1)[:left]
            mask[piece.start + ties] = True
            left -= len(ties)
    return mask
