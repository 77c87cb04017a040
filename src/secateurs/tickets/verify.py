"""The distance of a ticket from its target: every weight, and a bound through the layers.

    z = W x + b,   z^ = (sums under the masks)(x^),   ||x|| <= r,  ||x^ - x|| <= e

    E = [plus - W, minus + W] on (relu(x), relu(-x)), a pair of the norm of x:
    ||z^ - z|| <= ||E|| r + (||W|| + ||E||) e + ||b^ - b||                                  (1)
    ||z||      <= ||W|| r + ||b||
    relu and pooling: by their Lipschitz constants

A first layer without "minus" was made for x >= 0, and (1) holds for such x only, because the masked
network takes a negative entry for 0.

The norm of a convolution has two bounds, of which the less is taken: the norm of its matrix times
the square root of the number of windows that hold one input, and the sum over its taps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.parameters import Shown, bad_value, check_real, is_integer
from secateurs.tickets.layers import WEIGHTED, Layer, read_module
from secateurs.tickets.ticket import Ticket, block_targets, scale_of

# more than the relative rounding of an eigenvalue in float64, about rows * rank * 1e-16, for layers
# up to about 10^4 x 10^3
SLACK = 1 + 1e-9
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
        Bound of the l2 error of the output of this layer, by (1).
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

    Attributes
    ----------
    max_error : float
        Largest error of a weight, in units of the largest ``|weight|`` of its tensor.
    n_outside : int
        Number of subset sums further than eps from the target's weight, in the same units.  A
        weight whose input can be negative has two sums.
    error_bound : float
        Bound of the l2 error of the outputs, for every input of l2 norm at most `radius` (and with
        no negative entry where `nonnegative_inputs`); inf where it leaves float64.
    radius : float
    nonnegative_inputs : bool
        The first layer has no weights for relu(-x), so the bound is only for inputs >= 0.
    n_weights : int
        Number of weights of the target.
    width_factor : int
        Hidden units of the random network for each input of a layer.
    kept_fraction : float
        Fraction of the weights of the random network that the masks keep.
    layers : tuple of LayerReport
    """

    max_error: float
    n_outside: int
    error_bound: float
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
    module : nn.Module
        The target.
    radius : float
        Largest l2 norm of an input.
    input_shape : (channels, height, width), optional
        Shape of an input.  It is needed when a convolution has a bias, whose norm grows with the
        maps, and is compared with the layers whenever it is given.

    Returns
    -------
    TicketReport

    Raises
    ------
    ValueError
        The ticket was not made for this module, or `input_shape` is missing or does not fit.

    Notes
    -----
    One eigenvalue problem a layer, O(min(n_in taps, n_out)^3).
    Source: derived.
    """
    check_real("radius", radius, least=0)
    first = next(layer for layer in ticket.layers if layer.kind in WEIGHTED)
    target = read_module(module, not first.signed)
    if target.layers != ticket.layers:
        layers = Shown(", ".join(layer.kind for layer in target.layers))
        raise bad_value("module", layers, "the layers and shapes for which the ticket was made")
    before = ticket.layers[: ticket.layers.index(first)]
    nonnegative = not first.signed and all(layer.kind != "relu" for layer in before)
    places = positions(ticket.layers, input_shape)
    error, norm = 0.0, float(radius)
    reports = []
    for number, layer in enumerate(ticket.layers):
        if layer.kind not in WEIGHTED:
            error, norm = (_lipschitz(layer) * value for value in (error, norm))
            continue
        goals, found = block_targets(target, number), ticket.approximation(number)
        differences = {name: found[name] - goal for name, goal in goals.items()}
        sides = [differences[name] for name in goals if name != "bias"]
        W_norm = operator_norm(layer, goals["plus"])
        E_norm = operator_norm(layer, np.concatenate(sides, 1))
        b_norm = b_error = 0.0
        if layer.bias:
            root = math.sqrt(places[number])
            b_norm = root * spectral_norm(goals["bias"])
            b_error = root * spectral_norm(differences["bias"])
        error = E_norm * norm + (W_norm + E_norm) * error + b_error  # (1)
        norm = W_norm * norm + b_norm
        sizes = [np.abs(d) / scale_of(goals[name]) for name, d in differences.items()]
        reports.append(
            LayerReport(
                number,
                goals["plus"].size + (layer.n_out if layer.bias else 0),
                max(float(d.max()) for d in sizes),
                sum(int((d > ticket.eps).sum()) for d in sizes),
                W_norm,
                E_norm,
                error,
            )
        )
    return TicketReport(
        max(r.max_error for r in reports),
        sum(r.n_outside for r in reports),
        error,
        float(radius),
        nonnegative,
        sum(r.n_weights for r in reports),
        ticket.width_factor,
        ticket.kept_fraction,
        tuple(reports),
    )


def operator_norm(layer: Layer, rows: NDArray[np.float64]) -> float:
    """Bound the l2 operator norm of a layer from above.

    `rows` [(output, tap), input] are its weights.  For a linear layer the bound is the norm itself,
    up to rounding.
    """
    if layer.kind == "linear":
        return spectral_norm(rows)
    taps = rows.reshape(layer.n_out, layer.taps, -1)
    windows = 1
    for k, stride, dilation in zip(layer.kernel, layer.stride, layer.dilation, strict=True):
        windows *= math.ceil(k / stride) if dilation == 1 else k  # that hold one input
    whole = math.sqrt(windows) * spectral_norm(taps.reshape(layer.n_out, -1))
    return min(whole, sum(spectral_norm(taps[:, t]) for t in range(layer.taps)))


def spectral_norm(M: NDArray[np.float64]) -> float:
    """Return the largest singular value, rounded up."""
    largest = float(np.abs(M).max())
    if largest == 0:
        return 0.0
    M = M / largest  # squares stay inside float64
    gram = M @ M.T if len(M) <= M.shape[1] else M.T @ M
    norm = largest * (math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1.0)) * SLACK)
    return math.nextafter(norm, math.inf)  # a product below 1e-308 may have been rounded down


def _lipschitz(layer: Layer) -> float:
    """Return the l2 Lipschitz constant of a layer without weights; every such layer maps 0 to 0."""
    if layer.kind == "max_pool2d":  # an input is the largest of at most this many windows
        pairs = zip(layer.kernel, layer.stride, strict=True)
        return math.sqrt(math.prod(math.ceil(k / s) for k, s in pairs))
    return 1.0  # averages: rows and columns of the matrix sum to at most 1


def positions(layers: Sequence[Layer], input_shape: tuple[int, int, int] | None) -> tuple[int, ...]:
    """Return the outputs of a channel behind every layer, or 0 where they do not matter.

    Raises
    ------
    ValueError
        `input_shape` is missing where a convolution has a bias, or does not fit the layers.
    """
    shape = None if input_shape is None else tuple(input_shape)
    if shape is not None and not (len(shape) == 3 and all(is_integer(n, 1) for n in shape)):
        raise bad_value("input_shape", input_shape, SHAPE)
    found = []
    for number, layer in enumerate(layers):
        if shape is not None:
            shape = _shape_after(layer, shape, number)
        elif layer.kind == "conv2d" and layer.bias:
            bias = "because the norm of a convolution's bias grows with the maps"
            raise bad_value("input_shape", None, f"{SHAPE}, {bias}")
        found.append(1 if layer.kind == "linear" else math.prod(shape[1:]) if shape else 0)
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
