"""What the search for directions reads: rows split, labels transformed, columns ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.data.columns import Columns
from secateurs.features.directions import RankedColumns, ranked_columns
from secateurs.features.network import Rows
from secateurs.features.screening import label_transforms, standardised

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST = 128  # columns kept, and at most an eighth of the rows


@dataclass(frozen=True, eq=False)
class Data:
    """What every step of the search reads.

    Attributes
    ----------
    source : Columns
    ranked : RankedColumns
    T : float array [n, C]
        Label transforms.
    transforms : tuple of str
        Their names.
    Y : float array [n, k]
        Standardised targets, or class indicators.
    order : int array [n]
        Rows, those that are trained on first.
    n_train : int
    task : str
    hidden : int
    alpha : float
    cap : int
        Most columns kept without shrinkage.
    limit : int
        Most columns kept at all.
    generator : torch.Generator
    """

    source: Columns
    ranked: RankedColumns
    T: FloatArray
    transforms: tuple[str, ...]
    Y: FloatArray
    order: IntArray
    n_train: int
    task: str
    hidden: int
    alpha: float
    cap: int
    limit: int
    generator: torch.Generator

    def rows(self, J: IntArray) -> Rows:
        """Raw columns J, standardised, training rows first."""
        X = standardised(self.source.take(J))[self.order]
        Y = torch.from_numpy(self.Y[self.order]).float()
        return Rows(torch.from_numpy(X).float(), Y, self.n_train, self.task)

    def labels(self, R: FloatArray) -> FloatArray:
        """Labels of the training rows [n_train, c] on all rows of the data, the others 0."""
        n = self.source.n
        out = np.zeros((n, R.shape[1]))
        out[self.order[: self.n_train]] = standardised(R) * np.sqrt(n / self.n_train)
        return out


def largest_support(n: int) -> int:
    """Most columns kept of data with n rows, unless small coordinates matter."""
    return max(8, min(n // 8, MOST))


def prepared(
    source: Columns,
    y: NDArray[Any],
    task: str,
    max_features: int | None,
    alpha: float,
    hidden: int,
    validation: float,
    random_state: int | None,
) -> Data:
    """Rows split, labels transformed, columns ranked; or why that cannot be."""
    if task not in ("regression", "classification"):
        raise ValueError(f'got task {task!r}; expected "regression" or "classification"')
    if hidden < 1 or int(hidden) != hidden:
        raise ValueError(f"got hidden = {hidden}; expected an integer >= 1")
    if not 0.0 < validation < 1.0:
        raise ValueError(f"got validation = {validation}; expected a share between 0 and 1")
    if max_features is not None and (max_features < 1 or int(max_features) != max_features):
        raise ValueError(f"got max_features = {max_features}; expected an integer >= 1, or None")
    values = np.asarray(y)
    T, names = label_transforms(values)
    if len(values) != source.n:
        raise ValueError(f"got X with {source.n} rows and y with {len(values)}; expected as many")
    if task == "classification":
        classes = values.astype(np.int64)
        if (
            (classes != values).any()
            or classes.min() < 0
            or len(np.unique(classes)) != classes.max() + 1
        ):
            raise ValueError("got classes that are not 0, 1, .., K - 1; encode the labels")
        Y = np.eye(int(classes.max()) + 1)[classes]
        T = standardised(Y[:, 1:] if Y.shape[1] == 2 else Y)
        names = tuple(f"class {c}" for c in range(Y.shape[1] - T.shape[1], Y.shape[1]))
    else:
        Y = standardised(values.astype(np.float64))[:, None]
    n_val = max(2, round(validation * source.n))
    if source.n - n_val < 8:
        raise ValueError(
            f"got {source.n} rows; expected at least 10, with validation = {validation}"
        )
    seed = np.random.SeedSequence(random_state)
    order = np.random.default_rng(seed).permutation(source.n)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    limit = min(max_features or source.d, source.d)
    return Data(
        source=source,
        ranked=ranked_columns(source),
        T=T,
        transforms=names,
        Y=Y,
        order=order,
        n_train=source.n - n_val,
        task=task,
        hidden=int(hidden),
        alpha=alpha,
        cap=min(largest_support(source.n), limit),
        limit=limit,
        generator=generator,
    )
