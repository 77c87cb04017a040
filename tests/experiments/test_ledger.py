"""The ledger: keys depend on settings only, records stay, and damage is noticed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.core.certificate import Certificate, Check
from secateurs.experiments.sweeps.ledger import (
    Ledger,
    LedgerError,
    salvage,
)
from secateurs.experiments.sweeps.record import Record, canonical, canonical_method, key_of
from secateurs.experiments.sweeps.table import cell_table, export_cells
from tests.core.test_output_files import make_special

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
NUMBERS = st.none() | st.integers(-(10**9), 10**9) | st.floats()
CHECKS = st.builds(
    Check,
    name=st.text(max_size=5),
    statement=st.text(max_size=20),
    verdict=st.sampled_from(["holds", "fails", "unknown"]),
    measured=NUMBERS,
    threshold=NUMBERS,
    source=st.text(max_size=5),
)
SETTINGS = st.dictionaries(st.text(max_size=5), SCALARS | st.text(max_size=5), max_size=5)
N = 400


def cell(i):
    return {
        "problem": "p",
        "problem_settings": {"n": i},
        "method": "m",
        "method_settings": {"steps": 1.5},
        "seed": 0,
    }


def record(i, status="done", **more):
    metrics = {"square": i / 7, "none": None} if status == "done" else {}
    if status == "done" and i % 2:
        more.setdefault("certificate", certificate(i).to_list())
    return Record(key_of(cell(i)), status, metrics, **more)


def certificate(i):
    odd = Check("odd", f"{i} is odd", "holds" if i % 4 == 1 else "fails", i / 3, None, "counted")
    return Certificate((odd, Check("prime", f"{i} is prime", "unknown", None, 1, "not looked at")))


def filled(path, n=N):
    with Ledger(path) as ledger:
        ledger.add((cell(i), record(i)) for i in range(n))
    return path


def contents(path):
    with Ledger(path) as ledger:
        return list(ledger.records())


@given(SETTINGS)
def test_a_key_means_the_settings_and_nothing_else(settings):
    turned = dict(reversed(settings.items()))
    assert key_of(settings) == key_of(turned)
    assert canonical(json.loads(canonical(settings))) == canonical(settings)
    assert key_of(settings) == hashlib.sha256(canonical(settings).encode()).hexdigest()


@given(SETTINGS, SETTINGS)
def test_other_settings_have_another_key(one, other):
    assert (key_of(one) == key_of(other)) == (canonical(one) == canonical(other))


def test_what_is_no_setting_has_no_key():
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"x": float("nan")})
    assert key_of({"x": 0.1}) != key_of({"x": np.nextafter(0.1, 1)})


def test_records_come_back_in_order(tmp_path):
    path = filled(tmp_path / "l.sqlite", 5)
    assert contents(path) == [(cell(i), record(i)) for i in range(5)]


@given(st.lists(CHECKS, max_size=3))
def test_a_certificate_comes_back_from_json_with_its_finite_numbers(checks):
    known = Certificate(tuple(checks))
    back = Certificate.from_list(
        json.loads(canonical({"certificate": known.to_list()}))["certificate"]
    )
    for check, same in zip(known.checks, back.checks, strict=True):
        finite = {
            name: None if number is None or not np.isfinite(number) else number
            for name, number in (("measured", check.measured), ("threshold", check.threshold))
        }
        assert same == replace(check, **finite)


def test_keys_are_for_ever():
    """Runs of every version can be resumed, so keys never change and leave out results."""
    assert key_of(cell(3)) == "e898330b38bdcc9f0f722e0b73473b572b277660fffb17bb30283e8f6afb421e"


def as_version_1(path):
    """Rewrite a ledger as the version without certificates wrote it."""
    database = sqlite3.connect(path)
    for key, settings, status, text in database.execute(
        "SELECT key, settings, status, record FROM cells"
    ).fetchall():
        told = json.loads(text)
        told.pop("certificate", None)
        old = canonical(told)
        checksum = zlib.crc32(f"{settings}\n{status}\n{old}".encode())
        database.execute("UPDATE cells SET record=?, checksum=? WHERE key=?", [old, checksum, key])
    database.execute("PRAGMA user_version=1")
    database.commit()
    database.close()


def version(path):
    database = sqlite3.connect(path)
    (found,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    return found


def test_a_ledger_without_certificates_is_read_and_goes_on(tmp_path):
    path = filled(tmp_path / "l.sqlite", 5)
    as_version_1(path)
    old = [(cell(i), replace(record(i), certificate=None)) for i in range(5)]
    assert contents(path) == old
    with Ledger(path) as ledger:
        assert not [name for name in cell_table(ledger) if name.startswith("certificate.")]
    assert version(path) == 1  # reading leaves it to the older program
    with Ledger(path) as ledger:
        ledger.add([(cell(5), record(5)), (cell(1), record(1))])  # a finished cell stays
    assert version(path) == 3
    assert contents(path) == [*old, (cell(5), record(5))]
    as_version_1(path)
    assert salvage(path)[0] == 6
    assert version(path) == 3


def test_a_finished_cell_stays_a_failed_one_does_not(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.add([(cell(1), record(1)), (cell(2), record(2, "failed", error="E: no"))])
        ledger.add([(cell(1), record(1, "failed")), (cell(2), record(2, attempts=3))])
        assert {r.key: r for _, r in ledger.records()} == {
            key_of(cell(1)): record(1),
            key_of(cell(2)): record(2, attempts=3),
        }
        assert ledger.keys("failed") == set()


def test_all_of_a_batch_is_kept_or_none(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        bad = Record(key_of(cell(2)), "neither", {})
        with pytest.raises(sqlite3.IntegrityError):
            ledger.add([(cell(1), record(1)), (cell(2), bad)])
        assert list(ledger.records()) == []


def test_exports_agree_with_the_ledger(tmp_path):
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.add((cell(i), record(i)) for i in (10, 9))
        two = record(2)  # with a metric that is called as the text of a failure might be
        ledger.add([(cell(2), replace(two, metrics={**two.metrics, "error": 0.5}))])
        ledger.add([(cell(1), record(1, "failed", error="ValueError: x\ntrace"))])
        for name in ("t.parquet", "t.csv"):
            export_cells(ledger, tmp_path / name, {canonical_method("m", {"steps": 1.5}): "ours"})
        with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
            export_cells(ledger, tmp_path / "t.xlsx")
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert list(table["n"]) == [1, 2, 9, 10]  # sorted as numbers
    assert list(table["method.steps"]) == [1.5] * 4
    assert set(table["label"]) == {"ours"}
    assert list(table["square"].iloc[1:]) == [i / 7 for i in (2, 9, 10)]  # bit for bit
    assert table["square"].isna().iloc[0]
    assert table["failure"][0] == "ValueError: x\ntrace"
    assert table["error"].tolist()[1] == 0.5
    verdicts = table[["certificate.odd", "certificate.prime"]]
    assert list(verdicts.loc[table["n"] == 9].iloc[0]) == ["holds", "unknown"]
    assert verdicts[table["n"] != 9].isna().all(axis=None)
    written = pd.read_csv(tmp_path / "t.csv")[list(verdicts)]
    pd.testing.assert_frame_equal(written.fillna(""), verdicts.fillna(""), check_dtype=False)
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "t.csv")["square"], table["square"])


def test_an_empty_ledger_exports(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        export_cells(ledger, tmp_path / "t.parquet")
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == 0


@pytest.mark.parametrize("seed", range(30))
def test_damage_is_refused_by_name_or_harmless(tmp_path, seed):
    """Overwrite bytes anywhere: the ledger refuses with a way out, or its content is unchanged."""
    path = filled(tmp_path / "l.sqlite")
    before = contents(path)
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    length = int(rng.choice([1, 64, 5000]))
    start = int(rng.integers(len(content) - length))
    content[start : start + length] = rng.bytes(length)
    path.write_bytes(bytes(content))
    try:
        after = contents(path)
    except LedgerError as error:
        told = str(error)
    else:
        assert after == before
        return
    assert "l.sqlite" in told
    assert "--salvage" in told or "damaged" not in told


@pytest.mark.parametrize("length", [0, 50, 1000])
def test_a_cut_ledger_is_refused_or_empty(tmp_path, length):
    path = filled(tmp_path / "l.sqlite")
    path.write_bytes(path.read_bytes()[:length])
    if length == 0:
        assert contents(path) == []
    else:
        with pytest.raises(LedgerError, match="--salvage"):
            Ledger(path)


def test_salvage_keeps_every_whole_cell(tmp_path):
    path = filled(tmp_path / "l.sqlite")
    before = {r.key: (s, r) for s, r in contents(path)}
    content = bytearray(path.read_bytes())
    page = content.index(canonical(cell(N // 2)).encode()) // 4096 * 4096
    content[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(path)
    n_cells, aside = salvage(path)
    after = contents(path)
    assert len(after) == n_cells
    assert 0.9 * N < n_cells < N  # a page holds some ten of them
    assert all(before[r.key] == (s, r) for s, r in after)
    assert aside.read_bytes() == bytes(content)


def test_salvage_of_rubbish_starts_again(tmp_path):
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(path)
    assert salvage(path)[0] == 0
    assert contents(path) == []


def test_other_databases_and_versions_are_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(tmp_path / "other.sqlite")
    path = filled(tmp_path / "l.sqlite", 1)
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version=9")
    later.close()
    with pytest.raises(LedgerError, match="version 9"):
        Ledger(path)


def test_no_flipped_bit_changes_what_a_ledger_says(tmp_path):
    """It is refused with the way out, or it was one that means nothing."""
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.add((cell(i), record(i)) for i in range(4))
        for name in "ab":
            ledger.note_start({"versions": {name: "1"}, "processor": "x"})
    content = path.read_bytes()
    expected = ledger_content(path)
    used = [bit for bit in range(8 * len(content)) if content[bit // 8]]
    rng = np.random.default_rng(0)
    n_refused = 0
    for i, bit in enumerate(rng.choice(used, 1500, replace=False).tolist()):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        other = tmp_path / f"{i}.sqlite"
        other.write_bytes(changed)
        try:
            assert ledger_content(other) == expected, bit
        except LedgerError as error:
            n_refused += str(other) in str(error)
    assert n_refused > 1000


def ledger_content(path):
    with Ledger(path) as ledger:
        records = sorted(ledger.records(), key=lambda row: row[1].key)
        return records, ledger.starts(), ledger.keys("done")


def test_starts_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.note_start({"new": 1})
    database = sqlite3.connect(path)
    database.execute("INSERT INTO starts (environment) VALUES (?)", ['{"old":1}'])
    database.execute("PRAGMA user_version=2")
    database.commit()
    database.close()
    with Ledger(path) as ledger:
        assert ledger.starts() == [{"new": 1}, {"old": 1}]
        ledger.note_start({"newer": 1})
    with Ledger(path) as ledger:
        assert len(ledger.starts()) == 3


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_a_ledger_is_a_regular_file(tmp_path, kind):
    with pytest.raises(LedgerError, match="no regular file"):
        Ledger(make_special(tmp_path, kind))
