"""
A residual network with half of its channels
============================================

You have trained a torch network with shortcuts, and want it smaller without training it again.
Which channels can go, which of them hurt least, and how much is left of the accuracy?
"""

# %%
# A small residual network
# ------------------------
# It is trained for a second on 1,000 digits. Nothing about it is special to Secateurs.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.nn import plan, plan_figure

images, labels = load_digits(return_X_y=True)
X = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
y = torch.tensor(labels)
X_test, y_test = X[1000:], y[1000:]
X, y = X[:1000], y[:1000]


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        inside = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(x + self.norm2(self.conv2(inside)))


class Network(nn.Module):
    """A stem, two blocks and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.block1 = Block(16)
        self.down = nn.Conv2d(16, 24, 3, stride=2, padding=1)
        self.block2 = Block(24)
        self.out = nn.Linear(24, 10)

    def forward(self, x):
        x = self.block1(torch.relu(self.stem(x)))
        x = self.block2(torch.relu(self.down(x)))
        return self.out(x.mean((2, 3)))


def accuracy(network):
    """Return the accuracy on the test images in percent."""
    return 100 * (network(X_test).argmax(1) == y_test).float().mean().item()


torch.manual_seed(0)
network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
for step in range(140):
    if step == 100:
        optimizer.param_groups[0]["lr"] = 1e-3
    batch = torch.randint(0, len(X), (64,))
    optimizer.zero_grad()
    cross_entropy(network(X[batch]), y[batch]).backward()
    optimizer.step()
network.eval()
print(f"accuracy on test images: {accuracy(network):.1f} %")

# %%
# What can go?
# ------------
# The plan follows the channels through the shortcuts: the stem and the second convolution of the
# first block write to the same stream, so they lose the same channels, and are one group.

found = plan(network, X[:3])
print(found)

# %%
# Choose, repair, and compare
# ---------------------------
# "reconstruction" asks how much of the outputs of the next layers is lost, and then repairs these
# layers by least squares. The usual way is to remove the channels with the smallest norms. Neither
# trains the network again; most people do so after removal by norms, and have to.

best = found.score("reconstruction", X[:500])
norms = found.score("norm")
shares = [0.75, 0.5, 0.35, 0.25]
cuts = [found.choose(best, flops=share) for share in shares]
ours = [accuracy(cut.apply().module) for cut in cuts]
usual = [
    accuracy(found.choose(norms, flops=share, repair=False).apply().module) for share in shares
]
for share, a, b in zip(shares, ours, usual, strict=True):
    print(f"{share:.0%} of the FLOPs: {a:.1f} % by reconstruction, {b:.1f} % by norms")

figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
percent = [100, *(100 * share for share in shares)]
whole = accuracy(network)
axis.plot(percent, [whole, *ours], "o-", color=OURS, linewidth=2.5, label="Secateurs")
axis.plot(percent, [whole, *usual], "s--", color=OTHERS, label="smallest norms go")
axis.axhline(10, color="black", linestyle=":", label="guessing")
axis.invert_xaxis()
axis.set_xlabel("FLOPs that are left, %")
axis.set_ylabel("test accuracy without training again, %")
axis.grid(color=SOFT)
axis.legend(loc="center right")

# %%
# The channels of every group, for half of the FLOPs:

cut = cuts[shares.index(0.5)]
plt.figure(plan_figure(found, cut))

# %%
# What the certificate tells you
# ------------------------------

small = cut.apply()
print(small.describe().headline)
print(small.certificate)

# %%
# "equality" is the promise of every removal: the smaller network computes what the wide one
# computes with those channels silenced. How much accuracy it costs is a question for rows that were
# not used: :func:`secateurs.nn.prune` answers it with ``certify=``.
