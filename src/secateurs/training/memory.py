"""A model of the memory that training takes beyond the data, for `report_["peak_bytes"]`.

torch cannot report the peak of its CPU allocator: only its profiler sees allocations, and it
slows training down several times.  So the peak is computed as the sum of the arrays that exist at
the same time.  tests/training/test_memory.py compares it with the profiler.
"""

from __future__ import annotations

from torch import Tensor

from secateurs.core.schedules import FIRST_EXCHANGE
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.matrix import BLOCK
from secateurs.sparse.topk import SLACK, SLACK_SHARE
from secateurs.training.growth import FORWARD_ROWS, SCORE_ROWS, score_width

STATE_BYTES = 17  # for each weight: value, column, two moments, age
TRANSPOSE_BYTES = 8  # for each weight above the first layer
UPDATE_BYTES = 2  # for each weight while the support changes, and `KEY_BYTES` for each that grows
KEY_BYTES = 4
CANDIDATE_BYTES = 8  # for each absent weight that may grow: score and key
SCORE_COPIES = 2  # arrays of the size of a block of scores while it is computed and searched
DENSE_BYTES = 16  # for each weight: value, gradient, two moments
FLOAT = 4  # bytes


def sparse_peak_bytes(net: CompactNetwork, d: int, batch_size: int, n_score: int) -> int:
    """Return the peak of `prune_regrow`: that of a step, of scoring or of a change of support.

    Parameters
    ----------
    net : CompactNetwork
    d : int
        Number of inputs.
    batch_size, n_score : int
        Rows of a batch, and rows that score absent weights.
    """
    crows = 8 * sum(crow.numel() for crow in net.crows)
    units = 8 * sum(len(u) for u in net.units)
    upper = [matrix.nnz for matrix in net.matrices[1:]]
    # the gradient of one piece, and a block of the values of each transpose
    blocks = FLOAT * (max(len(g) for g in net.gradients) + sum(min(n, BLOCK) for n in upper))
    indices = FLOAT * net.nnz if len(net.pieces) == 1 else 0  # of the ages
    room = net.values.untyped_storage().nbytes() // FLOAT
    kept = STATE_BYTES * room + TRANSPOSE_BYTES * sum(upper) + blocks + indices + crows + units
    n_grown = int(FIRST_EXCHANGE * net.nnz)
    n_used = len(net.units[0])
    live = FLOAT * sum(len(u) + 1 for u in net.units)  # all activations of one row
    hidden = live - FLOAT * (n_used + 1)
    gather = FLOAT * _gathered(n_used, d)
    step = batch_size * (live + hidden + gather)
    width = min(score_width(n_score), d)
    widest = max(len(u) for u in net.units[1:])
    block = FLOAT * width * (4 * n_score + SCORE_COPIES * min(widest, SCORE_ROWS))
    # activations of the hidden units, twice while they are joined; derivatives and their squares
    forward = min(FORWARD_ROWS, n_score) * (live + gather)
    score = n_score * (3 * hidden + hidden // 4) + max(block, forward)
    score += CANDIDATE_BYTES * (n_grown + max(n_grown // SLACK_SHARE, SLACK))
    update = UPDATE_BYTES * net.nnz + KEY_BYTES * n_grown
    return kept + max(step, score, update)


def _gathered(count: int, d: int) -> int:
    """Return the entries of a row that are read to load `count` of its d inputs."""
    return d if count * 8 >= d else count


def dense_peak_bytes(weights: list[Tensor], *, masked: bool, batch_size: int) -> int:
    """Return the peak of a training step of the dense trainers.

    The scores of `gradual` and `rigl` are not counted; they can nearly double the peak.

    Parameters
    ----------
    weights : list of Tensor, shapes [n_out, n_in + 1]
    masked : bool
        Whether some weights are masked, so that a step reads the masks.
    batch_size : int
    """
    sizes = [W.numel() for W in weights]
    # the update needs a temporary array of the size of the largest layer
    arrays = DENSE_BYTES * sum(sizes) + FLOAT * max(sizes) + FLOAT * sum(sizes) * masked
    live = sum(W.shape[1] for W in weights) + weights[-1].shape[0]
    d = weights[0].shape[1] - 1
    return arrays + FLOAT * batch_size * (2 * live + d)
