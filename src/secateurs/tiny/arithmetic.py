"""A sparse network in small integers: its numbers, and exactly what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, r2_score

from secateurs.core.certificate import Certificate
from secateurs.tiny.bit_stream import encode
from secateurs.tiny.inputs import PixelInputs, TableInputs
from secateurs.tiny.integer_layer import IntArray, IntegerLayer
from secateurs.tiny.outputs import ClassOutputs, NumberOutputs
from secateurs.tiny.worst_case import worst_sums

PREDICTED_ROWS = 4096  # rows that are computed together


@dataclass(frozen=True, eq=False)
class IntegerArithmetic:
    """A ReLU network whose inputs, weights and sums are integers.

    Parameters
    ----------
    layers : tuple of IntegerLayer
        The weights as integers, first layer first, with ReLU between the layers.
    inputs : PixelInputs or TableInputs
        How rows of data become integers.
    outputs : ClassOutputs or NumberOutputs
        What the scores mean.
    examples : int64 array [m, n_raw]
        A few rows as raw integers, for the test in the program in C.
    certificate_ : Certificate
        What is known about the arithmetic and about errors on new rows.
    report_ : dict, optional
        Numbers about the fine-tuning and the comparison, for a table.
    """

    layers: tuple[IntegerLayer, ...]
    inputs: PixelInputs | TableInputs
    outputs: ClassOutputs | NumberOutputs
    examples: IntArray
    certificate_: Certificate = field(default_factory=lambda: Certificate(()))
    report_: dict[str, Any] | None = None

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class, or the predicted number, of each row.

        Parameters
        ----------
        X : array [n, d] or DataFrame
            In the form that the estimator was fitted on; images before pooling.

        Returns
        -------
        array [n] or [n, k]
            Labels of classes, or numbers in the units of the targets.
        """
        return self.outputs.predict(self.scores(X))

    def score(self, X: Any, y: Any) -> float:
        """Compute the accuracy, or the coefficient of determination R², on rows.

        Parameters
        ----------
        X : array [n, d] or DataFrame
            As for `predict`.
        y : array [n] or [n, k]
            The true classes or numbers.

        Returns
        -------
        float
            At most 1, which is best.
        """
        predicted = self.predict(X)
        if isinstance(self.outputs, ClassOutputs):
            return float(accuracy_score(y, predicted))
        return float(r2_score(y, predicted))

    def scores(self, X: Any) -> IntArray:
        """Compute the integer scores of each row; the program in C computes the same.

        In exact arithmetic a score times `score_unit_` is the output of the dequantised network,
        whose weights are ``code * step`` and whose inputs are the integer features.

        Parameters
        ----------
        X : array [n, d] or DataFrame
            As for `predict`.

        Returns
        -------
        int64 array [n, k]
            One score for each output of the last layer.
        """
        return self.raw_scores(self.inputs.raw(X))

    def raw_scores(self, raw: IntArray) -> IntArray:
        """Compute the scores for rows as the program in C reads them.

        Parameters
        ----------
        raw : int64 array [n, n_raw]
            Pixels before pooling, or the numbers and categories of a table as integers.

        Returns
        -------
        int64 array [n, k]
            One score for each output of the last layer.
        """
        pieces = [
            self.feature_scores(self.inputs.features(raw[start : start + PREDICTED_ROWS]))
            for start in range(0, len(raw), PREDICTED_ROWS)
        ]
        empty = np.empty((0, self.layers[-1].n_out), dtype=np.int64)
        return np.concatenate([empty, *pieces])

    def feature_scores(self, features: IntArray) -> IntArray:
        """Compute the scores for inputs of the first layer.

        Parameters
        ----------
        features : int64 array [n, n_features]
            Pixels after pooling, or the scaled columns of a table.

        Returns
        -------
        int64 array [n, k]
            One score for each output of the last layer.
        """
        sums = np.asarray(features, dtype=np.int64)
        for i, (layer, worst) in enumerate(zip(self.layers, self.worst_sums_, strict=True)):
            sums = layer.sums(sums if i == 0 else np.maximum(sums, 0), worst)
        return sums

    @cached_property
    def worst_sums_(self) -> tuple[int, ...]:
        """The largest |partial sum| of each layer over every input; `worst_case` has the rule."""
        return worst_sums(self.layers, self.inputs.low, self.inputs.high)

    @cached_property
    def stream_(self) -> bytes:
        """Positions and weights, coded in bits."""
        return encode(self.layers)[0]

    @cached_property
    def stream_orders_(self) -> list[int]:
        """The order of the position code of each layer."""
        return encode(self.layers)[1]

    @property
    def n_nonzero_(self) -> int:
        """Weights of the network, biases included."""
        return sum(len(layer.codes) for layer in self.layers)

    @property
    def bits_(self) -> int:
        """Bits of a weight."""
        return self.layers[0].bits

    @property
    def score_unit_(self) -> float:
        """What one unit of a score is worth in outputs of the network."""
        return float(np.prod([layer.step for layer in self.layers]))


def example_rows(raw: IntArray, count: int) -> IntArray:
    """Return some rows, evenly spaced."""
    at: Sequence[int] = np.linspace(0, len(raw) - 1, min(count, len(raw))).astype(int).tolist()
    return raw[at]
