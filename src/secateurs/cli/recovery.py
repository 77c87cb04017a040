"""Exact recovery: recover a planted network, draw an image with few weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from matplotlib.image import imsave
from numpy.typing import NDArray

from secateurs.cli.common import (
    INTERRUPTED,
    UsageError,
    check_outputs,
    check_seed,
    integers,
    out,
    print_certificate,
    print_json,
    print_written,
    progress,
    size,
)
from secateurs.core.figures import save_figure
from secateurs.data.datasets import load_dataset
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.recovery.figures import image_figure
from secateurs.recovery.planted import image_function


def recover(
    data: str,
    /,
    *,
    nonzeros: str,
    neurons: int | None = None,
    target: str | None = None,
    solver: str = "auto",
    intercept: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find the sparse ReLU network y = sum relu(w.x) behind a data set.

    Parameters
    ----------
    data
        An .npz archive with X and y, or a table of numbers (.csv, .parquet).
    nonzeros
        The budget: nonzero weights of all neurons together; or auto.
    neurons
        Most neurons; as many as weights when not given.
    target
        Target column of a table.
    solver
        auto, pursuit or iht.
    intercept
        Add one constant to the output.
    seed
        Of the random numbers.
    output
        Write the model to this file (.safetensors).
    json
        Print one JSON object instead of text.
    """
    check_outputs(output, None)
    check_seed(seed)
    budget: int | str = "auto" if nonzeros == "auto" else _one("--nonzeros", nonzeros)
    dataset = load_dataset(data, target=target, task="regression")
    model = SparseReLURegressor(
        budget, neurons, solver=solver, fit_intercept=intercept, random_state=seed
    )
    with progress(quiet=json) as show:
        model.fit(_numbers(dataset.X), dataset.y, progress=show("recovering"))
    if output is not None:
        model.save(output)
    record: dict[str, Any] = {
        "dataset": dataset.name,
        "n_train": model.n_train_,
        "n_held_out": len(dataset.y) - model.n_train_,
        "d": model.n_features_in_,
        "budget": model.budget_,
        "nonzeros": model.n_nonzero_,
        "neurons": model.report_["neurons"],
        "intercept": model.intercept_,
        "status": model.status_,
        "solver": model.solver_,
        "held_out_error": model.held_out_error_,
        "seconds": model.report_["seconds"],
        "file_bytes": model.report_["file_bytes"],
        "certificate": model.certificate_.to_list(),
    }
    if json:
        print_json(record)
    else:
        error = model.held_out_error_
        out.print(
            f"{dataset.name}: {model.status_} by {model.solver_}, {model.n_nonzero_} weights of "
            f"{model.budget_} in {record['neurons']} neurons, relative error on "
            f"{record['n_held_out']} held-out rows {'unknown' if error is None else f'{error:.2e}'}"
            f", {model.report_['seconds']:.1f} s"
        )
        print_certificate(model.certificate_)
        print_written(output)
    return INTERRUPTED if model.status_ == "interrupted" else 0


def image(
    picture: str,
    /,
    *,
    nonzeros: int,
    neurons: int = 50,
    features: int = 1500,
    sigma: float = 2.0,
    seed: int = 0,
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Draw an image with few weights: a network from pixel places to grey values.

    Parameters
    ----------
    picture
        A PNG file (colours are averaged), or the number of a built-in 8 x 8 digit (0 to 1796).
    nonzeros
        The budget: nonzero weights.
    neurons
        Most neurons.
    features
        Random Fourier features of a pixel's place.
    sigma
        Their spread, in cycles over half the image.
    seed
        Of the features and the fit.
    output
        Draw original, fit and error to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of text.
    """
    check_outputs(None, output)
    check_seed(seed)
    if nonzeros < 1:
        raise UsageError(f"--nonzeros {nonzeros}: expected an integer >= 1")
    source: str | int = int(picture) if picture.isdecimal() else picture
    problem = image_function(source, features, sigma, random_state=seed)
    assert problem.image_shape is not None
    model = SparseReLURegressor(nonzeros, neurons, validation_fraction=0, random_state=seed)
    with progress(quiet=json) as show:
        model.fit(problem.X, problem.y, progress=show("drawing"))
    original = problem.y.reshape(problem.image_shape)
    fitted = model.predict(problem.X).reshape(problem.image_shape)
    psnr = decibels(original, fitted)
    if output is not None:
        save_figure(image_figure(original, fitted, psnr, model.n_nonzero_), output)
    record: dict[str, Any] = {
        "picture": picture,
        "shape": list(problem.image_shape),
        "budget": nonzeros,
        "nonzeros": model.n_nonzero_,
        "neurons": model.report_["neurons"],
        "psnr": psnr,
        "status": model.status_,
        "solver": model.solver_,
        "seconds": model.report_["seconds"],
        "weights_bytes": 12 * model.n_nonzero_,
        "png_bytes": len(png_bytes(original)),
    }
    if json:
        print_json(record)
    else:
        out.print(
            f"{picture}: {psnr:.1f} dB with {model.n_nonzero_} weights ({model.status_} by "
            f"{model.solver_}, {model.report_['seconds']:.1f} s); {size(12 * model.n_nonzero_)} of "
            f"weights and places against {size(record['png_bytes'])} as PNG"
        )
        print_written(output)
    return INTERRUPTED if model.status_ == "interrupted" else 0


def decibels(original: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio; 400 stands for no difference at all."""
    error = float(np.mean((original - fitted) ** 2))
    peak = float(np.abs(original).max())
    return 400.0 if error == 0 else min(400.0, 20 * np.log10(peak) - 10 * np.log10(error))


def png_bytes(pixels: NDArray[np.float64]) -> bytes:
    """The image as an 8-bit grey PNG."""
    stream = io.BytesIO()
    imsave(stream, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return stream.getvalue()


def _one(option: str, text: str) -> int:
    numbers = integers(option, text)
    if len(numbers) != 1:
        raise UsageError(f"{option} {text!r}: expected one integer >= 1, or auto")
    return numbers[0]


def _numbers(X: Any) -> NDArray[Any]:
    """Columns of a table as numbers; categories have no place in an exact problem."""
    if not isinstance(X, pd.DataFrame):
        return np.asarray(X)
    wrong = [name for name in X.columns if not pd.api.types.is_numeric_dtype(X[name])]
    if wrong:
        raise UsageError(f"column {wrong[0]!r} does not hold numbers; leave it out")
    return X.to_numpy(dtype=float)
