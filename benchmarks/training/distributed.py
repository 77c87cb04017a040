"""Time, memory and traffic of a fit on one process, and of the same fit on several.

    python -m benchmarks.training.distributed [--processes 2]

Processor time is that of the busiest process, on one thread.  Wall time is meaningful only on a
machine with a free core for each process.  "bare" is the wall time of the all-reduces alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from secateurs.core.group import Group, distributed
from secateurs.experiments.allocation import measure
from secateurs.recovery.thresholding.iht import iht
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.training_data import TrainingData

Fit = Callable[[Group, int], object]


def thresholding(n: int, d: int, m: int, s: int) -> tuple[str, Fit]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)).astype(np.float32)
    y = np.maximum(X @ rng.standard_normal((d, 10)).astype(np.float32), 0).sum(axis=1)

    def fit(group: Group, n_steps: int) -> object:
        rows = slice(group.rank, None, group.size)
        return iht(X[rows], y[rows], s, m, n_steps=n_steps, group=group)

    return f"iht, n={n} d={d} m={m} s={s}", fit


def pruning(n: int, d: int, m: int, s: int, overshoot: float, batch: int) -> tuple[str, Fit]:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, d), dtype=np.float32), rng.integers(0, 10, n)

    def fit(group: Group, n_steps: int) -> object:
        rows = slice(group.rank, None, group.size)
        scaling = Scaling(None, np.ones(d))
        data = TrainingData(X[rows], y[rows], scaling, 10, group=group)
        return prune_regrow(data, (m,), s, n_steps=n_steps, batch_size=batch, overshoot=overshoot)

    return f"prune_regrow, {d}-{m}-10 s={s} x {overshoot} batch={batch}", fit


def cases() -> list[tuple[str, Fit, int]]:
    """Return name, fit and number of steps of each case."""
    return [
        (*thresholding(50_000, 100, 100, 100), 6),
        (*thresholding(20_000, 100, 1000, 1000), 3),
        (*pruning(6_000, 784, 50, 1000, 12, 500), 100),  # the support changes once, in the middle
        (*pruning(6_000, 784, 1000, 10_000, 4, 2000), 100),
        (*pruning(4_000, 4096, 4096, 50_000, 2, 1000), 100),
    ]


def sent(fit: Callable[[], object]) -> list[int]:
    """Return the bytes of each all-reduce of a fit."""
    sizes: list[int] = []
    honest = dist.all_reduce

    def counted(array: torch.Tensor, *rest: Any, **named: Any) -> Any:
        sizes.append(array.numel() * array.element_size())
        return honest(array, *rest, **named)

    dist.all_reduce = counted
    try:
        fit()
    finally:
        dist.all_reduce = honest
    return sizes


def bare(sizes: list[int]) -> float:
    """Return the wall time of all-reduces of these sizes, in seconds."""
    arrays = {size: torch.zeros(size, dtype=torch.uint8) for size in set(sizes)}
    began = time.perf_counter()
    for size in sizes:
        dist.all_reduce(arrays[size])
    return time.perf_counter() - began


def run(group: Group) -> list[dict[str, Any]]:
    """Measure every case; return the largest numbers over all processes."""
    rows = []
    for name, fit, n_steps in cases():
        fit(group, 2)
        processor, wall = time.process_time(), time.perf_counter()
        fit(group, n_steps)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        sizes = sent(lambda: fit(group, n_steps)) if group.size > 1 else []
        mine = {
            "processor": processor / n_steps,
            "wall": wall / n_steps,
            "bare": bare(sizes) / n_steps if sizes else 0.0,
            "bytes": sum(sizes) / n_steps,
            "calls": len(sizes) / n_steps,
            "peak": measure(lambda: fit(group, min(n_steps, 50))).torch_peak,
        }
        all_measured = group.gather(mine)
        largest = {key: max(one[key] for one in all_measured) for key in mine}
        rows.append({"name": name} | largest)
    return rows


def start(size: int) -> list[dict[str, Any]]:
    """Run on `size` new processes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.training.distributed", "--folder", folder]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen([*command, "--processes", str(size), "--rank", str(rank)],
                             env=environment)
            for rank in range(size)
        ]  # fmt: skip
        codes = [process.wait() for process in processes]
        if max(codes) > 0:
            raise SystemExit("a process failed")
        result: list[dict[str, Any]] = json.loads(Path(folder, "result").read_text())
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank", type=int, help="set by the benchmark itself")
    parser.add_argument("--folder", type=Path, help="set by the benchmark itself")
    arguments = parser.parse_args()
    if arguments.rank is not None:
        torch.set_num_threads(1)
        size, rank = arguments.processes, arguments.rank
        if size > 1:
            store = f"file://{arguments.folder / 'store'}"
            dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
        with distributed() as group:
            rows = run(group)
        if rank == 0:
            (arguments.folder / "result").write_text(json.dumps(rows))
        return
    one, many = start(1), start(arguments.processes)
    print(f"for a step, on 1 process -> each of {arguments.processes} processes; ms, MB, kB")
    for a, b in zip(one, many, strict=True):
        print(
            f"{a['name']}\n"
            f"    processor {1e3 * a['processor']:.2f} -> {1e3 * b['processor']:.2f} "
            f"({b['processor'] / a['processor']:.2f})   "
            f"wall {1e3 * a['wall']:.2f} -> {1e3 * b['wall']:.2f}, "
            f"bare all-reduces {1e3 * b['bare']:.2f}   "
            f"peak {a['peak'] / 1e6:.1f} -> {b['peak'] / 1e6:.1f} "
            f"({b['peak'] / a['peak']:.2f})   "
            f"sent {b['bytes'] / 1e3:.1f} in {b['calls']:.1f} calls"
        )


if __name__ == "__main__":
    main()
