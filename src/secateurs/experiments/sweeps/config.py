"""A sweep as a TOML file, checked as a whole before anything starts.

problem = "planted_relu"
seeds = 10                       # 0 to 9; or a list
metrics = ["exact", "psnr"]      # what is shown; every metric of the family is kept

[settings]                       # of the problem, the same in every cell
d = 50
m = 5

[grid]                           # of the problem, every combination; [[grid]] joins grids
n = [100, 200, 500]
s = [10, 20]

[methods.pursuit]
[methods.iht]
n_steps = [50, 200]              # a list is an axis here too
[methods.short]                  # a label of one's own
method = "iht"
n_steps = 10
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secateurs.data.suggest import nearest
from secateurs.experiments.sweeps.families import family_of, problem_names
from secateurs.experiments.sweeps.registry import CPU_SECONDS, Family, settings_model

VERSION = 1  # of a cell; raise it when equal settings come to mean something else
MAX_POINTS = 1_000_000  # combinations of problem and method settings
MAX_SEED = 2**32 - 1
M = TypeVar("M", bound=BaseModel)
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

Path_ = tuple[str | int, ...]
Cell = dict[str, Any]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class ConfigError(ValueError):
    """A sweep that cannot be run: file, line, field and what to do, in one line."""


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
        wanted = {"heat_map": ("x", "y"), "scaling": ("x",), "bars": ()}[self.kind]
        given = tuple(axis for axis in ("x", "y") if getattr(self, axis) is not None)
        if given != wanted:
            raise ValueError(
                f"a figure of kind {self.kind} takes {' and '.join(wanted) or 'no x, y'}"
            )
        return self


class _File(_Strict):
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
    """A method with settings, and what it is called in tables and figures."""

    label: str
    method: str
    settings: dict[str, Any]


@dataclass(frozen=True)
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
        Seconds of wall time a cell may take.
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
        """Cells of the plain grid."""
        return len(self.points) * len(self.variants) * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """The plain grid; one seed after the other, so that a part of a sweep shows all of it."""
        for seed in self.seeds:
            for point in self.points:
                for variant in self.variants:
                    yield self.cell(point, variant, seed)

    def cell(self, point: dict[str, Any], variant: Variant, seed: int) -> Cell:
        """Settings of one cell: all there is to know to compute it."""
        return {
            "version": VERSION,
            "problem": self.problem,
            "problem_settings": point,
            "method": variant.method,
            "method_settings": variant.settings,
            "seed": seed,
        }


def load_sweep(path: str | Path) -> Sweep:
    """Read and check the file of a sweep.

    Raises
    ------
    ConfigError
        The file cannot be read or run as a whole.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); give the TOML file of a sweep"
        ) from None
    return parse_sweep(text, str(path))


def parse_sweep(text: str, source: str = "sweep") -> Sweep:
    """Check the text of a sweep; `source` is what messages call it."""
    return _Checker(text, source).sweep()


class _Checker:
    """One file on its way to a `Sweep`; knows where things are written."""

    def __init__(self, text: str, source: str):
        self.text, self.source = text, source
        try:
            self.raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            at = re.search(r"\(at line (\d+), column \d+\)", message)
            line = int(at[1]) if at else text.count("\n") + 1
            raise ConfigError(f"{source}:{line}: not TOML: {message}") from None

    def error(self, where: Path_, message: str) -> ConfigError:
        """An error about a field, with its line."""
        field = ".".join(f"[{part}]" if isinstance(part, int) else part for part in where)
        return ConfigError(
            f"{self.source}:{line_of(self.text, where)}: {field.replace('.[', '[')}: {message}"
        )

    def sweep(self) -> Sweep:
        """Check everything, in the order in which a reader would."""
        file = self.validated(_File, self.raw, ())
        family = family_of(file.problem)
        if family is None:
            raise self.unknown(("problem",), "problem", file.problem, problem_names())
        points, axes = self.points(file, family)
        variants = self.variants(file.methods, family)
        if len(points) * len(variants) > MAX_POINTS:
            raise self.error(
                ("grid",),
                f"{len(points)} points x {len(variants)} methods; at most {MAX_POINTS} together",
            )
        seeds: Sequence[int] = range(file.seeds) if isinstance(file.seeds, int) else file.seeds
        if not seeds or len(set(seeds)) < len(seeds):
            raise self.error(("seeds",), f"got {list(seeds)}; expected different integers >= 0")
        metrics = [*family.metrics, CPU_SECONDS]
        for i, metric in enumerate(file.metrics):
            self.known(("metrics", i), "metric", metric, metrics)
        self.check_adaptive(file, metrics, axes)
        self.check_figures(file.figures, metrics, axes)
        return Sweep(
            *(
                family,
                file.problem,
                points,
                axes,
                variants,
                seeds,
                list(dict.fromkeys(file.metrics)),
            ),
            *(file.time_limit, file.retries, file.adaptive, file.figures, self.text),
        )

    def points(
        self, file: _File, family: Family
    ) -> tuple[list[dict[str, Any]], dict[str, list[Any]]]:
        """Every combination of the grids, checked one by one."""
        problem = family.problems[file.problem]
        model = settings_model(problem.make)
        grids = file.grid if isinstance(file.grid, list) else [file.grid]
        points: list[dict[str, Any]] = []
        axes: dict[str, list[Any]] = {}
        for g, grid in enumerate(grids):
            where: Path_ = ("grid", g) if isinstance(file.grid, list) else ("grid",)
            self.check_axes(grid, where, file.settings)
            for values in itertools.product(*grid.values()):
                here = dict(zip(grid, values, strict=True))
                places = {name: (*where, name) for name in grid}
                point = self.settings(
                    model, {**file.settings, **here}, file.problem, ("settings",), places
                )
                if problem.check is not None:
                    try:
                        problem.check(**point)
                    except ValueError as error:
                        told = ", ".join(f"{k} = {v!r}" for k, v in here.items())
                        raise self.error(
                            where, f"impossible at {told or 'these settings'}: {error}"
                        ) from None
                points.append(point)
                if len(points) > MAX_POINTS:
                    raise self.error(where, f"more than {MAX_POINTS} points; make it smaller")
            for name in grid:
                axes.setdefault(name, [])
        for name, seen in axes.items():
            seen.extend(dict.fromkeys(point[name] for point in points))
            if all(isinstance(value, int | float) for value in seen):
                seen.sort()
        unique = {repr(sorted(point.items())): point for point in points}
        return list(unique.values()), axes

    def check_axes(self, grid: dict[str, Any], where: Path_, fixed: dict[str, Any]) -> None:
        """Axes are lists of different values, of settings that are not fixed as well."""
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise self.error(
                    (*where, name), f"got {values!r}; expected a list of values, such as [1, 2]"
                )
            if not all(isinstance(value, str | int | float) for value in values):
                raise self.error(
                    (*where, name), f"got {values!r}; expected numbers, texts or booleans"
                )
            if len({repr(value) for value in values}) < len(values):
                raise self.error((*where, name), f"got {values!r}; a value is there twice")
            if name in fixed:
                raise self.error((*where, name), "is in [settings] too; keep one of them")

    def variants(self, methods: dict[str, dict[str, Any]], family: Family) -> list[Variant]:
        """Methods by label; lists among their settings are multiplied out."""
        found: list[Variant] = []
        for label, given in methods.items():
            settings = dict(given)
            method = settings.pop("method", label)
            where: Path_ = ("methods", label, "method") if "method" in given else ("methods", label)
            if not isinstance(method, str):
                raise self.error(where, f"got {method!r}; expected the name of a method")
            self.known(where, f"method for {family.name}", method, list(family.methods))
            model = settings_model(family.methods[method])
            lists = {name: value for name, value in settings.items() if isinstance(value, list)}
            self.check_axes(lists, ("methods", label), {})
            for values in itertools.product(*lists.values()):
                here = dict(zip(lists, values, strict=True))
                full = self.settings(model, {**settings, **here}, method, ("methods", label), {})
                told = " ".join([label, *(f"{name}={value}" for name, value in here.items())])
                found.append(Variant(told, method, full))
        for one, other in itertools.combinations(found, 2):
            if (one.method, one.settings) == (other.method, other.settings):
                raise self.error(
                    ("methods", other.label), f"is the same as {one.label!r}; keep one of them"
                )
        return found

    def settings(
        self,
        model: type[BaseModel],
        given: dict[str, Any],
        owner: str,
        where: Path_,
        places: dict[str, Path_],
    ) -> dict[str, Any]:
        """Settings of a problem or method with its defaults, checked against its signature."""
        for name in given:
            place = places.get(name, (*where, name))
            self.known(place, f"setting of {owner}", name, list(model.model_fields))
        missing = [k for k, f in model.model_fields.items() if f.is_required() and k not in given]
        if missing:
            also = " or [grid]" if where == ("settings",) else ""
            raise self.error(where, f"{owner} needs {', '.join(missing)}; give it here{also}")
        return self.validated(model, given, where, places).model_dump()

    def validated(
        self,
        model: type[M],
        given: dict[str, Any],
        where: Path_,
        places: dict[str, Path_] | None = None,
    ) -> M:
        """Check against a model; the first error is told with its line."""
        try:
            return model.model_validate(given)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # a misspelt field first: it is why another one is missing; then what is told most exactly
        first = max(
            errors, key=lambda e: (e["type"] == "extra_forbidden", len(_written(given, e["loc"])))
        )
        written = _written(given, first["loc"])
        place: Path_ = (*where, *written)
        if places and written and str(written[0]) in places:
            place = (*places[str(written[0])], *written[1:])
        kind = first["type"]
        if kind == "extra_forbidden":
            fields = list(_model_at(model, first["loc"][:-1]).model_fields)
            name = str(first["loc"][-1])
            message = f"unknown field; expected one of {', '.join(fields)}{nearest(name, fields)}"
        elif kind == "missing":
            place, message = (*where, *first["loc"]), "is missing"
        else:
            message = f"got {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        raise self.error(place or ("file",), message)

    def known(self, where: Path_, what: str, name: str, names: list[str]) -> None:
        """Refuse a name that is not there."""
        if name not in names:
            raise self.unknown(where, what, name, names)

    def unknown(self, where: Path_, what: str, name: str, names: list[str]) -> ConfigError:
        """An error about a name, with the nearest one there is."""
        return self.error(
            where, f"no {what} {name!r}; there are {', '.join(names)}{nearest(name, names)}"
        )

    def check_adaptive(self, file: _File, metrics: list[str], axes: dict[str, list[Any]]) -> None:
        """The axis is one of numbers, and seeds can be added."""
        wanted = file.adaptive
        if wanted is None:
            return
        self.known(("adaptive", "metric"), "metric", wanted.metric, metrics)
        self.known(("adaptive", "axis"), "axis of the grid", wanted.axis, list(axes))
        values = axes[wanted.axis]
        if len(values) < 3 or not all(type(v) in (int, float) for v in values):
            raise self.error(
                ("adaptive", "axis"), f"{wanted.axis} has {values}; expected three numbers or more"
            )
        if not isinstance(file.seeds, int):
            raise self.error(("seeds",), "adaptive sweeps add seeds: give a number, not a list")

    def check_figures(
        self, figures: list[FigureSettings], metrics: list[str], axes: dict[str, list[Any]]
    ) -> None:
        """Metrics and axes exist; names differ."""
        for i, figure in enumerate(figures):
            self.known(("figures", i, "metric"), "metric", figure.metric, metrics)
            for axis in ("x", "y"):
                name = getattr(figure, axis)
                if name is not None:
                    self.known(("figures", i, axis), "axis of the grid", name, list(axes))
            if figure.kind == "scaling" and not all(
                type(v) in (int, float) and v > 0 for v in axes[str(figure.x)]
            ):
                raise self.error(("figures", i, "x"), "a log-log figure needs numbers > 0")
            if figure.name in [other.name for other in figures[:i]]:
                raise self.error(("figures", i, "name"), "is there twice")


def line_of(text: str, where: Path_) -> int:
    """Line on which a field is written; that of the nearest table or key around it, else 1."""
    table: Path_ = ()
    counts: dict[Path_, int] = {}
    best, line = 0, 1
    for number, written in enumerate(text.splitlines(), 1):
        header = re.fullmatch(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?", written)
        key = re.match(r"\s*([^\s=#\[][^=#]*?)\s*=", written)
        if header:
            name = _parts(header[2])
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
            table = name if name not in counts else (*name, counts[name])
            here = table
        elif key:
            here = (*table, *_parts(key[1]))
        else:
            continue
        if best < len(here) <= len(where) and where[: len(here)] == here:
            best, line = len(here), number
    return line


def _parts(key: str) -> Path_:
    """The parts of a dotted key; none where it is not one."""
    try:
        level: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(level, dict):
        (name,) = level
        parts.append(name)
        level = level[name]
    return tuple(parts)


def _written(given: Any, location: Sequence[str | int]) -> Path_:
    """The part of a pydantic location that is in the file; the rest names types of a union."""
    found: list[str | int] = []
    level = given
    for part in location:
        if isinstance(level, dict) and part in level:
            level = level[str(part)]
        elif isinstance(level, list) and isinstance(part, int) and part < len(level):
            level = level[part]
        else:
            continue
        found.append(part)
    return tuple(found)


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """The model that a location inside a file belongs to."""
    inner: dict[str, type[BaseModel]] = {"adaptive": AdaptiveSettings, "figures": FigureSettings}
    return inner.get(str(location[0]), model) if location else model
