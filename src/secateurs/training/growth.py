"""Find the absent weights with the largest gradient, in blocks of scores.

No array of the size of a dense layer is formed: the scores of a layer are computed block by block,
and a streaming top-k keeps the largest ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from secateurs.core.losses import output_gradient
from secateurs.sparse.compact import CompactNetwork, pieces
from secateurs.sparse.topk import StreamingTopK
from secateurs.training.training_data import TrainingData

SCORE_WIDTH = 1024  # columns of a block of scores
SCORE_ROWS = 1024  # rows of a block of scores


def best_absent(net: CompactNetwork, data: TrainingData, rows: Tensor, k: int) -> list[Tensor]:
    """Return the keys of the k absent weights with the largest gradient, over all layers.

    The gate of a unit without weights is taken as open, so that the unit can be connected again.

    Parameters
    ----------
    net : CompactNetwork
    data : TrainingData
    rows : Tensor int64
        Rows over which the gradient is averaged, together with the rows of the other processes.
    k : int

    Returns
    -------
    list of Tensor int64, one for each layer
        Sorted keys.

    Notes
    -----
    Costs 2 * len(rows) * (live units) * d flops; the blocks hold at most 1024 x 1024 scores.
    """
    top = StreamingTopK(k, data.device)
    sizes = [(net.widths[i] + 1) * net.widths[i + 1] for i in range(net.n_layers)]
    offsets = np.cumsum([0, *sizes]).tolist()
    if k > 0:
        n_rows = int(data.group.total(len(rows)))
        H = net.forward(data.inputs(rows, net.units[0]))
        _, D = output_gradient(H[-1], data.targets(rows), n_rows, data.weights(rows))
        for layer in range(net.n_layers - 1, -1, -1):
            _score_layer(net, layer, D, H[layer], data, rows, offsets[layer], top)
            if layer:
                D = net.matrices[layer].transpose_product(D)
                shut = H[layer] <= 0
                shut &= (net.crows[layer - 1].diff() > 0)[:, None]
                D.masked_fill_(shut, 0.0)
                del shut
    keys = top.keys()
    cuts = torch.searchsorted(keys, torch.tensor(offsets, device=keys.device)).tolist()
    return [keys[cuts[i] : cuts[i + 1]] - offsets[i] for i in range(net.n_layers)]


def _score_layer(
    net: CompactNetwork,
    layer: int,
    D: Tensor,
    H: Tensor,
    data: TrainingData,
    rows: Tensor,
    offset: int,
    top: StreamingTopK,
) -> None:
    """Offer |D H^T| of one layer, with 0 on its support, to `top` in blocks."""
    n_in = net.widths[layer]
    row_keys = offset + net.units[layer + 1] * (n_in + 1)
    constant = torch.tensor([n_in], device=D.device)
    nominal = torch.cat([net.units[layer], constant])  # compact column -> nominal column
    matrix = net.matrices[layer]
    blocks: Iterable[tuple[Tensor, Tensor]] = [(nominal, H)]
    if layer == 0:  # all inputs are scored, also those that the network does not read
        every_input = (
            (torch.arange(start, start + len(block), device=D.device), block)
            for start, block in data.column_blocks(rows, SCORE_WIDTH)
        )
        blocks = chain([(constant, H[-1:])], every_input)
    for columns, block in blocks:
        first, last = int(columns[0]), int(columns[-1])
        for a in range(0, len(row_keys), SCORE_ROWS):
            b = min(a + SCORE_ROWS, len(row_keys))
            G = data.group.sum_(D[a:b] @ block.t()).abs_()
            for piece in pieces(int(matrix.crow[b]), int(matrix.crow[a])):
                present = nominal[matrix.col[piece].long()]
                inside = (present >= first) & (present <= last)
                at = torch.searchsorted(columns, present[inside])
                G[matrix.rows_of(piece)[inside] - a, at] = 0.0
            top.update(G, row_keys[a:b], columns)
