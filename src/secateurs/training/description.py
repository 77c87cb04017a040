"""Describe a fitted sparse perceptron to a user."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.description import Description, Table, counted, format_bytes
from secateurs.core.solution import explain
from secateurs.data.table_estimator import input_names
from secateurs.training.model_file import ChoiceRecord
from secateurs.training.moments import Scaling

MAX_SHOWN_CLASSES = 20
CHOSEN = {"constant": "to answer a constant", "line": "a linear model", "network": "a network"}


def input_strength(model: Any) -> NDArray[np.float64]:
    """Return the sum of |weight| out of each scaled input, shape [d]."""
    strength: NDArray[np.float64] = np.asarray(abs(model.coefs_[0]).sum(axis=0), dtype=float)
    return strength.ravel()


def labels(model: Any) -> dict[str, str]:
    """Return the names of the models that a fit compares."""
    constant = "most frequent class" if hasattr(model, "classes_") else "mean"
    return {"constant": constant, "line": "linear model", "network": "network"}


def metric_of(model: Any) -> str:
    """Return the name of the score of a model."""
    return "accuracy" if hasattr(model, "classes_") else "R²"


def constant_names(model: Any, scaling: Scaling) -> list[str]:
    """Return the names of the inputs that have one value in the training rows."""
    constant = np.flatnonzero(scaling.variance == 0)
    names = input_names(model) if len(constant) else []
    return [names[j] for j in constant]


def choice_facts(model: Any) -> dict[str, Any]:
    """Return what was chosen on the training rows, and the scores of simpler models.

    "beats_line" and "beats_constant" compare the model with the line and with the mean or the most
    frequent class on the held-out rows; without any, on the training rows that were predicted.
    They are None where there is nothing to compare.
    """
    choice = ChoiceRecord.of(model.choice_)
    budgets = model.budget_scores_
    own, others = model.validation_score_, dict(model.baseline_scores_)
    if own is None and choice is not None:
        own, others = choice.scores.get(choice.model), dict(choice.scores)
    line, constant = others.get("line"), others.get("constant")
    is_network = choice is None or choice.model == "network"
    return {
        "chosen": "network" if choice is None else choice.model,
        "choice": None if choice is None else choice.model_dump(),
        "line_score": line,
        "constant_score": constant,
        "beats_line": None if line is None or own is None or not is_network else own > line,
        "beats_constant": None if constant is None or own is None else own > constant,
        "constant_inputs": list(model.constant_inputs_),
        "budget_scores": budgets and {str(s): score for s, score in budgets.items()},
    }


def choice_sentences(model: Any, facts: dict[str, Any]) -> list[str]:
    """Return sentences about the choice, about simpler models and about constant inputs."""
    sentences = []
    choice = facts["choice"]
    if choice is not None and choice["n_rows"]:
        named = labels(model)
        shown = ", ".join(f"{named[name]} {score:.4f}" for name, score in choice["scores"].items())
        how = f" with input noise {choice['input_noise']:g}" if choice["input_noise"] else ""
        sentences.append(
            f"Cross-validation on the training rows chose {CHOSEN[choice['model']]}{how}; the "
            f"scores on {choice['n_rows']} predicted rows are: {shown}."
        )
    if facts["budget_scores"]:
        sentences.append(f"The budget of {model.budget_} weights was chosen on training rows, too.")
    sentences += [sentence for sentence, _ in warnings_of(facts)]
    if facts["constant_inputs"]:
        names, more = facts["constant_inputs"][:MAX_SHOWN_CLASSES], ""
        if len(facts["constant_inputs"]) > len(names):
            more = f" and {len(facts['constant_inputs']) - len(names)} more"
        sentences.append(f"Inputs with a single value are not used: {', '.join(names)}{more}.")
    return sentences


def warnings_of(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a sentence and the name of the simpler model for each that is as good."""
    found = []
    if facts["beats_constant"] is False:
        found.append(
            (
                "WARNING: on the held-out rows the model is no better than always answering the "
                "mean, or the most frequent class.",
                "constant",
            )
        )
    if facts["beats_line"] is False:
        text = "NOTE: on the held-out rows the network is no better than a linear model."
        found.append((text, "line"))
    return found


def scores_table(model: Any, facts: dict[str, Any]) -> Table:
    """Return the scores of the model and of simpler ones; those not beaten are emphasised."""
    own, named, chosen = model.validation_score_, labels(model), facts["chosen"]
    title, metric = "Scores on the held-out rows", metric_of(model)
    if own is None:
        return Table(("model", metric), [], title=title)
    kind = "" if chosen == "network" else f", the {named[chosen]}"
    weak = {name for _, name in warnings_of(facts)}
    rows, strong = [(f"this model{kind}", f"{own:.4f}")], {0} if chosen in weak else set()
    for name, score in (("line", facts["line_score"]), ("constant", facts["constant_score"])):
        if score is not None and name != chosen:  # the chosen one has its row already
            if name in weak:
                strong.add(len(rows))
            note = " (simpler, and as good)" if name in weak else ""
            rows.append((f"{named[name]}{note}", f"{score:.4f}"))
    numeric, emphasised = frozenset({metric}), frozenset(strong)
    return Table(("model", metric), rows, title=title, numeric=numeric, strong=emphasised)


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
        "budget": model.budget_,
        "nonzeros_per_layer": [len(keys) for keys in network.keys],
        "classes": classes,
        "inputs_used": [{"name": names[j], "strength": float(strength[j])} for j in used],
        "n_steps": model.n_steps_,
        "effort": model.effort_,
        "validation_score": model.validation_score_,
        "final_loss": model.loss_curve_[-1] if model.loss_curve_ else None,
        **choice_facts(model),
    }
    steps = f" in {model.n_steps_} steps; {explain(model.status_)}" if model.n_steps_ else ""
    headline = [
        f"{type(model).__name__} with layers {'-'.join(map(str, widths))}: it has "
        f"{counted(network.n_nonzero, 'weight')}, and its budget is {model.budget_}.",
        f"The file takes {format_bytes(file_bytes)}.",
        f"It was fitted to {model.n_train_} rows{steps or ', without training steps'}.",
    ]
    if model.validation_score_ is not None:
        headline.append(
            f"Its {metric_of(model)} on the held-out rows is {model.validation_score_:.4f}."
        )
    headline += choice_sentences(model, facts)
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
    return Description("\n".join(headline), facts, (layers, inputs, scores_table(model, facts)))
