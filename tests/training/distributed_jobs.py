"""Jobs that tests/training/test_distributed.py runs on one process and on two.

A job distributes its rows by ``group.rank``, so on `ALONE` it fits all rows.
``python -m tests.training.distributed_jobs RANK SIZE FOLDER`` runs all jobs and saves their
results.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.core.group import Group, GroupError, distributed
from secateurs.data.schema_fitting import fit_schema
from secateurs.experiments.allocation import measure
from secateurs.recovery.thresholding import gates as gates_module
from secateurs.recovery.thresholding import steps as steps_module
from secateurs.recovery.thresholding.iht import iht
from secateurs.training import prune_regrow as prune_regrow_module
from secateurs.training.moments import Scaling, column_moments
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.rigl import rigl
from secateurs.training.training_data import TrainingData
from tests.strategies import random_network

Result = dict[str, Any]
JOBS: dict[str, Callable[[Group], Result]] = {}


def job(function: Callable[[Group], Result]) -> Callable[[Group], Result]:
    JOBS[function.__name__] = function
    return function


def own(group: Group) -> slice:
    return slice(group.rank, None, group.size)


def planted(n: int = 601, d: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return an odd number of rows, so that two processes get different numbers."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d))
    W = np.where(rng.random((6, d)) < 0.15, rng.standard_normal((6, d)), 0.0)
    return X, np.maximum(X @ W.T, 0).sum(axis=1)


def teacher(group: Group, n: int = 401, **options: Any) -> TrainingData:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 20)).astype(np.float32)
    y = np.argmax(X[:, :3], axis=1)
    rows = own(group)
    scaling = Scaling(None, np.ones(20))
    return TrainingData(X[rows], y[rows], scaling, 3, group=group, **options)


def refused(call: Callable[[], object]) -> Result:
    try:
        call()
    except (GroupError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": "none"}


# gloo's threads finish shortly after their result is available; a profiler that started or
# stopped before that has crashed the process
SETTLE = 0.3  # seconds


def torch_peak(group: Group, call: Callable[[], object]) -> int:
    """Return the peak in bytes on the last process; others skip the slow profiler."""
    if group.rank < group.size - 1:
        call()
        return 0

    def settled() -> None:
        call()
        time.sleep(SETTLE)

    time.sleep(SETTLE)
    return measure(settled).torch_peak


def fingerprint(model: Any) -> str:
    return hashlib.sha256(model._file_content()).hexdigest()


# -- the group itself ------------------------------------------------------------------------


@job
def talk(group: Group) -> Result:
    answers = group.gather({"rank": group.rank, "text": "ä" * (1 + 1000 * group.rank)})
    return {
        "ranks": [one["rank"] for one in answers],
        "lengths": [len(one["text"]) for one in answers],
        "total": group.total(0.5 + group.rank),
        "sum": group.sum_(torch.full((3,), 1.0 + group.rank)).numpy(),
    }


@job
def moments(group: Group) -> Result:
    X = 1e6 + np.random.default_rng(2).standard_normal((301, 5)) * np.arange(1, 6)
    mean, variance = column_moments(X[own(group)], None, group)
    return {"mean": mean, "variance": variance}


def frame() -> pd.DataFrame:
    """Return a table; each of two processes sees only some categories and missing values."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "odd": rng.standard_normal(240) ** 3,
            "even": rng.integers(-4, 4, 240).astype(float),
            "city": rng.choice(["Oslo", "Rome", "Lima"], 240),
            "mixed": rng.choice([1, 2, 3], 240).astype(object),
            "rare": "a",
        }
    )
    table.loc[::5, "odd"] = np.nan
    table.loc[10, "rare"] = "b"
    table.loc[13, "mixed"] = "many"
    table.loc[21, "city"] = None
    return table


@job
def schema(group: Group) -> Result:
    return {"json": fit_schema(frame().iloc[own(group)], group.gather).model_dump_json()}


# -- hard thresholding -------------------------------------------------------------------------


@job
def thresholding(group: Group) -> Result:
    X, y = planted()
    rows = own(group)
    result: Result = {}
    for mode in ("sequential", "convex"):
        # columns kept, with a Gram matrix; and recomputed by blocks
        for limit in (1024, 8) if mode == "sequential" else (1024,):
            with (
                mock.patch.object(gates_module, "BLOCK", limit),
                mock.patch.object(gates_module, "GRAM", 64 if limit > 8 else 0),
            ):
                solution = iht(
                    X[rows], y[rows], 25, 12, mode=mode, n_steps=15, random_state=4, group=group
                )
            W = solution.value.weights.tocoo()
            name = f"{mode}.{limit}"
            result[f"{name}.loss"] = solution.history["loss"]
            result[f"{name}.support"] = W.row.astype(np.int64) * W.shape[1] + W.col
            result[f"{name}.values"] = W.data
    return result


@job
def thresholding_differs(group: Group) -> Result:
    X, y = planted()
    rows = own(group)
    honest, calls = steps_module.largest_entries, []

    def largest(keys: torch.Tensor, values: torch.Tensor, k: int) -> torch.Tensor:
        calls.append(k)
        return honest(keys, values, k - (len(calls) == 3 and group.rank == 1))

    with mock.patch.object(steps_module, "largest_entries", largest):
        return refused(lambda: iht(X[rows], y[rows], 25, 12, n_steps=10, group=group))


@job
def other_arguments(group: Group) -> Result:
    X, y = planted()
    return refused(lambda: iht(X, y, 25 + group.rank, 12, n_steps=3, group=group))


@job
def bad_rows(group: Group) -> Result:
    X, y = planted()
    X[-1, 0] = np.nan if group.rank else 0.0
    return refused(lambda: iht(X, y, 25, 12, n_steps=3, group=group))


@job
def thresholding_memory(group: Group) -> Result:
    X, y = planted(12_000)
    X, y = X[own(group)].copy(), y[own(group)].copy()
    return {"peak": torch_peak(group, lambda: iht(X, y, 30, 30, n_steps=2, group=group))}


@job
def thresholding_interrupted(group: Group) -> Result:
    X, y = planted()
    rows = own(group)

    def press(state: Any) -> None:
        if state.step == 4 and group.rank == group.size - 1:
            raise KeyboardInterrupt

    solution = iht(X[rows], y[rows], 25, 12, n_steps=50, progress=press, group=group)
    return {"status": solution.status, "steps": solution.measured["n_steps"]}


# -- prune and regrow ----------------------------------------------------------------------------


def trained(data: TrainingData, **options: Any) -> Result:
    settings: Result = {"n_steps": 120, "batch_size": data.n_all, "exchange_every": 10}
    solution = prune_regrow(data, (8,), 24, **(settings | options))
    return {
        "keys": np.concatenate(solution.value.keys),
        "values": np.concatenate(solution.value.values),
        "loss": solution.history["loss"],
        "sizes": solution.history["n_nonzero"],
        "status": solution.status,
        "steps": solution.measured["n_steps"],
    }


@job
def full_batch(group: Group) -> Result:
    return trained(teacher(group))


@job
def mini_batches(group: Group) -> Result:
    options: Result = {"batch_size": 64, "n_steps": 200}
    first, again = (trained(teacher(group, noise=0.1), **options) for _ in range(2))
    return first | {"repeats": np.array_equal(first["values"], again["values"])}


@job
def dense_trainer(group: Group) -> Result:
    return refused(lambda: rigl(teacher(group), (8,), 24, n_steps=2, batch_size=64))


@job
def other_start(group: Group) -> Result:
    start = random_network(np.random.default_rng(group.rank), (20, 8, 3), 0.5)
    return refused(lambda: trained(teacher(group), initial=start))


@job
def pruning_differs(group: Group) -> Result:
    honest, calls = prune_regrow_module.smallest_mask, []

    def mask(scores: Any, n_smallest: int, n: int) -> torch.Tensor:
        calls.append(n_smallest)
        if len(calls) == 3 and group.rank == 1:
            return honest(lambda piece: -scores(piece), n_smallest, n)
        return honest(scores, n_smallest, n)

    with mock.patch.object(prune_regrow_module, "smallest_mask", mask):
        return refused(lambda: trained(teacher(group)))


@job
def interrupted(group: Group) -> Result:
    def press(state: Any) -> None:
        if state.step == 20 and group.rank == group.size - 1:
            signal.raise_signal(signal.SIGINT)

    return trained(teacher(group), progress=press)


@job
def training_memory(group: Group) -> Result:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 300), dtype=np.float32)
    y = rng.integers(0, 10, 4000)
    data = TrainingData(
        X[own(group)].copy(), y[own(group)], Scaling(None, np.ones(300)), 10, group=group
    )
    options = {"n_steps": 4, "batch_size": 4000, "overshoot": 2, "exchange_every": 2}
    return {"peak": torch_peak(group, lambda: prune_regrow(data, (200,), 500, **options))}


# -- estimators ----------------------------------------------------------------------------------


@job
def classifier(group: Group) -> Result:
    table, rows = frame(), own(group)
    y = np.where(table["even"] > 0, "up", np.where(table["city"] == "Rome", "rome", "down"))
    y[::2][y[::2] == "rome"] = "up"  # one of the classes is only seen by the second process
    model = SparseMLPClassifier(
        20, (6,), max_epochs=40, batch_size=240, input_noise=0.0, validation_fraction=0.0,
        random_state=0, model="network",
    )  # fmt: skip
    model.fit(table.iloc[rows], y[rows], group=group)
    probabilities = model.predict_proba(table)
    return {
        "classes": model.classes_,
        "table": model.table_.model_dump_json(),
        "probabilities": probabilities,
        "n_train": model.n_train_,
        "content": fingerprint(model),
        "occam": model.certificate_["Occam bound"].measured,
    }


@job
def classifier_without_a_seed(group: Group) -> Result:
    X = np.random.default_rng(0).standard_normal((200, 5))
    y = (X[:, 0] > 0).astype(int)
    model = SparseMLPClassifier(10, "auto", max_epochs=10, validation_fraction=0.2)
    model.fit(X[own(group)], y[own(group)], group=group)
    return {
        "content": fingerprint(model),
        "n_train": model.n_train_,
        "score": model.validation_score_,
    }


@job
def regressor(group: Group) -> Result:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    y = np.c_[5 + np.maximum(X[:, 0], 0), 3 * X[:, 1]]
    options: Result = {"max_epochs": 60, "batch_size": 300, "input_noise": 0.0, "random_state": 0}
    options["model"] = "network"
    whole = SparseMLPRegressor(30, (8,), validation_fraction=0.0, **options)
    whole.fit(X[own(group)], y[own(group)], group=group)
    held = SparseMLPRegressor(30, (8,), validation_fraction=0.2, **options)
    held.fit(X[own(group)], y[own(group)], group=group)
    return {
        "scaling": np.concatenate([whole.fitted_.out_shift, whole.fitted_.out_scale]),
        "predictions": whole.predict(X),
        "content": fingerprint(held),
        "score": held.validation_score_,
        "verdict": held.certificate_["held-out gain"].verdict,
        "n_train": held.n_train_,
    }


@job
def not_asked(group: Group) -> Result:
    """Without the group each process fits its own rows, even where processes could talk."""
    X = np.random.default_rng(group.rank).standard_normal((100 + 10 * group.rank, 4))
    model = SparseMLPClassifier(10, (4,), max_epochs=5, random_state=0, validation_fraction=0.0)
    return {"n_train": model.fit(X, (X[:, 0] > 0).astype(int)).n_train_}


@job
def other_parameters(group: Group) -> Result:
    X = np.random.default_rng(0).standard_normal((100, 4))
    model = SparseMLPClassifier(10 + group.rank, (4,), max_epochs=5)
    return refused(lambda: model.fit(X, (X[:, 0] > 0).astype(int), group=group))


@job
def bad_shard(group: Group) -> Result:
    X = np.random.default_rng(0).standard_normal((100, 4))
    X[3, 1] = np.inf if group.rank else 0.0
    model = SparseMLPRegressor(10, (4,), max_epochs=5)
    return refused(lambda: model.fit(X, X[:, 0], group=group))


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=size
    )
    with distributed() as group:
        for name, function in JOBS.items():
            np.savez(folder / f"{name}.{rank}.npz", **function(group))
    dist.destroy_process_group()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # without waiting for the other process
