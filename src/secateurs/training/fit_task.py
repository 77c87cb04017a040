"""The data and the options of one fit of a sparse perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.group import ALONE, Group
from secateurs.core.splits import Split
from secateurs.sparse.network import SparseNetwork
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.reservoir import Stream
from secateurs.training.trainers import Trainer


@dataclass(frozen=True)
class FitTask:
    """The rows of this process, and how to train on them.

    Attributes
    ----------
    inputs : array [n, d] or scipy CSR
    targets : array
        Class numbers, int64 of shape [n], or standardised targets, float32 of shape [n, k].
    out_shift, out_scale : arrays of float64, shape [k]
        A prediction is ``output * out_scale + out_shift``.
    split : Split
        Rows to train on, and rows kept out of training, for widths and the certificate.
    group : Group
        Processes that share the fit.
    weights : array of float64, shape [n], or None
        What each row counts for in the loss, with a mean of 1 over the training rows.
    trainer : Trainer
    initial : SparseNetwork or None
        Start `prune_regrow` from this network.
    before : FittedNetwork or None
        Start from this network after it has been moved to the scalings of this task.
    certified_start : bool
        Whether the first network, if there is one, was fitted without the held-out rows.
    shorten : int
        Divide the number of steps by this.
    stream : Stream or None
        Train the fitted network further; the rows are those of a chunk and of the sample.
    n_new : int
        Rows of the chunk.
    scaling : Scaling or None
        The scaling of the inputs with which `initial` computes, in a stream.
    has_groups : bool
        Whether the units of the split are groups of the caller.
    """

    inputs: Any
    targets: NDArray[Any]
    out_shift: NDArray[np.float64]
    out_scale: NDArray[np.float64]
    split: Split
    group: Group = ALONE
    weights: NDArray[np.float64] | None = None
    trainer: Trainer = prune_regrow
    initial: SparseNetwork | None = None
    before: FittedNetwork | None = None
    certified_start: bool = True
    shorten: int = 1
    stream: Stream | None = None
    n_new: int = 0
    scaling: Scaling | None = None
    has_groups: bool = False

    @property
    def train(self) -> NDArray[np.int64]:
        """Rows to train on."""
        return self.split.train

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Rows kept out of training."""
        return self.split.held_out
