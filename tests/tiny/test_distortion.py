"""Distorted images: shifts and rotations stay within their bounds; only training rows move."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateurs import SparseMLPClassifier
from secateurs.tiny import distorted_copies, fit_bytes, quantize
from secateurs.tiny.distortion import DEGREES, STRENGTHS, distorted
from secateurs.tiny.fine_tune import fine_tune

SEEDS = st.integers(0, 10**6)


def source(seed):
    return torch.Generator().manual_seed(seed)


def spots(rng, n, height, width):
    """Images of two round spots on either side of the middle, and the places of the spots."""
    angle, radius = rng.uniform(0, np.pi, n), rng.uniform(5, 7, n)
    middle = np.array([height / 2, width / 2]) - 0.5
    step = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    centres = np.stack([middle + step, middle - step], axis=1)  # [n, 2 spots, 2]
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    square = np.square(grid[None, None] - centres[:, :, None, None]).sum(axis=-1)
    return np.rint(250 * np.exp(-square / 2)).astype(np.uint8), centres


def weighted_centres(images, height, width):
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    weights = images.reshape(-1, height, width, 1).astype(float)
    return (weights * grid).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


@given(SEEDS, st.floats(0, 1.5), st.sampled_from([(20, 20), (20, 26), (26, 20)]))
def test_images_move_by_at_most_the_strength_and_keep_their_shape(seed, strength, shape):
    height, width = shape
    pair, before = spots(np.random.default_rng(seed), 6, height, width)
    images = torch.from_numpy(pair.reshape(-1, height * width))  # both spots with equal movements
    movements = [
        distorted(images[spot::2], height, width, strength, source(seed)).numpy() for spot in (0, 1)
    ]
    after = np.stack([weighted_centres(one, height, width) for one in movements], axis=1)
    turn = np.abs(before - before.mean(axis=1, keepdims=True)).max() * np.sqrt(2)
    bound = strength * (1 + turn * np.radians(DEGREES)) + 0.1
    assert np.abs(after - before).max() <= bound
    lengths = [np.linalg.norm(one[:, 0] - one[:, 1], axis=1) for one in (before, after)]
    assert np.allclose(*lengths, atol=0.1)
    if strength == 0:
        assert np.array_equal(np.stack(movements, axis=1).reshape(pair.shape), pair)
    again = distorted(images[::2], height, width, strength, source(seed)).numpy()
    assert np.array_equal(again, movements[0])


def test_copies_follow_the_images():
    X = np.random.default_rng(0).integers(0, 256, (5, 24)).astype(np.uint8)
    found = distorted_copies(X, (4, 6), strength=0.5, copies=2)
    assert found.shape == (15, 24)
    assert np.array_equal(found[:5], X)
    assert not np.array_equal(found[5:10], X)
    assert not np.array_equal(found[5:10], found[10:])
    assert np.array_equal(found, distorted_copies(X, (4, 6), strength=0.5, copies=2))
    assert np.array_equal(distorted_copies(X, (4, 6), strength=0.0, copies=1)[5:], X)
    with pytest.raises(ValueError, match="copies: got -1"):
        distorted_copies(X, (4, 6), copies=-1)
    with pytest.raises(ValueError, match="X: got shape"):
        distorted_copies(X, (5, 6))


@pytest.fixture(scope="module")
def stripes():
    """Images of 12 x 12 bytes; the class is the side of the middle on which a line lies."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    X = rng.integers(0, 40, (300, 12, 12))
    X[np.arange(300), :, 5 + y] += 200
    return X.reshape(300, 144).astype(np.uint8), y


@pytest.fixture(scope="module")
def model(stripes):
    return SparseMLPClassifier(60, (6,), random_state=0, max_epochs=6, model="network").fit(
        *stripes
    )


def test_a_strength_that_moves_the_classes_is_not_chosen(stripes, model):
    X, y = stripes
    network = quantize(model, X, y, image_shape=(12, 12), distort="auto", epochs=1, least_steps=40)
    assert network.report_["distort"] in STRENGTHS[:2]
    assert network.score(X, y) > 0.95


def test_only_training_rows_are_distorted(stripes, model, monkeypatch):
    X, y = stripes
    seen = []

    def spy(layers, rows, *args, **options):
        seen.append(rows)
        return fine_tune(layers, rows, *args, **options)

    monkeypatch.setattr(sys.modules["secateurs.tiny.quantization"], "fine_tune", spy)
    options = {"image_shape": (12, 12), "epochs": 1, "least_steps": 20}
    network = quantize(model, X, y, distort=1.0, **options)
    assert network.report_["n_held_out"] == 30
    assert len(seen[0].redraw.pixels) == len(seen[0].features) == 270
    same = quantize(model, X, y, distort=1.0, **options)
    assert same.stream_ == network.stream_ != quantize(model, X, y, **options).stream_
    seen.clear()
    quantize(model, X, y, distort="auto", **options)
    assert [len(rows.features) for rows in seen] == [216] * len(STRENGTHS) + [270]
    assert all(rows.redraw is None or len(rows.redraw.pixels) == 216 for rows in seen[:-1])


def test_pooled_images_and_scaled_columns_are_distorted_before_they_are_read(stripes):
    X, y = stripes
    options = {"image_shape": (12, 12), "epochs": 1, "least_steps": 60}
    table = SparseMLPClassifier(60, (6,), random_state=0, max_epochs=6, model="network")
    wide = X * np.linspace(1, 40, 144)  # pixels of different scales are read as a table
    table.fit(np.rint(wide), y)
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        quantize(table, np.rint(wide), y, distort=0.5, **options)
    tall = np.repeat(np.repeat(X.reshape(300, 12, 12), 2, axis=1), 2, axis=2).reshape(300, 576)
    pooled = SparseMLPClassifier(60, (6,), random_state=0, max_epochs=6, model="network").fit(X, y)
    options["image_shape"] = (24, 24)
    network = quantize(pooled, tall, y, pool=2, distort=0.5, **options)
    assert network.score(tall, y) > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distort": "much"}, "distort: got 'much'"),
        ({"distort": -1.0}, "distort: got -1"),
        ({"distort": 1.0}, "image_shape: got None"),
        ({"distort": 1.0, "image_shape": (3, 4)}, "X: got rows of 144 numbers"),
    ],
)
def test_distortions_that_make_no_sense_are_refused(stripes, model, options, message):
    with pytest.raises(ValueError, match=message):
        quantize(model, *stripes, **options)


@pytest.mark.slow
def test_the_search_by_bytes_chooses_the_strength_once(stripes, monkeypatch):
    for name, steps in (("SEARCH_STEPS", 10), ("SEARCH_TUNING", 2), ("LEAST_STEPS", 30)):
        monkeypatch.setattr(f"secateurs.tiny.search.{name}", steps)
    X, y = stripes
    network = fit_bytes(
        SparseMLPClassifier(max_epochs=5), X, y, flash=480, ram=400, bits=(4,), epochs=1,
        image_shape=(12, 12), distort="auto",
    )  # fmt: skip
    assert network.report_["distort"] in STRENGTHS
    assert network.flash_bytes_ <= 480
