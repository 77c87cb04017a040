"""Claims of "Greedy Pruning with Group Lasso Provably Generalizes for Matrix Sensing".

By Rajaraman, Devvrit, Mokhtari & Ramchandran.  Some are the paper's, some are what was found about
the path used here instead of perturbed descent; each says which.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd

from secateurs.experiments.claims.claim import Claim, largest, mean
from secateurs.experiments.sweeps.families.sensing import sensing
from secateurs.experiments.sweeps.registry import Result, evaluate
from secateurs.sensing.baselines import compare_column_norms
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.published_pipeline import group_lasso
from secateurs.sensing.regularisation_path import group_lasso_path

PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"
FIRST_SEED = 7_000_000  # of seeds on which nothing was tuned


def sensed_metrics(
    *, problem: str = "matrix_sensing", method: str, seed: int, **settings: Any
) -> Result:
    """What a method comes to on a planted matrix, as in a sweep."""
    cell = {
        "problem": problem,
        "problem_settings": settings,
        "method": method,
        "method_settings": {},
        "seed": seed,
    }
    return evaluate(sensing, cell)


def pipeline(*, n: int, d: int, r: int, noise_ratio: float, seed: int) -> dict[str, float]:
    """The paper's pipeline, its lambda and beta taken from the path."""
    problem = planted_sensing(n, d, r, noise_ratio=noise_ratio, random_state=seed)
    path = group_lasso_path(problem.operator, problem.y).measured
    found = group_lasso(
        problem.operator,
        problem.y,
        strength=path["strength"],
        beta=path["beta"],
        random_state=seed,
    ).value
    return {
        "exact_rank": float(len(found.components) == r),
        "error": problem.error(found.components, found.signs),
    }


def column_norms(*, n: int, d: int, r: int, seed: int) -> dict[str, float]:
    """The same over-parameterised model with the penalty and without.

    A column is comparable when its norm is above .3 of the largest.
    """
    problem = planted_sensing(n, d, r, noise_ratio=0.05, random_state=seed)
    path = group_lasso_path(problem.operator, problem.y).measured
    norms = compare_column_norms(
        problem.operator,
        problem.y,
        strength=path["strength"],
        beta=path["beta"],
        random_state=seed,
    )
    with_penalty = int((norms.penalised > 0.3 * norms.penalised[0]).sum())
    return {
        "comparable_with": with_penalty,
        "comparable_without": norms.n_comparable,
        "comparable_ratio": norms.n_comparable / with_penalty,
        "kept": norms.n_kept,
        "loss_with": norms.pruned_penalised,
        "loss_without": norms.pruned_plain,
    }


def _grid(
    n_seeds: int,
    sizes: tuple[tuple[int, int], ...],
    *,
    kinds: tuple[str, ...] = ("gaussian", "rank-one"),
    noise_ratio: float = 0.3,
    ratio: float = 3.0,
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "method": "path",
            "kind": kind,
            "n": math.ceil(ratio * r * d),
            "d": d,
            "r": r,
            "noise_ratio": noise_ratio,
            "seed": FIRST_SEED + k,
        }
        for (d, r), kind, k in itertools.product(sizes, kinds, range(n_seeds))
    )


def _scaling(
    ratios: tuple[int, ...], sizes: tuple[tuple[int, int], ...], n_seeds: int
) -> tuple[dict[str, Any], ...]:
    """About the same noise sigma everywhere: its norm goes as sqrt(d / n)."""
    return tuple(
        {
            "method": "path",
            "n": ratio * r * d,
            "d": d,
            "r": r,
            "noise_ratio": 0.7 / math.sqrt(ratio * r),
            "seed": FIRST_SEED + k,
        }
        for (d, r), ratio, k in itertools.product(sizes, ratios, range(n_seeds))
    )


def _slope(frame: pd.DataFrame) -> float:
    """Of log median error against the log of sigma sqrt(r d / n) / ||M||."""
    medians = frame.groupby(["n", "d", "r"])[["error", "relative_noise"]].median()
    return float(np.polyfit(np.log(medians["relative_noise"]), np.log(medians["error"]), 1)[0])


# of 1275 numbers in a matrix: fewer measurements, and more
NORMS_QUICK = tuple(
    {"n": n, "d": 50, "r": r, "seed": FIRST_SEED + k}
    for (n, r), k in itertools.product(((450, 2), (1350, 3)), range(2))
)
NORMS_FULL = tuple(
    {"n": each * r, "d": 50, "r": r, "seed": FIRST_SEED + k}
    for each, r, k in itertools.product((225, 450), (2, 3, 5), range(10))
)
SMALL, LARGE = ((30, 2), (30, 5)), ((30, 2), (30, 5), (50, 2), (50, 5), (100, 2), (100, 10))

CLAIMS = (
    Claim(
        name="exact-rank",
        statement="Nothing being told, the path keeps exactly r columns from 3 r d measurements, "
        "with noise of 0.3 of the smallest eigenvalue.",
        source=f"{PAPER}: exactly r columns stay after greedy pruning; the path and its constants: "
        "derived and measured, benchmarks/sensing/rank.py",
        measure=sensed_metrics,
        quick=_grid(8, SMALL),
        full=_grid(40, LARGE),
        judge=mean("exact_rank"),
        quantity="share of ranks found",
        expected=1.0,
        low=0.95,
    ),
    Claim(
        name="pipeline",
        statement="Perturbed gradient descent on the penalised loss, greedy pruning and "
        "fine-tuning keep exactly r columns too.",
        source=f"{PAPER}, the algorithm; lambda and beta: from the path",
        measure=pipeline,
        quick=tuple(
            {"n": 400, "d": 20, "r": 2, "noise_ratio": 0.1, "seed": FIRST_SEED + k} for k in (0, 1)
        ),
        full=tuple(
            {"n": 450 * r, "d": 50, "r": r, "noise_ratio": noise_ratio, "seed": FIRST_SEED + k}
            for r, noise_ratio, k in itertools.product((2, 3, 5), (0.05, 0.1), range(10))
        ),
        judge=mean("exact_rank"),
        quantity="share of ranks found",
        expected=1.0,
        low=0.9,
    ),
    Claim(
        name="no-regulariser-fails",
        statement="Negative: trained without the penalty, at least twice as many columns are "
        "comparable to the largest one as with it; all of them where measurements are few.",
        source=f"{PAPER}, the failure without the regulariser (many columns); the factor: measured",
        measure=column_norms,
        quick=NORMS_QUICK,
        full=NORMS_FULL,
        judge=lambda frame: float(frame["comparable_ratio"].min()),
        quantity="smallest ratio of columns above .3 of the largest, without over with",
        expected=2.5,
        low=2.0,
    ),
    Claim(
        name="greedy-pruning-loses",
        statement="Negative: greedy pruning of that network to as many columns as the penalty "
        "leaves loses at least ten times what it loses with the penalty.",
        source=f"{PAPER}, the failure without the regulariser; the factor: measured",
        measure=column_norms,
        quick=NORMS_QUICK,
        full=NORMS_FULL,
        judge=lambda frame: float((frame["loss_without"] / frame["loss_with"]).median()),
        quantity="loss after pruning without the penalty over that with it",
        expected=30.0,
        low=10.0,
    ),
    Claim(
        name="error-rate",
        statement="The error after fine-tuning is proportional to sigma sqrt(r d / n), whatever "
        "n, d and r are.",
        source=f"{PAPER}, the generalisation bound; tolerance: measured",
        measure=sensed_metrics,
        quick=_scaling((6, 12, 24), ((30, 1), (30, 3), (60, 3)), 4),
        full=_scaling((4, 8, 16, 32), ((30, 1), (30, 3), (60, 1), (60, 3)), 20),
        judge=_slope,
        quantity="slope of log error against log sigma sqrt(r d / n)",
        expected=1.0,
        low=0.85,
        high=1.15,
    ),
    Claim(
        name="noiseless",
        statement="Without noise the matrix is found to rounding.",
        source=f"{PAPER}, linear convergence of fine-tuning; tolerance: rounding",
        measure=sensed_metrics,
        quick=_grid(2, SMALL, noise_ratio=0.0),
        full=_grid(10, LARGE, noise_ratio=0.0),
        judge=largest("error"),
        quantity="largest relative error",
        expected=1e-14,
        high=1e-10,
    ),
    Claim(
        name="phase-retrieval",
        statement="Phase retrieval in d = 200 is solved from 2.5 d measurements.",
        source="measured, benchmarks/sensing/peers.py",
        measure=sensed_metrics,
        quick=tuple(
            {"problem": "phase_retrieval", "method": "path", "n": 500, "d": 200, "seed": s}
            for s in range(FIRST_SEED, FIRST_SEED + 3)
        ),
        full=tuple(
            {"problem": "phase_retrieval", "method": "path", "n": 500, "d": 200, "seed": s}
            for s in range(FIRST_SEED, FIRST_SEED + 20)
        ),
        judge=lambda frame: float((frame["error"] < 1e-6).mean()),
        quantity="share solved to 1e-6",
        expected=1.0,
        low=0.95,
    ),
)
