"""Hard thresholding for any stack: fused scalar or vector outputs, one or more hidden layers.

one hidden layer, fused:  iht -> Gauss-Newton -> exchanges -> Gauss-Newton
one hidden layer, vector: exchanges from an empty network -> Gauss-Newton
more layers:              layer by layer with s / L weights each, where the units of the layer
                          below are the inputs; then exchanges over all layers under one budget
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value, check_counts, check_integer
from secateurs.core.solution import ProgressCallback, Solution, Status
from secateurs.recovery.thresholding.exchange import EXACT, exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import checked_data, iht
from secateurs.sparse.stack import ReLUStack

Array = NDArray[np.floating]
N_KICKS = 5  # how often the last exchanges leave a stall


def iht_network(
    X: Array | Tensor,
    y: Array | Tensor,
    n_nonzero: int,
    hidden: int | tuple[int, ...],
    *,
    n_steps: int = 100,
    n_rounds: int = 60,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Fit a stack of sparse ReLU layers with at most `n_nonzero` weights in all.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
        Rows of finite numbers; they are used as float64.
    y : array or Tensor, shape [n] or [n, k]
        The outputs to explain.  With [n] the network is fused: its last hidden layer is summed.
    n_nonzero : int
        The budget s, over all layers.
    hidden : int or tuple of int
        Neurons of each hidden layer.
    n_steps : int
        Steps of `iht`, where it is used.
    n_rounds : int
        Rounds of `exchange`.
    random_state : int
        Random seed of the first gates of `iht`.
    progress : callable, optional
        Called with a `Progress` after every step of every part.

    Returns
    -------
    Solution of ReLUStack
        In float64.  ``measured["parts"]`` lists the parts that ran, with the relative residual
        that each reached.  The history is that of the last exchanges and the last polish.

    Raises
    ------
    ValueError
        The data, a shape or a size cannot be used.

    Notes
    -----
    Source: training.md's algorithm B (thresholding, then Gauss-Newton on the support), extended
    by exchanges; layer by layer as in Fridovich-Keil & Pilanci (2025), section 4, then jointly.
    """
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    inputs, targets = checked_data(X, y, several_outputs=True, dtype=torch.float64)
    _check(inputs, targets, n_nonzero, widths)
    fused, one_layer = targets.ndim == 1, len(widths) == 1
    parts: list[tuple[str, float]] = []
    seeded: dict[str, Any] = {"random_state": random_state, "progress": progress}

    def thresholded(X: Tensor, n_nonzero: int, m: int) -> Solution[ReLUStack]:
        return noted("iht", iht(X, targets, n_nonzero, m, n_steps=n_steps, **seeded))

    def exchanged(
        name: str, X: Tensor, net: ReLUStack, n_nonzero: int, n_kicks: int
    ) -> Solution[ReLUStack]:
        settings = seeded | {"n_rounds": n_rounds, "n_kicks": n_kicks}
        return noted(name, exchange(X, targets, net, n_nonzero, **settings))

    def polished(X: Tensor, net: ReLUStack) -> Solution[ReLUStack]:
        return noted("gauss_newton", gauss_newton(X, targets, net, progress=progress))

    def noted(name: str, found: Solution[ReLUStack]) -> Solution[ReLUStack]:
        parts.append((name, found.measured["relative_residual"]))
        return found

    net = ReLUStack((), fused)
    H, below = inputs, inputs.shape[1]
    columns = np.arange(below)  # the units of the layer below that are columns of H
    share = n_nonzero if one_layer else max(2 - fused, n_nonzero // (len(widths) + (not fused)))
    for layer, m in enumerate(widths):
        if fused:
            top = polished(H, thresholded(H, share, m).value)
        else:
            # at zero the gradients of both layers vanish: exchanges can start there, `iht` cannot
            zero = (sp.csr_array((m, H.shape[1])), sp.csr_array((targets.shape[1], m)))
            kicks = N_KICKS if one_layer else 0  # otherwise the last exchanges leave stalls
            top = exchanged("exchange", H, ReLUStack(zero, fused=False), share, kicks)
        net = ReLUStack((*net.layers, _spread(top.value.layers[0], columns, below)), fused)
        # only units with weights have outputs
        columns, below = np.flatnonzero(np.diff(net.layers[-1].indptr)), m
        if layer < len(widths) - 1 and len(columns):
            H = _hidden(H, top.value.layers[0], columns)
    if not fused:
        net = ReLUStack((*net.layers, top.value.layers[1]), fused)
    moved = top
    if fused or not one_layer:
        moved = exchanged("exchange, all layers", inputs, net, n_nonzero, N_KICKS)
    # rounding ends the exchanges early, so that the polish comes last
    last = polished(inputs, moved.value)
    return _joined(moved, last, parts)


def _joined(
    moved: Solution[ReLUStack], last: Solution[ReLUStack], parts: list[tuple[str, float]]
) -> Solution[ReLUStack]:
    """Return the last solution with the history of both."""
    residual = last.measured["relative_residual"]
    status: Status = last.status if moved.status == "stalled" else moved.status
    if residual <= EXACT:
        status = "exact"
    history = {key: moved.history[key] + last.history[key] for key in moved.history}
    history["step"] = [float(k + 1) for k in range(len(history["loss"]))]
    return Solution(last.value, status, history, {"relative_residual": residual, "parts": parts})


def _spread(W: sp.csr_array, columns: NDArray[np.intp], width: int) -> sp.csr_array:
    """Return W, whose columns are the units `columns` of a layer, over all `width` units."""
    return sp.csr_array((W.data, columns[W.indices], W.indptr), shape=(W.shape[0], width))


def _hidden(H: Tensor, W: sp.csr_array, units: NDArray[np.intp]) -> Tensor:
    """Return relu(H W^T) of the given units, [n, len(units)]."""
    part = W[units] @ H.cpu().numpy().T
    return torch.from_numpy(np.maximum(part, 0).T.copy()).to(H)


def _check(X: Tensor, y: Tensor, n_nonzero: int, widths: tuple[int, ...]) -> None:
    if not widths:
        raise bad_value("hidden", widths, "at least one width")
    check_counts(**{f"hidden[{layer}]": width for layer, width in enumerate(widths)})
    # every layer needs a weight that feeds it and one that reads it
    check_integer("n_nonzero", n_nonzero, len(widths) * y.ndim)
    for name, tensor in (("X", X), ("y", y)):
        if not tensor.any():
            raise bad_value(name, Shown("only zeros"), "values to fit")
