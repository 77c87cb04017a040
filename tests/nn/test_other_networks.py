"""Networks that the zoo does not have: what is cut is right, and what is in doubt stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.nn.zoo_networks import Wrapped
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import prune as torch_prune

from secateurs.nn import NotEqualError, load_pruned, plan
from tests.nn.test_zoo import half


def linear(a, b, **options):
    return nn.Linear(a, b, **options)


def vectors(n=3, d=6):
    return torch.randn(n, d)


def images(n=3):
    return torch.randn(n, 3, 8, 8)


def head(width):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


def two(middle, width=8, **more):
    """A layer, something in the middle, and a layer that reads it."""
    return Wrapped(
        lambda m, x: m.out(middle(m, torch.relu(m.first(x)))),
        first=linear(6, width), out=linear(width, 3), **more,
    )  # fmt: skip


def spectral():
    def forward(m, x):
        z = torch.fft.rfft(m.first(x), dim=1)
        return m.out(torch.fft.irfft(z * torch.view_as_complex(m.gains), n=5, dim=1))

    layers = {"first": linear(6, 8), "out": linear(8, 3)}
    return Wrapped(forward, gains=nn.Parameter(torch.randn(3, 8, 2)), **layers)


class ComplexProduct(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.randn(6, 8, dtype=torch.cfloat))
        self.b = nn.Parameter(torch.randn(8, 3, dtype=torch.cfloat))

    def forward(self, x):
        return x.to(torch.cfloat) @ self.a @ self.b


def by_buffer():
    mask = torch.tensor([True, False] * 4)
    return two(lambda m, h: h.masked_fill(m.mask, 0.0), mask=mask)


def scattered():
    def forward(m, x, edges):
        h = torch.relu(m.first(x))
        index = edges[1][:, None].expand(-1, h.shape[1])
        return m.out(torch.zeros_like(h).scatter_reduce(0, index, h[edges[0]], "amax"))

    return Wrapped(forward, first=linear(6, 8), out=linear(8, 3))


def masked_by_torch():
    module = nn.Sequential(linear(6, 8), nn.ReLU(), linear(8, 3))
    torch_prune.l1_unstructured(module[0], "weight", 0.3)
    torch_prune.random_unstructured(module[0], "weight", 0.1)
    return module


def narrowed(middle):
    """A layer that reads a part of what two others compute."""
    return Wrapped(
        lambda m, x: m.out(middle(torch.relu(m.first(x)), m.second(x))),
        first=linear(6, 8), second=linear(6, 8), out=linear(4, 3),
    )  # fmt: skip


def every_other(m, h):
    return torch.cat([h[:, ::2] * h[:, 1::2], h[:, :4]], -1)


NETWORKS = {
    "glu": lambda: (nn.Sequential(linear(6, 16), nn.GLU(), linear(8, 3)), vectors()),
    "glu of images": lambda: (
        nn.Sequential(nn.Conv2d(3, 16, 3), nn.GLU(1), nn.Conv2d(8, 4, 3), head(4)), images()
    ),
    "every other channel": lambda: (two(every_other), vectors()),
    "rolled": lambda: (two(lambda _, h: h.roll(3, -1)), vectors()),
    "rolled back": lambda: (two(lambda _, h: h.roll((-2, 1), (-1, 0))), vectors()),
    "channel shuffle": lambda: (
        nn.Sequential(
            nn.Conv2d(3, 12, 1), nn.ReLU(), nn.ChannelShuffle(3), nn.Conv2d(12, 6, 3, groups=3),
            head(6),
        ),
        images(),
    ),
    "fourier": lambda: (spectral(), torch.randn(3, 5, 6)),
    "complex weights": lambda: (ComplexProduct(), vectors()),
    "mask of channels": lambda: (by_buffer(), vectors()),
    "distances": lambda: (
        Wrapped(lambda m, x: torch.cdist(torch.relu(m.first(x)), m.points), first=linear(6, 8),
                points=nn.Parameter(torch.randn(4, 8))),
        vectors(),
    ),
    "bilinear": lambda: (
        Wrapped(lambda m, x: m.out(m.both(m.a(x), m.b(x))), a=linear(6, 5), b=linear(6, 7),
                both=nn.Bilinear(5, 7, 9), out=linear(9, 3)),
        vectors(),
    ),
    "largest neighbour": lambda: (scattered(), (vectors(), torch.randint(0, 3, (2, 12)))),
    "sparse input": lambda: (
        Wrapped(lambda m, x, a: m.out(torch.relu(a @ m.first(x))), first=linear(6, 8),
                out=linear(8, 3)),
        (vectors(), torch.eye(3).to_sparse()),
    ),
    "masks of torch": lambda: (masked_by_torch(), vectors()),
    "narrow": lambda: (narrowed(lambda h, _: h.narrow(1, 2, 4)), vectors()),
    "halves": lambda: (narrowed(lambda h, _: h.hsplit(2)[1]), vectors()),
    "pieces": lambda: (narrowed(lambda h, _: h.tensor_split(2, 1)[0]), vectors()),
    "like another": lambda: (
        narrowed(lambda h, g: h.unflatten(1, (2, 4)).view_as(g)[:, :4]), vectors()
    ),
    "trace": lambda: (
        Wrapped(lambda m, x: m.out(torch.relu(m.first(x))) * (m.square @ m.square.T).trace(),
                first=linear(6, 8), out=linear(8, 3), square=nn.Parameter(torch.randn(5, 4))),
        vectors(),
    ),
    "diagonal": lambda: (
        two(lambda m, h: h * m.square.diagonal(), square=nn.Parameter(torch.randn(8, 8))),
        vectors(),
    ),
    "no rule but parts": lambda: (two(lambda _, h: F.hardswish(h)), vectors()),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_half_of_other_networks_is_exact(name, tmp_path):
    torch.manual_seed(0)
    module, inputs = NETWORKS[name]()
    module.eval()
    found = plan(module, inputs)
    assert found.groups, found
    small = found.keep(half(found)).apply()
    assert small.certificate["equality"].verdict == "holds"
    assert small.n_parameters[1] < small.n_parameters[0]
    small.save(tmp_path / "m.safetensors")
    load_pruned(tmp_path / "m.safetensors", NETWORKS[name]()[0].eval())
    assert np.isfinite(plan(module, inputs).score("norm").values[next(iter(found.groups))]).all()


class Writes(nn.Module):
    """A module whose forward writes to its buffers, in each way that torch has."""

    def __init__(self):
        super().__init__()
        self.first, self.out = linear(6, 8), linear(8, 3)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("cache", torch.zeros(50, 8))

    def forward(self, x):
        h = torch.relu(self.first(x))
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * h.mean(0)
        self.cache[: len(h)] = h
        return self.out(self.cache[: len(h)] - self.mean)


def test_buffers_of_the_module_keep_their_values():
    module = Writes().eval()
    module(vectors())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = plan(module, vectors())
    scores = found.score("reconstruction", vectors(40))
    small = found.choose(scores, params=0.8).apply()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert torch.equal(small.module.count, before["count"])


class Sleeping(nn.Module):
    """Parts that the example in eval mode does not reach: positions, rows of a cache, a branch."""

    def __init__(self):
        super().__init__()
        self.first, self.out = linear(6, 8), linear(8, 3)
        self.further = nn.Sequential(linear(8, 7), nn.ReLU(), linear(7, 3))
        self.position = nn.Parameter(torch.randn(10, 8))
        self.register_buffer("cache", torch.zeros(20, 12, 8))

    def forward(self, x):
        n, length, _ = x.shape
        h = torch.relu(self.first(x) + self.position[:length])
        self.cache[:n, :length] = h
        out = self.out(self.cache[:n, :length])
        return (out, self.further(out.new_zeros(n, 8))) if self.training else out


def test_what_the_example_does_not_reach_stays():
    torch.manual_seed(0)
    module = Sleeping().eval()
    found = plan(module, torch.randn(3, 5, 6))
    assert list(found.groups) == ["position"]  # the stream, and no row of a table
    fixed = {(part.name, part.axis) for part in found.fixed if "nothing reads it" in part.reason}
    assert {("position", 0), ("cache", 0), ("cache", 1), ("further.0.weight", 0)} <= fixed
    small = found.keep(half(found)).apply()
    with torch.no_grad():
        assert small.module(torch.randn(4, 5, 6)).shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (lambda _, h: h + torch.randn_like(h), "random numbers"),
        (lambda _, h: F.dropout(h, training=True), "random numbers"),
        (lambda _, h: torch.fft.fft(h).real, "a Fourier transform"),
        (lambda _, h: h.roll(1), "the operation roll"),
        (lambda _, h: h.as_strided((len(h), 8), (8, 1)), "the operation as_strided"),
        (lambda _, h: F.pad(h[:, None], (1, 1), mode="circular")[:, 0, :8], "a padding copies"),
        (lambda _, h: F.pad(h[:, None], (1, 1), mode="reflect")[:, 0, 2:], "a padding copies"),
        (lambda m, h: h + m.numbers, "combined with an input or an axis that cannot"),
    ],
)
def test_the_reason_is_that_of_the_operation(middle, reason):
    module = two(middle, numbers=torch.arange(8))
    found = plan(module.eval(), vectors())
    assert not found.groups
    assert any(reason in p.reason and p.name == "first.weight" for p in found.fixed), found


class ByLength(nn.Module):
    """Its forward is another one for more than five places."""

    def __init__(self):
        super().__init__()
        self.first, self.out = linear(6, 8), linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.out(h) if x.shape[1] < 6 else self.out(h) + h.shape[-1]


def test_a_class_that_is_wrong_at_another_length_is_not_returned():
    module = ByLength().eval()
    found = plan(module, torch.randn(3, 5, 6))
    cut = found.keep({"first": [0, 3]})
    small = cut.apply()
    assert small.form == "graph"
    with pytest.raises(NotEqualError):
        cut.apply(form="class")
    with pytest.raises(ValueError, match=r"input 0: got shape \(3, 6, 6\); expected shape"):
        small.module(torch.randn(3, 6, 6))


class Scaled(nn.Module):
    """Its graph is needed, because the forward reads the width."""

    def __init__(self):
        super().__init__()
        self.first, self.out = linear(6, 8), linear(8, 3)

    def forward(self, a, b, scale=1.0, flag=True):
        h = torch.relu(self.first(a - 2 * b))
        return self.out(h) * scale / h.shape[-1] if flag else h


@pytest.mark.parametrize("by_name", [False, True])
def test_a_graph_reads_its_arguments_by_name_and_refuses_others(by_name):
    module, a, b = Scaled().eval(), vectors(), vectors()
    example = {"a": a, "b": b, "scale": 2.0} if by_name else (a, b, 2.0)
    small = plan(module, example).keep({"first": [0, 3, 4]}).apply()
    assert small.form == "graph"
    wanted = small.module(a, b, 2.0)
    for found in (
        small.module(a=a, b=b, scale=2.0),
        small.module(scale=2.0, b=b, a=a),
        small.module(a, scale=2.0, b=b, flag=True),
    ):
        assert torch.equal(found, wanted)
    for call in (
        lambda: small.module(a, b, 3.0),
        lambda: small.module(a, b),
        lambda: small.module(a, b, 2.0, flag=False),
        lambda: small.module(a, [b, b], 2.0),
        lambda: small.module(a, 1.0, 2.0),
    ):
        with pytest.raises(ValueError, match=r"got .*; expected .* planned"):
            call()


def test_an_example_of_one_row_gives_a_graph_for_any_number_of_rows(tmp_path):
    module = Scaled().eval()
    found = plan(module, (vectors(1), vectors(1)))
    small = found.keep({"first": [0, 3, 4]}).apply()
    assert small.form == "graph"
    assert small.module(vectors(7), vectors(7)).shape == (7, 3)
    small.save(tmp_path / "m.safetensors")
    again = load_pruned(tmp_path / "m.safetensors", Scaled().eval())
    a, b = vectors(4), vectors(4)
    assert torch.equal(again(a, b), small.module(a, b))
