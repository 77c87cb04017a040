"""The k largest entries of a matrix that arrives in blocks."""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 1 << 14  # candidates beyond k that the buffer holds before it is cut back to k
PIECE = 1 << 16  # scores handled together, so that temporary index arrays stay small


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

    Notes
    -----
    Memory: 12 bytes for each of ``1.25 k`` candidates.  Time: O(b) for a block of b scores, and
    O(k) each time the buffer is full.
    """

    def __init__(self, k: int, device: torch.device | str = "cpu") -> None:
        self.k = k
        capacity = k + max(k // 4, SLACK) if k else 0
        self._scores = torch.empty(capacity, device=device)
        self._keys = torch.empty(capacity, dtype=torch.int64, device=device)
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
        keys : Tensor of int64, shape [at most k]
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
        Tensor of int64, shape [at most k]
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
        self._floor = kth_largest(scores, self.k)
        keep = scores > self._floor
        ties = torch.nonzero(scores == self._floor).squeeze(1)
        wanted = self.k - int(keep.sum())
        keep[ties[torch.argsort(keys[ties])[:wanted]]] = True
        for buffer in (self._scores, self._keys):
            done = 0
            for start in range(0, self._n, SLACK):
                stop = min(start + SLACK, self._n)
                kept = buffer[start:stop][keep[start:stop]]
                buffer[done : done + len(kept)] = kept
                done += len(kept)
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


def smallest_mask(scores: Tensor, n_smallest: int) -> Tensor:
    """Mark the `n_smallest` smallest entries; of equal entries the first ones are marked.

    Parameters
    ----------
    scores : Tensor, shape [n]
    n_smallest : int
        Nothing is marked if it is not positive.

    Returns
    -------
    Tensor of bool, shape [n]
        Exactly `n_smallest` entries are True.
    """
    if n_smallest <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    cut = kth_largest(scores, scores.numel() - n_smallest + 1)
    mask = scores < cut
    ties = torch.nonzero(scores == cut).squeeze(1)
    mask[ties[: n_smallest - int(mask.sum())]] = True
    return mask
