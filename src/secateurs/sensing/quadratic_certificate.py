"""What a quadratic fit can promise: its rank against the noise, and its gain on new rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate
from secateurs.core.generalization import held_out_regression_check
from secateurs.core.solution import Solution
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.quadratic_fit import QuadraticFit

Vector = NDArray[np.float64]


def quadratic_certificate(
    solution: Solution[QuadraticFit],
    y: Vector,
    X_held_out: Vector,
    y_held_out: Vector,
    *,
    signed: bool,
    random_state: int = 0,
) -> Certificate:
    """Checks of a fit by `fit_quadratic`: those of `sensing_certificate`, and on held-out rows.

    Parameters
    ----------
    solution : Solution of QuadraticFit
    y : array, shape [n]
        Training targets.
    X_held_out, y_held_out : arrays, shapes [n', d] and [n']
        Rows the fit did not see, but for the choice of the number of components.
    signed : bool
    random_state : int
    """
    fit = solution.value
    sensing = sensing_certificate(
        fit.operator,
        y,
        fit.factors.components,
        fit.factors.signs,
        signed=signed,
        random_state=random_state,
    )
    n_tried = max(1, len(solution.measured.get("held_out_errors", ())))
    error = (y_held_out - fit.function.predict(X_held_out)) ** 2 if len(y_held_out) else y_held_out
    gain = (y_held_out - y.mean()) ** 2 - error
    return Certificate((*sensing.checks, held_out_regression_check(gain, n_tried)))
