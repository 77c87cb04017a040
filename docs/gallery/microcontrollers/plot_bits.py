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
from secateurs.tiny import bits_figure, quantize, round_weights

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
model = SparseMLPClassifier(250, model="network", random_state=0).fit(X, y)

bits = [2, 3, 4, 8]
networks = [quantize(model, X, y, n, epochs=4, least_steps=300) for n in bits]
for n, network in zip(bits, networks, strict=True):
    score = network.score(X_test, y_test)
    print(f"{n} bits: {score:.1%}, {network.flash_bytes_} bytes of flash")

# %%
# Rounding alone
# --------------
# For comparison, the weights are only rounded, without any rows. Such a program does not know that
# the inputs are pixels, so that it has code to scale them, and takes more bytes.

alone = [round_weights(model, n) for n in bits]
print([f"{network.score(X_test, y_test):.1%}" for network in alone])

# %%
# The picture
# -----------

series = {
    "rounded and trained further": [(net, net.score(X_test, y_test)) for net in networks],
    "only rounded": [(net, net.score(X_test, y_test)) for net in alone],
}
plt.figure(bits_figure(series, "accuracy on test rows", model.score(X_test, y_test)))

# %%
# What the certificate tells you
# ------------------------------
# For the program of 4 bits:

print(networks[bits.index(4)].certificate_)

# %%
# "equality" and "no overflow" are about every input, and nothing is measured in them: the program
# works with whole numbers, whose largest possible sums are counted. The bytes are an estimate for
# ``arm-none-eabi-gcc -Os``, which the tests compare with the compiler.
