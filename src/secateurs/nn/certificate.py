"""Checks of a module whose channels were removed."""

from __future__ import annotations

from secateurs.core.certificate import Check, Verdict

FORMS = {"class": "in its own class", "graph": "as an exported graph"}
MIN_GAP = 2.0  # smallest norm that was kept over the largest that was removed
MOST_FORCED = 0.1  # share of the removed channels that had not vanished
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def equality_check(
    error: float, tolerance: float, n_calls: int, n_groups: int, form: str, rounding: float = 0.0
) -> Check:
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
    rounding : float
        The difference of the module that is returned, if some of its weights were multiplied by a
        factor and rounded.
    """
    alone = f", and each of {n_groups} groups alone" if n_groups else ""
    if rounding > tolerance:
        alone += (
            "; the scale of attention is part of the weights of the queries, whose rounding "
            f"changes the outputs by {rounding:.3g} of the largest"
        )
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


def loss_check(before: float, after: float, allowed: float | None) -> Check:
    """Check the increase of the loss on the validation rows; "unknown" if none was allowed."""
    increase = after - before
    limit = "" if allowed is None else f"; an increase of {allowed:.3g} is allowed"
    verdict: Verdict = "unknown"
    if allowed is not None:
        verdict = "holds" if increase <= allowed else "fails"
    return Check(
        "validation loss",
        f"on the validation rows the loss went from {before:.4g} to {after:.4g}{limit} (the state "
        "of training was also chosen on these rows, and the given module may have been trained "
        "on them, so the loss on new rows may be higher)",
        verdict,
        increase,
        allowed,
        "measured",
    )


def path_checks(
    gaps: dict[str, tuple[float, float]], n_forced: int, n_removed: int, agreement: float
) -> tuple[Check, ...]:
    """Check a path under the group lasso.

    Parameters
    ----------
    gaps : dict of str to (float, float)
        For each group that lost channels, the largest norm of its last removal and the smallest
        norm that was kept after greedy pruning.
    n_forced, n_removed : int
        Channels that had not vanished when the path ended and were removed all the same, and all
        channels that were removed.
    agreement : float
        Largest relative difference of outputs at the removals.

    Returns
    -------
    tuple of Check
        "norm gap", "path length" and "stationarity" (always "unknown").
    """
    return (
        gap_check(gaps),
        length_check(n_forced, n_removed, agreement),
        Check(
            "stationarity",
            "training under the penalty ended at an approximate second-order stationary point, "
            "from which greedy pruning provably finds the right number of neurons (this is not "
            "checked here, and proved for quadratic activations only)",
            "unknown",
            None,
            None,
            PAPER,
        ),
    )


def length_check(n_forced: int, n_removed: int, agreement: float) -> Check:
    """Check that almost all channels that were removed had vanished on the path."""
    forced = n_forced / max(n_removed, 1)
    return Check(
        "path length",
        f"{n_forced} of {n_removed} removed channels had not vanished when the path ended; "
        f"more than {MOST_FORCED:.0%} means that n_steps is too short (at the removals along "
        f"the path the outputs changed by at most {agreement:.3g} of the largest output)",
        "holds" if forced <= MOST_FORCED else "fails",
        forced,
        MOST_FORCED,
        "counted",
    )


def gap_check(gaps: dict[str, tuple[float, float]]) -> Check:
    """Check that the smallest norm that was kept is well above the largest that was removed."""
    ratios = {
        name: kept / removed if removed > 0 else float("inf")
        for name, (removed, kept) in gaps.items()
    }
    if not ratios:
        return Check(
            "norm gap", "no channel was removed", "unknown", None, MIN_GAP, "measured at removal"
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
