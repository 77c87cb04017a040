"""Figures of recovered networks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def image_figure(
    original: NDArray[np.float64], fitted: NDArray[np.float64], psnr: float, n_nonzero: int
) -> Figure:
    """Draw an image, its fit by a network, and the difference.

    Parameters
    ----------
    original, fitted : arrays, shape [h, w]
        Grey values from 0 to 1.
    psnr : float
        In decibels.
    n_nonzero : int
        Weights of the network.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    axes = figure.subplots(1, 3)
    error = fitted - original
    limit = float(np.abs(error).max()) or 1.0
    for axis, pixels, title, low, high, colours in (
        (axes[0], original, "original", 0.0, 1.0, "gray"),
        (axes[1], fitted, f"{n_nonzero} weights, {psnr:.1f} dB", 0.0, 1.0, "gray"),
        (axes[2], error, f"difference, at most {limit:.1e}", -limit, limit, "coolwarm"),
    ):
        axis.imshow(pixels, cmap=colours, vmin=low, vmax=high)
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
    return figure
