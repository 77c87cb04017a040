"""Other methods on the problems of `pursuit_grid`.

Thresholding is `secateurs.recovery.thresholding.iht`.  It makes the steps of the textbook version,
but faster: over the first 15 steps its dB differ by at most 1.5e-4 from
tests/reference/textbook_iht.py.  It returns its best iterate and ends after 20 steps without
progress.

Magnitude pruning trains a network in float32.  The network also has output weights and biases,
which are added to its budget.  Its learning rate and round length are the best of `SETTINGS` on a
fifth of the rows, which are held out of the fit.  Its time is that of all settings.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.recovery.planted import PlantedProblem
from secateurs.recovery.thresholding.iht import iht
from secateurs.sparse.compact import CompactNetwork
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

Array = NDArray[np.floating]
SETTINGS = list(product((5e-3, 2e-2), (400, 1200)))  # learning rate, steps a round
BATCH = 100


def decibels(y: Array, prediction: Array) -> float:
    """Return the peak signal-to-noise ratio on fresh rows."""
    error = np.sqrt(np.mean((y - prediction) ** 2))
    return float(20 * np.log10(np.abs(y).max() / max(error, 1e-300)))


def thresholding(problem: PlantedProblem, m: int, s: int, n_steps: int) -> tuple[float, float]:
    """Return dB on fresh rows and processor seconds of iterative hard thresholding."""
    start = time.process_time()
    fit = iht(problem.X, problem.y, s, m, n_kept=s, n_steps=n_steps)
    cpu = time.process_time() - start
    return decibels(problem.y_test, fit.value.predict(problem.X_test)), cpu


def pruning(problem: PlantedProblem, m: int, s: int) -> tuple[float, float]:
    """Return dB on fresh rows and processor seconds of tuned iterative magnitude pruning."""
    start = time.process_time()
    scale = problem.y.std()
    n, n_test = len(problem.X), len(problem.X_test)
    X = np.concatenate([problem.X, problem.X_test]).astype(np.float32)
    y = (np.concatenate([problem.y, problem.y_test]) / scale).astype(np.float32)[:, None]
    kept_back = n // 5
    parts = np.split(np.arange(n + n_test), [n - kept_back, n])
    fit_rows, validation, fresh = (
        TrainingData(X, y, Scaling(None, np.ones(X.shape[1])), 1, rows=rows) for rows in parts
    )
    least, chosen = np.inf, np.zeros(n_test)
    for learning_rate, round_steps in SETTINGS:
        (pruned,) = imp_path(
            fit_rows,
            (m,),
            [s + m + 1],
            round_steps=round_steps,
            batch_size=BATCH,
            learning_rate=learning_rate,
        )
        net = CompactNetwork.from_network(pruned.value)
        error = float(np.mean((_outputs(net, validation) - y[parts[1], 0]) ** 2))
        if error < least:
            least, chosen = error, _outputs(net, fresh)
    cpu = time.process_time() - start
    return decibels(problem.y_test, scale * chosen), cpu


def _outputs(net: CompactNetwork, data: TrainingData) -> Array:
    inputs = data.inputs(torch.arange(data.n), net.units[0])
    return net.forward(inputs)[-1].numpy().ravel().astype(float)
