"""Find first supports, their directions, and a network on each of them.

    J = hits of the screens, and the 8, 24 and 64 best columns
    repeat 3:
      D = { mean T x_J ;  top <= 4 eigenvectors of mean T (x x^T - I)_J               (1)
            with |lambda| > 1.3 (2 sqrt(p/n) + p/n) ;  sign(z) |z|^(1/3) if k = 3 }
      R = T_c h_l(D x_J), l <= 2, standardised                                         (2)
      J = { max |X^T R| / sqrt n > threshold } + { hits of the screens }                (3)

Once a direction is known, the gradient over all d columns is linear in v_j.  So (3) needs about
M log d rows where the screen needs M^k (derived, and measured).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from secateurs.features.interactions import (
    Interactions,
    pair_cost,
    pair_screen,
    triple_cost,
    triple_screen,
)
from secateurs.features.network import ScaledNetwork, SplitRows, initial_network, train
from secateurs.features.null_scores import normal_threshold
from secateurs.features.ranks import FloatArray, IntArray, ranked_matrix, standardised
from secateurs.features.screening import Screen
from secateurs.features.search_data import SearchData

EIGENVECTORS = 4
ABOVE_NOISE = 1.3  # an eigenvalue must exceed the edge of the noise by this factor
FEWEST_COLUMNS = 4  # columns tried if the screen finds fewer than two
SIZES = (8, 24, 64)  # sizes of the supports tried besides the hits of the screen
ROUNDS = 3
TRAINING_STEPS = 400  # training steps of a network
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


def directions(x: FloatArray, T: FloatArray, k: int, z: FloatArray) -> FloatArray:
    """Return the directions (1) as unit rows [r, p], r <= 6; O(n p^2).

    `x` [n, p] are the normal scores of the columns J, `T` [n] is a transform of y, and `k` and `z`
    [p] are the degree of the channel that found J and its scores.
    """
    n, p = x.shape
    found = []
    mean = x.T @ T / n
    if k == 1 or np.linalg.norm(mean) > ABOVE_NOISE * np.sqrt(p / n):
        found.append(mean)
    M = (x * T[:, None]).T @ x / n
    M -= np.diag(np.full(p, T.mean()))
    values, vectors = np.linalg.eigh(M)
    order = np.argsort(-np.abs(values), kind="stable")[:EIGENVECTORS]
    edge = ABOVE_NOISE * (2 * np.sqrt(p / n) + p / n)
    found += [vectors[:, i] for i in order if abs(values[i]) > edge]
    if k == 3:
        found.append(np.sign(z) * np.abs(z) ** (1 / 3))
    if not found:
        found.append(vectors[:, order[0]])
    return np.stack([v / max(float(np.linalg.norm(v)), 1e-300) for v in found])


def anchors(x: FloatArray, T: FloatArray, D: FloatArray) -> FloatArray:
    """Return R (2) for every transform of y, index and l, [n, 2 C r]."""
    U = standardised(x @ D.T)
    columns = [T * h[:, None] for u in U.T for h in (u, u * u - 1.0)]
    return standardised(np.concatenate(columns, axis=1))


def strongest(scores: FloatArray, threshold: float, always: IntArray, cap: int) -> IntArray:
    """Return J (3), increasing: at most `cap` columns, those of `always` before the others."""
    order = np.argsort(-scores, kind="stable")
    hits = [int(j) for j in order[: cap + len(always)] if scores[j] > threshold]
    chosen = list(dict.fromkeys([*(int(j) for j in always), *hits]))[:cap]
    return np.sort(np.asarray(chosen, dtype=np.int64))


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
    return train(rows, initial_network(rows, D, data.hidden, data.generator), TRAINING_STEPS)


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
