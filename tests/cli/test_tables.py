"""Tables as people have them, through the commands: what was read is said and can be overruled."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.image import imsave
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from secateurs import SparseMLPRegressor, load
from secateurs.cli import main
from secateurs.data import read_table
from secateurs.data.table_estimator import input_names

QUICK = ("--nonzeros", 20, "--hidden", 5, "--epochs", 3)


def run(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.fixture
def sales(tmp_path):
    """A table of a German spreadsheet: ; and decimal commas, euros, dates, a customer number."""
    rng = np.random.default_rng(0)
    lines = ["Kunde;Größe;Umsatz;Tag;Ort;Status;Preis"]
    for i in range(120):
        size, day, place = rng.normal(5, 2), rng.integers(1, 29), rng.choice(["Köln", "Ulm"])
        price = 1000 + 100 * size + 50 * (place == "Ulm")
        number = [f"{x:,.2f}".replace(",", "T").replace(".", ",").replace("T", ".")
                  for x in (size, 1000 * size, price)]  # fmt: skip
        status = rng.choice(["offen", "bezahlt"])
        lines.append(
            f"{(i * 7) % 120};{number[0]};{number[1]} €;{day:02}.{i % 12 + 1:02}.2020;{place};"
            f"{status};{number[2] if i % 40 else ''}"
        )
    path = tmp_path / "sales.csv"
    path.write_bytes("\r\n".join([*lines, ";;;;;;", ""]).encode("cp1252"))
    return path


def test_a_spreadsheet_is_read_and_said(capsys, sales, tmp_path):
    model = tmp_path / "m.safetensors"
    status, out, err = run(
        *(capsys, "fit", sales, "--target", "Preis", *QUICK, "--id", "Kunde"),
        *("--output", model, "--json"),
    )
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert record["reading"] == "; separated, decimal comma, cp1252, 7 columns"
    assert record["task"] == "regression"
    assert record["d"] == 5  # size, turnover, day, place, status
    notes = " ".join(record["notes"])
    assert "1 empty row at the end" in notes
    assert "3 rows without a target left out" in notes
    assert "'Kunde': identifier" in notes
    status, out, err = run(capsys, "predict", model, sales)
    assert status == 0
    assert len(out.splitlines()) == 121
    assert "read as: ; separated, decimal comma, cp1252" in err


def test_the_text_of_a_fit_shows_the_same_lines(capsys, sales):
    _, out, _ = run(capsys, "fit", sales, "--target", "Status", *QUICK)
    text = " ".join(out.split())
    assert "Read as: ; separated, decimal comma, cp1252, 7 columns." in text
    assert "Task: classification, because Status holds text." in text
    assert "Column 'Kunde' left out: an identifier" not in text  # 120 of 120 is not id by name


def test_rows_are_predicted_alike_in_any_file(capsys, sales, tmp_path):
    model = tmp_path / "m.safetensors"
    run(capsys, "fit", sales, "--target", "Preis", *QUICK, "--output", model)
    _, out, _ = run(capsys, "predict", model, sales)
    whole = out.splitlines()[1:]
    frame = read_table(sales).frame.drop(columns="Preis")
    english = frame.assign(extra="x").iloc[:, ::-1].astype({"Tag": str})
    english["Umsatz"] = [f"{x:,.2f} €" for x in english["Umsatz"]]
    for rows in ([3], [7, 3], [50, 51, 52]):
        english.iloc[rows].to_csv(tmp_path / "new.csv", index=False, encoding="utf-16")
        _, out, _ = run(capsys, "predict", model, tmp_path / "new.csv")
        assert out.splitlines()[1:] == [whole[i] for i in rows]
    fitted = load(model)
    np.testing.assert_allclose(fitted.predict(frame), np.array(whole, dtype=float))
    shuffled = frame.iloc[:, ::-1].assign(extra=1)
    np.testing.assert_array_equal(fitted.predict(shuffled), fitted.predict(frame))
    with pytest.raises(ValueError, match="also the columns 'Ort'"):
        fitted.predict(frame.drop(columns="Ort"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "Preiss"], "did you mean 'Preis'"),
        (["--target", "Preis", "--drop", "Orte"], "did you mean 'Ort'"),
        (["--target", "Preis", "--group", "Preis"], "two roles for the column 'Preis'"),
        (["--target", "Preis", "--delimiter", "ab"], "delimiter: got 'ab'"),
        (["--target", "Preis", "--encoding", "utf-8"], "--encoding"),
        (["--target", "Tag"], "dates or times"),
        (["--target", "Preis", "--dates", "late"], "dates: got 'late'"),
        (["--target", "Preis", "--weight", "Ort"], "'Ort'"),
    ],
)
def test_bad_options_are_one_line(capsys, sales, options, words):
    status, out, err = run(capsys, "fit", sales, *QUICK, *options)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_roles_and_missing_words_from_the_command_line(capsys, tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90)})
    frame["who"] = np.repeat(np.arange(30), 3)
    frame["y"] = frame["a"] * 2
    frame.loc[::10, "a"] = -999
    frame.loc[5, "b"] = 12345
    frame.to_csv(tmp_path / "t.csv", index=False)
    status, out, err = run(
        *(capsys, "fit", tmp_path / "t.csv", "--target", "y", *QUICK, "--json"),
        *("--na", "a=-999", "--na=12345", "--drop", "b", "--group", "who"),
    )
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert record["d"] == 1
    assert "Column 'b': dropped." in record["notes"]
    assert not any("may stand for missing" in note for note in record["notes"])
    assert record["n_test"] % 3 == 0


def test_a_useless_network_says_so(capsys, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "y"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    _, out, _ = run(capsys, "fit", tmp_path / "t.csv", "--target", "y", *QUICK, "--json")
    record = json.loads(out)
    _, out, _ = run(capsys, "fit", tmp_path / "t.csv", "--target", "y", *QUICK)
    useless = record["score"] <= record["constant_score"]
    assert ("WARNING" in out) == bool(record["warnings"]) == useless


def test_frames_of_other_libraries_are_tables():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "c": rng.choice(["u", "v", "w"], 80)})
    y = frame["a"] + (frame["c"] == "u")
    model = SparseMLPRegressor(20, hidden_layer_sizes=(5,), max_epochs=3, random_state=0)
    expected = model.fit(frame, y).predict(frame)
    arrow = pa.Table.from_pandas(frame)
    np.testing.assert_array_equal(model.predict(arrow), expected)
    np.testing.assert_array_equal(model.fit(arrow, y).predict(frame), expected)
    np.testing.assert_array_equal(model.predict(arrow.to_batches()[0]), expected)
    assert input_names(model) == ["a", "c=u", "c=v", "c=w"]


def test_pipelines_that_give_frames():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    model = SparseMLPRegressor(20, hidden_layer_sizes=(5,), max_epochs=3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas")
    pipeline.fit(frame, frame["a"])
    assert input_names(model) == ["a", "b", "c"]
    assert pipeline.predict(frame).shape == (80,)


def test_a_picture_has_a_cost_a_limit_and_a_smaller_size(capsys, tmp_path):
    x = np.linspace(0, 1, 40)
    imsave(tmp_path / "p.png", np.outer(x, x), cmap="gray")
    status, _, err = run(capsys, "image", tmp_path / "p.png", "--nonzeros", 9, "--features", 10**6)
    assert status == 2
    assert "--size" in err
    status, out, err = run(
        *(capsys, "image", tmp_path / "p.png", "--nonzeros", 20, "--features", 200),
        *("--size", 10, "--max-seconds", 0.001),
    )
    assert status == 0
    assert "10 x 10 pixels, which take" in err
    status, out, _ = run(
        *(capsys, "image", tmp_path / "p.png", "--nonzeros", 20, "--features", 200),
        *("--size", 10, "--max-seconds", 0.001, "--json"),
    )
    record = json.loads(out)
    assert (record["shape"], record["stopped_by_time"]) == ([10, 10], True)
    assert run(capsys, "image", "3", "--nonzeros", 9, "--max-seconds", 0)[0] == 2
