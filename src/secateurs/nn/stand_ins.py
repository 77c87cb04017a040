"""Values in the place of large products, whose values no rule needs.

The walk over a graph asks where coordinates land, and what becomes of zeros.  The values of a
matrix product or a convolution answer neither, so fixed random numbers of the same shape serve.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from secateurs.core.torch_parts import tree_map
from secateurs.nn.rules.call import short_name

PRODUCTS = {"linear": 1, "convolution": 1, "mm": 1, "bmm": 1, "addmm": 2}  # the second factor
LEAST_WORK = 1 << 20  # multiplications; smaller products are computed
N_DRAWN = 4099


def stand_in(operation: Any, args: tuple[Any, ...]) -> Tensor | None:
    """Return a tensor of the shape of a large product; None for any other operation."""
    place = PRODUCTS.get(short_name(operation))
    if place is None or not all(isinstance(args[i], Tensor) for i in (0, place)):
        return None
    factor: Tensor = args[place]
    if factor.numel() * args[0].shape[0] < LEAST_WORK:
        return None
    shape = operation(*tree_map(_on_meta, tuple(args))).shape
    n = math.prod(shape)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(N_DRAWN, generator=generator).to(factor)
    return drawn.repeat(-(-n // N_DRAWN))[:n].view(shape)


def _on_meta(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf
