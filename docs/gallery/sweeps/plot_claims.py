"""
Check a published claim yourself
================================

Secateurs comes with the claims of four papers as measurements: an expected number, a tolerance and
a function. Here are the claims about tickets and recovery that take a second. Do they hold on this
machine?
"""

# %%
# Choose some claims
# ------------------
# On the command line, ``secateurs reproduce`` measures all of them. From Python, a claim is an
# object.

import time

from secateurs.experiments.claims import CLAIMS

for paper, claims in CLAIMS.items():
    for claim in claims:
        t = time.process_time()
        parts = claim.quick[:2]
        for part in parts:
            claim.measure(**part)
        print(
            paper,
            claim.name,
            len(claim.quick),
            (time.process_time() - t) / len(parts),
            claim.told,
            claim.quantity,
            flush=True,
        )
