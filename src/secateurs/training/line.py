"""The best linear model under a weight budget, as a network without hidden layers.

    fit with all weights, with a ridge penalty                                   (1)
    while there are more weights than the budget:
        drop a third of the excess, those with the smallest w^2 h; fit again     (2)

Here h is the curvature of the loss in the weight.  Regression solves (1) and (2) exactly, by the
eigenvectors of the Gram matrix or by Cholesky; classification by L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import log_softmax

from secateurs.sparse.network import SparseNetwork

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DROPPED = 1 / 3  # share of the excess that is dropped before the next fit
LEAST_DROPPED = 0.02  # and at least this share of all weights
FIRST, BETWEEN, LAST = 80, 12, 80  # steps of L-BFGS before, between and after the drops
NEGLIGIBLE = 1e-6  # a smaller bias, in units of the scaled targets, is left out
ROOM = 1.5  # the bias of a linear unit, in units of the largest input that it gets
SMALL = 0.1  # factor of the random output weights beside linear units
RIDGE = 1e-10  # added to the Gram matrix, as a share of its trace, so that it has an inverse


@dataclass(frozen=True)
class Line:
    """A linear model of scaled inputs: ``Z @ weights.T + biases``.

    Attributes
    ----------
    weights : array [k, d]
    biases : array [k]
    """

    weights: FloatArray
    biases: FloatArray

    def outputs(self, Z: FloatArray) -> FloatArray:
        """Return the outputs, shape [n, k]."""
        result: FloatArray = Z @ self.weights.T + self.biases
        return result

    def network(self) -> SparseNetwork:
        """Return the model as a network without hidden layers."""
        matrix = np.c_[self.weights, self.biases].astype(np.float32)
        keys = np.flatnonzero(matrix)
        widths = (self.weights.shape[1], self.weights.shape[0])
        return SparseNetwork(widths, [keys.astype(np.int64)], [matrix.ravel()[keys]])


def fit_line(
    Z: FloatArray,
    y: NDArray[Any],
    n_outputs: int,
    n_nonzero: int,
    penalty: float,
    row_weights: FloatArray | None = None,
) -> Line:
    """Fit a linear model with at most `n_nonzero` weights, biases included.

    Parameters
    ----------
    Z : array [n, d]
        Scaled inputs.
    y : array of int64 [n] (class numbers) or float [n, k]
    n_outputs : int
        Number of classes, or k.
    n_nonzero : int
    penalty : float
        Weight of the sum of squared weights against the sum of the losses of all rows.
    row_weights : array [n], optional
        What the loss of each row counts for; 1 by default.

    Returns
    -------
    Line
        Two classes need one row of weights, and the other row is 0.

    Notes
    -----
    Regression costs O(n d^2 + r d^3) for r rounds, about 8; classification O(r n d k) for each
    step of L-BFGS.
    Source: derived.  Step (2) is iterated pruning with the diagonal of the Hessian, as in Optimal
    Brain Damage (LeCun et al. 1990).
    """
    counts = np.ones(len(y)) if row_weights is None else row_weights
    if y.ndim == 1:
        return _fit_logistic(Z, y, n_outputs, n_nonzero, penalty, counts)
    return _fit_least_squares(Z, y, n_nonzero, penalty, counts)


def _fit_least_squares(
    Z: FloatArray, Y: FloatArray, n_nonzero: int, penalty: float, counts: FloatArray
) -> Line:
    centre, level = (np.average(V, axis=0, weights=counts) for V in (Z, Y))
    root = np.sqrt(counts)[:, None]
    C, R = (Z - centre) * root, (Y - level) * root
    gram, cross = C.T @ C, C.T @ R
    gram[np.diag_indices_from(gram)] += penalty + RIDGE * max(np.trace(gram) / len(gram), 1e-30)
    W = np.stack([_solve(gram, cross[:, j]) for j in range(R.shape[1])])
    needs_bias = np.abs(level) + np.abs(centre).max() > NEGLIGIBLE
    budget = max(0, n_nonzero - int(needs_bias.sum()))
    kept = np.abs(W) > 0
    curvature = np.diag(gram)
    for count in _rounds(int(kept.sum()), budget):
        kept &= _largest(np.where(kept, W**2 * curvature, -1.0), count)
        W = np.zeros_like(W)
        for j, support in enumerate(kept):
            W[j, support] = _solve(gram[np.ix_(support, support)], cross[support, j])
    biases = level - W @ centre
    return Line(W, np.where(needs_bias, biases, 0.0))


def _solve(gram: FloatArray, cross: FloatArray) -> FloatArray:
    if not len(gram):
        return np.zeros(0)
    try:
        return np.asarray(cho_solve(cho_factor(gram), cross), dtype=np.float64)
    except LinAlgError:  # collinear columns, and rounding errors above the penalty
        return np.asarray(np.linalg.lstsq(gram, cross, rcond=None)[0], dtype=np.float64)


def _rounds(start: int, budget: int) -> list[int]:
    """Return the numbers of weights to keep, one after the other, down to the budget."""
    counts = []
    while start > budget:
        drop = max(1, int((start - budget) * DROPPED), int(LEAST_DROPPED * start))
        start = max(budget, start - drop)
        counts.append(start)
    return counts


def _largest(score: FloatArray, count: int) -> BoolArray:
    kept = np.zeros(score.size, dtype=bool)
    kept[np.argsort(-score.ravel(), kind="stable")[:count]] = True
    return kept.reshape(score.shape)


def _fit_logistic(
    Z: FloatArray,
    y: NDArray[np.int64],
    n_outputs: int,
    n_nonzero: int,
    penalty: float,
    counts: FloatArray,
) -> Line:
    n, d = Z.shape
    A = np.c_[Z, np.ones(n)]
    free = np.ones((n_outputs, d + 1), dtype=bool)
    if n_outputs == 2:
        free[0] = False
    used = A.std(axis=0) > 0
    used[-1] = True
    free &= used
    W = _minimise(A, y, counts, free, np.zeros(free.shape), penalty, FIRST)
    rounds = _rounds(int(free.sum()), n_nonzero)
    for count in rounds:
        score = np.where(free, W**2 * _curvature(A, W, counts), -1.0)
        free &= _largest(score, count)
        n_steps = LAST if count == rounds[-1] else BETWEEN
        W = _minimise(A, y, counts, free, W * free, penalty, n_steps)
    return Line(W[:, :-1], W[:, -1])


def _curvature(A: FloatArray, W: FloatArray, counts: FloatArray) -> FloatArray:
    P = np.exp(log_softmax(A @ W.T, axis=1))
    result: FloatArray = (P * (1 - P) * counts[:, None]).T @ A**2
    return result


def _minimise(
    A: FloatArray,
    y: NDArray[np.int64],
    counts: FloatArray,
    free: BoolArray,
    start: FloatArray,
    penalty: float,
    n_steps: int,
) -> FloatArray:
    """Minimise the softmax loss over the free weights; the biases have no penalty."""
    n, rows = len(A), np.arange(len(A))
    W = start.copy()
    weight = np.full(free.shape, penalty / n)
    weight[:, -1] = 1e-9
    weight = weight[free]

    def loss(w: FloatArray) -> tuple[float, FloatArray]:
        W[free] = w
        L = log_softmax(A @ W.T, axis=1)
        D = np.exp(L)
        D[rows, y] -= 1
        gradient = ((D * counts[:, None]).T @ A)[free] / n
        return float(-(counts @ L[rows, y]) / n + 0.5 * weight @ w**2), gradient + weight * w

    found = minimize(loss, start[free], jac=True, method="L-BFGS-B", options={"maxiter": n_steps})
    W[free] = found.x
    return W


def constant(
    y: NDArray[Any], n_outputs: int, n_inputs: int, row_weights: FloatArray | None = None
) -> Line:
    """Return the model that answers the mean, or the share of each class, for every row."""
    weights = np.zeros((n_outputs, n_inputs))
    if y.ndim == 1:
        counts = np.bincount(y, row_weights, minlength=n_outputs)
        biases = np.log(np.maximum(counts, 0.5) / counts.max())
        return Line(weights, biases - biases[0] if n_outputs == 2 else biases)
    level = np.average(y, axis=0, weights=row_weights)
    return Line(weights, np.where(np.abs(level) > NEGLIGIBLE, level, 0.0))


def n_places(n_inputs: int, n_outputs: int, *, classifies: bool) -> int:
    """Return the weights of a linear model with all of them, biases included."""
    return (n_inputs + 1) * (1 if classifies and n_outputs == 2 else n_outputs)


def start_from_line(line: SparseNetwork, sizes: FloatArray, random: SparseNetwork) -> SparseNetwork:
    """Return a network with one hidden layer whose first units carry a linear model.

    The unit ``relu(w z + B)`` with a large bias B is linear on the data, and ``- B`` in the bias of
    the output makes it ``w z``.  The other hidden units come from a random network, whose output
    weights are made small.

    Parameters
    ----------
    line : SparseNetwork
        Without hidden layers.
    sizes : array [k]
        The largest ``|w z|`` of each output over the rows.
    random : SparseNetwork
        With one hidden layer of more than k units.
    """
    d, m, k = random.widths
    rows, columns = line.entries(0)
    values = line.values[0].astype(np.float64)
    biases = np.zeros(k)
    biases[rows[columns == d]] = values[columns == d]
    used = np.unique(rows[columns < d])
    unit = np.full(k, -1)
    unit[used] = np.arange(len(used))
    slope = columns < d
    bound = ROOM * np.maximum(sizes[used], 1.0)
    first = {int(key): value for key, value in zip(*_first_layer(random, len(used)), strict=True)}
    for row, column, value in zip(rows[slope], columns[slope], values[slope], strict=True):
        first[int(unit[row] * (d + 1) + column)] = value
    for i, b in enumerate(bound):
        first[i * (d + 1) + d] = b
    biases[used] -= bound
    keys, weights = random.keys[1], random.values[1] * SMALL
    kept = keys % (m + 1) >= len(used)
    second = dict(zip(keys[kept].tolist(), weights[kept].tolist(), strict=True))
    for i, j in enumerate(used):
        second[int(j * (m + 1) + i)] = 1.0
    for j in range(k):
        if biases[j]:
            second[j * (m + 1) + m] = float(biases[j])
    layers = [sorted(layer.items()) for layer in (first, second)]
    return SparseNetwork(
        random.widths,
        [np.array([key for key, _ in layer], dtype=np.int64) for layer in layers],
        [np.array([value for _, value in layer], dtype=np.float32) for layer in layers],
    )


def _first_layer(random: SparseNetwork, n_taken: int) -> tuple[list[int], list[float]]:
    """Return the first layer of a network without its first units."""
    keys = random.keys[0]
    kept = keys >= n_taken * (random.widths[0] + 1)
    return keys[kept].tolist(), random.values[0][kept].tolist()
