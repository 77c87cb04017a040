"""Planted networks, whose weights are known, and images as functions of their coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.parameters import check_integer, is_integer, is_real

FloatArray = NDArray[np.float64]

N_TEST = 2000  # fresh rows drawn to judge a fit by
MIN_SEPARATION = 0.2  # share of the rows on which two separated neurons must differ
MAX_DRAWS = 200  # of one neuron, before separation is declared impossible
BLOCK = 1 << 22  # numbers per block of activations


@dataclass(frozen=True, eq=False)
class PlantedProblem:
    """Inputs and targets whose source is known.

    Attributes
    ----------
    X : float array [n, d]
    y : float array [n] or [n, n_outputs]
        With noise where it was asked for.
    truth : list of CSR arrays, or None
        Weights [n_out, n_in] of each layer.  With one output the last layer is fused: all
        ones, and not listed.  None for an image.
    X_test, y_test : like X and y
        Fresh rows, never with noise.
    image_shape : (int, int), optional
        Shape of the image whose pixels the rows are.
    """

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
    """Data from a random sparse ReLU network on standard normal inputs.

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
        have a last layer [n_outputs, m] of their own.
    n_hidden_layers : int
    separated : bool
        Draw ``|w|`` from [0.5, 1.5] and redraw first-layer neurons until the activation patterns
        of every two differ on at least a fifth of all inputs, as Assumption 1 of the paper
        wants; opposite neurons count as different.
    noise : float
        Standard deviation of the noise on `y`, in units of the standard deviation of y.
    random_state : int, optional

    Returns
    -------
    PlantedProblem
        With 2000 fresh test rows.

    Raises
    ------
    ValueError
        A number out of range, or neurons that cannot be separated.

    Notes
    -----
    Time O(n (d + s)).  Nonzeros sit at random places, but every neuron gets one first: with
    s < m there are s live neurons.  Values are standard normal.
    Source: the planted experiments of Fridovich-Keil & Pilanci (2026), who place all nonzeros
    uniformly; `separated` is ours.
    """
    for name, number in [("n", n), ("d", d), ("m", m), ("s", s)]:
        check_integer(name, number)
    check_integer("n_outputs", n_outputs)
    check_integer("n_hidden_layers", n_hidden_layers)
    if not is_real(noise) or noise < 0:
        raise ValueError(
            f"noise={noise!r}: expected a finite number >= 0, in units of the std of y"
        )
    widths = [d] + [m] * n_hidden_layers + ([n_outputs] if n_outputs > 1 else [])
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    share = s // len(shapes)
    if share < 1:
        raise ValueError(
            f"s={s}: expected at least one nonzero for each of the {len(shapes)} layers"
        )
    for n_out, n_in in shapes:
        if share > n_out * n_in:
            raise ValueError(
                f"s={s}: {share} nonzeros a layer do not fit a layer of {n_out} x {n_in} weights; "
                "lower s or raise m or d"
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
    """Output of a network on rows, shape [n] if fused (last layer all ones), else [n, k]."""
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
    """An image as a function: random Fourier features of a pixel's place -> its value.

    Parameters
    ----------
    image : int, str, Path or array [h, w]
        Index of one of the 1797 8 x 8 digits of scikit-learn, a PNG file (colours are
        averaged), or grey values: unsigned integers (white is their largest value) or floats
        in [0, 1].
    n_features : int, even
        d: sines and cosines of ``2 pi B (row, column)``, B normal.
    sigma : float
        Standard deviation of B, in cycles over half the image: rows and columns go from -1
        to 1.  The larger it is, the less neighbouring pixels have to do with each other.
    random_state : int, optional
    n_test : int
        Pixels held out at random as test data.  With 0 the test data are all pixels.

    Returns
    -------
    PlantedProblem
        y in [0, 1]; no truth.

    Notes
    -----
    O(pixels * n_features) time and memory.
    Source: Fridovich-Keil & Pilanci (2026), images; features of Tancik et al. (2020).
    """
    check_integer("n_features", n_features)
    if n_features % 2:
        raise ValueError(f"n_features={n_features}: expected an even number (sines and cosines)")
    if not is_real(sigma) or sigma <= 0:
        raise ValueError(
            f"sigma={sigma!r}: expected a finite number > 0, in cycles over half the image"
        )
    pixels = _grey_image(image)
    h, w = pixels.shape
    if not is_integer(n_test, 0) or n_test >= h * w:
        raise ValueError(f"n_test={n_test!r}: expected 0 <= n_test < {h * w}, the number of pixels")
    rng = np.random.default_rng(random_state)
    B = rng.standard_normal((n_features // 2, 2)) * sigma
    row, column = np.divmod(np.arange(h * w), w)
    place = np.stack([(2 * row + 1) / h - 1, (2 * column + 1) / w - 1], axis=1)
    phase = 2.0 * np.pi * (place @ B.T)
    X = np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
    y = pixels.ravel()
    if n_test == 0:
        return PlantedProblem(X, y, None, X, y, (h, w))
    held_out = np.zeros(h * w, dtype=bool)
    held_out[rng.choice(h * w, n_test, replace=False)] = True
    return PlantedProblem(X[~held_out], y[~held_out], None, X[held_out], y[held_out], (h, w))


def _random_layer(
    n_out: int, n_in: int, nnz: int, bounded: bool, apart: bool, rng: np.random.Generator
) -> sparse.csr_array[np.float64]:
    """Random nonzeros, one for each output first; |w| in [.5, 1.5] if bounded, rows apart."""
    live = rng.permutation(n_out)[:nnz]
    first = live * n_in + rng.integers(n_in, size=len(live))
    others = np.setdiff1d(np.arange(n_out * n_in), first) if n_out * n_in < BLOCK else None
    if others is not None:
        rest = rng.choice(others, nnz - len(live), replace=False)
    else:  # too many places to list: draw, reject those that are taken
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
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    value: FloatArray,
    n_in: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Redraw neurons until every two patterns differ on MIN_SEPARATION of normal inputs.

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
            raise ValueError(
                f"separated=True: no neuron with {len(c)} of {n_in} inputs differs from the "
                f"{len(units)} before it; raise d or s, or lower m"
            )
        units.append(u)
        rows.append(np.full(len(c), j))
        cols.append(c)
        values.append(v)
    return np.concatenate(rows), np.concatenate(cols), np.concatenate(values)


def _grey_image(image: int | str | Path | NDArray[Any]) -> FloatArray:
    """Pixels in [0, 1], shape [h, w]."""
    if isinstance(image, int | np.integer):
        from sklearn.datasets import load_digits

        digits = load_digits().images
        if not 0 <= image < len(digits):
            raise ValueError(f"image={image}: expected the index of a digit, 0 to 1796")
        return np.asarray(digits[int(image)], dtype=np.float64) / 16.0
    if isinstance(image, str | Path):
        from matplotlib.image import imread

        if not Path(image).is_file():
            raise ValueError(f"image={str(image)!r}: there is no such file")
        try:
            pixels = np.asarray(imread(image))
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"image={str(image)!r}: not a readable PNG ({error})") from error
        if pixels.ndim == 3:
            colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))  # without transparency
            pixels = pixels[:, :, :colours].mean(axis=2) / (255 if pixels.dtype == np.uint8 else 1)
    else:
        pixels = np.asarray(image)
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(
            f"image of shape {pixels.shape}: expected grey values [h, w]; average the colours"
        )
    if pixels.dtype.kind == "u":
        return pixels / np.float64(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        raise ValueError(f"image of dtype {pixels.dtype}: expected uint8 or floats in [0, 1]")
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"image with values from {pixels.min()} to {pixels.max()}: expected [0, 1]; rescale it"
        )
    return pixels.astype(np.float64)
