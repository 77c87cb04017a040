"""Exported programs made smaller."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.description import Description
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs
from secateurs.data import Dataset, load_dataset
from secateurs.nn.pruned_graph import PrunedGraph
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.pruning import prune as prune_module
from secateurs.tickets.read_onnx import read_onnx

READ, WRITTEN = (".pt2", ".onnx"), (".pt2", ".onnx")


def prune(
    model: Path,
    data: str,
    /,
    *,
    flops: float | None = None,
    params: float | None = None,
    max_loss_increase: float | None = None,
    round_to: int = 1,
    steps: int = 1000,
    target: recipe.Target = None,
    task: recipe.Task = None,
    seed: recipe.Seed = 0,
    output: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Make a trained torch network smaller: fewer channels, verified, repaired and fine-tuned.

    Parameters
    ----------
    model
        A program of torch.export (.pt2) with a free number of rows, or an ONNX file (a chain of
        Gemm or MatMul and Add, Conv, Relu, Flatten and pooling).
    data
        A name or a path: rows to calibrate and train on. Its test rows, if any, certify.
    flops
        Share of the floating-point operations that may be left.
    params
        Share of the parameters that may be left.
    max_loss_increase
        Find the smallest network whose validation loss is at most this much higher.
    round_to
        Round numbers of channels up to multiples of it; 8 suits most processors.
    steps
        Steps of fine-tuning.
    output
        Write the smaller network to this file (.pt2 or .onnx).
    """
    recipe.check_options(output, seed=seed, round_to=round_to)
    if output is not None and output.suffix.lower() not in WRITTEN:
        raise bad_value("--output", str(output), f"a name that ends in {' or '.join(WRITTEN)}")
    if output is not None and output.exists() and model.exists() and output.samefile(model):
        raise bad_value(f"--output {output}", Shown("the model itself"), "another file")
    module, shape = read_program_file(model)
    dataset = load_dataset(data, target=target, task=task)
    classes = _text_classes(dataset)
    rows = _tensors(dataset.X, dataset.y, shape, classes)
    certify = None
    if dataset.X_test is not None and dataset.y_test is not None:
        certify = _tensors(dataset.X_test, dataset.y_test, shape, classes)
    for part in (rows, certify) if certify else (rows,):
        _check_classes(module, *part)
    loss = mse_loss if rows[1].is_floating_point() else cross_entropy
    with progress(quiet=json) as bar:
        small = prune_module(
            module, loss, rows, flops=flops, params=params, max_loss_increase=max_loss_increase,
            round_to=round_to, fine_tune_steps=steps, certify=certify, random_state=seed,
            progress=bar("pruning"),
        )  # fmt: skip
    description = _with_own_names(small.describe())
    if classes is not None:
        order = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
        note = f"The outputs of the network were taken for the classes in this order: {order}."
        description = replace(description, notes=(note, *description.notes))
    return recipe.finish(
        description,
        json=json,
        status=small.status,
        files=[(output, lambda file: _write(small, file))],
    )


def _with_own_names(description: Description) -> Description:
    """Name the groups as the user's module does; here a graph holds it under `state`."""
    tables = (
        replace(table, rows=[(name.removeprefix("state."), *rest) for name, *rest in table.rows])
        for table in description.tables
    )
    widths = description.facts["widths"].items()
    own = {name.removeprefix("state."): width for name, width in widths}
    return replace(description, facts={**description.facts, "widths": own}, tables=tuple(tables))


def read_program_file(path: Path) -> tuple[nn.Module, tuple[int, ...]]:
    """Read a network from a file, and the shape of one of its rows; nothing is executed."""
    suffix = path.suffix.lower()
    if suffix not in READ:
        do = "write one with torch.export.save" if suffix in (".pt", ".pth", ".bin") else ""
        raise bad_value(str(path), Shown(f"a file {suffix!r}"), f"a file {' or '.join(READ)}", do)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if suffix == ".onnx":
        chain, shape = read_onnx(path)
        return chain, tuple(int(n) for n in shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.load(path)
    except Exception as error:  # the archive can be damaged in any way
        raise bad_value(str(path), Shown(f"a file that torch.export cannot read ({error})"),
                        "a file of torch.export.save") from error  # fmt: skip
    signature = exported.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    places = [n.name for n in exported.graph.nodes if n.op == "placeholder"]
    state: dict[str, Any] = {**exported.constants, **exported.state_dict}
    tensors = {names[p]: state[names[p]] for p in places if p in names}
    module = PrunedGraph(
        exported.graph_module, [names.get(p) for p in places], tensors, exported.call_spec.out_spec
    )
    args, kwargs = exported.example_inputs
    example = Inputs(args, kwargs).tensors()
    if len(example) != 1:
        got = Shown(f"a program with {len(example)} inputs")
        raise bad_value(str(path), got, "one input, of rows")
    return module, tuple(example[0].shape[1:])


def _text_classes(dataset: Dataset) -> NDArray[Any] | None:
    """Return the classes in their order if they are texts or truth values, or None."""
    parts = [dataset.y] if dataset.y_test is None else [dataset.y, dataset.y_test]
    targets = np.concatenate([np.asarray(part) for part in parts])
    return None if targets.dtype.kind in "iuf" else np.unique(targets)


def _check_classes(module: nn.Module, rows: Tensor, targets: Tensor) -> None:
    """Refuse classes for which the network has no output."""
    if targets.is_floating_point():
        return
    with torch.no_grad():
        outputs = module.eval()(rows[:2])
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        got = Shown("a network without one row of outputs for each row of data")
        raise bad_value("MODEL", got, "one output for each class", "give --task regression")
    n_outputs = outputs.shape[1]
    least, most = int(targets.min()), int(targets.max())
    if least < 0 or most >= n_outputs:
        expected = f"classes from 0 to {n_outputs - 1}, because the network has {n_outputs} outputs"
        do = "number the classes from 0, or give --task regression"
        raise bad_value("the target", Shown(f"classes from {least} to {most}"), expected, do)


def _numbers(X: Any) -> NDArray[np.float32]:
    """Return rows as numbers, which the network reads as they are."""
    if isinstance(X, pd.DataFrame):
        for name in X:
            if not (is_numeric_dtype(X[name]) and X[name].notna().all()):
                got = Shown(
                    "missing values" if is_numeric_dtype(X[name]) else "values that are no numbers"
                )
                do = "encode the table as for the training of the network"
                raise bad_value(f"column {name!r}", got, "numbers, as the network reads them", do)
    return np.asarray(X, dtype=np.float32)


def _tensors(
    X: Any, y: Any, shape: tuple[int, ...], classes: NDArray[Any] | None
) -> tuple[Tensor, Tensor]:
    """Return rows of the shape that the network reads, and classes or a column of numbers."""
    rows = _numbers(X)
    if rows[0].size != int(np.prod(shape)):
        got = Shown(f"rows of {rows[0].size} numbers")
        raise bad_value("data", got, f"rows of shape {shape}, as the network reads")
    targets = np.asarray(y)
    inputs = torch.from_numpy(rows.reshape(len(rows), *shape))
    if np.issubdtype(targets.dtype, np.floating):
        return inputs, torch.from_numpy(targets.astype(np.float32)).reshape(len(rows), -1)
    if classes is not None:
        targets = np.searchsorted(classes, targets)
    return inputs, torch.from_numpy(targets.astype(np.int64))


def _write(small: PrunedModule, path: Path) -> None:
    """Write the smaller network for any number of rows."""
    inputs = small.plan.program.inputs
    module = small.module.eval()
    rows = {0: torch.export.Dim("rows", min=1)}
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, inputs.args, dynamic_shapes=((rows,),),
                                          strict=False)  # fmt: skip
            if path.suffix.lower() == ".onnx":
                torch.onnx.export(program, f=str(temporary), dynamo=True, verbose=False,
                                  external_data=False)  # fmt: skip
            else:
                torch.export.save(program, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
