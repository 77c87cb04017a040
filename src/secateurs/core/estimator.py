"""The template of every estimator: the steps of a fit, written once.

An estimator names its parameters and says how to do four things, in the order in which `fit`
does them:

    _check_parameters()      refuse parameters that make no sense
    _read(X, y)              validate the data and bring them into the form of the solver
    _solve(data, progress)   run the solver; set `status_`, `history_`, `n_train_` and the result
    _certify(data)           the statements that the data support

and two more about the result: `_report` for its size, `_description` for what a user is shown.
The file of the model is described in `secateurs.core.saved_model`.
"""

from __future__ import annotations

import time
import warnings
from abc import abstractmethod
from dataclasses import replace
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from secateurs.core.description import Description
from secateurs.core.saved_model import SavedModel
from secateurs.core.solution import Progress, ProgressCallback
from secateurs.core.threads import SMALL, threads_for


class Estimator(SavedModel, BaseEstimator):  # type: ignore[misc]
    """Base of all estimators; see the text of this module.

    Attributes
    ----------
    status_ : str
        How the fit ended; `secateurs.core.explain` says what each word means.
    history_ : dict of lists
        Records of the run by column.
    certificate_ : Certificate
        What is known about the fit: holds, fails or unknown, with the numbers.
    report_ : dict
        Sizes and times of the fit.
    n_train_ : int
        Rows that the solver used.
    seed_ : int
        The seed that was drawn from `random_state`.
    """

    random_state: Any
    verbose: int
    report_: dict[str, Any]

    def _fit(self, X: Any, y: Any, progress: ProgressCallback | None, **options: Any) -> Self:
        """Run all steps of a fit; `options` go to `_read`."""
        began = time.perf_counter()
        data = self._prepare(X, y, **options)
        with threads_for(self._largest_product(data)):
            self._solve(data, shown_progress(self.verbose, progress))
            self.certificate_ = self._certify(data)
        self.report_ = self._report() | {
            "file_bytes": len(self._file_content()),
            "seconds": time.perf_counter() - began,
        }
        if self.status_ == "interrupted":
            warnings.warn(
                "the fit was interrupted; the result is the best so far",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _prepare(self, X: Any, y: Any, **options: Any) -> Any:
        """Check everything, read the data, and draw the seed."""
        self._check_parameters()
        data = self._read(X, y, **options)
        self.seed_ = draw_seed(self.random_state)
        return data

    @abstractmethod
    def _read(self, X: Any, y: Any, **options: Any) -> Any:
        """Validate the data and return them as the other steps need them."""

    def _largest_product(self, data: Any) -> int:
        """Multiply-adds of the largest product of a step; a small one gets one thread."""
        del data
        return SMALL

    @abstractmethod
    def _solve(self, data: Any, progress: ProgressCallback | None) -> None:
        """Run the solver and keep what it found."""

    @abstractmethod
    def _certify(self, data: Any) -> Any:
        """Make the certificate of the fit."""

    def _report(self) -> dict[str, Any]:
        """Sizes of the result, for `report_`."""
        return {}

    @abstractmethod
    def _description(self) -> Description:
        """Headline, facts and tables that are particular to this kind of model."""

    def describe(self) -> Description:
        """Describe the fitted model, for a terminal or a program.

        Returns
        -------
        Description
            Its facts include the kind, the size of the file, the rows, the seed, the status and
            the certificate.
        """
        check_is_fitted(self)
        own = self._description()
        facts = {
            "kind": type(self).__name__,
            "file_bytes": len(self._file_content()),
            "n_train": self.n_train_,
            "seed": self.seed_,
            "status": self.status_,
            **own.facts,
            "certificate": self.certificate_.to_list(),
        }
        return replace(own, facts=facts)


def draw_seed(random_state: Any) -> int:
    """Draw the seed of a fit from an int, a RandomState or None."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def shown_progress(verbose: int, progress: ProgressCallback | None) -> ProgressCallback | None:
    """Return a callback that also prints a line at each call where `verbose` asks for it."""
    if not verbose:
        return progress

    def show(state: Progress) -> None:
        print(
            f"step {state.step}/{state.n_steps}  loss {state.loss:.4g}  weights {state.n_nonzero}"
        )
        if progress is not None:
            progress(state)

    return show


def require_target(estimator: object, y: Any) -> None:
    """Raise ValueError if there is no target, in the words that scikit-learn expects."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, "
            "but the target y is None."
        )
