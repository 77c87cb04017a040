"""The group lasso path beside its peers, and in three applications.

    python -m benchmarks.sensing.peers --part peers   # d = 50, r = 3, n = 450, sigma = .1 sigma_r^2
    python -m benchmarks.sensing.peers --part uses    # phase retrieval, completion, tomography

Nuclear norm gets the mu of smallest true error, ScaledGD the true rank.  Processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sensing.nuclear_norm import nuclear_norm
from benchmarks.sensing.unregularised import norm_pruning, overparameterised_gd
from secateurs.sensing.baselines import (
    compare_column_norms,
    scaled_gd,
)
from secateurs.sensing.planted import (
    SensingProblem,
    fidelity,
    matrix_completion,
    pauli_tomography,
    phase_retrieval,
    planted_sensing,
)
from secateurs.sensing.regularisation_path import group_lasso_path


def run(name: str, p: SensingProblem, f: Callable[[], Any]) -> Any:
    start = time.process_time()
    found = f()
    spent = time.process_time() - start
    sizes = np.linalg.norm(found.value.components, axis=1) ** 2
    error = p.error(found.value.components, found.value.signs)
    print(
        f"{name}: rank {int(np.sum(sizes > 1e-3 * sizes.max()))}, error {error:.4f}, "
        f"{found.status}, "
        f"{found.measured['calls']:.0f} calls, {spent:.3f} s",
        flush=True,
    )
    return found


def peers(seeds: int) -> None:
    for seed in range(seeds):
        p = planted_sensing(450, 50, 3, noise_ratio=0.1 * np.sqrt(2 * 50 / 450), random_state=seed)
        print(f"seed {seed}, sigma {p.sigma:.3f}, true rank 3")
        fit = run("path", p, lambda: group_lasso_path(p.operator, p.y))
        unit = fit.measured["noise_floor"]
        mus = [m * unit for m in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)]
        mu = min(mus, key=lambda m: p.error(nuclear_norm(p.operator, p.y, m).value.components))
        run("nuclear norm, oracle mu", p, lambda: nuclear_norm(p.operator, p.y, mu))
        run("ScaledGD, true rank", p, lambda: scaled_gd(p.operator, p.y, 3))
        small = {"init_scale": 1e-3, "n_steps": 300}
        run("GD from 1e-3", p, lambda: overparameterised_gd(p.operator, p.y, **small))
        run("largest 3 columns, fine-tuned", p, lambda: norm_pruning(p.operator, p.y, 3))
        norms = compare_column_norms(
            p.operator, p.y, strength=fit.measured["strength"], beta=fit.measured["beta"]
        )
        print(
            f"without the regulariser {norms.n_comparable} of 50 columns are above .3 of the "
            f"largest and greedy pruning leaves {norms.pruned_plain:.2f} of the mean square; "
            f"with it {norms.n_kept} columns stay and {norms.pruned_penalised:.3f}"
        )


def uses(seeds: int) -> None:
    ok, error = 0, 0.0
    for seed in range(seeds):
        p = phase_retrieval(500, 200, random_state=seed)
        e = p.error(group_lasso_path(p.operator, p.y).value.components)
        ok, error = ok + (e < 1e-6), max(error, e)
    print(f"phase retrieval d=200, n/d=2.5: {ok}/{seeds}, largest error {error:.1e}", flush=True)
    for noise in (0.0, 0.1):
        for r in (2, 5, 10):
            ok = 0
            for seed in range(seeds // 2):
                p = matrix_completion(4 * r * 100, 100, r, noise=noise, random_state=seed)
                ok += len(group_lasso_path(p.operator, p.y).value.components) == r
            print(
                f"completion d=100, r={r}, n/(rd)=4, noise {noise:g}: rank {ok}/{seeds // 2}",
                flush=True,
            )
    for r in (1, 2, 3):
        ok, worst = 0, 1.0
        for seed in range(seeds // 2):
            p = pauli_tomography(8 * r * 64, 6, r, shots=2000, random_state=seed)
            found = group_lasso_path(p.operator, p.y).value.components
            ok += len(found) == r
            worst = min(worst, fidelity(found, p.components))
        print(
            f"tomography of 6 qubits, r={r}, 8rd strings of 2000 shots: rank {ok}/{seeds // 2}, "
            f"smallest fidelity {worst:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("peers", "uses", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=12)
    a = parser.parse_args()
    if a.part != "uses":
        peers(min(a.seeds, 3))
    if a.part != "peers":
        uses(a.seeds)
