"""More effort is more steps or more runs, the best run is kept, and seconds give an effort."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_classification

from secateurs import SparseMLPClassifier, load
from secateurs.core.solution import Solution
from secateurs.training import effort as efforts
from secateurs.training.effort import best_run, effort_for, run_plan, training_loss
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.training_data import TrainingData

X, Y = make_classification(400, 12, n_informative=6, n_classes=3, random_state=0)


def rows():
    return TrainingData(X, Y.astype(np.int64), Scaling(None, np.ones(12)), 3)


def train(seed, progress=None, n_steps=60):
    options = {"n_steps": n_steps, "batch_size": 40, "exchange_every": 10}
    return prune_regrow(rows(), (6,), 20, random_state=seed, progress=progress, **options)


@given(
    effort=st.floats(0.01, 1000),
    s=st.integers(1, 10**6),
    k=st.integers(1, 100),
)
def test_the_work_is_within_the_effort_and_near_it(effort, s, k):
    length, n_runs = run_plan(effort, s, k)
    assert 0 < length <= 10
    assert n_runs >= 1
    assert length * n_runs <= effort * (1 + 1e-9)
    assert length * n_runs > effort / 2 or effort <= length


def test_the_best_of_several_runs_is_kept():
    runs = {}

    def run(seed, tell):
        runs[seed] = train(seed, tell)
        return runs[seed]

    found = best_run(run, rows(), 4, 7, None)
    assert len(runs) == 4
    assert next(iter(runs)) == 7
    losses = {seed: training_loss(solution.value, rows()) for seed, solution in runs.items()}
    assert training_loss(found.value, rows()) == min(losses.values())


def test_the_result_does_not_depend_on_the_number_of_processes():
    alone, shared = (best_run(train, rows(), 3, 5, None, jobs) for jobs in (1, 2))
    for a, b in zip(alone.value.keys, shared.value.keys, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(alone.value.values, shared.value.values, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_estimator_gives_the_same_with_several_processes():
    options = {"hidden_layer_sizes": (6,), "max_epochs": 4, "model": "network", "effort": 2}
    alone, shared = (
        SparseMLPClassifier(30, random_state=0, n_jobs=jobs, **options).fit(X, Y) for jobs in (1, 2)
    )
    np.testing.assert_array_equal(alone.predict_proba(X), shared.predict_proba(X))


def test_a_memory_mapped_array_is_not_sent(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    parts = (Y.astype(np.int64), Scaling(None, np.ones(12)), 3)
    assert TrainingData(X, *parts).can_be_sent
    assert not TrainingData(mapped, *parts).can_be_sent
    assert not TrainingData(np.asarray(mapped), *parts).can_be_sent


def test_an_error_in_another_process_reaches_the_caller():
    def run(seed, progress):
        if seed != 3:
            raise FloatingPointError("diverged")
        return train(seed, progress)

    with pytest.raises(FloatingPointError, match="diverged"):
        best_run(run, rows(), 2, 3, None, 2)


def test_ctrl_c_in_the_first_process_stops_the_others():
    def run(seed, progress):
        if seed != 3:
            time.sleep(600)
        found = train(seed, progress)
        return Solution(found.value, "interrupted", found.history, found.measured)

    began = time.monotonic()
    assert best_run(run, rows(), 2, 3, None, 2).status == "interrupted"
    assert time.monotonic() - began < 300


def test_progress_counts_the_steps_of_all_runs():
    seen = []
    best_run(train, rows(), 3, 0, lambda state: seen.append((state.step, state.n_steps)))
    steps = [step for step, _ in seen]
    assert steps == sorted(steps)
    assert seen[-1] == (180, 180)


def test_ctrl_c_keeps_the_best_whole_run():
    runs = []

    def run(seed, tell):
        found = train(seed, tell)
        if len(runs) == 2:
            found = Solution(found.value, "interrupted", found.history, found.measured)
        runs.append(found)
        return found

    found = best_run(run, rows(), 9, 0, None)
    assert len(runs) == 3
    assert found.status == "interrupted"
    whole = min(runs[:2], key=lambda solution: training_loss(solution.value, rows()))
    assert found.value is whole.value


@pytest.mark.parametrize(("a", "b"), [(0.0, 1e-3), (0.5, 1e-3), (2.0, 0.0)])
def test_seconds_are_turned_into_the_effort_that_takes_them(a, b, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run(n_steps, exchange_every):
        clock[0] += a * n_steps / exchange_every / efforts.EXCHANGES + b * n_steps
        return Solution(None, "budget", {})

    n_steps, seconds = 3600, 100.0
    effort = effort_for(seconds, n_steps, run)
    spent = clock[0] - b - a / efforts.EXCHANGES  # without the first call, which compiles
    assert effort == pytest.approx((seconds - spent) / (a + b * n_steps), rel=0.06)


def test_ctrl_c_while_seconds_are_measured_ends_the_fit():
    with pytest.raises(KeyboardInterrupt):
        effort_for(9.0, 100, lambda **_: Solution(None, "interrupted", {}))


def test_an_estimator_takes_more_steps_and_repeats_what_seconds_chose(tmp_path):
    options = {"n_nonzero": 200, "hidden_layer_sizes": (8,), "random_state": 0, "max_epochs": 6}
    options |= {"model": "network"}
    usual = SparseMLPClassifier(**options).fit(X, Y)
    longer = SparseMLPClassifier(**options, effort=2).fit(X, Y)
    assert longer.n_steps_ == 2 * usual.n_steps_
    assert (usual.report_["effort"], longer.report_["effort"]) == (1.0, 2.0)
    timed = SparseMLPClassifier(**options, max_seconds=0.5).fit(X, Y)
    again = SparseMLPClassifier(**options, effort=timed.report_["effort"]).fit(X, Y)
    np.testing.assert_array_equal(timed.predict_proba(X), again.predict_proba(X))
    timed.save(tmp_path / "m.secateurs")
    assert load(tmp_path / "m.secateurs").effort_ == timed.report_["effort"]


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all", True])
def test_a_bad_number_of_processes_is_refused(n_jobs):
    with pytest.raises(ValueError, match="n_jobs"):
        SparseMLPClassifier(20, n_jobs=n_jobs).fit(X, Y)


@pytest.mark.parametrize("name", ["effort", "max_seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "long"])
def test_bad_values_are_refused(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        SparseMLPClassifier(20, **{name: value}).fit(X, Y)
