"""Modules are read through torch.export: own classes, functions, batch normalisation."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from secateurs.tickets import effective_module, masked_module, prune_network, verify_ticket
from secateurs.tickets.read_program import read_module


def awake(module, seed):
    """Give every batch normalisation other numbers than those that it starts with."""
    rng = np.random.default_rng(seed)
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            n = child.num_features
            child.running_mean.copy_(torch.from_numpy(rng.standard_normal(n)))
            child.running_var.copy_(torch.from_numpy(np.exp(rng.standard_normal(n))))
            if child.affine:
                with torch.no_grad():
                    child.weight.copy_(torch.from_numpy(rng.standard_normal(n)))
                    child.bias.copy_(torch.from_numpy(rng.standard_normal(n)))
    return module.eval()


class Own(nn.Module):
    """A network in a class of its own, with functions, some of them in place."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.pool, self.shape, self.inplace = rng.integers(0, 3, 3).tolist()
        bias, affine = (bool(rng.integers(2)) for _ in range(2))
        self.first = nn.Conv2d(2, 4, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4, affine=affine)
        self.second = nn.Linear(4 if self.pool == 2 else 4 * 9, 5, bias=not bias)
        self.norm2 = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)), inplace=self.inplace == 0)
        if self.pool == 2:
            x = x.mean((-2, -1))
        else:
            x = F.max_pool2d(x, 2) if self.pool else F.avg_pool2d(x, 2)
            shapes = (lambda: x.flatten(1), lambda: x.view(x.size(0), -1),
                      lambda: x.reshape(-1, 36))  # fmt: skip
            x = shapes[self.shape]()
        x = self.drop(F.relu(self.norm2(self.second(x))))
        return F.linear(F.dropout(x, 0.5, training=self.training), self.last.weight, self.last.bias)


def rows(shape, radius, n, seed):
    x = np.random.default_rng(seed).standard_normal((n, *shape))
    x *= radius / np.linalg.norm(x.reshape(n, -1), axis=1).reshape(n, *(1 for _ in shape))
    return torch.from_numpy(x * (1 - 1e-6))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), wide=st.booleans(), log_eps=st.sampled_from([-1, -3]))
def test_the_bound_holds_for_the_module_with_its_batch_normalisations(seed, wide, log_eps):
    module = awake(Own(seed), seed)
    module = module.double() if wide else module
    found = prune_network(module, 10.0**log_eps, 0, radius=2.0, input_shape=(2, 6, 6))
    report = verify_ticket(found.value, module, radius=2.0, input_shape=(2, 6, 6))
    assert report == found.measured["report"]
    x = rows((2, 6, 6), 2.0, 50, seed)
    with torch.no_grad():
        outputs = module(x if wide else x.float()).double()
        for ticket in (masked_module(found.value), effective_module(found.value)):
            error = (ticket(x.float()).double() - outputs).norm(dim=1).max()
            assert error <= report.error_bound


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_rounding_of_a_batch_normalisation_is_inside_the_bound(seed, scale):
    """With masks that are almost exact, rounding is most of the bound; terms cancel in it."""
    torch.manual_seed(seed)
    module = awake(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), seed)
    module[1].running_mean.add_(scale)
    with torch.no_grad():
        module[0].bias.add_(scale)
    x = rows((6,), 1.0, 200, seed)
    target = read_module(module, nonnegative_inputs=False)
    exact = x.numpy() @ target.weights[0].T + target.biases[0]
    ours = module.double()
    with torch.no_grad():
        np.testing.assert_allclose(ours(x).numpy(), exact, rtol=0, atol=1e-11 * (1 + scale))
    module = module.float()
    found = prune_network(module, 1e-6, 0, max_terms=48)
    with torch.no_grad():
        error = effective_module(found.value)(x.float()).double() - module(x.float()).double()
    assert error.norm(dim=1).max() <= found.measured["error_bound"]
    assert found.measured["error_bound"] - found.measured["exact_error_bound"] >= 1e-7 * scale


def test_a_class_and_the_stack_of_its_layers_are_one_target():
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)]
    stack = awake(nn.Sequential(*layers), 0)

    class Sub(nn.Linear):
        pass

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers[0], layers[1]
            self.c = Sub(6, 2)
            self.c.weight, self.c.bias = layers[3].weight, layers[3].bias

        def forward(self, x):
            h = torch.clamp_min(self.b(x @ self.a.weight.T + self.a.bias), 0)
            return self.c(h)

    class Relu(Same):
        def forward(self, x):
            return self.c(torch.relu(self.b(x @ self.a.weight.T + self.a.bias)))

    one, other = (read_module(m.eval(), nonnegative_inputs=False) for m in (stack, Relu()))
    assert one.layers == other.layers
    for a, b in zip(one.weights, other.weights, strict=True):
        assert a is b is None or np.array_equal(a, b)
    with pytest.raises(TypeError, match="clamp_min"):
        read_module(Same().eval(), nonnegative_inputs=False)


class Wrapped(nn.Module):
    """Layers, and what a forward does besides them."""

    def __init__(self, what):
        super().__init__()
        self.a, self.b, self.what, self.calls = nn.Linear(4, 4), nn.Linear(4, 4), what, 0

    def forward(self, x):
        return self.what(self, x)


def counted(self, x):
    self.calls += 1
    return self.a(x) * (1 if self.calls < 3 else 2)


REFUSED = {
    "a residual sum": (lambda m, x: x + m.a(x), "a value that is not"),
    "a branch": (lambda m, x: m.b(m.a(x).relu()) + m.a(x).relu(), "a value that is not"),
    "a computed weight": (lambda m, x: F.linear(x, m.a.weight.abs()), "computed from others"),
    "a product of values": (lambda m, x: m.a(x) * m.a(x), "mul|a value that is not"),
    "two outputs": (lambda m, x: (m.a(x), x), "outputs"),
    "softmax": (lambda m, x: m.a(x).softmax(1), "the operation softmax"),
    "rows that are mixed": (lambda m, x: m.a(x).view(-1), "change of shape|cannot read"),
    "the number of rows": (lambda m, x: (m.a if len(x) == 2 else m.b)(x), "rows|not comp"),
    "functional dropout": (lambda m, x: F.dropout(m.a(x), 0.3, training=True), "p=0.3 in training"),
    "a scalar": (lambda m, x: m.a(x) + 1, "a sum that is not"),
    "state of Python": (counted, "the layers of its exported graph do not compute|operation mul"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_chain_of_layers_is_refused_by_name(what):
    forward, message = REFUSED[what]
    with pytest.raises((TypeError, ValueError), match=message):
        prune_network(Wrapped(forward).eval(), 0.1, 0)


def test_a_batch_normalisation_of_batches_is_refused():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"1 \(BatchNorm1d\): got .*training mode.*eval"):
        prune_network(module, 0.1, 0)
    untracked = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match="training mode"):
        prune_network(untracked, 0.1, 0)


def test_the_size_of_maps_is_found_where_the_layers_tell_it():
    for side, channels in itertools.product((5, 8), (1, 3)):
        n = 2 * (side - 2) ** 2
        layers = nn.Conv2d(channels, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(n, 2)
        target = read_module(nn.Sequential(*layers), nonnegative_inputs=True)
        assert [layer.kind for layer in target.layers] == ["conv2d", "relu", "flatten", "linear"]
