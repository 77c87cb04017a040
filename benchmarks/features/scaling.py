"""Measure the rows needed against the number of columns, with and without pruning.

    python -m benchmarks.features.scaling                          # everything; takes hours
    python -m benchmarks.features.scaling --links he2 --columns 100 400
    python -m benchmarks.features.scaling --save docs/measured/features_scaling.json

Planted single-index problems have M = 8 of d Gaussian columns and noise of a fifth of the standard
deviation of y.  "Rows needed" is the smallest n on a grid of ratio sqrt 2 with R^2 > .9 on 2000
test rows without noise in 3 of 4 seeds.  Slopes are those of log n against log d, by least squares.
`--save` replaces the measured cells of the file and leaves the others; docs/figures.py draws them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateurs.core.atomic_write import write_atomically
from secateurs.features.baselines import one_large_step, spectral
from secateurs.features.planted import MultiIndexProblem, planted_multi_index
from secateurs.features.pruned_network import pruned_network
from secateurs.features.solver import multi_index

M = 8
SEEDS, ENOUGH = 4, 3
SOLVED = 0.9
COLUMNS = (100, 400, 1600, 6400)
LEAST, STEPS = 64, 26  # the grid is 64 sqrt(2)^i for i = 0, 1, ..., 25
MOST_NUMBERS = 1 << 27  # largest n d of a problem

Fit = Callable[[MultiIndexProblem, int, int], Any]
METHODS: dict[str, Fit] = {
    "multi_index": lambda p, _, seed: multi_index(p.X, p.y, random_state=seed),
    "k and M given": lambda p, k, seed: pruned_network(p.X, p.y, k, M, random_state=seed),
    "one large step": lambda p, k, seed: one_large_step(p.X, p.y, k, random_state=seed),
    "spectral": lambda p, _, seed: spectral(p.X, p.y, random_state=seed),
}
GUESS = {"multi_index": 2, "k and M given": 4, "one large step": 8, "spectral": 8}
GROWTH = {"one large step": 2.0, "spectral": 1.0}  # guessed slopes, only to start the search
LIMITS = {"one large step": {1: 1600, 2: 400, 3: 0}, "spectral": {1: 400, 2: 400, 3: 0}}


def rows(step: int) -> int:
    """Return the number of rows at a place of the grid."""
    return round(LEAST * 2 ** (step / 2))


def solved(method: str, k: int, d: int, n: int, first: int) -> bool:
    """Return whether R^2 > .9 in 3 of 4 seeds; stop as soon as that is decided."""
    good = bad = 0
    for seed in range(first, first + SEEDS):
        p = planted_multi_index(n, d, 1, f"he{k}", sparsity=M, noise=0.2, random_state=seed)
        error = METHODS[method](p, k, seed).value.predict(p.X_test) - p.y_test
        if 1.0 - float(np.mean(error**2)) / float(p.y_test.var()) > SOLVED:
            good += 1
        else:
            bad += 1
        if good >= ENOUGH or bad > SEEDS - ENOUGH:
            break
    return good >= ENOUGH


def rows_needed(method: str, k: int, d: int, guess: int, first: int = 0) -> int | None:
    """Search the smallest n on the grid from place `guess`; None if it is beyond the end."""
    step = guess
    if solved(method, k, d, rows(step), first):
        while step > 0 and solved(method, k, d, rows(step - 1), first):
            step -= 1
        return rows(step)
    while True:
        step += 1
        if step >= STEPS or rows(step) * d > MOST_NUMBERS:
            return None
        if solved(method, k, d, rows(step), first):
            return rows(step)


def slope(columns: list[int], needed: list[int]) -> float:
    """Return the slope of log n against log d."""
    return float(np.polyfit(np.log(columns), np.log(needed), 1)[0])


def measure(
    links: list[str], columns: list[int], methods: list[str], first: int = 0
) -> dict[tuple[str, str], dict[int, int]]:
    """Return the rows needed by link, method and number of columns; print each at once."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    for link in links:
        k = int(link[2])
        for method in methods:
            place, before = GUESS[method] + 2 * k, 0
            cells = found.setdefault((link, method), {})
            for d in columns:
                if d > LIMITS.get(method, {}).get(k, d):
                    continue
                if before:
                    place += round(GROWTH.get(method, 0.0) * k * np.log2(d / before))
                began = time.process_time()
                n = rows_needed(method, k, d, place, first)
                spent = time.process_time() - began
                shown = f"{n:7d}" if n else f"above {MOST_NUMBERS // d}"
                print(f"{link} {method:20} d={d:<5} n* = {shown}   {spent:6.1f} s", flush=True)
                if n is None:
                    break
                cells[d], before = n, d
                place = round(2 * np.log2(n / LEAST))
            if len(cells) > 1:
                known = sorted(cells)
                growth = cells[known[-1]] / cells[known[0]]
                print(
                    f"{link} {method:20} slope {slope(known, [cells[d] for d in known]):.2f}, "
                    f"n*({known[-1]}) / n*({known[0]}) = {growth:.2f}",
                    flush=True,
                )
        _ratios(found, link)
    return found


def save(found: dict[tuple[str, str], dict[int, int]], path: Path) -> None:
    """Add the measurements to a JSON file {link: {method: {d: n}}}."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    for (link, method), cells in found.items():
        row = known.setdefault(link, {}).setdefault(method, {})
        row.update({str(d): n for d, n in cells.items()})
        known[link][method] = dict(sorted(row.items(), key=lambda item: int(item[0])))
    write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())


def _ratios(found: dict[tuple[str, str], dict[int, int]], link: str) -> None:
    ours = found.get((link, "multi_index"), {})
    for (other, method), cells in found.items():
        common = [d for d in cells if d in ours]
        if other == link and method != "multi_index" and common:
            d = max(common)
            print(f"{link} d={d}: {method} needs {cells[d] / ours[d]:.1f} times the rows")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--links", nargs="+", default=["he1", "he2", "he3"])
    parser.add_argument("--columns", nargs="+", type=int, default=list(COLUMNS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--save", type=Path, help="JSON file to add the measurements to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.links, arguments.columns, arguments.methods, arguments.first)
    if arguments.save is not None:
        save(found, arguments.save)
