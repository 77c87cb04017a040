"""A sweep as a TOML file.  The whole file is checked before anything starts.

problem = "planted_relu"
seeds = 10                       # 0 to 9; or a list
metrics = ["exact", "psnr"]      # metrics to show; every metric of the family is kept

[settings]                       # settings of the problem, the same in every cell
d = 50
m = 5

[grid]                           # settings of the problem, every combination; [[grid]] joins grids
n = [100, 200, 500]
s = [10, 20]

[methods.pursuit]
[methods.iht]
n_steps = [50, 200]              # a list is an axis here too
[methods.short]                  # any label
method = "iht"
n_steps = 10
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from secateurs.experiments.sweeps.registry import Family

VERSION = 1  # of a cell; raise it when equal settings come to mean something else
MAX_SEED = 2**32 - 1
FIGURE_AXES = {"heat_map": ("x", "y"), "scaling": ("x",), "bars": ()}
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

Cell = dict[str, Any]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class ConfigError(ValueError):
    """A sweep that cannot be run; the message has file, line, field and a way out."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class AdaptiveSettings(_Strict):
    """More seeds where the outcome of a 0/1 metric is open, along one axis of the grid."""

    axis: str
    metric: str
    rounds: Count = 4
    seeds_a_round: Count = 4
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


class FigureSettings(_Strict):
    """A figure drawn at the end of a sweep."""

    kind: Literal["heat_map", "scaling", "bars"]
    name: Annotated[str, Field(pattern=NAME)]
    metric: str
    x: str | None = None
    y: str | None = None

    @model_validator(mode="after")
    def _axes(self) -> FigureSettings:
        wanted = FIGURE_AXES[self.kind]
        if self.axes != wanted:
            raise ValueError(
                f"a figure of kind {self.kind} takes {' and '.join(wanted) or 'no x, y'}"
            )
        return self

    @property
    def axes(self) -> tuple[str, ...]:
        """Which of "x" and "y" are given."""
        return tuple(axis for axis in ("x", "y") if getattr(self, axis) is not None)


class SweepFile(_Strict):
    """Fields of the file, before names are looked up."""

    problem: str
    seeds: Count | list[Seed]
    metrics: Annotated[list[str], Field(min_length=1)]
    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    settings: dict[str, Any] = {}
    grid: dict[str, Any] | list[dict[str, Any]] = {}
    time_limit: Annotated[float, Field(gt=0)] = 3600.0
    retries: Annotated[int, Field(ge=0)] = 1
    adaptive: AdaptiveSettings | None = None
    figures: list[FigureSettings] = []


@dataclass(frozen=True)
class Variant:
    """A method with its settings, and its label in tables and figures."""

    label: str
    method: str
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep that can be run.

    Attributes
    ----------
    family : Family
    problem : str
    points : list of dict
        Full settings of the problem, defaults included.
    axes : dict of lists
        The settings that vary, and their values in order.
    variants : list of Variant
    seeds : sequence of int
    metrics : list of str
    time_limit : float
        Seconds of wall time that a cell may take.
    retries : int
        How often a failed cell is tried again.
    adaptive : AdaptiveSettings or None
    figures : list of FigureSettings
    text : str
        The file.
    """

    family: Family
    problem: str
    points: list[dict[str, Any]]
    axes: dict[str, list[Any]]
    variants: list[Variant]
    seeds: Sequence[int]
    metrics: list[str]
    time_limit: float
    retries: int
    adaptive: AdaptiveSettings | None
    figures: list[FigureSettings]
    text: str

    @property
    def n_cells(self) -> int:
        """Number of cells of the plain grid."""
        return len(self.points) * len(self.variants) * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """Yield the plain grid, seed by seed, so that a part of a sweep covers all points."""
        for seed in self.seeds:
            for point in self.points:
                for variant in self.variants:
                    yield self.cell(point, variant, seed)

    def cell(self, point: dict[str, Any], variant: Variant, seed: int) -> Cell:
        """Return the settings of one cell, which are all that its result depends on."""
        return {
            "version": VERSION,
            "problem": self.problem,
            "problem_settings": point,
            "method": variant.method,
            "method_settings": variant.settings,
            "seed": seed,
        }
