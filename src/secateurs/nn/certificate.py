"""What is known about a network whose neurons were removed: measured, never implied."""

from __future__ import annotations

from secateurs.core.certificate import Certificate, Check

MIN_GAP = 2.0  # smallest norm that stayed over the largest that went
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def neuron_certificate(
    *,
    agreement: float,
    agreement_tolerance: float,
    gaps: dict[str, tuple[float, float]],
    loss_before: float,
    loss_after: float,
    allowed_increase: float,
) -> Certificate:
    """Check what removing neurons did.

    Parameters
    ----------
    agreement, agreement_tolerance : float
        Largest relative difference between outputs with neurons silenced and with them
        removed, over all removals, and the largest that is taken for rounding.
    gaps : dict of str to (float, float)
        For each layer that lost neurons the largest norm of its last removal, and the smallest
        that was left after greedy pruning.
    loss_before, loss_after : float
        On the validation rows.
    allowed_increase : float
        What was asked for.

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
                f"{agreement:.3g} of the largest output on the rows probed",
                "holds" if agreement <= agreement_tolerance else "fails",
                agreement,
                agreement_tolerance,
                "measured at every removal",
            ),
            _gap(gaps),
            Check(
                "validation loss",
                f"on the validation rows the loss went from {loss_before:.4g} to {loss_after:.4g}; "
                f"an increase of {allowed_increase:.3g} is allowed (these rows also chose among "
                "the states of training, and whether the module given had been trained on them "
                "cannot be told: new rows may be less kind)",
                "holds" if increase <= allowed_increase else "fails",
                increase,
                allowed_increase,
                "measured",
            ),
            Check(
                "stationarity",
                "training under the penalty ended at an approximate second-order stationary "
                "point, after which greedy pruning is proved to find the right number: not "
                "checked here, and proved for quadratic activations only",
                "unknown",
                None,
                None,
                PAPER,
            ),
        )
    )


def _gap(gaps: dict[str, tuple[float, float]]) -> Check:
    ratios = {
        name: stayed / went if went > 0 else float("inf") for name, (went, stayed) in gaps.items()
    }
    if not ratios:
        return Check(
            "norm gap", "no neuron was removed", "unknown", None, MIN_GAP, "measured at removal"
        )
    name = min(ratios, key=ratios.__getitem__)
    went, stayed = gaps[name]
    return Check(
        "norm gap",
        f"at the last removal in {name!r} the largest norm that went was {went:.3g} and the "
        f"smallest left in the end {stayed:.3g}, ratio {ratios[name]:.3g}; "
        f"at least {MIN_GAP:g} is called a gap",
        "holds" if ratios[name] >= MIN_GAP else "fails",
        ratios[name],
        MIN_GAP,
        "measured at removal; threshold: derived from the penalty's own scales",
    )
