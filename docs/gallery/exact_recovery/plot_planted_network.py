"""
The network behind the data, to the last digit
==============================================

A small ReLU network generated the data. Training a network on them gives a good fit where the data
are, and a wrong one elsewhere. Exact recovery finds the weights themselves, and so the function
everywhere. How do you know that it did?
"""

# %%
# Plant a network, and find it
# ----------------------------
# Six neurons read 18 of 40 x 6 possible inputs, and there are 500 rows.
# The other method is a dense network of 100 neurons, trained by Adam.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neural_network import MLPRegressor

from secateurs import SparseReLURegressor, planted_relu
from secateurs.core.figures import OURS, SOFT

problem = planted_relu(n=500, d=40, m=6, s=18, random_state=0)
found = SparseReLURegressor(n_nonzero=18, n_neurons=6, random_state=0)
found.fit(problem.X, problem.y)
match = found.match(problem.truth[0])
print(f"{found.status_}, largest error of a weight {match.error:.1e}")

trained = MLPRegressor(
    hidden_layer_sizes=(100,), alpha=1e-3, learning_rate_init=5e-3, tol=1e-5, random_state=0
)
trained.fit(problem.X, problem.y)
print(f"R2 on fresh rows: {trained.score(problem.X_test, problem.y_test):.4f} by Adam,")
print(f"                  {found.score(problem.X_test, problem.y_test):.4f} by recovery")

# %%
# Walk away from the data
# -----------------------
# Both functions are drawn along the line through two rows. The band is as wide as all rows
# together.

first, second = problem.X[:2]
direction = (second - first) / np.linalg.norm(second - first)
steps = np.linspace(-15, 15, 601)
line = first + steps[:, None] * direction
planted = problem.truth[0].toarray()
truth = np.maximum(line @ planted.T, 0).sum(axis=1)
places = (problem.X - first) @ direction

figure, (walk, weights) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
walk.axvspan(places.min(), places.max(), color=SOFT, label="where the rows are")
walk.plot(steps, truth, color="black", linewidth=4, alpha=0.35, label="planted network")
walk.plot(steps, trained.predict(line), "--", color="#b5651d", label="100 neurons, Adam")
walk.plot(steps, found.predict(line), color=OURS, label="recovered")
walk.set_xlabel("place on the line")
walk.set_ylabel("output")
walk.legend(loc="upper left")
walk.set_ylim(top=1.5 * truth.max())

weights.axline((0, 0), slope=1, color=SOFT)
used = match.truth != 0
weights.plot(match.truth[used], match.found[used], "o", color=OURS)
weights.set_xlabel("planted weight")
weights.set_ylabel("recovered weight")
weights.set_title(f"{used.sum()} weights, largest error {match.error:.0e}")
weights.set_aspect("equal")

# %%
# What the certificate tells you
# ------------------------------
# A small residual alone would not show that the weights are right: other networks might fit as
# well. The status is "exact" only if the rows exclude every other network of the kinds that were
# examined.

print(found.certificate_)

# %%
# "identification" is the check that makes the difference. The two checks that are unknown will
# always be: they are assumptions of the theorem that no computation can decide. The :doc:`next
# example <plot_which_is_it>` has data that leave two answers.
