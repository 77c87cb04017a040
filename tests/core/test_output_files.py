"""No output destroys anything: what cannot be replaced is refused before any work is done."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from secateurs import SparseMLPRegressor, load
from secateurs.cli import main
from secateurs.core.atomic_write import write_atomically
from secateurs.core.figures import save_figure
from secateurs.core.output_files import check_output


def make_special(folder, kind):
    path = folder / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = socket.socket(socket.AF_UNIX)
        here.bind(str(path))
        here.close()
    elif kind == "device":
        path.symlink_to("/dev/null")
    elif kind == "loop":
        path.symlink_to(path)
    return path


SPECIAL = ("directory", "pipe", "socket", "device", "loop")


def listing(folder):
    """What is in a folder: names, kinds, links and contents."""
    return {
        path.name: (
            stat.S_IFMT(path.lstat().st_mode),
            path.readlink() if path.is_symlink() else None,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused_and_kept(tmp_path, kind, through_link):
    path = make_special(tmp_path, kind)
    if through_link:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    before = listing(tmp_path)
    for write in (check_output, lambda path: write_atomically(path, b"new")):
        with pytest.raises(ValueError, match=r"got .*; expected "):
            write(path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["a" * 256, "a/" * 3000 + "b", "no/such/folder", "a\0b", "file/below", ""]
)
def test_paths_that_cannot_be_written_are_refused(tmp_path, monkeypatch, name):
    (tmp_path / "file").write_bytes(b"kept")
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    with pytest.raises(ValueError, match=r"got .*; expected "):
        check_output(name)
    assert listing(tmp_path) == before


def test_names_up_to_the_limit_of_the_system_are_written(tmp_path):
    path = tmp_path / ("é" * 127)  # 254 bytes
    check_output(path)
    write_atomically(path, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"new"]


def test_a_read_only_file_or_folder_is_refused(tmp_path):
    (tmp_path / "kept").write_bytes(b"")
    (tmp_path / "kept").chmod(0o444)
    with pytest.raises(ValueError, match="read-only"):
        check_output(tmp_path / "kept")
    with pytest.raises(ValueError, match="without write permission"):
        check_output("/proc/m.safetensors")


def spellings(path):
    """Other names of a file: relative, with dots, through links, a hard link."""
    (path.parent / "soft").symlink_to(path)
    (path.parent / "twice").symlink_to("soft")
    (path.parent / "hard").hardlink_to(path)
    (path.parent / "sub").mkdir()
    (path.parent / "folder").symlink_to(path.parent)
    return [
        path,
        Path(os.path.relpath(path)),
        path.parent / "sub" / ".." / path.name,
        *(path.parent / name for name in ("soft", "twice", "hard")),
        path.parent / "folder" / path.name,
    ]


def test_an_input_is_never_an_output(tmp_path):
    source = tmp_path / "t.csv"
    source.write_bytes(b"prediction\n1\n")
    for path in spellings(source):
        with pytest.raises(ValueError, match="input"):
            check_output(path, "table", columns="prediction", inputs=["digits", source])
        with pytest.raises(ValueError, match="two outputs"):
            check_output(path, others=[source])
    assert source.read_bytes() == b"prediction\n1\n"
    with pytest.raises(ValueError, match="two outputs"):  # also where neither is there yet
        check_output(tmp_path / "a", others=[tmp_path / "sub" / ".." / "a"])


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "ahead").symlink_to("later")
    write_atomically(tmp_path / "link", b"new")
    write_atomically(tmp_path / "ahead", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "ahead").is_symlink()
    assert (tmp_path / "real").read_bytes() == (tmp_path / "later").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_where_files_need_names_they_are_written_too(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    for content in (b"first", b"second"):
        check_output(tmp_path / "a")
        write_atomically(tmp_path / "a", content)
        assert listing(tmp_path).keys() == {"a"}
        assert (tmp_path / "a").read_bytes() == content


OTHERS = {
    "a table": b"a,b\n1,2\n",
    "a program": b"#!/bin/sh\n",
    "noise": bytes(range(256)),
    "a model of others": b"\x50\0\0\0\0\0\0\0" + b'{"__metadata__":{"format":"pt"},"w":{}}',
}


@pytest.fixture(scope="module")
def model():
    X = np.random.default_rng(0).standard_normal((60, 3))
    return SparseMLPRegressor(5, (2,), max_epochs=1, random_state=0).fit(X, X[:, 0])


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_a_file_of_another_kind_is_never_replaced(tmp_path, model, content):
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    for write in (model.save, model.to_onnx, lambda path: save_figure(Figure(), path)):
        with pytest.raises(ValueError, match=r"another kind.*delete the file first"):
            write(path)
    assert listing(tmp_path) == {"mine.png": (stat.S_IFREG, None, content)}


def test_a_file_of_the_same_kind_is_replaced(tmp_path, model):
    (tmp_path / "m").touch()
    for _ in range(2):
        model.save(tmp_path / "m")
        save_figure(Figure(), tmp_path / "f.svg")
        save_figure(Figure(), tmp_path / "f.pdf")
        save_figure(Figure(), tmp_path / "f.png")
    load(tmp_path / "m")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("kind", [*SPECIAL, "input"])
def test_commands_refuse_before_any_work(tmp_path, model, kind, monkeypatch, capsys):
    """A path that is refused is named in one line, and nothing in the folder changes."""
    monkeypatch.chdir(tmp_path)
    model.save(tmp_path / "m.safetensors")
    rows = "\n".join(f"{i % 7},{i % 5},{i % 3},{i % 7 - i % 3}" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x0,x1,x2,y\n{rows}\n")
    output = {"input": "t.csv"}.get(kind) or make_special(tmp_path, kind).name
    before = listing(tmp_path)
    commands = (
        ("fit", "t.csv", "--target", "y", "--nonzeros", "5", "--output", output),
        ("path", "t.csv", "--target", "y", "--nonzeros", "5", "--plot", output),
        ("features", "t.csv", "--target", "y", "--output", output),
        ("features", "t.csv", "--target", "y", "--model", output),
        ("interactions", "t.csv", "--target", "y", "--output", output),
        ("recover", "t.csv", "--target", "y", "--nonzeros", "5", "--output", output),
        ("image", "3", "--nonzeros", "5", "--output", output),
        ("predict", "m.safetensors", "t.csv", "--output", output),
        ("ticket", "m.safetensors", "--output", output),
        ("report", "t.run", "--output", output),
    )
    for arguments in commands:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert (stop.value.code, out, err.count("\n")) == (2, "", 1), err
        assert "expected" in err
        assert listing(tmp_path) == before, arguments
