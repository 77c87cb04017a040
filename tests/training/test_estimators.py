import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import secateurs
from secateurs import SparseMLPClassifier, SparseMLPRegressor, budget_path, load
from secateurs.core.splits import hold_out
from secateurs.data.table_estimator import split_keys
from secateurs.training import TRAINERS

# All checks run, with the default settings except for fewer epochs.
CHECKED = [
    SparseMLPClassifier(max_epochs=60, random_state=0),
    SparseMLPRegressor(max_epochs=60, random_state=0),
]


NOT_REPEATED = "a weight is not the same as copies of a row, because batches are drawn from rows"


def expected_failures(_):
    names = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{name}_data": NOT_REPEATED for name in names}


@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def quick(**parameters):
    options = {"max_epochs": 20, "random_state": 0, "model": "network"} | parameters
    return SparseMLPClassifier(n_nonzero=100, **options)


def table(n=200, seed=0):
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "green", "blue"], n)
    age = rng.normal(40, 12, n)
    age[::17] = np.nan
    frame = pd.DataFrame({"age": age, "colour": colour, "member": rng.random(n) < 0.5})
    y = np.where((colour == "red") ^ frame["member"].to_numpy(), "yes", "no")
    return frame, y


def test_digits_at_300_weights_is_near_the_dense_network(digits):
    scores = []
    for seed in range(2):
        model = SparseMLPClassifier(n_nonzero=300, random_state=seed).fit(digits.X, digits.y)
        assert model.n_nonzero_ <= 300
        assert (
            sum(W.nnz for W in model.coefs_) + sum(np.count_nonzero(b) for b in model.intercepts_)
            == model.n_nonzero_
        )
        scores.append(model.score(digits.X_test, digits.y_test))
    assert np.mean(scores) > 0.96


def test_probabilities_are_those_of_the_decision(digits):
    model = quick().fit(digits.X, digits.y)
    p = model.predict_proba(digits.X_test)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(digits.X_test))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(digits.X_test)), p)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "float16"])
def test_the_storage_type_of_the_inputs_does_not_matter(digits, dtype):
    reference = quick().fit(digits.X, digits.y)
    model = quick().fit(digits.X.astype(dtype), digits.y)
    np.testing.assert_array_equal(model.fitted_.network.keys[0], reference.fitted_.network.keys[0])
    np.testing.assert_allclose(
        model.predict_proba(digits.X_test.astype(dtype)),
        reference.predict_proba(digits.X_test),
        rtol=1e-4,
        atol=1e-6,
    )


def test_sparse_inputs_give_the_dense_answers(digits):
    model = SparseMLPClassifier(300, random_state=0).fit(sparse.csr_array(digits.X), digits.y)
    assert model.score(sparse.csr_array(digits.X_test), digits.y_test) > 0.94
    np.testing.assert_allclose(
        model.predict_proba(sparse.csc_array(digits.X_test)), model.predict_proba(digits.X_test)
    )


def test_memory_mapped_inputs(digits, tmp_path):
    np.save(tmp_path / "x.npy", digits.X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    a = quick().fit(mapped, digits.y).predict_proba(digits.X_test)
    np.testing.assert_array_equal(a, quick().fit(digits.X, digits.y).predict_proba(digits.X_test))


def test_mixed_tables_are_encoded_and_missing_values_filled():
    frame, y = table(400)
    model = SparseMLPClassifier(n_nonzero=60, random_state=0).fit(frame, y)
    new, y_new = table(200, seed=1)
    assert model.score(new, y_new) > 0.9
    with pytest.raises(ValueError, match="DataFrame"):
        model.predict(np.zeros((2, 3)))
    shuffled = new[["colour", "age", "member"]].assign(extra=1)
    np.testing.assert_array_equal(model.predict(shuffled), model.predict(new))
    with pytest.raises(ValueError, match="also the columns 'age'"):
        model.predict(new[["colour", "member"]])


def test_the_file_round_trips_bit_for_bit(digits, tmp_path):
    model = quick().fit(digits.X, digits.y)
    size = model.save(tmp_path / "a.safetensors")
    assert size == (tmp_path / "a.safetensors").stat().st_size == model.report_["file_bytes"]
    back = load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(
        back.predict_proba(digits.X_test), model.predict_proba(digits.X_test)
    )
    assert str(back.certificate_) == str(model.certificate_)
    back.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_same_seed_same_file(digits, tmp_path):
    contents = []
    for name in ("a", "b"):
        quick().fit(digits.X, digits.y).save(tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1]),
        np.array([-5, 7]),
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([False, True]),
        np.array([0.0, 1.0]),
        np.array([3, 9], dtype=np.uint8),
    ],
    ids=str,
)
def test_labels_of_every_kind_come_back_from_the_file(labels, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = labels[(X[:, 0] > 0).astype(int)]
    model = SparseMLPClassifier(10, (4,), max_epochs=20, random_state=0).fit(X, y)
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    assert back.classes_.dtype.kind == model.classes_.dtype.kind
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_tables_and_regression_round_trip(tmp_path):
    frame, _ = table()
    y = np.stack([frame["age"].fillna(40) * 2, frame["member"] * 1.0], 1)
    model = SparseMLPRegressor(60, max_epochs=30, random_state=0).fit(frame, y)
    assert model.predict(frame).shape == (200, 2)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").predict(frame), model.predict(frame))


def test_training_continues_from_a_loaded_file(digits, tmp_path):
    model = quick().fit(digits.X, digits.y)
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    before = back.history_["step"][-1]
    for _ in range(3):
        back.partial_fit(digits.X, digits.y)
    assert back.n_nonzero_ <= 100
    assert back.history_["step"][-1] > before
    assert (
        back.score(digits.X_test, digits.y_test) > model.score(digits.X_test, digits.y_test) - 0.1
    )
    assert {c.name for c in back.certificate_.checks} == {"budget", "support"}
    assert back.certificate_["support"].measured == model.certificate_["support"].measured
    back.save(tmp_path / "m2")
    load(tmp_path / "m2")


def test_partial_fit_knows_classes_it_has_not_seen_yet():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    model = SparseMLPClassifier(20, (8,), max_epochs=5, random_state=0)
    model.partial_fit(X[:30], np.zeros(30, int), classes=[0, 1, 2])
    model.partial_fit(X[30:], rng.integers(0, 3, 30))
    assert model.predict_proba(X).shape == (60, 3)
    with pytest.raises(ValueError, match="the class"):
        model.partial_fit(X, np.full(60, 7))


def test_widths_are_chosen_on_held_out_rows(digits):
    model = SparseMLPClassifier(
        100, "auto", max_epochs=15, validation_fraction=0.2, random_state=0, model="network"
    ).fit(digits.X, digits.y)
    (chosen,) = model.fitted_.network.widths[1:-1]
    assert chosen == min(model.validation_losses_, key=model.validation_losses_.get)
    assert len(model.validation_losses_) > 1
    with pytest.raises(ValueError, match="held-out rows"):
        model.set_params(validation_fraction=0.0).fit(digits.X, digits.y)


def test_grid_search_and_pipelines(digits):
    pipeline = make_pipeline(StandardScaler(), SparseMLPClassifier(max_epochs=3, random_state=0))
    search = GridSearchCV(pipeline, {"sparsemlpclassifier__n_nonzero": [50, 200]}, cv=2)
    search.fit(digits.X, digits.y)
    assert search.best_params_ == {"sparsemlpclassifier__n_nonzero": 200}
    assert clone(search.best_estimator_).get_params()["sparsemlpclassifier__n_nonzero"] == 200


def test_interrupted_fits_are_usable_and_warn(digits):
    def stop(progress):
        if progress.step >= 40:
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = quick().fit(digits.X, digits.y, progress=stop)
    assert (model.status_, model.n_steps_) == ("interrupted", 40)
    assert model.n_nonzero_ <= 100
    model.predict(digits.X_test)


def test_fit_with_the_default_trainer_is_fit(digits):
    model = quick().fit_with(digits.X, digits.y, TRAINERS["prune_regrow"])
    np.testing.assert_array_equal(
        model.predict_proba(digits.X_test),
        quick().fit(digits.X, digits.y).predict_proba(digits.X_test),
    )
    dense = quick().fit_with(digits.X, digits.y, TRAINERS["dense"], shorten=4)
    assert dense.n_nonzero_ > 2000
    assert dense.n_steps_ == model.n_steps_ // 4
    assert dense.certificate_["budget"].verdict == "fails"


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_a_model_describes_itself_before_and_after_the_file(kind, tmp_path):
    frame, y = table()
    y = y if kind is SparseMLPClassifier else frame["age"].fillna(40)
    model = kind(n_nonzero=40, max_epochs=3, random_state=0).fit(frame, y)
    model.save(tmp_path / "m")
    description = model.describe()
    facts = description.facts
    assert facts["kind"] == kind.__name__
    assert facts["file_bytes"] == (tmp_path / "m").stat().st_size
    assert facts["nonzeros"] == sum(facts["nonzeros_per_layer"]) <= facts["budget"] == 40
    assert (facts["classes"] == ["no", "yes"]) == (kind is SparseMLPClassifier)
    names = ["age", "colour=blue", "colour=green", "colour=red", "member"]
    assert {entry["name"] for entry in facts["inputs_used"]} <= set(names)
    strengths = [entry["strength"] for entry in facts["inputs_used"]]
    assert strengths == sorted(strengths, reverse=True)
    layers, inputs, _scores = description.tables
    assert [len(layers.rows), len(inputs.rows)] == [len(facts["widths"]) - 1, len(strengths)]
    again = load(tmp_path / "m").describe()
    assert again.headline == description.headline
    different = {name for name, fact in again.facts.items() if fact != facts[name]}
    assert different <= {"final_loss"}  # the file keeps six digits of it
    json.dumps(facts, allow_nan=False)


def test_verbose_prints_progress(digits, capsys):
    quick(verbose=1).fit(digits.X, digits.y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert all("loss" in line and "weights" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_nonzero", 0),
        ("n_nonzero", 2.5),
        ("n_nonzero", True),
        ("hidden_layer_sizes", ()),
        ("hidden_layer_sizes", (0,)),
        ("hidden_layer_sizes", 50),
        ("hidden_layer_sizes", "wide"),
        ("hidden_layer_sizes", (10**8,)),
        ("max_epochs", 0),
        ("max_epochs", "many"),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("overshoot", 0.5),
        ("validation_fraction", 1.0),
        ("validation_fraction", -0.1),
        ("input_noise", -1.0),
        ("weight_decay", "some"),
        ("device", "toaster"),
    ],
)
def test_bad_parameters_are_named_with_what_was_got(name, value):
    X, y = np.eye(4), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=name) as error:
        SparseMLPClassifier(**{name: value}).fit(X, y)
    assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "NaN"),
        (np.eye(4), [0, 1, 0], "inconsistent"),
        (np.eye(4), [0, 0, 0, 0], "one class"),
        (np.eye(4), [0.5, 1.2, 3.3, 4.1], "Unknown label type"),
        (np.eye(4), None, "requires y"),
        (np.full((4, 2), 1e305) * [[1], [-1], [1], [-1]], [0, 1, 0, 1], "too large"),
    ],
)
def test_bad_data_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        SparseMLPClassifier().fit(X, y)


def test_constant_inputs_and_targets():
    rng = np.random.default_rng(0)
    X = np.ones((40, 3))
    model = SparseMLPClassifier(10, max_epochs=30, random_state=0).fit(X, rng.integers(0, 2, 40))
    assert len(np.unique(model.predict(X))) == 1  # only a bias can be learnt from constant inputs
    X[:, 1] = rng.standard_normal(40)
    model = SparseMLPRegressor(10, max_epochs=30, random_state=0).fit(X, np.full(40, 3.5))
    np.testing.assert_allclose(model.predict(X), 3.5, atol=1e-3)


def test_tiny_and_wide_data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 5000))
    y = np.arange(12) % 3
    model = SparseMLPClassifier(20, max_epochs=30, random_state=0).fit(X, y)
    assert model.n_nonzero_ <= 20
    SparseMLPRegressor(5, max_epochs=5, random_state=0).fit(X[:3], X[:3, 0])


def test_columns_in_different_units_are_learnt_equally_well():
    """The fit is as good if the same data come in other units."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    units = np.array([1e-6, 1e6, 30.0, 1.0])

    def score(inputs):
        models = [SparseMLPClassifier(20, (8,), 60, random_state=seed) for seed in range(2)]
        return np.mean([model.fit(inputs, y).score(inputs, y) for model in models])

    assert score(X * units + 7 * units) == pytest.approx(score(X), abs=0.03)
    assert score(X) > 0.9


def test_regression_recovers_a_sparse_teacher():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 12))
    y = 3 + 2 * np.maximum(X[:, 2], 0) - np.maximum(X[:, 5] + X[:, 7], 0)
    model = SparseMLPRegressor(30, (10,), random_state=0).fit(X[:500], y[:500])
    assert model.score(X[500:], y[500:]) > 0.95
    assert model.certificate_["held-out gain"].verdict == "holds"
    assert {2, 5, 7} <= set(model.fitted_.columns.tolist())


def test_the_report_holds_sizes_and_costs(digits):
    report = quick().fit(digits.X, digits.y).report_
    assert sum(report["nonzeros_per_layer"]) == report["nonzeros"] <= 100
    assert report["dense_nonzeros"] == 65 * 50 + 51 * 10
    assert report["peak_support"] <= 1200
    assert report["seconds"] > 0


def test_the_default_needs_no_warning(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(device="cpu").fit(digits.X, digits.y).predict(digits.X_test)


def test_public_names():
    for name in secateurs.__all__:
        assert getattr(secateurs, name) is not None
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_the_answer_for_a_row_depends_on_no_other_row_and_no_thread(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    y = X[:, :3].sum(axis=1) > 0
    model = kind(n_nonzero=80, max_epochs=3, random_state=0).fit(X, y)
    answer = model.predict_proba if kind is SparseMLPClassifier else model.predict
    together = answer(X)
    torch.set_num_threads(2)
    try:
        on_two_threads = answer(X[::-1])[::-1]
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(on_two_threads, together)
    for rows in (slice(0, 1), slice(7, 27), slice(100, 233)):
        np.testing.assert_array_equal(answer(X[rows]), together[rows])


def certified(model, X, y, name, **options):
    return model.fit(X, y, **options).certificate_[name].verdict


def test_copies_of_rows_certify_nothing():
    """Labels are noise, and every row stands ten times: a bound may fail one time in twenty."""
    held: dict[str, int] = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, rows = rng.standard_normal((120, 10)), np.repeat(np.arange(120), 10)
        labels, noise = rng.integers(0, 2, 120)[rows], rng.standard_normal(120)[rows]
        options = {"max_epochs": 20, "validation_fraction": 0.3, "random_state": seed}
        for kind, y in ((SparseMLPClassifier, labels), (SparseMLPRegressor, noise)):
            for table in (X[rows], pd.DataFrame(X[rows]).rename(columns=str)):
                for check in kind(600, (60,), **options).fit(table, y).certificate_.checks:
                    held[check.name] = held.get(check.name, 0) + (check.verdict == "holds")
    for name in ("held-out error", "held-out gain", "held-out wins", "Occam bound"):
        assert held[name] <= 3, name  # of 8 or 4 fits; the two tables share their split


def test_rows_of_a_group_are_never_parted():
    """Each group has its own label, which its rows reveal: a new group cannot be predicted."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    X = np.repeat(rng.standard_normal((60, 8)), 10, axis=0) + 0.01 * rng.standard_normal((600, 8))
    y = np.repeat(rng.integers(0, 2, 60), 10)
    texts = [f"patient {g}" for g in groups]
    wrong = 0
    for seed in range(4):  # six guesses are all right with probability 1/64
        model = SparseMLPClassifier(400, (60,), max_epochs=20, random_state=seed)
        assert certified(model, X, y, "held-out error") == "holds"  # the rows look independent
        for labels in (groups, texts):
            wrong += certified(model, X, y, "held-out error", groups=labels) == "holds"
    assert wrong <= 2
    with pytest.raises(ValueError, match="groups: got shape"):
        model.fit(X, y, groups=groups[:-1])


@pytest.mark.parametrize("state", [None, 3, "RandomState"])
def test_a_path_never_certifies_on_rows_that_an_earlier_network_saw(state):
    """Labels are noise; with a new split for every budget, most certificates would be false."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 10)), rng.integers(0, 2, 300)
    random_state = np.random.RandomState(0) if state == "RandomState" else state
    model = SparseMLPClassifier(max_epochs=40, random_state=random_state, validation_fraction=0.3)
    path = budget_path(model, X, y, [2000, 1500, 1000], X, y)
    assert len({fitted.split_digest_ for fitted in path.estimators}) == 1
    if state is None:  # another seed in every run: one bound in twenty may fail
        return
    for fitted in path.estimators:
        assert fitted.certificate_["held-out error"].verdict == "unknown"


def test_a_start_that_saw_the_held_out_rows_certifies_nothing():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 5))
    y = (X[:, 0] > 0).astype(int)
    first = SparseMLPClassifier(30, (5,), max_epochs=20, random_state=1, model="network").fit(X, y)
    other = SparseMLPClassifier(30, (5,), max_epochs=20, random_state=2, model="network")
    start = {"trainer": TRAINERS["prune_regrow"], "initial": first}
    assert other.fit_with(X, y, **start).certificate_["held-out error"].verdict == "unknown"
    same = SparseMLPClassifier(30, (5,), max_epochs=20, random_state=1, model="network")
    assert same.fit_with(X, y, **start).certificate_["held-out error"].verdict == "holds"


@pytest.mark.parametrize("how", ["a start that saw them", "partial_fit"])
@pytest.mark.parametrize("from_file", [False, True])
def test_what_saw_the_held_out_rows_stays_seen_along_a_chain(how, from_file, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 10)), rng.integers(0, 2, 300)

    def new(**options):
        return SparseMLPClassifier(
            150, (9,), max_epochs=2, random_state=0, model="network", **options
        )

    if how == "partial_fit":
        middle = new().fit(X, y).partial_fit(X, y)
    else:
        start = {
            "trainer": TRAINERS["prune_regrow"],
            "initial": new(validation_fraction=0.0).fit(X, y),
        }
        middle = new().fit_with(X, y, **start)
    if from_file:
        middle.save(tmp_path / "m.safetensors")
        middle = load(tmp_path / "m.safetensors")
    last = new().fit_with(X, y, trainer=TRAINERS["prune_regrow"], initial=middle)
    assert last.certificate_["held-out error"].verdict == "unknown"
    assert last.certificate_["held-out error"].measured == 1.0
    assert last.held_out_record() is None


def test_scales_and_encodings_are_learnt_on_the_training_rows_alone():
    """Change the held-out rows: the network stays the same to the last bit."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(5, 2, 200), "b": rng.choice(list("xyz"), 200)})
    y = frame["a"].to_numpy() + rng.standard_normal(200)
    model = SparseMLPRegressor(20, (5,), max_epochs=5, random_state=0)
    before = model.fit(frame, y)
    held_out = hold_out(split_keys(frame, y), 0.1, before.seed_).held_out
    other, z = frame.copy(), y.copy()
    other.loc[held_out, "a"] *= 1e6
    other.loc[held_out, "b"] = "new"
    z[held_out] += 1e6
    after = clone(model).fit(other, z)
    np.testing.assert_array_equal(before.predict(frame), after.predict(frame))
    assert before.table_ == after.table_
