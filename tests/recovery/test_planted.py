"""Planted problems are sparse, complete, separated and reproducible."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from secateurs.recovery.planted import MIN_SEPARATION, image_function, planted_relu

relaxed = settings(max_examples=40, deadline=None)


def textbook(weights: list[np.ndarray], X: np.ndarray, fused: bool) -> np.ndarray:
    """Compute the outputs one row at a time."""
    outputs = []
    for x in X:
        h = x
        for i, W in enumerate(weights):
            h = W @ h
            if fused or i < len(weights) - 1:
                h = np.maximum(h, 0)
        outputs.append(h.sum() if fused else h)
    return np.array(outputs)


@relaxed
@given(
    d=st.integers(1, 12),
    m=st.integers(1, 9),
    s=st.integers(1, 30),
    n_outputs=st.integers(1, 3),
    n_hidden_layers=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_output_is_that_of_the_truth(d, m, s, n_outputs, n_hidden_layers, seed):
    kinds = {"n_outputs": n_outputs, "n_hidden_layers": n_hidden_layers}
    n_layers = n_hidden_layers + (n_outputs > 1)
    widths = [d] + [m] * n_hidden_layers + [n_outputs]
    smallest = min(a * b for a, b in pairwise(widths[: n_layers + 1]))
    if not 1 <= s // n_layers <= smallest:
        with pytest.raises(ValueError, match=r"expected at (least one|most)"):
            planted_relu(7, d, m, s, **kinds, random_state=seed)
        return
    p = planted_relu(7, d, m, s, **kinds, random_state=seed)
    dense = [W.toarray() for W in p.truth]
    assert [W.shape[1] for W in dense] == [d, m, m][:n_layers]
    for X, y in [(p.X, p.y), (p.X_test[:20], p.y_test[:20])]:
        np.testing.assert_allclose(y, textbook(dense, X, n_outputs == 1), atol=1e-12)
    share = s // n_layers
    for W in p.truth:
        assert W.nnz == share
        assert (np.diff(W.indptr) > 0).sum() == min(
            share, W.shape[0]
        )  # every neuron that can have a weight has one
    again = planted_relu(7, d, m, s, **kinds, random_state=seed)
    assert (again.X == p.X).all()
    assert (again.y == p.y).all()


def test_noise_has_the_requested_level_and_is_not_in_the_test_data():
    p = planted_relu(20000, 10, 4, 12, noise=0.5, random_state=1)
    clean = planted_relu(20000, 10, 4, 12, random_state=1)
    assert np.std(p.y - clean.y) == pytest.approx(0.5 * clean.y.std(), rel=0.03)
    assert (p.y_test == clean.y_test).all()


def test_separated_neurons_differ_and_are_bounded():
    p = planted_relu(4000, 40, 12, 36, separated=True, random_state=3)
    W = p.truth[0]
    assert ((np.abs(W.data) >= 0.5) & (np.abs(W.data) <= 1.5)).all()
    patterns = (W @ p.X.T > 0)[np.diff(W.indptr) > 0]
    differ = (patterns[:, None] != patterns[None]).mean(axis=2)
    assert differ[np.triu_indices(len(patterns), 1)].min() > MIN_SEPARATION - 0.03


def test_neurons_that_cannot_be_separated_are_refused():
    with pytest.raises(ValueError, match="raise d or s"):
        planted_relu(10, 1, 3, 3, separated=True, random_state=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 3, 4), "n: got 0"),
        ((5, 5, 3, 16), "expected at most 15"),
        ((5, 5.5, 3, 4), "d: got 5.5"),
        ((5, 5, True, 4), "m: got True"),
        ((5, 5, 3, -1), "s: got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        planted_relu(*arguments)


@pytest.mark.parametrize("noise", [-1, np.nan, np.inf, "a lot", True])
def test_bad_noise_is_refused(noise):
    with pytest.raises(ValueError, match="noise: got"):
        planted_relu(5, 5, 3, 4, noise=noise)


def test_an_image_is_a_function_of_its_coordinates(tmp_path):
    digit = image_function(3, n_features=20, random_state=0)
    assert digit.image_shape == (8, 8)
    assert digit.X.shape == (64, 20)
    np.testing.assert_allclose((digit.X**2).sum(axis=1), 10)  # sin^2 + cos^2
    assert digit.truth is None

    pixels = (np.arange(35).reshape(5, 7) * 7).astype(np.uint8)
    from_bytes = image_function(pixels, n_features=4, random_state=0)
    np.testing.assert_allclose(from_bytes.y, pixels.ravel() / 255)
    from_floats = image_function(pixels / 255, n_features=4, random_state=0)
    np.testing.assert_allclose(from_floats.y, from_bytes.y)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    np.testing.assert_allclose(image_function(file, 4).y, from_bytes.y, atol=1e-6)


def test_test_pixels_and_training_pixels_make_up_the_image():
    p = image_function(0, n_features=6, random_state=1, n_test=10)
    whole = image_function(0, n_features=6, random_state=1)
    assert p.X.shape == (54, 6)
    assert p.X_test.shape == (10, 6)
    both = np.concatenate([p.y, p.y_test])
    np.testing.assert_allclose(np.sort(both), np.sort(whole.y))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (5000, "image: got 5000"),
        ("nowhere.png", "an existing file"),
        (np.zeros((3, 3, 3)), "average the colours"),
        (np.full((3, 3), 7.0), "rescale"),
        (np.full((3, 3), np.nan), "rescale"),
        (np.zeros((3, 3), dtype=int), "uint8 or floats"),
    ],
)
def test_bad_images_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        image_function(image)


def test_a_file_that_is_not_a_png_is_refused(tmp_path):
    file = tmp_path / "image.png"
    file.write_text("not a picture")
    with pytest.raises(ValueError, match="readable"):
        image_function(file)


@pytest.mark.parametrize(
    "settings_",
    [{"n_features": 3}, {"n_features": 0}, {"sigma": 0.0}, {"n_test": 64}, {"n_test": -1}],
)
def test_bad_image_settings_are_refused(settings_):
    with pytest.raises(ValueError, match="expected"):
        image_function(0, **settings_)
