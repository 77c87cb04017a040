"""
Check a published claim yourself
================================

Secateurs comes with the claims of four papers as measurements: an expected number, a tolerance and
a function. Four claims about recovery take a second. Do they hold on this machine?
"""

# %%
# Measure four claims
# -------------------
# On the command line, ``secateurs reproduce recovery`` measures all of them, and keeps a ledger.
# From Python, a claim is an object with its parts and a judge.

import matplotlib.pyplot as plt
import pandas as pd

from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.figures import claims_figure

names = ("convex-recovery", "keeps-more-than-s", "twins", "certificate")
claims = [claim for claim in CLAIMS["recovery"] if claim.name in names]
measured = []
for claim in claims:
    parts = claim.parts("quick")
    table = pd.DataFrame([{**part, **claim.result(part).metrics} for part in parts])
    measured.append(claim.judge(table))
    verdict = "holds" if claim.holds(measured[-1]) else "fails"
    print(f"{claim.name}: {measured[-1]:.2f}, expected {claim.told}: {verdict}")

# %%
# The picture
# -----------
# Every claim has an axis of its own, because their units may differ.

plt.figure(claims_figure(zip(claims, measured, strict=True)))

# %%
# What the certificate tells you
# ------------------------------
# A claim has no certificate. The check that matters is its statement, with its source:

for claim in claims:
    print(f"{claim.name}: {claim.statement}\n    {claim.source}")

# %%
# The source says whether a claim is the paper's or was found here. A claim says no more than its
# parts, and the quick scale has few of them; ``--scale full`` has more.
