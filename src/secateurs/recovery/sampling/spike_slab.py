"""Compiled sweeps of a sampler over the weights of y = sum_j relu(w_j . x) + noise.

The prior of a weight is zero with probability 1 - pi and N(0, tau^2) otherwise.  For weight (j, k),
with residual r, a = 1{z_j > 0}, g = <a x_k, r>, h = <a x_k, x_k> and noise variance sigma^2:

    precision = h / sigma^2 + 1 / tau^2,   mu = (g + h w) / (sigma^2 precision)
    log odds of w != 0 = logit pi + mu^2 precision / 2 - log(tau^2 precision) / 2            (1)
    propose w' ~ N(mu, 1 / precision) with these odds, and 0 otherwise                       (2)
    accept with min(1, exp(-(E(w') - E(w) - linear change) / sigma^2)),  E = ||r||^2 / 2     (3)

(1) and (2) are exact while the gate does not change, and (3) corrects for its changes.  A neuron
without weights opens the rows where +-x_k > 0, with a random sign.  After each sweep a weight may
change places with that of the same input in another neuron (Metropolis).

Arrays are single precision, inputs first: X^T [d, n], W [m, d], Z = W X^T [m, n].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
REFRESH = 10  # sweeps after which Z and r are computed again, because of rounding
RELEARN = 5  # sweeps after which tau^2 is estimated again
SKIPPED = -9.0  # log odds of a weight that is zero below which nothing is drawn
PRIOR_WEIGHTS = 2.0  # weights that the first tau^2 counts as
FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums may be vectorised
ZERO = np.float32(0.0)
HALF = np.float32(0.5)


@compiled(fastmath=FAST, error_model="numpy")
def moments(x: Floats, z: Floats, r: Floats) -> tuple[float, float]:
    """Return g and h for the gates z > 0."""
    g, h = ZERO, ZERO
    for i in range(len(x)):
        a = x[i] if z[i] > ZERO else ZERO
        g += a * r[i]
        h += a * a
    return float(g), float(h)


@compiled(fastmath=FAST, error_model="numpy")
def first_moments(x: Floats, sign: np.float32, r: Floats) -> tuple[float, float]:
    """Return g and h for a neuron without weights that opens where sign x > 0."""
    g, h = ZERO, ZERO
    for i in range(len(x)):
        a = max(sign * x[i], ZERO)
        g += a * r[i]
        h += a * a
    return float(g), float(h)


@compiled(fastmath=FAST, error_model="numpy")
def energy_change(x: Floats, z: Floats, r: Floats, delta: np.float32) -> float:
    """Return the change of ||r||^2 / 2 when z changes by delta x."""
    change = ZERO
    for i in range(len(x)):
        c = max(z[i], ZERO) - max(z[i] + delta * x[i], ZERO)
        change += c * (r[i] + HALF * c)
    return float(change)


@compiled(fastmath=FAST, error_model="numpy")
def square(r: Floats) -> float:
    """Return ||r||^2."""
    total = ZERO
    for i in range(len(r)):
        total += r[i] * r[i]
    return float(total)


@compiled(fastmath=FAST, error_model="numpy")
def assign(
    x: Floats, w: Floats, z: Floats, r: Floats, counts: Integers, j: int, k: int, value: np.float32
) -> None:
    """Set weight k of neuron j, whose weights are w and whose values are z."""
    delta = value - w[k]
    counts[j] += int(value != ZERO) - int(w[k] != ZERO)
    w[k] = value
    if counts[j] == 0:  # no rounding error stays behind
        for i in range(len(z)):
            r[i] += max(z[i], ZERO)
            z[i] = ZERO
        return
    for i in range(len(z)):
        new = z[i] + delta * x[i]
        r[i] += max(z[i], ZERO) - max(new, ZERO)
        z[i] = new


@compiled(error_model="numpy")
def chance(log_odds: float) -> float:
    """Return the probability with these log odds."""
    if log_odds < 0.0:
        odds = math.exp(log_odds)
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + math.exp(-log_odds))


@compiled(error_model="numpy")
def open_neuron(
    x: Floats,
    w: Floats,
    z: Floats,
    r: Floats,
    counts: Integers,
    j: int,
    k: int,
    noise: float,
    prior: float,
    spread: float,
    rng: np.random.Generator,
) -> None:
    """Draw the first weight of a neuron without weights."""
    sign = np.float32(1.0) if rng.random() < 0.5 else np.float32(-1.0)
    g, h = first_moments(x, sign, r)
    if g <= 0.0:
        return
    precision = h / noise + 1.0 / spread
    mu = g / noise / precision
    log_odds = prior + 0.5 * mu * mu * precision - 0.5 * math.log(spread * precision)
    if rng.random() < chance(log_odds):
        value = mu + rng.standard_normal() / math.sqrt(precision)
        if value > 0.0:
            assign(x, w, z, r, counts, j, k, sign * np.float32(value))


@compiled(error_model="numpy")
def draw(
    x: Floats,
    w: Floats,
    z: Floats,
    r: Floats,
    counts: Integers,
    j: int,
    k: int,
    noise: float,
    prior: float,
    spread: float,
    rng: np.random.Generator,
) -> None:
    """Draw weight k of neuron j by (1) to (3)."""
    old = float(w[k])
    g, h = moments(x, z, r)
    precision = h / noise + 1.0 / spread
    mu = (g + h * old) / noise / precision
    log_odds = prior + 0.5 * mu * mu * precision - 0.5 * math.log(spread * precision)
    if old == 0.0 and log_odds < SKIPPED:
        return
    value = ZERO
    if rng.random() < chance(log_odds):
        value = np.float32(mu + rng.standard_normal() / math.sqrt(precision))
    elif old == 0.0:
        return
    delta = float(value) - old
    linear = -g * delta + 0.5 * h * delta * delta
    excess = energy_change(x, z, r, value - w[k]) - linear
    if excess <= 0.0 or math.log(rng.random()) < -excess / noise:
        assign(x, w, z, r, counts, j, k, value)


@compiled(error_model="numpy")
def exchange_weights(
    XT: Floats,
    W: Floats,
    Z: Floats,
    r: Floats,
    counts: Integers,
    scratch: Floats,
    noise: float,
    rng: np.random.Generator,
) -> None:
    """Let each weight change places with that of its input in a random other neuron."""
    m, d = W.shape
    for j in range(m):
        for k in range(d):
            i = int(rng.random() * m)
            if W[j, k] == ZERO or i == j or W[i, k] == W[j, k]:
                continue
            before = square(r)
            scratch[0], scratch[1], scratch[2] = Z[j], Z[i], r
            n_j, n_i, w_j, w_i = counts[j], counts[i], W[j, k], W[i, k]
            assign(XT[k], W[j], Z[j], r, counts, j, k, w_i)
            assign(XT[k], W[i], Z[i], r, counts, i, k, w_j)
            if math.log(rng.random()) < 0.5 * (before - square(r)) / noise:
                continue
            Z[j], Z[i], r[:] = scratch[0], scratch[1], scratch[2]
            counts[j], counts[i], W[j, k], W[i, k] = n_j, n_i, w_j, w_i


@compiled(fastmath=FAST, error_model="numpy")
def refresh(XT: Floats, y: Floats, W: Floats, Z: Floats, r: Floats) -> None:
    """Compute Z and r from W."""
    r[:] = y
    Z[:] = ZERO
    for j in range(len(W)):
        for k in range(len(XT)):
            if W[j, k] != ZERO:
                for i in range(len(y)):
                    Z[j, i] += W[j, k] * XT[k, i]
        for i in range(len(y)):
            r[i] -= max(Z[j, i], ZERO)


@compiled(error_model="numpy")
def learned_spread(W: Floats, first: float) -> float:
    """Return the mean square of the weights, with the first tau^2 as two more."""
    total, count = PRIOR_WEIGHTS * first, PRIOR_WEIGHTS
    for w in W.ravel():
        if w != ZERO:
            total += float(w) * float(w)
            count += 1.0
    return total / count


@compiled(error_model="numpy")
def sweeps(
    XT: Floats,
    y: Floats,
    W: Floats,
    Z: Floats,
    r: Floats,
    counts: Integers,
    order: Integers,
    scratch: Floats,
    noise: NDArray[np.float64],
    prior: float,
    spread: float,
    first: int,
    rng: np.random.Generator,
) -> float:
    """Make a sweep for each noise variance, from sweep number `first` on, and return tau^2.

    `order` [m d] and `scratch` [3, n] are overwritten.
    """
    d = W.shape[1]
    for t in range(len(noise)):
        if (first + t) % REFRESH == 0:
            refresh(XT, y, W, Z, r)
        for i in range(len(order) - 1, 0, -1):
            other = int(rng.random() * (i + 1))
            order[i], order[other] = order[other], order[i]
        for at in order:
            j, k = at // d, at % d
            if counts[j] == 0:
                open_neuron(XT[k], W[j], Z[j], r, counts, j, k, noise[t], prior, spread, rng)
            else:
                draw(XT[k], W[j], Z[j], r, counts, j, k, noise[t], prior, spread, rng)
        if len(W) > 1:
            exchange_weights(XT, W, Z, r, counts, scratch, noise[t], rng)
        if (first + t) % RELEARN == RELEARN - 1:
            spread = learned_spread(W, 1.0)
    return spread
