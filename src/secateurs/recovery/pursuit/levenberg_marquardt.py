"""Levenberg-Marquardt on the nonzeros of a sum of neurons, and the cost of dropping each.

Between two changes of the activation patterns f is linear in (beta, u).  Its Jacobian has the
columns x_k of the linear part and g_j o x_k of each nonzero u_jk, with the gates
g_j = sign(X u_j) or 1{X u_j > 0}.  One step solves

    (Q + damping diag Q) delta = J^T r,   Q = J^T J,   r = y - f                             (1)

with the gates of the current point, and is kept only if it lowers ||r||.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from secateurs.recovery.damped import solve_damped
from secateurs.recovery.pursuit.jacobian import damped_step, jacobian
from secateurs.recovery.pursuit.plus_minus_inputs import centres
from secateurs.recovery.pursuit.relu_rows import FloatArray, HeldRows, NeuronSum, PursuitRows

FIRST_DAMPING = 1e-3
EASE, STIFFEN = 5.0, 6.0  # the damping is divided or multiplied by these after success or failure
MAX_FAILURES = 5  # failures in a row after which the point counts as a minimum
NO_PROGRESS = 1e-4  # relative fall of ||r|| below which more steps are not worth their cost
MAX_EXPLICIT = 3000  # most unknowns for which Q is formed
ROUGH = 1e-3  # relative residual above which steps are computed in single precision
ROUGH_DAMPING = 1e-6  # least damping in single precision; hides its rounding errors
RIDGE = 1e-13  # relative to diag Q; makes the Cholesky factor of a singular Q exist
ALWAYS_SAME_SIGN = 1.0 - 1e-9  # correlation of a gate with an input that decides it alone


@dataclass(frozen=True)
class Fit:
    """The residual y - f, shape [n], and its norm."""

    residual: FloatArray
    norm: float


def evaluate(rows: PursuitRows, net: NeuronSum) -> Fit:
    """Return the residual of `net`; O(n (nnz + q)) time, O(n) memory."""
    residual = rows.y.copy()
    whole = len(net.linear) == rows.width
    for block, XT, Z in rows.pre_activations(net):
        if rows.activation == "abs":
            np.abs(Z, out=Z)
        else:
            np.maximum(Z, 0.0, out=Z)
        residual[block] -= Z.sum(axis=0)
        if len(net.linear):
            residual[block] -= net.beta @ (XT if whole else XT[net.linear])
    return Fit(residual, float(np.linalg.norm(residual)))


def entry_gradient(rows: PursuitRows, net: NeuronSum, fit: Fit) -> FloatArray:
    """Return <r, g_j o x_k> for every neuron j and coordinate k, shape [p, d]."""
    G = np.zeros((net.n_neurons, rows.d))
    for block, XT, Z in rows.pre_activations(net):
        gates = rows.gates(Z)
        gates *= fit.residual[block]
        G += gates @ XT[: rows.d].T
    return G


def normal_equations(
    rows: PursuitRows, net: NeuronSum, fit: Fit | None = None, *, rough: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return Q = J^T J and J^T r for (beta, u); without a fit J^T r is zero.

    O(n (q + nnz) nnz) time, half of it if `rough` (blocks in single precision);
    O((q + nnz)^2) memory.
    """
    q, size = len(net.linear), net.n_unknowns
    Q, g = np.zeros((size, size)), np.zeros(size)
    whole = q == rows.width
    if whole:
        Q[:q, :q] = rows.gram
    dtype = np.float32 if rough else np.float64
    for block, XT, Z in rows.pre_activations(net):
        gates = rows.gates(Z)
        XT, gates = XT.astype(dtype, copy=False), gates.astype(dtype, copy=False)
        JT = XT[net.coordinate]
        JT *= gates[net.neuron]
        LT = XT if whole else XT[net.linear]
        Q[q:, q:] += JT @ JT.T
        if q:
            Q[:q, q:] += LT @ JT.T
            if not whole:
                Q[:q, :q] += LT @ LT.T
        if fit is not None:
            r: NDArray[Any] = fit.residual[block].astype(dtype, copy=False)
            g[:q] += LT @ r
            g[q:] += JT @ r
    Q[q:, :q] = Q[:q, q:].T
    return Q, g


def levenberg_marquardt(rows: PursuitRows, net: NeuronSum, n_steps: int) -> tuple[NeuronSum, Fit]:
    """Make at most `n_steps` successful steps (1); the residual never grows.

    O(n (q + nnz)^2) time a step, O(n + (q + nnz)^2) memory.  Beyond `MAX_EXPLICIT` unknowns a step
    takes some ten to a hundred iterations of O(n (q + nnz)) each, and n p bytes.
    """
    fit = evaluate(rows, net)
    damping = FIRST_DAMPING
    for _ in range(n_steps):
        rough = fit.norm > ROUGH * rows.scale
        damping = max(damping, ROUGH_DAMPING if rough else 0.0)
        solve = step_solver(rows, net, fit, rough=rough)
        for _ in range(MAX_FAILURES):
            trial = net.moved(solve(damping))
            trial_fit = evaluate(rows, trial)
            if trial_fit.norm < fit.norm:
                break
            damping *= STIFFEN
        else:
            return net, fit
        damping /= EASE
        fall = 1.0 - trial_fit.norm / fit.norm
        net, fit = trial, trial_fit
        if fall < NO_PROGRESS:
            break
    return net, fit


def step_solver(
    rows: PursuitRows, net: NeuronSum, fit: Fit, *, rough: bool
) -> Callable[[float], FloatArray]:
    """Return the step (1) as a function of the damping, by Cholesky or conjugate gradients."""
    if net.n_unknowns > MAX_EXPLICIT:
        J = jacobian(rows, net)
        relative = without_zeros(J.diagonal)
        return lambda damping: damped_step(J, fit.residual, damping * relative)
    Q, g = normal_equations(rows, net, fit, rough=rough)
    diagonal = without_zeros(np.diagonal(Q))
    return lambda damping: solve_damped(Q, g, damping * diagonal)


def without_zeros(diagonal: FloatArray) -> FloatArray:
    """Replace zeros on the diagonal of Q, so that a neuron that is never active stays in place."""
    return np.where(diagonal == 0.0, diagonal.max(initial=1.0), diagonal)


def saliency(rows: PursuitRows, net: NeuronSum) -> FloatArray:
    """Return the growth of ||r||^2 when an entry is dropped and the rest refitted, shape [nnz].

    The value is u_e^2 / (Q^-1)_ee.  It is exact at a minimum while the gates do not change.
    """
    weight = _growth(net.value, inverse_diagonal(rows, net)[len(net.linear) :])
    if isinstance(rows, HeldRows) and rows.activation == "abs":
        weight[decides_gate(rows, net)] = np.inf
    return np.asarray(weight)


def linear_saliency(rows: PursuitRows, net: NeuronSum) -> FloatArray:
    """Return the same for the coefficients of the linear part, shape [q]."""
    return _growth(net.beta, inverse_diagonal(rows, net)[: len(net.linear)])


def _growth(values: FloatArray, variances: FloatArray) -> FloatArray:
    """Return u^2 / v; infinity where v is so small that nothing can take the value's place."""
    with np.errstate(over="ignore"):
        return np.asarray(values**2 / variances)


def decides_gate(rows: HeldRows, net: NeuronSum) -> NDArray[np.bool_]:
    """Mark entries on two-valued inputs that decide the gate of their neuron alone, shape [nnz].

    For such an entry g_j o x_k is +-x_k or constant, which the linear part contains already, so
    `saliency` would not see u_jk.  But without the entry the gate would change.  A neuron that has
    only such entries is linear and is not needed.  O(n nnz) for inputs of 0 and 1, O(nnz) for +-1.
    """
    found = np.zeros(net.nnz, dtype=bool)
    if rows.signs:
        centre = centres(net.directions(rows.d))
        found[centre[(centre >= 0) & (net.counts > 1)]] = True
    elif rows.binary:
        G = np.zeros(net.nnz)
        for _, XT, Z in rows.pre_activations(net):
            G += np.einsum("ij,ij->i", rows.gates(Z)[net.neuron], XT[net.coordinate] ** 2)
        found = np.abs(G) >= ALWAYS_SAME_SIGN * rows.gram[net.coordinate, net.coordinate]
        mixed = np.bincount(net.neuron, ~found, minlength=net.n_neurons) > 0
        found &= mixed[net.neuron]
    return found


def inverse_diagonal(rows: PursuitRows, net: NeuronSum) -> FloatArray:
    """Return the diagonal of Q^-1, which the variances of (beta, u) are proportional to.

    Beyond `MAX_EXPLICIT` unknowns it is replaced by a lower bound, the inverse of the diagonal of
    Q.  Entries then look more salient than they are, above all where columns are nearly dependent.
    """
    if net.n_unknowns == 0:
        return np.empty(0)
    if net.n_unknowns > MAX_EXPLICIT:
        return np.asarray(1.0 / without_zeros(jacobian(rows, net).diagonal))
    Q, _ = normal_equations(rows, net)
    Q.flat[:: len(Q) + 1] *= 1.0 + RIDGE
    try:
        R = linalg.cholesky(Q, check_finite=False)  # Q = R^T R
        inverse = linalg.lapack.dtrtri(R)[0]
        variance = np.einsum("ij,ij->i", inverse, inverse)
    except linalg.LinAlgError:
        variance = np.diagonal(linalg.pinvh(Q, check_finite=False))
    return np.asarray(np.maximum(variance, np.finfo(float).tiny))
