"""
A picture from squared measurements
===================================

A detector measures the square of a weighted sum of all pixels, so the sign of every sum is lost.
How many such numbers determine an 8 x 8 picture, and how do you know that the picture you found is
the only one?
"""

# %%
# Measure a digit
# ---------------
# ``y_i = (x_i . u)^2`` is linear in the matrix ``u u^T``, which has rank 1. The solver is not told
# the rank.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from secateurs import MatrixSensing
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.sensing import RankOne

picture = load_digits().images[0] / 16
u = picture.ravel()


def measure(n, seed):
    X = np.random.default_rng(seed).standard_normal((n, u.size))
    return X, (X @ u) ** 2


def by_secateurs(X, y):
    return MatrixSensing(random_state=0).fit(RankOne(X), y)


# %%
# The usual way
# -------------
# Gradient descent (Wirtinger flow, Candes, Li & Soltanolkotabi 2015) starts from the leading
# eigenvector of a weighted covariance, and is told that there is one component. The largest step,
# 0.1, is the best of 0.05, 0.1 and 0.2 here.


def by_gradient_descent(X, y, n_steps=1000):
    vectors = np.linalg.eigh(X.T @ (y[:, None] * X) / len(y)).eigenvectors
    v = vectors[:, -1] * np.sqrt(y.mean())
    for step in range(n_steps):
        rate = min(1 - np.exp(-(step + 1) / 330), 0.1)
        product = X @ v
        v = v - rate / y.mean() * X.T @ ((product**2 - y) * product) / len(y)
    return v


def distance(v):
    """Return the distance from u or -u, whichever is nearer, over the length of u."""
    return min(np.linalg.norm(v - u), np.linalg.norm(v + u)) / np.linalg.norm(u)


# %%
# How many measurements?
# ----------------------
# Each point is the share of ten random sets of measurements that give the picture to six digits.

sizes = [64, 80, 96, 112, 128, 160, 192, 256, 320]
shares = {"Secateurs": [], "gradient descent": []}
false_claims = 0
for n in sizes:
    right, exact, descended = [], [], []
    for seed in range(10):
        X, y = measure(n, seed)
        model = by_secateurs(X, y)
        right.append(model.n_components_ == 1 and distance(model.components_[0]) < 1e-6)
        false_claims += model.status_ == "exact" and not right[-1]
        descended.append(distance(by_gradient_descent(X, y)) < 1e-6)
    shares["Secateurs"].append(100 * np.mean(right))
    shares["gradient descent"].append(100 * np.mean(descended))
    print(f"n = {n}: {shares['Secateurs'][-1]:.0f} %, {shares['gradient descent'][-1]:.0f} %")
print(f'"exact" was claimed and wrong in {false_claims} of {10 * len(sizes)} fits')

# %%
# The picture
# -----------
# Below, the pictures found from 112 numbers.

X, y = measure(112, 0)
model = by_secateurs(X, y)
found = model.components_[0] * np.sign(model.components_[0].sum())
descended = by_gradient_descent(X, y)
descended *= np.sign(descended.sum())

figure = plt.figure(figsize=(8, 5), layout="constrained")
curves, pictures = figure.subfigures(2, 1, height_ratios=(1.5, 1))
axis = curves.subplots()
axis.plot(sizes, shares["Secateurs"], "o-", color=OURS, linewidth=2.5, label="Secateurs")
axis.plot(sizes, shares["gradient descent"], "s--", color=OTHERS, label="gradient descent")
axis.set_xlabel("measurements of 64 pixels")
axis.set_ylabel("pictures found, %")
axis.grid(color=SOFT)
axis.legend(loc="center right")
names = ("the digit", "Secateurs, 112", "gradient descent, 112")
for axis, image, name in zip(pictures.subplots(1, 3), (u, found, descended), names, strict=True):
    axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    axis.set_title(name, fontsize="medium")
    axis.set_xticks([])
    axis.set_yticks([])

# %%
# What the certificate tells you
# ------------------------------

print(model.status_)
print(model.certificate_)

# %%
# "exact" means that the residual is zero and that no other matrix of this rank has the same
# measurements. "identification" shows this by the smallest singular value of the measurements on
# the directions in which the matrix can move. "sample size" fails because there are fewer
# measurements than the usual rule asks for; the rule is about matrices in general, and
# "identification" is about this one. The sign of the whole picture cannot be known.
