"""Learned filters of images: exact integers, and worth their bytes where a shape moves about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.tiny import Filters, distorted_copies, fit_bytes, learn_filters, quantize
from secateurs.tiny.candidates import Room
from secateurs.tiny.footprint import filter_bytes
from tests.tiny.networks import random_filters

SEEDS = st.integers(0, 10**6)
SHAPE = (12, 10)
FEW = {"least_steps": 150, "epochs": 1}


@pytest.fixture(scope="module")
def crosses():
    """Images with a cross or a ring of the same brightness, anywhere: one class each."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 900)
    shapes = np.array([[[1, 0, 1], [0, 1, 0], [1, 0, 1]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]]])
    X = rng.integers(0, 60, (900, *SHAPE))
    for k, (i, j) in enumerate(zip(rng.integers(0, 10, 900), rng.integers(0, 8, 900), strict=True)):
        X[k, i : i + 3, j : j + 3] += 150 * shapes[y[k]]
    return X.reshape(900, -1).astype(np.uint8), np.array(["cross", "plus"])[y]


def by_loops(filters, image):
    """(1) and (2), as they are written."""
    H, size, window = image.reshape(filters.height, filters.width), filters.size, filters.window
    found = []
    for codes, bias in zip(filters.codes, filters.biases, strict=True):
        for row in range(filters.n_rows):
            for column in range(filters.n_columns):
                sums = [0]
                for i in range(row * window, (row + 1) * window):
                    for j in range(column * window, (column + 1) * window):
                        products = codes * H[i : i + size, j : j + size].astype(int)
                        sums.append((int(bias) << filters.shift) + int(products.sum()))
                found.append(min(255, max(sums) >> filters.shift))
    return found


@given(SEEDS)
def test_filters_compute_what_the_formula_says(seed):
    rng = np.random.default_rng(seed)
    filters = random_filters(rng)
    X = rng.choice([0, 1, 100, 254, 255], (3, filters.n_pixels)).astype(np.uint8)
    assert np.array_equal(filters(X), [by_loops(filters, row) for row in X])
    assert filters.n_features == filters(X).shape[1]


@given(SEEDS)
def test_an_image_attains_the_worst_sum_and_none_passes_it(seed):
    rng = np.random.default_rng(seed)
    filters = random_filters(rng)
    constant = filters.biases << filters.shift
    largest = 0
    for sign in (1, -1):  # the partial sums of the terms of one sign, the constant first or last
        for codes, bias in zip(filters.codes * sign, constant * sign, strict=True):
            positive = int(codes[codes > 0].sum()) * 255
            largest = max(largest, positive + max(0, int(bias)), abs(int(bias)))
    assert largest <= filters.worst_sum


def test_rows_do_not_depend_on_their_company():
    rng = np.random.default_rng(1)
    filters = random_filters(rng)
    X = rng.integers(0, 256, (600, filters.n_pixels)).astype(np.uint8)
    one_by_one = np.concatenate([filters(row[None]) for row in X])
    assert np.array_equal(filters(X), one_by_one)


def test_a_shape_that_moves_is_found_with_few_weights(crosses):
    """A network of the pixels needs a weight for each place; filters need one for all."""
    X, y = crosses
    train, test = slice(0, 600), slice(600, None)
    filters = learn_filters(X[train], y[train], SHAPE, 8, least_steps=800)
    options = {"max_epochs": 60, "random_state": 0, "model": "network"}
    plain = SparseMLPClassifier(100, (10,), **options).fit(X[train], y[train])
    model = SparseMLPClassifier(100, (10,), **options).fit(filters(X[train]), y[train])
    network = quantize(
        model, X[train], y[train], filters=filters, certify=(X[test], y[test]), epochs=2
    )
    assert network.score(X[test], y[test]) > 0.93 > 0.8 > plain.score(X[test], y[test])
    assert network.certificate_["held-out error"].verdict == "holds"
    assert "8 filters of 3 x 3 pixels" in str(network.describe())


def test_the_same_seed_gives_the_same_filters(crosses):
    X, y = crosses
    one, other = (learn_filters(X, y, SHAPE, 2, random_state=3, **FEW) for _ in range(2))
    assert np.array_equal(one.codes, other.codes)
    assert np.array_equal(one.biases, other.biases)
    assert one.shift == other.shift


def test_numbers_are_learned_too(crosses):
    X, y = crosses
    target = (y == "plus") * 3.0 + 10.0
    filters = learn_filters(X, target, SHAPE, 8, least_steps=800)
    options = {"max_epochs": 40, "random_state": 0}
    plain = SparseMLPRegressor(80, (8,), **options).fit(X, target)
    model = SparseMLPRegressor(80, (8,), **options).fit(filters(X), target)
    network = quantize(model, X, target, filters=filters, epochs=2)
    score = model.score(filters(X), target)
    assert network.score(X, target) > score - 0.05 > 0.7 > 0.5 > plain.score(X, target)


def test_rows_that_the_fit_held_out_do_not_certify_behind_filters(crosses):
    """The filters may have been learned on them."""
    X, y = crosses
    filters = learn_filters(X, y, SHAPE, 2, **FEW)
    model = SparseMLPClassifier(30, (5,), max_epochs=3, random_state=0).fit(filters(X), y)
    network = quantize(model, X, y, filters=filters, epochs=0)
    check = network.certificate_["held-out error"]
    assert check.verdict == "unknown"
    assert "filters" in check.statement
    assert network.report_["n_held_out"] == 0


def test_the_search_learns_filters_without_the_rows_that_certify(crosses, monkeypatch):
    X, y = crosses
    seen = []

    def learn(X, *args, **kwargs):
        seen.append(np.asarray(X))
        return learn_filters(X, *args, **{**kwargs, **FEW})

    monkeypatch.setattr("secateurs.tiny.search.learn_filters", learn)
    monkeypatch.setattr("secateurs.tiny.search.SEARCH_TUNING", 5)
    monkeypatch.setattr("secateurs.tiny.search.LEAST_STEPS", 60)
    network = fit_bytes(
        SparseMLPClassifier(max_epochs=20), X, y, flash=1000, ram=400, bits=(4,),
        image_shape=SHAPE, epochs=2,
    )  # fmt: skip
    assert network.inputs.stage.name == "filter"
    assert network.flash_bytes_ <= 1000
    stages = {one["candidate"]["stage"] for one in network.report_["candidates"]}
    assert {"none", "8 filters, 2 x 2"} <= stages
    certified = len(X) - max(len(rows) for rows in seen)
    assert network.report_["n_held_out"] == certified > 0


def test_filters_take_at_most_half_of_the_flash():
    for flash in (600, 700, 1024, 4096):
        room = Room(784, (28, 28), True, 10, True, flash, 512)
        for stage in room.first_stages():
            assert not stage.filters or 2 * filter_bytes(stage.filters, 5) <= flash
    for shape in (None, (8, 8, 8), (512,)):
        assert len(list(Room(512, shape, True, 2, True, 4096, 512).first_stages())) == 1
    assert not any(s.filters for s in Room(16, (4, 4), True, 2, True, 4096, 512).first_stages())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_filters": 0}, "n_filters: got 0"),
        ({"size": 13}, "size: got 13"),
        ({"window": 11}, "image_shape: got images of 12 x 10 pixels"),
        ({"image_shape": (6, 30)}, "X: got shape"),
        ({"image_shape": (120,)}, "image_shape: got"),
        ({"image_shape": (2, 60)}, "image_shape: got images of 2 x 60 pixels"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"distort": -1.0}, "distort: got -1"),
        ({"y": ["a"]}, "y: got 1 targets"),
        ({"y": np.full(900, np.nan)}, "y: got"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(crosses, options, message):
    X, y = crosses
    arguments = {"X": X, "y": y, "image_shape": SHAPE, **options}
    with pytest.raises(ValueError, match=message):
        learn_filters(**arguments)


def test_quantize_refuses_filters_that_do_not_fit(crosses):
    X, y = crosses
    filters = learn_filters(X, y, SHAPE, 2, **FEW)
    model = SparseMLPClassifier(30, (5,), max_epochs=3, random_state=0).fit(filters(X), y)
    for options, message in (
        ({"filters": "two"}, "filters: got str"),
        ({"filters": filters, "pool": 2}, "pool: got 2"),
        ({"filters": filters, "image_shape": (10, 12)}, "image_shape: got"),
        ({"filters": learn_filters(X, y, SHAPE, 3, **FEW)}, "model: got|X: got"),
    ):
        with pytest.raises(ValueError, match=message):
            quantize(model, X, y, **options)


def test_distorted_images_pass_the_filters(crosses):
    X, y = crosses
    filters = learn_filters(X, y, SHAPE, 2, distort=0.5, **FEW)
    tall = distorted_copies(X, SHAPE, strength=0.5, copies=1)
    assert filters(tall).shape == (2 * len(X), filters.n_features)
    model = SparseMLPClassifier(30, (5,), max_epochs=3, random_state=0).fit(filters(X), y)
    network = quantize(
        model, X, y, filters=filters, image_shape=SHAPE, distort=0.5, epochs=1, least_steps=5
    )
    assert network.report_["distort"] == 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 16}, "window: got 16"),  # 256 positions would never be counted in a byte
        ({"codes": np.full((1, 3, 3), 8)}, "codes: got 8 to 8"),
        ({"codes": np.zeros((65, 3, 3), int)}, "n_filters: got 65"),
        ({"codes": np.zeros((1, 10, 10), int)}, "size: got 10"),
        ({"biases": np.array([128])}, "biases: got 128"),
    ],
)
def test_filters_that_the_program_cannot_hold_are_refused(changed, message):
    sizes = {"height": 40, "width": 40, "window": 2, "codes": np.ones((1, 3, 3), int)}
    sizes |= {"biases": np.array([0]), "shift": 0, **changed}
    with pytest.raises(ValueError, match=message):
        Filters(**sizes)


def test_sums_beyond_the_exact_range_are_refused():
    with pytest.raises(ValueError, match="shift: got 20"):
        Filters(8, 8, 2, np.ones((1, 3, 3), np.int64), np.array([100]), 20)
