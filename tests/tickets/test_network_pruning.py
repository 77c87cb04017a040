"""Tickets: the masked random network computes its sums, is near its target, and has a file."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from secateurs.core.archive import DamagedFileError
from secateurs.tickets import file as ticket_file
from secateurs.tickets import load_ticket, save_ticket, subset_sum
from secateurs.tickets.certificate import network_certificate
from secateurs.tickets.layers import Layer, stack_problem
from secateurs.tickets.modules import MaskedRandom, effective_module, masked_module
from secateurs.tickets.network_pruning import prune_network
from secateurs.tickets.norms import operator_norm, spectral_norm
from secateurs.tickets.ticket import Candidates, Ticket
from secateurs.tickets.verify import verify_ticket
from tests.sparse.test_storage import change


def dense(seed=0, *, bias=True):
    torch.manual_seed(seed)
    layers = nn.Linear(6, 9, bias), nn.ReLU(), nn.Dropout(), nn.Linear(9, 4, bias)
    return nn.Sequential(*layers).eval()


def convolutional(seed=0):
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    second = nn.Sequential(nn.Conv2d(5, 4, (2, 3), stride=2, dilation=(1, 2)), nn.ReLU())
    return nn.Sequential(first, second, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 2 * 1, 3))


MODULES = {
    "dense": (dense(), (6,)),
    "no bias": (dense(bias=False), (6,)),
    "layer": (nn.Linear(5, 3), (5,)),
    "linear twice": (nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 2)), (5,)),
    "convolutional": (convolutional(), (2, 16, 16)),
}


def inputs(shape, seed=0, n=64):
    """Draw inputs of norm at most 1 and of both signs."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, *shape))).float()
    x /= x.flatten(1).norm(dim=1).view(-1, *([1] * len(shape)))
    return x * torch.linspace(0.1, 1, n).view(-1, *([1] * len(shape)))


def pruned(name, eps, **settings):
    module, shape = MODULES[name]
    module.eval()
    extra = {"input_shape": shape} if len(shape) == 3 else {}
    return module, shape, prune_network(module, eps, 0, **extra, **settings)


@pytest.mark.parametrize("eps", [0.3, 1e-2, 1e-5])
@pytest.mark.parametrize("name", MODULES)
def test_weights_are_within_eps_and_outputs_within_the_bound(name, eps):
    module, shape, solution = pruned(name, eps)
    assert solution.status == "converged"
    assert solution.measured["max_error"] <= eps
    for number, layer in enumerate(solution.value.layers):
        target = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        if not layer.blocks():
            continue
        weight = target[sum(bool(one.blocks()) for one in solution.value.layers[:number])].weight
        found = solution.value.approximation(number)
        rows = layer.rows(weight.detach().double().numpy())
        assert np.abs(found["plus"] - rows).max() <= eps * np.abs(rows).max()
    x = inputs(shape)
    with torch.no_grad():
        error = (effective_module(solution.value)(x) - module(x)).norm(dim=1).max()
    assert error <= solution.measured["error_bound"]


@pytest.mark.parametrize("name", MODULES)
def test_the_masked_random_network_computes_the_sums_under_its_masks(name):
    _, shape, solution = pruned(name, 1e-2)
    x = inputs(shape)
    masked, effective = masked_module(solution.value), effective_module(solution.value)
    with torch.no_grad():
        torch.testing.assert_close(masked(x), effective(x), atol=2e-5, rtol=1e-4)
    kept = 0
    for layer in masked:
        if isinstance(layer, MaskedRandom):
            kept += sum(int((p != 0).sum()) for p in (layer.u, layer.v, layer.u_one, layer.v_one))
    assert kept == solution.value.n_kept < solution.value.n_random


def test_weights_of_the_random_network_are_normal_and_used_by_all_outputs():
    ticket = pruned("dense", 1e-5)[2].value
    u = np.concatenate([m.u for m in masked_module(ticket) if isinstance(m, MaskedRandom)])
    assert 0.6 < np.abs(u).mean() < 1.1
    signed, hidden = masked_module(ticket)[0], masked_module(ticket)[2]
    assert (signed.u > 0).any()
    assert (signed.u < 0).any()
    assert (hidden.u > 0).all()  # behind a relu, units of the other sign never open
    assert (signed.v != 0).sum(0).max() > 1


def test_nonnegative_inputs_need_half_the_masks():
    module = MODULES["layer"][0]
    both = prune_network(module, 1e-2, 0).value
    one = prune_network(module, 1e-2, 0, nonnegative_inputs=True).value
    assert both.n_weights == one.n_weights + 15
    x = inputs((5,)).abs()
    with torch.no_grad():
        assert (effective_module(one)(x) - module(x)).abs().max() < 5 * 1e-2


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), eps=st.sampled_from([0.3, 1e-2, 1e-4]))
def test_the_bound_holds_for_the_inputs_it_names(seed, eps):
    """A ticket for inputs >= 0 has no valid bound for an input with a negative entry."""
    torch.manual_seed(seed)
    linear = nn.Linear(3, 2, bias=False).double()
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((50, 3)))
    x = torch.cat([x / x.norm(dim=1, keepdim=True), -torch.eye(3)])
    behind_relu = nn.Sequential(nn.ReLU(), linear)
    for module, nonnegative in ((linear, False), (linear, True), (behind_relu, True)):
        solution = prune_network(module, eps, 0, nonnegative_inputs=nonnegative)
        report = verify_ticket(solution.value, module)
        unsigned = nonnegative and module is linear
        outputs = network_certificate(report, eps)["outputs"]
        assert report.nonnegative_inputs is unsigned
        assert ("with no negative entry" in outputs.statement) is unsigned
        assert outputs.verdict == "holds"
        masked = masked_module(solution.value).double()
        with torch.no_grad():
            named = (masked(x.abs()) - module(x.abs())).norm(dim=1).max()
            others = (masked(x) - module(x)).norm(dim=1).max()
        assert named <= report.error_bound
        if not unsigned:
            assert others <= report.error_bound
        elif eps < 1e-3:
            assert others > report.error_bound


def test_biases_are_kept_where_the_maps_are_padded():
    """The constant input of one reaches the border too."""
    conv = nn.Conv2d(1, 2, 3, padding=1)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.tensor([0.7, -0.4]))
    ticket = prune_network(conv, 1e-4, 0, input_shape=(1, 4, 4)).value
    with torch.no_grad():
        found = masked_module(ticket)(torch.randn(2, 1, 4, 4))
    wanted = conv.bias.detach().view(1, 2, 1, 1).expand(2, 2, 4, 4)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_seeds_threads_and_pieces(monkeypatch):
    one = prune_network(dense(), 1e-3, 5, n_threads=1).value
    monkeypatch.setattr("secateurs.core.thread_pool.PIECE", 7)
    two = prune_network(dense(), 1e-3, 5, n_threads=3).value
    other = prune_network(dense(), 1e-3, 6).value
    assert ticket_file.ticket_bytes(one) == ticket_file.ticket_bytes(two)
    assert (one.masks[0]["plus"] != other.masks[0]["plus"]).any()
    assert prune_network(dense(), 0.1).value.seed != prune_network(dense(), 0.1).value.seed


def test_weights_that_cannot_be_reached_are_counted():
    module = nn.Linear(3, 2, bias=False)
    solution = prune_network(module, 1e-3, 0, max_terms=2)
    errors = [
        np.abs(found - sign * module.weight.detach().numpy()).ravel()
        for sign, found in zip((1, -1), solution.value.approximation(0).values(), strict=True)
    ]
    relative = np.concatenate(errors) / float(module.weight.detach().abs().max())
    assert solution.status == "budget"
    assert solution.measured["n_outside"] == (relative > 1e-3).sum() > 0
    assert solution.measured["max_error"] == pytest.approx(relative.max(), rel=1e-6)
    assert prune_network(module, 1e-3, 0).status == "converged"


@pytest.mark.parametrize("name", ["dense", "convolutional", "linear twice"])
@pytest.mark.parametrize("power", [-60, 7, 60])
def test_a_function_written_at_other_scales_has_the_same_masks(name, power):
    """When every tensor is multiplied by a power of two, the masks stay and their sums follow."""
    module, shape, solution = pruned(name, 1e-3)
    other = copy.deepcopy(module)
    factors = [2.0 ** (power // (k + 1)) for k, _ in enumerate(other.parameters())]
    with torch.no_grad():
        for p, factor in zip(other.parameters(), factors, strict=True):
            p.mul_(factor)
    extra = {"input_shape": shape} if len(shape) == 3 else {}
    scaled = prune_network(other, 1e-3, 0, **extra)
    assert scaled.measured["max_error"] == solution.measured["max_error"] <= 1e-3
    for old, new in zip(solution.value.masks, scaled.value.masks, strict=True):
        for key in old:
            np.testing.assert_array_equal(old[key], new[key])
    for number, layer in enumerate(solution.value.layers):
        if layer.blocks():
            old, new = solution.value.approximation(number), scaled.value.approximation(number)
            factor = factors.pop(0)
            np.testing.assert_array_equal(new["plus"], factor * old["plus"])
            np.testing.assert_array_equal(new["bias"], factors.pop(0) * old["bias"])


def test_errors_are_in_units_of_the_target_not_of_the_ticket():
    module, _, solution = pruned("layer", 1e-3)
    scales = tuple({name: 1e6 * s for name, s in of.items()} for of in solution.value.scales)
    blown = verify_ticket(dataclasses.replace(solution.value, scales=scales), module)
    assert blown.n_outside > 0
    assert blown.max_error > 1e3


@settings(max_examples=25)
@given(scale=st.floats(1e-6, 1e6), eps=st.floats(1e-3, 0.9))
def test_weights_at_the_edge_of_eps_are_inside_for_the_search_and_the_report(scale, eps):
    """Rounding does not matter where the empty subset is just within eps, or just outside."""
    edge = eps * scale
    weights = [scale, edge, np.nextafter(edge, 0), np.nextafter(edge, scale), edge * (1 + 1e-13)]
    module = nn.Linear(len(weights), 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weights, dtype=torch.float64))
    solution = prune_network(module, eps, 0, nonnegative_inputs=True)
    assert (solution.status, solution.measured["n_outside"]) == ("converged", 0)
    assert solution.measured["max_error"] <= eps


def test_zeros_and_sizes_that_float32_does_not_hold():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    solution = prune_network(module, 1e-3, 0)
    assert (solution.status, solution.measured["max_error"]) == ("converged", 0)
    assert solution.measured["error_bound"] == 0
    with torch.no_grad():
        module[2].weight[0, 0] = 1e31
    with pytest.raises(ValueError, match=r"weight of size 1e\+31"):
        prune_network(module, 1e-3, 0)


def test_ctrl_c_leaves_a_ticket_and_the_number_of_weights_outside_eps(monkeypatch):
    monkeypatch.setattr("secateurs.core.thread_pool.PIECE", 10)

    def stop(p):
        if p.step > 60:
            raise KeyboardInterrupt

    solution = prune_network(dense(), 1e-3, 0, progress=stop)
    assert solution.status == "interrupted"
    assert solution.measured["n_outside"] > 0
    assert (solution.value.masks[0]["plus"] != 0).sum() > 40
    assert not solution.value.masks[-1]["plus"].any()


def test_progress_ends_with_every_weight():
    seen = []
    prune_network(dense(), 1e-2, 0, progress=seen.append)
    total = 2 * 54 + 9 + 36 + 4
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    assert (seen[-1].step, seen[-1].n_steps, seen[-1].loss) == (total, total, 0)


@given(
    seed=st.integers(0, 10**6),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_operator_norms_are_upper_bounds(seed, kernel, stride, dilation, channels):
    layer = Layer(
        kind="conv2d",
        n_in=channels[0],
        n_out=channels[1],
        kernel=kernel,
        stride=stride,
        padding=(1, 1),
        dilation=(dilation, dilation),
    )
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((channels[1], channels[0], *kernel))
    W = torch.from_numpy(weight)
    x = torch.from_numpy(rng.standard_normal((1, channels[0], 9, 9)))
    bound = operator_norm(layer, layer.rows(weight))
    for _ in range(10):  # power iteration: the norm from below
        y = nn.functional.conv2d(x, W, None, stride, 1, dilation)
        assert y.norm() <= bound * x.norm()
        x = torch.ops.aten.convolution_backward(
            y, x, W, None, stride, (1, 1), (dilation, dilation), False, (0, 0), 1,
            (True, False, False),
        )[0]  # fmt: skip
        x = x / x.norm()
    rows = layer.rows(weight)
    np.testing.assert_array_equal(layer.torch_layout(rows), weight)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), TypeError, "1 .Tanh"),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)), ValueError, "1 .BatchNorm2d.*eval"),
        (nn.Conv2d(4, 4, 3, groups=2), TypeError, "groups=1"),
        (nn.Conv2d(1, 1, 3, padding="same"), TypeError, "padding"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), TypeError, "zeros"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, ceil_mode=True)),
            TypeError, "1 .MaxPool2d.*no error bound",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
            TypeError, "1 .AvgPool2d.*no error bound",
        ),
        (nn.Sequential(nn.Linear(2, 2), nn.Flatten(0)), TypeError, "1 .Flatten"),
        (nn.ReLU(), ValueError, "without weights"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2)), TypeError, "1 .Linear.*Flatten be"),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2)), ValueError, "cannot read"),
    ],
)  # fmt: skip
def test_layers_without_a_bound_are_refused_by_name(module, error, message):
    with pytest.raises(error, match=message):
        prune_network(module, 1e-2, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"eps": 0.0}, {"eps": float("nan")}, {"eps": 1.0}, {"max_terms": 49},
        {"max_terms": 2.5}, {"random_state": -1}, {"random_state": 1.5}, {"radius": -1.0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_are_checked(change):
    with pytest.raises(ValueError, match="expected"):
        prune_network(**{"module": nn.Linear(2, 2), "eps": 0.1, "random_state": 0, **change})


def test_a_bias_on_maps_needs_their_size():
    with pytest.raises(ValueError, match="input_shape"):
        prune_network(nn.Conv2d(1, 1, 3), 1e-2, 0)
    with pytest.raises(ValueError, match="not smaller than its kernel"):
        prune_network(nn.Conv2d(1, 1, 3), 1e-2, 0, input_shape=(1, 2, 2))
    weights = nn.Linear(2, 2)
    with torch.no_grad():
        weights.weight[0, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        prune_network(weights, 1e-2, 0)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Conv2d(2, 1, 3), (1, 8, 8), "1 channels; expected 2"),
        (nn.Conv2d(2, 1, 3), (8, 8), r"\(channels, height, width\)"),
        (nn.Conv2d(2, 1, 3), (2, 8, 0), r"\(channels, height, width\)"),
        (nn.Conv2d(2, 1, 3), (2, 8.0, 8), r"\(channels, height, width\)"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(64, 1)),
            (1, 1, 1),
            "1 inputs; expected 64",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 1)),
            (1, 10, 10),
            "64 inputs; expected 36",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), (1, 4, 4), "16 inputs; expected 64"),
    ],
)
def test_an_input_shape_that_the_network_does_not_take_is_refused(module, shape, message):
    """Its bound would be for smaller maps, so it is refused before the search and by the report."""
    seen = []
    with pytest.raises(ValueError, match=message):
        prune_network(module, 1e-2, 0, input_shape=shape, progress=seen.append)
    assert seen == []
    channels = 2 if isinstance(module, nn.Conv2d) else 1
    ticket = prune_network(module, 0.3, 0, input_shape=(channels, 8, 8)).value
    with pytest.raises(ValueError, match=message):
        verify_ticket(ticket, module, input_shape=shape)


@given(seed=st.integers(0, 10**6), power=st.integers(-1000, 990), rank=st.integers(1, 3))
def test_spectral_norms_are_upper_bounds_at_any_size(seed, power, rank):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((5, rank)) @ rng.standard_normal((rank, 7))
    expected = float(np.linalg.norm(M, 2))
    found = spectral_norm(np.ldexp(M, power))
    assert np.ldexp(expected, power) <= found <= np.ldexp(expected * (1 + 1e-8), power)
    assert spectral_norm(0 * M) == 0


def test_weights_far_below_their_scale_still_have_a_bound():
    module = nn.Linear(3, 2, bias=True).double()
    with torch.no_grad():
        module.weight.fill_(1e-200)
        module.bias.fill_(1e-200)
    solution = prune_network(module, 1e-3, 0)
    x = torch.eye(3).double()
    with torch.no_grad():
        moved = (masked_module(solution.value).double()(x) - module(x)).abs().max()
    assert 0 < moved <= solution.measured["error_bound"]


def test_the_norms_of_a_linear_layer_are_exact():
    module = MODULES["layer"][0]
    ticket = prune_network(module, 0.1, 0).value
    (layer,) = verify_ticket(ticket, module).layers
    found, W = ticket.approximation(0), module.weight.detach().double().numpy()
    E = np.hstack([found["plus"] - W, found["minus"] + W])
    assert layer.operator_norm == pytest.approx(np.linalg.norm(W, 2), rel=1e-8)
    assert layer.error_norm == pytest.approx(np.linalg.norm(E, 2), rel=1e-8)


def test_a_ticket_describes_itself():
    ticket = pruned("convolutional", 1e-2)[2].value
    description = ticket.describe(file_bytes=1234)
    assert description.facts["n_weights"] == sum(
        p.numel() for p in MODULES["convolutional"][0].parameters()
    )
    assert description.facts["file_bytes"] == 1234
    assert "file_bytes" not in ticket.describe().facts
    assert [row[1] for row in description.tables[0].rows] == [
        "5 x 2 x 3 x 3 + bias",
        "4 x 5 x 2 x 3 + bias",
        "3 x 8 + bias",
    ]


def test_a_ticket_is_verified_against_its_own_target_only():
    ticket = pruned("dense", 1e-3)[2].value
    other = verify_ticket(ticket, dense(seed=1))
    assert other.n_outside > 0.9 * other.n_weights
    with pytest.raises(ValueError, match="for which the ticket was made"):
        verify_ticket(ticket, dense(bias=False))


# the file


@pytest.fixture(scope="module")
def content():
    return ticket_file.ticket_bytes(prune_network(dense(), 1e-3, 7).value)


@pytest.mark.parametrize("name", MODULES)
def test_round_trip(tmp_path, name):
    module, shape, solution = pruned(name, 1e-3)
    size = save_ticket(tmp_path / "t", solution.value)
    assert (tmp_path / "t").stat().st_size == size
    back = load_ticket(tmp_path / "t")
    assert ticket_file.ticket_bytes(back) == (tmp_path / "t").read_bytes()
    x = inputs(shape)
    with torch.no_grad():
        assert torch.equal(masked_module(back)(x), masked_module(solution.value)(x))
    extra = {"input_shape": shape} if len(shape) == 3 else {}
    assert verify_ticket(back, module, **extra).max_error == solution.measured["max_error"]


def test_many_weights_and_masks_of_any_length(tmp_path, monkeypatch):
    monkeypatch.setattr(ticket_file, "PIECE", 16)
    rng = np.random.default_rng(0)
    for bits in (1, 3, 8, 13, 48):
        masks = rng.integers(0, 1 << bits, 101, dtype=np.uint64)
        packed = ticket_file._pack(masks, bits)
        assert len(packed) == (101 * bits + 7) // 8
        np.testing.assert_array_equal(ticket_file._unpack(packed, (101, 1), bits), masks)


LINEAR = {"kind": "linear", "n_in": 6, "n_out": 9, "bias": True, "signed": True}
LAST = {"kind": "linear", "n_in": 9, "n_out": 4, "bias": True}
RELU = {"kind": "relu"}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "network"},
        {"format": 99},
        {"seed": 8},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": "7"},
        {"scales": {}},
        {"scales": {"0.plus": 2.0, "0.minus": 1.0, "0.bias": 1.0, "2.plus": 1.0, "2.bias": 1.0}},
        {"scales": {"0.plus": 0.0, "0.minus": 1.0, "0.bias": 1.0, "2.plus": 1.0, "2.bias": 1.0}},
        {"scales": {"0.plus": 1e31, "0.minus": 1.0, "0.bias": 1.0, "2.plus": 1.0, "2.bias": 1.0}},
        {"eps": 1.0},
        {"eps": None},
        {"checksum": 0},
        {"layers": []},
        {"layers": [RELU]},
        {"layers": [LINEAR, RELU, {**LAST, "n_out": 5}]},
        {"layers": [{**LINEAR, "n_out": 2**31 - 1}, RELU, {**LAST, "n_in": 2**31 - 1}]},
        {"layers": [{**LINEAR, "n_in": 10**30}, RELU, LAST]},
        {"layers": [{**LINEAR, "n_in": -6}, RELU, LAST]},
        {"layers": [{**LINEAR, "kernel": [2, 2]}, RELU, LAST]},
        {"layers": [{**LINEAR, "kind": "os.system"}, RELU, LAST]},
        {"layers": [{**LINEAR, "signed": False}, RELU, {**LAST, "signed": True}]},
        {"layers": [LINEAR, RELU, {**LAST, "signed": True}]},
        {"layers": [LINEAR, RELU, LAST, {"kind": "max_pool2d"}]},
        {"layers": "linear"},
        {"bits": {}},
        {"bits": {"0.plus": 10**9, "0.minus": 1, "0.bias": 1, "2.plus": 1, "2.bias": 1}},
        {"bits": {"0.plus": 0, "0.minus": 1, "0.bias": 1, "2.plus": 1, "2.bias": 1}},
        {"bits": {"0.plus": 1, "0.minus": 1, "0.bias": 1, "2.plus": 1, "2.bias": 1}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_hostile_metadata_is_refused_by_name(content, tmp_path, changes):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(change(content, **changes))
    with pytest.raises(DamagedFileError, match=r"hostile\.safetensors"):
        load_ticket(path)


def test_tickets_of_an_absolute_eps_are_refused_with_the_way_out(content, tmp_path):
    (tmp_path / "t").write_bytes(change(content, scale=1.0))
    with pytest.raises(DamagedFileError, match="absolute; prune the network again"):
        load_ticket(tmp_path / "t")


def test_the_unchanged_record_is_accepted(content, tmp_path):
    (tmp_path / "t").write_bytes(change(content))
    assert load_ticket(tmp_path / "t").seed == 7


def test_other_files_and_random_numbers_that_differ_are_refused(content, tmp_path, monkeypatch):
    import safetensors.numpy

    with pytest.raises(FileNotFoundError, match="no model file"):
        load_ticket(tmp_path / "absent")
    (tmp_path / "empty").touch()
    with pytest.raises(DamagedFileError):
        load_ticket(tmp_path / "empty")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(DamagedFileError, match="not one of secateurs"):
        load_ticket(tmp_path / "foreign")
    (tmp_path / "t").write_bytes(content)
    drawn = Candidates.__call__
    monkeypatch.setattr(Candidates, "__call__", lambda *a: np.nextafter(drawn(*a), 9))
    with pytest.raises(DamagedFileError, match="checksum"):
        load_ticket(tmp_path / "t")


def test_stacks_that_fit():
    conv = Layer(kind="conv2d", n_in=3, n_out=4, signed=True)
    flat = Layer(kind="flatten")
    assert stack_problem([conv, flat, Layer(kind="linear", n_in=8, n_out=2, signed=True)]) is None
    assert stack_problem([conv, flat, Layer(kind="linear", n_in=9, n_out=2, signed=True)])
    assert isinstance(Ticket(0, 0.1, ({},), (conv,), ({},)), Ticket)


def test_a_seed_of_numpy_is_a_seed(tmp_path):
    module = nn.Linear(3, 2)
    found = [
        prune_network(module, 0.01, seed, max_terms=n).value
        for seed, n in ((3, 30), (np.int64(3), np.int32(30)))
    ]
    for k, ticket in enumerate(found):
        save_ticket(tmp_path / str(k), ticket)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert subset_sum([1.0, 2.0], [3.0], max_terms=np.int64(2)).error == 0


@pytest.mark.parametrize("kind", ["linear", "conv2d"])
def test_a_two_sided_layer_has_the_weight_of_its_target(kind):
    """Its linear part is near the target's weight, and the rest is a small multiple of |x|."""
    torch.manual_seed(0)
    first = nn.Linear(5, 4) if kind == "linear" else nn.Conv2d(2, 4, 3)
    first.requires_grad_(False)
    x = torch.randn(6, 5) if kind == "linear" else torch.randn(6, 2, 7, 7)
    module = nn.Sequential(first, nn.ReLU())
    shape = None if kind == "linear" else (2, 7, 7)
    found = prune_network(module, 1e-2, 0, input_shape=shape).value
    layer = effective_module(found)[0]
    assert layer.weight.shape == first.weight.shape
    scale = float(first.weight.abs().max())
    assert float((layer.weight - first.weight).abs().max()) <= 1.01e-2 * scale
    apply = nn.functional.linear if kind == "linear" else nn.functional.conv2d
    even = (layer.plus + layer.minus) / 2
    parts = apply(x, layer.weight, layer.bias) + apply(x.abs(), even)
    torch.testing.assert_close(layer(x), parts, atol=1e-5, rtol=1e-5)
    assert kind in repr(layer)
