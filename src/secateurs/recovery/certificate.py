"""Check a fit, and the assumptions of the recovery theorem on given activation patterns.

The theorem (Fridovich-Keil & Pilanci 2025) asks that the activation patterns of the planted
network are in the dictionary, that every two differ on enough rows (Assumption 1), that each is
open on enough rows (Assumption 2), and that n is of the order of s log(d p / s).  Only the given
patterns are checked.  It is infeasible to enumerate all patterns of the data, and NP-hard to
compute restricted isometry constants, so that the certificate implies neither.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.splits import row_keys
from secateurs.recovery.uniqueness import doubt
from secateurs.sparse.stack import ReLUStack

BLOCK = 512  # patterns compared at once
ROWS = 4096  # rows compared at once; partial sums stay exact in float32
MIN_SEPARATION, MIN_TRACE = 0.1, 0.1  # shares of the rows
SAMPLES = 3.0  # least n over s log(d p / s)
EXACT_RESIDUAL, EXACT_PSNR = 1e-6, 100.0
PAPER = "Fridovich-Keil & Pilanci (2025)"
ISOMETRY = (
    "the matrix A has the restricted isometry constants that the theorem needs; this is NP-hard to "
    "compute and was not checked"
)
DICTIONARY = (
    "the patterns of the network that made the data are among those checked; the data cannot show "
    "this"
)
ISOMETRY_PAPER = "Bandeira, Dobriban, Mixon & Sawin (2013)"

Array = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
Vectors = Array | Tensor | sp.csr_array  # one in each row


@dataclass(frozen=True)
class PatternStatistics:
    """Measurements of p patterns on n rows.

    Attributes
    ----------
    n_patterns, n_rows : int
    min_separation : float
        Smallest Hamming distance of two patterns over n; nan with fewer than two.
    closest : (int, int)
        The first pair with this distance in index order; (-1, -1) with fewer than two.
    min_trace : float
        Smallest share of open rows of a pattern.
    emptiest : int
        The pattern with this share.
    traces : array, shape [p]
    n_duplicates : int
        Patterns that are equal to an earlier one.
    """

    n_patterns: int
    n_rows: int
    min_separation: float
    closest: tuple[int, int]
    min_trace: float
    emptiest: int
    traces: Array
    n_duplicates: int


def pattern_statistics(
    patterns: NDArray[np.generic] | None = None,
    *,
    X: Array | None = None,
    generators: Vectors | None = None,
) -> PatternStatistics:
    """Measure Hamming distances, traces and duplicates of activation patterns, by blocks.

    Parameters
    ----------
    patterns : array of bool, shape [p, n], optional
        Row j is the diagonal of D_j.
    X : array, shape [n, d], and generators : array or csr_array, shape [p, d], optional
        Instead of patterns: D_j = 1{X h_j > 0}.

    Returns
    -------
    PatternStatistics

    Notes
    -----
    p^2 n flops and memory O(512 n).  With S of +-1 entries Hamming / n = (n - S S^T) / (2 n), in
    exact integers in float32.
    """
    read, p, n = _reader(patterns, X, generators)
    traces = np.zeros(p)
    best, closest = math.inf, (-1, -1)
    duplicate = np.zeros(p, dtype=bool)
    for a in range(0, p, BLOCK):
        first = read(a, min(a + BLOCK, p))
        traces[a : a + BLOCK] = first.mean(1)
        for b in range(a, p, BLOCK):
            second = first if a == b else read(b, min(b + BLOCK, p))
            distance = _hamming(first, second)
            later = np.arange(b, b + len(second)) > np.arange(a, a + len(first))[:, None]
            duplicate[b : b + BLOCK] |= ((distance == 0) & later).any(0)
            distance[~later] = math.inf
            i, j = divmod(int(distance.argmin()), len(second))
            # ties go to the first pair in index order
            if (distance[i, j], (a + i, b + j)) < (best, closest) and later[i, j]:
                best, closest = float(distance[i, j]), (a + i, b + j)
    return PatternStatistics(
        p,
        n,
        best / n if p > 1 else math.nan,
        closest,
        float(traces.min()),
        int(traces.argmin()),
        traces,
        int(duplicate.sum()),
    )


def pattern_certificate(
    patterns: NDArray[np.generic] | None = None,
    *,
    X: Array | None = None,
    generators: Vectors | None = None,
    n_nonzero: int | None = None,
    n_inputs: int | None = None,
    min_separation: float = MIN_SEPARATION,
    min_trace: float = MIN_TRACE,
) -> Certificate:
    """Check the assumptions of the recovery theorem on the given patterns, and on no others.

    Parameters
    ----------
    patterns, X, generators
        As in `pattern_statistics`.
    n_nonzero, n_inputs : int, optional
        s and d of the check "sample size", which is "unknown" without them; d defaults to the
        columns of X.
    min_separation, min_trace : float
        Required shares of the rows.  The theorem leaves its constants open.  These are the values
        where recovery was measured to work (separated networks .33 to .40 and .45; twins at
        .005 fail).

    Returns
    -------
    Certificate
        Checks "separation", "trace", "duplicates", "sample size", "restricted isometry"
        (always "unknown") and "dictionary" (always "unknown").
    """
    found = pattern_statistics(patterns, X=X, generators=generators)
    p, n = found.n_patterns, found.n_rows
    if n_inputs is None and X is not None:
        n_inputs = X.shape[1]
    only = f"among the {p} patterns that were checked (no others were)"
    separation = "there is only one pattern, so that nothing must be separated"
    if p > 1:
        separation = (
            f"{only}, the closest pair {found.closest} differs on a share of "
            f"{found.min_separation:.4g} of the {n} rows, where {min_separation:g} is required"
        )
    trace = (
        f"{only}, pattern {found.emptiest} is open on the fewest rows, a share of "
        f"{found.min_trace:.4g}, where {min_trace:g} is required"
    )
    duplicates = (
        f"{only}, {found.n_duplicates} are equal to an earlier one; these rows cannot separate "
        "their weights"
    )
    checks = (
        _check(
            "separation",
            separation,
            found.min_separation if p > 1 else None,
            min_separation,
            f"{PAPER}, Assumption 1; threshold: measured",
        ),
        _check(
            "trace",
            trace,
            found.min_trace,
            min_trace,
            f"{PAPER}, Assumption 2; threshold: measured",
        ),
        _check(
            "duplicates",
            duplicates,
            found.n_duplicates,
            0,
            "derived: equal patterns give equal columns",
            operator.le,
        ),
        _sample_size(n, n_nonzero, n_inputs, p),
        _check("restricted isometry", ISOMETRY, None, None, ISOMETRY_PAPER),
        _check("dictionary", DICTIONARY, None, None, f"{PAPER}, the theorem's premise"),
    )
    return Certificate(checks)


def fit_certificate(
    network: ReLUStack,
    X: Array,
    y: Array,
    n_nonzero: int,
    *,
    X_held_out: Array | None = None,
    y_held_out: Array | None = None,
    fit_intercept: bool = False,
    n_compared: int = 1,
) -> Certificate:
    """Check a fit, then the assumptions of the theorem on its own active patterns.

    Parameters
    ----------
    network : ReLUStack
    X : array, shape [n, d], and y : array, shape [n] or [n, k]
        The rows of the fit.
    n_nonzero : int
        The budget s.
    X_held_out, y_held_out : arrays, optional
        Held-out rows; without them "held-out PSNR" is "unknown".  Equal rows count once.
    fit_intercept : bool
        Whether a constant was fitted too, and subtracted from y.
    n_compared : int
        Number of fits that were compared on the held-out rows; more than one is stated.

    Returns
    -------
    Certificate
        Checks "budget", "residual", "held-out PSNR", "identification", then those of
        `pattern_certificate` for the first layer's neurons with weights (for their generators in
        convex form).
    """
    count = network.n_nonzero
    y = np.asarray(y, dtype=float)
    size = float(np.linalg.norm(y))
    residual = float(np.linalg.norm(network.predict(X) - y)) / size if size else None
    shown = "unknown" if residual is None else f"{residual:.3g}"
    checks = [
        _check(
            "budget",
            f"the network has {count} weights, where {n_nonzero} are allowed",
            count,
            n_nonzero,
            "counted",
            operator.le,
        ),
        _check(
            "residual",
            f"the relative residual on the rows of the fit is {shown}; at most "
            f"{EXACT_RESIDUAL:g} counts as exact",
            residual,
            EXACT_RESIDUAL,
            "measured",
            operator.le,
        ),
        _held_out(network, X_held_out, y_held_out, n_compared),
        _identification(
            network, np.asarray(X, dtype=np.float64), residual, n_nonzero, fit_intercept
        ),
    ]
    live = np.flatnonzero(np.diff(network.weights.indptr))
    if len(live):
        generators: Vectors = network.weights[live]
        if network.generators is not None:
            generators = network.generators.rows(torch.from_numpy(live), torch.float64, "cpu")
        # the weights of these neurons, because the budget may be more than they can hold
        active = pattern_certificate(X=np.asarray(X), generators=generators, n_nonzero=count)
        checks.extend(active.checks)
    return Certificate(tuple(checks))


def _held_out(network: ReLUStack, X: Array | None, y: Array | None, n_compared: int) -> Check:
    psnr, n_rows = None, 0
    if X is not None and y is not None and len(y):
        y = np.asarray(y, dtype=float)
        X = np.asarray(X, dtype=float)
        first = np.unique(row_keys(X, y), return_index=True)[1]
        X, y, n_rows = X[first], y[first], len(first)
        error = float(np.mean((network.predict(X) - y) ** 2))
        peak = float(np.abs(y).max())
        if peak > 0:
            psnr = math.inf if error == 0 else 20 * math.log10(peak) - 10 * math.log10(error)
    shown = "was not measured" if psnr is None else f"is {psnr:.1f} dB"
    statement = (
        f"the PSNR on {n_rows} distinct held-out rows {shown}; at least {EXACT_PSNR:g} dB counts "
        "as exact"
    )
    if n_compared > 1:
        statement += f"; the same rows chose this fit among {n_compared}"
    return _check("held-out PSNR", statement, psnr, EXACT_PSNR, "measured")


def _identification(
    network: ReLUStack,
    X: NDArray[np.float64],
    residual: float | None,
    n_nonzero: int,
    fit_intercept: bool,
) -> Check:
    """Check whether the rows exclude every other network that `doubt` examines."""
    verdict: Verdict = "unknown"
    if network.generators is not None or not network.fused:
        statement = "other networks that fit were searched for only with one layer of own gates"
    elif residual is not None and residual > EXACT_RESIDUAL:
        statement = "other networks that fit were not searched for, because this one does not fit"
    else:
        why = doubt(X, network.weights, n_nonzero, intercept=fit_intercept)
        statement = f"another network may fit as well: {why}"
        if not why:
            verdict = "holds"
            statement = (
                f"the rows exclude every network nearby with at most {n_nonzero} weights in "
                f"{network.weights.shape[0]} neurons (no others were checked)"
            )
    source = "derived: moved weights, other columns, twin neurons, unseen signs, null space"
    return Check("identification", statement, verdict, None, None, source)


def _sample_size(n: int, s: int | None, d: int | None, p: int) -> Check:
    ratio = None
    if s is not None and d is not None:
        if not 0 < s <= d * p:
            raise bad_value("n_nonzero", s, f"an integer from 1 to d p = {d * p}")
        ratio = n / (s * max(1.0, math.log(d * p / s)))
    shown = "s and d were not given" if ratio is None else f"n / (s log(d p / s)) is {ratio:.3g}"
    statement = f"{shown}; {SAMPLES:g} is required, where all separated networks were recovered"
    return _check(
        "sample size", statement, ratio, SAMPLES, f"{PAPER}, order of n; constant: measured"
    )


def _check(
    name: str,
    statement: str,
    measured: float | None,
    threshold: float | None,
    source: str,
    compare: Callable[[Any, Any], bool] = operator.ge,
) -> Check:
    """Return a check that is "unknown" without a measurement."""
    verdict: Verdict = "unknown"
    if measured is not None:
        verdict = "holds" if compare(measured, threshold) else "fails"
    return Check(name, statement, verdict, measured, threshold, source)


def _hamming(first: BoolArray, second: BoolArray) -> Array:
    """Return Hamming distances [a, b], from S S^T by chunks of rows."""
    product = np.zeros((len(first), len(second)))
    n = first.shape[1]
    for r in range(0, n, ROWS):
        left = 2 * first[:, r : r + ROWS].astype(np.float32) - 1
        right = 2 * second[:, r : r + ROWS].astype(np.float32) - 1
        product += left @ right.T
    return np.asarray((n - product) / 2)


def _reader(
    patterns: NDArray[np.generic] | None, X: Array | None, generators: Vectors | None
) -> tuple[Callable[[int, int], BoolArray], int, int]:
    """Return a function that returns patterns a to b, and the numbers of patterns and rows."""
    both = X is not None and generators is not None
    if patterns is not None and not both:
        given = np.asarray(patterns)
        if given.ndim != 2 or not given.size:
            raise bad_value("patterns", Shown(f"shape {given.shape}"), "shape [p, n], not empty")
        if not np.isin(np.unique(given), (0, 1)).all():
            raise bad_value("patterns", Shown("values other than 0 and 1"), "booleans")
        return lambda a, b: given[a:b] > 0, given.shape[0], given.shape[1]
    if patterns is not None or X is None or generators is None:
        names = {"patterns": patterns, "X": X, "generators": generators}
        found = " and ".join(name for name, value in names.items() if value is not None)
        expected = "either patterns [p, n], or both X [n, d] and generators [p, d]"
        raise bad_value("patterns", Shown(found or "nothing"), expected)
    H = generators.detach().cpu().numpy() if isinstance(generators, Tensor) else generators
    if X.ndim != 2 or H.ndim != 2 or X.shape[1] != H.shape[1] or not len(X) or not H.shape[0]:
        shown = Shown(f"shapes {X.shape} and {H.shape}")
        raise bad_value("X and generators", shown, "shapes [n, d] and [p, d], not empty")
    return lambda a, b: np.asarray(H[a:b] @ X.T > 0, dtype=bool), H.shape[0], len(X)
