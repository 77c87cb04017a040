"""The rounding errors of layers in floating-point arithmetic, bounded for all inputs of a norm.

    fl(sum of n products) = sum of products (1 + d),   |d| <= gamma_n = n u / (1 - n u)         (1)
    an operation with a subnormal operand or result also loses up to t, the least normal size   (2)

(1) holds for every order of the additions, and with fused operations.  A term that is zero is not
counted, because to add zero is exact.  The error of output i is then at most gamma_n_i times the
sum of |weight| |input|.  (2) covers hardware that takes subnormal numbers for zero.

A batch normalisation that was folded into the target's layer rounds every term a few times more.

The masked network multiplies an input by u, then by v, and adds up.  Its effective layers round the
sum of the products v u once and multiply.  In both, a term is rounded at most n + 4 times.  The
terms of the masked network are more and larger, because they cancel in the sum.
Source: Higham, Accuracy and Stability of Numerical Algorithms, chapter 3, for (1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.tickets.layers import Fold, Layer
from secateurs.tickets.norms import absolute_norm
from secateurs.tickets.ticket import Ticket

ROUNDINGS = 4  # of a term besides the additions: stored weight, hidden unit, product and bias
# of a term of a batch normalisation: variance + eps, its root, its inverse, two products with it,
# the product with the mean, two more terms and the sums
FOLD_ROUNDINGS = 24
LARGEST_NORMAL = 6.4  # of `random_stream.normal`
MOST_TERMS = 64  # of a weight
SUBNORMAL = 8  # times (2) a term: operands and results of its operations, and their growth by (1)
ROOT_OUTPUTS = 2.0**20  # root of 2^40, more outputs than a layer has in memory

Blocks = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Arithmetic:
    """The unit roundoff, the least normal number and the largest number of a dtype."""

    unit: float
    least: float
    largest: float

    def gamma(self, n: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return gamma_n of (1), or inf where it does not exist."""
        share = n * self.unit
        with np.errstate(divide="ignore"):
            return np.where(share < 1, share / np.maximum(1 - share, 0), np.inf)


def arithmetic_of(dtype: torch.dtype) -> Arithmetic:
    """Return the constants of a dtype of torch."""
    info = torch.finfo(dtype)
    return Arithmetic(info.eps / 2, info.tiny, info.max)


@dataclass(frozen=True)
class Rounding:
    """The l2 rounding error of a layer is at most ``factor * ||input|| + constant``.

    `peak_factor` and `peak_constant` bound in the same way the largest number on the way.
    """

    factor: float
    constant: float
    peak_factor: float
    peak_constant: float

    def bound(self, norm: float, arithmetic: Arithmetic) -> float:
        """Return the bound for inputs of this norm, or inf where the arithmetic may overflow."""
        peak = max(norm, self.peak_factor * norm + self.peak_constant)
        if not 2 * peak < arithmetic.largest:
            return math.inf
        return self.factor * norm + self.constant


def dense_rounding(
    arithmetic: Arithmetic,
    layer: Layer,
    sizes: dict[str, NDArray[np.float64]],
    counts: NDArray[np.float64],
    root_places: float,
    scale: float,
) -> Rounding:
    """Bound the rounding of a layer with weights.

    Parameters
    ----------
    arithmetic : Arithmetic
    layer : Layer
    sizes : dict of arrays
        The blocks of `Layer.blocks`, each number replaced by the sum of the sizes of its terms.
    counts : array, shape [n_out]
        Terms of each output that are not zero, its bias included.
    root_places : float
        Square root of the outputs of a channel; only used with a bias.
    scale : float
        A bound of the weights, of the hidden weights, and of their products: for (2).
    """
    # an input has one sign, so only one of the two sides is not zero
    size = np.maximum(sizes["plus"], sizes["minus"]) if "minus" in sizes else sizes["plus"]
    gamma = arithmetic.gamma(counts + ROUNDINGS * (counts > 0))
    if not np.isfinite(gamma).all():
        return Rounding(math.inf, math.inf, 0.0, 0.0)
    lost = SUBNORMAL * arithmetic.least * (1 + scale) * float(np.linalg.norm(counts)) * ROOT_OUTPUTS
    factor = absolute_norm(layer, np.repeat(gamma, len(size) // layer.n_out)[:, None] * size)
    constant = peak = 0.0
    if layer.bias:
        bias = sizes["bias"][:, 0]
        constant, peak = root_places * float(np.linalg.norm(gamma * bias)), float(bias.max())
    largest = max(scale, float(np.linalg.norm(size.reshape(layer.n_out, -1), axis=1).max()))
    return Rounding(factor + lost, constant + lost, largest, peak)


def folded_rounding(
    arithmetic: Arithmetic,
    layer: Layer,
    sizes: dict[str, NDArray[np.float64]],
    fold: Fold,
    counts: NDArray[np.float64],
    root_places: float,
) -> Rounding:
    """Bound the rounding of a layer and the batch normalisation behind it, which was folded.

    ``alpha (W x + b - mean) + beta`` is a sum of the terms alpha W x, alpha b, alpha mean and beta,
    in any order of the operations; each term is rounded at most `FOLD_ROUNDINGS` times more than
    in the layer alone.  `sizes` are of the folded weights, `counts` of their terms.
    """
    own = {**sizes, "bias": fold.bias_sizes[:, None]}
    counts = counts + FOLD_ROUNDINGS
    most = (1 + fold.largest_weight) * (1 + fold.largest_factor)
    found = dense_rounding(arithmetic, layer, own, counts, root_places, most)
    return replace(found, peak_constant=max(found.peak_constant, fold.largest_bias))


def mean_rounding(arithmetic: Arithmetic, n_terms: int) -> Rounding:
    """Bound the rounding of means of this many numbers; each number is in means of weight <= 1."""
    lost = SUBNORMAL * arithmetic.least * n_terms * ROOT_OUTPUTS
    gamma = float(arithmetic.gamma(np.array(float(n_terms + ROUNDINGS))))
    return Rounding(gamma + lost, lost, math.sqrt(n_terms), 0.0)


def ticket_scale(scales: list[float]) -> float:
    """Return the `scale` of `dense_rounding` for random weights of these standard deviations."""
    u, v = LARGEST_NORMAL, LARGEST_NORMAL * max(scales)
    return MOST_TERMS * (1 + u) * (1 + v)


def roundings_of(
    ticket: Ticket,
    number: int,
    goals: Blocks,
    found: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    arithmetics: tuple[Arithmetic, Arithmetic],
    root_places: float,
    fold: Fold | None,
) -> tuple[Rounding, Rounding, Rounding]:
    """Return the roundings of the target, of the masked network and of its effective layers."""
    layer, scale = ticket.layers[number], ticket_scale(list(ticket.scales[number].values()))
    own = {name: np.abs(goal) for name, goal in goals.items() if name != "minus"}
    effective = {name: np.abs(sums) for name, (sums, _) in found.items()}
    masked = {name: sizes for name, (_, sizes) in found.items()}
    n_masked = {name: np.bitwise_count(mask) for name, mask in ticket.masks[number].items()}
    largest = max(float(sizes.max()) for sizes in own.values())

    def rounding(
        arithmetic: Arithmetic, sizes: Blocks, counts: Mapping[str, NDArray[Any]], most: float
    ) -> Rounding:
        terms = _terms(layer, counts)
        return dense_rounding(arithmetic, layer, sizes, terms, root_places, most)

    counts = {k: v != 0 for k, v in own.items()}
    if fold is None:
        of_target = rounding(arithmetics[0], own, counts, largest)
    else:
        of_target = folded_rounding(
            arithmetics[0], layer, own, fold, _terms(layer, counts), root_places
        )
    return (
        of_target,
        rounding(arithmetics[1], masked, n_masked, scale),
        rounding(arithmetics[1], effective, {k: v != 0 for k, v in effective.items()}, scale),
    )


def _terms(layer: Layer, counts: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Add up the terms of each output over taps, inputs and blocks."""
    parts = [count.reshape(layer.n_out, -1).sum(1, dtype=float) for count in counts.values()]
    total: NDArray[np.float64] = np.sum(parts, axis=0)
    return total
