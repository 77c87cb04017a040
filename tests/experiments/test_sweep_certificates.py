"""Certificates of sweeps equal those of the solvers, are counted, and are packed losslessly."""

from __future__ import annotations

import collections
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs import SparseMLPClassifier
from secateurs.core.certificate import Certificate
from secateurs.data.datasets import load_dataset, split
from secateurs.experiments.report.certificates import NUMBER, packed
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.families import families
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.registry import Family, evaluate, seeds
from secateurs.experiments.sweeps.run import run_cells
from secateurs.experiments.sweeps.sweep import sweep_frame
from secateurs.experiments.sweeps.verdicts import (
    VERDICTS,
    sweep_verdicts,
    verdict_line,
    verdict_table,
    without_certificate,
)
from secateurs.features.certificate import features_certificate
from secateurs.features.planted import planted_multi_index
from secateurs.features.solver import multi_index
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.planted import planted_relu
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path
from secateurs.sparse.stack import ReLUStack
from tests.experiments.sweep_cells import real

SEED = 5
NETWORK = {"n": 80, "d": 10, "m": 2, "s": 4}
MATRIX = {"n": 120, "d": 10, "r": 2, "noise_ratio": 0.3}
TABLE = {"dataset": "wine", "n_nonzero": 60, "hidden": 10}
INDEX = {"n": 300, "d": 20, "r": 1, "link": "he1", "sparsity": 3}


def cell(problem, settings, method, **more):
    return {
        "problem": problem,
        "problem_settings": settings,
        "method": method,
        "method_settings": more,
        "seed": SEED,
    }


def by_pursuit(method_seed):
    problem = planted_relu(**NETWORK, random_state=SEED)
    found = relu_pursuit(problem.X, problem.y, 4, 2, random_state=method_seed).value
    return fit_certificate(ReLUStack((found.weights,), fused=True), problem.X, problem.y, 4)


def by_path(method_seed):
    problem = planted_sensing(**MATRIX, random_state=SEED)
    found = group_lasso_path(problem.operator, problem.y, random_state=method_seed)
    parts = problem.operator, problem.y, found.value.components, found.value.signs
    told = {name: found.measured[name] for name in ("tau", "strength")}
    return sensing_certificate(*parts, **told, random_state=method_seed)


def told_rank(method_seed):
    problem = planted_sensing(**MATRIX, random_state=SEED)
    found = fit_rank(problem.operator, problem.y, 2).value
    parts = problem.operator, problem.y, found.components, found.signs
    return sensing_certificate(*parts, random_state=method_seed)


def by_index(method_seed):
    problem = planted_multi_index(**INDEX, random_state=SEED)
    return features_certificate(multi_index(problem.X, problem.y, random_state=method_seed))


def by_training(method_seed):
    data = split(load_dataset("wine"), 0.2, random_state=SEED)
    model = SparseMLPClassifier(60, (10,), 3, random_state=method_seed)
    return model.fit(data.X, data.y).certificate_


CERTIFIED = [
    (cell("planted_relu", NETWORK, "pursuit"), by_pursuit),
    (cell("matrix_sensing", MATRIX, "path"), by_path),
    (cell("matrix_sensing", MATRIX, "told_rank"), told_rank),
    (cell("planted_multi_index", INDEX, "multi_index"), by_index),
    (cell("table", TABLE, "prune_regrow", max_epochs=3), by_training),
]
BASELINES = [
    cell("planted_relu", NETWORK, "imp", round_steps=5),
    cell("matrix_sensing", MATRIX, "scaled_gd", n_steps=5),
    cell("planted_multi_index", INDEX, "spectral"),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_ledger_has_the_certificate_of_the_solver(tmp_path):
    """A direct call on the same data gives the certificate in the file; baselines have none."""
    cells = [asked for asked, _ in CERTIFIED] + BASELINES
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert run_cells(cells, real, ledger).done == len(cells)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        found = {record.key: record.certificate for _, record in ledger.records()}
    method_seed = seeds(SEED)[1]
    for asked, by_hand in CERTIFIED:
        known = by_hand(method_seed).to_list()
        assert found[key_of(asked)] == known
        assert Certificate.from_list(found[key_of(asked)]).to_list() == known
    assert [found[key_of(asked)] for asked in BASELINES] == [None] * len(BASELINES)


@pytest.mark.parametrize("family", list(families()), ids=lambda family: family.name)
def test_families_certify_methods_they_have_against_a_metric_they_have(family):
    assert set(family.certificates) <= set(family.methods)
    assert set(family.ours) <= set(family.certificates)
    assert family.truth is None or family.truth in family.metrics


def test_a_certificate_needs_a_method():
    with pytest.raises(TypeError, match="no method 'absent' to certify"):
        Family("f").certificate("absent")


def test_the_time_of_a_method_is_without_its_certificate():
    import time

    family = Family("f")

    @family.problem
    def nothing(*, random_state: int) -> None:
        return None

    @family.method
    def quick(problem: None, *, random_state: int) -> int:
        return random_state

    @family.certificate("quick")
    def slow(problem: None, result: int, *, random_state: int) -> Certificate:
        assert result == random_state  # the seed of the method
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        return Certificate(())

    found = evaluate(family, {**cell("nothing", {}, "quick")})
    assert found.metrics["cpu_seconds"] < 0.1
    assert found.certificate == Certificate(())


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([*VERDICTS, None]),
        st.sampled_from([*VERDICTS, None]),
        st.sampled_from([0.0, 1.0, math.nan]),
    ),
    max_size=30,
)


@settings(max_examples=30)
@given(ROWS)
def test_the_table_counts_every_verdict_once(rows):
    names = ["label", "certificate.x", "certificate.y", "found"]
    frame = pd.DataFrame(rows, columns=names)
    counts, contrary = collections.Counter(), collections.Counter()
    for label, x, y, found in rows:
        for check, verdict in (("x", x), ("y", y)):
            if verdict is not None:
                counts[label, check, verdict] += 1
                contrary[label, check] += verdict == "holds" and found == 0
    table = verdict_table(frame, ["a", "b"], "found")
    assert int(table[list(VERDICTS)].to_numpy().sum()) == counts.total()
    for row in table.to_dict("records"):
        place = row["method"], row["check"]
        assert [row[v] for v in VERDICTS] == [counts[*place, v] for v in VERDICTS]
        assert row["cells"] == sum(counts[*place, v] for v in VERDICTS)
        assert row["holds, found = 0"] == contrary[place]


def test_cells_of_an_earlier_version_are_counted_as_without(tmp_path):
    text = """
    problem = "planted_relu"
    seeds = 3
    metrics = ["exact"]
    settings = { n = 80, d = 10, m = 2, s = 4 }
    [methods.pursuit]
    [methods.imp]
    """
    sweep = parse_sweep(text)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert verdict_line(sweep, sweep_frame(sweep, ledger)) is None
        cells = list(sweep.cells())
        ledger.add((c, Record(key_of(c), "done", {"exact": 1.0})) for c in cells[:4])
        frame = sweep_frame(sweep, ledger)
        assert without_certificate(sweep, frame) == 2  # of pursuit; imp gives none
        found = evaluate(sweep.family, cells[4])
        checks = found.certificate.to_list()
        ledger.add([(cells[4], Record(key_of(cells[4]), "done", {"exact": 0.0}, 1, None, checks))])
        frame = sweep_frame(sweep, ledger)
    assert without_certificate(sweep, frame) == 2
    table = sweep_verdicts(sweep, frame).set_index("check")
    assert (table["cells"] == 1).all()
    assert table.loc["budget", "holds, exact = 0"] == 1
    line = verdict_line(sweep, frame)
    assert line.startswith("certificates of 1 cells: 7 checks hold, 0 fail, 3 unknown")
    assert line.endswith("2 cells of an earlier version have none")


def unpacked(content, row):
    """Unpack a certificate as certificates.js does."""
    checks = []
    for part in filter(None, content["cells"][row].split(";")):
        place, verdict, measured, threshold, *numbers = part.split(" ")
        sentence = content["sentences"][int(place)]
        pieces = sentence["pieces"]
        statement = "".join(
            piece + number for piece, number in zip(pieces, [*numbers, ""], strict=True)
        )
        checks.append((sentence["check"], verdict, measured, threshold, statement))
    return checks


STATEMENTS = st.lists(
    st.text(max_size=8)
    | st.floats().map(lambda x: f"{x:.4g}")
    | st.integers().map(str)
    | st.sampled_from([";", " ", "-", "e", ".", "he2+he3", "1e", "-.5", "٣"]),
    max_size=8,
).map("".join)


@given(st.lists(st.lists(STATEMENTS, max_size=3), max_size=4))
def test_sentences_are_packed_without_a_loss(cells):
    certificates = [
        [
            {
                "name": f"check {k}",
                "statement": statement,
                "verdict": VERDICTS[len(statement) % 3],
                "measured": len(statement) / 7,
                "threshold": None,
                "source": "s",
            }
            for k, statement in enumerate(statements)
        ]
        for statements in cells
    ]
    keys = [str(i) for i in range(len(cells))]
    content = packed(zip(keys, certificates, strict=True), keys[::-1])
    for row, checks in enumerate(reversed(certificates)):
        assert unpacked(content, row) == [
            (c["name"], c["verdict"][0], f"{c['measured']:.6g}", "-", c["statement"])
            for c in checks
        ]


def test_equal_sentences_are_kept_once():
    drawn = np.random.default_rng(0)
    certificates = [
        (
            str(i),
            [
                {
                    "name": "n",
                    "statement": f"a share {drawn.random():.3g} of {i} rows; 1e-06 asked",
                    "verdict": "holds",
                    "measured": None,
                    "threshold": 1e-6,
                    "source": "s",
                }
            ],
        )
        for i in range(100)
    ]
    content = packed(certificates, [str(i) for i in range(100)] + ["absent"])
    (sentence,) = content["sentences"]
    assert sentence["pieces"] == ["a share ", " of ", " rows; ", " asked"]
    assert content["cells"][-1] == ""
    assert NUMBER.findall(certificates[7][1][0]["statement"])[1:] == ["7", "1e-06"]
