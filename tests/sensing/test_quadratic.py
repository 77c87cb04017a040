import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
