"""Exchange weights of a sparse ReLU network under its budget, with Gauss-Newton steps between.

    until q = 0:
      add the q absent weights and new neurons with the best scores; Gauss-Newton   (1)
      drop weights down to s, one by one that of least w_e^2 / (G^-1)_ee, G = J^T J,
      and adjust the others; Gauss-Newton                                           (2)
      accept if the residual falls and set q <- 2 q, else go back and q <- q / 2    (3)
    at a stall: continue from the best one without a random third of its neurons    (4)

The scores are explained in `growth`.  Both scores follow from a quadratic model of the loss, so
that they do not change when a neuron is rescaled.  G has a block for each layer.  Across layers it
would be singular, because a neuron can grow on one side and shrink on the other, and every weight
would seem replaceable.  For large problems G is only its diagonal, and the others are not adjusted.
Memory: O(n * (units with weights) + d * block + s^2), because scores are computed in blocks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.growth import grow
from secateurs.sparse.stack import ReLUStack
from secateurs.sparse.stack_model import keep_entries, model_of, stack_of

EXACT = 1e-10  # relative residual at which the support is right, 200 dB
INNER_STEPS, INNER_CG = 6, 40  # Gauss-Newton steps in (1) and (2), and CG steps in each
FEW_STEPS = 2  # Gauss-Newton steps between two parts of (2)
GAIN = 1e-3  # relative fall of the residual for which an exchange is accepted
KICKED = 0.3  # share of the neurons that is removed at a stall
GRAM_FLOPS = 1 << 29  # (2) forms G where that takes at most so many: n * outputs * weights^2
RIDGE = 1e-8  # added to G with unit diagonal
DROPS = 2  # parts in which (2) goes down to s

Array = NDArray[np.floating]


def exchange(
    X: Array | Tensor,
    y: Array | Tensor,
    start: ReLUStack,
    n_nonzero: int,
    *,
    n_rounds: int = 60,
    first: int | None = None,
    n_kicks: int = 5,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Change the support of `start` to a better one with at most `n_nonzero` weights.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
        Rows of finite numbers.
    y : array or Tensor, shape [n], or [n, k] for a network that is not fused
        The outputs to explain.
    start : ReLUStack
        May be empty where it has one hidden layer; it then grows.
    n_nonzero : int
        The budget s.
    n_rounds : int
        The most exchanges that are tried.
    first : int, optional
        Weights that the first round exchanges (q); s / 8 by default.
    n_kicks : int
        How often to continue from a stall without a random third of the neurons (4).
    random_state : int
        Random seed that chooses these neurons.
    progress : callable, optional
        Called with a `Progress` after every round.

    Returns
    -------
    Solution of ReLUStack
        Status "exact", "stalled" (no exchange helps), "budget" (all rounds made) or "interrupted".

    Raises
    ------
    ValueError
        Shapes do not fit, or `start` has more than `n_nonzero` weights.

    Notes
    -----
    A round costs 4 * n * d flops for every neuron with weights and every output, and 12
    Gauss-Newton steps.
    Source: secateurs (not supported by theory); similar to subspace pursuit (Dai & Milenkovic
    2009) and to Fisher pruning.
    """
    if start.n_nonzero > n_nonzero:
        shown = Shown(f"a network of {start.n_nonzero} weights")
        do = "raise the budget or drop weights first"
        raise bad_value("start", shown, f"at most n_nonzero = {n_nonzero}", do)
    inputs = torch.as_tensor(X).detach().double()
    targets = torch.as_tensor(y).detach().to(inputs)
    scale = max(float(targets.double().norm()), np.finfo(float).tiny)
    rng = np.random.default_rng(random_state)
    kicks = 0
    q = first = max(1, n_nonzero // 8 if first is None else first)
    net = best = start
    loss = least = _loss(inputs, targets, net, scale)
    run = Iterations(n_rounds, progress)
    with run:
        for _ in run:
            if least <= EXACT:
                break
            trial = _exchanged(inputs, targets, net, q, n_nonzero)  # (1), (2)
            trial_loss = _loss(inputs, targets, trial, scale)
            if trial_loss < (1 - GAIN) * loss and trial.n_nonzero <= n_nonzero:  # (3)
                net, loss = trial, trial_loss
                q = min(2 * q, max(1, n_nonzero // 2))
            else:
                q //= 2
            if loss < least:
                best, least = net, loss
            run.record(loss=least, n_nonzero=best.n_nonzero)
            if not q and kicks == n_kicks:
                run.end("stalled")
            elif not q:
                kicks += 1
                net = _without_neurons(inputs, targets, best, rng)  # (4)
                loss, q = _loss(inputs, targets, net, scale), first
    if least <= EXACT and run.status != "interrupted":
        run.end("exact")
    return run.solution(best, relative_residual=least, n_steps=run.step, n_kicks=kicks)


def _loss(X: Tensor, y: Tensor, net: ReLUStack, scale: float) -> float:
    """Return the relative residual."""
    return float(model_of(X, y, net)[0].square() ** 0.5 / scale)


def _exchanged(X: Tensor, y: Tensor, net: ReLUStack, q: int, n_nonzero: int) -> ReLUStack:
    """Add q weights, polish, drop down to the budget, polish: (1) and (2)."""
    trial = _polish(X, y, grow(X, y, net, q))
    for part in range(DROPS, 0, -1):
        excess = max(0, trial.n_nonzero - n_nonzero)
        if excess:
            trial = drop_weights(X, y, trial, -(-excess // part))
            trial = _polish(X, y, trial, FEW_STEPS if part > 1 else INNER_STEPS)
    return trial


def _without_neurons(X: Tensor, y: Tensor, net: ReLUStack, rng: np.random.Generator) -> ReLUStack:
    """Remove a random third of the neurons of each hidden layer, and polish (4)."""
    layers = list(net.layers)
    for hidden in range(len(layers) - (0 if net.fused else 1)):
        live = np.flatnonzero(np.diff(layers[hidden].indptr))
        if len(live) > 1:
            gone = rng.choice(live, max(1, int(KICKED * len(live))), replace=False)
            kept = np.ones(layers[hidden].shape[0], dtype=bool)
            kept[gone] = False
            layers[hidden] = keep_entries(layers[hidden], rows=kept)
    return _polish(X, y, ReLUStack(tuple(layers), net.fused))


def _polish(X: Tensor, y: Tensor, net: ReLUStack, n_steps: int = INNER_STEPS) -> ReLUStack:
    return gauss_newton(X, y, net, n_steps=n_steps, cg_steps=INNER_CG).value


def drop_weights(X: Tensor, y: Tensor, net: ReLUStack, count: int) -> ReLUStack:
    """Remove the `count` weights that cost least in a quadratic model (2); ties go by position.

    O(n k nnz^2) for n rows and k outputs, or O(n k nnz) where that is much.
    """
    model, live, _ = model_of(X, y, net)
    values = model.values.cpu().numpy()
    if y.numel() * len(values) ** 2 <= GRAM_FLOPS:
        layer = np.repeat(np.arange(len(live)), [W.nnz for W in live])
        G = model.gram().cpu().numpy() * (layer[:, None] == layer)
        kept, values = eliminate(values, G, count)
    else:
        saliency = values**2 * model.column_squares().cpu().numpy()
        kept = np.ones(len(values), dtype=bool)
        kept[np.argsort(saliency, kind="stable")[:count]] = False
    return stack_of(live, values, fused=net.fused, kept=kept)


def eliminate(
    values: NDArray[np.float64], G: NDArray[np.float64], count: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Remove `count` weights from the least squares with Gram matrix G, one by one.

    To remove w_e costs w_e^2 / M_ee with M = G^-1, where the others change by -M_:e w_e / M_ee.
    Returns whether each weight is kept, and the values, zero where it is not.
    Source: the optimal brain surgeon of Hassibi & Stork (1993).
    """
    p = len(values)
    size = np.sqrt(np.maximum(np.diag(G), 1e-24 * G.diagonal().max() + 1e-300))
    M = np.linalg.inv(G / np.outer(size, size) + RIDGE * np.eye(p))
    w, kept = values * size, np.ones(p, dtype=bool)
    for _ in range(min(count, p)):
        cost = np.where(kept, w**2 / np.where(kept, np.diag(M), 1.0), np.inf)
        e = int(np.argmin(cost))
        kept[e] = False
        column = M[:, e] / M[e, e]
        w = w - w[e] * column
        M -= np.outer(column, M[e])
        w[e] = M[e] = M[:, e] = 0.0
    return kept, w / size
