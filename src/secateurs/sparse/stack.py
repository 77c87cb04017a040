"""A ReLU network without biases, with sparse weights, as the recovery solvers return it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.short_repr import short_repr

PREDICTED_ROWS = 4096  # rows that are predicted together
SEED_BLOCK = 256  # generators that are drawn together from one seed


@dataclass(frozen=True, eq=False)
class Generators:
    """Vectors h_j whose patterns 1{X h_j > 0} are the gates of the convex form.

    They are either given or drawn from a standard normal distribution.  Drawn vectors are not
    stored: they are drawn again from the seed, 256 at a time, whenever they are needed.

    Attributes
    ----------
    count, d : int
        Number and length of the vectors.
    seed : int
    given : Tensor, shape [count, d], or None
        The vectors, where they are given; `seed` is then ignored.
    """

    count: int
    d: int
    seed: int = 0
    given: Tensor | None = field(default=None, repr=False)

    def rows(self, index: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Return the generators with the given (sorted) numbers, shape [len(index), d].

        Costs ``256 * d`` random numbers for every block of 256 that holds one of them.
        """
        if self.given is not None:
            return self.given[index.to(self.given.device)].to(device=device, dtype=dtype)
        out = torch.empty(len(index), self.d, dtype=dtype, device=device)
        block = torch.div(index, SEED_BLOCK, rounding_mode="floor").cpu()
        index = index.cpu()
        for b in torch.unique(block).tolist():
            stream = np.random.SeedSequence([self.seed, b]).generate_state(2, np.uint64)[0]
            source = torch.Generator().manual_seed(int(stream) >> 1)
            drawn = torch.randn(
                SEED_BLOCK, self.d, generator=source
            )  # the same numbers for every dtype
            here = torch.nonzero(block == b).squeeze(1)
            out[here.to(device)] = drawn[index[here] - b * SEED_BLOCK].to(out)
        return out


@dataclass(frozen=True, eq=False)
class ReLUStack:
    """Sparse layers W_1 .. W_L, which compute relu(.. relu(X W_1^T) .. W_L^T).

    Parameters
    ----------
    layers : tuple of csr_array, shapes [m_l, m_(l-1)]
        The weights, first layer first; m_0 is the number d of inputs.
    fused : bool
        True: the last layer is hidden too, and the output is the sum of its neurons.
        False: the last layer is linear and gives the outputs.
    generators : Generators, optional
        For the convex form with one fused layer: the gate of neuron j is 1{X h_j > 0}.  By default
        neurons are ReLUs.
    """

    __repr__ = short_repr

    layers: tuple[sp.csr_array, ...]
    fused: bool
    generators: Generators | None = None

    @property
    def n_nonzero(self) -> int:
        """Number of stored weights."""
        return int(sum(W.nnz for W in self.layers))

    @property
    def weights(self) -> sp.csr_array:
        """Weights of the first layer, shape [m, d]."""
        return self.layers[0]

    def predict(self, X: NDArray[np.floating] | Tensor) -> NDArray[np.floating]:
        """Return the outputs of the network.

        Costs 2 * n * nnz flops; with generators 2 * n * d more for every neuron with weights.

        Parameters
        ----------
        X : array or Tensor, shape [n, d]
            Rows; a tensor is moved to the CPU.

        Returns
        -------
        array, shape [n] if the network is fused, otherwise [n, k]
            The outputs.

        Raises
        ------
        ValueError
            `X` does not have d columns.
        """
        X = np.asarray(X.detach().cpu() if isinstance(X, Tensor) else X)
        if X.ndim != 2 or X.shape[1] != self.layers[0].shape[1]:
            raise bad_value(
                "X",
                Shown(f"shape {X.shape}"),
                f"[n, {self.layers[0].shape[1]}], the inputs that the weights were fitted on",
            )
        if not len(X):
            return np.zeros(0 if self.fused else (0, self.layers[-1].shape[0]))
        # only neurons with weights are computed, so a wide layer costs nothing
        pieces = [
            self._predict(X[a : a + PREDICTED_ROWS]) for a in range(0, len(X), PREDICTED_ROWS)
        ]
        return np.concatenate(pieces)

    def _predict(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        H: NDArray[np.floating] = X.T
        for layer, W in enumerate(self.layers):
            last = layer == len(self.layers) - 1
            if last and not self.fused:
                return np.asarray((W @ H).T)
            live = np.flatnonzero(np.diff(W.indptr))
            Z = W[live] @ H
            if self.generators is not None:
                index = torch.from_numpy(live)
                kind = torch.from_numpy(np.empty(0, dtype=X.dtype)).dtype
                Z = Z * (self.generators.rows(index, kind, "cpu").numpy() @ H > 0)
            else:
                Z = np.maximum(Z, 0)
            if last:
                return np.asarray(Z.sum(0))
            H = np.zeros((W.shape[0], len(X)), dtype=Z.dtype)
            H[live] = Z
        raise AssertionError("a stack has at least one layer")
