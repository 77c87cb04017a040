"""
How few weights do digits need?
===============================

A network for the 8 x 8 digits usually has thousands of weights. Here we ask for 50 to 500 and
look at the price. The same picture shows logistic regression with an L1 penalty, which is the
usual way to fewer weights, and a dense network.
"""

# %%
# Fit one budget after the other
# ------------------------------
# :func:`~secateurs.budget_path` starts with the largest budget and continues from one network to
# the next smaller one. A quarter of the rows is kept for the test.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from secateurs import SparseMLPClassifier, budget_path
from secateurs.core.figures import OURS, SOFT

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

budgets = [50, 100, 150, 200, 500]
path = budget_path(SparseMLPClassifier(random_state=0), X, y, budgets, X_test, y_test)
for budget, model, score in zip(path.budgets, path.estimators, path.scores, strict=True):
    print(f"{budget:4d} weights allowed, {model.n_nonzero_:4d} used: accuracy {score:.1%}")

# %%
# The alternatives
# ----------------
# The L1 penalty removes weights of a linear model. The dense network has 3,760 weights.

lasso_weights, lasso_scores = [], []
for strength in (0.03, 0.05, 0.1, 0.2, 0.4):
    line = LogisticRegression(l1_ratio=1.0, C=strength, solver="saga", tol=0.03, random_state=0)
    line.fit(X / 16, y)
    lasso_weights.append(np.count_nonzero(line.coef_) + len(line.intercept_))
    lasso_scores.append(line.score(X_test / 16, y_test))

dense = MLPClassifier((50,), learning_rate_init=0.01, tol=1e-3, random_state=0)
dense_score = dense.fit(X / 16, y).score(X_test / 16, y_test)

# %%
# The picture
# -----------
# The band reaches from the score on the test rows down to the worst accuracy that the certificate
# leaves possible.

colours = {"lasso": "#b5651d", "dense": "#3a6ea5"}
bound = [1 - model.certificate_["held-out error"].measured for model in path.estimators]
percent = 100 * np.asarray(path.scores)
figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
axis.plot(path.budgets, percent, "o-", color=OURS, linewidth=2.5, label="Secateurs")
axis.fill_between(
    path.budgets, 100 * np.asarray(bound), percent, color=OURS, alpha=0.15, label="certified, 95 %"
)
axis.plot(
    lasso_weights,
    100 * np.asarray(lasso_scores),
    "^--",
    color=colours["lasso"],
    label="L1 logistic regression",
)
axis.axhline(
    100 * dense_score, color=colours["dense"], linestyle=":", label="dense, all 3,760 weights"
)
axis.set_xscale("log")
axis.set_xticks(budgets, [str(budget) for budget in budgets])
axis.minorticks_off()
axis.set_xlabel("weights, biases included")
axis.set_ylabel("accuracy on test rows, %")
axis.grid(color=SOFT)
axis.legend(loc="lower right")

# %%
# A weight budget is also a budget of inputs
# ------------------------------------------
# The networks of 50, 100 and 200 weights read these pixels. The numbers count the weights on a
# pixel.

figure, axes = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained")
for axis, budget in zip(axes, (50, 100, 200), strict=True):
    first_layer = path.estimators[path.budgets.index(budget)].coefs_[0]
    counts = np.bincount(first_layer.indices, minlength=64).reshape(8, 8)
    axis.imshow(counts, cmap="Greens", vmax=5)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if count > 2 else "black",
            )
    axis.set_title(f"{budget} weights")
    axis.set_xlabel(f"{np.count_nonzero(counts)} of 64 pixels")
    axis.set_xticks([])
    axis.set_yticks([])

# %%
# What the certificate tells you
# ------------------------------
# The network of 200 weights:

print(path.estimators[path.budgets.index(200)].certificate_)

# %%
# "held-out error" is the statement to quote. It is about new images, and no choice was made on its
# rows. It is for this network alone: five bounds of 95 % do not hold together with 95 %. "Occam
# bound" is unknown, because the table is too small for a bound from the size of the network alone.
# On a single split, differences of less than one point between the curves mean nothing.
