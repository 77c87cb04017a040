"""The moves of the sign-free pursuit: add neurons and entries, merge, prune, split, join, shrink.

Each move returns a new `NeuronSum`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    entry_gradient,
    levenberg_marquardt,
    linear_saliency,
    saliency,
)
from secateurs.recovery.pursuit.plus_minus_inputs import centres
from secateurs.recovery.pursuit.relu_rows import (
    FloatArray,
    HeldRows,
    IntArray,
    NeuronSum,
    PursuitRows,
    neuron_sum,
)

TWINS, MAX_TWINS = 1e-3, 50  # 1 - |cos| of neurons that may be the same, attempts to join them
N_SPLIT, N_HALVED = 8, 3  # neurons whose coordinates become neurons, neurons cut into halves
FIRST_SPLIT = 0.1  # value of a new neuron, relative to the root mean square residual
PULL = 0.25  # distance by which two halves are pulled apart, relative to the norm of the neuron
EXACT_ENOUGH = 1e-8  # relative residual up to which `shrink` keeps a fit exact
NEGLIGIBLE = 1e-7  # entry that an exact fit can lose, relative to the largest
JOIN_PASSES = 5
MAX_JOINED, LEAST_FALL = 300, 0.003  # neurons, share of ||r||^2 that joining a pair must remove
NEAR_BOUNDARY = 0.1  # share of the rows that count as close to x.u = 0
FIRM = 4.0  # standard errors below which an entry of a fit that is not exact is dropped

Pair = tuple[int, int, float]  # two neurons, and the sign with which the second is added


def add_neurons(net: NeuronSum, U: FloatArray) -> NeuronSum:
    """Add the rows of `U` [c, d] as neurons."""
    neuron, coordinate = np.nonzero(U)
    return net.plus(neuron + net.n_neurons, coordinate, U[neuron, coordinate])


def add_entries(rows: PursuitRows, net: NeuronSum, fit: Fit, z: float, n_most: int) -> NeuronSum:
    """Add absent entries of existing neurons whose gradient exceeds z standard errors."""
    G = entry_gradient(rows, net, fit)
    G[net.neuron, net.coordinate] = 0.0
    magnitude = np.abs(G).ravel()
    best = np.argsort(-magnitude, kind="stable")[:n_most]
    best = best[magnitude[best] > z * fit.norm]
    if not len(best):
        return net
    neuron, coordinate = np.divmod(best, rows.d)
    return net.plus(neuron, coordinate, np.zeros(len(best)))


def add_linear(rows: HeldRows, net: NeuronSum, fit: Fit, n_most: int) -> NeuronSum:
    """Extend a sparse linear part by the inputs of neurons and those correlated with the residual.

    beta = sum_j sigma_j u_j is nonzero only on inputs of neurons, so that fewer rows than
    coordinates can be enough.
    """
    z = np.abs(rows.XT @ fit.residual) / (fit.norm or 1.0)
    z[net.linear] = 0.0
    best = np.argsort(-z, kind="stable")[:n_most]
    best = best[z[best] > np.sqrt(2.0 * np.log(1.0 + rows.width))]
    return net.with_linear(np.unique(np.concatenate([net.linear, net.coordinate, best])))


def prune_linear(rows: HeldRows, net: NeuronSum, fit: Fit, z: float, n_most: int) -> NeuronSum:
    """Drop linear coefficients that no neuron needs: insignificant ones, or beyond `n_most`."""
    weight = linear_saliency(rows, net)
    needed = np.isin(net.linear, net.coordinate) | (net.linear >= rows.d)
    weight[needed] = np.inf
    keep = weight >= _noise_cut(rows, net, fit, z)
    keep[np.argsort(-weight, kind="stable")[n_most:]] = False
    keep |= needed
    return net.with_linear(net.linear[keep])


def _noise_cut(rows: PursuitRows, net: NeuronSum, fit: Fit, z: float) -> float:
    """Return the saliency of an entry that is z standard errors from zero."""
    return float(z**2 * fit.norm**2 / max(1, rows.n - net.n_unknowns))


def merge_neurons(net: NeuronSum, d: int, tolerance: float) -> NeuronSum:
    """Join neurons with |cos| > 1 - tolerance: |a x| + |b x| ~ |(a + sgn(ab) b) x|."""
    return _joined(net, d, _parallel(net, d, tolerance))


def _parallel(net: NeuronSum, d: int, tolerance: float) -> list[Pair]:
    """List the pairs i < j with |cos| > 1 - tolerance, most parallel first."""
    U = net.directions(d)
    norm = net.norms()
    inverse = 1.0 / np.where(norm > 0, norm, 1.0)
    cosine = (U @ U.T).toarray() * inverse[:, None] * inverse
    i, j = np.nonzero(np.triu(np.abs(cosine) > 1.0 - tolerance, 1))
    order = np.argsort(-np.abs(cosine[i, j]), kind="stable")
    return [(int(i[e]), int(j[e]), float(np.sign(cosine[i[e], j[e]]))) for e in order]


def _joined(net: NeuronSum, d: int, pairs: list[Pair]) -> NeuronSum:
    """Add neuron j of each pair to neuron i; a neuron takes part in no later pair as j."""
    target, sign = np.arange(net.n_neurons), np.ones(net.n_neurons)
    taken = np.zeros(net.n_neurons, dtype=bool)  # neurons that others were added to
    for i, j, s in pairs:
        if target[i] == i and target[j] == j and not taken[j]:
            target[j], sign[j], taken[i] = i, s, True
    if not taken.any():
        return net
    key, at = np.unique(target[net.neuron] * d + net.coordinate, return_inverse=True)
    value = np.bincount(at, net.value * sign[net.neuron]).astype(np.float64)
    neuron, coordinate = np.divmod(key, d)
    return neuron_sum(neuron, coordinate, value, net.linear, net.beta)


def raise_centres(rows: HeldRows, net: NeuronSum) -> NeuronSum:
    """On inputs of +-1, enlarge entries that outweigh the others of their neuron.

    This only changes the constant, and the other entries can grow before they outweigh this one.
    """
    if not rows.signs:
        return net
    centre = centres(net.directions(rows.d))
    centre = centre[(centre >= 0) & (net.counts > 1)]
    value = net.value.copy()
    sums = np.bincount(net.neuron, np.abs(value), minlength=net.n_neurons)[net.neuron[centre]]
    rest = sums - np.abs(value[centre])
    value[centre] = np.sign(value[centre]) * np.maximum(np.abs(value[centre]), 2.0 * rest)
    beta = net.beta.copy()
    beta[net.linear == rows.d] -= (np.abs(value) - np.abs(net.value)).sum()
    return replace(net, beta=beta, value=value)


def prune_to(rows: PursuitRows, net: NeuronSum, n_most: int) -> NeuronSum:
    """Keep the `n_most` most salient entries."""
    if net.nnz <= n_most:
        return net
    return _without(net, np.argsort(saliency(rows, net), kind="stable")[: net.nnz - n_most])


def _without(net: NeuronSum, entries: IntArray) -> NeuronSum:
    drop = np.zeros(net.nnz, dtype=bool)
    drop[entries] = True
    return net.without(drop)


def t_test_prune(
    rows: PursuitRows, net: NeuronSum, fit: Fit, z: float, n_passes: int = 4
) -> tuple[NeuronSum, Fit]:
    """Drop entries that are at most z standard errors from zero.

    A pass drops at most one entry of each coordinate.  Two collinear duplicates both look
    superfluous, and dropping both would destroy an exact fit.
    """
    for _ in range(n_passes):
        s = saliency(rows, net)
        order = np.argsort(s, kind="stable")
        order = order[s[order] < _noise_cut(rows, net, fit, z)]
        _, first = np.unique(net.coordinate[order], return_index=True)
        if not len(first):
            break
        net, fit = levenberg_marquardt(rows, _without(net, order[first]), 1)
    return net, fit


def split_neurons(
    rows: HeldRows, net: NeuronSum, fit: Fit, rng: np.random.Generator
) -> tuple[NeuronSum, Fit]:
    """Split the neurons whose boundary carries the most error, where that lowers the residual.

    A residual that is large near x.u_j = 0 indicates that u_j stands for several neurons.
    """
    p = net.n_neurons
    if p == 0:
        return net, fit
    Z = np.abs(np.asarray(net.directions(rows.d) @ rows.XT[: rows.d]))
    n_near = max(1, int(NEAR_BOUNDARY * rows.n))
    near = np.argpartition(Z, n_near - 1, axis=1)[:, :n_near]
    error = (fit.residual**2)[near].mean(axis=1)
    worst = np.argsort(-error, kind="stable")
    scale = fit.norm / np.sqrt(rows.n)

    # each coordinate of the worst neurons becomes a neuron of its own
    supports = np.unique(net.coordinate[np.isin(net.neuron, worst[:N_SPLIT])])
    size = np.full(len(supports), FIRST_SPLIT * scale)
    trial = net.plus(p + np.arange(len(supports)), supports, size)

    # the few worst neurons become two halves each, pulled apart at random
    halved = np.isin(net.neuron, worst[:N_HALVED])
    value = net.value[halved]
    pull = rng.standard_normal(len(value)) * PULL * net.norms()[net.neuron[halved]]
    pull /= np.sqrt(net.counts[net.neuron[halved]])
    trial_value = trial.value.copy()
    trial_value[np.isin(trial.neuron, worst[:N_HALVED])] = 0.5 * value + pull
    trial = replace(trial, value=trial_value).plus(
        trial.n_neurons + net.neuron[halved], net.coordinate[halved], 0.5 * value - pull
    )
    trial, trial_fit = levenberg_marquardt(rows, trial, 16)
    return (trial, trial_fit) if trial_fit.norm < fit.norm else (net, fit)


def join_neurons(rows: HeldRows, net: NeuronSum, fit: Fit) -> tuple[NeuronSum, Fit]:
    """Join pairs of neurons where |a x +- b x| fits better than |a x| + |b x|, while it helps.

    With sparse inputs two entries of a neuron are rarely active together.  Each is then found as a
    neuron of its own first, and only the rows where both are active show that they are one.
    """
    for _ in range(JOIN_PASSES):
        if not 2 <= net.n_neurons <= MAX_JOINED:
            break
        pairs = _better_joined(rows, net, fit)
        if not pairs:
            break
        trial, trial_fit = levenberg_marquardt(rows, _joined(net, rows.d, pairs), 6)
        if trial_fit.norm >= fit.norm:
            trial, trial_fit = levenberg_marquardt(rows, _joined(net, rows.d, pairs[:1]), 6)
            if trial_fit.norm >= fit.norm:
                break
        net, fit = trial, trial_fit
    return net, fit


def _better_joined(rows: HeldRows, net: NeuronSum, fit: Fit) -> list[Pair]:
    """List disjoint pairs of neurons whose join lowers ||r||, best first."""
    p = net.n_neurons
    Z = np.asarray(net.directions(rows.d) @ rows.XT[: rows.d])
    A, S = np.abs(Z), np.sign(Z)
    fall = np.empty((2, p, p))  # of ||r||^2, for + and -
    for i in range(p):
        change = 2.0 * np.minimum(A[i], A)  # |z_i| + |z_j| - |z_i +- z_j| where that differs
        for e, opposite in enumerate((S[i] * S < 0, S[i] * S > 0)):
            c = change * opposite
            fall[e, i] = -2.0 * (c @ fit.residual) - np.einsum("ij,ij->i", c, c)
    best = np.triu(fall.max(axis=0), 1)
    order = np.argsort(-best, axis=None, kind="stable")
    order = order[best.ravel()[order] > LEAST_FALL * fit.norm**2]
    pairs: list[Pair] = []
    used: set[int] = set()
    for at in order:
        i, j = divmod(int(at), p)
        if i not in used and j not in used:
            pairs.append((i, j, 1.0 if fall[0, i, j] >= fall[1, i, j] else -1.0))
            used |= {i, j}
    return pairs


def shrink(rows: HeldRows, net: NeuronSum, fit: Fit, n_most: int) -> tuple[NeuronSum, Fit]:
    """Drop what the fit does not need, then the least salient entries beyond `n_most`.

    A fit that is not exact loses the entries that a t-test at z = 4 cannot tell from noise.  The
    entries beyond `n_most` are dropped a tenth at a time.  An exact fit on inputs of +-1 keeps
    them, because its stars can share centres once they are ReLU neurons.
    """
    if fit.norm < EXACT_ENOUGH * rows.scale:
        net, fit = _shrink_exactly(rows, net, fit)
        if rows.signs:  # the ReLU form may have fewer entries
            return net, fit
    else:
        net, fit = t_test_prune(rows, net, fit, FIRM)
    while net.nnz > n_most:
        fewer = max(n_most, net.nnz - max(1, net.nnz // 10))
        net, fit = levenberg_marquardt(rows, prune_to(rows, net, fewer), 4)
    return net, fit


def _shrink_exactly(rows: HeldRows, net: NeuronSum, fit: Fit) -> tuple[NeuronSum, Fit]:
    """Merge twins and drop the least salient entries while an exact fit stays exact.

    One entry is dropped first, then two, four, and so on; after a failure one again.
    """
    limit = max(10.0 * fit.norm, 1e-13 * rows.scale)

    def attempt(trial: NeuronSum) -> bool:
        nonlocal net, fit
        trial, trial_fit = levenberg_marquardt(rows, trial, 4)
        if trial_fit.norm <= limit:
            net, fit = trial, trial_fit
        return trial_fit.norm <= limit

    # two neurons may stand for one where no row, or only a row on both boundaries, separates them
    refused: set[tuple[int, int]] = set()
    for _ in range(MAX_TWINS):
        pairs = [e for e in _parallel(net, rows.d, TWINS) if e[:2] not in refused]
        if not pairs:
            break
        if attempt(_joined(net, rows.d, pairs[:1])):
            refused.clear()
        else:
            refused.add(pairs[0][:2])
    negligible = np.abs(net.value) < NEGLIGIBLE * np.abs(net.value).max(initial=0.0)
    if negligible.any():
        attempt(net.without(negligible))
    n_drop = 1
    while net.nnz and n_drop:
        weight = saliency(rows, net)
        drop = np.zeros(net.nnz, dtype=bool)
        drop[np.argsort(weight, kind="stable")[:n_drop]] = True
        drop &= np.isfinite(weight)
        if drop.any() and attempt(net.without(drop)):
            n_drop *= 2
        else:  # one of them was needed: continue with one at a time, or stop if it was the only one
            n_drop = int(n_drop > 1)
    return net, fit
