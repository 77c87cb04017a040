"""Columns at a false discovery rate, without knowing the law of the columns.

    C <- columns whose score passes where noise lets one column pass on average, the cap strongest
    e <- what is left of T(y) after the clear terms of a polynomial of C (without j, for j in C)
    R <- e, e h_1(u), e h_2(u) for directions u of the same columns                        (1)
    p_j <- the largest |Z| of column j against R, by the permutations of column j          (2)
    C <- C and the columns with p_j <= 1 / d;   (1) and (2) again for those that were not in C
    D <- Benjamini-Hochberg at the rate
    for j in D that is correlated with other columns, at most 8 of all d:
        R <- (1) of these columns and of C without j
        x_j <- what is left of h_k(x_j) after a polynomial of these columns
        q_j <- 2 L K Phi(-max |sum R x_j| / sqrt(sum R^2 x_j^2)),  else q_j = 0            (3)
    if any is: D <- the largest set of k columns of D with d p_j <= k rate / 2 and
        |D| q_j <= k rate / 2                                                              (4)

The null hypothesis of column j is that y and the column are independent given the other columns.
R in (2) is a function of y and of the other columns.  So p_j is valid, for every distribution of
the values and whatever ties they have, if the rows are independent and column j is independent of
the other columns.  Columns that depend on each other are the case of (3), a generalised covariance
measure, which asks that one of the two polynomials is right up to errors that vanish with n.  In
(4) one half of the rate is for columns that are independent of all that matter, and one for columns
that depend on these, of which D has at most |D|.  Benjamini-Hochberg is exact for independent
p-values and for those of positive dependence; those of (2) depend on each other a little through R.

Source: (1) and (2) are a distilled conditional randomisation test (Liu, Katsevich, Janson & Ramdas
2022) with permutations in place of a known law; (3) Shah & Peters (2020); Benjamini & Hochberg
(1995), Benjamini & Yekutieli (2001).  The combination is derived, and measured by
benchmarks/features/discoveries.py.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from secateurs.core.parameters import check_choice, check_real
from secateurs.core.short_repr import short_repr
from secateurs.data.columns import Columns, columns_of
from secateurs.features.copies import distinct_rows, on_rows
from secateurs.features.few_values import TOGETHER, FewValues, looks_few
from secateurs.features.null_scores import normal_threshold
from secateurs.features.ranks import NARROW, FloatArray, IntArray, rank_block, standardised
from secateurs.features.screening import FEWEST_ROWS, Screen, check_target, label_transforms, screen
from secateurs.features.search import anchors, directions
from secateurs.features.tail_scores import Cell, Values, tail_scores
from secateurs.features.tied_columns import LARGE

ROWS_PER_FEATURE = 5  # rows for each term of a polynomial
MOST_CANDIDATES = 64
INDICES = 1  # directions of (1)
MOST_CROSSED = 8  # correlated columns that (3) takes, the most correlated ones
CLEAR = 3.0  # score of a term against T that (1) keeps
RIDGE = 1e-3  # of the polynomials, in units of a standardised column


@dataclass(frozen=True, eq=False)
class Discoveries:
    """Columns that y depends on, at a false discovery rate.

    Parameters
    ----------
    columns : int array
        The columns that were found, increasing.
    p_values : float array [d]
        P-value of each column; 1 where a column is far from being found.
    rate : float
        The rate that was asked for.
    candidates : int array
        Columns whose part of y was removed before the others were tested, increasing.
    adjusted : int array
        Columns that are correlated with others; each was also tested given these.
    """

    __repr__ = short_repr

    columns: IntArray
    p_values: FloatArray
    rate: float
    candidates: IntArray
    adjusted: IntArray


def discover(
    X: Any,
    y: NDArray[Any] | None = None,
    rate: float = 0.1,
    *,
    labels: tuple[FloatArray, tuple[str, ...]] | None = None,
    found: Screen | None = None,
    dependence: str = "independent",
) -> Discoveries:
    """Find the columns that y depends on, at a false discovery rate.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Numeric columns without missing values; the rows are taken to be independent.
    y : array [n], optional
        Target, a number in each row; `labels` can stand in its place.
    rate : float
        Largest expected share of columns, among those found, that y does not depend on.
    labels : (array [n, C], names), optional
        Transforms with mean 0 and variance 1, instead of `y`.  All rows are used.
    found : Screen, optional
        The screen of the columns against `labels`, where it is already known.
    dependence : {"independent", "any"}
        "any" divides the rate by 1 + 1/2 + ... + 1/d (Benjamini & Yekutieli 2001), and so holds
        for p-values that depend on each other in any way.

    Returns
    -------
    Discoveries
        The columns found, and the p-values of all.

    Raises
    ------
    ValueError
        Shapes do not match, values are infinite or missing, or a number is out of range.

    Notes
    -----
    Four passes over the columns, as `screen`.  The text of this module has the assumptions.  A
    column that acts in products only, with no effect alone or along a direction, is not found.
    """
    source = columns_of(X)
    check_real("rate", rate, above=0, below=1)
    if labels is None:
        y = check_target(y, source.n, FEWEST_ROWS)
        rows = distinct_rows(source, y)
        if rows is not None:
            source, y = on_rows(source, rows), y[rows]
        labels = label_transforms(y)
    T = labels[0]
    found = screen(source, labels=labels) if found is None else found
    C = _candidates(found)
    level = _level(rate, source.d, dependence)
    if not len(C):
        p = _p_values(found.scores, found.z[0].size)
        return Discoveries(benjamini_hochberg(p, level), p, rate, C, C)
    p = _permutation_p_values(source, T, found, C, C)
    more = np.setdiff1d(np.flatnonzero(p <= 1.0 / source.d), C)
    if len(more):
        first, known = C, p[C]
        C = np.union1d(C, more)
        p = _permutation_p_values(source, T, found, C, more)
        p[first] = known
    D = benjamini_hochberg(p, level)
    given = _correlated(source, D, rate)
    adjusted = D[[len(near) > 0 for near in given]]
    q = np.zeros(len(D))
    for i, (j, near) in enumerate(zip(D, given, strict=True)):
        if len(near):
            A = np.setdiff1d(np.union1d(C, near), [j])
            R = _distilled(_ranked(source, A), T, found, A)
            own = _ranked(source, np.array([j]))[:, 0]
            q[i] = _conditional_p_value(own, _ranked(source, near), R)
    if len(adjusted):
        D = D[largest_set(p[D] * source.d, q * len(D), level / 2.0)]
    return Discoveries(D, p, rate, C, adjusted)


def largest_set(p: FloatArray, q: FloatArray, level: float) -> NDArray[np.bool_]:
    """Return the largest set of k columns with p <= level k and q <= level k."""
    worse = np.maximum(p, q)
    order = np.argsort(worse, kind="stable")
    passed = np.flatnonzero(worse[order] <= level * np.arange(1, len(p) + 1))
    kept = np.zeros(len(p), dtype=bool)
    kept[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return kept


def _permutation_p_values(
    source: Columns, T: FloatArray, found: Screen, C: IntArray, own: IntArray
) -> FloatArray:
    """Return (2): for `own` columns of C against R of the others in C, else against R of C, [d]."""
    x = _ranked(source, C)
    R = _distilled(x, T, found, C)
    again = screen(source, labels=(R, tuple(map(str, range(R.shape[1])))))
    p = _p_values(again.scores, again.z[0].size)
    for i in np.searchsorted(C, own):
        others = np.delete(np.arange(len(C)), i)
        R = _distilled(x[:, others], T, found, C[others])
        p[C[i]] = _own_p_value(x[:, i], R, again.threshold)
    return p


def _ranked(source: Columns, columns: IntArray) -> FloatArray:
    """Return the normal scores of some columns, [n, k]."""
    return rank_block(source.read(columns))[0].T.astype(np.float64)


def _correlated(source: Columns, D: IntArray, rate: float) -> list[IntArray]:
    """Return, for each of some columns, the columns most correlated with it, one pass."""
    if not len(D):
        return []
    own = _ranked(source, D)
    single = (own / np.sqrt(source.n)).astype(np.float32)
    Z = np.empty((source.d, len(D)), dtype=np.float32)
    for start, block in source.blocks():
        width = TOGETHER if looks_few(block) else NARROW
        for a in range(0, block.shape[1], width):
            part = block[:, a : a + width]
            few = FewValues.of(part)
            z = rank_block(part)[0] @ single if few is None else few.products(single)
            Z[start + a : start + a + len(z)] = np.abs(z)
    Z[D, np.arange(len(D))] = 0.0
    threshold = normal_threshold(rate, Z.size)
    order = np.argsort(-Z, axis=0, kind="stable")[:MOST_CROSSED]
    return [np.sort(J[z[J] > threshold]) for J, z in zip(order.T, Z.T, strict=True)]


def benjamini_hochberg(p: FloatArray, level: float) -> IntArray:
    """Return the columns whose p-values pass the step-up rule at a level, increasing."""
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / len(p))
    return np.sort(order[: passed[-1] + 1]) if len(passed) else np.empty(0, dtype=np.int64)


def _level(rate: float, d: int, dependence: str) -> float:
    check_choice("dependence", dependence, ("independent", "any"))
    return rate / float((1.0 / np.arange(1, d + 1)).sum()) if dependence == "any" else rate


def _candidates(found: Screen) -> IntArray:
    """Return C, increasing."""
    scores = found.scores
    order = np.argsort(-scores, kind="stable")[: min(MOST_CANDIDATES, found.n // 10)]
    passed = scores[order] > max(LARGE, normal_threshold(1.0, found.z.size))
    return np.sort(order[passed])


def _p_values(scores: FloatArray, cells: int) -> FloatArray:
    """Return p-values with a Bonferroni correction; scores up to `LARGE` may be approximate: 1."""
    return np.where(scores > LARGE, np.minimum(1.0, 2.0 * cells * ndtr(-scores)), 1.0)


def _distilled(x: FloatArray, T: FloatArray, found: Screen, C: IntArray) -> FloatArray:
    """Return R (1) for the columns C with the normal scores x [n, p], [n, L]."""
    if not len(C):
        return T
    F = _polynomial(x, len(x) // ROWS_PER_FEATURE)
    F = F[:, np.abs(F.T @ T).max(axis=1) > CLEAR * np.sqrt(len(x))]
    e = standardised(_rest(T, F))
    c, k = found.channel
    U = directions(x, T[:, c], k + 1, found.z[C, c, k])[:INDICES]
    return np.concatenate([e, anchors(x, e[:, [c]], U)], axis=1)


def _polynomial(x: FloatArray, most: int) -> FloatArray:
    """Return Hermite polynomials of the columns and their products, at most about `most` terms."""
    p = x.shape[1]
    terms = [x]
    if 3 * p <= most:
        terms += [x**2, x**3]
    if 3 * p + p * (p - 1) // 2 <= most:
        pairs = itertools.combinations(range(p), 2)
        terms += [x[:, [i]] * x[:, [j]] for i, j in pairs]
    return standardised(np.concatenate(terms, axis=1))


def _rest(T: FloatArray, F: FloatArray) -> FloatArray:
    """Return what is left of T after a ridge regression on the standardised features F."""
    T = T - T.mean(axis=0)
    gram = F.T @ F + RIDGE * len(F) * np.eye(F.shape[1])
    return np.asarray(T - F @ np.linalg.solve(gram, F.T @ T))


def _hermite(x: FloatArray) -> FloatArray:
    """Return the standardised h_k of a column of normal scores, [n, K]; constant ones are 0."""
    return standardised(np.stack([x, x**2, x**3 - 3.0 * x], axis=1))


def _own_p_value(x: FloatArray, R: FloatArray, threshold: float) -> float:
    """Return (2) for a column of normal scores; scores near the threshold are exact."""
    H, n = _hermite(x), len(x)
    Z = R.T @ H / np.sqrt(n)
    ones = np.ones(n, dtype=np.int64)
    columns = [Values.of(h, ones) for h in H.T]
    cells = [
        Cell(Values.of(R[:, c], ones), columns[k], float(Z[c, k]))
        for c, k in np.argwhere(np.abs(Z) > LARGE)
    ]
    if not cells:
        return 1.0
    best = float(np.abs(tail_scores(cells, n, threshold)).max())
    return float(_p_values(np.array([best]), Z.size)[0])


def _conditional_p_value(x: FloatArray, given: FloatArray, R: FloatArray) -> float:
    """Return the p-value of (3)."""
    H = _rest(_hermite(x), _polynomial(given, len(x) // ROWS_PER_FEATURE))
    size = np.sqrt(np.square(R).T @ np.square(H))
    t = np.abs(R.T @ H) / np.where(size > 0, size, np.inf)
    return float(min(1.0, 2.0 * t.size * ndtr(-t.max())))
