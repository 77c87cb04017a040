"""The file of every estimator: what it holds, how it is written and how it is read back.

An estimator describes its file by a record, a pydantic model that extends `FitRecord`, and writes
it with its arrays by `secateurs.core.archive.archive_bytes`.  `recorded_fit` fills the fields that
all records share; `restore_fit` reads them back.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.utils.validation import check_is_fitted

from secateurs.core import solution
from secateurs.core.archive import Archive
from secateurs.core.atomic_write import write_atomically
from secateurs.core.certificate import Certificate
from secateurs.core.output_files import check_output
from secateurs.core.version import __version__

MAX_NAMES = 10_000_000
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[list[str], Field(max_length=MAX_NAMES)]
Parameters = dict[str, bool | int | Number | str | list[int] | None]
Columns = dict[str, list[Number | None]]


class Strict(BaseModel):
    """A part of a file's JSON: nothing unknown, nothing converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CheckRecord(Strict):
    """A `Check` in JSON."""

    name: str
    statement: str
    verdict: Literal["holds", "fails", "unknown"]
    measured: Number | None
    threshold: Number | None
    source: str


class HeldOutRecord(Strict):
    """Which rows the fit held out.

    Attributes
    ----------
    digest : str
        `secateurs.core.splits.Split.digest`; rows that are given later are compared with it.
    n_tried : int
        Models that the fit compared on these rows.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    n_tried: Count


class FitRecord(Strict):
    """What every file holds about the fit."""

    version: str
    parameters: Parameters
    seed: int
    status: solution.Status
    n_train: Count
    history: Columns
    certificate: Annotated[list[CheckRecord], Field(max_length=1000)]
    held_out: HeldOutRecord | None = None  # older files do not have it


class SavedModel(ABC):
    """Mixin of estimators that write themselves to a file which `secateurs.load` reads."""

    certificate_: Certificate
    history_: dict[str, list[float]]
    status_: solution.Status
    n_train_: int
    seed_: int
    n_features_in_: int
    split_digest_: str
    _n_tried: int

    def save(self, path: str | Path) -> int:
        """Write the fitted model to a safetensors file, atomically.

        The file holds no times and no paths: the same fit gives the same bytes.

        Parameters
        ----------
        path : str or Path
            Where to write.  An older file of a model is replaced.

        Returns
        -------
        int
            Size of the file in bytes.

        Raises
        ------
        ValueError
            The path cannot be written, or a file is there that is no model.
        """
        check_is_fitted(self)
        check_output(path, "model")
        content = self._file_content()
        write_atomically(path, content)
        return len(content)

    @abstractmethod
    def _file_content(self) -> bytes:
        """The whole file."""

    @classmethod
    def from_archive(cls, archive: Archive) -> Self:
        """Rebuild the model from the content of a file, checking everything.

        Parameters
        ----------
        archive : Archive
            The content, from `secateurs.core.archive.read_archive`.

        Returns
        -------
        self
            A fitted estimator.

        Raises
        ------
        DamagedFileError
            With the path and the first thing that is wrong.
        """
        return cls._from_archive(archive)

    @classmethod
    @abstractmethod
    def _from_archive(cls, archive: Archive) -> Self:
        """Rebuild the model from the content of a file."""

    @abstractmethod
    def _check_parameters(self) -> None:
        """Raise ValueError for constructor parameters that make no sense, by name."""

    # -- the fields that all records share ---------------------------------------------------

    def _recorded_fit(self) -> dict[str, Any]:
        """The fields of `FitRecord` and the kind of the model."""
        return {
            "kind": type(self).__name__,
            "version": __version__,
            "parameters": self._recorded_parameters(),
            "seed": self.seed_,
            "status": self.status_,
            "n_train": self.n_train_,
            "history": recorded_history(self.history_),
            "certificate": [CheckRecord(**check) for check in self.certificate_.to_list()],
            "held_out": self.held_out_record(),
        }

    def held_out_record(self) -> HeldOutRecord | None:
        """Return which rows the fit held out.

        The certificate decides this: after `partial_fit`, or after a start from a network that has
        seen other rows, it has no statement from held-out rows.

        Returns
        -------
        HeldOutRecord or None
            A digest of the split, and how many fits were compared on its held-out rows; None where
            the model may have seen these rows.
        """
        digest = getattr(self, "split_digest_", None)
        if digest is None or not _is_from_held_out_rows(self.certificate_):
            return None
        return HeldOutRecord(digest=digest, n_tried=getattr(self, "_n_tried", 1))

    def _recorded_parameters(self) -> dict[str, Any]:
        """Constructor parameters as JSON has them; the seed itself is kept beside."""
        parameters = self.get_params(deep=False)  # type: ignore[attr-defined]
        del parameters["random_state"], parameters["verbose"]
        plain: dict[str, Any] = {}
        for name, value in parameters.items():
            if isinstance(value, tuple | list):
                plain[name] = [int(v) for v in value]
            else:
                plain[name] = value.item() if isinstance(value, np.generic) else value
        return plain

    @classmethod
    def _restored_fit(cls, archive: Archive, record: FitRecord) -> Self:
        """Return an estimator with the parameters and the fields of `FitRecord` in a file."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.parameters.items()
        }
        try:
            model = cls(**known)
            model._check_parameters()
        except (TypeError, ValueError) as error:
            raise archive.damaged(f"parameters of the estimator: {error}") from error
        model.seed_, model.status_, model.n_train_ = record.seed, record.status, record.n_train
        model.history_ = {
            name: [math.nan if v is None else v for v in column]
            for name, column in record.history.items()
        }
        model.certificate_ = Certificate.from_list(
            check.model_dump() for check in record.certificate
        )
        if record.held_out is not None:
            model.split_digest_ = record.held_out.digest
            model._n_tried = record.held_out.n_tried
        return model

    def _recorded_names(self) -> list[str] | None:
        """Feature names of the fitted estimator, where it has some."""
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _restore_names(self, archive: Archive, names: list[str] | None, n_features: int) -> None:
        self.n_features_in_ = n_features
        if names is not None:
            archive.require(len(names) == n_features, "feature names do not fit")
            self.feature_names_in_ = np.array(names, dtype=object)


def _is_from_held_out_rows(certificate: Certificate) -> bool:
    """Whether a statement comes from rows that the model has not seen; a rate of 1 says nothing."""
    measured = {check.name: check.measured for check in certificate.checks}
    error, gain = measured.get("held-out error"), measured.get("held-out gain")
    return gain is not None or (error is not None and error < 1)


def recorded_history(history: dict[str, list[float]]) -> Columns:
    """A history in six digits, because more carry no meaning; what was not measured is null.

    Whole numbers are counts or seeds, and keep all their digits.
    """
    return {name: [_recorded_number(v) for v in column] for name, column in history.items()}


def _recorded_number(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return float(value) if float(value).is_integer() else float(f"{value:.6g}")
