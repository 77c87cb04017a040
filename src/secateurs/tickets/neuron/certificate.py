"""Bounds for strong lottery tickets: what pruning a random network can and cannot do.

    f(x) = relu(<w*, x>), ||w*|| = 1;  w_i ~ N(0, I_d), alpha_i ~ N(0, 1), i = 1 .. N
    form A: sum_{i in S} alpha_i relu(<w_i, x>),    form B: relu of that sum

Every function takes the form, and refuses what is false or unproven for it.  The sup is over
the unit l2 ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, special, stats

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.tickets.neuron.bounds import (
    breakpoint_bound,
    breakpoint_direction,
    latitude_bound,
    nearest_angle,
)
from secateurs.tickets.neuron.sup_error import Array, Form, checked, scaled_rows, sup_error

Mode = Literal["weights", "neurons"]

PAPER = "Ferre, Giroire, Mallmann-Trenn & Natale, arXiv 2603.02234"
BREAKPOINT = f"derived; the argument of {PAPER} on a plane through w*"
LATITUDE = "derived: proof in secateurs.tickets.neuron.bounds.latitude_bound"
COUNTING = "derived: 2^(masks) functions against the cap that each can serve"
COUNTING_WEIGHTS = f"{COUNTING}; for a target drawn uniformly from the sphere, false for an axis"
SINGLE = (
    "derived: one neuron with ||alpha w - w*|| <= eps, by quadrature, its error estimate taken off"
)
SMALLEST = 1e-300  # a larger probability asks for fewer neurons: safe
OUTWARD = 1e-9  # relative, of a width before it is rounded: more than its own rounding
# neurons for each bit, and those at eps = 1: the fit over the median of 100 networks, eps 2^-4 to
# 2^-16, that `python -m benchmarks.tickets.subset_sum --part slopes` prints
PER_BIT = {2: 3.90, 3: 6.58, 4: 8.68, 8: 18.60, 16: 38.68}
AT_ONE = {2: 22.0, 3: 30.0, 4: 41.8, 8: 101.8, 16: 216.0}
MEASURED = "measured: " + ", ".join(
    f"{PER_BIT[d]:g} log2(1/eps) + {AT_ONE[d]:g} (d = {d})" for d in PER_BIT
)
MEASURED += "; the fitted median of 100 networks, benchmarks/tickets/subset_sums.py"


def neuron_lower_bound(
    W: ArrayLike, target: ArrayLike, form: Form = "A", *, random_state: int = 0
) -> float:
    """No subset of these neurons, with any output weights, has a smaller sup error.

    The larger of two proven bounds of form A, times ||w*||: the breakpoint bound
    tan(delta / 2) / 2, with delta the least angle at which a neuron has its kink on the plane of
    w* and x0, and the latitude bound c_d delta*, with delta* the angle from w* to the nearest
    line +-w_i.  Any x0 gives a valid bound; x0 is searched to make it large.

    Parameters
    ----------
    W : array, shape [N, d]
    target : array, shape [d]
    form : {"A"}
    random_state : int
        Of the search for x0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For form B, where it is false: w = e1, -e1, e2, -e2 with alpha = (a, -a, b, -b) is
        a x_1 + b x_2, whose relu is the target exactly.

    Notes
    -----
    Proofs in `secateurs.tickets.neuron.bounds`.  `prune_neurons` returns a larger bound that
    holds for the given alpha.  Cost: O(d) nonnegative least squares problems of size [d, N].
    """
    rows = scaled_rows(np.atleast_1d(np.asarray(W, dtype=float)))  # any alpha: only lines count
    given = checked(rows, np.ones(len(rows)), target, form)
    _refuse_form_b(given.form)
    x0, delta = breakpoint_direction(given.V, given.target, random_state)
    angle = nearest_angle(given.V, given.target)
    bound = max(breakpoint_bound(delta), latitude_bound(angle, len(x0)))
    return float(np.linalg.norm(given.target)) * bound


@dataclass(frozen=True)
class RequiredWidth:
    """How many random neurons it takes to come within eps of one neuron.

    Attributes
    ----------
    necessary : int
        With fewer than this, the probability of success is below 1 - delta.  Proven, where
        neurons are pruned for any target, where weights are for one drawn uniformly from the
        sphere (it is false for an axis, which needs one weight only).
    necessary_source : str
    sufficient : int or None
        With this many it is at least 1 - delta when `sufficient_proven` (but for the error of
        the quadrature, which is estimated); otherwise about the median need of the networks
        measured, whatever `delta`; None where there is neither.
    sufficient_proven : bool
    sufficient_source : str
    """

    necessary: int
    necessary_source: str
    sufficient: int | None
    sufficient_proven: bool
    sufficient_source: str


def required_width(
    d: int, eps: float, delta: float = 0.5, mode: Mode = "neurons", form: Form | None = None
) -> RequiredWidth:
    """Width of a random network that holds a neuron within eps, from both sides.

    Parameters
    ----------
    d : int
        Inputs.
    eps : float
        Sup error over the unit ball, below 1 / 2; ||w*|| = 1.
    delta : float
        Allowed probability of failure.
    mode : {"weights", "neurons"}
        What may be pruned.
    form : {"A", "B"}, optional
        By default that for which the pruning is meant: "B" for weights, "A" for neurons.

    Returns
    -------
    RequiredWidth

    Raises
    ------
    ValueError
        On arguments out of range, and for weights under form A, where nothing is proven.

    Notes
    -----
    Necessary, both modes and forms (counting): a function within eps of relu(<w, x>) and of
    relu(<w', x>) has them at most 2 eps apart, so w' within the angle arcsin(2 eps) of w; 2^(masks)
    functions serve targets of probability at most 2^(masks) cap(arcsin(2 eps)), with N d masks
    that matter for weights and N for neurons.  For neurons this holds for every target, by
    symmetry; for weights, whose masks know the axes, for a target drawn uniformly from the
    sphere: for an axis a single weight may do.
    Necessary, neurons, form A: the error is at least tan(phi / 2) / 2 with phi the least of N
    angles uniform on [0, pi / 2] (gives .272 / eps at delta = 1 / 2), and at least
    latitude_bound(phi) with phi the angle to the nearest line, P(phi < t) = 2 cap(t): that is
    Omega(eps^-(d-1)).
    Sufficient, neurons: one neuron with ||alpha w - w*|| <= eps, by quadrature, its error estimate
    taken off; the measured need is far lower, about eps^-(d-1).
    Sufficient, weights: a line in log2(1 / eps) through the medians of 100 networks for d = 2, 3,
    4, 8, 16, interpolated in d and no more than that.
    Widths are rounded outward by 1e-9 of their size before they are made whole.
    """
    if isinstance(d, bool) or not isinstance(d, int) or d < 2:
        raise ValueError(f"got d = {d!r}; expected an integer of at least 2")
    if not 0 < eps < 0.5:
        raise ValueError(f"got eps = {eps!r}; expected 0 < eps < 1/2: the empty network has 1")
    if not 0 < delta < 1:
        raise ValueError(f"got delta = {delta!r}; expected a probability between 0 and 1")
    if mode not in ("weights", "neurons"):
        raise ValueError(f"got mode = {mode!r}; expected 'weights' or 'neurons'")
    form = ("B" if mode == "weights" else "A") if form is None else form
    if form not in ("A", "B"):
        raise ValueError(f"got form = {form!r}; expected 'A', 'B' or None")
    if mode == "weights":
        if form == "A":
            raise ValueError(
                "got mode = 'weights' with form = 'A'; expected form 'B': the masks of weight "
                "pruning have an error of order 1 without the outer relu"
            )
        bits = (math.log2(1 - delta) - _log2_cap(math.asin(2 * eps), d)) / d
        return RequiredWidth(_at_least(bits), COUNTING_WEIGHTS, *_weights_measured(d, eps))
    sides = [((math.log2(1 - delta) - _log2_cap(math.asin(2 * eps), d)), COUNTING)]
    if form == "A":
        sides += [(_draws(2 / math.pi * 2 * math.atan(2 * eps), delta), BREAKPOINT)]
        share = max(2 * 2.0 ** _log2_cap(_latitude_angle(eps, d), d), SMALLEST)
        sides += [(_draws(share, delta), LATITUDE)]
    most, source = max(sides)
    enough = _draws(_single_neuron(d, eps), delta)
    proven = math.isfinite(enough)
    return RequiredWidth(
        _at_least(most),
        source,
        math.ceil(enough * (1 + OUTWARD)) if proven else None,
        proven,
        SINGLE if proven else "none: the probability of one near neuron underflows",
    )


def ticket_certificate(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    eps: float,
    form: Form = "A",
    subset: ArrayLike | None = None,
    *,
    lower_bound: float | None = None,
    random_state: int = 0,
) -> Certificate:
    """Whether a pruned network is within eps of its target, and whether any could have been.

    Parameters
    ----------
    W : array, shape [N, d], alpha : array, shape [N], target : array, shape [d]
    eps : float
        The sup error asked for.
    form : {"A", "B"}
    subset : array of bool or of indices, optional
        Neurons that are kept; all by default.
    lower_bound : float, optional
        Of `prune_neurons`, for these alphas.
    random_state : int

    Returns
    -------
    Certificate
        "error": holds when the upper bound is at most eps, fails when the lower one exceeds it,
        unknown between them.  "attainable by these neurons": fails when a bound over all
        subsets exceeds eps; otherwise unknown, for a bound below eps shows nothing.
    """
    if not eps > 0:
        raise ValueError(f"got eps = {eps!r}; expected a positive error")
    if lower_bound is not None and not lower_bound >= 0:
        raise ValueError(f"got lower_bound = {lower_bound!r}; expected that of prune_neurons")
    given = checked(W, alpha, target, form)
    lower, upper = sup_error(W, alpha, target, form, subset, random_state=random_state)
    within: Verdict = "holds" if upper <= eps else "fails" if lower > eps else "unknown"
    checks = [
        Check(
            "error",
            f"form {form}: the sup error over the unit ball is between {lower:.6g} and "
            f"{upper:.6g}; at most {eps:g} asked",
            within,
            lower if within == "fails" else upper,
            eps,
            "derived: exact on circles, cells of the sphere for d > 2",
        )
    ]
    name = "attainable by these neurons"
    if given.form == "A":
        bound = neuron_lower_bound(W, target, "A", random_state=random_state)
        checks.append(
            Check(
                f"{name}, any output weights",
                f"form A: no subset, with any output weights, has an error below {bound:.6g}",
                "fails" if bound > eps else "unknown",
                bound,
                eps,
                f"{BREAKPOINT}; {LATITUDE}",
            )
        )
    else:
        checks.append(
            Check(
                f"{name}, any output weights",
                "form B: the breakpoint bound is false here and was not used",
                "unknown",
                None,
                eps,
                "counterexample: w = +-e1, +-e2 with alpha = (a, -a, b, -b)",
            )
        )
    if lower_bound is not None:
        checks.append(
            Check(
                name,
                f"form {form}: with these output weights no subset has an error below "
                f"{lower_bound:.6g}",
                "fails" if lower_bound > eps else "unknown",
                lower_bound,
                eps,
                "secateurs.tickets.prune_neurons, over all subsets: enumeration, duality, or the "
                "dual bound of HiGHS (d = 2, 20 < N <= 64)",
            )
        )
    return Certificate(tuple(checks))


def _refuse_form_b(form: Form) -> None:
    if form == "B":
        raise ValueError(
            "got form = 'B'; expected 'A': the bound is false under form B, where w = +-e1, +-e2 "
            "with alpha = (a, -a, b, -b) gives relu(a x_1 + b x_2), the target itself. "
            "prune_neurons has a bound for form B"
        )


def _log2_cap(angle: float, d: int) -> float:
    """log2 of the share of the sphere in R^d within `angle` <= pi / 2 of a point."""
    a, x = (d - 1) / 2, math.sin(angle) ** 2
    share = float(special.betainc(a, 0.5, x)) / 2
    if share > 0:
        return math.log2(share)
    # underflow: I_x(a, 1/2) <= x^a (1 - x)^(-1/2) / (a B(a, 1/2)), and a larger cap is safe
    log = a * math.log(x) - 0.5 * math.log1p(-x) - math.log(a) - float(special.betaln(a, 0.5))
    return log / math.log(2) - 1


def _at_least(width: float) -> int:
    return max(math.ceil(width * (1 - OUTWARD)), 1)


def _draws(p: float, delta: float) -> float:
    """Independent draws until one of probability p has come up with probability 1 - delta."""
    if p >= 1:
        return 1.0
    return math.log(delta) / math.log1p(-p) if p > 0 else math.inf


def _latitude_angle(eps: float, d: int) -> float:
    """The least angle on a fine grid with latitude_bound above eps; pi / 2 if there is none."""
    low, high = 0.0, math.pi / 2
    if latitude_bound(high, d) <= eps:
        return high
    for _ in range(50):
        middle = (low + high) / 2
        if latitude_bound(middle, d) > eps:
            high = middle
        else:
            low = middle
    return high


def _single_neuron(d: int, eps: float) -> float:
    """P(||alpha w - w*|| <= eps): alpha w is N(0, alpha^2 I), and alpha > 0 half of the time."""

    def density(a: float) -> float:
        return float(stats.ncx2.cdf((eps / a) ** 2, d, 1 / a**2) * stats.norm.pdf(a))

    value, error = integrate.quad(density, 0.05, 12.0, limit=200, epsabs=0.0, epsrel=1e-6)
    return max(float(value) - float(error), 0.0)


def _weights_measured(d: int, eps: float) -> tuple[int | None, bool, str]:
    sizes: Array = np.array(sorted(PER_BIT), dtype=float)
    if not sizes[0] <= d <= sizes[-1]:
        return None, False, f"none for d = {d}; {MEASURED}"
    slope = np.interp(d, sizes, [PER_BIT[int(k)] for k in sizes])
    start = np.interp(d, sizes, [AT_ONE[int(k)] for k in sizes])
    return math.ceil(float(slope) * math.log2(1 / eps) + float(start)), False, MEASURED
