"""What is read is a regular file of a bounded size; everything else is refused by name at once."""

from __future__ import annotations

import gzip
import io
import os
import resource
import struct
import time
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateurs.core.input_files import MOST_EXPANSION, check_input, check_unpacked
from secateurs.data.datasets import load_dataset, load_inputs
from secateurs.data.parquet import read_parquet
from secateurs.experiments.sweeps.config import load_sweep
from secateurs.loading import load
from secateurs.recovery.planted import image_function
from secateurs.sensing.measurements import load_measurements
from secateurs.tickets import load_ticket
from secateurs.tickets.read_onnx import read_onnx
from secateurs.tickets.read_state_dict import read_state
from tests.core.test_output_files import make_special

READERS = {
    "load": load,
    "load_ticket": load_ticket,
    "read_state": read_state,
    "read_onnx": read_onnx,
    "image": image_function,
    "sweep": load_sweep,
    "measurements": load_measurements,
}
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".npz", "-images-idx3-ubyte")
MEGABYTE = 1 << 20


def refused(read, path):
    """The message of the refusal, which comes at once and in little memory."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(path)
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kilobytes
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "device", "loop"])
@pytest.mark.parametrize("reader", READERS)
def test_readers_refuse_what_is_no_file(tmp_path, reader, kind):
    path = make_special(tmp_path, kind)
    assert str(path) in refused(READERS[reader], path)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_data_sets_are_regular_files(tmp_path, suffix, kind):
    path = make_special(tmp_path, kind).rename(tmp_path / f"it{suffix}")
    for read in (lambda path: load_dataset(path, target="y"), load_inputs):
        assert str(path) in refused(read, path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_endless_files_are_refused(tmp_path, suffix):
    """A file without content may claim any size."""
    path = tmp_path / f"it{suffix}"
    with path.open("wb") as file:
        file.truncate(1 << 43)
    assert str(path) in refused(lambda path: load_dataset(path, target=None), path)
    for read in READERS.values():
        refused(read, path)


def test_sizes_are_bounded_by_the_size_of_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(3 * MEGABYTE))
    assert check_input(path) == 3 * MEGABYTE
    check_unpacked(path, 3 * MEGABYTE * MOST_EXPANSION)
    with pytest.raises(ValueError, match="unpack"):
        check_unpacked(path, 3 * MEGABYTE * MOST_EXPANSION + 1)


def packed_zeros(n_bytes):
    """The gzip file of many zeros, made without holding them."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as file:
        for _ in range(n_bytes // MEGABYTE):
            file.write(bytes(MEGABYTE))
    return stream.getvalue()


def npz_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("X", "y"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = io.BytesIO()
                shape = (100 * MEGABYTE,)
                np.lib.format.write_array_header_1_0(
                    header, {"descr": "|u1", "fortran_order": False, "shape": shape}
                )
                file.write(header.getvalue())
                for _ in range(100):
                    file.write(bytes(MEGABYTE))


def npz_without_bytes(path):
    """Any number of entries of no size."""
    content = io.BytesIO()
    header = {"descr": "|V0", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("X", "y"):
            archive.writestr(f"{name}.npy", content.getvalue())


def npz_of_lies(path):
    """An array that is announced as larger than what follows."""
    content = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("X", "y"):
            archive.writestr(f"{name}.npy", content.getvalue())


def idx_bomb(path):
    header = b"\0\0\x08\x03" + struct.pack(">3I", 256, 1024, 1024)
    path.write_bytes(gzip.compress(header) + packed_zeros(256 * MEGABYTE))
    (path.parent / path.name.replace("images-idx3", "labels-idx1")).write_bytes(b"")


def parquet_bomb(path):
    """A billion cells of one value."""
    constant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), ["0"])
    with pq.ParquetWriter(path, pa.schema([("y", constant.type)])) as writer:
        for _ in range(100):
            writer.write_table(pa.table({"y": constant}), row_group_size=1_000_000)


def png_bomb(path):
    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    size = 12_000
    header = chunk(b"IHDR", struct.pack(">2I5B", size, size, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes(size * (size + 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


BOMBS = {
    "it.npz": npz_bomb,
    "empty.npz": npz_without_bytes,
    "lies.npz": npz_of_lies,
    "it-images-idx3-ubyte.gz": idx_bomb,
    "it.parquet": parquet_bomb,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_unpack(tmp_path, name):
    path = tmp_path / name
    BOMBS[name](path)
    assert path.stat().st_size < 2 * MEGABYTE
    target = "y" if name.endswith("parquet") else None
    assert str(path) in refused(lambda path: load_dataset(path, target=target), path)


def test_a_picture_of_very_many_pixels_is_refused(tmp_path):
    png_bomb(tmp_path / "b.png")
    assert str(tmp_path) in refused(image_function, tmp_path / "b.png")
    wide = np.zeros((1000, 1000))
    assert "smaller picture" in refused(image_function, wide)


def test_texts_that_repeat_in_parquet_are_read_once(tmp_path):
    """Ten gigabytes of text, if every row had its own."""
    missing = np.arange(1_000_000) % 2 > 0
    codes = pa.array(np.zeros(1_000_000, np.int32), mask=missing)
    texts = pa.DictionaryArray.from_arrays(codes, ["a" * 10_000])
    plain = pa.schema([("t", pa.string()), ("n", pa.int64())])
    table = pa.table({"t": texts, "n": np.arange(1_000_000)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, store_schema=False)
    assert pq.read_schema(path).remove_metadata() == plain
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    back = read_parquet(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert back["t"][0] == "a" * 10_000
    assert back["t"].isna().sum() == 500_000
    assert list(back["n"][:3]) == [0, 1, 2]


def test_other_names_of_missing_files(tmp_path):
    for path in (tmp_path / "absent", "a" * 5000, os.devnull, "a\0b"):
        refused(check_input, path)
