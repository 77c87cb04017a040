"""The distance of a ticket from its target: every weight, and a bound through the layers.

    z = W x + b,   z^ = (sums under the masks)(x^),   ||x|| <= r,  ||x^ - x|| <= e

    E = [plus - W, minus + W] on (relu(x), relu(-x)), a pair of the norm of x:
    ||z^ - z|| <= ||E|| r + (||W|| + ||E||) e + ||b^ - b||                                  (1)
    ||z||      <= ||W|| r + ||b||
    relu and pooling: by their Lipschitz constants

A first layer without "minus" was made for x >= 0, and (1) holds for such x only, because the masked
network takes a negative entry for 0.

That is exact arithmetic.  The modules that are returned compute in float32, and the target in its
own dtype.  With x and x^ the numbers that they compute, their roundings of a layer are added to
(1), and that of the target to its norm (see `secateurs.tickets.rounding`).  An input of a float64
target is rounded to float32 first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from secateurs.core.parameters import Shown, bad_value, check_real, is_integer
from secateurs.core.short_repr import short_repr
from secateurs.tickets.layers import WEIGHTED, Layer, Target
from secateurs.tickets.norms import (
    SLACK,
    absolute_norm,
    lipschitz,
    operator_norm,
    spectral_norm,
)
from secateurs.tickets.read_program import read_module
from secateurs.tickets.rounding import (
    ROOT_OUTPUTS,
    Arithmetic,
    Rounding,
    arithmetic_of,
    mean_rounding,
    roundings_of,
)
from secateurs.tickets.ticket import Ticket, block_targets, scale_of

FOLDING = 16 * float(np.finfo(float).eps)  # relative error of a number folded in float64
SHAPE = "(channels, height, width) of the inputs"


@dataclass(frozen=True)
class LayerReport:
    """The errors of one layer with weights.

    Attributes
    ----------
    number : int
        Its index in `Ticket.layers`.
    n_weights : int
        Weights and biases of the target.
    max_error : float
        Largest |error| of a weight or bias, in units of the largest ``|weight|`` of its tensor.
        The weight for relu(-x) counts separately.
    n_outside : int
        Number of errors larger than eps of the ticket, in the same units.
    operator_norm, error_norm : float
        Upper bounds of ||W|| and ||E||.
    error_bound : float
        Bound of the l2 error of the output of this layer, by (1), rounding included.
    """

    number: int
    n_weights: int
    max_error: float
    n_outside: int
    operator_norm: float
    error_norm: float
    error_bound: float


@dataclass(frozen=True)
class TicketReport:
    """The errors of a ticket, compared with its target.

    Parameters
    ----------
    max_error : float
        Largest error of a weight, in units of the largest ``|weight|`` of its tensor.
    n_outside : int
        Number of subset sums further than eps from the target's weight, in the same units.  A
        weight whose input can be negative has two sums.
    error_bound : float
        Bound of the l2 distance between the outputs of `masked_module` or `effective_module`,
        computed in float32, and those of the target, computed in its `dtype`; for every input of
        l2 norm at most `radius` (and with no negative entry where `nonnegative_inputs`).  The
        rounding of both is included.  It is inf where the bound leaves float64, or where a number
        on the way may overflow.
    effective_error_bound : float
        The same for `effective_module` alone, whose sums are shorter.
    exact_error_bound : float
        The same in exact arithmetic, where the two modules are one function.
    dtype : str
        "float32" or "float64": the dtype of the target.
    radius : float
        Largest l2 norm of an input for which the bounds hold.
    nonnegative_inputs : bool
        The first layer has no weights for relu(-x), so the bound is only for inputs >= 0.
    n_weights : int
        Number of weights of the target.
    width_factor : int
        Hidden units of the random network for each input of a layer.
    kept_fraction : float
        Fraction of the weights of the random network that the masks keep.
    layers : tuple of LayerReport
        One report for each layer with weights, in their order.
    """

    __repr__ = short_repr

    max_error: float
    n_outside: int
    error_bound: float
    effective_error_bound: float
    exact_error_bound: float
    dtype: str
    radius: float
    nonnegative_inputs: bool
    n_weights: int
    width_factor: int
    kept_fraction: float
    layers: tuple[LayerReport, ...]


def verify_ticket(
    ticket: Ticket,
    module: nn.Module,
    *,
    radius: float = 1.0,
    input_shape: tuple[int, int, int] | None = None,
) -> TicketReport:
    """Compare a ticket with its target, layer by layer, from the seed and the masks alone.

    Parameters
    ----------
    ticket : Ticket
        The ticket that is measured.
    module : nn.Module
        The target.
    radius : float
        Largest l2 norm of an input.
    input_shape : (channels, height, width), optional
        Shape of an input.  It is needed when a convolution has a bias, whose norm grows with the
        maps, or when the rounding of a mean over a map is bounded, and is compared with the layers
        whenever it is given.

    Returns
    -------
    TicketReport
        The errors of the weights, and the bound of the error of the outputs.

    Raises
    ------
    ValueError
        The ticket was not made for this module, or `input_shape` is missing or does not fit.

    Notes
    -----
    Two eigenvalue problems a layer, O(min(n_in taps, n_out)^3).
    Source: derived; the roundings by Higham (2002), section 3.1.
    """
    check_real("radius", radius, least=0)
    target = read_module(module, not _first(ticket).signed, input_shape)
    return compare(ticket, target, radius=radius, input_shape=input_shape)


def _first(ticket: Ticket) -> Layer:
    return next(layer for layer in ticket.layers if layer.kind in WEIGHTED)


def compare(
    ticket: Ticket, target: Target, *, radius: float, input_shape: tuple[int, int, int] | None
) -> TicketReport:
    """Compare a ticket with a target that was read already; see `verify_ticket`."""
    first = _first(ticket)
    if target.layers != ticket.layers:
        layers = Shown(", ".join(layer.kind for layer in target.layers))
        raise bad_value("module", layers, "the layers and shapes for which the ticket was made")
    before = ticket.layers[: ticket.layers.index(first)]
    nonnegative = not first.signed and all(layer.kind != "relu" for layer in before)
    places = positions(ticket.layers, input_shape)
    outputs = _start(target.dtype, float(radius))
    reports = []
    for number, layer in enumerate(ticket.layers):
        if layer.kind in WEIGHTED:
            report, outputs = _after_weights(ticket, target, number, places[number], outputs)
            reports.append(report)
        else:
            outputs = _after_plain(layer, places[number], outputs)
    return TicketReport(
        max(r.max_error for r in reports),
        sum(r.n_outside for r in reports),
        _finite_or_inf(max(outputs.error, outputs.effective_error)),
        _finite_or_inf(outputs.effective_error),
        _finite_or_inf(outputs.exact_error),
        str(target.dtype).removeprefix("torch."),
        float(radius),
        nonnegative,
        sum(r.n_weights for r in reports),
        ticket.width_factor,
        ticket.kept_fraction,
        tuple(reports),
    )


@dataclass(frozen=True)
class _Outputs:
    """Bounds behind a layer: of the target's outputs, and of the distance of the ticket's.

    `norm`, `error` and `effective_error` are of the numbers that are computed, the second by the
    masked network and the third by its effective layers; the other two are of exact arithmetic.
    """

    target: Arithmetic
    ticket: Arithmetic
    norm: float
    error: float
    effective_error: float
    exact_norm: float
    exact_error: float

    def after(
        self,
        lipschitz: tuple[float, float],
        bias: tuple[float, float],
        roundings: tuple[Rounding, Rounding, Rounding],
    ) -> _Outputs:
        """Return the bounds behind a layer.

        `lipschitz` has ||W|| and ||E||, `bias` the norms of the bias and of its error, and
        `roundings` are of the target, of the masked network and of its effective layers.
        """
        W, E = lipschitz
        own = roundings[0].bound(self.norm, self.target)

        def computed(error: float, rounding: Rounding) -> float:
            other = rounding.bound(self.norm + error, self.ticket)
            return (E * self.norm + (W + E) * error + bias[1] + own + other) * SLACK  # (1)

        exact = E * self.exact_norm + (W + E) * self.exact_error + bias[1]
        return _Outputs(
            self.target,
            self.ticket,
            (W * self.norm + bias[0] + own) * SLACK,
            computed(self.error, roundings[1]),
            computed(self.effective_error, roundings[2]),
            (W * self.exact_norm + bias[0]) * SLACK,
            exact * SLACK,
        )


def _start(dtype: torch.dtype, radius: float) -> _Outputs:
    """Return the bounds of the inputs, which are rounded to float32 for the ticket."""
    target, ticket = arithmetic_of(dtype), arithmetic_of(torch.float32)
    rounded = 0.0
    if dtype != torch.float32:
        rounded = ticket.unit * radius + ticket.least * ROOT_OUTPUTS
    return _Outputs(target, ticket, radius, rounded, rounded, radius, 0.0)


def _after_plain(layer: Layer, terms: int, outputs: _Outputs) -> _Outputs:
    """Return the bounds behind a layer without weights; `terms` is for a mean over a map."""
    own = other = Rounding(0.0, 0.0, 1.0, 0.0)
    if layer.kind in ("avg_pool2d", "global_average"):
        n = layer.taps if layer.kind == "avg_pool2d" else terms
        own, other = mean_rounding(outputs.target, n), mean_rounding(outputs.ticket, n)
    return outputs.after((lipschitz(layer), 0.0), (0.0, 0.0), (own, other, other))


def _after_weights(
    ticket: Ticket, target: Target, number: int, places: int, outputs: _Outputs
) -> tuple[LayerReport, _Outputs]:
    """Compare a layer that has weights with the target's."""
    layer, goals = ticket.layers[number], block_targets(target, number)
    found = ticket.approximation_and_sizes(number)
    differences = {name: found[name][0] - goal for name, goal in goals.items()}
    sides = [differences[name] for name in goals if name != "bias"]
    W_norm = operator_norm(layer, goals["plus"])
    E_norm = operator_norm(layer, np.concatenate(sides, 1))
    root = math.sqrt(places)
    bias = (0.0, 0.0)
    if layer.bias:
        bias = root * spectral_norm(goals["bias"]), root * spectral_norm(differences["bias"])
    fold = target.folds[number]
    if fold is not None:  # the folded numbers are rounded to float64
        E_norm += FOLDING * absolute_norm(layer, goals["plus"])
        bias = bias[0], bias[1] + root * FOLDING * float(np.linalg.norm(fold.bias_sizes))
    arithmetics = outputs.target, outputs.ticket
    roundings = roundings_of(ticket, number, goals, found, arithmetics, root, fold)
    after = outputs.after((W_norm, E_norm), bias, roundings)
    sizes = [np.abs(d) / scale_of(goals[name]) for name, d in differences.items()]
    report = LayerReport(
        number,
        goals["plus"].size + (layer.n_out if layer.bias else 0),
        max(float(d.max()) for d in sizes),
        sum(int((d > ticket.eps).sum()) for d in sizes),
        W_norm,
        E_norm,
        _finite_or_inf(max(after.error, after.effective_error)),
    )
    return report, after


def _finite_or_inf(bound: float) -> float:
    return bound if math.isfinite(bound) else math.inf


def positions(layers: Sequence[Layer], input_shape: tuple[int, int, int] | None) -> tuple[int, ...]:
    """Return the outputs of a channel behind every layer, or 0 where they do not matter.

    For a mean over a whole map it is the number of its terms instead.

    Raises
    ------
    ValueError
        `input_shape` is missing where a convolution has a bias or a map is averaged, or does not
        fit the layers.
    """
    shape = None if input_shape is None else tuple(input_shape)
    if shape is not None and not (len(shape) == 3 and all(is_integer(n, 1) for n in shape)):
        raise bad_value("input_shape", input_shape, SHAPE)
    found = []
    for number, layer in enumerate(layers):
        if layer.kind == "global_average" and shape is None:
            mean = "because the rounding of a mean over a map grows with the map"
            raise bad_value("input_shape", None, f"{SHAPE}, {mean}")
        terms = math.prod(shape[1:]) if shape else 0
        if shape is not None:
            shape = _shape_after(layer, shape, number)
        elif layer.kind == "conv2d" and layer.bias:
            bias = "because the norm of a convolution's bias grows with the maps"
            raise bad_value("input_shape", None, f"{SHAPE}, {bias}")
        if layer.kind != "global_average":
            terms = 1 if layer.kind == "linear" else math.prod(shape[1:]) if shape else 0
        found.append(terms)
    return tuple(found)


def _shape_after(layer: Layer, shape: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return channels, height and width behind a layer; rows count as maps of size 1."""
    channels, *size = shape
    if layer.kind == "relu":
        return shape
    if layer.kind == "flatten":
        return (math.prod(shape), 1, 1)
    if layer.kind == "global_average":
        return (channels, 1, 1)
    got = math.prod(shape) if layer.kind == "linear" else channels
    if layer.kind in WEIGHTED and got != layer.n_in:
        unit = "inputs" if layer.kind == "linear" else "channels"
        shown = Shown(f"a shape that gives layer {number} ({layer.kind}) {got} {unit}")
        raise bad_value("input_shape", shown, f"{layer.n_in}", f"pass {SHAPE}")
    if layer.kind == "linear":
        return (layer.n_out, 1, 1)
    parts = zip(size, layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    after = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in parts)
    if min(after) < 1:
        shown = Shown(f"a shape that gives layer {number} ({layer.kind}) maps of {tuple(size)}")
        raise bad_value("input_shape", shown, "maps that are not smaller than its kernel")
    return (layer.n_out if layer.kind == "conv2d" else channels, *after)
