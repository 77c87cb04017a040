"""What all estimators do alike: hold rows out, tell progress, refuse and warn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from secateurs.solvers.solution import Progress, ProgressCallback


def hold_out(
    n: int, fraction: float, seed: int, classes: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out, both increasing.

    Parameters
    ----------
    n : int
    fraction : float in [0, 1)
    seed : int
    classes : array of class numbers, shape [n], optional
        Classes keep their shares where each has two rows and both parts have room for all.

    Returns
    -------
    train, held_out : arrays of int64
    """
    rows = np.arange(n)
    n_held_out = int(fraction * n)
    if n_held_out == 0:
        return rows, rows[:0]
    strata = None
    if classes is not None:
        counts = np.bincount(classes)
        if counts.min() >= 2 and len(counts) <= min(n_held_out, n - n_held_out):
            strata = classes
    train, held_out = train_test_split(
        rows, test_size=n_held_out, random_state=seed, stratify=strata
    )
    return np.sort(train), np.sort(held_out)


def told_progress(verbose: int, progress: ProgressCallback | None) -> ProgressCallback | None:
    """The callback given, preceded by a printed line where `verbose` asks for it."""
    if not verbose:
        return progress

    def tell(state: Progress) -> None:
        print(
            f"step {state.step}/{state.n_steps}  loss {state.loss:.4g}  weights {state.n_nonzero}"
        )
        if progress is not None:
            progress(state)

    return tell


def require_target(estimator: object, y: Any) -> None:
    """Refuse a fit without a target, in scikit-learn's words."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, "
            "but the target y is None."
        )


def warn_if_interrupted(status: str) -> None:
    """A warning to the caller of ``fit`` that the user stopped it."""
    if status == "interrupted":
        warnings.warn(
            "the fit was interrupted; it is the best so far", ConvergenceWarning, stacklevel=3
        )
