"""Lower bounds of the sup error of neuron pruning: no subset of the neurons has a smaller error.

There are three bounds.  A search makes each larger, and each is valid however good the search is:
the first for any unit x0 and delta <= min phi_i, the second for any delta that no line is within,
the third for any points of the unit ball.

breakpoint (form A, every subset and every alpha).  On the plane of w* and a unit x0 orthogonal
    to it, x(t) = cos(t) x0 + sin(t) w*, neuron i has its kink at the angle
    phi_i = arctan(|<w_i, x0>| / |<w_i, w*>|) from x0.  Between -delta and delta, delta = min phi_i,
    h is linear and f is not:
    e(x(delta)) + e(x(-delta)) - 2 cos(delta) e(x0) = sin(delta), so sup |e| >= tan(delta / 2) / 2.

latitude (form A, every subset and every alpha; `secateurs.tickets.neuron.latitude`).

relaxation (both forms, these alphas, every subset).  For points x_k and weights
    sum |y_k| <= 1,  sup |e| >= sum_k y_k (f(x_k) - h(x_k)) >= sum y_k f_k - sum_i max(0, (A^T y)_i)
    with A_ki = alpha_i relu(<w_i, x_k>).  In form B, f - relu(h) <= e gives f - h <= e only where
    f > e: with y_k <= 0 wherever f_k <= tau the bound is min(tau, the sum).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from secateurs.tickets.neuron.latitude import latitude_bound
from secateurs.tickets.neuron.pruned_neuron import Array, PrunedNeuron, scaled_rows, unit_rows
from secateurs.tickets.neuron.sup_error import bracket

ROUNDING = 1e-14  # of an angle for d <= 64
STARTS, SIGN_CHANGES, SAMPLES = 12, 40, 64  # of the search for x0; samples for each dimension
SAMPLED_NUMBERS = 1 << 22  # at most, in all samples
COLUMNS, COLUMN_ROUNDS = 64, 12  # neurons added to the relaxation at once, and how often
PIVOTS = 10  # simplex steps for each row, after which the relaxation is given up
CELLS = 2000  # of the sphere, for the worst points of a fractional network
WORST_POINTS = 12  # that are added to the relaxation


def any_output_bound(V: Array, target: Array, random_state: int = 0) -> float:
    """Return the larger of the breakpoint and the latitude bound, in units of ||w*||.

    Form A.  Costs O(d) nonnegative least squares problems of size [d, N].
    """
    _, delta = breakpoint_direction(V, target, random_state)
    return max(breakpoint_bound(delta), latitude_bound(nearest_angle(V, target), len(target)))


def breakpoint_direction(W: Array, target: Array, random_state: int = 0) -> tuple[Array, float]:
    """Find a unit x0 orthogonal to w* with a large delta = min_i phi_i.

    For fixed signs s_i of <w_i, x0>, the largest min_i s_i <v_i, x> with v_i = w_i / |<w_i, w*>|
    is a least distance problem (nonnegative least squares).  Then the sign of one of the neurons
    that limit it is changed.  The result is a local maximum, after O(starts * sign changes) such
    problems of size [d, N].

    Returns
    -------
    x0, delta : array [d], float
        The direction, and its delta rounded down.
    """
    d, n = len(target), len(W)
    W, unit = scaled_rows(W), _unit(target)
    plane = np.linalg.svd(unit[None])[2][1:]  # orthonormal rows that span the complement
    W = W[(W != 0).any(axis=1)]
    if d == 1:
        return np.zeros(1), 0.0
    across, along = W @ plane.T, np.abs(W @ unit)

    def angle(u: Array) -> float:
        return float(np.arctan2(np.abs(across @ u), along).min(initial=np.pi / 2))

    rng = np.random.default_rng(random_state)
    if d == 2 or not len(W):
        return plane[0], angle(np.eye(d - 1)[0])
    n_samples = min(SAMPLES * d, max(STARTS, SAMPLED_NUMBERS // d))
    sample = unit_rows(rng.standard_normal((n_samples, d - 1)))
    angles = np.array([angle(u) for u in sample])
    best, delta = sample[int(angles.argmax())], float(angles.max())
    V = across / np.maximum(along, 1e-12 * np.linalg.norm(W, axis=1))[:, None]
    for k in np.argsort(-angles, kind="stable")[:STARTS]:
        signs = np.where(V @ sample[k] >= 0, 1.0, -1.0)
        x, active = _widest(V, signs)
        here = angle(x)
        tried = 0
        while tried < min(len(active), SIGN_CHANGES):
            other = signs.copy()
            other[active[tried]] *= -1
            y, near = _widest(V, other)
            if angle(y) > here * (1 + 1e-9):
                signs, x, active, here, tried = other, y, near, angle(y), 0
            else:
                tried += 1
        if here > delta:
            best, delta = x, here
    x0 = best @ plane
    x0 = x0 - (x0 @ unit) * unit
    x0 /= np.linalg.norm(x0)
    if not n:
        return x0, delta
    # the angle of the returned vector; a sum of d products may be wrong by d roundings
    delta = float(np.arctan2(np.abs(W @ x0), along).min(initial=np.pi / 2))
    return x0, max(delta - ROUNDING * (max(1, d / 64) - 1), 0.0)


def _widest(V: Array, signs: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the unit x of the largest min_i signs_i <v_i, x>, and the rows that limit it."""
    E = np.vstack([(signs[:, None] * V).T, np.ones(len(V))])
    goal = np.append(np.zeros(V.shape[1]), 1.0)
    none = np.zeros(0, dtype=np.intp)
    try:
        u, _ = optimize.nnls(E, goal)
    except RuntimeError:  # no more iterations: any x is valid
        return V[0] / np.linalg.norm(V[0]), none
    r = (E @ u - goal)[:-1]
    size = float(np.linalg.norm(r))
    if size < 1e-14:  # no x has these signs
        return np.eye(V.shape[1])[0], none
    return np.asarray(r / size), np.flatnonzero(u > 0)


def breakpoint_bound(delta: float) -> float:
    """Return tan(delta / 2) / 2, for a unit target."""
    return float(np.tan(max(delta - ROUNDING, 0) / 2)) / 2


def nearest_angle(W: Array, target: Array) -> float:
    """Return the angle from w* to the nearest of the lines +-w_i."""
    W, unit = scaled_rows(W[(W != 0).any(axis=1)]), _unit(target)
    along = W @ unit
    across = np.linalg.norm(W - along[:, None] * unit, axis=1)
    return float(np.arctan2(across, np.abs(along)).min(initial=np.pi / 2))


def breakpoint_points(W: Array, target: Array, random_state: int = 0) -> Array:
    """Return the three points of the breakpoint proof.

    With them the relaxation is at least as good as the breakpoint bound.
    """
    unit = _unit(target)
    x0, delta = breakpoint_direction(W, target, random_state)
    if not delta:
        return np.array([unit])
    across, along = np.cos(delta) * x0, np.sin(delta) * unit
    return np.array([x0, across + along, across - along])


def relaxation_bound(
    problem: PrunedNeuron, X: Array, tau: float = 0.0, rounds: int = 4
) -> tuple[float, Array, Array]:
    """Bound the error of all subsets from below, by linear programs.

    Parameters
    ----------
    problem : PrunedNeuron
    X : array, shape [K, d]
        Points of the unit ball to start from; the worst points of each solution are added.
    tau : float
        For form B: no bound above tau is found.
    rounds : int
        Linear programs with new points; each is solved by column generation.

    Returns
    -------
    bound, X, z : float, array [K', d], array [N]
        The bound, the points that were used, and the last solution: fractional neurons.

    Notes
    -----
    The bound is computed from the weights y in the formula above and not read from the solver, so
    it does not depend on the tolerances of the solver.  A round of columns costs a linear program
    with 2 K rows and about 64 columns, and 2 K N flops.
    """
    n = len(problem.V)
    near = np.argsort(-np.abs(cosines(problem.V, problem.target)), kind="stable")
    columns = near[:COLUMNS]
    best, z = 0.0, np.zeros(n)
    for k in range(rounds):
        A, f = problem.neuron_values(X), problem.target_values(X)
        found, z, columns = _relax(A, f, f > tau if problem.form_b else f >= 0, columns)
        if problem.form_b:
            found = min(found, tau)
        best = max(best, found - problem.rounding(n + len(X) + X.shape[1] + 4))
        if k + 1 == rounds or not n:
            break
        whole = problem._replace(V=problem.V * z[:, None])
        _, upper, worst = bracket(whole, max_cells=CELLS)
        if upper <= best * (1 + 1e-6):
            break
        X = np.vstack([X, worst[:WORST_POINTS]])
    return max(best, 0.0), X, z


def cosines(V: Array, target: Array) -> Array:
    """Return <v_i, w*> / ||v_i||, which is 0 for a neuron of length 0."""
    lengths = np.linalg.norm(V, axis=1)
    lengths[lengths == 0] = np.inf
    return np.asarray(V @ target / lengths)


def _unit(target: Array) -> Array:
    target = scaled_rows(target)  # so that no square leaves float64
    return np.asarray(target / np.linalg.norm(target))


def _relax(
    A: Array, f: Array, both: NDArray[np.bool_], columns: NDArray[np.intp]
) -> tuple[float, Array, NDArray[np.intp]]:
    """Minimise e over z in [0, 1]^N with f - A z <= e where `both`, and A z - f <= e.

    Returns
    -------
    value, z, columns : float, array [N], array of int
        The value of the dual, the solution, and the neurons of the last linear program.
    """
    n = A.shape[1]
    best, z = 0.0, np.zeros(n)
    for _ in range(COLUMN_ROUNDS):
        part = A[:, columns]
        rows = np.vstack([-part[both], part])
        solved = optimize.linprog(
            np.append(np.zeros(len(columns)), 1.0),
            A_ub=np.column_stack([rows, -np.ones(len(rows))]),
            b_ub=np.concatenate([-f[both], f]),
            bounds=[(0, 1)] * len(columns) + [(0, None)],
            method="highs-ds",
            options={"maxiter": PIVOTS * len(rows)},  # it may cycle where the bound is 0
        )
        if solved.x is None or solved.status != 0:
            break
        prices = np.maximum(-np.asarray(solved.ineqlin.marginals), 0)
        y = np.zeros(len(f))
        y[both] = prices[: both.sum()]
        y -= prices[both.sum() :]
        y /= max(1.0, float(np.abs(y).sum()))
        gains = A.T @ y
        best = max(best, float(y @ f - np.maximum(gains, 0).sum()))
        z = np.zeros(n)
        z[columns] = np.clip(solved.x[:-1], 0, 1)
        outside = np.setdiff1d(np.flatnonzero(gains > 1e-9), columns)
        if not len(outside):
            break
        worst = outside[np.argsort(-gains[outside], kind="stable")[:COLUMNS]]
        columns = np.concatenate([columns, worst])
    return best, z, columns
