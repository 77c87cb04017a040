"""Draw the random sparse network from which training starts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.sparse.compact import pieces
from secateurs.sparse.network import SparseNetwork

_BLOCK_WEIGHTS = 1 << 16  # weights that are drawn together, so that temporary arrays stay small


def random_support(
    widths: tuple[int, ...],
    n_weights: int,
    variance: NDArray[np.float64],
    generator: torch.Generator,
) -> SparseNetwork:
    """Draw the support and the values of a sparse network.

    A layer gets weights in proportion to ``n_in + n_out`` (Erdos-Renyi, Mocanu et al. 2018), and
    an input in proportion to its variance.  The values are N(0, 2 / fan-in).  There are no biases.

    Parameters
    ----------
    widths : tuple of int
    n_weights : int
        At most the number of weights of the dense network is used.
    variance : array, shape [d]
        Variance of the scaled inputs.
    generator : torch.Generator

    Returns
    -------
    SparseNetwork
        Costs O(n_weights log n_weights) time and 20 bytes for each weight.
    """
    keys, values = [], []
    for layer, count in enumerate(erdos_renyi(widths, n_weights)):
        n_in, n_out = widths[layer], widths[layer + 1]
        p = variance if layer == 0 and variance.sum() > 0 else np.ones(n_in)
        key = _draw_positions(n_out, p / p.sum(), count, generator)
        value = torch.empty(len(key)).normal_(generator=generator).numpy()
        fan_in = np.zeros(n_out, dtype=np.int64)
        for piece in pieces(len(key)):
            fan_in += np.bincount(key[piece] // n_in, minlength=n_out)
        for piece in pieces(len(key)):
            row = key[piece] // n_in
            value[piece] *= np.sqrt(2.0 / fan_in[row])
            key[piece] += row  # position -> key: a row of keys has one more place, for the bias
        keys.append(key)
        values.append(value)
    return SparseNetwork(widths, keys, values)


def erdos_renyi(widths: tuple[int, ...], n_weights: int) -> list[int]:
    """Return the weights of each layer, in proportion to n_in + n_out, at most n_in * n_out."""
    capacity = np.array([a * b for a, b in pairwise(widths)], dtype=float)
    share = np.array([a + b for a, b in pairwise(widths)], dtype=float)
    left, full = min(float(n_weights), capacity.sum()), np.zeros(len(share), dtype=bool)
    while True:  # fill the layers that overflow, and distribute the rest again
        room = left - capacity[full].sum()
        density = room / share[~full].sum() if (~full).any() else 0.0
        over = ~full & (density * share > capacity)
        if not over.any():
            break
        full |= over
    exact = np.where(full, capacity, density * share)
    return [int(count + 1e-6) for count in exact]  # 14.999999 is 15


def _draw_positions(
    n_out: int, p: NDArray[np.float64], count: int, generator: torch.Generator
) -> NDArray[np.int64]:
    """Draw `count` distinct positions row * n_in + col, increasing, in blocks of rows."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    n_in, columns = len(p), np.flatnonzero(p > 0)
    count = min(count, n_out * len(columns))
    n_blocks = max(1, min(n_out, count // _BLOCK_WEIGHTS))
    result = np.empty(count, dtype=np.int64)
    for i in range(n_blocks):
        first, last = n_out * i // n_blocks, n_out * (i + 1) // n_blocks
        start, stop = count * first // n_out, count * last // n_out
        block = _draw_block(last - first, p, columns, stop - start, rng)
        result[start:stop] = block + first * n_in
    return result


def _draw_block(
    n_rows: int,
    p: NDArray[np.float64],
    columns: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw distinct positions in a block of rows: rows uniformly, columns in proportion to `p`."""
    n_in = len(p)
    if 4 * count >= n_rows * len(columns):
        # there are few positions, so draw an exponential time for each and keep the shortest
        time = rng.exponential(size=(n_rows, len(columns))) / p[columns]
        first = np.argpartition(time.ravel(), max(count - 1, 0))[:count]
        row, col = np.divmod(np.sort(first), len(columns))
        return (row * n_in + columns[col]).astype(np.int64)
    cumulative = np.cumsum(p)
    found = np.empty(0, dtype=np.int64)
    while len(found) < count:
        more = int(1.2 * (count - len(found))) + 16
        col = np.searchsorted(cumulative, rng.random(more) * cumulative[-1], side="right")
        draw = rng.integers(n_rows, size=more) * n_in + np.minimum(col, n_in - 1)
        _, first = np.unique(draw, return_index=True)
        draw = draw[np.sort(first)]
        draw = draw[~np.isin(draw, found)]
        found = np.concatenate([found, draw[: count - len(found)]])
    return np.sort(found)
