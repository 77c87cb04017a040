"""Shared parts of the estimators of recovery: their parameters, rows, statuses and files."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate
from secateurs.core.estimator import Estimator
from secateurs.core.parameters import Shown, bad_value, check_real
from secateurs.core.saved_model import FitRecord
from secateurs.core.solution import ProgressCallback, Status
from secateurs.core.splits import group_keys, hold_out, row_keys
from secateurs.recovery.solvers import Split
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.storage import archived_network, network_bytes

EXACT = 1e-8  # relative residual on the held-out rows of a fit that may be called exact

Array = NDArray[np.float64]


class RecoveryEstimator(RegressorMixin, Estimator):  # type: ignore[misc]
    """Base of the estimators that look for the sparse network behind the data.

    A subclass adds `_outputs` to the steps of `Estimator`; its `_read` returns X and y.
    """

    max_seconds: float | None
    validation_fraction: float

    def fit(
        self, X: Any, y: Any, *, groups: Any = None, progress: ProgressCallback | None = None
    ) -> Self:
        """Find the weights.

        Parameters
        ----------
        X : array, shape [n, d]
            Rows of finite numbers; they are used as float64.
        y : array, shape [n] or [n, k]
            The outputs to explain; only `SparseReLUNetworkRegressor` takes more than one.
        groups : array, shape [n], optional
            Rows of one group are held out together.  Without, equal rows of (X, y) are.
        progress : callable, optional
            Called with a `Progress`; its loss is the relative residual.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter or the data cannot be used.
        """
        return self._fit(X, y, progress, groups=groups)

    def predict(self, X: Any) -> Array:
        """Compute the outputs on rows; 2 nnz n flops.

        Parameters
        ----------
        X : array, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n] or [n, k]
            The outputs in float64.
        """
        check_is_fitted(self)
        return self._outputs(validate_data(self, X, reset=False, dtype=np.float64))

    @abstractmethod
    def _outputs(self, X: Array) -> Array:
        """Compute the outputs on checked rows."""

    def _check_parameters(self) -> None:
        if self.max_seconds is not None:
            check_real("max_seconds", self.max_seconds, above=0)
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)

    def _prepare(self, X: Any, y: Any, **options: Any) -> Split:
        groups = options.pop("groups", None)
        X, y = super()._prepare(X, y, **options)
        if groups is not None and np.shape(groups) != (len(y),):
            shown = Shown(f"shape {np.shape(groups)}")
            raise bad_value("groups", shown, f"one group for each of the {len(y)} rows")
        keys = row_keys(X, y) if groups is None else group_keys(groups)
        split = hold_out(keys, self.validation_fraction, self.seed_)
        train, held_out = split.train, split.held_out
        self.n_train_ = len(train)
        return Split(X[train], y[train], X[held_out], y[held_out], X, y)

    def _judged_status(self, certificate: Certificate, data: Split) -> Status:
        """Return the status; "exact" needs identification and no residual on held-out rows."""
        left = data.y_held_out - self._outputs(data.X_held_out)
        fits = np.linalg.norm(left) <= EXACT * np.linalg.norm(data.y_held_out)
        sure = fits and certificate["identification"].verdict == "holds"
        return "converged" if self.status_ == "exact" and not sure else self.status_


def weights_file(layers: tuple[sparse.csr_array, ...], record: FitRecord) -> bytes:
    """Return the file of the weights [m_1, d], [m_2, m_1], ... and a record."""
    keys, values = [], []
    for W in layers:
        coo = W.tocoo()
        place = coo.row.astype(np.int64) * (W.shape[1] + 1) + coo.col
        order = np.argsort(place)
        keys.append(place[order])
        values.append(coo.data[order])
    widths = (layers[0].shape[1], *(W.shape[0] for W in layers))
    return network_bytes(SparseNetwork(widths, keys, values), record.model_dump(mode="json"))


def archived_weights(archive: Archive, n_layers: int) -> tuple[sparse.csr_array, ...]:
    """Read the weights of such a file again."""
    network, arrays = archived_network(archive)
    archive.require(not arrays, f"unknown arrays {sorted(arrays)}")
    found = len(network.keys)
    archive.require(found == n_layers, f"the number of layers is {found}, not {n_layers}")
    layers = []
    for layer, (d, m) in enumerate(pairwise(network.widths)):
        rows, cols = network.entries(layer)
        archive.require(not (cols >= d).any(), "a layer has biases")
        layers.append(sparse.csr_array((network.values[layer].astype(float), (rows, cols)), (m, d)))
    return tuple(layers)
