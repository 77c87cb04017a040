"""Other columns that could carry the weights of a fit.

The Jacobian J of sum_j relu(w_j.x) has the columns g_j o x_k of its weights, with the gates
g_j = 1{X w_j > 0}, and a column of ones for a constant.  Let c = g_j o x_l be the column of a
weight that the network does not have, or 1{+-x_l > 0} o x_l of a new neuron.  If c = J a on the
rows, the networks

    w - t a,  with the new weight t,                                                          (1)

agree on them while no gate changes.  With a weight to spare every t gives another network.  Without
one, t must take a weight to zero.  If c is only close to J a, a small t remains: up to
tau / |c - J a| where rounding and the residual hide a change of norm tau.

Several columns together can carry a weight x_k of neuron j if g_j o x_k is in the span of few
columns g_j o x_l.  If x_k is not used by neuron j, all of them can be added to it in the proportion
that cancels on the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from secateurs.recovery.conditioning import OPEN
from secateurs.recovery.damped import solve_damped
from secateurs.recovery.fitted_rows import (
    LARGE_BLOCK,
    FittedRows,
    FloatArray,
    IntArray,
    largest_inputs,
)

DEPENDENT = 1e-5  # distance from the span, relative to the norm, that counts as zero
SAME = 1e-9  # least change of the outputs that a fit leaves open, relative; more with a residual
DIFFERENT = 1e-6  # change of an output on other rows that counts, relative to the largest
VISIBLE, EVIDENCE = 1e-9, 3  # change that counts on a row, relative, and rows that exclude (1)
CLOSE = 0.3  # distance from the span that calls for a test with all rows
MANY_ROWS = 2048  # rows of the second test, beyond 8 times the unknowns
RIDGE = 1e-11  # relative to the diagonal
SPARE_ROWS = 64  # rows of the first test beyond twice the unknowns
MOST_CANDIDATES = 48  # weights that are tested with all rows
REWEIGHTED = 8  # steps of reweighted least squares
LEAST = 1e-15  # distance from the span that rounding leaves, relative
ON_ROW = 1e-6  # residual that counts as zero there
FEWEST_KEPT, SPARE = 0.75, 5  # share of the rows on which c = J a, and rows beyond the unknowns
PARTS = (0.5, 0.1, 0.01)  # parts of the smallest step that takes a weight to zero
MOST_TOGETHER = 4  # columns that are tried as a replacement of one
MOST_STEPS = 64  # coefficients whose weight (1) is taken to zero


@dataclass(frozen=True)
class _Candidate:
    """A weight on column `column` of neuron `neuron`, or of a new neuron with the sign `sign`."""

    neuron: int  # -1 for a new one
    column: int
    sign: float
    entry: int  # its number if the network has it, else -1
    distance: float


def swapped_columns(case: FittedRows) -> str:
    """Find another weight, or a combination of few columns, that can carry a weight as well."""
    if not case.W.nnz:
        return ""
    few = _some_rows(case, 2 * (case.W.nnz + 1) + SPARE_ROWS)
    close = list(_close(case, few))
    close = sorted(close, key=lambda c: c.distance)[:MOST_CANDIDATES]
    return _alternative(case, close) or (_replaced_by_several(case) if case.n_left > 0 else "")


def _some_rows(case: FittedRows, n_rows: int) -> FloatArray:
    """Return at most n_rows of the rows, at random."""
    n = len(case.X)
    if n <= n_rows:
        return case.X
    return case.X[np.sort(np.random.default_rng(0).choice(n, n_rows, replace=False))]


def _gates(case: FittedRows, rows: FloatArray) -> FloatArray:
    return np.asarray((case.W @ (rows[:, case.used] / case.scale).T) > 0.0, dtype=np.float64)


def _jacobian(case: FittedRows, rows: FloatArray) -> FloatArray:
    """Return J [b, nnz], with a column of ones for the constant."""
    J = np.ones((len(rows), case.W.nnz + case.intercept))
    gates = _gates(case, rows)[case.neuron].T
    np.multiply((rows[:, case.used] / case.scale)[:, case.W.indices], gates, out=J[:, : case.W.nnz])
    return J


def _orthonormal(A: FloatArray) -> FloatArray:
    """Return an orthonormal basis of the columns of A, each taken at unit norm."""
    norm = np.linalg.norm(A, axis=0)
    A = A[:, norm > 0.0] / norm[norm > 0.0]
    if not A.size:
        return A[:, :0]
    U, s, _ = linalg.svd(A, full_matrices=False, check_finite=False)
    return np.asarray(U[:, s > 0.1 * DEPENDENT * s[0]])


def _distance(basis: FloatArray, C: FloatArray) -> FloatArray:
    """Return the distances of the columns of C from the span, relative; 1 for columns of zeros."""
    norm = np.linalg.norm(C, axis=0)
    C = C / np.where(norm > 0.0, norm, 1.0)
    for _ in range(2):
        C = C - basis @ (basis.T @ C)
    return np.asarray(np.where(norm > 0.0, np.linalg.norm(C, axis=0), 1.0))


def _close(case: FittedRows, rows: FloatArray) -> Iterator[_Candidate]:
    """Yield the weights whose column is close to the span of the others on these rows."""
    J, gates = _jacobian(case, rows), _gates(case, rows)
    basis = _orthonormal(J)
    largest = largest_inputs(case.X)
    columns = np.arange(case.X.shape[1])
    for j in range(case.W.shape[0]):
        members = np.setdiff1d(columns, case.used[case.support(j)])
        distance = _distance(basis, rows[:, members] / largest[members] * gates[j][:, None])
        for at in np.flatnonzero(distance <= CLOSE):
            yield _Candidate(j, int(members[at]), 1.0, -1, float(distance[at]))
    for sign in (1.0, -1.0):
        distance = _distance(basis, np.maximum(sign * rows / largest, 0.0))
        for k in np.flatnonzero(distance <= CLOSE).tolist():
            own = (case.counts[case.neuron] == 1) & (case.used[case.W.indices] == k)
            if not (own & (sign * case.W.data > 0.0)).any():
                yield _Candidate(-1, k, sign, -1, float(distance[k]))
    for e, distance_of_own in enumerate(_own_distances(J, case.W.nnz)):
        if distance_of_own <= CLOSE:
            j, k = int(case.neuron[e]), int(case.used[case.W.indices[e]])
            yield _Candidate(j, k, 1.0, e, float(distance_of_own))


def _own_distances(J: FloatArray, nnz: int) -> FloatArray:
    """Return the distance of each column of J from the span of the others."""
    norm = np.linalg.norm(J, axis=0)
    J = J / np.where(norm > 0.0, norm, 1.0)
    Q = J.T @ J
    Q.flat[:: len(Q) + 1] += DEPENDENT**2
    inverse = np.diagonal(linalg.inv(Q, check_finite=False))
    return np.asarray(1.0 / np.sqrt(np.maximum(inverse, 1e-300)))[:nnz]


def _column(case: FittedRows, c: _Candidate, rows: FloatArray) -> FloatArray:
    """Return the column of a candidate in the units of the data."""
    x = rows[:, c.column]
    if c.neuron < 0:
        return np.asarray(np.maximum(c.sign * x, 0.0))
    return np.asarray(x * _gates(case, rows)[c.neuron])


def _alternative(case: FittedRows, candidates: list[_Candidate]) -> str:
    """Find a network (1) that agrees on the rows and differs on others."""
    rows = _some_rows(case, MANY_ROWS + 8 * case.W.nnz)
    J = _jacobian(case, rows)
    drawn = np.ascontiguousarray(case.drawn.T)
    absent = [c for c in candidates if c.entry < 0 and (c.neuron >= 0 or case.n_spare > 0)]
    if case.n_left > 0 and absent:
        why = _hidden_weight(case, absent, rows, drawn)
        if why:
            return why
    for c in candidates:
        if c.neuron < 0 and case.n_spare < 1 and not (case.counts == 1).any():
            continue
        others = np.arange(J.shape[1]) != c.entry
        found = _combination(J[:, others], _column(case, c, rows))
        if found is None:
            continue
        a = np.zeros(J.shape[1])
        a[others] = found
        if any(_fits(case, c, t * a, t, drawn) for t in _lengths(case, c, a)):
            where = f"of neuron {c.neuron}" if c.neuron >= 0 else "of a neuron of its own"
            return f"a weight {where} on input {c.column} can carry a part of others"
    return ""


def _hidden_weight(
    case: FittedRows, absent: list[_Candidate], rows: FloatArray, drawn: FloatArray
) -> str:
    """Find a further weight that rounding hides on the rows, and that changes drawn rows."""
    J, J_drawn = _jacobian(case, rows), _jacobian(case, drawn)
    norm = np.linalg.norm(J, axis=0)
    norm[norm == 0.0] = 1.0
    U, s, VT = linalg.svd(J / norm, full_matrices=False, check_finite=False)
    kept = s > 0.1 * DEPENDENT * s[0]
    inverse = (VT[kept].T / s[kept]) @ U[:, kept].T
    for c in absent:
        left = column = _column(case, c, rows)
        a = np.zeros(J.shape[1])
        for _ in range(2):  # the second time removes rounding
            step = (inverse @ left) / norm
            a, left = a + step, left - J @ step
        size = max(float(np.linalg.norm(left)), LEAST * float(np.linalg.norm(column)))
        other = _column(case, c, drawn)
        change = float(np.abs(other - J_drawn @ a).max())
        if change <= VISIBLE * np.abs(other).max():
            continue
        error = case.slack / size * change
        if error > OPEN * case.peak:
            where = f"of neuron {c.neuron}" if c.neuron >= 0 else "of a neuron of its own"
            return (
                f"rounding hides a weight {where} on input {c.column}, and outputs could differ by "
                f"{error / case.peak:.1g} of the largest"
            )
    return ""


def _combination(J: FloatArray, column: FloatArray) -> FloatArray | None:
    """Return a with J a = column on all but few rows, or None.

    Iteratively reweighted least squares for the sum of absolute residuals finds the few rows; they
    are those between the boundaries of two neurons, whose gates would change in (1).
    """
    norm = np.linalg.norm(J, axis=0)
    norm[norm == 0.0] = 1.0
    A, c = J / norm, column / (np.linalg.norm(column) or 1.0)
    if not c.any():
        return None
    weight = np.ones(len(c))
    left = np.abs(c)
    for i in range(REWEIGHTED):
        B = A * weight[:, None]
        Q = A.T @ B
        left = np.abs(c - A @ solve_damped(Q, B.T @ c, RIDGE * np.diagonal(Q)))
        weight = 1.0 / np.maximum(left, 10.0 ** -(i + 1.0) * np.abs(c).max())
    kept = left <= ON_ROW * np.abs(c).max()
    if kept.sum() < max(FEWEST_KEPT * len(c), A.shape[1] + SPARE):
        return None
    a = linalg.lstsq(A[kept], c[kept], cond=0.1 * DEPENDENT, check_finite=False)[0]
    if np.linalg.norm(c[kept] - A[kept] @ a) > DEPENDENT:
        return None
    return np.asarray(a * (np.linalg.norm(column) / norm))


def _lengths(case: FittedRows, c: _Candidate, a: FloatArray) -> FloatArray:
    """Return the t of (1) to try: those that take a weight to zero, and parts of the smallest."""
    a = a[: case.W.nnz]
    e = np.flatnonzero(np.abs(a) > SAME * np.abs(a).max(initial=0.0))
    t = case.W.data[e] / a[e]
    t = t[np.argsort(np.abs(t))][:MOST_STEPS]
    if (case.n_left > 0 or c.entry >= 0) and len(t):
        t = np.concatenate([sign * share * t[:1] for sign in (1.0, -1.0) for share in PARTS] + [t])
    return np.asarray(t)


def _fits(case: FittedRows, c: _Candidate, step: FloatArray, t: float, drawn: FloatArray) -> bool:
    """Whether the network (1) agrees on the rows and differs on drawn ones."""
    nnz = case.W.nnz
    constant = -float(step[nnz]) if case.intercept else 0.0
    if c.neuron < 0 and t < 0.0:
        return False
    moved = case.W.copy()
    moved.data = case.W.data - step[:nnz]

    def outputs(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        ZT = np.ascontiguousarray((rows[:, case.used] / case.scale).T)
        before = np.maximum(np.asarray(case.W @ ZT), 0.0).sum(axis=0)
        pre = np.asarray(moved @ ZT)
        if c.neuron >= 0:
            pre[c.neuron] += t * rows[:, c.column]
            return before, np.maximum(pre, 0.0).sum(axis=0) + constant
        new = np.maximum(c.sign * t * rows[:, c.column], 0.0)
        return before, np.maximum(pre, 0.0).sum(axis=0) + new + constant

    before, after = outputs(drawn)
    if np.abs(after - before).max() <= DIFFERENT * np.abs(before).max():
        return False
    square, n_visible, open_ = 0.0, 0, max(SAME * case.size, case.slack)
    for block, _ in case.blocks(LARGE_BLOCK):
        before, after = outputs(block)
        square += float(((after - before) ** 2).sum())
        n_visible += int((np.abs(after - before) > VISIBLE * case.peak).sum())
        if n_visible >= EVIDENCE and square > open_**2:
            return False
    return True


def _replaced_by_several(case: FittedRows) -> str:
    """Find few columns whose combination is a column of a weight where its neuron is open."""
    n, d = case.X.shape
    rng = np.random.default_rng(0)
    for j in range(case.W.shape[0]):
        rows = np.flatnonzero(case.pre[j] > 0.0)
        always = len(rows) == n
        if len(rows) > 2 * d + SPARE_ROWS:
            rows = np.sort(rng.choice(rows, 2 * d + SPARE_ROWS, replace=False))
        A = case.X[rows]
        norm = np.linalg.norm(A, axis=0)
        A = A / np.where(norm > 0.0, norm, 1.0)
        if case.intercept and always:
            A = np.hstack([A, np.full((len(A), 1), len(A) ** -0.5)])
        live = np.flatnonzero(np.linalg.norm(A, axis=0))
        if len(A) > len(live) and linalg.svdvals(A[:, live]).min() > DEPENDENT:
            continue  # the columns are independent, few or many of them
        own = case.used[case.support(j)]
        for k in [*own, *np.setdiff1d(live[live < d], own)]:
            free = np.append(own[own != k], d) if A.shape[1] > d else own[own != k]
            n_more = case.n_left + 1 if k in own else case.n_left - 1
            found = _few_columns(A, int(k), free, min(n_more, MOST_TOGETHER))
            if len(found):
                several = ", ".join(map(str, found))
                return f"the inputs {several} together can carry a weight of input {k}"
    return ""


def _few_columns(A: FloatArray, k: int, free: IntArray, n_most: int) -> list[int]:
    """Choose columns by orthogonal matching pursuit until they reproduce column k, or []."""
    chosen: list[int] = []
    basis = _orthonormal(A[:, free])
    left = A[:, k] - basis @ (basis.T @ A[:, k])
    for _ in range(n_most):
        away = A - basis @ (basis.T @ A)
        size = np.linalg.norm(away, axis=0)
        size[[k, *free, *chosen]] = 0.0
        score = np.abs(left @ away) / np.where(size > DEPENDENT, size, np.inf)
        best = int(np.argmax(score))
        if best >= A.shape[1] or score[best] == 0.0:
            return []
        chosen.append(best)
        basis = _orthonormal(A[:, [*free, *chosen]])
        left = A[:, k] - basis @ (basis.T @ A[:, k])
        left -= basis @ (basis.T @ left)
        if np.linalg.norm(left) <= DEPENDENT:
            return chosen
    return []
