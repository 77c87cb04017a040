import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from secateurs import QuadraticRegressor, load
from secateurs.core.archive import DamagedFileError
from secateurs.sensing.planted import interactions_table
from secateurs.sensing.quadratic_fit import fit_quadratic
from tests.sensing.damaged_files import change_record


@parametrize_with_checks([QuadraticRegressor(random_state=0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("seed", range(3))
def test_planted_interactions_and_their_number_are_found(seed):
    problem = interactions_table(1500, 60, random_state=seed)
    model = QuadraticRegressor(random_state=seed).fit(problem.X, problem.y)
    assert model.n_components_ == 4
    assert sorted(model.signs_) == [-1, -1, 1, 1]
    assert model.score(problem.X_test, problem.y_test) > 0.96
    gram = problem.components.T @ np.diag(problem.signs) @ problem.components
    truth = np.abs(2 * gram - np.diag(np.diag(gram)))
    first = model.interactions_[0]
    i, j = (int(name[1:]) for name in first[:2])
    assert truth[i, j] > 0.8 * truth.max()
    assert model.certificate_["held-out gain"].verdict == "holds"


def test_a_linear_target_gets_no_squares():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 8)) * [1, 10, 100, 1, 1, 1, 0, 1] + 5
    y = X @ np.arange(8.0) + 3
    model = QuadraticRegressor(random_state=0).fit(X, y + 0.1 * rng.standard_normal(400))
    assert model.n_components_ == 0
    assert model.interactions_ == []
    assert model.score(X, y) > 0.999


def test_the_function_does_not_depend_on_the_units_of_the_inputs():
    problem = interactions_table(600, 10, random_state=1)
    units = np.logspace(-3, 3, 10)
    ours = QuadraticRegressor(4, random_state=0).fit(problem.X, problem.y)
    theirs = QuadraticRegressor(4, random_state=0).fit(problem.X * units + 7, problem.y)
    np.testing.assert_allclose(
        theirs.predict(problem.X_test * units + 7), ours.predict(problem.X_test), rtol=1e-4
    )


@given(seed=st.integers(0, 100), r=st.integers(0, 3), linear=st.booleans(), signed=st.booleans())
def test_noiseless_functions_are_recovered(seed, r, linear, signed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 5))
    U, w = rng.standard_normal((r, 5)), rng.standard_normal(5) * linear
    signs = rng.choice([-1.0, 1.0], r) if signed else np.ones(r)
    y = 2 + X @ w + (X @ U.T) ** 2 @ signs
    model = fit_quadratic(X, y, n_components=r, signed=signed).value.function
    if r <= 1 or not signed:  # several signed terms may meet a local minimum
        np.testing.assert_allclose(model.predict(X), y, atol=1e-4 * (1 + np.abs(y).max()))


def test_held_out_rows_drop_components_that_do_not_help():
    """In heavy tails the path takes noise for squares; held-out rows show that they do not help."""
    rng = np.random.default_rng(0)
    X = rng.standard_t(2, size=(300, 10))
    y = X[:, 0] + rng.standard_normal(300) * np.abs(X[:, 1])
    model = QuadraticRegressor(random_state=0).fit(X, y)
    errors = model.report_["held_out_errors"]
    assert len(errors) == model.report_["n_found"] + 1
    assert model.n_components_ <= int(np.argmin(errors))


def test_a_table_with_categories_names_its_interactions(tmp_path):
    rng = np.random.default_rng(0)
    n = 800
    frame = pd.DataFrame({"age": rng.normal(50, 10, n), "dose": rng.normal(2, 1, n)})
    frame["sex"] = rng.choice(["f", "m"], n)
    frame.loc[::50, "dose"] = np.nan
    dose = frame["dose"].fillna(frame["dose"].mean())
    y = dose * (frame["sex"] == "m") * 3 + frame["age"] / 10 + 0.1 * rng.standard_normal(n)
    model = QuadraticRegressor(random_state=0).fit(frame, y)
    first = model.interactions_[0]
    assert "dose" in first[:2]
    assert any("sex" in name for name in first[:2])
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="a DataFrame with the columns of the fit"):
        back.predict(np.zeros((2, 3)))


def test_the_file_round_trips(tmp_path):
    problem = interactions_table(500, 10, random_state=1)
    model = QuadraticRegressor(random_state=0).fit(problem.X, problem.y)
    assert model.save(tmp_path / "m") == model.report_["file_bytes"]
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.predict(problem.X), model.predict(problem.X))
    assert back.interactions_ == model.interactions_
    back.save(tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_features_in", 3),
        ("intercept", None),
        ("status", "perfect"),
        ("feature_names", ["a"]),
        ("parameters", {"criterion": "aic"}),
        ("table", {"columns": []}),
    ],
)
def test_hostile_metadata_is_refused(tmp_path, name, value):
    problem = interactions_table(200, 5, n_positive=1, n_negative=0, random_state=1)
    path = tmp_path / "m"
    QuadraticRegressor(random_state=0).fit(problem.X, problem.y).save(path)
    change_record(path, name, value)
    with pytest.raises(DamagedFileError):
        load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", -1),
        ("n_components", "all"),
        ("criterion", "aic"),
        ("validation_fraction", 1),
    ],
)
def test_messages_name_the_bad_parameter(name, value):
    with pytest.raises(ValueError, match=name) as error:
        QuadraticRegressor(**{name: value}).fit(np.eye(4), np.arange(4.0))
    assert str(value) in str(error.value)


def test_interrupted_fits_keep_the_best_so_far():
    problem = interactions_table(500, 10, random_state=1)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = QuadraticRegressor(random_state=0).fit(problem.X, problem.y, progress=stop)
    assert model.status_ == "interrupted"
    assert np.isfinite(model.predict(problem.X)).all()


@pytest.mark.parametrize("n_components", [0, "auto"])
def test_the_description_has_the_facts_of_the_model(n_components):
    problem = interactions_table(500, 10, random_state=1)
    model = QuadraticRegressor(n_components, random_state=0).fit(problem.X, problem.y)
    described = model.describe()
    facts = json.loads(json.dumps(described.facts, allow_nan=False))
    assert (facts["inputs"], facts["components"]) == (10, model.n_components_)
    assert len(facts["interactions"]) == len(model.interactions_)
    assert [len(table.rows) for table in described.tables] == [50] * bool(model.n_components_)
    assert bool(described.notes) == (model.n_components_ == 0)


def _encodings(X):
    """The same whole numbers in other forms; every one must give the answer of float64."""
    rows = sparse.csr_array(X)
    wide = sparse.csr_array((rows.data, rows.indices.astype(np.int64), rows.indptr), rows.shape)
    wide.indptr = wide.indptr.astype(np.int64)
    frozen = sparse.csr_array(X)
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.setflags(write=False)
    coo = sparse.coo_array(np.ones_like(X))
    stored = sparse.csr_array((X.ravel(), coo.coords), X.shape)  # zeros are stored
    shuffled = sparse.csr_array(X)
    for a, b in zip(shuffled.indptr[:-1], shuffled.indptr[1:], strict=True):
        shuffled.indices[a:b] = shuffled.indices[a:b][::-1].copy()
        shuffled.data[a:b] = shuffled.data[a:b][::-1].copy()
    shuffled.has_sorted_indices = False
    twice = sparse.csr_array(sparse.vstack([rows, rows]).tocsr()[: len(X)])
    locked = X.copy()
    locked.setflags(write=False)
    return {
        "int64": X.astype(np.int64),
        "uint8": X.astype(np.uint8),
        "float32": X.astype(np.float32),
        "Fortran": np.asfortranarray(X),
        "read-only": locked,
        "CSR": rows,
        "CSC": rows.tocsc(),
        "CSR uint8": rows.astype(np.uint8),
        "CSR of int64 indices": wide,
        "CSR read-only": frozen,
        "CSR with stored zeros": stored,
        "CSR unsorted": shuffled,
        "CSR cut": twice,
    }


def _bytes(X):
    arrays = (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)
    return [array.tobytes() for array in arrays]


def test_every_form_of_the_same_numbers_gives_the_same_answer_and_is_not_changed():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 200, (300, 5)) * (rng.random((300, 5)) < 0.7) * 1.0
    X[:, 4] = 3.0  # a constant column
    y = 1e-4 * X[:, 0] * X[:, 1] + 0.01 * X[:, 2] + 0.1 * rng.standard_normal(300)
    usual = QuadraticRegressor(random_state=0).fit(X, y)
    for name, same in _encodings(X).items():
        before = _bytes(same)
        model = QuadraticRegressor(random_state=0).fit(same, y)
        np.testing.assert_allclose(model.predict(same), usual.predict(X), rtol=1e-9, err_msg=name)
        np.testing.assert_array_equal(model.predict(same), model.predict(X), err_msg=name)
        assert _bytes(same) == before, name


@pytest.mark.parametrize("n", range(2, 9))
def test_too_few_rows_have_a_message_that_says_what_to_do(n):
    X = np.random.default_rng(0).standard_normal((n, 7))
    model = QuadraticRegressor(random_state=0, validation_fraction=0)
    with pytest.raises(ValueError, match=r"X: got \d+ training rows .*; expected .*; add rows"):
        model.fit(X, X[:, 0])
    if n > 2:
        model.set_params(fit_linear=False).fit(X, X[:, 0] ** 2)


@given(
    seed=st.integers(0, 1000),
    case=st.sampled_from(["copy", "negated", "sum", "constant"]),
    n_components=st.sampled_from(["auto", 0, 1]),
    fraction=st.sampled_from([0.0, 0.2]),
    squares=st.booleans(),
)
def test_columns_that_depend_on_others_are_never_exact(seed, case, n_components, fraction, squares):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 4))
    X[:, 3] = {"copy": X[:, 0], "negated": -2 * X[:, 0], "sum": X[:, 0] + X[:, 1], "constant": 5}[
        case
    ]
    y = X[:, 0] + squares * X[:, 1] ** 2
    model = QuadraticRegressor(n_components, validation_fraction=fraction, random_state=0)
    model.fit(X, y)
    assert model.status_ != "exact"
    assert model.certificate_["identification"].verdict == "fails"


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_the_status_is_that_of_the_returned_function(fraction):
    """A linear function without noise is exact with no square, however many the path tried."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 4))
    model = QuadraticRegressor(validation_fraction=fraction, random_state=0)
    assert model.fit(X, X @ np.arange(4.0) + 2).status_ == "exact"
    assert model.n_components_ == 0


def test_the_status_is_not_that_of_a_path_whose_squares_were_dropped():
    """The path of heavy tails stalls or ends elsewhere; least squares of what is left converges."""
    n_dropped = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.standard_t(2, size=(300, 10))
        y = X[:, 0] + rng.standard_normal(300) * np.abs(X[:, 1])
        model = QuadraticRegressor(random_state=0).fit(X, y)
        dropped = model.n_components_ < model.report_["n_found"]
        n_dropped += dropped
        assert model.status_ == "converged" or not dropped
    assert n_dropped >= 3


@pytest.mark.parametrize("power", [-480, -300, 300, 480])
def test_the_scale_of_the_target_does_not_matter(power):
    problem = interactions_table(400, 6, noise=0.1, random_state=1)
    usual = QuadraticRegressor(random_state=0).fit(problem.X, problem.y)
    model = QuadraticRegressor(random_state=0).fit(problem.X, 4.0**power * problem.y)
    assert (model.status_, model.n_components_) == (usual.status_, usual.n_components_)
    back = model.predict(problem.X_test) * 4.0**-power
    np.testing.assert_allclose(back, usual.predict(problem.X_test), rtol=1e-6)
    verdicts = [[c.verdict for c in m.certificate_.checks] for m in (model, usual)]
    assert verdicts[0] == verdicts[1]
    assert model.interactions_[0][:2] == usual.interactions_[0][:2]


def test_a_prediction_does_not_depend_on_the_other_rows():
    problem = interactions_table(400, 9, random_state=1)
    model = QuadraticRegressor(random_state=0).fit(problem.X, problem.y)
    X = np.asfortranarray(problem.X_test[:90])
    together = model.predict(X)
    for rows in ([7], [7, 3], np.arange(5, 60), np.arange(90)[::-1]):
        np.testing.assert_allclose(model.predict(X[rows]), together[rows], rtol=1e-12)
