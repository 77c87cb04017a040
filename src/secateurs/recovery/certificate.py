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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.description import counted
from secateurs.core.parameters import bad_value
from secateurs.core.splits import row_keys
from secateurs.recovery.patterns import Array, PatternStatistics, Vectors, pattern_statistics
from secateurs.recovery.uniqueness import doubt
from secateurs.sparse.stack import ReLUStack

MIN_SEPARATION, MIN_TRACE = 0.1, 0.1  # shares of the rows
SAMPLES = 1.5  # least n over s log(d p / s)
FITTED, EXACT_PSNR = 1e-6, 100.0
NO_RESIDUAL = 1e-10  # relative residual that rounding explains, as in the pursuit
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
    patterns : array of bool, shape [p, n], optional
        Row j is the diagonal of D_j.
    X : array, shape [n, d], optional
        Instead of patterns, with generators: D_j = 1{X h_j > 0}.
    generators : array, Tensor or csr_array, shape [p, d], optional
        The vectors h_j.
    n_nonzero, n_inputs : int, optional
        The numbers s and d of the check "sample size", which is "unknown" without them; d
        defaults to the columns of X.  Equal rows of X count once.  With `patterns` the check is
        also "unknown" where copies of rows could make up the number.
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
    rows = "rows" if X is None else "distinct rows"
    if n_inputs is None and X is not None:
        n_inputs = X.shape[1]
    only = f"among the {p} pattern{'' if p == 1 else 's'} looked at (no others were)"
    separation = "there is only one pattern, so that nothing must be separated"
    if p > 1:
        separation = (
            f"{only}, the closest pair {found.closest} differs on a share of "
            f"{found.min_separation:.4g} of the {n} {rows}, where {min_separation:g} is required"
        )
    trace = (
        f"{only}, pattern {found.emptiest} is open on the fewest rows, a share of "
        f"{found.min_trace:.4g} of the {n} {rows}, where {min_trace:g} is required"
    )
    duplicates = f"{only}, none is equal to an earlier one"
    if found.n_duplicates:
        duplicates = (
            f"{only}, {found.n_duplicates} equal an earlier one, so that these rows cannot "
            "separate their weights"
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
        _sample_size(found, n_nonzero, n_inputs),
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
        The fitted network.
    X : array, shape [n, d]
        The rows of the fit.  Rows that are equal in X and y count once in every check.
    y : array, shape [n] or [n, k]
        The outputs of these rows.
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
        Checks "budget", "residual", "held-out PSNR", "identification".  With one output and one
        hidden layer, also those of `pattern_certificate` for the neurons with weights (for their
        generators in convex form).
    """
    count = network.n_nonzero
    X, y = _distinct(X, y)
    size = float(np.linalg.norm(y))
    left = float(np.linalg.norm(network.predict(X) - y))
    residual = left / size if size else None
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
            f"the relative residual on the {len(y)} distinct rows of the fit is {shown}, where "
            f"{FITTED:g} is allowed",
            residual,
            FITTED,
            "measured",
            operator.le,
        ),
        _held_out(network, X_held_out, y_held_out, n_compared),
        _identification(
            network, X, left, n_nonzero, fit_intercept, fits=left <= NO_RESIDUAL * size
        ),
    ]
    live = np.flatnonzero(np.diff(network.weights.indptr))
    one_layer = network.fused and len(network.layers) == 1  # the networks of the theorem
    if len(live) and one_layer:
        generators: Vectors = network.weights[live]
        if network.generators is not None:
            generators = network.generators.rows(torch.from_numpy(live), torch.float64, "cpu")
        # the weights of these neurons, because the budget may be more than they can hold
        active = pattern_certificate(X=X, generators=generators, n_nonzero=count)
        checks.extend(active.checks)
    return Certificate(tuple(checks))


def _distinct(X: Array, y: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows (X, y) without copies of earlier ones, in their order."""
    rows, targets = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    first = np.sort(np.unique(row_keys(rows, targets), return_index=True)[1])
    return (rows, targets) if len(first) == len(rows) else (rows[first], targets[first])


def _held_out(network: ReLUStack, X: Array | None, y: Array | None, n_compared: int) -> Check:
    psnr, n_rows = None, 0
    if X is not None and y is not None and len(y):
        X, y = _distinct(X, y)
        n_rows = len(y)
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
    left: float,
    n_nonzero: int,
    fit_intercept: bool,
    *,
    fits: bool,
) -> Check:
    """Check whether the rows exclude every other network that `doubt` examines.

    A network that leaves more than rounding (`left` is the norm) is not the one that made the
    data, and two columns that differ by as little can be exchanged.
    """
    verdict: Verdict = "unknown"
    if network.generators is not None or not network.fused or len(network.layers) > 1:
        statement = (
            "other networks that fit are searched for only with one output, one hidden layer, and "
            "gates of its own; no search is known for several outputs or layers"
        )
    elif not fits:
        statement = (
            "other networks that fit were not searched for, because this one leaves a relative "
            f"residual above {NO_RESIDUAL:g}, which is more than rounding"
        )
    else:
        why = doubt(X, network.weights, n_nonzero, intercept=fit_intercept, residual=left)
        statement = f"another network may fit as well: {why}"
        if not why:
            verdict = "holds"
            statement = (
                f"the rows exclude every network nearby with at most {n_nonzero} weights in "
                f"{counted(network.weights.shape[0], 'neuron')} (no others were checked)"
            )
    source = "derived: moved weights, other columns, twin neurons, unseen signs, null space"
    return Check("identification", statement, verdict, None, None, source)


def _sample_size(found: PatternStatistics, s: int | None, d: int | None) -> Check:
    """Compare the distinct rows with the number that the theorem needs."""
    p, n, ratio = found.n_patterns, found.n_rows, None
    shown = "s and d were not given"
    if s is not None and d is not None:
        if not 0 < s <= d * p:
            raise bad_value("n_nonzero", s, f"an integer from 1 to d p = {d * p}")
        needed = s * max(1.0, math.log(d * p / s))
        ratio = n / needed
        shown = f"n / (s log(d p / s)) is {ratio:.3g} for the {n} rows"
        if found.n_distinct < SAMPLES * needed <= n:
            shown, ratio = (
                f"{shown}, of which only {found.n_distinct} are different for certain",
                None,
            )
        elif found.n_distinct == n:
            shown = f"n / (s log(d p / s)) is {ratio:.3g} for the {n} distinct rows"
    statement = (
        f"{shown}; from {SAMPLES:g} on, all separated networks were recovered (measured; a fit can "
        "be exact with fewer rows)"
    )
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
