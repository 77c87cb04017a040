"""Decide whether rows that a ReLU network fits exclude other networks.

A fit without residual can be wrong on other rows.  Where two inputs are hardly ever nonzero
together, no row distinguishes relu(a x_1) + relu(b x_2) from relu(a x_1 + b x_2).  It is infeasible
to enumerate the networks that fit.  But those one step away can be examined,

    relu(z_j) + relu(z_i)  ->  relu(z_j - c t) + relu(z_i + c t),   t = w_jk x_k, 0 < c <= 1,  (1)

where z_i = 0 for a new neuron, and those along the null space of the Jacobian.  `column_swaps` and
`twin_neurons` look for networks with other inputs and for neurons that could be two.  A network
that agrees on the rows counts if it differs on other rows, whose inputs are drawn one by one.
"""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.recovery.column_swaps import swapped_columns
from secateurs.recovery.conditioning import loose_weights
from secateurs.recovery.fitted_rows import LARGE_BLOCK, FittedRows, FloatArray, fitted_rows
from secateurs.recovery.opposite_parts import opposite_parts
from secateurs.recovery.twin_neurons import twins

REDUNDANT = 5  # rows beyond the number of weights, of the network and of each neuron
EVIDENCE = 3  # rows on which a weight must count, or that must exclude a network one step away
SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)  # c in (1); below 1 the network has one weight more
ROWS_FOR_TWINS = 100  # leave about 1 % of the inputs between two boundaries without a row
ROWS_PER_HIDDEN = 4  # rows for each unused weight: 2 for closed by chance, more for their choice
BLOCK = 256  # rows examined at once; for dense inputs the first block decides most
MOST_FLIPS = 2000  # sets of neurons of one size whose signs are changed together
VISIBLE = 1e-9  # change of an output that counts, relative to the largest
DECIMALS = 12  # of the marks by which equal rows are found


def doubt(
    X: FloatArray,
    weights: sparse.csr_array[np.float64],
    n_nonzero: int,
    *,
    intercept: bool = False,
    residual: float = 0.0,
) -> str:
    """Return why these rows do not show that an exact fit is the only one, or "".

    Parameters
    ----------
    X : array [n, d]
        The rows of the fit.
    weights : CSR array [m, d]
        The weights of sum_j relu(w_j . x), which is exact on these rows.
    n_nonzero : int
        The budget s.  The neurons allowed are the rows m of `weights`.  What is left of both allows
        other networks.
    intercept : bool
        Whether a constant was fitted too.
    residual : float
        ||y - f(X)|| on these rows.  Other networks may differ from this one by ten times as much.

    Returns
    -------
    str
        The first of these that applies, in words:

        - there are fewer distinct rows than unknowns + 5 (and fewer than there can be), fewer rows
          on which a neuron is open than its weights + 5, fewer on which it is closed than its
          weights + 3 (but one at least), or fewer than 3 rows on which a weight counts, except one
          on two-valued inputs that must close its neuron wherever it counts;
        - two inputs that can oppose each other do so on fewer than 3 rows;
        - the Jacobian has a null space that changes other rows, or is so close to one that
          rounding and the residual leave other rows open by 1e-7 of the largest output
          (`conditioning`);
        - fewer than 3 rows exclude a network (1), or one with the opposite of some neurons, that
          differs on other rows;
        - another weight, or one of an unused input, can carry a part of others
          (`swapped_columns`);
        - a neuron could be two, or two neurons two others (`twins`), also of opposite signs
          (`opposite_parts`);
        - s is not spent, and fewer than 3 rows would show a further weight, alone or beside another
          one; or a neuron is unused too, and an input has values of one sign only, without an end
          at zero, or is constant; or two weights are unused, and the rows are fewer than 100 or the
          inputs never negative and hardly ever zero.  There could be a neuron that no row opens.

    Notes
    -----
    Equal rows of X count once, and parallel neurons are one.  O(n nnz^2), and O(nnz p) for each of
    the rows that the networks (1) need: 256 for dense inputs, at most n; O(nnz^2 p d) for other
    inputs.  This is not a proof, because networks further away are not examined.
    Source: derived.
    """
    case = fitted_rows(X, weights, n_nonzero, intercept=intercept, residual=residual)
    return (
        _few_rows(case)
        or _never_opposed(case)
        or loose_weights(case)
        or _moved_weights(case, SHARES if case.n_left > 0 else SHARES[:1])
        or _flipped_neurons(case)
        or swapped_columns(case)
        or twins(case)
        or opposite_parts(case)
        or (_unseen_weights(case) if case.n_left > 0 else "")
    )


def _few_rows(case: FittedRows) -> str:
    """Find whether there are hardly more equations than unknowns."""
    W, neuron, counts = case.W, case.neuron, case.counts
    direction = np.random.default_rng(0).standard_normal(len(case.used))
    marks = [direction @ ZT for _, ZT in case.blocks(LARGE_BLOCK // 2)]
    # the products of equal rows may differ in the last digits
    distinct = len(np.unique(np.round(np.concatenate(marks), DECIMALS)))
    unknowns = W.nnz + case.intercept
    if distinct < min(unknowns + REDUNDANT, case.n_possible(unknowns + REDUNDANT)):
        return f"{distinct} different rows for {unknowns} unknowns"
    bounds = [case.inputs.min(axis=1), case.inputs.max(axis=1)]
    two_valued = bool(
        ((case.inputs == bounds[0][:, None]) | (case.inputs == bounds[1][:, None])).all()
    )
    n_open, active = np.zeros(W.shape[0], dtype=np.intp), np.zeros(W.nnz, dtype=np.intp)
    for _, ZT in case.blocks(LARGE_BLOCK // 2):
        pre = np.asarray(W @ ZT)
        n_open += (pre > 0.0).sum(axis=1)
        own = W.data[:, None] * ZT[W.indices]
        active += ((pre[neuron] > 0.0) & (own != 0.0)).sum(axis=1)
    n_closed, never_closed = (
        len(case.X) - n_open,
        (np.asarray(W @ case.elsewhere) > 0.0).all(axis=1),
    )
    lacking = (n_closed > 0) & (n_closed < counts + EVIDENCE) & ~never_closed & (not two_valued)
    if lacking.any():
        j = int(np.argmax(lacking))
        return f"neuron {j} has {counts[j]} weights and is closed on {n_closed[j]} rows"
    spare = n_open - counts
    if spare.min(initial=REDUNDANT) < REDUNDANT:
        j = int(np.argmin(spare))
        return f"neuron {j} has {counts[j]} weights and is open on {n_open[j]} rows"
    for e in np.flatnonzero(active < EVIDENCE):
        if not two_valued or not _must_close(case, int(e)):
            return f"{case.name(int(e))} counts on {active[e]} rows"
    return ""


def _must_close(case: FittedRows, e: int) -> bool:
    """Whether rows of two-valued inputs show that a weight closes its neuron wherever it counts.

    Every weight fits that closes the neuron on the rows where it counts.  All of them do so
    elsewhere too if one of these rows has the largest sum that the other weights can have.
    """
    j = int(case.neuron[e])
    Z = case.values(j)[:, None] * case.inputs[case.support(j)]
    own = e - int(case.W.indptr[j])
    counts = Z[own] != 0.0
    others = np.delete(Z, own, axis=0)
    most = others.max(axis=1).sum()
    reached = others[:, counts].sum(axis=0).max(initial=-np.inf)
    return bool((Z[own] <= 0.0).all() and reached >= most - VISIBLE * np.abs(Z).max())


def _never_opposed(case: FittedRows) -> str:
    """Find two weights that oppose each other on too few rows to know their neurons.

    Where w_k x_k and w_l x_l have the same sign, or one of them is zero, the output is the same
    whether they are added before or after the relu.
    """
    W, q = case.W, len(case.used)
    used = np.zeros((2, q), dtype=bool)  # whether k has a weight > 0, < 0
    used[(W.data < 0.0).astype(np.intp), W.indices] = True
    can = np.zeros((2, q), dtype=bool)  # whether input k can be > 0, < 0
    for _, ZT in case.blocks(LARGE_BLOCK):
        can |= np.array([(ZT > 0.0).any(axis=1), (ZT < 0.0).any(axis=1)])
    pairs = ((0, 0), (0, 1), (1, 0), (1, 1))
    together = np.zeros((2, 2, q, q), dtype=np.float32)  # rows with these signs of inputs k, l
    lacking = np.zeros((q, q), dtype=bool)
    for _, ZT in case.blocks(LARGE_BLOCK):
        signs = [(ZT > 0.0).astype(np.float32), (ZT < 0.0).astype(np.float32)]
        for a, b in pairs:
            together[a, b] += signs[a] @ signs[b].T
        lacking[:] = False
        for a, b in pairs:  # signs of the weights of k and l
            rows = together[a, 1 - b] + together[1 - a, b]
            possible = can[a][:, None] & can[1 - b] | can[1 - a][:, None] & can[b]
            lacking |= used[a][:, None] & used[b] & possible & (rows < EVIDENCE)
        np.fill_diagonal(lacking, False)
        if not lacking.any():
            return ""
    first, second = (int(case.used[k]) for k in np.argwhere(lacking)[0])
    return f"inputs {first} and {second} oppose each other on fewer than {EVIDENCE} rows"


def _moved_weights(case: FittedRows, shares: tuple[float, ...]) -> str:
    """Find a network (1) that fits the rows."""
    p, entries = case.W.shape[0], np.arange(case.W.nnz)
    for share in shares:
        lacking = np.full((len(entries), p + 1), EVIDENCE)  # rows; column p is a new neuron
        lacking[entries, case.neuron] = 0
        # to move the only weight of a neuron renumbers it, to move a part makes parallel neurons
        lacking[case.counts[case.neuron] == 1, p] = 0
        for _, ZT in case.blocks(BLOCK):
            if not lacking.any():
                break
            _count_changes(case, ZT, share, lacking)
        if not lacking.any():
            continue
        other = lacking.copy()
        _count_changes(case, case.elsewhere, share, other)
        found = np.argwhere(other < lacking)
        if len(found):
            e, i = (int(at) for at in found[0])
            to = "a neuron of its own" if i == p else f"neuron {i}"
            rows = EVIDENCE - lacking[e, i]
            return f"only {rows} rows show whether {case.name(e)} belongs there or to {to}"
    return ""


def _flipped_neurons(case: FittedRows) -> str:
    """Find other signs of some neurons that one neuron takes up on the rows, but not elsewhere.

    With z the sum of the z_j, j in F: relu(z_i) + sum relu(z_j) = relu(z_i + z) + sum relu(-z_j).
    """
    W, p = case.W, case.W.shape[0]
    elsewhere = np.asarray(W @ case.elsewhere)
    for size in range(1, p):
        if p * math.comb(p - 1, size) > MOST_FLIPS:
            break
        for i, flipped in product(range(p), combinations(range(p), size)):
            if i in flipped or _n_changes(case.pre, i, flipped) >= EVIDENCE:
                continue
            together: FloatArray = np.asarray(W[[i, *flipped]].sum(axis=0))
            more = int((np.abs(together) > VISIBLE).sum()) - int(case.counts[i])
            if more <= case.n_left and _n_changes(elsewhere, i, flipped):
                names = ", ".join(str(j) for j in flipped)
                return f"neuron {names} could have the opposite sign, and neuron {i} the difference"
    return ""


def _n_changes(pre: FloatArray, i: int, flipped: tuple[int, ...]) -> int:
    """Number of rows on which the outputs before and after a flip differ."""
    other = pre[i]
    z = pre[list(flipped)].sum(axis=0)
    change = z - np.maximum(other + z, 0.0) + np.maximum(other, 0.0)
    largest = np.abs(pre[[i, *flipped]]).max(initial=0.0)
    return int((np.abs(change) > VISIBLE * largest).sum())


def _count_changes(
    case: FittedRows, ZT: FloatArray, share: float, lacking: NDArray[np.int_]
) -> None:
    """Subtract from `lacking` [nnz, p + 1] the rows on which the moves (1) change the output."""
    W, neuron = case.W, case.neuron
    pre = np.vstack([np.asarray(W @ ZT), np.zeros((1, ZT.shape[1]))])
    out = np.maximum(pre, 0.0)
    least = share * VISIBLE * float(np.abs(pre).max(initial=0.0))
    for e in np.flatnonzero(lacking.any(axis=1)):
        to = np.flatnonzero(lacking[e])
        t = share * W.data[e] * ZT[W.indices[e]]
        change = np.maximum(pre[to] + t, 0.0) - out[to]
        change += np.maximum(pre[neuron[e]] - t, 0.0) - out[neuron[e]]
        seen = (np.abs(change) > least).sum(axis=1)
        lacking[e, to] = np.maximum(lacking[e, to] - seen, 0)


def _unseen_weights(case: FittedRows) -> str:
    """Find further weights, alone or beside others, that too few rows would show."""
    W, (n, d), n_left = case.W, case.X.shape, case.n_left
    above, below = np.zeros(d, dtype=np.intp), np.zeros(d, dtype=np.intp)
    for block, _ in case.blocks(LARGE_BLOCK):
        above += (block > 0.0).sum(axis=0)
        below += (block < 0.0).sum(axis=0)
    rare = above + below < EVIDENCE
    rare |= (above > 0) & (above < EVIDENCE) | (below > 0) & (below < EVIDENCE)
    if rare.any():
        return f"input {int(np.argmax(rare))} has values of one sign on fewer than {EVIDENCE} rows"
    hidden = case.n_spare > 0  # for a further neuron
    if hidden and (case.unsettled | case.constant).any():
        k = int(np.argmax(case.unsettled | case.constant))
        return f"{n_left} weights are unused, and one on input {k} could open on other rows only"
    # a neuron of one weight > 0 is closed where an input that is never < 0 has a weight << 0
    one_sign = np.sort(1.0 - np.maximum(above, below)[(above == 0) | (below == 0)] / n)
    if hidden and len(one_sign) and n * np.prod(one_sign[: n_left - 1]) < EVIDENCE and n_left > 1:
        return (
            f"{n_left} weights are unused, enough for a neuron that no row opens: lower n_nonzero"
        )
    # a neuron of several weights could be two, without a row between their boundaries
    if hidden and n_left > 1 and n < max(ROWS_FOR_TWINS, ROWS_PER_HIDDEN * min(n_left, d)):
        return f"{n_left} weights are unused, and {n} rows are too few to exclude another neuron"
    if not W.nnz:
        return ""
    seen = np.zeros((W.shape[0] + W.nnz, d), dtype=np.float32)  # neurons, then weights
    other = np.ones(seen.shape, dtype=bool)
    other[case.neuron, case.used[W.indices]] = False
    column_of = case.used[W.indices]
    other[W.shape[0] + np.arange(W.nnz), column_of] = False
    other[W.shape[0] :] &= (
        np.where(W.data > 0.0, above[column_of], below[column_of])[:, None] > 0
    )  # else it is no neuron
    for block, ZT in case.blocks(BLOCK):
        # a weight could be a neuron of its own where no row shows the difference
        is_open = np.vstack([np.asarray(W @ ZT), W.data[:, None] * ZT[W.indices]]) > 0.0
        seen += is_open.astype(np.float32) @ (block != 0.0).astype(np.float32)
        lacking = other & (seen < EVIDENCE)
        if not lacking.any():
            return ""
    j, column = (int(at) for at in np.argwhere(lacking)[0])
    beside = f"neuron {j}" if j < W.shape[0] else case.name(j - W.shape[0])
    return f"input {column} beside {beside} would count on fewer than {EVIDENCE} rows"
