"""The state of an optimiser, carried from a wide module to the smaller one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.parameters import Shown, bad_value
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.shrink_graph import PrunedGraph, cut_tensor


def carry_optimizer(
    optimizer: Optimizer, plan: ChannelPlan, gone: frozenset[int], module: nn.Module
) -> None:
    """Let an optimiser train the smaller module, with its state cut like the parameters.

    Parameters
    ----------
    optimizer : Optimizer
        It trains the module that was given to `plan`; changed in place.
    plan : ChannelPlan
    gone : frozenset of int
        The atoms of the removed channels.
    module : nn.Module
        The smaller module.

    Raises
    ------
    ValueError
        It trains none of the module's parameters, or one that is computed from others
        (a parametrisation), which the smaller module does not have.
    """
    state = module.state if isinstance(module, PrunedGraph) else module
    new = dict(state.named_parameters(remove_duplicate=False))
    replaced: dict[Tensor, nn.Parameter] = {}
    names: dict[Tensor, str] = {}
    for group in optimizer.param_groups:
        for old in group["params"]:
            name = plan.names.get(id(old))
            if name is None:
                continue  # of another module
            if name not in new:
                got = Shown(f"an optimiser of {name!r}, which the smaller module does not have")
                do = "make a new optimiser"
                raise bad_value("optimizer", got, "plain parameters", do)
            replaced[old], names[old] = new[name], name
    if not replaced:
        got = Shown("an optimiser of other parameters")
        raise bad_value("optimizer", got, "an optimiser of the module that was given to plan")
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(p, p) for p in group["params"]]
    for old, parameter in replaced.items():
        if old in optimizer.state:
            optimizer.state[parameter] = {
                key: _cut(plan, names[old], value, old, gone)
                for key, value in optimizer.state.pop(old).items()
            }


def _cut(plan: ChannelPlan, name: str, value: object, old: Tensor, gone: frozenset[int]) -> object:
    if not isinstance(value, Tensor) or value.shape != old.shape or old.ndim == 0:
        return value
    return cut_tensor(plan, name, value, gone) if name in plan.graph_walk.parameters else value
