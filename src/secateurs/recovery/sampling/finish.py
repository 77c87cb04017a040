"""From a sampled network to a fit within the budget, by Levenberg-Marquardt and few exchanges.

W <- its 1.6 s + 5 largest weights;  Levenberg-Marquardt (LM)                            (1)
remove a quarter of the excess over s at a time by saliency, LM between                  (2)
while the fit is close, at most 12 times:
    add the absent weight with the largest g^2 / h, also as a new neuron, LM, (2)        (3)
where it is very close and a neuron is free: two neurons may have been found as one.
    for the 15 smallest weights, each other weight q of the neuron, and three shares:
        move the weight to the free neuron, divide q between both, LM; keep the best     (4)
drop weights while the fit stays exact                                                   (5)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    entry_gradient,
    levenberg_marquardt,
    normal_equations,
)
from secateurs.recovery.pursuit.relu_rows import FloatArray, HeldRows, NeuronSum, neuron_sum
from secateurs.recovery.thresholding.exchange import eliminate

SOLVED = 1e-9  # relative residual of a fit without residual
CLOSE, VERY_CLOSE = 0.03, 5e-3  # relative residuals below which (3) and (4) are tried
MOST_FACTOR, MOST_EXTRA = 1.6, 5  # weights that (1) keeps
N_ADDED = 12
GAIN = 1e-3  # relative fall of the residual that (3) must bring
N_SMALLEST = 15
SHARES = (0.15, 0.5, 0.85)
TINY = 1e-12  # a new weight beside others, before its first step

Found = tuple[NeuronSum, Fit]


def finish(
    rows: HeldRows, W: FloatArray, n_nonzero: int, n_neurons: int, divided_below: float = VERY_CLOSE
) -> Found:
    """Return a network with at most `n_nonzero` weights near W [m, d], and its fit.

    Neurons are divided where the relative residual is below `divided_below`.
    O(n s^2) for each of some ten to a thousand LM steps.
    """
    found = _cut(rows, _largest(W, rows.n, n_nonzero), n_nonzero)
    found = _add(rows, found, n_nonzero, n_neurons)
    if SOLVED < found[1].norm / rows.scale < divided_below and found[0].n_neurons < n_neurons:
        split = _cut(rows, _divided(rows, found), n_nonzero)
        split = _add(rows, split, n_nonzero, n_neurons)
        found = split if split[1].norm < found[1].norm else found
    return _shrunk(rows, found)


def _largest(W: FloatArray, n_rows: int, n_nonzero: int) -> NeuronSum:
    """Return the network of the largest weights (1); ties go by index."""
    neuron, coordinate = np.nonzero(W)
    value = W[neuron, coordinate]
    most = max(1, min(n_rows - 2, int(MOST_FACTOR * n_nonzero) + MOST_EXTRA))
    kept = np.sort(np.argsort(-np.abs(value), kind="stable")[:most])
    return neuron_sum(neuron[kept], coordinate[kept], value[kept])


def _cut(rows: HeldRows, net: NeuronSum, n_nonzero: int) -> Found:
    """Fit, and remove weights down to the budget (2)."""
    net, fit = levenberg_marquardt(rows, net, 12)
    while net.nnz > n_nonzero:
        excess = net.nnz - n_nonzero
        net, fit = levenberg_marquardt(rows, _eliminated(rows, net, -(-excess // 4)), 6)
    return net, fit


def _eliminated(rows: HeldRows, net: NeuronSum, count: int) -> NeuronSum:
    """Remove the weights that cost least, and adjust the others."""
    Q, _ = normal_equations(rows, net)
    kept, value = eliminate(net.value, Q, count)
    return replace(net, value=value).without(~kept)


def _add(rows: HeldRows, found: Found, n_nonzero: int, n_neurons: int) -> Found:
    """Exchange weights one at a time while the fit is close (3)."""
    net, fit = found
    for _ in range(N_ADDED):
        if not SOLVED < fit.norm / rows.scale < CLOSE:
            break
        wider, _ = levenberg_marquardt(rows, _with_best(rows, net, fit, n_neurons), 20)
        trial, trial_fit = _cut(rows, wider, n_nonzero)
        if trial_fit.norm >= (1.0 - GAIN) * fit.norm:
            break
        net, fit = trial, trial_fit
    return net, fit


def _with_best(rows: HeldRows, net: NeuronSum, fit: Fit, n_neurons: int) -> NeuronSum:
    """Add the absent weight that promises most, in a neuron or as one of its own."""
    XT, r = rows.XT[: rows.d], fit.residual
    gates = rows.gates(np.asarray(net.directions(rows.d) @ XT))
    g = entry_gradient(rows, net, fit)
    score = g**2 / np.maximum(gates @ XT.T**2, TINY)
    score[net.neuron, net.coordinate] = 0.0
    best = int(np.argmax(score)) if score.size else 0
    most = score.flat[best] if score.size else 0.0
    value = TINY
    if net.n_neurons < n_neurons:
        for sign in (1.0, -1.0):
            open_part = np.maximum(sign * XT, 0.0)
            slope, size = open_part @ r, np.maximum((open_part**2).sum(axis=1), TINY)
            gain = np.where(slope > 0.0, slope**2 / size, 0.0)
            k = int(np.argmax(gain))
            if gain[k] > most:
                most, best = gain[k], net.n_neurons * rows.d + k
                value = sign * slope[k] / size[k]
    if most == 0.0:
        return net
    j, k = divmod(best, rows.d)
    return net.plus(np.array([j]), np.array([k]), np.array([value]))


def _divided(rows: HeldRows, found: Found) -> NeuronSum:
    """Divide a neuron in two in the best of the ways (4)."""
    net, fit = found
    best, least = net, fit.norm
    for e in np.argsort(np.abs(net.value), kind="stable")[:N_SMALLEST]:
        for q in np.flatnonzero((net.neuron == net.neuron[e]) & (np.arange(net.nnz) != e)):
            for share in SHARES:
                neuron, value = net.neuron.copy(), net.value.copy()
                neuron[e] = net.n_neurons
                value[q] *= 1.0 - share
                trial = neuron_sum(
                    np.append(neuron, net.n_neurons),
                    np.append(net.coordinate, net.coordinate[q]),
                    np.append(value, share * net.value[q]),
                )
                trial, trial_fit = levenberg_marquardt(rows, trial, 8)
                if trial_fit.norm < least:
                    best, least = trial, trial_fit.norm
    return best


def _shrunk(rows: HeldRows, found: Found) -> Found:
    """Drop the least salient weight while the fit stays without residual (5)."""
    net, fit = found
    while net.nnz and fit.norm < SOLVED * rows.scale:
        trial, trial_fit = levenberg_marquardt(rows, _eliminated(rows, net, 1), 10)
        if trial_fit.norm >= SOLVED * rows.scale:
            break
        net, fit = trial, trial_fit
    return net, fit
