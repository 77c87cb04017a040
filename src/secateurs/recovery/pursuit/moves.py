"""The moves of the sign-free pursuit: add neurons and entries, merge, prune, split, shrink.

Each takes a `Network` and returns a `Network`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    FloatArray,
    HeldRows,
    Network,
    Rows,
    directions_times,
    entry_gradient,
    input_gradient,
    levenberg_marquardt,
    linear_saliency,
    network,
    normal_equations,
    saliency,
)
from secateurs.recovery.pursuit.plus_minus_inputs import centres

TWINS, MAX_TWINS = 1e-3, 50  # 1 - |cos| of neurons that may be one, attempts to join them
N_SPLIT, N_HALVED = 8, 3
EXACT_ENOUGH = 1e-8
JOIN_PASSES = 5
MAX_JOINED, LEAST_FALL = 300, 0.003  # neurons, share of ||r||^2 that joining a pair removes
NEAR_BOUNDARY = 0.1  # share of the rows closest to x.u = 0


def add_neurons(net: Network, U: FloatArray) -> Network:
    """The network with the rows of `U` [c, d] as new neurons."""
    neuron, coordinate = np.nonzero(U)
    return net.plus(neuron + net.n_neurons, coordinate, U[neuron, coordinate])


def add_entries(rows: Rows, net: Network, fit: Fit, z: float, n_most: int) -> Network:
    """Add absent entries on the neurons there are whose gradient exceeds z standard errors."""
    G = entry_gradient(rows, net, fit)
    G[net.neuron, net.coordinate] = 0.0
    magnitude = np.abs(G).ravel()
    best = np.argsort(-magnitude, kind="stable")[:n_most]
    best = best[magnitude[best] > z * fit.norm]
    if not len(best):
        return net
    neuron, coordinate = np.divmod(best, rows.d)
    return net.plus(neuron, coordinate, np.zeros(len(best)))


def add_relu_neuron(rows: Rows, net: Network, fit: Fit, q: int) -> Network:
    """Add the ReLU neuron with at most q entries that correlates best with the residual."""
    none = np.empty(0, dtype=np.intp)
    zero = network(none, np.empty(0), none, none, np.empty(0))
    G = input_gradient(rows, fit)  # the way a linear function would go
    V = np.array([G, -G])
    for step in range(6):
        order = np.argsort(-np.abs(V), axis=1, kind="stable")[:, q:]
        np.put_along_axis(V, order, 0.0, axis=1)
        V = V[V.any(axis=1)]
        if not len(V):
            return net
        V /= np.linalg.norm(V, axis=1, keepdims=True)
        trial = add_neurons(zero, V)
        if step < 5:
            V = entry_gradient(rows, trial, fit)
    gain = np.einsum("ij,ij->i", V, entry_gradient(rows, trial, fit))
    best = int(np.argmax(gain))
    if gain[best] <= 0.0:
        return net
    one = add_neurons(zero, V[best : best + 1])
    Q, _ = normal_equations(rows, one)
    v = V[best][one.coordinate]
    return net.plus(np.full(one.nnz, net.n_neurons), one.coordinate, v * gain[best] / (v @ Q @ v))


def add_linear(rows: HeldRows, net: Network, fit: Fit, n_most: int) -> Network:
    """Grow a sparse linear part: by what correlates with the residual, and what neurons use.

    beta = sum_j sigma_j u_j lives on the coordinates of the neurons, so that fewer rows than
    coordinates can be enough.
    """
    z = np.abs(rows.XT @ fit.residual) / (fit.norm or 1.0)
    z[net.linear] = 0.0
    best = np.argsort(-z, kind="stable")[:n_most]
    best = best[z[best] > np.sqrt(2.0 * np.log(1.0 + rows.width))]
    return net.with_linear(np.unique(np.concatenate([net.linear, net.coordinate, best])))


def prune_linear(rows: HeldRows, net: Network, fit: Fit, z: float, n_most: int) -> Network:
    """Drop linear coefficients that no neuron needs: insignificant ones, or beyond `n_most`."""
    weight = linear_saliency(rows, net)
    needed = np.isin(net.linear, net.coordinate) | (net.linear >= rows.d)
    weight[needed] = np.inf
    dof = max(1, rows.n - net.nnz - len(net.linear))
    keep = weight >= z**2 * fit.norm**2 / dof
    keep[np.argsort(-weight, kind="stable")[n_most:]] = False
    keep |= needed
    return net.with_linear(net.linear[keep])


def merge_neurons(net: Network, d: int, tolerance: float) -> Network:
    """Join neurons with |cos| > 1 - tolerance: |a x| + |b x| ~ |(a + sgn(ab) b) x|."""
    return _joined(net, d, _parallel(net, d, tolerance))


def _parallel(net: Network, d: int, tolerance: float) -> list[tuple[int, int, float]]:
    """Pairs i < j with |cos| > 1 - tolerance and the sign of the cosine, most parallel first."""
    U = net.directions(d)
    norm = net.norms()
    inverse = 1.0 / np.where(norm > 0, norm, 1.0)
    cosine = (U @ U.T).toarray() * inverse[:, None] * inverse
    i, j = np.nonzero(np.triu(np.abs(cosine) > 1.0 - tolerance, 1))
    order = np.argsort(-np.abs(cosine[i, j]), kind="stable")
    return [(int(i[e]), int(j[e]), float(np.sign(cosine[i[e], j[e]]))) for e in order]


def _joined(net: Network, d: int, pairs: list[tuple[int, int, float]]) -> Network:
    """Add neuron j of each pair to neuron i; a neuron that has been joined stays out."""
    target, sign = np.arange(net.n_neurons), np.ones(net.n_neurons)
    taken = np.zeros(net.n_neurons, dtype=bool)  # roots that others were added to
    for i, j, s in pairs:
        if target[i] == i and target[j] == j and not taken[j]:
            target[j], sign[j], taken[i] = i, s, True
    if not taken.any():
        return net
    key, at = np.unique(target[net.neuron] * d + net.coordinate, return_inverse=True)
    value = np.bincount(at, net.value * sign[net.neuron]).astype(np.float64)
    neuron, coordinate = np.divmod(key, d)
    return network(net.linear, net.beta, neuron, coordinate, value)


def raise_centres(rows: HeldRows, net: Network) -> Network:
    """On inputs of +-1, entries that outweigh the others of their neuron, doubled.

    That changes the constant alone, and lets the others grow before they outweigh it.
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


def prune_to(rows: Rows, net: Network, n_most: int) -> Network:
    """Keep the `n_most` most salient entries."""
    if net.nnz <= n_most:
        return net
    order = np.argsort(saliency(rows, net), kind="stable")
    drop = np.zeros(net.nnz, dtype=bool)
    drop[order[: net.nnz - n_most]] = True
    return net.without(drop)


def t_test_prune(
    rows: Rows, net: Network, fit: Fit, z: float, n_passes: int = 4
) -> tuple[Network, Fit]:
    """Drop entries that are z standard errors from zero or less.

    At most one per coordinate and pass: of two collinear duplicates both look superfluous, and
    dropping both would destroy an exact fit.
    """
    for _ in range(n_passes):
        dof = max(1, rows.n - net.nnz - len(net.linear))
        s = saliency(rows, net)
        order = np.argsort(s, kind="stable")
        order = order[s[order] < z**2 * fit.norm**2 / dof]
        _, first = np.unique(net.coordinate[order], return_index=True)
        if not len(first):
            break
        drop = np.zeros(net.nnz, dtype=bool)
        drop[order[first]] = True
        net, fit = levenberg_marquardt(rows, net.without(drop), 1)
    return net, fit


def split_neurons(
    rows: HeldRows, net: Network, fit: Fit, rng: np.random.Generator
) -> tuple[Network, Fit]:
    """Split the neurons whose boundary carries the most error; kept only where it helps.

    A residual concentrated near x.u_j = 0 says that u_j stands for several neurons.
    """
    p = net.n_neurons
    if p == 0:
        return net, fit
    Z = np.abs(directions_times(net.directions(rows.d), rows.XT[: rows.d]))
    n_near = max(1, int(NEAR_BOUNDARY * rows.n))
    near = np.argpartition(Z, n_near - 1, axis=1)[:, :n_near]
    error = (fit.residual**2)[near].mean(axis=1)
    worst = np.argsort(-error, kind="stable")
    scale = fit.norm / np.sqrt(rows.n)

    # each coordinate of the worst neurons as a neuron of its own
    supports = np.unique(net.coordinate[np.isin(net.neuron, worst[:N_SPLIT])])
    trial = net.plus(p + np.arange(len(supports)), supports, np.full(len(supports), 0.1 * scale))

    # the worst few as two halves, pulled apart at random
    halved = np.isin(net.neuron, worst[:N_HALVED])
    value = net.value[halved]
    pull = rng.standard_normal(len(value)) * 0.25 * net.norms()[net.neuron[halved]]
    pull /= np.sqrt(net.counts[net.neuron[halved]])
    trial_value = trial.value.copy()
    at = np.flatnonzero(np.isin(trial.neuron, worst[:N_HALVED]))
    trial_value[at] = 0.5 * value + pull
    trial = network(trial.linear, trial.beta, trial.neuron, trial.coordinate, trial_value)
    trial = trial.plus(
        trial.n_neurons + net.neuron[halved], net.coordinate[halved], 0.5 * value - pull
    )
    trial, trial_fit = levenberg_marquardt(rows, trial, 16)
    return (trial, trial_fit) if trial_fit.norm < fit.norm else (net, fit)


def join_neurons(rows: HeldRows, net: Network, fit: Fit) -> tuple[Network, Fit]:
    """Join pairs of neurons where |a x +- b x| fits better than |a x| + |b x|, while it helps.

    With sparse inputs two entries of a neuron are rarely active together: each is found as a
    neuron of its own first, and nothing but the rows where both are active tells them apart.
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


def _better_joined(rows: HeldRows, net: Network, fit: Fit) -> list[tuple[int, int, float]]:
    """Disjoint pairs of neurons whose join with this sign lowers ||r||, best first."""
    p = net.n_neurons
    Z = directions_times(net.directions(rows.d), rows.XT[: rows.d])
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
    pairs: list[tuple[int, int, float]] = []
    used: set[int] = set()
    for at in order:
        i, j = divmod(int(at), p)
        if i not in used and j not in used:
            pairs.append((i, j, 1.0 if fall[0, i, j] >= fall[1, i, j] else -1.0))
            used |= {i, j}
    return pairs


def shrink(rows: Rows, net: Network, fit: Fit, n_most: int) -> tuple[Network, Fit]:
    """Merge twins and drop the least salient entries while an exact fit stays exact.

    One entry, then two, four, ... at once; after a failure again from one.

    A fit that is not exact loses what a t-test at z = 4 cannot tell from noise.  Then the least
    salient entries beyond `n_most` go, a tenth at a time; not those of an exact fit on inputs of
    +-1, whose stars can share centres once they are ReLU neurons.
    """
    if fit.norm < EXACT_ENOUGH * rows.scale:
        limit = max(10.0 * fit.norm, 1e-13 * rows.scale)

        def attempt(trial: Network) -> bool:
            nonlocal net, fit
            trial, trial_fit = levenberg_marquardt(rows, trial, 4)
            if trial_fit.norm <= limit:
                net, fit = trial, trial_fit
            return trial_fit.norm <= limit

        # one neuron may have been fitted by two that no row, or only a row on the edge of
        # both, tells apart
        refused: set[tuple[int, int]] = set()
        for _ in range(MAX_TWINS):
            pairs = [e for e in _parallel(net, rows.d, TWINS) if e[:2] not in refused]
            if not pairs:
                break
            if attempt(_joined(net, rows.d, pairs[:1])):
                refused.clear()
            else:
                refused.add(pairs[0][:2])
        negligible = np.abs(net.value) < 1e-7 * np.abs(net.value).max(initial=0.0)
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
            else:  # one of them was needed: on with one at a time, or it was the last
                n_drop = int(n_drop > 1)
        if isinstance(rows, HeldRows) and rows.signs:  # the ReLU form may have fewer
            return net, fit
    else:
        net, fit = t_test_prune(rows, net, fit, 4.0)
    while net.nnz > n_most:
        fewer = max(n_most, net.nnz - max(1, net.nnz // 10))
        net, fit = levenberg_marquardt(rows, prune_to(rows, net, fewer), 4)
    return net, fit
