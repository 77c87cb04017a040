"""The loss of a batch and its gradient at the outputs, for all trainers."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def output_gradient(
    Z: Tensor, target: Tensor, n: int | None = None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch and its derivative at the outputs.

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
    loss : Tensor, 0-d
        Weighted sum over these rows divided by `n`, which is B by default.
    D : Tensor, shape [k, B]
        d loss / d Z.
    """
    B = Z.shape[1] if n is None else n
    if target.ndim == 1:
        D = torch.log_softmax(Z, 0)
        index = target[None]
        losses = D.gather(0, index)
        loss = (losses if weights is None else losses * weights).sum().mul_(-1 / B)
        D.exp_().scatter_(0, index, -1.0, reduce="add")  # p - one-hot
        return loss, D.mul_(1 / B if weights is None else weights / B)
    D = Z - target
    if weights is None:
        return 0.5 * D.square().sum() / B, D.div_(B)
    return 0.5 * (D.square() * weights).sum() / B, D.mul_(weights / B)


def check_finite(loss: float, step: int) -> float:
    """Return the loss, or raise FloatingPointError where training has diverged."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"training diverged at step {step}: the loss is {loss}; "
            "lower learning_rate or scale the inputs"
        )
    return loss
