"""A trained network with the scaling of its inputs and outputs: it predicts and exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork
from secateurs.training.moments import Scaling, is_sparse
from secateurs.training.scaling import input_scaling

_BATCH_ENTRIES = 1 << 22  # entries of the inputs or activations that are computed together


@dataclass(frozen=True)
class FittedNetwork:
    """A sparse network, the scaling of the inputs that it reads, and that of its outputs.

    Attributes
    ----------
    network : SparseNetwork
        Without dead weights.
    columns : array of int64, shape [u]
        Inputs that the network reads, increasing.
    shift : array of float64, shape [u], or None
    scale : array of float64, shape [u] or [1]
        The network reads ``(x[columns] - shift) * scale``.
    out_shift, out_scale : arrays of float64, shape [k]
        The outputs are ``network * out_scale + out_shift``.
    """

    network: SparseNetwork
    columns: NDArray[np.int64]
    shift: NDArray[np.float64] | None
    scale: NDArray[np.float64]
    out_shift: NDArray[np.float64]
    out_scale: NDArray[np.float64]

    @classmethod
    def build(
        cls,
        network: SparseNetwork,
        scaling: Scaling,
        out_shift: NDArray[np.float64],
        out_scale: NDArray[np.float64],
    ) -> FittedNetwork:
        """Trim a network, and select the scaling of the inputs that it reads."""
        network = network.trimmed()
        columns = network.used_inputs()
        shift, scale = scaling.shift, scaling.scale
        if shift is None and (scale == scale[0]).all():
            return cls(network, columns, None, scale[:1].copy(), out_shift, out_scale)
        shift = np.zeros(len(columns)) if shift is None else shift[columns]
        return cls(network, columns, shift, scale[columns], out_shift, out_scale)

    def full_scaling(self, X: Any) -> Scaling:
        """Return the scaling of all d inputs, to continue training.

        Inputs that the network does not read yet are scaled by their values in `X` [n, d].
        """
        if self.shift is None:
            return Scaling(None, np.full(X.shape[1], self.scale[0]))
        found = input_scaling(X)
        shift = np.zeros(X.shape[1]) if found.shift is None else found.shift
        shift[self.columns], found.scale[self.columns] = self.shift, self.scale
        return Scaling(shift, found.scale)

    def outputs(self, X: Any) -> NDArray[np.float64]:
        """Return the outputs for each row of `X` [n, d], dense or CSR; shape [n, k].

        Costs 2 nnz n flops in float64 on the CPU, in batches of bounded memory.  Each output is
        summed weight by weight in the order of the columns.  So the output of a row depends neither
        on the other rows of the call nor on threads, device or instruction set.
        """
        net = CompactNetwork.from_network(self.network)
        layers = _float64_layers(net)
        widest = max(len(u) + 1 for u in net.units)
        step = max(1, _BATCH_ENTRIES // widest)
        n = X.shape[0]
        result = np.empty((n, self.network.widths[-1]))
        for start in range(0, n, step):
            H = self._inputs(X[start : start + step])
            for matrix in layers[:-1]:
                H = np.maximum(matrix @ H, 0.0)
                H[-1] = 1.0
            result[start : start + step] = (layers[-1] @ H).T
        return result * self.out_scale + self.out_shift

    def _inputs(self, X: Any) -> NDArray[np.float64]:
        """Return the scaled inputs that the network reads, features first, and a row of ones."""
        picked = X[:, self.columns]
        if is_sparse(picked):
            picked = picked.toarray()
        picked = picked.astype(np.float64)
        if self.shift is not None:
            picked -= self.shift
        H = np.ones((len(self.columns) + 1, X.shape[0]))
        np.multiply(picked.T, self.scale[:, None], out=H[:-1])
        return H


def _float64_layers(net: CompactNetwork) -> list[sparse.csr_array]:
    """Return the weight matrices as float64 CSR arrays over the live units."""
    return [
        sparse.csr_array(
            (matrix.values.double().numpy(), matrix.col.numpy(), crow.numpy()), matrix.shape
        )
        for matrix, crow in zip(net.matrices, net.crows, strict=True)
    ]
