"""Measurements of the figures of the recovery paper, at any size, and of its lemmas.

The figures compare hard thresholding with magnitude pruning, by the PSNR on the rows of the fit:
20 log10 max|y| - 10 log10 of the mean square error.  Thresholding without a dictionary is `iht`
with one output and one hidden layer, and otherwise `iht_network`, whose exchanges of weights the
paper does not have.  A step of `iht` uses all rows, as an epoch of the paper does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_image

from secateurs.recovery import iht, iht_network, image_function, planted_relu
from secateurs.recovery.certificate import pattern_certificate
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

Array = NDArray[np.float64]
MOST_DB = 350.0
IMP: dict[str, Any] = {"round_steps": 600, "batch_size": 200, "learning_rate": 5e-3}
OPEN_SELDOM = -2.0  # bias of a neuron that is open on 2.3 % of the rows


def psnr(y: Array, predicted: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, at most 350."""
    error = float(np.mean((y - predicted) ** 2))
    floor = 10.0 ** (-MOST_DB / 10.0) * float(np.abs(y).max()) ** 2
    return 20.0 * math.log10(float(np.abs(y).max())) - 10.0 * math.log10(max(error, floor))


def thresholded(X: Array, y: Array, s: int, hidden: tuple[int, ...], steps: int) -> Array:
    """Return the outputs of hard thresholding on the rows of the fit."""
    if y.ndim == 1 and len(hidden) == 1:
        return np.asarray(iht(X, y, s, hidden[0], n_steps=steps).value.predict(X))
    found = iht_network(X, y, s, hidden, n_steps=steps, n_rounds=steps)
    return np.asarray(found.value.predict(X))


def pruned(X: Array, y: Array, s: int, hidden: tuple[int, ...], seed: int) -> Array:
    """Return the outputs of iterative magnitude pruning; output weights and biases are extra."""
    Y = y.reshape(len(y), -1)
    mean, std = Y.mean(axis=0), np.where(Y.std(axis=0) > 0, Y.std(axis=0), 1.0)
    targets = ((Y - mean) / std).astype(np.float32)
    data = TrainingData(X, targets, Scaling(None, np.ones(X.shape[1])), Y.shape[1])
    network = imp_path(data, hidden, [s], random_state=seed, **IMP)[0].value
    H = X
    for W, b in zip(network.coefs(), network.intercepts(), strict=True):
        Z = H @ W.T + b
        H = np.maximum(Z, 0.0)
    return np.asarray((mean + std * Z).reshape(y.shape))


def planted_figure(
    *, n: int, d: int, m: int, s: int, outputs: int, layers: int, steps: int, seed: int
) -> dict[str, float]:
    """Compare both methods on a planted network (Fig. 1 and 2)."""
    problem = planted_relu(n, d, m, s, n_outputs=outputs, n_hidden_layers=layers, random_state=seed)
    if not problem.y.any():  # few weights in several layers need not meet
        return {"thresholding": MOST_DB, "pruning": MOST_DB, "gain": 0.0}
    return _compared(problem.X, problem.y, s, (m,) * layers, steps, seed)


def digits_figure(*, classes: int, m: int, s: int, steps: int, seed: int) -> dict[str, float]:
    """Classify digits by s weights and least squares on their labels (Fig. 3)."""
    digits = load_digits()
    chosen = digits.target < classes
    X, label = digits.data[chosen] / 16.0, digits.target[chosen]
    order = np.random.default_rng(seed).permutation(len(X))
    X, label = X[order], label[order]
    n = 3 * len(X) // 4
    y = label * 1.0 if classes == 2 else np.eye(classes)[label]
    if classes == 2:
        model = iht(X[:n], y[:n], s, m, n_steps=steps).value
        guess = (model.predict(X[n:]) > 0.5) * 1.0
    else:
        model = iht_network(X[:n], y[:n], s, m, n_rounds=steps).value
        guess = model.predict(X[n:]).argmax(axis=1)
    return {"accuracy": float(np.mean(guess == label[n:]))}


def image_figure(
    *, side: int, colours: bool, features: int, m: int, s: int, layers: int, steps: int, seed: int
) -> dict[str, float]:
    """Draw an image as a function of features of its coordinates (Fig. 4 and 5).

    A grey image is a digit of scikit-learn, a coloured one a part of its sample image "china".
    """
    if not colours:
        problem = image_function(seed, features, random_state=seed)
        return _compared(problem.X, problem.y, s, (m,) * layers, steps, seed)
    image = load_sample_image("china.jpg")[:: 427 // side, :: 640 // side][:side, :side] / 255.0
    where = np.stack(np.meshgrid(*(np.linspace(-1, 1, k) for k in image.shape), indexing="ij"), -1)
    B = np.random.default_rng(seed).standard_normal((3, features // 2)) * [[5.0], [5.0], [0.05]]
    phase = 2.0 * np.pi * where.reshape(-1, 3) @ B
    X = np.hstack([np.sin(phase), np.cos(phase)])
    return _compared(X, image.ravel(), s, (m,) * layers, steps, seed)


def _compared(
    X: Array, y: Array, s: int, hidden: tuple[int, ...], steps: int, seed: int
) -> dict[str, float]:
    ours = psnr(y, thresholded(X, y, s, hidden, steps))
    theirs = psnr(y, pruned(X, y, s, hidden, seed))
    return {"thresholding": ours, "pruning": theirs, "gain": ours - theirs}


# -- lemmas --------------------------------------------------------------------------------------


def pattern_shares(*, n: int, d: int, m: int, s: int, seed: int) -> dict[str, float]:
    """Measure how far shares of rows are from 1/2 and from angle / pi, in standard errors."""
    problem = planted_relu(n, d, m, s, random_state=seed)
    assert problem.truth is not None
    W = problem.truth[0].toarray()
    W = W[np.abs(W).any(axis=1)]
    gates = problem.X @ W.T > 0
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    i, j = np.triu_indices(len(W), 1)
    angle = np.arccos(np.clip((unit @ unit.T)[i, j], -1.0, 1.0)) / np.pi
    differ = (gates[:, i] != gates[:, j]).mean(axis=0)
    error = np.sqrt(np.maximum(angle * (1.0 - angle), 1.0 / n) / n)
    return {
        "open": float(np.abs(gates.mean(axis=0) - 0.5).max() / (0.5 / math.sqrt(n))),
        "differ": float((np.abs(differ - angle) / error).max()),
    }


def convergence(*, c: float, m: int, s: int, d: int, seed: int) -> dict[str, float]:
    """Measure the factor by which the residual falls in a step, from the last steps to rounding.

    In convex form with the planted patterns, twice as many generators, and 2 s entries kept.
    """
    n = math.ceil(c * s * math.log(2 * d * m / s))
    problem = planted_relu(n, d, m, s, separated=True, random_state=seed)
    assert problem.truth is not None
    W = problem.truth[0].toarray()
    H = np.vstack([W, np.random.default_rng([seed, 1]).standard_normal(W.shape)])
    found = iht(
        *(problem.X, problem.y, s, 2 * m), mode="convex", generators=H, n_steps=100, exchanges=False
    )
    loss = np.asarray(found.history["loss"])
    return {"factor": float((loss[-1] / loss[0]) ** (1.0 / max(1, len(loss) - 1)))}


def seldom_open(*, n: int, d: int, m: int, s: int, seldom: bool, seed: int) -> dict[str, float]:
    """Judge the check of Assumption 2 on networks with a neuron that is open on 2 % of the rows."""
    problem = planted_relu(n, d, m, s, separated=True, random_state=seed)
    assert problem.truth is not None
    W = np.hstack([problem.truth[0].toarray(), np.zeros((m, 1))])
    if seldom:
        W[0, -1] = OPEN_SELDOM * np.linalg.norm(W[0])
    X = np.hstack([problem.X, np.ones((n, 1))])
    trace = pattern_certificate(X=X, generators=W)["trace"]
    return {"right": float(trace.verdict == ("fails" if seldom else "holds"))}
