"""Find sparse networks with several outputs or a second hidden layer by sampling.

repeat for a growing number of sweeps T, until a fit leaves no residual:
    T sweeps on few rows at a falling noise level, from no weights                        (1)
    the 2 s + 20 largest weights;  Gauss-Newton;  drop down to s by saliency, a quarter
        of the excess at a time, Gauss-Newton between                                     (2)
    close to a fit: exchanges of weights                                                  (3)
    Gauss-Newton on all rows                                                              (4)
    two layers, one output, and close to a fit, until three steps in a row do not help:   (5)
        in turn: sweeps from this network, from 10 times its residual, with (2) to (4);
        the pursuit for its upper layer, whose inputs are >= 0, with (2) to (4);
        sweeps from 30 times its residual, with (2) to (4)

With one output the lower layer is often right while the upper one has relu(z) as a sum of
a relu(z), (1 - a) relu(-z) and a linear part.  This fits as well and needs more weights, so that
others are missing.  The sampler does not leave it, but the pursuit finds the signs of neurons
afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.parameters import Shown, bad_value, check_counts, check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.sampling.layered_sweeps import sweeps
from secateurs.recovery.thresholding.exchange import drop_weights, exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import checked_data
from secateurs.sparse.stack import ReLUStack

T = TypeVar("T")
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
NEAR = 0.1  # relative residual below which (5) is tried
HEATS = (10.0, None, 30.0)  # noise of the steps of (5), relative to the residual; None: the pursuit
COOL = 0.1  # their last noise, relative to the residual
PATIENCE, MOST_STEPS, PROGRESS = 3, 15, 0.9  # of (5)
UPPER_MORE = 3  # weights that the pursuit has beyond those that are left


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
    problem = LayeredProblem(
        inputs, targets, inputs[chosen], targets[chosen], n_nonzero, widths, rng
    )
    run = Iterations(n_runs, progress, ("run", "residual", "n_nonzero"), max_seconds)
    best, least, n_sweeps = _empty(widths, inputs, targets), 1.0, 0
    began = time.monotonic()
    with run:
        for i in run:
            count = FIRST_SWEEPS[len(widths)] << ((i - 1) // RUNS)
            n_sweeps += count
            for found, left in _fits(problem, count):
                if left < least:
                    best, least = found, left
            run.record(run=i, residual=left, n_nonzero=found.n_nonzero)
            if least < EXACT:
                run.end("converged")
            elif max_seconds is not None and time.monotonic() - began > max_seconds:
                run.end("budget")
    runs = len(run.history["run"])
    return run.solution(best, relative_residual=least, runs=runs, sweeps=n_sweeps)


@dataclass(frozen=True, eq=False)
class LayeredProblem:
    """All rows, the few rows of the sampler, the budget and the widths."""

    X: Tensor
    y: Tensor
    few: Tensor
    few_targets: Tensor
    n_nonzero: int
    widths: tuple[int, ...]
    rng: np.random.Generator

    def sampled(self, noise: NDArray[np.float64], start: ReLUStack | None = None) -> ReLUStack:
        """Return the network after sweeps (1) at these variances, relative to the mean square.

        They start from no weights, or from a network of two layers and one output.
        """
        y, widths, s = self.few_targets, self.widths, self.n_nonzero
        fused, d = y.ndim == 1, self.few.shape[1]
        Y = y.numpy().reshape(len(y), -1).T
        scale = SCALE / float(np.sqrt((Y**2).mean()) or 1.0)
        below = widths[0] if len(widths) == 2 else 0
        XT = np.ascontiguousarray(self.few.numpy().T, dtype=np.float32)
        W1 = np.zeros((below, d), np.float32)
        W2 = np.zeros((widths[-1], below or d), np.float32)
        if start is not None:
            W1[:], W2[:] = _balanced(start.layers[0].toarray(), scale * start.layers[1].toarray())
        V = np.full((widths[-1], len(Y)), float(fused), np.float32)
        layers = [W1] * bool(below) + [W2] + [V] * (not fused)
        share = np.array([min(0.5, max(1.0, s / len(layers)) / layer.size) for layer in layers])
        targets = np.ascontiguousarray(scale * Y, dtype=np.float32)
        odds = np.log(share / (1.0 - share))
        sweeps(XT, targets, W1, W2, V, SCALE**2 * noise, odds, fused, self.rng)
        top = V.T.astype(np.float64) / scale
        kept = [W.astype(np.float64) for W in layers if W is not V] + [top] * (not fused)
        if fused:
            kept[-1] = kept[-1] / scale
        return ReLUStack(tuple(sp.csr_array(W) for W in kept), fused)

    def finished(self, net: ReLUStack) -> tuple[ReLUStack, float]:
        """Return a network within the budget near a sampled one, and its residual: (2) to (4)."""
        X, y, s = self.few, self.few_targets, self.n_nonzero
        excess = net.n_nonzero - (KEPT_FACTOR * s + KEPT_MORE)
        if excess > 0:
            net = drop_weights(X, y, net, excess)
        net = _value(gauss_newton(X, y, net, n_steps=POLISH))
        while net.n_nonzero > s:
            net = drop_weights(X, y, net, math.ceil((net.n_nonzero - s) / 4))
            net = _value(gauss_newton(X, y, net, n_steps=SHORT_POLISH))
        net = _value(gauss_newton(X, y, net, n_steps=POLISH))
        if EXACT < _left(X, y, net) < CLOSE:
            seed = int(self.rng.integers(2**31))
            exchanged = exchange(X, y, net, s, n_rounds=ROUNDS, n_kicks=0, random_state=seed)
            net = _value(exchanged)
        net = _value(gauss_newton(self.X, self.y, net, n_steps=POLISH))  # (4)
        return net, _left(self.X, self.y, net)

    def with_other_top(self, net: ReLUStack) -> ReLUStack:
        """Return the network with an upper layer that the pursuit finds."""
        first, second = net.layers
        H = np.maximum((first @ self.X.numpy().T).T, 0.0)
        budget = max(self.n_nonzero - first.nnz, second.nnz) + UPPER_MORE
        found = _value(relu_pursuit(H, self.y.numpy(), budget, self.widths[1]))
        return ReLUStack((first, found.weights), True)


def _fits(problem: LayeredProblem, n_sweeps: int) -> Iterator[tuple[ReLUStack, float]]:
    """Yield the networks of a run, each better than the one before, with their residuals."""
    net, left = problem.finished(problem.sampled(np.geomspace(1.0, COLDEST, n_sweeps)))
    yield net, left
    if len(problem.widths) == 1 or problem.y.ndim > 1:
        return
    waited = 0
    for heat in islice(cycle(HEATS), MOST_STEPS):  # (5)
        if waited == PATIENCE or not EXACT < left < NEAR:
            break
        if heat is None:
            trial = problem.with_other_top(net)
        else:
            hottest, coldest = min(1.0, heat * left), min(math.sqrt(COLDEST), COOL * left)
            noise = np.geomspace(hottest, coldest, FIRST_SWEEPS[2]) ** 2
            trial = problem.sampled(noise, net)
        trial, trial_left = problem.finished(trial)
        waited += 1
        if trial_left < PROGRESS * left:
            net, left, waited = trial, trial_left, 0
            yield net, left


def _balanced(A: Array, B: Array) -> tuple[Array, Array]:
    """Give the weights of each lower unit the same root mean square on both of its sides."""
    a, b = (
        np.sqrt((W**2).sum(axis=axis) / np.maximum((W != 0).sum(axis=axis), 1))
        for W, axis in ((A, 1), (B, 0))
    )
    factor = np.sqrt(np.divide(b, a, out=np.ones(len(a)), where=(a > 0.0) & (b > 0.0)))
    return A * factor[:, None], B / factor


def _left(X: Tensor, y: Tensor, net: ReLUStack) -> float:
    """Return ||y - f(X)|| / ||y||."""
    size = max(float(y.norm()), np.finfo(float).tiny)
    return float(np.linalg.norm(net.predict(X) - y.numpy())) / size


def _value(solution: Solution[T]) -> T:
    """Return the value of a part of the search; Ctrl-C there ends the whole search."""
    if solution.status == "interrupted":
        raise KeyboardInterrupt
    return solution.value


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
