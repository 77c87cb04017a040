"""The order of hidden units: any order computes the same, and some have shorter position codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from secateurs.tiny.bit_stream import best_order
from secateurs.tiny.integer_layer import IntArray, IntegerLayer

SEARCH_STEPS = 1500


def shortest_order(
    layers: Sequence[IntegerLayer], n_steps: int = SEARCH_STEPS
) -> list[IntegerLayer]:
    """Return the layers with their hidden units in an order that shortens the stream.

    Each hidden layer starts from the best of three orders: as it is, by the number of weights, and
    a chain of units with similar inputs.  Then units are moved at random, and a move stays if the
    stream gets shorter.  The seed is fixed, so the same layers give the same order.

    Parameters
    ----------
    layers : sequence of IntegerLayer
    n_steps : int
        Moves to try for each hidden layer.

    Notes
    -----
    O(n_steps * number of weights).  Source: derived.
    """
    result = list(layers)
    for hidden in range(len(layers) - 1):
        order = _search(result[hidden], result[hidden + 1], n_steps)
        result[hidden] = result[hidden].permuted(rows=order)
        result[hidden + 1] = result[hidden + 1].permuted(columns=order)
    return result


def _search(before: IntegerLayer, after: IntegerLayer, n_steps: int) -> IntArray:
    n = before.n_out
    cost = partial(_position_bits, before, after)
    used = before.dense() != 0
    starts = [
        np.arange(n),
        np.argsort(-used.sum(1), kind="stable"),
        _chain(used.astype(np.float64)),
    ]
    order = min(starts, key=cost)
    best = cost(order)
    random = np.random.default_rng(0)
    for _ in range(n_steps if n > 1 else 0):
        taken, put = random.integers(n, size=2)
        moved = np.insert(np.delete(order, taken), put, order[taken])
        bits = cost(moved)
        if bits <= best:  # equal ones too, to leave a plateau
            order, best = moved, bits
    return order


def _position_bits(before: IntegerLayer, after: IntegerLayer, order: IntArray) -> int:
    """Return the bits of the positions of two layers, for an order of the units between them."""
    n = len(order)
    place = np.empty(n + 1, dtype=np.int64)
    place[order], place[n] = np.arange(n), n
    first = np.sort(before.columns * n + place[before.rows])
    second = np.sort(place[after.columns] * after.n_out + after.rows)
    return sum(best_order(np.diff(index, prepend=-1) - 1)[0] for index in (first, second))


def _chain(used: np.ndarray) -> IntArray:
    """Return a chain from the unit with the most inputs, always on to the most similar unit."""
    counts = used.sum(1)
    similar = (used @ used.T) / np.sqrt(np.outer(counts, counts) + 1e-9)
    left = np.ones(len(used), dtype=bool)
    chain = [int(counts.argmax())]
    left[chain[0]] = False
    while left.any():
        chain.append(int(np.where(left, similar[chain[-1]], -1.0).argmax()))
        left[chain[-1]] = False
    return np.array(chain, dtype=np.int64)
