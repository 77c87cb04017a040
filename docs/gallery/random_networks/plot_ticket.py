"""
A trained network inside a random one
=====================================

Take a network that reads digits, and a wide network whose weights are random and stay random. Masks
alone turn the second into the first. How near can they come, and what does nearness cost?
"""

# %%
# The network to look for
# -----------------------

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from secateurs import tickets
from secateurs.core.figures import OTHERS, OURS, SOFT

images, labels = load_digits(return_X_y=True)
X = torch.tensor(images / 16, dtype=torch.float32)
y = torch.tensor(labels)

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for _ in range(150):
    optimizer.zero_grad()
    cross_entropy(network(X[:1200]), y[:1200]).backward()
    optimizer.step()


def accuracy(module):
    """Return the accuracy on the test images in percent."""
    with torch.no_grad():
        return 100 * (module(X[1200:]).argmax(1) == y[1200:]).float().mean().item()


print(f"trained: {accuracy(network):.1f} %")

# %%
# Find it by masks
# ----------------
# ``eps`` is the largest error of a weight. Every weight becomes a sum of a few random numbers,
# which a subset-sum solver selects. No image has a norm
# above ``radius``, and no pixel is negative.

radius = float(X.norm(dim=1).max())
values = [0.5, 0.2, 0.1, 0.03, 0.01, 1e-3, 1e-4]
settings = {"random_state": 0, "radius": radius, "nonnegative_inputs": True}
found = [tickets.prune_network(network, eps, **settings) for eps in values]
masked = [tickets.masked_module(solution.value) for solution in found]
with torch.no_grad():
    distances = [(module(X) - network(X)).norm(dim=1).max().item() for module in masked]
bounds = [solution.measured["error_bound"] for solution in found]
for eps, module, solution in zip(values, masked, found, strict=True):
    ticket = solution.value
    share = f"{ticket.n_kept} of {ticket.n_random} random weights"
    print(f"eps {eps:g}: {accuracy(module):.1f} % with {share}")

# %%
# The picture
# -----------
# The bound holds for every input of that norm without negative entries, images or not.

figure, (distance, weight) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
distance.loglog(values, bounds, "s--", color=OTHERS, label="bound for every input")
distance.loglog(values, distances, "o-", color=OURS, label="largest of 1,797 images")
distance.set_xlabel("eps, largest error of a weight")
distance.set_ylabel("distance of the outputs")
distance.grid(color=SOFT)
distance.legend()

sizes = [solution.value.n_kept / solution.value.n_weights for solution in found]
weight.semilogx(values, sizes, "o-", color=OURS)
weight.set_xlabel("eps, largest error of a weight")
weight.set_ylabel("random weights for one weight")
weight.set_ylim(bottom=0)
weight.grid(color=SOFT)

# %%
# The weights of one neuron
# -------------------------
# On the left the trained weights of a neuron of the first layer, on the right those of the random
# network under its masks, for two values of eps.

figure, axes = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained")
rows = [network[0].weight[3].detach()]
for eps in (0.5, 0.01):
    same = tickets.effective_module(found[values.index(eps)].value)
    rows.append(same[0].weight[3].detach())
limit = rows[0].abs().max().item()
for axis, row, name in zip(axes, rows, ("trained", "eps 0.5", "eps 0.01"), strict=True):
    axis.imshow(row.numpy().reshape(8, 8), cmap="PiYG", vmin=-limit, vmax=limit)
    axis.set_title(name)
    axis.set_xticks([])
    axis.set_yticks([])

# %%
# What the certificate tells you
# ------------------------------

solution = found[values.index(0.01)]
print(tickets.network_certificate(solution.measured["report"], 0.01))

# %%
# "outputs" is a statement about all inputs of the radius, rounding included. "predictions" is
# always unknown: near a tie, outputs that differ by little have different largest entries.
