"""Find first supports and a network on each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from secateurs.features.directions import anchors, directions, strongest
from secateurs.features.interactions import (
    Interactions,
    pair_cost,
    pair_screen,
    triple_cost,
    triple_screen,
)
from secateurs.features.network import ScaledNetwork, SplitRows, initial_network, train
from secateurs.features.null_scores import normal_threshold
from secateurs.features.ranks import FloatArray, IntArray, ranked_matrix
from secateurs.features.screening import Screen
from secateurs.features.search_data import SearchData

FEWEST_COLUMNS = 4  # columns tried if the screen finds fewer than two
SIZES = (8, 24, 64)  # sizes of the supports tried besides the hits of the screen
ROUNDS = 3
STEPS = 400  # training steps of a network
MOST_MULTIPLY_ADDS = 1e11  # of the screen of pairs, and of that of triples
FEW = 8  # up to this many columns, each is also tried as a direction of its own
NO_COLUMNS: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A support J and the network on it."""

    J: IntArray
    network: ScaledNetwork
    rows: SplitRows


def supports(data: SearchData, found: Screen, products: IntArray) -> list[IntArray]:
    """Return supports grown from the hits and from the 8, 24 and 64 best columns.

    Each of three rounds makes one pass over the columns for all supports together.  Equal supports
    are returned once.
    """
    scores = found.scores
    order = np.argsort(-scores, kind="stable")
    hits = order[scores[order] > found.threshold]
    always = np.asarray(list(dict.fromkeys([*products.tolist(), *hits.tolist()])), dtype=np.int64)
    always = always[: data.cap]
    some = always if len(always) > 1 else np.union1d(always, order[: min(FEWEST_COLUMNS, data.cap)])
    current = [np.sort(some)]
    current += [np.sort(order[:m]) for m in SIZES if m <= min(data.cap, len(order))]
    for _ in range(ROUNDS):
        labels = [
            anchors(data.ranked.take(J), data.T, _directions(data, found, J)) for J in current
        ]
        Z = np.abs(data.ranked.products(np.concatenate(labels, axis=1)))
        ends = np.cumsum([R.shape[1] for R in labels])
        for i, R in enumerate(labels):
            best = Z[:, ends[i] - R.shape[1] : ends[i]].max(axis=1)
            threshold = normal_threshold(data.alpha, data.source.d * R.shape[1])
            J = strongest(best, threshold, always, data.cap)
            current[i] = J if len(J) else current[i]
    unique = {J.tobytes(): J for J in current}
    return list(unique.values())


def first_network(data: SearchData, found: Screen, J: IntArray, *, axes: bool) -> Candidate:
    """Train on J from its directions; with `axes` also from its columns as directions."""
    rows = data.rows(J)
    starts = [torch.from_numpy(_directions(data, found, J)).float()]
    if axes and 1 < len(J) <= FEW:
        starts.append(torch.eye(len(J)))
    networks = [trained(data, rows, D) for D in starts]
    return Candidate(J, max(networks, key=lambda network: network.score), rows)


def trained(data: SearchData, rows: SplitRows, D: torch.Tensor) -> ScaledNetwork:
    """Train a new network from the directions D."""
    return train(rows, initial_network(rows, D, data.hidden, data.generator), STEPS)


def trained_candidate(data: SearchData, J: IntArray, D: torch.Tensor) -> Candidate:
    """Train a new network on the columns J from the directions D."""
    rows = data.rows(J)
    return Candidate(J, trained(data, rows, D), rows)


def _directions(data: SearchData, found: Screen, J: IntArray) -> FloatArray:
    c, k = found.channel
    return directions(data.ranked.take(J), data.T[:, c], k + 1, found.z[J, c, k])


def product_columns(data: SearchData, found: Screen) -> tuple[IntArray, float]:
    """Return the columns of pairs, or of triples if no single column is found, and the p-value."""
    n, d = data.source.n, data.source.d
    if d < 2 or pair_cost(n, d, data.T.shape[1]) > MOST_MULTIPLY_ADDS:
        return NO_COLUMNS, 1.0
    x = ranked_matrix(data.source) if data.ranked.kept is None else data.ranked.kept
    hits = [pair_screen(x, data.T, data.alpha)]
    if not len(found.selected) and d > 2 and triple_cost(n, d) <= MOST_MULTIPLY_ADDS:
        hits.append(triple_screen(x, data.T[:, 0], data.alpha))
    strongest_first = [h.columns.ravel()[: data.cap] for h in sorted(hits, key=_below_threshold)]
    flat = np.concatenate(strongest_first)
    columns = np.asarray(list(dict.fromkeys(flat.tolist())), dtype=np.int64)[: data.cap]
    return columns, min(1.0, len(hits) * min(h.p_value for h in hits))


def _below_threshold(hits: Interactions) -> float:
    """Return how far the best product stays below the threshold; negative if it exceeds it."""
    return hits.threshold - float(np.abs(hits.z).max(initial=0.0))
