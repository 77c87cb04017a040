"""Data from a ReLU network with few neurons, to test whether pruning finds their number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import check_counts, check_real
from secateurs.core.short_repr import short_repr

FloatArray = NDArray[np.float64]

N_TEST = 2000  # test rows, never with noise


@dataclass(frozen=True, eq=False)
class TeacherProblem:
    """Rows of y = sum_j a_j relu(w_j . x + b_j), and the network that made them, the teacher.

    Attributes
    ----------
    X : float array [n, d]
    y : float array [n]
        With noise, if any.
    weights : float array [r, d]
        The rows w_j have norm 1.
    biases, outputs : float arrays [r]
        b_j and a_j.
    X_test, y_test : like X and y
        Test rows, without noise.
    """

    __repr__ = short_repr

    X: FloatArray
    y: FloatArray
    weights: FloatArray
    biases: FloatArray
    outputs: FloatArray
    X_test: FloatArray
    y_test: FloatArray


def relu_teacher(
    n: int, d: int, r: int, *, noise: float = 0.0, random_state: int | None = None
) -> TeacherProblem:
    """Draw standard normal inputs, and the outputs of a random teacher of r ReLU neurons.

    Parameters
    ----------
    n, d, r : int
        Rows, input dimension, neurons of the teacher.
    noise : float
        Standard deviation of the noise on y, over the standard deviation of y.
    random_state : int, optional
        Random seed; without one every call draws other data.

    Returns
    -------
    TeacherProblem
        With 2000 test rows.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    w_j is uniform on the sphere, b_j on [-1/2, 1/2] and a_j on +-[1/2, 3/2], so that every
    neuron matters.  Time O(n d r).
    """
    check_counts(n=n, d=d, r=r)
    check_real("noise", noise, least=0)
    rng = np.random.default_rng(random_state)
    W = rng.standard_normal((r, d))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    b = rng.uniform(-0.5, 0.5, r)
    a = rng.uniform(0.5, 1.5, r) * rng.choice([-1.0, 1.0], r)
    X, X_test = rng.standard_normal((n, d)), rng.standard_normal((N_TEST, d))
    y, y_test = (np.maximum(rows @ W.T + b, 0.0) @ a for rows in (X, X_test))
    if noise:
        y = y + noise * y.std() * rng.standard_normal(n)
    return TeacherProblem(X, y, W, b, a, X_test, y_test)
