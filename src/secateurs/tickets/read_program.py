"""Read a torch module as a chain of layers, through torch.export.

The forward is traced, so functions (`F.relu`), own classes and `nn.Sequential` are read in the same
way.  Every operation has to read the result of the one before, and weights; any other one is
refused by its name.  A batch normalisation in eval mode is folded into the layer before it:

    alpha (W x + b - mean) + beta = (alpha W) x + (alpha (b - mean) + beta),
    alpha = gain / sqrt(variance + eps)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import read_program
from secateurs.tickets.chain import Chain
from secateurs.tickets.check_module import check_module
from secateurs.tickets.layers import Target, stack_problem
from secateurs.tickets.modules import target_module
from secateurs.tickets.read_operations import READERS

SIDES = (*range(1, 65), 96, 128, 160, 192, 224, 256, 299, 320, 384, 512)  # of maps, as examples
# largest relative difference between the module and the layers that were read; in float64, where
# the forward can compute in it
AGREEMENT = {torch.float64: 1e-6, torch.float32: 1e-3}
ROWS = (1, 3)  # of the inputs on which they are compared


def read_module(
    module: nn.Module,
    nonnegative_inputs: bool,
    input_shape: tuple[int, int, int] | None = None,
) -> Target:
    """Read the layers and weights of a torch module.

    Parameters
    ----------
    module : nn.Module
        Any module whose forward is a chain of supported operations; see the top of this file.
    nonnegative_inputs : bool
        Whether the inputs of the first layer are >= 0; behind a relu they always are.
    input_shape : (channels, height, width), optional
        Shape of an input; otherwise the smallest square map that the module accepts is the
        example.

    Raises
    ------
    TypeError
        The error bound does not hold for an operation; the message gives its name and place.
    ValueError
        torch.export cannot read the module, a weight is not finite or not a plain tensor of one of
        the two dtypes, something besides the forward decides what is returned (hooks, a replaced
        or compiled forward, parametrisations), or the forward is random in its present mode.

    Notes
    -----
    Cost: one torch.export, and a forward pass of one and of three rows.
    """
    dtype = check_module(module)
    example = _example(module, input_shape, dtype)
    program = read_program(module, example, any_rows=True, in_eval_mode=False)
    chain = Chain(program, READERS, signed=not nonnegative_inputs)
    for node in program.exported.graph.nodes:
        chain.add(node)
    problem = stack_problem(chain.layers)
    if problem:
        raise ValueError(f"module: {problem}")
    target = Target(
        tuple(chain.layers), tuple(chain.weights), tuple(chain.biases), dtype, tuple(chain.folds)
    )
    _check(module, target, example)
    return target


def _example(
    module: nn.Module, input_shape: tuple[int, int, int] | None, dtype: torch.dtype
) -> Tensor:
    """Return two rows that the module accepts: of the given shape, or of one that fits."""
    shapes = list(_shapes(module, input_shape))
    try:
        trial = copy.deepcopy(module).to("meta")
    except Exception:  # a module can hold any object; the export says what is wrong
        return torch.zeros(2, *shapes[0], dtype=dtype)
    for shape in shapes:
        try:
            with torch.no_grad():
                trial(torch.empty(2, *shape, dtype=dtype, device="meta"))
        except Exception:  # a forward can raise anything
            continue
        return torch.zeros(2, *shape, dtype=dtype)
    return torch.zeros(2, *shapes[0], dtype=dtype)


def _shapes(
    module: nn.Module, input_shape: tuple[int, int, int] | None
) -> Iterator[tuple[int, ...]]:
    """Yield shapes of one input that may fit, by the first tensor of weights."""
    given = () if input_shape is None else tuple(input_shape)
    if len(given) == 3 and all(isinstance(n, int) and n > 0 for n in given):
        yield given
    weights = [p for p in module.parameters() if p.ndim in (2, 4)]
    channels = [m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)]
    channels += [weight.shape[1] for weight in weights if weight.ndim == 4]
    for weight in weights:  # the first one is used first in nearly all modules
        if weight.ndim == 2:
            yield (weight.shape[1],)
    for n in dict.fromkeys(channels):
        yield from ((n, side, side) for side in SIDES)
    if not weights:
        yield from ((4,), (1, 8, 8))
    elif weights[0].ndim == 2:  # maps that are flattened before the first linear layer
        n = weights[0].shape[1]
        for n_maps in (1, 3):
            side = round((n / n_maps) ** 0.5)
            if n_maps * side * side == n:
                yield (n_maps, side, side)


def _check(module: nn.Module, target: Target, example: Tensor) -> None:
    """Compare the layers with the module on random inputs of other numbers of rows."""
    layers = target_module(target)
    generator = torch.Generator().manual_seed(0)
    shapes = [(n, *example.shape[1:]) for n in ROWS]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    try:
        expected, dtype = _outputs(copy.deepcopy(module).double(), inputs), torch.float64
    except Exception:  # a forward can name its dtype
        expected, dtype = _outputs(module, inputs), target.dtype
    for x, wanted in zip(inputs, expected, strict=True):
        with torch.no_grad():
            found = layers(x)
        scale = max(float(wanted.abs().max()), 1e-6)
        if found.shape != wanted.shape or not bool(
            ((found - wanted).abs() <= AGREEMENT[dtype] * scale).all()
        ):
            got = Shown("outputs that the layers of its exported graph do not compute")
            raise bad_value("module", got, "a forward without state, and without branches")


def _outputs(module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    parameter = next(module.parameters())
    with torch.no_grad():
        return [module(x.to(parameter)).cpu().double() for x in inputs]
