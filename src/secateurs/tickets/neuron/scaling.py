"""How the width of a random network grows with the accuracy asked of its best subset.

Gaussian networks, a target drawn uniformly.  Neuron pruning (form A): the error of the subset
found at a width, and bounds that no subset beats.  Weight pruning (form B): the fewest neurons
that reach an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateurs.tickets.neuron.certificate import neuron_lower_bound
from secateurs.tickets.neuron.subset import select_neurons
from secateurs.tickets.weight_pruning import prune_weights

RESAMPLES = 1000
WIDEST = 80  # neurons for each input, where the search for the fewest begins
BITS, NETWORKS = (4, 7, 10, 13, 16), 100  # of the fit for weights

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NeuronPoint:
    """Neuron pruning of one network.

    Attributes
    ----------
    d, n_neurons, seed : int
    error, error_at_least : float
        The subset's sup error is between them.
    lower_bound : float
        No subset with these output weights has a smaller error.
    any_alpha_bound : float
        No subset with any output weights has.
    n_kept : int
    """

    d: int
    n_neurons: int
    seed: int
    error: float
    error_at_least: float
    lower_bound: float
    any_alpha_bound: float
    n_kept: int


@dataclass(frozen=True)
class WidthLaw:
    """Width ~ factor * (1 / error)^slope.

    Attributes
    ----------
    slope, factor : float
        Least squares of log width on log (1 / median error).
    low, high : float
        95 % interval of the slope, by a bootstrap over the seeds.
    """

    slope: float
    factor: float
    low: float
    high: float


@dataclass(frozen=True)
class BitLaw:
    """Width ~ per_bit * log2(1 / error) + at_one.

    Attributes
    ----------
    per_bit, at_one : float
        Least squares on the median over the networks.
    standard_error : float
        Of `per_bit`, by a bootstrap over the networks.
    """

    per_bit: float
    at_one: float
    standard_error: float


def gaussian_network(d: int, n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """W [n, d], alpha [n] and a unit target [d]."""
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    return W, alpha, target / np.linalg.norm(target)


def neuron_point(d: int, n: int, seed: int, tolerance: float = 2e-3) -> NeuronPoint:
    """Prune the neurons of one network, form A; seconds for each."""
    W, alpha, target = gaussian_network(d, n, np.random.default_rng([seed, d, n]))
    found = select_neurons(W, alpha, target, "A", tolerance=tolerance).value
    return NeuronPoint(
        d,
        n,
        seed,
        found.error,
        found.error_at_least,
        found.lower_bound,
        neuron_lower_bound(W, target),
        int(found.mask.sum()),
    )


def width_law(points: Sequence[NeuronPoint]) -> WidthLaw:
    """Fit of the median errors; every width with the same seeds.

    Raises
    ------
    ValueError
        The points are not of one d, several widths and the same seeds at each.
    """
    widths = sorted({p.n_neurons for p in points})
    seeds = sorted({p.seed for p in points})
    table = {(p.n_neurons, p.seed): p.error for p in points}
    if len({p.d for p in points}) != 1 or len(widths) < 2 or len(table) != len(points):
        raise ValueError("points: expected one d, two widths or more, no point twice")
    if len(table) != len(widths) * len(seeds):
        raise ValueError("points: expected the same seeds at every width")
    E, N = np.array([[table[n, s] for s in seeds] for n in widths]), np.array(widths)
    rng = np.random.default_rng(0)
    drawn = [_fit(N, E[:, rng.integers(len(seeds), size=len(seeds))])[0] for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    slope, log_factor = _fit(N, E)
    return WidthLaw(slope, float(np.exp(log_factor)), float(low), float(high))


def _fit(widths: NDArray[np.int64], errors: Array) -> tuple[float, float]:
    slope, start = np.polyfit(np.log(1 / np.median(errors, axis=1)), np.log(widths), 1)
    return float(slope), float(start)


def fewest_neurons(d: int, eps: float, seed: int) -> int:
    """Fewest neurons, the first of one random network, with which weight pruning reaches eps.

    Raises
    ------
    ValueError
        Not with the widest network that is tried, 80 d neurons.
    """
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(d)
    W, alpha = rng.standard_normal((WIDEST * d, d)), rng.standard_normal(WIDEST * d)
    low, high = 0, WIDEST * d
    while high - low > 1:
        n = (low + high) // 2
        found = prune_weights(W[:n], alpha[:n], w / np.linalg.norm(w), eps)
        low, high = (low, n) if found.error <= eps else (n, high)
    if high == WIDEST * d:  # never seen to reach it
        raise ValueError(f"eps = {eps:g}: not reached with {high - 1} neurons in d = {d}; ask less")
    return high


def bit_law(bits: Sequence[int], needed: NDArray[np.int64]) -> BitLaw:
    """Fit of the neurons needed, shape [networks, bits], for an error of 2^-bits."""
    rng = np.random.default_rng(0)
    drawn = needed[rng.integers(len(needed), size=(RESAMPLES, len(needed)))]
    each = np.polyfit(bits, np.median(drawn, axis=1).T, 1)[0]
    per_bit, at_one = np.polyfit(bits, np.median(needed, axis=0), 1)
    return BitLaw(float(per_bit), float(at_one), float(each.std()))
