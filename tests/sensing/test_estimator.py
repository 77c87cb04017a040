import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from secateurs import MatrixSensing, load
from secateurs.core.archive import DamagedFileError
from secateurs.sensing.operators.dense import PackedDense, pack
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import pauli_tomography, planted_sensing
from tests.sensing.damaged_files import change_record


@pytest.mark.parametrize("kind", ["gaussian", "rank-one", "rademacher"])
def test_the_rank_is_found(kind):
    problem = planted_sensing(400, 30, 3, kind=kind, noise_ratio=0.1, random_state=5)
    model = MatrixSensing(random_state=0).fit(problem.operator, problem.y)
    assert model.n_components_ == 3
    assert problem.error(model.components_, model.signs_) < 0.25
    assert (np.diff(model.eigenvalues_) <= 0).all()
    assert model.matrix().shape == (30, 30)


def test_an_intercept_is_fitted():
    problem = planted_sensing(600, 20, 2, kind="rank-one", random_state=0)
    X = problem.operator.operator.rows.data
    y = RankOne(X).forward_factors(problem.components) + 50
    model = MatrixSensing(fit_intercept=True, random_state=0).fit(RankOne(X), y)
    assert model.n_components_ == 2
    assert model.intercept_ == pytest.approx(50, abs=1e-6)
    np.testing.assert_allclose(model.predict(RankOne(X)), y, rtol=1e-8)


def test_a_given_rank_is_kept():
    problem = planted_sensing(400, 20, 3, noise_ratio=0.1, random_state=1)
    for rank in (1, 3, 5):
        model = MatrixSensing(rank, random_state=0).fit(problem.operator, problem.y)
        assert model.n_components_ == rank


def test_negative_eigenvalues_are_found_only_if_signed():
    problem = planted_sensing(600, 20, 2, random_state=1)
    y = -problem.y
    assert MatrixSensing(random_state=0).fit(problem.operator, y).n_components_ == 0
    model = MatrixSensing(signed=True, random_state=0).fit(problem.operator, y)
    assert model.signs_.tolist() == [-1, -1]
    assert model.score(problem.operator, y) > 1 - 1e-9


@pytest.mark.parametrize("make", [planted_sensing, pauli_tomography])
def test_the_file_round_trips(make, tmp_path):
    problem = make(300, 12, 2) if make is planted_sensing else make(200, 4, 2)
    model = MatrixSensing(random_state=0).fit(problem.operator, problem.y)
    assert model.save(tmp_path / "m") == model.report_["file_bytes"]
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.matrix(), model.matrix())
    np.testing.assert_array_equal(back.predict(problem.operator), model.predict(problem.operator))
    back.save(tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"), [("d", 3), ("d", 0), ("n_train", 0), ("intercept", "x"), ("history", [])]
)
def test_hostile_metadata_is_refused(tmp_path, name, value):
    problem = planted_sensing(200, 8, 1, random_state=0)
    path = tmp_path / "m"
    MatrixSensing(random_state=0).fit(problem.operator, problem.y).save(path)
    change_record(path, name, value)
    with pytest.raises(DamagedFileError):
        load(path)


def test_messages_name_the_bad_argument():
    problem = planted_sensing(200, 8, 1, random_state=0)
    for name, value in (("n_components", 0), ("criterion", "aic"), ("tolerance", 2)):
        with pytest.raises(ValueError, match=name):
            MatrixSensing(**{name: value}).fit(problem.operator, problem.y)
    with pytest.raises(ValueError, match="operator: got ndarray"):
        MatrixSensing().fit(np.eye(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"y: got shape .* expected shape \[200\]"):
        MatrixSensing().fit(problem.operator, problem.y[:-1])
    with pytest.raises(NotFittedError):
        MatrixSensing().predict(problem.operator)
    model = clone(MatrixSensing(random_state=0)).fit(problem.operator, problem.y)
    with pytest.raises(ValueError, match="d = 3"):
        model.predict(RankOne(np.eye(3)))


def test_interrupted_fits_keep_the_best_so_far():
    problem = planted_sensing(300, 12, 2, noise_ratio=0.1, random_state=0)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = MatrixSensing(random_state=0).fit(problem.operator, problem.y, progress=stop)
    assert model.status_ == "interrupted"
    assert np.isfinite(model.matrix()).all()


def test_the_description_has_the_facts_of_the_model(tmp_path):
    problem = planted_sensing(300, 12, 2, random_state=0)
    model = MatrixSensing(random_state=0).fit(problem.operator, problem.y)
    model.save(tmp_path / "m")
    described = load(tmp_path / "m").describe()
    facts = json.loads(json.dumps(described.facts, allow_nan=False))
    assert facts == json.loads(json.dumps(model.describe().facts))
    assert (facts["kind"], facts["d"], facts["rank"]) == ("MatrixSensing", 12, 2)
    assert facts["eigenvalues"] == model.eigenvalues_.tolist()
    assert facts["file_bytes"] == (tmp_path / "m").stat().st_size
    assert "rank 2" in described.headline


@pytest.mark.parametrize("size", [1e-305, 1e302])
def test_measurements_that_leave_float64_are_refused_by_name(size):
    p = planted_sensing(200, 10, 2, random_state=0)
    with pytest.raises(ValueError, match="y: got values whose largest modulus"):
        MatrixSensing(random_state=0).fit(p.operator, size * p.y)


@pytest.mark.parametrize("power", [-490, -300, -150, 150, 300, 490])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_scale_of_the_measurements_does_not_matter(power, noise):
    """Between two powers of four that are both outside the usual range, every bit is the same."""
    p = planted_sensing(200, 10, 2, noise_ratio=noise, random_state=0)
    sign = np.sign(power)
    usual = MatrixSensing(random_state=0).fit(p.operator, p.y)
    model, other = (
        MatrixSensing(random_state=0).fit(p.operator, 4.0**k * p.y) for k in (power, sign * 130)
    )
    back = np.ldexp(model.components_, sign * 130 - power)
    np.testing.assert_array_equal(back, other.components_)
    assert model.status_ == other.status_ == usual.status_
    assert model.history_ == other.history_ or np.isnan(model.history_["bic"]).any()
    verdicts = [[c.verdict for c in m.certificate_.checks] for m in (model, other, usual)]
    assert verdicts[0] == verdicts[1] == verdicts[2]
    np.testing.assert_allclose(np.ldexp(model.components_, -power), usual.components_, rtol=1e-6)
    assert model.score(p.operator, 4.0**power * p.y) > 0.8


def _operators(n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 6)) * 10.0 ** rng.integers(-3, 4, (n, 1))
    return {
        "rank-one": lambda rows: RankOne(X[rows]),
        "float32": lambda rows: RankOne(X[rows].astype(np.float32)),
        "packed": lambda rows: PackedDense(pack((X[:, :, None] * X[:, None])[rows])),
    }


@pytest.mark.parametrize("kind", ["rank-one", "float32", "packed"])
def test_a_prediction_does_not_depend_on_the_other_rows(kind):
    make = _operators(90)[kind]
    p = planted_sensing(200, 6, 3, noise_ratio=0.1, random_state=0)
    model = MatrixSensing(random_state=0).fit(p.operator, p.y)
    together = model.predict(make(np.arange(90)))
    for rows in ([7], [7, 3], np.arange(5, 60), np.arange(90)[::-1]):
        alone = model.predict(make(np.asarray(rows)))
        np.testing.assert_allclose(alone, together[rows], rtol=1e-12)
