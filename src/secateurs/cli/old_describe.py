"""TEMPORARY: the description of a ticket, until `Ticket` has a method ``describe``."""

# ruff: noqa: D103
from __future__ import annotations

from typing import Any

import numpy as np

from secateurs.core.description import Description, Table
from secateurs.tickets.network_pruning import Ticket


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


def describe_ticket(found: Ticket, file_bytes: int) -> Description:
    counts = found.counts().values()
    total = sum(total for _, total in counts)
    layers = describe_layers(found)
    facts = {
        "kind": "ticket",
        "file_bytes": file_bytes,
        "seed": found.seed,
        "eps": found.eps,
        "n_weights": sum(row["weights"] for row in layers),
        "width_factor": found.width_factor,
        "kept_fraction": sum(kept for kept, _ in counts) / total if total else 0.0,
        "layers": layers,
    }
    headline = (
        f"This ticket has {facts['n_weights']} weights. The search allowed each an error of "
        f"{found.eps:g} times the largest weight of its tensor. The random network has the seed "
        f"{found.seed} and is {found.width_factor} times as wide; the masks keep "
        f"{facts['kept_fraction']:.2%} of its weights."
    )
    return Description(headline, facts, (_layer_table(layers),), ())


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
