"""Laws of integer networks: coding, order of units, worst sums, and agreement of all forms."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.tiny.bit_stream import decode, encode, stream_bits
from secateurs.tiny.fine_tune import Rows, best_step, codes, fine_tune
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.outputs import number_outputs
from secateurs.tiny.pooling import Pooling
from secateurs.tiny.unit_order import shortest_order
from secateurs.tiny.worst_case import INT32, worst_corner, worst_sums
from tests.tiny.networks import random_layer, random_layers, random_network, random_raw

SEEDS = st.integers(0, 10**6)
KINDS = [
    {},
    {"biases": False},
    {"hidden": ()},
    {"hidden": (5, 9), "k": 1},
    {"pool": 2},
    {"pool": 4},
    {"filters": True},
    {"table": True},
    {"table": True, "hidden": (), "numbers": True},
    {"table": True, "numbers": True, "k": 1},
    {"hidden": (30, 30, 30), "d": 60, "bits": 8},  # sums beyond 32 bits
]


def float64_scores(network, features):
    """The dequantised network in float64, divided by the unit of its scores."""
    h = features.astype(np.float64)
    unit = 1.0
    for i, layer in enumerate(network.layers):
        h = np.maximum(h, 0) if i else h
        weights = layer.dense() * layer.step
        h = h @ weights[:, :-1].T + weights[:, -1] * 2.0**layer.shift * unit
        unit *= layer.step
    return h / unit


@given(SEEDS, st.integers(2, 8), st.floats(0, 1))
def test_a_stream_is_read_back(seed, bits, density):
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, rng.integers(1, 12, 4).tolist(), bits, density)
    content, orders = encode(layers)
    assert len(content) == -(-stream_bits(layers) // 8)
    for layer, read in zip(layers, decode(content, orders, layers), strict=True):
        assert np.array_equal(layer.dense(), read.dense())
        assert (layer.codes % 2 == 1).all()
        assert (layer.shift, layer.step, layer.bits) == (read.shift, read.step, read.bits)


@given(SEEDS, st.sampled_from(KINDS))
def test_integers_are_the_dequantised_network(seed, kind):
    network = random_network(seed, **kind)
    raw = random_raw(np.random.default_rng(seed), network.inputs, 5)
    features = network.inputs.features(raw)
    assert features.min(initial=0) >= network.inputs.low
    assert features.max(initial=0) <= network.inputs.high
    scores = network.raw_scores(raw)
    assert scores.dtype == np.int64
    wanted = float64_scores(network, features)
    # a sum is exact relative to the largest number in it, which is at most the worst sum
    assert np.abs(scores - wanted).max(initial=0) <= 1e-9 * max(network.worst_sums_)
    for row in range(len(raw)):  # a row does not depend on the others
        assert np.array_equal(network.raw_scores(raw[row : row + 1])[0], scores[row])


@given(SEEDS, st.sampled_from([(0, 255), (-128, 127)]))
def test_a_corner_attains_the_worst_sum_of_the_first_layer(seed, box):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, int(rng.integers(1, 9)), int(rng.integers(1, 6)), 4)
    (worst,) = worst_sums([layer], *box)
    corner = np.array([*worst_corner(layer, *box), 1 << layer.shift])
    products = layer.codes * corner[layer.columns]
    sums = [np.cumsum(products[layer.rows == row]) for row in range(layer.n_out)]
    reached = max([0, *(int(np.abs(one).max(initial=0)) for one in sums)])
    assert max([reached, *np.abs(products).tolist()]) == worst


@given(SEEDS, st.sampled_from(KINDS))
def test_no_partial_sum_passes_the_worst_one(seed, kind):
    network = random_network(seed, **kind)
    rng = np.random.default_rng(seed)
    low, high = network.inputs.low, network.inputs.high
    h = rng.choice([low, high, 0], network.inputs.n_features).tolist()
    for layer, worst in zip(network.layers, network.worst_sums_, strict=True):
        sums = [0] * layer.n_out
        h = [*h, 1 << layer.shift]
        for row, column, code in zip(
            layer.rows.tolist(), layer.columns.tolist(), layer.codes.tolist(), strict=True
        ):
            sums[row] += code * h[column]
            assert abs(sums[row]) <= worst
        h = [max(v, 0) for v in sums]


@settings(max_examples=12)
@given(SEEDS, st.integers(2, 8))
def test_the_order_of_hidden_units_changes_no_score_and_saves_bits(seed, bits):
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, (9, 8, 7, 3), bits)
    ordered = shortest_order(layers, 40)
    x = rng.integers(0, 256, (6, 9))
    found = []
    for form in (layers, ordered):
        h = x
        for i, layer in enumerate(form):
            h = layer.sums(np.maximum(h, 0) if i else h, 1 << 60)
        found.append(h)
    assert np.array_equal(*found)
    assert stream_bits(ordered) <= stream_bits(layers)
    again = shortest_order(layers, 40)
    assert all(np.array_equal(a.index, b.index) for a, b in zip(ordered, again, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_numpy_file_computes_the_same(kind, tmp_path):
    network = random_network(3, **kind)
    path = tmp_path / "net.py"
    network.to_numpy(path)
    module = runpy.run_path(str(path))
    raw = random_raw(np.random.default_rng(1), network.inputs, 20)
    assert np.array_equal(module["inputs"](raw), network.inputs.features(raw))
    scores = network.raw_scores(raw)
    assert np.array_equal(module["scores"](module["inputs"](raw)), scores)
    wanted = network.outputs.predict(scores)
    assert np.array_equal(np.reshape(module["predict"](raw), wanted.shape), wanted)
    network.to_numpy(path)  # it was generated, so it may be replaced
    other = tmp_path / "mine.py"
    other.write_text("print('mine')\n")
    with pytest.raises(ValueError, match="did not generate"):
        network.to_numpy(other)


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_scores_are_the_same_integers(kind, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = random_network(4, **kind)
    path = tmp_path / "net.onnx"
    network.to_onnx(path)
    raw = random_raw(np.random.default_rng(1), network.inputs, 20)
    features = network.inputs.features(raw).astype(np.float64)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores, output = session.run(["scores", "output"], {"x": features})
    assert np.array_equal(scores, network.raw_scores(raw))
    assert np.allclose(output, scores * network.score_unit_)


@settings(max_examples=12)
@given(SEEDS, st.integers(2, 8), st.integers(1, 60))
def test_absent_weights_stay_absent_and_present_ones_stay(seed, bits, n):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(4, 6)), rng.normal(size=(2, 5))]
    for layer in layers:
        layer[rng.random(layer.shape) < 0.5] = 0
    features = rng.integers(0, 256, (n, 5)).astype(np.uint8)
    rows = Rows(features, 1 / 255, rng.integers(0, 2, n), 0.1)
    for epochs in (0, 1):
        found = fine_tune(layers, rows, bits, epochs=epochs, learning_rate=1.0, least_steps=5).value
        for before, after in zip(layers, found, strict=True):
            assert np.array_equal(before != 0, after.dense() != 0)
            assert np.abs(after.codes[~after.is_bias]).max(initial=1) < 1 << bits
            assert np.abs(after.codes).max(initial=1) < 1 << 8


@given(SEEDS, st.integers(2, 8))
def test_codes_are_the_nearest_odd_numbers(seed, bits):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=40)
    step = best_step(values, bits)
    grid = np.arange(1 - (1 << bits), 1 << bits, 2)
    error = np.abs(codes(values, step, bits) * step - values)
    assert np.allclose(error, np.abs(grid[:, None] * step - values).min(axis=0), atol=2e-3 * step)


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.floats(1e-7, 1e-2),
    st.integers(100, INT32 - 1),
)
def test_numbers_of_outputs_are_near_and_fit(centre, scale, unit, worst):
    try:
        outputs = number_outputs(unit, [centre], [scale], worst, one_column=True)
    except ValueError:  # a spread of less than ten units of the last digit
        assert abs(centre) + worst * unit * scale > 1e7 * scale
        return
    scores = np.array([[-worst], [-1], [0], [1], [worst // 3], [worst]])
    units = outputs.units(scores)
    assert np.abs(units).max() < 2**31
    wanted = scores[:, 0] * unit * scale + centre
    digit = 10.0 ** -outputs.parts[0].decimals
    slack = 2 * digit + 2e-7 * (worst * unit * scale)
    assert np.abs(outputs.predict(scores) - wanted).max() <= slack


@given(SEEDS, st.sampled_from([2, 4]))
def test_pooling_rounds_means_half_up(seed, factor):
    rng = np.random.default_rng(seed)
    pooling = Pooling(8, 12, factor)
    X = rng.integers(0, 256, (3, 96)).astype(np.uint8)
    image = X.reshape(3, 8, 12).astype(float)
    for i in range(8 // factor):
        for j in range(12 // factor):
            rows, columns = (slice(factor * at, factor * (at + 1)) for at in (i, j))
            mean = image[:, rows, columns].mean(axis=(1, 2))
            assert np.array_equal(
                pooling(X)[:, i * (12 // factor) + j], np.floor(mean + 0.5).astype(np.uint8)
            )


def test_sums_beyond_64_bits_are_refused():
    layers = [IntegerLayer.from_codes(np.full((9, 10), 255), 8, 5) for _ in range(9)]
    assert worst_sums(layers, 0, 255)[-1] > 1 << 63
    network = random_network(0, hidden=(40,) * 7, d=60, bits=8, density=1.0)
    with pytest.raises(ValueError, match="sums below 2"):
        network.c_source()
