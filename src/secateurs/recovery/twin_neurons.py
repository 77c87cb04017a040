"""Neurons that could be two, and pairs of neurons that could be two others.

Where a and b have the same sign, relu(a + b) = relu(a) + relu(b).  With the weights w = u + v of a
neuron this holds on all rows if u and v are nearly parallel, because no row is between the two
boundaries.  The network with u and v needs as many weights more as u and v
share inputs.  It differs from the fit between the boundaries only.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from scipy import sparse

from secateurs.recovery.fitted_rows import FittedRows, IntArray

EVIDENCE = 3  # rows that must exclude another network
NEW_PAIR = 3  # weights more for a neuron of one weight: two of its input, two of another
MOST_SUBSETS = 64  # subsets of the weights of a neuron that are tried as the common part


def twins(case: FittedRows) -> str:
    """Find a neuron that could be two, with the unused weights, or two that could be others."""
    return _two_for_one(case) or _between_two(case)


def _two_for_one(case: FittedRows) -> str:
    if case.n_left < 1 or case.n_spare < 1:
        return ""
    always_open = np.all(np.asarray(case.W @ case.elsewhere) >= 0.0, axis=1).tolist()
    for j, count in enumerate(case.counts):
        if always_open[j] and case.n_left < max(count + 2, NEW_PAIR):
            continue  # it is linear
        columns = case.used[case.support(j)]
        if count == 1:
            if case.n_left >= NEW_PAIR and not _coincide(case) and _can_be_pair(case, columns):
                return _lower(case, f"neuron {j} could be a pair on two inputs")
            continue
        if case.all_seen(columns):
            continue
        if case.n_left >= count:
            return _lower(case, f"neuron {j} could be two that are nearly parallel")
        open_ = case.pre[j] > 0.0
        values = case.values(j)
        Z = values[:, None] * case.inputs[case.support(j)]
        needed = EVIDENCE + 2 * (case.n_left - 1) + int(count) - case.n_left - 1
        for common in _subsets(np.linalg.norm(Z, axis=1), case.n_left):
            between = int(((Z[common].sum(axis=0) > 0.0) != open_).sum())
            if between < needed:
                why = f"neuron {j} could be two, which {between} rows would tell apart"
                return _lower(case, why)
    return ""


def _lower(case: FittedRows, why: str) -> str:
    return f"{case.n_left} weights of n_nonzero are unused, and {why}: use n_nonzero={case.W.nnz}"


def _subsets(sizes: np.ndarray, r: int) -> list[list[int]]:
    """Return the subsets of r weights, or only the largest r where there are too many."""
    if comb(len(sizes), r) <= MOST_SUBSETS:
        return [list(each) for each in combinations(range(len(sizes)), r)]
    return [np.argsort(-sizes, kind="stable")[:r].tolist()]


def _can_be_pair(case: FittedRows, columns: IntArray) -> bool:
    """Whether relu(a x + b z) + relu((1 - a) x - b z) could be relu(x) on the rows only."""
    others = np.flatnonzero(~case.constant & (np.arange(case.X.shape[1]) != columns[0]))
    return any(not case.all_seen(np.append(columns, k)) for k in others)


def _coincide(case: FittedRows) -> bool:
    """Whether the unused weights are expected, because neurons of one weight coincide.

    Of T neurons with one weight each, on any of B inputs and signs, B (1 - (1 - 1/B)^T) are
    different on average.  Where all unused weights are explained in this way, a pair would need
    weights that cancel exactly beside this coincidence.
    """
    single = int((case.counts == 1).sum())
    boxes = 2.0 * case.X.shape[1]
    together = single + case.n_left
    once, twice = (1.0 - 1.0 / boxes) ** together, (1.0 - 2.0 / boxes) ** together
    mean = boxes * (1.0 - once)
    variance = boxes * (once - twice) + boxes**2 * (twice - once**2)
    return bool(single >= mean - 2.0 * np.sqrt(max(variance, 0.0)))


def _between_two(case: FittedRows) -> str:
    """Find two neurons that are hardly ever told apart, so that their weights could be others.

    Two that are open on the same rows have columns of the Jacobian in common.  Drawn rows show that
    only if one of them is between the boundaries, which may be very close.
    """
    open_ = case.pre > 0.0
    gates = open_.astype(np.float32)
    both = gates @ gates.T
    each = np.diagonal(both)
    differ = each[:, None] + each - 2.0 * both
    pattern = case.W.astype(bool).astype(np.int32)
    common = sparse.csr_array(pattern @ pattern.T).toarray()
    linear = open_.all(axis=1) & np.all(np.asarray(case.W @ case.elsewhere) >= 0.0, axis=1)
    told_apart = (differ >= common + EVIDENCE) | (linear[:, None] & linear)
    for i, j in np.argwhere(np.triu((common > 0) & ~told_apart, 1)):
        if not case.all_seen(case.used[np.union1d(case.support(i), case.support(j))]):
            rows = int(differ[i, j])
            return f"only {rows} rows are between the boundaries of neurons {i} and {j}"
    return ""
