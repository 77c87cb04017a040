"""Gauss-Newton polish of a sparse ReLU network: the values change, the support stays.

repeat at most 40 times:
  r = f(w) - y,  J = df / dw on the support                               (1)
  q <- at most 60 steps of CGLS on  || J C q + r ||^2 + lambda ||q||^2    (2)
       C = 1 / column norms of J, so that lambda has no units
  t <- 1, 1/2, .. until  || f(w + t C q) - y || falls;  w <- w + t C q    (3)
  lambda <- lambda / 5 after a full step, 2 lambda after a shortened one,
            10 lambda after none                                          (4)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.stack import ReLUStack
from secateurs.sparse.stack_model import StackModel, model_of, stack_of

EXACT = 1e-14  # relative residual at which nothing is left to polish
HALVINGS = 8
FIRST_DAMPING, LEAST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-15, 1e8
EASE, STIFFEN, FAILED = 5, 2, 10  # factors of the damping (4)
GAIN, PATIENCE = 1e-6, 5  # steps with a smaller relative gain before "converged"
CG_TOLERANCE = 1e-10  # relative fall of the normal residual that ends (2)

Array = NDArray[np.floating]


def gauss_newton(
    X: Array | Tensor,
    y: Array | Tensor,
    start: ReLUStack,
    *,
    n_steps: int = 40,
    cg_steps: int = 60,
    device: torch.device | str | None = None,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Minimise the squared error over the nonzero weights of `start`, from their values.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
        Rows of finite numbers.
    y : array or Tensor, shape [n], or [n, k] for a network that is not fused
        The outputs to explain.
    start : ReLUStack
        The network whose support is kept and whose values are changed.
    n_steps, cg_steps : int
        Gauss-Newton steps, and conjugate gradient steps in each.
    device : torch.device or str, optional
        The device of X by default.
    progress : callable, optional
        Called with a `Progress` after every step; its loss is the relative residual.

    Returns
    -------
    Solution of ReLUStack
        In float64, and never worse than `start`.  Weights that cannot reach an output are
        dropped.  Status "exact", "converged" (gains below 1e-6), "stalled" (no step lowers the
        residual), "budget" or "interrupted".

    Raises
    ------
    ValueError
        Shapes do not fit, or `start` has generators, so that its problem is linear.

    Notes
    -----
    One conjugate gradient step costs about 8 * n * nnz flops.  Memory beyond the data:
    O(nnz + n k), and up to 128 MB of activations where they fit.
    Source: Levenberg (1944), Marquardt (1963); CGLS of Bjorck, "Numerical methods for least
    squares problems" (1996), section 7.4.
    """
    if start.generators is not None:
        shown = Shown("a network in convex form, with generators")
        raise bad_value("start", shown, "a network whose gates are its own")
    inputs = torch.as_tensor(X).detach()
    device = None if device is None else torch.device(device)
    model, live, _ = model_of(inputs, torch.as_tensor(y), start, device)  # (1)
    problem, values = model.problem, model.values
    damping, waited = FIRST_DAMPING, 0
    scale = max(problem.scale, np.finfo(float).tiny)
    loss = model.square() ** 0.5 / scale
    run = Iterations(n_steps, progress)
    with run:
        for _ in run:
            if loss <= EXACT or not len(values):
                run.end("exact" if loss <= EXACT else "converged")
                break
            direction = _cgls(model, cg_steps, damping)  # (2)
            t, trial, trial_loss = 1.0, model, loss
            for _ in range(HALVINGS):  # (3)
                trial = problem.at(values + t * direction)
                trial_loss = trial.square() ** 0.5 / scale
                if trial_loss < loss:
                    break
                t /= 2
            gain = 0.0
            if trial_loss < loss:  # (4)
                gain = 1 - trial_loss / loss
                values, model, loss = trial.values, trial, trial_loss
                damping = max(damping / EASE, LEAST_DAMPING) if t == 1.0 else STIFFEN * damping
            else:
                damping *= FAILED
            run.record(loss=loss, n_nonzero=len(values))
            waited = waited + 1 if gain < GAIN else 0
            if damping > LARGEST_DAMPING:
                run.end("stalled")
            elif waited >= PATIENCE:
                run.end("converged" if gain > 0 else "stalled")
    found = stack_of(live, values.cpu().numpy(), fused=start.fused)
    return run.solution(found, relative_residual=loss, n_steps=run.step)


def _cgls(model: StackModel, n_steps: int, damping: float) -> Tensor:
    """Return the direction C q of (2)."""
    squares = model.column_squares()
    C = squares.clamp_min(1e-14 * float(squares.max()) + 1e-300).rsqrt()
    r = [-part for part in model.residual()]
    q = torch.zeros_like(C)
    s = C * model.adjoint(r)
    p, power = s, float(s @ s)
    target = CG_TOLERANCE**2 * power
    for _ in range(n_steps):
        if power <= target:
            break
        Jp = model.forward_derivative(C * p)
        curved = sum(float(part.square().sum()) for part in Jp) + damping * float(p @ p)
        if curved <= 0.0:
            break
        alpha = power / curved
        q = q + alpha * p
        r = [a - alpha * b for a, b in zip(r, Jp, strict=True)]
        s = C * model.adjoint(r) - damping * q
        last, power = power, float(s @ s)
        p = s + (power / last) * p
    return C * q
