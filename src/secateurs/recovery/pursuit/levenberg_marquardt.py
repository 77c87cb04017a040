"""Levenberg-Marquardt on the nonzeros of a one-hidden-layer network with fused outputs.

    f(x) = x.beta + sum_j |x.u_j|   ("abs", the sign-free form)
    f(x) = x.beta + sum_j relu(x.u_j)   ("relu", beta only on the intercept)                (1)

Between two changes of the activation patterns f is linear in (beta, u): its Jacobian has the
columns x_k of the linear part and g_j o x_k of each nonzero u_jk, with the gates
g_j = sign(X u_j) or 1{X u_j > 0}.  One step solves

    (Q + damping diag Q) delta = J^T r,   Q = J^T J,   r = y - f                             (2)

with the gates of the current point, and is kept only if it lowers ||r||.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from secateurs.recovery.pursuit.jacobian import Jacobian, damped_step
from secateurs.recovery.pursuit.plus_minus_inputs import centres

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Activation = Literal["abs", "relu"]

FIRST_DAMPING = 1e-3
EASE, STIFFEN = 5.0, 6.0  # the damping after a step that succeeds, that fails
MAX_FAILURES = 5  # in a row, before the point is taken for a minimum
NO_PROGRESS = 1e-4  # relative fall of ||r|| below which more steps are not worth their cost
BLOCK_ROWS = 2048
MAX_EXPLICIT = 3000  # unknowns for which Q is formed; steps are matrix-free beyond
ROUGH = 1e-3  # relative residual down to which steps are found in single precision
ROUGH_DAMPING = 1e-6  # keeps its rounding errors small beside the damping
RIDGE = 1e-13  # relative to diag Q: keeps the Cholesky factor of a singular Q defined


@dataclass(frozen=True)
class Network:
    """Nonzeros of (1), sorted by neuron, then coordinate; neurons without gaps.

    Attributes
    ----------
    linear : int array [q]
        Coordinates of the linear part, ascending.
    beta : float array [q]
    neuron, coordinate : int array [e]
    value : float array [e]
    """

    linear: IntArray
    beta: FloatArray
    neuron: IntArray
    coordinate: IntArray
    value: FloatArray

    @property
    def n_neurons(self) -> int:
        """Number of neurons p, each with at least one nonzero."""
        return int(self.neuron[-1]) + 1 if len(self.neuron) else 0

    @property
    def nnz(self) -> int:
        """Nonzeros of the neurons."""
        return len(self.value)

    @property
    def counts(self) -> IntArray:
        """Nonzeros of each neuron, shape [p]."""
        return np.bincount(self.neuron, minlength=self.n_neurons).astype(np.intp)

    def directions(self, d: int) -> sparse.csr_array[np.float64]:
        """The u_j as a matrix [p, d]."""
        indptr = np.concatenate([[0], np.cumsum(self.counts)])
        return sparse.csr_array((self.value, self.coordinate, indptr), shape=(self.n_neurons, d))

    def norms(self) -> FloatArray:
        """||u_j||, shape [p]."""
        return np.sqrt(np.bincount(self.neuron, self.value**2, minlength=self.n_neurons))

    def moved(self, delta: FloatArray) -> Network:
        """The network after a step in (beta, u)."""
        q = len(self.beta)
        return replace(self, beta=self.beta + delta[:q], value=self.value + delta[q:])

    def with_linear(self, linear: IntArray) -> Network:
        """The network with another linear part, coefficients kept where there were any."""
        beta = np.zeros(len(linear))
        _, new, old = np.intersect1d(linear, self.linear, return_indices=True)
        beta[new] = self.beta[old]
        return replace(self, linear=linear, beta=beta)

    def without(self, drop: NDArray[np.bool_]) -> Network:
        """The network without the entries where `drop` is true."""
        keep = ~drop
        return network(
            self.linear, self.beta, self.neuron[keep], self.coordinate[keep], self.value[keep]
        )

    def plus(self, neuron: IntArray, coordinate: IntArray, value: FloatArray) -> Network:
        """The network with more entries; neuron numbers from `n_neurons` on are new."""
        return network(
            self.linear,
            self.beta,
            np.concatenate([self.neuron, neuron]),
            np.concatenate([self.coordinate, coordinate]),
            np.concatenate([self.value, value]),
        )


def network(
    linear: IntArray, beta: FloatArray, neuron: IntArray, coordinate: IntArray, value: FloatArray
) -> Network:
    """A `Network` from entries in any order, neurons renumbered without gaps."""
    order = np.lexsort((coordinate, neuron))
    neuron = neuron[order]
    if len(neuron):
        neuron = np.cumsum(np.concatenate([[False], np.diff(neuron) > 0])).astype(np.intp)
    return Network(linear, beta, neuron, coordinate[order].astype(np.intp), value[order])


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """The rows a network is fitted to, given out in blocks of at most `BLOCK_ROWS`.

    Attributes
    ----------
    y : float array [n]
    d : int
        Coordinates that neurons may use.
    intercept : bool
        Whether coordinate d is the constant 1, for the linear part only.
    activation : {"abs", "relu"}
    """

    y: FloatArray
    d: int
    intercept: bool
    activation: Activation

    @abstractmethod
    def inputs(self, block: slice) -> FloatArray:
        """Inputs of a block of rows, shape [width, b]: one coordinate a row.

        A column of the Jacobian is then contiguous.
        """

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def width(self) -> int:
        """Coordinates, the constant included."""
        return self.d + self.intercept

    @cached_property
    def scale(self) -> float:
        """||y||, what residuals are relative to."""
        return float(np.linalg.norm(self.y)) or 1.0

    @cached_property
    def gram(self) -> FloatArray:
        """X^T X, computed once: the linear part of Q where that has every coordinate."""
        G = np.zeros((self.width, self.width))
        for block in self.blocks():
            XT = self.inputs(block)
            G += XT @ XT.T
        return G

    def blocks(self) -> Iterator[slice]:
        """Slices of the rows."""
        for start in range(0, self.n, BLOCK_ROWS):
            yield slice(start, min(start + BLOCK_ROWS, self.n))


@dataclass(frozen=True, eq=False)
class HeldRows(Rows):
    """Rows in memory, transposed: XT [width, n]."""

    XT: FloatArray
    signs: bool = False  # every input is +1 or -1

    @cached_property
    def binary(self) -> bool:
        """Whether every input is 0 or the largest of its column."""
        X = self.XT[: self.d]
        return bool(np.logical_or(X == 0.0, X.max(axis=1, initial=0.0, keepdims=True) == X).all())

    def inputs(self, block: slice) -> FloatArray:
        """A view."""
        return self.XT[:, block]

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """Inputs of the neurons in single precision, for what is only a starting point."""
        return self.XT[: self.d].astype(np.float32)

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean of each input."""
        return np.asarray(self.XT[: self.d].mean(axis=1), dtype=np.float32)

    @cached_property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation of each input; 1 for a constant, which no neuron needs."""
        std = self.XT[: self.d].std(axis=1)
        return np.where(std > 1e-9, std, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class StreamedRows(Rows):
    """Some scaled columns of a table X [n, D], copied a block at a time."""

    X: FloatArray
    columns: IntArray
    column_scale: FloatArray

    def inputs(self, block: slice) -> FloatArray:
        """A copy of the block, scaled and transposed."""
        rows = self.X[block]
        XT = np.ones((self.width, len(rows)))
        np.divide(rows[:, self.columns].T, self.column_scale[:, None], out=XT[: self.d])
        return XT


@dataclass(frozen=True)
class Fit:
    """Residual y - f of a network, shape [n], and its norm."""

    residual: FloatArray
    norm: float


def directions_times(U: sparse.csr_array[np.float64], XT: FloatArray) -> FloatArray:
    """Pre-activations U X^T, shape [p, b]."""
    return np.asarray(U @ XT)


def gates_of(Z: FloatArray, activation: Activation) -> FloatArray:
    """Derivative of the activation at pre-activations [p, b]: +-1 or 0/1."""
    return np.where(Z >= 0.0, 1.0, -1.0) if activation == "abs" else (Z > 0.0).astype(np.float64)


def evaluate(rows: Rows, net: Network) -> Fit:
    """Residual of `net`; O(n (nnz + q)) time, O(n) memory."""
    U = net.directions(rows.d)
    residual = rows.y.copy()
    whole = len(net.linear) == rows.width
    for block in rows.blocks():
        XT = rows.inputs(block)
        Z = directions_times(U, XT[: rows.d])
        if rows.activation == "abs":
            np.abs(Z, out=Z)
        else:
            np.maximum(Z, 0.0, out=Z)
        residual[block] -= Z.sum(axis=0)
        if len(net.linear):
            residual[block] -= net.beta @ (XT if whole else XT[net.linear])
    return Fit(residual, float(np.linalg.norm(residual)))


def entry_gradient(rows: Rows, net: Network, fit: Fit) -> FloatArray:
    """<r, g_j o x_k> for every neuron j and coordinate k, shape [p, d]."""
    U = net.directions(rows.d)
    G = np.zeros((net.n_neurons, rows.d))
    for block in rows.blocks():
        XT = rows.inputs(block)[: rows.d]
        gates = gates_of(directions_times(U, XT), rows.activation)
        gates *= fit.residual[block]
        G += gates @ XT.T
    return G


def input_gradient(rows: Rows, fit: Fit) -> FloatArray:
    """<r, x_k> for every coordinate, shape [d]."""
    G = np.zeros(rows.d)
    for block in rows.blocks():
        G += rows.inputs(block)[: rows.d] @ fit.residual[block]
    return G


def normal_equations(
    rows: Rows, net: Network, fit: Fit | None = None, *, rough: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Q = J^T J and J^T r (zeros without a fit) for (beta, u), streamed over the rows.

    O(n (q + nnz) nnz) time, half of it if `rough` (blocks in single precision);
    O((q + nnz)^2) memory.
    """
    q, size = len(net.linear), len(net.linear) + net.nnz
    Q, g = np.zeros((size, size)), np.zeros(size)
    whole = q == rows.width
    if whole:
        Q[:q, :q] = rows.gram
    U = net.directions(rows.d)
    dtype = np.float32 if rough else np.float64
    for block in rows.blocks():
        XT = rows.inputs(block)
        gates = gates_of(directions_times(U, XT[: rows.d]), rows.activation)
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


def levenberg_marquardt(
    rows: Rows, net: Network, n_steps: int, fit: Fit | None = None
) -> tuple[Network, Fit]:
    """At most `n_steps` steps of (2) on the nonzeros, never uphill.

    Parameters
    ----------
    rows : Rows
    net : Network
    n_steps : int
        Steps taken; a failure costs one Cholesky factorisation, not a step.
    fit : Fit, optional
        ``evaluate(rows, net)`` where it is known.

    Returns
    -------
    Network, Fit
        O(n (q + nnz)^2) time a step, O(n + (q + nnz)^2) memory; beyond `MAX_EXPLICIT` unknowns
        O(n (q + nnz)) for each of some ten to hundred iterations, and n p bytes.
    """
    fit = evaluate(rows, net) if fit is None else fit
    damping = FIRST_DAMPING
    for _ in range(n_steps):
        rough = fit.norm > ROUGH * rows.scale
        damping = max(damping, ROUGH_DAMPING if rough else 0.0)
        solve = step_solver(rows, net, fit, rough=rough)
        for _ in range(MAX_FAILURES):
            delta = solve(damping)
            trial = net.moved(delta)
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
    rows: Rows, net: Network, fit: Fit, *, rough: bool
) -> Callable[[float], FloatArray]:
    """The step (2) as a function of the damping, by Cholesky or by conjugate gradients."""
    if len(net.linear) + net.nnz > MAX_EXPLICIT:
        J = jacobian(rows, net)
        relative = filled(J.diagonal)
        return lambda damping: damped_step(J, fit.residual, damping * relative)
    Q, g = normal_equations(rows, net, fit, rough=rough)
    diagonal = filled(np.diagonal(Q))
    return lambda damping: solve_damped(Q, g, damping * diagonal)


def filled(diagonal: FloatArray) -> FloatArray:
    """The diagonal of Q without zeros, so that a dead neuron stays where it is."""
    return np.where(diagonal == 0.0, diagonal.max(initial=1.0), diagonal)


def jacobian(rows: Rows, net: Network) -> Jacobian:
    """Products by the Jacobian at `net`; O(n nnz) time, n p bytes."""
    U = net.directions(rows.d)
    gates = np.empty((net.n_neurons, rows.n), dtype=np.int8)
    for block in rows.blocks():
        XT = rows.inputs(block)
        gates[:, block] = gates_of(directions_times(U, XT[: rows.d]), rows.activation)
    return Jacobian(rows, net, gates)


def solve_damped(Q: FloatArray, g: FloatArray, damping: FloatArray) -> FloatArray:
    """Solution of (Q + diag(damping)) delta = g."""
    damped = Q.copy()
    damped.flat[:: len(Q) + 1] += damping
    try:
        factor = linalg.cho_factor(damped, overwrite_a=True, check_finite=False)
        return linalg.cho_solve(factor, g, check_finite=False)
    except linalg.LinAlgError:
        return g / (np.diagonal(Q) + damping + np.finfo(float).tiny)


def saliency(rows: Rows, net: Network) -> FloatArray:
    """Growth of ||r||^2 when an entry is dropped and the rest refitted, shape [nnz].

    u_e^2 / (Q^-1)_ee, exact at a minimum while the gates do not change.
    """
    weight = net.value**2 / inverse_diagonal(rows, net)[len(net.linear) :]
    if isinstance(rows, HeldRows) and rows.activation == "abs":
        weight[decisive(rows, net)] = np.inf
    return np.asarray(weight)


def decisive(rows: HeldRows, net: Network) -> NDArray[np.bool_]:
    """Entries on two-valued inputs that alone decide their gate; shape [nnz].

    g_j o x_k is then +-x_k or constant, which the linear part has already: `saliency` sees
    nothing in u_jk, but without it the gate is another.  A neuron of such entries alone is
    linear and needs none.  O(n nnz) for inputs of 0 and 1, O(nnz) for +-1.
    """
    found = np.zeros(net.nnz, dtype=bool)
    U = net.directions(rows.d)
    if rows.signs:
        centre = centres(U)
        found[centre[(centre >= 0) & (net.counts > 1)]] = True
    elif rows.binary:
        G = np.zeros(net.nnz)
        for block in rows.blocks():
            XT = rows.inputs(block)
            gates = gates_of(directions_times(U, XT[: rows.d]), "abs")
            G += np.einsum("ij,ij->i", gates[net.neuron], XT[net.coordinate] ** 2)
        found = np.abs(G) >= (1.0 - 1e-9) * rows.gram[net.coordinate, net.coordinate]
        mixed = np.bincount(net.neuron, ~found, minlength=net.n_neurons) > 0
        found &= mixed[net.neuron]
    return found


def linear_saliency(rows: Rows, net: Network) -> FloatArray:
    """The same for the coefficients of the linear part, shape [q]."""
    return np.asarray(net.beta**2 / inverse_diagonal(rows, net)[: len(net.linear)])


def inverse_diagonal(rows: Rows, net: Network) -> FloatArray:
    """Diagonal of Q^-1, what the variances of (beta, u) are proportional to.

    Beyond `MAX_EXPLICIT` unknowns the inverse of the diagonal of Q, a lower bound of it: entries
    then look more salient than they are, most of all where columns are nearly dependent.
    """
    if len(net.linear) + net.nnz == 0:
        return np.empty(0)
    if len(net.linear) + net.nnz > MAX_EXPLICIT:
        return np.asarray(1.0 / filled(jacobian(rows, net).diagonal))
    Q, _ = normal_equations(rows, net)
    Q.flat[:: len(Q) + 1] *= 1.0 + RIDGE
    try:
        R = linalg.cholesky(Q, check_finite=False)  # Q = R^T R
        inverse = linalg.lapack.dtrtri(R)[0]
        variance = np.einsum("ij,ij->i", inverse, inverse)
    except linalg.LinAlgError:
        variance = np.diagonal(linalg.pinvh(Q, check_finite=False))
    return np.asarray(np.maximum(variance, np.finfo(float).tiny))
