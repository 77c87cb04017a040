"""`secateurs prune` on tables: classes by name, and tables that the network cannot read."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from secateurs.cli import main


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    rows = {0: torch.export.Dim("rows", min=1)}
    path = tmp_path_factory.mktemp("program") / "m.pt2"
    exported = torch.export.export(module, (torch.randn(3, 4),), dynamic_shapes=(rows,))
    torch.export.save(exported, path)
    return path


def pruned(capsys, program, frame, *options):
    table = program.with_name("t.csv")
    frame.to_csv(table, index=False)
    arguments = ["prune", program, table, "--target", "alarm", "--flops", 0.5, "--steps", 5]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in (*arguments, *options)])
    return end.value.code, *capsys.readouterr()


def table(alarm):
    X = np.random.default_rng(0).standard_normal((120, 4)).round(3)
    return pd.DataFrame(X, columns=list("abcd")).assign(alarm=np.resize(alarm, 120))


@pytest.mark.filterwarnings("ignore")
def test_classes_by_name_are_taken_in_their_order(program, capsys):
    status, out, err = pruned(capsys, program, table(["yes", "no", "no"]))
    assert status == 0, err
    assert "for the classes in this order: 0 no, 1 yes." in " ".join(out.split())
    _, named, _ = pruned(capsys, program, table(["yes", "no", "no"]), "--json")
    _, numbered, _ = pruned(capsys, program, table([1, 0, 0]), "--json")
    assert json.loads(named)["certificate"] == json.loads(numbered)["certificate"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table([1, 2, 1]), "the target: got classes from 1 to 2; expected classes from 0 to 1"),
        (table(["a", "b", "c"]), "the target: got classes from 0 to 2; expected classes from 0"),
        (table([0, 1]).assign(b=np.resize(["x", "y"], 120)), "column 'b': got values that are no"),
        (table([0, 1]).assign(c=np.resize([1.5, np.nan], 120)), "column 'c': got missing values"),
    ],
)
def test_tables_that_the_network_cannot_read_are_one_line(program, capsys, frame, message):
    status, _, err = pruned(capsys, program, frame)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_network_without_a_row_of_outputs_has_no_classes(program, capsys):
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), nn.Flatten(0)).eval()
    rows = {0: torch.export.Dim("rows", min=1)}
    exported = torch.export.export(module, (torch.randn(3, 4),), dynamic_shapes=(rows,))
    torch.export.save(exported, program.with_name("flat.pt2"))
    status, _, err = pruned(capsys, program.with_name("flat.pt2"), table([0, 1]))
    assert status == 2
    assert "MODEL: got a network without one row of outputs" in err
    assert err.count("\n") == 1


def test_a_file_of_weights_alone_says_what_to_write(program, capsys):
    weights = program.with_name("m.pt")
    weights.touch()
    status, _, err = pruned(capsys, weights, table([0, 1]))
    assert status == 2
    assert (
        "got a file '.pt'; expected a file .pt2 or .onnx; write one with torch.export.save" in err
    )
