"""Small sound files of every format, from which the mutated ones are made."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from matplotlib.image import imsave
from torch import nn

import secateurs
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.spool import spooled, write_record
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.tickets import prune_network, save_ticket

SWEEP = """\
problem = "planted_relu"
seeds = 3
metrics = ["exact", "psnr"]
[settings]
d = 20
m = 3
[grid]
n = [300, 50, 100]
s = [5, 10]
[methods.pursuit]
[methods.iht]
n_steps = [50, 200]
[adaptive]
axis = "n"
metric = "exact"
[[figures]]
kind = "heat_map"
name = "map"
metric = "exact"
x = "n"
y = "s"
"""


def write_seeds(folder: Path) -> None:
    """Write one folder for each format, with one or more sound files in it."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _models(folder, rng)
        _networks(folder)
    _tables(folder, rng)
    _arrays(folder, rng)
    _runs(folder)


def place(folder: Path, kind: str, name: str) -> Path:
    """Return the path of a seed and make its folder."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    return folder / kind / name


def _models(folder: Path, rng: np.random.Generator) -> None:
    X = rng.standard_normal((80, 3))
    y = np.maximum(X[:, 0] - X[:, 1], 0)
    frame = pd.DataFrame(X, columns=["a", "b [mg]", "é"]).assign(c=np.where(X[:, 0] > 0, "u", "v"))
    models = [
        secateurs.SparseMLPClassifier(6, (2,), max_epochs=2, random_state=0).fit(X, y > 0.3),
        secateurs.SparseMLPRegressor(8, (2,), max_epochs=2, random_state=0).fit(frame, y),
        secateurs.SparseReLURegressor(2, random_state=0).fit(X, y),
        secateurs.QuadraticRegressor(1, random_state=0).fit(X, y),
        secateurs.SparseMultiIndexClassifier(random_state=0).fit(X, y > 0.3),
        secateurs.SparseMultiIndexRegressor(random_state=0).fit(X, y),
        secateurs.MatrixSensing(1, random_state=0).fit(RankOne(X), (X[:, 0] - X[:, 2]) ** 2),
    ]
    for model in models:
        for kind in ("model", "resealed"):
            model.save(place(folder, kind, f"{type(model).__name__}.safetensors"))


def _networks(folder: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    found = prune_network(network, 0.1, 0).value
    for kind in ("ticket", "resealed-ticket"):
        save_ticket(place(folder, kind, "t.safetensors"), found)
    safetensors.torch.save_file(network.state_dict(), place(folder, "state", "state.safetensors"))
    try:
        model = secateurs.load(folder / "model/SparseMLPRegressor.safetensors")
        model.to_onnx(place(folder, "onnx", "m.onnx"))
        convolution = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        torch.onnx.export(
            convolution,
            (torch.zeros(1, 1, 3, 3),),
            place(folder, "onnx", "c.onnx"),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    except ModuleNotFoundError:  # an optional dependency
        return


def _tables(folder: Path, rng: np.random.Generator) -> None:
    frame = pd.DataFrame(rng.standard_normal((12, 2)).round(3), columns=["a", "b"])
    frame["day"] = pd.date_range("2024-01-01", periods=12).astype(str)
    frame["city"] = ["Oslo", "Rome", 'a "b", c'] * 4
    frame["y"] = frame["a"] * 2
    text = frame.to_csv(index=False).encode()
    place(folder, "table", "t.csv").write_bytes(text)
    place(folder, "table", "t.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    place(folder, "table", "t.tsv").write_text(frame.to_csv(index=False, sep="\t"))
    other = frame.to_csv(index=False, sep=";", decimal=",")
    place(folder, "table", "s.csv").write_bytes(other.replace("Oslo", "Århus").encode("cp1252"))
    place(folder, "table", "u.csv").write_bytes(text.decode().encode("utf-16"))
    for packing in ("snappy", "none"):
        frame.to_parquet(
            place(folder, "parquet", f"{packing}.parquet"),
            compression=None if packing == "none" else packing,
        )


def _arrays(folder: Path, rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    np.savez(place(folder, "npz", "plain.npz"), X=X, y=y)
    np.savez_compressed(place(folder, "npz", "packed.npz"), x_train=X, y_train=y > 0)
    np.savez(place(folder, "measurements", "x.npz"), X=X, y=y)
    entries = {"rows": np.arange(6) % 3, "columns": np.arange(6) // 3, "d": np.array(3)}
    np.savez(place(folder, "measurements", "e.npz"), y=np.arange(6.0), **entries)
    np.savez(place(folder, "measurements", "p.npz"), y=np.ones(2), paulis=np.array(["XY", "ZI"]))
    images = struct.pack(">4B3I", 0, 0, 8, 3, 12, 2, 2) + bytes(range(48))
    place(folder, "idx", "t-images-idx3-ubyte").write_bytes(images)
    place(folder, "idx", "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(images, mtime=0))
    for kind in ("grey", "viridis"):
        stream = io.BytesIO()
        imsave(stream, rng.random((4, 5)), format="png", cmap=kind)
        place(folder, "image", f"{kind}.png").write_bytes(stream.getvalue())


def _runs(folder: Path) -> None:
    place(folder, "sweep", "s.toml").write_text(SWEEP)
    cells = [{"problem": "p", "method": "m", "seed": seed} for seed in range(4)]
    records = [Record(key_of(cell), "done", {"x": 0.5}) for cell in cells]
    with Ledger(place(folder, "ledger", "l.sqlite")) as ledger:
        ledger.add(zip(cells, records, strict=True))
        ledger.note_start({"versions": {"a": "1"}, "processor": "x"})
    spool = place(folder, "spool", "x").parent
    with spooled(spool, "cell", cells[0]) as file:
        write_record(file, records[0])
    claims = {"claims": [{"name": "a", "verdict": "holds"}], "scale": "quick"}
    place(folder, "claims", "claims.json").write_text(json.dumps(claims))


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
