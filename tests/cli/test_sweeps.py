"""`secateurs sweep` and `secateurs reproduce`: files, messages, exit status."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from secateurs.cli.sweeps import frame_table
from secateurs.cli.terminal import show_table
from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.claim import SCALES
from secateurs.experiments.claims.reproduce import (
    chosen,
    judged,
    measure_part,
    part_cell,
    reproduce,
)
from secateurs.experiments.claims.tickets import bound_holds
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.folder import open_run
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.registry import Result
from secateurs.experiments.sweeps.run import Counts
from secateurs.experiments.sweeps.sweep import (
    boundaries,
    run_sweep,
    summary,
    sweep_frame,
    write_results,
)
from tests.cli.test_commands import run

SMALL = """\
problem = "planted_relu"
seeds = 2
metrics = ["psnr"]
[settings]
d = 10
m = 2
[grid]
n = [100]
s = [4]
[methods.pursuit]
"""
SWEEP = """\
problem = "planted_relu"
seeds = 2
metrics = ["exact", "psnr", "cpu_seconds"]
[settings]
d = 10
m = 2
[grid]
n = [10, 40, 160]
s = [4]
[methods.pursuit]
[methods.iht]
[[figures]]
kind = "heat_map"
name = "map"
metric = "exact"
x = "n"
y = "s"
[[figures]]
kind = "scaling"
name = "cost"
metric = "cpu_seconds"
x = "n"
[[figures]]
kind = "bars"
name = "bars"
metric = "psnr"
"""
ADAPTIVE = '[adaptive]\naxis = "n"\nmetric = "exact"\nrounds = 2\nseeds_a_round = 3\n'


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SWEEP)
    return tmp_path / "s.toml"


def test_a_sweep_from_file_to_figures(capsys, file, tmp_path):
    status, out, err = run(capsys, "sweep", file, "--workers", 2, "--json")
    record = json.loads(out)
    assert (status, err) == (0, "")
    assert (record["done"], record["failed"], record["earlier"]) == (12, 0, 0)
    assert [row["label"] for row in record["summary"]] == ["pursuit", "iht"]
    folder = tmp_path / "s.run"
    names = {path.name for path in folder.iterdir()}
    assert {"sweep.toml", "ledger.sqlite", "environment.json", "cells.parquet"} <= names
    assert {f"{f}.{kind}" for f in ("map", "cost", "bars") for kind in ("pdf", "png")} <= names
    table = pd.read_parquet(folder / "cells.parquet")
    assert len(table) == 12
    assert {"n", "d", "label", "seed", "psnr", "cpu_seconds"} <= set(table.columns)
    for row in record["summary"]:  # equal numbers of seeds: the mean over points is the mean
        mine = table[table["label"] == row["label"]]
        assert row["psnr"] == pytest.approx(mine["psnr"].mean())
    # every check is counted once a cell, and told in one line
    assert {row["method"] for row in record["certificates"]} == {"pursuit", "iht"}
    for row in record["certificates"]:
        mine = table[table["label"] == row["method"]]
        verdicts = mine[f"certificate.{row['check']}"].value_counts()
        assert [row[v] for v in ("holds", "fails", "unknown")] == [
            verdicts.get(v, 0) for v in ("holds", "fails", "unknown")
        ]
        wrong = (mine[f"certificate.{row['check']}"] == "holds") & (mine["exact"] == 0)
        assert row["holds, exact = 0"] == wrong.sum()
    environment = json.loads((folder / "environment.json").read_text())
    assert {"secateurs", "python", "torch"} <= environment["versions"].keys()

    status, _, err = run(capsys, "sweep", file)
    assert status == 2
    assert "--resume" in err
    status, out, _ = run(capsys, "sweep", file, "--resume", "--workers", 2)
    assert status == 0
    assert "12 cells done, 0 failed; 12 of them earlier" in out
    assert out.count("certificates of 12 cells: ") == 1

    # a larger grid in the same folder computes only what is new
    file.write_text(SWEEP.replace("s = [4]", "s = [4, 6]"))
    status, out, _ = run(capsys, "sweep", file, "--resume", "--workers", 2, "--json")
    assert (json.loads(out)["done"], json.loads(out)["earlier"]) == (24, 12)


def test_a_damaged_ledger_is_refused_then_salvaged(capsys, file, tmp_path):
    folder = tmp_path / "s.run"
    folder.mkdir()
    (folder / "ledger.sqlite").write_bytes(b"rubbish" * 1000)
    status, out, err = run(capsys, "sweep", file, "--resume")
    assert (status, out) == (2, "")
    assert "ledger.sqlite" in err
    assert "--salvage" in err
    status, out, err = run(capsys, "sweep", file, "--salvage", "--workers", 2)
    assert status == 0
    assert "0 cells saved" in err
    assert "12 cells done" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep", "absent.toml"], "absent.toml"),
        (["sweep", "bad.toml"], "bad.toml:1: problem"),
        (["sweep", "s.toml", "--workers", "0"], "--workers: got 0"),
        (["sweep", "s.toml", "--output", "s.toml"], "is a file"),
        (["sweep", "s.toml", "--output", "full"], "holds other files"),
        (["sweep", "s.toml", "--output", "new", "--salvage"], "no ledger to salvage"),
        (["reproduce", "recovry"], "did you mean 'recovery'?"),
        (["reproduce", "recovery", "--claim", "twin"], "did you mean 'twins'?"),
        (["reproduce", "--scale", "huge"], "huge"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_requests_start_nothing(capsys, file, tmp_path, arguments, told):
    (tmp_path / "bad.toml").write_text(SWEEP.replace("planted_relu", "planted"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    before = {p for p in tmp_path.rglob("*") if "new" not in p.parts}
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
    after = {p for p in tmp_path.rglob("*") if p.name != "lock"}
    assert not [p for p in after - before if p.name != "new"]


def planted_boundary(cell):
    """A method that mostly succeeds from n = 60 on; the seed decides the exceptions."""
    n, seed = cell["problem_settings"]["n"], cell["seed"]
    p = 1 / (1 + (60 / n) ** 3)
    value = float(np.random.default_rng([seed, n]).random() < p)
    metrics = dict.fromkeys(("exact", "psnr", "weight_error", "above_60_db", "n_nonzero"), value)
    return Result({"cpu_seconds": 0.0, **metrics})


def test_a_run_goes_on_with_the_command_that_made_it(capsys, file, tmp_path):
    for name, texts in (("a.run", {"sweep.toml": SWEEP}), ("b.run", {})):
        with open_run(tmp_path / name, texts, resume=False):
            pass
        with open_run(tmp_path / name, texts, resume=True) as (_, notes):
            assert notes == []
    before = sorted((p.name, p.read_bytes()) for p in tmp_path.glob("?.run/*") if p.is_file())
    claim = ("reproduce", "recovery", "--claim", "twins", "--resume", "--output", "a.run")
    assert run(capsys, *claim) == (
        2, "", "secateurs: a.run: holds a run of sweep, not of reproduce; give another --output\n"
    )  # fmt: skip
    assert run(capsys, "sweep", file, "--resume", "--output", "b.run") == (
        2, "", "secateurs: b.run: holds a run of reproduce, not of sweep; give another --output\n"
    )  # fmt: skip
    after = sorted((p.name, p.read_bytes()) for p in tmp_path.glob("?.run/*") if p.is_file())
    assert after == before


def test_an_interrupted_reproduction_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        return [], Counts(interrupted=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("secateurs.cli.reproduce.measure", interrupted)
    status, out, _ = run(capsys, "reproduce", "recovery")
    assert status == 130
    assert "--resume" in out


def test_small_means_are_in_the_json_as_they_are(capsys, file, monkeypatch):
    told = pd.DataFrame({"label": ["a", "b"], "cells": [2, 0], "weight_error": [3e-12, np.nan]})
    monkeypatch.setattr("secateurs.cli.sweeps.run_sweep", lambda *_, **__: Counts())
    monkeypatch.setattr("secateurs.cli.sweeps.summary", lambda *_: told)
    status, out, _ = run(capsys, "sweep", file, "--json")
    assert status == 0
    assert json.loads(out)["summary"] == [
        {"label": "a", "cells": 2, "weight_error": 3e-12},
        {"label": "b", "cells": 0, "weight_error": None},
    ]


def test_adaptive_seeds_go_where_the_outcome_is_open(tmp_path, monkeypatch):
    """And a resumed sweep asks for the same cells as one that never stopped."""
    from secateurs.experiments.sweeps import sweep as module

    monkeypatch.setattr(module, "evaluate", lambda _, cell: planted_boundary(cell))

    def here(cells, evaluate, ledger, **_):
        """`run_cells` without workers."""
        before = ledger.keys("done")
        todo = [c for c in cells if key_of(c) not in before]
        ledger.add((c, Record(key_of(c), "done", evaluate(c).metrics)) for c in todo)
        return module.Counts(done=len(todo))

    monkeypatch.setattr(module, "run_cells", here)
    text = SWEEP.replace("n = [10, 40, 160]", "n = [5, 20, 40, 80, 160, 1000]")
    sweep = parse_sweep(text.replace("seeds = 2", "seeds = 4") + ADAPTIVE)
    with Ledger(tmp_path / "a.sqlite") as ledger:
        run_sweep(sweep, ledger)
        frame = sweep_frame(sweep, ledger)
    seeds = frame[frame["label"] == "pursuit"].groupby("n")["seed"].count()
    assert seeds[5] == seeds[1000] == 4
    assert seeds[40] >= 7
    assert seeds[80] >= 7

    plain = parse_sweep(text.replace("seeds = 2", "seeds = 4"))
    with Ledger(tmp_path / "b.sqlite") as ledger:
        run_sweep(plain, ledger)
        # as if the sweep had been stopped in its second round
        later = [c for c, r in Ledger(tmp_path / "a.sqlite").records() if c["seed"] >= 4][::3]
        ledger.add((c, Record(key_of(c), "done", planted_boundary(c).metrics)) for c in later)
        run_sweep(sweep, ledger)
        pd.testing.assert_frame_equal(sweep_frame(sweep, ledger), frame)


@pytest.mark.parametrize("fails", [False, True])
def test_results_of_a_sweep_without_a_finished_cell(tmp_path, fails):
    sweep = parse_sweep(SWEEP + ADAPTIVE)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        if fails:
            ledger.add((c, Record(key_of(c), "failed", {}, 2, "E: no")) for c in sweep.cells())
        written = write_results(sweep, ledger, tmp_path)
        frame = sweep_frame(sweep, ledger)
        assert len(frame) == 0
        assert list(summary(sweep, frame)["cells"]) == [0, 0]
        assert boundaries(sweep, frame, "n", "exact", 0.95) == []
    assert {path.name for path in written} == {"cells.parquet", "cells.csv"}


@pytest.mark.parametrize("paper", CLAIMS)
def test_claims_are_well_formed(paper):
    claims = CLAIMS[paper]
    assert len(claims) >= 4
    assert len({claim.name for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.low <= claim.expected <= claim.high
        assert claim.low > -np.inf or claim.high < np.inf  # one that can fail
        assert not claim.holds(float("nan"))
        for scale in SCALES:
            parts = claim.parts(scale)
            assert len({key_of(part_cell(paper, claim, part)) for part in parts}) == len(parts) > 0
            for part in parts:
                inspect.signature(claim.measure).bind(**part)


def test_a_part_is_a_pure_function():
    ((paper, claim),) = chosen("recovery", "convex-recovery")
    cell = part_cell(paper, claim, claim.quick[0])
    one, other = measure_part(cell), measure_part(cell)
    assert one.certificate == other.certificate
    one, other = dict(one.metrics), dict(other.metrics)
    assert one.pop("cpu_seconds") > 0
    assert other.pop("cpu_seconds") > 0
    assert one == other


def test_processor_time_is_that_of_the_whole_part(monkeypatch):
    """It is not the time that a measurement reports for its method alone."""
    ((paper, claim),) = chosen("tickets", "form-b-exact")
    fast = replace(claim, measure=lambda **_: {"cpu_seconds": -1.0, "error": 0.0})
    monkeypatch.setitem(CLAIMS, paper, (fast,))
    assert measure_part(part_cell(paper, fast, {})).metrics["cpu_seconds"] >= 0


def test_a_claim_holds_and_a_false_one_fails(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("reproduce", "recovery", "--claim", "convex-recovery", "--workers", 2)
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert "1 of 1 claim at the quick scale holds" in " ".join(out.split())
    folder = tmp_path / "reproduce-quick.run"
    (told,) = json.loads((folder / "claims.json").read_text())["claims"]
    assert (told["verdict"], told["measured"]) == ("holds", 1.0)
    ((_, claim),) = chosen("recovery", "convex-recovery")
    assert len(pd.read_csv(folder / "parts.csv")) == len(claim.quick)

    # the same parts, judged against an expectation that is wrong: nothing is measured again
    false = replace(claim, expected=0.0, low=-np.inf, high=0.1)
    monkeypatch.setitem(CLAIMS, "recovery", (false,))
    status, out, _ = run(capsys, *arguments, "--resume")
    assert status == 1
    assert "fails" in out

    # another claim in the same folder: its file tells of both, the command of what was asked
    exact = next(c for c in CLAIMS["tickets"] if c.name == "form-b-exact")
    monkeypatch.setitem(CLAIMS, "tickets", (exact,))
    status, out, _ = run(capsys, "reproduce", "tickets", "--resume", "--json")
    assert status == 0
    assert [told["claim"] for told in json.loads(out)["claims"]] == ["form-b-exact"]
    kept = json.loads((folder / "claims.json").read_text())["claims"]
    assert [told["claim"] for told in kept] == ["convex-recovery", "form-b-exact"]


def test_a_claim_with_a_failed_part_is_unknown(tmp_path):
    ((paper, claim),) = chosen("recovery", "convex-recovery")
    cells = [part_cell(paper, claim, part) for part in claim.quick]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        done = [(c, Record(key_of(c), "done", {"recovered": 1.0, "cpu_seconds": 1})) for c in cells]
        bad = Record(key_of(cells[0]), "failed", {}, 2, "ValueError: no")
        ledger.add([(cells[0], bad), *done[1:]])
        (outcome,), _ = reproduce([(paper, claim)], "quick", ledger)
    assert (outcome.verdict, outcome.error) == ("unknown", "ValueError: no")
    assert np.isnan(outcome.measured)
    assert outcome.cpu_seconds == len(cells) - 1


@pytest.mark.parametrize(
    ("numbers", "change", "told"),
    [
        ({"recovered": None}, {}, "not a number in every part: recovered"),
        (
            {},
            {"judge": lambda frame: frame["recovered"].sum() * np.inf},
            "measured quantity is inf",
        ),
        ({}, {"judge": lambda frame: np.polyfit(frame["m"], [], 1)}, "TypeError"),
    ],
    ids=["missing", "infinite", "raises"],
)
def test_what_cannot_be_judged_is_unknown(tmp_path, numbers, change, told):
    """A mean does not skip a part without a number, and no judge ends the command."""
    ((paper, claim),) = chosen("recovery", "convex-recovery")
    claim = replace(claim, **change)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for part in claim.quick:
            cell = part_cell(paper, claim, part)
            metrics = {"recovered": 1.0, "cpu_seconds": 1.0}
            metrics |= numbers if part is claim.quick[0] else {}
            ledger.add([(cell, Record(key_of(cell), "done", metrics))])
        (outcome,) = judged([(paper, claim)], "quick", ledger)
    assert outcome.verdict == "unknown"
    assert told in outcome.error
    json.dumps(outcome.to_dict(), allow_nan=False)


def test_failed_parts_are_measured_again_when_asked(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((paper, claim),) = chosen("tickets", "form-b-exact")
    arguments = ("reproduce", "tickets", "--claim", "form-b-exact")
    with open_run(tmp_path / "reproduce-quick.run", {}, resume=False) as (ledger, _):
        (cell,) = (part_cell(paper, claim, part) for part in claim.quick)
        ledger.add([(cell, Record(key_of(cell), "failed", {}, 2, "MemoryError: full"))])
    status, out, _ = run(capsys, *arguments, "--resume")
    assert status == 1
    assert "form-b-exact: MemoryError: full" in out
    status, out, _ = run(capsys, *arguments, "--retry-failed")
    assert status == 0
    assert "1 of 1 claim at the quick scale holds" in " ".join(out.split())


def test_names_in_tables_are_never_cut(capsys):
    name = "tickets: " + "a-long-name-of-a-claim" * 3
    show_table(frame_table(pd.DataFrame({"claim": [name], "measured": [0.5]}), "claims"))
    out, _ = capsys.readouterr()
    assert "…" not in out


def test_the_certified_bound_is_held_against_something_near():
    """The claim would fail if the bound were twice as large."""
    ((_, claim),) = chosen("tickets", "lower-bound")
    few = [part for part in claim.quick if part["d"] == 2]
    ratios = [bound_holds(**part)["ratio"] for part in few]
    assert 0.5 < max(ratios) <= 1


def test_unknown_is_no_right_verdict():
    ((_, claim),) = chosen("recovery", "certificate")
    frame = pd.DataFrame(
        {"twin": [False, True], "separation_holds": [1.0, 0.0], "separation_fails": [0.0, 1.0]}
    )
    assert claim.judge(frame) == 1
    assert claim.judge(frame.assign(separation_fails=0.0)) == 0.5


def test_the_summary_is_of_the_cells_of_the_file(capsys, tmp_path, monkeypatch):
    """Other settings make other cells; those of an earlier file stay, and are not averaged."""
    monkeypatch.chdir(tmp_path)
    text = SMALL.replace("seeds = 2", "seeds = {seeds}").replace("d = 10", "d = {d}")
    found = {}
    for seeds, d in ((2, 10), (2, 12), (1, 12), (2, 10)):
        (tmp_path / "s.toml").write_text(text.format(seeds=seeds, d=d))
        status, out, err = run(capsys, *("sweep", "s.toml", "--resume", "--json"))
        assert status == 0, err
        summary = json.loads(out)["summary"]
        assert [row["cells"] for row in summary] == [seeds]
        assert found.setdefault((seeds, d), summary) == summary
        run(capsys, *("report", "s.run", "--output", "r.html"))
    with Ledger(tmp_path / "s.run/ledger.sqlite") as ledger:
        assert len(list(ledger.records())) == 4
