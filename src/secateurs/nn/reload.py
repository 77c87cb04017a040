"""Reload of a pruned module from its file, into a fresh module of the original class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.core.archive import Archive, read_archive
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs, plain_copy
from secateurs.core.torch_parts import tree_leaves
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.cut import keep
from secateurs.nn.narrow_attention import SCALE_WIDTH, can_be_narrow, keep_padded
from secateurs.nn.planning import make_plan
from secateurs.nn.pruned_file import KIND, Record, checksum_of, state_tensors
from secateurs.nn.shrink_graph import cut_tensors, shrunk_graph
from secateurs.nn.shrink_module import change_attribute, replace_tensors
from secateurs.nn.verify import difference

SAME = 1e-3  # of the largest output: a graph that was read again computes the saved outputs


def load_pruned(path: str | Path, module: nn.Module) -> nn.Module:
    """Read a pruned module.

    Parameters
    ----------
    path : str or Path
        Written by `PrunedModule.save`.
    module : nn.Module
        A fresh module of the original class and widths, such as ``MyNet()``; its weights do not
        matter, and it is not modified.

    Returns
    -------
    nn.Module
        The smaller module, in the mode in which it was saved.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        The file is cut short, was changed, or is not of a pruned module.
    ValueError
        `module` is of another class or has other widths.

    Notes
    -----
    Nothing of the file is executed.  A pruned graph is exported again from `module`, and must
    compute the outputs that were saved.
    """
    archive = read_archive(path)
    record = archive.record(Record)
    archive.require(record.kind == KIND, f"kind {record.kind!r}")
    if checksum_of(record, archive.arrays) != record.checksum:
        raise archive.damaged("the checksum does not fit; the file was changed or damaged")
    fresh = plain_copy(module)
    _check_fresh(record, fresh)
    tensors = {name: _tensor(archive, record, name) for name in record.dtypes}
    state = {
        name.removeprefix("state/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("state/")
    }
    if record.form == "class":
        loaded = _as_class(archive, record, fresh, state)
    else:
        loaded = _as_graph(archive, record, fresh, state, tensors)
    return loaded.train(record.training)


def _tensor(archive: Archive, record: Record, name: str) -> Tensor:
    archive.require(name in archive.arrays, f"no array {name!r}")
    dtype = getattr(torch, record.dtypes[name], None)
    archive.require(isinstance(dtype, torch.dtype), f"dtype {record.dtypes[name]!r}")
    tensor = torch.from_numpy(archive.arrays[name].copy())
    return tensor.view(torch.bfloat16) if dtype == torch.bfloat16 else tensor.to(dtype)


def _check_fresh(record: Record, fresh: nn.Module) -> None:
    name = type(fresh).__qualname__
    if name != record.class_name:
        raise bad_value("module", Shown(f"a {name}"), f"a fresh {record.class_name}")
    shapes = {key: list(t.shape) for key, t in state_tensors(fresh).items()}
    for key in sorted(set(shapes) | set(record.shapes)):
        if shapes.get(key) != record.shapes.get(key):
            got = Shown(f"{key!r} of shape {shapes.get(key)}")
            expected = f"shape {record.shapes.get(key)}, as before the module was pruned"
            raise bad_value("module", got, expected)


def _as_class(
    archive: Archive, record: Record, fresh: nn.Module, state: dict[str, Tensor]
) -> nn.Module:
    known = state_tensors(fresh)
    for name, tensor in state.items():
        if isinstance(known.get(name), nn.Parameter):
            state[name] = nn.Parameter(tensor, known[name].requires_grad)
    replace_tensors(fresh, state)
    for where, attribute, value in record.changes:
        child = dict(fresh.named_modules()).get(where)
        old = getattr(child, attribute, None)
        fits = type(old) is int if isinstance(value, int) else isinstance(old, tuple | list)
        if attribute == SCALE_WIDTH:
            fits = child is not None and can_be_narrow(child) and isinstance(value, int)
        if child is None or not fits:
            raise archive.damaged(f"attribute {where}.{attribute}")
        change_attribute(child, attribute, value if isinstance(value, int) else type(old)(value))  # type: ignore[misc]
    keep_padded(fresh)
    return fresh


def _as_graph(
    archive: Archive,
    record: Record,
    fresh: nn.Module,
    state: dict[str, Tensor],
    tensors: dict[str, Tensor],
) -> nn.Module:
    def decoded(value: Any) -> Any:
        return tensors[value["tensor"]] if "tensor" in value else value["value"]

    args = tuple(decoded(value) for value in record.args)
    kwargs = {name: decoded(value) for name, value in record.kwargs.items()}
    inputs = Inputs(args, kwargs)
    again = make_plan(fresh, inputs, any_rows=True)
    kept = {
        name.removeprefix("kept/"): array
        for name, array in archive.arrays.items()
        if name.startswith("kept/")
    }
    gone = again.gone(keep(again, kept).kept)
    loaded = shrunk_graph(again, gone, cut_tensors(again, gone, again.module))
    own = state_tensors(loaded)
    archive.require(
        {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in state.items()},
        "this version of torch exports another graph; load with the version that saved it",
    )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
        with restored_buffers(loaded):
            found = tree_leaves(inputs.call(loaded))
    expected = [tensors.get(f"output/{number}") for number in range(len(found))]
    archive.require(
        difference(expected, found) <= SAME, "the outputs are not those that were saved"
    )
    return loaded
