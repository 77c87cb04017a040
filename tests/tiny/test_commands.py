"""The commands `export` and `fit --flash`."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess

import numpy as np
import pytest

from secateurs import SparseMLPClassifier
from secateurs.cli import main
from secateurs.tiny.figures import bytes_figure
from secateurs.tiny.peers import MNIST_PEERS


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Rows as an archive, and a model that was fitted on them."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    X = (rng.integers(0, 100, (300, 12)) + 80 * y[:, None] * (np.arange(12) < 4)).astype(np.uint8)
    np.savez(folder / "rows.npz", X=X, y=y)
    options = ["--nonzeros", "20", "--hidden", "4", "--epochs", "3", "--task", "classification"]
    assert run("fit", folder / "rows.npz", *options, "--output", folder / "m.safetensors") == 0
    return folder


def arrays(path):
    """Read an archive and close it: an open one warns when it is collected."""
    with np.load(path) as archive:
        return dict(archive)


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize(("to", "name"), [("c", "net.c"), ("numpy", "net.py"), ("onnx", "n.onnx")])
def test_export(files, tmp_path, capsys, to, name, with_rows):
    rows = [files / "rows.npz", "--epochs", "0"] if with_rows else []
    out = tmp_path / name
    assert run("export", files / "m.safetensors", *rows, "--to", to, "--output", out) == 0
    text = capsys.readouterr().out
    assert "bytes of flash" in text
    assert out.stat().st_size
    if to == "numpy":
        X = arrays(files / "rows.npz")["X"]
        assert len(runpy.run_path(str(out))["predict"](X[:5])) == 5
    if to == "c" and shutil.which("gcc"):
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-c"]
        subprocess.run(["gcc", *flags, name], cwd=tmp_path, check=True)
        told = " ".join(text.split()).partition("To run the test of the program: ")[2]
        command = told.partition("./a.out")[0] + "./a.out"
        assert "net.h" in text
        assert bool(told) == with_rows  # a network that was only rounded has no example
        if not with_rows:
            return
        done = subprocess.run(command, cwd=tmp_path, shell=True, check=True, capture_output=True)
        assert b"ok" in done.stdout


def held_out_error(capsys, *arguments):
    assert run("export", *arguments, "--epochs", "0", "--json") == 0
    (check,) = (
        check
        for check in json.loads(capsys.readouterr().out)["certificate"]
        if check["name"] == "held-out error"
    )
    return check


def test_export_certifies_on_rows_that_the_fit_held_out(files, tmp_path, capsys):
    model, out = files / "m.safetensors", ["--output", tmp_path / "net.c"]
    known = held_out_error(capsys, model, files / "rows.npz", *out)
    assert known["verdict"] == "holds"
    assert "24 " in known["statement"]  # a tenth of the rows that `fit` did not keep for testing
    seed = held_out_error(capsys, model, files / "rows.npz", "--seed", "1", *out)
    rows = arrays(files / "rows.npz")
    np.savez(tmp_path / "fewer.npz", X=rows["X"][1:], y=rows["y"][1:])
    fewer = held_out_error(capsys, model, tmp_path / "fewer.npz", *out)
    assert seed["verdict"] == fewer["verdict"] == "unknown"


def test_rows_of_a_table_are_found_again(tmp_path, capsys):
    rng = np.random.default_rng(0)
    size, colour = rng.normal(size=200).round(2), rng.choice(["red", "blue"], 200)
    price = 3 * size + (colour == "red")
    lines = [f"{s},{c},{p:.3f}" for s, c, p in zip(size, colour, price, strict=True)]
    lines[3] = f",{colour[3]},{price[3]:.3f}"  # a missing value
    (tmp_path / "t.csv").write_text("\n".join(["size,colour,price", *lines]) + "\n")
    fit = ["--target", "price", "--nonzeros", "12", "--hidden", "3", "--epochs", "4", "--seed", "5"]
    out = tmp_path / "m.safetensors"
    assert run("fit", tmp_path / "t.csv", *fit, "--output", out) == 0
    capsys.readouterr()
    for seed, known in (("5", True), ("6", False)):
        options = ["--target", "price", "--seed", seed, "--epochs", "0", "--json"]
        program = ["--output", tmp_path / "net.c"]
        assert run("export", out, tmp_path / "t.csv", *options, *program) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["n_held_out"] > 0) == known
        names = {check["name"] for check in facts["certificate"]}
        assert ("held-out gain" in names) == known


def test_test_rows_certify_only_a_model_of_their_training_rows(files, tmp_path, capsys):
    rows = arrays(files / "rows.npz")
    X, y, out = rows["X"], rows["y"], ["--output", tmp_path / "net.c"]
    parts = {"x_train": X[:240], "y_train": y[:240], "x_test": X[240:], "y_test": y[240:]}
    np.savez(tmp_path / "parts.npz", **parts)
    own = SparseMLPClassifier(20, (4,), max_epochs=3, random_state=0).fit(X[:240], y[:240])
    own.save(tmp_path / "own.safetensors")
    known = held_out_error(capsys, tmp_path / "own.safetensors", tmp_path / "parts.npz", *out)
    assert known["verdict"] == "holds"
    assert "60 " in known["statement"]
    other = held_out_error(capsys, files / "m.safetensors", tmp_path / "parts.npz", *out)
    assert other["verdict"] == "unknown"  # its fit saw some of the test rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "rust"], "--to: got 'rust'"),
        (["--output", "net.h"], "--output: got 'net.h'"),
        (["--to", "numpy", "--output", "net.c"], "ends in .py"),
        (["--bits", "9"], "bits: got 9"),
    ],
)
def test_export_refuses_before_it_writes(files, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    given = options if "--output" in options else [*options, "--output", "net.c"]
    assert run("export", files / "m.safetensors", *given) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_fit_by_bytes(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("secateurs.tiny.search.SEARCH_STEPS", 30)
    monkeypatch.setattr("secateurs.tiny.search.SEARCH_TUNING", 5)
    monkeypatch.setattr("secateurs.tiny.search.LEAST_STEPS", 40)
    monkeypatch.setattr("secateurs.tiny.search.SMALL", 0)
    out, plot = tmp_path / "net.c", tmp_path / "bytes.png"
    options = ["--flash", "480", "--task", "classification", "--json", "--output", out]
    assert run("fit", files / "rows.npz", *options, "--plot", plot) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["flash_bytes"] <= 480
    assert facts["test_score"] > 0.9
    assert facts["candidates"]
    assert out.exists()
    assert out.with_suffix(".h").exists()
    assert plot.stat().st_size


def test_the_figure_for_mnist_has_every_peer():
    points = [{"flash": 900, "score": 0.96, "label": "ours"}]
    own, others = (bytes_figure(points, "accuracy", is_mnist) for is_mnist in (False, True))
    drawn = {(x, y) for line in others.axes[0].lines for x, y in line.get_xydata().tolist()}
    assert drawn == {(900, 0.96), *((peer.flash, peer.accuracy) for peer in MNIST_PEERS)}
    assert len(own.axes[0].lines) == 1
    labels = [text.get_text() for text in others.axes[0].get_legend().get_texts()]
    assert all("their accuracy" in label or "run here" in label for label in labels[1:])


def test_fit_has_one_budget(files, capsys):
    assert run("fit", files / "rows.npz", "--flash", "900", "--nonzeros", "20") == 2
    assert "--nonzeros: got a value together with --flash" in capsys.readouterr().err
