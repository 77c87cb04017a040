"""Measure the page of a large sweep with and without certificates: its size, and time to open.

    python -m benchmarks.experiments.report_page                  # 100 000 cells
    python -m benchmarks.experiments.report_page --cells 10000

The cells are planted networks with the certificates of real fits.  The fractions in them are drawn
again for every cell, so that no two are equal.  The floor is the same run without certificates.
Headless Chromium opens each page three times and the median wall time is printed; without Chromium
this is left out.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from secateurs.experiments.report import write_report
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.folder import LEDGER, open_run
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.registry import evaluate
from secateurs.experiments.sweeps.settings import Sweep

SWEEP = """
problem = "planted_relu"
seeds = {seeds}
metrics = ["exact", "psnr"]
[settings]
d = 20
m = 3
[grid]
n = [20, 40, 60, 80, 160]
s = [3, 4, 6, 10]
[methods.pursuit]
"""
POINTS, BATCH, OPENED = 20, 1000, 3
FRACTION = re.compile(r"\d+\.\d+")


def records(sweep: Sweep) -> Iterator[tuple[dict[str, Any], Record]]:
    """Yield the fits of the first seed, repeated for every seed with other fractions."""
    drawn = random.Random(0)
    fits: list[Record] = []
    for k, cell in enumerate(sweep.cells()):
        if k < POINTS:
            found = evaluate(sweep.family, cell)
            assert found.certificate is not None
            checks = found.certificate.to_list()
            fits.append(Record("", "done", dict(found.metrics), certificate=checks))
        yield cell, moved(replace(fits[k % POINTS], key=key_of(cell)), drawn)


def moved(record: Record, drawn: random.Random) -> Record:
    def another(number: re.Match[str]) -> str:
        return f"{drawn.random():.{len(number[0]) - 2}f}"

    checks = [
        check
        | {
            "statement": FRACTION.sub(another, check["statement"]),
            "measured": check["measured"] and check["measured"] * drawn.random(),
        }
        for check in record.certificate or ()
    ]
    metrics = {name: value and value * drawn.random() for name, value in record.metrics.items()}
    return replace(record, metrics=metrics, certificate=checks)


def opened(page: Path) -> float | None:
    """Return the median seconds until the page is ready; None without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        for _ in range(OPENED):
            tab = browser.new_page()
            began = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready=yes]", timeout=60_000)
            seconds.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    args = parser.parse_args()
    sweep = parse_sweep(SWEEP.format(seeds=max(1, args.cells // POINTS)))
    for certified in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            run, page = Path(folder) / "large.run", Path(folder) / "report.html"
            with open_run(run, {"sweep.toml": sweep.text}, resume=False) as (ledger, _):
                source = records(sweep)
                while batch := list(islice(source, BATCH)):
                    ledger.add(
                        (cell, record if certified else replace(record, certificate=None))
                        for cell, record in batch
                    )
            began = time.process_time()
            n_bytes = write_report(run, page)
            cpu = time.process_time() - began
            ready = opened(page)
            print(
                f"{sweep.n_cells} cells {'with' if certified else 'without'} certificates: ledger "
                f"{(run / LEDGER).stat().st_size / sweep.n_cells:.0f} bytes a cell; page "
                f"{n_bytes / 1e6:.1f} MB, written in {cpu:.1f} s of processor time"
                + ("" if ready is None else f", open after {ready:.2f} s"),
                flush=True,
            )


if __name__ == "__main__":
    main()
