"""What all estimators share about their file: writing it, and coming back from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from secateurs.archive import Archive
from secateurs.certificates.check import Certificate
from secateurs.files import write_atomically

Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_NAMES = 10_000_000
Parameters = dict[str, bool | int | Number | str | list[int] | None]
Status = Literal["exact", "converged", "stalled", "budget", "interrupted"]
History = dict[str, list[Number | None]]
Names = Annotated[list[str], Field(max_length=MAX_NAMES)]


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


CheckRecords = Annotated[list[CheckRecord], Field(max_length=1000)]


class SavedModel(ABC):
    """Mixin of estimators that write themselves to a file which `secateurs.load` reads."""

    def save(self, path: str | Path) -> int:
        """Write the fitted model to a safetensors file, atomically.

        The file holds no times and no paths: the same fit gives the same bytes.

        Returns
        -------
        int
            Size of the file in bytes.
        """
        check_is_fitted(self)
        content = self._file_content()
        write_atomically(path, content)
        return len(content)

    @abstractmethod
    def _file_content(self) -> bytes:
        """The whole file."""

    @classmethod
    @abstractmethod
    def _from_file(cls, archive: Archive) -> Self:
        """Rebuild from a file, checking everything."""

    @classmethod
    def _with_parameters(cls, archive: Archive, parameters: Parameters) -> Self:
        """An estimator before its fit, with parameters from a file."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in parameters.items()
        }
        try:
            model = cls(**known)
            model._check_parameters()
        except (TypeError, ValueError) as error:
            raise archive.damaged(f"parameters of the estimator: {error}") from error
        return model

    @abstractmethod
    def _check_parameters(self) -> None:
        """Refuse constructor parameters that make no sense, by name."""

    def _restore_names(self, archive: Archive, names: list[str] | None, n_features: int) -> None:
        self.n_features_in_ = n_features
        if names is not None:
            archive.require(len(names) == n_features, "feature names do not fit")
            self.feature_names_in_ = np.array(names, dtype=object)


def recorded_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """Constructor parameters as JSON has them; the seed used is kept beside, not its source."""
    parameters = estimator.get_params(deep=False)
    del parameters["random_state"], parameters["verbose"]
    plain: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, tuple | list):
            plain[name] = [int(v) for v in value]
        else:
            plain[name] = value.item() if isinstance(value, np.generic) else value
    return plain


def recorded_names(estimator: BaseEstimator) -> list[str] | None:
    """Feature names of a fitted estimator, where it has some."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def recorded_history(history: dict[str, list[float]]) -> History:
    """A history in six digits, for more mean nothing; what was not measured is null."""
    return {
        name: [float(f"{v:.6g}") if math.isfinite(v) else None for v in column]
        for name, column in history.items()
    }


def restored_history(record: History) -> dict[str, list[float]]:
    """The history that was recorded."""
    return {name: [math.nan if v is None else v for v in column] for name, column in record.items()}


def recorded_checks(certificate: Certificate) -> list[CheckRecord]:
    """A certificate in JSON."""
    return [CheckRecord(**check) for check in certificate.to_list()]


def restored_certificate(records: list[CheckRecord]) -> Certificate:
    """The certificate that was recorded."""
    return Certificate.from_list(record.model_dump() for record in records)
