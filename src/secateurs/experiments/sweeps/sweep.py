"""A whole sweep: the grid, then more seeds near the transition, then tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from secateurs.core.figures import save_figure
from secateurs.experiments.sweeps import figures
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import canonical_method, key_of
from secateurs.experiments.sweeps.registry import CPU_SECONDS, evaluate
from secateurs.experiments.sweeps.run import Counts, run_cells
from secateurs.experiments.sweeps.settings import AdaptiveSettings, Cell, Sweep
from secateurs.experiments.sweeps.table import cell_table, export_cells
from secateurs.experiments.sweeps.transition import Transition, fit_transition, open_places

Place = tuple[Any, ...]
MOST_VALUES = 20  # values of an axis that a table along it may have
SweepProgress = Callable[[Counts, int], None]


@dataclass(frozen=True)
class Boundary:
    """The value of an axis at which one method begins to succeed, with the other axes fixed.

    Attributes
    ----------
    label : str
        Label of the method.
    others : dict
        Values of the other axes.
    fit : Transition
    """

    label: str
    others: dict[str, Any]
    fit: Transition


def run_sweep(
    sweep: Sweep,
    ledger: Ledger,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    retry_failed: bool = False,
    progress: SweepProgress | None = None,
) -> Counts:
    """Compute the cells of a sweep that the ledger does not have, adaptive rounds included.

    The cells of a round depend only on the results of the rounds before it.  So a sweep that was
    stopped asks for the same cells as one that was not.

    Parameters
    ----------
    sweep : Sweep
    ledger : Ledger
    workers, scheduler, retry_failed
        As in `run_cells`.
    progress : callable, optional
        Called after every cell with `Counts` and the number of cells of the rounds so far.

    Returns
    -------
    Counts
    """
    total = Counts()
    n_cells = 0
    for n_in_round, cells in _rounds(sweep, ledger):
        before, n_cells = total, n_cells + n_in_round

        def report(now: Counts, before: Counts = before, n_cells: int = n_cells) -> None:
            if progress is not None:
                progress(_sum(before, now), n_cells)

        found = run_cells(
            cells,
            partial(evaluate, sweep.family),
            ledger,
            workers=workers,
            scheduler=scheduler,
            time_limit=sweep.time_limit,
            retries=sweep.retries,
            retry_failed=retry_failed,
            progress=report,
        )
        report(found)
        total = _sum(before, found)
        if total.interrupted:
            break
    return total


def labels(sweep: Sweep) -> dict[str, str]:
    """Return the labels of the methods of a sweep, for `cell_table`."""
    return {canonical_method(v.method, v.settings): v.label for v in sweep.variants}


def sweep_frame(sweep: Sweep, ledger: Ledger) -> pd.DataFrame:
    """Return the finished cells of the methods of a sweep, one row each."""
    return finished(sweep, cell_table(ledger, labels(sweep)))


def finished(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of `sweep_frame` from the table of all cells of a ledger."""
    frame = of_file(sweep, frame)
    # a table without a finished cell has all columns too
    wanted = ["label", "status", "seed", *sweep.axes, *sweep.family.metrics, CPU_SECONDS]
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *wanted])))
    known = frame["label"].isin([v.label for v in sweep.variants])
    return frame[(frame["status"] == "done") & known].reset_index(drop=True)


def of_file(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    """Select the cells that the file asks for; a folder may also hold those of earlier files.

    The key of a cell depends on all its settings.  Adaptive rounds add seeds, so in an adaptive
    sweep every seed is one that the file can ask for.
    """
    if frame.empty:
        return frame
    seeds = {int(seed) for seed in frame["seed"]}
    if sweep.adaptive is None:
        seeds &= set(sweep.seeds)
    asked = {key_of(cell) for cell in replace(sweep, seeds=sorted(seeds)).cells()}
    return frame[frame["key"].isin(asked)].reset_index(drop=True)


def summary(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of every metric that the file lists, by method, and the number of cells.

    All points of the grid have the same weight, also when they have different numbers of seeds.
    """
    rows = []
    for variant in sweep.variants:
        mine = frame[frame["label"] == variant.label]
        row: dict[str, Any] = {"label": variant.label, "cells": len(mine)}
        rows.append(row | {m: figures.mean_of_points(sweep, mine, m)[0] for m in sweep.metrics})
    return pd.DataFrame(rows)


def along_axis(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the mean of the first metric by method along one axis of the grid.

    The axis is that of `adaptive`, or the x axis of the first figure, or the first one with several
    values.  The first column has its values; None if it has one value, or more than `MOST_VALUES`.
    All points of the grid have the same weight, as in `summary`.
    """
    named = [sweep.adaptive.axis] if sweep.adaptive is not None else []
    named += [name for name in (each.x for each in sweep.figures) if name in sweep.axes]
    several = [name for name, values in sweep.axes.items() if len(values) > 1]
    axis = next((name for name in [*named, *several] if name in several), None)
    if axis is None or len(sweep.axes[axis]) > MOST_VALUES:
        return None
    metric = sweep.metrics[0]
    points = frame.groupby(list(dict.fromkeys(["label", *sweep.axes])))[metric].mean()
    means = points.groupby(["label", axis]).mean()
    values = list(sweep.axes[axis])
    columns: dict[str, Any] = {axis: values}
    for variant in sweep.variants:
        columns[variant.label] = [means.get((variant.label, value)) for value in values]
    return pd.DataFrame(columns)


def boundaries(
    sweep: Sweep, frame: pd.DataFrame, axis: str, metric: str, level: float
) -> list[Boundary]:
    """Fit the transition along an axis for every method and every value of the other axes."""
    return [
        Boundary(label, others, fit_transition(*counts, level))
        for label, others, counts in _lines(sweep, frame, axis, metric)
        if (counts[2] > 0).sum() > 1
    ]


def write_results(sweep: Sweep, ledger: Ledger, folder: Path) -> list[Path]:
    """Write tables and figures of a sweep, each atomically, and return their paths."""
    written = [folder / "cells.parquet", folder / "cells.csv"]
    for path in written:
        export_cells(ledger, path, labels(sweep))
    frame = sweep_frame(sweep, ledger)
    for wanted in sweep.figures:
        if frame[wanted.metric].notna().any():
            drawn = figures.draw(sweep, frame, wanted)
            for kind in ("pdf", "png"):
                written.append(folder / f"{wanted.name}.{kind}")
                save_figure(drawn, written[-1])
    return written


def _rounds(sweep: Sweep, ledger: Ledger) -> Iterator[tuple[int, Iterable[Cell]]]:
    """Yield the grid, then the cells of every adaptive round, each with their number."""
    yield sweep.n_cells, sweep.cells()
    wanted = sweep.adaptive
    if wanted is None:
        return
    n_seeds = dict.fromkeys(_points(sweep), len(sweep.seeds))
    for _ in range(wanted.rounds):
        more = _more(sweep, ledger, wanted, n_seeds)
        if not more:
            return
        yield len(more), more


def _more(
    sweep: Sweep, ledger: Ledger, wanted: AdaptiveSettings, n_seeds: dict[Place, int]
) -> list[Cell]:
    """Return the next seeds of the points whose outcome is open, and add them to `n_seeds`."""
    frame = sweep_frame(sweep, ledger)
    places = frame[["label", *sweep.axes]].itertuples(index=False, name=None)
    # a sweep that is resumed has cells of later rounds, which must not change this one
    limits = [n_seeds[place] for place in places]
    frame = frame[frame["seed"] < limits]
    values = sweep.axes[wanted.axis]
    chosen: set[Place] = set()
    for label, others, (x, successes, trials) in _lines(sweep, frame, wanted.axis, wanted.metric):
        if (trials > 0).sum() > 1:
            for i in open_places(x, successes, trials):
                point = {**others, wanted.axis: values[i]}
                chosen.add((label, *(point[name] for name in sweep.axes)))
    cells: list[Cell] = []
    for variant in sweep.variants:
        for point in sweep.points:
            place = (variant.label, *(point[name] for name in sweep.axes))
            if place in chosen:
                first = n_seeds[place]
                n_seeds[place] = first + wanted.seeds_a_round
                seeds = range(first, n_seeds[place])
                cells.extend(sweep.cell(point, variant, seed) for seed in seeds)
    return cells


def _lines(
    sweep: Sweep, frame: pd.DataFrame, axis: str, metric: str
) -> Iterator[tuple[str, dict[str, Any], tuple[Any, Any, Any]]]:
    """Yield successes and trials along an axis, for every method and value of the other axes."""
    others = [name for name in sweep.axes if name != axis]
    values = sweep.axes[axis]
    grouped = frame.groupby([*others, "label", axis], sort=False)[metric].agg(["sum", "count"])
    at = {name: place for place, name in enumerate(sweep.axes)}
    lines = dict.fromkeys(
        (label, *(place[at[name]] for name in others)) for label, *place in _points(sweep)
    )
    for label, *fixed in lines:
        counts = grouped.reindex([(*fixed, label, value) for value in values]).fillna(0)
        place = dict(zip(others, fixed, strict=True))
        yield label, place, (values, counts["sum"].to_numpy(), counts["count"].to_numpy())


def _points(sweep: Sweep) -> Iterator[Place]:
    """Yield every method at every point of the grid: its label, then its value on each axis."""
    for variant in sweep.variants:
        for point in sweep.points:
            yield (variant.label, *(point[name] for name in sweep.axes))


def _sum(before: Counts, now: Counts) -> Counts:
    return replace(
        now,
        done=before.done + now.done,
        failed=before.failed + now.failed,
        earlier=before.earlier + now.earlier,
    )
