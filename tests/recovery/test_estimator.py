"""SparseReLURegressor recovers, keeps its budgets, and survives hostile files."""

import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from secateurs import SparseReLURegressor, image_function, load, planted_relu
from secateurs.core.archive import DamagedFileError
from secateurs.recovery.figures import image_figure
from secateurs.recovery.matching import match_neurons, merge_parallel
from tests.sparse.test_storage import join_header, split_header


@parametrize_with_checks([SparseReLURegressor(n_nonzero=20, fit_intercept=True, random_state=0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("seed", range(3))
def test_planted_networks_are_recovered_exactly(seed):
    problem = planted_relu(900, 30, 5, 20, random_state=100 + seed)
    model = SparseReLURegressor(20, 5, random_state=seed).fit(problem.X, problem.y)
    assert (model.status_, model.solver_) == ("exact", "pursuit")
    assert model.n_nonzero_ <= 20
    assert model.match(problem.truth[0]).error < 1e-6
    np.testing.assert_allclose(model.predict(problem.X_test), problem.y_test, atol=1e-8)
    verdicts = {c.name: c.verdict for c in model.certificate_.checks}
    assert verdicts["residual"] == verdicts["held-out PSNR"] == verdicts["budget"] == "holds"
    assert verdicts["restricted isometry"] == "unknown"


def test_the_budget_is_found_when_it_is_not_given():
    problem = planted_relu(900, 20, 3, 10, random_state=7)
    model = SparseReLURegressor("auto", random_state=0).fit(problem.X, problem.y)
    assert (model.status_, model.budget_) == (
        "converged",
        16,
    )  # 16 weights could be another network
    assert model.n_nonzero_ == 10
    assert model.match(problem.truth[0]).error < 1e-6
    assert "n_nonzero=10" in model.certificate_["identification"].statement
    assert "chose this fit among" in model.certificate_["held-out PSNR"].statement
    again = SparseReLURegressor(10, random_state=0).fit(problem.X, problem.y)
    assert again.status_ == "exact"
    with pytest.raises(ValueError, match="held-out rows"):
        SparseReLURegressor("auto", validation_fraction=0.0).fit(problem.X, problem.y)


@pytest.mark.parametrize("solver", ["auto", "pursuit", "iht"])
def test_the_budgets_hold_for_other_data(solver):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 8))
    model = SparseReLURegressor(12, 4, solver=solver, random_state=0).fit(X, np.sin(3 * X[:, 0]))
    assert model.n_nonzero_ <= 12
    assert (np.diff(model.coef_.indptr) > 0).sum() <= 4
    assert model.status_ != "exact"
    assert model.certificate_["residual"].verdict == "fails"


def test_an_image_is_a_function():
    problem = image_function(3, n_features=400, random_state=0)
    model = SparseReLURegressor(100, 50, validation_fraction=0, random_state=0)
    model.fit(problem.X, problem.y)
    error = np.sqrt(np.mean((model.predict(problem.X) - problem.y) ** 2))
    assert 20 * np.log10(np.abs(problem.y).max() / error) > 45
    original, fitted = (y.reshape(8, 8) for y in (problem.y, model.predict(problem.X)))
    figure = image_figure(original, fitted, 45.0, model.n_nonzero_)
    assert [axis.get_title() for axis in figure.axes][:2] == [
        "original",
        f"{model.n_nonzero_} weights, 45.0 dB",
    ]


def test_intercept():
    problem = planted_relu(900, 20, 3, 10, random_state=3)
    model = SparseReLURegressor(10, fit_intercept=True, random_state=0)
    model.fit(problem.X, problem.y + 5)
    assert model.intercept_ == pytest.approx(5)
    assert model.match(problem.truth[0]).error < 1e-6


def test_the_file_round_trips_in_full_precision(tmp_path):
    problem = planted_relu(600, 20, 3, 10, random_state=1)
    model = SparseReLURegressor(10, random_state=0).fit(problem.X, problem.y)
    size = model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    assert size == model.report_["file_bytes"]
    assert (back.coef_ != model.coef_).nnz == 0
    np.testing.assert_array_equal(back.predict(problem.X), model.predict(problem.X))
    back.save(tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "SparseMLPRegressor"),
        ("kind", ["x"]),
        ("solver", "magic"),
        ("intercept", None),
        ("feature_names", ["a"]),
        ("parameters", {"n_nonzero": 0}),
        ("history", 3),
    ],
)
def test_hostile_metadata_is_refused(tmp_path, name, value):
    problem = planted_relu(300, 5, 2, 4, random_state=1)
    path = tmp_path / "m"
    SparseReLURegressor(4, random_state=0).fit(problem.X, problem.y).save(path)
    header, data = split_header(path.read_bytes())
    body = json.loads(header["__metadata__"]["secateurs"])
    body["record"][name] = value
    header["__metadata__"]["secateurs"] = json.dumps(body)
    path.write_bytes(join_header(header, data))
    with pytest.raises(DamagedFileError):
        load(path)


def test_the_description_lists_all_neurons():
    problem = planted_relu(600, 20, 3, 10, random_state=1)
    model = SparseReLURegressor(10, random_state=0).fit(problem.X, problem.y)
    facts = model.describe().facts
    assert facts["nonzeros"] == sum(len(neuron["weights"]) for neuron in facts["neurons"])
    assert facts["certificate"] == model.certificate_.to_list()
    json.dumps(facts, allow_nan=False)
    (table,) = model.describe().tables
    assert len(table.rows) == len(facts["neurons"])


def test_interrupted_fits_keep_the_best_so_far():
    problem = planted_relu(900, 30, 5, 40, random_state=1)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = SparseReLURegressor(40, 5, random_state=0).fit(problem.X, problem.y, progress=stop)
    assert model.status_ == "interrupted"
    assert model.n_nonzero_ <= 40


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_nonzero", 0),
        ("n_nonzero", "some"),
        ("n_neurons", -1),
        ("solver", "adam"),
        ("validation_fraction", 1.5),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=name) as error:
        SparseReLURegressor(**{name: value}).fit(np.eye(4), np.arange(4.0))
    assert str(value) in str(error.value)


def test_matching_ignores_order_and_parallel_splits_only():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((4, 6))
    split = np.vstack([W[[2, 0, 3]], 0.3 * W[1], 0.7 * W[1], np.zeros(6)])
    assert match_neurons(sparse.csr_array(split), W).error < 1e-12
    assert merge_parallel(split).shape == (4, 6)
    assert match_neurons(-W, W).error > 0.1  # relu(-w.x) is a different function
    assert match_neurons(W[:3], W).error == pytest.approx(
        min(np.abs(w).max() for w in W) / np.abs(W).max(), abs=1.0
    )
    with pytest.raises(ValueError, match="inputs"):
        match_neurons(W[:, :5], W)
