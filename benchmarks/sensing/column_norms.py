"""Column norms of an over-parameterised model of the paper's size, with the penalty and without.

    python -m benchmarks.sensing.column_norms --out docs/measured/sensing_norms.json
    python docs/figures.py sensing_column_norms

d = k = 500 and r = 4.  Both models start from the same small random columns and run gradient
descent on the loss ||U U^T - M||_F^2, which is the mean of the sampled loss over infinitely many
Gaussian measurements.  lambda and beta follow from M by the rule of the group lasso path: tau is
`--tau` times the smallest nonzero eigenvalue, beta = .4 tau, and lambda = 2 tau sqrt(beta).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from secateurs.core.atomic_write import write_atomically
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.sensing.factored import penalty, slope, squares

Array = NDArray[np.float64]

BETA = 0.4  # beta over tau, as in the path
STEP = 0.125  # over the largest eigenvalue of M
FIRST_NORM = 0.5  # of the columns at the start
COMPARABLE = 0.3  # share of the largest norm


@dataclass(frozen=True)
class Trained:
    """The columns [k, d] where gradient descent ended, and whether the gradient was flat there."""

    U: Array
    n_steps: int
    flat: bool


def descend(
    M: Array, U: Array, *, strength: float, beta: float, n_steps: int, tolerance: float
) -> Trained:
    """Run gradient descent on ||U U^T - M||_F^2 + strength R_beta(U) from U [k, d].

    It ends when the norm of the gradient is at most `tolerance` times that of the gradient at
    columns of the size of the solution.  A step costs 4 k d^2 flops.
    """
    top = float(np.linalg.eigvalsh(M)[-1])
    step, flat = STEP / top, tolerance * 4 * float(np.linalg.norm(M)) ** 1.5
    for done in range(n_steps):
        gradient = 4 * U @ (U.T @ U - M)
        if strength:
            gradient += strength * slope(squares(U), beta)[:, None] * U
        if np.linalg.norm(gradient) <= flat:
            return Trained(U, done, True)
        U = U - step * gradient
    return Trained(U, n_steps, False)


def loss(M: Array, U: Array) -> float:
    """||U U^T - M||_F^2 over ||M||_F^2."""
    return float(np.linalg.norm(U.T @ U - M) ** 2 / np.linalg.norm(M) ** 2)


def norms_figure(measured: dict[str, Any]) -> Figure:
    """Draw the share of columns above a share of the largest norm, and a histogram of the norms."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    shares, histogram = figure.subplots(1, 2)
    for name, label, colour in (
        ("penalised", "with group lasso", OURS),
        ("plain", "without", OTHERS),
    ):
        norms = np.array(measured[name]["norms"])
        relative = norms / norms.max()
        x = np.linspace(0, 1, 201)
        above = [100 * float((relative >= least).mean()) for least in x]
        shares.plot(x, above, color=colour, label=label)
        kept = measured[name]["comparable"]
        histogram.hist(
            relative, bins=np.linspace(0, 1, 41), color=colour, alpha=0.7,
            label=f"{label}: {kept} above {COMPARABLE:g}",
        )  # fmt: skip
    shares.set_xlabel("x")
    shares.set_ylabel("columns above x times the largest, %")
    histogram.set_xlabel("norm over the largest norm")
    histogram.set_ylabel("columns")
    histogram.set_yscale("log")
    histogram.set_yticks([1, 10, 100], ["1", "10", "100"])
    for axis in (shares, histogram):
        axis.grid(color=SOFT)
        axis.legend(fontsize=8)
    shares.set_title("d = {d}, {k} columns, true rank {r}".format(**measured), fontsize=10)
    return figure


def measure(
    d: int, k: int, r: int, *, share: float, seed: int, n_steps: int, tolerance: float
) -> dict[str, Any]:
    """Train both models and return their norms and losses."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((r, d))
    truth /= np.linalg.norm(truth, axis=1)[:, None]
    M = truth.T @ truth
    tau = share * float(np.linalg.eigvalsh(M)[-r])
    beta = BETA * tau
    strength = 2 * tau * float(np.sqrt(beta))
    threshold = 2 * float(np.sqrt(beta))
    start = rng.standard_normal((k, d)) * FIRST_NORM / np.sqrt(d)
    found: dict[str, Any] = {"d": d, "k": k, "r": r, "seed": seed, "threshold": threshold}
    found |= {"strength": strength, "beta": beta}
    for name, weight in (("penalised", strength), ("plain", 0.0)):
        trained = descend(
            M, start, strength=weight, beta=beta, n_steps=n_steps, tolerance=tolerance
        )
        norms = np.sqrt(squares(trained.U))
        order = np.argsort(-norms, kind="stable")
        found[name] = {
            "norms": norms[order].tolist(),
            "n_steps": trained.n_steps,
            "converged": trained.flat,
            "loss": loss(M, trained.U),
            "penalty": penalty(squares(trained.U), beta),
            "comparable": int((norms > COMPARABLE * norms.max()).sum()),
            "above_threshold": int((norms >= threshold).sum()),
            "loss_of_largest": loss(M, trained.U[order[:r]]),
        }
        print(
            f"{name}: {trained.n_steps} steps, flat {trained.flat}, loss {loss(M, trained.U):.2e}, "
            f"{found[name]['comparable']} of {k} columns above .3 of the largest, loss of the "
            f"{r} largest {found[name]['loss_of_largest']:.3f}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=500)
    parser.add_argument("--k", type=int, default=500)
    parser.add_argument("--r", type=int, default=4)
    parser.add_argument("--tau", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    result = measure(
        a.d, a.k, a.r, share=a.tau, seed=a.seed, n_steps=a.steps, tolerance=a.tolerance
    )
    if a.out is not None:
        write_atomically(a.out, json.dumps(result).encode())
