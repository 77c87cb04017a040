"""The recipe that every command follows.

    check_options(output, plot=plot, seed=seed)          1. refuse bad options before any work
    dataset = load_dataset(...)                          2. load
    with progress(quiet=json) as bar:                    3. work, and show a bar
        model.fit(..., progress=bar("fitting"))
    return finish(                                       4. write the files, show the result,
        Description(...), json=json, ...                    and return the exit status
    )

Exit status: 0; 1 where a claim or a cell failed; 2 for bad input; 130 after Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateurs.cli.terminal import show, show_json, show_line
from secateurs.core.description import Description
from secateurs.core.output_files import check_output
from secateurs.core.parameters import Shown, bad_value, check_integer
from secateurs.core.solution import explain
from secateurs.data.table_options import TableOptions

if TYPE_CHECKING:  # pandas is imported by the commands that need it
    from secateurs.data.checked_dataset import Dataset

TEST_SHARE = 0.2  # share of the rows that become test rows where a data set has none
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
FIGURES = "secateurs.core.figures"  # imported only for a figure, because it imports matplotlib
LARGEST_SEED = 2**32 - 1  # for numpy and torch alike

# options that several commands have
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Json = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Print one JSON object instead of text."),
]
Seed = Annotated[int, Parameter(help="Random seed; the same seed gives the same result.")]
Top = Annotated[int, Parameter(help="How many rows of the table to show.")]
Target = Annotated[str | None, Parameter(help="Target column of a table.")]
Task = Annotated[
    str | None,
    Parameter(help="classification or regression; by default inferred from the target."),
]
Words = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
ModelFile = Annotated[Path | None, Parameter(help="Write the model to this file (.safetensors).")]


@Parameter(name="*")
@dataclass(frozen=True)
class TableDialect:
    """Options of every command that reads a table; what is not given is found from the file.

    Attributes
    ----------
    delimiter
        What separates the fields of a text table: one character, tab or space.
    decimal
        The decimal mark of all its numbers: . or ,
    encoding
        The encoding of its text, such as cp1252.
    na
        A word that means a missing value, or COLUMN=WORD for one column; may be repeated.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: Words = ()

    def options(self, roles: TableRoles | None = None) -> TableOptions:
        """Return what the user said about a table, for `secateurs.data`."""
        return TableOptions(**vars(self), **(vars(roles) if roles is not None else {}))


@Parameter(name="*")
@dataclass(frozen=True)
class TableRoles:
    """Options of every command that fits a table: the roles of its columns.

    Attributes
    ----------
    drop
        A column that is not used; may be repeated, as the next two.
    id
        A column that identifies the rows, which is not used as an input.
    keep
        A column that is used although it looks like an identifier.
    group
        A column of groups: rows of one group stay together in every split.
    weight
        A column of the weights of the rows.
    dates
        cyclic also gives the times of year, week and day of dates as inputs; day-first and
        month-first say how 03/04/2020 is read.
    """

    drop: Words = ()
    id: Words = ()
    keep: Words = ()
    group: str | None = None
    weight: str | None = None
    dates: Words = ()


DEFAULT_DIALECT, DEFAULT_ROLES = TableDialect(), TableRoles()


def check_options(
    *models: Path | None,
    plot: Path | None = None,
    table: Path | None = None,
    columns: str = "",
    page: Path | None = None,
    inputs: Iterable[str | Path] = (),
    seed: int = 0,
    **counts: int | None,
) -> None:
    """Raise ValueError for a bad option, before any work is done.

    Parameters
    ----------
    *models, plot, table, page : Path, optional
        Files that the command writes: models or tickets, a figure, a table, a page.
    columns : str
        How the first line of the table begins.
    inputs : paths
        What the command reads; a name that is no path is no file.
    seed : int
    **counts : int, optional
        Options that are integers >= 1, by their names.
    """
    wanted = [*((path, "model") for path in models), (plot, "figure"), (page, "page")]
    others: list[Path] = []
    for path, kind in [*wanted, (table, "table")]:
        if path is not None:
            check_output(path, kind, columns=columns, inputs=inputs, others=others)
            others.append(path)
    if plot is not None:
        import_module(FIGURES).figure_format(plot)
    check_integer("--seed", seed, 0, LARGEST_SEED)
    for name, count in counts.items():
        if count is not None:
            check_integer(f"--{name}", count)


def integers(option: str, text: str) -> tuple[int, ...]:
    """Read integers >= 1 that are separated by commas."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise bad_value(option, text, "integers >= 1 separated by commas, such as 300,100")
    return numbers


def integer_or_auto(option: str, text: str) -> int | str:
    """Read one integer >= 1, or ``auto``."""
    if text == "auto":
        return text
    number = int(text) if text.lstrip("-").isdecimal() else text
    return check_integer(option, number, otherwise="auto")


def reading_notes(dataset: Dataset, model: Any) -> tuple[str, ...]:
    """Say how a table was read, the task and its reason, and which columns are not used."""
    notes = [f"Read as: {dataset.reading}."] if dataset.reading else []
    if dataset.task_reason != "asked for":
        other = "regression" if dataset.task == "classification" else "classification"
        whole = dataset.y.dtype.kind != "O" and bool((dataset.y % 1 == 0).all())
        notes.append(
            f"Task: {dataset.task}, because {dataset.target_name} holds {dataset.task_reason}"
            f"{f'; --task {other} overrules' if whole else ''}."
        )
    table = getattr(model, "table_", None)
    notes += [f"{note[:1].upper()}{note[1:]}." for note in dataset.notes]
    return (*notes, *(table.notes() if table is not None else ()))


def row_options(dataset: Dataset, model: Any) -> dict[str, Any]:
    """Return the groups and weights of the training rows, as options of the model's ``fit``.

    Raises
    ------
    ValueError
        The user gave a column for one of them, and the model cannot use it.
    """
    given = {
        "groups": ("--group", dataset.groups),
        "sample_weight": ("--weight", dataset.weights),
    }
    known = signature(model.fit).parameters
    for name, (option, values) in given.items():
        if values is not None and name not in known:
            expected = f"none, because {type(model).__name__} does not use it"
            raise bad_value(option, Shown("a column"), expected, "leave the option out")
    return {name: values for name, (_, values) in given.items() if values is not None}


def describe_fit(
    model: Any, headline: str, *, data: Dataset | None = None, **facts: Any
) -> Description:
    """Describe a model that was just fitted.

    Parameters
    ----------
    model : Estimator
    headline : str
        Sentences about the data and the score, shown before the model's own description.
    data : Dataset, optional
        The training rows; how they were read becomes the first notes.
    **facts
        Facts that are added to those of the model, or replace them.
    """
    seconds = model.report_["seconds"]
    own: Description = model.describe()
    notes = () if data is None else reading_notes(data, model)
    read = {} if data is None else reading_facts(data, notes)
    return replace(
        own,
        headline=f"{headline} The fit took {seconds:.1f} s.\n{own.headline}",
        facts={**own.facts, "seconds": seconds, **read, **facts},
        notes=(*notes, *own.notes),
    )


def reading_facts(dataset: Dataset, notes: tuple[str, ...]) -> dict[str, Any]:
    """Return how a data set was read, for JSON."""
    return {
        "dataset": dataset.name,
        "task": dataset.task,
        "task_reason": dataset.task_reason,
        "reading": dataset.reading,
        "notes": list(notes),
    }


def drawing(function: str, *arguments: Any) -> Callable[[Path], None]:
    """Return a function that draws a figure to a file; matplotlib is imported only then.

    Parameters
    ----------
    function : str
        WING:NAME of the function in secateurs.WING.figures that makes the figure.
    *arguments
        Its arguments.
    """

    def draw(path: Path) -> None:
        wing, _, name = function.partition(":")
        figure = getattr(import_module(f"secateurs.{wing}.figures"), name)(*arguments)
        import_module(FIGURES).save_figure(figure, path)

    return draw


def finish(
    description: Description,
    *,
    json: bool,
    status: str = "converged",
    files: Sequence[tuple[Path | None, Callable[[Path], object]]] = (),
    failed: bool = False,
    after_interrupt: str = explain("interrupted"),
) -> int:
    """Write the files of a command, show its result, and return its exit status.

    Parameters
    ----------
    description : Description
        What is shown: the text, or its facts as JSON.
    json : bool
        Whether the user asked for JSON.
    status : str
        How the run ended.
    files : pairs of a path and a function that writes it
        A path that the user did not give is None, and nothing is written.
    failed : bool
        Whether the exit status is 1, as for a claim that fails.
    after_interrupt : str
        Shown after Ctrl-C.
    """
    written = [(path, write) for path, write in files if path is not None]
    for path, write in written:
        write(path)
    if json:
        show_json(description.facts)
    else:
        show(description)
        if status == "interrupted":
            show_line(f"Interrupted: {after_interrupt}.")
        for path, _ in written:
            show_line(f"written: {path}")
    if status == "interrupted":
        return INTERRUPTED
    return FAILED if failed else 0
