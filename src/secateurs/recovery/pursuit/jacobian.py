"""Levenberg-Marquardt steps without the matrix Q = J^T J, by conjugate gradients.

The Jacobian of a sum of neurons with gates g_j has the columns x_k of the linear part and
g_j o x_k of each nonzero u_jk.  With V the matrix of a step in the u_jk,

    J (b, V) = X b + sum_j g_j o (X v_j),   J^T t = (X^T t, [X^T (g_j o t)]_jk)                (1)

need a sparse and a dense product for each block of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from secateurs.recovery.pursuit.relu_rows import FloatArray, NeuronSum, PursuitRows

CG_TOLERANCE = 1e-3  # relative to the gradient; the next step corrects what is left
MAX_CG_STEPS = 150
DENSE_SHARE = 16  # a dense product of p d numbers costs as much as gathering p d / 16 nonzeros


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Products with the Jacobian of a sum of neurons at its current gates [p, n]."""

    rows: PursuitRows
    net: NeuronSum
    gates: NDArray[np.int8]

    def times(self, step: FloatArray) -> FloatArray:
        """Return J step, shape [n]; O(n (q + nnz + p))."""
        q = len(self.net.linear)
        moved = replace(self.net, value=step[q:])
        product = np.empty(self.rows.n)
        for block, XT, change in self.rows.pre_activations(moved):
            product[block] = np.einsum("ij,ij->j", change, self.gates[:, block])
            product[block] += step[:q] @ XT[self.net.linear]
        return product

    def transposed_times(self, t: FloatArray) -> FloatArray:
        """Return J^T t, shape [q + nnz]; O(n (q + min(nnz, p d / 16)))."""
        return self._sums(t, squared=False)

    @cached_property
    def diagonal(self) -> FloatArray:
        """Diagonal of Q, shape [q + nnz]."""
        return self._sums(np.ones(self.rows.n), squared=True)

    def _sums(self, t: FloatArray, *, squared: bool) -> FloatArray:
        """Sum t times the columns of J, or times their squares, over the rows."""
        net, d = self.net, self.rows.d
        q = len(net.linear)
        sums = np.zeros(net.n_unknowns)
        dense = net.n_neurons * d <= DENSE_SHARE * net.nnz
        for block in self.rows.blocks():
            XT = self.rows.inputs(block)
            gates = self.gates[:, block]
            if squared:
                XT, gates = XT**2, gates**2
            sums[:q] += XT[net.linear] @ t[block]
            weighted = gates * t[block]
            if dense:
                sums[q:] += (weighted @ XT[:d].T)[net.neuron, net.coordinate]
            else:
                sums[q:] += np.einsum("ij,ij->i", weighted[net.neuron], XT[net.coordinate])
        return sums


def jacobian(rows: PursuitRows, net: NeuronSum) -> Jacobian:
    """Return the Jacobian at `net`; O(n nnz) time, n p bytes."""
    gates = np.empty((net.n_neurons, rows.n), dtype=np.int8)
    for block, _, Z in rows.pre_activations(net):
        gates[:, block] = rows.gates(Z)
    return Jacobian(rows, net, gates)


def damped_step(
    J: Jacobian, residual: FloatArray, damping: FloatArray, tolerance: float = CG_TOLERANCE
) -> FloatArray:
    """Solve (J^T J + diag(damping)) step = J^T residual by conjugate gradients, shape [q + nnz].

    CGLS on columns at unit norm, where damping only improves the condition number, until the
    gradient has fallen by `tolerance`.  Two products a step; O(n + q + nnz) memory.
    Source: Bjorck, Numerical Methods for Least Squares Problems, 1996, section 7.4.
    """
    diagonal = J.diagonal + damping
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    shift = damping * scale**2
    x = np.zeros(len(scale))
    left = residual.copy()
    gradient = scale * J.transposed_times(left)
    direction = gradient.copy()
    square = first = float(gradient @ gradient)
    for _ in range(MAX_CG_STEPS):
        if square <= tolerance**2 * first:
            break
        image = J.times(scale * direction)
        length = square / float(image @ image + direction @ (shift * direction))
        x += length * direction
        left -= length * image
        gradient = scale * J.transposed_times(left) - shift * x
        before, square = square, float(gradient @ gradient)
        direction = gradient + (square / before) * direction
    return np.asarray(scale * x)
