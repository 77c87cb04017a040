"""The k largest entries of a matrix that is only ever seen one block at a time."""

from __future__ import annotations

import torch
from torch import Tensor


class StreamingTopK:
    """Keep the k largest positive scores of a stream, each named by an int64 key.

    The result does not depend on how the stream is cut into blocks or on their order:
    equal scores are ranked by key, smallest first.  Scores <= 0 are never kept.

    Parameters
    ----------
    k : int
        How many to keep.
    device : torch.device
        Where the scores live.

    Notes
    -----
    Memory: at most ``2 k`` candidates plus what one block contributes; time per block of
    size b: O(b), and O(k log k) whenever the buffer is full.
    """

    def __init__(self, k: int, device: torch.device | str = "cpu") -> None:
        self.k = k
        self._scores = torch.empty(0, device=device)
        self._keys = torch.empty(0, dtype=torch.int64, device=device)
        self._floor = 0.0

    def update(self, scores: Tensor, row_keys: Tensor, col_keys: Tensor) -> None:
        """Offer a block: entry (i, j) has the key ``row_keys[i] + col_keys[j]``.

        Parameters
        ----------
        scores : Tensor, shape [r, c]
        row_keys, col_keys : Tensor of int64, shapes [r] and [c]
        """
        if self.k == 0 or scores.numel() == 0:
            return
        flat = scores.reshape(-1)
        floor = self._floor
        if flat.numel() > self.k:
            # the block's own k-th largest: nothing below it can survive
            floor = max(floor, torch.topk(flat, self.k, sorted=False).values.min().item())
        chosen = torch.nonzero((flat >= floor) & (flat > 0)).squeeze(1)
        rows = torch.div(chosen, scores.shape[1], rounding_mode="floor")
        keys = row_keys[rows] + col_keys[chosen - rows * scores.shape[1]]
        self._scores = torch.cat([self._scores, flat[chosen].to(self._scores.dtype)])
        self._keys = torch.cat([self._keys, keys])
        if self._keys.numel() > 2 * self.k:
            self._shrink()

    def result(self) -> tuple[Tensor, Tensor]:
        """Keys and scores of the (at most) k largest, sorted by key."""
        self._shrink()
        order = torch.argsort(self._keys)
        return self._keys[order], self._scores[order]

    def _shrink(self) -> None:
        by_key = torch.argsort(self._keys)
        order = by_key[torch.argsort(self._scores[by_key], descending=True, stable=True)]
        order = order[: self.k]
        self._keys, self._scores = self._keys[order], self._scores[order]
        if order.numel() == self.k and self.k:
            self._floor = self._scores[-1].item()


def smallest_mask(scores: Tensor, n_smallest: int) -> Tensor:
    """Mask of the `n_smallest` smallest entries, ties broken by index (lowest first).

    Parameters
    ----------
    scores : Tensor, shape [n]
    n_smallest : int, 0 <= n_smallest <= n

    Returns
    -------
    Tensor of bool, shape [n]
        Exactly `n_smallest` entries are True.
    """
    if n_smallest <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    if scores.device.type == "cpu":
        # partition in place on a copy: 4 bytes an entry, where torch.kthvalue takes 12
        copy = scores.numpy().copy()
        copy.partition(n_smallest - 1)
        cut = float(copy[n_smallest - 1])
        del copy
    else:
        cut = float(torch.kthvalue(scores, n_smallest).values)
    mask = scores < cut
    ties = torch.nonzero(scores == cut).squeeze(1)
    mask[ties[: n_smallest - int(mask.sum())]] = True
    return mask
