"""The parts into which the training rows are cut where models are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.splits import row_keys
from secateurs.training.fit_task import FitTask

DIFFERENT = 0.2  # share of the pairs with equal inputs whose targets differ in tables of few values


def comparison_units(task: FitTask) -> NDArray[np.int64]:
    """Return the unit of each training row; the rows of a unit are predicted together.

    Copies of a row, or the groups of the caller, are one unit.  Where inputs take few values, rows
    with equal inputs often have different targets, as copies do not.  Some of these rows then are
    equal by chance, and each row is a unit of its own: otherwise models would be compared on
    combinations of values that they have never seen.
    """
    units = task.split.units[task.train]
    if task.has_groups:
        return units
    X, y = task.inputs[task.train], task.targets[task.train]
    same_inputs = row_keys(X, np.empty((len(y), 0)))
    same_rows = row_keys(X, y)
    equal, copies = _pairs(same_inputs), _pairs(same_rows)
    if equal - copies < DIFFERENT * equal or equal == 0:
        return units
    return np.arange(len(units))


def _pairs(keys: NDArray[np.uint64]) -> float:
    """Return the number of pairs of rows with equal keys."""
    _, counts = np.unique(keys, return_counts=True)
    return float((counts.astype(np.float64) * (counts - 1)).sum())


def cut(units: NDArray[np.int64], n_parts: int, seed: int) -> list[NDArray[np.bool_]]:
    """Return for each part the rows that it predicts; the rows of a unit are together."""
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    drawn = np.empty(len(first), dtype=np.int64)  # in the order of the rows, not of the keys
    drawn[np.argsort(first)] = np.random.default_rng(seed).permutation(len(first)) % n_parts
    return [drawn[unit] == part for part in range(n_parts)]
