"""Read any fitted model back from its file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateurs.core.archive import read_archive
from secateurs.core.parameters import Shown, bad_value

if TYPE_CHECKING:  # only the wing of the model is imported
    from secateurs.features import SparseMultiIndexClassifier, SparseMultiIndexRegressor
    from secateurs.recovery import SparseReLUNetworkRegressor, SparseReLURegressor
    from secateurs.sensing import MatrixSensing, QuadraticRegressor
    from secateurs.training import SparseMLPClassifier, SparseMLPRegressor

    Model = (
        SparseMLPClassifier
        | SparseMLPRegressor
        | SparseReLURegressor
        | SparseReLUNetworkRegressor
        | MatrixSensing
        | QuadraticRegressor
        | SparseMultiIndexClassifier
        | SparseMultiIndexRegressor
    )

WINGS = {
    "SparseMLPClassifier": "training",
    "SparseMLPRegressor": "training",
    "SparseReLURegressor": "recovery",
    "SparseReLUNetworkRegressor": "recovery",
    "MatrixSensing": "sensing",
    "QuadraticRegressor": "sensing",
    "SparseMultiIndexClassifier": "features",
    "SparseMultiIndexRegressor": "features",
}


def load(path: str | Path) -> Model:
    """Read a fitted model that its method ``save`` wrote.

    The file is untrusted: its header, sizes, indices and metadata are checked first.

    Parameters
    ----------
    path : str or Path
        The file of a model.

    Returns
    -------
    an estimator of the kind that was saved
        It is ready to predict; its predictions equal those of the saved model.

    Raises
    ------
    FileNotFoundError
        There is no file at this path.
    DamagedFileError
        The message has the path and the first thing that is wrong.
    ValueError
        The file is a ticket; `secateurs.tickets.load_ticket` reads it.
    """
    archive = read_archive(path)
    kind = archive.body["record"].get("kind")
    if kind == "ticket":
        raise bad_value(
            *(str(path), Shown("a ticket"), "a fitted model"),
            do="read it with secateurs.tickets.load_ticket",
        )
    if not isinstance(kind, str) or kind not in WINGS:
        raise archive.damaged(f"unknown kind of model {str(kind)[:40]!r}")
    estimator: Any = getattr(import_module(f"secateurs.{WINGS[kind]}"), kind)
    model: Model = estimator.from_archive(archive)
    return model
