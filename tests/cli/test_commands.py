import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imsave

from secateurs import load, planted_relu
from secateurs.cli import main


def run(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 300).round(1),
            "city": rng.choice(["Oslo", "Rome", "Lima"], 300),
        }
    )
    frame["bought"] = np.where((frame["age"] > 40) ^ (frame["city"] == "Rome"), "yes", "no")
    frame.loc[::25, "age"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_json_has_the_promised_fields(capsys):
    status, out, err = run(
        capsys, "fit", "wine", "--nonzeros", 30, "--epochs", 10, "--compare", "--json"
    )
    assert (status, err) == (0, "")
    record = json.loads(out)
    fields = {
        *("dataset", "task", "n_train", "n_test", "d", "nonzeros", "score", "metric"),
        *("seconds", "peak_bytes", "file_bytes", "compare"),
    }
    assert fields <= record.keys()
    assert record["nonzeros"] <= 30
    assert {row["method"] for row in record["compare"]} == {
        *("dense", "gradual", "imp", "one_shot", "rigl")
    }
    for row in record["compare"]:
        assert {"nonzeros", "score", "metric", "seconds", "peak_bytes", "file_bytes"} <= row.keys()
        assert row["nonzeros"] <= 30 or row["method"] == "dense"


def test_fit_predict_inspect_on_a_mixed_table(capsys, table, tmp_path):
    model, plot, predictions = tmp_path / "m.safetensors", tmp_path / "f.png", tmp_path / "p.csv"
    status, out, _ = run(
        *(capsys, "fit", table, "--target", "bought", "--nonzeros", 40),
        *("--output", model, "--plot", plot),
    )
    assert status == 0
    assert "Certificate" in out
    assert plot.read_bytes().startswith(b"\x89PNG")

    status, out, _ = run(capsys, "inspect", model)
    assert status == 0
    assert "city=Rome" in out
    status, out, _ = run(capsys, "inspect", model, "--json")
    assert json.loads(out)["classes"] == ["no", "yes"]

    frame = pd.read_csv(table)
    shuffled = frame[["city", "age"]].assign(extra=1)
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    status, _, _err = run(capsys, "predict", model, tmp_path / "new.csv", "--output", predictions)
    assert status == 0
    got = pd.read_csv(predictions)
    assert list(got) == ["prediction", "probability_no", "probability_yes"]
    assert (got["prediction"] == frame["bought"]).mean() > 0.9
    status, out, _ = run(capsys, "predict", model, table)
    assert out.splitlines()[1].split(",")[0] == got["prediction"][0]


def test_arrays_and_regression(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    np.savez(tmp_path / "d.npz", X=X, y=X[:, 0] * 3)
    model = tmp_path / "m.safetensors"
    status, out, _ = run(
        capsys, "fit", tmp_path / "d.npz", "--nonzeros", 20, "--output", model, "--json"
    )
    record = json.loads(out)
    assert (status, record["metric"], record["task"]) == (0, "r2", "regression")
    assert record["score"] > 0.9
    status, out, _ = run(capsys, "predict", model, tmp_path / "d.npz")
    assert len(out.splitlines()) == 201


def test_path_over_budgets(capsys, tmp_path):
    plot = tmp_path / "path.svg"
    status, out, _ = run(
        *(capsys, "path", "digits", "--nonzeros", "300,50,100", "--epochs", 5, "--json"),
        *("--plot", plot),
    )
    assert status == 0
    points = json.loads(out)["path"]
    assert [p["budget"] for p in points] == [300, 100, 50]
    assert all(p["nonzeros"] <= p["budget"] for p in points)
    assert b"<svg" in plot.read_bytes()
    assert run(capsys, "path", "wine", "--nonzeros", "20,10", "--epochs", 2)[0] == 0


def test_same_seed_same_model_and_figure(capsys, tmp_path):
    for name in ("a", "b"):
        run(
            *(capsys, "fit", "wine", "--nonzeros", 20, "--epochs", 5, "--seed", 3),
            *("--output", tmp_path / f"{name}.safetensors", "--plot", tmp_path / f"{name}.png"),
        )
    for kind in ("safetensors", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "digits", "--nonzeros", "0"], "--nonzeros: got 0"),
        (["fit", "digits", "--nonzeros", "many"], "many"),
        (["fit", "digits", "--nonzeros", "5", "--hidden", "x"], "--hidden: got 'x'"),
        (["fit", "digits", "--nonzeros", "5", "--hidden", "0"], "--hidden"),
        (["fit", "digits", "--nonzeros", "5", "--epochs", "0"], "--epochs"),
        (["fit", "digits", "--nonzeros", "5", "--seed", "-1"], "--seed"),
        (["fit", "digits", "--nonzeros", "5", "--plot", "x.bmp"], ".png"),
        (["fit", "digits", "--nonzeros", "5", "--output", "no/such/m"], "directory"),
        (["fit", "digits", "--nonzeros", "5", "--target", "x"], "own target"),
        (["fit", "digist", "--nonzeros", "5"], "did you mean 'digits'"),
        (["fit", "absent.csv", "--nonzeros", "5"], "absent.csv"),
        (["fit", "digits", "--nonzeros", "5", "--bogus"], "--bogus"),
        (["path", "digits", "--nonzeros", "5;6"], "--nonzeros"),
        (["predict", "absent", "digits"], "absent"),
        (["inspect", "pyproject.toml"], "pyproject.toml"),
        (["trim"], "command: got 'trim'; expected bounds, "),
        (["ftt"], "; did you mean 'fit'?"),
        (["fit", "digits", "--nonzero", "5"], "--nonzeros"),
        (["recover", "absent.npz", "--nonzeros", "5"], "absent.npz"),
        (["recover", "diabetes", "--nonzeros", "0"], "--nonzeros"),
        (["recover", "diabetes", "--nonzeros", "5", "--solver", "magic"], "solver"),
        (["image", "absent.png", "--nonzeros", "5"], "absent.png"),
        (["image", "5000", "--nonzeros", "5"], "5000"),
        (["image", "3", "--nonzeros", "5", "--output", "x.bmp"], ".png"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_nothing_is_written(
    capsys, tmp_path, monkeypatch, arguments, message
):
    if "pyproject.toml" not in arguments:
        monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_and_rows_that_do_not_fit(capsys, table, tmp_path):
    model = tmp_path / "m.safetensors"
    run(
        *(capsys, "fit", table, "--target", "bought", "--nonzeros", 9, "--epochs", 1),
        *("--output", model),
    )
    (tmp_path / "other.csv").write_text("age\n1\n")
    status, _, err = run(capsys, "predict", model, tmp_path / "other.csv")
    assert status == 2
    assert "'city'" in err
    assert run(capsys, "predict", model, "digits")[0] == 2


def test_help_and_version(capsys):
    for arguments in (["--help"], ["fit", "--help"], ["--version"], []):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert out


def test_ctrl_c_keeps_what_is_done(tmp_path):
    """A real process, a real signal: the model so far is written, within its budget."""
    model = tmp_path / "m.safetensors"
    # the signal comes from inside, some seconds after the imports: training is under way
    program = (
        "import os, signal, sys, threading\n"
        "from secateurs.cli import main, training\n"
        "threading.Timer(4, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "main(sys.argv[1:])\n"
    )
    command = [
        *(sys.executable, "-c", program, "fit", "digits", "--nonzeros", "100"),
        *("--epochs", "100000", "--output", str(model)),
    ]
    process = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    out = process.stdout
    assert process.returncode == 130
    assert "Interrupted" in out
    fitted = load(model)
    assert fitted.status_ == "interrupted"
    assert fitted.n_nonzero_ <= 100


def test_recover_a_planted_network(capsys, tmp_path):
    problem = planted_relu(600, 20, 3, 10, random_state=0)
    np.savez(tmp_path / "p.npz", X=problem.X, y=problem.y)
    model = tmp_path / "m.safetensors"
    status, out, _ = run(
        *(capsys, "recover", tmp_path / "p.npz", "--nonzeros", 10, "--neurons", 3),
        *("--output", model, "--json"),
    )
    record = json.loads(out)
    assert (status, record["status"], record["nonzeros"]) == (0, "exact", 10)
    assert load(model).match(problem.truth[0]).error < 1e-6
    status, out, _ = run(capsys, "inspect", model)
    assert status == 0
    assert "10 weights of 10 allowed" in " ".join(out.split())
    assert len(json.loads(run(capsys, "inspect", model, "--json")[1])["neurons"]) == 3
    status, out, _ = run(capsys, "predict", model, tmp_path / "p.npz")
    got = np.array(out.split()[1:], dtype=float)
    np.testing.assert_allclose(got, problem.y, atol=1e-8)
    assert run(capsys, "recover", tmp_path / "p.npz", "--nonzeros", "auto")[0] == 0


def test_draw_an_image(capsys, tmp_path):
    plot = tmp_path / "fitted.png"
    status, out, _ = run(
        *(capsys, "image", "3", "--nonzeros", 60, "--features", 300),
        *("--output", plot, "--json"),
    )
    record = json.loads(out)
    assert (status, record["shape"]) == (0, [8, 8])
    assert record["nonzeros"] <= 60
    assert record["psnr"] > 30
    assert plot.read_bytes().startswith(b"\x89PNG")
    imsave(tmp_path / "small.png", np.linspace(0, 1, 48).reshape(6, 8), cmap="gray")
    small = tmp_path / "small.png"
    status, out, _ = run(capsys, "image", small, "--nonzeros", 10, "--features", 100)
    assert status == 0
    assert "dB" in out
