"""The loss of a batch and its derivative at the outputs, for all trainers."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor


def output_loss(
    Z: Tensor, target: Tensor, n: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    Z : Tensor, shape [k, B]
        Outputs of the network, one column for each row of the batch.
    target : Tensor, shape [B] int64 or [k, B] float
        Class numbers give the softmax cross-entropy, floats half the squared error.
    n : int, optional
        Rows of the whole batch, where these B rows are the part of one process.
    weights : Tensor, shape [B], optional
        What each row counts for; 1 by default.

    Returns
    -------
    Tensor, 0-d
        Weighted sum over these rows divided by `n`, which is B by default.
    """
    if target.ndim == 1:
        losses = torch.log_softmax(Z, 0).gather(0, target[None]).neg_()
    else:
        losses = (Z - target).square_().mul_(0.5)
    total = losses.sum() if weights is None else (losses * weights).sum()
    return total.div_(Z.shape[1] if n is None else n)


def output_derivative(Z: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the derivative of the sum of the losses of a batch, which is not divided by its rows.

    Parameters
    ----------
    Z, target, weights : Tensor
        As in `output_loss`.

    Returns
    -------
    Tensor, shape [k, B]
        d (weighted sum of the losses) / d Z.
    """
    if target.ndim == 1:
        minus_one = _minus_one(Z.dtype, Z.device).expand(1, len(target))
        D = torch.softmax(Z, 0).scatter_add_(0, target[None], minus_one)  # p - one-hot
    else:
        D = Z - target
    return D if weights is None else D.mul_(weights)


@cache
def _minus_one(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(-1.0, dtype=dtype, device=device)


def check_finite(loss: float, step: int) -> float:
    """Return the loss, or raise FloatingPointError where training has diverged."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"training diverged at step {step}: the loss is {loss}; "
            "lower learning_rate or scale the inputs"
        )
    return loss
