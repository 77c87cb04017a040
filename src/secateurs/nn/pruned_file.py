"""The file of a pruned module: tensors and JSON in safetensors, with a checksum and no pickle.

state/NAME     the tensors of the smaller module
kept/GROUP     the channels that stay
input/NUMBER   the example inputs, and output/NUMBER what the module makes of them (graphs)
record         form, class, attributes that changed, shapes before, dtypes, checksum
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from secateurs.core.archive import archive_bytes
from secateurs.core.atomic_write import write_atomically
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.torch_parts import tree_leaves
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.pruned_graph import PrunedGraph
from secateurs.nn.shrink_graph import cut_tensors

KIND = "pruned module"
Value = int | list[int]


class Record(BaseModel, extra="forbid"):
    """The JSON of the file."""

    kind: str
    form: str
    class_name: str
    training: bool
    changes: list[tuple[str, str, Value]]
    shapes: dict[str, list[int]]
    dtypes: dict[str, str]
    args: list[Any]
    kwargs: dict[str, Any]
    checksum: str


def save_pruned(
    path: str | Path,
    module: nn.Module,
    plan: ChannelPlan,
    kept: Mapping[str, NDArray[np.int64]],
    form: str,
    changes: Iterable[tuple[str, str, Any]],
) -> None:
    """Write a pruned module to a file.

    Parameters
    ----------
    path : str or Path
    module : nn.Module
        The smaller module.
    plan : ChannelPlan
    kept : dict of str to int64 array
    form : str
    changes : iterable of (submodule, attribute, value)

    Raises
    ------
    ValueError
        The form is "graph", and the example inputs are nested.
    OSError
    """
    state = state_tensors(module)
    if form == "class":  # constants and buffers that no state dict has
        names = set(cut_tensors(plan, plan.gone(kept), plan.module)) - set(state)
        state |= {name: tensor for name in names if (tensor := _find(module, name)) is not None}
    tensors = {f"state/{name}": tensor for name, tensor in state.items()}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    if form == "graph":
        inputs = plan.program.inputs
        args = [_encoded(value, tensors) for value in inputs.args]
        kwargs = {name: _encoded(value, tensors) for name, value in inputs.kwargs.items()}
        with torch.no_grad(), restored_buffers(module):
            leaves = tree_leaves(inputs.call(module.eval()))
        module.train(plan.was_training)
        for number, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                tensors[f"output/{number}"] = leaf
    arrays = {name: _array(tensor) for name, tensor in tensors.items()}
    arrays |= {f"kept/{name}": index.astype(np.int64) for name, index in kept.items()}
    record = Record(
        kind=KIND,
        form=form,
        class_name=type(plan.module).__qualname__,
        training=plan.was_training,
        changes=[(where, name, _plain(value)) for where, name, value in changes],
        shapes={name: list(t.shape) for name, t in state_tensors(plan.module).items()},
        dtypes={name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()},
        args=args,
        kwargs=kwargs,
        checksum="",
    )
    record.checksum = checksum_of(record, arrays)
    write_atomically(path, archive_bytes(record.model_dump(), arrays))


def state_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module or a graph by name."""
    state = module.state if isinstance(module, PrunedGraph) else module
    return {
        **dict(state.named_parameters(remove_duplicate=False)),
        **dict(state.named_buffers(remove_duplicate=False)),
    }


def _find(module: nn.Module, name: str) -> Tensor | None:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, Tensor) else None


def _plain(value: Any) -> Value:
    return int(value) if isinstance(value, int) else [int(v) for v in value]


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return JSON for an argument; tensors are added to the tensors of the file."""
    if isinstance(value, Tensor):
        name = f"input/{sum(key.startswith('input/') for key in tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    got = Shown(f"an example input of type {type(value).__name__}")
    expected = "tensors, numbers and texts, to save a pruned graph"
    raise bad_value("example_inputs", got, expected, "plan with plain arguments")


def _array(tensor: Tensor) -> NDArray[Any]:
    flat = tensor.detach().cpu().contiguous()
    if flat.dtype == torch.bfloat16:  # which numpy does not have
        flat = flat.view(torch.uint16)
    array: NDArray[Any] = flat.numpy()
    return array


def checksum_of(record: Record, arrays: dict[str, NDArray[Any]]) -> str:
    """Compute the checksum of everything that the file says."""
    digest = hashlib.blake2b(digest_size=16)
    content = record.model_dump() | {"checksum": ""}
    digest.update(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
