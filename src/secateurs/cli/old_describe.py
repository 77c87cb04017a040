"""TEMPORARY: descriptions of estimators that do not yet have a method ``describe``."""

# ruff: noqa: D103
from __future__ import annotations

from typing import Any

import numpy as np

from secateurs.core.description import Description, Table, format_bytes
from secateurs.core.estimator import Estimator
from secateurs.data.table_estimator import input_names
from secateurs.features.estimator_base import SparseMultiIndexBase
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.quadratic_estimator import QuadraticRegressor
from secateurs.tickets.ticket import Ticket

_SHOWN = 20


def describe(model: Any) -> Description:
    if isinstance(model, Estimator):
        return model.describe()
    own = _network
    for kind, function in _KINDS:
        if isinstance(model, kind):
            own = function
    n_bytes = len(model._file_content())
    description = own(model, f"{format_bytes(n_bytes)} on disk; status {model.status_}")
    facts = {
        "kind": type(model).__name__,
        "file_bytes": n_bytes,
        "n_train": model.n_train_,
        "seed": model.seed_,
        "status": model.status_,
        **description.facts,
        "certificate": model.certificate_.to_list(),
    }
    return Description(
        f"{type(model).__name__}: {description.headline}",
        facts,
        description.tables,
        description.notes,
    )


def _network(model: Any, ending: str) -> Description:
    network = model.fitted_.network
    widths = list(network.widths)
    strength = np.asarray(abs(model.coefs_[0]).sum(axis=0), dtype=float).ravel()
    names = input_names(model)
    used = [int(j) for j in np.argsort(-strength, kind="stable") if strength[j] > 0]
    facts = {
        "widths": widths,
        "nonzeros": network.n_nonzero,
        "budget": int(model.n_nonzero),
        "nonzeros_per_layer": [len(keys) for keys in network.keys],
        "classes": model.classes_.tolist() if hasattr(model, "classes_") else None,
        "inputs_used": [{"name": names[j], "strength": float(strength[j])} for j in used],
        "n_steps": model.n_steps_,
        "validation_score": model.validation_score_,
        "final_loss": model.loss_curve_[-1] if model.loss_curve_ else None,
    }
    layers = []
    for i, count in enumerate(facts["nonzeros_per_layer"]):
        shape = f"{widths[i + 1]} x {widths[i]} + bias"
        density = count / ((widths[i] + 1) * widths[i + 1])
        layers.append((str(i + 1), shape, str(count), f"{density:.2%}"))
    inputs = [(e["name"], f"{e['strength']:.3g}") for e in facts["inputs_used"]]
    classes: tuple[str, ...] = ()
    if facts["classes"] is not None:
        classes = (f"Classes: {', '.join(str(c) for c in facts['classes'][:_SHOWN])}",)
    return Description(
        f"{facts['nonzeros']} weights of {facts['budget']} allowed, widths "
        f"{'-'.join(map(str, widths))}, {ending}. It was trained on {model.n_train_} rows in "
        f"{model.n_steps_} steps with seed {model.seed_}; its validation score is "
        f"{model.validation_score_}.",
        facts,
        (
            Table(("layer", "shape", "weights", "density"), layers),
            Table(
                ("input", "sum of |weight|"),
                inputs,
                f"The network reads {len(used)} of {widths[0]} inputs.",
            ),
        ),
        classes,
    )


def _neurons(model: Any, ending: str) -> Description:
    W = model.coef_
    neurons = [
        {"inputs": W.indices[a:b].tolist(), "weights": W.data[a:b].tolist()}
        for a, b in zip(W.indptr[:-1], W.indptr[1:], strict=True)
        if b > a
    ]
    facts = {
        "inputs": W.shape[1],
        "nonzeros": model.n_nonzero_,
        "budget": model.budget_,
        "intercept": model.intercept_,
        "solver": model.solver_,
        "neurons": neurons,
    }
    rows = []
    for j, neuron in enumerate(neurons):
        weights = " ".join(f"{w:.4g}" for w in neuron["weights"][:8])
        rows.append((str(j), " ".join(map(str, neuron["inputs"][:8])), weights))
    return Description(
        f"{model.n_nonzero_} weights of {model.budget_} allowed in {len(neurons)} neurons over "
        f"{W.shape[1]} inputs, intercept {model.intercept_:.6g}, solver {model.solver_}, {ending}.",
        facts,
        (Table(("neuron", "inputs", "weights"), rows),),
    )


def _quadratic(model: Any, ending: str) -> Description:
    facts = {
        "inputs": len(model.coef_),
        "components": model.n_components_,
        "signs": model.signs_.tolist(),
        "intercept": model.intercept_,
        "interactions": [pair._asdict() for pair in model.interactions_],
    }
    rows = [
        (
            pair["first"],
            "(squared)" if pair["first"] == pair["second"] else pair["second"],
            f"{pair['effect']:+.4g}",
        )
        for pair in facts["interactions"]
    ]
    table = Table(("first", "second", "effect"), rows, "strongest pairs", most=len(rows))
    return Description(
        f"{facts['components']} squares over {facts['inputs']} inputs, {ending}.",
        facts,
        (table,) if rows else (),
        () if rows else ("No pair improves on a linear function.",),
    )


def _features(model: Any, ending: str) -> Description:
    share = model.feature_importances_
    names = input_names(model)
    entries = model.directions_[:, model.support_].toarray().T.tolist()
    values = dict(zip(model.support_.tolist(), entries, strict=True))
    columns = [
        {
            "name": names[j],
            "column": j,
            "score": float(model.scores_[j]),
            "share": float(share[j]),
            "direction": values[j],
        }
        for j in sorted(values, key=lambda j: (-share[j], j))
    ]
    facts = {
        "d": len(model.scores_),
        "directions": model.directions_.shape[0],
        "columns": columns,
        "threshold": model.threshold_,
        "channel": model.channel_,
        "information_exponent": model.information_exponent_,
        "val_r2": model.val_r2_,
        "signal_detected": model.signal_detected_,
        "classes": getattr(model, "classes_", np.empty(0)).tolist() or None,
    }
    rows = []
    for entry in columns:
        above = "" if entry["score"] > model.threshold_ else " (below)"
        places = " ".join(f"{value:+.2f}" for value in entry["direction"][:6])
        score = f"{entry['score']:.2f}{above}"
        rows.append((entry["name"], score, f"{entry['share']:.1%}", places))
    title = (
        f"{len(columns)} columns kept; threshold {model.threshold_:.2f}, most found in "
        f"{model.channel_} at degree {model.information_exponent_}"
    )
    noise = "" if model.signal_detected_ else "No signal was detected. "
    return Description(
        f"{noise}{len(columns)} of {facts['d']} columns, {facts['directions']} directions, R² "
        f"{model.val_r2_:.3f} on validation rows, {ending}.",
        facts,
        (Table(("column", "score", "share", "directions"), rows, title),),
    )


def _matrix(model: Any, ending: str) -> Description:
    facts = {
        "d": model.components_.shape[1],
        "rank": model.n_components_,
        "eigenvalues": model.eigenvalues_.tolist(),
        "intercept": model.intercept_,
    }
    shown = ", ".join(f"{value:.4g}" for value in facts["eigenvalues"][:_SHOWN])
    return Description(
        f"a {facts['d']} x {facts['d']} matrix of rank {facts['rank']}, {ending}.",
        facts,
        notes=(f"Eigenvalues: {shown}",) if shown else (),
    )


_KINDS: list[tuple[type, Any]] = [
    (SparseReLURegressor, _neurons),
    (QuadraticRegressor, _quadratic),
    (SparseMultiIndexBase, _features),
    (MatrixSensing, _matrix),
]


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
