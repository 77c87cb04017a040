"""The driver of iterations: steps, history, progress, time limit and Ctrl-C."""

import time

import pytest

from secateurs.core import History, Iterations, explain
from secateurs.core.solution import EXPLANATIONS


def test_the_loop_makes_every_step_unless_it_is_ended():
    with Iterations(5) as run:
        made = list(run)
    assert made == [1, 2, 3, 4, 5]
    assert run.solution(0).status == "budget"

    with Iterations(5) as run:
        for step in run:
            if step == 3:
                run.end("converged")
    assert run.step == 3
    assert run.ended
    assert run.solution(0).status == "converged"


def test_history_and_progress_say_the_same():
    seen = []
    with Iterations(3, seen.append) as run:
        for step in run:
            run.record(loss=1 / step, n_nonzero=10 * step)
    solution = run.solution("value", more=1)
    assert solution.history == {
        "step": [1, 2, 3],
        "loss": [1, 1 / 2, 1 / 3],
        "n_nonzero": [10, 20, 30],
    }
    assert [(p.step, p.n_steps, p.loss, p.n_nonzero) for p in seen] == [
        (1, 3, 1, 10),
        (2, 3, 1 / 2, 20),
        (3, 3, 1 / 3, 30),
    ]
    assert (solution.value, solution.measured) == ("value", {"more": 1})


def test_ctrl_c_keeps_the_value_of_the_last_step():
    value = 0
    with Iterations(10) as run:
        for step in run:
            if step == 4:
                raise KeyboardInterrupt
            value = step
    assert run.solution(value).status == "interrupted"
    assert value == 3


def test_ctrl_c_in_the_progress_callback_ends_the_run_too():
    def interrupt(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with Iterations(10, interrupt) as run:
        for _ in run:
            run.record(loss=0.0, n_nonzero=0)
    assert run.status == "interrupted"
    assert run.history["step"] == [1, 2]


def test_other_errors_are_not_swallowed():
    def fail(progress):
        raise FloatingPointError

    with pytest.raises(FloatingPointError), Iterations(2, fail) as run:
        run.record(step=1, loss=0.0, n_nonzero=0)


def test_no_step_starts_after_the_time_limit():
    with Iterations(10**9, max_seconds=0.05) as run:
        for _ in run:
            time.sleep(0.01)
    assert 1 <= run.step < 100
    assert run.status == "budget"


def test_a_history_is_complete_or_refused():
    history = History("step", "loss")
    history.record(step=1, loss=0.5)
    for wrong in ({"step": 2}, {"step": 2, "loss": 1.0, "more": 0.0}):
        with pytest.raises(KeyError, match="expected"):
            history.record(**wrong)
    assert history == {"step": [1], "loss": [0.5]}


def test_every_status_is_explained():
    for status, text in EXPLANATIONS.items():
        assert explain(status) == text
