"""RigL (Evci et al. 2020): a support of constant size, magnitude drop, gradient growth."""

from __future__ import annotations

import torch

from secateurs.solvers.data import TrainingData, batches
from secateurs.solvers.dense import (
    dense_forward,
    dense_gradients,
    dense_solution,
    random_dense,
    train_dense,
)
from secateurs.solvers.initial import erdos_renyi
from secateurs.solvers.losses import output_gradient
from secateurs.solvers.schedules import exchange_share
from secateurs.solvers.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask


def rigl(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Constant `n_nonzero` weights, spread over the layers by Erdos-Renyi.

    In every layer the smallest weights by magnitude are replaced by as many absent ones with
    the largest gradient, a share that falls by a cosine from 30 % to 0 at 75 % of the run.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights.  Masks over dense arrays, as in its published code.
    """
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    history = History()
    widths = (data.d, *hidden, data.n_outputs)
    keep = []
    for W, count in zip(state.weights, erdos_renyi(widths, n_nonzero), strict=True):
        order = torch.randperm(W[:, :-1].numel(), generator=generator)[:count]
        mask = torch.zeros(W.shape[0], W.shape[1] - 1, dtype=torch.bool)
        mask.view(-1)[order] = True
        mask = torch.cat([mask, torch.zeros(W.shape[0], 1, dtype=torch.bool)], 1)
        fan_in = mask.sum(1, keepdim=True).clamp(min=1).to(W.device)
        W.mul_((mask.shape[1] / fan_in).sqrt())  # He scale for the weights that are there
        keep.append(mask.flatten().to(W.device))
    state.set_masks(torch.cat(keep))
    units = torch.arange(data.d, device=data.device)
    score_rows = batches(data.n, 4 * batch_size, generator)

    def replace(t: int) -> None:
        share = exchange_share(t, n_steps)
        if share == 0:
            return
        rows = next(score_rows)
        H = dense_forward(state.weights, data.inputs(rows, units))
        _, D = output_gradient(H[-1], data.targets(rows))
        new = []
        for W, mask, g in zip(
            state.weights, state.masks, dense_gradients(state.weights, H, D), strict=True
        ):
            present = mask.flatten() > 0
            absent = int((~present).sum())
            k = min(int(share * int(present.sum())), absent)
            magnitude = W.abs().flatten()
            magnitude[~present] = float("inf")
            dropped = smallest_mask(magnitude, k)
            score = -g.abs().flatten()
            score[present] = float("inf")
            new.append((present & ~dropped) | smallest_mask(score, k))
        state.set_masks(torch.cat(new))

    train_dense(
        state,
        data,
        generator,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        history=history,
        progress=progress,
        at_exchange=replace,
    )
    return dense_solution(state, data, history, batch_size)
