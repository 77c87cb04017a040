"""Check the constructor parameters of the perceptron estimators."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateurs.core.parameters import bad_value, check_choice, check_integer, check_real, is_integer
from secateurs.sparse.network import MAX_UNITS
from secateurs.training.defaults import is_auto

MOST_EFFORT = 1000.0
MOST_JOBS = 1 << 16


def check_parameters(model: Any) -> None:
    """Raise ValueError for parameters that make no sense, by name."""
    if not is_auto(model.n_nonzero):
        check_integer("n_nonzero", model.n_nonzero, 1, otherwise="'auto'")
    check_choice("model", model.model, ["auto", "network", "line"])
    hidden = model.hidden_layer_sizes
    widths = hidden if isinstance(hidden, tuple | list) else ()
    valid = len(widths) > 0 and all(is_integer(m, 1, MAX_UNITS) for m in widths)
    if not valid and not is_auto(hidden):
        expected = f"a tuple of widths from 1 to {MAX_UNITS} such as (50,), or 'auto'"
        raise bad_value("hidden_layer_sizes", hidden, expected)
    for name in ("max_epochs", "batch_size"):
        if not is_auto(getattr(model, name)):
            check_integer(name, getattr(model, name), 1, otherwise="'auto'")
    if not is_auto(model.learning_rate):
        check_real("learning_rate", model.learning_rate, above=0, otherwise="'auto'")
    check_real("effort", model.effort, above=0, most=MOST_EFFORT)
    if model.max_seconds is not None:
        check_real("max_seconds", model.max_seconds, above=0, otherwise="None")
    if model.n_jobs is not None and (not is_integer(model.n_jobs, -MOST_JOBS) or not model.n_jobs):
        raise bad_value("n_jobs", model.n_jobs, "an integer other than 0, or None")
    if not isinstance(model.warm_start, bool | np.bool_):
        raise bad_value("warm_start", model.warm_start, "True or False")
    check_real("overshoot", model.overshoot, least=1)
    check_real("validation_fraction", model.validation_fraction, least=0, below=1)
    for name in ("input_noise", "weight_decay"):
        if not is_auto(getattr(model, name)):
            check_real(name, getattr(model, name), least=0, otherwise="'auto'")
