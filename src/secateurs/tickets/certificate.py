"""What is certified about a network found inside a random one, and what is not."""

from __future__ import annotations

import math

from secateurs.core.certificate import Certificate, Check
from secateurs.tickets.verify import TicketReport


def network_certificate(report: TicketReport, eps: float) -> Certificate:
    """The statements that `verify_ticket` has shown.

    Parameters
    ----------
    report : TicketReport
    eps : float
        Largest error of a weight that was asked for, in units of the largest ``|weight|`` of its
        tensor.

    Returns
    -------
    Certificate
        "weights": holds when every one is within eps in these units.  "outputs": a bound for all
        inputs of the radius (with no negative entry, where the ticket was made for such), with
        no threshold; unknown when the bound is not finite.  "predictions" is always unknown: no
        data were looked at.
    """
    if not eps > 0:
        raise ValueError(f"got eps = {eps!r}; expected a positive error")
    weights = Check(
        "weights",
        f"the masks, added up from the seed again, are within {eps:g} of all {report.n_weights} "
        "weights, in units of the largest of each tensor",
        "holds" if report.n_outside == 0 and report.max_error <= eps else "fails",
        report.max_error,
        eps,
        "measured in float64",
    )
    inputs = f"for every input of l2 norm at most {report.radius:g}"
    if report.nonnegative_inputs:
        inputs += " with no negative entry"
    bounded = math.isfinite(report.error_bound)
    outputs = Check(
        "outputs",
        f"{inputs} the outputs differ by at most {report.error_bound:.4g} in l2, in exact "
        "arithmetic"
        if bounded
        else "the bound of the outputs leaves float64",
        "holds" if bounded else "unknown",
        report.error_bound if bounded else None,
        None,
        "derived: secateurs.tickets.verify, through the norms of the layers",
    )
    predictions = Check(
        "predictions",
        "no data were looked at; compare effective_module(ticket) with the target on yours",
        "unknown",
        None,
        None,
        "none",
    )
    return Certificate((weights, outputs, predictions))
