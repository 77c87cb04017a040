"""Find sparse networks with several outputs or a second hidden layer by sampling.

repeat for a growing number of sweeps T, until a fit leaves no residual:
    T sweeps on few rows at a falling noise level, from no weights                        (1)
    the 2 s + 20 largest weights;  Gauss-Newton;  drop down to s by saliency, a quarter
        of the excess at a time, Gauss-Newton between                                     (2)
    close to a fit: exchanges of weights                                                  (3)
Gauss-Newton on all rows                                                                  (4)
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.parameters import Shown, bad_value, check_counts, check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.sampling.layered_sweeps import sweeps
from secateurs.recovery.thresholding.exchange import drop_weights, exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import checked_data
from secateurs.sparse.stack import ReLUStack

Array = NDArray[np.floating]
EXACT = 1e-10  # relative residual of a fit without residual
CLOSE = 0.05  # relative residual below which weights are exchanged (3)
FIRST_SWEEPS = {1: 300, 2: 2000}  # by the number of hidden layers
RUNS = 2  # with the same number of sweeps
SCALE = 2.0  # root mean square of the targets, for which weights of size 1 are usual
COLDEST = 1e-6  # last noise variance, relative to the mean square of the targets
BLOCK_VALUES = 1 << 27  # values computed between two reports
MOST_SAMPLED = 600  # rows of the sampler
KEPT_FACTOR, KEPT_MORE = 2, 20  # weights that (2) starts from
ROUNDS = 15  # exchanges (3)
POLISH, SHORT_POLISH = 20, 6  # Gauss-Newton steps


def sample_network(
    X: Array | Tensor,
    y: Array | Tensor,
    n_nonzero: int,
    hidden: int | tuple[int, ...],
    *,
    n_runs: int = 9,
    n_rows: int = MOST_SAMPLED,
    max_seconds: float | None = None,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Find a network of one or two hidden layers with at most `n_nonzero` weights in all.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
        Rows of finite numbers; they are used as float64.
    y : array or Tensor, shape [n] or [n, k]
        The outputs to explain.  With [n] the network is fused: its last hidden layer is summed.
    n_nonzero : int
        The budget s, over all layers.
    hidden : int or tuple of one or two int
        Neurons of each hidden layer.
    n_runs : int
        The most runs; the number of sweeps doubles every two.
    n_rows : int
        The most rows of the sampler; the end of each run uses them too, the last step all rows.
    max_seconds : float, optional
        Seconds after which no further run starts.  The result can then depend on the machine.
    random_state : int
        Random seed of the runs.
    progress : callable, optional
        Called with a `Progress` after every run; its loss is the relative residual.

    Returns
    -------
    Solution of ReLUStack
        Status "converged" (a relative residual below 1e-10 on all rows: whether another network
        fits as well is not examined), "budget" (runs or time are used up) or "interrupted".
        ``measured`` has relative_residual, runs and sweeps.

    Raises
    ------
    ValueError
        The data, a shape or a size cannot be used.

    Notes
    -----
    With r = min(n, n_rows), a sweep costs O(r m d) with one hidden layer, and up to O(r m d m k)
    with two.  Source: derived, as `relu_sampling`.  No guarantee is known.
    """
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    inputs, targets = checked_data(X, y, several_outputs=True, dtype=torch.float64)
    _check(inputs, targets, n_nonzero, widths, n_runs, n_rows)
    if max_seconds is not None:
        check_real("max_seconds", max_seconds, above=0)
    rng = np.random.default_rng(check_integer("random_state", random_state, 0))
    chosen = np.sort(rng.permutation(len(inputs))[:n_rows])
    few, few_targets = inputs[chosen], targets[chosen]
    size = max(float(targets.norm()), np.finfo(float).tiny)
    run = Iterations(n_runs, progress, ("run", "residual", "n_nonzero"), max_seconds)
    best, least, n_sweeps = _empty(widths, inputs, targets), 1.0, 0
    began = time.monotonic()
    with run:
        for i in run:
            count = FIRST_SWEEPS[len(widths)] << ((i - 1) // RUNS)
            sampled = _sampled(few, few_targets, n_nonzero, widths, count, rng)
            found = _finished(few, few_targets, sampled, n_nonzero, i)
            found = gauss_newton(inputs, targets, found, n_steps=POLISH).value  # (4)
            left = np.linalg.norm(found.predict(inputs) - targets.numpy()) / size
            n_sweeps += count
            if left < least:
                best, least = found, float(left)
            run.record(run=i, residual=float(left), n_nonzero=found.n_nonzero)
            if least < EXACT:
                run.end("converged")
            elif max_seconds is not None and time.monotonic() - began > max_seconds:
                run.end("budget")
    runs = len(run.history["run"])
    return run.solution(best, relative_residual=least, runs=runs, sweeps=n_sweeps)


def _sampled(
    X: Tensor, y: Tensor, s: int, widths: tuple[int, ...], n_sweeps: int, rng: np.random.Generator
) -> ReLUStack:
    """Return the network at the end of a run of the sampler (1)."""
    fused, d = y.ndim == 1, X.shape[1]
    Y = y.numpy().reshape(len(y), -1).T
    scale = SCALE / float(np.sqrt((Y**2).mean()) or 1.0)
    below = widths[0] if len(widths) == 2 else 0
    XT = np.ascontiguousarray(X.numpy().T, dtype=np.float32)
    W1 = np.zeros((below, d), np.float32)
    W2 = np.zeros((widths[-1], below or d), np.float32)
    V = np.full((widths[-1], len(Y)), float(fused), np.float32)
    layers = [W1] * bool(below) + [W2] + [V] * (not fused)
    share = np.array([min(0.5, max(1.0, s / len(layers)) / layer.size) for layer in layers])
    noise = SCALE**2 * np.geomspace(1.0, COLDEST, n_sweeps)
    targets = np.ascontiguousarray(scale * Y, dtype=np.float32)
    sweeps(XT, targets, W1, W2, V, noise, np.log(share / (1.0 - share)), fused, rng)
    top = V.T.astype(np.float64) / scale
    kept = [W.astype(np.float64) for W in layers if W is not V] + [top] * (not fused)
    if fused:
        kept[-1] = kept[-1] / scale
    return ReLUStack(tuple(sp.csr_array(W) for W in kept), fused)


def _finished(X: Tensor, y: Tensor, net: ReLUStack, s: int, seed: int) -> ReLUStack:
    """Return a network with at most s weights near a sampled one: (2) and (3)."""
    excess = net.n_nonzero - (KEPT_FACTOR * s + KEPT_MORE)
    if excess > 0:
        net = drop_weights(X, y, net, excess)
    net = gauss_newton(X, y, net, n_steps=POLISH).value
    while net.n_nonzero > s:
        net = drop_weights(X, y, net, math.ceil((net.n_nonzero - s) / 4))
        net = gauss_newton(X, y, net, n_steps=SHORT_POLISH).value
    net = gauss_newton(X, y, net, n_steps=POLISH).value
    left = float(np.linalg.norm(net.predict(X) - y.numpy()) / (float(y.norm()) or 1.0))
    if EXACT < left < CLOSE:
        net = exchange(X, y, net, s, n_rounds=ROUNDS, n_kicks=0, random_state=seed).value
    return net


def _empty(widths: tuple[int, ...], X: Tensor, y: Tensor) -> ReLUStack:
    sizes = [X.shape[1], *widths, *([] if y.ndim == 1 else [y.shape[1]])]
    layers = [sp.csr_array((b, a)) for a, b in pairwise(sizes)]
    return ReLUStack(tuple(layers), y.ndim == 1)


def _check(X: Tensor, y: Tensor, s: int, widths: tuple[int, ...], n_runs: int, n_rows: int) -> None:
    if len(widths) not in FIRST_SWEEPS:
        raise bad_value("hidden", widths, "one or two widths", "use iht_network for more layers")
    check_counts(**{f"hidden[{layer}]": width for layer, width in enumerate(widths)})
    check_counts(n_runs=n_runs, n_rows=n_rows)
    # every layer needs a weight
    check_integer("n_nonzero", s, len(widths) + (y.ndim > 1))
    for name, tensor in (("X", X), ("y", y)):
        if not tensor.any():
            raise bad_value(name, Shown("only zeros"), "values to fit")
