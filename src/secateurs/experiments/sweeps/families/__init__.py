"""What can be swept: one file for each family, one name for it here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from secateurs.experiments.sweeps.registry import Family

_NAMES = ("planted", "features", "sensing", "tables")  # of a file, and of the Family in it


def families() -> Iterator[Family]:
    """Every family; each is imported when its turn comes, so that a worker imports only its own."""
    for name in _NAMES:
        family: Family = getattr(import_module(f"{__name__}.{name}"), name)
        yield family


def family_of(problem: str) -> Family | None:
    """The family that a problem belongs to."""
    return next((family for family in families() if problem in family.problems), None)


def problem_names() -> list[str]:
    """Every problem there is."""
    return [name for family in families() for name in family.problems]
