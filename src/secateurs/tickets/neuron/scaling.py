"""Measure the error that a width reaches, and the width that an error needs.

The networks are Gaussian, and the target is drawn uniformly from the sphere.  For neuron pruning
(form A) a point is the error of the subset found at a width, with bounds for every subset.  For
weight pruning (form B) it is the fewest neurons that reach an error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import bad_value
from secateurs.tickets.neuron.certificate import neuron_lower_bound
from secateurs.tickets.neuron.subset import select_neurons
from secateurs.tickets.weight_pruning import prune_weights

WIDEST = 80  # neurons for each input of the widest network that is tried
BITS, NETWORKS = (4, 7, 10, 13, 16), 100  # of the line fitted for weights

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NeuronPoint:
    """The result of neuron pruning on one network.

    Attributes
    ----------
    d, n_neurons, seed : int
    error, error_at_least : float
        Bounds of the subset's sup error.
    lower_bound : float
        No subset with these output weights has a smaller error.
    any_alpha_bound : float
        No subset with any output weights has a smaller error.
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


def gaussian_network(d: int, n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw W [n, d], alpha [n] and a unit target [d]."""
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    return W, alpha, target / np.linalg.norm(target)


def neuron_point(d: int, n: int, seed: int, tolerance: float = 2e-3) -> NeuronPoint:
    """Prune the neurons of one network in form A, which takes seconds."""
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


def fewest_neurons(d: int, eps: float, seed: int) -> int:
    """Find the fewest neurons, the first of a random network, for which weight pruning reaches eps.

    Raises
    ------
    ValueError
        The widest network that is tried, with 80 d neurons, does not reach eps.
    """
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(d)
    W, alpha = rng.standard_normal((WIDEST * d, d)), rng.standard_normal(WIDEST * d)
    low, high = 0, WIDEST * d
    while high - low > 1:
        n = (low + high) // 2
        found = prune_weights(W[:n], alpha[:n], w / np.linalg.norm(w), eps)
        low, high = (low, n) if found.error <= eps else (n, high)
    if high == WIDEST * d:  # no network reached it
        raise bad_value("eps", eps, f"one that {high - 1} neurons reach for d = {d}")
    return high
