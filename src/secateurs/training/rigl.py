"""RigL (Evci et al. 2020): a support of constant size, magnitude drop, gradient growth."""

from __future__ import annotations

import torch

from secateurs.core.losses import output_gradient
from secateurs.core.schedules import exchange_share
from secateurs.core.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense import (
    dense_forward,
    dense_gradients,
    dense_solution,
    random_dense,
    train_dense,
)
from secateurs.training.initial import erdos_renyi
from secateurs.training.training_data import TrainingData, batches

OUTPUT_SHARE = 0.3  # least share of the weights in the last layer, chosen on validation rows


def layer_counts(widths: tuple[int, ...], n_nonzero: int) -> list[int]:
    """Weights of each layer: Erdos-Renyi, but a fair part for the outputs.

    Erdos-Renyi alone would give the last layer of 784-20-10 seven of 200 weights, too few to
    tell ten classes apart; a layer of constant size could not win them back.
    """
    last = min(widths[-2] * widths[-1], int(OUTPUT_SHARE * n_nonzero))
    if len(widths) == 2 or erdos_renyi(widths, n_nonzero)[-1] >= last:
        return erdos_renyi(widths, n_nonzero)
    return [*erdos_renyi(widths[:-1], n_nonzero - last), last]


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
    """Constant `n_nonzero` weights, spread over the layers by `layer_counts`.

    In every layer the smallest weights by magnitude are replaced by as many absent ones with
    the largest gradient, a share that falls by a cosine from 30 % to 0 at 75 % of the run.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights.  Masks over dense arrays, as in its published code.
    """
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    history = History("step", "loss", "n_nonzero")
    counts = layer_counts((data.d, *hidden, data.n_outputs), n_nonzero)
    keep = []
    for W, count in zip(state.weights, counts, strict=True):
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
