"""Measurements of gradient descent on sensed matrices: its stationary points and its rate."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from secateurs.core.driver import Iterations
from secateurs.sensing import fit_rank, group_lasso, group_lasso_path, planted_sensing
from secateurs.sensing.factored import Point, Sensed, squares
from secateurs.sensing.factored_gd import COLUMNS, Descent, gradient_descent, random_start

N_STEPS, TOLERANCE = 5000, 1e-4
NOISE = 0.1  # norm of a perturbation, over sqrt(beta)
LAST_LOSS = 1e-24  # share of the mean square of y, below which a loss is rounding


def stationary_columns(*, n: int, d: int, r: int, seed: int) -> dict[str, float]:
    """Look at the columns of d x d factors where perturbed descent on the penalised loss ends."""
    problem = planted_sensing(n, d, r, noise_ratio=0.05, random_state=seed)
    path = group_lasso_path(problem.operator, problem.y).measured
    state = random_start(Sensed.of(problem.operator, problem.y), None, 0.5, None, seed)
    _descend(state, path["strength"], path["beta"], perturbed=True, seed=seed)
    threshold = 2 * math.sqrt(path["beta"])
    norms = np.sqrt(squares(state.point.U))
    kept = state.point.U[norms >= threshold] / norms[norms >= threshold, None]
    others = np.abs(kept @ kept.T - np.eye(len(kept)))
    small, large = norms[norms < threshold], norms[norms >= threshold]
    return {
        "kept": float(len(kept)),
        "right": float(len(kept) == r),
        "cosine": float(others.max(initial=0.0)),
        "gap": float(large.min(initial=math.inf) / small.max(initial=1e-300)),
    }


def saddle(*, n: int, d: int, r: int, seed: int) -> dict[str, float]:
    """Start at the best fit of rank r - 1 beside zero columns, with perturbations and without."""
    problem = planted_sensing(n, d, r, noise_ratio=0.05, random_state=seed)
    path = group_lasso_path(problem.operator, problem.y).measured
    fit = fit_rank(problem.operator, problem.y, r - 1).value.components
    U = np.vstack([fit, np.zeros((d - r + 1, d))])
    ranks = {}
    for name in ("perturbed", "plain"):
        sensed = Sensed.of(problem.operator, problem.y)
        state = random_start(sensed, None, 0.5, None, seed)
        state = Descent(Point.at(sensed, U, np.ones(d)), state.step)
        perturbed = name == "perturbed"
        _descend(state, path["strength"], path["beta"], perturbed=perturbed, seed=seed)
        norms = np.sqrt(squares(state.point.U))
        ranks[name] = int((norms >= 2 * math.sqrt(path["beta"])).sum())
    return {
        "escaped": float(ranks["perturbed"] == r and ranks["plain"] == r - 1),
        **{name: float(rank) for name, rank in ranks.items()},
    }


def fine_tuning_rate(*, n: int, d: int, r: int, seed: int) -> dict[str, float]:
    """Fine-tune pruned columns by gradient descent without noise, and fit a line to log loss."""
    problem = planted_sensing(n, d, r, random_state=seed)
    path = group_lasso_path(problem.operator, problem.y).measured
    pruned = group_lasso(
        problem.operator,
        problem.y,
        strength=path["strength"],
        beta=path["beta"],
        n_tuning_steps=0,
        random_state=seed,
    ).value.components
    sensed = Sensed.of(problem.operator, problem.y)
    step = random_start(sensed, 1, 0.5, None, seed).step
    state = Descent(Point.at(sensed, pruned, np.ones(len(pruned))), step)
    with Iterations(N_STEPS, columns=COLUMNS) as run:
        gradient_descent(run, state, n_steps=N_STEPS, tolerance=1e-14)
    steps, losses = (np.array(run.history[name]) for name in ("step", "loss"))
    kept = losses > LAST_LOSS * sensed.power
    t, log_loss = steps[kept], np.log(losses[kept])
    slope, offset = np.polyfit(t, log_loss, 1)
    left = log_loss - slope * t - offset
    return {
        "linearity": 1 - float(left.var() / log_loss.var()),
        "factor": math.exp(slope),
        "decades": float((log_loss[0] - log_loss[-1]) / math.log(10)),
        "falls": float(all(b < a for a, b in pairwise(log_loss))),
    }


def _descend(state: Descent, strength: float, beta: float, *, perturbed: bool, seed: int) -> None:
    """Run gradient descent on the penalised loss."""
    with Iterations(N_STEPS, columns=COLUMNS) as run:
        gradient_descent(
            run,
            state,
            n_steps=N_STEPS,
            tolerance=TOLERANCE,
            strength=strength,
            beta=beta,
            perturbation=NOISE * math.sqrt(beta) if perturbed else 0.0,
            random_state=seed,
        )
