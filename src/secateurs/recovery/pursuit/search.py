"""Exact recovery of sparse ReLU networks: sign-free pursuit, then signs, then a ReLU polish.

    y = sum_j relu(w_j.x) = x.beta + sum_j |x.u_j|,   u = w / 2, beta = sum_j sigma_j u_j     (1)

    repeat on 10 (s + d) rows, then on four times as many, and so on; where there are not so many
    rows, on all of them, then three times on 90 % of them:
        rounds of the sign-free pursuit for the u_j and beta
        drop entries while the fit stays as good
        if this fits or looks like noise, or no rows are left:
            signs sigma_j by linear algebra,  W <- from (1),  polish W on all rows

The search for the u_j alone has no local minima with wrong signs.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from secateurs.core.driver import Iterations
from secateurs.core.interrupt import uninterrupted
from secateurs.core.parameters import check_integer
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import ProgressCallback, Solution, Status
from secateurs.recovery.pursuit.columns import UsefulColumns, check_data, useful_columns
from secateurs.recovery.pursuit.levenberg_marquardt import evaluate
from secateurs.recovery.pursuit.moves import shrink
from secateurs.recovery.pursuit.polish import EXACT, polish
from secateurs.recovery.pursuit.relu_rows import FloatArray, HeldRows, NeuronSum
from secateurs.recovery.pursuit.rounds import Ended, Search, looks_like_noise, pursue
from secateurs.recovery.uniqueness import doubt
from secateurs.sparse.stack import ReLUStack

TRUSTED = 1e-6  # relative residual of a search that had enough rows
ROUNDING = 1e-15  # weight that rounding explains, relative to the largest
ROWS_PER_UNKNOWN = 10  # rows of the first search, for each of the s + d unknowns
MORE_ROWS = 4  # factor by which each next search has more rows
OTHER_SEARCHES, MOST_ROWS = 3, 0.9  # further searches on few rows, and the share of them


@dataclass(frozen=True, eq=False)
class ReLUFit:
    """The function intercept + sum_j relu(w_j . x).

    Parameters
    ----------
    weights : CSR array [m, d]
        Neurons with weights first, empty rows after them.
    intercept : float
        The constant that is added; 0 if none was fitted.
    """

    __repr__ = short_repr

    weights: sparse.csr_array[np.float64]
    intercept: float

    def predict(self, X: FloatArray) -> FloatArray:
        """Compute the outputs on rows; O(n nnz).

        Parameters
        ----------
        X : array [n, d]
            Rows with the inputs of the network.

        Returns
        -------
        array [n]
            The outputs in float64.
        """
        outputs = ReLUStack((self.weights,), fused=True).predict(X)
        return np.asarray(self.intercept + outputs, dtype=np.float64)


def relu_pursuit(
    X: ArrayLike,
    y: ArrayLike,
    n_nonzero: int,
    n_neurons: int | None = None,
    *,
    fit_intercept: bool = False,
    max_rounds: int = 100,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUFit]:
    """Find the sparse ReLU network behind data, exactly where there is one.

    Parameters
    ----------
    X : array [n, d]
        Rows of finite numbers; they are used as float64.
    y : array [n]
        The outputs to explain.
    n_nonzero : int
        The budget s: the most weights; the intercept is not counted.
    n_neurons : int, optional
        The most neurons m; s by default.  A smaller m makes the search expect larger neurons.
    fit_intercept : bool
        Add one constant to the output.  For a bias in every neuron append a column of ones
        to `X` instead.
    max_rounds : int
        Rounds of the search, over all its restarts.
    random_state : int
        Random seed; chooses the rows of the search and how neurons are split.
    progress : callable, optional
        Called with a `Progress` after every round: rounds, relative residual, weights.

    Returns
    -------
    Solution of ReLUFit
        It always has at most s weights in at most m rows.  Its status:

        - "exact": ||y - f(X)|| < 1e-10 ||y|| over all rows, and the rows exclude every other
          network that `uniqueness.doubt` examines.  This does not prove that there is none.
        - "converged": ||y - f(X)|| < 1e-10 ||y||, but another network may fit as well, for the
          reason in ``measured["doubt"]``.  Or the residual looks like noise: no entry of a neuron
          and no direction tried correlates with it by more than 5 standard errors, and no few rows
          carry it.  This is decided from 8 (s + d) rows on.
        - "stalled": structure is left that the search, or the budget, could not use, or there are
          too few rows to decide.
        - "budget": all rounds were made while the residual still fell.
        - "interrupted": stopped by the user; the best network so far.

        ``history`` has, for each round, the relative residual on the rows of the search and the
        nonzeros of the sign-free form.  ``measured`` has residual (relative, all rows), rounds,
        restarts, n_search (rows of the last search), doubt (text, empty without doubt) and cpu
        (processor seconds).

    Raises
    ------
    ValueError
        The data or a setting cannot be used.

    Notes
    -----
    A round costs O(d) candidate directions of O(n' d) flops and about ten
    Levenberg-Marquardt steps of O(n' (s + d)^2), on n' = min(n, 10 (s + d)) rows, four times
    as many after a search without success.  Where n' = n, up to three further searches leave a
    tenth of the rows out, and the polish has all of them.  The polish costs O(n s^2) a step.
    Memory beyond X: O(n + n' d + (s + d)^2).  Above 3000 unknowns steps are matrix-free:
    O(n' (s + d)) for each of at most 150 iterations, and n' bytes a neuron in place of the square.
    Pruning then uses the diagonal of J^T J alone, which overrates entries of nearly dependent
    columns.

    On planted networks the result is exact from about n = 5 (s + d) rows on.  With fewer rows than
    inputs a sparse linear part replaces the dense one, and the result is exact from about
    4 s log(d) rows on for small s.  Measured limits: neurons whose boundary few rows cross
    (non-negative inputs), inputs that are zero on 95 % of the rows (exact with ten times the rows),
    and wide networks of several entries a neuron on inputs that are all +-1 or all 0 and 1.
    Different weights then give the same function, and any of them may be found.  Where no row
    distinguishes two networks, the one with fewer weights is preferred.

    Computes in float64: targets rounded to float32 can be fitted to about 1e-7 only.
    Source: derived, for the problem of Fridovich-Keil & Pilanci (2026); no guarantee is known.
    """
    X, y = check_data(X, y)
    s = check_integer("n_nonzero", n_nonzero)
    m = s if n_neurons is None else check_integer("n_neurons", n_neurons)
    n_rounds = check_integer("max_rounds", max_rounds)
    rng = np.random.default_rng(check_integer("random_state", random_state, 0))
    started = time.process_time()
    columns = useful_columns(X, fit_intercept=bool(fit_intercept))
    y_scale = root_mean_square(y)
    target, norm = y / y_scale, float(np.linalg.norm(y / y_scale)) or 1.0
    sizes = _search_sizes(len(y), ROWS_PER_UNKNOWN * (s + columns.d))
    best = Search(columns.sample(X, target, sizes[0], rng), s)
    net, residual, noise, why = columns.nothing(), target, False, ""
    ended: Ended = "stalled"
    run = Iterations(n_rounds, progress, ("round", "residual", "n_nonzero"))
    with run:
        for i, n_search in enumerate(sizes):
            if i:
                best.restart(columns.sample(X, target, n_search, rng))
            ended = pursue(best, run, s, min(s, m), rng)
            best.net, best.fit = shrink(best.rows, best.net, best.fit, s)
            nearly_all = ended == "budget" or n_search >= MOST_ROWS * len(y)
            if nearly_all or best.relative < TRUSTED or best.leaves_noise():
                net, residual = better((net, residual), polish(columns, X, target, best, s, m))
                # a wrong network may fit the rows of its search; more rows show that
                sample = columns.sample(X, target, min(len(y), MORE_ROWS * n_search), rng)
                noise = _leaves_noise(sample, net, s)
                if ended == "budget" or noise or np.linalg.norm(residual) < EXACT * norm:
                    break
    if run.status == "interrupted":
        with uninterrupted():
            last = polish(columns, X, target, best, s, m, quick=True)
            net, residual = better((net, residual), last)
    found = to_fit(columns, net, y_scale, m, X.shape[1])
    relative = float(np.linalg.norm(residual)) / norm
    with run:
        if relative < EXACT:
            left = relative * norm * y_scale
            why = doubt(X, found.weights, s, intercept=columns.intercept, residual=left)
    if run.status != "interrupted":
        run.end(_status(ended, exact=relative < EXACT, doubtful=bool(why), noise=noise))
    return run.solution(
        found,
        residual=relative,
        rounds=len(run.history["round"]),
        restarts=best.restarts,
        n_search=best.rows.n,
        doubt=why,
        cpu=time.process_time() - started,
    )


def _leaves_noise(sample: HeldRows, net: NeuronSum, s: int) -> bool:
    """Return whether a ReLU network leaves what looks like noise on these rows."""
    rows = replace(sample, activation="relu")
    return looks_like_noise(rows, net, evaluate(rows, net), s)


def _search_sizes(n: int, n_first: int) -> list[int]:
    """Return the numbers of rows of the searches, until one succeeds.

    Where the first has all rows already, others follow without a tenth of them, because a search
    that stalls often succeeds on slightly different rows.
    """
    if n_first >= n:
        return [n] + [math.ceil(MOST_ROWS * n)] * OTHER_SEARCHES
    sizes = [n_first]
    while sizes[-1] < n:
        sizes.append(min(n, MORE_ROWS * sizes[-1]))
    return sizes


def _status(ended: Ended, *, exact: bool, doubtful: bool, noise: bool) -> Status:
    if exact:
        return "converged" if doubtful else "exact"
    if ended == "budget":
        return "budget"
    return "converged" if noise else "stalled"


def better(
    a: tuple[NeuronSum, FloatArray], b: tuple[NeuronSum, FloatArray]
) -> tuple[NeuronSum, FloatArray]:
    """Return the network with the smaller residual, or `b` where both are equal."""
    return a if np.linalg.norm(a[1]) < np.linalg.norm(b[1]) else b


def to_fit(columns: UsefulColumns, net: NeuronSum, y_scale: float, m: int, d: int) -> ReLUFit:
    """Return the weights in the units of the data, without those that are only rounding."""
    net = net.without(np.abs(net.value) < ROUNDING * np.abs(net.value).max(initial=0.0))
    value = net.value * y_scale / columns.scale[net.coordinate]
    indptr = np.full(m + 1, net.nnz)
    indptr[: net.n_neurons + 1] = np.concatenate([[0], np.cumsum(net.counts)])
    W = sparse.csr_array((value, columns.index[net.coordinate], indptr), shape=(m, d))
    return ReLUFit(W, float(net.beta.sum()) * y_scale)


def root_mean_square(y: FloatArray) -> float:
    """Return the RMS without overflow, or 1 where all values are zero."""
    largest = float(np.abs(y).max())
    return largest * float(np.sqrt(np.mean((y / largest) ** 2))) if largest > 0 else 1.0
