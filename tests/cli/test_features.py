import json

import numpy as np
import pandas as pd
import pytest

from secateurs import load
from tests.cli.test_commands import run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30))
    frame = pd.DataFrame(X, columns=[f"col{j}" for j in range(30)])
    frame["city"] = rng.choice(["Oslo", "Rome", "Lima"], 400)
    frame["y"] = X[:, 4] + 2 * (frame["city"] == "Rome") + 0.1 * rng.standard_normal(400)
    frame["bought"] = np.where(X[:, 4] > X[:, 9], "yes", "no")
    path = tmp_path_factory.mktemp("features") / "t.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_ranked_table_its_file_its_picture_and_its_model(capsys, table, tmp_path):
    support, model, plot = (tmp_path / name for name in ("s.csv", "m.safetensors", "f.png"))
    status, out, err = run(
        *(capsys, "features", table, "--target", "y"),
        *("--output", support, "--model", model, "--plot", plot),
    )
    assert (status, err) == (0, "")
    assert "col4" in out
    assert "city=Rome" in out
    assert "Certificate" in out
    assert plot.read_bytes()[:4] == b"\x89PNG"
    frame = pd.read_csv(support)
    assert len(frame) == 34  # three cities, two answers in one column
    fitted = load(model)
    assert set(frame.loc[frame["kept"], "column"]) == set(fitted.support_names_)
    assert frame["kept"].is_monotonic_decreasing
    assert frame["share"].sum() == pytest.approx(1)

    status, out, _ = run(capsys, "inspect", model, "--json")
    record = json.loads(out)
    assert (status, record["kind"]) == (0, "SparseMultiIndexRegressor")
    assert {entry["name"] for entry in record["columns"]} == set(fitted.support_names_)
    assert "col4" in run(capsys, "inspect", model)[1]
    status, out, _ = run(capsys, "predict", model, table)
    assert status == 0
    assert len(out.splitlines()) == 401


def test_classes_in_json(capsys, table, tmp_path):
    model = tmp_path / "m.safetensors"
    status, out, err = run(
        capsys, "features", table, "--target", "bought", "--model", model, "--json"
    )
    record = json.loads(out)
    assert (status, err) == (0, "")
    assert record["task"] == "classification"
    assert record["classes"] == ["no", "yes"]
    assert {"col4", "col9"} <= {entry["name"] for entry in record["columns"]}
    assert record["test_score"] > 0.85
    status, out, _ = run(capsys, "predict", model, table)
    assert out.splitlines()[0] == "prediction,probability_no,probability_yes"


def test_noise_is_called_noise(capsys, tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "n.npz", X=rng.standard_normal((250, 200)), y=rng.standard_normal(250))
    plot = tmp_path / "n.svg"
    status, out, _ = run(capsys, "features", tmp_path / "n.npz", "--plot", plot)
    assert status == 0
    assert "No signal was detected" in out
    assert b"<svg" in plot.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("features", "absent.csv", "--target", "y"), "absent.csv"),
        (("features", "diabetes", "--top", "0"), "--top"),
        (("features", "diabetes", "--alpha", "2"), "alpha: got 2"),
        (("features", "diabetes", "--max-features", "0"), "max_features: got 0"),
        (("features", "diabetes", "--output", "support.txt"), ".csv"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
