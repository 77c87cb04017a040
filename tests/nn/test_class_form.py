"""The class form where torch ties widths together: attention with other heads, and its scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss, scaled_dot_product_attention

from secateurs.nn import load_pruned, plan, prune
from secateurs.nn.narrow_attention import NarrowAttention, make_narrow
from tests.nn.test_zoo import half


class Stream(nn.Module):
    """Attention of torch whose stream can be pruned too."""

    def __init__(self, **options):
        super().__init__()
        self.inner = nn.Linear(6, 12)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **options)
        self.out = nn.Linear(12, 2)

    def forward(self, x):
        x = torch.relu(self.inner(x))
        return self.out(self.attention(x, x, x, need_weights=False)[0])


class OpenScale(nn.Module):
    """One layer for queries, keys and values, and attention without a given scale."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 36), nn.Linear(12, 3)
        self.head_dim = 6

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, self.head_dim)).permute(2, 0, 3, 1, 4)
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def masks(rows, n, heads):
    """Every kind of mask that both layers accept."""
    causal = torch.ones(n, n, dtype=torch.bool).triu(1)
    padding = torch.zeros(rows, n, dtype=torch.bool)
    padding[:, -1] = True
    each = torch.randn(rows * heads, n, n)
    return [
        {},
        {"attn_mask": causal},
        {"attn_mask": causal, "is_causal": True},
        {"key_padding_mask": padding},
        {"attn_mask": causal.float() * -2, "key_padding_mask": padding.float() * -3},
        {"attn_mask": each},
    ]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 5, "vdim": 7}])
@pytest.mark.parametrize("need_weights", [False, True])
@torch.no_grad()
def test_a_whole_layer_made_narrow_computes_what_torch_computes(batch_first, options, need_weights):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    wide = [torch.randn(3, 5, d) for d in (8, options.get("kdim", 8), options.get("vdim", 8))]
    inputs = wide if batch_first else [x.transpose(0, 1) for x in wide]
    alone = [x[0] for x in wide]
    calls = [(inputs, mask) for mask in masks(3, 5, 2)] + [(alone, {})]
    wanted = [layer(*x, need_weights=need_weights, **mask) for x, mask in calls]
    make_narrow(layer, 4)
    for (x, mask), expected in zip(calls, wanted, strict=True):
        for a, b in zip(layer(*x, need_weights=need_weights, **mask), expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_hint_without_its_mask_is_an_error():
    layer = nn.MultiheadAttention(8, 2)
    make_narrow(layer, 4)
    x = torch.randn(5, 3, 8)
    with pytest.raises(RuntimeError, match="causal"):
        layer(x, x, x, is_causal=True)


def test_heads_positions_and_the_stream_of_torchs_attention_go_in_its_class(tmp_path):
    torch.manual_seed(0)
    module = Stream().eval()
    x = torch.randn(3, 4, 6)
    found = plan(module, x)
    small = found.keep(half(found)).apply()
    assert small.form == "class"
    layer = small.module.attention
    assert isinstance(layer, NarrowAttention)
    assert (layer.num_heads, layer.head_dim, layer.embed_dim) == (2, 2, 6)
    small.save(tmp_path / "m.safetensors")
    again = load_pruned(tmp_path / "m.safetensors", Stream().eval())
    with torch.no_grad():
        assert torch.equal(again(x), small.module(x))
    twice = plan(small.module, x)  # what was pruned can be pruned again
    assert twice.keep(half(twice)).apply().form == "class"


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_torchs_fused_encoder_does_not_run_with_narrow_attention():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
    module = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(3, 4, 12)
    found = plan(module, x)
    small = found.keep(half(found)).apply()
    assert small.form == "class"
    with torch.no_grad():  # outside of the verification, the fused path is allowed
        quick = small.module(x)
        padding = torch.zeros(3, 4, dtype=torch.bool)
        padding[1:, 3] = True
        padded = small.module(x, src_key_padding_mask=padding)
    torch.testing.assert_close(small.module(x), quick, atol=1e-5, rtol=1e-5)
    slow = small.module(x, src_key_padding_mask=padding)
    torch.testing.assert_close(slow[~padding], padded[~padding], atol=1e-5, rtol=1e-5)


def test_a_subclass_of_a_user_keeps_its_class():
    class Own(nn.MultiheadAttention):
        pass

    module = Stream().eval()
    module.attention.__class__ = Own
    small_forms = plan(module, torch.randn(3, 4, 6))
    small = small_forms.keep(half(small_forms)).apply()
    assert not any(isinstance(child, NarrowAttention) for child in small.module.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scale_that_follows_the_width_of_a_head_is_folded(dtype):
    torch.manual_seed(0)
    module = OpenScale().eval().to(dtype)
    found = plan(module, torch.randn(3, 4, 8, dtype=dtype))
    inside = next(g.name for g in found.groups.values() if g.inside_heads)
    small = found.keep({inside: [1, 4]}).apply()
    assert small.form == "class"
    check = small.certificate["equality"]
    assert check.measured < 1e-10
    assert ("rounding" in check.statement) == (dtype == torch.float32)
    q, k, _ = small.module.qkv.weight.detach().unflatten(0, (3, -1))
    wide_q, wide_k, _ = module.qkv.weight.detach().unflatten(0, (3, 2, 6))
    torch.testing.assert_close(q, (wide_q[:, [1, 4]] / 3**0.5).flatten(0, 1))
    torch.testing.assert_close(k, wide_k[:, [1, 4]].flatten(0, 1))


def test_training_goes_on_with_a_folded_scale():
    torch.manual_seed(0)
    X, y = torch.randn(80, 4, 8), torch.randn(80, 4, 3)
    small = prune(
        OpenScale(), mse_loss, (X, y), params=0.6, inside_heads=True, n_rounds=2,
        fine_tune_steps=4, random_state=0,
    )  # fmt: skip
    assert small.certificate["equality"].verdict == "holds"


def test_the_path_of_the_group_lasso_scores_channels_and_says_when_it_was_too_short():
    torch.manual_seed(0)
    X = torch.randn(400, 5)
    y = torch.relu(X[:, :1]) - torch.relu(X[:, 1:2])
    module = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        mse_loss(module(X), y).backward()
        optimizer.step()
    found = plan(module, X[:3])
    verdicts = {}
    for n_steps in (20, 1500):
        scores = found.score("group_lasso", (X, y), mse_loss, n_steps=n_steps, random_state=0)
        assert np.isfinite(scores.values["0"]).all()
        small = found.choose(scores, widths={"0": 6}).apply()
        verdicts[n_steps] = small.certificate["path length"].verdict
    assert verdicts == {20: "fails", 1500: "holds"}
    with pytest.raises(ValueError, match="loss"):
        found.score("group_lasso", (X, y))
    with pytest.raises(ValueError, match="X, y"):
        found.score("group_lasso", X, mse_loss)
