"""
Columns that matter only together
=================================

The target is a product of two columns plus the square of a third, among 1,000 columns and with 500
rows. Every column is uncorrelated with it, so correlations and lasso see nothing. Which columns
are they?
"""

# %%
# Three columns of a thousand
# ---------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LassoCV

from secateurs import SparseMultiIndexRegressor
from secateurs.core.figures import OTHERS, OURS
from secateurs.features.figures import features_figure

rng = np.random.default_rng(0)
X, X_new = rng.standard_normal((2, 500, 1000))


def target(X):
    return X[:, 100] * X[:, 500] + 0.7 * X[:, 900] ** 2


y = target(X) + 0.3 * rng.standard_normal(len(X))
planted = [100, 500, 900]

model = SparseMultiIndexRegressor(random_state=0).fit(X, y)
print("kept columns:", model.support_.tolist())
print(f"R2 on new rows: {model.score(X_new, target(X_new)):.3f}")


# %%
# Two usual ways
# --------------
# Lasso finds no column. A forest, which could, has too few rows for so many columns.

lasso = LassoCV(alphas=20).fit(X, y)
forest = RandomForestRegressor(40, max_features=0.1, random_state=0).fit(X, y)
print(
    f"lasso:  R2 {lasso.score(X_new, target(X_new)):.3f}, {np.count_nonzero(lasso.coef_)} columns"
)
print(f"forest: R2 {forest.score(X_new, target(X_new)):.3f}")

# %%
# What a correlation sees, and what the screen sees
# -------------------------------------------------
# Both axes are in standard deviations of pure noise. If nothing depended on anything, a column of
# the screen would cross the dotted line in at most one table of ten. The screen uses ranks, several
# transforms of the target, and products of columns.

centred = y - y.mean()
correlation = np.abs(X.T @ centred) / np.linalg.norm(centred)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for axis, scores, name in zip(
    axes, (correlation, model.scores_), ("correlation with the target", "screen"), strict=True
):
    axis.plot(scores, ".", color=OTHERS, markersize=3)
    axis.plot(planted, scores[planted], "o", color=OURS, markersize=7)
    axis.axhline(model.threshold_, color="black", linestyle=":")
    axis.set_title(name)
    axis.set_xlabel("column (green: in the target)")
axes[0].set_ylabel("score, standard deviations of noise")

# %%
# The library draws the columns and the directions that were found:

plt.figure(features_figure(model))

# %%
# What the certificate tells you
# ------------------------------

print(model.certificate_)

# %%
# "signal" and "screen" are the statements to quote: on a table without any dependence they would
# appear with a probability of at most about 0.1. "validation" is unknown because the columns were
# chosen with the validation rows; use rows of your own for a test, as the example does.
