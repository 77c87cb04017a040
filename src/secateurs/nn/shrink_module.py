"""The module's own class with smaller tensors: the form that code of the user knows.

The tensors are cut in place of the old ones.  Attributes that name a width (``out_features``,
``num_heads``, ...) follow.  Which attributes those are cannot be known for certain, so several
choices are made and the verification decides between them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from torch import Tensor, fx, nn

from secateurs.core.torch_parts import tree_leaves
from secateurs.nn.axes import Axis
from secateurs.nn.channels import BoolArray, ChannelPlan
from secateurs.nn.narrow_attention import (
    SCALE_WIDTH,
    can_be_narrow,
    keep_padded,
    make_narrow,
    narrow_sizes,
)
from secateurs.nn.shrink_graph import convolution_groups

NAMED = frozenset(
    [
        "all_head_size",
        "attention_head_size",
        "attn_dim",
        "c",
        "channels",
        "d_inner",
        "d_kv",
        "d_k",
        "d_model",
        "d_v",
        "dim",
        "dim_head",
        "dim_out",
        "embed_dim",
        "embedding_dim",
        "features",
        "groups",
        "h",
        "head_dim",
        "heads",
        "hidden_dim",
        "hidden_size",
        "in_channels",
        "in_features",
        "inner_dim",
        "input_size",
        "key_value_proj_dim",
        "kv_heads",
        "n_embd",
        "n_head",
        "n_heads",
        "n_kv_heads",
        "n_kv_head",
        "n_rep",
        "nf",
        "nhead",
        "nh",
        "num_attention_heads",
        "num_channels",
        "num_features",
        "num_groups",
        "num_heads",
        "num_key_value_groups",
        "num_key_value_heads",
        "nx",
        "out_channels",
        "out_features",
        "split_size",
        "width",
        "kdim",
        "vdim",
        "num_kv_heads",
        "attention_head_dim",
        "hidden",
        "inner",
        "attention_dim",
        "all_head_dim",
        "head_size",
        "n_hidden",
    ]
)
KNOWN = (
    nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm,
    nn.LayerNorm, nn.RNNBase, nn.RNNCellBase, nn.Embedding, nn.EmbeddingBag,
)  # fmt: skip
MOST_CHOICES = 12  # of attributes that could have become several lengths
Change = tuple[str, str, Any]  # submodule, attribute, new value


def change_sets(plan: ChannelPlan, gone: frozenset[int]) -> Iterator[list[Change]]:
    """Yield choices of the attributes that change with the widths.

    First only the layers of torch change their attributes, then also attributes whose names are
    known, then every integer that is the length of an axis that got shorter.
    """
    lengths = _lengths(plan, gone)
    layers = _of_layers(plan, gone, lengths)
    seen: list[list[Change]] = []
    for names in (frozenset[str](), NAMED, None):
        options = _of_attributes(plan, lengths, names)
        kinds = sorted({key for _, key, _ in options})
        most = {key: max(len(new) for _, k, new in options if k == key) for key in kinds}
        for choice in islice(product(*(range(most[key]) for key in kinds)), MOST_CHOICES):
            number = dict(zip(kinds, choice, strict=True))
            changes = layers + [
                (path, key, new[min(number[key], len(new) - 1)]) for path, key, new in options
            ]
            if changes not in seen:
                seen.append(changes)
                yield changes


def smaller(source: nn.Module, tensors: dict[str, Tensor], changes: list[Change]) -> nn.Module:
    """Copy a module, and give it other tensors and attributes."""
    module = copy.deepcopy(source)
    replace_tensors(module, tensors)
    for path, attribute, value in changes:
        change_attribute(module.get_submodule(path), attribute, value)
    keep_padded(module)
    return module


def change_attribute(child: nn.Module, attribute: str, value: Any) -> None:
    """Set an attribute that follows the widths; attention can become narrow by it."""
    if attribute == SCALE_WIDTH and isinstance(child, nn.MultiheadAttention):
        make_narrow(child, value)
    else:
        setattr(child, attribute, value)


def replace_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put tensors in the place of those with the same names, and of all that are tied to them."""
    new: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        owner, _, last = name.rpartition(".")
        if not _has_submodule(module, owner):
            continue  # a constant of the graph
        old = getattr(module.get_submodule(owner), last, None)
        if isinstance(old, Tensor):
            new[id(old)] = tensor
    for child in module.modules():
        stores: tuple[dict[str, Any], ...] = (child._parameters, child._buffers, vars(child))
        for store in stores:
            for name, value in list(store.items()):
                if isinstance(value, Tensor) and id(value) in new:
                    tensor = new[id(value)]
                    if isinstance(value, nn.Parameter) or name in child._buffers:
                        setattr(child, name, tensor)
                    else:
                        store[name] = tensor


def _has_submodule(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


Lengths = dict[str, dict[int, set[int]]]


def _lengths(plan: ChannelPlan, gone: frozenset[int]) -> Lengths:
    """For each submodule, the lengths of axes that it computes with, before and after."""
    found: Lengths = defaultdict(lambda: defaultdict(set))
    known: dict[int, tuple[int, int]] = {}

    def note(path: str, axis: Axis) -> None:
        key = id(axis.slots)
        if key not in known:
            known[key] = len(axis), int(plan.keep_mask(axis.slots, gone).sum())
        before, after = known[key]
        found[path][before].add(after)

    for name, axes in plan.graph_walk.parameters.items():
        for axis in axes:
            note(name.rpartition(".")[0], axis)
    for node, nested in plan.graph_walk.by_node.items():
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            for axis in _axes_in(nested):
                note(path, axis)
        for operand in node.all_input_nodes if isinstance(node, fx.Node) else ():
            for path, _ in (node.meta.get("nn_module_stack") or {}).values():
                for axis in _axes_in(plan.graph_walk.by_node.get(operand)):
                    note(path, axis)
    return found


def _axes_in(nested: Any) -> list[Axis]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, Axis)]


def _of_attributes(
    plan: ChannelPlan, lengths: Lengths, names: frozenset[str] | None
) -> list[tuple[str, str, list[Any]]]:
    """Return attributes of the user's modules with their possible new values; None: any name."""
    changes = []
    for path, child in plan.module.named_modules():
        if isinstance(child, KNOWN) or can_be_narrow(child) or type(child).__name__ == "Conv1D":
            continue
        for attribute, value in vars(child).items():
            if attribute.startswith("_") or (names is not None and attribute not in names):
                continue
            new = _shorter(value, lengths[path])
            if new:
                changes.append((path, attribute, new))
    return changes


def _of_layers(plan: ChannelPlan, gone: frozenset[int], lengths: Lengths) -> list[Change]:
    """Return the attributes of torch's own layers to change."""
    groups = convolution_groups(plan, gone)
    left = {
        name: [plan.keep_mask(axis.slots, gone) for axis in axes]
        for name, axes in plan.graph_walk.parameters.items()
    }
    changes: list[Change] = []
    for path, child in plan.module.named_modules():
        prefix = f"{path}." if path else ""
        name = f"{prefix}weight"
        weight = [int(mask.sum()) for mask in left[name]] if name in left else None
        if can_be_narrow(child):
            assert isinstance(child, nn.MultiheadAttention)
            found = narrow_sizes(child, _inside(left, prefix))
        elif isinstance(child, KNOWN):
            found = _of_layer(child, weight, lengths[path], groups.get(name, 1))
        elif type(child).__name__ == "Conv1D" and weight is not None:  # of transformers
            found = {"nx": weight[0], "nf": weight[1]}
        else:
            continue
        changes += [(path, key, v) for key, v in found.items() if vars(child).get(key) != v]
    return changes


def _inside(left: dict[str, list[BoolArray]], prefix: str) -> dict[str, list[BoolArray]]:
    return {n.removeprefix(prefix): masks for n, masks in left.items() if n.startswith(prefix)}


def _shorter(value: Any, lengths: dict[int, set[int]]) -> list[Any]:
    """Return the possible new values of an attribute that is a length, or several lengths."""
    if isinstance(value, int) and not isinstance(value, bool):
        return sorted(lengths.get(value, set()) - {value})
    if isinstance(value, tuple | list) and value and all(type(v) is int for v in value):
        new = [_shorter(v, lengths) for v in value]
        if any(new):
            return [type(value)(n[0] if n else v for v, n in zip(value, new, strict=True))]
    return []


def _only(value: int, lengths: dict[int, set[int]]) -> int:
    new = _shorter(value, lengths)
    return int(new[0]) if len(new) == 1 else value


def _of_layer(
    layer: nn.Module,
    weight: list[int] | None,
    lengths: dict[int, set[int]],
    n_groups: int,
) -> dict[str, Any]:
    """Return the attributes of a layer of torch that follow from its smaller weight."""
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        names = ("input_size", "hidden_size", "proj_size")
        sizes = {name: getattr(layer, name, 0) for name in names}
        return {name: _only(v, lengths) for name, v in sizes.items() if v}
    if isinstance(layer, nn.GroupNorm):
        n = _only(layer.num_channels, lengths)
        n = n if weight is None else weight[0]
        return {"num_channels": n, "num_groups": n // (layer.num_channels // layer.num_groups)}
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        n = _only(layer.num_features, lengths)
        return {"num_features": n if weight is None else weight[0]}
    if weight is None:
        return {}
    if isinstance(layer, nn.Linear):
        return {"out_features": weight[0], "in_features": weight[1]}
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return {"embedding_dim": weight[1]}
    if isinstance(layer, nn.modules.conv._ConvNd):
        first, second = weight[0], weight[1] * n_groups
        n_in, n_out = (first, second) if layer.transposed else (second, first)
        return {"in_channels": n_in, "out_channels": n_out, "groups": n_groups}
    return {}
