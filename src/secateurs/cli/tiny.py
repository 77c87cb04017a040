"""Networks for microcontrollers: export a fitted model, or fit one into so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.description import Description, Table, counted
from secateurs.core.group import launched
from secateurs.core.output_files import check_output
from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer, check_real
from secateurs.data.checked_dataset import Dataset
from secateurs.data.datasets import load_dataset, split
from secateurs.data.errors import DatasetError
from secateurs.data.table_options import TableOptions
from secateurs.loading import load
from secateurs.tiny.c_files import check_c_path
from secateurs.tiny.generated import check_generated
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.pooling import pooling_for
from secateurs.tiny.quantization import quantize, round_weights
from secateurs.tiny.reading import was_fitted_on
from secateurs.tiny.search import fit_bytes
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor

FORMS = {"c": ".c", "numpy": ".py", "onnx": ".onnx"}
WITH_ROWS, WITHOUT_ROWS = 4, 8  # bits of a weight with and without fine-tuning
EPOCHS, DISTORTED_EPOCHS = 12, 40  # of the fine-tuning
Form = Annotated[str, Parameter(help="What to write: c, numpy or onnx.")]


@Parameter(name="*")
@dataclass(frozen=True)
class ProgramOptions:
    """Options of a fit whose budget is in bytes.

    Attributes
    ----------
    flash
        Instead of a budget of weights: the most bytes of flash on a Cortex-M0, with all code.
        First stage, width, weights and bits are chosen on validation rows, and --output is a
        program.
    ram
        With --flash: the most bytes of RAM.
    to
        With --flash: what to write: c, numpy or onnx.
    distort
        With --flash, for images: shift and rotate them in the last training by up to so many
        pixels, or auto.  The training then takes 40 epochs.
    """

    flash: int | None = None
    ram: int = 512
    to: str = "c"
    distort: str | None = None

    def check(self) -> None:
        """Refuse options that only a search by bytes has, without it."""
        if self.flash is not None:
            return
        default = vars(NO_PROGRAM)
        for name, value in vars(self).items():
            if value != default[name]:
                raise bad_value(
                    *(f"--{name}", value, "--flash beside it, the most bytes of the program"),
                    do="give --flash too, or leave the option out",
                )


NO_PROGRAM = ProgramOptions()


def export(
    model: Path,
    data: str | None = None,
    /,
    *,
    to: Form = "c",
    bits: int | None = None,
    epochs: int | None = None,
    distort: str | None = None,
    pool: int = 1,
    target: recipe.Target = None,
    task: recipe.Task = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
    seed: recipe.Seed = 0,
    output: Path,
    json: recipe.Json = False,
) -> int:
    """Write a saved network as a program for a microcontroller, in integers only.

    $ secateurs export model.safetensors digits --distort 1 --output net.c

    Parameters
    ----------
    model
        A file written by `secateurs fit --output`.
    data
        The data of the fit, to train the rounded weights further.  The file of the model tells
        which rows its fit held out; these certify, or the test rows if the data have some.
        Without rows the weights are only rounded, to 8 bits.
    bits
        Bits of a weight, 2 to 8; by default 4 with rows and 8 without.
    epochs
        Passes over the rows, by default 12, or 40 with --distort; 0 only rounds.
    distort
        For images: shift and rotate them while training, by up to so many pixels, or auto.
    pool
        The model was fitted on means of squares of 2 x 2 or 4 x 4 pixels.
    seed
        Random seed; give that of the fit, so that its rows are found again.
    output
        Write the program to this file (.c with a header beside it, .py or .onnx).
    """
    recipe.check_options(seed=seed)
    write = writer(to, output, (model,) if data is None else (model, data))
    fitted = load(model)
    if data is None:
        if distort is not None:
            raise bad_value("--distort", distort, "the data of the fit", "give the data too")
        chosen = WITHOUT_ROWS if bits is None else bits
        network = round_weights(fitted, chosen)
    else:
        whole = load_dataset(data, target=target, task=task, options=dialect.options(roles))
        strength, usual = distortion(distort, whole.image_shape)
        dataset, certify = _rows_of_fit(fitted, whole, pool, seed)
        with progress(quiet=json) as bar:
            network = quantize(
                *(fitted, dataset.X, dataset.y, WITH_ROWS if bits is None else bits),
                epochs=usual if epochs is None else epochs,
                image_shape=dataset.image_shape,
                pool=pool,
                certify=certify,
                groups=dataset.groups,
                distort=strength,
                random_state=seed,
                progress=bar("fine-tuning"),
            )
    status = (network.report_ or {}).get("status", "converged")
    return recipe.finish(
        _with_header(network.describe(), network, to, output),
        json=json,
        status=status,
        files=[(output, lambda _: write(network))],
    )


def _rows_of_fit(
    model: Any, whole: Dataset, pool: int, seed: int
) -> tuple[Dataset, tuple[Any, Any] | None]:
    """Return the rows of the fit, and the test rows of the data if the fit has not seen them.

    The fit saw all rows, or those that `secateurs fit` kept for training.  If it saw neither, all
    rows are returned, and nothing certifies.
    """
    pooling = pooling_for(whole.image_shape, check_integer("--pool", pool))
    if was_fitted_on(model, whole.X, whole.y, whole.groups, pooling):
        return whole, None if whole.X_test is None else (whole.X_test, whole.y_test)
    with suppress(DatasetError):  # so few rows that `secateurs fit` refuses them
        kept = split(whole, recipe.TEST_SHARE, random_state=seed)
        if was_fitted_on(model, kept.X, kept.y, kept.groups, pooling):
            return kept, None
    return whole, None


def writer(
    to: str, output: Path, inputs: Sequence[str | Path]
) -> Callable[[IntegerNetwork], object]:
    """Check what to write and where, and return the function that writes it."""
    check_choice("--to", to, list(FORMS))
    if output.suffix != FORMS[to]:
        raise bad_value("--output", str(output), f"a name that ends in {FORMS[to]}")
    check_output(output, "onnx" if to == "onnx" else None, inputs=inputs)
    if to == "c":
        check_c_path(output)
        return lambda network: network.to_c(output)
    if to == "numpy":
        check_generated(output)
        return lambda network: network.to_numpy(output)
    return lambda network: network.to_onnx(output)


def distortion(text: str | None, image_shape: tuple[int, ...] | None) -> tuple[float | str, int]:
    """Read the strength of a distortion; return it and the number of epochs that suits it."""
    if text is None:
        return 0.0, EPOCHS
    strength: float | str = text
    if text != "auto":
        with suppress(ValueError):
            strength = float(text)
        check_real("--distort", strength, least=0.0, otherwise="auto")
    if image_shape is None and strength != 0:
        do = "leave the option out"
        raise bad_value("--distort", Shown(f"{text} for a table"), "images", do)
    return strength, EPOCHS if strength == 0 else DISTORTED_EPOCHS


def check_flash(given: Mapping[str, bool]) -> None:
    """Refuse options of a fit that a search by bytes chooses itself, or has no use for."""
    for option, was_given in {**given, "torchrun": launched() > 1}.items():
        if was_given:
            raise bad_value(option, Shown("a value together with --flash"), "one of the two")


def fit_flash(
    data: str,
    program: ProgramOptions,
    target: str | None,
    task: str | None,
    options: TableOptions,
    seed: int,
    output: Path | None,
    plot: Path | None,
    *,
    json: bool,
) -> int:
    """Fit the best network that fits into the bytes, score it on test rows, and write it."""
    recipe.check_options(plot=plot, inputs=[data], seed=seed)
    flash, ram = (check_integer(f"--{n}", vars(program)[n]) for n in ("flash", "ram"))
    to = check_choice("--to", program.to, list(FORMS))
    write = None if output is None else writer(to, output, [data])
    whole = load_dataset(data, target=target, task=task, options=options)
    if whole.weights is not None:
        expected = "none, because a search by bytes does not use it"
        raise bad_value("--weight", Shown("a column"), expected, "leave the option out")
    distort, epochs = distortion(program.distort, whole.image_shape)
    dataset = split(whole, recipe.TEST_SHARE, random_state=seed)
    kind = SparseMLPClassifier if dataset.task == "classification" else SparseMLPRegressor
    with progress(quiet=json) as bar:
        network = fit_bytes(
            *(kind(random_state=seed), dataset.X, dataset.y),
            flash=flash,
            ram=ram,
            image_shape=dataset.image_shape,
            groups=dataset.groups,
            epochs=epochs,
            distort=distort,
            random_state=seed,
            progress=bar,
        )
    score = network.score(dataset.X_test, dataset.y_test)
    description = _describe(dataset, network, score, flash)
    files: list[tuple[Path | None, Callable[[Path], object]]] = []
    if write is not None:
        files.append((output, lambda _: write(network)))
    points = [*description.facts["candidates"]]
    points.append({"flash": network.flash_bytes_, "score": score, "label": "this network"})
    is_mnist = dataset.image_shape == (28, 28) and Path(data).stem == "mnist"
    metric = str(description.facts["metric"])
    draw = recipe.drawing("tiny:bytes_figure", points, metric, is_mnist)
    files.append((plot, draw))
    return recipe.finish(_with_header(description, network, to, output), json=json, files=files)


def _with_header(
    description: Description, network: IntegerNetwork, to: str, output: Path | None
) -> Description:
    """Name the second file of a program in C, and how to run its test if it has one."""
    if to != "c" or output is None:
        return description
    _, header, prefix = check_c_path(output)
    text = f"The functions are declared in {header.name}, beside {output.name}."
    if len(network.examples):  # without rows there is nothing to compare with
        command = f"gcc -D{prefix.upper()}_TEST {output.name} && ./a.out"
        text += f" To run the test of the program: {command}"
    return replace(description, notes=(*description.notes, text))


def _describe(dataset: Dataset, network: IntegerNetwork, score: float, flash: int) -> Description:
    own = network.describe()
    metric = own.facts["metric"]
    report: dict[str, Any] = network.report_ or {}
    columns = ("first stage", "hidden", "bits", "weights", "flash", f"validation {metric}")
    rows = [
        (
            *(str(one["candidate"][key]) for key in ("stage", "width", "bits", "n_nonzero")),
            *(f"{one['flash']:,} B", f"{one['score']:.4f}"),
        )
        for one in report["candidates"]
    ]
    table = Table(
        columns, rows, title="compared on validation rows", numeric=frozenset(columns[1:])
    )
    assert dataset.y_test is not None
    return replace(
        own,
        headline=f"{dataset.name}: {metric} is {score:.4f} on "
        f"{counted(len(dataset.y_test), 'test row')}, with {flash:,} bytes of flash "
        f"allowed.\n{own.headline}",
        facts={**own.facts, "dataset": dataset.name, "test_score": score, "flash": flash},
        tables=(*own.tables, table),
    )
