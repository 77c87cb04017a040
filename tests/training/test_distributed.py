"""Two processes with half of the rows each give the same results as one with all rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

import secateurs
from secateurs.cli import main
from secateurs.cli.training import rows_of_process
from secateurs.core.group import ALONE, Group, distributed
from secateurs.core.interrupt import Stop
from tests.training.distributed_jobs import JOBS

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="torch was built without gloo"
)
ROOT = Path(__file__).parents[2]
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
ENVIRONMENT = os.environ | LOOPBACK | {"OMP_NUM_THREADS": "1"}


def _arrays(path):
    with np.load(path) as archive:  # an open one warns when it is collected
        return dict(archive)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return the results of the jobs by name, for each of two processes."""
    folder = tmp_path_factory.mktemp("group")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.distributed_jobs", str(rank), "2", str(folder)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return {name: [_arrays(folder / f"{name}.{rank}.npz") for rank in range(2)] for name in JOBS}


def agreed(two, name):
    """Return the result of a job, which must be the same on both processes, bit for bit."""
    first, second = two[name]
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=f"{name}.{key}")
    return first


def errors(two, name):
    return [str(result["error"]) for result in two[name]]


def test_texts_of_any_length_and_sums_reach_every_process(two):
    result = agreed(two, "talk")
    np.testing.assert_array_equal(result["ranks"], [0, 1])
    np.testing.assert_array_equal(result["lengths"], [1, 1001])
    assert result["total"] == 2.0
    np.testing.assert_array_equal(result["sum"], [3.0, 3.0, 3.0])


def test_moments_are_those_of_all_rows(two):
    result, one = agreed(two, "moments"), JOBS["moments"](ALONE)
    np.testing.assert_allclose(result["mean"], one["mean"], rtol=1e-14)
    np.testing.assert_allclose(result["variance"], one["variance"], rtol=1e-10)


def test_the_schema_is_that_of_the_whole_table(two):
    """Medians, categories and missing values agree to the character."""
    assert str(agreed(two, "schema")["json"]) == JOBS["schema"](ALONE)["json"]


def test_thresholding_equals_one_process(two):
    result, one = agreed(two, "thresholding"), JOBS["thresholding"](ALONE)
    for name, value in one.items():
        if name.endswith("support"):
            np.testing.assert_array_equal(result[name], value)
        else:
            np.testing.assert_allclose(result[name], value, rtol=1e-10, atol=1e-12)


def test_pruning_a_full_batch_equals_one_process(two):
    """After 120 Adam steps in float32 and 9 changes of support, the support is the same."""
    result, one = agreed(two, "full_batch"), JOBS["full_batch"](ALONE)
    np.testing.assert_array_equal(result["keys"], one["keys"])
    np.testing.assert_array_equal(result["sizes"], one["sizes"])
    np.testing.assert_allclose(result["values"], one["values"], atol=1e-5)
    np.testing.assert_allclose(result["loss"], one["loss"], rtol=1e-5)


def test_mini_batches_are_drawn_from_both_shards(two):
    """Two processes draw other rows than one, but the fit is as good, and they agree."""
    result, one = agreed(two, "mini_batches"), JOBS["mini_batches"](ALONE)
    assert len(result["keys"]) <= 24
    assert result["loss"][-1] < result["loss"][0] / 2
    assert result["repeats"]
    assert result["loss"][-1] == pytest.approx(one["loss"][-1], abs=0.15)


def test_a_classifier_of_shards_is_that_of_the_table(two):
    result, one = agreed(two, "classifier"), JOBS["classifier"](ALONE)
    assert result["classes"].tolist() == ["down", "rome", "up"]
    assert str(result["table"]) == one["table"]
    assert result["n_train"] == one["n_train"] == 240
    np.testing.assert_allclose(result["probabilities"], one["probabilities"], atol=1e-5)
    assert result["occam"] == one["occam"]


def test_without_a_seed_the_processes_still_fit_one_model(two):
    result = agreed(two, "classifier_without_a_seed")  # "content" hashes the file
    assert 130 <= result["n_train"] <= 185  # each row is held out with probability 0.2
    assert 0 <= result["score"] <= 1


def test_a_regressor_of_shards_is_that_of_all_rows(two):
    result, one = agreed(two, "regressor"), JOBS["regressor"](ALONE)
    np.testing.assert_allclose(result["scaling"], one["scaling"], rtol=1e-12)
    np.testing.assert_allclose(result["predictions"], one["predictions"], atol=1e-5)
    assert one["n_train"] == 240
    assert 215 <= result["n_train"] <= 265  # each row is held out with probability 0.2


@pytest.mark.parametrize("name", ["thresholding_memory", "training_memory"])
def test_memory_of_a_process_falls_with_its_share_of_the_rows(two, name):
    half, whole = int(two[name][1]["peak"]), int(JOBS[name](ALONE)["peak"])
    assert whole > 5e6
    assert half < 0.6 * whole


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("thresholding_differs", "the support at step 3"),
        ("other_start", "the support at step 0"),
        ("pruning_differs", "the support at step 30"),
        ("other_arguments", "the set of arguments"),
        ("other_parameters", "the set of parameters"),
    ],
)
def test_a_difference_between_processes_is_an_error_of_both(two, name, what):
    for error in errors(two, name):
        assert error.startswith(f"GroupError: {what}")
        assert "of process 1 differs from that of process 0" in error


@pytest.mark.parametrize(("name", "what"), [("bad_rows", "infinite or NaN"), ("bad_shard", "inf")])
def test_rows_that_one_process_refuses_end_the_fit_of_both(two, name, what):
    first, second = errors(two, name)
    assert first.startswith("GroupError: process 1 of 2: ")
    assert second.startswith("ValueError: ")
    assert what in first
    assert what in second


def test_ctrl_c_on_one_process_stops_both_at_the_same_step(two):
    result = agreed(two, "interrupted")  # pressed in the second process after step 20
    assert str(result["status"]) == "interrupted"
    assert result["steps"] == 21
    assert 0 < len(result["keys"]) <= 24
    thresholding = agreed(two, "thresholding_interrupted")
    assert (str(thresholding["status"]), int(thresholding["steps"])) == ("interrupted", 4)


def test_the_dense_trainers_refuse_a_group(two):
    assert all("dense trainers do not support" in error for error in errors(two, "dense_trainer"))


def test_a_fit_without_the_group_is_not_shared(two):
    assert [int(result["n_train"]) for result in two["not_asked"]] == [100, 110]


# -- without a second process ------------------------------------------------------------------


def test_a_group_of_one_sends_nothing(monkeypatch):
    for name in ("all_reduce", "all_gather", "init_process_group"):
        monkeypatch.setattr(dist, name, None)
    with distributed() as group:
        assert group == ALONE
        value = object()
        assert group.gather(value)[0] is value
        assert group.total(3) == 3
        group.require_same("anything", b"")
        with pytest.raises(KeyError), group.failing_together():
            raise KeyError
        before = signal.getsignal(signal.SIGINT)
        with Stop(group) as stop:
            assert signal.getsignal(signal.SIGINT) is before
            stop.check()
            with pytest.raises(KeyboardInterrupt), stop.held():
                raise KeyboardInterrupt


def test_the_command_line_distributes_rows_or_files(tmp_path):
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
    for rank in range(2):
        test = {"x_test": X[:3], "y_test": y[:3]}
        path = tmp_path / f"part{rank}.npz"
        np.savez(path, x_train=X + 100 * rank, y_train=y, **test)
    parts = [
        rows_of_process(str(tmp_path / "part0.npz"), None, "regression", 0, Group(r, 2))
        for r in (0, 1)
    ]
    np.testing.assert_array_equal(parts[0].X, X[::2])
    np.testing.assert_array_equal(parts[1].y, y[1::2])
    own = rows_of_process(str(tmp_path / "part{rank}.npz"), None, "regression", 0, Group(1, 2))
    np.testing.assert_array_equal(own.X, X + 100)


def test_other_commands_refuse_to_run_in_several_processes(monkeypatch, capsys):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "x", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SystemExit) as stop:
        main(["predict", "m.safetensors", "digits"])
    assert stop.value.code == 2
    assert "only one that processes can share" in capsys.readouterr().err


# -- as users start it ---------------------------------------------------------------------------


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*command, "--nproc-per-node", "2", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_torchrun_fits_one_model_and_writes_one_file(tmp_path):
    model = tmp_path / "m.safetensors"
    process = torchrun(
        "-m", "secateurs", "fit", "digits", "--nonzeros", 300, "--output", model, "--json"
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    record = json.loads(out)  # one object, because the other process prints nothing
    assert record["n_train"] + record["n_validation"] + record["n_test"] == 1797
    assert record["score"] > 0.92
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert secateurs.load(model).n_nonzero_ == record["nonzeros"]


SCRIPT = """
from pathlib import Path
from sklearn.datasets import load_digits
from secateurs import SparseMLPClassifier
from secateurs.core.group import distributed

X, y = load_digits(return_X_y=True)
with distributed() as group:
    rows = slice(group.rank, None, group.size)
    model = SparseMLPClassifier(300, max_epochs=100_000, random_state=0)
    tell = lambda state: Path("started").touch()
    model.fit(X[rows], y[rows], progress=tell, group=group)
    if group.rank == 0:
        model.save("m.safetensors")
"""


@pytest.mark.slow
def test_ctrl_c_under_torchrun_keeps_what_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    process = torchrun(tmp_path / "script.py")
    for _ in range(600):
        if (tmp_path / "started").exists() or process.poll() is not None:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=120)[1]
    assert (tmp_path / "m.safetensors").exists(), err
    model = secateurs.load(tmp_path / "m.safetensors")
    assert model.status_ == "interrupted"
    assert 0 < model.n_nonzero_ <= 300
