"""No change of a file of ours goes unnoticed, and files of older versions are still read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import secateurs
from secateurs.core.archive import DamagedFileError, archive_bytes, read_archive, sealed
from secateurs.loading import load
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.tickets import load_ticket, prune_network, save_ticket


def small_models():
    """A fitted model of every kind, as small as it can be."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = np.maximum(X[:, 0] - X[:, 1], 0)
    return [
        secateurs.SparseMLPClassifier(6, (2,), max_epochs=2, random_state=0).fit(X, y > 0.3),
        secateurs.SparseMLPRegressor(6, (2,), max_epochs=2, random_state=0).fit(X, y),
        secateurs.SparseReLURegressor(2, random_state=0).fit(X, y),
        secateurs.QuadraticRegressor(1, random_state=0).fit(X, y),
        secateurs.SparseMultiIndexRegressor(random_state=0).fit(X, y),
        secateurs.MatrixSensing(1, random_state=0).fit(RankOne(X), (X[:, 0] - X[:, 2]) ** 2),
    ]


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The content of a file of every kind, by the name of the kind."""
    folder = tmp_path_factory.mktemp("kinds")
    found = {}
    for model in small_models():
        model.save(folder / "m")
        found[type(model).__name__] = (folder / "m").read_bytes()
    from torch import nn

    save_ticket(folder / "m", prune_network(nn.Linear(2, 1), 0.1, 0).value)
    found["ticket"] = (folder / "m").read_bytes()
    return found


def refused(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_archive(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_every_flipped_bit_is_noticed(tmp_path):
    arrays = {"a": np.arange(4, dtype=np.uint8), "b": np.array([0.5])}
    content = archive_bytes({"kind": "x", "names": ["é"]}, arrays, widths=[1])
    path = tmp_path / "a"
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            at = bit // 8
            file.seek(at)
            file.write(bytes([content[at] ^ 1 << bit % 8]))
            refused(path)
            file.seek(at)
            file.write(content[at : at + 1])
    assert read_archive(path).body["widths"] == [1]


@given(data=st.data())
def test_no_change_of_any_kind_of_file_is_read(contents, tmp_path_factory, data):
    """Flipped bits, other bytes, cuts, insertions and parts of another file are refused."""
    content = contents[data.draw(st.sampled_from(sorted(contents)))]
    other = contents[data.draw(st.sampled_from(sorted(contents)))]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    middle = data.draw(
        st.one_of(st.binary(max_size=8), st.just(b""), st.just(other[start:end]), st.just(content))
    )
    changed = content[:start] + middle + content[end:]
    if changed == content:
        return
    refused(tmp_path_factory.mktemp("changed") / "m", changed)


def test_every_kind_is_read_back(contents, tmp_path):
    for kind, content in contents.items():
        (tmp_path / kind).write_bytes(content)
        read = load_ticket if kind == "ticket" else load
        read(tmp_path / kind)


def format_1(content):
    """The same file as version 1 of the format had it: without a checksum."""
    length = int.from_bytes(content[:8], "little")
    body = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["secateurs"])
    del body["checksum"]
    text = json.dumps({**body, "format": 1}, sort_keys=True)
    return safetensors.numpy.save(safetensors.numpy.load(content), metadata={"secateurs": text})


def test_files_of_version_1_are_still_read(contents, tmp_path):
    for kind, content in contents.items():
        new, old = tmp_path / "new", tmp_path / "old"
        new.write_bytes(content)
        old.write_bytes(format_1(content))
        if kind == "ticket":
            assert load_ticket(old).masks[0].keys() == load_ticket(new).masks[0].keys()
            continue
        load(old).save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == content


def test_a_file_does_not_lose_its_checksum_by_a_smaller_version(contents, tmp_path):
    content = contents["SparseMLPRegressor"]
    refused(tmp_path / "m", content.replace(b'\\"format\\":2', b'\\"format\\":1'))
    refused(tmp_path / "m", content.replace(b'\\"checksum\\"', b'\\"chicksum\\"'))


def test_sealing_is_repeatable():
    content = archive_bytes({"a": 1}, {})
    assert sealed(content) == content == archive_bytes({"a": 1}, {})
