"""Compiled sweeps of a sampler over the weights of networks with outputs or a second hidden layer.

    y = V^T relu(W H) + noise,   H = X^T, or relu(W_1 X^T) with two hidden layers

Every weight has the prior and the steps (1) to (3) of `spike_slab`, with tau = 1.  For a unit of
the upper hidden layer, the residuals of the outputs act as one, D = sum_o v_o r_o, and the
curvature is q = sum_o v_o^2 on open rows.  For a unit of the lower layer, with f_o the outputs,

    D = sum_o (df_o / dh_j) r_o,   Q = sum_o (df_o / dh_j)^2   on each row,                  (1)

and the change of ||r||^2 / 2 is computed exactly before a value is accepted.  A unit of the upper
layer without weights on one of its sides gets a pair of weights: one on each side, of all pairs.
With `fused`, V is one column of ones that does not change.

Arrays are single precision, inputs first: X^T [d, n], W [m, d], V [m, K], Z = W H [m, n], r [K, n].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Rng = np.random.Generator
Upper = tuple[Floats, Floats, Floats, Floats, Floats]
SKIPPED = -9.0  # log odds of a weight that is zero below which nothing is drawn
NEVER = -1e30  # log odds of what is not possible
LEAST = 1e-3  # a new weight is at least so large
REFRESH = 5  # sweeps after which Z and r are computed again, because of rounding
FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums may be vectorised
ZERO, HALF = np.float32(0.0), np.float32(0.5)


@compiled(fastmath=FAST, error_model="numpy")
def moments(x: Floats, z: Floats, D: Floats) -> tuple[float, float]:
    """Return <a x, D> and <a x, a x> for the gates a = z > 0."""
    g, h = ZERO, ZERO
    for i in range(len(x)):
        a = x[i] if z[i] > ZERO else ZERO
        g += a * D[i]
        h += a * a
    return float(g), float(h)


@compiled(fastmath=FAST, error_model="numpy")
def weighted_moments(x: Floats, z: Floats, D: Floats, Q: Floats) -> tuple[float, float]:
    """Return <a x, D> and <a x, Q a x> for the gates a = z > 0."""
    g, h = ZERO, ZERO
    for i in range(len(x)):
        a = x[i] if z[i] > ZERO else ZERO
        g += a * D[i]
        h += a * a * Q[i]
    return float(g), float(h)


@compiled(fastmath=FAST, error_model="numpy")
def first_moments(x: Floats, sign: np.float32, D: Floats) -> tuple[float, float]:
    """Return <a, D> and <a, a> for a = relu(sign x)."""
    g, h = ZERO, ZERO
    for i in range(len(x)):
        a = max(sign * x[i], ZERO)
        g += a * D[i]
        h += a * a
    return float(g), float(h)


@compiled(fastmath=FAST, error_model="numpy")
def energy_change(x: Floats, z: Floats, D: Floats, q: np.float32, delta: np.float32) -> float:
    """Return the change of ||r||^2 / 2 when z changes by delta x."""
    change = ZERO
    for i in range(len(x)):
        c = max(z[i], ZERO) - max(z[i] + delta * x[i], ZERO)
        change += c * (D[i] + HALF * q * c)
    return float(change)


@compiled(fastmath=FAST, error_model="numpy")
def move(x: Floats, z: Floats, D: Floats, q: np.float32, delta: np.float32) -> None:
    """Change z by delta x, and D with it."""
    for i in range(len(x)):
        new = z[i] + delta * x[i]
        D[i] += q * (max(z[i], ZERO) - max(new, ZERO))
        z[i] = new


@compiled(error_model="numpy")
def n_nonzero(w: Floats) -> int:
    """Count the weights that are not zero."""
    count = 0
    for value in w:
        count += int(value != ZERO)
    return count


@compiled(fastmath=FAST, error_model="numpy")
def add(x: Floats, factor: np.float32, out: Floats) -> None:
    """Add factor x to `out`."""
    for i in range(len(x)):
        out[i] += factor * x[i]


@compiled(fastmath=FAST, error_model="numpy")
def add_relu(z: Floats, factor: np.float32, r: Floats) -> None:
    """Add factor relu(z) to r."""
    for i in range(len(z)):
        r[i] += factor * max(z[i], ZERO)


@compiled(error_model="numpy")
def proposed(g: float, h: float, old: float, noise: float, prior: float, rng: Rng) -> float:
    """Draw a weight from its posterior while no gate changes."""
    precision = h / noise + 1.0
    mu = (g + h * old) / noise / precision
    log_odds = prior + 0.5 * mu * mu * precision - 0.5 * math.log(precision)
    if (old == 0.0 and log_odds < SKIPPED) or rng.random() >= 1.0 / (1.0 + math.exp(-log_odds)):
        return 0.0
    return float(mu + rng.standard_normal() / math.sqrt(precision))


@compiled(error_model="numpy")
def accepted(excess: float, noise: float, rng: Rng) -> bool:
    """Whether a change is accepted that raises the energy by `excess` over its linear part."""
    return bool(excess <= 0.0 or math.log(rng.random()) < -excess / noise)


@compiled(error_model="numpy")
def born(
    H: Floats,
    w: Floats,
    v: Floats,
    z: Floats,
    r: Floats,
    noise: float,
    prior: float,
    fused: bool,
    rng: Rng,
) -> bool:
    """Draw the first pair of weights of a unit, one on each side, or none."""
    p, K = len(H), len(r)
    score, top = np.zeros((p, 2, K)), 0.0
    for k in range(p):
        for side in range(2):
            for o in range(K):
                sign = np.float32(1.0 - 2.0 * side)
                g, h = first_moments(H[k], sign, r[o])
                precision = h / noise + 1.0
                gain = prior + 0.5 * (g / noise) ** 2 / precision - 0.5 * math.log(precision)
                score[k, side, o] = gain if h > 0.0 and (g > 0.0 or not fused) else NEVER
                top = max(top, score[k, side, o])
    total = math.exp(-top)
    for k in range(p):
        for side in range(2):
            for o in range(K):
                score[k, side, o] = math.exp(score[k, side, o] - top)
                total += score[k, side, o]
    left = rng.random() * total - math.exp(-top)
    if left < 0.0:
        return False
    for at in range(p * 2 * K):
        k, side, o = at // (2 * K), at // K % 2, at % K
        left -= score[k, side, o]
        if left < 0.0:
            sign = np.float32(1.0 - 2.0 * side)
            g, h = first_moments(H[k], sign, r[o])
            product = g / (h + noise)
            size = abs(product) if fused else math.sqrt(abs(product))
            if size < LEAST:
                return False
            w[k] = sign * np.float32(size)
            if not fused:
                v[o] = np.float32(product / size)
            add(H[k], w[k], z)
            add_relu(z, -v[o], r[o])
            return True
    return False


@compiled(error_model="numpy")
def upper_unit(
    H: Floats,
    w: Floats,
    v: Floats,
    z: Floats,
    r: Floats,
    scratch: Floats,
    order: Integers,
    noise: float,
    priors: NDArray[np.float64],
    fused: bool,
    rng: Rng,
) -> None:
    """Draw the weights of a unit of the upper layer, to its inputs H and to the outputs."""
    n_w = n_nonzero(w)
    if n_w == 0 or n_nonzero(v) == 0:
        w[:] = ZERO
        z[:] = ZERO
        if not fused:
            v[:] = ZERO
        pair = priors[0] if fused else priors[0] + priors[1]
        if not born(H, w, v, z, r, noise, pair, fused, rng):
            return
        n_w = 1
    D, before = scratch[0], scratch[1]
    D[:] = ZERO
    before[:] = z
    q = ZERO
    for o in range(len(r)):
        if v[o] != ZERO:
            q += v[o] * v[o]
            add(r[o], v[o], D)
    for i in range(len(order) - 1, 0, -1):
        other = int(rng.random() * (i + 1))
        order[i], order[other] = order[other], order[i]
    for k in order:
        g, h = moments(H[k], z, D)
        h *= float(q)
        old = float(w[k])
        value = np.float32(proposed(g, h, old, noise, priors[0], rng))
        if value == w[k] or (value == ZERO and n_w == 1):
            continue
        delta = value - w[k]
        linear = -g * float(delta) + 0.5 * h * float(delta) ** 2
        if accepted(energy_change(H[k], z, D, q, delta) - linear, noise, rng):
            n_w += int(value != ZERO) - int(w[k] != ZERO)
            w[k] = value
            move(H[k], z, D, q, delta)
    for o in range(len(r)):
        if v[o] != ZERO:
            add_relu(before, v[o], r[o])
            add_relu(z, -v[o], r[o])
    if not fused:
        outputs_of(w, v, z, r, noise, priors[1], rng)


@compiled(error_model="numpy")
def outputs_of(
    w: Floats, v: Floats, z: Floats, r: Floats, noise: float, prior: float, rng: Rng
) -> None:
    """Draw the weights of a unit to the outputs, and give both sides the same mean square."""
    for o in range(len(r)):
        g, h = moments(z, z, r[o])
        value = np.float32(proposed(g, h, float(v[o]), noise, prior, rng))
        if value != v[o]:
            add_relu(z, v[o] - value, r[o])
            v[o] = value
    if n_nonzero(v):
        shares = n_nonzero(w) / n_nonzero(v)
        factor = np.float32((shares * np.dot(v, v) / np.dot(w, w)) ** 0.25)
        w *= factor
        z *= factor
        v /= factor


@compiled(fastmath=FAST, error_model="numpy")
def sensitivity(
    below: Floats, V: Floats, Z: Floats, r: Floats, D: Floats, Q: Floats, part: Floats
) -> None:
    """Compute (1) for a unit of the lower layer whose weights to the upper layer are `below`."""
    D[:] = ZERO
    Q[:] = ZERO
    for o in range(len(r)):
        part[:] = ZERO
        for a in range(len(below)):
            c = below[a] * V[a, o]
            if c != ZERO:
                for i in range(len(part)):
                    part[i] += c if Z[a, i] > ZERO else ZERO
        for i in range(len(part)):
            D[i] += part[i] * r[o, i]
            Q[i] += part[i] * part[i]


@compiled(fastmath=FAST, error_model="numpy")
def trial(
    h_change: Floats, below: Floats, V: Floats, Z: Floats, r: Floats, Z_new: Floats, r_new: Floats
) -> float:
    """Return the change of ||r||^2 / 2 when the output of a lower unit changes on each row."""
    r_new[:] = r
    for a in range(len(below)):
        if below[a] != ZERO:
            for i in range(len(h_change)):
                Z_new[a, i] = Z[a, i] + below[a] * h_change[i]
            for o in range(len(r)):
                if V[a, o] != ZERO:
                    for i in range(len(h_change)):
                        gain = max(Z_new[a, i], ZERO) - max(Z[a, i], ZERO)
                        r_new[o, i] -= V[a, o] * gain
    change = ZERO
    for o in range(len(r)):
        for i in range(len(h_change)):
            change += r_new[o, i] * r_new[o, i] - r[o, i] * r[o, i]
    return 0.5 * float(change)


@compiled(error_model="numpy")
def lower_unit(
    XT: Floats,
    w: Floats,
    z: Floats,
    h: Floats,
    below: Floats,
    upper: Upper,
    scratch: Floats,
    noise: float,
    prior: float,
    rng: Rng,
) -> None:
    """Draw the weights of a unit of the lower layer; `upper` is V, Z, r and room for new Z, r."""
    V, Z, r, Z_new, r_new = upper
    D, Q, part, z_new = scratch[0], scratch[1], scratch[2], scratch[3]
    sensitivity(below, V, Z, r, D, Q, part)
    for _ in range(len(XT)):
        k = int(rng.random() * len(XT))
        x, empty = XT[k], n_nonzero(w) == 0
        sign = np.float32(1.0)
        if empty:  # it opens the rows where sign x > 0
            if rng.random() < 0.5:
                sign = np.float32(-1.0)
            part[:] = ZERO
            add(x, sign, part)
            g, curvature = weighted_moments(x, part, D, Q)
        else:
            g, curvature = weighted_moments(x, z, D, Q)
        value = np.float32(proposed(g, curvature, float(w[k]), noise, prior, rng))
        if value == w[k] or (empty and value * sign <= ZERO):
            continue
        delta = value - w[k]
        for i in range(len(x)):
            z_new[i] = z[i] + delta * x[i]
            part[i] = max(z_new[i], ZERO) - max(z[i], ZERO)
        linear = -g * float(delta) + 0.5 * curvature * float(delta) ** 2
        if accepted(trial(part, below, V, Z, r, Z_new, r_new) - linear, noise, rng):
            w[k] = value
            z[:] = z_new
            add(part, np.float32(1.0), h)
            for a in range(len(below)):
                if below[a] != ZERO:
                    Z[a] = Z_new[a]
            r[:] = r_new
            sensitivity(below, V, Z, r, D, Q, part)


@compiled(fastmath=FAST, error_model="numpy")
def forward(inputs: Floats, W: Floats, Z: Floats) -> None:
    """Compute Z = W inputs from the nonzero weights."""
    Z[:] = ZERO
    for j in range(len(W)):
        for k in range(len(inputs)):
            if W[j, k] != ZERO:
                for i in range(inputs.shape[1]):
                    Z[j, i] += W[j, k] * inputs[k, i]


@compiled(error_model="numpy")
def sweeps(
    XT: Floats,
    Y: Floats,
    W1: Floats,
    W2: Floats,
    V: Floats,
    noise: NDArray[np.float64],
    priors: NDArray[np.float64],
    fused: bool,
    rng: Rng,
) -> None:
    """Make a sweep for each noise variance; `priors` has the log odds of a weight of each layer.

    Without a lower layer, W1 has no rows and W2 [m, d] reads the inputs.
    """
    n, deep = XT.shape[1], len(W1) > 0
    Z1, H1 = np.zeros((len(W1), n), np.float32), np.zeros((len(W1), n), np.float32)
    Z2, Z_new = np.zeros((len(W2), n), np.float32), np.zeros((len(W2), n), np.float32)
    r, r_new, scratch = Y.copy(), Y.copy(), np.zeros((4, n), np.float32)
    H, order = (H1 if deep else XT), np.arange(W2.shape[1])
    upper, above = (priors[1:] if deep else priors), (V, Z2, r, Z_new, r_new)
    for t in range(len(noise)):
        if t % REFRESH == 0:
            if deep:
                forward(XT, W1, Z1)
                H1[:] = ZERO
                for j in range(len(W1)):
                    add_relu(Z1[j], np.float32(1.0), H1[j])
            forward(H, W2, Z2)
            r[:] = Y
            for a in range(len(W2)):
                for o in range(len(r)):
                    add_relu(Z2[a], -V[a, o], r[o])
        for _ in range(len(W1)):
            j = int(rng.random() * len(W1))
            z, h, below = Z1[j], H1[j], W2[:, j].copy()
            lower_unit(XT, W1[j], z, h, below, above, scratch, noise[t], priors[0], rng)
        for _ in range(len(W2)):
            a = int(rng.random() * len(W2))
            w, v, z = W2[a], V[a], Z2[a]
            upper_unit(H, w, v, z, r, scratch, order, noise[t], upper, fused, rng)
