"""Times come back from the ways in which people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.data import load_inputs, read_table
from secateurs.data.date_text import FORMATS, parse_dates
from secateurs.data.encoding import encode
from secateurs.data.number_text import NumberReader, is_same_unit, parse_number
from secateurs.data.schema_fitting import fit_schema

MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
}
START = datetime(2019, 11, 25, 7, 30, 5)
WAYS = {  # the way, and the step to which it is exact
    "{0:%Y%m%d}": "D",
    "{0:%Y%m%d%H%M%S}": "s",
    "{0:%Y%m%dT%H%M%S}": "s",
    "{0:%A, %d %B %Y}": "D",
    "{0:%a, %d %b %Y %H:%M:%S} +0000": "s",
    "{0:%a %b %d %H:%M:%S %Y}": "s",
    "{0:%d/%b/%Y:%H:%M:%S} +0000": "s",
    "{0:%d.%m.%Y, %H:%M} Uhr": "m",
    "{0:%m/%d/%Y %I:%M%p}": "m",
    "{0:%Y-%m-%d %H:%M:%S},000": "s",
    "{0:%Y-%m-%d %H:%M:%S} GMT": "s",
    "{0:%b-%y}": "M",
    "{0:%m/%Y}": "M",
    "{0:%Y/%m}": "M",
    "{0:%G-W%V}": "W",
    "{0.day}. {de} {0.year}": "D",
    "{0.day} {fr} {0.year}": "D",
    "{0.day} {es} {0.year}": "D",
    "{0:%B} {0.day}th, {0.year}": "D",
}


def written(time: datetime, way: str) -> str:
    names = {language: line.split()[time.month - 1] for language, line in MONTHS.items()}
    return way.format(time, **names)


def at(time: datetime, step: str) -> pd.Timestamp:
    if step == "W":
        return pd.Timestamp(time.date()) - timedelta(days=time.weekday())
    return pd.Timestamp(np.datetime64(time, step))


@pytest.mark.parametrize("way", WAYS)
def test_dates_come_back_from_any_way_of_writing(tmp_path: Path, way: str) -> None:
    times = [START + timedelta(days=3.37 * i) for i in range(120)]
    texts = [written(time, way) for time in times]
    pd.DataFrame({"d": texts, "x": 1.5}).to_csv(tmp_path / "t.csv", sep=";", index=False)
    table = read_table(tmp_path / "t.csv")
    assert table.frame["d"].tolist() == [at(time, WAYS[way]) for time in times]
    schema = fit_schema(table.frame)
    pd.DataFrame({"d": texts[70:72], "x": 1.5}).to_csv(tmp_path / "n.csv", sep=";", index=False)
    new = encode(schema, load_inputs(tmp_path / "n.csv", schema))
    np.testing.assert_array_equal(new, encode(schema, table.frame)[70:72])


@given(st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)), st.sampled_from([-480, 60, 330]))
@settings(max_examples=60, deadline=None)
def test_zones_are_subtracted(time: datetime, minutes: int) -> None:
    time = time.replace(microsecond=0)
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    for form in ("%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d %b %Y %H:%M:%S"):
        found = parse_dates([f"{time.strftime(form)} {zone}"], form)
        assert found[0] == np.datetime64(time - timedelta(minutes=minutes), "us")
    assert datetime.now(UTC)  # the zone of the machine plays no part


def clock(t: timedelta) -> tuple[int, int, int]:
    return t // timedelta(hours=1), t // timedelta(minutes=1) % 60, t // timedelta(seconds=1) % 60


@pytest.mark.parametrize(
    "way",
    [
        lambda h, m, s: f"{h}:{m:02d}:{s:02d}",
        lambda h, m, s: f"{h // 24} days {h % 24:02d}:{m:02d}:{s:02d}",
        lambda h, m, s: f"PT{h}H{m}M{s}S",
        lambda h, m, s: f"{h}h {m}m {s}s",
        lambda h, m, s: f"{60 * h + m}:{s:02d}.00",
    ],
)
def test_durations_become_hours(tmp_path: Path, way) -> None:
    spans = [timedelta(seconds=977 * i) for i in range(1, 150)]
    texts = [way(*clock(span)) for span in spans]
    pd.DataFrame({"d": texts, "x": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    encoded = encode(fit_schema(table.frame), table.frame)
    np.testing.assert_allclose(encoded[:, 1 if table.frame.columns[0] != "d" else 0],
                               [span.total_seconds() / 3600 for span in spans])  # fmt: skip


def test_a_few_texts_among_dates_are_missing_and_said(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=40).strftime("%d.%m.%Y").tolist()
    days[3], days[5] = "soon", "00.00.0000"
    pd.DataFrame({"d": days, "x": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    assert table.frame["d"].isna().sum() == 2
    assert any("'00.00.0000', 'soon' in 2 rows among dates" in note for note in table.notes)
    schema = fit_schema(table.frame)
    assert np.isfinite(encode(schema, load_inputs(tmp_path / "t.csv", schema))).all()


def test_dates_that_mean_never_are_named(tmp_path: Path) -> None:
    days = ["9999-12-31", *pd.date_range("2020-01-01", periods=40).astype(str)]
    pd.DataFrame({"d": days, "x": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    notes = read_table(tmp_path / "t.csv").notes
    assert any("--na d=9999-12-31 reads it so" in note for note in notes)


def test_numbers_are_no_dates_unless_all_are(tmp_path: Path) -> None:
    for values in (["20200101", "20209901", "20200301"], ["20200101", "7"], ["5", "7", "9"]):
        pd.DataFrame({"d": values, "x": 1.5}).to_csv(tmp_path / "t.csv", index=False)
        assert read_table(tmp_path / "t.csv").frame["d"].dtype == np.int64


def test_every_format_reads_what_it_writes() -> None:
    for form in FORMATS:
        if "%" in form and not form.startswith("%a"):
            text = START.strftime(form)
            assert not np.isnat(parse_dates([text], form)[0]), (form, text)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1'100.-", 1100, ""),
        ("CHF 5.--", 5, "CHF"),
        ("5,-", 5, ""),
        ("-5.-", -5, ""),
        ("Fr. 100.—", 100, "Fr."),
        ("$ (1,100.50)", -1100.5, "$"),
        ("(5) %", -5, "%"),
        ("5-", -5, ""),
    ],
)
def test_prices_without_cents_and_signs_outside_brackets(text, value, unit) -> None:
    assert parse_number(text, ".") == (value, unit)


@pytest.mark.parametrize(("one", "other"), [("hour", "hours"), ("Tag", "Tage"), ("pc.", "pcs")])
def test_singular_and_plural_are_one_unit(one: str, other: str) -> None:
    reader = NumberReader(".", [f"1 {one}", f"2 {other}", f"3 {other}"])
    assert sorted(reader.values.values()) == [1, 2, 3]
    assert not NumberReader(".", ["7 kg"], other).values


@pytest.mark.parametrize(("one", "other"), [("m", "ms"), ("mi", "min"), ("$", "€"), ("g", "kg")])
def test_other_units_stay_different(one: str, other: str) -> None:
    assert not is_same_unit(one, other)


def test_numbers_in_two_units_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["1 kB", "2 MB"] * 9, "x": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    notes = read_table(tmp_path / "t.csv").notes
    assert any("units 'MB', 'kB' read as texts" in note for note in notes)
