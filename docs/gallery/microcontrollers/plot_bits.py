"""
How many bits does a weight need?
=================================

A network for digits has to fit into about half a kilobyte of flash, with all of its code. Fewer
bits a weight leave room for more weights. What do 2, 3, 4 and 8 bits cost?
"""

# %%
# One network, four programs
# --------------------------
# ``quantize`` trains the weights further while they are rounded. The support does not change.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from secateurs import SparseMLPClassifier
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.tiny import quantize
from secateurs.tiny.quantization import round_weights

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
model = SparseMLPClassifier(250, model="network", random_state=0).fit(X, y)
whole = 100 * model.score(X_test, y_test)

bits = [2, 3, 4, 8]
networks = [quantize(model, X, y, n, epochs=4, least_steps=300) for n in bits]
scores = [100 * network.score(X_test, y_test) for network in networks]
for n, network, score in zip(bits, networks, scores, strict=True):
    print(f"{n} bits: {score:.1f} %, {network.flash_bytes_} bytes of flash")

# %%
# Rounding alone
# --------------
# For comparison, the weights are only rounded, without any rows.

alone = [100 * round_weights(model, n).score(X_test, y_test) for n in bits]
print([f"{score:.1f} %" for score in alone])

# %%
# The picture
# -----------

flash = [network.flash_bytes_ for network in networks]
figure, axis = plt.subplots(figsize=(6.6, 4), layout="constrained")
axis.plot(flash, scores, "o-", color=OURS, linewidth=2.5, label="rounded and trained further")
axis.plot(flash, alone, "s--", color=OTHERS, label="only rounded")
axis.axhline(whole, color="black", linestyle=":", label="the network in floating point")
for n, x, score in zip(bits, flash, scores, strict=True):
    axis.annotate(f"{n} bits", (x, score), xytext=(0, -15), textcoords="offset points", ha="center")
axis.set_xlim(min(flash) - 20, max(flash) + 20)
axis.set_xlabel("flash with all code on a Cortex-M0, bytes")
axis.set_ylabel("accuracy on test rows, %")
axis.grid(color=SOFT)
axis.legend(loc="lower right")

# %%
# What the certificate tells you
# ------------------------------
# For the program of 4 bits:

print(networks[bits.index(4)].certificate_)

# %%
# "equality" and "no overflow" are about every input, and nothing is measured in them: the program
# works with whole numbers, whose largest possible sums are counted. The bytes are an estimate for
# ``arm-none-eabi-gcc -Os``, which the tests compare with the compiler.
