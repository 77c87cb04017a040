"""A sparse network as dense float64 matrices: slow, but simple."""

import numpy as np


def matrices(network):
    result = []
    for layer, (n_in, n_out) in enumerate(zip(network.widths, network.widths[1:], strict=False)):
        W = np.zeros((n_out, n_in + 1))
        rows, cols = network.entries(layer)
        W[rows, cols] = network.values[layer]
        result.append(W)
    return result


def forward(weights, x):
    """Return inputs [n, d], hidden activations without their constant, and outputs."""
    activations = [x]
    for layer, W in enumerate(weights):
        z = activations[-1] @ W[:, :-1].T + W[:, -1]
        activations.append(z if layer == len(weights) - 1 else np.maximum(z, 0))
    return activations


def loss_and_gradients(weights, x, y):
    """Return the mean loss and d loss / d W; y has class numbers [n] or targets [n, k]."""
    activations = forward(weights, x)
    z, n = activations[-1], len(x)
    if y.ndim == 1:
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(n), y]).mean()
        delta = p.copy()
        delta[np.arange(n), y] -= 1
    else:
        delta = z - y
        loss = 0.5 * (delta**2).sum() / n
    delta = delta / n
    gradients = [None] * len(weights)
    for layer in range(len(weights) - 1, -1, -1):
        h = np.hstack([activations[layer], np.ones((n, 1))])
        gradients[layer] = delta.T @ h
        if layer:
            delta = (delta @ weights[layer][:, :-1]) * (activations[layer] > 0)
    return loss, gradients
