"""What can be swept: one file for each family, one line for it here."""

from __future__ import annotations

from secateurs.experiments.sweeps.families.features import features
from secateurs.experiments.sweeps.families.planted import planted
from secateurs.experiments.sweeps.families.sensing import sensing
from secateurs.experiments.sweeps.families.tables import tables
from secateurs.experiments.sweeps.registry import Family

FAMILIES: tuple[Family, ...] = (planted, features, sensing, tables)


def family_of(problem: str) -> Family | None:
    """The family that a problem belongs to."""
    return next((family for family in FAMILIES if problem in family.problems), None)


def problem_names() -> list[str]:
    """Every problem there is."""
    return [name for family in FAMILIES for name in family.problems]
