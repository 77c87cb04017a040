"""The data sets that are known by name."""

from __future__ import annotations

import http.client
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets as sklearn_datasets

from secateurs.data.checked_dataset import Dataset, checked_dataset, dataset_from_arrays
from secateurs.data.errors import bad_data, one_line
from secateurs.data.targets import CLASSIFICATION, REGRESSION

# name: reader of scikit-learn, its options, name of the target, task
_SHIPPED: dict[str, tuple[Callable[..., Any], dict[str, bool], str, str]] = {
    "digits": (sklearn_datasets.load_digits, {}, "digit", CLASSIFICATION),
    "breast_cancer": (
        sklearn_datasets.load_breast_cancer, {"as_frame": True}, "diagnosis", CLASSIFICATION
    ),
    "wine": (sklearn_datasets.load_wine, {"as_frame": True}, "cultivar", CLASSIFICATION),
    # in the units of the patients' files, not standardised
    "diabetes": (
        sklearn_datasets.load_diabetes, {"as_frame": True, "scaled": False}, "progression",
        REGRESSION,
    ),
}  # fmt: skip
_OPENML_IDS = {"mnist": 554, "fashion_mnist": 40996}
_OPENML_SHAPE = (70_000, 784)
_N_TRAIN = 60_000  # rows of the official split

#: Names that `load_dataset` knows.
BUILT_IN: tuple[str, ...] = (*_SHIPPED, *_OPENML_IDS)


def built_in_dataset(name: str, task: str | None) -> Dataset:
    """Load a data set of `BUILT_IN` from scikit-learn or, once, from OpenML."""
    if name in _OPENML_IDS:
        return _from_openml(name, task)
    load, options, target_name, usual_task = _SHIPPED[name]
    X, y = load(return_X_y=True, **options)
    if name == "digits":
        shape = (8, 8)
        return dataset_from_arrays(name, X, y, task or usual_task, target_name, image_shape=shape)
    return checked_dataset(name, X, y, task or usual_task, target_name)


def _from_openml(name: str, task: str | None) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about retries; only the outcome matters
            X, y = sklearn_datasets.fetch_openml(
                data_id=_OPENML_IDS[name], as_frame=False, return_X_y=True, n_retries=1
            )
    except (OSError, ValueError, http.client.HTTPException) as error:
        got = f"a failed download from OpenML ({one_line(error)})"
        do = (
            "give instead the path of an .npz file with x_train, y_train, x_test, y_test, or of a "
            "directory with the four IDX files"
        )
        raise bad_data(name, got, "a connection", do) from error
    if X.shape != _OPENML_SHAPE or len(y) != len(X):
        raise bad_data(name, f"X of shape {X.shape} from OpenML", str(_OPENML_SHAPE))
    X, y = X.astype(np.uint8), y.astype(np.int64)
    return dataset_from_arrays(
        name, X[:_N_TRAIN], y[:_N_TRAIN], task or CLASSIFICATION, "class",
        X_test=X[_N_TRAIN:], y_test=y[_N_TRAIN:], image_shape=(28, 28),
    )  # fmt: skip
