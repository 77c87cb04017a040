"""The rounds of the sign-free pursuit on a sample of the rows.

beta <- least squares,  U <- {}
repeat until ||r|| < 1e-12 ||y||, or 8 rounds without progress:
    add the directions u with a large <r, |X u|>, and absent entries of the neurons     (1)
    Levenberg-Marquardt on (beta, U)                                                    (2)
    merge parallel neurons;  drop insignificant entries;  keep at most 1.5 s + 20       (3)
    without progress: join pairs of neurons, split those whose boundary has the error   (4)

The number of rounds without progress decides how strict (1) and (3) are.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from secateurs.core.driver import Iterations
from secateurs.recovery.pursuit import moves
from secateurs.recovery.pursuit.candidates import best_gain, candidates
from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    entry_gradient,
    evaluate,
    levenberg_marquardt,
)
from secateurs.recovery.pursuit.relu_rows import HeldRows, NeuronSum, linear_only

SOLVED = 1e-12  # relative residual at which the search ends
CLOSE = 5e-3  # relative residual below which entries must be significant to stay
LOOSE = 1.5  # standard errors of an entry that stays while the fit is not close
ADDED = 2.0  # standard errors of an entry that is added, at least
MAX_STALLS = 8  # rounds without progress
PROGRESS = 0.8  # factor by which a round with progress lowers the residual
NEW_NEURONS, NEW_AT_STALL = 0.25, 0.1  # most new neurons of a round, as a share of m
STRICTNESS = (1.0, 0.75, 0.5)  # factors of the threshold of a sparse linear part, in turn
DENSE_ROWS = 2.5  # rows for each of the s + d unknowns from which the linear part is dense
SPLIT_BELOW = 0.05  # relative residual below which neurons are split
LEAST_MERGED, MOST_MERGED = 1e-9, 5e-3  # bounds of 1 - |cos| of neurons that are merged
NOISE_ROWS = 8  # rows for each of the s + d unknowns from which a residual may be called noise
SIGNIFICANT = 5.0  # standard errors that noise does not reach among thousands of entries

Ended = Literal["solved", "stalled", "budget"]


class Search:
    """The best sum of neurons so far on the rows of the search."""

    def __init__(self, rows: HeldRows, n_nonzero: int) -> None:
        self.n_nonzero = n_nonzero
        self.restarts = -1
        self.restart(rows)

    def restart(self, rows: HeldRows) -> None:
        """Start again without neurons on other rows."""
        # with few rows beta is sparse: inputs of neurons, and those correlated with the residual
        self.sparse_linear = rows.n < DENSE_ROWS * (self.n_nonzero + rows.d)
        first = rows.d if self.sparse_linear else 0
        self.rows = rows
        self.net = linear_only(np.arange(first, rows.width, dtype=np.intp))
        self.fit = evaluate(rows, self.net)
        self.restarts += 1

    @property
    def relative(self) -> float:
        """||r|| / ||y||."""
        return self.fit.norm / self.rows.scale

    def leaves_noise(self) -> bool:
        """Return whether the residual looks like noise."""
        return looks_like_noise(self.rows, self.net, self.fit, self.n_nonzero)

    def offer(self, net: NeuronSum, fit: Fit) -> None:
        """Keep a sum that fits better."""
        if fit.norm < self.fit.norm:
            self.net, self.fit = net, fit


def pursue(
    best: Search, run: Iterations, n_nonzero: int, n_neurons: int, rng: np.random.Generator
) -> Ended:
    """Run rounds until the rows are fitted, progress stops or no round is left.

    `n_nonzero` and `n_neurons` are the expected size of the planted network.  The search may use
    more on its way.
    """
    rows, stall = best.rows, 0
    net, fit = levenberg_marquardt(rows, best.net, 2)
    best.offer(net, fit)
    if best.relative < SOLVED:
        return "solved"
    if rows.d == 0:
        return "stalled"
    cap = int(min(1.5 * n_nonzero + 20, rows.n / 3))
    for _ in run:
        record = best.fit.norm
        net, fit = _round(best, net, fit, stall, cap, n_nonzero, n_neurons)
        stall = 0 if fit.norm < PROGRESS * record else stall + 1
        best.offer(net, fit)
        if stall:
            net, fit = _leave_stall(best, net, fit, stall, cap, rng)  # (4)
        run.history.record(round=run.step, residual=best.relative, n_nonzero=best.net.nnz)
        run.report(best.relative, best.net.nnz)
        if best.relative < SOLVED:
            return "solved"
        if stall >= (2 if best.sparse_linear else 1) * MAX_STALLS:
            return "stalled"
    return "budget"


def _round(
    best: Search, net: NeuronSum, fit: Fit, stall: int, cap: int, s: int, m: int
) -> tuple[NeuronSum, Fit]:
    """Add neurons and entries, fit, and prune: (1) to (3)."""
    rows = best.rows
    z = _standard_errors(best, fit.norm / rows.scale, stall)
    q_max = min(rows.d, max(2, 3 * s // m + 3))
    n_most = max(1, int((NEW_AT_STALL if stall else NEW_NEURONS) * m))
    net = moves.add_neurons(net, candidates(rows, net.linear, fit.residual, q_max, n_most))
    net = moves.add_entries(rows, net, evaluate(rows, net), max(z, ADDED), max(2, s // 5))
    if best.sparse_linear:
        net = moves.add_linear(rows, net, fit, max(2, s // 3))
    net, fit = levenberg_marquardt(rows, moves.raise_centres(rows, net), 6)
    alike = float(np.clip(fit.norm / rows.scale, LEAST_MERGED, MOST_MERGED))
    net = moves.merge_neurons(net, rows.d, alike)
    fit = evaluate(rows, net)
    if z > 0.0:
        net, fit = moves.t_test_prune(rows, net, fit, z)
    if best.sparse_linear:
        net = moves.prune_linear(rows, net, fit, z, rows.n // 4)
    return levenberg_marquardt(rows, moves.prune_to(rows, net, cap), 3)


def _standard_errors(best: Search, relative: float, stall: int) -> float:
    """Return the number of standard errors that an entry must differ from zero by."""
    z = moves.FIRM if relative < CLOSE else LOOSE
    if stall >= 2:  # weak weights may be missing: keep all of them, or more of them
        z = 0.0 if relative > CLOSE else (moves.FIRM, LOOSE)[stall % 2]
    if best.sparse_linear:  # few rows for many coordinates: chance would add too many
        chance = float(np.sqrt(2.0 * np.log(1.0 + best.rows.width)))
        z = max(z, STRICTNESS[stall % len(STRICTNESS)] * chance)
    return z


def _leave_stall(
    best: Search, net: NeuronSum, fit: Fit, stall: int, cap: int, rng: np.random.Generator
) -> tuple[NeuronSum, Fit]:
    """Join pairs of neurons, and after two rounds without progress also split some."""
    rows = best.rows
    net, fit = moves.join_neurons(rows, net, fit)
    best.offer(net, fit)
    if stall >= 2 and SOLVED < fit.norm / rows.scale < SPLIT_BELOW:
        split, split_fit = moves.split_neurons(rows, net, fit, rng)
        if split_fit.norm < fit.norm:
            net, fit = moves.t_test_prune(rows, split, split_fit, moves.FIRM)
            net, fit = levenberg_marquardt(rows, moves.prune_to(rows, net, cap), 4)
            best.offer(net, fit)
    return net, fit


def looks_like_noise(rows: HeldRows, net: NeuronSum, fit: Fit, n_nonzero: int) -> bool:
    """Return whether the residual shows nothing that noise would not show.

    That is so if no entry of a neuron and no direction that `candidates` finds correlates with the
    residual by `SIGNIFICANT` standard errors, and no hundredth of the rows carries a third of it.
    Fewer than `NOISE_ROWS` rows for each unknown are not enough to decide.
    """
    square = np.sort(fit.residual**2)
    concentrated = square[-max(1, rows.n // 100) :].sum() > square.sum() / 3
    if concentrated or rows.n < NOISE_ROWS * (n_nonzero + rows.d):
        return False
    G = entry_gradient(rows, net, fit)
    linear = np.arange(rows.width, dtype=np.intp)
    entries = float(np.abs(G).max(initial=0.0)) / (fit.norm or 1.0)
    return max(entries, best_gain(rows, linear, fit.residual)) <= SIGNIFICANT
