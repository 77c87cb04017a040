"""Checks of arguments, and the one grammar of their messages.

Every message reads ``NAME: got X; expected Y; do Z``.  The last part is left out where the second
already says what to do.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

MAX_SHOWN = 80  # characters of a refused value in a message
_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def bad_value(name: str, got: Any, expected: str, do: str = "") -> ValueError:
    """The error for an argument that cannot be used.

    Parameters
    ----------
    name : str
        The argument, as the user wrote it.
    got : object
        A string is shown as it is when it describes the value; other objects by their ``repr``.
    expected : str
        What would be accepted.
    do : str
        What the user can do about it, where `expected` does not say so.
    """
    shown = got if isinstance(got, Shown) else repr(got)
    if len(shown) > MAX_SHOWN:
        shown = shown[:MAX_SHOWN] + "..."
    return ValueError(f"{name}: got {shown}; expected {expected}" + (f"; {do}" if do else ""))


class Shown(str):
    """A description of a value, printed without quotes by `bad_value`."""

    __slots__ = ()


def is_integer(value: Any, least: int, most: int | None = None) -> bool:
    """Whether `value` is an integer from `least` to `most`; a boolean is not one."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        return False
    return int(value) >= least and (most is None or int(value) <= most)


def is_real(value: Any) -> bool:
    """Whether `value` is a finite real number; a boolean is not one."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return False
    return math.isfinite(float(value))


def check_integer(
    name: str, value: Any, least: int = 1, most: int | None = None, *, otherwise: str = ""
) -> int:
    """Return `value` as an int, or raise ValueError.

    Parameters
    ----------
    name : str
    value : object
    least, most : int
        The bounds, both included.
    otherwise : str
        What else is accepted and was tried by the caller, for the message: ``"'auto'"``.

    Raises
    ------
    ValueError
        The value is a boolean, not an integer, or out of bounds.
    """
    if not is_integer(value, least, most):
        bounds = f">= {least}" if most is None else f"from {least} to {most}"
        raise bad_value(name, value, f"an integer {bounds}" + _or(otherwise))
    return int(value)


def check_counts(**counts: Any) -> None:
    """Raise ValueError unless every argument is an integer >= 1."""
    for name, value in counts.items():
        check_integer(name, value)


def check_real(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    otherwise: str = "",
) -> float:
    """Return `value` as a float, or raise ValueError unless it is finite and within bounds.

    Parameters
    ----------
    name : str
    value : object
    least, most : float, optional
        Bounds that are included.
    above, below : float, optional
        Bounds that are excluded.
    otherwise : str
        What else is accepted and was tried by the caller, for the message.

    Raises
    ------
    ValueError
        The value is a boolean, not a finite number, or out of bounds.
    """
    bounds = {">=": least, ">": above, "<=": most, "<": below}
    given = {sign: bound for sign, bound in bounds.items() if bound is not None}
    if not is_real(value) or not all(_COMPARE[sign](value, b) for sign, b in given.items()):
        limits = " and ".join(f"{sign} {bound:g}" for sign, bound in given.items())
        raise bad_value(name, value, f"a finite number {limits}".rstrip() + _or(otherwise))
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return `value` if it is one of the strings in `choices`, or raise ValueError."""
    if not isinstance(value, str) or value not in choices:
        *most, last = (repr(choice) for choice in choices)
        raise bad_value(name, value, f"{', '.join(most)} or {last}" if most else last)
    return value


def _or(otherwise: str) -> str:
    return f" or {otherwise}" if otherwise else ""
