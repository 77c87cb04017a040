"""Other columns that could carry the weights of a fit.

The Jacobian J of sum_j relu(w_j.x) has the columns g_j o x_k of its weights, with the gates
g_j = 1{X w_j > 0}, and a column of ones for a constant.  Let c = g_j o x_l be the column of a
weight that the network does not have, or 1{+-x_l > 0} o x_l of a new neuron.  If c = J a on the
rows, the networks

    w - t a,  with the new weight t,                                                          (1)

agree on them while no gate changes.  With a weight to spare every t gives another network.  Without
one, t must take a weight to zero.  Several columns together can carry a weight x_k of neuron j if
g_j o x_k is in the span of few columns g_j o x_l.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from secateurs.recovery.fitted_rows import FittedRows, FloatArray, IntArray

DEPENDENT = 1e-5  # distance from the span, relative to the norm, that counts as zero
SAME = 1e-9  # change of the outputs that a fit without residual leaves open, relative
DIFFERENT = 1e-6  # change of an output on other rows that counts, relative to the largest
SPARE_ROWS = 64  # rows of the first test beyond the unknowns; the others only test what is left
MORE_ROWS = 4  # factor by which the next test has more rows
MOST_TOGETHER = 4  # columns that are tried as a replacement of one
MOST_STEPS = 64  # coefficients whose weight (1) is taken to zero


@dataclass(frozen=True)
class _Candidate:
    """A weight on column `column` of neuron `neuron`, or of a new neuron with the sign `sign`."""

    neuron: int  # -1 for a new one
    column: int
    sign: float


def swapped_columns(case: FittedRows) -> str:
    """Find another column that carries a weight as well, alone or with few others."""
    if not case.W.nnz:
        return ""
    rows = case.X[np.random.default_rng(0).permutation(len(case.X))]
    n_rows = 2 * (case.W.nnz + 1) + SPARE_ROWS
    candidates: list[_Candidate] | None = None
    while True:
        part = rows[:n_rows]
        candidates = list(_dependent(case, part, candidates))
        if not candidates:
            break
        if n_rows >= len(rows):
            why = _alternative(case, candidates)
            if why:
                return why
            break
        n_rows *= MORE_ROWS
    return _replaced_by_several(case) if case.n_left > 0 else ""


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
    """Return the distances of the columns of C from the span, relative; 0 for columns of zeros."""
    norm = np.linalg.norm(C, axis=0)
    C = C / np.where(norm > 0.0, norm, 1.0)
    for _ in range(2):
        C = C - basis @ (basis.T @ C)
    return np.asarray(np.linalg.norm(C, axis=0))


def _dependent(
    case: FittedRows, rows: FloatArray, among: list[_Candidate] | None
) -> Iterator[_Candidate]:
    """Yield the candidates whose column is in the span of J on these rows."""
    basis, gates = _orthonormal(_jacobian(case, rows)), _gates(case, rows)
    largest = np.maximum(np.abs(case.X).max(axis=0), np.finfo(float).tiny)
    wanted: dict[tuple[int, float], list[int]] = {}
    if among is not None:
        for c in among:
            wanted.setdefault((c.neuron, c.sign), []).append(c.column)
    else:
        columns = np.arange(case.X.shape[1])
        for j in range(case.W.shape[0]):
            wanted[j, 1.0] = np.setdiff1d(columns, case.used[case.support(j)]).tolist()
        single = {
            (int(case.used[case.support(j)[0]]), float(np.sign(case.values(j)[0])))
            for j in np.flatnonzero(case.counts == 1)
        }
        for sign in (1.0, -1.0):
            wanted[-1, sign] = [k for k in columns.tolist() if (k, sign) not in single]
    for (j, sign), members in wanted.items():
        C = rows[:, members] / largest[members]
        C = np.maximum(sign * C, 0.0) if j < 0 else C * gates[j][:, None]
        for at in np.flatnonzero(_distance(basis, C) <= DEPENDENT):
            yield _Candidate(j, int(members[at]), sign)


def _column(case: FittedRows, c: _Candidate, rows: FloatArray) -> FloatArray:
    """Return the column of a candidate in the units of the data."""
    x = rows[:, c.column]
    if c.neuron < 0:
        return np.maximum(c.sign * x, 0.0)
    return x * _gates(case, rows)[c.neuron]


def _alternative(case: FittedRows, candidates: list[_Candidate]) -> str:
    """Find a network (1) that agrees on the rows and differs on others."""
    J = _jacobian(case, case.X)
    norm = np.linalg.norm(J, axis=0)
    norm[norm == 0.0] = 1.0
    pinv = linalg.pinv(J / norm, rtol=0.1 * DEPENDENT)
    drawn = np.ascontiguousarray(case.drawn.T)
    J_drawn = _jacobian(case, drawn)
    for c in candidates:
        column = _column(case, c, case.X)
        if not column.any() or (c.neuron < 0 and case.n_spare < 1 and case.n_left > 0):
            continue
        a = (pinv @ column) / norm
        other = _column(case, c, drawn)
        change = np.abs(other - J_drawn @ a).max()
        where = f"of neuron {c.neuron}" if c.neuron >= 0 else "of a neuron of its own"
        if case.n_left > 0:
            if change > DIFFERENT * max(np.abs(other).max(), np.abs(J_drawn * a).max()):
                return f"a weight {where} on input {c.column} changes no row beside the others"
            continue
        if any(_fits(case, c, t * a, t, drawn) for t in _vertices(case, a)):
            return f"a weight {where} on input {c.column} can replace another one"
    return ""


def _vertices(case: FittedRows, a: FloatArray) -> FloatArray:
    """Return the t at which (1) takes a weight to zero, smallest first."""
    a = a[: case.W.nnz]
    e = np.flatnonzero(np.abs(a) > SAME * np.abs(a).max(initial=0.0))
    t = case.W.data[e] / a[e]
    return np.asarray(t[np.argsort(np.abs(t))][:MOST_STEPS])


def _fits(
    case: FittedRows, c: _Candidate, step: FloatArray, t: float, drawn: FloatArray
) -> bool:
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

    before, after = outputs(case.X)
    if np.linalg.norm(after - before) > SAME * max(np.linalg.norm(before), abs(constant)):
        return False
    before, after = outputs(drawn)
    return bool(np.abs(after - before).max() > DIFFERENT * np.abs(before).max())


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
        for k in own:
            free = np.append(own[own != k], d) if A.shape[1] > d else own[own != k]
            found = _few_columns(A, int(k), free, min(case.n_left + 1, MOST_TOGETHER))
            if len(found):
                several = ", ".join(map(str, found))
                return f"the inputs {several} together can carry a weight of input {k}"
    return ""


def _few_columns(A: FloatArray, k: int, free: IntArray, n_most: int) -> list[int]:
    """Choose columns greedily (orthogonal matching pursuit) until they reproduce column k, or []."""
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
