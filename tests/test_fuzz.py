"""Mutated files of every format are refused by name, or read: a small campaign."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def campaign(*arguments):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", *arguments],
        **{"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": paths}},
        **{"capture_output": True, "text": True, "check": False},
    )
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    return run.stdout


def test_a_few_mutated_files(tmp_path):
    """The state of a campaign is kept, so that it goes on where it was stopped."""
    state = tmp_path / "state.json"
    formats = ("--formats", "model,resealed,table,npz,sweep,ledger,spool")
    first = campaign("--inputs", "28", "--state", str(state), *formats)
    assert "28 inputs, 0 faults" in first
    again = campaign("--inputs", "56", "--state", str(state), *formats)
    assert "56 inputs, 0 faults" in again


@pytest.mark.slow
def test_many_mutated_files():
    assert "5000 inputs, 0 faults" in campaign("--inputs", "5000", "--seed", "7")
