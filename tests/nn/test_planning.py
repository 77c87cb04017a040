"""What can be removed is found, what cannot is named, and nothing is ever silently wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from benchmarks.nn.zoo_networks import ZOO
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from secateurs.core import DamagedFileError
from secateurs.nn import NotEqualError, load_pruned, plan
from secateurs.nn.cut import keep
from secateurs.nn.slots import Slots


def perceptron(*widths):
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Normed(nn.Module):
    """A stream that a layer norm fixes, and a hidden layer that it does not."""

    def __init__(self, width=6):
        super().__init__()
        self.inner, self.norm = nn.Linear(4, width), nn.LayerNorm(width)
        self.hidden, self.back = nn.Linear(width, 9), nn.Linear(9, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        x = self.inner(x)
        return self.out(x + self.back(torch.relu(self.hidden(self.norm(x)))))


def test_what_is_fixed_is_named_and_does_not_forbid_the_rest():
    found = plan(Normed(), torch.randn(3, 4))
    assert list(found.groups) == ["hidden"]
    assert found.groups["hidden"].size == 9
    reasons = {(part.name, part.axis): part for part in found.fixed}
    part = reasons["inner.weight", 0]
    assert part.module == "norm"
    assert "normalisation" in part.reason
    assert part.size == 6
    assert "it is an output" in str(found)
    assert "hidden" in str(found)
    facts = found.describe().facts
    assert facts["groups"]["hidden"]["parameters"] == 6 + 1 + 6


def test_costs_are_those_of_the_smaller_module():
    found = plan(perceptron(5, 8, 7, 3), torch.randn(2, 5))
    cut = keep(found, {"0": range(4), "2": [1, 3, 5]})
    assert cut.n_parameters == sum(p.numel() for p in perceptron(5, 4, 3, 3).parameters())
    assert cut.flops == 2 * 2 * (5 * 4 + 4 * 3 + 3 * 3)
    assert cut.widths == {"0": 4, "2": 3}
    assert "4 of 8" in str(cut)


@pytest.mark.parametrize(
    "name", ["resnet", "densenet", "resnext", "autoencoder, tied", "llama, grouped queries"]
)
def test_a_channel_costs_what_the_module_is_smaller_without_it(name):
    torch.manual_seed(0)
    found = plan(*ZOO[name]())
    for group in found.groups.values():
        flops, n_parameters = found.cost({group.name: np.arange(1, group.size)})
        assert group.n_parameters == found.n_parameters - n_parameters
        assert group.flops == pytest.approx(found.flops - flops)


def test_a_part_of_a_network_is_planned_alone():
    whole = Normed()
    part = nn.Sequential(whole.hidden, nn.ReLU(), whole.back)
    small = keep(plan(part, torch.randn(2, 6)), {"0": [0, 2]}).apply().module
    whole.hidden, whole.back = small[0], small[2]
    assert whole(torch.randn(3, 4)).shape == (3, 2)


class Multiplied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.out(torch.relu(self.first(x))) * self.first.out_features


def test_a_forward_that_depends_on_the_width_keeps_its_graph():
    """The class would be wrong, and the verification finds it; the graph is right."""
    found = plan(Multiplied(), torch.randn(3, 4))
    cut = keep(found, {"first": [0, 3]})
    assert cut.apply().form == "graph"
    with pytest.raises(NotEqualError, match="form='class'"):
        cut.apply(form="class")


class Dropped(nn.Module):
    """It compares two channels, which no rule of one operation shows."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = self.first(x)
        return self.out(torch.where(h > h[..., :1], h, 0.5 * h))


def test_a_channel_that_others_read_is_kept():
    found = plan(Dropped(), torch.randn(3, 4))
    for name in found.groups:
        keep(found, {name: [0]}).apply()
    assert sum(group.size for group in found.groups.values()) <= 5


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = self.a(x)
        return self.b(h) if h.sum() > 0 else self.b(-h)


def hooked():
    module = perceptron(4, 6, 2)
    module[0].register_forward_hook(lambda *_: None)
    return module


def meta():
    with torch.device("meta"):
        return perceptron(4, 6, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Branch, r"module: got Branch, which torch.export cannot read .*; expected"),
        (hooked, r"0 \(Linear\): got a forward hook; expected"),
        (meta, r"module.0.weight: got tensors on the meta device; expected"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "lazy parameters"),
    ],
)
def test_a_module_that_cannot_be_read_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        plan(make(), torch.randn(3, 4))


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"expected an nn\.Module"):
        plan(lambda x: x, torch.randn(2, 4))
    with pytest.raises(ValueError, match="example_inputs"):
        plan(perceptron(4, 6, 2), 3)
    found = plan(perceptron(4, 6, 2), torch.randn(3, 4))
    for kept in ({"1": [0]}, {"0": []}, {"0": [6]}, {"0": [-1]}):
        with pytest.raises(ValueError, match="got"):
            keep(found, kept)
    with pytest.raises(ValueError, match="form"):
        keep(found, {"0": [0]}).apply(form="fast")


def test_the_module_is_not_modified_and_the_mode_is_kept():
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    before = {name: t.clone() for name, t in module.state_dict().items()}
    small = keep(plan(module, torch.randn(5, 4)), {"0": [0, 1]}).apply().module
    assert small.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.get_default_dtype() == torch.float32


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: nn.utils.parametrize.register_parametrization(layer, "bias", Doubled()),
    ],
)
def test_a_module_with_computed_weights_stays_as_it_is(change):
    """The copy that is planned shares its class with the module."""
    torch.manual_seed(0)
    module = perceptron(4, 6, 2).eval()
    change(module[0])
    X = torch.randn(3, 4)
    names = list(module.state_dict())
    with torch.no_grad():
        before = module(X)
    for _ in range(2):
        small = plan(module, X).keep({"0": [0, 2]}).apply()
    assert small.n_parameters[1] < small.n_parameters[0]
    assert list(module.state_dict()) == names
    with torch.no_grad():
        assert torch.equal(module(X), before)


def test_the_graph_of_grouped_queries_ends():
    """The same place in two operands of a cat is united; a composite of itself never ends."""

    class Rotated(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(6, 2)

        def forward(self, x):
            q, k = (z.view(*z.shape[:-1], 2, 4).transpose(1, 2) for z in (self.q(x), self.k(x)))
            q, k = (torch.cat([z[..., 2:], z[..., :2]], -1) + z for z in (q, k))
            return self.out((q @ k.transpose(-2, -1)).softmax(-1).mean(1) @ x)

    found = plan(Rotated(), torch.randn(2, 5, 6))
    assert found.groups
    keep(found, {name: [0] for name in found.groups}).apply()


def test_a_fixed_operand_of_a_cat_fixes_the_same_places():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(torch.stack([x, torch.relu(self.a(x))], 1))

    assert not plan(Stacked(), torch.randn(3, 4)).groups


class Random(nn.Module):
    """A random network of residual sums, splits, cats and products."""

    def __init__(self, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.kinds = rng.choice(
            ["dense", "sum", "split", "cat", "gate", "heads", "norm"], 5
        ).tolist()
        self.layers, self.extra = nn.ModuleList(), nn.ModuleList()
        width = 8
        for kind in self.kinds:
            out = int(rng.choice([8, 12, 16])) if kind == "dense" else width
            self.layers.append(nn.Linear(width, out))
            self.extra.append(nn.LayerNorm(out) if kind == "norm" else nn.Linear(width, out))
            width = 2 * width if kind == "cat" else out
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        x = torch.tanh(x)
        for kind, layer, extra in zip(self.kinds, self.layers, self.extra, strict=True):
            h = torch.relu(layer(x))
            if kind == "sum":
                h = h + x
            elif kind == "split":
                a, b = h.chunk(2, -1)
                h = torch.cat([b, a * torch.sigmoid(b)], -1)
            elif kind == "cat":
                h = torch.cat([h, x], -1)
            elif kind == "gate":
                h = h * torch.sigmoid(extra(x))
            elif kind == "heads":
                h = F.softplus(h.unflatten(-1, (2, -1)).transpose(-1, -2)).flatten(-2)
            elif kind == "norm":
                h = extra(h)
            x = h
        return self.out(x)


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=() if seed < 8 else pytest.mark.slow) for seed in range(300)],
)  # each seed has a time limit of its own, which a busy machine does not reach
def test_random_networks_are_right(seed):
    torch.manual_seed(seed)
    module = Random(seed).eval()
    found = plan(module, torch.randn(3, 8))
    rng = np.random.default_rng(seed)
    kept = {
        name: np.sort(rng.choice(g.size, rng.integers(1, g.size + 1), replace=False))
        for name, g in found.groups.items()
    }
    assert keep(found, kept).apply().certificate["equality"].verdict == "holds"


def atoms_of(slots, slot):
    return set(slots.atoms_of(slots.find(np.array([slot])))[1].tolist())


@given(
    pairs=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=15),
    fixed=st.sets(st.integers(1, 12), max_size=2),
)
@settings(max_examples=50)
def test_slots_are_a_union_find(pairs, fixed):
    slots = Slots()
    slots.new(12)
    for a, b in pairs:
        slots.unite_axes(np.array([a]), np.array([b]))
    if fixed:
        slots.fix(np.array(sorted(fixed)))
    parent = list(range(13))

    def root(a):
        return a if parent[a] == a else root(parent[a])

    for a, b in [*pairs, *((0, f) for f in fixed)]:
        parent[root(a)] = root(b)
    for a in range(13):
        for b in range(13):
            assert (slots.root(a) == slots.root(b)) == (root(a) == root(b))
    assert all(bool(atoms_of(slots, a)) == (root(a) != root(0)) for a in range(1, 13))


def test_a_composite_goes_with_any_of_its_parts():
    slots = Slots()
    flat, heads, dims = slots.new(6), slots.new(2), slots.new(3)
    for i in range(6):
        slots.define(int(flat[i]), (int(heads[i // 3]), int(dims[i % 3])))
    assert atoms_of(slots, flat[4]) == {int(heads[1]), int(dims[1])}
    other, more = slots.new(3), slots.new(2)
    for i in range(6):  # the same axis, split as (3, 2): nothing can go
        slots.define(int(flat[i]), (int(other[i // 2]), int(more[i % 2])))
    slots.unite(int(heads[0]), 0)
    assert not atoms_of(slots, heads[0])


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_optimiser_goes_on_as_if_it_had_trained_the_smaller_module(kind):
    module = perceptron(4, 8, 2).double()
    optimizer = (
        torch.optim.Adam(module.parameters(), lr=0.01)
        if kind == "adam"
        else torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    )
    X = torch.randn(16, 4, dtype=torch.float64)

    def step(net):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()

    for _ in range(3):
        step(module)
    states = [
        {k: v.clone() for k, v in optimizer.state[p].items() if v is not None and v.ndim}
        for p in module.parameters()
    ]
    small = keep(plan(module, X[:2]), {"0": [1, 4, 6]}).apply(optimizer).module
    index = torch.tensor([1, 4, 6])
    for before, parameter, axis in zip(states, small.parameters(), (0, 0, 1, None), strict=True):
        for key, value in before.items():
            cut = value if axis is None else value.index_select(axis, index)
            assert torch.equal(optimizer.state[parameter][key], cut)
    step(small)
    with pytest.raises(ValueError, match="optimizer: got an optimiser of other parameters"):
        keep(plan(perceptron(4, 8, 2), X[:2].float()), {"0": [1]}).apply(optimizer)


def saved(tmp_path):
    small = keep(plan(perceptron(4, 8, 2), torch.randn(3, 4)), {"0": [1, 4]}).apply()
    small.save(tmp_path / "m.safetensors")
    return small, tmp_path / "m.safetensors"


def test_a_file_that_was_changed_is_refused(tmp_path):
    _, path = saved(tmp_path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(np.arange(len(content) // 2, len(content)), 20):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(DamagedFileError):
            load_pruned(path, perceptron(4, 8, 2))
    path.write_bytes(content[:-7])
    with pytest.raises(DamagedFileError):
        load_pruned(path, perceptron(4, 8, 2))


def test_a_fresh_module_of_another_shape_or_class_is_refused(tmp_path):
    _, path = saved(tmp_path)
    with pytest.raises(ValueError, match=r"module: got '0\.bias' of shape \[9\]"):
        load_pruned(path, perceptron(4, 9, 2))
    with pytest.raises(ValueError, match="module: got a Multiplied"):
        load_pruned(path, Multiplied())
