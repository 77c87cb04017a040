"""The papers' claims: one file for each paper, and one line for it here.

To add a claim, append a `Claim` to the list in the file of its paper.  `secateurs reproduce` and
its tests find it there.
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
