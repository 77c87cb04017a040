"""Planted networks with known weights, and images as functions of pixel coordinates."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.input_files import check_input, check_unpacked
from secateurs.core.parameters import Shown, bad_value, check_counts, check_integer, check_real
from secateurs.core.short_repr import short_repr

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_TEST = 2000  # test rows
MIN_SEPARATION = 0.2  # share of the rows on which two separated neurons differ at least
MAX_DRAWS = 200  # draws of one neuron, after which separation counts as impossible
BLOCK = 1 << 22  # most activations computed, or places listed, at once
MOST_FEATURES = 1 << 26  # numbers that the features of all pixels may be, half a gigabyte
BYTES_A_PIXEL = 8
WHITE = 16.0  # largest value of a digit of scikit-learn


@dataclass(frozen=True, eq=False)
class PlantedProblem:
    """Inputs and targets from a known source.

    Parameters
    ----------
    X : float array [n, d]
        Inputs.
    y : float array [n] or [n, n_outputs]
        With noise where that was requested.
    truth : list of CSR arrays, or None
        Weights [n_out, n_in] of each layer.  With one output the last layer is fused: it is all
        ones and not listed.  None for an image.
    X_test, y_test : like X and y
        Test rows, always without noise.
    image_shape : (int, int), optional
        Shape of the image whose pixels the rows are.
    """

    __repr__ = short_repr

    X: FloatArray
    y: FloatArray
    truth: list[sparse.csr_array[np.float64]] | None
    X_test: FloatArray
    y_test: FloatArray
    image_shape: tuple[int, int] | None = None


def planted_relu(
    n: int,
    d: int,
    m: int,
    s: int,
    *,
    n_outputs: int = 1,
    n_hidden_layers: int = 1,
    separated: bool = False,
    noise: float = 0.0,
    random_state: int | None = None,
) -> PlantedProblem:
    """Generate data from a random sparse ReLU network on standard normal inputs.

    Parameters
    ----------
    n, d : int
        Rows and input dimension.
    m : int
        Neurons of each hidden layer.
    s : int
        Nonzero weights in all, spread evenly over the layers.
    n_outputs : int
        One output is fused: y = sum_j relu(w_j . x), and only the w_j are weights.  Several
        outputs have a last layer [n_outputs, m] of their own.
    n_hidden_layers : int
        Number of hidden layers, of m neurons each.
    separated : bool
        Draw ``|w|`` from [0.5, 1.5], and draw first-layer neurons again until the activation
        patterns of every two differ on at least a fifth of all inputs, as Assumption 1 of the paper
        requires.  Opposite neurons count as different.
    noise : float
        Standard deviation of the noise on `y`, in units of the standard deviation of y.
    random_state : int, optional
        Random seed; without one every call draws another network and other rows.

    Returns
    -------
    PlantedProblem
        With 2000 test rows.

    Raises
    ------
    ValueError
        A number is out of range, or the neurons cannot be separated.

    Notes
    -----
    Time O(n (d + s)).  The weights are at random places, but every neuron gets one first, so that
    with s < m there are s neurons with a weight.  Values are standard normal.
    Source: the planted experiments of Fridovich-Keil & Pilanci (2026), who place all weights
    uniformly; `separated` was added here.
    """
    check_counts(n=n, d=d, m=m, s=s, n_outputs=n_outputs, n_hidden_layers=n_hidden_layers)
    check_real("noise", noise, least=0)
    widths = [d] + [m] * n_hidden_layers + ([n_outputs] if n_outputs > 1 else [])
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    share = s // len(shapes)
    if share < 1:
        raise bad_value("s", s, f"at least one weight for each of the {len(shapes)} layers")
    for n_out, n_in in shapes:
        if share > n_out * n_in:
            expected = f"at most {n_out * n_in} weights in each layer"
            raise bad_value(
                "s", Shown(f"{share} in each layer"), expected, "lower s or raise m or d"
            )
    rng = np.random.default_rng(random_state)
    truth = [
        _random_layer(n_out, n_in, share, separated, separated and i == 0, rng)
        for i, (n_out, n_in) in enumerate(shapes)
    ]
    X = rng.standard_normal((n, d))
    X_test = rng.standard_normal((N_TEST, d))
    y = planted_output(truth, X, fused=n_outputs == 1)
    y_test = planted_output(truth, X_test, fused=n_outputs == 1)
    if noise:
        y = y + noise * y.std() * rng.standard_normal(y.shape)
    return PlantedProblem(X, y, truth, X_test, y_test)


def planted_output(
    weights: list[sparse.csr_array[np.float64]], X: FloatArray, *, fused: bool
) -> FloatArray:
    """Return the outputs on rows, shape [n] if the last layer is fused (all ones), else [n, k]."""
    rows = max(1, BLOCK // max(w.shape[0] for w in weights))
    blocks = []
    for start in range(0, len(X), rows):
        H = X[start : start + rows].T
        for i, w in enumerate(weights):
            H = np.asarray(w @ H)
            if fused or i < len(weights) - 1:
                np.maximum(H, 0.0, out=H)
        blocks.append(H.sum(axis=0) if fused else H.T)
    return np.concatenate(blocks)


def image_function(
    image: int | str | Path | NDArray[Any],
    n_features: int = 1500,
    sigma: float = 2.0,
    *,
    random_state: int | None = None,
    n_test: int = 0,
) -> PlantedProblem:
    """Return an image as a function from random Fourier features of a pixel's place to its value.

    Parameters
    ----------
    image : int, str, Path or array [h, w]
        The index of one of the 1797 8 x 8 digits of scikit-learn, a PNG file (colours are
        averaged), or grey values: unsigned integers, where white is the largest value of the type,
        or floats in [0, 1].
    n_features : int, even
        Number d of features: sines and cosines of ``2 pi B (row, column)``, B normal.
    sigma : float
        Standard deviation of B, in cycles over half the image, because rows and columns go from
        -1 to 1.  The larger it is, the less similar are the features of neighbouring pixels.
    random_state : int, optional
        Random seed of B and of the test pixels; without one every call draws others.
    n_test : int
        Number of random pixels that become test data.  With 0 the test data are all pixels.

    Returns
    -------
    PlantedProblem
        With y in [0, 1] and without truth.

    Raises
    ------
    ValueError
        The image or a setting cannot be used.

    Notes
    -----
    O(pixels * n_features) time and memory.
    Source: Fridovich-Keil & Pilanci (2026), images; features of Tancik et al. (2020).
    """
    check_integer("n_features", n_features)
    if n_features % 2:
        raise bad_value("n_features", n_features, "an even number (sines and cosines)")
    check_real("sigma", sigma, above=0)
    pixels = _grey_image(image)
    h, w = pixels.shape
    if h * w * n_features > MOST_FEATURES:
        gigabytes = BYTES_A_PIXEL * h * w * n_features / 1e9
        got = Shown(f"{h} x {w} pixels with {n_features} features each, {gigabytes:.1f} GB")
        expected = f"at most {MOST_FEATURES // n_features} pixels with that many features"
        raise bad_value("image", got, expected, "give a smaller picture or fewer features")
    check_integer("n_test", n_test, 0, h * w - 1)
    rng = np.random.default_rng(random_state)
    B = rng.standard_normal((n_features // 2, 2)) * sigma
    row, column = np.divmod(np.arange(h * w), w)
    place = np.stack([(2 * row + 1) / h - 1, (2 * column + 1) / w - 1], axis=1)
    phase = 2.0 * np.pi * (place @ B.T)
    X = np.empty((h * w, n_features))
    np.sin(phase, out=X[:, : n_features // 2])
    np.cos(phase, out=X[:, n_features // 2 :])
    y = pixels.ravel()
    if n_test == 0:
        return PlantedProblem(X, y, None, X, y, (h, w))
    held_out = np.zeros(h * w, dtype=bool)
    held_out[rng.choice(h * w, n_test, replace=False)] = True
    return PlantedProblem(X[~held_out], y[~held_out], None, X[held_out], y[held_out], (h, w))


def _random_layer(
    n_out: int, n_in: int, nnz: int, bounded: bool, apart: bool, rng: np.random.Generator
) -> sparse.csr_array[np.float64]:
    """Draw random nonzeros, one for each output first; |w| in [.5, 1.5] if `bounded`."""
    live = rng.permutation(n_out)[:nnz]
    first = live * n_in + rng.integers(n_in, size=len(live))
    others = np.setdiff1d(np.arange(n_out * n_in), first) if n_out * n_in < BLOCK else None
    if others is not None:
        rest = rng.choice(others, nnz - len(live), replace=False)
    else:  # too many places to list: draw, and reject places that are taken
        taken = set(first.tolist())
        while len(taken) < nnz:
            taken.add(int(rng.integers(n_out * n_in)))
        rest = np.setdiff1d(np.fromiter(taken, np.int64), first)
    key = np.sort(np.concatenate([first, rest]))
    row, col = np.divmod(key, n_in)
    if bounded:
        value = rng.uniform(0.5, 1.5, len(key)) * rng.choice([-1.0, 1.0], len(key))
    else:
        value = rng.standard_normal(len(key))
    if apart:
        row, col, value = _separate(row, col, value, n_in, rng)
    return sparse.csr_array((value, (row, col)), shape=(n_out, n_in))


def _separate(
    row: IntArray, col: IntArray, value: FloatArray, n_in: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    """Draw neurons again until every two patterns differ on MIN_SEPARATION of normal inputs.

    1{w.x > 0} and 1{w'.x > 0} differ on a share angle(w, w') / pi of them.
    """
    cut = np.cos(np.pi * MIN_SEPARATION)
    units: list[FloatArray] = []
    rows, cols, values = [], [], []
    for j in np.unique(row):
        c, v = col[row == j], value[row == j]
        for _ in range(MAX_DRAWS):
            u = np.zeros(n_in)
            u[c] = v / np.linalg.norm(v)
            if not units or (np.array(units) @ u).max() <= cut:
                break
            c = np.sort(rng.choice(n_in, len(c), replace=False))
            v = rng.uniform(0.5, 1.5, len(c)) * rng.choice([-1.0, 1.0], len(c))
        else:
            expected = (
                f"a neuron with {len(c)} of {n_in} inputs that differs from {len(units)} others"
            )
            do = "raise d or s, or lower m"
            raise bad_value("separated", Shown(f"none in {MAX_DRAWS} draws"), expected, do)
        units.append(u)
        rows.append(np.full(len(c), j))
        cols.append(c)
        values.append(v)
    return np.concatenate(rows), np.concatenate(cols), np.concatenate(values)


def _grey_image(image: int | str | Path | NDArray[Any]) -> FloatArray:
    """Return the pixels in [0, 1], shape [h, w]."""
    if isinstance(image, int | np.integer):
        from sklearn.datasets import load_digits  # noqa: PLC0415 (workers need not wait for it)

        digits = load_digits().images
        check_integer("image", image, 0, len(digits) - 1, otherwise="a file or an array")
        return np.asarray(digits[int(image)], dtype=np.float64) / WHITE
    pixels = _read_png(image) if isinstance(image, str | Path) else np.asarray(image)
    if pixels.ndim != 2 or pixels.size == 0:
        shown = Shown(f"shape {pixels.shape}")
        raise bad_value("image", shown, "grey values [h, w]", "average the colours")
    if pixels.dtype.kind == "u":
        return pixels / np.float64(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        raise bad_value("image", Shown(f"dtype {pixels.dtype}"), "uint8 or floats in [0, 1]")
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        shown = Shown(f"values from {pixels.min()} to {pixels.max()}")
        raise bad_value("image", shown, "values in [0, 1]", "rescale it")
    return pixels.astype(np.float64)


def _read_png(path: str | Path) -> NDArray[Any]:
    """Return the grey values of a file: the mean of its colours, without transparency."""
    from matplotlib.image import imread  # noqa: PLC0415 (workers need not wait for them)
    from PIL import Image  # noqa: PLC0415

    if not Path(path).is_file():
        raise bad_value("image", str(path), "an existing file")
    check_input(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a picture of very many pixels is refused
            # not the file itself, in which a part may claim to have gigabytes
            content = Path(path).read_bytes()
            with Image.open(BytesIO(content)) as picture:
                check_unpacked(path, math.prod(picture.size) * BYTES_A_PIXEL)
            kind = Path(path).suffix.lower().lstrip(".") or "png"
            pixels = np.asarray(imread(BytesIO(content), format=kind))
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise bad_value("image", str(path), f"a readable PNG file ({error})") from error
    if pixels.ndim == 3:
        n_colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
        pixels = pixels[:, :, :n_colours].mean(axis=2) / (255 if pixels.dtype == np.uint8 else 1)
    return pixels
