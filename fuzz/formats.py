"""What reads each format, and what it promises for a file that was changed.

Every reader either refuses a file with one line that names it, or reads it.  A format with a
checksum (`Format.sealed`) must refuse every change, or say the same as before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateurs.core.archive import sealed
from secateurs.data.datasets import load_dataset, load_inputs
from secateurs.experiments.report.page import run_content
from secateurs.experiments.sweeps.config import load_sweep
from secateurs.experiments.sweeps.folder import LEDGER
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.spool import read_trace
from secateurs.loading import load
from secateurs.recovery.planted import image_function
from secateurs.sensing.measurements import load_measurements
from secateurs.tickets import load_ticket
from secateurs.tickets.read_onnx import read_onnx
from secateurs.tickets.read_state_dict import read_state


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes
    ----------
    read : callable
        From a path to what the file says; raises ValueError or OSError to refuse it.
    sealed : bool
        Whether a changed file may not say anything else than before.
    finish : callable
        The last change of a mutated file, such as a sound checksum.
    """

    read: Callable[[Path], Any]
    sealed: bool = False
    finish: Callable[[bytes], bytes] = bytes


def _model(path: Path) -> Any:
    model: Any = load(path)
    model.describe()
    answer = getattr(model, "predict", None)
    if answer is None or type(model).__name__ == "MatrixSensing":
        return repr(model.components_)
    d = model.n_features_in_
    if getattr(model, "table_", None) is not None or d > 1000:
        return repr(model.describe().facts)
    return answer(np.linspace(-1, 1, 2 * d).reshape(2, d)).tolist()


def _ticket(path: Path) -> Any:
    ticket = load_ticket(path)
    ticket.describe(0)
    return [weights.tolist() for weights in ticket.approximation(0).values()]


def _table(path: Path) -> Any:
    load_inputs(path)
    return load_dataset(path, target="y").name


def _arrays(path: Path) -> Any:
    if "images" in path.name:  # the labels beside it
        labels = path.with_name("t-labels-idx1-ubyte")
        labels.write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 12) + bytes(range(12)))
    load_inputs(path)
    return load_dataset(path).name


def _ledger(path: Path) -> Any:
    with Ledger(path) as ledger:
        found = sorted(ledger.records(), key=lambda row: row[1].key)
        return found, ledger.starts(), sorted(ledger.keys("done"))


def _spool(path: Path) -> Any:
    trace = read_trace(path)
    # between the lines with checksums may stand any traceback
    return None if trace is None or trace.record is None else (trace.cell, trace.record)


def _claims(path: Path) -> Any:
    run = path.with_name("it.run")
    run.mkdir(exist_ok=True)
    (run / "claims.json").write_bytes(path.read_bytes())
    Ledger(run / LEDGER).close()
    return run_content(run)["claims"]


def _resealed(content: bytes) -> bytes:
    """Give a changed file the checksum of its content, so that the reader looks into it."""
    try:
        return sealed(content)
    except ValueError:
        return content


FORMATS = {
    "model": Format(_model, sealed=True),
    "resealed": Format(_model, finish=_resealed),
    "ticket": Format(_ticket, sealed=True),
    "resealed-ticket": Format(_ticket, finish=_resealed),
    "state": Format(read_state),
    "onnx": Format(read_onnx),
    "table": Format(_table),
    "parquet": Format(_table),
    "npz": Format(_arrays),
    "measurements": Format(lambda path: load_measurements(path)[1].shape),
    "idx": Format(_arrays),
    "image": Format(lambda path: image_function(path, 2).X.shape),
    "sweep": Format(lambda path: load_sweep(path).n_cells),
    "ledger": Format(_ledger, sealed=True),
    "spool": Format(_spool, sealed=True),
    "claims": Format(_claims),
}
