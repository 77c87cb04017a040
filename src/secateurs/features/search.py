"""A first support and network: hits of the screens, anchored, from supports of several sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.features.directions import anchors, directions, level, strongest
from secateurs.features.interactions import (
    Interactions,
    pair_cost,
    pair_screen,
    ranked_matrix,
    triple_cost,
    triple_screen,
)
from secateurs.features.network import Head, Rows, initial_head, train
from secateurs.features.screening import Screen
from secateurs.features.search_data import Data

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST = 4  # columns tried when the screen finds fewer than two
SIZES = (8, 24, 64)  # first supports besides the hits
ROUNDS = 3
STEPS = 400
PRODUCTS = 1e11  # multiply-adds that pairs, or triples, may take
SMALL = 8  # columns up to which they are also tried as directions of their own


@dataclass(frozen=True, eq=False)
class Candidate:
    """A support and the network on it."""

    J: IntArray
    head: Head
    rows: Rows


def supports(data: Data, found: Screen, products: IntArray) -> list[IntArray]:
    """Anchored supports from the hits and from the top 8, 24 and 64; without repeats.

    Three passes over the columns, shared by all of them.
    """
    scores = found.scores
    order = np.argsort(-scores, kind="stable")
    hits = order[scores[order] > found.threshold]
    always = np.asarray(list(dict.fromkeys([*products.tolist(), *hits.tolist()])), dtype=np.int64)
    always = always[: data.cap]
    first = always if len(always) > 1 else np.union1d(always, order[: min(FEWEST, data.cap)])
    starts = [np.sort(first)]
    starts += [np.sort(order[:m]) for m in SIZES if m <= min(data.cap, len(order))]
    for _ in range(ROUNDS):
        labels = [_anchor_labels(data, found, J) for J in starts]
        Z = np.abs(data.ranked.products(np.concatenate(labels, axis=1)))
        ends = np.cumsum([R.shape[1] for R in labels])
        for i, R in enumerate(labels):
            best = Z[:, ends[i] - R.shape[1] : ends[i]].max(axis=1)
            threshold = level(data.alpha, data.ranked.d * R.shape[1])
            J = strongest(best, threshold, always, data.cap)
            starts[i] = J if len(J) else starts[i]
    unique = {J.tobytes(): J for J in starts}
    return list(unique.values())


def first_network(data: Data, found: Screen, J: IntArray, *, axes: bool) -> Candidate:
    """Train on J from its directions; with `axes` also from its columns themselves."""
    rows = data.rows(J)
    tries = [torch.from_numpy(_directions(data, found, J)).float()]
    if axes and 1 < len(J) <= SMALL:
        tries.append(torch.eye(len(J)))
    heads = [train(rows, initial_head(rows, D, data.hidden, data.generator), STEPS) for D in tries]
    return Candidate(J, max(heads, key=lambda head: head.score), rows)


def _directions(data: Data, found: Screen, J: IntArray) -> FloatArray:
    c, k = found.channel
    return directions(data.ranked.take(J), data.T[:, c], k + 1, found.z[J, c, k])


def _anchor_labels(data: Data, found: Screen, J: IntArray) -> FloatArray:
    return anchors(data.ranked.take(J), data.T, _directions(data, found, J))


def product_columns(data: Data, found: Screen) -> tuple[IntArray, float]:
    """Columns in pairs, or triples when no column is found by itself, and their p-value."""
    n, d = data.source.n, data.source.d
    C = data.T.shape[1]
    x = data.ranked.kept
    if d < 2 or pair_cost(n, d, C) > PRODUCTS:
        return np.empty(0, dtype=np.int64), 1.0
    x = ranked_matrix(data.source) if x is None else x
    hits = [pair_screen(x, data.T, data.alpha)]
    if not len(found.selected) and d > 2 and triple_cost(n, d) <= PRODUCTS:
        hits.append(triple_screen(x, data.T[:, 0], data.alpha))
    strongest_first = [h.columns.ravel()[: data.cap] for h in sorted(hits, key=_strength)]
    flat = np.concatenate(strongest_first)
    columns = np.asarray(list(dict.fromkeys(flat.tolist())), dtype=np.int64)[: data.cap]
    return columns, min(1.0, len(hits) * min(h.p_value for h in hits))


def _strength(hits: Interactions) -> float:
    """Sorts the screen whose best product stands out most first."""
    return hits.threshold - float(np.abs(hits.z).max(initial=0.0))
