"""
Nothing to find
===============

A table of 300 columns has nothing to do with its target. A search through all columns always finds
a best one. How often does each method report columns, and how good does it look?
"""

# %%
# Thirty tables of noise
# ----------------------
# The columns are of the kinds that real tables have: numbers, rare flags and counts. Each table has
# 150 rows. We screen it. We also do what many people do: keep the ten columns with the largest
# correlations, and cross-validate a line on them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.model_selection import cross_val_score

from secateurs import SparseMultiIndexRegressor
from secateurs.core.figures import OTHERS, OURS
from secateurs.features import screen


def noise_table(seed, n=150):
    """Return 300 columns and a target, all independent."""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((n, 100))
    flags = rng.random((n, 100)) < 0.1
    counts = rng.poisson(0.5, (n, 100))
    return np.column_stack([numbers, flags, counts]).astype(float), rng.standard_normal(n)


n_tables = 30
passed, kept, seeming, real = [], [], [], []
for seed in range(n_tables):
    X, y = noise_table(seed)
    found = screen(X, y)
    passed.append((found.scores > found.threshold).any())
    lasso = LassoCV(alphas=15, eps=0.05, cv=4, tol=1e-3, max_iter=5000).fit(X, y)
    kept.append((lasso.coef_ != 0).any())

    correlations = np.nan_to_num(np.corrcoef(X.T, y)[-1, :-1])
    best = np.argsort(-np.abs(correlations))[:10]
    line = LinearRegression().fit(X[:, best], y)
    seeming.append(cross_val_score(line, X[:, best], y, cv=5).mean())
    X_new, y_new = noise_table(1000 + seed)
    real.append(line.score(X_new[:, best], y_new))

print(f"screen: {sum(passed)} of {n_tables} tables have a column that passes")
print(f"lasso:  {sum(kept)} of {n_tables} tables have a column that is kept")
print(
    f"ten best columns: R2 {np.mean(seeming):.2f} by cross-validation, {np.mean(real):.2f} really"
)

# %%
# The picture
# -----------
# A screen with ``alpha=0.1``, its default, may report something in a tenth of the tables.

figure, (tables, looks) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
shares = [100 * np.mean(passed), 100 * np.mean(kept)]
bars = tables.bar(["Secateurs' screen", "lasso"], shares, color=[OURS, OTHERS], width=0.5)
tables.bar_label(bars, fmt="%.0f %%")
tables.axhline(10, color="black", linestyle=":", label="promised: at most 10 %")
tables.set_ylabel("tables of noise with a finding, %")
tables.set_ylim(top=max(shares) + 15)
tables.legend()

edges = np.linspace(-0.6, 0.6, 25)
looks.hist(seeming, edges, color="#b5651d", label="cross-validation")
looks.hist(real, edges, color=OTHERS, alpha=0.7, hatch="//", label="new rows")
looks.axvline(0, color="black", linewidth=1)
looks.set_xlabel("R² of the ten best columns")
looks.set_ylabel("tables")
looks.legend()

# %%
# What the certificate tells you
# ------------------------------

model = SparseMultiIndexRegressor(random_state=0).fit(*noise_table(0))
print("signal:", model.signal_detected_)
for name in ("signal", "screen", "validation"):
    print(model.certificate_[name].verdict, model.certificate_[name].statement, sep=": ")

# %%
# A model is returned all the same, because a pipeline needs one. ``signal_detected_`` and the first
# check say not to trust it.
