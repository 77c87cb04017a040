"""Exact recovery: recover the network behind a data set, or draw an image with few weights."""

from __future__ import annotations

import io
import math
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from secateurs.cli import recipe
from secateurs.cli.terminal import err, note, progress
from secateurs.core.description import Description, counted, format_bytes
from secateurs.core.parameters import Shown, bad_value, check_real
from secateurs.core.solution import Progress, ProgressCallback
from secateurs.data.datasets import load_dataset
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.recovery.network_estimator import SparseReLUNetworkRegressor
from secateurs.recovery.planted import image_function

BYTES_A_WEIGHT = 12  # 8 for the weight and 4 for its position
MOST_BYTES = 2_000_000_000  # of the random features of all pixels
USUAL_PIXELS = 64 * 64
QUICK_ENTRIES = 2_000_000  # features of all pixels up to which a fit takes a minute at most
SECONDS_BETWEEN_LINES = 10.0
FAR = 0.1  # relative error from which on the network found is not the one behind the data
FAR_NOTE = (
    "This is far from an exact fit. The network looked for is a sum of neurons: none is "
    "subtracted, and without --hidden and --biases none has a bias. Raise --nonzeros, or use "
    "secateurs fit, which fits tables of any origin."
)
NO_ERROR = 400.0  # dB that stand for no difference at all


def recover(
    data: str,
    /,
    *,
    nonzeros: str,
    neurons: int | None = None,
    hidden: str | None = None,
    biases: recipe.Flag = False,
    target: recipe.Target = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
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
    hidden
        Widths of one or two hidden layers, such as 20 or 10,10: for several outputs, two layers
        or biases.
    biases
        With --hidden: give every neuron of the first hidden layer a bias, which counts as a weight.
    solver
        auto, pursuit, sampling or iht; with --hidden auto, sampling or iht.
    intercept
        Add one constant to the output.
    """
    recipe.check_options(output, seed=seed, inputs=[data])
    budget = recipe.integer_or_auto("--nonzeros", nonzeros)
    options = dialect.options(roles)
    dataset = load_dataset(data, target=target, task="regression", options=options)
    model: SparseReLURegressor | SparseReLUNetworkRegressor
    if hidden is None:
        _only_with_hidden(biases=biases)
        model = SparseReLURegressor(
            budget, neurons, solver=solver, fit_intercept=intercept, random_state=seed
        )
    else:
        model = _layers(budget, hidden, neurons, intercept=intercept)
        model.set_params(fit_biases=biases, solver=solver, random_state=seed)
    with progress(quiet=json) as bar:
        rows = recipe.row_options(dataset, model)
        model.fit(_numbers(dataset.X), dataset.y, progress=bar("recovering"), **rows)
    n_held_out = len(dataset.y) - model.n_train_
    far = model.held_out_error_ is not None and model.held_out_error_ > FAR
    error = "unknown" if model.held_out_error_ is None else f"{model.held_out_error_:.2e}"
    description = recipe.describe_fit(
        model,
        f"{dataset.name}: the relative error on {counted(n_held_out, 'held-out row')} is {error}.",
        data=dataset,
        n_held_out=n_held_out,
        d=model.n_features_in_,
        neurons=model.report_["neurons"],
        held_out_error=model.held_out_error_,
    )
    if far:
        description = replace(description, notes=(*description.notes, FAR_NOTE))
    return recipe.finish(description, json=json, status=model.status_, files=[(output, model.save)])


def _only_with_hidden(*, biases: bool) -> None:
    if biases:
        raise bad_value("--biases", True, "a network with --hidden", "add --hidden WIDTH")


def _layers(
    budget: int | str, hidden: str, neurons: int | None, *, intercept: bool
) -> SparseReLUNetworkRegressor:
    """Return the estimator of networks with layers; refuse options of the sum of neurons."""
    if neurons is not None:
        raise bad_value("--neurons", neurons, "no --neurons with --hidden", "leave out one of them")
    if intercept:
        raise bad_value("--intercept", True, "no --intercept with --hidden", "use --biases")
    if not isinstance(budget, int):
        raise bad_value("--nonzeros", budget, "a number with --hidden")
    return SparseReLUNetworkRegressor(budget, recipe.integers("--hidden", hidden))


def image(
    picture: str,
    /,
    *,
    nonzeros: int,
    neurons: int = 50,
    features: int = 1500,
    sigma: float = 2.0,
    size: int | None = None,
    max_seconds: float | None = None,
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
    size
        Shrink the picture until its longer side has at most this many pixels.
    max_seconds
        Stop after about this time and draw the best network so far.
    output
        Draw the original, the fit and the error to this file (.png, .pdf, .svg).
    """
    recipe.check_options(plot=output, inputs=[picture], seed=seed, nonzeros=nonzeros, size=size)
    limit = math.inf
    if max_seconds is not None:
        limit = check_real("--max-seconds", max_seconds, above=0)
    pixels = shrunk(_grey(picture), size)
    cost = _refuse_large(picture, pixels.shape, features)
    if not json:
        note(cost)
    problem = image_function(pixels, features, sigma, random_state=seed)
    assert problem.image_shape is not None
    model = SparseReLURegressor(nonzeros, neurons, validation_fraction=0, random_state=seed)
    with progress(quiet=json) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the status says it
        clock = Clock(bar("drawing"), limit, quiet=json)
        model.fit(problem.X, problem.y, progress=clock)
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
    facts["stopped_by_time"] = clock.stopped
    status = "converged" if clock.stopped else model.status_
    return recipe.finish(description, json=json, status=status, files=[(output, draw)])


class Clock:
    """Passes progress on, says it in lines where there is no terminal, and stops in time.

    Parameters
    ----------
    shown : callable
        The callback of a bar.
    limit : float
        Seconds after which the solver is interrupted, which keeps its best result.
    quiet : bool
        Whether no lines are printed.
    """

    def __init__(self, shown: ProgressCallback, limit: float, *, quiet: bool) -> None:
        self.shown, self.limit = shown, limit
        self.quiet = quiet or err.is_terminal
        self.began = self.said = time.monotonic()
        self.stopped = False

    def __call__(self, state: Progress) -> None:
        """Take one state of the solver."""
        self.shown(state)
        now = time.monotonic()
        if not self.quiet and now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            note(
                f"{now - self.began:.0f} s: step {state.step} of at most {state.n_steps}, loss "
                f"{state.loss:.4g}, {state.n_nonzero} weights"
            )
        if now - self.began > self.limit:
            self.stopped = True
            raise KeyboardInterrupt


def _grey(picture: str) -> NDArray[np.float64]:
    """Return the grey values of a picture in [0, 1], shape [h, w]."""
    source: str | int = int(picture) if picture.isdecimal() else picture
    problem = image_function(source, 2, random_state=0)
    assert problem.image_shape is not None
    return np.asarray(problem.y.reshape(problem.image_shape))


def shrunk(pixels: NDArray[np.float64], size: int | None) -> NDArray[np.float64]:
    """Average squares of pixels until no side is longer than `size`; the edges may be cut."""
    step = 1 if size is None else math.ceil(max(pixels.shape) / size)
    h, w = (max(1, side // step) for side in pixels.shape)
    block = min(step, *pixels.shape)
    squares = pixels[: h * block, : w * block].reshape(h, block, w, block)
    return np.asarray(squares.mean(axis=(1, 3)))


def _refuse_large(picture: str, shape: tuple[int, ...], features: int) -> str:
    """Return what a fit costs; ValueError if that is more than `MOST_BYTES`."""
    h, w = shape
    n_bytes = 8 * h * w * features
    shown = f"{h} x {w} pixels, which take {format_bytes(n_bytes)} with {features} features"
    if n_bytes > MOST_BYTES:
        side = 2 ** int(math.log2(math.sqrt(USUAL_PIXELS * 1500 / max(1, features))))
        expected = f"at most {format_bytes(MOST_BYTES)}"
        do = f"shrink the picture with --size {max(1, side)}, or take fewer --features"
        raise bad_value(picture, Shown(shown), expected, do)
    large = h * w * features > QUICK_ENTRIES
    takes = "minutes; --size and" if large else "seconds to a minute;"
    return f"{shown}; the fit takes {takes} --max-seconds make{'' if large else 's'} it shorter"


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


def _numbers(X: Any) -> Any:
    """Return the columns of a table as numbers, with their names: there are no categories here."""
    if not isinstance(X, pd.DataFrame):
        return np.asarray(X)
    for name in X.columns:
        if not pd.api.types.is_numeric_dtype(X[name]):
            raise bad_value(
                *(f"column {name!r}", Shown(f"values of type {X[name].dtype}"), "numbers"),
                do=f"leave it out with --drop {name}",
            )
    return X.astype(float)
