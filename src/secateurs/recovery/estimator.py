"""A sum of sparse ReLU neurons, recovered exactly where that is possible."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, Table, counted, format_bytes
from secateurs.core.estimator import require_target
from secateurs.core.parameters import bad_value, check_choice, check_integer
from secateurs.core.saved_model import FitRecord, Names, Number
from secateurs.core.solution import ProgressCallback
from secateurs.recovery.base import EXACT, RecoveryEstimator, archived_weights, weights_file
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.matching import NeuronMatch, match_neurons
from secateurs.recovery.solvers import Found, Solver, Solvers, Split, relu_sum
from secateurs.sparse.stack import ReLUStack

FIRST_BUDGET = 4  # the smallest budget that n_nonzero="auto" tries
BETTER = 0.9  # factor by which a larger budget must lower the held-out error
PATIENCE = 2  # larger budgets that are tried after the best
MOST_SHOWN = 8  # weights of a neuron that a description shows

Array = NDArray[np.float64]


class ReLURecord(FitRecord):
    """The content of the file of a `SparseReLURegressor` beside its weights."""

    kind: Literal["SparseReLURegressor"]
    solver: Solver
    budget: Annotated[int, Field(ge=1)]
    intercept: Number
    feature_names: Names | None


class SparseReLURegressor(RecoveryEstimator):
    """Least squares by a sum of few ReLU neurons with few nonzero weights in all.

    It is made for targets that *are* such a network, or nearly: planted problems, images as
    functions.  For ordinary tables `SparseMLPRegressor` is the better choice.

    Parameters
    ----------
    n_nonzero : int or "auto"
        Budget s: the most weights of all w_j together.  "auto" doubles it while the held-out error
        falls.
    n_neurons : int, optional
        The most neurons m; s by default.
    solver : {"auto", "pursuit", "iht", "sampling"}
        "pursuit" recovers planted networks exactly from many rows.  "iht" is iterative hard
        thresholding with a Gauss-Newton polish and exchanges of weights.  "sampling" is an annealed
        sampler with a polish, which needs the fewest rows.  "auto" runs the pursuit.  Unless it is
        exact or leaves only noise, "auto" samples from its weights if they are close to a fit, then
        runs "iht", and keeps the best result.  With fewer
        than 2.5 (s + d) rows it tries the sampler first, and again for longer where all three leave
        a residual, but not one above 15 %.  A fit of the sampler may use the held-out rows; the
        certificate then has none.
    fit_intercept : bool
        Add one constant to the output ("pursuit" only).
    validation_fraction : float
        Share of the rows that are held out for the certificate and for the choices.
    random_state : int, RandomState or None
        Seed of the split and of the searches; None draws one, which `seed_` keeps.
    verbose : int
        1 prints progress.
    max_seconds : float, optional
        The most seconds of each search by sampling.  The result can then depend on the machine.

    Attributes
    ----------
    coef_ : scipy.sparse.csr_array, shape [m, d]
        The w_j; with the pursuit, neurons with weights come first.
    intercept_ : float
    n_nonzero_ : int
    status_ : str
        "exact" (no residual on the rows of the fit or the held-out rows, and the check
        "identification" of the certificate holds), "converged" (no residual on the rows of the
        fit, but another network may fit as well; or the residual looks like noise, or no step
        helps), "stalled", "budget", "interrupted".
    solver_ : str
        The solver of the result that was kept.
    budget_ : int
        The budget of this result.
    history_ : dict of lists
    certificate_ : Certificate
    held_out_error_ : float or None
        ||y - f(X)|| / ||y - mean(y)|| on the held-out rows.

    Examples
    --------
    >>> from secateurs import SparseReLURegressor
    >>> from secateurs.recovery.planted import planted_relu
    >>> problem = planted_relu(600, 20, 3, 10, random_state=0)
    >>> model = SparseReLURegressor(n_nonzero=10, random_state=0).fit(problem.X, problem.y)
    >>> model.status_, model.match(problem.truth[0]).error < 1e-6
    ('exact', True)
    """

    coef_: sparse.csr_array
    budget_: int

    def __init__(
        self,
        n_nonzero: int | str = 100,
        n_neurons: int | None = None,
        solver: str = "auto",
        fit_intercept: bool = False,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: int = 0,
        max_seconds: float | None = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.n_neurons = n_neurons
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.max_seconds = max_seconds

    @property
    def n_nonzero_(self) -> int:
        """Number of nonzero weights; the intercept is not counted."""
        check_is_fitted(self)
        return int(self.coef_.nnz)

    def match(self, truth: sparse.csr_array | Array) -> NeuronMatch:
        """Compare with known neurons: merge parallel ones, then assign (Hungarian).

        Parameters
        ----------
        truth : csr_array or array, shape [m', d]
            The true weights, one neuron in each row.

        Returns
        -------
        NeuronMatch
            Its ``error`` is relative to the largest true weight.
        """
        check_is_fitted(self)
        return match_neurons(self.coef_, truth)

    # -- the steps of a fit ------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.n_nonzero != "auto":
            check_integer("n_nonzero", self.n_nonzero, otherwise="'auto'")
        if self.n_neurons is not None:
            check_integer("n_neurons", self.n_neurons, otherwise="None")
        check_choice("solver", self.solver, ("auto", "pursuit", "iht", "sampling"))
        if self.solver in ("iht", "sampling") and self.fit_intercept:
            do = "use solver='pursuit', or centre y yourself"
            raise bad_value("fit_intercept", True, f"False with solver={self.solver!r}", do)
        super()._check_parameters()

    def _read(self, X: Any, y: Any, **options: Any) -> tuple[Array, Array]:
        require_target(self, y)
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True, **options)
        return X, column_or_1d(y, warn=True).astype(np.float64)

    def _largest_product(self, data: Split) -> int:
        most = len(data.X_all) if self.n_nonzero == "auto" else int(self.n_nonzero)
        return int(data.X_all.size) * min(most, self.n_neurons or most)

    def _solve(self, data: Split, progress: ProgressCallback | None) -> None:
        self._n_compared = 1
        if self.n_nonzero == "auto":
            self._grow_budget(data, progress)
        else:
            self._keep(self._best(data, int(self.n_nonzero), progress), int(self.n_nonzero))
        if self._used_all:
            data = data.without_held_out()
            self.n_train_ = len(data.y)
        self.held_out_error_ = self._relative_error(data.X_held_out, data.y_held_out)

    def _grow_budget(self, data: Split, progress: ProgressCallback | None) -> None:
        """Double the budget while the held-out error falls."""
        if len(data.y_held_out) == 0:
            do = f"raise validation_fraction ({self.validation_fraction}) or give a number"
            raise bad_value("n_nonzero", "auto", "held-out rows to compare budgets on", do)
        least, waited, s = math.inf, 0, FIRST_BUDGET
        kept: tuple[Found, int] | None = None
        while kept is None or (waited < PATIENCE and s <= len(data.X)):
            found = self._best(data, s, progress)
            self._keep(found, s)
            error = self._relative_error(data.X_held_out, data.y_held_out)
            self._n_compared += kept is not None
            if kept is None or (error is not None and error < BETTER * least):
                kept, least, waited = (found, s), error or 0.0, 0
            else:
                waited += 1
            if least < EXACT or self.status_ == "interrupted":
                break
            s *= 2
        self._keep(*kept)

    def _best(self, data: Split, s: int, progress: ProgressCallback | None) -> Found:
        """Return the best result of the solvers that were asked for."""
        m = s if self.n_neurons is None else int(self.n_neurons)
        solvers = Solvers(
            *(self.solver, s, m, self.fit_intercept, self.max_seconds), self.seed_, progress
        )
        # with n_nonzero="auto" the held-out rows compare budgets
        found, n_compared = solvers.best(data, may_use_all=self.n_nonzero != "auto")
        self._n_compared += n_compared - 1
        return found

    def _keep(self, found: Found, s: int) -> None:
        self.solver_ = found.solver
        self.coef_ = sparse.csr_array(found.weights)
        self.intercept_ = float(found.intercept)
        self.status_ = found.solution.status
        self.history_ = found.solution.history
        self.budget_ = s
        self._used_all = found.used_all

    def _certify(self, data: Split) -> Certificate:
        if self._used_all:
            data = data.without_held_out()
        any_held_out = len(data.y_held_out) > 0
        certificate = fit_certificate(
            ReLUStack((self.coef_,), fused=True),
            data.X,
            data.y - self.intercept_,
            self.budget_,
            X_held_out=data.X_held_out if any_held_out else None,
            y_held_out=data.y_held_out - self.intercept_ if any_held_out else None,
            fit_intercept=self.fit_intercept,
            n_compared=self._n_compared,
        )
        self.status_ = self._judged_status(certificate, data)
        return certificate

    def _outputs(self, X: Array) -> Array:
        return self.intercept_ + relu_sum(X, self.coef_)

    def _relative_error(self, X: Array, y: Array) -> float | None:
        """Return ||y - f(X)|| / ||y - mean(y)||; None without rows, or if y is constant."""
        size = float(np.linalg.norm(y - y.mean())) if len(y) else 0.0
        if size == 0.0:
            return None
        return float(np.linalg.norm(y - self.intercept_ - relu_sum(X, self.coef_))) / size

    # -- the result --------------------------------------------------------------------------

    def _report(self) -> dict[str, Any]:
        return {"nonzeros": self.n_nonzero_, "neurons": int((np.diff(self.coef_.indptr) > 0).sum())}

    def _description(self) -> Description:
        W = self.coef_
        neurons = [
            {"inputs": W.indices[a:b].tolist(), "weights": W.data[a:b].tolist()}
            for a, b in zip(W.indptr[:-1], W.indptr[1:], strict=True)
            if b > a
        ]
        facts = {
            "inputs": W.shape[1],
            "nonzeros": self.n_nonzero_,
            "budget": self.budget_,
            "intercept": self.intercept_,
            "solver": self.solver_,
            "neurons": neurons,
        }
        headline = (
            f"{type(self).__name__}: {self.n_nonzero_} weights of {self.budget_} allowed in "
            f"{counted(len(neurons), 'neuron')} over {W.shape[1]} inputs, with intercept "
            f"{self.intercept_:.6g}. The solver {self.solver_} ended with status {self.status_}. "
            f"The file takes {format_bytes(len(self._file_content()))}."
        )
        names = getattr(self, "feature_names_in_", range(W.shape[1]))
        rows = [
            (
                str(j),
                " ".join(str(names[i]) for i in neuron["inputs"][:MOST_SHOWN]),
                " ".join(f"{w:.4g}" for w in neuron["weights"][:MOST_SHOWN]),
            )
            for j, neuron in enumerate(neurons)
        ]
        return Description(headline, facts, (Table(("neuron", "inputs", "weights"), rows),))

    def _file_content(self) -> bytes:
        record = ReLURecord(
            **self._recorded_fit(),
            solver=self.solver_,
            budget=self.budget_,
            intercept=self.intercept_,
            feature_names=self._recorded_names(),
        )
        return weights_file((self.coef_,), record)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(ReLURecord)
        model = cls._restored_fit(archive, record)
        (model.coef_,) = archived_weights(archive, 1)
        model._restore_names(archive, record.feature_names, model.coef_.shape[1])
        model.intercept_, model.solver_ = record.intercept, record.solver
        model.budget_ = record.budget
        return model
