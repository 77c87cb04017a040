"""The result of `multi_index`, and whether it is more than noise gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.short_repr import short_repr
from secateurs.data.columns import columns_of
from secateurs.features.linearised import conditional_scores
from secateurs.features.network import (
    IndexNetwork,
    column_gradients,
    on_raw_columns,
    responses,
)
from secateurs.features.null_scores import normal_threshold
from secateurs.features.ranks import FloatArray, IntArray, center_and_scale
from secateurs.features.refine import SMALL_SHARE
from secateurs.features.sample_sizes import rows_to_stand_out
from secateurs.features.screening import Screen
from secateurs.features.search import Candidate
from secateurs.features.search_data import SearchData

FAINT = 1.0  # a median score below this predicts nothing
FALSE_ALARM = 0.001  # p-value of the screens that `signal_detected` asks for


@dataclass(frozen=True, eq=False)
class MultiIndexFit:
    """The columns, the directions and the network that were found.

    Parameters
    ----------
    support : int array [s]
        Kept columns, increasing.
    directions : CSR array [r, d]
        Unit rows, in units of standardised columns.
    network : IndexNetwork
        The network on the raw kept columns: ``network.predict(X[:, support])``.
    channel : (str, int)
        The transform of y, and the degree, with the strongest scores in the screen.  The degree is
        the information exponent of the transformed y, not of y.
    scores : float array [d]
        Largest ``|z|`` of each column in the screen.
    threshold : float
        Threshold of `scores`: under pure noise, any score exceeds it with the probability `alpha`
        of the fit.
    val_r2 : float
        R^2 on the validation rows, which choices were made on, or on five folds where a line came
        near the network.  For classes it is 1 - log-loss over that of the class shares.
    signal_detected : bool
        False: the fit is no better than what noise gives; do not trust the model.
    """

    __repr__ = short_repr

    support: IntArray
    directions: sparse.csr_array[np.float64]
    network: IndexNetwork
    channel: tuple[str, int]
    scores: FloatArray
    threshold: float
    val_r2: float
    signal_detected: bool

    def predict(self, X: Any) -> FloatArray:
        """Predict values, or class probabilities; only the kept columns are read.

        Parameters
        ----------
        X : anything that `columns_of` reads, [n, d]
            Rows with all d columns.

        Returns
        -------
        array of float64, shape [n], or [n, K] for K classes
            Values, or probabilities in the order of the class numbers.
        """
        return self.network.predict(columns_of(X).take(self.support))


def signal_detected(data: SearchData, found: Screen, p_products: float, base: Candidate) -> bool:
    """Return whether a screen has a hit, and that is sure and predicts, or R^2 is far above noise.

    Without a hit nothing is detected.  There are two screens, of columns and of products, and each
    of them is asked for a hit at half of alpha.  So noise is detected with probability at most
    alpha, whatever the other conditions do.  They ask that the network predicts: the columns were
    chosen on all rows, so on noise s columns of score z give an R^2 of about s z^2 / n on the
    validation rows, and twice that must be exceeded.
    """
    n, value = data.source.n, base.network.score
    n_val = n - data.n_train
    p = 2.0 * min(float(found.p_values.min()) * data.source.d, p_products)
    if not value > 2.0 / n_val or p > data.alpha:
        return False
    with torch.no_grad():
        fitted = responses(base.network, base.rows)[data.n_train :].numpy().ravel()
    Y = base.rows.Y[data.n_train :].numpy().ravel()
    together = float(np.corrcoef(fitted, Y)[0, 1]) if fitted.std() > 0 else 0.0
    if p < FALSE_ALARM and together * np.sqrt(n_val) > 3.0:
        return True
    by_chance = len(base.J) * normal_threshold(data.alpha, data.source.d) ** 2 / n
    return bool(value > 2.0 * by_chance + 3.0 / np.sqrt(n_val))


def fit_of(
    data: SearchData, found: Screen, best: Candidate, y: NDArray[Any], *, detected: bool
) -> MultiIndexFit:
    """Return the best candidate on raw columns and raw targets."""
    center, scale = center_and_scale(data.source.take(best.J))
    values = np.asarray(y, dtype=np.float64)
    c, k = found.channel
    return MultiIndexFit(
        support=best.J,
        directions=_sparse_directions(best, data.source.d),
        network=on_raw_columns(
            best.network, center, scale, float(values.mean()), float(values.std()), data.task
        ),
        channel=(found.transforms[c], k + 1),
        scores=found.scores,
        threshold=found.threshold,
        val_r2=best.network.score,
        signal_detected=detected,
    )


def _sparse_directions(best: Candidate, d: int) -> sparse.csr_array[np.float64]:
    """Return orthonormal directions; the fitted function changes most along the first."""
    moves = column_gradients(best.network, best.rows).double()
    values, vectors = torch.linalg.eigh(moves.t() @ moves)
    values, vectors = values.flip(0), vectors.flip(1)
    r = max(1, int((values > SMALL_SHARE * values.sum()).sum()))
    V = vectors[:, : min(r, len(best.network.D))].t().numpy()
    largest = np.argmax(np.abs(V), axis=1)
    V = V * np.sign(V[np.arange(len(V)), largest])[:, None]
    rows = np.repeat(np.arange(len(V)), V.shape[1])
    return sparse.csr_array((V.ravel(), (rows, np.tile(best.J, len(V)))), shape=(len(V), d))


def measured(
    data: SearchData, found: Screen, products: IntArray, best: Candidate
) -> dict[str, Any]:
    """Return the numbers for a certificate, which `multi_index` lists."""
    n, scores = data.source.n, found.scores
    c, k = found.channel
    kept = float(np.median(np.abs(found.z[best.J, c, k])))
    dropped = np.delete(scores, best.J)
    return {
        "alpha": data.alpha,
        "n": n,
        "n_train": data.n_train,
        "hits": found.selected,
        "products": np.sort(products),
        "noise_floor": 1.0 / np.sqrt(n),
        "conditional_scores": conditional_scores(best.network, best.rows)[0],
        "dropped_score": float(dropped.max()) if len(dropped) else 0.0,
        "kept_score": kept,
        "predicted_n": rows_to_stand_out(n, kept, found.threshold) if kept > FAINT else None,
    }
