"""Bounds: how large a random network has to be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from secateurs.cli import recipe
from secateurs.core.description import Description, Table
from secateurs.tickets.neuron.certificate import required_width

MODES: tuple[tuple[Any, Any], ...] = (("weights", "B"), ("neurons", "A"), ("neurons", "B"))
MANY = 10**12  # neurons that are written as a power of ten
NOTE = (
    "Form A is the sum of the random neurons; form B is the ReLU of that sum. The numbers under "
    '"at least" are proven: where neurons are pruned, for every target; where weights are pruned, '
    "for a target drawn uniformly from the sphere, but not for an axis. A measured width is a "
    "median, fitted over several accuracies."
)


def tickets(*, d: int, eps: float, delta: float = 0.1, json: recipe.Json = False) -> int:
    """Show how many random neurons are needed to contain one neuron of d inputs within eps.

    Parameters
    ----------
    d
        Inputs.
    eps
        Largest error over the unit ball, below 1/2; the target has length 1.
    delta
        Allowed probability of failure.
    """
    widths: list[dict[str, Any]] = [
        {"mode": mode, "form": form, **asdict(required_width(d, eps, delta, mode, form))}
        for mode, form in MODES
    ]
    sources = [
        f"{row['mode']}, form {row['form']}, {kind}: {row[key]}"
        for row in widths
        for kind, key in (("at least", "necessary_source"), ("enough", "sufficient_source"))
    ]
    description = Description(
        f"Random neurons needed to contain one neuron of {d} inputs by pruning, with an error of "
        f"at most {eps:g} over the unit ball and probability {1 - delta:g}:",
        {"d": d, "eps": eps, "delta": delta, "widths": widths},
        (
            Table(
                ("pruned", "form", "at least", "enough", '"enough" is'),
                [_row(row) for row in widths],
                numeric=frozenset({"at least", "enough"}),
            ),
        ),
        (NOTE, *sources),
    )
    return recipe.finish(description, json=json)


def _row(width: dict[str, Any]) -> tuple[str, ...]:
    enough = width["sufficient"]
    if enough is None:
        number, basis = "-", "unknown"
    else:
        number = _written(enough)
        basis = "proven" if width["sufficient_proven"] else "measured"
    pruned = "weights (uniform target)" if width["mode"] == "weights" else "neurons"
    return (pruned, width["form"], _written(width["necessary"]), number, basis)


def _written(n: int) -> str:
    return f"{n:,}" if n < MANY else f"{n:.3e}"
