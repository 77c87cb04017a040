"""Tickets: a trained network inside a random one, written as a seed and masks."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.archive import is_archive, read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, format_bytes
from secateurs.core.parameters import Shown, bad_value, check_real
from secateurs.loading import load
from secateurs.tickets.certificate import network_certificate
from secateurs.tickets.file import ticket_bytes
from secateurs.tickets.network_pruning import prune_network
from secateurs.tickets.read_onnx import read_onnx
from secateurs.tickets.read_state_dict import read_state
from secateurs.tickets.ticket import LEAST_EPS, Ticket
from secateurs.tickets.verify import TicketReport
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.export import SelectColumns

PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
LARGEST_RADIUS = 1e30  # the error bound has to stay finite; so does the inverse of the radius
RELU = "the names of tensors do not say which function is between layers; ReLU was assumed"
SELECTED = "the ticket reads the inputs that the model uses, in their order"


def ticket(
    model: Path,
    /,
    *,
    eps: float = 1e-3,
    nonnegative: recipe.Flag = False,
    radius: float = 1.0,
    seed: recipe.Seed = 0,
    output: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Find a trained network inside a random one: masks choose its weights, without training.

    Parameters
    ----------
    model
        An ONNX file (a chain of Gemm or MatMul and Add, Conv, Relu, Flatten and pooling); a
        safetensors file with the state dict of nn.Sequential (0.weight, 0.bias, 2.weight, ...:
        Linear layers, ReLU between them); or a network written by `secateurs fit --output`.
    eps
        Largest error of a weight, relative to the largest weight of its tensor; below 1.
    nonnegative
        The inputs are >= 0, as pixels are: the first layer needs fewer masks, and the error
        bound is for such inputs only.
    radius
        Largest l2 norm of an input, for the error bound.
    output
        Write seed and masks to this file (.safetensors).
    """
    recipe.check_options(output, inputs=[model], seed=seed)
    check_real("--eps", eps, above=LEAST_EPS, below=1)
    check_real("--radius", radius, above=1 / LARGEST_RADIUS, below=LARGEST_RADIUS)
    module, input_shape, note = read_model(model)
    try:
        with progress(quiet=json) as bar:
            shown = bar("pruning", "compiling, once after each installation")
            # the seconds that are shown do not include compilation
            if prune_network(nn.Linear(1, 1), 0.1, 0).status == "interrupted":
                raise KeyboardInterrupt
            start = time.process_time()
            solution = prune_network(
                *(module, eps, seed),
                nonnegative_inputs=nonnegative,
                radius=radius,
                input_shape=input_shape,
                progress=shown,
            )
    except (TypeError, ValueError) as error:  # a layer, a weight or a size that is not supported
        raise ValueError(f"{model}: {error}") from error
    seconds = time.process_time() - start
    found = solution.value
    content = ticket_bytes(found)
    report: TicketReport = solution.measured["report"]
    facts = {
        "model": str(model),
        "note": note,
        "status": solution.status,
        "mean_terms": solution.measured["mean_terms"],
        "seconds": seconds,
        "file_bytes": len(content),
        "target_bytes": 4 * report.n_weights,
    }
    return recipe.finish(
        _describe(found, report, facts, network_certificate(report, eps)),
        json=json,
        status=solution.status,
        files=[(output, lambda file: write_atomically(file, content))],
    )


def read_model(path: Path) -> tuple[nn.Module, tuple[int, int, int] | None, str | None]:
    """Read a network from a file.

    Returns
    -------
    module : nn.Module
    input_shape : tuple of int or None
        Shape of one input, if that is a map.
    note : str or None
        A remark that the user should see.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise bad_value(
            *(str(path), Shown("a file that may be a pickle, which can run any code")),
            "an ONNX or a safetensors file",
            do="write it with torch.onnx.export or safetensors.torch.save_file(model.state_dict())",
        )
    if suffix == ".onnx":
        try:
            module, shape = read_onnx(path)
        except ModuleNotFoundError as error:
            raise ValueError(str(error)) from error
        return module, (shape[0], shape[1], shape[2]) if len(shape) == 3 else None, None
    if not is_archive(path):
        return read_state(path), None, RELU
    if read_archive(path).body["record"].get("kind") == "ticket":
        raise bad_value(
            *(str(path), Shown("a file that is a ticket already"), "a trained network"),
            do="show the ticket with secateurs inspect",
        )
    fitted = load(path)
    if not isinstance(fitted, SparseMLPClassifier | SparseMLPRegressor):
        raise bad_value(
            *(str(path), Shown(f"a {type(fitted).__name__}"), "a network that is a stack of layers")
        )
    layers = [m for m in fitted.to_torch() if not isinstance(m, SelectColumns)]
    return nn.Sequential(*layers), None, SELECTED


def _describe(
    found: Ticket, report: TicketReport, facts: dict[str, Any], certificate: Certificate
) -> Description:
    """Describe a search: the ticket, and its distance from the target."""
    own = found.describe(facts["file_bytes"])
    errors = {layer.number: layer.max_error for layer in report.layers}
    layers = [{**layer, "max_error": errors[layer["number"]]} for layer in own.facts["layers"]]
    facts = {
        **own.facts,
        **{name: value for name, value in asdict(report).items() if name != "layers"},
        **facts,
        "layers": layers,
        "certificate": certificate.to_list(),
    }
    table = replace(
        own.tables[0],
        columns=(*own.tables[0].columns, "largest error"),
        rows=[
            (*row, f"{layer['max_error']:.2e}")
            for row, layer in zip(own.tables[0].rows, layers, strict=True)
        ],
        numeric=own.tables[0].numeric | {"largest error"},
    )
    headline = (
        f"{facts['model']}: the largest error of a weight is {report.max_error:.3g} times the "
        f"largest weight of its tensor; {report.n_outside} weights exceed the allowed error. "
        f"Status {facts['status']}, {facts['seconds']:.2f} s of processor time."
    )
    sign = " with no negative entry" if report.nonnegative_inputs else ""
    bits = 8 * facts["file_bytes"] / report.n_weights
    notes = (
        f"The outputs differ by at most {report.error_bound:.4g} for inputs of norm at most "
        f"{report.radius:g}{sign}.",
        f"Seed and masks take {format_bytes(facts['file_bytes'])}, {bits:.1f} bits for each "
        f"weight; the weights in float32 take {format_bytes(facts['target_bytes'])}. A plain "
        "quantiser with the same number of bits is more accurate; do not use this for compression.",
        *([f"Note: {facts['note']}."] if facts["note"] else []),
    )
    return Description(f"{headline}\n{own.headline}", facts, (table,), notes)
