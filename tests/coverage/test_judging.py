"""The harness itself is right: it counts, it finds false statements, and it misses no check."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.coverage import campaign, judging, recovery, tables, training
from benchmarks.coverage.campaign import Chunk, add_instance, run_campaign
from benchmarks.coverage.judging import Case, NoJudgeError, claims, exceeds, lower_limit
from benchmarks.coverage.scenario import Scenario
from benchmarks.coverage.summary import END, START, rows_of, totals, write_page
from scipy.stats import binom

from secateurs import SparseMLPClassifier, SparseReLURegressor
from secateurs.core import Check

CHEAP = "neuron, form B, 2 inputs, axes"


def check(name, verdict="holds", measured=1.0, threshold=1.0):
    return Check(name, f"it is {name}", verdict, measured, threshold, "")


@pytest.fixture
def fair_coin(monkeypatch):
    """A kind of case whose only statement is true where its truth says so."""
    known = {("coin", "heads"): judging.Judge(lambda _, truth: truth, 0.05, ("holds",))}
    monkeypatch.setattr(judging, "JUDGES", known)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 300), (7, 20), (20, 20)])
def test_the_lower_limit_is_that_of_clopper_and_pearson(k, n):
    """At the limit, so many false ones or more have probability 5 %."""
    assert binom.sf(k - 1, n, lower_limit(k, n)) == pytest.approx(0.05)
    assert lower_limit(0, n) == 0.0
    assert exceeds(n, n, 0.0) and not exceeds(0, n, 0.0)  # noqa: PT018


@pytest.mark.usefixtures("fair_coin")
def test_a_check_that_holds_needs_a_judge():
    unknown = Case("coin", "coin", (check("new", "unknown"), check("newer", "fails")), truth=True)
    assert list(claims(unknown)) == []
    with pytest.raises(NoJudgeError, match="no judge for the check 'new'"):
        list(claims(Case("coin", "coin", (check("new"),), truth=True)))


@pytest.mark.usefixtures("fair_coin")
@pytest.mark.parametrize(("rate", "verdict"), [(0.5, "BROKEN"), (0.03, "ok"), (0.0, "ok")])
def test_false_rates_are_told_from_nominal_ones(rate, verdict):
    def toss(rng):
        return [Case("coin", "coin", (check("heads"),), truth=rng.random() >= rate)]

    chunks = [Chunk("tosses", 0, 100), Chunk("tosses", 100, 200)]
    for chunk in chunks:
        for number in range(chunk.start, chunk.stop):
            add_instance(chunk, Scenario("tosses", toss), number)
    (row,) = rows_of(chunks)
    assert (row.statement, row.instances, row.holds) == ("coin: heads", 200, 200)
    assert row.false == pytest.approx(200 * rate, abs=4 * np.sqrt(200 * rate))
    assert row.verdict == verdict
    assert bool(row.example) == (row.false > 0)


@pytest.mark.usefixtures("fair_coin")
def test_refusals_and_unknown_are_instances():
    """The rate is among all instances, not among those that claim something."""

    def toss(rng):
        number = rng.integers(3)
        checks = [(), (check("heads", "unknown"),), (check("heads"),)][number]
        return [Case("coin", "coin", checks, truth=False)]

    chunk = Chunk("tosses", 0, 60)
    for number in range(60):
        add_instance(chunk, Scenario("tosses", toss), number)
    (row,) = rows_of([chunk])
    assert row.instances == 60
    assert 0 < row.false == row.holds < 60
    assert 0 < row.refused < 60
    assert row.lower == lower_limit(row.false, 60)


def test_a_campaign_goes_on_where_it_was(tmp_path):
    record = tmp_path / "coverage.jsonl"
    first = run_campaign("small", CHEAP, record=record, quiet=True)
    line = record.read_text()
    assert run_campaign("small", CHEAP, record=record, quiet=True) == first
    assert record.read_text() == line
    record.write_text("")
    again = run_campaign("small", CHEAP, record=record, quiet=True)
    assert rows_of(again) == rows_of(first)
    assert json.loads(record.read_text())["scenario"] == CHEAP
    assert totals(again)["statements"] > 0


def test_the_page_gets_the_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nstale\n{END}\nafter\n")
    chunks = run_campaign("small", CHEAP, quiet=True)
    for _ in range(2):
        write_page(page, chunks, "the command")
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")  # noqa: PT018
    assert text.count("| tickets.sup_error: sup_error |") == 1
    assert "stale" not in text


def test_names_of_scenarios_are_different():
    families = (training, recovery)
    assert sum(len(family.SCENARIOS) for family in families) < len(campaign.SCENARIOS)
    assert all(name == scenario.name for name, scenario in campaign.SCENARIOS.items())


def test_a_bound_below_the_true_error_is_found_false():
    """Labels are noise: their true error is one half whatever the model says."""
    rng = np.random.default_rng(0)
    law = tables.source(rng, "gaussian", "noise labels")
    X, y = law.table(rng, 60)
    model = SparseMLPClassifier(20, (3,), max_epochs=2, random_state=0).fit(X, y)
    truth = tables.TableTruth(model, law, y, 0)
    assert training.error_on_new_rows(check("", measured=0.55), truth)
    assert not training.error_on_new_rows(check("", measured=0.45), truth)
    budget = model.certificate_["budget"]
    assert training.budget(budget, truth)
    assert not training.budget(replace(budget, measured=model.n_nonzero_ - 1), truth)


def test_another_function_is_found_wrong():
    """A weight that is changed by a millionth makes another network; the order does not."""
    rng = np.random.default_rng(0)
    W, X = np.array([[1.0, -2.0, 0.0], [0.0, 0.5, 1.0]]), rng.standard_normal((40, 3))
    y = recovery.relu_sum(X, W)
    model = SparseReLURegressor(4, 2, random_state=0).fit(X, y)
    probes = rng.standard_normal((1000, 3))

    def judged():
        truth = recovery.NetworkTruth(model, W, 0.0, X, y, probes, noise=False)
        return recovery.no_other_network(check("identification"), truth)

    assert judged()
    model.coef_ = model.coef_[::-1]
    assert judged()
    model.coef_ = model.coef_ * (1 + 1e-5)
    assert not judged()
