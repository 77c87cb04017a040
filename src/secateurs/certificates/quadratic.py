"""What a quadratic fit can promise: its rank against the noise, and its gain on new rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.certificates.check import Certificate
from secateurs.certificates.generalization import held_out_regression_check
from secateurs.solvers.quadratic import Quadratic
from secateurs.solvers.solution import Solution

Vector = NDArray[np.float64]


def quadratic_certificate(
    solution: Solution[Quadratic], y: Vector, X_held_out: Vector, y_held_out: Vector
) -> Certificate:
    """Checks of a fit by `fit_quadratic`.

    Parameters
    ----------
    solution : Solution of Quadratic
    y : array, shape [n]
        Training targets.
    X_held_out, y_held_out : arrays, shapes [n', d] and [n']
        Rows the fit did not see, but for the choice of the number of components.
    """
    measured = solution.measured
    n_tried = max(1, len(measured.get("held_out_errors", ())))
    error = (y_held_out - solution.value.predict(X_held_out)) ** 2
    gain = (y_held_out - y.mean()) ** 2 - error
    return Certificate((held_out_regression_check(gain, n_tried),))
