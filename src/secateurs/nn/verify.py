"""A smaller module must compute the function of the wide one with its channels silenced."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.core.program import Inputs, whole_attention
from secateurs.core.torch_parts import TorchDispatchMode, tree_leaves, tree_map
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.evaluation import called, line
from secateurs.nn.pruned_graph import PrunedGraph
from secateurs.nn.shrink_graph import cut_tensors, shrunk_graph
from secateurs.nn.silence import silence
from secateurs.nn.slots import IntArray

TOLERANCE = 1e-10  # of the largest output, in float64
# largest difference of outputs, over the largest output, that rounding explains
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
WIDE = {
    **dict.fromkeys((torch.float32, torch.float16, torch.bfloat16), torch.float64),
    **dict.fromkeys((torch.complex64, torch.complex32), torch.complex128),
}
SEEDS = (0, 1)  # of the random inputs
MOST_SIZES = 4  # of axes that are made longer
SMALLEST_SCALE = 1e-30  # outputs of zeros are compared absolutely
Kept = Mapping[str, IntArray]


class NotEqualError(RuntimeError):
    """A smaller module does not compute the function of the silenced one."""


@dataclass(frozen=True)
class Agreement:
    """How closely a smaller module was found to agree with the silenced one.

    Attributes
    ----------
    error : float
        Largest difference of outputs, over the largest output.
    tolerance : float
    n_calls : int
        How often both were called: on the example, on random inputs, on other numbers of rows.
    n_groups : int
        Groups that were also removed one at a time.
    rounding : float
        The same difference for the module that is returned, if some of its weights were multiplied
        by a factor and rounded; `error` is without that rounding.
    """

    error: float
    tolerance: float
    n_calls: int
    n_groups: int
    rounding: float = 0.0


class _Wide(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Let operations that ask for a narrower floating dtype use float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(_widened, (tuple(args), dict(kwargs or {})))
        return func(*args, **kwargs)


def _widened(leaf: Any) -> Any:
    return WIDE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


@contextmanager
def _float64(seed: int = 0) -> Iterator[None]:
    """Compute in float64 inside the block, with the same random numbers in every block."""
    before = torch.get_default_dtype()
    wide = _Wide()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), whole_attention(), wide:
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.float64)
            yield
    finally:
        torch.set_default_dtype(before)


def widened(module: nn.Module) -> nn.Module:
    """Copy a module to float64, plain tensors in its attributes included; eval mode."""
    wide = copy.deepcopy(module).eval()
    wide._apply(_wide)  # type: ignore[no-untyped-call]
    for child in wide.modules():
        for name, value in list(vars(child).items()):
            if isinstance(value, Tensor):
                setattr(child, name, _wide(value))
    return wide


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(WIDE.get(tensor.dtype, tensor.dtype))


def probes(inputs: Inputs) -> list[Inputs]:
    """Return the example, random inputs like it, and both with another number of rows."""
    with torch.random.fork_rng(devices=[]):
        random = [_random(inputs, seed) for seed in SEEDS]
    n = inputs.n_rows
    return [inputs, *random, random[0].rows(n + 1), random[-1].rows(max(1, n - 1))]


def longer(inputs: Inputs) -> list[Inputs]:
    """Return inputs of which all axes of one size, but the rows, are longer by one."""
    sizes = dict.fromkeys(n for tensor in inputs.tensors() for n in tensor.shape[1:] if n)

    def lengthened(tensor: Tensor, size: int) -> Tensor:
        for d in range(1, tensor.ndim):
            if tensor.shape[d] == size and tensor.layout == torch.strided:
                at = torch.arange(size + 1, device=tensor.device) % size
                tensor = tensor.index_select(d, at)
        return tensor

    return [
        inputs.replaced([lengthened(tensor, size) for tensor in inputs.tensors()])
        for size in list(sizes)[:MOST_SIZES]
    ]


def _random(inputs: Inputs, seed: int) -> Inputs:
    torch.manual_seed(seed)

    def drawn(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:
            return tensor
        if tensor.is_floating_point():
            spread = float(tensor.double().std(correction=0)) if tensor.numel() > 1 else 0.0
            noise = torch.randn(tensor.shape, dtype=torch.float64).to(tensor.device)
            wide = tensor.double()
            return wide.mean() + (spread or 1.0) * noise
        if tensor.dtype == torch.bool or tensor.is_complex() or tensor.numel() == 0:
            return tensor
        # integers are numbers of something: take some that the module accepts
        flat = tensor.reshape(-1)
        at = torch.randint(len(flat), tensor.shape)
        return flat[at.to(tensor.device)]

    return inputs.replaced([drawn(tensor) for tensor in inputs.tensors()])


def _call(module: nn.Module, inputs: Inputs) -> list[Any]:
    wide = inputs.replaced([_wide(t.clone()) for t in inputs.tensors()])
    with _float64():
        return tree_leaves(wide.call(module))


def difference(reference: list[Any], found: list[Any]) -> float:
    """Return the largest difference over the largest output; infinite for another kind."""
    if len(reference) != len(found):
        return float("inf")
    largest, scale = 0.0, SMALLEST_SCALE
    for a, b in zip(reference, found, strict=True):
        if not isinstance(a, Tensor):
            continue
        if not isinstance(b, Tensor) or a.shape != b.shape:
            return float("inf")
        if a.is_complex() and b.is_complex():
            a, b = torch.view_as_real(a), torch.view_as_real(b)
        if not a.is_floating_point():
            largest = largest if torch.equal(a, b) else float("inf")
            continue
        usual = torch.isfinite(a)
        if not torch.equal(usual, torch.isfinite(b)):
            return float("inf")
        if not torch.equal(torch.nan_to_num(a[~usual]), torch.nan_to_num(b[~usual])):
            return float("inf")
        if usual.any():
            largest = max(largest, float((a[usual] - b[usual]).abs().max()))
            scale = max(scale, float(a[usual].abs().max()))
    return largest / scale


def rounding_tolerance(dtype: torch.dtype) -> float:
    """Return the largest relative difference of outputs that rounding explains."""
    return ROUNDING.get(dtype, ROUNDING[torch.float32])


def verify(
    plan: ChannelPlan,
    source: nn.Module,
    kept: Kept,
    candidate: nn.Module,
    data: Sequence[Any] = (),
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Compare a smaller module with the silenced one in float64.

    Parameters
    ----------
    plan : ChannelPlan
    source : nn.Module
        The wide module.
    kept : dict of str to int array
        The channels that stay, by group.
    candidate : nn.Module
        The smaller module.
    data : sequence of inputs
        Further inputs of the module, such as rows of the user's data.
    tolerance : float
        Largest difference of outputs, over the largest output.

    Returns
    -------
    Agreement

    Raises
    ------
    NotEqualError
        The outputs differ by more than the tolerance.

    Notes
    -----
    Cost: copies of both modules in float64, and two forward passes for each probe.
    """
    given = [Inputs.of(rows) for rows in data]
    for inputs in given:
        with restored_buffers(source), torch.no_grad():
            called(source, inputs)
    calls = [*probes(plan.program.inputs), *given]
    if not isinstance(candidate, PrunedGraph):  # which accepts no other lengths
        calls += longer(calls[1])
    reference = widened(silence(plan, plan.gone(kept), source))
    worst, n_calls = _compare(reference, widened(candidate), calls, "the cut", tolerance)
    return Agreement(worst, tolerance, n_calls, 0)


def verify_each_group(plan: ChannelPlan, source: nn.Module, kept: Kept) -> tuple[float, int]:
    """Remove the channels of each group alone, in the form of a graph, and compare.

    Returns the largest difference and the number of groups.  NotEqualError names the group.
    """
    calls = probes(plan.program.inputs)[1:2]
    groups = [name for name in kept if len(kept[name]) < plan.groups[name].size]
    worst = 0.0
    for name in groups:
        gone = plan.gone({name: kept[name]})
        reference = widened(silence(plan, gone, source))
        alone = widened(shrunk_graph(plan, gone, cut_tensors(plan, gone, source)))
        worst = max(worst, _compare(reference, alone, calls, f"group {name!r}")[0])
    return worst, len(groups)


def _compare(
    reference: nn.Module,
    candidate: nn.Module,
    calls: Sequence[Inputs],
    what: str,
    tolerance: float = TOLERANCE,
) -> tuple[float, int]:
    worst, n_calls, says_something = 0.0, 0, False
    for number, inputs in enumerate(calls):
        try:
            expected = _call(reference, inputs)
        except Exception:
            if number == 0:
                raise
            continue  # the module itself does not accept these inputs
        try:
            found = _call(candidate, inputs)
        except Exception as error:  # code of the user can raise anything
            raise NotEqualError(
                f"{what}: got an error from the smaller module ({line(error)}); expected the "
                "outputs of the wide one"
            ) from error
        size = difference(expected, found)
        if not size <= tolerance:
            raise NotEqualError(
                f"{what}: got outputs of the smaller module that differ by {size:.3g} of the "
                f"largest output from the silenced one; expected at most {tolerance:g}"
            )
        worst, n_calls = max(worst, size), n_calls + 1
        says_something = says_something or any(
            isinstance(leaf, Tensor) and bool(leaf.any()) for leaf in expected
        )
    if not says_something:
        raise NotEqualError(
            f"{what}: got outputs that are all zero; expected outputs that can be compared; train "
            "the module, or give weights that are zero small random values, before it is pruned"
        )
    return worst, n_calls
