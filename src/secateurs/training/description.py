"""Describe a fitted sparse perceptron to a user."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.description import Description, Table, format_bytes
from secateurs.core.solution import explain
from secateurs.data.table_estimator import input_names

MAX_SHOWN_CLASSES = 20


def input_strength(model: Any) -> NDArray[np.float64]:
    """Return the sum of |weight| out of each scaled input, shape [d]."""
    strength: NDArray[np.float64] = np.asarray(abs(model.coefs_[0]).sum(axis=0), dtype=float)
    return strength.ravel()


def describe_network(model: Any, file_bytes: int) -> Description:
    """Describe the size of a fitted perceptron, its layers and the inputs that it reads."""
    network = model.fitted_.network
    strength, names = input_strength(model), input_names(model)
    used = [int(j) for j in np.argsort(-strength, kind="stable") if strength[j] > 0]
    classes = model.classes_.tolist() if hasattr(model, "classes_") else None
    widths = list(network.widths)
    facts = {
        "widths": widths,
        "nonzeros": network.n_nonzero,
        "budget": int(model.n_nonzero),
        "nonzeros_per_layer": [len(keys) for keys in network.keys],
        "classes": classes,
        "inputs_used": [{"name": names[j], "strength": float(strength[j])} for j in used],
        "n_steps": model.n_steps_,
        "validation_score": model.validation_score_,
        "final_loss": model.loss_curve_[-1] if model.loss_curve_ else None,
    }
    headline = [
        f"{type(model).__name__} with layers {'-'.join(map(str, widths))}: it has "
        f"{network.n_nonzero} weights, and its budget is {model.n_nonzero}.",
        f"The file takes {format_bytes(file_bytes)}.",
        f"It was trained on {model.n_train_} rows in {model.n_steps_} steps with random seed "
        f"{model.seed_}; {explain(model.status_)}.",
    ]
    if model.validation_score_ is not None:
        headline.append(f"Its score on the held-out rows is {model.validation_score_:.4f}.")
    if classes is not None:
        more = ", ..." if len(classes) > MAX_SHOWN_CLASSES else ""
        shown = ", ".join(str(label) for label in classes[:MAX_SHOWN_CLASSES])
        headline.append(f"Classes: {shown}{more}.")
    layers = Table(
        ("layer", "shape", "weights", "density"),
        [
            (
                str(i + 1),
                f"{n_out} x {n_in} + bias",
                str(len(keys)),
                f"{len(keys) / ((n_in + 1) * n_out):.2%}",
            )
            for i, ((n_in, n_out), keys) in enumerate(
                zip(pairwise(widths), network.keys, strict=True)
            )
        ],
        numeric=frozenset({"weights", "density"}),
    )
    inputs = Table(
        ("input", "sum of |weight|"),
        [(names[j], f"{strength[j]:.3g}") for j in used],
        title=f"The network reads {len(used)} of {widths[0]} inputs.",
        numeric=frozenset({"sum of |weight|"}),
    )
    return Description("\n".join(headline), facts, (layers, inputs))
