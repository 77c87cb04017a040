"""Forward hooks are refused by name, and backward hooks stay with the module."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.modules.module import register_module_forward_pre_hook

from secateurs.nn import l2_prune_neurons, prune_neurons


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 2))


def pruned(solver, module):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 4)).astype("f"), rng.standard_normal((60, 2)).astype("f")
    steps = {"n_steps": 4} if solver is prune_neurons else {}
    return solver(module, mse_loss, data, 5, fine_tune_steps=3, random_state=0, **steps)


SOLVERS = [prune_neurons, l2_prune_neurons]


def replaced(module):
    module.forward = lambda x: x


CHANGES = {
    "a forward hook": lambda m: m.register_forward_hook(lambda *a: a[-1] + 1),
    "a forward pre-hook": lambda m: m.register_forward_pre_hook(lambda *a: (a[1][0] + 1,)),
    "a forward that was replaced": replaced,
    "a compiled module": lambda m: m.compile(backend="eager"),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["", "0", "0.0", "0.1", "1"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_the_graph_does_not_show_is_refused_by_name(solver, name, change):
    module = network()
    CHANGES[change](module.get_submodule(name))
    with pytest.raises(ValueError, match=rf"^{name or 'module'} \(\w+\): got {change}.*; expected"):
        pruned(solver, module)


@pytest.mark.parametrize("solver", SOLVERS)
def test_hooks_of_all_modules_are_refused(solver):
    handle = register_module_forward_pre_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match=r"module: got a forward hook .* all modules"):
            pruned(solver, network())
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # training data need no gradient
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["", "0.0", "0.1", "1"])
def test_backward_hooks_that_only_watch_change_nothing_and_are_kept(solver, name):
    module, seen = network(), []
    module.get_submodule(name).register_full_backward_hook(lambda *_: seen.append(1))
    found, plain = pruned(solver, module), pruned(solver, network())
    for ours, other in zip(found.module.parameters(), plain.module.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=0)
    seen.clear()
    found.module(torch.ones(1, 4, requires_grad=True)).sum().backward()
    assert seen == [1]
    seen.clear()
    module(torch.ones(1, 4, requires_grad=True)).sum().backward()
    assert seen == [1]
