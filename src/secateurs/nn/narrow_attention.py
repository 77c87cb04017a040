"""nn.MultiheadAttention whose heads need not add up to the width of the stream.

torch ties the two: the width of a head is the width of the stream over the number of heads.  After
heads, or positions inside heads, are removed this no longer holds, so the layer changes its class
to the one below.  Its parameters keep their names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from secateurs.nn.channels import BoolArray

SCALE_WIDTH = "scale_width"  # the attribute that makes a layer narrow
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


class NarrowAttention(nn.MultiheadAttention):
    """Attention with any number of heads of any width; it is made by `make_narrow` only.

    Attributes
    ----------
    scale_width : int
        The width of a head before it was cut; scores are divided by its square root.
    """

    scale_width: int

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute what `nn.MultiheadAttention` computes, with the same arguments."""
        if is_causal and attn_mask is None:
            raise RuntimeError("attn_mask: got None with is_causal=True; expected the causal mask")
        batched = query.ndim == 3
        streams = [query, key, value]
        if not batched:
            streams = [x.unsqueeze(0) for x in streams]
        elif not self.batch_first:
            streams = [x.transpose(0, 1) for x in streams]
        q, k, v = (
            torch.unflatten(F.linear(x, weight, bias), -1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip(streams, *self._projections(), strict=True)
        )
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        scale, dropout = self.scale_width**-0.5, self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * scale) @ k.transpose(-2, -1)
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            weights = F.dropout(weights, dropout)
            mixed = weights @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projections(self) -> tuple[list[Tensor], list[Tensor | None]]:
        joint: Tensor | None = self.in_proj_weight
        if joint is not None:
            weights = list(joint.chunk(3))
        else:
            weights = [getattr(self, name) for name in SEPARATE]
        bias: Tensor | None = self.in_proj_bias
        if bias is None:
            return weights, [None] * 3
        return weights, list(torch.split(bias, [len(weight) for weight in weights]))

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """Return one mask to add to the scores [rows, heads, queries, keys]."""
        total = None
        if mask is not None:
            total = _added(mask, q.dtype)
            if mask.ndim == 3:  # one for each row and head that is left
                total = total.view(len(q), self.num_heads, q.shape[2], k.shape[2])
        if padding is not None:
            rows = _added(padding, q.dtype).view(len(k), 1, 1, k.shape[2])
            total = rows if total is None else total + rows
        return total


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as numbers to add: bool masks forbid where they are true."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def make_narrow(layer: nn.MultiheadAttention, scale_width: int) -> None:
    """Let a layer, whose tensors were cut, compute with the heads that it has left."""
    layer.__class__ = NarrowAttention
    # the fused layers of nn.TransformerEncoder assume widths that fit, unless they read this
    layer._qkv_same_embed_dim = False
    setattr(layer, SCALE_WIDTH, scale_width)


def can_be_narrow(module: nn.Module) -> bool:
    """Whether this is torch's own layer; a subclass of a user may compute something else."""
    return type(module) in (nn.MultiheadAttention, NarrowAttention)


def keep_padded(module: nn.Module) -> None:
    """Let encoders with narrow attention pass padded rows on, and no nested tensors."""
    for encoder in module.modules():
        if isinstance(encoder, nn.TransformerEncoder) and any(
            isinstance(child, NarrowAttention) for child in encoder.modules()
        ):
            encoder.use_nested_tensor = False


def narrow_sizes(layer: nn.MultiheadAttention, left: dict[str, list[BoolArray]]) -> dict[str, Any]:
    """Return the attributes of the layer that follow from what its weights have left.

    Parameters
    ----------
    layer : nn.MultiheadAttention
    left : dict of str to list of bool array
        For each parameter and axis, the coordinates that stay.

    Returns
    -------
    dict of str to int
        Empty if the layer stays as it is, or cannot be made narrow.
    """
    if "out_proj.weight" not in left:
        return {}  # the layer is not used
    heads = left["out_proj.weight"][1].reshape(layer.num_heads, -1).any(1)
    width = int(left["out_proj.weight"][0].sum())
    readers = {
        name: int(left[key][1].sum())
        for name, key in (("kdim", "k_proj_weight"), ("vdim", "v_proj_weight"))
        if key in left
    }
    found = {"embed_dim": width, **(readers or {"kdim": width, "vdim": width})}
    is_whole = all(mask.all() for masks in left.values() for mask in masks)
    if is_whole or layer.bias_k is not None or layer.add_zero_attn:
        return {}
    n_heads = int(heads.sum())
    inside = int(left["out_proj.weight"][1].sum()) // n_heads
    scale_width = getattr(layer, SCALE_WIDTH, layer.head_dim)
    return {**found, "num_heads": n_heads, "head_dim": inside, SCALE_WIDTH: scale_width}
