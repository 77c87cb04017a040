"""
Does the device compute what was trained?
=========================================

A network for a table becomes a C program that computes with whole numbers. How far are its
predictions from those of the network in floating point, and can a sum overflow for some input that
nobody has tried?
"""

# %%
# A network for ten columns
# -------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1

from secateurs import SparseMLPRegressor
from secateurs.core.figures import OURS, SOFT
from secateurs.tiny import quantize

X, y = make_friedman1(600, noise=0.5, random_state=0)
X, X_test, y, y_test = X[:400], X[400:], y[:400], y[400:]
model = SparseMLPRegressor(60, model="network", random_state=0).fit(X, y)
program = quantize(model, X, y, bits=6, epochs=4, least_steps=400)
r2, r2_program = model.score(X_test, y_test), program.score(X_test, y_test)
print(f"R2 on test rows: {r2:.3f} in floating point, {r2_program:.3f} in whole numbers")
print(f"{program.flash_bytes_} bytes of flash, {program.ram_bytes_} bytes of RAM")

# %%
# The program
# -----------
# ``program.to_c("net.c")`` writes two files. They begin like this:

source, header = program.c_source()
print("\n".join(source.splitlines()[:10]))

# %%
# The picture
# -----------
# On the right, the largest sum that any input can cause in each layer, and the limit of the type.

figure, (points, sums) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
points.plot(model.predict(X_test), program.predict(X_test), ".", color=OURS)
points.axline((15, 15), slope=1, color="black", linewidth=1)
points.set_xlabel("prediction in floating point")
points.set_ylabel("prediction of the program")
points.set_aspect("equal")

worst = [int(np.max(largest)) for largest in program.worst_sums_]
places = [f"layer {number + 1}" for number in range(len(worst))]
bars = sums.bar(places, worst, color=OURS, width=0.5)
sums.bar_label(bars, fmt="{:,.0f}")
sums.axhline(2**31 - 1, color="black", linestyle=":", label="limit of 32 bits")
sums.set_yscale("log")
sums.set_ylim(1, 1e11)
sums.set_ylabel("largest possible sum")
sums.grid(axis="y", color=SOFT)
sums.set_axisbelow(True)
sums.legend(loc="upper left")

# %%
# What the certificate tells you
# ------------------------------

print(program.certificate_)

# %%
# "no overflow" is about all inputs that the type can hold, not only about those of the table.
# "held-out gain" is about the program itself, after rounding.
