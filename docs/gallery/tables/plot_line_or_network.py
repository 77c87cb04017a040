"""
Is a line enough?
=================

On many tables a linear model is as good as a network, and nobody wants a network then. Every fit
compares the two under the same budget, and keeps the line unless the network is better by more than
its error. Does it choose well?
"""

# %%
# Two tables
# ----------
# The first is nearly linear. In the second, a product and a square decide.

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

from secateurs import SparseMLPRegressor
from secateurs.core.figures import OTHERS, OURS

tables = {
    "Friedman 1": make_friedman1(500, noise=1.0, random_state=0),
    "diabetes": load_diabetes(return_X_y=True),
}

# %%
# Fit, and see what was kept
# --------------------------
# At most 40 weights are allowed. The choice is made by cross-validation on the training rows. We
# also score least squares and boosted trees with 100 trees.

scores = {}
for name, (X, y) in tables.items():
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
    model = SparseMLPRegressor(40, random_state=0).fit(X, y)
    judged = {kind: round(score, 3) for kind, score in model.choice_.scores.items()}
    print(f"{name}: {judged}, kept: the {model.choice_.model}")
    line = LinearRegression().fit(X, y)
    trees = HistGradientBoostingRegressor(random_state=0).fit(X, y)
    scores[name] = {
        "least squares": line.score(X_test, y_test),
        "boosted trees": trees.score(X_test, y_test),
        f"Secateurs: a {model.choice_.model}": model.score(X_test, y_test),
    }

# %%
# The picture
# -----------

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for axis, (name, row) in zip(axes, scores.items(), strict=True):
    bars = axis.barh(list(row), list(row.values()), color=[OTHERS, OTHERS, OURS])
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.12)
    axis.set_title(name)
    axis.set_xlabel("R² on test rows")

# %%
# What the certificate tells you
# ------------------------------
# The last fit, of the diabetes table:

print(model.describe().headline)
print(model.certificate_)

# %%
# The choice used training rows only, so the checks on held-out rows keep their meaning.
# ``report_["choice"]`` has the scores that decided.
