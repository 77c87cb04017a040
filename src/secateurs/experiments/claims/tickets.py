"""Claims of "Structured vs. Unstructured Pruning: An Exponential Gap" (Ferre' et al.).

Some claims are the paper's; others were found here about its setting.  Each says which it is.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
from scipy import special

from secateurs.experiments.claims.claim import Claim, axis, combined, largest, seeds
from secateurs.tickets import (
    neuron_lower_bound,
    required_width,
    subset_sum,
    sup_error,
    unpack_masks,
)
from secateurs.tickets.neuron.bounds import nearest_angle
from secateurs.tickets.neuron.latitude import latitude_constant
from secateurs.tickets.neuron.scaling import fewest_neurons, neuron_point

PAPER = "Ferre', Giroire, Mallmann-Trenn & Natale (2026), arXiv 2603.02234"
THEOREM = "derived here: docs/theory/latitude.md"
NETWORKS = 100  # random networks for each part that counts successes
FIT_ROWS = 40  # points for each weight, to fit output weights
EXACT_SUP_ERROR = 1e-9  # of a network that equals its target
N_TERMS = 40  # candidates of a subset sum


def terms(*, eps: float, n: int, seed: int) -> dict[str, float]:
    """Count the candidates that n targets need to reach eps.

    Candidates are products of two normals, targets are uniform in [-1, 1].
    """
    rng = np.random.default_rng(seed)
    candidates = rng.standard_normal((n, N_TERMS)) * rng.standard_normal((n, N_TERMS))
    targets = rng.uniform(-1, 1, n)
    found = subset_sum(candidates, targets, eps)
    sums = np.where(unpack_masks(found.mask, N_TERMS), candidates, 0.0).sum(axis=1)
    return {
        "bits": math.log2(1 / eps),
        "terms": float(found.n_used.mean()),
        "reached": float((found.error <= eps).mean()),
        "dishonest": float(np.abs(np.abs(sums - targets) - found.error).max()),
    }


def weights_needed(*, d: int, bits: int, seed: int) -> dict[str, float]:
    """Find the fewest neurons with which pruning weights reaches 2^-bits."""
    return {"neurons": float(fewest_neurons(d, 2.0**-bits, seed))}


def neurons_reach(*, d: int, n: int, seed: int) -> dict[str, float]:
    """Find the best subset of n neurons, and a lower bound for every subset."""
    point = neuron_point(d, n, seed)
    return {"error": point.error, "bound": point.lower_bound}


def bound_holds(*, d: int, n: int, seed: int) -> dict[str, float]:
    """Compare the certified bound of a network with output weights fitted to the target.

    The bound is for any output weights, so fitted ones are a sharper test than subsets, whose
    errors are much larger.
    """
    rng = np.random.default_rng([seed, d, n])
    W, target = rng.standard_normal((n, d)), rng.standard_normal(d)
    if seed % 2:  # near-parallel and opposite neurons
        W[1], W[2] = W[0] * (1 + 1e-6), -W[0]
    X = rng.standard_normal((FIT_ROWS * n * d, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    alpha = np.linalg.lstsq(np.maximum(X @ W.T, 0), np.maximum(X @ target, 0), rcond=None)[0]
    _, upper = sup_error(W, alpha, target, "A")
    bound = neuron_lower_bound(W, target)
    return {"bound": bound, "error": upper, "ratio": bound / upper}


def theorem_holds(*, d: int, n: int, angle: float, seed: int) -> dict[str, float]:
    """Compare kappa_d sin(delta*) with networks fitted to the target from neurons on a ring.

    The neurons are at one angle from the target, where the theorem says most about so many.
    """
    rng = np.random.default_rng([seed, d, n])
    across = rng.standard_normal((n, d - 1))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    W = np.column_stack([np.full(n, math.cos(angle)), math.sin(angle) * across])
    target = np.eye(d)[0]
    X = rng.standard_normal((FIT_ROWS * n * d, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    alpha = np.linalg.lstsq(np.maximum(X @ W.T, 0), np.maximum(X[:, 0], 0), rcond=None)[0]
    error, _ = sup_error(W, alpha, target, "A", max_cells=0)
    bound = latitude_constant(d) * math.sin(nearest_angle(W, target))
    return {"bound": bound, "error": error, "ratio": bound / error}


def too_narrow(*, d: int, share: float, seed: int) -> dict[str, float]:
    """Count the networks, just below the width for probability 1/2, that the theorem excludes."""
    kappa = latitude_constant(d)
    eps = share * kappa
    width = math.log(2) * (share ** (1 - d) - 1)
    n = max(math.ceil(width) - 1, 1)
    rng = np.random.default_rng([seed, d])
    angles = [nearest_angle(rng.standard_normal((n, d)), np.eye(d)[0]) for _ in range(NETWORKS)]
    excluded = float(np.mean(kappa * np.sin(angles) > eps))
    return {"width": width, "excluded": excluded, "asked": required_width(d, eps).necessary}


def one_near_neuron(*, d: int, eps: float, seed: int) -> dict[str, float]:
    """Count the networks in which one neuron, with its best output weight, is within eps."""
    theta = 2 * math.asin(eps / 2)
    p = float(special.betainc((d - 1) / 2, 0.5, math.sin(theta) ** 2))
    n = math.ceil(2 * math.log(2) / p)
    rng = np.random.default_rng([seed, d])
    W = rng.standard_normal((NETWORKS, n, d))
    near = W[:, :, 0] >= math.cos(theta) * np.linalg.norm(W, axis=2)
    return {"neurons": n, "reached": float(near.any(axis=1).mean())}


def gap(*, d: int, bits: int, seed: int) -> dict[str, float]:
    """Compare the neurons that weight pruning needs with those that neuron pruning must have."""
    needed, proven = fewest_neurons(d, 2.0**-bits, seed), required_width(d, 2.0**-bits).necessary
    return {"weights": needed, "neurons": proven, "ratio": needed / proven}


def one_weight(*, d: int, eps: float, delta: float, seed: int) -> dict[str, float]:
    """Measure how often one neuron with one weight is within eps of an axis."""
    asked = required_width(d, eps, delta, "weights").necessary
    alpha, w = np.random.default_rng(seed).standard_normal((2, 200_000))
    reached = float(((alpha > 0) & (w > 0) & (np.abs(alpha * w - 1) <= eps)).mean())
    return {"asked": asked, "reached": reached, "ratio": reached / (1 - delta)}


def form_b(*, a: float, b: float) -> dict[str, float]:
    """Measure four neurons +-e1, +-e2 that equal the target exactly, under form B."""
    W = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    alpha = np.array([a, -a, b, -b])
    target = np.array([a, b])
    _, upper = sup_error(W, alpha, target, "B")
    try:
        neuron_lower_bound(W, target, "B")
        refused = 0.0
    except ValueError:
        refused = 1.0
    return {"error": upper, "form_a_bound": neuron_lower_bound(W, target), "refused": refused}


def _shown_and_refused(frame: pd.DataFrame) -> float:
    """Return the share of targets that form B reaches and the bound of form A excludes."""
    shown = (frame["error"] < EXACT_SUP_ERROR) & (frame["form_a_bound"] > EXACT_SUP_ERROR)
    return float((shown & (frame["refused"] == 1)).mean())


def _per_bit(frame: pd.DataFrame) -> float:
    """Return the terms for each bit of accuracy; all targets must reach it."""
    if frame["reached"].min() < 1:
        raise ValueError("some targets were not reached; their number of terms means nothing")
    means = frame.groupby("bits")["terms"].mean()
    return float(np.polyfit(means.index, means, 1)[0])


def _neurons_per_bit(frame: pd.DataFrame) -> float:
    """Return the neurons for each bit of accuracy and input, averaged over networks and d."""
    slopes = []
    for d, mine in frame.groupby("d"):
        means = mine.groupby("bits")["neurons"].mean()
        slopes.append(float(np.polyfit(means.index, means, 1)[0]) / float(d))  # type: ignore[arg-type]
    return float(np.mean(slopes))


def _log_slope(frame: pd.DataFrame) -> float:
    """Return the slope of log neurons against log (1 / median error)."""
    medians = frame.groupby("n")["error"].median()
    return float(np.polyfit(-np.log(medians), np.log(medians.index.to_numpy(dtype=float)), 1)[0])


_exponent = partial(
    Claim,
    measure=neurons_reach,
    judge=_log_slope,
    quantity="slope of log width against log (1 / error)",
    source=f"{THEOREM}, exponent d - 1; slope: measured, benchmarks/tickets/neuron_pruning.py",
)

CLAIMS = (
    Claim(
        name="subset-sum",
        statement="A random subset sum needs about log2(1 / eps) terms: one for each bit.",
        source="Lueker (1998), Pensia et al. (2020), order; slope: measured, "
        "benchmarks/tickets/subset_sum.py",
        measure=terms,
        quick=combined(axis("eps", 1e-2, 1e-3, 1e-4, 1e-5), seeds(1), n=2000),
        full=combined(axis("eps", 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7), seeds(4), n=5000),
        judge=_per_bit,
        quantity="terms per bit",
        expected=1.03,
        low=0.95,
        high=1.12,
    ),
    Claim(
        name="honest-errors",
        statement="The reported error of a subset sum is its error.",
        source="derived; tolerance: rounding",
        measure=terms,
        quick=combined(axis("eps", 1e-3, 1e-6), seeds(1), n=1000),
        full=combined(axis("eps", 1e-3, 1e-6, 1e-8), seeds(4), n=5000),
        judge=largest("dishonest"),
        quantity="largest difference",
        expected=0.0,
        high=1e-12,
    ),
    Claim(
        name="weights-logarithmic",
        statement="Pruning weights reaches eps with a number of neurons proportional to "
        "d log2(1 / eps).",
        source=f"{PAPER}, upper bound, with Pensia et al. (2020); constant: measured, "
        "benchmarks/tickets/subset_sum.py",
        measure=weights_needed,
        quick=combined(axis("d", 2, 4), axis("bits", 4, 7, 10), seeds(6)),
        full=combined(axis("d", 2, 4, 8, 16), axis("bits", 4, 6, 8, 10, 12), seeds(20)),
        judge=_neurons_per_bit,
        quantity="neurons per bit and input",
        expected=2.2,
        low=1.9,
        high=2.8,
    ),
    Claim(
        name="neurons-polynomial",
        statement="Negative: the number of neurons that pruning neurons needs grows as a power of "
        "1 / eps and not logarithmically, here for d = 2.",
        source=f"{PAPER}, lower bound of order 1 / eps (v3); exponent: measured, "
        "benchmarks/tickets/neuron_pruning.py",
        measure=neurons_reach,
        quick=combined(axis("n", 16, 48, 144), seeds(5), d=2),
        full=combined(axis("n", 16, 64, 256, 1024), seeds(12), d=2),
        judge=_log_slope,
        quantity="slope of log width against log (1 / error)",
        expected=1.1,
        low=0.7,
        high=1.6,
    ),
    Claim(
        name="lower-bound",
        statement="No output weights have an error below the certified lower bound, not even "
        "weights fitted to the target, also with near-parallel and opposite neurons (form A).",
        source=f"{PAPER}, breakpoint argument, and the latitude bound derived here",
        measure=bound_holds,
        quick=combined(axis("d", 2, 3, 5), axis("n", 6, 20), seeds(10)),
        full=combined(axis("d", 2, 3, 4, 5, 6), axis("n", 6, 20, 60), seeds(40)),
        judge=largest("ratio"),
        quantity="largest bound over error",
        expected=0.9,
        high=1.0,
    ),
    Claim(
        name="form-b-exact",
        statement="Negative: under form B four neurons can equal a target that the bound of form A "
        "excludes; the bound refuses form B.",
        source="derived: the counterexample",
        measure=form_b,
        quick=({"a": 0.6, "b": 0.8},),
        full=combined(axis("a", 0.3, 0.6, 0.9), axis("b", 0.2, 0.5, 0.8)),
        judge=_shown_and_refused,
        quantity="share of targets that are exact, excluded by the bound, and refused",
        expected=1.0,
        low=1.0,
    ),
    Claim(
        name="dimension-aware-bound",
        statement="The error of neurons that all have at least the angle delta* from the target is "
        "at least kappa_d sin(delta*), for any output weights (form A).",
        source=f"{THEOREM}, Theorem 1",
        measure=theorem_holds,
        quick=combined(axis("d", 3, 4, 6), axis("n", 12, 40), axis("angle", 0.1, 0.5), seeds(2)),
        full=combined(
            axis("d", 2, 3, 4, 5, 6, 8),
            axis("n", 12, 40, 120),
            axis("angle", 0.1, 0.5, 1.0),
            seeds(5),
        ),
        judge=largest("ratio"),
        quantity="largest bound over error",
        expected=0.2,
        high=1.0,
    ),
    Claim(
        name="dimension-aware-width",
        statement="Just below the width ln 2 ((kappa_d / eps)^(d-1) - 1) at least half of the "
        "random networks have no subset within eps, whatever their output weights.",
        source=f"{THEOREM}, Theorem 2; tolerance: four standard errors",
        measure=too_narrow,
        quick=combined(axis("d share", (2, 0.05), (3, 0.15), (4, 0.25)), seeds(4)),
        full=combined(axis("d share", (2, 0.02), (3, 0.05), (4, 0.1), (6, 0.3)), seeds(20)),
        judge=lambda frame: float(frame.groupby("d")["excluded"].mean().min()),
        quantity="smallest share of networks that the theorem excludes, over d",
        expected=0.6,
        low=0.4,
    ),
    Claim(
        name="free-output-weights",
        statement="With free output weights 2 ln 2 / p_d(eps) neurons, of order eps^-(d-1), are "
        "enough in at least half of the networks: the exponent of the lower bound is right.",
        source=f"{THEOREM}, Proposition 3; tolerance: four standard errors",
        measure=one_near_neuron,
        quick=combined(axis("d eps", (2, 0.01), (3, 0.1), (4, 0.3)), seeds(2)),
        full=combined(axis("d eps", (2, 0.002), (3, 0.05), (4, 0.2), (5, 0.4)), seeds(10)),
        judge=lambda frame: float(frame.groupby("d")["reached"].mean().min()),
        quantity="smallest share of networks with a near neuron, over d",
        expected=0.5,
        low=0.36,
    ),
    _exponent(
        name="neurons-polynomial-3",
        statement="Negative: for d = 3 the neurons that pruning neurons needs grow as the square "
        "of 1 / eps.",
        quick=combined(axis("n", 64, 256, 1024), seeds(5), d=3),
        full=combined(axis("n", 64, 256, 1024, 4096), seeds(12), d=3),
        expected=2.0,
        low=1.6,
        high=2.5,
    ),
    _exponent(
        name="neurons-polynomial-4",
        statement="Negative: for d = 4 they grow faster still. The fitted slope rises from 2, on "
        "networks of up to 1024 neurons, towards the exponent 3 of the lower bound.",
        quick=combined(axis("n", 64, 256, 1024), seeds(5), d=4),
        full=combined(axis("n", 64, 256, 1024, 4096), seeds(12), d=4),
        expected=2.4,
        low=1.8,
        high=3.3,
    ),
    Claim(
        name="exponential-gap",
        statement="For small eps pruning weights reaches eps with fewer neurons than pruning "
        "neurons must have, whatever the solver.",
        source=f"{PAPER}, the gap; forms: B for weights, A for neurons",
        measure=gap,
        quick=combined(axis("d", 2, 3, 4), axis("bits", 10, 13), seeds(4)),
        full=combined(axis("d", 2, 3, 4, 8), axis("bits", 10, 13, 16), seeds(20)),
        judge=largest("ratio"),
        quantity="largest number of neurons for weights over that proven necessary for neurons",
        expected=0.25,
        high=0.5,
    ),
    Claim(
        name="uniform-targets",
        statement="Negative: the width that weight pruning must have holds for targets drawn "
        "uniformly and not for an axis, which one weight reaches more often than the bound allows.",
        source="derived: the count of masks; tests/tickets/test_certificate.py",
        measure=one_weight,
        quick=combined(axis("d eps delta", (8, 0.1, 0.99), (100, 0.24, 0.975)), seeds(1)),
        full=combined(axis("d eps delta", (8, 0.1, 0.99), (100, 0.24, 0.975)), seeds(10)),
        judge=lambda frame: float(frame["ratio"][frame["asked"] > 1].min()),
        quantity="smallest share of an axis reached by one weight over the share allowed",
        expected=1.3,
        low=1.1,
    ),
)
