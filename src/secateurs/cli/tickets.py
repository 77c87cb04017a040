"""Tickets: a network inside a random one by masks alone, and how wide that has to be."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.table import Table
from torch import nn

from secateurs.cli.common import (
    INTERRUPTED,
    UsageError,
    check_outputs,
    check_seed,
    out,
    print_certificate,
    print_json,
    progress,
    size,
)
from secateurs.core.archive import is_archive, read_archive
from secateurs.core.atomic_write import write_atomically
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
RELU = "names do not tell what is between layers: ReLU was assumed after each but the last"
SELECTED = "the ticket reads the inputs that the model uses, in their order"


def ticket(
    model: Path,
    /,
    *,
    eps: float = 1e-3,
    nonnegative: Annotated[bool, Parameter(negative="")] = False,
    radius: float = 1.0,
    seed: int = 0,
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find a trained network inside a random one by masks alone, nothing trained.

    Parameters
    ----------
    model
        An ONNX file (a chain of Gemm or MatMul and Add, Conv, Relu, Flatten and pooling); a
        safetensors file with the state dict of nn.Sequential (0.weight, 0.bias, 2.weight, ...:
        Linear layers, ReLU between them); or a network written by `secateurs fit --output`.
    eps
        Largest error of a weight, in units of the largest one of its tensor; below 1.
    nonnegative
        The inputs are >= 0, as pixels are: fewer masks in the first layer; the error bound is
        for such inputs only.
    radius
        Largest l2 norm of an input, for the error bound.
    seed
        Of the random network.
    output
        Write seed and masks to this file (.safetensors).
    json
        Print one JSON object instead of text.
    """
    check_outputs(output, None)
    if output is not None and output.exists() and model.exists() and output.samefile(model):
        raise UsageError(f"--output {output}: is the model itself; give another file")
    check_seed(seed)
    if not LEAST_EPS < eps < 1:
        raise UsageError(f"--eps {eps}: expected more than {LEAST_EPS:g} and less than 1")
    if not (math.isfinite(radius) and 1e-30 < radius < 1e30):
        raise UsageError(f"--radius {radius}: expected a positive number")
    module, input_shape, note = read_model(model)
    compiled = prune_network(nn.Linear(1, 1), 0.1, 0)  # the seconds do not count that
    if compiled.status == "interrupted":
        raise KeyboardInterrupt
    start = time.process_time()
    try:
        with progress(quiet=json) as show:
            solution = prune_network(
                module,
                eps,
                seed,
                nonnegative_inputs=nonnegative,
                radius=radius,
                input_shape=input_shape,
                progress=show("pruning"),
            )
    except (TypeError, ValueError) as error:  # a layer without an error bound; weights, sizes
        raise UsageError(f"{model}: {error}") from error
    seconds = time.process_time() - start
    found = solution.value
    content = ticket_bytes(found)
    if output is not None:
        write_atomically(output, content)
    report = verify_ticket(found, module, radius=radius, input_shape=input_shape)
    certificate = network_certificate(report, eps)
    measured = {key: value for key, value in asdict(report).items() if key != "layers"}
    errors = {layer.number: layer.max_error for layer in report.layers}
    record = {
        "model": str(model),
        "note": note,
        "status": solution.status,
        "seed": seed,
        "eps": eps,
        **measured,
        "mean_terms": solution.measured["mean_terms"],
        "layers": [{**row, "max_error": errors[row["number"]]} for row in describe_layers(found)],
        "seconds": seconds,
        "file_bytes": len(content),
        "target_bytes": 4 * report.n_weights,
        "certificate": certificate.to_list(),
    }
    if json:
        print_json(record)
    else:
        _print_ticket(record)
        print_certificate(certificate)
        if output is not None:
            out.print(f"written: {output}", highlight=False)
    return INTERRUPTED if solution.status == "interrupted" else 0


def read_model(path: Path) -> tuple[nn.Module, tuple[int, int, int] | None, str | None]:
    """Module of a file, the shape of an input that is a map, and what a reader should know."""
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise UsageError(
            f"{path}: may be a pickle, which can run any code when it is read; write the model "
            "with torch.onnx.export or safetensors.torch.save_file(model.state_dict(), ...)"
        )
    if suffix == ".onnx":
        try:
            module, shape = read_onnx(path)
        except ModuleNotFoundError as error:
            raise UsageError(str(error)) from error
        return module, (shape[0], shape[1], shape[2]) if len(shape) == 3 else None, None
    if not is_archive(path):
        return read_state(path), None, RELU
    if read_archive(path).body["record"].get("kind") == "ticket":
        raise UsageError(f"{path}: is a ticket already; secateurs inspect shows it")
    fitted = load(path)
    if not isinstance(fitted, SparseMLPClassifier | SparseMLPRegressor):
        raise UsageError(f"{path}: a {type(fitted).__name__}, which is not a stack of layers")
    layers = [m for m in fitted.to_torch() if not isinstance(m, SelectColumns)]
    return nn.Sequential(*layers), None, SELECTED


def describe_layers(found: Ticket) -> list[dict[str, Any]]:
    """Sizes of the layers of a ticket that have weights."""
    return [
        {
            "number": number,
            "kind": found.layers[number].kind,
            "shape": _shape(found, number),
            "weights": sum(
                mask.size for name, mask in found.masks[number].items() if name != "minus"
            ),
            "scales": dict(found.scales[number]),
            "terms": float(
                np.mean(np.concatenate([np.bitwise_count(m) for m in found.masks[number].values()]))
            ),
            "kept_fraction": kept / total if total else 0.0,
        }
        for number, (kept, total) in found.counts().items()
    ]


def describe_ticket(path: Path) -> dict[str, Any]:
    """What a ticket file holds; its checksum was compared with the weights drawn again."""
    found = load_ticket(path)
    counts = found.counts().values()
    total = sum(total for _, total in counts)
    return {
        "kind": "ticket",
        "file_bytes": path.stat().st_size,
        "seed": found.seed,
        "eps": found.eps,
        "n_weights": sum(row["weights"] for row in describe_layers(found)),
        "width_factor": found.width_factor,
        "kept_fraction": sum(kept for kept, _ in counts) / total if total else 0.0,
        "layers": describe_layers(found),
    }


def print_described(record: dict[str, Any]) -> None:
    """The record of `describe_ticket`, for people."""
    out.print(
        f"ticket of seed {record['seed']}: {record['n_weights']} weights, looked for within "
        f"{record['eps']:g} times the largest of their tensor, in a random network "
        f"x{record['width_factor']} as wide, "
        f"{record['kept_fraction']:.2%} kept; {size(record['file_bytes'])} on disk"
    )
    out.print(_layer_table(record["layers"]))
    out.print("The checksum of the weights holds. How near they are to a target needs the target.")


def _shape(found: Ticket, number: int) -> str:
    layer = found.layers[number]
    kernel = " x ".join(map(str, layer.kernel))
    text = f"{layer.n_out} x {layer.n_in}" + (f" x {kernel}" if layer.kind == "conv2d" else "")
    return text + (" + bias" if layer.bias else "")


def _layer_table(rows: list[dict[str, Any]]) -> Table:
    with_error = "max_error" in rows[0]
    names = ["layer", "shape", "weights", "terms", "kept", *(["largest error"] * with_error)]
    table = Table(*names)
    for row in rows:
        table.add_row(
            f"{row['number']} ({row['kind']})",
            row["shape"],
            str(row["weights"]),
            f"{row['terms']:.1f}",
            f"{row['kept_fraction']:.2%}",
            *([f"{row['max_error']:.2e}"] if with_error else []),
        )
    return table


def _print_ticket(record: dict[str, Any]) -> None:
    out.print(
        f"{record['model']}: {record['n_weights']} weights within {record['max_error']:.3g} times "
        f"the largest of their tensor (asked {record['eps']:g}; {record['n_outside']} sums "
        f"outside), {record['status']}, {record['seconds']:.2f} s of processor time"
    )
    if record["note"]:
        out.print(f"Note: {record['note']}.", highlight=False)
    out.print(_layer_table(record["layers"]))
    bits = 8 * record["file_bytes"] / record["n_weights"]
    sign = " with no negative entry" if record["nonnegative_inputs"] else ""
    out.print(
        f"The random network is x{record['width_factor']} as wide, {record['kept_fraction']:.2%} "
        f"of its weights are kept; outputs differ by at most {record['error_bound']:.4g} for "
        f"inputs of norm {record['radius']:g} at most{sign}.\n"
        f"Seed and masks: {size(record['file_bytes'])}, {bits:.1f} bits a weight; the weights in "
        f"float32: {size(record['target_bytes'])}. A quantiser of as many bits is nearer: this is "
        "no compression."
    )
