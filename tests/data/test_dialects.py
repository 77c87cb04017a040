"""A frame that is written in any dialect is read as the same frame, and so is each of its rows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.data import DatasetError, TableOptions, load_dataset, load_inputs, read_table
from secateurs.data.encoding import encode
from secateurs.data.file_text import read_text
from secateurs.data.number_text import parse_number
from secateurs.data.schema_fitting import fit_schema
from secateurs.data.tables import ColumnSchema, TableSchema

relaxed = settings(max_examples=60, deadline=None)

WORDS = ["Lyon", "Zürich", "Genève", "Köln", "São Paulo", "Århus"]
DATES = {
    "iso": "%Y-%m-%d",
    "german": "%d.%m.%Y",
    "times": "%Y-%m-%d %H:%M:%S",
    "months": "%d %b %Y",
}
PACKERS = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@dataclass(frozen=True)
class Written:
    """How a test writes a table."""

    delimiter: str
    decimal: str
    thousands: str
    encoding: str
    newline: str
    quoted: bool
    currency: str
    date: str
    packed: str


@st.composite
def dialects(draw: st.DrawFn) -> Written:
    decimal = draw(st.sampled_from(".,"))
    # a comma inside a field is quoted by the csv module where commas separate
    return Written(
        delimiter=draw(st.sampled_from(",;\t|")),
        decimal=decimal,
        thousands=draw(st.sampled_from(["", ",.".replace(decimal, ""), "'", "\u202f", "\u00a0"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])),
        newline=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        quoted=draw(st.booleans()),
        currency=draw(st.sampled_from(["", "$", "€ ", " EUR", " kg", "%", " CHF"])),
        date=draw(st.sampled_from(sorted(DATES))),
        packed=draw(st.sampled_from(sorted(PACKERS))),
    )


def frame(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "weight": rng.normal(0, 2000, n).round(2),
            "share": rng.uniform(0, 1, n).round(4),
            "count": rng.integers(0, 40, n),
            "city": rng.choice(WORDS, n),
            "day": pd.Timestamp("2019-12-20") + pd.to_timedelta(rng.integers(0, 400, n), "D"),
            "member": rng.random(n) < 0.5,
        }
    )


def number(value: float, digits: int, how: Written, currency: str = "") -> str:
    text = f"{value:,.{digits}f}".replace(",", "T").replace(".", how.decimal)
    text = text.replace("T", how.thousands)
    before = currency if currency[:1] in "$€" else ""
    return f"{before}{text}{'' if before else currency}"


def written(data: pd.DataFrame, how: Written) -> pd.DataFrame:
    """Return the texts of a frame in a dialect."""
    return pd.DataFrame(
        {
            "weight": [number(x, 2, how, how.currency) for x in data["weight"]],
            "share": [number(x, 4, how) for x in data["share"]],
            "count": [str(x) for x in data["count"]],
            "city": data["city"],
            "day": data["day"].dt.strftime(DATES[how.date]),
            "member": data["member"].map({True: "TRUE", False: "false"}),
        }
    )


def write(path: Path, texts: pd.DataFrame, how: Written) -> Path:
    stream = io.StringIO()
    texts.to_csv(
        stream, sep=how.delimiter, index=False, quoting=1 if how.quoted else 0,
        lineterminator=how.newline,
    )  # fmt: skip
    path = path.with_name(f"{path.name}{how.packed}")
    path.write_bytes(PACKERS[how.packed](stream.getvalue().encode(how.encoding)))
    return path


@given(dialects())
@relaxed
def test_a_frame_comes_back_from_any_dialect(tmp_path_factory, how: Written) -> None:
    data = frame()
    path = write(tmp_path_factory.mktemp("t") / "t.csv", written(data, how), how)
    table = read_table(path)
    pd.testing.assert_frame_equal(table.frame, data, check_dtype=False)
    assert f"decimal {'comma' if how.decimal == ',' else 'point'}" in table.reading
    assert table.reading.endswith("6 columns")


@given(dialects(), dialects(), st.lists(st.integers(0, 39), min_size=1, max_size=4))
@relaxed
def test_a_row_is_read_alike_whatever_the_other_rows_are(
    tmp_path_factory, how: Written, other: Written, rows: list[int]
) -> None:
    """The schema of one file reads some rows of another, in another dialect."""
    data = frame()
    folder = tmp_path_factory.mktemp("t")
    table = read_table(write(folder / "fit.csv", written(data, how), how))
    schema = fit_schema(table.frame)
    expected = encode(schema, table.frame)
    some = written(data, Written(**{**vars(other), "currency": how.currency, "date": how.date}))
    path = write(folder / "new.csv", some.iloc[rows], other)
    np.testing.assert_array_equal(encode(schema, load_inputs(path, schema)), expected[rows])


CODES = ["007", "7", "1.0", "1", "true", "1e3", "A12", "10", "NA", "None", "2020-01-01"]


@given(st.permutations(CODES), st.integers(1, len(CODES)))
@relaxed
def test_codes_are_read_alike_in_every_file(tmp_path_factory, codes: list[str], k: int) -> None:
    folder = tmp_path_factory.mktemp("t")
    rows = pd.DataFrame({"code": CODES * 3, "x": np.arange(3 * len(CODES))})
    rows.to_csv(folder / "fit.csv", index=False)
    table = read_table(folder / "fit.csv")
    schema = fit_schema(table.frame)
    whole = encode(schema, table.frame)[: len(CODES)]
    pd.DataFrame({"code": codes[:k], "x": 1}).to_csv(folder / "new.csv", index=False)
    encoded = encode(schema, load_inputs(folder / "new.csv", schema))
    for code, row in zip(codes[:k], encoded, strict=True):
        np.testing.assert_array_equal(row[1:], whole[CODES.index(code), 1:])


@given(
    st.floats(-1e12, 1e12).map(lambda x: round(x, 2)),
    st.sampled_from(".,"),
    st.sampled_from(["", "'", "’", " ", "\u202f", "\u00a0", "other"]),
    st.sampled_from(["{}", "${}", "{} €", "£ {}", "CHF {}", "{} kg", "{}%", "{}\u00a0km/h"]),
    st.sampled_from(["-{}", "({})", "{}-", "\u2212{}"]),
)
@relaxed
def test_a_number_is_read_however_it_is_written(
    value: float, decimal: str, thousands: str, unit: str, sign: str
) -> None:
    thousands = ",.".replace(decimal, "") if thousands == "other" else thousands
    text = f"{abs(value):,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    text = unit.format(text)
    found = parse_number(sign.format(text) if value < 0 else text, decimal)
    if sign == "{}-" and not unit.endswith("}") and value < 0:
        return
    assert found is not None
    assert found[0] == pytest.approx(value, abs=1e-9)
    assert found[1] == unit.replace("{}", "").strip(" \u00a0")


@given(st.text(max_size=12), st.sampled_from(".,"))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader_of_numbers(text: str, decimal: str) -> None:
    found = parse_number(text, decimal)
    assert found is None or isinstance(found[0], float)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A12",
        "1.2.3",
        "12-34",
        "1,2,3",
        "1 2",
        "$5 kg",
        "--5",
        "0x10",
        "1_000",
        "10x20",
        "1.234,5",
    ],
)
def test_these_are_no_numbers(text: str) -> None:
    assert parse_number(text, ".") is None


def csv_file(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "values", "note"),
    [
        # three digits behind the only mark: the other columns decide, then the delimiter
        ('a,b\n1.5,"1,234"\n2.5,"2,500"\n', [1234, 2500], None),
        ("a;b\n1,5;1.234\n2,5;2.500\n", [1234, 2500], "read as 1234"),
        ("a;b\nx;1,234\ny;2,500\n", [1.234, 2.5], "--decimal . reads it as 1234"),
        ('a,b\nx,"1,234"\ny,"2,500"\n', [1234, 2500], "--decimal , reads it as 1.234"),
        ("a\tb\n1,5\t3,548\n2,5\t1,164\n", [3.548, 1.164], "read as 3.548"),
    ],
)
def test_thousands_or_decimals_are_decided_by_the_file_and_said(
    tmp_path: Path, text: str, values: list, note: str | None
) -> None:
    table = read_table(csv_file(tmp_path, text))
    assert table.frame["b"].tolist() == values
    assert note is None or any(note in said for said in table.notes)


def test_the_decimal_mark_can_be_given(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'a,b\nx,"1,234"\ny,"2,500"\n')
    assert read_table(path, TableOptions(decimal=",")).frame["b"].tolist() == [1.234, 2.5]
    path = csv_file(tmp_path, 'a,b\nx,"1,5"\ny,2.5\n')
    with pytest.raises(DatasetError, match=r"'b': got '1,5' and '2\.5'; expected one"):
        read_table(path)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig", "latin-1", "mac_roman"])
def test_words_survive_every_encoding(tmp_path: Path, encoding: str) -> None:
    text = "stadt;größe\n" + "".join(f"{word};{i},5\n" for i, word in enumerate(WORDS * 8))
    path = csv_file(tmp_path, text, encoding)
    if encoding == "mac_roman":  # too rare to be guessed
        table = read_table(path, TableOptions(encoding=encoding))
    else:
        table = read_table(path)
    assert table.frame.columns.tolist() == ["stadt", "größe"]
    assert table.frame["stadt"].tolist() == WORDS * 8


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1250", ["Łódź", "Kraków", "Gdańsk", "Poznań"]),
        ("cp1251", ["Москва", "Казань", "Тверь", "Самара"]),
        ("cp932", ["東京", "大阪", "京都", "名古屋"]),
    ],
)
def test_other_scripts_are_recognised(tmp_path: Path, encoding: str, words: list[str]) -> None:
    text = "x;y\n" + "".join(f"{word};{i}\n" for i, word in enumerate(words * 10))
    assert read_table(csv_file(tmp_path, text, encoding)).frame["x"].tolist() == words * 10


@pytest.mark.parametrize("sign", ["€", "£", "¥", "°", "±", "§", "½"])
def test_signs_without_words_are_western(tmp_path: Path, sign: str) -> None:
    rows = "".join(f"{i};{i} {sign}\n" for i in range(1, 200))
    assert "cp1252" in read_table(csv_file(tmp_path, "number;price\n" + rows, "cp1252")).reading


def test_euro_signs_are_cp1252(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a;preis\nx;5,50 €\ny;1.250,00 €\n", "cp1252")
    assert read_table(path).frame["preis"].tolist() == [5.5, 1250.0]


@pytest.mark.parametrize(
    ("text", "columns", "n", "note"),
    [
        ("sep=;\na;b\n1;2\n", ["a", "b"], 1, None),
        ("# made by hand\n# twice\na,b\n1,2\n", ["a", "b"], 1, "2 comment lines"),
        ("#a,b\n1,2\n", ["a", "b"], 1, None),
        ("Report of 2020\n\na,b,c\n1,2,3\n4,5,6\n", ["a", "b", "c"], 2, "1 line before"),
        ("a,b,c\n1,2,3\n4,5,6\n,,\n,,\n\n\n", ["a", "b", "c"], 2, "2 empty rows at the end"),
        ("a,b,c\n1,2,3\n,,\n4,5,6\n", ["a", "b", "c"], 3, None),
        ("a,b,,\n1,2,,\n4,5,,\n", ["a", "b"], 2, None),
        ("a,b\n1,2,\n4,5,\n", ["a", "b"], 2, None),
        ("a,b\n1,2\na,b\n3,4\n", ["a", "b"], 2, "1 repeated header"),
        (" a , b c \n1, 2\n", ["a", "b c"], 1, None),
        ("a,b,a\n1,2,3\n", ["a", "b", "a.1"], 1, "renamed to 'a.1'"),
        ("a,b,a\n1,2,1\n", ["a", "b"], 1, "the copy of column 'a'"),
        ("1.5,2\n2.5,3\n", ["column1", "column2"], 2, None),
        ("x,2019,2020\nu,5,6\n", ["x", "2019", "2020"], 1, None),
        ("0,1,2\n0.5,1.5,2.5\n", ["0", "1", "2"], 1, None),
        ("a b  c\n1 2  3\n  4 5 6\n", ["a", "b", "c"], 2, None),
        ('a,b\n"1\n2",3\n4,5\n', ["a", "b"], 2, None),
        ("a\n1\n2\n", ["a"], 2, None),
        ("a\n1,5\n2,5\n", ["a"], 2, None),
        ("a;b\n1;2\n3;4\nTotal;6\n", ["a", "b"], 2, "the row of totals"),
        ("a,b\r1,2\r3,4\r", ["a", "b"], 2, None),
    ],
)
def test_lines_that_are_no_rows(
    tmp_path: Path, text: str, columns: list[str], n: int, note: str | None
) -> None:
    table = read_table(csv_file(tmp_path, text))
    assert table.frame.columns.tolist() == columns
    assert len(table.frame) == n
    assert note is None or any(note in said for said in table.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,4,5\n6,7\n", "3 fields in line 3"),
        ("# x\na,b\n1,2\n3\n6,7\n", "1 fields in line 4"),
        ('a,b\n1,2\n"3,4\n5,6\n7,8\n9,1\n', "a quoted field that starts in line 3"),
        ("a,b\0\n1,2\n", "bytes that are not text"),
        ("", "empty"),
        ("\n\n", "empty"),
    ],
)
def test_files_that_are_no_tables_are_refused_by_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        read_table(csv_file(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "day_first", "days"),
    [
        ("d,x\n03/04/2020,1\n05/06/2020,2\n", False, ["2020-03-04", "2020-05-06"]),
        ("d;x\n03/04/2020;1\n05/06/2020;2\n", True, ["2020-04-03", "2020-06-05"]),
        ("d,x\n13/04/2020,1\n05/06/2020,2\n", None, ["2020-04-13", "2020-06-05"]),
        ("d,x\n04/13/2020,1\n05/06/2020,2\n", None, ["2020-04-13", "2020-05-06"]),
        ("d,x\n3.4.20,1\n5.6.20,2\n", None, ["2020-04-03", "2020-06-05"]),
        ('d,x\n"Apr 3, 2020",1\n"Jun 5, 2020",2\n', None, ["2020-04-03", "2020-06-05"]),
        ("d,x\n2020-04-03T10:00Z,1\n,2\n", None, ["2020-04-03 10:00", None]),
    ],
)
def test_the_order_of_day_and_month_is_decided_and_said(
    tmp_path: Path, text: str, day_first: bool | None, days: list
) -> None:
    path = csv_file(tmp_path, text)
    table = read_table(path)
    assert table.frame["d"].tolist() == [pd.Timestamp(day) if day else pd.NaT for day in days]
    word = "month-first" if day_first else "day-first"
    assert any(f"--dates {word} overrules" in note for note in table.notes) == (
        day_first is not None
    )
    if day_first is not None:
        swapped = read_table(path, TableOptions(dates=(word,))).frame["d"]
        assert swapped.dt.day.tolist() == table.frame["d"].dt.month.tolist()


def test_sentinels_are_named_and_removed_when_asked(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, "a,b\n" + "".join(f"{i % 7}.5,{i}\n" for i in range(50)) + "9999,-1\n"
    )
    table = read_table(path)
    assert table.frame["a"].max() == 9999
    assert any("9999 in 1 row" in note and "--na a=9999" in note for note in table.notes)
    table = read_table(path, TableOptions(na=("a=9999",)))
    assert table.frame["a"].isna().sum() == 1
    schema = fit_schema(table.frame)
    assert load_inputs(path, schema)["a"].isna().sum() == 1  # the schema remembers the word


def test_words_are_missing_only_where_the_column_says_so(tmp_path: Path) -> None:
    rows = "".join(f"{word},{i}.5\n" for i, word in enumerate(["None", "Some", "NA", "Marked"] * 5))
    table = read_table(csv_file(tmp_path, f"level,x\n{rows}"))
    assert table.frame["level"].notna().all()
    assert any("--na level=NA" in note for note in table.notes)
    table = read_table(csv_file(tmp_path, f"level,x\n{rows}"), TableOptions(na=("level=NA",)))
    assert table.frame["level"].isna().sum() == 5
    # R quotes texts, and writes a missing one without quotes
    text = '"level","x"\n"None",NA\nNA,1\n"NA",2\n"Some",3\n'
    table = read_table(csv_file(tmp_path, text))
    assert table.frame["level"].isna().tolist() == [False, True, False, False]
    assert table.frame["x"].isna().tolist() == [True, False, False, False]


def test_a_few_texts_among_numbers_are_missing_and_said(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,y\n" + "".join(f"{i}.5,{i}\n" for i in range(40)) + "<5,1\n")
    table = read_table(path)
    assert table.frame["a"].isna().sum() == 1
    assert any("'<5' in 1 row among numbers read as missing" in note for note in table.notes)
    schema = fit_schema(table.frame)
    assert load_inputs(path, schema)["a"].isna().sum() == 1
    with pytest.raises(DatasetError, match="text in 1 row, first in row 40: '<5'"):
        load_dataset(path, target="a")


@pytest.mark.parametrize(
    ("header", "row", "left_out"),
    [
        ("{}", "{i}", "'Unnamed: 0' left out: a row index"),
        ("id", "{j}", "'id' left out: an identifier by its name"),
        ("customerId", "{j}", "'customerId' left out: an identifier by its name"),
        ("n", "{i}", "'n' left out: a row number"),
        ("time", "{i}", None),
        ("dose", "{j}", None),
    ],
)
def test_row_numbers_and_identifiers_are_left_out(
    tmp_path: Path, header: str, row: str, left_out: str | None
) -> None:
    header = header.replace("{}", "")
    rows = "".join(f"{row.format(i=i + 1, j=(i * 7) % 60)},{i % 5},{i / 4}\n" for i in range(60))
    path = csv_file(tmp_path, f"{header},x,y\n{rows}")
    data = load_dataset(path, target="y")
    assert data.X.shape[1] == (1 if left_out else 2)
    assert left_out is None or any(left_out in note for note in data.notes)
    if left_out:
        name = header or "Unnamed: 0"
        assert load_dataset(path, "y", options=TableOptions(keep=(name,))).X.shape[1] == 2


def test_roles_of_columns(tmp_path: Path) -> None:
    rows = "".join(f"p{i // 3},{i % 4},{i * 1.5},{i % 7},{i / 4}\n" for i in range(60))
    path = csv_file(tmp_path, f"person,w,a,b,y\n{rows},,,,\n1,2,3,4,\n")
    options = TableOptions(group="person", weight="w", drop=("b",))
    data = load_dataset(path, "y", options=options)
    assert data.X.columns.tolist() == ["a"]
    assert len(data.y) == len(data.groups) == len(data.weights) == 60
    assert any("2 rows without a target" in note for note in data.notes)
    for wrong in (
        TableOptions(group="persn"),
        TableOptions(group="y"),
        TableOptions(weight="person"),
    ):
        with pytest.raises(DatasetError):
            load_dataset(path, "y", options=wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"decimal": "x"},
        {"delimiter": "ab"},
        {"delimiter": '"'},
        {"encoding": "klingon"},
        {"dates": ("late",)},
        {"dates": ("day-first", "month-first")},
    ],
)
def test_bad_options_are_refused_by_name(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}: got"):
        read_table(csv_file(tmp_path, "a,b\n1,2\n"), TableOptions(**options))


def test_packed_bombs_and_spreadsheets_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("secateurs.data.file_text.FREE_BYTES", 1000)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 100_000))
    with pytest.raises(DatasetError, match="unpack it first"):
        read_text(path)
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(DatasetError, match="a spreadsheet"):
        read_text(path)


def test_files_without_a_header_are_read_alike_row_by_row(tmp_path: Path) -> None:
    rows = [f"{i}.5,{i % 3},{'u' if i % 2 else 'v'}\n" for i in range(20)]
    table = read_table(csv_file(tmp_path, "".join(rows)))
    schema = fit_schema(table.frame)
    expected = encode(schema, table.frame)
    for i in (0, 7, 19):
        one = load_inputs(csv_file(tmp_path, rows[i]), schema)
        np.testing.assert_array_equal(encode(schema, one)[0], expected[i])


def test_a_schema_of_version_1_reads_files_as_before(tmp_path: Path) -> None:
    columns = [
        ColumnSchema(name="a", kind="numeric", fill=7.0),
        ColumnSchema(name="b", kind="categorical", fill="x", categories=["x", "y"]),
    ]
    schema = TableSchema(columns=columns)
    path = csv_file(tmp_path, "b,a\ny,1\nNA,NA\nNone,2.5\nz,true\n")
    encoded = encode(schema, load_inputs(path, schema))
    assert encoded.tolist() == [[1, 1], [7, 0], [2.5, 0], [1, 0]]


def test_categories_that_differ_in_case_or_spaces_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    shops = ["North", "north", "South", "Low  land", "low land", "East"]
    path.write_text("shop,y\n" + "".join(f"{shop},{i}.5\n" for i, shop in enumerate(shops * 6)))
    (note,) = read_table(path).notes
    assert "'Low  land' and 'low land' (and 1 other group) differ only in case or spaces" in note
    names = [f"Name {i}" if i % 2 else f"name {i - 1}" for i in range(36)]  # each row has its own
    path.write_text("name,y\n" + "".join(f"{name},{i}.5\n" for i, name in enumerate(names)))
    assert read_table(path).notes == ()
