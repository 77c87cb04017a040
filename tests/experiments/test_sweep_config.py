"""The file of a sweep: its meaning, and one line for each mistake."""

from __future__ import annotations

import itertools
import os
import time
import tracemalloc

import pytest

from secateurs.experiments.sweeps.config import load_sweep, parse_sweep
from secateurs.experiments.sweeps.families import families
from secateurs.experiments.sweeps.families.planted import planted
from secateurs.experiments.sweeps.record import key_of
from secateurs.experiments.sweeps.registry import Family, evaluate, seeds, settings_model
from secateurs.experiments.sweeps.settings import ConfigError

TEXT = """\
problem = "planted_relu"
seeds = 3
metrics = ["exact", "psnr"]
time_limit = 30

[settings]
d = 20
m = 3

[grid]
n = [300, 50, 100]
s = [5, 10]

[methods.pursuit]

[methods.iht]
n_steps = [50, 200]

[methods.short]
method = "iht"
n_steps = 10

[adaptive]
axis = "n"
metric = "exact"

[[figures]]
kind = "heat_map"
name = "transition"
metric = "exact"
x = "n"
y = "s"

[[figures]]
kind = "bars"
name = "peers"
metric = "cpu_seconds"
"""


def test_cells_are_every_combination_with_all_settings():
    sweep = parse_sweep(TEXT)
    cells = list(sweep.cells())
    assert len(cells) == sweep.n_cells == 3 * 6 * 4
    assert len({key_of(cell) for cell in cells}) == len(cells)
    assert sweep.axes == {"n": [50, 100, 300], "s": [5, 10]}
    assert [v.label for v in sweep.variants] == [
        *("pursuit", "iht n_steps=50", "iht n_steps=200", "short"),
    ]
    found = {
        (c["problem_settings"]["n"], c["problem_settings"]["s"], c["seed"], c["method"])
        for c in cells
    }
    assert found == set(itertools.product((50, 100, 300), (5, 10), range(3), ("pursuit", "iht")))
    # defaults are written out: a changed default is another cell
    assert cells[0]["problem_settings"]["noise"] == 0.0
    assert cells[0]["method_settings"] == {"max_rounds": 100}
    assert [c["seed"] for c in cells] == sorted(c["seed"] for c in cells)


def test_the_same_settings_are_the_same_cell():
    """Order, an integer for a number, or an explicit default make no difference."""
    other = TEXT.replace("d = 20\nm = 3", "m = 3\nnoise = 0\nd = 20").replace(
        "n = [300, 50, 100]\ns = [5, 10]", "s = [10, 5]\nn = [50, 100, 300]"
    )
    assert {key_of(c) for c in parse_sweep(TEXT).cells()} == {
        key_of(c) for c in parse_sweep(other).cells()
    }


def test_grids_can_be_joined():
    text = TEXT.replace("[grid]\nn = [300, 50, 100]\ns = [5, 10]", "").replace(
        "[methods.pursuit]",
        "[[grid]]\nn = [50, 100]\ns = [5]\n[[grid]]\nn = [100, 300]\ns = [5, 10]\n"
        "[methods.pursuit]",
    )
    points = {(p["n"], p["s"]) for p in parse_sweep(text).points}
    assert points == {(50, 5), (100, 5), (300, 5), (100, 10), (300, 10)}


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("planted_relu", "planted_rleu", 1, "problem: no problem 'planted_rleu'; "),
        ("planted_relu", "planted_rleu", 1, "did you mean 'planted_relu'?"),
        ("methods.pursuit", "methods.pursiut", 14, "methods.pursiut: no method"),
        ("methods.pursuit", "methods.pursiut", 14, "did you mean 'pursuit'?"),
        ('"psnr"]', '"pnsr"]', 3, "metrics[1]: no metric 'pnsr'"),
        ('"psnr"]', '"pnsr"]', 3, "did you mean 'psnr'?"),
        ("n_steps = 10", "n_stepp = 10", 21, "did you mean 'n_steps'?"),
        ("n_steps = 10", "n_steps = 0", 21, "greater than or equal to 1"),
        ("n_steps = 10", "n_steps = nan", 21, "methods.short.n_steps: got nan"),
        ('method = "iht"', 'method = "ith"', 20, "did you mean 'iht'?"),
        ('method = "iht"', "method = 3", 20, "methods.short.method: got 3"),
        ("d = 20", 'd = "20"', 7, "settings.d: got '20': Input should be a valid integer"),
        ("d = 20", "d = 20.0", 7, "settings.d"),
        ("d = 20", "", 6, "settings: planted_relu needs d; give it here or [grid]"),
        ("m = 3", "m = 3\nn = 3", 12, "grid.n: is in [settings] too"),
        ("s = [5, 10]", "s = [5, 100]", 10, "impossible at n = 300, s = 100"),
        ("s = [5, 10]", "s = []", 12, "grid.s: got []"),
        ("s = [5, 10]", "s = 5", 12, "grid.s: got 5; expected a list"),
        ("s = [5, 10]", "s = [5, 5]", 12, "expected different values"),
        ("s = [5, 10]", "s = [[5], [6]]", 12, "expected numbers, texts or booleans"),
        ("s = [5, 10]", "s = [5, 10.5]", 12, "grid.s: got 10.5"),
        ("[grid]", "[gird]", 10, "did you mean 'grid'?"),
        ("time_limit = 30", "time_limit = -1", 4, "greater than 0"),
        ("seeds = 3", "seeds = [1, 1]", 2, "expected different integers"),
        ("seeds = 3", "seeds = [1, -1]", 2, "seeds[1]: got -1"),
        ("seeds = 3", "seeds = [1, 2]", 2, "adaptive sweeps add seeds"),
        ("seeds = 3", "seeds = ", 2, "not TOML"),
        ('axis = "n"', 'axis = "m"', 24, "no axis of the grid 'm'"),
        ('axis = "n"', 'axis = "s"', 24, "three numbers or more"),
        ('kind = "bars"', 'kind = "bar"', 35, "'heat_map', 'scaling' or 'bars'"),
        ('kind = "bars"', 'kid = "bars"', 35, "did you mean 'kind'?"),
        ('y = "s"', "", 27, "heat_map takes x and y"),
        ('name = "peers"', 'name = "../x"', 36, "figures[1].name"),
        ('name = "peers"', 'name = "transition"', 36, "expected other names"),
        ("[methods.short]", '[methods."iht n_steps=50"]', 19, "one of them"),
        ('metrics = ["exact", "psnr"]', "", 1, "metrics: is missing"),
    ],
    ids=str,
)
def test_mistakes_are_told_with_line_field_and_nearest_name(old, new, line, told):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    if old == "[methods.short]":
        text = text.replace("n_steps = 10", "n_steps = 50")
    with pytest.raises(ConfigError) as error:
        parse_sweep(text, "s.toml")
    message = str(error.value)
    assert told in message
    assert message.startswith(f"s.toml:{line}: ")
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_sweep(tmp_path / "absent.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_sweep(tmp_path / "b.toml")


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_sweep(path)
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match=r"cannot be read.*at most"):
        load_sweep(tmp_path / "huge.toml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load_sweep(tmp_path / "s.toml").text == TEXT


MANY = f"[{', '.join(map(str, range(1, 3000)))}]"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds = 3", "seeds = 1_000_000_000", "at most 10000000 cells"),
        ("seeds = 3", f"seeds = {10**30}", "seeds"),
        ("n = [300, 50, 100]\ns = [5, 10]", f"n = {MANY}\ns = {MANY}", "8994001 combinations"),
        ("n_steps = [50, 200]", f"n_steps = {MANY}\nstep_size = {MANY}", "methods.iht"),
        ("d = 20", f"d = {'[' * 10_000}", "s.toml: not TOML"),
        ("d = 20", f"d = {'[' * 100_000}{']' * 100_000}", "s.toml: not TOML"),
        ("s = [5, 10]", f"s = [{MANY}]", "grid.s: got"),
    ],
)
def test_huge_files_are_refused_at_once_and_shortly(old, new, told):
    """Before a combination is made: in little time, little memory and one short line."""
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(ConfigError) as error:
            parse_sweep(TEXT.replace(old, new, 1), "s.toml")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5
    assert peak < 100e6
    message = str(error.value)
    assert told in message
    assert len(message) < 1000


def test_every_method_of_every_family_has_settings_that_can_be_checked():
    for family in families():
        assert set(family.ours) <= set(family.methods)
        assert family.metrics
        for problem in family.problems.values():
            assert settings_model(problem.make)
        for method in family.methods.values():
            assert settings_model(method).model_validate({})


def test_methods_without_hints_or_seed_are_refused():
    family = Family("f")
    with pytest.raises(TypeError, match="random_state"):

        @family.method
        def seedless(problem, *, x: int = 1):
            return None

    with pytest.raises(TypeError, match="no type hint"):

        @family.method
        def untyped(problem, *, x=1, random_state=0):
            return None


def test_a_metric_cannot_take_the_name_of_a_column():
    def status(problem, result):
        return 0.0

    with pytest.raises(TypeError, match="cannot be called status"):
        Family("f").metric(status)


def test_a_cell_is_a_pure_function_of_its_settings():
    cells = [c for c in parse_sweep(TEXT).cells() if c["problem_settings"]["n"] == 100][:4]
    for cell in cells:
        one, other = evaluate(planted, cell), evaluate(planted, cell)
        assert one.certificate == other.certificate
        one, other = dict(one.metrics), dict(other.metrics)
        assert one.pop("cpu_seconds") > 0
        assert other.pop("cpu_seconds") > 0
        assert one == other
        assert set(one) == set(planted.metrics)


def test_the_method_draws_other_numbers_than_its_data():
    data, method = zip(*(seeds(seed) for seed in range(1000)), strict=True)
    assert data == tuple(range(1000))
    assert not set(data) & set(method)


def test_infinite_metrics_fail_the_cell():
    family = Family("f")

    @family.problem
    def nothing(*, random_state: int) -> None:
        return None

    @family.method
    def none(problem: None, *, random_state: int) -> None:
        return None

    @family.metric
    def endless(problem: None, result: None) -> float:
        return float("inf")

    cell = {"problem": "nothing", "problem_settings": {}, "seed": 0}
    with pytest.raises(ValueError, match="endless: got inf"):
        evaluate(family, {**cell, "method": "none", "method_settings": {}})
