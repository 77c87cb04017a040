"""Check every lemma of docs/theory/latitude.md numerically, on random and adversarial instances.

    python -m benchmarks.tickets.theorem [--instances 200]

A line of the table is a law: left <= right on every instance.  It shows the largest left / right;
above 1 the law is violated.  For an identity, left is the deviation and right its rounding.  A
control drops a condition of a lemma: there the identity has to fail, so left is the rounding and
right the deviation.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from secateurs.tickets.neuron.bounds import nearest_angle
from secateurs.tickets.neuron.certificate import required_width
from secateurs.tickets.neuron.latitude import explicit_constant, latitude_bound, latitude_constant
from secateurs.tickets.neuron.pruned_neuron import checked, unit_rows
from secateurs.tickets.neuron.sup_error import sup_error

Array = NDArray[np.float64]
Law = Iterator[tuple[float, float]]  # pairs of left and right

ROUNDING = 1e-12  # of an identity
ACCURACIES = (0.1, 0.01, 0.001, 0.0001)  # of the table of widths
BERNSTEIN = 0.28017  # limit of n E_n(|x|): Bernstein (1914), Varga & Carpenter (1985)
GRID = 1e-5  # relative, that 5000 points miss of the largest value of a polynomial
KINDS = ("Gaussian", "ring", "shell", "parallel pairs", "opposites")
QUADRATURE = np.polynomial.legendre.leggauss(80)


def neurons(rng: np.random.Generator, d: int, n: int, kind: str) -> Array:
    """Return unit neurons [n, d]; the target is the first axis, and none is on it."""
    if kind == "Gaussian":
        return unit_rows(rng.standard_normal((n, d)))
    delta = rng.uniform(0.05, 1.5)
    beta = np.full(n, delta)
    if kind == "shell":
        beta = delta + rng.exponential(0.05, n).clip(max=np.pi / 2 - delta)
    across = unit_rows(rng.standard_normal((n, d - 1)))
    W = np.column_stack([np.cos(beta), np.sin(beta)[:, None] * across])
    W *= rng.choice([-1.0, 1.0], (n, 1))
    half = n // 2
    if kind == "parallel pairs":
        W[half : 2 * half] = unit_rows(W[:half] + 1e-5 * rng.standard_normal((half, d)))
    elif kind == "opposites":
        W[half : 2 * half] = -W[:half]
    return W


def fitted(W: Array, X: Array) -> Array:
    """Return the output weights of least largest error on the points, of any sign and size."""
    A, f, one = np.maximum(X @ W.T, 0), np.maximum(X[:, 0], 0), np.ones((len(X), 1))
    solved = optimize.linprog(
        np.append(np.zeros(len(W)), 1.0),
        A_ub=np.block([[A, -one], [-A, -one]]),
        b_ub=np.concatenate([f, -f]),
        bounds=[(-1e4, 1e4)] * len(W) + [(0, None)],
    )
    return np.zeros(len(W)) if solved.x is None else np.asarray(solved.x[:-1])


def mean_size(y: Array, k: int) -> Array:
    """Return E|y + c| for |y| <= 1, c the first coordinate of a uniform point of S^(k-1)."""
    y = np.asarray(y, dtype=float)
    if k == 1:
        return (np.abs(y + 1) + np.abs(y - 1)) / 2
    nodes, weights = QUADRATURE
    kink, total = -np.arcsin(y), np.zeros_like(y)  # c = sin(phi), density cos(phi)^(k - 2)
    for a, b in ((np.full_like(y, -np.pi / 2), kink), (kink, np.full_like(y, np.pi / 2))):
        phi = (a + b)[..., None] / 2 + (b - a)[..., None] / 2 * nodes
        values = np.abs(y[..., None] + np.sin(phi)) * np.cos(phi) ** (k - 2)
        total += (b - a) / 2 * (values @ weights)
    return total / special.beta((k - 1) / 2, 0.5)


def latitude_mean(w: Array, t: Array) -> Array:
    """Return the means of relu(<w, x>) over the latitudes t and -t, for a unit neuron w."""
    along, across = abs(w[0]), np.linalg.norm(w[1:])
    flat, steep = np.sin(t) * along, np.cos(t) * across
    inside = flat <= steep
    y = np.where(inside, flat / np.where(inside, steep, 1.0), 1.0)
    return np.where(inside, steep * mean_size(y, len(w) - 1), flat) / 2


def annihilated(x: Array, values: Array) -> float:
    """Return |sum c_k v_k| / sum |c_k|, which is 0 for even polynomials of degree 2 len(x) - 4."""
    gaps = x[:, None] ** 2 - x**2
    np.fill_diagonal(gaps, 1.0)
    c = 1 / gaps.prod(axis=1)
    return abs(float(c @ values)) / float(np.abs(c).sum())


def spread(rng: np.random.Generator, n: int) -> Array:
    """Return n points of [0, 1], with gaps that no divided difference loses digits in."""
    return np.asarray(np.sin((np.arange(n) + rng.uniform(0.3, 0.7, n)) / n * np.pi / 2))


# -- the laws, in the order of the page --------------------------------------------------------


def lemma_1(rng: np.random.Generator) -> Law:
    """The error is homogeneous, ignores lengths of neurons, and a coordinate of weight 0."""
    d, n = int(rng.integers(2, 9)), int(rng.integers(1, 20))
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), np.eye(d)[0]
    X = rng.standard_normal((50, d + 1))
    inner, lengths = X[:, :d], np.linalg.norm(X[:, :d], axis=1)
    plain = checked(W, alpha, target, "A").errors(unit_rows(inner)) * lengths
    factor = 10.0 ** rng.uniform(-3, 3, n)
    padded = checked(
        np.pad(W * factor[:, None], ((0, 0), (0, 1))), alpha / factor, np.append(target, 0), "A"
    )
    yield float(np.abs(padded.errors(X) - plain).max()), ROUNDING * float(plain.max())
    delta = nearest_angle(W, target)
    same = nearest_angle(np.pad(W, ((0, 0), (0, 1))), np.append(target, 0))
    yield abs(delta - same), ROUNDING


def lemma_2(rng: np.random.Generator) -> Law:
    """Means over latitudes: their formulas, within 5 standard errors of sampled ones."""
    d, t = int(rng.integers(2, 9)), float(rng.uniform(0, 1.5))
    w = neurons(rng, d, 2, str(rng.choice(KINDS)))[0]
    v = unit_rows(rng.standard_normal((20_000, d - 1)))
    v, s = np.vstack([v, v, -v, -v]), np.repeat([1.0, -1.0, 1.0, -1.0], len(v))
    X = np.column_stack([s * np.sin(t), np.cos(t) * v])
    each = np.maximum(X @ w, 0).reshape(4, -1).mean(axis=0)
    error = float(each.std()) / math.sqrt(len(each))
    mean = float(latitude_mean(w, np.array([t]))[0])
    yield abs(float(each.mean()) - mean), 5 * error + ROUNDING
    f = np.maximum(X[:, 0], 0)
    yield abs(float(f.mean()) - math.sin(t) / 2), ROUNDING
    yield (
        abs(float((f - np.maximum(X @ w, 0)).mean())),
        float(np.abs(f - np.maximum(X @ w, 0)).max()),
    )


def lemma_3(rng: np.random.Generator) -> Law:
    """In an even dimension D, E|y + c| is an even polynomial of degree D - 2 in y on [-1, 1]."""
    D = 2 * int(rng.integers(1, 9))
    y = spread(rng, D // 2 + 1)
    yield annihilated(y, mean_size(y, D - 1)), ROUNDING


def lemma_3_control(rng: np.random.Generator) -> Law:
    """In an odd dimension it is not a polynomial of degree d - 1, which is why d is raised."""
    d = 2 * int(rng.integers(1, 5)) + 1
    y = spread(rng, (d + 1) // 2 + 1)
    yield ROUNDING, annihilated(y, mean_size(y, d - 1))


def lemma_4(rng: np.random.Generator) -> Law:
    """Up to the angle of the nearest line, the mean of h over cos(t) is a polynomial in tan(t)."""
    D, n = 2 * int(rng.integers(1, 6)), int(rng.integers(1, 12))
    W, alpha = neurons(rng, D, n, str(rng.choice(KINDS))), rng.standard_normal(n)
    x = spread(rng, D // 2 + 1)
    t = np.arctan(x * math.tan(min(nearest_angle(W, np.eye(D)[0]), 1.4)))
    means = sum(a * latitude_mean(w, t) for a, w in zip(alpha, W, strict=True))
    size = float(np.abs(alpha).sum() / np.cos(t[-1]))
    yield annihilated(x, np.asarray(means) / np.cos(t)), ROUNDING * size


def lemma_4_control(rng: np.random.Generator) -> Law:
    """Beyond that angle it is not."""
    D, beta = 2 * int(rng.integers(1, 6)), float(rng.uniform(0.2, 1.0))
    w = np.zeros(D)
    w[:2] = math.cos(beta), math.sin(beta)
    x = spread(rng, D // 2 + 1)
    t = np.arctan(x * 2 * math.tan(beta))
    yield ROUNDING, annihilated(x, latitude_mean(w, t) / np.cos(t))


def lemma_5(rng: np.random.Generator) -> Law:
    """No even polynomial Q is nearer to T / 2 on [0, tau] than kappa_d tau."""
    d, tau = int(rng.integers(2, 17)), float(rng.uniform(0.01, 5))
    terms = (d + 1) // 2
    x = np.cos(np.linspace(0, np.pi / 2, 400))
    basis = np.cos(np.outer(np.arccos(x), np.arange(0, 2 * terms, 2)))
    one = np.ones((len(x), 1))
    best = optimize.linprog(
        np.append(np.zeros(terms), 1.0),
        A_ub=np.block([[basis, -one], [-basis, -one]]),
        b_ub=np.concatenate([tau * x / 2, -tau * x / 2]),
        bounds=[(None, None)] * terms + [(0, None)],
    ).x[:-1]
    fine = np.cos(np.linspace(0, np.pi / 2, 5000))
    values = np.cos(np.outer(np.arccos(fine), np.arange(0, 2 * terms, 2)))
    for Q in (best, best + 0.01 * tau * rng.standard_normal(terms), rng.standard_normal(terms)):
        furthest = float(np.abs(tau * fine / 2 - values @ Q).max())
        yield latitude_constant(d) * tau, furthest * (1 + GRID)


def lemma_6(rng: np.random.Generator) -> Law:
    """The closed form is below the constant, and so are the steps of its proof."""
    M = int(rng.integers(1, 128))
    d = 2 * M + int(rng.integers(1, 3))
    yield explicit_constant(d), latitude_constant(d)
    yield latitude_constant(d), BERNSTEIN / (2 * (d + d % 2 - 2))
    phi = np.arange(64 * M) * (2 * np.pi / (64 * M))
    k = np.arange(1, 2 * M)
    v = np.where(k <= M, 1.0, 2 - k / M)
    kernel = 1 + 2 * np.cos(np.outer(phi, k)) @ v
    yield float(np.abs(kernel).mean()), 3.0
    j = np.arange(M, 2 * M)
    series = float((1 / (2 * j + 1)).sum()) / (2 * M)
    at_pi = 2 / np.pi - 4 / np.pi * float((v / (4 * k**2 - 1)).sum())  # (V g)(pi), g(pi) = 0
    yield abs(at_pi - 4 / np.pi * series), ROUNDING
    yield 1 / (8 * M), series


def lemma_7(rng: np.random.Generator) -> Law:
    """Any latitudes give a bound, and the weights in closed form annihilate the polynomials."""
    d, n = int(rng.integers(2, 7)), int(rng.integers(2, 25))
    W = neurons(rng, d, n, str(rng.choice(KINDS)))
    delta = nearest_angle(W, np.eye(d)[0])
    x = np.append(spread(rng, (d + 1) // 2), 1.0)
    T = x * math.tan(min(delta, 1.5))
    gaps = x[:, None] ** 2 - x**2
    np.fill_diagonal(gaps, 1.0)
    c = 1 / gaps.prod(axis=1)
    bound = abs(float(c @ T)) / float(np.abs(c) @ np.hypot(1, T)) / 2
    X = unit_rows(rng.standard_normal((60 * d, d)))
    yield bound, sup_error(W, fitted(W, X), np.eye(d)[0], "A", max_cells=0)[0]
    terms = int(rng.integers(1, 400))
    order = 2 * terms - 1
    x = np.append(0.0, np.cos(np.arange(terms) * np.pi / order)[::-1])
    sizes = 2 / (order * np.append(2 / order, x[1:]))
    sizes[-1] /= 2
    c = (-1.0) ** np.arange(terms + 1) * sizes
    p = np.cos(2 * int(rng.integers(terms)) * np.arccos(x))
    yield abs(float(c @ p)), ROUNDING * float(sizes.sum())
    yield abs(abs(float(c @ x)) - 1 / order), ROUNDING


def theorem_1(rng: np.random.Generator) -> Law:
    """No output weights have an error below kappa_d sin(delta*), nor below `latitude_bound`."""
    d, n = int(rng.integers(2, 8)), int(rng.integers(1, 60))
    W = neurons(rng, d, n, str(rng.choice(KINDS)))
    delta = nearest_angle(W, np.eye(d)[0])
    X = unit_rows(
        rng.standard_normal((100 * d, d)) * np.append(rng.uniform(0.1, 1), np.ones(d - 1))
    )
    found = sup_error(W, fitted(W, X), np.eye(d)[0], "A", max_cells=0)[0]
    yield latitude_bound(delta, d), found
    yield latitude_constant(d) * math.sin(delta) * (1 - ROUNDING), found


def lemma_8(rng: np.random.Generator) -> Law:
    """The probability of a line within theta of the target, between powers of sin(theta)."""
    d, theta = int(rng.integers(2, 40)), float(10 ** rng.uniform(-3, np.log10(1.5)))
    s = math.sin(theta)
    p = float(special.betainc((d - 1) / 2, 0.5, s**2))
    a = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)
    yield a * s ** (d - 1) * (1 - ROUNDING), p
    yield p, s ** (d - 1) * (1 + ROUNDING)
    yield p, a * s ** (d - 1) / math.cos(theta) * (1 + ROUNDING)
    d = min(d, 6)
    W = rng.standard_normal((20_000, d))
    near = float((np.abs(W[:, 0]) >= math.cos(theta) * np.linalg.norm(W, axis=1)).mean())
    p = float(special.betainc((d - 1) / 2, 0.5, s**2))
    yield abs(near - p), 5 * math.sqrt(p * (1 - p) / 20_000) + 5 / 20_000


def theorem_2(rng: np.random.Generator) -> Law:
    """With fewer neurons than the width, the bound exceeds eps in more than half of the networks.

    And the width that the package asks for is at least that of the theorem.
    """
    d = int(rng.integers(2, 5))
    eps = latitude_constant(d) * float(rng.uniform(0.15, 0.6))
    width = stated_width(d, eps)
    yield width, required_width(d, eps).necessary
    n = max(math.ceil(width) - 1, 1)
    least = [nearest_angle(rng.standard_normal((n, d)), np.eye(d)[0]) for _ in range(200)]
    excluded = float(np.mean(latitude_constant(d) * np.sin(least) > eps))
    yield 0.5 - 4 * math.sqrt(0.25 / 200), excluded


def stated_width(d: int, eps: float, delta: float = 0.5) -> float:
    """Return ln(1 / delta) ((kappa_d / eps)^(d - 1) - 1)."""
    return math.log(1 / delta) * ((latitude_constant(d) / eps) ** (d - 1) - 1)


def proposition_3(rng: np.random.Generator) -> Law:
    """One neuron at the angle theta, with its best output weight, is within 2 sin(theta / 2)."""
    d, theta = int(rng.integers(2, 8)), float(rng.uniform(1e-3, 1.5))
    w = np.zeros(d)
    w[:2] = math.cos(theta), math.sin(theta)
    yield (
        sup_error([w], [1.0], np.eye(d)[0], "A", max_cells=0)[0],
        2 * math.sin(theta / 2) + ROUNDING,
    )


def form_b_control(rng: np.random.Generator) -> Law:
    """Under form B four neurons are the target, whose bound under form A is not 0."""
    angle = float(rng.uniform(0.1, np.pi / 2 - 0.1))
    W, target = (
        np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]),
        np.array([np.cos(angle), np.sin(angle)]),
    )
    alpha = np.array([target[0], -target[0], target[1], -target[1]])
    upper = sup_error(W, alpha, target, "B")[1]
    yield upper, latitude_bound(nearest_angle(W, target), 2)


LAWS: dict[str, Callable[[np.random.Generator], Law]] = {
    "Lemma 1": lemma_1,
    "Lemma 2": lemma_2,
    "Lemma 3": lemma_3,
    "Lemma 3, odd dimension (control)": lemma_3_control,
    "Lemma 4": lemma_4,
    "Lemma 4, beyond the nearest line (control)": lemma_4_control,
    "Lemma 5": lemma_5,
    "Lemma 6": lemma_6,
    "Lemma 7": lemma_7,
    "Theorem 1": theorem_1,
    "Lemma 8": lemma_8,
    "Theorem 2": theorem_2,
    "Proposition 3": proposition_3,
    "Form B (control)": form_b_control,
}


def worst_ratio(name: str, instances: int, first: int = 0) -> tuple[float, int]:
    """Return the largest left / right over the instances, and how many inequalities there were."""
    pairs = [
        pair
        for seed in range(first, first + instances)
        for pair in LAWS[name](np.random.default_rng([seed, *name.encode()]))
    ]
    return max(left / right if right > 0 else math.inf * left for left, right in pairs), len(pairs)


def main(instances: int) -> None:
    start = time.process_time()
    print("| statement | inequalities | largest left / right | violated |")
    print("|---|---|---|---|")
    for name in LAWS:
        ratio, count = worst_ratio(name, instances)
        print(
            f"| {name} | {count} | {ratio:.3g} | {'yes' if not ratio <= 1 else 'no'} |", flush=True
        )
    print(f"{time.process_time() - start:.0f} s of processor time")
    print("\n| d | " + " | ".join(f"{eps:g}" for eps in ACCURACIES) + " | one near neuron |")
    print("|---" * (len(ACCURACIES) + 2) + "|")
    for d in (2, 3, 4, 5, 6, 8):
        cells = [f"{proven_width(d, eps):.3g}" for eps in ACCURACIES]
        print(f"| {d} | " + " | ".join(cells) + f" | {near_neuron_width(d, ACCURACIES[1]):.3g} |")


def proven_width(d: int, eps: float) -> float:
    """Return the first width of Theorem 2 for probability 1/2; 0 where it says nothing."""
    s = eps / latitude_constant(d)
    if s >= 1:
        return 0.0
    return math.log(2) / -math.log1p(-float(special.betainc((d - 1) / 2, 0.5, s**2)))


def near_neuron_width(d: int, eps: float) -> float:
    """Return the width of Proposition 3."""
    p = float(special.betainc((d - 1) / 2, 0.5, math.sin(2 * math.asin(eps / 2)) ** 2))
    return float(math.ceil(2 * math.log(2) / p))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=200)
    main(parser.parse_args().instances)
