"""Names are text, wherever they are shown and whatever the terminal can hold."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from secateurs.cli import main
from secateurs.cli.terminal import show
from secateurs.core.description import Description, Table
from secateurs.core.figures import save_figure
from secateurs.core.visible_text import visible

# what terminals, formulas, markup and files of other kinds give a meaning to
NAMES = (
    *("dose [mg]", "[bold]x[/bold]", "[/]", ":smile:", "a$b", "$$", "$^k$_", "\\$", r"\frac{1}"),
    *("a\nb", "a\tb", "\x1b[31mred\x1b[0m", "\x07", "\x00", "\u202egnp.exe", "\u2066a", "a\u2028b"),
    *("<b>bold</b>", "</script>", "&amp;", "R²", "日本語", "é", "_hidden", "{x}", "%s", "'\"", " "),
)
ENCODINGS = ("ascii", "cp932", "gbk", "latin-1", "utf-8")
OBEYED = set("\x1b\x07\x00\u202e\u2066\u2028\x9b\ud800")


@given(text=st.text(max_size=20))
def test_what_is_shown_can_be_seen_and_nothing_else_changes(text):
    shown = visible(text)
    assert not OBEYED & set(shown)
    assert "\n" not in shown
    assert visible(text, lines=True).count("\n") == text.count("\n")
    shown.encode()
    if text.isalnum():
        assert shown == text


def test_tables_and_sentences_show_names_as_they_are(capsys):
    for name in NAMES:
        table = Table(("name", name), [(name, "1")], name)
        show(Description(f"First {name} last.", {}, (table,), (name,)))
        out, _ = capsys.readouterr()
        assert not OBEYED & set(out)
        if "\n" not in name:  # which a sentence may have
            assert out.count(visible(name).strip()) >= 3, name


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_figures_show_names_as_they_are(tmp_path, kind):
    """In titles, labels, legends and ticks, on plain and on logarithmic axes."""
    figure = Figure(figsize=(12, 12), layout="constrained")
    plain, powers = figure.subplots(1, 2)
    plain.set_yticks(range(len(NAMES)), NAMES)
    for name in NAMES:
        plain.plot([0, 1], label=name)
    plain.legend()
    plain.set_title("\n".join(NAMES))
    powers.plot([1, 1e6], [0.01, 1e4])
    powers.set_xscale("log")
    powers.set_yscale("log")
    powers.set_xlabel("$x$")
    path = tmp_path / f"f.{kind}"
    save_figure(figure, path)
    ticks = [text.get_text() for text in powers.get_xticklabels()]
    assert "10³" in ticks
    assert not any("$" in text for text in ticks)
    assert r"\x1b[31mred\x1b[0m" in [text.get_text() for text in plain.get_yticklabels()]
    assert "a$b" in [text.get_text() for text in plain.get_yticklabels()]
    if kind == "svg":
        ElementTree.parse(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table whose columns, classes and folder have names that mean something elsewhere."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("run [old] $²$")
    usable = [name for name in NAMES if "\x00" not in name and name.strip()]
    X = rng.standard_normal((120, len(usable)))
    frame = pd.DataFrame(X, columns=usable)
    frame["y"] = np.where(X[:, 0] + X[:, 1] > 0, "größer", "[kleiner] $")
    frame.to_csv(folder / "t.csv", index=False)
    return folder


def run(monkeypatch, encoding, *arguments):
    """Exit status, standard output and standard error, both as bytes."""
    streams = [io.BytesIO(), io.BytesIO()]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding))
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    return stop.value.code, streams[0].getvalue(), streams[1].getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_terminal_can_show_every_result(folder, monkeypatch, encoding):
    monkeypatch.chdir(folder)
    table, model = folder / "t.csv", folder / "m.safetensors"
    small = ("--nonzeros", 20, "--hidden", 3, "--epochs", 2)
    for arguments in (
        ("fit", table, "--target", "y", *small, "--output", model, "--plot", "p.png"),
        ("inspect", model),
        ("predict", model, table),
        ("fit", table, "--target", "größe", *small),
        ("bounds", "tickets", "--d", "3", "--eps", "0.1"),
    ):
        status, out, err = run(monkeypatch, encoding, *arguments)
        assert status == (2 if "größe" in arguments else 0), err
        assert not OBEYED & set((out + err).decode(encoding))
    status, out, err = run(monkeypatch, encoding, "inspect", model, "--json")
    assert status == 0
    assert out.isascii()
    assert "inputs" in out.decode() or json.loads(out)
    assert err == b""
