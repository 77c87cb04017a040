"""Claims of "Structured vs. Unstructured Pruning: An Exponential Gap" (Ferre' et al.).

Some claims are the paper's; others were found here about its setting.  Each says which it is.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from secateurs.experiments.claims.claim import Claim, axis, combined, largest, seeds
from secateurs.tickets import neuron_lower_bound, subset_sum, sup_error, unpack_masks
from secateurs.tickets.neuron.scaling import fewest_neurons, neuron_point

PAPER = "Ferre', Giroire, Mallmann-Trenn & Natale (2026), arXiv 2603.02234"
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


CLAIMS = (
    Claim(
        name="subset-sum",
        statement="A random subset sum needs about log2(1 / eps) terms: one for each bit.",
        source="Lueker (1998), Pensia et al. (2020), order; slope: measured, "
        "benchmarks/tickets/subset_sums.py",
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
        "benchmarks/tickets/subset_sums.py",
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
)
