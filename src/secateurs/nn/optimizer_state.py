"""The state of an optimiser, carried from a wide module to the smaller one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.parameters import Shown, bad_value
from secateurs.nn.shrink_graph import find_tensor


def carry_optimizer(
    optimizer: Optimizer,
    names: Mapping[int, str],
    module: nn.Module,
    cut: Callable[[str, Tensor], Tensor],
) -> None:
    """Let an optimiser train the smaller module, with its state cut like the parameters.

    Parameters
    ----------
    optimizer : Optimizer
        It trains the wide module; changed in place.
    names : dict of int to str
        The names of the parameters of the wide module, by their ``id``.
    module : nn.Module
        The smaller module.
    cut : callable (name, tensor) -> tensor
        Cuts a tensor like the parameter of that name.

    Raises
    ------
    ValueError
        It trains none of the module's parameters, or one that is computed from others
        (a parametrisation), which the smaller module does not have.
    """
    replaced: dict[Tensor, nn.Parameter] = {}
    owners: dict[Tensor, str] = {}
    for group in optimizer.param_groups:
        for old in group["params"]:
            name = names.get(id(old))
            if name is None:
                continue  # of another module
            new = find_tensor(module, name)
            if not isinstance(new, nn.Parameter):
                got = Shown(f"an optimiser of {name!r}, which the smaller module does not have")
                do = "make a new optimiser"
                raise bad_value("optimizer", got, "plain parameters", do)
            replaced[old], owners[old] = new, name
    if not replaced:
        got = Shown("an optimiser of other parameters")
        raise bad_value("optimizer", got, "an optimiser of the module that was given to plan")
    for old, name in owners.items():
        for key, value in optimizer.state.get(old, {}).items():
            if isinstance(value, Tensor) and value.numel() > 1 and value.shape != old.shape:
                got = Shown(f"{key!r} of shape {tuple(value.shape)} for {name!r}")
                expected = f"state of shape {tuple(old.shape)}, like the parameter"
                raise bad_value("optimizer", got, expected, "make a new optimiser")
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(p, p) for p in group["params"]]
    for old, parameter in replaced.items():
        if old in optimizer.state:
            optimizer.state[parameter] = {
                key: cut(owners[old], value)
                if isinstance(value, Tensor) and value.shape == old.shape and old.ndim
                else value
                for key, value in optimizer.state.pop(old).items()
            }
