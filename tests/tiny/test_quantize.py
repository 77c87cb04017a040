"""From fitted estimators to integers: what is certified, tables, several layers, the search."""

from __future__ import annotations

import copy
import re
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from secateurs import SparseMLPClassifier, SparseMLPRegressor, load
from secateurs.sparse.network import SparseNetwork
from secateurs.tiny import fit_bytes, quantize
from secateurs.tiny.fine_tune import fine_tune
from secateurs.tiny.float_network import balanced, dense_layers
from secateurs.tiny.inputs import PixelInputs, TableInputs
from secateurs.tiny.pooling import Pooling
from secateurs.tiny.quantization import round_weights
from secateurs.tiny.reading import was_fitted_on

FAST = {"max_epochs": 3, "model": "network"}


def outputs(layers, X):
    h = X
    for i, layer in enumerate(layers):
        h = np.maximum(h, 0) if i else h
        h = h @ layer[:, :-1].T + layer[:, -1]
    return h


@pytest.fixture(scope="module")
def images():
    """Images of 8 x 8 bytes: one of three corners is bright."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    X = rng.integers(0, 80, (400, 8, 8))
    for k, (i, j) in enumerate([(0, 0), (0, 4), (4, 0)]):
        X[y == k, i : i + 4, j : j + 4] += 60
    return X.reshape(400, 64).astype(np.uint8), np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def table():
    """A table of mixed columns with missing values."""
    rng = np.random.default_rng(1)
    n = 400
    frame = pd.DataFrame(
        {
            "length": rng.normal(30, 5, n).round(1),
            "colour": rng.choice(["red", "green", "blue"], n),
            "kind": rng.choice(["x", "y"], n),
            "year": rng.integers(1990, 2020, n).astype(float),
        }
    )
    y = frame.length + 5.0 * (frame.colour == "red") + (frame.kind == "y") * (frame.year - 2005)
    y = (y + rng.normal(0, 0.5, n)).to_numpy()
    frame.loc[::17, "length"] = np.nan
    frame.loc[::19, "colour"] = None
    return frame, y


@pytest.fixture(scope="module")
def classifier(images):
    return SparseMLPClassifier(40, (6,), random_state=0, **FAST).fit(*images)


def test_the_float_layers_are_the_network():
    rng = np.random.default_rng(0)
    for _ in range(20):
        widths = (5, 4, 3, 2)
        keys, values = [], []
        for n_in, n_out in pairwise(widths):
            key = np.flatnonzero(rng.random(n_out * (n_in + 1)) < 0.5)
            keys.append(key)
            values.append(rng.normal(size=len(key)))
        network = SparseNetwork(widths, keys, values).trimmed()
        X = rng.normal(size=(10, 5))
        h = X
        for i, (W, b) in enumerate(zip(network.coefs(), network.intercepts(), strict=True)):
            h = np.maximum(h, 0) if i else h
            h = h @ W.toarray().T + b
        layers = dense_layers(network, range(5))
        assert np.allclose(outputs(layers, X), h)
        assert np.allclose(outputs(balanced(layers), X), h)
        for layer in layers[:-1]:
            assert (layer[:, :-1] != 0).any(axis=1).all()


def test_images_are_read_as_they_are_and_classified(images, classifier):
    X, y = images
    network = quantize(classifier, X, y, least_steps=200)
    assert isinstance(network.inputs, PixelInputs)
    assert network.score(X, y) >= classifier.score(X, y) - 0.05
    assert set(network.predict(X)) <= set(y)
    assert network.certificate_["equality"].verdict == "holds"
    assert network.certificate_["no overflow"].verdict == "holds"
    assert network.certificate_["held-out error"].verdict == "holds"
    assert network.report_["n_held_out"] == 40
    assert "bytes of flash" in network.describe().headline


def test_rows_that_certify_are_not_seen(images, classifier, monkeypatch):
    X, y = images
    seen = []

    def spy(layers, rows, *args, **options):
        seen.append(rows)
        return fine_tune(layers, rows, *args, **options)

    monkeypatch.setattr(sys.modules["secateurs.tiny.quantization"], "fine_tune", spy)
    network = quantize(classifier, X, y, epochs=0)
    assert len(seen[0].features) == len(X) - network.report_["n_held_out"] == 360
    # other rows that certify change nothing that is trained
    first = quantize(classifier, X, y, least_steps=20, epochs=1, certify=(X[:5] // 2, y[:5]))
    again = quantize(classifier, X, y, least_steps=20, epochs=1, certify=(X[5:9] // 2, y[5:9]))
    assert first.stream_ == again.stream_


@pytest.mark.parametrize("case", ["other rows", "old file", "no held-out rows", "partial fit"])
def test_rows_that_may_have_been_seen_certify_nothing(images, classifier, tmp_path, case):
    X, y = images
    model, rows = classifier, (X, y)
    if case == "other rows":
        rows = (X[:-1], y[:-1])
    elif case == "old file":  # one that does not hold the split
        model = copy.copy(classifier)
        del model.split_digest_
        model.save(tmp_path / "m.safetensors")
        model = load(tmp_path / "m.safetensors")
    elif case == "no held-out rows":
        model = SparseMLPClassifier(40, (6,), random_state=0, validation_fraction=0.0, **FAST)
        model.fit(X, y)
    else:
        model = SparseMLPClassifier(40, (6,), random_state=0, **FAST).fit(X, y)
        model.partial_fit(X[:50], y[:50])
    check = quantize(model, *rows, epochs=0).certificate_["held-out error"]
    assert check.verdict == "unknown"
    assert "nothing is said" in check.statement


@pytest.mark.parametrize("widths", [(6,), "auto"])
def test_a_model_from_a_file_certifies_as_before(images, tmp_path, widths):
    X, y = images
    model = SparseMLPClassifier(40, widths, random_state=0, **FAST).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    loaded.save(tmp_path / "again.safetensors")
    names = ("m.safetensors", "again.safetensors")
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1
    record = loaded.held_out_record()
    assert record == model.held_out_record()
    assert (record.n_tried > 1) == (widths == "auto")  # every width is counted
    before, after = (quantize(one, X, y, epochs=0) for one in (model, loaded))
    assert after.certificate_ == before.certificate_
    assert after.certificate_["held-out error"].verdict == "holds"
    loaded.partial_fit(X[:50], y[:50])
    assert quantize(loaded, X, y, epochs=0).certificate_["held-out error"].verdict == "unknown"


def test_given_rows_certify_unless_they_are_copies(images, classifier):
    X, y = images
    check = quantize(classifier, X, y, epochs=0, certify=(X[:30], y[:30])).certificate_
    assert "copies" in check["held-out error"].statement
    fresh = np.clip(X[:60].astype(int) + 1, 0, 255).astype(np.uint8)
    labels = y[:60].astype("<U9")
    labels[0] = "new class"  # a class that the model does not know is a mistake
    network = quantize(classifier, X, y, epochs=0, certify=(fresh, labels))
    assert network.report_["n_held_out"] == 60
    assert network.report_["score"] <= 59 / 60


def test_pooled_images(images):
    X, y = images
    pooling = Pooling(8, 8, 2)
    model = SparseMLPClassifier(20, (4,), random_state=0, **FAST).fit(pooling(X), y)
    network = quantize(model, X, y, epochs=0, bits=8, image_shape=(8, 8), pool=2)
    assert network.inputs.n_features == 16
    assert np.mean(network.predict(X) == model.predict(pooling(X))) > 0.95
    assert network.report_["n_held_out"] > 0
    with pytest.raises(ValueError, match="X: got"):
        quantize(model, X[:, :60], y, image_shape=(8, 8), pool=2)
    with pytest.raises(ValueError, match="image_shape"):
        quantize(model, X, y, pool=2)


@pytest.mark.parametrize("hidden", [(8,), (6, 5, 4)])
def test_a_table_of_mixed_columns(table, hidden):
    frame, y = table
    model = SparseMLPRegressor(60, hidden, random_state=0, max_epochs=20, model="network")
    model.fit(frame, y)
    network = quantize(model, frame, y, bits=6, least_steps=200, epochs=1)
    assert isinstance(network.inputs, TableInputs)
    assert network.score(frame, y) >= model.score(frame, y) - 0.05
    assert len(network.layers) == len(hidden) + 1
    assert network.certificate_["equality"].verdict == "holds"
    names = {source.name for source in network.inputs.sources}
    assert names <= {"length", "colour", "kind", "year"}
    # a missing value is the fill of its column, in C as in Python
    raw = network.inputs.raw(frame)
    for j, source in enumerate(network.inputs.sources):
        missing = frame[source.name].isna().to_numpy()
        assert (raw[missing, j] == source.fill).all()
    assert (network.predict(frame[::-1]) == network.predict(frame)[::-1]).all()


def test_a_line_is_tuned_without_the_noise_of_networks():
    """Noise on correlated columns would shrink a line that was fitted without any."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 3))
    X = common @ rng.standard_normal((3, 12)) + 0.3 * rng.standard_normal((400, 12))
    y = X @ rng.standard_normal(12) + 0.1 * rng.standard_normal(400)
    train, test = slice(0, 200), slice(200, None)
    model = SparseMLPRegressor(13, random_state=0).fit(X[train], y[train])
    assert model.choice_.model == "line"
    for fitted in (model, SparseMLPRegressor(13, model="line", random_state=0).fit(X, y)):
        network = quantize(fitted, X[train], y[train], bits=6)
        assert network.score(X[test], y[test]) > fitted.score(X[test], y[test]) - 0.02


def test_two_targets_and_an_array_of_real_numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) * [1, 10, 100, 0.01, 1e5, 1] + [0, 5, -1e4, 0, 1e6, 0]
    Z = (X - X.mean(0)) / X.std(0)
    Y = np.stack([Z[:, 0] + Z[:, 1], 1000 * (Z[:, 2] - Z[:, 4])], axis=1)
    model = SparseMLPRegressor(30, (8,), random_state=0, max_epochs=40).fit(X, Y)
    network = quantize(model, X, Y, bits=5, least_steps=200, epochs=1)
    assert network.predict(X).shape == (300, 2)
    assert network.score(X, Y) >= model.score(X, Y) - 0.03


def test_rounding_without_rows(table, images, classifier):
    frame, y = table
    model = SparseMLPRegressor(60, (8,), random_state=0, max_epochs=20).fit(frame, y)
    network = round_weights(model)
    assert network.certificate_["held-out error"].verdict == "unknown"
    assert network.score(frame, y) >= model.score(frame, y) - 0.05
    X, labels = images
    rounded = round_weights(classifier)
    assert np.mean(rounded.predict(X) == classifier.predict(X)) > 0.95
    assert labels.dtype == rounded.predict(X).dtype


def test_the_same_seed_gives_the_same_program(images, classifier):
    X, y = images
    sources = [
        quantize(classifier, X, y, epochs=1, least_steps=30, random_state=seed).c_source()
        for seed in (0, 0, 1)
    ]
    assert sources[0] == sources[1] != sources[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "bits: got 1"),
        ({"bits": 9}, "bits: got 9"),
        ({"epochs": -1}, "epochs: got -1"),
        ({"pool": 3, "image_shape": (8, 8)}, "pool: got 3"),
        ({"certify": 3}, "certify: got int"),
        ({"teacher": np.zeros((3, 3))}, "teacher: got shape"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(images, classifier, options, message):
    with pytest.raises(ValueError, match=message):
        quantize(classifier, *images, **options)


def test_models_and_rows_that_do_not_fit_are_refused(images, classifier):
    X, y = images
    with pytest.raises(ValueError, match="model: got object"):
        quantize(object(), X, y)
    with pytest.raises(ValueError, match="model: got object"):
        was_fitted_on(object(), X, y, None)
    assert was_fitted_on(classifier, X, y, None)
    more = (np.vstack([X, X[:9] // 2]), np.append(y, y[:9]))  # rows that another fit might have
    assert not was_fitted_on(classifier, *more, None)
    with pytest.raises(ValueError, match="got the class 'z'"):
        quantize(classifier, X, np.where(y == "a", "z", y))
    with pytest.raises(ValueError, match="y: got shape"):
        quantize(classifier, X, y[:-1])
    network = quantize(classifier, X, y, epochs=0)
    for bad in (X[:, :3], X + 0.5, X.astype(float) - 1):
        with pytest.raises(ValueError, match="X: got"):
            network.predict(bad)


def test_the_search_by_bytes_fits_and_names_what_it_compared(images, monkeypatch):
    X, y = images
    monkeypatch.setattr("secateurs.tiny.search.SEARCH_STEPS", 10)
    monkeypatch.setattr("secateurs.tiny.search.SEARCH_TUNING", 2)
    monkeypatch.setattr("secateurs.tiny.search.LEAST_STEPS", 30)
    network = fit_bytes(
        SparseMLPClassifier(max_epochs=2), X, y, flash=520, ram=260, bits=(4,),
        image_shape=(8, 8), epochs=1,
    )  # fmt: skip
    assert network.flash_bytes_ <= 520
    assert network.ram_bytes_ <= 260
    assert len(network.report_["candidates"]) >= 6
    assert network.report_["n_held_out"] == 40
    assert network.certificate_["held-out error"].verdict == "holds"
    with pytest.raises(ValueError, match="flash, ram: got 212 bytes"):
        fit_bytes(SparseMLPClassifier(max_epochs=1), X[:100], y[:100], flash=212, bits=(4,))


@pytest.mark.parametrize("kind", ["pixels", "table", "numbers"])
def test_too_few_bytes_are_refused_before_the_search(monkeypatch, kind):
    """The least number that the message names is below that of every program of this kind."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (80, 6)) if kind == "pixels" else rng.standard_normal((80, 6))
    is_class = kind != "numbers"
    y = (X[:, 0] > X[:, 0].mean()).astype(int) if is_class else X[:, 0] + X[:, 1]
    estimator = SparseMLPClassifier if is_class else SparseMLPRegressor
    line = estimator(8, model="line", max_epochs=1, random_state=0).fit(X, y)
    smallest = min(quantize(line, X, y, bits=b, epochs=0).flash_bytes_ for b in (2, 4))

    def refuse(*_, **__):
        raise AssertionError("a network was fitted")

    monkeypatch.setattr(estimator, "fit", refuse)
    with pytest.raises(ValueError, match=r"flash: got 20; expected at least \d+ bytes") as caught:
        fit_bytes(estimator(), X, y, flash=20)
    named = int(re.search(r"least (\d+)", str(caught.value))[1])
    assert 160 < named <= smallest
    with pytest.raises(ValueError, match=r"ram: got 20; expected at least \d+ bytes"):
        fit_bytes(estimator(), X, y, ram=20)
