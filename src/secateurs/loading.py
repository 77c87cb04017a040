"""Read any fitted model back from its file."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from secateurs.core.archive import read_archive
from secateurs.features.estimators import (
    SparseMultiIndexClassifier,
    SparseMultiIndexRegressor,
)
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.quadratic_estimator import QuadraticRegressor
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor

Model = (
    SparseMLPClassifier
    | SparseMLPRegressor
    | SparseReLURegressor
    | MatrixSensing
    | QuadraticRegressor
    | SparseMultiIndexClassifier
    | SparseMultiIndexRegressor
)
_KINDS: dict[str, type[Model]] = {kind.__name__: kind for kind in get_args(Model)}


def load(path: str | Path) -> Model:
    """Read a fitted model written by ``save``.

    The file is untrusted: its header, sizes, indices and metadata are checked first.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    an estimator of the kind that was saved
        Ready to predict; predictions equal those of the model saved.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        With the path and the first thing that is wrong.
    """
    archive = read_archive(path)
    kind = archive.body["record"].get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise archive.damaged(f"unknown kind of model {str(kind)[:40]!r}")
    return _KINDS[kind].from_archive(archive)
