"""Checks of constructor parameters: what was got, what was expected."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def is_integer(value: Any, least: int, most: int | None = None) -> bool:
    """Whether `value` is an integer, no boolean, from `least` to `most`."""
    if not isinstance(value, Integral) or _is_bool(value):
        return False
    return int(value) >= least and (most is None or int(value) <= most)


def require_integer(name: str, value: Any, least: int, hint: str = "") -> None:
    """Raise ValueError unless `value` is an integer >= `least`."""
    if not is_integer(value, least):
        raise ValueError(f"{name}={value!r}; expected an integer >= {least}{hint}")


def require_real(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> None:
    """Raise ValueError unless `value` is a finite number within the bounds given."""
    valid = isinstance(value, Real) and not _is_bool(value) and np.isfinite(float(value))
    bounds = []
    for bound, sign in ((least, ">="), (above, ">"), (below, "<")):
        if bound is not None:
            bounds.append(f"{sign} {bound}")
            if valid:
                v = float(value)
                valid = {">=": v >= bound, ">": v > bound, "<": v < bound}[sign]
    if not valid:
        raise ValueError(f"{name}={value!r}; expected a number {' and '.join(bounds)}{hint}")
