"""`secateurs prune`: a program in, a smaller program out, without pickle."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from secateurs.cli import main
from secateurs.core.figures import save_figure
from secateurs.nn import plan
from secateurs.nn.figures import plan_figure


@pytest.fixture
def program(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(),
                           nn.Linear(12, 10)).eval()  # fmt: skip
    path = tmp_path / "m.pt2"
    rows = {0: torch.export.Dim("rows", min=1)}
    exported = torch.export.export(module, (torch.randn(3, 64),), dynamic_shapes=(rows,))
    torch.export.save(exported, path)
    return path


def run(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code, capsys.readouterr()


@pytest.mark.filterwarnings("ignore")
def test_a_program_gets_smaller_and_runs_without_this_package(program, tmp_path, capsys):
    small = tmp_path / "small.pt2"
    code, shown = run(["prune", program, "digits", "--flops", 0.5, "--steps", 20, "--output", small,
                       "--json"], capsys)  # fmt: skip
    assert code == 0, shown.err
    facts = json.loads(shown.out)
    assert facts["flops"][1] <= 0.5 * facts["flops"][0]
    assert facts["certificate"][0]["name"] == "equality"
    assert set(facts["widths"]) == {"0", "2"}  # as the module names them
    again = torch.export.load(small).module()
    assert again(torch.randn(7, 64)).shape == (7, 10)
    assert sum(p.numel() for p in again.parameters()) == facts["parameters"][1]


def test_bad_options_are_one_line(program, tmp_path, capsys):
    for arguments in (
        ["prune", program, "digits"],
        ["prune", program, "digits", "--flops", 2],
        ["prune", program, "digits", "--flops", 0.5, "--output", tmp_path / "m.txt"],
        ["prune", program, "digits", "--flops", 0.5, "--output", program],
        ["prune", tmp_path / "m.pth", "digits", "--flops", 0.5],
        ["prune", tmp_path / "none.pt2", "digits", "--flops", 0.5],
        ["prune", program, "iris", "--flops", 0.5],
    ):
        code, shown = run(arguments, capsys)
        assert code == 2
        assert len(shown.err.strip().splitlines()) == 1


def test_a_picture_of_a_plan(tmp_path):
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    found = plan(module, torch.randn(3, 4))
    figure = plan_figure(found, found.keep({"0": [0, 2]}))
    widths = sorted(bar.get_width() for bar in figure.axes[0].patches)
    assert widths == sorted([6, 2, 4, 5, 5]) or np.isin([6, 2], widths).all()
    save_figure(figure, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 1000
