"""The bound of a ticket holds for the modules that are returned, in the arithmetic they use."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from secateurs.tickets.certificate import network_certificate
from secateurs.tickets.modules import effective_module, masked_module
from secateurs.tickets.network_pruning import prune_network
from secateurs.tickets.norms import absolute_norm
from secateurs.tickets.rounding import arithmetic_of, dense_rounding
from secateurs.tickets.verify import verify_ticket


def chain(rng):
    """Draw Linear layers with ReLU behind most of them, and the shape of an input."""
    widths = rng.integers(1, 65, rng.integers(2, 5))
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers.append(nn.Linear(int(n_in), int(n_out), bias=bool(rng.integers(2))))
        if rng.random() < 0.8:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers), (int(widths[0]),)


def convolutional(rng):
    """Draw a network of one or two convolutions, with pooling of any kind."""
    channels, kernel = [int(c) for c in rng.integers(1, 5, 3)], int(rng.integers(1, 4))
    pool = [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 1, 1), nn.Identity()]
    settings = {"padding": int(rng.integers(2)), "bias": bool(rng.integers(2))}
    body = nn.Sequential(
        nn.Conv2d(channels[0], channels[1], kernel, stride=int(rng.integers(1, 3)), **settings),
        nn.ReLU(),
        pool[rng.integers(4)],
        nn.Conv2d(channels[1], channels[2], 2, padding=1, bias=bool(rng.integers(2))),
        nn.AdaptiveAvgPool2d(1) if rng.random() < 0.5 else nn.ReLU(),
        nn.Flatten(),
    )
    shape = (channels[0], 9, 8)
    n_flat = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, nn.Linear(n_flat, 3)), shape


def instance(seed):
    """Draw a network, its weights' scales and dtype, eps, a radius, and the shape of an input."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    module, shape = (chain if rng.random() < 0.6 else convolutional)(rng)
    module = module.eval()
    if rng.random() < 0.5:
        module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(10 ** rng.uniform(-1, 1))
            if rng.random() < 0.2:  # rows of very different sizes
                sizes = torch.logspace(-2, 2, len(parameter))
                parameter.mul_(sizes.view(-1, *[1] * (parameter.ndim - 1)))
    return module, shape, 10 ** rng.uniform(-4, -1), 10 ** rng.uniform(-1, 2)


def in_ball(x, radius):
    """Scale rows to the norm of the radius, rounded down."""
    norm = x.flatten(1).double().norm(dim=1).clamp(min=1e-30)
    return x * (radius * (1 - 1e-6) / norm).to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def distances(ticket_module, module, x):
    """Return the l2 distances of the outputs, each computed in the dtype of its module."""
    wanted = module(x).double()
    return (ticket_module(x.float()).double() - wanted).flatten(1).norm(dim=1)


def largest_distance(ticket_module, module, shape, radius, seed, steps=12, n=24):
    """Look for the largest distance in the ball, by ascent along the gradient."""
    rng = np.random.default_rng(seed)
    dtype = next(module.parameters()).dtype
    x = in_ball(torch.from_numpy(rng.standard_normal((n, *shape))).to(dtype), radius)
    largest = 0.0
    for step in range(steps):
        x.requires_grad_(True)
        found = distances(ticket_module, module, x)
        largest = max(largest, float(found.detach().max()))
        (gradient,) = torch.autograd.grad(found.sum(), x)
        with torch.no_grad():
            moved = in_ball(x.detach(), radius) + in_ball(gradient, radius) * 3 / (1 + step)
            x = in_ball(moved, radius)
    return largest


def check(seed):
    """Compare the bound of one instance with the distances found for both modules."""
    module, shape, eps, radius = instance(seed)
    extra = {"input_shape": shape} if len(shape) == 3 else {}
    solution = prune_network(module, eps, seed, radius=radius, **extra)
    bound = solution.measured["error_bound"]
    assert math.isfinite(bound)
    assert bound >= solution.measured["exact_error_bound"]
    assert network_certificate(solution.measured["report"], eps)["outputs"].measured == bound
    effective = solution.measured["effective_error_bound"]
    for build, most in ((masked_module, bound), (effective_module, effective)):
        found = largest_distance(build(solution.value), module, shape, radius, seed)
        assert found <= most <= bound, f"seed {seed}: {found} > {most}"


@pytest.mark.parametrize("seed", range(40))
def test_no_input_breaks_the_bound(seed):
    check(seed)


@pytest.mark.slow
def test_no_input_of_many_networks_breaks_the_bound():
    for seed in range(1000, 3000):
        check(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [1.0, 100.0])
def test_rounding_breaks_the_bound_of_exact_arithmetic_only(dtype, radius):
    """At a small eps the distance of the modules is mostly rounding, and the bound covers it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 5)).to(dtype)
    solution = prune_network(module, 1e-8, 0, radius=radius, max_terms=44)
    assert solution.status == "converged"
    exact, effective, bound = (
        solution.measured[name]
        for name in ("exact_error_bound", "effective_error_bound", "error_bound")
    )
    for build, most in ((masked_module, bound), (effective_module, effective)):
        found = largest_distance(build(solution.value), module, (20,), radius, 0)
        assert exact < found <= most
    assert effective < bound < 1e-2 * radius


def test_the_statement_names_the_modules_and_their_arithmetic():
    for module, name in ((nn.Linear(3, 2), "float32"), (nn.Linear(3, 2).double(), "float64")):
        report = prune_network(module, 1e-2, 0).measured["report"]
        outputs = network_certificate(report, 1e-2)["outputs"]
        assert report.dtype == name
        for part in ("masked_module", f"target, computed in {name}", "rounding included"):
            assert part in outputs.statement
        assert outputs.measured == report.error_bound > report.exact_error_bound


@given(seed=st.integers(0, 10**6), n=st.integers(1, 400), m=st.integers(1, 5))
@settings(max_examples=50)
def test_the_rounding_of_a_layer_is_below_its_bound(seed, n, m):
    """Sums of many cancelling terms, compared with float64."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    module = nn.Linear(n, m)
    with torch.no_grad():
        module.weight.mul_(10 ** rng.uniform(-3, 3))
    (layer,) = prune_network(module, 0.5, 0).value.layers
    sizes = {"plus": module.weight.detach().abs().double().numpy()}
    sizes["bias"] = module.bias.detach().abs().double().numpy()[:, None]
    arithmetic = arithmetic_of(torch.float32)
    bounds = dense_rounding(arithmetic, layer, sizes, np.full(m, n + 1.0), 1.0, 1e3)
    x = torch.from_numpy(rng.standard_normal((20, n))).float()
    with torch.no_grad():
        rounded, exact = module(x).double(), torch.nn.functional.linear(
            x.double(), module.weight.double(), module.bias.double()
        )  # fmt: skip
    for row, norm in zip(rounded - exact, x.double().norm(dim=1), strict=True):
        assert float(row.norm()) <= bounds.bound(float(norm), arithmetic)
    assert np.linalg.norm(sizes["plus"], 2) <= absolute_norm(layer, -sizes["plus"])


def test_numbers_that_may_overflow_have_no_bound():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    ticket = prune_network(module, 1e-2, 0).value
    for size, radius, verdict in (
        (1e10, 1.0, "holds"),
        (1e25, 1.0, "unknown"),  # the square leaves float32
        (1e10, 1e30, "unknown"),
        (1e10, 1e307, "unknown"),
    ):
        with torch.no_grad():
            for p in module.parameters():
                p.fill_(size)
        outputs = network_certificate(verify_ticket(ticket, module, radius=radius), 0.1)["outputs"]
        assert outputs.verdict == verdict
        assert (outputs.measured is None) == (verdict == "unknown")
        assert "inf" not in outputs.statement


def test_a_mean_over_a_map_needs_the_size_of_the_map():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ValueError, match=r"input_shape: got None; expected .*mean over a map"):
        prune_network(module, 0.1, 0)
    assert prune_network(module, 0.1, 0, input_shape=(1, 5, 5)).measured["error_bound"] > 0
