"""Multi-index estimators: scikit-learn contract, selection, tables, descriptions, files."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

from secateurs import SparseMultiIndexClassifier, SparseMultiIndexRegressor, load
from secateurs.core.archive import DamagedFileError
from secateurs.features.planted import planted_multi_index
from tests.sparse.test_storage import join_header, split_header


@pytest.fixture(scope="module")
def problem():
    return planted_multi_index(400, 60, 1, "he2", sparsity=4, random_state=3)


@pytest.fixture(scope="module")
def fitted(problem):
    return SparseMultiIndexRegressor(random_state=0).fit(problem.X, problem.y)


@pytest.mark.slow
@parametrize_with_checks(
    [SparseMultiIndexRegressor(random_state=0), SparseMultiIndexClassifier(random_state=0)]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_a_planted_direction_is_found_and_certified(problem, fitted):
    np.testing.assert_array_equal(fitted.support_, problem.support)
    assert fitted.score(problem.X_test, problem.y_test) > 0.9
    assert fitted.signal_detected_
    assert fitted.information_exponent_ in (1, 2)
    certificate = fitted.certificate_
    assert certificate["signal"].verdict == "holds"
    assert certificate["screen"].threshold == fitted.threshold_
    assert certificate["validation"].verdict == "unknown"
    u = problem.X_test @ problem.directions.toarray()[0]
    found = np.abs(np.corrcoef(fitted.transform(problem.X_test).T, u)[-1, :-1])
    assert found.max() > 0.97
    np.testing.assert_array_equal(np.flatnonzero(fitted.feature_importances_), fitted.support_)


def test_a_description_has_every_number(fitted):
    shown = fitted.describe()
    facts = json.loads(json.dumps(shown.facts, allow_nan=False))
    assert (facts["d"], facts["directions"]) == (60, fitted.directions_.shape[0])
    assert {entry["column"] for entry in facts["columns"]} == set(fitted.support_)
    shares = [entry["share"] for entry in facts["columns"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert (facts["val_r2"], facts["signal_detected"]) == (fitted.val_r2_, True)
    assert len(shown.tables[0].rows) == len(fitted.support_)


def test_noise_is_not_trusted():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 500)), rng.standard_normal(300)
    model = SparseMultiIndexRegressor(random_state=0).fit(X, y)
    assert not model.signal_detected_
    assert model.certificate_["signal"].verdict == "fails"
    assert "No signal" in model.describe().headline


def test_it_selects_in_a_pipeline(problem, fitted):
    index = SparseMultiIndexRegressor(random_state=0)
    on_indices = make_pipeline(index, PolynomialFeatures(2), LinearRegression())
    assert on_indices.fit(problem.X, problem.y).score(problem.X_test, problem.y_test) > 0.85
    names = on_indices[0].get_feature_names_out()
    assert names.tolist() == ["sparsemultiindexregressor0"]
    np.testing.assert_array_equal(fitted.get_support(indices=True), fitted.support_)
    np.testing.assert_array_equal(np.flatnonzero(fitted.get_support()), fitted.support_)
    columns = SelectFromModel(fitted, prefit=True, threshold=1e-12).transform(problem.X)
    np.testing.assert_array_equal(columns, problem.X[:, fitted.support_])


@pytest.mark.parametrize("kind", ["sparse", "mapped", "frame", "single"])
def test_other_kinds_of_data_give_the_same_fit(problem, fitted, kind, tmp_path):
    X = problem.X
    if kind == "sparse":
        X = sparse.csr_array(X)
    elif kind == "mapped":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif kind == "frame":
        X = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    else:
        X = X.astype(np.float32)
    model = clone(fitted).fit(X, problem.y)
    np.testing.assert_array_equal(model.support_, fitted.support_)
    if kind in ("sparse", "mapped"):
        np.testing.assert_array_equal(model.predict(X), fitted.predict(problem.X))
    else:  # rounded to float32, so that training takes another path
        assert model.score(X, problem.y) > 0.9
    assert model.transform(X).shape == (len(problem.y), fitted.directions_.shape[0])


def test_a_mapped_file_is_never_held_whole(tmp_path):
    """The solver gets the mapping itself, and bad values in it are still refused."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 20))
    X[3, 7] = np.nan
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = SparseMultiIndexRegressor(random_state=0)
    assert model._read_inputs(mapped, reset=True) is mapped
    with pytest.raises(ValueError, match="column 7: got infinite or missing"):
        model.fit(mapped, X[:, 0])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(mapped, np.zeros(49))


def test_a_table_with_categories(tmp_path):
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(rng.standard_normal((n, 5)), columns=list("abcde"))
    frame.insert(1, "city", rng.choice(["Oslo", "Rome", "Lima"], n))
    frame.loc[::50, "d"] = np.nan
    y = np.where(frame["city"] == "Rome", 3.0, 0.0) + frame["c"] + 0.1 * rng.standard_normal(n)
    model = SparseMultiIndexRegressor(random_state=0).fit(frame, y)
    assert {"c", "city=Rome"} <= set(model.support_names_)
    assert {1, 3} <= set(model.get_support(indices=True))
    assert len(model.get_support()) == 6
    assert model.get_support().sum() <= len(model.support_)
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.predict(frame), model.predict(frame))
    assert back.support_names_ == model.support_names_
    with pytest.raises(ValueError, match="expected a DataFrame"):
        back.predict(np.zeros((2, 6)))


@pytest.mark.parametrize("labels", [["no", "yes"], [2, 5], ["a", "b", "c"]])
def test_classes_come_back_as_they_were_given(labels, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30))
    y = np.array(labels)[np.digitize(X[:, 4] - X[:, 9], [-0.6, 0.6][: len(labels) - 1])]
    model = SparseMultiIndexClassifier(random_state=0).fit(X, y)
    assert set(model.support_) >= {4, 9}
    assert model.classes_.tolist() == labels
    assert model.score(X, y) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="one class"):
        model.fit(X, np.full(400, labels[0]))


def test_the_file_round_trips(problem, fitted, tmp_path):
    assert fitted.save(tmp_path / "m") == fitted.report_["file_bytes"]
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.predict(problem.X), fitted.predict(problem.X))
    np.testing.assert_array_equal(back.transform(problem.X), fitted.transform(problem.X))
    np.testing.assert_array_equal(back.directions_.toarray(), fitted.directions_.toarray())
    assert back.certificate_.to_list() == fitted.certificate_.to_list()
    back.save(tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "SparseMultiIndexClassifier"),
        ("n_features_in", 3),
        ("threshold", None),
        ("information_exponent", 7),
        ("classes", ["a", "b"]),
        ("feature_names", ["a"]),
        ("parameters", {"alpha": 2}),
        ("table", {"columns": []}),
    ],
)
def test_hostile_metadata_is_refused(fitted, tmp_path, name, value):
    path = tmp_path / "m"
    fitted.save(path)
    header, data = split_header(path.read_bytes())
    body = json.loads(header["__metadata__"]["secateurs"])
    body["record"][name] = value
    header["__metadata__"]["secateurs"] = json.dumps(body)
    path.write_bytes(join_header(header, data))
    with pytest.raises(DamagedFileError):
        load(path)


@pytest.mark.parametrize("support", [[0.5, 1, 2, 3], [0, 1, 2, 60], [3, 2, 1, 0], [1, 1, 2, 3]])
def test_hostile_columns_are_refused(fitted, tmp_path, support):
    model = clone(fitted)
    model.__dict__.update(fitted.__dict__)
    content = model._file_content()
    assert fitted.support_.astype(float).tobytes() in content
    path = tmp_path / "m"
    wrong = np.array(support, dtype=float).tobytes()
    path.write_bytes(content.replace(fitted.support_.astype(float).tobytes(), wrong))
    with pytest.raises(DamagedFileError):
        load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_features", 0),
        ("alpha", 1),
        ("degrees", 4),
        ("hidden", 0),
        ("validation_fraction", 0),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=name) as error:
        SparseMultiIndexRegressor(**{name: value}).fit(np.eye(20), np.arange(20.0))
    assert str(value) in str(error.value)


def test_interrupted_fits_keep_the_best_so_far(problem):
    def stop(state):
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = SparseMultiIndexRegressor(random_state=0).fit(problem.X, problem.y, progress=stop)
    assert model.status_ == "interrupted"
    assert np.isfinite(model.predict(problem.X)).all()
