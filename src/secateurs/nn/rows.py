"""Rows of the user's data, in batches of arguments of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs
from secateurs.core.torch_parts import tree_leaves, tree_map
from secateurs.nn.data import first_parameter, labels

BATCH = 256  # rows in one forward pass


def batches(
    data: Any, module: nn.Module, *, most: int | None = None, size: int = BATCH
) -> Iterator[tuple[Inputs, Tensor | None]]:
    """Yield the arguments of the module and the targets, batch by batch.

    Parameters
    ----------
    data : X, (X, y) or DataLoader
        X is a tensor or array, a dict of them by the names of the arguments, or a tuple of them;
        a tuple of two inputs without targets is given as (X, None).  A loader yields X or (X, y).
    module : nn.Module
        Floating-point inputs are moved to its device and dtype.
    most : int, optional
        Rows that are used; all by default.
    size : int
        Rows of a batch, for tensors.
    """
    parameter = first_parameter(module)

    def placed(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            leaf = torch.from_numpy(leaf)
        if not isinstance(leaf, Tensor):
            return leaf
        dtype = parameter.dtype if leaf.is_floating_point() else leaf.dtype
        return leaf.to(parameter.device, dtype)

    left, n = most, 0
    for X, y in _loaded(data) if isinstance(data, DataLoader) else _cut(data, size):
        inputs = Inputs.of(tree_map(placed, X))
        n = inputs.n_rows
        if left is not None and n > left:
            inputs, y, n = inputs.rows(left), None if y is None else y[:left], left
        yield inputs, None if y is None else labels(placed(y))
        if left is not None:
            left -= n
            if left <= 0:
                return
    if not n:
        raise bad_value("data", Shown("no rows"), "at least one row")


def _loaded(loader: DataLoader[Any]) -> Iterator[tuple[Any, Any]]:
    for batch in loader:
        if isinstance(batch, tuple | list) and len(batch) == 2:
            yield batch[0], batch[1]
        else:
            yield batch, None


def _cut(data: Any, size: int) -> Iterator[tuple[Any, Any]]:
    X, y = data if isinstance(data, tuple | list) and len(data) == 2 else (data, None)
    first = next((leaf for leaf in tree_leaves(X) if isinstance(leaf, Tensor | np.ndarray)), None)
    if first is None or not isinstance(X, Tensor | np.ndarray | Mapping | tuple):
        got = Shown(f"a {type(X).__name__}")
        raise bad_value("data", got, "X, (X, y) with tensors or arrays, or a DataLoader")
    if y is not None and len(y) != len(first):
        got = Shown(f"{len(first)} rows of X and {len(y)} of y")
        raise bad_value("data", got, "the same number of rows")

    def cut(leaf: Any, rows: slice) -> Any:
        is_dense = isinstance(leaf, np.ndarray) or (
            isinstance(leaf, Tensor) and leaf.layout == torch.strided
        )
        return leaf[rows] if is_dense and leaf.ndim and len(leaf) == len(first) else leaf

    for start in range(0, len(first), size):
        rows = slice(start, start + size)
        part = tree_map(partial(cut, rows=rows), X)
        yield part, None if y is None else torch.as_tensor(y[rows])
