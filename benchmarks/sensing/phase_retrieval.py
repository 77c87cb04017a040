"""Phase retrieval near the limit: the path beside reweighted amplitude flow (RAF), one thread.

    python -m benchmarks.sensing.phase_retrieval                      # d = 200, ten problems each
    python -m benchmarks.sensing.phase_retrieval --d 1000 --seeds 10

The path gets neither the rank nor the absence of noise, and its time includes the search for
another matrix.  RAF runs at most 1000 steps, as in its paper, and stops once the moduli are right
to 1e-6.  Solved: relative error of the matrix below 1e-5.  Times are processor seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sensing.amplitude_flow import amplitude_flow
from secateurs.sensing.planted import phase_retrieval
from secateurs.sensing.regularisation_path import group_lasso_path

SOLVED = 1e-5


def timed(f: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = f()
    return found, time.process_time() - start


def compare(d: int, ratio: float, seeds: int, first: int) -> None:
    solved = exact = wrong = peer = 0
    ours, theirs = [], []
    for seed in range(first, first + seeds):
        p = phase_retrieval(int(ratio * d), d, random_state=seed)
        fit, spent = timed(lambda: group_lasso_path(p.operator, p.y))
        ours.append(spent)
        right = p.error(fit.value.components) < SOLVED
        solved += right
        exact += fit.status == "exact"
        wrong += fit.status == "exact" and not right
        X, psi = np.asarray(p.operator.operator.rows.data), np.sqrt(p.y)
        u, spent = timed(lambda: amplitude_flow(X, psi))
        theirs.append(spent)
        peer += p.error(u[None]) < SOLVED
    print(
        f"d={d}, n={ratio:g} d: path solved {solved}/{seeds}, exact {exact}, exact and wrong "
        f"{wrong}, median {np.median(ours):.4f} s; RAF solved {peer}/{seeds}, median "
        f"{np.median(theirs):.4f} s; time of the path over RAF: median "
        f"{np.median(ours) / np.median(theirs):.2f}, total {sum(ours) / sum(theirs):.2f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=200)
    parser.add_argument("--ratios", nargs="+", type=float, default=[1.4, 1.7, 1.9, 2.0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=6_000_000)
    a = parser.parse_args()
    compare(min(a.d, 50), 3.0, 1, 0)  # the libraries are loaded before anything is timed
    for ratio in a.ratios:
        compare(a.d, ratio, a.seeds, a.first)
