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

from secateurs.core.figures import OURS, SOFT
from secateurs.experiments.claims import CLAIMS

names = ("convex-recovery", "keeps-more-than-s", "twins", "certificate")
claims = [claim for claim in CLAIMS["recovery"] if claim.name in names]
measured = []
for claim in claims:
    table = []
    for part in claim.parts("quick"):
        result = claim.measure(**part)
        table.append({**part, **getattr(result, "metrics", result)})
    measured.append(claim.judge(pd.DataFrame(table)))
    verdict = "holds" if claim.holds(measured[-1]) else "fails"
    print(f"{claim.name}: {measured[-1]:.2f}, expected {claim.told}: {verdict}")

# %%
# The picture
# -----------
# The bars are the tolerances. The dots are the numbers that were measured just now.

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for place, (claim, number) in enumerate(zip(claims, measured, strict=True)):
    low, high = max(claim.low, 0), min(claim.high, 1)
    axis.barh(place, high - low + 0.02, left=low - 0.01, color=SOFT)
    axis.plot(number, place, "o", color=OURS, markersize=9)
axis.set_yticks(range(len(claims)), [claim.name for claim in claims])
axis.invert_yaxis()
axis.set_xlim(-0.05, 1.05)
axis.set_xlabel("measured share (grey: within the tolerance)")

# %%
# What the certificate tells you
# ------------------------------
# A claim has no certificate. The check that matters is its statement, with its source:

for claim in claims:
    print(f"{claim.name}: {claim.statement}\n    {claim.source}")

# %%
# The source says whether a claim is the paper's or was found here. A claim says no more than its
# parts, and the quick scale has few of them; ``--scale full`` has more.
