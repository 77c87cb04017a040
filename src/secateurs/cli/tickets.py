"""Tickets: a trained network inside a random one, written as a seed and masks."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.archive import is_archive, read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.core.description import Description, Table, format_bytes
from secateurs.core.parameters import Shown, bad_value, check_real
from secateurs.loading import load
from secateurs.tickets.certificate import network_certificate
from secateurs.tickets.file import load_ticket, ticket_bytes
from secateurs.tickets.network_pruning import LEAST_EPS, Ticket, prune_network
from secateurs.tickets.read_onnx import read_onnx
from secateurs.tickets.read_state_dict import read_state
from secateurs.tickets.verify import verify_ticket
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
    recipe.check_options(output, seed=seed)
    if output is not None and output.exists() and model.exists() and output.samefile(model):
        raise bad_value(f"--output {output}", Shown("the model itself"), "another file")
    check_real("--eps", eps, above=LEAST_EPS, below=1)
    check_real("--radius", radius, above=1 / LARGEST_RADIUS, below=LARGEST_RADIUS)
    module, input_shape, note = read_model(model)
    # the seconds that are shown do not include compilation
    if prune_network(nn.Linear(1, 1), 0.1, 0).status == "interrupted":
        raise KeyboardInterrupt
    start = time.process_time()
    try:
        with progress(quiet=json) as bar:
            solution = prune_network(
                *(module, eps, seed),
                nonnegative_inputs=nonnegative,
                radius=radius,
                input_shape=input_shape,
                progress=bar("pruning"),
            )
    except (TypeError, ValueError) as error:  # a layer, a weight or a size that is not supported
        raise ValueError(f"{model}: {error}") from error
    seconds = time.process_time() - start
    found = solution.value
    content = ticket_bytes(found)
    report = verify_ticket(found, module, radius=radius, input_shape=input_shape)
    errors = {layer.number: layer.max_error for layer in report.layers}
    facts = {
        "model": str(model),
        "note": note,
        "status": solution.status,
        "seed": seed,
        "eps": eps,
        **{key: value for key, value in asdict(report).items() if key != "layers"},
        "mean_terms": solution.measured["mean_terms"],
        "layers": [{**row, "max_error": errors[row["number"]]} for row in describe_layers(found)],
        "seconds": seconds,
        "file_bytes": len(content),
        "target_bytes": 4 * report.n_weights,
        "certificate": network_certificate(report, eps).to_list(),
    }
    return recipe.finish(
        _describe_search(facts),
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


def describe_layers(found: Ticket) -> list[dict[str, Any]]:
    """Return the sizes of the layers of a ticket that have weights."""
    rows = []
    for number, (kept, total) in found.counts().items():
        masks = found.masks[number]
        n_terms = np.concatenate([np.bitwise_count(mask) for mask in masks.values()])
        rows.append(
            {
                "number": number,
                "kind": found.layers[number].kind,
                "shape": _shape(found, number),
                "weights": sum(mask.size for name, mask in masks.items() if name != "minus"),
                "scales": dict(found.scales[number]),
                "terms": float(np.mean(n_terms)),
                "kept_fraction": kept / total if total else 0.0,
            }
        )
    return rows


def describe_ticket(path: Path) -> Description:
    """Describe a ticket file; reading it compares its checksum with weights drawn again."""
    found = load_ticket(path)
    counts = found.counts().values()
    total = sum(total for _, total in counts)
    layers = describe_layers(found)
    facts = {
        "kind": "ticket",
        "file_bytes": path.stat().st_size,
        "seed": found.seed,
        "eps": found.eps,
        "n_weights": sum(row["weights"] for row in layers),
        "width_factor": found.width_factor,
        "kept_fraction": sum(kept for kept, _ in counts) / total if total else 0.0,
        "layers": layers,
    }
    headline = (
        f"Ticket with {facts['n_weights']} weights and seed {found.seed}, "
        f"{format_bytes(facts['file_bytes'])} on disk. The search allowed an error of "
        f"{found.eps:g} times the largest weight of each tensor. The random network is "
        f"{found.width_factor} times as wide, and {facts['kept_fraction']:.2%} of its weights are "
        "kept."
    )
    note = (
        "The checksum of the weights is correct. The file does not contain the target network, so "
        "the distance to it was not measured."
    )
    return Description(headline, facts, (_layer_table(layers),), (note,))


def _describe_search(facts: dict[str, Any]) -> Description:
    headline = (
        f"{facts['model']}: {facts['n_weights']} weights within {facts['max_error']:.3g} times the "
        f"largest weight of their tensor; at most {facts['eps']:g} was allowed, and "
        f"{facts['n_outside']} weights exceed it. Status {facts['status']}, "
        f"{facts['seconds']:.2f} s of processor time."
    )
    bits = 8 * facts["file_bytes"] / facts["n_weights"]
    sign = " with no negative entry" if facts["nonnegative_inputs"] else ""
    notes: tuple[str, ...] = (
        f"The random network is {facts['width_factor']} times as wide, and "
        f"{facts['kept_fraction']:.2%} of its weights are kept. The outputs differ by at most "
        f"{facts['error_bound']:.4g} for inputs of norm at most {facts['radius']:g}{sign}.",
        f"Seed and masks take {format_bytes(facts['file_bytes'])}, {bits:.1f} bits for each "
        f"weight; the weights in float32 take {format_bytes(facts['target_bytes'])}. A plain "
        "quantiser with the same number of bits is more accurate; do not use this for compression.",
    )
    if facts["note"]:
        notes = (f"Note: {facts['note']}.", *notes)
    return Description(headline, facts, (_layer_table(facts["layers"]),), notes)


def _shape(found: Ticket, number: int) -> str:
    layer = found.layers[number]
    kernel = " x ".join(map(str, layer.kernel))
    text = f"{layer.n_out} x {layer.n_in}" + (f" x {kernel}" if layer.kind == "conv2d" else "")
    return text + (" + bias" if layer.bias else "")


def _layer_table(rows: list[dict[str, Any]]) -> Table:
    columns: tuple[str, ...] = ("layer", "shape", "weights", "terms", "kept")
    texts: list[tuple[str, ...]] = [
        (
            *(f"{row['number']} ({row['kind']})", row["shape"], str(row["weights"])),
            *(f"{row['terms']:.1f}", f"{row['kept_fraction']:.2%}"),
        )
        for row in rows
    ]
    if "max_error" in rows[0]:
        columns = (*columns, "largest error")
        texts = [(*text, f"{row['max_error']:.2e}") for text, row in zip(texts, rows, strict=True)]
    return Table(columns, texts, numeric=frozenset(columns[2:]), most=len(rows))
