"""The loaders return the data as stored, and refuse bad data with a message of one line."""

from __future__ import annotations

import gzip
import http.client
import io
import struct
import urllib.error
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.data import Dataset, DatasetError, built_in, load_dataset, split
from secateurs.data.built_in import BUILT_IN
from secateurs.data.checked_dataset import dataset_from_arrays
from secateurs.data.targets import read_target

SHIPPED = ("digits", "breast_cancer", "wine", "diabetes")


def refusal(source: str | Path, **options: object) -> str:
    """Return the message of the error: one line, which names the file."""
    with pytest.raises(DatasetError) as caught:
        load_dataset(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


# -- names --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_data_sets(name: str) -> None:
    data = load_dataset(name)
    assert data.name == name
    assert data.X.shape[0] == len(data.y)
    assert data.task == ("regression" if name == "diabetes" else "classification")
    assert data.y.dtype == (np.float64 if name == "diabetes" else np.int64)
    assert isinstance(data.X, np.ndarray if name == "digits" else pd.DataFrame)
    assert data.image_shape == ((8, 8) if name == "digits" else None)
    assert data.target_name


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Replace the download: `answer` is returned, or raised if it is an error."""
    state: dict[str, object] = {}

    def fetch(**options: object) -> object:
        state["options"] = options
        if isinstance(state["answer"], Exception):
            raise state["answer"]
        return state["answer"]

    monkeypatch.setattr(built_in.sklearn_datasets, "fetch_openml", fetch)
    return state


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route\nto host"),
        TimeoutError(),
        ValueError("md5 checksum"),
        http.client.IncompleteRead(b""),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failed_download_says_what_to_do(openml: dict, name: str, error: Exception) -> None:
    openml["answer"] = error
    message = refusal(name)
    assert ".npz" in message
    assert "IDX" in message
    assert "x_train" in message


def test_downloaded_images_have_the_official_split(openml: dict) -> None:
    labels = np.array(["0", "1"]).repeat([1, 69_999])
    openml["answer"] = np.zeros((70_000, 784)), labels
    data = load_dataset("mnist")
    assert openml["options"]["data_id"] == 554
    assert (len(data.X), len(data.X_test)) == (60_000, 10_000)
    assert data.X.dtype == np.uint8
    assert data.y.dtype == data.y_test.dtype == np.int64
    assert data.image_shape == (28, 28)
    openml["answer"] = np.zeros((5, 784)), labels[:5]
    assert "(5, 784)" in refusal("mnist")


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    message = refusal("brest_cancer")
    assert all(name in message for name in BUILT_IN)
    assert "did you mean 'breast_cancer'" in message
    assert "did you mean 'mnist'" in refusal("MNIST")
    assert "no file" in refusal(tmp_path / "absent.csv", target="y")
    assert "no file" in refusal(Path("digits"))  # a Path is never a name


def test_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="task: got 'ranking'; expected 'classification' or"):
        load_dataset("digits", task="ranking")
    assert "tables only" in refusal("digits", target="digit")
    assert "unknown kind" in refusal(write(tmp_path / "a.xlsx", b""))
    assert "tables only" in refusal(write(tmp_path / "a.npz", b""), target="y")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# -- tables -------------------------------------------------------------------------------


def table(n: int = 60) -> pd.DataFrame:
    i = np.arange(n)
    return pd.DataFrame(
        {
            "age": i * 1.5,
            "colour": np.where(i % 3 == 0, "red", "blue"),
            "member": i % 2 == 0,
            "grade": i % 4,
            "price": i * 0.25 + 1,
            "rank": i,
        }
    )


WRITERS = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".pq": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_tables_come_back_as_written(tmp_path: Path, suffix: str) -> None:
    frame, path = table(), tmp_path / f"houses{suffix}"
    WRITERS[suffix](frame, path)
    data = load_dataset(path, target="grade")
    pd.testing.assert_frame_equal(data.X, frame.drop(columns="grade"), check_dtype=False)
    np.testing.assert_array_equal(data.y, frame["grade"])
    assert (data.name, data.target_name, data.X_test) == (path.name, "grade", None)
    again = load_dataset(str(path), "grade")
    np.testing.assert_array_equal(again.y, data.y)


def test_semicolons_separate_too(tmp_path: Path) -> None:
    frame = table()
    frame.to_csv(tmp_path / "a.csv", index=False, sep=";")
    data = load_dataset(tmp_path / "a.csv", target="grade")
    assert list(data.X.columns) == [name for name in frame.columns if name != "grade"]


@pytest.mark.parametrize(
    ("target", "task", "dtype"),
    [
        ("colour", "classification", object),
        ("member", "classification", np.bool_),
        ("grade", "classification", np.int64),
        ("price", "regression", np.float64),
        ("rank", "regression", np.float64),
    ],
)
def test_task_follows_from_the_target(tmp_path: Path, target: str, task: str, dtype: type) -> None:
    frame = table()
    frame.to_parquet(tmp_path / "a.parquet")
    data = load_dataset(tmp_path / "a.parquet", target=target)
    assert data.task == task
    assert data.y.dtype == dtype
    np.testing.assert_array_equal(data.y, frame[target].to_numpy())


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=60).filter(lambda y: len(set(y)) > 1),
    st.sampled_from(["int64", "float64", "Int64", "int8", "int64[pyarrow]"]),
)
@settings(max_examples=40, deadline=None)
def test_a_class_needs_rows_and_an_equal_share(y: list[int], dtype: str) -> None:
    target = read_target(pd.Series(y, dtype=dtype, name="y"), None)
    counts = Counter(y)
    codes = set(y) in ({*range(k)} for k in range(2, 11)) or (
        set(y) in ({*range(1, k + 1)} for k in range(2, 11))
    )
    equal = max(counts.values()) <= 2 * min(counts.values())
    classes = len(y) >= 5 * len(counts) and (len(counts) == 2 or (codes and equal))
    assert target.task == ("classification" if classes else "regression")
    assert target.values.dtype == (np.int64 if classes else np.float64)
    assert target.values.tolist() == y


@pytest.mark.parametrize(
    ("name", "values", "task"),
    [
        ("y", np.arange(60) % 3, "classification"),
        ("children", np.arange(60) % 3, "regression"),
        ("numBids", 1 + np.arange(60) % 3, "regression"),
        ("y", np.random.default_rng(0).poisson(2, 200), "regression"),
        ("class", np.random.default_rng(0).poisson(2, 200), "classification"),
        ("species_id", np.repeat([3, 7, 12], 20), "classification"),
        ("speed", np.repeat([85, 95, 110], 20), "regression"),
        ("y", np.arange(60) // 2, "regression"),
    ],
)
def test_counts_and_measurements_are_quantities(name: str, values: np.ndarray, task: str) -> None:
    target = read_target(pd.Series(values, name=name), None)
    assert target.task == task
    assert target.reason


@pytest.mark.parametrize("n_classes", [101, 50])
def test_many_or_rare_classes_are_asked_for(n_classes: int) -> None:
    y = pd.Series([f"n{i % n_classes}" for i in range(200 if n_classes == 50 else 1000)], name="y")
    with pytest.raises(ValueError, match=f"{n_classes} classes in .*--task classification"):
        read_target(y, None)
    assert read_target(y, "classification").task == "classification"


def test_the_task_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    table().to_csv(path, index=False)
    assert load_dataset(path, "rank", task="classification").y.dtype == np.int64
    assert load_dataset(path, "grade", task="regression").y.dtype == np.float64
    assert load_dataset(path, "member", task="regression").y.dtype == np.float64
    assert "1.25, which is not a class number" in refusal(
        path, target="price", task="classification"
    )
    assert "'red'" in refusal(path, target="colour", task="regression")


def test_several_targets(tmp_path: Path) -> None:
    frame, path = table().rename(columns={"rank": "a,b"}), tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    data = load_dataset(path, target="price, grade")
    assert (data.y.shape, data.y.dtype, data.task) == ((60, 2), np.float64, "regression")
    np.testing.assert_array_equal(data.y, frame[["price", "grade"]])
    assert data.target_name == "price, grade"
    assert not {"price", "grade"} & set(data.X.columns)
    assert load_dataset(path, target="a,b").y.ndim == 1  # a comma inside one name
    assert "'red'" in refusal(path, target="price,colour")
    assert "regression" in refusal(path, target="price,grade", task="classification")
    assert "'price' twice" in refusal(path, target="price,price")


def test_the_target_must_be_a_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    table().to_csv(path, index=False)
    message = refusal(path)
    assert all(name in message for name in table().columns)
    assert "did you mean 'price'" in refusal(path, target="prize")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x,y\n1,\n2,\n3,\n4,\n", "no value in the target column 'y'"),
        ("x,y\n1,a\n2,b\n3,b\n4,\n", "2 classes in 3 rows"),
        ("x,y\n1,a\n2,a\n", "same value in all 2 rows"),
        ("x,y\n1,0.5\n2,0.5\n", "same value"),
        ("x,y\n1,0.5\n2,inf\n", "1 infinite or too large values, first in row 1: inf"),
        ("x,y\n1,3.5\n2,low\n3,4.5\n", "text in 1 row, first in row 1: 'low'"),
        ("x,y\n", "empty"),
        ("y\n1\n2\n", "targets only"),
        ("", "cannot be read"),
        ("x,y\n1,2\n1,2,3,4\n", "cannot be read"),
        ("x,y\n1,2,3,4\n1,2,3,4\n", "more fields than the header"),
        ("x,y\n1,2\n3\n4,5\n", "1 fields in line 3"),
        ('x,y\n"1\n2",2\n3\n4,5\n', "1 fields in line 4"),
        ('x,y\n1,"2\n', "cannot be read"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, words: str) -> None:
    assert words in refusal(write(tmp_path / "a.csv", content.encode()), target="y")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 no parquet"),
        ("a.pq", b""),
        ("a.csv.gz", b"not gzip"),
        ("a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 1000, mtime=0)[:-20]),
    ],
)
def test_files_that_do_not_parse_keep_their_cause(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        load_dataset(path, target="y")
    assert caught.value.__cause__ is not None
    assert str(path) in str(caught.value)


def test_dates_are_refused_as_target(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    frame.to_parquet(tmp_path / "a.parquet")
    assert "dates" in refusal(tmp_path / "a.parquet", target="y")


# -- npz ----------------------------------------------------------------------------------


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 5, 4), dtype=np.uint8), (np.arange(n) % 3).astype(np.uint8)


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_of_images(tmp_path: Path) -> None:
    (x, y), (x_test, y_test) = images(12), images(6, 1)
    path = save(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    data = load_dataset(path)
    assert data.X.dtype == data.X_test.dtype == np.uint8
    assert data.image_shape == (5, 4)
    assert data.X.flags.c_contiguous
    np.testing.assert_array_equal(data.X.reshape(x.shape), x)
    np.testing.assert_array_equal(data.X_test.reshape(x_test.shape), x_test)
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.y_test, y_test)
    assert split(data) is data


def test_integer_labels_of_images_are_classes_however_many(tmp_path: Path) -> None:
    x, _ = images(30)
    assert load_dataset(save(tmp_path / "a.npz", x=x, y=np.arange(30))).task == "classification"


@pytest.mark.parametrize("names", [("X", "y"), ("x", "y"), ("X_train", "y_train")])
@pytest.mark.parametrize("dtype", ["float32", ">f8", "int16", "bool", "float16"])
def test_npz_of_rows(tmp_path: Path, names: tuple[str, str], dtype: str) -> None:
    X = np.asfortranarray(np.arange(20).reshape(10, 2) % 5).astype(dtype)
    y = np.array(["no", "yes"] * 5)
    data = load_dataset(save(tmp_path / "a.npz", **dict(zip(names, (X, y), strict=True)), z=1))
    assert data.X.dtype.isnative
    assert data.X.dtype == np.dtype(dtype).newbyteorder("=")
    assert data.X.flags.c_contiguous
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == y.tolist()
    assert (data.X_test, data.image_shape) == (None, None)


def test_npz_of_targets(tmp_path: Path) -> None:
    X, path = np.eye(4), tmp_path / "a.npz"
    y = np.arange(4.0) + 0.5
    assert load_dataset(save(path, X=X, y=y)).task == "regression"
    assert load_dataset(save(path, X=X, y=y[:, None])).y.shape == (4,)
    assert load_dataset(save(path, X=X, y=np.c_[y, y])).y.shape == (4, 2)
    X, y = np.eye(10), np.array([0.0, 1] * 5)
    assert load_dataset(save(path, X=X, y=y)).y.dtype == np.int64
    assert load_dataset(save(path, X=X[:4], y=y[:4])).task == "regression"
    assert load_dataset(save(path, X=X[:4], y=y[:4]), task="classification").y.dtype == np.int64


def test_inputs_whose_sum_overflows_are_accepted(tmp_path: Path) -> None:
    X = np.full((4, 2), 3e38, dtype=np.float32)
    assert load_dataset(save(tmp_path / "a.npz", X=X, y=[0, 1, 0, 1])).X.dtype == np.float32


def test_arrays_are_not_copied() -> None:
    x, y = images(12)
    data = dataset_from_arrays("toy", x, y, None, "y")
    assert np.shares_memory(data.X, x)


X, Y = np.eye(4), np.array([0, 1, 0, 1])
X10, Y10 = np.eye(10), np.array([0, 1] * 5)
HOLED = np.where(np.arange(16).reshape(4, 4) == 6, np.nan, 1.0)
TEST = {"x_train": X, "y_train": Y}
TEST10 = {"x_train": X10, "y_train": Y10}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": HOLED, "y": Y}, "X with 1 NaN or infinite entries, the first at (1, 2)"),
        ({"X": X, "y": np.array([0.5, 1, np.inf, 2])}, "y with 1 NaN or infinite"),
        ({"X": X.astype(object), "y": Y}, "array 'X', which cannot be read"),
        (
            {"X": X, "y": np.array([1, "a", None, 2], dtype=object)},
            "array 'y', which cannot be read",
        ),
        ({"X": X, "y": Y[:3]}, "4 rows of inputs but 3 targets"),
        ({"X": X[0], "y": Y}, "X of shape (4,)"),
        ({"X": X.reshape(2, 2, 2, 2, 1), "y": Y[:2]}, "X of shape (2, 2, 2, 2, 1)"),
        ({"X": np.float64(1), "y": Y}, "X of shape ()"),
        ({"X": X, "y": Y.reshape(2, 2, 1)}, "y of shape (2, 2, 1)"),
        ({"X": X, "y": np.eye(4, dtype=int)}, "one-hot"),
        ({"X": X[:0], "y": Y[:0]}, "empty"),
        ({"X": X[:, :0], "y": Y}, "empty"),
        ({"X": X, "y": Y * 0}, "same value"),
        ({"X": X, "y": np.c_[X[:, 0], Y * 0.0]}, "same value"),
        ({"X": X * 1j, "y": Y}, "X of dtype complex128"),
        ({"X": X.astype(str), "y": Y}, "X of dtype <U"),
        ({"X": X, "y": Y.astype("S1")}, "y of dtype |S1"),
        ({"X": X, "y": Y.astype("datetime64[s]")}, "y of dtype datetime64"),
        ({"X": X}, "got 'X'; expected the arrays"),
        ({}, "got nothing; expected the arrays"),
        ({"X": X, "x": X, "y": Y}, "differ only by case"),
        (TEST | {"x_test": X}, "x_test alone"),
        (TEST | {"y_test": Y}, "y_test alone"),
        (TEST | {"x_test": X[:, :3], "y_test": Y}, "agree beyond the rows"),
        (TEST | {"x_test": X, "y_test": Y[1:]}, "4 rows of test inputs but 3 test targets"),
        (TEST | {"x_test": X[:0], "y_test": Y[:0]}, "empty test inputs"),
        (TEST | {"x_test": HOLED, "y_test": Y}, "X_test with 1 NaN"),
        (TEST10 | {"x_test": X10, "y_test": Y10 + 1}, "1 classes in test rows only"),
        (TEST10 | {"x_test": X10, "y_test": Y10 + 0.5}, "'y_test': got 0.5, which is not a class"),
        (TEST10 | {"x_test": X10, "y_test": Y10.astype(str)}, "2 classes in test rows only"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict, words: str) -> None:
    assert words in refusal(save(tmp_path / "a.npz", **arrays))


def test_bad_archives(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", X=X, y=Y)
    whole = path.read_bytes()
    assert "not an .npz" in refusal(write(path, b""))
    assert "not an .npz" in refusal(write(path, b"\x80\x04."))
    damaged = whole.replace(b"NUMPY", b"NUMBY")
    assert "'X'" in refusal(write(path, damaged))
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (4, 1 << 50)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", header.getvalue())
        archive.writestr("y.npy", b"")
    assert "'X'" in refusal(path)


@pytest.mark.parametrize("suffix", [*WRITERS, ".npz"])
def test_damaged_files_raise_nothing_else(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"a{suffix}", np.random.default_rng(0)
    if suffix == ".npz":
        save(path, X=X, y=Y)
    else:
        WRITERS[suffix](table(20), path)
    whole, messages = path.read_bytes(), []
    for _ in range(60):
        damaged = bytearray(whole)
        at = int(rng.integers(len(whole)))
        damaged[at : at + int(rng.integers(1, 4))] = rng.bytes(2)
        write(path, bytes(damaged))
        try:
            load_dataset(path, target=None if suffix == ".npz" else "grade")
        except DatasetError as error:
            messages.append(str(error))
    assert messages
    assert all(str(path) in message and "\n" not in message for message in messages)


# -- IDX ----------------------------------------------------------------------------------

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array: np.ndarray) -> Path:
    content = idx(array)
    return write(path, gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("separator", "-.")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_directory(tmp_path: Path, separator: str, suffix: str) -> None:
    parts = {"train": images(12), "t10k": images(6, 1)}
    for stem, (x, y) in parts.items():
        write_idx(tmp_path / f"{stem}-images{separator}idx3-ubyte{suffix}", x)
        write_idx(tmp_path / f"{stem}-labels{separator}idx1-ubyte{suffix}", y)
    data = load_dataset(tmp_path)
    assert data.X.dtype == np.uint8
    assert data.y.dtype == np.int64
    assert data.image_shape == (5, 4)
    (x, y), (x_test, y_test) = parts.values()
    np.testing.assert_array_equal(data.X, x.reshape(12, 20))
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.X_test, x_test.reshape(6, 20))
    np.testing.assert_array_equal(data.y_test, y_test)
    (tmp_path / f"t10k-labels{separator}idx1-ubyte{suffix}").unlink()
    assert "t10k-labels" in refusal(tmp_path)


@pytest.mark.parametrize("dtype", CODES)
def test_idx_entries_of_every_type(tmp_path: Path, dtype: str) -> None:
    array = (np.arange(24).reshape(6, 4) - (0 if dtype == "u1" else 12)).astype(dtype)
    path = write_idx(tmp_path / "train-images-idx2-ubyte", array)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(6, dtype=np.uint8) % 2)
    data = load_dataset(path)
    assert data.X.dtype == np.dtype(dtype)
    assert data.X_test is None
    np.testing.assert_array_equal(data.X, array)


def test_labels_of_an_images_file(tmp_path: Path) -> None:
    x, y = images(6)
    path = write_idx(tmp_path / "letters-images.idx3-ubyte.gz", x)
    assert "letters-labels.idx1-ubyte" in refusal(path)
    labels = write_idx(tmp_path / "letters-labels.idx1-ubyte", y)
    np.testing.assert_array_equal(load_dataset(path).y, y)
    assert "a file of labels" in refusal(labels)


def bad_idx() -> dict[str, tuple[bytes, str]]:
    x, _ = images(6)
    good = idx(x)
    huge = struct.pack(">4B3I", 0, 0, 8, 3, *([2**32 - 1] * 3))
    return {
        "short": (good[:-1], f"{len(good) - 1} bytes"),
        "long": (good + b"\0", f"{len(good) + 1} bytes"),
        "header": (good[:10], "10 bytes; expected 16"),
        "nothing": (b"", "starts with nothing"),
        "magic": (b"\1" + good[1:], "starts with 01000803"),
        "type": (b"\0\0\x0a\3" + good[4:], "starts with 00000a03"),
        "scalar": (b"\0\0\x08\0\1", "0 dimensions"),
        "many": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\1", "255 dimensions"),
        "huge": (huge, str((2**32 - 1) ** 3)[:5]),
        "empty": (struct.pack(">4B3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "empty"),
    }


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("case", bad_idx())
def test_bad_idx(tmp_path: Path, case: str, suffix: str) -> None:
    content, words = bad_idx()[case]
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    write(path, gzip.compress(content) if suffix else content)
    write_idx(tmp_path / "train-labels-idx1-ubyte", images(6)[1])
    message = refusal(path)
    assert words in message
    if case in ("short", "long"):
        assert f"expected {len(bad_idx()['long'][0]) - 1}" in message


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write_idx(tmp_path / "train-labels-idx1-ubyte", images(6)[1])
    packed = gzip.compress(idx(images(6)[0]))
    assert "cannot be read" in refusal(write(path, packed[:-12]))
    assert "cannot be read" in refusal(write(path, b"plain"))


def test_gzip_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    original = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int = -1) -> bytes:
        nonlocal read
        part = original(self, size)
        read += len(part)
        return part

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    content = idx(images(6)[0])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write(path, gzip.compress(content + bytes(1 << 24)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", images(6)[1])
    assert "or more" in refusal(path)
    assert read == len(content) + 1


# -- split --------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 3), min_size=5, max_size=60).filter(lambda y: len(set(y)) > 1),
    st.floats(0.1, 0.6),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_each_row_is_in_one_part_of_a_split(
    labels: list[int], test_size: float, as_frame: bool
) -> None:
    n, y = len(labels), np.array(labels)
    X = pd.DataFrame({"row": np.arange(n)}) if as_frame else np.arange(n)[:, None]
    whole = Dataset("toy", X, y, "classification", "y")
    parts = split(whole, test_size=test_size, random_state=3)
    rows, test_rows = np.asarray(parts.X)[:, 0], np.asarray(parts.X_test)[:, 0]
    assert sorted([*rows, *test_rows]) == list(range(n))
    assert len(test_rows) == int(np.ceil(test_size * n))
    np.testing.assert_array_equal(parts.y, y[rows])
    np.testing.assert_array_equal(parts.y_test, y[test_rows])
    counts = np.unique(y, return_counts=True)[1]
    if counts.min() >= 2 and len(counts) <= min(len(rows), len(test_rows)):
        for label, count in zip(np.unique(y), counts, strict=True):
            assert abs((parts.y_test == label).sum() - count * len(test_rows) / n) <= 1
    again = split(whole, test_size=test_size, random_state=3)
    np.testing.assert_array_equal(again.y_test, parts.y_test)
    assert split(parts) is parts


def test_split_of_a_regression() -> None:
    data = split(load_dataset("diabetes"), test_size=42)
    assert (len(data.X), len(data.X_test)) == (400, 42)
    assert data.X_test.columns.equals(data.X.columns)


@pytest.mark.parametrize("test_size", [0, 1.0, -0.5, 4, 0.99])
def test_split_must_leave_something(test_size: float) -> None:
    data = Dataset("toy", np.eye(4), np.array([0, 1, 0, 1]), "classification", "y")
    with pytest.raises(DatasetError, match="toy: got test_size"):
        split(data, test_size=test_size)


def test_images_with_channels_are_read_as_rows(tmp_path):
    """Images of a torch module have an axis of channels; those with one are images as before."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (30, 8, 6)), np.arange(30) % 3
    np.savez(tmp_path / "plain.npz", X=X, y=y)
    plain = load_dataset(tmp_path / "plain.npz")
    for channels in (1, 2):
        np.savez(tmp_path / "c.npz", X=np.stack([X] * channels, axis=1), y=y)
        found = load_dataset(tmp_path / "c.npz")
        assert found.image_shape == ((8, 6) if channels == 1 else None)
        assert found.task == plain.task == "classification"
        np.testing.assert_array_equal(found.X, np.tile(plain.X, channels))
