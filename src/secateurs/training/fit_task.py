"""What one fit of a sparse perceptron is made of: data, targets and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.group import ALONE, Group
from secateurs.sparse.network import SparseNetwork
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.trainers import Trainer


@dataclass(frozen=True)
class FitOptions:
    """How to fit, beside the parameters of the estimator.

    Attributes
    ----------
    group : Group
        Processes that share the fit.
    trainer : Trainer
    initial : SparseNetwork or None
        Start `prune_regrow` from this network.
    shorten : int
        Divide the number of steps by this.
    resume : bool
        Train the fitted network for one more epoch.
    classes : array or None
        All classes that there can be; by default those of `y`.
    """

    group: Group = ALONE
    trainer: Trainer = prune_regrow
    initial: SparseNetwork | None = None
    shorten: int = 1
    resume: bool = False
    classes: Any = None


@dataclass(frozen=True)
class Targets:
    """Targets as the trainers read them, and the way back to predictions.

    Attributes
    ----------
    values : array
        Class numbers, int64 of shape [n], or standardised targets, float32 of shape [n, k].
    shift, scale : arrays of float64, shape [k]
        A prediction is ``output * scale + shift``.
    """

    values: NDArray[Any]
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class FitTask:
    """The rows of this process, split for a fit.

    Attributes
    ----------
    inputs : array [n, d] or scipy CSR
    targets : Targets
    train, held_out : arrays of int64
        Numbers of the rows to train on and of the rows kept out of training.
    options : FitOptions
    """

    inputs: Any
    targets: Targets
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    options: FitOptions
