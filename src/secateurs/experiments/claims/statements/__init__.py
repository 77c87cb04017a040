"""The papers' statements: one file of data for each paper, and one line for it here.

A new claim in ``claims/PAPER.py`` is named by a statement in ``claims/statements/PAPER.py``.
`secateurs reproduce --list` shows them all, and a test compares the two.
"""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement
from secateurs.experiments.claims.statements import features, recovery, sensing, tickets

STATEMENTS: dict[str, tuple[Statement, ...]] = {
    "recovery": recovery.STATEMENTS,
    "features": features.STATEMENTS,
    "sensing": sensing.STATEMENTS,
    "tickets": tickets.STATEMENTS,
}
