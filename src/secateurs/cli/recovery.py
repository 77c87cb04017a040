"""Exact recovery: recover the network behind a data set, or draw an image with few weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.description import Description, format_bytes
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.datasets import load_dataset
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.recovery.planted import image_function

BYTES_A_WEIGHT = 12  # 8 for the weight and 4 for its position
NO_ERROR = 400.0  # dB that stand for no difference at all


def recover(
    data: str,
    /,
    *,
    nonzeros: str,
    neurons: int | None = None,
    target: recipe.Target = None,
    solver: str = "auto",
    intercept: recipe.Flag = False,
    seed: recipe.Seed = 0,
    output: recipe.ModelFile = None,
    json: recipe.Json = False,
) -> int:
    """Find the sparse ReLU network y = sum relu(w.x) behind a data set.

    Parameters
    ----------
    data
        An .npz archive with X and y, or a table of numbers (.csv, .parquet).
    nonzeros
        The budget: the most weights of all neurons together; or auto.
    neurons
        The most neurons; by default as many as weights.
    solver
        auto, pursuit or iht.
    intercept
        Add one constant to the output.
    """
    recipe.check_options(output, seed=seed, inputs=[data])
    budget = recipe.integer_or_auto("--nonzeros", nonzeros)
    dataset = load_dataset(data, target=target, task="regression")
    model = SparseReLURegressor(
        budget, neurons, solver=solver, fit_intercept=intercept, random_state=seed
    )
    with progress(quiet=json) as bar:
        model.fit(_numbers(dataset.X), dataset.y, progress=bar("recovering"))
    n_held_out = len(dataset.y) - model.n_train_
    error = "unknown" if model.held_out_error_ is None else f"{model.held_out_error_:.2e}"
    description = recipe.describe_fit(
        model,
        f"{dataset.name}: the relative error on {n_held_out} held-out rows is {error}.",
        dataset=dataset.name,
        n_held_out=n_held_out,
        d=model.n_features_in_,
        neurons=model.report_["neurons"],
        held_out_error=model.held_out_error_,
    )
    return recipe.finish(description, json=json, status=model.status_, files=[(output, model.save)])


def image(
    picture: str,
    /,
    *,
    nonzeros: int,
    neurons: int = 50,
    features: int = 1500,
    sigma: float = 2.0,
    seed: recipe.Seed = 0,
    output: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Draw an image with few weights: a network that maps pixel positions to grey values.

    Parameters
    ----------
    picture
        A PNG file (colours are averaged), or the number of a built-in 8 x 8 digit (0 to 1796).
    nonzeros
        The budget: the most weights.
    neurons
        The most neurons.
    features
        Number of random Fourier features of the position of a pixel.
    sigma
        Standard deviation of their frequencies, in cycles over half the image.
    output
        Draw the original, the fit and the error to this file (.png, .pdf, .svg).
    """
    recipe.check_options(plot=output, inputs=[picture], seed=seed, nonzeros=nonzeros)
    source: str | int = int(picture) if picture.isdecimal() else picture
    problem = image_function(source, features, sigma, random_state=seed)
    assert problem.image_shape is not None
    model = SparseReLURegressor(nonzeros, neurons, validation_fraction=0, random_state=seed)
    with progress(quiet=json) as bar:
        model.fit(problem.X, problem.y, progress=bar("drawing"))
    original = problem.y.reshape(problem.image_shape)
    fitted = model.predict(problem.X).reshape(problem.image_shape)
    psnr = decibels(original, fitted)
    facts: dict[str, Any] = {
        "picture": picture,
        "shape": list(problem.image_shape),
        "budget": nonzeros,
        "nonzeros": model.n_nonzero_,
        "neurons": model.report_["neurons"],
        "psnr": psnr,
        "status": model.status_,
        "solver": model.solver_,
        "seconds": model.report_["seconds"],
        "weights_bytes": BYTES_A_WEIGHT * model.n_nonzero_,
        "png_bytes": len(png_bytes(original)),
    }
    headline = (
        f"{picture}: {psnr:.1f} dB with {model.n_nonzero_} weights; status {model.status_}, "
        f"solver {model.solver_}, {facts['seconds']:.1f} s. The weights and their positions take "
        f"{format_bytes(facts['weights_bytes'])}; the PNG file takes "
        f"{format_bytes(facts['png_bytes'])}."
    )
    draw = recipe.drawing("recovery:image_figure", original, fitted, psnr, model.n_nonzero_)
    description = Description(headline, facts)
    return recipe.finish(description, json=json, status=model.status_, files=[(output, draw)])


def decibels(original: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """Return the peak signal-to-noise ratio, at most `NO_ERROR`."""
    error = float(np.mean((original - fitted) ** 2))
    peak = float(np.abs(original).max())
    if error == 0:
        return NO_ERROR
    return float(min(NO_ERROR, 20 * np.log10(peak) - 10 * np.log10(error)))


def png_bytes(pixels: NDArray[np.float64]) -> bytes:
    """Return the image as an 8-bit grey PNG file."""
    from matplotlib.image import imsave  # noqa: PLC0415 (only `image` waits for matplotlib)

    stream = io.BytesIO()
    imsave(stream, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return stream.getvalue()


def _numbers(X: Any) -> NDArray[Any]:
    """Return the columns of a table as numbers: an exact problem has no categories."""
    if not isinstance(X, pd.DataFrame):
        return np.asarray(X)
    for name in X.columns:
        if not pd.api.types.is_numeric_dtype(X[name]):
            raise bad_value(
                *(f"column {name!r}", Shown(f"values of type {X[name].dtype}"), "numbers"),
                do="leave the column out",
            )
    return X.to_numpy(dtype=float)
