"""Hard thresholding for any stack: fused scalar or vector outputs, one or more hidden layers.

one hidden layer, fused:  iht -> Gauss-Newton -> exchanges -> Gauss-Newton
one hidden layer, vector: exchanges from an empty network -> Gauss-Newton
more layers:              layer by layer on s / L weights each, the previous layers' units
                          as inputs; then exchanges over all layers under one budget
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.thresholding.exchange import EXACT, exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import iht
from secateurs.sparse.stack import ReLUStack

Array = NDArray[np.floating]
N_KICKS = 5  # how often the exchanges leave a stall


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
    y : array or Tensor, shape [n] (fused: the last hidden layer is summed) or [n, k]
    n_nonzero : int
        The budget s, over all layers.
    hidden : int or tuple of int
        Neurons of each hidden layer.
    n_steps : int
        Steps of `iht` where it is used.
    n_rounds : int
        Rounds of `exchange`.
    random_state : int
        Seeds the first gates of `iht`.
    progress : callable, optional
        Called with a `Progress` after every step of every part.

    Returns
    -------
    Solution of ReLUStack
        In float64.  ``measured["parts"]`` lists what ran, with the relative residual each
        reached; the history is that of the last exchanges and polish.

    Notes
    -----
    Source: training.md's algorithm B (thresholding, then Gauss-Newton on the support),
    extended here by exchanges; layer by layer as in Fridovich-Keil & Pilanci (2025),
    section 4, then jointly.
    """
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    inputs, targets = torch.as_tensor(X).detach(), torch.as_tensor(y).detach()
    _check(inputs, targets, n_nonzero, widths)
    fused = targets.ndim == 1
    parts: list[tuple[str, float]] = []
    inputs, targets = inputs.double(), targets.double()
    net = ReLUStack((), fused)
    H = inputs
    columns = np.arange(inputs.shape[1])  # of H, among the units of the layer below
    below = inputs.shape[1]
    n_layers = len(widths) + (not fused)
    share = n_nonzero if len(widths) == 1 else max(2 - fused, n_nonzero // n_layers)
    for layer, m in enumerate(widths):
        kicks = N_KICKS if len(widths) == 1 else 0  # the last exchanges will have them
        top = _one_layer(
            H, targets, share, m, n_steps, n_rounds, kicks, random_state, parts, progress
        )
        net = ReLUStack((*net.layers, _spread(top.value.layers[0], columns, below)), fused)
        # only units with weights carry anything on
        columns, below = np.flatnonzero(np.diff(net.layers[-1].indptr)), m
        if layer < len(widths) - 1 and len(columns):
            H = _hidden(H, top.value.layers[0], columns)
    if not fused:
        net = ReLUStack((*net.layers, top.value.layers[1]), fused)
    moved = top
    if fused or len(widths) > 1:
        moved = exchange(
            inputs,
            targets,
            net,
            n_nonzero,
            n_rounds=n_rounds,
            n_kicks=N_KICKS,
            random_state=random_state,
            progress=progress,
        )
        parts.append(("exchange, all layers", moved.measured["relative_residual"]))
    # exchanges stop where rounding hides what they gain; the polish has the last word
    last = gauss_newton(inputs, targets, moved.value, progress=progress)
    parts.append(("gauss_newton", last.measured["relative_residual"]))
    status = last.status if moved.status == "stalled" else moved.status
    if last.measured["relative_residual"] <= EXACT:
        status = "exact"
    history = {key: moved.history[key] + last.history[key] for key in moved.history}
    history["step"] = [float(k + 1) for k in range(len(history["loss"]))]
    measured = {"relative_residual": last.measured["relative_residual"], "parts": parts}
    return Solution(last.value, status, history, measured)


def _one_layer(
    X: Tensor,
    y: Tensor,
    n_nonzero: int,
    m: int,
    n_steps: int,
    n_rounds: int,
    n_kicks: int,
    random_state: int,
    parts: list[tuple[str, float]],
    progress: ProgressCallback | None,
) -> Solution[ReLUStack]:
    """A network of one hidden layer on the given inputs."""
    d = X.shape[1]
    if y.ndim == 1:
        found = iht(
            X, y, n_nonzero, m, n_steps=n_steps, random_state=random_state, progress=progress
        )
        parts.append(("iht", found.measured["relative_residual"]))
        polished = gauss_newton(X, y, found.value, progress=progress)
        parts.append(("gauss_newton", polished.measured["relative_residual"]))
        return polished
    # at zero both layers' gradients vanish: thresholding cannot start, new neurons can
    empty = ReLUStack((sp.csr_array((m, d)), sp.csr_array((y.shape[1], m))), fused=False)
    grown = exchange(
        X,
        y,
        empty,
        n_nonzero,
        n_rounds=n_rounds,
        n_kicks=n_kicks,
        random_state=random_state,
        progress=progress,
    )
    parts.append(("exchange", grown.measured["relative_residual"]))
    return grown


def _spread(W: sp.csr_array, columns: NDArray[np.intp], width: int) -> sp.csr_array:
    """W, whose columns are units `columns` of a layer, over all `width` units."""
    return sp.csr_array((W.data, columns[W.indices], W.indptr), shape=(W.shape[0], width))


def _hidden(H: Tensor, W: sp.csr_array, units: NDArray[np.intp]) -> Tensor:
    """relu(H W^T) of the given units, [n, len(units)]."""
    part = W[units] @ H.cpu().numpy().T
    return torch.from_numpy(np.maximum(part, 0).T.copy()).to(H)


def _check(X: Tensor, y: Tensor, n_nonzero: int, widths: tuple[int, ...]) -> None:
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y) or not len(X):
        raise ValueError(
            f"got X of shape {tuple(X.shape)} and y of shape {tuple(y.shape)}; expected [n, d] "
            "and [n] or [n, k] with n >= 1"
        )
    if not widths or min(widths) < 1:
        raise ValueError(f"got hidden = {widths}; expected at least one width, each >= 1")
    least = len(widths) * y.ndim
    if n_nonzero < least:
        raise ValueError(
            f"got n_nonzero = {n_nonzero}; expected at least {least}, to feed and read every layer"
        )
    for name, tensor in (("X", X), ("y", y)):
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has infinite or NaN values; remove or impute those rows")
    if not (X.any() and y.any()):
        raise ValueError("got inputs or targets that are all zero: there is nothing to fit")
