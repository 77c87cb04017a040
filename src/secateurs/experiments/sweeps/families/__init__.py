"""The families of sweeps: one file for each, and its name here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from secateurs.experiments.sweeps.registry import Family

_NAMES = ("planted", "features", "sensing", "tables")  # of files, and of the Family in each


def families() -> Iterator[Family]:
    """Yield every family, imported when its turn comes: a search imports no more than it needs."""
    for name in _NAMES:
        family: Family = getattr(import_module(f"{__name__}.{name}"), name)
        yield family


def family_of(problem: str) -> Family | None:
    """Return the family of a problem; None for an unknown problem."""
    return next((family for family in families() if problem in family.problems), None)


def problem_names() -> list[str]:
    """Return the names of all problems."""
    return [name for family in families() for name in family.problems]
