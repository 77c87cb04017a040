"""A choice between models: the candidates, their losses, and what was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.training_data import TrainingData

FloatArray = NDArray[np.float64]
Model = Literal["constant", "line", "network"]

LEAD = 1.0  # a network must be ahead of the line by so many standard errors


@dataclass(frozen=True)
class Candidate:
    """A way to train: input noise, weight decay, and whether to start from the line."""

    noise: float
    decay: float = 0.0
    from_line: bool = False
    hidden: tuple[int, ...] = ()


@dataclass
class Choice:
    """What was compared and what was chosen.

    Attributes
    ----------
    model : str
        "constant", "line" or "network".
    candidate : Candidate
        How to train the network.
    penalty : float or None
        The penalty of the line, if it was solved exactly.
    scores : dict
        Accuracy or R² of "constant", "line" and "network" on the predicted training rows.
    n_rows : int
        Number of predicted rows; 0 where the training loss was compared.
    """

    model: Model
    candidate: Candidate
    penalty: float | None = None
    scores: dict[Model, float] = field(default_factory=dict)
    n_rows: int = 0
    interrupted: bool = False
    line: SparseNetwork | None = None  # fitted to all training rows

    @property
    def input_noise(self) -> float | None:
        """The noise on the inputs of the network; None for a line or a constant."""
        return self.candidate.noise if self.model == "network" else None


class Train(Protocol):
    """Train a network with the settings of an estimator."""

    def __call__(
        self,
        part: TrainingData,
        candidate: Candidate,
        initial: SparseNetwork | None,
        n_nonzero: int,
        shorten: int,
        progress: ProgressCallback | None = None,
    ) -> Solution[SparseNetwork]:
        """Train with ``1 / shorten`` of the steps."""
        ...


def row_losses(outputs: FloatArray, targets: NDArray[Any]) -> FloatArray:
    """Return the mean squared error of each row, or the Brier score of its class."""
    if targets.ndim == 1:
        p = softmax(outputs, axis=1)
        p[np.arange(len(targets)), targets] -= 1
        return np.asarray(np.square(p).sum(axis=1))
    return np.asarray(np.square(outputs - targets).mean(axis=1))


def score_of(outputs: FloatArray, targets: NDArray[Any]) -> float:
    """Return the accuracy, or R² over all targets; 0 where the targets do not vary."""
    if targets.ndim == 1:
        return float((outputs.argmax(axis=1) == targets).mean())
    total = float(np.square(targets - targets.mean(axis=0)).sum())
    return 1 - float(np.square(outputs - targets).sum()) / total if total > 0 else 0.0


def is_ahead(network: FloatArray, line: FloatArray, units: NDArray[Any]) -> bool:
    """Tell whether a network is better than the line by more than its standard error."""
    _, index = np.unique(units, return_inverse=True)
    gain = np.bincount(index, line - network) / np.bincount(index)
    if len(gain) < 2:
        return False
    error = gain.std(ddof=1) / math.sqrt(len(gain))
    return bool((line - network).mean() > LEAD * error)
