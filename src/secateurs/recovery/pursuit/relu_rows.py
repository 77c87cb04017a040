"""What every step of the pursuit works on: a sum of neurons, and the rows it is fitted to.

    f(x) = x.beta + sum_j |x.u_j|       activation "abs": the sign-free form
    f(x) = x.beta + sum_j relu(x.u_j)   activation "relu": beta only on the constant          (1)

A coordinate is a useful column of the data at unit scale; the last one may be the constant 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Activation = Literal["abs", "relu"]

BLOCK_ROWS = 2048  # rows of a block
CONSTANT_COLUMN = 1e-9  # standard deviation below which a column counts as constant


@dataclass(frozen=True)
class NeuronSum:
    """The nonzeros of (1), sorted by neuron, then by coordinate; neurons numbered without gaps."""

    linear: IntArray  # [q], coordinates of the linear part, increasing
    beta: FloatArray  # [q]
    neuron: IntArray  # [e]
    coordinate: IntArray  # [e]
    value: FloatArray  # [e]

    @property
    def n_neurons(self) -> int:
        """Number of neurons p, each with at least one nonzero."""
        return int(self.neuron[-1]) + 1 if len(self.neuron) else 0

    @property
    def nnz(self) -> int:
        """Number of nonzeros of the neurons."""
        return len(self.value)

    @property
    def n_unknowns(self) -> int:
        """Number of unknowns of a least-squares step: linear coefficients, then nonzeros."""
        return len(self.linear) + self.nnz

    @property
    def counts(self) -> IntArray:
        """Number of nonzeros of each neuron, shape [p]."""
        return np.bincount(self.neuron, minlength=self.n_neurons).astype(np.intp)

    def directions(self, d: int) -> sparse.csr_array[np.float64]:
        """Return the u_j as a matrix [p, d]."""
        indptr = np.concatenate([[0], np.cumsum(self.counts)])
        return sparse.csr_array((self.value, self.coordinate, indptr), shape=(self.n_neurons, d))

    def norms(self) -> FloatArray:
        """Return ||u_j||, shape [p]."""
        return np.sqrt(np.bincount(self.neuron, self.value**2, minlength=self.n_neurons))

    def moved(self, delta: FloatArray) -> NeuronSum:
        """Return the sum after a step in (beta, u)."""
        q = len(self.beta)
        return replace(self, beta=self.beta + delta[:q], value=self.value + delta[q:])

    def with_linear(self, linear: IntArray) -> NeuronSum:
        """Return the sum with another linear part; coefficients that stay keep their values."""
        beta = np.zeros(len(linear))
        _, new, old = np.intersect1d(linear, self.linear, return_indices=True)
        beta[new] = self.beta[old]
        return replace(self, linear=linear, beta=beta)

    def without(self, drop: NDArray[np.bool_]) -> NeuronSum:
        """Return the sum without the nonzeros where `drop` is true."""
        keep = ~drop
        return neuron_sum(
            self.neuron[keep], self.coordinate[keep], self.value[keep], self.linear, self.beta
        )

    def plus(self, neuron: IntArray, coordinate: IntArray, value: FloatArray) -> NeuronSum:
        """Return the sum with more nonzeros; numbers from `n_neurons` on are new neurons."""
        return neuron_sum(
            np.concatenate([self.neuron, neuron]),
            np.concatenate([self.coordinate, coordinate]),
            np.concatenate([self.value, value]),
            self.linear,
            self.beta,
        )


NO_INDICES: IntArray = np.empty(0, dtype=np.intp)
NO_VALUES: FloatArray = np.empty(0)


def neuron_sum(
    neuron: IntArray,
    coordinate: IntArray,
    value: FloatArray,
    linear: IntArray = NO_INDICES,
    beta: FloatArray = NO_VALUES,
) -> NeuronSum:
    """Sort nonzeros that are in any order, and number their neurons without gaps."""
    order = np.lexsort((coordinate, neuron))
    neuron = neuron[order]
    if len(neuron):
        neuron = np.cumsum(np.concatenate([[False], np.diff(neuron) > 0])).astype(np.intp)
    return NeuronSum(linear, beta, neuron, coordinate[order].astype(np.intp), value[order])


def linear_only(linear: IntArray) -> NeuronSum:
    """Return a sum without neurons, with these linear coordinates at zero."""
    return neuron_sum(NO_INDICES, NO_INDICES, NO_VALUES, linear, np.zeros(len(linear)))


@dataclass(frozen=True, eq=False)
class PursuitRows(ABC):
    """The rows of a fit, read in blocks of at most `BLOCK_ROWS`."""

    y: FloatArray  # [n]
    d: int  # coordinates that neurons may use
    intercept: bool  # whether coordinate d is the constant 1, only for the linear part
    activation: Activation

    @abstractmethod
    def inputs(self, block: slice) -> FloatArray:
        """Return the inputs of a block, shape [width, b], so that a coordinate is contiguous."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def width(self) -> int:
        """Number of coordinates, the constant included."""
        return self.d + self.intercept

    @cached_property
    def scale(self) -> float:
        """||y||, or 1 where all targets are zero; residuals are relative to it."""
        return float(np.linalg.norm(self.y)) or 1.0

    @cached_property
    def gram(self) -> FloatArray:
        """X^T X, computed once."""
        G = np.zeros((self.width, self.width))
        for block in self.blocks():
            XT = self.inputs(block)
            G += XT @ XT.T
        return G

    def blocks(self) -> Iterator[slice]:
        """Yield slices that cover the rows."""
        for start in range(0, self.n, BLOCK_ROWS):
            yield slice(start, min(start + BLOCK_ROWS, self.n))

    def pre_activations(self, net: NeuronSum) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """Yield every block with its inputs [width, b] and the values x.u_j [p, b]."""
        U = net.directions(self.d)
        for block in self.blocks():
            XT = self.inputs(block)
            yield block, XT, np.asarray(U @ XT[: self.d])

    def gates(self, Z: FloatArray) -> FloatArray:
        """Return the derivative of the activation at the values Z: +-1, or 0 and 1."""
        if self.activation == "abs":
            return np.where(Z >= 0.0, 1.0, -1.0)
        return (Z > 0.0).astype(np.float64)


@dataclass(frozen=True, eq=False)
class HeldRows(PursuitRows):
    """Rows in memory, transposed: XT [width, n].  `signs`: every input is +1 or -1."""

    XT: FloatArray
    signs: bool = False

    @cached_property
    def binary(self) -> bool:
        """Whether every input is 0 or the largest value of its column."""
        X = self.XT[: self.d]
        return bool(np.logical_or(X == 0.0, X.max(axis=1, initial=0.0, keepdims=True) == X).all())

    def inputs(self, block: slice) -> FloatArray:
        """Return a view."""
        return self.XT[:, block]

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The inputs of the neurons in single precision, which is enough for starting points."""
        return self.XT[: self.d].astype(np.float32)

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean of each input."""
        return np.asarray(self.XT[: self.d].mean(axis=1), dtype=np.float32)

    @cached_property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation of each input; 1 for a constant, which no neuron needs."""
        std = self.XT[: self.d].std(axis=1)
        return np.where(std > CONSTANT_COLUMN, std, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class StreamedRows(PursuitRows):
    """Some scaled columns of a table X [n, D], copied one block at a time."""

    X: FloatArray
    columns: IntArray
    column_scale: FloatArray

    def inputs(self, block: slice) -> FloatArray:
        """Return a scaled and transposed copy of the block."""
        rows = self.X[block]
        XT = np.ones((self.width, len(rows)))
        np.divide(rows[:, self.columns].T, self.column_scale[:, None], out=XT[: self.d])
        return XT
