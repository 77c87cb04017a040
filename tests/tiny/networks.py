"""Random integer networks, for laws that hold for every network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from secateurs.tiny.filters import Filters
from secateurs.tiny.inputs import (
    CategoryFeature,
    NumberFeature,
    PixelInputs,
    Source,
    TableInputs,
)
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.outputs import ClassOutputs, number_outputs
from secateurs.tiny.pooling import Pooling


def random_layer(rng, n_in, n_out, bits, density=0.3, *, biases=True):
    """A layer with empty rows, full rows and often the last position of all."""
    present = rng.random((n_out, n_in + 1)) < density
    if n_out > 1:
        present[rng.integers(n_out)] = True
        present[rng.integers(n_out)] = False
    present[-1, -1] |= rng.random() < 0.5
    present[:, -1] &= biases
    half = 1 << (bits - 1)
    codes = 2 * rng.integers(-half, half, present.shape) + 1
    codes[:, -1] = 2 * rng.integers(-128, 128, n_out) + 1
    step = float(rng.uniform(0.01, 1))
    return IntegerLayer.from_codes(codes * present, bits, int(rng.integers(0, 6)), step)


def random_layers(rng, widths, bits, density=0.3, *, biases=True):
    return tuple(random_layer(rng, a, b, bits, density, biases=biases) for a, b in pairwise(widths))


def random_table(rng, n_features):
    """Columns of numbers and of categories, with and without a rule for missing values."""
    sources, parts = [], []
    n_numbers = int(rng.integers(n_features + 1))
    for i in range(n_numbers):
        fill = int(rng.integers(-1000, 1000)) if rng.random() < 0.5 else None
        sources.append(Source(f"column {i} */ \\ ??/ é", (i,), int(rng.integers(-2, 4)), fill))
        low = int(rng.integers(-(2**31) + 1, 2**31 - 1)) if rng.random() < 0.2 else -500
        parts.append(NumberFeature(sources[-1].name, i, low, int(rng.integers(1, 65536))))
    wide = 300 if rng.random() < 0.2 else 3  # codes of one byte or two
    while len(parts) < n_features:
        at, first = len(sources), len(parts)
        texts = tuple(f'{i} */ \\ "' for i in range(wide))
        columns = tuple(range(first, first + wide))
        sources.append(Source(f"text {at} /* ??>", columns, 0, 1, texts))
        for code in rng.choice(wide, min(3, n_features - first), replace=False).tolist():
            on, off = (int(v) for v in rng.integers(-128, 128, 2))
            parts.append(CategoryFeature(f"{sources[-1].name}={code}", at, code, on, off))
    return TableInputs(tuple(sources), tuple(parts), n_features)


def random_raw(rng, inputs, n):
    """Rows of raw integers, the ends of their range among them."""
    if isinstance(inputs, PixelInputs):
        return rng.choice([0, 1, 127, 128, 254, 255], (n, inputs.n_raw)).astype(np.int64)
    raw = rng.integers(-1000, 1000, (n, inputs.n_raw))
    wide = rng.random(raw.shape) < 0.1
    raw[wide] = rng.choice([-(2**31) + 1, 2**31 - 1, 0], int(wide.sum()))
    for j, source in enumerate(inputs.sources):
        if source.categories:
            raw[:, j] = rng.integers(-1, len(source.categories), n)
    return raw.astype(np.int64)


def random_filters(rng, height=9, width=14):
    """Filters of any size and window; often no position fills the last row or column of windows."""
    size, window = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    count = int(rng.integers(1, 6))
    codes = rng.integers(-8, 8, (count, size, size))
    biases = rng.integers(-127, 128, count)
    return Filters(height, width, window, codes, biases, int(rng.integers(0, 9)))


def random_network(seed, *, table=False, pool=1, filters=False, hidden=(7,), k=3, bits=4, d=None,
                   biases=True, numbers=False, density=0.3):  # fmt: skip
    rng = np.random.default_rng(seed)
    if table:
        inputs = random_table(rng, d or int(rng.integers(1, 12)))
    elif filters:
        inputs = PixelInputs(9 * 14, random_filters(rng))
    elif pool > 1:
        inputs = PixelInputs(64, Pooling(8, 8, pool))
    else:
        inputs = PixelInputs(d or int(rng.integers(1, 30)))
    widths = (inputs.n_features, *hidden, k)
    layers = random_layers(rng, widths, bits, density, biases=biases)
    network = IntegerNetwork(
        layers, inputs, ClassOutputs(np.array([f"class {i}" for i in range(k)])),
        random_raw(rng, inputs, 3),
    )  # fmt: skip
    if not numbers:
        return network
    worst = network.worst_sums_[-1]
    centres, scales = rng.normal(0, 10, k).tolist(), rng.uniform(0.1, 100, k).tolist()
    outputs = number_outputs(20 / max(worst, 1), centres, scales, worst, one_column=k == 1)
    return IntegerNetwork(layers, inputs, outputs, network.examples)
