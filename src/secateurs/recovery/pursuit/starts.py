"""The pursuit from several starts, because each start chooses other rows and splits.

Where rows are few, a search for a planted network stalls now and then, and mostly finds it from
another start.  The rows of the fit choose among the starts, so that held-out rows stay untouched.
"""

from __future__ import annotations

from dataclasses import replace

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.pursuit.relu_rows import FloatArray
from secateurs.recovery.pursuit.search import ReLUFit, relu_pursuit

STARTS = 4
MOST_ENTRIES = 1_000_000  # of X: a search takes seconds beyond, and stalls less with many rows


def pursue_from_starts(
    X: FloatArray,
    y: FloatArray,
    n_nonzero: int,
    n_neurons: int,
    *,
    fit_intercept: bool,
    random_state: int,
    progress: ProgressCallback | None,
) -> Solution[ReLUFit]:
    """Return the first `relu_pursuit` that does not stall, or the one with the least residual.

    The parameters are those of `relu_pursuit`.  The starts have the seeds `random_state`,
    `random_state` + 1 and so on.
    """
    best: Solution[ReLUFit] | None = None
    for start in range(STARTS):
        found = relu_pursuit(
            X,
            y,
            n_nonzero,
            n_neurons,
            fit_intercept=fit_intercept,
            random_state=random_state + start,
            progress=progress,
        )
        if best is None or found.measured["residual"] < best.measured["residual"]:
            best = found
        if found.status == "interrupted":
            return replace(best, status="interrupted")
        if found.status != "stalled" or X.size > MOST_ENTRIES:
            return found if found.status != "stalled" else best
    assert best is not None
    return best
