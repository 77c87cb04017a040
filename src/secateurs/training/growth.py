"""Find the absent weights that a score test says would lower the loss the most.

With the gradient g of one row with respect to an absent weight,

    score = (mean g)^2 / (mean g^2 + DAMPING * the mean of mean g^2 over the layer)     (1)

is, up to a factor, Rao's test of the hypothesis that the weight is 0.  Unlike |mean g| it does
not change when an input, a unit or the loss is rescaled.  Both means are products of matrices:
g is the derivative at the unit above times the activation of the unit below.

No array of the size of a dense layer is formed: the scores of a layer are computed block by block,
and a streaming top-k keeps the largest ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from secateurs.core.losses import output_derivative
from secateurs.sparse.compact import CompactNetwork, pieces
from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.topk import StreamingTopK
from secateurs.training.training_data import Rows, TrainingData, row_pieces

DAMPING = 1e-3
TINY = 1e-30  # keeps the score of a weight without any gradient at 0
SCORE_ENTRIES = 1 << 17  # inputs of a block of scores: columns times rows
NARROWEST, WIDEST = 32, 1024  # columns of a block
SCORE_ROWS = 1024  # rows of a block of scores
FORWARD_ROWS = 256  # rows that are read together


def score_width(n_rows: int) -> int:
    """Return the columns of a block of scores over so many rows."""
    return min(WIDEST, max(NARROWEST, SCORE_ENTRIES // n_rows))


def best_absent(net: CompactNetwork, data: TrainingData, rows: Rows, k: int) -> list[Tensor]:
    """Return the keys of the k absent weights with the largest score (1), over all layers.

    The gate of a unit without weights is taken as open, so that the unit can be connected again.

    Parameters
    ----------
    net : CompactNetwork
    data : TrainingData
    rows : Tensor int64, or a slice of the copy
        Rows over which gradients are averaged, together with the rows of the other processes.
    k : int

    Returns
    -------
    list of Tensor of int32 or int64, one for each layer
        Sorted keys.

    Notes
    -----
    Costs 4 * len(rows) * (live units) * d flops; the blocks hold at most 1024 x 1024 scores.
    Source: Rao's score test; its use for growing weights is secateurs'.
    """
    sizes = [(net.widths[i] + 1) * net.widths[i + 1] for i in range(net.n_layers)]
    offsets = np.cumsum([0, *sizes]).tolist()
    top = StreamingTopK(k, data.device, n_keys=offsets[-1] + 1)
    if k > 0:
        H = _hidden_activations(net, data, rows)
        D = output_derivative(H[-1], data.targets(rows), data.weights(rows))
        for layer in range(net.n_layers - 1, -1, -1):
            _score_layer(net, layer, D, H[layer], data, rows, offsets[layer], top)
            if layer:
                D = net.matrices[layer].transpose_product(D)
                shut = H[layer] <= 0
                shut &= (net.crows[layer - 1].diff() > 0)[:, None]
                D.masked_fill_(shut, 0.0)
                del shut
    keys = top.keys()
    bounds = torch.tensor(offsets, dtype=keys.dtype, device=keys.device)
    cuts = torch.searchsorted(keys, bounds).tolist()
    return [keys[cuts[i] : cuts[i + 1]].sub_(offsets[i]) for i in range(net.n_layers)]


def _hidden_activations(net: CompactNetwork, data: TrainingData, rows: Rows) -> list[Tensor]:
    """Return the activations of each layer; of the inputs only the constant 1, shape [1, n].

    The rows are read in pieces, so that their inputs are never in memory together.
    """
    parts = []
    for piece in row_pieces(rows, FORWARD_ROWS):
        H = net.forward(data.inputs(piece, net.units[0]))
        parts.append([H[0][-1:].clone(), *H[1:]])
    return [torch.cat(of_layer, dim=1) for of_layer in zip(*parts, strict=True)]


def _score_layer(
    net: CompactNetwork,
    layer: int,
    D: Tensor,
    H: Tensor,
    data: TrainingData,
    rows: Rows,
    offset: int,
    top: StreamingTopK,
) -> None:
    """Offer the scores of one layer, with 0 on its support, to `top` in blocks.

    `D` has the derivatives of the losses of single rows, so that the sums of (1) need no factor.
    """
    n_in = net.widths[layer]
    row_keys = offset + net.units[layer + 1] * (n_in + 1)
    constant = torch.tensor([n_in], device=D.device)
    nominal = torch.cat([net.units[layer], constant])  # compact column -> nominal column
    matrix = net.matrices[layer]
    D = D[: len(row_keys)]  # without the constant unit
    squares = D.square()
    # Scaled inputs have a mean square of about 1, so a pass over all inputs is not needed for it.
    of_inputs = 1.0 if layer == 0 else H.square().mean(dim=0)
    damping = DAMPING * float(data.group.sum_((squares.mean(dim=0) * of_inputs).sum())) + TINY
    blocks: Iterable[tuple[Tensor, Tensor]] = [(nominal, H)]
    if layer == 0:  # all inputs are scored, also those that the network does not read
        every_input = (
            (torch.arange(start, start + len(block), device=D.device), block)
            for start, block in data.column_blocks(rows, score_width(H.shape[1]))
        )
        blocks = chain([(constant, H)], every_input)
    for columns, block in blocks:
        for a in range(0, len(row_keys), SCORE_ROWS):
            part = slice(a, min(a + SCORE_ROWS, len(row_keys)))
            G = data.group.sum_(D[part] @ block.t()).square_()
            G.div_(data.group.sum_(squares[part] @ block.square().t()).add_(damping))
            _clear_support(G, matrix, part, columns, nominal)
            top.update(G, row_keys[part], columns)
            del G  # before the next one is computed


def _clear_support(
    G: Tensor, matrix: SparseMatrix, rows: slice, columns: Tensor, nominal: Tensor
) -> None:
    """Set the scores of the weights that are present to 0."""
    first, last = int(columns[0]), int(columns[-1])
    for piece in pieces(int(matrix.crow[rows.stop]), int(matrix.crow[rows.start])):
        present = nominal[matrix.col[piece].long()]
        inside = (present >= first) & (present <= last)
        at = torch.searchsorted(columns, present[inside])
        G[matrix.rows_of(piece)[inside] - rows.start, at] = 0.0
