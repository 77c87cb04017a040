"""A module whose answer is not that of its layers and weights is refused by name."""

import re

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, parametrize, prune

from secateurs.tickets.modules import effective_module, masked_module
from secateurs.tickets.network_pruning import prune_network
from secateurs.tickets.verify import verify_ticket


def network():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(body, nn.Identity(), nn.Linear(6, 3)).eval()


NAMES = ["", "0", "0.0", "0.1", "0.2", "1", "2"]


def double(module, inputs, output):
    return 2 * output


def double_inputs(module, inputs):
    return tuple(2 * x for x in inputs)


def with_kwargs(module, inputs, kwargs, output):
    return 2 * output


def replace_forward(module):
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)


HOOKS = {
    "a forward hook": lambda m: m.register_forward_hook(double),
    "a forward hook with": lambda m: m.register_forward_hook(with_kwargs, with_kwargs=True),
    "a forward pre-hook": lambda m: m.register_forward_pre_hook(double_inputs),
    "a forward that was replaced": replace_forward,
    "a compiled module": lambda m: m.compile(backend="eager"),
}


def refused(module, match):
    """Check that pruning and verification both refuse the module, in the grammar of messages."""
    ticket = prune_network(network(), 0.1, 0).value
    for act in (lambda: prune_network(module, 0.1, 0), lambda: verify_ticket(ticket, module)):
        with pytest.raises((ValueError, TypeError), match=match) as caught:
            act()
        assert re.match(r"[^:]+: got .+; expected .+", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hook", HOOKS)
def test_what_changes_the_answer_of_any_submodule_is_refused(name, hook):
    module = network()
    HOOKS[hook](module.get_submodule(name))
    where = re.escape(name or "module")
    refused(module, rf"^{where} \(\w+\): got {hook.removesuffix(' with')}")


def test_a_hook_of_all_modules_is_refused_and_one_that_was_removed_is_not():
    handle = register_module_forward_hook(double)
    try:
        with pytest.raises(ValueError, match=r"module: got a forward hook .* for all modules"):
            prune_network(network(), 0.1, 0)
    finally:
        handle.remove()
    module = network()
    module[0].register_forward_hook(double).remove()
    assert prune_network(module, 0.1, 0).status == "converged"


@pytest.mark.parametrize("name", NAMES)
def test_backward_hooks_do_not_change_the_answer_and_are_accepted(name):
    module = network()
    module.get_submodule(name).register_full_backward_hook(lambda *_: None)
    module.get_submodule(name).register_full_backward_pre_hook(lambda *_: None)
    solution = prune_network(module, 1e-3, 0)
    assert solution.measured["error_bound"] == prune_network(network(), 1e-3, 0).measured[
        "error_bound"
    ]  # fmt: skip


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: parametrize.register_parametrization(m[2], "weight", Twice()), "parametriz"),
        (lambda m: parametrizations.weight_norm(m[2]), "parametrization"),
        (lambda m: parametrizations.spectral_norm(m[2]), "parametrization"),
        (lambda m: parametrizations.orthogonal(m[0][0]), "parametrization"),
        (lambda m: nn.utils.spectral_norm(m[2]), "a forward pre-hook"),
        (lambda m: prune.random_unstructured(m[2], "weight", 0.5), "a forward pre-hook"),
        (lambda m: m.train(), "p=0.5 in training mode"),
        (lambda m: m.half(), "torch.float16; expected torch.float32 or torch.float64"),
        (lambda m: m.bfloat16(), "torch.bfloat16"),
        (lambda m: m.to(torch.complex64), "torch.complex64"),
        (lambda m: m[2].double(), "torch.float32 in 0.0.weight and torch.float64 in 2.weight"),
        (lambda m: m.to("meta"), "2.weight|0.0.weight"),
        (lambda m: nn.init.constant_(m[2].bias, torch.nan), "layer 2: got nan or inf"),
        (lambda m: nn.init.constant_(m[0][0].weight, -torch.inf), "layer 0.0: got nan or inf"),
        (lambda m: setattr(m[2], "weight", nn.Parameter(torch.ones(2, 6))), "cannot read"),
        (lambda m: setattr(m[2], "bias", nn.Parameter(torch.ones(1))), r"2 .Linear.*bias.*\[1\]"),
        (lambda m: m.__setitem__(2, nn.LazyLinear(3)), "a lazy module without weights"),
        (lambda m: m.__setitem__(1, nn.BatchNorm1d(6)), "1 .BatchNorm1d.*training mode"),
        (lambda m: m.__setitem__(1, nn.BatchNorm1d(6).eval()), "1 .BatchNorm1d.*not behind"),
        (lambda m: m.__setitem__(1, nn.Tanh()), "1 .Tanh.: got the operation tanh"),
        (lambda m: m.__setitem__(1, torch.jit.script(nn.ReLU())), "1 .RecursiveScript"),
        (lambda m: m.__setitem__(2, torch.compile(m[2], backend="eager")), "a compiled module"),
        (lambda m: setattr(m, "1", None), "cannot read"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_modules_that_are_not_the_plain_chain_are_refused_by_name(change, match):
    module = network()
    change(module)
    refused(module, match)


@pytest.mark.filterwarnings("ignore")
def test_quantised_and_sparse_weights_are_refused():
    module = network()
    module[2].weight = nn.Parameter(module[2].weight.detach().to_sparse_csr())
    refused(module, "2.weight: got a Parameter with layout torch.sparse_csr")
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)))
    refused(quantised, "module: got a module without weights")


def test_a_module_that_is_called_twice_is_read_twice():
    torch.manual_seed(0)
    relu, square = nn.ReLU(), nn.Linear(5, 5)
    module = nn.Sequential(nn.Linear(5, 5), relu, square, relu, square, relu, nn.Linear(5, 2))
    solution = prune_network(module, 1e-4, 0, radius=3.0)
    assert [layer.kind for layer in solution.value.layers] == ["linear", "relu"] * 3 + ["linear"]
    assert_near(module, solution, 5, 3.0)


def test_tensors_that_two_layers_share_are_approximated_for_both():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    module[2].weight = module[0].weight
    assert_near(module, prune_network(module, 1e-4, 0, radius=3.0), 5, 3.0)


def test_dropout_in_eval_mode_and_dropout_of_nothing_are_left_out():
    module = network()
    assert_near(module, prune_network(module, 1e-4, 0, radius=3.0), 4, 3.0)
    module[0][2].p = 0.0
    module.train()
    assert_near(module, prune_network(module, 1e-4, 0, radius=3.0), 4, 3.0)


def assert_near(module, solution, n_in, radius):
    x = torch.randn(200, n_in)
    x = x / x.norm(dim=1, keepdim=True) * radius * (1 - 1e-6)
    with torch.no_grad():
        for found in (masked_module(solution.value), effective_module(solution.value)):
            error = (found(x).double() - module(x).double()).norm(dim=1).max()
            assert error <= solution.measured["error_bound"]
