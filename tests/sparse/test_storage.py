import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs import SparseMLPClassifier, load
from secateurs.core import archive
from secateurs.core import atomic_write as files
from secateurs.core.archive import DamagedFileError, read_archive
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.storage import archived_network, network_bytes
from tests.strategies import random_network


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)) * [1, 10, 100, 1, 1]
    model = SparseMLPClassifier(20, (6,), max_epochs=5, random_state=0)
    path = tmp_path_factory.mktemp("model") / "m"
    model.fit(X, (X[:, 0] > 0).astype(int)).save(path)
    return path.read_bytes()


def split_header(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_header(header, data):
    """The content of a file, with the checksum that this content should have."""
    body = json.loads(header["__metadata__"]["secateurs"])
    header["__metadata__"]["secateurs"] = json.dumps(body, sort_keys=True, separators=(",", ":"))
    text = json.dumps(header).encode()
    return archive.sealed(struct.pack("<Q", len(text)) + text + data)


@given(seed=st.integers(0, 1000), widths=st.lists(st.integers(1, 300), min_size=2, max_size=4))
def test_round_trip(tmp_path_factory, seed, widths):
    network = random_network(np.random.default_rng(seed), widths, 0.05)
    path = tmp_path_factory.mktemp("round") / "n"
    extra = {"input.scale": np.arange(3.0)}
    path.write_bytes(network_bytes(network, {"a": [1, "b", None]}, extra))
    archive = read_archive(path)
    back, arrays = archived_network(archive)
    assert back.widths == network.widths
    assert archive.body["record"] == {"a": [1, "b", None]}
    np.testing.assert_array_equal(arrays["input.scale"], extra["input.scale"])
    for layer in range(len(widths) - 1):
        np.testing.assert_array_equal(back.keys[layer], network.keys[layer])
        np.testing.assert_array_equal(back.values[layer], network.values[layer])


def test_a_weight_takes_six_bytes_in_a_small_layer_and_the_width_takes_none():
    keys = np.arange(1000, dtype=np.int64)
    small = SparseNetwork((100, 50), [keys], [np.ones(1000, np.float32)])
    huge = SparseNetwork((10**9, 10**6), [keys], [np.ones(1000, np.float32)])
    assert 6000 < len(network_bytes(small, {})) < 6400
    assert 12_000 < len(network_bytes(huge, {})) < 12_400


def change(content, **changes):
    """Replace fields of the JSON record or of its body."""
    header, data = split_header(content)
    body = json.loads(header["__metadata__"]["secateurs"])
    for name, value in changes.items():
        outside = name in body and name not in body["record"]
        (body if outside else body["record"])[name] = value
    header["__metadata__"]["secateurs"] = json.dumps(body)
    return join_header(header, data)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"widths": [5, 6]},
        {"widths": [5, 6, -1]},
        {"widths": [5, 10**12, 2]},
        {"widths": [10**18, 6, 2]},
        {"widths": "5"},
        {"widths": [5, 6, 3]},
        {"record": []},
        {"kind": "os.system"},
        {"classes": None},
        {"classes": {"dtype": "int64", "values": [1, 1]}},
        {"classes": {"dtype": "int64", "values": [0, 1, 2]}},
        {"classes": {"dtype": "O8", "values": [0, 1]}},
        {"classes": {"dtype": "uint8", "values": [0, 100000]}},
        {"n_features_in": 7},
        {"n_features_in": 0},
        {"feature_names": ["a"]},
        {"out_shift": [1.0]},
        {"parameters": {"n_nonzero": -3}},
        {"parameters": {"bogus": 1}},
        {"seed": "x"},
        {"status": "perfect"},
        {"history": {"step": ["x"]}},
        {"certificate": [{"name": "budget"}]},
        {"surprise": 1},
        {"table": {"columns": []}},
    ],
    ids=str,
)
def test_hostile_metadata_is_refused_by_name(model_bytes, tmp_path, changes):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(change(model_bytes, **changes))
    with pytest.raises(DamagedFileError, match=r"hostile\.safetensors"):
        load(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda k, v: (k[::-1].copy(), v),
        lambda k, v: (np.repeat(k[:1], len(k)), v),
        lambda k, v: (k + np.uint16(60_000), v),
        lambda k, v: (k[:-1], v),
        lambda k, v: (k.astype(np.float32), v),
        lambda k, v: (k, v.astype(np.float16)),
        lambda k, v: (k, np.where(v == v[0], np.nan, v).astype(np.float32)),
        lambda k, v: (k.reshape(1, -1), v.reshape(1, -1)),
    ],
)
def test_hostile_arrays_are_refused(tmp_path, spoil):
    import safetensors.numpy

    network = random_network(np.random.default_rng(0), (20, 10), 0.3)
    keys, values = spoil(network.keys[0].astype(np.uint16), network.values[0])
    text = json.dumps({"format": 1, "widths": [20, 10], "record": {}})
    path = tmp_path / "h"
    safetensors.numpy.save_file(
        {"layer.0.keys": keys, "layer.0.values": values}, path, metadata={"secateurs": text}
    )
    with pytest.raises(DamagedFileError):
        archived_network(read_archive(path))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 1}', "[" * 100_000, '{"format": NaN}', "null"]
)
def test_other_json_is_refused(tmp_path, text):
    import safetensors.numpy

    path = tmp_path / "j"
    safetensors.numpy.save_file({"a": np.zeros(1)}, path, metadata={"secateurs": text})
    with pytest.raises(DamagedFileError):
        archived_network(read_archive(path))


def test_other_files_are_refused(tmp_path):
    import safetensors.numpy

    with pytest.raises(FileNotFoundError, match="no model file"):
        load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        load(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(DamagedFileError):
        load(tmp_path / "empty")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(DamagedFileError, match="not one of secateurs"):
        load(tmp_path / "foreign")


def test_metadata_beyond_the_limit_is_refused(tmp_path, monkeypatch, model_bytes):
    path = tmp_path / "big"
    path.write_bytes(model_bytes)
    monkeypatch.setattr(archive, "MAX_JSON", 100)
    with pytest.raises(DamagedFileError, match="at most 100"):
        load(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def no_space(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_weights_of_another_precision_are_refused(model_bytes, tmp_path):
    """The perceptrons have float32 weights; only other models store float64."""
    import safetensors.numpy

    (tmp_path / "m").write_bytes(model_bytes)
    arrays = safetensors.numpy.load(model_bytes)
    wide = {k: v.astype(np.float64) if k.endswith("values") else v for k, v in arrays.items()}
    header, _ = split_header(model_bytes)
    content = safetensors.numpy.save(wide, metadata=header["__metadata__"])
    (tmp_path / "w").write_bytes(archive.sealed(content))
    load(tmp_path / "m")
    with pytest.raises(DamagedFileError, match="wrong type"):
        load(tmp_path / "w")
