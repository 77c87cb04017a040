"""One layer of an integer network: positions, odd integer codes and the input for the biases.

A weight of b bits has a code ``c`` in {+-1, +-3, ..., +-(2^b - 1)} and the value ``c * step``.  No
code is zero, because an absent weight has no code at all.  A bias is a weight in column ``n_in``.
It has `BIAS_BITS` bits and reads the constant ``2^shift`` in place of an input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]

BIAS_BITS = 8
EXACT = 1 << 53  # integers up to here are exact in float64


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """Weights of one layer, sorted by column and then by row.

    Attributes
    ----------
    n_out, n_in : int
    index : int64 array [nnz], strictly increasing
        ``column * n_out + row``; column ``n_in`` holds the biases.
    codes : int64 array [nnz]
        Odd integers.
    bits : int
        Bits of a weight; a bias has `BIAS_BITS`.
    shift : int
        Biases read the input ``2^shift``.
    step : float
        What one unit of a code is worth in the network that was trained.
    """

    n_out: int
    n_in: int
    index: IntArray
    codes: IntArray
    bits: int
    shift: int = 0
    step: float = 1.0

    @classmethod
    def from_codes(
        cls, codes: IntArray, bits: int, shift: int = 0, step: float = 1.0
    ) -> IntegerLayer:
        """Make a layer from a dense matrix of codes [n_out, n_in + 1], in which 0 is absent."""
        by_column = codes.T.ravel()
        index = np.flatnonzero(by_column)
        n_out, n_in = codes.shape[0], codes.shape[1] - 1
        return cls(n_out, n_in, index, by_column[index].astype(np.int64), bits, shift, step)

    @property
    def rows(self) -> IntArray:
        """Output of each weight."""
        return self.index % self.n_out

    @property
    def columns(self) -> IntArray:
        """Input of each weight; ``n_in`` for a bias."""
        return self.index // self.n_out

    @property
    def is_bias(self) -> NDArray[np.bool_]:
        """Which of the weights are biases."""
        return self.index >= self.n_in * self.n_out

    def dense(self) -> IntArray:
        """Return the codes as a matrix [n_out, n_in + 1]."""
        codes = np.zeros((self.n_out, self.n_in + 1), dtype=np.int64)
        codes[self.rows, self.columns] = self.codes
        return codes

    def permuted(
        self, *, rows: IntArray | None = None, columns: IntArray | None = None
    ) -> IntegerLayer:
        """Return the layer with its outputs or inputs in another order; biases stay last."""
        codes = self.dense()
        if rows is not None:
            codes = codes[rows]
        if columns is not None:
            codes = codes[:, [*columns, self.n_in]]
        made = IntegerLayer.from_codes(codes, self.bits)
        return replace(made, shift=self.shift, step=self.step)

    def sums(self, inputs: IntArray, worst: int) -> IntArray:
        """Return the sums of each row of `inputs` [n, n_in], exactly; shape [n, n_out].

        Parameters
        ----------
        inputs : int64 array [n, n_in]
        worst : int
            A bound of all sums, from `secateurs.tiny.worst_case`.  It decides whether float64,
            which is faster, is exact.
        """
        kind = np.float64 if worst < EXACT else np.int64
        values = np.where(self.is_bias, self.codes << self.shift, self.codes).astype(kind)
        shape = (self.n_out, self.n_in + 1)
        matrix = sparse.csr_array((values, (self.rows, self.columns)), shape=shape)
        extended = np.ones((self.n_in + 1, len(inputs)), dtype=kind)
        extended[:-1] = inputs.T
        return np.ascontiguousarray((matrix @ extended).T).astype(np.int64)
