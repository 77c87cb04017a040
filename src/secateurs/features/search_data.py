"""The data of the search: rows split, y transformed, columns ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer, check_real
from secateurs.data.columns import Columns
from secateurs.features.network import SplitRows
from secateurs.features.ranks import FloatArray, IntArray, RankedColumns, standardised
from secateurs.features.screening import FEWEST_ROWS, check_target, label_transforms

LEAST_CAP, MOST_CAP = 8, 128  # bounds of the number of columns kept by default
ROWS_PER_COLUMN = 8  # rows for each column that is kept by default


@dataclass(frozen=True, eq=False)
class SearchData:
    """The data and the settings that every step of the search reads."""

    source: Columns
    ranked: RankedColumns
    T: FloatArray  # transforms of y, [n, C]
    transforms: tuple[str, ...]  # their names
    Y: FloatArray  # standardised targets, or class indicators, [n, k]
    order: IntArray  # rows in random order; the first `n_train` are for training
    n_train: int
    task: str
    hidden: int
    alpha: float
    degrees: int
    cap: int  # most columns kept without shrinkage
    limit: int  # most columns kept at all
    generator: torch.Generator

    def rows(self, J: IntArray) -> SplitRows:
        """Return the raw columns J, standardised, training rows first."""
        X = standardised(self.source.take(J))[self.order]
        Y = torch.from_numpy(self.Y[self.order]).float()
        return SplitRows(torch.from_numpy(X).float(), Y, self.n_train, self.task)

    def on_all_rows(self, R: FloatArray) -> FloatArray:
        """Standardise values of the training rows [n_train, c]; validation rows get 0, [n, c]."""
        n = self.source.n
        out = np.zeros((n, R.shape[1]))
        out[self.order[: self.n_train]] = standardised(R) * np.sqrt(n / self.n_train)
        return out


def prepared(
    source: Columns,
    y: NDArray[Any],
    task: str,
    max_features: int | None,
    alpha: float,
    degrees: int,
    hidden: int,
    validation: float,
    random_state: int | None,
) -> SearchData:
    """Check the arguments of `multi_index`, split the rows, transform y and rank the columns."""
    check_choice("task", task, ("regression", "classification"))
    check_integer("hidden", hidden)
    check_real("validation", validation, above=0, below=1)
    if max_features is not None:
        check_integer("max_features", max_features, otherwise="None")
    values = check_target(y, source.n, FEWEST_ROWS)
    if task == "classification":
        Y = _class_indicators(values)
        T = standardised(Y[:, 1:] if Y.shape[1] == 2 else Y)
        names = tuple(f"class {c}" for c in range(Y.shape[1] - T.shape[1], Y.shape[1]))
    else:
        T, names = label_transforms(values)
        Y = standardised(values)[:, None]
    n_val = max(2, round(validation * source.n))
    if source.n - n_val < FEWEST_ROWS:
        raise bad_value(
            "X",
            Shown(f"{source.n} rows, of which {n_val} are for validation"),
            f"at least {FEWEST_ROWS + 2} rows, {FEWEST_ROWS} of them for training",
        )
    seed = np.random.SeedSequence(random_state)
    order = np.random.default_rng(seed).permutation(source.n)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    limit = min(max_features or source.d, source.d)
    cap = max(LEAST_CAP, min(source.n // ROWS_PER_COLUMN, MOST_CAP))
    return SearchData(
        source=source,
        ranked=RankedColumns.of(source),
        T=T,
        transforms=names,
        Y=Y,
        order=order,
        n_train=source.n - n_val,
        task=task,
        hidden=int(hidden),
        alpha=alpha,
        degrees=degrees,
        cap=min(cap, limit),
        limit=limit,
        generator=generator,
    )


def _class_indicators(values: FloatArray) -> FloatArray:
    """Return the indicators [n, K] of class numbers."""
    classes = values.astype(np.int64)
    n_classes = int(classes.max()) + 1
    seen = np.unique(classes)
    if (classes != values).any() or seen[0] < 0 or len(seen) != n_classes:
        raise bad_value(
            "y", Shown(f"classes {np.unique(values)}"), "classes 0, 1, ..., K - 1", "encode them"
        )
    return np.eye(n_classes)[classes]
