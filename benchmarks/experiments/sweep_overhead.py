"""Measure the overhead of a sweep, and the gain from a second worker.

    python -m benchmarks.experiments.sweep_overhead               # overhead of a cell; two workers
    python -m benchmarks.experiments.sweep_overhead --cells 100000   # memory of a large sweep
    python -m benchmarks.experiments.sweep_overhead --dask        # a cell on a local Dask cluster

The overhead is the wall time of cells that compute nothing, with the start of the workers but not
of the server that forks them.  The floor is the same function called in a loop, and pebble alone.
Two workers are compared with one on cells that need a processor and on cells that only wait.  The
first shows how much of the machine is free, the second the most that the engine allows.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pebble import ProcessPool

from secateurs.core.certificate import Certificate, Check
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.registry import Result
from secateurs.experiments.sweeps.run import run_cells

BUSY, IDLE = 0.1, 0.1  # seconds of a cell
WARM = 200  # cells before the clock starts, so that the server has its imports
CHECKS, LETTERS = 10, 130  # of a certificate with the length of a planted network's: 2.5 kB


def trivial(cell: Mapping[str, Any]) -> Result:
    return Result({"i": float(cell["i"])})


def certified(cell: Mapping[str, Any]) -> Result:
    i = cell["i"]
    checks = (
        Check(f"check {k}", f"{i / 7 + k} {'x' * LETTERS}", "holds", i / 7 + k, 0.5, "benchmark")
        for k in range(CHECKS)
    )
    return Result({"i": float(i)}, Certificate(tuple(checks)))


def busy(cell: Mapping[str, Any]) -> Result:
    until = time.thread_time() + BUSY
    while time.thread_time() < until:
        pass
    return trivial(cell)


def idle(cell: Mapping[str, Any]) -> Result:
    time.sleep(IDLE)
    return trivial(cell)


def cells(n: int, first: int = 0) -> Iterator[dict[str, Any]]:
    return ({"i": i} for i in range(first, first + n))


def timed(
    function: Callable[[Mapping[str, Any]], Result],
    n: int,
    workers: int,
    scheduler: str | None = None,
) -> tuple[float, float]:
    """Return wall and processor seconds (of this process) of n cells, after a warm-up."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l.sqlite") as ledger:
        run_cells(cells(WARM, n), trivial, ledger, workers=workers, scheduler=scheduler)
        wall, cpu = time.perf_counter(), time.process_time()
        counts = run_cells(cells(n), function, ledger, workers=workers, scheduler=scheduler)
        assert counts.done == n, counts
        return time.perf_counter() - wall, time.process_time() - cpu


def memory(n: int) -> None:
    """Print the peak resident memory of this process for sweeps up to n certified cells."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l.sqlite") as ledger:
        for part in (n // 100, n // 10, n // 2, n):
            start, cpu = time.perf_counter(), time.process_time()
            counts = run_cells(cells(part), certified, ledger, workers=2)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            new = counts.done - counts.earlier
            print(
                f"{counts.done:>8} cells: peak {peak:.0f} MiB, "
                f"{1000 * (time.perf_counter() - start) / new:.2f} ms wall and "
                f"{1000 * (time.process_time() - cpu) / new:.2f} ms processor of the parent a cell",
                flush=True,
            )
        size = sum(path.stat().st_size for path in Path(folder).glob("l.sqlite*"))
        print(f"ledger {size / n:.0f} bytes a cell")
        start = time.perf_counter()
        with Ledger(Path(folder) / "l.sqlite"):
            print(f"opened, every checksum read, in {time.perf_counter() - start:.2f} s")


def dask(n: int) -> None:
    """Measure two workers of a local cluster, and Dask alone: all cells at once, no ledger."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        wall, _ = timed(trivial, n, 1, cluster.scheduler_address)
        with Client(cluster.scheduler_address) as client:
            start = time.perf_counter()
            client.gather(client.map(trivial, list(cells(n)), pure=False))
            alone = time.perf_counter() - start
    print(f"Dask alone {1000 * alone / n:.2f} ms wall a cell; ours {1000 * wall / n:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, help="memory of a sweep of so many cells instead")
    parser.add_argument("--trivial", type=int, default=3000)
    parser.add_argument("--timed", type=int, default=60, help="cells that take a tenth of a second")
    parser.add_argument("--dask", action="store_true", help="a Dask cluster here instead")
    args = parser.parse_args()
    if args.dask:
        dask(args.trivial)
        return
    if args.cells:
        memory(args.cells)
        return
    n = args.trivial
    start = time.perf_counter()
    for cell in cells(n):
        trivial(cell)
    bare = time.perf_counter() - start
    with ProcessPool(2, context=get_context("spawn")) as pool:  # leaves the server to the sweep
        list(pool.map(trivial, cells(WARM)).result())
        start = time.perf_counter()
        list(pool.map(trivial, cells(n)).result())
        pebble = time.perf_counter() - start
    print(f"a call {1000 * bare / n:.4f} ms; pebble alone {1000 * pebble / n:.3f} ms")
    for workers in (1, 2):
        for name, function in (("bare", trivial), ("with a certificate", certified)):
            wall, cpu = timed(function, n, workers)
            print(
                f"{workers} worker(s), cells {name}: {1000 * wall / n:.3f} ms wall a cell, of it "
                f"{1000 * cpu / n:.3f} ms of the parent's processor",
                flush=True,
            )
    for name, function in (("wait", idle), ("compute", busy)):
        one, two = (timed(function, args.timed, workers)[0] for workers in (1, 2))
        print(f"cells that {name}: two workers {one / two:.2f} times one", flush=True)


if __name__ == "__main__":
    main()
