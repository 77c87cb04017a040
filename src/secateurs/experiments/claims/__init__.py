"""The papers' claims, one file for each paper, one line for it here.

To add a claim, append it to the list of its paper's file: a `Claim` whose `measure` is a function
of that file.  Nothing else has to know; `secateurs reproduce` and its tests find it.
"""

from __future__ import annotations

from secateurs.experiments.claims import features, recovery, sensing, tickets
from secateurs.experiments.claims.claim import Claim

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "recovery": recovery.CLAIMS,
    "features": features.CLAIMS,
    "sensing": sensing.CLAIMS,
    "tickets": tickets.CLAIMS,
}
