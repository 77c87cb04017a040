"""What a newcomer stumbled over: tables without rows, verdicts without a reason, silent figures."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from secateurs import QuadraticRegressor, SparseMLPClassifier, SparseMLPRegressor, budget_path
from secateurs.cli import main
from secateurs.cli.terminal import show_text
from secateurs.core import save_figure
from secateurs.core.description import counted
from secateurs.core.generalization import held_out_check, occam_check
from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.figures import claims_figure
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.figures import scaling
from secateurs.features import SparseMultiIndexClassifier, features_figure
from secateurs.sensing import interactions_figure
from secateurs.tiny import bits_figure
from secateurs.training import fit_figure, path_figure


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def line_table(path, n, rng):
    X = rng.standard_normal((n, 3))
    rows = np.column_stack([X, X[:, 0] - 2 * X[:, 1] + 0.1 * rng.standard_normal(n)])
    text = "\n".join(["a,b,c,y", *(",".join(f"{v:.4f}" for v in row) for row in rows)])
    path.write_text(text, encoding="utf-8")
    return path


def test_a_tiny_table_shows_no_table_without_rows_and_draws_what_there_is(capsys, tmp_path):
    table = line_table(tmp_path / "t.csv", 12, np.random.default_rng(0))
    picture = tmp_path / "t.png"
    options = ("--target", "y", "--nonzeros", 10, "--plot", picture)
    status, out, _ = run(capsys, "fit", table, *options)
    assert status == 0
    assert picture.stat().st_size > 0
    assert "held-out rows" not in out  # there are none
    assert "without training steps" in out
    for block in re.findall(r"┡.*?\n(.*?)└", out, re.DOTALL):
        assert "│" in block


def test_the_scores_name_the_model_that_was_chosen_and_the_metric(capsys, tmp_path):
    table = line_table(tmp_path / "t.csv", 150, np.random.default_rng(1))
    _, out, _ = run(capsys, "fit", table, "--target", "y", "--nonzeros", 10)
    assert "this model, the linear model" in out
    assert "R² on the held-out rows" in out
    assert "most frequent class" not in out  # a target of numbers has none
    assert all(len(line) <= 80 for line in out.splitlines())


def test_an_unknown_bound_says_why():
    wrong = np.r_[np.ones(30), np.zeros(70)]
    loose = held_out_check([wrong], baseline_error=0.35, n_tried=1)
    assert loose.verdict == "unknown"
    assert "most frequent class, 0.35" in loose.statement
    tight = held_out_check([wrong], baseline_error=0.9, n_tried=1)
    assert tight.verdict == "holds"
    assert "most frequent class" not in tight.statement
    for n, verdict in ((100, "unknown"), (10**7, "holds")):
        check = occam_check(0.1, n, (5, 4, 2), 20, 0, 0.4)
        assert check.verdict == verdict
        assert ("most frequent class" in check.statement) == (verdict == "unknown")


@pytest.mark.parametrize(("n", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_numbers_and_nouns_agree(n, text):
    assert counted(n, "row") == text


def test_later_lines_keep_the_indent(capsys):
    show_text("  Claim: " + "word " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert all(line.startswith("  ") for line in lines)


def row(method, score):
    return {"method": method, "label": method, "nonzeros": 9, "score": score, "metric": "r2"}


def test_a_comparison_draws_what_is_defined_and_what_is_below_zero():
    X = np.random.default_rng(0).standard_normal((60, 3))
    line = SparseMLPRegressor(8, model="line", random_state=0).fit(X, X[:, 0])
    scores = (0.9, None, float("nan"), -0.4, -50.0)
    figure = fit_figure(line, [row(f"m{i}", s) for i, s in enumerate(scores)])
    inputs, comparison = figure.axes  # no steps, so no panel of the training
    assert inputs.get_title().endswith("are read")
    assert len(comparison.patches) == 3
    low, _ = comparison.get_xlim()
    assert -1 <= low < -0.4


def test_a_path_shows_the_accuracy_that_is_certified():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    y = (X[:, 0] > 0).astype(int)
    model = SparseMLPClassifier(hidden_layer_sizes=(4,), max_epochs=5, random_state=0)
    path = budget_path(model, X[:500], y[:500], [6, 12], X[500:], y[500:])
    (axis,) = path_figure(path).axes
    bounds = axis.lines[1].get_ydata()
    certified = [1 - m.certificate_["held-out error"].measured for m in path.estimators]
    np.testing.assert_allclose(sorted(bounds), sorted(certified))
    assert axis.get_legend() is not None


def test_bits_and_claims_are_drawn_with_their_numbers():
    networks = [SimpleNamespace(flash_bytes_=400 + 40 * b, bits_=b) for b in (2, 4, 8)]
    figure = bits_figure({"rounded": [(n, 0.9) for n in networks]}, reference=0.95)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["2", "4", "8"]
    claims = [(claim, claim.expected) for claim in CLAIMS["recovery"]]
    claims[0] = (claims[0][0], float("nan"))
    figure = claims_figure(claims)
    assert len(figure.axes) == len(claims)
    assert figure.axes[0].texts[0].get_text() == "not measured"
    assert isinstance(claims_figure([]), Figure)


def test_kept_columns_are_named_in_words(capsys):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    y = np.where(X[:, 2] + 0.2 * rng.standard_normal(300) > 0, "stays", "goes")
    model = SparseMultiIndexClassifier(random_state=0).fit(X, y)
    screen = features_figure(model).axes[0]
    assert any(text.get_text() == "x2" for text in screen.texts)
    note = model.describe().notes[0]
    assert "class 'stays'" in note or "class 'goes'" in note


SWEEP = """\
problem = "planted_relu"
seeds = 2
metrics = ["exact"]
[settings]
d = 8
m = 2
s = 3
[grid]
n = [20, 60]
[methods.pursuit]
[[figures]]
kind = "scaling"
name = "rows"
metric = "exact"
x = "n"
"""


def test_a_sweep_shows_its_metric_along_the_axis_and_names_its_figures(capsys, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(SWEEP, encoding="utf-8")
    status, out, _ = run(capsys, "sweep", file, "--output", tmp_path / "s.run")
    assert status == 0
    assert "Means of exact along n:" in out
    assert re.search(r"│ 60 +│", out)
    assert "rows.png" in out


@pytest.mark.parametrize(
    ("values", "shown", "scale"),
    [
        ([0, 0, 0, 1, 1, 1, 1, 0], [0.25, 0.75], "linear"),  # shares, and not their successes
        ([0, 0, 0, 8, 4, 4, 4, 0], [0, 4], "linear"),
        ([1, 1, 1, 8, 4, 4, 4, 2], [1, 4], "log"),
    ],
)
def test_a_scaling_figure_leaves_no_cell_out(values, shown, scale):
    """On a logarithmic axis, failures and zeros would vanish, and 1 of 4 would be drawn as 1."""
    sweep = parse_sweep(SWEEP, "s.toml")
    frame = pd.DataFrame({"label": "pursuit", "n": [20] * 4 + [60] * 4, "exact": values})
    (axis,) = scaling(sweep, frame, sweep.figures[0]).axes
    assert axis.lines[0].get_ydata().tolist() == shown
    assert axis.get_yscale() == scale


def test_claims_are_drawn_on_request(capsys, tmp_path):
    picture = tmp_path / "claims.png"
    options = ("--claim", "twins", "--output", tmp_path / "c.run", "--plot", picture, "--json")
    status, out, _ = run(capsys, "reproduce", "recovery", *options)
    assert status == 0
    assert json.loads(out)["claims"][0]["verdict"] == "holds"
    assert picture.read_bytes().startswith(b"\x89PNG")
    status, _, err = run(capsys, "reproduce", "recovry")
    assert status == 2
    assert err.startswith("secateurs: PAPER: got 'recovry'; expected one of recovery")


def test_the_wrong_table_and_too_few_rows_are_named(capsys, tmp_path):
    rng = np.random.default_rng(0)
    table, model = line_table(tmp_path / "t.csv", 40, rng), tmp_path / "m.safetensors"
    run(capsys, "fit", table, "--target", "y", "--nonzeros", 5, "--output", model, "--json")
    other = tmp_path / "other.csv"
    other.write_text("p,q\n1,2\n3,4\n", encoding="utf-8")
    status, _, err = run(capsys, "predict", model, other)
    assert status == 2
    assert f"{other}: the table: got none of the columns that the fit used; expected" in err
    few = line_table(tmp_path / "few.csv", 11, rng)
    status, _, err = run(capsys, "features", few, "--target", "y")
    assert status == 2
    assert "got 11 rows, of which 3 are test rows; expected at least 10 rows" in err


def test_a_fit_without_pairs_gives_a_small_picture_that_says_so(tmp_path):
    X = np.random.default_rng(0).standard_normal((80, 3))
    model = QuadraticRegressor(0).fit(X, X[:, 0])
    figure = interactions_figure(model)
    assert "no pair" in figure.texts[0].get_text()
    assert figure.get_size_inches()[1] < 2
    save_figure(figure, tmp_path / "pairs.png")


def test_a_recovered_network_names_the_columns_of_the_table(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = np.maximum(2 * X[:, 1] - X[:, 3], 0)
    table, model = tmp_path / "t.csv", tmp_path / "m.safetensors"
    frame = pd.DataFrame(X, columns=["age", "dose", "height", "weight"]).assign(effect=y)
    frame.to_csv(table, index=False)
    options = ("--target", "effect", "--nonzeros", 2, "--output", model)
    status, out, _ = run(capsys, "recover", table, *options)
    assert status == 0
    assert "dose weight" in out
    assert "status exact" in " ".join(out.split())
    shuffled = tmp_path / "new.csv"
    frame[["weight", "height", "dose", "age"]].to_csv(shuffled, index=False)
    status, out, _ = run(capsys, "predict", model, shuffled)
    assert status == 0
    np.testing.assert_allclose([float(line) for line in out.split()[1:]], y, atol=1e-9)


def test_a_network_that_is_far_from_exact_says_which_networks_are_looked_for(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    for name, sign in (("sum", 1), ("difference", -1)):
        y = np.maximum(X[:, 0], 0) + sign * np.maximum(X[:, 1], 0)
        frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        options = ("--target", "y", "--nonzeros", 2, "--solver", "pursuit")
        _, out, _ = run(capsys, "recover", tmp_path / f"{name}.csv", *options)
        assert ("none is subtracted" in " ".join(out.split())) == (sign == -1)
        assert "the 1 patterns" not in " ".join(out.split())


def test_huge_widths_are_powers_of_ten(capsys):
    status, out, _ = run(capsys, "bounds", "tickets", "--d", 20, "--eps", 0.001)
    assert status == 0
    assert "e+18" in out
    assert max(map(len, out.splitlines())) <= 80


def test_predictions_for_categories_without_an_input_say_so(capsys, tmp_path):
    rng = np.random.default_rng(0)
    shop = rng.choice(["North", "South", "East"], 150)
    sold = rng.standard_normal(150) + 3 * (shop == "North")
    pd.DataFrame({"shop": shop, "sold": sold}).to_csv(tmp_path / "t.csv", index=False)
    model = tmp_path / "m.safetensors"
    fit = ("--target", "sold", "--nonzeros", 5, "--epochs", 1, "--output", model)
    assert run(capsys, "fit", tmp_path / "t.csv", *fit)[0] == 0
    (tmp_path / "new.csv").write_text("shop\nNorth\nnorth\nWest\n", encoding="utf-8")
    status, out, err = run(capsys, "predict", model, tmp_path / "new.csv")
    assert status == 0
    assert len(out.splitlines()) == 4
    assert "column 'shop': 'West', 'north' in 2 rows had no input of its own" in err
