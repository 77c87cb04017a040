import json

import numpy as np
import pytest

from secateurs.sensing.planted import interactions_table, planted_sensing
from tests.cli.test_commands import run


@pytest.fixture
def measurements(tmp_path):
    problem = planted_sensing(400, 20, 3, noise_ratio=0.1, random_state=0)
    path = tmp_path / "m.npz"
    np.savez(path, A=problem.operator.rows.data, y=problem.y)
    return path


def test_sense_writes_draws_and_can_be_inspected(capsys, measurements, tmp_path):
    model, plot = tmp_path / "m.safetensors", tmp_path / "m.png"
    status, out, err = run(capsys, "sense", measurements, "--output", model, "--plot", plot)
    assert (status, err) == (0, "")
    assert "rank 3" in out
    assert plot.read_bytes()[:4] == b"\x89PNG"
    status, out, _ = run(capsys, "inspect", model, "--json")
    record = json.loads(out)
    assert (status, record["kind"], record["rank"], record["d"]) == (0, "MatrixSensing", 3, 20)
    assert "rank 3" in run(capsys, "inspect", model)[1]
    status, _, err = run(capsys, "predict", model, measurements)
    assert status == 2
    assert "predicts measurements" in err


def test_sense_in_json(capsys, measurements):
    status, out, err = run(capsys, "sense", measurements, "--components", 2, "--json")
    record = json.loads(out)
    assert (status, err) == (0, "")
    assert record["rank"] == 2
    assert record["n"] == 400
    assert {c["name"] for c in record["certificate"]}


def test_interactions_of_a_table(capsys, tmp_path):
    problem = interactions_table(700, 8, random_state=0)
    table = np.column_stack([problem.X, problem.y])
    names = [*(f"col{j}" for j in range(8)), "y"]
    path = tmp_path / "t.csv"
    np.savetxt(path, table, delimiter=",", header=",".join(names), comments="")
    model, plot = tmp_path / "q.safetensors", tmp_path / "q.svg"
    status, out, err = run(
        capsys, "interactions", path, "--target", "y", "--output", model, "--plot", plot
    )
    assert (status, err) == (0, "")
    assert "4 squares" in out
    assert "col" in out
    assert b"<svg" in plot.read_bytes()
    status, out, _ = run(capsys, "predict", model, path)
    assert status == 0
    assert len(out.splitlines()) == 701
    status, out, _ = run(capsys, "inspect", model, "--json")
    assert json.loads(out)["interactions"]


def test_no_interactions_are_said_and_drawn(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3))
    np.savez(tmp_path / "l.npz", X=X, y=X[:, 0] + 0.1 * rng.standard_normal(300))
    plot = tmp_path / "l.png"
    status, out, _ = run(capsys, "interactions", tmp_path / "l.npz", "--plot", plot)
    assert status == 0
    assert "No pair improves" in out
    assert plot.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sense", "absent.npz"), "no such file"),
        (("interactions", "diabetes", "--components", "x"), "--components"),
        (("interactions", "diabetes", "--top", "0"), "--top"),
        (("interactions", "absent.csv"), "absent.csv"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
