"""
When the data leave two answers
===============================

A fit without any residual is no proof. If column 1 is a copy of column 0, nobody can say which of
the two the network reads, and the weights that were found may be wrong. An honest method says so.
"""

# %%
# The same network, with other columns beside it
# ----------------------------------------------
# The planted network does not read column 1. We replace that column, fit again, and compare the
# weights with the planted ones.

import matplotlib.pyplot as plt
import numpy as np

from secateurs import SparseReLURegressor, planted_relu
from secateurs.core.figures import OURS, SOFT

problem = planted_relu(n=300, d=10, m=2, s=5, random_state=0)
weights = problem.truth[0].toarray()
weights[:, 0] += weights[:, 1] + 0.5
weights[:, 1] = 0
y = np.maximum(problem.X @ weights.T, 0).sum(axis=1)
first = problem.X[:, 0]

columns = {
    "its own numbers": problem.X[:, 1],
    "correlated, 0.8": 0.8 * first + 0.6 * problem.X[:, 1],
    "a copy of column 0": first,
    "column 0 times -2": -2 * first,
    "sum of columns 0 and 2": first + problem.X[:, 2],
}
models, errors = [], []
for name, column in columns.items():
    X = problem.X.copy()
    X[:, 1] = column
    model = SparseReLURegressor(np.count_nonzero(weights), n_neurons=2, random_state=0).fit(X, y)
    models.append(model)
    errors.append(model.match(weights).error)
    print(f"{name:<24} {model.status_:<10} largest error of a weight {errors[-1]:.1e}")

# %%
# The picture
# -----------
# A bar that ends at the left is a right answer. Only some of the right answers may be called exact.

figure, axis = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
exact = [model.status_ == "exact" for model in models]
colours = [OURS if is_exact else SOFT for is_exact in exact]
bars = axis.barh(list(columns), np.maximum(errors, 1e-17), color=colours, edgecolor="black")
axis.bar_label(bars, [model.status_ for model in models], padding=4)
axis.set_xscale("log")
axis.set_xlim(1e-18, 1e3)
axis.invert_yaxis()
axis.set_xlabel("largest error of a weight (green: the status is exact)")
axis.set_ylabel("column 1 is")

# %%
# What the certificate tells you
# ------------------------------

for name, model in zip(columns, models, strict=True):
    check = model.certificate_["identification"]
    print(f"{name}: {check.verdict}\n    {check.statement}")

# %%
# The fit with a copy happened to find the planted weights, but it is not called exact: the sentence
# names the other answer. The sum of two columns does no harm here, because reading it instead would
# take weights that the budget does not have.
