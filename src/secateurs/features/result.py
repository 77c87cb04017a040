"""What the search for directions hands back, and whether it is more than noise gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from secateurs.data.columns import columns_of
from secateurs.features.directions import level
from secateurs.features.network import IndexNetwork, finished, gradients, responses
from secateurs.features.refine import conditional_scores
from secateurs.features.screening import Screen
from secateurs.features.search import Candidate
from secateurs.features.search_data import Data

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SMALL_RANK = 0.02  # share of the gradient's energy below which a direction is dropped
FAINT = 1.0  # a median score below this predicts nothing
CERTAIN = 0.001  # chance of a false alarm of the screen, for `signal_detected`


@dataclass(frozen=True, eq=False)
class MultiIndexFit:
    """What was found.

    Attributes
    ----------
    support : int array [s]
        Kept columns, ascending.
    directions : CSR array [r, d]
        Unit rows, in units of standardised columns.
    network : IndexNetwork
        On raw kept columns: ``network.predict(X[:, support])``.
    channel : (str, int)
        Label transform and degree that the screen found most in.  The degree is the
        information exponent of the transformed labels, not of y.
    scores : float array [d]
        Largest ``|z|`` of the screen.
    threshold : float
        Of `scores`.
    val_r2 : float
        On validation rows, that the training did not see but the choices did; on five folds
        where a line came near the network.  For classes 1 - log-loss over that of the class
        shares.
    signal_detected : bool
        False: what was found is no better than what noise gives; do not trust the model.
    """

    support: IntArray
    directions: sparse.csr_array[np.float64]
    network: IndexNetwork
    channel: tuple[str, int]
    scores: FloatArray
    threshold: float
    val_r2: float
    signal_detected: bool

    def predict(self, X: Any) -> FloatArray:
        """Values, or class probabilities, for rows of all d columns."""
        return self.network.predict(columns_of(X).take(self.support))


def signal_detected(data: Data, found: Screen, p_products: float, base: Candidate) -> bool:
    """Evidence that noise does not give: a sure hit that predicts, or far too large an R^2.

    Columns were chosen with the validation rows among the others, so on noise s columns of
    score z give a validation R^2 of about s z^2 / n: twice that must be exceeded.
    """
    n, value = data.source.n, base.head.score
    n_val = n - data.n_train
    if not value > 2.0 / n_val:
        return False
    with torch.no_grad():
        fitted = responses(base.head, base.rows)[data.n_train :].numpy().ravel()
    Y = base.rows.Y[data.n_train :].numpy().ravel()
    together = float(np.corrcoef(fitted, Y)[0, 1]) if fitted.std() > 0 else 0.0
    p = min(float(found.p_values.min()) * data.source.d, p_products)
    if p < CERTAIN and together * np.sqrt(n_val) > 3.0:
        return True
    by_chance = len(base.J) * level(data.alpha, data.source.d) ** 2 / n
    return bool(value > 2.0 * by_chance + 3.0 / np.sqrt(n_val))


def fit_of(
    data: Data, found: Screen, best: Candidate, y: NDArray[Any], detected: bool
) -> MultiIndexFit:
    """The best candidate on raw columns and raw targets."""
    raw = data.source.take(best.J)
    scale = raw.std(axis=0)
    values = np.asarray(y, dtype=np.float64)
    network = finished(
        best.head,
        raw.mean(axis=0),
        np.where(scale > 0, scale, 1.0),
        float(values.mean()),
        float(values.std()),
        data.task,
    )
    c, k = found.channel
    return MultiIndexFit(
        best.J,
        _sparse_directions(best, data.source.d),
        network,
        (found.transforms[c], k + 1),
        found.scores,
        found.threshold,
        best.head.score,
        detected,
    )


def _sparse_directions(best: Candidate, d: int) -> sparse.csr_array[np.float64]:
    """Orthonormal directions of the fitted function, the one it moves along most first."""
    with torch.no_grad():
        G = gradients(best.head, best.rows)
    moves = torch.einsum("knr,rs->kns", G, best.head.D).reshape(-1, len(best.J)).double()
    values, vectors = torch.linalg.eigh(moves.t() @ moves)
    values, vectors = values.flip(0), vectors.flip(1)
    r = max(1, int((values > SMALL_RANK * values.sum()).sum()))
    V = vectors[:, : min(r, len(best.head.D))].t().numpy()
    largest = np.argmax(np.abs(V), axis=1)
    V = V * np.sign(V[np.arange(len(V)), largest])[:, None]
    rows = np.repeat(np.arange(len(V)), V.shape[1])
    return sparse.csr_array((V.ravel(), (rows, np.tile(best.J, len(V)))), shape=(len(V), d))


def measured(data: Data, found: Screen, products: IntArray, best: Candidate) -> dict[str, Any]:
    """Numbers for a certificate; `multi_index` lists them."""
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
        "conditional_scores": conditional_scores(best.head, best.rows)[0],
        "dropped_score": float(dropped.max()) if len(dropped) else 0.0,
        "kept_score": kept,
        "predicted_n": n * ((found.threshold + 1.3) / kept) ** 2 if kept > FAINT else None,
    }
