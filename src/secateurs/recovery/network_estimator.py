"""A sparse ReLU network with several outputs, two hidden layers, or a bias in every neuron."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.utils import Tags, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, format_bytes
from secateurs.core.estimator import require_target
from secateurs.core.parameters import bad_value, check_choice, check_integer
from secateurs.core.saved_model import FitRecord, Names
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.base import RecoveryEstimator, archived_weights, weights_file
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.layer_matching import LayerMatch, match_layers
from secateurs.recovery.sampling.layered import sample_network
from secateurs.recovery.solvers import Solvers, Split
from secateurs.recovery.thresholding.layer_by_layer import iht_network
from secateurs.sparse.stack import ReLUStack

MOST_LAYERS = 2

Array = NDArray[np.float64]
NetworkSolver = Literal["sampling", "iht", "pursuit", "none"]


class NetworkRecord(FitRecord):
    """The content of the file of a `SparseReLUNetworkRegressor` beside its weights."""

    kind: Literal["SparseReLUNetworkRegressor"]
    solver: NetworkSolver
    budget: Annotated[int, Field(ge=1)]
    fused: bool
    feature_names: Names | None


class SparseReLUNetworkRegressor(RecoveryEstimator):
    """Least squares by a ReLU network of one or two hidden layers with few nonzero weights.

    With one output the last hidden layer is summed, so that one hidden layer without biases is the
    network of `SparseReLURegressor`; a y of one column is one output.  With several outputs a last
    linear layer has weights too.  It is made for targets that *are* such a network, or nearly.

    Parameters
    ----------
    n_nonzero : int
        Budget s: the most weights of all layers together; a bias counts as a weight.
    hidden : int or tuple of one or two int
        The most neurons of each hidden layer.
    fit_biases : bool
        Give every neuron of the first hidden layer a bias.  The next layer has a constant only by
        a neuron whose single weight is its bias.
    solver : {"auto", "sampling", "iht"}
        "sampling" is an annealed sampler with Gauss-Newton steps and exchanges of weights.  "iht"
        is hard thresholding with the same.  "auto" keeps the better of both where sampling leaves
        a residual; one output and one hidden layer use the solvers of `SparseReLURegressor`.
    validation_fraction : float
        Share of the rows that are held out for the certificate and for the choice of the solver.
    random_state : int, RandomState or None
        Seed of the split and of the searches; None draws one, which `seed_` keeps.
    verbose : int
        1 prints progress.
    max_seconds : float, optional
        Seconds after which no further run starts; the result can then depend on the machine.

    Attributes
    ----------
    coefs_ : list of scipy.sparse.csr_array, shapes [m_1, d], [m_2, m_1], ...
        The weights of each layer; with several outputs the last one is [k, m].
    biases_ : array, shape [m_1]
        Biases of the first hidden layer, zero without `fit_biases`.
    n_nonzero_ : int
    status_ : str
        "exact" is possible with one output and one hidden layer only, as in `SparseReLURegressor`.
        Other networks without a residual are "converged", because no search for others that fit
        as well is known.  Also "stalled", "budget", "interrupted".
    solver_ : str
    history_ : dict of lists
    certificate_ : Certificate
    held_out_error_ : float or None
        ||y - f(X)|| / ||y - mean(y)|| on the held-out rows.

    Examples
    --------
    >>> from secateurs import SparseReLUNetworkRegressor, planted_relu
    >>> problem = planted_relu(600, 10, 3, 12, n_outputs=2, random_state=0)
    >>> model = SparseReLUNetworkRegressor(12, 3, random_state=0).fit(problem.X, problem.y)
    >>> model.status_, model.match(problem.truth).error < 1e-6
    ('converged', True)
    """

    coefs_: list[sparse.csr_array]

    def __init__(
        self,
        n_nonzero: int = 100,
        hidden: int | tuple[int, ...] = 20,
        fit_biases: bool = False,
        solver: str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: int = 0,
        max_seconds: float | None = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.hidden = hidden
        self.fit_biases = fit_biases
        self.solver = solver
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.max_seconds = max_seconds

    @property
    def n_nonzero_(self) -> int:
        """Number of nonzero weights and biases."""
        check_is_fitted(self)
        return self.stack_.n_nonzero

    def match(self, truth: list[Any], biases: Any = None) -> LayerMatch:
        """Compare with a known network, up to the order and the scale of its neurons.

        Parameters
        ----------
        truth : list of CSR or dense arrays
            The weights of each layer, as in `coefs_`.
        biases : array [m_1], optional
            Biases of its first hidden layer.

        Returns
        -------
        LayerMatch
            Its ``error`` is relative to the largest true weight of a layer.
        """
        check_is_fitted(self)
        first = sparse.csr_array(truth[0])
        column = np.zeros(first.shape[0]) if biases is None else np.asarray(biases, dtype=float)
        with_biases = sparse.hstack([first, sparse.csr_array(column[:, None])])
        layers = [sparse.csr_array(with_biases), *truth[1:]]
        return match_layers(self.stack_.layers, layers, fused=self.stack_.fused)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # one output is never negative
        return tags

    # -- the steps of a fit ------------------------------------------------------------------

    @property
    def _widths(self) -> tuple[int, ...]:
        return (self.hidden,) if isinstance(self.hidden, int) else tuple(self.hidden)

    def _check_parameters(self) -> None:
        check_integer("n_nonzero", self.n_nonzero)
        if not 1 <= len(self._widths) <= MOST_LAYERS:
            raise bad_value("hidden", self.hidden, "one or two widths")
        for layer, width in enumerate(self._widths):
            check_integer(f"hidden[{layer}]", width)
        check_choice("solver", self.solver, ("auto", "sampling", "iht"))
        super()._check_parameters()

    def _read(self, X: Any, y: Any, **options: Any) -> tuple[Array, Array]:
        require_target(self, y)
        checks = {"dtype": np.float64, "order": "C", "y_numeric": True, "multi_output": True}
        X, y = validate_data(self, X, y, **checks, **options)
        y = np.asarray(y, dtype=np.float64)
        if y.ndim == 2 and y.shape[1] == 1:  # one output, with a warning as in scikit-learn
            y = column_or_1d(y, warn=True)
        least = len(self._widths) + (y.ndim > 1)
        if self.n_nonzero < least:
            raise bad_value("n_nonzero", self.n_nonzero, f"at least {least}, one for each layer")
        return X, y

    def _solve(self, data: Split, progress: ProgressCallback | None) -> None:
        rows = self._with_biases(data)
        self._n_compared = 1
        if not rows.X.any() or not data.y.any():
            self._keep("none", Solution(self._zero(data), "converged", {}, {}))
        elif data.y.ndim == 1 and len(self._widths) == 1:
            self._fit_sum(rows, progress)
        else:
            self._fit_layers(rows, progress)
        mean = data.y_held_out.mean(axis=0) if len(data.y_held_out) else 0.0
        size = float(np.linalg.norm(data.y_held_out - mean))
        left = float(np.linalg.norm(data.y_held_out - self._outputs(data.X_held_out)))
        self.held_out_error_ = left / size if size else None

    def _with_biases(self, data: Split) -> Split:
        """Return the rows with a column of ones, whose weights are the biases, if there are any."""
        if not self.fit_biases:
            return data
        X, held_out, every = map(_with_ones, (data.X, data.X_held_out, data.X_all))
        return data._replace(X=X, X_held_out=held_out, X_all=every)

    def _outputs(self, X: Array) -> Array:
        return np.asarray(self.stack_.predict(_with_ones(X)))

    def _fit_sum(self, data: Split, progress: ProgressCallback | None) -> None:
        """Find a sum of neurons with the solvers of `SparseReLURegressor`."""
        settings = (self.n_nonzero, self._widths[0], False, self.max_seconds, self.seed_, progress)
        found, self._n_compared = Solvers(self.solver, *settings).best(data, may_use_all=False)
        self._keep(found.solver, replace(found.solution, value=ReLUStack((found.weights,), True)))

    def _fit_layers(self, data: Split, progress: ProgressCallback | None) -> None:
        """Sample, then threshold where a residual is left and the solver is not given."""
        found: dict[str, Solution[ReLUStack]] = {}
        seeded: dict[str, Any] = {"random_state": self.seed_, "progress": progress}
        problem = (data.X, data.y, self.n_nonzero, self._widths)
        if self.solver != "iht":
            found["sampling"] = sample_network(*problem, max_seconds=self.max_seconds, **seeded)
        settled = "sampling" in found and found["sampling"].status in ("converged", "interrupted")
        if self.solver == "iht" or (self.solver == "auto" and not settled):
            found["iht"] = iht_network(*problem, **seeded)
        any_held_out = len(data.y_held_out) > 0
        judges = (data.X_held_out, data.y_held_out) if any_held_out else (data.X, data.y)
        self._n_compared = len(found)
        best = min(found, key=lambda name: _left(found[name].value, *judges))
        self._keep(best, found[best])

    def _keep(self, solver: Any, solution: Solution[ReLUStack]) -> None:
        """Keep a network; its first layer gets a last column for biases if it has none."""
        self.solver_, self.status_ = solver, solution.status
        self.history_ = solution.history
        first, *others = solution.value.layers
        if first.shape[1] == self.n_features_in_:
            shape = (first.shape[0], first.shape[1] + 1)
            first = sparse.csr_array((first.data, first.indices, first.indptr), shape)
        self._set_layers((first, *others), fused=solution.value.fused)

    def _set_layers(self, layers: tuple[sparse.csr_array, ...], *, fused: bool) -> None:
        self.stack_ = ReLUStack(tuple(sparse.csr_array(W) for W in layers), fused)
        self.coefs_ = [sparse.csr_array(layers[0][:, :-1]), *layers[1:]]
        self.biases_ = layers[0][:, [-1]].toarray()[:, 0]

    def _zero(self, data: Split) -> ReLUStack:
        sizes = [self.n_features_in_ + 1, *self._widths, *data.y.shape[1:]]
        layers = [sparse.csr_array((b, a)) for a, b in pairwise(sizes)]
        return ReLUStack(tuple(layers), data.y.ndim == 1)

    def _certify(self, data: Split) -> Certificate:
        rows = self._with_biases(data)
        first, *others = self.stack_.layers
        any_held_out = len(data.y_held_out) > 0
        certificate = fit_certificate(
            ReLUStack((first[:, : rows.X.shape[1]], *others), self.stack_.fused),
            rows.X,
            rows.y,
            self.n_nonzero,
            X_held_out=rows.X_held_out if any_held_out else None,
            y_held_out=rows.y_held_out if any_held_out else None,
            n_compared=self._n_compared,
        )
        self.status_ = self._judged_status(certificate, data)
        return certificate

    # -- the result --------------------------------------------------------------------------

    def _report(self) -> dict[str, Any]:
        counts = [int((np.diff(W.indptr) > 0).sum()) for W in self.stack_.layers]
        return {"nonzeros": self.n_nonzero_, "neurons": counts[: len(self._widths)]}

    def _description(self) -> Description:
        facts = {
            "inputs": self.n_features_in_,
            "nonzeros": self.n_nonzero_,
            "budget": self.n_nonzero,
            "solver": self.solver_,
            "hidden": self._report()["neurons"],
            "outputs": None if self.stack_.fused else self.stack_.layers[-1].shape[0],
        }
        neurons = " and ".join(map(str, facts["hidden"]))
        headline = (
            f"{type(self).__name__}: {self.n_nonzero_} weights of {self.n_nonzero} allowed in "
            f"{neurons} neurons over {self.n_features_in_} inputs. The solver {self.solver_} ended "
            f"with status {self.status_}. The file takes {format_bytes(len(self._file_content()))}."
        )
        return Description(headline, facts)

    def _file_content(self) -> bytes:
        record = NetworkRecord(
            **self._recorded_fit(),
            solver=self.solver_,
            budget=self.n_nonzero,
            fused=self.stack_.fused,
            feature_names=self._recorded_names(),
        )
        return weights_file(self.stack_.layers, record)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(NetworkRecord)
        model = cls._restored_fit(archive, record)
        layers = archived_weights(archive, len(model._widths) + (not record.fused))
        model._restore_names(archive, record.feature_names, layers[0].shape[1] - 1)
        model._set_layers(layers, fused=record.fused)
        model.solver_ = record.solver
        return model


def _with_ones(X: Array) -> Array:
    return np.hstack([X, np.ones((len(X), 1))])


def _left(stack: ReLUStack, X: Array, y: Array) -> float:
    """Return ||y - f(X)|| / ||y||."""
    size = float(np.linalg.norm(y)) or 1.0
    return float(np.linalg.norm(y - stack.predict(X))) / size
