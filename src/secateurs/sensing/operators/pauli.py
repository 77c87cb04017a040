"""Pauli measurements of quantum states, by bit operations and Walsh-Hadamard transforms.

A string of q factors I, X, Y, Z on d = 2^q dimensions is written as two bit masks, x (1 for X or
Y) and z (1 for Z or Y):

    P |b> = i^{|x & z|} (-1)^{|b & z|} |b ^ x>                                              (1)

For one x, <P, M> over all z is the Walsh-Hadamard transform of b -> M[b, b ^ x].
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.parameters import check_integer
from secateurs.sensing.operators.base import (
    BLOCK_BYTES,
    Array,
    SensingOperator,
    factors,
    index_arrays,
    residuals,
)

MAX_QUBITS = 14


class Pauli(SensingOperator):
    """Expectations <P_i, M> = tr(P_i M) of Pauli strings in a Hermitian matrix M.

    Parameters
    ----------
    n_qubits : int
        The number q of qubits, at most 14; d = 2^q.
    x, z : int arrays, shape [n]
        Bit masks of the strings; bit 0 is the last qubit.

    Notes
    -----
    Factors are complex128.  A pass costs O(r d) for each distinct x and O(d log d) for its
    transform, however many strings share that x.  No string needs a d x d matrix.
    """

    def __init__(self, n_qubits: int, x: ArrayLike, z: ArrayLike) -> None:
        d = 1 << check_integer("n_qubits", n_qubits, 1, MAX_QUBITS)
        self.x, self.z = index_arrays(x, z, "masks", d)
        self.shape = (len(self.x), d)
        self.dtype = np.dtype(np.complex128)
        self._order = np.argsort(self.x, kind="stable")
        self._distinct, self._starts = np.unique(self.x[self._order], return_index=True)
        # i^{|x & z|} of (1), conjugated, turns a transform into an expectation
        self._phase = np.array([1, 1j, -1, -1j])[np.bitwise_count(self.x & self.z) % 4]
        self._bits = np.arange(d)

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        return [self._expectations(U, V, signs) for U, V in pairs]

    def adjoint(self, residual: Array) -> Array:
        """Compute sum_i residual_i P_i as a dense matrix; O(d log d) for each distinct x."""
        d = self.shape[1]
        N = np.zeros((d, d), dtype=self.dtype)
        for xs, columns in self._columns(residuals(self, residual)):
            N[self._bits[None, :] ^ xs[:, None], self._bits[None, :]] = columns
        return N

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """Compute (sum_i residual_i P_i) V."""
        V = factors(self, V.T).T
        found = np.zeros_like(V)
        for xs, columns in self._columns(residuals(self, residual)):
            for x, column in zip(xs, columns, strict=True):
                found += (column[:, None] * V)[self._bits ^ x]
        return found

    def sizes(self) -> Array:
        """Return the norms of the strings, which are sqrt(d) for all."""
        return np.full(self.shape[0], np.sqrt(self.shape[1]))

    def tangent_map(self, V: Array) -> Array:
        """Compute all P_i v_k, by (1)."""
        moved = self._bits[None, :] ^ self.x[:, None]
        odd = np.bitwise_count(moved & self.z[:, None]) % 2
        turned = self._phase[:, None] * np.where(odd, -1.0, 1.0)
        return np.asarray(turned[:, None, :] * factors(self, V)[:, moved].transpose(1, 0, 2))

    def _groups(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield blocks of distinct x, their measurements, and the position of each one's x."""
        ends = np.append(self._starts[1:], len(self._order))
        block = max(1, BLOCK_BYTES // (self.shape[1] * self.dtype.itemsize))
        for a in range(0, len(self._distinct), block):
            xs = self._distinct[a : a + block]
            first, last = self._starts[a], ends[min(a + block, len(ends)) - 1]
            members = self._order[first:last]
            yield xs, members, np.searchsorted(xs, self.x[members])

    def _expectations(self, U: Array, V: Array, signs: Array | None) -> Array:
        """sum_k s_k Re u_k^H P_i v_k."""
        found = np.empty(self.shape[0])
        left = U.conj() if signs is None else U.conj() * signs[:, None]
        for xs, members, at in self._groups():
            moved = self._bits[None, :] ^ xs[:, None]
            products = np.zeros(moved.shape, dtype=self.dtype)
            for u, v in zip(left, V, strict=True):
                products += u[moved] * v
            _transform(products)
            found[members] = (self._phase[members] * products[at, self.z[members]]).real
        return found

    def _columns(self, r: Array) -> Iterator[tuple[Array, Array]]:
        """Yield blocks of x and the values N[b ^ x, b] for all b."""
        for xs, members, at in self._groups():
            values = np.zeros((len(xs), self.shape[1]), dtype=self.dtype)
            np.add.at(values, (at, self.z[members]), self._phase[members] * r[members])
            _transform(values)
            yield xs, values


def _transform(values: Array) -> None:
    """Walsh-Hadamard transform of every row, in place; d log2 d additions a row."""
    n, d = values.shape
    half = 1
    while half < d:
        pairs = values.reshape(n, d // (2 * half), 2, half)
        low = pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0] += pairs[:, :, 1]
        pairs[:, :, 1] = low
        half *= 2
