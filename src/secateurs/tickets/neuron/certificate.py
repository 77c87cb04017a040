"""Certificates and widths for strong lottery tickets: what pruning a random network can reach.

    f(x) = relu(<w*, x>), ||w*|| = 1;  w_i ~ N(0, I_d), alpha_i ~ N(0, 1), i = 1 .. N
    form A: sum_{i in S} alpha_i relu(<w_i, x>),    form B: relu of that sum

Every function takes the form, and refuses a form for which its statement is false or unproven.
The sup is over the unit l2 ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, special, stats

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.parameters import bad_value, check_choice, check_integer, check_real
from secateurs.tickets.neuron.bounds import any_output_bound
from secateurs.tickets.neuron.latitude import latitude_bound
from secateurs.tickets.neuron.pruned_neuron import Form, checked, scaled_rows
from secateurs.tickets.neuron.sup_error import sup_error

Mode = Literal["weights", "neurons"]

PAPER = "Ferre, Giroire, Mallmann-Trenn & Natale, arXiv 2603.02234"
BREAKPOINT = f"derived; the argument of {PAPER} on a plane through w*"
LATITUDE = "derived: the theorem of docs/theory/latitude.md, every lemma checked by a test"
COUNTING = "derived: 2^(masks) functions against the cap that each can serve"
COUNTING_WEIGHTS = f"{COUNTING}; for a target drawn uniformly from the sphere, false for an axis"
SINGLE = "derived: one neuron with ||alpha w - w*|| <= eps, by quadrature minus its error estimate"
COUNTEREXAMPLE = "w = +-e1, +-e2 with alpha = (a, -a, b, -b)"
SMALLEST = 1e-300  # a probability is rounded up to this, which asks for fewer neurons: safe
OUTWARD = 1e-9  # relative rounding of a width before it is made whole: more than its own error
# neurons for each bit, and neurons at eps = 1: the line through the medians of 100 networks, eps
# 2^-4 to 2^-16, that `python -m benchmarks.tickets.subset_sum --part slopes` prints
PER_BIT = {2: 3.90, 3: 6.58, 4: 8.68, 8: 18.60, 16: 38.68}
AT_ONE = {2: 22.0, 3: 30.0, 4: 41.8, 8: 101.8, 16: 216.0}
MEASURED = (
    "measured: "
    + ", ".join(f"{PER_BIT[d]:g} log2(1/eps) + {AT_ONE[d]:g} (d = {d})" for d in PER_BIT)
    + "; a line through the medians of 100 networks, benchmarks/tickets/subset_sum.py"
)


def neuron_lower_bound(
    W: ArrayLike, target: ArrayLike, form: Form = "A", *, random_state: int = 0
) -> float:
    """Bound the sup error of every subset of these neurons, with any output weights, from below.

    The larger of two proven bounds of form A, times ||w*||.  The breakpoint bound is
    tan(delta / 2) / 2, where delta is the least angle at which a neuron has its kink on the plane
    of w* and x0.  The latitude bound is c_d delta*, where delta* is the angle from w* to the
    nearest line +-w_i.  Any x0 gives a valid bound; x0 is searched to make it large.

    Parameters
    ----------
    W : array, shape [N, d]
        Input weights w_i of the random neurons; their lengths do not matter.
    target : array, shape [d]
        The weights w* of the neuron to approximate, of any length but 0.
    form : {"A"}
        The network is h = sum alpha_i relu(<w_i, x>).  Form B, relu(h), is refused.
    random_state : int
        Random seed of the search for x0.

    Returns
    -------
    float
        The bound, in the units of the target; 0 if nothing could be proven.

    Raises
    ------
    ValueError
        For form B, where the bound is false: w = e1, -e1, e2, -e2 with alpha = (a, -a, b, -b) is
        a x_1 + b x_2, whose relu is the target exactly.

    Notes
    -----
    Proofs in `secateurs.tickets.neuron.bounds` and docs/theory/latitude.md.  `select_neurons`
    returns a larger bound that holds for the given alpha.  Cost: O(d) nonnegative least squares
    problems of size [d, N].
    """
    rows = scaled_rows(np.atleast_1d(np.asarray(W, dtype=float)))  # alpha can undo any scale
    given = checked(rows, np.ones(len(rows)), target, form)
    if given.form_b:
        raise bad_value(
            "form",
            form,
            f"'A', because the bound is false under form B: {COUNTEREXAMPLE} gives "
            "relu(a x_1 + b x_2), the target itself",
            "use the lower bound of select_neurons for form B",
        )
    bound = any_output_bound(given.V, given.target, random_state)
    return float(np.linalg.norm(given.target)) * bound


@dataclass(frozen=True)
class RequiredWidth:
    """How many random neurons are needed to come within eps of one neuron.

    Parameters
    ----------
    necessary : int
        With fewer neurons, the probability of success is below 1 - delta.  This is proven for any
        target where neurons are pruned.  Where weights are pruned it is proven for a target drawn
        uniformly from the sphere; it is false for an axis, which needs one weight only.
    necessary_source : str
        The argument behind `necessary`, with the paper if there is one.
    sufficient : int or None
        When `sufficient_proven`, the probability with this many neurons is at least 1 - delta (up
        to the error of the quadrature, which is estimated).  Otherwise it is about the median need
        of the networks that were measured, whatever `delta` is; None where neither is known.
    sufficient_proven : bool
        True if `sufficient` is proven; False if it was measured or is not known.
    sufficient_source : str
        The argument, or the measurement, behind `sufficient`.
    """

    necessary: int
    necessary_source: str
    sufficient: int | None
    sufficient_proven: bool
    sufficient_source: str


def required_width(
    d: int, eps: float, delta: float = 0.5, mode: Mode = "neurons", form: Form | None = None
) -> RequiredWidth:
    """Bound the width of a random network that holds a neuron within eps, from both sides.

    Parameters
    ----------
    d : int
        Inputs.
    eps : float
        Sup error over the unit ball, below 1 / 2; ||w*|| = 1.
    delta : float
        Allowed probability of failure.
    mode : {"weights", "neurons"}
        The parts of the network that may be pruned.
    form : {"A", "B"}, optional
        "B" for weights and "A" for neurons by default.

    Returns
    -------
    RequiredWidth
        A necessary and a sufficient number of neurons, each with its source.

    Raises
    ------
    ValueError
        An argument is out of range, or weights are asked for under form A, where nothing is proven.

    Notes
    -----
    Necessary, both modes and forms (counting): a function within eps of relu(<w, x>) and of
    relu(<w', x>) has them at most 2 eps apart, so w' is within the angle arcsin(2 eps) of w.
    2^(masks) functions serve targets of probability at most 2^(masks) cap(arcsin(2 eps)), with N d
    masks that matter for weights and N for neurons.  For neurons this holds for every target, by
    symmetry.  The masks of weights depend on the axes, so for weights it holds for a target drawn
    uniformly from the sphere: for an axis a single weight may do.
    Necessary, neurons, form A: the error is at least tan(phi / 2) / 2 with phi the least of N
    angles uniform on [0, pi / 2] (gives .272 / eps at delta = 1 / 2), and at least
    latitude_bound(phi) with phi the angle to the nearest line, P(phi < t) = 2 cap(t): that is
    Omega(eps^-(d-1)), more than ln(1 / delta) ((kappa_d / eps)^(d-1) - 1).
    Sufficient, neurons: one neuron with ||alpha w - w*|| <= eps, by quadrature minus its error
    estimate; the measured need is far lower, about eps^-(d-1).
    Sufficient, weights: a line in log2(1 / eps) through the medians of 100 networks for d = 2, 3,
    4, 8, 16, interpolated in d and not extrapolated.
    Widths are rounded outward by 1e-9 of their size before they are made whole.
    """
    d = check_integer("d", d, 2)
    check_real("eps", eps, above=0, below=0.5)
    check_real("delta", delta, above=0, below=1)
    check_choice("mode", mode, ("weights", "neurons"))
    form = ("B" if mode == "weights" else "A") if form is None else form
    check_choice("form", form, ("A", "B"))
    targets = math.log2(1 - delta) - _log2_cap(math.asin(2 * eps), d)
    if mode == "weights":
        if form == "A":
            raise bad_value(
                "form",
                form,
                "'B' with mode='weights', because without the outer relu the masks of weight "
                "pruning have an error of order 1",
            )
        return RequiredWidth(_at_least(targets / d), COUNTING_WEIGHTS, *_weights_measured(d, eps))
    sides = [(targets, COUNTING)]
    if form == "A":
        sides += [(_draws(2 / math.pi * 2 * math.atan(2 * eps), delta), BREAKPOINT)]
        share = max(2 * 2.0 ** _log2_cap(_latitude_angle(eps, d), d), SMALLEST)
        sides += [(_draws(share, delta), LATITUDE)]
    most, source = max(sides)
    enough = _draws(_single_neuron(d, eps), delta)
    if math.isfinite(enough):
        sufficient = math.ceil(enough * (1 + OUTWARD))
        return RequiredWidth(_at_least(most), source, sufficient, True, SINGLE)
    none = "none: the probability of one near neuron underflows"
    return RequiredWidth(_at_least(most), source, None, False, none)


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
    """Certify whether a pruned network is within eps of its target, and whether any could be.

    Parameters
    ----------
    W : array, shape [N, d]
        Input weights w_i of the random neurons.
    alpha : array, shape [N]
        Their output weights.
    target : array, shape [d]
        The weights w* of the neuron to approximate, of any length but 0.
    eps : float
        The sup error asked for.
    form : {"A", "B"}
        As in `sup_error`.
    subset : array of bool or of indices, optional
        Neurons that are kept; all by default.
    lower_bound : float, optional
        The lower bound of `select_neurons` for these alphas.
    random_state : int
        Random seed of the searches for large errors and for x0.  The bounds are valid for any seed.

    Returns
    -------
    Certificate
        "error": holds when the upper bound is at most eps, fails when the lower one exceeds it,
        unknown between them.  "attainable by these neurons": fails when a bound over all
        subsets exceeds eps.  Otherwise it is unknown, because a bound below eps proves nothing.
        Every check is of the functions of the given numbers in exact arithmetic.  The rounding of
        the bounds themselves is included; that of a network that is evaluated in float32 is not.
    """
    check_real("eps", eps, above=0)
    if lower_bound is not None:
        check_real("lower_bound", lower_bound, least=0)
    given = checked(W, alpha, target, form)
    lower, upper = sup_error(W, alpha, target, form, subset, random_state=random_state)
    within: Verdict = "holds" if upper <= eps else "fails" if lower > eps else "unknown"
    error = Check(
        "error",
        f"form {form}: in exact arithmetic on the given numbers, the sup error over the unit ball "
        f"is between {lower:.6g} and {upper:.6g}; at most {eps:g} was asked for",
        within,
        lower if within == "fails" else upper,
        eps,
        "derived: exact on circles, cells of the sphere for d > 2",
    )
    name = "attainable by these neurons"
    any_alpha = f"{name}, any output weights"
    if not given.form_b:
        bound = neuron_lower_bound(W, target, "A", random_state=random_state)
        statement = (
            "form A: in exact arithmetic no subset, with any output weights, has an error below "
            f"{bound:.6g}"
        )
        attainable = _attainable(any_alpha, statement, bound, eps, f"{BREAKPOINT}; {LATITUDE}")
    else:
        statement = "form B: the breakpoint bound is false here and was not used"
        source = f"counterexample: {COUNTEREXAMPLE}"
        attainable = Check(any_alpha, statement, "unknown", None, eps, source)
    if lower_bound is None:
        return Certificate((error, attainable))
    statement = (
        f"form {form}: in exact arithmetic, with these output weights, no subset has an error "
        f"below {lower_bound:.6g}"
    )
    source = (
        "secateurs.tickets.select_neurons, over all subsets: enumeration, duality, or the dual "
        "bound of HiGHS (d = 2, 20 < N <= 64)"
    )
    last = _attainable(name, statement, lower_bound, eps, source)
    return Certificate((error, attainable, last))


def _attainable(name: str, statement: str, bound: float, eps: float, source: str) -> Check:
    return Check(name, statement, "fails" if bound > eps else "unknown", bound, eps, source)


def _log2_cap(angle: float, d: int) -> float:
    """Return log2 of the share of the sphere in R^d within `angle` <= pi / 2 of a point."""
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
    """Return how many draws show an event of probability p with probability 1 - delta."""
    if p >= 1:
        return 1.0
    return math.log(delta) / math.log1p(-p) if p > 0 else math.inf


def _latitude_angle(eps: float, d: int) -> float:
    """Return the least angle, up to bisection, with latitude_bound above eps, or else pi / 2."""
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
    """Return P(||alpha w - w*|| <= eps): alpha w is N(0, alpha^2 I), half the time alpha > 0."""

    def density(a: float) -> float:
        return float(stats.ncx2.cdf((eps / a) ** 2, d, 1 / a**2) * stats.norm.pdf(a))

    value, error = integrate.quad(density, 0.05, 12.0, limit=200, epsabs=0.0, epsrel=1e-6)
    return max(float(value) - float(error), 0.0)


def _weights_measured(d: int, eps: float) -> tuple[int | None, bool, str]:
    sizes = sorted(PER_BIT)
    if not sizes[0] <= d <= sizes[-1]:
        return None, False, f"none for d = {d}; {MEASURED}"
    slope = float(np.interp(d, sizes, [PER_BIT[k] for k in sizes]))
    start = float(np.interp(d, sizes, [AT_ONE[k] for k in sizes]))
    return math.ceil(slope * math.log2(1 / eps) + start), False, MEASURED
