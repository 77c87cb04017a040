"""
Which pairs of columns act together?
====================================

A linear model has one number for each column. Here the sum of five columns multiplies the sum of
five others, which makes 25 pairs of 780, and 300 rows have to show which. Neither a rank nor a
penalty is chosen.
"""

# %%
# Two groups of five among 40 columns
# -----------------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from secateurs import QuadraticRegressor
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.sensing.figures import interactions_figure

rng = np.random.default_rng(0)
X, X_new = rng.standard_normal((2, 300, 40))


def target(X):
    """Return a linear part, and the product of two sums of columns."""
    return X[:, 0] - X[:, 11] + 0.3 * X[:, 3:8].sum(axis=1) * X[:, 20:25].sum(axis=1)


y = target(X) + 0.5 * rng.standard_normal(len(X))
model = QuadraticRegressor(random_state=0).fit(X, y)
for pair in model.interactions_[:5]:
    print(f"{pair.first:>4} x {pair.second:<4} {pair.effect:+.2f}")

# %%
# The alternatives
# ----------------
# A line has no pairs. Lasso chooses among all 780 products and 40 squares.

line = RidgeCV(np.logspace(-2, 3, 11)).fit(X, y)
products = PolynomialFeatures(2, include_bias=False)
lasso = make_pipeline(products, StandardScaler(), LassoCV(alphas=30, cv=4)).fit(X, y)
kept = np.count_nonzero(lasso[-1].coef_)
scores = {
    "a line": line.score(X_new, target(X_new)),
    f"lasso on all products\n({kept} terms)": lasso.score(X_new, target(X_new)),
    f"Secateurs\n({model.n_components_} directions)": model.score(X_new, target(X_new)),
}

figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
bars = axis.barh(list(scores), list(scores.values()), color=[OTHERS, OTHERS, OURS])
axis.bar_label(bars, fmt="%.3f", padding=3)
axis.invert_yaxis()
axis.set_xlim(0, 1.1)
axis.set_xlabel("R² on new rows")
axis.grid(axis="x", color=SOFT)
axis.set_axisbelow(True)

# %%
# The pairs, as the library draws them
# ------------------------------------

plt.figure(interactions_figure(model))

# %%
# What the certificate tells you
# ------------------------------

print(model.certificate_)

# %%
# "second order" and "singular gap" say together that the number of directions is right, as far as
# noise allows to see. "held-out gain" and "held-out wins" are about new rows, and rest on rows that
# no choice was made on. Lasso predicts slightly better here, but it spreads the 25 pairs over many
# terms, and nothing says which of them are noise.
