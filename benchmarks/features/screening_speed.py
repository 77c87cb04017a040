"""Time the screen of a mapped file, its rank transform alone, and one matrix-vector product.

    python -m benchmarks.features.screening_speed                       # d = 100,000, n = 2000
    python -m benchmarks.features.screening_speed --d 1000000           # 8 GB on disk
    python -m benchmarks.features.screening_speed --order F             # columns contiguous

The times are processor seconds, the best of a few runs on the same .npy file, for: y^T X by numpy;
the rank transform in plain numpy (argsort of blocks of columns); the rank transform of secateurs;
the screen with all transforms of y; the screen without ranks.  The last lines give the largest
memory of a new process that screens the file, and the part of it that the imports take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from scipy.special import ndtri

from secateurs.data.columns import columns_of
from secateurs.features.ranks import NARROW, rank_block
from secateurs.features.screening import screen

PEAK = """
import re, sys
from pathlib import Path
import numpy as np, torch
from secateurs.features.screening import screen
torch.set_num_threads(1)
if len(sys.argv) > 1:
    n = np.load(sys.argv[1], mmap_mode="r").shape[0]
    y = np.random.default_rng(1).standard_normal(n)
    screen(sys.argv[1], y, ranked=sys.argv[2] == "ranked")
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024)
"""


def best_of(f: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return min(times)


def write(path: Path, n: int, d: int, order: str) -> None:
    rng = np.random.default_rng(0)
    X = open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d), fortran_order=order == "F")
    step = max(1, (1 << 25) // (d if order == "C" else n))
    for a in range(0, n if order == "C" else d, step):
        part = X[a : a + step] if order == "C" else X[:, a : a + step]
        part[...] = rng.standard_normal(part.shape[::-1], dtype=np.float32).T
    X.flush()


def gemv(path: Path, y: np.ndarray) -> None:
    X = np.load(path, mmap_mode="r")
    if X.flags.f_contiguous:
        X.T @ y
    else:
        y @ X


def plain_ranks(path: Path) -> None:
    source = columns_of(path)
    scores = ndtri((np.arange(source.n) + 0.5) / source.n).astype(np.float32)
    for _, block in source.blocks():
        for a in range(0, block.shape[1], NARROW):
            order = np.argsort(block[:, a : a + NARROW], axis=0)
            x = np.empty(order.shape, dtype=np.float32)
            np.put_along_axis(x, order, scores[:, None], axis=0)


def our_ranks(path: Path) -> None:
    for _, block in columns_of(path).blocks():
        for a in range(0, block.shape[1], NARROW):
            rank_block(block[:, a : a + NARROW])


def peak(*arguments: str) -> float:
    command = [sys.executable, "-c", PEAK, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(n: int, d: int, order: str, folder: str | None, repeats: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "x.npy"
        write(path, n, d, order)
        y = np.random.default_rng(1).standard_normal(n)
        single = y.astype(np.float32)
        print(f"n = {n}, d = {d}, float32, {order} order, {4e-9 * n * d:.1f} GB")
        seconds = {
            "one GEMV pass": best_of(lambda: gemv(path, single), repeats),
            "rank transform, numpy": best_of(lambda: plain_ranks(path), 1),
            "rank transform, secateurs": best_of(lambda: our_ranks(path), repeats),
            "screen": best_of(lambda: screen(path, y), repeats),
            "screen, not ranked": best_of(lambda: screen(path, y, ranked=False), repeats),
        }
        base = seconds["one GEMV pass"]
        theirs, ours = seconds["rank transform, numpy"], seconds["rank transform, secateurs"]
        for name, value in seconds.items():
            print(
                f"{name:26}{value:8.2f} s {value / d * 1e6:7.2f} us a column, "
                f"{value / base:6.1f}x GEMV, {value / ours:5.2f}x ranks, "
                f"{value / theirs:5.2f}x numpy's"
            )
        empty = peak()
        for kind in ("ranked", "not ranked"):
            most = peak(str(path), kind)
            print(f"largest memory, {kind}: {most:.0f} MB, of which {empty:.0f} MB are imports")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--d", type=int, default=100_000)
    parser.add_argument("--order", choices=("C", "F"), default="C")
    parser.add_argument("--folder", help="where the file of 4 n d bytes is put")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.n, arguments.d, arguments.order, arguments.folder, arguments.repeats)
