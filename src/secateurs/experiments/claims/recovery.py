"""Claims of "A Recovery Guarantee for Sparse Neural Networks" (Fridovich-Keil & Pilanci).

Some claims are the paper's; others were found here about its method and the one used instead.
Each says which it is.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd

from secateurs.experiments.allocation import measure as allocation
from secateurs.experiments.claims.claim import (
    FIRST_SEED,
    Claim,
    axis,
    cell_metrics,
    combined,
    largest,
    mean,
    seeds,
)
from secateurs.experiments.claims.recovery_claims import FIGURES, LEMMAS
from secateurs.experiments.sweeps.families.planted import planted
from secateurs.experiments.sweeps.registry import Result
from secateurs.recovery import iht, planted_relu
from secateurs.recovery.certificate import pattern_certificate

PAPER = "Fridovich-Keil & Pilanci (2026)"
EXACT_WEIGHTS = 1e-6  # largest error of a weight
TWIN = 0.02  # relative difference of a twin's weights
CONVEX_STEPS = 500
MEMORY_STEPS = 5
WIDER = 16  # factor between the numbers of neurons whose memory is compared

GRID = combined(axis("m", 5, 20, 100), axis("s", 10, 20, 50, 100, 200), n=2000, d=100)
CONVEX = combined(axis("m s", (5, 20), (10, 50), (20, 100)), d=100)
TWINS = combined(axis("twin", False, True), CONVEX, c=1.5, exchanges=False)


def convex(
    *,
    c: float,
    m: int,
    s: int,
    d: int,
    seed: int,
    exchanges: bool,
    twin: bool = False,
    kept: float = 2.0,
) -> Result:
    """Measure recovery in the convex form from n = c s log(d p / s) rows.

    The dictionary has p = 2 m generators: the planted neurons and random ones.  With `twin` it has
    the first neuron a second time, with weights that differ by 2 %.  The iteration keeps `kept`
    times as many entries as the network has weights.
    """
    p = 2 * m + twin
    n = math.ceil(c * s * math.log(d * p / s))
    problem = planted_relu(n, d, m, s, separated=True, random_state=seed)
    rng = np.random.default_rng([seed, 1])
    assert problem.truth is not None
    W = problem.truth[0].toarray()
    if twin:
        W = np.vstack([W, W[:1] * (1 + TWIN * rng.standard_normal(d))])
    y = np.maximum(problem.X @ W.T, 0).sum(axis=1)
    H = np.vstack([W, rng.standard_normal((p - len(W), d))])
    n_nonzero = int((W != 0).sum())
    found = iht(
        *(problem.X, y, n_nonzero, p),
        n_kept=math.ceil(kept * n_nonzero),
        mode="convex",
        generators=H,
        n_steps=CONVEX_STEPS,
        exchanges=exchanges,
    ).value
    truth = np.vstack([W, np.zeros((p - len(W), d))])
    error = float(np.abs(found.weights.toarray() - truth).max())
    certificate = pattern_certificate(X=problem.X, generators=W)
    separation = certificate["separation"]
    return Result(
        {
            "recovered": float(error < EXACT_WEIGHTS),
            "weight_error": error,
            "separation": separation.measured,
            "separation_holds": float(separation.verdict == "holds"),
            "separation_fails": float(separation.verdict == "fails"),
        },
        certificate,
    )


def peak_growth(*, n: int, d: int, m: int, s: int, seed: int) -> dict[str, float]:
    """Measure the peak memory of thresholding, with m neurons and with 16 m.

    The peaks of torch and of numpy are added, as if they occurred at the same time.
    """
    problem = planted_relu(n, d, 10, s, random_state=seed)

    def peak(m: int) -> int:
        found = allocation(lambda: iht(problem.X, problem.y, s, m, n_steps=MEMORY_STEPS))
        return found.torch_peak + found.numpy_peak

    few, many = peak(m), peak(WIDER * m)
    return {"few": few, "many": many, "growth": many / few, "dense": 8.0 * WIDER * m * d}


def _lost_to_twins(frame: pd.DataFrame) -> float:
    """Return the share of networks that are recovered only without a twin."""
    recovered = frame.groupby("twin")["recovered"].mean()
    return float(recovered[False] - recovered[True])


def _gained_by_keeping_more(frame: pd.DataFrame) -> float:
    """Return how much more is recovered with 2 s entries than with s."""
    recovered = frame.groupby("kept")["recovered"].mean()
    return float(recovered[2.0] - recovered[1.0])


def _right_verdicts(frame: pd.DataFrame) -> float:
    """Return the share of right verdicts; "unknown" is never right."""
    right = frame["separation_fails"].where(frame["twin"], frame["separation_holds"])
    return float(right.mean())


_convex_claim = partial(Claim, measure=convex)
_grid_claim = partial(Claim, measure=partial(cell_metrics, planted, problem="planted_relu"))

CLAIMS = (
    _convex_claim(
        name="convex-recovery",
        statement="In convex form, with the planted patterns in the dictionary and separated, "
        "thresholding that keeps more than s entries recovers every weight from "
        "n = 1.5 s log(d p / s) rows, without exchanges.",
        source=f"{PAPER}, the theorem (order of n); constant and 2 s entries: measured, "
        "benchmarks/recovery/convex_transition.py",
        quick=combined(CONVEX, seeds(3), c=1.5, exchanges=False),
        full=combined(CONVEX, seeds(20), c=1.5, exchanges=False),
        judge=mean("recovered"),
        quantity="share of networks recovered",
        expected=1.0,
        low=0.9,
    ),
    _convex_claim(
        name="keeps-more-than-s",
        statement="The iteration that keeps only s entries recovers hardly any of the same "
        "networks from as many rows: the theorem needs the larger number.",
        source="Jain, Tewari & Kar (2014), for the larger number; measured, "
        "benchmarks/recovery/convex_transition.py",
        quick=combined(axis("kept", 1.0, 2.0), CONVEX, seeds(3), c=1.5, exchanges=False),
        full=combined(axis("kept", 1.0, 2.0), CONVEX, seeds(20), c=1.5, exchanges=False),
        judge=_gained_by_keeping_more,
        quantity="share of networks recovered with 2 s entries, less that with s",
        expected=0.9,
        low=0.5,
    ),
    _convex_claim(
        name="too-few-rows",
        statement="Negative: with n = 0.5 s log(d p / s) rows the same networks are not "
        "recovered: the constant cannot be much smaller.  That the order is needed is not shown.",
        source=f"{PAPER}, the theorem, for the order of n; constant: measured, "
        "benchmarks/recovery/convex_transition.py",
        quick=combined(CONVEX, seeds(3), c=0.5, exchanges=True),
        full=combined(CONVEX, seeds(20), c=0.5, exchanges=True),
        judge=mean("recovered"),
        quantity="share of networks recovered",
        expected=0.0,
        high=0.1,
    ),
    _convex_claim(
        name="twins",
        statement="Negative: the iteration does not separate two neurons whose patterns nearly "
        "agree, against Assumption 1, with n = 1.5 s log(d p / s) rows, which are enough without "
        "such a pair.  With more rows it sometimes does.",
        source=f"{PAPER}, Assumption 1; that it is needed: measured",
        quick=combined(TWINS, seeds(3)),
        full=combined(TWINS, seeds(20)),
        judge=_lost_to_twins,
        quantity="share of networks recovered without twins, less that with them",
        expected=0.9,
        low=0.5,
    ),
    _convex_claim(
        name="certificate",
        statement="The certificate's check of Assumption 1 holds on separated networks and fails "
        "on those with twins.",
        source=f"{PAPER}, Assumption 1; threshold of 10 % of the rows: measured",
        quick=combined(TWINS, seeds(2)),
        full=combined(TWINS, seeds(20)),
        judge=_right_verdicts,
        quantity="share of right verdicts",
        expected=1.0,
        low=1.0,
        high=1.0,
    ),
    _grid_claim(
        name="iht-stalls",
        statement="Negative: without the dictionary, where the gates follow the weights, 200 steps "
        "of thresholding pass 60 dB on a minority of planted networks of 5 to 100 neurons.",
        source="measured, 17 of 60; the paper claims no recovery for this form",
        quick=combined(seeds(1), GRID, method="iht"),
        full=combined(seeds(3), GRID, method="iht"),
        judge=mean("above_60_db"),
        quantity="share of networks above 60 dB on fresh rows",
        expected=1 / 3,
        high=0.5,
    ),
    _grid_claim(
        name="pursuit-exact",
        statement="The pursuit finds the same networks exactly: 100 dB on fresh rows, weights to "
        "1e-6, within both budgets.",
        source="derived and measured here; no theorem covers it",
        quick=combined(seeds(1), GRID, method="pursuit"),
        full=combined(seeds(3), GRID, method="pursuit"),
        judge=mean("exact"),
        quantity="share of networks found exactly",
        expected=1.0,
        low=0.9,
    ),
    _grid_claim(
        name="imp-is-far",
        statement="Magnitude pruning with the same budget and m output weights more stays below "
        "the 60 dB that the paper calls recovered, on networks that the pursuit finds exactly.",
        source=f"{PAPER}, comparison with iterative magnitude pruning; settings tuned on other "
        "seeds",
        quick=combined(seeds(1), GRID, method="imp")[::4],
        full=combined(seeds(1), GRID, method="imp"),
        judge=largest("psnr"),
        quantity="most dB on fresh rows",
        expected=40.0,
        high=60.0,
    ),
    Claim(
        name="memory",
        statement="Beside the data, thresholding allocates memory that does not grow with the "
        "neurons: with 16 times as many neurons and the same weights and rows the peak is the "
        "same.",
        source=f"{PAPER}: memory that grows with s; tolerance: blocks that fill up",
        measure=peak_growth,
        quick=({"n": 500, "d": 200, "m": 1000, "s": 50, "seed": FIRST_SEED},),
        full=({"n": 2000, "d": 500, "m": 4000, "s": 500, "seed": FIRST_SEED},),
        judge=mean("growth"),
        quantity="peak bytes at 16 m neurons over those at m",
        expected=1.0,
        high=1.25,
    ),
    *LEMMAS,
    *FIGURES,
)
