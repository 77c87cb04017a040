"""Read the rows given with a fitted estimator: targets, and which rows it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.splits import HeldOutRows, Split, Words, no_rows
from secateurs.data.frames import as_frame
from secateurs.data.table_estimator import certifying_split, keys_of_near_copies, split_keys
from secateurs.tiny.certificate import HeldOut
from secateurs.tiny.float_network import scaled_network
from secateurs.tiny.inputs import Stage

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows to train on and rows to certify with.

    Attributes
    ----------
    train : int64 array
        Rows for the fine-tuning.
    held_out : HeldOut
        Without rows where none are known to be unseen.
    reason : str
        Why there are no held-out rows; "" where there are.
    train_keys : uint64 array
        Key of the unit of each row in `train`.
    """

    train: IntArray
    held_out: HeldOut
    reason: str
    train_keys: Words


def take(X: Any, rows: NDArray[Any]) -> Any:
    """Return some rows of an array, a sparse matrix or a DataFrame."""
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def as_rows(X: Any) -> Any:
    """Return a DataFrame of pandas, a sparse matrix in CSR, or an array."""
    frame = as_frame(X)
    if isinstance(frame, pd.DataFrame):
        return frame
    return frame.tocsr() if hasattr(frame, "tocsr") else np.asarray(frame)


def read_targets(model: Any, y: Any, n: int, *, may_be_new: bool = False) -> NDArray[Any]:
    """Return class numbers [n] int64, or targets [n] or [n, k] float64.

    Where classes `may_be_new`, one that the model does not know has the number -1, so that every
    prediction is wrong.

    Raises
    ------
    ValueError
        The shape is another, or a class is not one of the model.
    """
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1 and hasattr(model, "classes_"):
        values = values[:, 0]
    if len(values.shape) not in (1, 2) or len(values) != n:
        raise bad_value("y", Shown(f"shape {values.shape}"), f"one target for each of the {n} rows")
    if hasattr(model, "classes_"):
        known = np.isin(values, model.classes_)
        if not known.all() and not may_be_new:
            got = Shown(f"the class {values[~known][:1].tolist()[0]!r}")
            raise bad_value("y", got, f"one of {model.classes_.tolist()}")
        numbers = np.full(n, -1, dtype=np.int64)
        numbers[known] = np.searchsorted(model.classes_, values[known])
        return numbers
    targets = values.astype(np.float64)
    k = len(model.fitted_.out_shift)
    if targets.size != n * k or not np.isfinite(targets).all():
        got = Shown(f"shape {targets.shape}, or numbers that are not finite")
        raise bad_value("y", got, f"{k} finite targets for each row")
    return targets


def model_split(model: Any, X: Any, targets: NDArray[Any], groups: Any) -> tuple[Split, bool]:
    """Draw the split of the fit again; whether it is known to be the same."""
    fraction = float(getattr(model, "validation_fraction", 0.0))
    split = certifying_split(X, targets, groups, fraction, int(model.seed_))
    record = model.held_out_record()
    same = record is not None and split.digest == record.digest
    return split, same and model.n_train_ == len(split.train)


def was_fitted_on(model: Any, X: Any, y: Any, groups: Any, stage: Stage | None = None) -> bool:
    """Whether these are the rows of the fit, by their number and by those that it held out."""
    scaled_network(model)  # refuses other models by name
    rows = as_rows(X)
    rows = rows if stage is None else stage(rows)
    targets = read_targets(model, y, rows.shape[0], may_be_new=True)
    return model_split(model, rows, targets, groups)[1]


def unseen_rows(model: Any, certify: Any, X: Any, targets: NDArray[Any], groups: Any) -> Parts:
    """Return the rows to train on, and those that certify: given ones, or those of the fit."""
    if certify is None:
        return own_rows(model, X, targets, groups)
    return given_rows(model, certify, X, targets, groups)


def own_rows(model: Any, X: Any, targets: NDArray[Any], groups: Any) -> Parts:
    """Find the rows that the estimator held out and has not seen, by the digest of its split."""
    split, same = model_split(model, X, targets, groups)
    record = model.held_out_record()
    if record is None or not same:
        reason = "these are not the rows of the fit, so those that it held out are not known"
        if record is None:
            reason = "no rows are known that the network has not seen"
        empty = np.empty(0, dtype=np.int64)
        nothing = HeldOut(take(X, empty), targets[empty], no_rows())
        return Parts(np.arange(len(targets)), nothing, reason, split.keys)
    rows = split.held_out
    held_out = HeldOut(take(X, rows), targets[rows], split.held_out_rows(), record.n_tried)
    return Parts(split.train, held_out, "", split.keys[split.train])


def given_rows(model: Any, certify: Any, X: Any, targets: NDArray[Any], groups: Any) -> Parts:
    """Take rows that the caller states to be unseen, without copies of the rows of X.

    Rows of `X` that the estimator held out are used for the fine-tuning too.
    """
    if not isinstance(certify, tuple | list) or len(certify) not in (2, 3):
        got = Shown(type(certify).__name__)
        raise bad_value("certify", got, "unseen rows as (X, y) or (X, y, groups)")
    rows = as_rows(certify[0])
    wanted = read_targets(model, certify[1], rows.shape[0], may_be_new=True)
    keys, is_copy = _compared(rows, wanted, X, targets)
    samples = _samples(keys, ~is_copy, certify[2:], rows, wanted)
    at = np.flatnonzero(samples.whole | samples.drawn) if samples.whole.any() else samples.units[:0]
    held_out = HeldOut(take(rows, at), wanted[at], samples.taken(at))
    reason = "" if len(at) else "all rows of certify are copies of training rows"
    return Parts(np.arange(len(targets)), held_out, reason, split_keys(X, targets, groups))


def _compared(
    rows: Any, wanted: NDArray[Any], X: Any, targets: NDArray[Any]
) -> tuple[Words, NDArray[np.bool_]]:
    """Return the keys of given rows, and which are copies of rows of X, up to rounding."""
    n = len(wanted)
    if isinstance(X, pd.DataFrame) and isinstance(rows, pd.DataFrame):
        both: Any = pd.concat([rows[X.columns], X], ignore_index=True)
    elif isinstance(X, pd.DataFrame) or isinstance(rows, pd.DataFrame):
        both = np.concatenate([np.asarray(rows), np.asarray(X)])
    elif sparse.issparse(X) or sparse.issparse(rows):
        both = sparse.vstack([sparse.csr_array(rows), sparse.csr_array(X)], format="csr")
    else:
        both = np.concatenate([rows, X])
    y = np.concatenate([wanted, targets])
    keys = keys_of_near_copies(both, y, split_keys(both, y))
    return keys[:n], np.isin(keys[:n], keys[n:])


def _samples(
    keys: Words, fresh: NDArray[np.bool_], third: Any, X: Any, targets: NDArray[Any]
) -> HeldOutRows:
    """Return given rows as samples; `third` has their groups, or their samples, or nothing."""
    if not len(third):
        rows = np.arange(len(keys))
        return HeldOutRows(keys, fresh, rows, np.ones(len(keys), dtype=bool))
    if isinstance(third[0], HeldOutRows):
        return replace(third[0], whole=third[0].whole & fresh)
    return HeldOutRows(split_keys(X, targets, third[0]), fresh, keys, fresh, grouped=True)
