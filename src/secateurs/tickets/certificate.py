"""The certificate of a network that was found inside a random one."""

from __future__ import annotations

import math

from secateurs.core.certificate import Certificate, Check
from secateurs.core.parameters import check_real
from secateurs.tickets.verify import TicketReport


def network_certificate(report: TicketReport, eps: float) -> Certificate:
    """Certify the results of `verify_ticket`.

    Parameters
    ----------
    report : TicketReport
        The measured errors and bounds.
    eps : float
        The largest error of a weight that is allowed, in units of the largest ``|weight|`` of its
        tensor.

    Returns
    -------
    Certificate
        "weights" holds when every weight is within eps.  "outputs" gives a bound for all inputs
        of the radius, without a threshold, for the modules that `masked_module` and
        `effective_module` return, with the rounding of their float32 and of the target's dtype; it
        is unknown when the bound is not finite.  Where the ticket was made for inputs without a
        negative entry, the bound is for such inputs only.
        "predictions" is always unknown, because no data were used.
    """
    check_real("eps", eps, above=0)
    weights = Check(
        "weights",
        f"the sums of the masked random weights, drawn again from the seed, are within {eps:g} of "
        f"all {report.n_weights} weights, in units of the largest weight of each tensor",
        "holds" if report.n_outside == 0 and report.max_error <= eps else "fails",
        report.max_error,
        eps,
        "measured in float64",
    )
    inputs = f"for every input of l2 norm at most {report.radius:g}"
    if report.nonnegative_inputs:
        inputs += " with no negative entry"
    bound = report.error_bound
    source = "derived: secateurs.tickets.verify, through the norms and roundings of the layers"
    if math.isfinite(bound):
        statement = (
            f"{inputs} the outputs of masked_module, computed in float32, differ from those of the "
            f"target, computed in {report.dtype}, by at most {_up(bound)} in l2, and those of "
            f"effective_module by at most {_up(report.effective_error_bound)}, rounding included "
            "(IEEE arithmetic with direct sums: no TF32, autocast or Winograd); in exact "
            f"arithmetic the bound of both is {_up(report.exact_error_bound)}"
        )
        outputs = Check("outputs", statement, "holds", bound, None, source)
    else:
        statement = "the bound of the outputs leaves float64, or an output may overflow"
        outputs = Check("outputs", statement, "unknown", None, None, source)
    statement = "no data were used; compare effective_module(ticket) with the target on your data"
    predictions = Check("predictions", statement, "unknown", None, None, "none")
    return Certificate((weights, outputs, predictions))


def _up(bound: float) -> str:
    """Return a bound in four digits, rounded up so that the text is true too."""
    shown = f"{bound:.4g}"
    return shown if float(shown) >= bound else f"{bound * (1 + 1e-3):.4g}"
