"""The standing complaints about pruning tools, each as a test of what happens here instead."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from secateurs.core.program import Inputs
from secateurs.nn import NotEqualError, load_pruned, plan, prune
from tests.nn.test_zoo import half, made


def halved(name, **options):
    module, inputs = made(name)
    found = plan(module, inputs)
    return module, inputs, found.keep(half(found)).apply(**options)


def test_1_shapes_of_transformers_fit_after_pruning():
    _, inputs, small = halved("transformer")
    with torch.no_grad():
        assert Inputs.of(inputs).rows(5).call(small.module).shape[0] == 5


def test_2_grouped_queries_lose_whole_groups():
    """A head of keys goes with the heads of queries that read it."""

    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.kv = nn.Linear(6, 16), nn.Linear(6, 16)
            self.out = nn.Linear(16, 2)

        def forward(self, x):
            q = self.q(x).unflatten(-1, (4, 4)).transpose(1, 2)
            k, v = (z.unflatten(-1, (2, 4)).transpose(1, 2) for z in self.kv(x).chunk(2, -1))
            y = scaled_dot_product_attention(q, k, v, enable_gqa=True)
            return self.out(y.transpose(1, 2).flatten(2))

    found = plan(Grouped(), torch.randn(2, 5, 6))
    heads = [g for g in found.groups.values() if not g.inside_heads]
    assert [group.size for group in heads] == [2]
    small = found.keep({heads[0].name: [1]}).apply()
    state = {n.removeprefix("state."): p for n, p in small.module.named_parameters()}
    assert len(state["q.weight"]) == len(state["kv.weight"]) == 8


def test_3_files_reload_without_pickle(tmp_path):
    module, inputs, small = halved("lenet")
    small.save(tmp_path / "m.safetensors")
    assert b"pickle" not in (tmp_path / "m.safetensors").read_bytes()
    again = load_pruned(tmp_path / "m.safetensors", module)
    with torch.no_grad():
        assert torch.equal(again(inputs), small.module(inputs))


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("cross_entropy", torch.zeros(40).long(), "loss: got 'cross_entropy'; expected a function"),
        (cross_entropy, torch.zeros(40), r"loss: got float32 \[\d+, 3\] as outputs and float32"),
        (
            cross_entropy,
            torch.full((40,), 7),
            "loss: got float32 .* numbers that the loss",
        ),
        (lambda *_: 1.0, torch.zeros(40), "loss: got a float; expected one"),
        (lambda *pair: pair[0], torch.zeros(40), r"loss: got float32 \[\d+, 3\]; expected one"),
    ],
)
def test_a_loss_that_does_not_fit_is_named_with_the_shapes(loss, targets, message):
    """The message of a library about one batch does not say which argument is wrong."""
    module = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3))
    for score in ("reconstruction", "taylor"):
        with pytest.raises(ValueError, match=message):
            prune(module, loss, (torch.randn(40, 5), targets), flops=0.5, score=score)


def test_a_shape_in_place_of_inputs_is_named():
    for shape in ((5,), [2, 5]):
        with pytest.raises(ValueError, match=r"example_inputs: got .*5.*pass torch.zeros"):
            plan(nn.Linear(5, 3), shape)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    X = torch.randn(1200, 12)
    y = (X[:, :3].prod(1) > 0).long() + 2 * (X[:, 3] > 0).long()
    module = nn.Sequential(nn.Linear(12, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(),
                           nn.Linear(48, 4))  # fmt: skip
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        cross_entropy(module(X), y).backward()
        optimizer.step()
    return module, X, y


def test_4_the_accuracy_does_not_collapse_before_fine_tuning(trained):
    module, X, y = trained
    wide = float((module(X).argmax(1) == y).float().mean())
    accuracy = {}
    for how, repair in (("reconstruction", True), ("norm", False)):
        small = prune(module, cross_entropy, (X, y), params=0.4, score=how, repair=repair,
                      fine_tune_steps=0, random_state=0).module  # fmt: skip
        accuracy[how] = float((small(X).argmax(1) == y).float().mean())
    assert accuracy["reconstruction"] > wide - 0.08
    assert accuracy["reconstruction"] > accuracy["norm"]


def test_5_the_smaller_module_does_less_work():
    """FLOPs are those of torch's own counter; times are in benchmarks/nn/speed.py."""
    from torch.utils.flop_counter import FlopCounterMode

    module, inputs, small = halved("vgg")
    counts = []
    for m in (module, small.module):
        with FlopCounterMode(display=False) as counter:
            m(inputs)
        counts.append(counter.get_total_flops())
    assert counts == [int(n) for n in small.flops]


def test_6_channels_are_gone_and_not_masked():
    module, _, small = halved("resnet")
    names = [n for n, _ in small.module.named_buffers() if "mask" in n]
    assert not names
    assert sum(p.numel() for p in small.module.parameters()) < 0.5 * sum(
        p.numel() for p in module.parameters()
    )


def test_7_an_optimiser_trains_only_what_is_left():
    module, inputs = made("vgg")
    optimizer = torch.optim.AdamW(module.parameters())
    module(inputs).sum().backward()
    optimizer.step()
    found = plan(module, inputs)
    small = found.keep(half(found)).apply(optimizer)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in small.module.parameters()}
    for p, state in optimizer.state.items():
        assert all(v.shape == p.shape for v in state.values() if v.ndim)
    assert set(optimizer.state) == set(small.module.parameters())


def test_8_a_layer_that_cannot_be_pruned_is_named():
    module, inputs = made("convnext")
    found = plan(module, inputs)
    reasons = {part.reason for part in found.fixed}
    assert "a normalisation averages over it" in reasons
    assert all(part.name and part.node for part in found.fixed)


@pytest.mark.filterwarnings("ignore")  # of the exporters
def test_9_to_11_the_result_needs_no_tool_that_may_disappear(tmp_path):
    """A plain state dict, torch.export and ONNX: dense, without this package or sparse kernels."""
    import onnxruntime

    _, inputs, small = halved("lenet")
    rows = {0: torch.export.Dim("rows", min=1)}
    program = torch.export.export(small.module, (inputs,), dynamic_shapes=(rows,), strict=False)
    torch.export.save(program, tmp_path / "m.pt2")
    code = (
        "import sys, torch\n"
        f"net = torch.export.load({str(tmp_path / 'm.pt2')!r}).module()\n"
        "print(net(torch.zeros(5, 1, 16, 16)).shape[0], 'secateurs' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "False"]
    torch.onnx.export(program, f=str(tmp_path / "m.onnx"), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(found, small.module(inputs), atol=1e-5)
    fresh = nn.Sequential(*(
        type(m)(m.in_channels, m.out_channels, m.kernel_size) if isinstance(m, nn.Conv2d)
        else nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m
        for m in small.module
    ))  # fmt: skip
    fresh.load_state_dict(small.module.state_dict())


def test_12_a_changed_function_is_an_error_and_never_silent():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(torch.relu(self.a(x))) + sum(p.numel() for p in self.parameters())

    found = plan(Counted(), torch.randn(3, 4))
    with pytest.raises(NotEqualError, match="differ by"):
        found.keep({"a": [0]}).apply(form="class")
    assert found.keep({"a": [0]}).apply().certificate["equality"].verdict == "holds"
