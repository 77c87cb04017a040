"""Checks of the target y, and the transforms of y that columns are scored against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.features.ranks import FloatArray, normal_scores, standardised

FEWEST_ROWS = 8  # of a target that is to be transformed
SAME = 0.999  # transforms with a larger correlation count as one
CONSTANT = 1e-6  # a standardised value with a smaller standard deviation counts as constant


def check_target(y: Any, n: int | None = None, least: int = 1) -> FloatArray:
    """Return y as floats; raise ValueError unless it is n finite numbers that are not all equal.

    Parameters
    ----------
    y : array [n]
    n : int, optional
        Rows of X.
    least : int
        Fewest rows.
    """
    values = np.asarray(y)
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        shown = Shown(f"shape {values.shape} and dtype {values.dtype}")
        raise bad_value("y", shown, "numbers of shape [n]")
    if n is not None and len(values) != n:
        raise bad_value("y", Shown(f"{len(values)} values"), f"{n}, one for each row of X")
    if len(values) < least:
        raise bad_value("y", Shown(f"{len(values)} rows"), f"at least {least}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise bad_value("y", Shown("infinite or missing values"), "finite numbers")
    if values.min() == values.max():
        raise bad_value("y", Shown("a constant"), "at least two different values")
    return values


def label_transforms(y: NDArray[Any], ranked: bool = True) -> tuple[FloatArray, tuple[str, ...]]:
    """Return transforms of y with mean 0 and variance 1, [n, C], and their names.

    With ranks they are the normal scores g of y, he2(g), |g| and sign g; a transform that is
    constant, or the same as an earlier one, is left out.  Without ranks there is one, y itself.
    """
    values = check_target(y, least=FEWEST_ROWS)
    if not ranked:
        return standardised(values)[:, None], ("y",)
    g = normal_scores(values)
    kept: list[FloatArray] = []
    names = []
    for name, t in (("g", g), ("he2(g)", g**2), ("|g|", np.abs(g)), ("sign g", np.sign(g))):
        if t.std() < CONSTANT:
            continue
        t = standardised(t)
        if all(abs(float(t @ other)) < SAME * len(t) for other in kept):
            kept.append(t)
            names.append(name)
    return np.stack(kept, axis=1), tuple(names)
