"""Every claim belongs to a statement, every statement says what checks it or what is missing."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.listing import coverage, last_measured, statement_rows
from secateurs.experiments.claims.statement import Statement
from secateurs.experiments.claims.statements import STATEMENTS
from tests.cli.test_commands import run

ROOT = Path(__file__).parents[2]
EVERY = [(paper, statement) for paper in STATEMENTS for statement in STATEMENTS[paper]]


def test_the_papers_are_those_of_the_claims():
    assert list(STATEMENTS) == list(CLAIMS)


@pytest.mark.parametrize("paper", CLAIMS)
def test_every_claim_is_named_by_a_statement_and_no_other_is(paper):
    named = {name for statement in STATEMENTS[paper] for name in statement.claims}
    assert named == {claim.name for claim in CLAIMS[paper]}
    places = [statement.place for statement in STATEMENTS[paper]]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(("paper", "statement"), EVERY, ids=[f"{p}-{s.place}" for p, s in EVERY])
def test_a_statement_is_checked_or_says_why_not(paper, statement):
    assert statement.says.endswith(".")
    assert bool(statement.command) == bool(statement.result)
    assert not statement.command or statement.result.endswith(".")
    assert not statement.missing.endswith(".")
    assert not statement.differs.endswith(".")
    assert statement.coverage == "covered" or statement.missing
    assert statement.obtainable or not statement.claims


@pytest.mark.parametrize("command", sorted({s.command for _, s in EVERY if s.command}))
def test_a_named_command_exists(command):
    module = re.match(r"python -m (benchmarks[\w.]+)", command)
    script = re.match(r"python (?:-m pytest )?([\w/.]+\.py)", command)
    if module:
        assert importlib.util.find_spec(module[1]) is not None
    else:
        assert script
        assert (ROOT / script[1]).is_file()


def statement(**change):
    plain = {"place": "Lemma 1", "kind": "lemma", "says": "It is so.", "source": "here"}
    return Statement(**{**plain, **change})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "not covered"),
        ({"claims": ("a",)}, "covered"),
        ({"command": "c", "result": "r."}, "covered"),
        ({"claims": ("a",), "missing": "half of it"}, "in part"),
        ({"missing": "no text", "obtainable": False}, "cannot be had"),
    ],
)
def test_the_kinds_of_coverage(change, told):
    assert statement(**change).coverage == told


def test_the_share_leaves_out_what_cannot_be_had_and_what_is_not_the_papers():
    rows = [
        {"kind": kind, "coverage": told, "checks": checks}
        for kind, told, checks in (
            ("lemma", "covered", ["a"]),
            ("lemma", "covered", []),
            ("figure", "in part", ["a"]),
            ("figure", "not covered", []),
            ("theorem", "cannot be had", []),
            ("found here", "covered", ["a"]),
        )
    ]
    counts = coverage(rows)
    assert (counts["statements"], counts["covered"], counts["covered by claims"]) == (5, 2, 1)
    assert counts["share"] == 0.5
    assert coverage(rows[-1:])["share"] is None


def test_the_list_has_every_statement_and_the_last_measurement(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "reproduce", "--list")
    assert status == 0
    assert not list(tmp_path.iterdir())  # nothing is measured, nothing is written
    words = " ".join(out.split())
    for paper, one in EVERY:
        assert f"] {paper}, {one.place}" in words
    assert "measured not run" in words

    found = {"paper": "tickets", "claim": "form-b-exact", "measured": 1.0, "verdict": "holds"}
    results = tmp_path / "reproduce-quick.run" / "claims.json"
    results.parent.mkdir()
    results.write_text(json.dumps({"scale": "quick", "claims": [found]}))
    status, out, _ = run(capsys, "reproduce", "tickets", "--list", "--json")
    told = json.loads(out)
    assert told["coverage"]["statements"] < len(told["statements"])
    checks = {c["claim"]: c for row in told["statements"] for c in row["checks"]}
    assert checks["form-b-exact"]["measured"] == 1.0
    assert (checks["form-b-exact"]["verdict"], checks["form-b-exact"]["scale"]) == (
        "holds",
        "quick",
    )
    assert checks["subset-sum"]["verdict"] == "not run"


def test_the_list_of_a_claim_has_the_statements_that_name_it(capsys):
    rows = statement_rows("tickets", "form-b-exact", {})
    assert rows
    assert all([c["claim"] for c in row["checks"]].count("form-b-exact") == 1 for row in rows)
    assert run(capsys, "reproduce", "--list", "--claim", "form-b")[0] == 2
    assert run(capsys, "reproduce", "ticket", "--list")[0] == 2


@pytest.mark.parametrize("content", ["", "[]", '{"scale": "quick", "claims": [{}]}', "{"])
def test_damaged_results_are_named(tmp_path, content):
    assert last_measured(tmp_path) == {}
    (tmp_path / "claims.json").write_text(content)
    with pytest.raises(ValueError, match=r"claims\.json: got a file that cannot be read"):
        last_measured(tmp_path)
