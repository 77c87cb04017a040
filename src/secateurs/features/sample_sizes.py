"""How many rows the theory asks for, with the inputs pruned and without.

    M_eff = (R_q / r^(q / 2))^(2 / (2 - q))                                           (1)
    correlational lower bound     min(M_eff, sqrt d)^k                                (2)
    pruned inputs                 M_eff^k log d / c^2                                 (3)
    pruned, share e given up      M_eff^k (1/e)^(k (1 + k q / (2 - q))) log d / c^2   (4)
    not pruned, one large step    d^k                                                 (5)
    rotation invariant            max(d, d^(k / 2))                                   (6)

Here d is the number of inputs, k the information exponent, R_q the soft sparsity of the r
directions, and c the coefficient of he_k / sqrt(k!) in the link.  All are orders of magnitude.

Source: Vural & Erdogdu (COLT 2024, PMLR 247:4787-4861): (1) and (2) Theorem 2, (3) Theorems 4 and
5 with the factor log d of a union bound in the place of their logarithms, (4) Lemma 34.  An
earlier version had (R_q / e)^(2 k / (2 - q)) for (4), which agrees for q = 0 and for k = 1 only,
and is too small otherwise.  The factor 1 / c^2, (5) and (6) are derived here.  R_q must be given:
estimates of it from data were measured to be two to five times too small.
"""

from __future__ import annotations

import math

from secateurs.core.parameters import bad_value, check_counts, check_real
from secateurs.features.null_scores import normal_threshold

MARGIN = 1.3  # standard deviations above a threshold at which nine of ten scores pass


def effective_sparsity(sparsity: float, q: float = 0.0, directions: int = 1) -> float:
    """Compute M_eff (1), the number of inputs that corresponds to a soft sparsity R_q.

    Parameters
    ----------
    sparsity : float
        With q = 0 the number of inputs that matter, otherwise R_q = sum_j ||V_j||^q.
    q : float in [0, 2)
        The exponent of R_q; 0 counts inputs.
    directions : int
        The number r of directions; R_q is divided by r^(q / 2).

    Returns
    -------
    float
        M_eff; with q = 0 it is `sparsity`.

    Raises
    ------
    ValueError
        A number is out of range.
    """
    check_real("q", q, least=0, below=2)
    check_real("sparsity", sparsity, above=0)
    check_counts(directions=directions)
    return float((sparsity / directions ** (q / 2.0)) ** (2.0 / (2.0 - q)))


def correlational_lower_bound(
    d: int, k: int, sparsity: float, q: float = 0.0, directions: int = 1
) -> float:
    """Compute the rows (2) that any correlational statistical query method needs, up to constants.

    Transforms of y and second passes over the data leave that class and may need fewer.  Theorem 2.

    Parameters
    ----------
    d, k : int
        Inputs and information exponent.
    sparsity, q, directions : float, float and int
        As in `effective_sparsity`.

    Returns
    -------
    float
        An order of magnitude.
    """
    check_counts(d=d, k=k)
    return float(min(effective_sparsity(sparsity, q, directions), math.sqrt(d)) ** k)


def pruned_rows(
    d: int,
    k: int,
    sparsity: float,
    q: float = 0.0,
    directions: int = 1,
    *,
    coefficient: float = 1.0,
    dropped: float | None = None,
) -> float:
    """Compute the rows (3) or (4) with which pruning by scores finds the inputs that matter.

    Parameters
    ----------
    d, k : int
        Inputs and information exponent.
    sparsity, q, directions : float, float and int
        As in `effective_sparsity`.
    coefficient : float
        The coefficient c of he_k / sqrt(k!) in the link when y has variance 1; not 0.
    dropped : float in (0, 1], optional
        The share e of the squared length of the directions that may be lost; only with q > 0.

    Returns
    -------
    float
        (4) where `dropped` is given, otherwise (3); an order of magnitude.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Up to constants.  (3) was checked on planted problems for k <= 3; (4) was not.
    """
    check_counts(d=d, k=k)
    if check_real("coefficient", coefficient) == 0:
        raise bad_value("coefficient", coefficient, "a number other than 0")
    size = effective_sparsity(sparsity, q, directions) ** k
    if dropped is not None:
        check_real("dropped", dropped, above=0, most=1)
        if q == 0:
            raise bad_value("q", q, "a number > 0", "leave out `dropped` to use q = 0")
        size *= (1.0 / dropped) ** (k * (1.0 + k * q / (2.0 - q)))
    return float(size * math.log(max(d, 2)) / coefficient**2)


def unpruned_rows(d: int, k: int, *, rotation_invariant: bool = False) -> float:
    """Compute the rows without pruning: one large step (5), or the rotation-invariant bound (6).

    Parameters
    ----------
    d, k : int
        Inputs and information exponent.
    rotation_invariant : bool
        True for (6).

    Returns
    -------
    float
        An order of magnitude.

    Notes
    -----
    Up to constants.  Derived; the slope of (5) was measured for k = 1 and 2.
    """
    check_counts(d=d, k=k)
    return float(max(d, d ** (k / 2)) if rotation_invariant else float(d) ** k)


def noise_floor(n: int, d: int, *, alpha: float = 0.1, cells: int = 1) -> float:
    """Return the smallest correlation that n rows distinguish from noise among d columns.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    alpha : float
        Under pure noise, the probability that any correlation exceeds the result.
    cells : int
        Statistics computed for each column.

    Returns
    -------
    float
        Phi^-1(1 - alpha / (2 d cells)) / sqrt(n).  Derived, by the union bound.
    """
    check_counts(n=n, d=d, cells=cells)
    check_real("alpha", alpha, above=0, below=1)
    return normal_threshold(alpha, d * cells) / math.sqrt(n)


def rows_to_stand_out(n: int, score: float, threshold: float) -> float:
    """Predict the rows at which a score measured at n rows passes the threshold nine times in ten.

    Parameters
    ----------
    n : int
        Rows at which the score was measured.
    score : float
        The score, on the scale of a standard normal.
    threshold : float
        The threshold that it has to pass, on the same scale.

    Returns
    -------
    float
        The number n ((threshold + 1.3) / score)^2, because scores grow like sqrt(n); inf for a
        score of 0 or less.

    Notes
    -----
    The result was measured to be too small by a factor of up to 2: take it as a lower bound.
    """
    return n * ((threshold + MARGIN) / score) ** 2 if score > 0 else math.inf
