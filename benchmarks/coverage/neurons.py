"""Pruned random neurons: bounds of their error against all subsets and exact errors."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from benchmarks.coverage.judging import Case, attempt, judge, status_check
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import tickets
from secateurs.core import Check

Array = NDArray[np.float64]
POINTS = 20_000  # of the sphere
CELLS = 3000  # of the sphere: a bound holds for any number
TOLERANCE = 1e-3  # of a selection that is called exact
ROUNDING = 1e-9  # relative, for sums that are computed here in another order


@dataclass(frozen=True)
class NeuronTruth:
    """A target, random neurons and a subset of them."""

    W: Array
    alpha: Array
    target: Array
    form: str
    kept: NDArray[np.bool_]
    tolerance: float = 0.0

    def largest(self, kept: NDArray[np.bool_], alpha: Array | None = None) -> float:
        """The largest error found; for two inputs it is the sup, to rounding."""
        W, a = self.W[kept], (self.alpha if alpha is None else alpha)[kept]
        points = _circle(W, a, self.target) if self.exact else _sphere(W.shape[1])
        h = np.maximum(points @ W.T, 0) @ a
        h = np.maximum(h, 0) if self.form == "B" else h
        return float(np.abs(np.maximum(points @ self.target, 0) - h).max())

    @property
    def exact(self) -> bool:
        """Whether `largest` is the sup itself."""
        return self.W.shape[1] == 2

    @property
    def size(self) -> float:
        """Length of the target."""
        return float(np.linalg.norm(self.target))

    @cached_property
    def best(self) -> float:
        """At least the least sup error over all subsets: the sup, or a bound of it, for three."""
        kept = np.array(list(itertools.product((False, True), repeat=len(self.W))), dtype=bool)
        errors = np.array([self.largest(subset) for subset in kept])
        if self.exact:
            return float(errors.min())
        nearest = kept[np.argsort(errors)[:3]]
        return min(
            tickets.sup_error(self.W, self.alpha, self.target, self.form, subset, max_cells=CELLS)[
                1
            ]
            for subset in nearest
        )


def _sphere(d: int) -> Array:
    points = np.random.default_rng(0).standard_normal((POINTS, d))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def _circle(W: Array, alpha: Array, target: Array) -> Array:
    """Where the error of two inputs can be largest: kinks, zeros of h, and maxima of each piece.

    Between two kinks f and h are linear, so that f, h and f - h have their extrema along or
    across their coefficients.
    """
    normals = np.vstack([W, target])
    angles = np.arctan2(normals[:, 1], normals[:, 0])
    kinks = np.sort(np.concatenate([angles + np.pi / 2, angles - np.pi / 2]) % (2 * np.pi))
    inner = (kinks + np.roll(kinks, -1) + 2 * np.pi * (kinks > np.roll(kinks, -1))) / 2
    inside = np.column_stack([np.cos(inner), np.sin(inner)])
    h = (inside @ W.T > 0) * alpha @ W
    f = (inside @ target > 0)[:, None] * target
    found = np.vstack([f, h, f - h])
    across = found[:, ::-1] * [1.0, -1.0]
    found = np.vstack([found, -found, across, -across, [[1.0, 0.0]]])
    found = found[np.abs(found).max(axis=1) > 0]
    found /= np.abs(found).max(axis=1, keepdims=True)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.vstack([found, np.column_stack([np.cos(kinks), np.sin(kinks)])])


@judge("neuron", "error", verdicts=("holds", "fails"))
def sup_error_within(check: Check, truth: NeuronTruth) -> bool | None:
    """The sup is at most the upper bound, or at least the lower one."""
    found = truth.largest(truth.kept)
    if check.verdict == "holds":
        return found <= check.measured + ROUNDING * truth.size
    return found >= check.measured - ROUNDING * truth.size if truth.exact else None


@judge("neuron", "attainable by these neurons, any output weights", verdicts=("holds", "fails"))
def no_weights_do_better(check: Check, truth: NeuronTruth) -> bool | None:
    """Good output weights, from a linear program on many points, do not do better."""
    if not truth.exact:
        return None
    angles = np.linspace(0, 2 * np.pi, 721)
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    H = np.maximum(points @ truth.W.T, 0) / truth.size
    f, one = np.maximum(points @ truth.target, 0) / truth.size, np.ones((len(points), 1))
    goal, sides = np.append(np.zeros(len(truth.W)), 1.0), np.concatenate([f, -f])
    best = linprog(goal, np.block([[H, -one], [-H, -one]]), sides, bounds=(None, None))
    if best.x is None:
        return None
    reached = truth.largest(np.ones(len(truth.W), dtype=bool), best.x[:-1])
    return reached >= check.measured - ROUNDING * truth.size


@judge("neuron", "attainable by these neurons", verdicts=("holds", "fails", "unknown"))
def no_subset_does_better(check: Check, truth: NeuronTruth) -> bool:
    """All subsets are tried."""
    return truth.best >= check.measured - ROUNDING * truth.size


@judge("neuron", "status exact")
def no_better_subset(_: Check, truth: NeuronTruth) -> bool:
    """No subset is better by more than the tolerance."""
    return truth.largest(truth.kept) <= truth.best + (truth.tolerance + ROUNDING) * truth.size


@judge("interval", "sup_error")
def between(check: Check, truth: NeuronTruth) -> bool:
    """Errors are below the upper bound; the lower one is below the sup where this is known."""
    found, slack = truth.largest(truth.kept), ROUNDING * truth.size
    low = check.threshold <= (found + slack if truth.exact else check.measured)
    return low and found <= check.measured + slack


@judge("masks", "prune_weights", "within eps")
def masked_error(check: Check, truth: NeuronTruth) -> bool:
    """No point was found with a larger error of the masked network, nor with more than eps."""
    most = check.measured if check.name == "prune_weights" else check.threshold
    return truth.largest(truth.kept) <= most + ROUNDING


# -- the instances ---------------------------------------------------------------------------


def neuron_bounds(
    rng: Generator, form: str, d: int, kind: str = "gaussian", scale: float = 1.0
) -> list[Case]:
    """Bound the error of random subsets, select neurons, and certify the selection."""
    n = int(rng.integers(1, 9))
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    if kind == "near the target":
        W = target * rng.uniform(0.5, 2, (n, 1)) + 0.05 * W
    elif kind == "equal and opposite":
        W[n // 2 :] = W[: n - n // 2] * rng.choice([-1.0, 1.0], (n - n // 2, 1))
    elif kind == "axes":
        W = np.round(W)
    W, target = scale * W, scale * target
    truth = NeuronTruth(W, alpha, target, form, rng.random(n) < 0.7)
    eps = float(truth.size * 10 ** rng.uniform(-2, 0.3))
    interval = attempt(
        lambda: tickets.sup_error(W, alpha, target, form, truth.kept, max_cells=CELLS)
    )
    found = attempt(
        lambda: tickets.select_neurons(
            W, alpha, target, form, tolerance=TOLERANCE, max_cells=CELLS, random_state=seed_of(rng)
        )
    )
    if interval is None or found is None:
        return [Case("tickets.select_neurons", "neuron", ())]
    lower, upper = interval
    between = Check("sup_error", "the sup is between the bounds", "holds", upper, lower, "")
    value = found.value
    selected = NeuronTruth(W, alpha, target, form, value.mask, TOLERANCE)
    of_selected = Check(
        "sup_error", "so is that of the selection", "holds", value.error, value.error_at_least, ""
    )
    certificate = tickets.ticket_certificate(
        W, alpha, target, eps, form, value.mask, lower_bound=value.lower_bound
    )
    return [
        Case("tickets.sup_error", "interval", (between,), truth),
        Case("tickets.select_neurons", "interval", (of_selected,), selected),
        Case("tickets.select_neurons", "neuron", (status_check(found.status),), selected),
        Case("tickets.ticket_certificate", "neuron", certificate.checks, selected),
    ]


def masked_weights(rng: Generator, d: int) -> list[Case]:
    """Approximate a neuron by masks of weights; what they leave is a smaller network."""
    n = int(rng.integers(2 * d, 30 * d))
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    eps = float(10 ** rng.uniform(-3, 0))
    found = attempt(lambda: tickets.prune_weights(W, alpha, target, eps, n_threads=1))
    if found is None:
        return [Case("tickets.prune_weights", "masks", ())]
    check = Check("prune_weights", "the error of the masks", "holds", float(found.error), eps, "")
    everything = np.ones(n, dtype=bool)
    truth = NeuronTruth(
        W * found.hidden_mask, alpha * found.output_mask, target, "B", everything, eps
    )
    within = Check("within eps", "", "holds" if found.status == "converged" else "unknown", *(
        float(found.error), eps, ""
    ))  # fmt: skip
    return [Case("tickets.prune_weights", "masks", (check, within), truth)]


NEURONS: dict[str, dict[str, Any]] = {
    f"form {form}, {d} inputs{', ' if kind else ''}{kind}": {
        "form": form, "d": d, "kind": kind or "gaussian"
    }
    for form in ("A", "B")
    for d, kind in (
        (2, ""), (2, "near the target"), (2, "equal and opposite"), (2, "axes"), (3, ""), (5, "")
    )
}  # fmt: skip
SCENARIOS = [
    *(
        Scenario(f"neuron, {name}", neuron_bounds, options, full=100, small=2)
        for name, options in NEURONS.items()
    ),
    Scenario("neuron, tiny numbers", neuron_bounds, {"form": "A", "d": 2, "scale": 1e-100}, 100, 2),
    Scenario("neuron, huge numbers", neuron_bounds, {"form": "B", "d": 2, "scale": 1e100}, 100, 2),
    Scenario("masks, 2 inputs", masked_weights, {"d": 2}, small=2),
    Scenario("masks, 4 inputs", masked_weights, {"d": 4}, small=2),
]
