"""
What if the shape may be anywhere?
==================================

A cross or a plus of nine pixels stands somewhere in an image of 12 x 10 pixels. A weight of a pixel
knows one place only, so a network of the pixels needs weights for every place. A learned filter has
one weight for all places. Which of the two finds the shape with 100 weights?
"""

# %%
# Images
# ------

import matplotlib.pyplot as plt
import numpy as np

from secateurs import SparseMLPClassifier
from secateurs.core.figures import OURS
from secateurs.tiny import learn_filters, quantize

rng = np.random.default_rng(0)
n, shape = 1200, (12, 10)
y = rng.integers(0, 2, n)
signs = np.array([[[1, 0, 1], [0, 1, 0], [1, 0, 1]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]]])
X = rng.integers(0, 60, (n, *shape))
for image, label, i, j in zip(X, y, rng.integers(0, 10, n), rng.integers(0, 8, n), strict=True):
    image[i : i + 3, j : j + 3] += 150 * signs[label]
X = X.reshape(n, -1).astype(np.uint8)
train, certify, test = slice(0, 600), slice(600, 900), slice(900, None)

# %%
# Two networks
# ------------
# Both have 100 weights. The second one reads what eight filters compute, one byte a window; the
# weights of the filters come on top.

options = {"n_nonzero": 100, "hidden_layer_sizes": (10,), "max_epochs": 60, "random_state": 0}
options |= {"model": "network", "validation_fraction": 0.0}
rows = {"certify": (X[certify], y[certify]), "epochs": 4}
plain = quantize(SparseMLPClassifier(**options).fit(X[train], y[train]), X[train], y[train], **rows)
filters = learn_filters(X[train], y[train], shape, n_filters=8, least_steps=800)
behind = SparseMLPClassifier(**options).fit(filters(X[train]), y[train])
network = quantize(behind, X[train], y[train], filters=filters, **rows)
for name, found in (("pixels", plain), ("filters", network)):
    accuracy = found.score(X[test], y[test])
    print(f"{name}: accuracy {accuracy:.3f} in {found.flash_bytes_} bytes")

# %%
# The picture
# -----------
# An image of each class, and the codes of the filters: whole numbers from -8 to 7.

figure, axes = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
for axis, label, title in zip(axes[:, 0], (0, 1), ("a cross", "a plus"), strict=True):
    axis.imshow(X[np.flatnonzero(y == label)[0]].reshape(shape), cmap="gray")
    axis.set_title(title)
for axis, codes in zip(axes[:, 1:].ravel(), filters.codes, strict=True):
    axis.imshow(codes, cmap="PuOr", vmin=-8, vmax=8)
    for (i, j), code in np.ndenumerate(codes):
        axis.text(j, i, code, ha="center", va="center", color="black", fontsize=8)
for axis in axes.ravel():
    axis.set_xticks([])
    axis.set_yticks([])
figure.suptitle("two images, and eight filters", color=OURS)

# %%
# What the certificate tells you
# ------------------------------

print(network.certificate_)

# %%
# "equality" and "no overflow" are about the program with its filters. The filters were learned on
# the training rows, so other rows certify.
