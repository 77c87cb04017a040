"""Bounds: what can be reached, and what cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from secateurs.cli.common import out, print_json
from secateurs.tickets.neuron.certificate import required_width


def tickets(
    *,
    d: int,
    eps: float,
    delta: float = 0.1,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """How many random neurons it takes to hold one neuron of d inputs within eps.

    Parameters
    ----------
    d
        Inputs.
    eps
        Sup error over the unit ball, below 1/2; the target has length 1.
    delta
        Allowed probability of failure.
    json
        Print one JSON object instead of text.
    """
    modes: tuple[tuple[Any, Any], ...] = (("weights", "B"), ("neurons", "A"), ("neurons", "B"))
    widths = [
        {"mode": mode, "form": form, **asdict(required_width(d, eps, delta, mode, form))}
        for mode, form in modes
    ]
    if json:
        print_json({"d": d, "eps": eps, "delta": delta, "widths": widths})
        return 0
    out.print(
        f"One neuron of {d} inputs within {eps:g} over the unit ball, by pruning random neurons, "
        f"with probability {1 - delta:g}:"
    )
    table = Table("pruned", "form", "at least", "enough", "which is", show_lines=True)
    for row in widths:
        enough = row["sufficient"]
        said = "unknown" if enough is None else "proven" if row["sufficient_proven"] else "measured"
        table.add_row(
            row["mode"],
            row["form"],
            f"{row['necessary']:,}",
            "-" if enough is None else f"{enough:,}" if enough < 10**12 else f"{enough:.3e}",
            said,
        )
    out.print(table)
    out.print(
        'Form A: sum of the neurons; B: relu of it. "At least" is proven: for any target where '
        "neurons are pruned, for one drawn uniformly from the sphere where weights are (not for an "
        "axis). What is measured is a median, fitted."
    )
    for row in widths:
        where = f"{row['mode']}, {row['form']}"
        out.print(f"{where}, at least: {row['necessary_source']}", highlight=False)
        out.print(f"{where}, enough: {row['sufficient_source']}", highlight=False)
    return 0
