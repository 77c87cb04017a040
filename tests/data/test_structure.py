"""What people write around a table does not change the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.data import DatasetError, load_dataset, load_inputs, read_table
from secateurs.data.encoding import encode
from secateurs.data.schema_fitting import fit_schema

relaxed = settings(max_examples=60, deadline=None)

ABOVE = [
    "",
    "# by hand\n",
    "Report of 2020\n\n",
    "Station: Bern\nHeight: 540\n\n",
    "Results{gaps}\n",
]
UNITS = ["", "s{d}kg{d}-\n", "(s){d}(kg){d}\n", "[s]{d}[kg]{d}[name]\n", "float{d}float{d}text\n"]
BEHIND = [
    "",
    "\n\n",
    "Total{d}12.5{d}\n",
    "\nSource: own counts\n",
    "{gaps}\nSource: own counts{gaps}\n",
    "# end\n",
    "(20 rows affected)\n",
    "Total{d}9{d}\nAverage{d}3{d}\n\nSource: own counts\n",
]


def frame(n: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "time": rng.normal(0, 5, n).round(3),
            "mass": rng.integers(0, 1000, n),
            "site": rng.choice(["north", "south", "o'west"], n),
        }
    )


def read(tmp_path_factory, text: str, encoding: str = "utf-8"):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


@given(
    st.sampled_from(",;\t|"),
    *map(st.sampled_from, (ABOVE, UNITS, BEHIND)),
    st.sampled_from(["", "comment", "trailing", "ruled"]),
    st.integers(4, 20),
)
@relaxed
def test_what_stands_around_a_table_is_left_out_and_said(
    tmp_path_factory, d: str, above: str, units: str, behind: str, inside: str, n: int
) -> None:
    data = frame(n)
    lines = data.to_csv(sep=d, index=False).splitlines(keepends=True)
    if inside == "comment":
        lines.insert(3, "# checked\n")
    elif inside == "trailing":
        lines[2] = lines[2].replace("\n", d + "\n")
    elif inside == "ruled":
        lines.insert(1, d.join(["---"] * 3) + "\n")
        units = ""
    text = above + lines[0] + units + "".join(lines[1:]) + behind
    table = read(tmp_path_factory, text.replace("{d}", d).replace("{gaps}", d * 2))
    pd.testing.assert_frame_equal(table.frame, data, check_dtype=False)
    said = " ".join(table.notes)
    assert not above or "before the header left out" in said or "comment line" in said
    assert not units or "units or descriptions left out" in said
    assert "Source" not in behind or "behind the table left out" in said
    assert "Total" not in behind or "totals at the end left out" in said


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("plot,,yield,\nid,site,mean,sd\n", ["plot id", "plot site", "yield mean", "yield sd"]),
        ("A,A,B,B\nx,y,x,y\n", ["A x", "A y", "B x", "B y"]),
        ("place,city,2020,2021\n,,kt,kt\n", ["place", "city", "2020", "2021"]),
        ("year,place,temp,rain\n,,°C,mm\n", ["year", "place", "temp", "rain"]),
        (
            "q1,q2,q3,q4\nHow old?,Where?,How warm?,How wet?\nI1,I2,I3,I4\n",
            ["q1", "q2", "q3", "q4"],
        ),
    ],
)
def test_a_header_of_several_rows(tmp_path: Path, header: str, names: list[str]) -> None:
    rows = "".join(f"{i},w{i % 3},{i}.5,{i * 0.1:.1f}\n" for i in range(12))
    (tmp_path / "t.csv").write_text(header + rows)
    table = read_table(tmp_path / "t.csv")
    assert table.frame.columns.tolist() == names
    assert len(table.frame) == 12
    assert table.frame.iloc[:, 2].tolist() == [i + 0.5 for i in range(12)]
    assert any("left out" in note or "joined" in note for note in table.notes)
    # new rows under the same header, and under the plain one
    schema = fit_schema(table.frame)
    expected = encode(schema, table.frame)[:2]
    for top in (header, ",".join(names) + "\n"):
        (tmp_path / "new.csv").write_text(top + "".join(rows.splitlines(keepends=True)[:2]))
        new = load_inputs(tmp_path / "new.csv", schema)
        np.testing.assert_array_equal(encode(schema, new), expected)


def test_columns_of_a_frame_with_two_levels_of_names(tmp_path: Path) -> None:
    data = pd.DataFrame({"g": list("abab"), "x": [1.0, 2, 3, 4], "z": [5, 6, 7, 9]})
    data.groupby("g").agg(["mean", "max"]).to_csv(tmp_path / "t.csv")
    names = ["g", "x mean", "x max", "z mean", "z max"]
    assert read_table(tmp_path / "t.csv").frame.columns.tolist() == names


@pytest.mark.parametrize("first", ["<5,unknown", "none yet,x", "7,x"])
def test_a_first_row_of_odd_values_is_no_row_of_units(tmp_path: Path, first: str) -> None:
    text = f"a,b\n{first}\n" + "".join(f"{i}.5,w{i % 3}\n" for i in range(30))
    (tmp_path / "t.csv").write_text(text)
    assert len(read_table(tmp_path / "t.csv").frame) == 31


@given(st.sampled_from(",;|"), st.sampled_from(["double", "single", "backslash", "spaced"]))
@relaxed
def test_fields_come_back_from_any_quotes(tmp_path_factory, d: str, how: str) -> None:
    texts = [f"one{d} two", "plain", f"a{d}{d}b", f"three {d}x", f"two{d}"] * 4
    if how in ("double", "backslash"):
        texts[3] = f'say "hi"{d} you'
    stream = io.StringIO()
    writer = csv.writer(
        stream, quoting=csv.QUOTE_NONNUMERIC, delimiter=d,
        quotechar="'" if how == "single" else '"',
        **({"escapechar": "\\", "doublequote": False} if how == "backslash" else {}),
    )  # fmt: skip
    writer.writerows([["x", "text"], *([i, text] for i, text in enumerate(texts))])
    text = stream.getvalue()
    table = read(tmp_path_factory, text.replace(d + '"', d + ' "') if how == "spaced" else text)
    assert table.frame["text"].tolist() == texts
    assert table.frame["x"].tolist() == [*range(20)]


def test_a_comma_in_a_text_without_quotes_does_not_shift_the_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,text\n" + "".join(f"{i},one, two\n" for i in range(9)))
    with pytest.raises(DatasetError, match=r"3 fields under 2 names; .*; put quotes around texts"):
        read_table(tmp_path / "t.csv")


def test_lines_of_spaces_are_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n  \n1,2\n   \n3,:\n")
    assert read_table(tmp_path / "t.csv").frame.to_numpy().tolist()[0] == [1, 2]


@pytest.mark.parametrize("delimiter", ["^", "~", "\x01", ":"])
def test_rare_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    frame().to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv").frame, frame(), check_dtype=False)


def test_three_columns_of_one_name_stay_three(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a,a,a.1\n1,2,3,4\n5,6,7,9\n")
    table = read_table(tmp_path / "t.csv")
    assert table.frame.columns.tolist() == ["a", "a.2", "a.3", "a.1"]
    assert table.frame.iloc[1].tolist() == [5, 6, 7, 9]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[{"a": 1, "b": 2},\n {"a": 2, "b": 3}]', "a JSON file"),
        ('{"a": 1, "b": 2}\n{"a": 2, "b": 3}\n', "a JSON file"),
        ("<html><table><tr><td>1</td></tr></table></html>", "an HTML or XML file"),
        ("% a\n@relation x\n@attribute a numeric\n@data\n1\n", "an ARFF file"),
    ],
)
def test_other_kinds_of_text_are_refused_by_name(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=f"got {kind}; expected a table as text; export"):
        read_table(tmp_path / "t.csv")


def test_a_target_that_only_marks_some_rows_is_refused_with_the_cause(tmp_path: Path) -> None:
    text = "mark,x\n" + "".join(f"{'x' if i % 2 else ''},{i}.5\n" for i in range(20))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"the target 'x' in 10 rows and none in 10; .*; fill"):
        load_dataset(tmp_path / "t.csv", "mark")


LANGUAGES = {
    "de": ["Zürich", "Köln", "Genf", "Straße"],
    "fr": ["Orléans", "Nîmes", "Besançon"],
    "hu": ["Kőszeg", "Győr", "Tűz", "Füred"],
    "cs": ["Plzeň", "Děčín", "Šumperk"],
    "pl": ["Łódź", "Kraków", "Gdańsk"],
    "tr": ["İzmir", "Iğdır", "Muş"],
    "ru": ["Москва", "Казань", "Тверь"],
    "el": ["Αθήνα", "Πάτρα", "Βόλος"],
    "ja": ["東京", "大阪", "ソニー"],
}
ENCODINGS = [
    *(("de", e) for e in ("cp1252", "mac_roman", "cp850")),
    *(("fr", e) for e in ("latin-1", "mac_roman", "cp850")),
    *(("hu", "cp1250"), ("hu", "iso8859-2"), ("cs", "cp1250"), ("cs", "iso8859-2")),
    *(("pl", "cp1250"), ("pl", "iso8859-2"), ("tr", "cp1254"), ("ru", "cp1251"), ("ru", "koi8-r")),
    *(("el", "cp1253"), ("el", "iso8859-7"), ("ja", "shift_jis"), ("ja", "euc_jp")),
    *(("de", e) for e in ("utf-32-le", "utf-16-be", "utf-16", "utf-8-sig")),
]


@pytest.mark.parametrize(("language", "encoding"), ENCODINGS)
def test_letters_of_one_language_survive_its_encodings(
    tmp_path_factory, language: str, encoding: str
) -> None:
    words = LANGUAGES[language] * 10
    text = "x;y\n" + "".join(f"{word};{i}\n" for i, word in enumerate(words))
    assert read(tmp_path_factory, text, encoding).frame["x"].tolist() == words


def test_utf8_with_a_damaged_letter_stays_utf8(tmp_path: Path) -> None:
    content = ("a,b\n" + "Zürich,1\n" * 30).encode() + b"K\xf6ln,2\n"
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv")
    assert table.frame["a"].iloc[0] == "Zürich"
    assert "utf-8 with 1 damaged letter" in table.reading
