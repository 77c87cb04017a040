"""Rows of pixels: whole numbers from 0 to 255."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value


def are_pixels(X: Any) -> bool:
    """Whether all numbers are whole and from 0 to 255."""
    values = np.asarray(X)
    if values.dtype == np.uint8:
        return True
    if values.dtype.kind not in "biuf" or not values.size:
        return False
    return bool(((values >= 0) & (values <= 255) & (values == np.floor(values))).all())


def as_pixels(X: Any, n_pixels: int) -> NDArray[np.uint8]:
    """Return rows as uint8 [n, n_pixels], or raise ValueError."""
    values = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if values.ndim != 2 or values.shape[1] != n_pixels:
        raise bad_value("X", Shown(f"shape {values.shape}"), f"[n, {n_pixels}]")
    if not are_pixels(values) and values.size:
        raise bad_value("X", Shown("other numbers"), "whole numbers from 0 to 255")
    return values.astype(np.uint8)
