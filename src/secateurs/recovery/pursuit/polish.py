"""The ReLU form of a sign-free sum of neurons, fitted to all rows within both budgets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateurs.recovery.pursuit.binary_inputs import absorb_linear, lower_centres
from secateurs.recovery.pursuit.columns import UsefulColumns
from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    entry_gradient,
    levenberg_marquardt,
    normal_equations,
    saliency,
)
from secateurs.recovery.pursuit.moves import add_entries, add_neurons, prune_to
from secateurs.recovery.pursuit.plus_minus_inputs import relu_of_signs
from secateurs.recovery.pursuit.relu_rows import (
    NO_INDICES,
    FloatArray,
    NeuronSum,
    PursuitRows,
    linear_only,
    neuron_sum,
)
from secateurs.recovery.pursuit.rounds import Search
from secateurs.recovery.pursuit.signs import relu_neurons, resolve_signs

EXACT = 1e-10  # relative residual of an exact fit over all rows
POLISH_STEPS = 20
MAX_REPLACEMENTS, MAX_GROWTH = 10, 50  # steps
GROWTH_NEURONS = 10  # neurons that share the rest of the budget
GAIN = 1e-3  # relative fall of the residual that a step must bring
ADDED = 2.0  # standard errors of an entry that is added
ASCENT_STEPS = 5


def polish(
    columns: UsefulColumns,
    X: FloatArray,
    y: FloatArray,
    best: Search,
    n_nonzero: int,
    n_neurons: int,
    *,
    quick: bool = False,
) -> tuple[NeuronSum, FloatArray]:
    """Find the signs, then fit the ReLU weights to all rows X [n, D] within both budgets.

    Returns the network in the coordinates of `columns`, and its residual [n].  If `quick`, the
    first signs and one step must do, because the user is waiting after Ctrl-C.
    """
    net = to_relu(columns, best, quick=quick)
    steps = 1 if quick else POLISH_STEPS
    rows, local, live = columns.stream(X, y, net)
    local, fit = levenberg_marquardt(rows, local, steps)
    local, fit = keep_budgets(rows, local, fit, n_nonzero, n_neurons, steps)
    net = replace(local, linear=net.linear, coordinate=live[local.coordinate])
    if quick or fit.norm < EXACT * rows.scale:
        return net, fit.residual
    rows = columns.stream_all(X, y)
    net, fit = replace_entries(rows, net, fit, n_nonzero)
    net, fit = grow(rows, net, fit, n_nonzero, n_neurons)
    return net, fit.residual


def to_relu(columns: UsefulColumns, best: Search, *, quick: bool) -> NeuronSum:
    """Return the ReLU form of the best sign-free sum."""
    rows, net, d = best.rows, best.net, columns.d
    U = net.directions(d)
    dof = max(1, rows.n - net.n_unknowns)
    error = best.fit.norm / np.sqrt(dof * rows.n)  # of an entry of beta, columns at unit scale
    inputs = net.linear < d
    beta = np.zeros(d)
    beta[net.linear[inputs]] = net.beta[inputs]
    found = None
    if columns.signs and not quick:
        constant = None if columns.intercept else float(net.beta[~inputs].sum())
        found = relu_of_signs(U, beta, constant, error)
    if found is None:
        binary, height = rows.binary, rows.XT[:d].max(axis=1, initial=0.0)
        if binary:
            U, beta = lower_centres(U, beta, height)
        sigma, w = resolve_signs(
            U, beta, nonnegative=columns.nonnegative, error=error, exhaustive=not quick
        )
        if binary:
            found = absorb_linear(relu_neurons(U, sigma, np.zeros(d)), w, height)
        else:
            found = relu_neurons(U, sigma, w)
    W = found.tocoo()
    neuron, coordinate = (np.asarray(c, dtype=np.intp) for c in W.coords)
    kept = ~inputs & columns.intercept
    return neuron_sum(neuron, coordinate, W.data, net.linear[kept], net.beta[kept])


def keep_budgets(
    rows: PursuitRows, net: NeuronSum, fit: Fit, n_nonzero: int, n_neurons: int, n_steps: int
) -> tuple[NeuronSum, Fit]:
    """Drop the least salient neurons, then entries, until both budgets hold; refit."""
    while net.n_neurons > n_neurons or net.nnz > n_nonzero:
        if net.n_neurons > n_neurons:
            excess = net.n_neurons - n_neurons
            by_neuron = np.bincount(net.neuron, saliency(rows, net), minlength=net.n_neurons)
            drop = np.argsort(by_neuron, kind="stable")[: max(1, excess // 4)]
            net = net.without(np.isin(net.neuron, drop))
        else:
            excess = net.nnz - n_nonzero
            net = prune_to(rows, net, net.nnz - max(1, excess // 4))
        net, fit = levenberg_marquardt(rows, net, min(n_steps, 3))
        if net.n_neurons <= n_neurons and net.nnz <= n_nonzero:
            net, fit = levenberg_marquardt(rows, net, n_steps)
    return net, fit


def replace_entries(
    rows: PursuitRows, net: NeuronSum, fit: Fit, n_nonzero: int
) -> tuple[NeuronSum, Fit]:
    """Replace weak entries by better absent ones of the same neurons, while that helps."""
    for _ in range(MAX_REPLACEMENTS):
        trial = add_entries(rows, net, fit, ADDED, max(2, n_nonzero // 10))
        if trial is net:
            break
        trial, trial_fit = levenberg_marquardt(rows, trial, 3)
        trial, trial_fit = levenberg_marquardt(rows, prune_to(rows, trial, n_nonzero), 10)
        if trial_fit.norm > (1.0 - GAIN) * fit.norm:
            break
        net, fit = trial, trial_fit
    return net, fit


def grow(
    rows: PursuitRows, net: NeuronSum, fit: Fit, n_nonzero: int, n_neurons: int
) -> tuple[NeuronSum, Fit]:
    """Spend the rest of the budgets on new ReLU neurons and entries, while that helps.

    This serves data without a sparse sign-free form, whose linear part has no ReLU form either.
    """
    for _ in range(MAX_GROWTH):
        room = n_nonzero - net.nnz
        trial = net
        if net.n_neurons < n_neurons and room > 0:
            share = -(-room // min(n_neurons - net.n_neurons, GROWTH_NEURONS))
            trial = add_relu_neuron(rows, net, fit, max(1, share))
        room = n_nonzero - trial.nnz
        if room > 0 and trial.nnz:
            trial = add_entries(rows, trial, fit, ADDED, -(-room // GROWTH_NEURONS))
        if trial.nnz == net.nnz:
            break
        trial, trial_fit = levenberg_marquardt(rows, trial, 10)
        if trial_fit.norm > (1.0 - GAIN) * fit.norm:
            break
        net, fit = trial, trial_fit
    return net, fit


def add_relu_neuron(rows: PursuitRows, net: NeuronSum, fit: Fit, q: int) -> NeuronSum:
    """Add the ReLU neuron with at most q entries that correlates best with the residual."""
    zero = linear_only(NO_INDICES)
    G = _input_gradient(rows, fit)  # the direction of a linear function
    V = np.array([G, -G])
    for step in range(ASCENT_STEPS + 1):
        order = np.argsort(-np.abs(V), axis=1, kind="stable")[:, q:]
        np.put_along_axis(V, order, 0.0, axis=1)
        V = V[V.any(axis=1)]
        if not len(V):
            return net
        V /= np.linalg.norm(V, axis=1, keepdims=True)
        trial = add_neurons(zero, V)
        if step < ASCENT_STEPS:
            V = entry_gradient(rows, trial, fit)
    gain = np.einsum("ij,ij->i", V, entry_gradient(rows, trial, fit))
    best = int(np.argmax(gain))
    if gain[best] <= 0.0:
        return net
    one = add_neurons(zero, V[best : best + 1])
    Q, _ = normal_equations(rows, one)
    v = V[best][one.coordinate]
    return net.plus(np.full(one.nnz, net.n_neurons), one.coordinate, v * gain[best] / (v @ Q @ v))


def _input_gradient(rows: PursuitRows, fit: Fit) -> FloatArray:
    """Return <r, x_k> for every coordinate that neurons may use, shape [d]."""
    G = np.zeros(rows.d)
    for block in rows.blocks():
        G += rows.inputs(block)[: rows.d] @ fit.residual[block]
    return G
