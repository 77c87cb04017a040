"""The recovery theorem's assumptions on given patterns, and what a fit was found to do.

The theorem (Fridovich-Keil & Pilanci 2025) asks that the activation patterns of the planted
network be in the dictionary, pairwise separated in Hamming distance (Assumption 1), each open
on a share of the rows (Assumption 2), and that n be of the order of s log(d p / s).  Only the
patterns given here are checked: enumerating all patterns of the data is infeasible, restricted
isometry constants are NP-hard, and neither is ever implied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.recovery.uniqueness import doubt
from secateurs.sparse.stack import ReLUStack

BLOCK = 512  # patterns compared at once
ROWS = 4096  # rows compared at once: partial sums stay exact in float32
MIN_SEPARATION, MIN_TRACE = 0.1, 0.1  # shares of the rows
SAMPLES = 3.0  # n over s log(d p / s)
EXACT_RESIDUAL, EXACT_PSNR = 1e-6, 100.0
PAPER = "Fridovich-Keil & Pilanci (2025)"

Array = NDArray[np.floating]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class PatternStatistics:
    """What was measured over p patterns on n rows.

    Attributes
    ----------
    n_patterns, n_rows : int
    min_separation : float
        Smallest Hamming distance of two patterns over n; nan with fewer than two.
    closest : (int, int)
        The pair, the first one in index order; (-1, -1) with fewer than two.
    min_trace : float
        Smallest share of open rows of a pattern.
    emptiest : int
        That pattern.
    traces : array, shape [p]
    n_duplicates : int
        Patterns equal to an earlier one.
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
    generators: Array | Tensor | sp.csr_array | None = None,
) -> PatternStatistics:
    """Hamming distances, traces and duplicates of activation patterns, by blocks.

    Parameters
    ----------
    patterns : array of bool, shape [p, n], optional
        Row j is the diagonal of D_j.
    X : array, shape [n, d], and generators : array or csr_array, shape [p, d], optional
        Instead of patterns: D_j = 1{X h_j > 0}.

    Returns
    -------
    PatternStatistics
        Costs 2 p^2 n flops (half of it, by symmetry) and memory O(512 n).

    Notes
    -----
    With S of +-1 entries, Hamming / n = (n - S S^T) / (2 n): exact integers in float32.
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
            # blocks come in index order of their first pattern: break ties by the pair
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
    generators: Array | Tensor | sp.csr_array | None = None,
    n_nonzero: int | None = None,
    n_inputs: int | None = None,
    min_separation: float = MIN_SEPARATION,
    min_trace: float = MIN_TRACE,
) -> Certificate:
    """Check the assumptions of the recovery theorem on the patterns given, and on no others.

    Parameters
    ----------
    patterns, X, generators
        As in `pattern_statistics`.
    n_nonzero, n_inputs : int, optional
        s and d of the sample size check; d defaults to the columns of X.  Without them the
        check is "unknown".
    min_separation, min_trace : float
        Shares of the rows asked for.  The theorem leaves its constants open: these are
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
    i, j = found.closest
    only = f"of the {p} patterns checked (no others were)"
    checks = [
        Check(
            "separation",
            f"{only}, the closest pair ({i}, {j}) differs on a share {found.min_separation:.4g} "
            f"of {n} rows; at least {min_separation:g} asked"
            if p > 1
            else "there is one pattern, nothing to separate",
            "unknown" if p < 2 else _verdict(found.min_separation >= min_separation),
            found.min_separation if p > 1 else None,
            min_separation,
            f"{PAPER}, Assumption 1; threshold: measured",
        ),
        Check(
            "trace",
            f"{only}, pattern {found.emptiest} is open on the fewest rows, a share "
            f"{found.min_trace:.4g}; at least {min_trace:g} asked",
            _verdict(found.min_trace >= min_trace),
            found.min_trace,
            min_trace,
            f"{PAPER}, Assumption 2; threshold: measured",
        ),
        Check(
            "duplicates",
            f"{only}, {found.n_duplicates} equal an earlier one: their weights cannot be told "
            "apart from these rows",
            _verdict(found.n_duplicates == 0),
            found.n_duplicates,
            0,
            "derived: equal patterns give equal columns",
        ),
        _sample_size(n, n_nonzero, n_inputs, p),
        Check(
            "restricted isometry",
            "A has the restricted isometry constants the theorem rests on: NP-hard to compute, "
            "not checked",
            "unknown",
            None,
            None,
            "Bandeira, Dobriban, Mixon & Sawin (2013)",
        ),
        Check(
            "dictionary",
            "the patterns of the network that made the data are among those checked: cannot be "
            "told from the data",
            "unknown",
            None,
            None,
            f"{PAPER}, the theorem's premise",
        ),
    ]
    return Certificate(tuple(checks))


def fit_certificate(
    network: ReLUStack,
    X: Array,
    y: Array,
    n_nonzero: int,
    *,
    X_held_out: Array | None = None,
    y_held_out: Array | None = None,
) -> Certificate:
    """What was verified after the fit, then the assumptions on the fit's own active patterns.

    Parameters
    ----------
    network : ReLUStack
    X : array, shape [n, d], and y : array, shape [n] or [n, k]
        The rows that were fitted.
    n_nonzero : int
        The budget s.
    X_held_out, y_held_out : arrays, optional
        Rows kept out of the fit; without them "held-out PSNR" is "unknown".

    Returns
    -------
    Certificate
        Checks "budget", "residual", "held-out PSNR", "identification", then those of
        `pattern_certificate` for the first layer's neurons with weights (their generators, in
        convex form).
    """
    count = network.n_nonzero
    y = np.asarray(y, dtype=float)
    size = float(np.linalg.norm(y))
    residual = float(np.linalg.norm(network.predict(X) - y)) / size if size else math.nan
    checks = [
        Check(
            "budget",
            f"the network has {count} weights of {n_nonzero} allowed",
            _verdict(count <= n_nonzero),
            count,
            n_nonzero,
            "counted",
        ),
        Check(
            "residual",
            f"on the fitted rows the relative residual is {residual:.3g}; at most "
            f"{EXACT_RESIDUAL:g} is called exact",
            _verdict(residual <= EXACT_RESIDUAL) if size else "unknown",
            residual if size else None,
            EXACT_RESIDUAL,
            "measured",
        ),
        _held_out(network, X_held_out, y_held_out),
        _identification(network, np.asarray(X, dtype=np.float64), residual, n_nonzero),
    ]
    live = np.flatnonzero(np.diff(network.weights.indptr))
    if len(live):
        if network.generators is None:
            generators: Array | sp.csr_array = network.weights[live]
        else:
            index = torch.from_numpy(live)
            generators = network.generators.rows(index, torch.float64, "cpu").numpy()
        # the weights there are, not those allowed: the budget may exceed what these neurons hold
        active = pattern_certificate(X=np.asarray(X), generators=generators, n_nonzero=count)
        checks.extend(active.checks)
    return Certificate(tuple(checks))


def _held_out(network: ReLUStack, X: Array | None, y: Array | None) -> Check:
    psnr = None
    if X is not None and y is not None and len(y):
        y = np.asarray(y, dtype=float)
        error = float(np.mean((network.predict(X) - y) ** 2))
        peak = float(np.abs(y).max())
        if peak > 0:
            psnr = math.inf if error == 0 else 20 * math.log10(peak) - 10 * math.log10(error)
    told = "not measured" if psnr is None else f"{psnr:.1f} dB"
    return Check(
        "held-out PSNR",
        f"on rows kept out of the fit the PSNR is {told}; at least {EXACT_PSNR:g} dB is called "
        "exact",
        "unknown" if psnr is None else _verdict(psnr >= EXACT_PSNR),
        psnr,
        EXACT_PSNR,
        "measured",
    )


def _identification(
    network: ReLUStack, X: NDArray[np.float64], residual: float, n_nonzero: int
) -> Check:
    """Whether the rows speak against every other network that `doubt` looks at."""
    told, verdict = "other networks that fit: not looked for, this one does not fit", "unknown"
    if network.generators is not None or not network.fused:
        told = "other networks that fit: looked for with one layer and its own gates only"
    elif not residual > EXACT_RESIDUAL:
        why = doubt(X, network.weights, n_nonzero)
        told = f"another network may fit as well: {why}"
        if not why:
            told, verdict = (
                "the rows speak against every network nearby (no others checked)",
                "holds",
            )
    source = "derived: weights moved between neurons, null space, rows for each weight"
    return Check("identification", told, cast(Verdict, verdict), None, None, source)


def _sample_size(n: int, s: int | None, d: int | None, p: int) -> Check:
    ratio = None
    if s is not None and d is not None:
        if not 0 < s <= d * p:
            raise ValueError(f"got n_nonzero = {s}; expected between 1 and d p = {d * p}")
        ratio = n / (s * max(1.0, math.log(d * p / s)))
    told = "not given s and d" if ratio is None else f"n / (s log(d p / s)) = {ratio:.3g}"
    return Check(
        "sample size",
        f"{told}; at least {SAMPLES:g} asked, where separated networks were all recovered",
        "unknown" if ratio is None else _verdict(ratio >= SAMPLES),
        ratio,
        SAMPLES,
        f"{PAPER}, order of n; constant: measured",
    )


def _verdict(true: bool) -> Verdict:
    return "holds" if true else "fails"


def _hamming(first: BoolArray, second: BoolArray) -> Array:
    """Hamming distances [a, b], from S S^T by chunks of rows."""
    product = np.zeros((len(first), len(second)))
    n = first.shape[1]
    for r in range(0, n, ROWS):
        left = 2 * first[:, r : r + ROWS].astype(np.float32) - 1
        right = 2 * second[:, r : r + ROWS].astype(np.float32) - 1
        product += left @ right.T
    return np.asarray((n - product) / 2)


def _reader(
    patterns: NDArray[np.generic] | None,
    X: Array | None,
    generators: Array | Tensor | sp.csr_array | None,
) -> tuple[Callable[[int, int], BoolArray], int, int]:
    """A function that returns patterns a to b, and the numbers of patterns and rows."""
    if (patterns is None) == (X is None or generators is None):
        raise ValueError("expected either patterns [p, n], or both X [n, d] and generators [p, d]")
    if patterns is not None:
        given = np.asarray(patterns)
        if given.ndim != 2 or not given.size:
            raise ValueError(f"got patterns of shape {given.shape}; expected [p, n], not empty")
        if not np.isin(np.unique(given), (0, 1)).all():
            raise ValueError("got patterns with values other than 0 and 1; expected booleans")
        return lambda a, b: given[a:b] > 0, given.shape[0], given.shape[1]
    assert X is not None
    assert generators is not None
    H = generators.detach().cpu().numpy() if isinstance(generators, Tensor) else generators
    if X.ndim != 2 or H.ndim != 2 or X.shape[1] != H.shape[1] or not len(X) or not H.shape[0]:
        raise ValueError(
            f"got X of shape {X.shape} and generators of shape {H.shape}; expected [n, d] and "
            "[p, d], not empty"
        )
    return lambda a, b: np.asarray(H[a:b] @ X.T > 0, dtype=bool), H.shape[0], len(X)
