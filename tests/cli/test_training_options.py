"""Options of `fit`, `path` and `export`: processes, and distorted images."""

import numpy as np
import pytest

from secateurs.cli import main
from secateurs.cli.training_options import TrainingOptions


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of 6 x 6 pixels: a bright bar is in the upper or in the lower half."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    X = rng.integers(0, 60, (300, 6, 6))
    X[np.arange(300), 1 + 3 * y] += 150
    path = tmp_path_factory.mktemp("images") / "bars.npz"
    np.savez(path, X=X.astype(np.uint8), y=y)
    return path


@pytest.mark.parametrize(
    ("options", "compared", "n_jobs"),
    [({}, False, -1), ({}, True, 1), ({"jobs": 3}, False, 3), ({"jobs": 1}, True, 1)],
)
def test_a_fit_uses_all_cores_unless_its_seconds_are_compared(options, compared, n_jobs):
    assert TrainingOptions(**options).settings(0, 30, compared=compared)["n_jobs"] == n_jobs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "--jobs: got 0; expected a number of processes such as 4, or -1"),
        (["--jobs", "-70000"], "--jobs: got -70000; expected"),
        (["--jobs", "2", "--compare"], "--jobs: got 2; expected 1 with --compare"),
        (["--effort", "0"], "--effort: got 0.0; expected a finite number > 0"),
        (["--max-seconds", "-1"], "--max-seconds: got -1.0; expected a finite number > 0"),
        (["--distort", "1"], "--distort: got '1'; expected --flash beside it"),
        (["--ram", "300"], "--ram: got 300; expected --flash beside it"),
        (["--to", "numpy"], "--to: got 'numpy'; expected --flash beside it"),
        (["--flash", "700", "--jobs", "2"], "--jobs: got a value together with --flash"),
        (["--flash", "700", "--effort", "3"], "--effort: got a value together with --flash"),
        (["--flash", "700", "--distort", "much"], "--distort: got 'much'; expected a finite"),
        (["--flash", "700", "--distort", "-1"], "--distort: got -1.0; expected a finite"),
    ],
)
def test_bad_options_of_a_fit_are_one_line(options, message, capsys):
    assert run("fit", "digits", *options) == 2
    error = capsys.readouterr().err
    assert f"secateurs: {message}" in error
    assert error.count("\n") == 1


def test_a_table_is_not_distorted(tmp_path, capsys):
    assert run("fit", "wine", "--flash", "700", "--distort", "1") == 2
    error = capsys.readouterr().err
    assert "--distort: got 1 for a table; expected images; leave the option out" in error
    model = tmp_path / "m.safetensors"
    assert run("fit", "wine", "--nonzeros", "9", "--epochs", "1", "--output", model) == 0
    capsys.readouterr()
    out = ["--output", tmp_path / "n.c"]
    assert run("export", model, "wine", "--distort", "auto", *out) == 2
    assert "--distort: got auto for a table" in capsys.readouterr().err
    assert run("export", model, "--distort", "1", *out) == 2
    assert "expected the data of the fit; give the data too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("strength", "expected"), [("0", (0.0, 12)), ("0.5", (0.5, 40)), ("auto", ("auto", 40))]
)
def test_images_are_distorted(images, tmp_path, monkeypatch, strength, expected):
    asked = []

    def record(*arguments, epochs, distort, **options):
        asked.append((distort, epochs))
        raise KeyboardInterrupt

    monkeypatch.setattr("secateurs.cli.tiny.fit_bytes", record)
    monkeypatch.setattr("secateurs.cli.tiny.quantize", record)
    model, out = tmp_path / "m.safetensors", ["--output", tmp_path / "n.c"]
    options = ["--task", "classification", "--distort", strength]
    assert run("fit", images, *options, "--flash", "900", *out) == 130
    fit = ["--nonzeros", "20", "--hidden", "4", "--epochs", "1", "--task", "classification"]
    assert run("fit", images, *fit, "--output", model) == 0
    assert run("export", model, images, *options, *out) == 130
    assert asked == [expected, expected]
    assert run("export", model, images, *options, "--epochs", "3", *out) == 130
    assert asked[-1] == (expected[0], 3)
