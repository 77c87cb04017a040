"""
Masking weights or removing neurons?
====================================

A random network has to become one given neuron. If weights may be masked one by one, a narrow
network is enough. If only whole neurons may be removed, it has to be far wider. How large is the
gap, and can it be seen in one network?
"""

# %%
# One random network, two ways
# ----------------------------
# There are 80 random neurons of two inputs. Both ways look for the same target.

import matplotlib.pyplot as plt
import numpy as np

from secateurs.core.figures import OURS, SOFT
from secateurs.tickets import (
    prune_weights,
    required_width,
    select_neurons,
    ticket_certificate,
)

rng = np.random.default_rng(0)
W, alpha = rng.standard_normal((80, 2)), rng.standard_normal(80)
target = np.array([0.6, 0.8])

weights = prune_weights(W, alpha, target, eps=1e-3)
neurons = select_neurons(W, alpha, target).value
print(f"masking weights:  error {weights.error:.1e}")
print(f"removing neurons: error {neurons.error:.1e}; no subset is below {neurons.lower_bound:.1e}")

# %%
# The errors on the unit circle
# -----------------------------
# The error of a network without biases is largest on the circle, so the left picture shows all of
# it.

angles = np.linspace(-np.pi, np.pi, 2001)
circle = np.column_stack([np.cos(angles), np.sin(angles)])
wanted = np.maximum(circle @ target, 0)
masked = np.maximum(circle @ (W * weights.hidden_mask).T, 0) @ (alpha * weights.output_mask)
removed = np.maximum(circle @ W.T, 0) @ (alpha * neurons.mask)

figure, (errors, widths) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
errors.plot(np.degrees(angles), removed - wanted, color="#b5651d", label="neurons removed")
errors.plot(np.degrees(angles), np.maximum(masked, 0) - wanted, color=OURS, label="weights masked")
errors.set_xlabel("direction of the input, degrees")
errors.set_ylabel("error")
errors.set_xticks([-180, -90, 0, 90, 180])
errors.set_ylim(top=0.085)
errors.grid(color=SOFT)
errors.legend()

# %%
# The gap grows with the dimension
# --------------------------------
# "At least" is proven for removing neurons, with probability 1/2 of success. For masking weights
# the widths are those that were measured to be enough.

styles = {2: "-", 4: "--", 8: ":"}
grid = 10.0 ** -np.arange(1, 5)
for d, style in styles.items():
    least = [required_width(d, eps, mode="neurons").necessary for eps in grid]
    enough = [required_width(d, eps, mode="weights").sufficient for eps in grid]
    widths.loglog(grid, least, style, color="#b5651d", label=f"neurons, {d} inputs: at least")
    widths.loglog(grid, enough, style, color=OURS, label=f"weights, {d} inputs: enough")
widths.invert_xaxis()
widths.set_xlabel("eps, largest error allowed")
widths.set_ylabel("neurons of the random network")
widths.grid(color=SOFT)
widths.legend(fontsize="small")

# %%
# What the certificate tells you
# ------------------------------

print(
    ticket_certificate(W, alpha, target, 1e-3, subset=neurons.mask, lower_bound=neurons.lower_bound)
)

# %%
# "fails" is a proof here: no subset of these 80 neurons comes within 0.001 of the target with these
# output weights. With output weights of your choice the proven bound is a little below 0.001, so
# that this check stays unknown. It rests on the angle from the target to the nearest neuron.
