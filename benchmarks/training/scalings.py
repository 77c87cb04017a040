"""Add one unusual column to a table and compare with the fit without it.

    python -m benchmarks.training.scalings

The table has 500 rows of 5 normal columns.  Each unusual column is noise, so that the scores should
stay what they are; "signal" columns carry a column of the table in another unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse

from secateurs.training import SparseMLPClassifier, SparseMLPRegressor

N_ROWS, N_TEST = 500, 500
FORMS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "array": np.asarray,
    "CSR": sparse.csr_array,
    "DataFrame": lambda X: pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]),
}


def unusual_columns(rng: np.random.Generator, n: int) -> dict[str, NDArray[np.float64]]:
    """Return columns of noise as tables have them, by name."""
    x = rng.standard_normal(n)
    return {
        "constant": np.full(n, 2024.0),
        "offset": x + 1e6,
        "year": rng.integers(2000, 2025, n).astype(float),
        "row number": np.arange(n, dtype=float),
        "temperature": 293 + 0.3 * x,
        "milliseconds": 1.7e12 + np.round(1e4 * x),
        "tiny": 1e-9 * x,
        "huge": 1e12 * x,
        "heavy tail": rng.standard_cauchy(n),
        "dead pixel": (np.arange(n) == 17) * 255.0,
        "sentinel": np.where(np.arange(n) == 5, 9999.0, x),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS + N_TEST, 5))
    y = 2 * X[:, 0] - X[:, 1] + np.abs(X[:, 2]) + 0.1 * rng.standard_normal(len(X))
    tables = {"none": X}
    for name, column in unusual_columns(rng, len(X)).items():
        tables[name] = np.c_[X, column]
    units = {"signal in 1e-9": (1e-9, 0.0), "signal in 1e12": (1e12, 0.0), "signal + 1e6": (1, 1e6)}
    for name, (scale, offset) in units.items():
        tables[name] = np.c_[X[:, 0] * scale + offset, X[:, 1:]]
    out = Table("column", *(f"{kind}, {form}" for kind in ("R²", "accuracy") for form in FORMS))
    for name, table in tables.items():
        out.add_row(name, *(f"{score:.3f}" for score in _scores(table, y)))
    Console(width=110).print(out)


def _scores(X: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    scores = []
    for estimator, target in ((SparseMLPRegressor, y), (SparseMLPClassifier, y > np.median(y))):
        for form in FORMS.values():
            model = estimator(60, (10,), random_state=0).fit(form(X[:N_ROWS]), target[:N_ROWS])
            scores.append(float(model.score(form(X[N_ROWS:]), target[N_ROWS:])))
    return scores


if __name__ == "__main__":
    main()
