"""
Ten copies of every row
=======================

Tables often have repeated rows: the same patient twice, the same customer every month. Split at
random, a validation set then has copies of training rows. Here the labels are pure noise. Which
numbers still look good?
"""

# %%
# Noise, repeated
# ---------------
# There are 150 different rows with labels thrown by a coin, and every row appears ten times.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from secateurs import SparseMLPClassifier
from secateurs.core.figures import OTHERS, OURS, SOFT

rng = np.random.default_rng(0)
X = np.repeat(rng.standard_normal((150, 20)), 10, axis=0)
y = np.repeat(rng.integers(0, 2, 150), 10)
order = rng.permutation(len(X))
X, y = X[order], y[order]
X_new, y_new = rng.standard_normal((5000, 20)), rng.integers(0, 2, 5000)

forest = RandomForestClassifier(50, random_state=0)
seeming = cross_val_score(forest, X, y, cv=5).mean()
real = forest.fit(X, y).score(X_new, y_new)
print(f"forest: {seeming:.1%} by cross-validation, {real:.1%} on new rows")

# %%
# The same rows, held out by Secateurs
# ------------------------------------
# All copies of a row are on the same side of the split, and the bound counts distinct rows. Where
# rows belong together without being equal, ``fit(X, y, groups=...)`` names them.

model = SparseMLPClassifier(200, model="network", random_state=0).fit(X, y)
check = model.certificate_["held-out error"]
scores = {
    "forest, cross-validated": seeming,
    "forest, new rows": real,
    "Secateurs, held out": model.validation_score_,
    "Secateurs, new rows": model.score(X_new, y_new),
}

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
percent = [100 * score for score in scores.values()]
bars = axis.barh(list(scores), percent, color=["#b5651d", OTHERS, OURS, OURS])
axis.bar_label(bars, fmt="%.0f %%", padding=3)
axis.axvline(50, color="black", linestyle=":")
axis.invert_yaxis()
axis.set_xlim(0, 112)
axis.set_xlabel("accuracy, % (dotted: guessing)")
axis.grid(axis="x", color=SOFT)
axis.set_axisbelow(True)

# %%
# What the certificate tells you
# ------------------------------

print(model.certificate_)

# %%
# "held-out error" is unknown: its few distinct rows cannot show that the network is better than
# guessing, and it is not. A bound that counted all 150 copies would have been false.
