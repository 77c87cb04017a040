"""Check the data of the thresholding solvers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value

Array = NDArray[np.floating]


def checked_data(
    X: Array | Tensor,
    y: Array | Tensor,
    *,
    several_outputs: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Return X [n, d] and y [n] as tensors on the device of X, or raise ValueError.

    Parameters
    ----------
    X, y : array or Tensor
    several_outputs : bool
        Whether y may also be [n, k].
    dtype : torch.float32 or torch.float64, optional
        By default that of X, or float64 where X has another.
    """
    floats = (torch.float32, torch.float64)
    inputs, targets = torch.as_tensor(X).detach(), torch.as_tensor(y).detach()
    if dtype is None:
        dtype = inputs.dtype if inputs.dtype in floats else torch.float64
    if dtype not in floats:
        raise bad_value("dtype", dtype, "torch.float32 or torch.float64")
    outputs = (1, 2) if several_outputs else (1,)
    fits = inputs.ndim == 2 and targets.ndim in outputs and len(inputs) == len(targets)
    if not fits or not len(inputs):
        shown = Shown(f"shapes {tuple(inputs.shape)} and {tuple(targets.shape)}")
        if several_outputs:
            raise bad_value("X and y", shown, "shapes [n, d] and [n] or [n, k] with n >= 1")
        do = "use iht_network for several outputs"
        raise bad_value("X and y", shown, "shapes [n, d] and [n] with n >= 1", do)
    inputs, targets = inputs.to(dtype), targets.to(device=inputs.device, dtype=dtype)
    for name, tensor in (("X", inputs), ("y", targets)):
        if not bool(torch.isfinite(tensor).all()):
            shown = Shown("infinite or NaN values")
            raise bad_value(name, shown, "finite numbers", "remove or impute those rows")
    return inputs, targets
