"""
How many neurons does the task need?
====================================

A network of 40 neurons was trained on data that four neurons generated. A group penalty that grows
lets the superfluous ones vanish. Does it stop at four, without being told?
"""

# %%
# A wide student of a narrow teacher
# ----------------------------------

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import mse_loss

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.nn import l2_prune_neurons, prune_neurons, relu_teacher

problem = relu_teacher(1000, 8, 4, random_state=0)
X, y = (torch.tensor(part) for part in (problem.X, problem.y))
X_test, y_test = (torch.tensor(part) for part in (problem.X_test, problem.y_test))
y, y_test = y[:, None], y_test[:, None]


def network(width):
    """Return a ReLU network in float64."""
    layers = nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 1)
    return nn.Sequential(*layers).double()


def train(module, n_steps=600):
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        optimizer.zero_grad()
        mse_loss(module(X), y).backward()
        optimizer.step()
        schedule.step()
    return module


def error(module):
    """Return the test error in percent of the variance of y."""
    with torch.no_grad():
        return 100 * (mse_loss(module(X_test), y_test) / y_test.var()).item()


torch.manual_seed(0)
wide = train(network(40))
print(f"40 neurons: {error(wide):.3f} % of the variance are not explained")

# %%
# Let the neurons vanish
# ----------------------
# There is no strength to choose, because the penalty grows through its whole range once. The widths
# that were passed on the way are compared on validation rows.

found = prune_neurons(wide, mse_loss, (X, y), n_steps=1000, fine_tune_steps=500, random_state=0)
print({layer: len(kept) for layer, kept in found.kept.items()})
print(f"{error(found.module):.2g} %")

# %%
# Two other ways, which are told the width
# ----------------------------------------
# One keeps the four neurons with the largest weights and trains them again. The other trains four
# neurons from scratch, from four starts.

largest = l2_prune_neurons(wide, mse_loss, (X, y), 4, fine_tune_steps=1000, random_state=0)
scratch = [error(train(network(4), 600)) for _ in range(4)]
print(f"largest weights: {error(largest.module):.2g} %")
print("from scratch:", ", ".join(f"{value:.3g} %" for value in scratch))

# %%
# The picture
# -----------
# On the left, the validation loss of every width on the way.

figure, (path, errors) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
widths, losses = found.widths_tried["n_neurons"], found.widths_tried["loss"]
path.semilogy(widths, losses, "o-", color=OURS, markersize=4)
(kept,) = found.kept.values()
path.axvline(len(kept), color=OURS, linestyle=":", label=f"chosen: {len(kept)}")
path.set_xlabel("neurons")
path.set_ylabel("validation loss")
path.grid(color=SOFT)
path.legend()

ways = {
    "40 neurons": [error(wide)],
    "Secateurs": [error(found.module)],
    "largest weights,\ntold 4": [error(largest.module)],
    "from scratch,\ntold 4": scratch,
}
for place, (way, values) in enumerate(ways.items()):
    colour = OURS if way == "Secateurs" else OTHERS
    errors.plot(values, [place] * len(values), "o", color=colour, markersize=9, alpha=0.8)
errors.set_yticks(range(len(ways)), ways)
errors.set_ylim(3.5, -0.5)
errors.set_xscale("log")
errors.set_xlabel("test error, % of the variance")
errors.grid(color=SOFT)

# %%
# What the certificate tells you
# ------------------------------

print(found.certificate)

# %%
# The data here have no noise. With 5 % of noise, L2 pruning that is told the right width is better
# on this example: where the width is known, simple pruning can be enough.

# %%
# "norm gap" shows that the choice was clear: the smallest neuron that was kept is much larger than
# the last one that was removed. "path length" would fail if the path had been too short.
