"""The certificate of a module whose neurons were removed."""

from __future__ import annotations

from secateurs.core.certificate import Certificate, Check

FORMS = {"class": "in its own class", "graph": "as an exported graph"}
MIN_GAP = 2.0  # smallest norm that was kept over the largest that was removed
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def equality_check(error: float, tolerance: float, n_calls: int, n_groups: int, form: str) -> Check:
    """Check that a smaller module computes the function of the silenced one.

    Parameters
    ----------
    error, tolerance : float
        Largest difference over the largest output, in float64.
    n_calls : int
        Calls that were compared.
    n_groups : int
        Groups that were also removed alone.
    form : str
        "class" or "graph".
    """
    alone = f", and each of {n_groups} groups alone" if n_groups else ""
    return Check(
        "equality",
        f"the smaller module ({FORMS[form]}) and the wide one with the removed channels set to "
        f"zero gave the same outputs in float64, to {error:.3g} of the largest output, on "
        f"{n_calls} calls: the example, random inputs and other numbers of rows{alone}",
        "holds" if error <= tolerance else "fails",
        error,
        tolerance,
        "measured",
    )


def neuron_certificate(
    *,
    agreement: float,
    agreement_tolerance: float,
    gaps: dict[str, tuple[float, float]],
    loss_before: float,
    loss_after: float,
    allowed_increase: float,
) -> Certificate:
    """Make the certificate of a removal of neurons.

    Parameters
    ----------
    agreement, agreement_tolerance : float
        Largest relative difference between outputs with neurons silenced and with them
        removed, over all removals, and the largest difference that rounding explains.
    gaps : dict of str to (float, float)
        For each layer that lost neurons, the largest norm of its last removal and the smallest
        norm that was kept after greedy pruning.
    loss_before, loss_after : float
        On the validation rows.
    allowed_increase : float
        Largest increase of the loss that is allowed.

    Returns
    -------
    Certificate
        Checks "removal", "norm gap", "validation loss", "stationarity" (always "unknown").
    """
    increase = loss_after - loss_before
    return Certificate(
        (
            Check(
                "removal",
                "outputs with the neurons silenced and with them removed differed by at most "
                f"{agreement:.3g} of the largest output on the probe rows",
                "holds" if agreement <= agreement_tolerance else "fails",
                agreement,
                agreement_tolerance,
                "measured at every removal",
            ),
            _gap(gaps),
            Check(
                "validation loss",
                f"on the validation rows the loss went from {loss_before:.4g} to {loss_after:.4g}; "
                f"an increase of {allowed_increase:.3g} is allowed (the state of training was "
                "also chosen on these rows, and the given module may have been trained on them, "
                "so the loss on new rows may be higher)",
                "holds" if increase <= allowed_increase else "fails",
                increase,
                allowed_increase,
                "measured",
            ),
            Check(
                "stationarity",
                "training under the penalty ended at an approximate second-order stationary "
                "point, from which greedy pruning provably finds the right number of neurons "
                "(this is not checked here, and proved for quadratic activations only)",
                "unknown",
                None,
                None,
                PAPER,
            ),
        )
    )


def _gap(gaps: dict[str, tuple[float, float]]) -> Check:
    ratios = {
        name: kept / removed if removed > 0 else float("inf")
        for name, (removed, kept) in gaps.items()
    }
    if not ratios:
        return Check(
            "norm gap", "no neuron was removed", "unknown", None, MIN_GAP, "measured at removal"
        )
    name = min(ratios, key=ratios.__getitem__)
    removed, kept = gaps[name]
    return Check(
        "norm gap",
        f"in {name!r} the smallest norm that was kept, {kept:.3g}, is {ratios[name]:.3g} times the "
        f"largest norm of the last removal, {removed:.3g}; a ratio of at least {MIN_GAP:g} is "
        "called a gap",
        "holds" if ratios[name] >= MIN_GAP else "fails",
        ratios[name],
        MIN_GAP,
        "measured at removal; threshold: derived from the scales of the penalty",
    )
