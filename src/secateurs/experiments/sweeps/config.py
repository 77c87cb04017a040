"""Checks of the file of a sweep.  Each error names the line, the field and the nearest name."""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from secateurs.core.input_files import MOST_TEXT, check_input
from secateurs.data.suggest import nearest
from secateurs.experiments.sweeps.families import family_of, problem_names
from secateurs.experiments.sweeps.record import canonical_method
from secateurs.experiments.sweeps.registry import CPU_SECONDS, Family, settings_model
from secateurs.experiments.sweeps.settings import (
    AdaptiveSettings,
    ConfigError,
    FigureSettings,
    Sweep,
    SweepFile,
    Variant,
)
from secateurs.experiments.sweeps.toml_lines import Location, line_of, written_part

MAX_POINTS = 1_000_000  # combinations of problem and method settings
MAX_CELLS = 10_000_000  # these, with every seed
MOST_SHOWN = 80  # characters of a refused value in a message
M = TypeVar("M", bound=BaseModel)
Axes = dict[str, list[Any]]


def load_sweep(path: str | Path) -> Sweep:
    """Read and check the file of a sweep.

    Raises
    ------
    ConfigError
        The file cannot be read, or a part of it cannot be run.
    """
    path = Path(path)
    try:
        check_input(path, MOST_TEXT)
        # some editors begin a file with a byte order mark
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); give the TOML file of a sweep"
        ) from None
    return parse_sweep(text, str(path))


def parse_sweep(text: str, source: str = "sweep") -> Sweep:
    """Check the text of a sweep.

    Parameters
    ----------
    text : str
    source : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        A part of the text cannot be run.
    """
    file = _Checked(text, source)
    asked = file.validated(SweepFile, file.raw, ())
    family = family_of(asked.problem)
    if family is None:
        raise file.unknown(("problem",), "problem", asked.problem, problem_names())
    points, axes = _points(file, asked, family)
    variants = _variants(file, asked.methods, family)
    if len(points) * len(variants) > MAX_POINTS:
        raise file.error(
            ("grid",),
            f"got {len(points)} points x {len(variants)} methods; expected at most {MAX_POINTS}",
        )
    seeds = _seeds(file, asked.seeds, len(points) * len(variants))
    metrics = [*family.metrics, CPU_SECONDS]
    for i, metric in enumerate(asked.metrics):
        file.known(("metrics", i), "metric", metric, metrics)
    if asked.adaptive is not None:
        _check_adaptive(file, asked.adaptive, asked.seeds, metrics, axes)
    _check_figures(file, asked.figures, metrics, axes)
    return Sweep(
        family=family,
        problem=asked.problem,
        points=points,
        axes=axes,
        variants=variants,
        seeds=seeds,
        metrics=list(dict.fromkeys(asked.metrics)),
        time_limit=asked.time_limit,
        retries=asked.retries,
        adaptive=asked.adaptive,
        figures=asked.figures,
        text=text,
    )


def _seeds(file: _Checked, asked: int | list[int], n_combinations: int) -> Sequence[int]:
    """Return the seeds; a number of cells that no machine can run is refused first."""
    n_seeds = asked if isinstance(asked, int) else len(asked)
    if n_seeds * n_combinations > MAX_CELLS:
        raise file.error(
            ("seeds",),
            f"got {n_seeds} seeds of {n_combinations} combinations; expected at most {MAX_CELLS} "
            "cells; give fewer seeds or a smaller grid",
        )
    if isinstance(asked, int):
        return range(asked)
    if not asked or len(set(asked)) < len(asked):
        raise file.error(("seeds",), f"got {_short(asked)}; expected different integers >= 0")
    return asked


def _short(value: Any) -> str:
    """Return a refused value for a message."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


class _Checked:
    """The text of a file, and errors that say where it is wrong."""

    def __init__(self, text: str, source: str):
        self.text, self.source = text, source
        try:
            self.raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column \d+\)", str(error))
            line = int(at[1]) if at else text.count("\n") + 1
            raise ConfigError(f"{source}:{line}: not TOML: {error}") from None
        except RecursionError:
            raise ConfigError(f"{source}: not TOML: lists within too many lists") from None

    def error(self, where: Location, message: str) -> ConfigError:
        """Return an error about a field, with its line."""
        field = ".".join(f"[{part}]" if isinstance(part, int) else part for part in where)
        return ConfigError(
            f"{self.source}:{line_of(self.text, where)}: {field.replace('.[', '[')}: {message}"
        )

    def known(self, where: Location, kind: str, name: str, names: Sequence[str]) -> None:
        """Refuse a name that does not exist."""
        if name not in names:
            raise self.unknown(where, kind, name, names)

    def unknown(self, where: Location, kind: str, name: str, names: Iterable[str]) -> ConfigError:
        """Return an error about a name, with the nearest name that exists."""
        return self.error(
            where, f"no {kind} {name!r}; there are {', '.join(names)}{nearest(name, names)}"
        )

    def validated(
        self,
        model: type[M],
        given: dict[str, Any],
        where: Location,
        places: dict[str, Location] | None = None,
    ) -> M:
        """Check values against a model.

        Parameters
        ----------
        model : type
        given : dict
        where : tuple
            Location of the values in the file.
        places : dict, optional
            Locations of the values that stand elsewhere in the file.

        Raises
        ------
        ConfigError
            With the first error.
        """
        try:
            return model.model_validate(given)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # A misspelt field comes first, because it is why another one is missing; then the error
        # with the most exact location.
        first = max(
            errors,
            key=lambda e: (e["type"] == "extra_forbidden", len(written_part(given, e["loc"]))),
        )
        written = written_part(given, first["loc"])
        place: Location = (*where, *written)
        if places and written and str(written[0]) in places:
            place = (*places[str(written[0])], *written[1:])
        if first["type"] == "extra_forbidden":
            fields = list(_model_at(model, first["loc"][:-1]).model_fields)
            name = str(first["loc"][-1])
            message = f"unknown field; expected one of {', '.join(fields)}{nearest(name, fields)}"
        elif first["type"] == "missing":
            place, message = (*where, *first["loc"]), "is missing"
        else:
            message = f"got {_short(first['input'])}: {first['msg'].removeprefix('Value error, ')}"
        raise self.error(place or ("file",), message)

    def settings(
        self,
        model: type[BaseModel],
        given: dict[str, Any],
        owner: str,
        where: Location,
        places: dict[str, Location] | None = None,
    ) -> dict[str, Any]:
        """Return settings of a problem or method with defaults, checked against its signature."""
        for name in given:
            place = (places or {}).get(name, (*where, name))
            self.known(place, f"setting of {owner}", name, list(model.model_fields))
        missing = [k for k, f in model.model_fields.items() if f.is_required() and k not in given]
        if missing:
            also = " or [grid]" if where == ("settings",) else ""
            raise self.error(where, f"{owner} needs {', '.join(missing)}; give it here{also}")
        return self.validated(model, given, where, places).model_dump()

    def combinations(
        self, axes: dict[str, Any], where: Location, fixed: Iterable[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Check axes, which are lists of different values, and return their combinations."""
        for name, values in axes.items():
            place = (*where, name)
            if not isinstance(values, list) or not values:
                raise self.error(
                    place, f"got {_short(values)}; expected a list of values, such as [1, 2]"
                )
            if not all(isinstance(value, str | int | float) for value in values):
                raise self.error(
                    place, f"got {_short(values)}; expected numbers, texts or booleans"
                )
            if len({repr(value) for value in values}) < len(values):
                raise self.error(place, f"got {_short(values)}; expected different values")
            if name in fixed:
                raise self.error(place, "is in [settings] too; keep one of them")
        n_combinations = math.prod(len(values) for values in axes.values())
        if n_combinations > MAX_POINTS:  # before any of them is made
            raise self.error(
                where, f"got {n_combinations} combinations; expected at most {MAX_POINTS}"
            )
        return (
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        )


def _points(file: _Checked, asked: SweepFile, family: Family) -> tuple[list[dict[str, Any]], Axes]:
    """Return every combination of the grids, checked one by one, and the values of each axis."""
    problem = family.problems[asked.problem]
    model = settings_model(problem.make)
    grids = asked.grid if isinstance(asked.grid, list) else [asked.grid]
    points: list[dict[str, Any]] = []
    for g, grid in enumerate(grids):
        where: Location = ("grid", g) if isinstance(asked.grid, list) else ("grid",)
        places = {name: (*where, name) for name in grid}
        for here in file.combinations(grid, where, asked.settings):
            point = file.settings(
                model, {**asked.settings, **here}, asked.problem, ("settings",), places
            )
            try:
                if problem.check is not None:
                    problem.check(**point)
            except ValueError as error:
                at = ", ".join(f"{k} = {v!r}" for k, v in here.items()) or "these settings"
                raise file.error(where, f"impossible at {at}: {error}") from None
            points.append(point)
            if len(points) > MAX_POINTS:
                raise file.error(where, f"got a larger grid; expected at most {MAX_POINTS} points")
    axes = {
        name: list(dict.fromkeys(point[name] for point in points))
        for name in dict.fromkeys(itertools.chain.from_iterable(grids))
    }
    for values in axes.values():
        if all(isinstance(value, int | float) for value in values):
            values.sort()
    unique = {repr(sorted(point.items())): point for point in points}
    return list(unique.values()), axes


def _variants(file: _Checked, methods: dict[str, dict[str, Any]], family: Family) -> list[Variant]:
    """Return the methods by label, every combination of the lists among their settings."""
    found: list[Variant] = []
    for label, given in methods.items():
        where: Location = ("methods", label)
        settings = dict(given)
        method = settings.pop("method", label)
        place = (*where, "method") if "method" in given else where
        if not isinstance(method, str):
            raise file.error(place, f"got {method!r}; expected the name of a method")
        file.known(place, f"method for {family.name}", method, list(family.methods))
        model = settings_model(family.methods[method])
        lists = {name: value for name, value in settings.items() if isinstance(value, list)}
        for here in file.combinations(lists, where):
            full = file.settings(model, {**settings, **here}, method, where)
            name = " ".join([label, *(f"{setting}={value}" for setting, value in here.items())])
            found.append(Variant(name, method, full))
    labels: dict[str, str] = {}
    for one in found:
        settings_of = canonical_method(one.method, one.settings)
        if settings_of in labels:
            message = f"is the same as {labels[settings_of]!r}; keep one of them"
            raise file.error(("methods", one.label), message)
        labels[settings_of] = one.label
    return found


def _check_adaptive(
    file: _Checked,
    wanted: AdaptiveSettings,
    seeds: int | list[int],
    metrics: list[str],
    axes: Axes,
) -> None:
    """Check that the axis is one of numbers, and that seeds can be added."""
    file.known(("adaptive", "metric"), "metric", wanted.metric, metrics)
    file.known(("adaptive", "axis"), "axis of the grid", wanted.axis, list(axes))
    values = axes[wanted.axis]
    if len(values) < 3 or not all(type(v) in (int, float) for v in values):
        raise file.error(
            ("adaptive", "axis"), f"{wanted.axis} has {values}; expected three numbers or more"
        )
    if not isinstance(seeds, int):
        raise file.error(("seeds",), "adaptive sweeps add seeds; give a number, not a list")


def _check_figures(
    file: _Checked, figures: list[FigureSettings], metrics: list[str], axes: Axes
) -> None:
    """Check that metrics and axes exist, and that names differ."""
    for i, figure in enumerate(figures):
        where = ("figures", i)
        file.known((*where, "metric"), "metric", figure.metric, metrics)
        for axis in figure.axes:
            file.known((*where, axis), "axis of the grid", getattr(figure, axis), list(axes))
        if figure.kind == "scaling" and not all(
            type(v) in (int, float) and v > 0 for v in axes[str(figure.x)]
        ):
            raise file.error((*where, "x"), "a log-log figure needs numbers > 0")
        if figure.name in [other.name for other in figures[:i]]:
            raise file.error((*where, "name"), f"got {figure.name!r} twice; expected other names")


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """Return the model that a location inside a file belongs to."""
    inner: dict[str, type[BaseModel]] = {"adaptive": AdaptiveSettings, "figures": FigureSettings}
    return inner.get(str(location[0]), model) if location else model
