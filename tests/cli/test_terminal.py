"""The printed text: names as they are, within the width of the terminal, without empty lines."""

import pytest

from secateurs.cli import recipe, terminal
from secateurs.core.description import Description, Table

NAMES = ["[bold]x[/bold]", "[/]", "a[0]", ":smile:", "city=São Paulo"]


def check(name, verdict, measured):
    statement = "the error rate on new rows is at most " + (f"{measured:g} " * 20)
    return {"name": name, "verdict": verdict, "statement": statement, "measured": measured}


def test_names_are_shown_as_they_are(capsys):
    table = Table(("name", "[value]"), [(name, "1") for name in NAMES], "title of [red]")
    terminal.show(Description("of [x] and [/x]", {}, (table,), ("note [y]",)))
    out, _ = capsys.readouterr()
    for text in [*NAMES, "[value]", "title of [red]", "of [x] and [/x]", "note [y]"]:
        assert text in out


def test_text_and_tables_fit_the_terminal_and_lose_nothing(capsys):
    words = " ".join(f"word{i}" for i in range(60))
    path = "/a-rather-long-directory" * 6
    long = "an-input-with-a-long-name" * 5
    table = Table(("input", "weight"), [(long, "1.0")], words)
    certificate = [check("budget", "holds", 0.5)]
    terminal.show(Description(words, {"certificate": certificate}, (table,), (words, path)))
    out, _ = capsys.readouterr()
    assert path in out.split()
    assert all(len(line) <= 80 for line in out.splitlines() if line != path)
    assert " ".join(out.split()).count(words) == 3
    assert "…" not in out


def test_rows_that_are_not_shown_are_counted(capsys):
    table = Table(("n",), [(f"row{i}",) for i in range(7)], most=3)
    terminal.show(Description("", {}, (table,)))
    out, _ = capsys.readouterr()
    assert "row2" in out
    assert "row3" not in out
    assert "4 more" in out


def test_a_bound_of_one_on_an_error_rate_is_left_out_of_the_text(capsys):
    certificate = [
        check("budget", "holds", 1.0),
        check("held-out error", "unknown", 0.25),
        check("Occam bound", "unknown", 1.0),
    ]
    terminal.show(Description("fit", {"certificate": certificate}))
    out, _ = capsys.readouterr()
    assert "budget" in out
    assert "held-out error" in out
    assert "Occam" not in out


@pytest.mark.parametrize(
    ("status", "failed", "expected"),
    [("exact", False, 0), ("budget", True, 1), ("interrupted", True, 130)],
)
def test_a_command_ends_by_writing_showing_and_the_exit_status(
    capsys, tmp_path, status, failed, expected
):
    file = tmp_path / "a.txt"
    given = recipe.finish(
        Description("done", {"n": 1}),
        json=False,
        status=status,
        files=[
            (file, lambda path: path.write_text("x")),
            (None, lambda _: pytest.fail("there is no file")),
        ],
        failed=failed,
    )
    out, _ = capsys.readouterr()
    assert given == expected
    assert file.read_text() == "x"
    assert out.splitlines()[0] == "done"
    assert out.splitlines()[-1] == f"written: {file}"
    assert ("Interrupted" in out) == (status == "interrupted")
    recipe.finish(Description("done", {"n": 1}), json=True)
    assert capsys.readouterr().out == '{"n": 1}\n'


def test_files_that_cannot_be_written_are_refused(tmp_path):
    for file, message in [
        (tmp_path, "got a directory; expected the name of a file"),
        (tmp_path / "no" / "m.safetensors", "does not exist.*make"),
    ]:
        with pytest.raises(ValueError, match=message):
            recipe.check_options(file)
    with pytest.raises(ValueError, match="png"):
        recipe.check_options(plot=tmp_path / "f.bmp")
    with pytest.raises(ValueError, match=r"--seed: got 4294967296; expected an integer from 0"):
        recipe.check_options(seed=2**32)
    with pytest.raises(ValueError, match=r"--top: got 0; expected an integer >= 1"):
        recipe.check_options(top=0)
    recipe.check_options(tmp_path / "m", None, plot=tmp_path / "f.svg", epochs=None, top=3)
