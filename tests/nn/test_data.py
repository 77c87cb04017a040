"""Data, losses and sizes as people have them: used as they are, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from secateurs.nn import plan, prune

torch.manual_seed(0)
X = torch.randn(120, 6)
Y = (X[:, 0] > 0).long()
ROWS = TensorDataset(X, Y)
HELD = (X[:30], Y[:30])


def network(out=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, out))


def pruned(data, loss=cross_entropy, module=None, **options):
    options = {"flops": 0.5, "fine_tune_steps": 2, "random_state": 0, **options}
    return prune(network() if module is None else module, loss, data, **options)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8])
def test_labels_of_every_kind_of_integer_are_the_same_labels(kind):
    found = pruned((X.numpy(), Y.numpy().astype(kind))).module
    wanted = pruned((X, Y)).module
    for ours, theirs in zip(found.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, y: (cross_entropy(o, y), 0), "loss: got a tuple"),
        (lambda o, y: {"loss": cross_entropy(o, y)}, "loss: got a dict"),
        (lambda o, y: cross_entropy(o, y).item(), "loss: got a float"),
        (
            lambda o, y: cross_entropy(o, y, reduction="none"),
            r"loss: got float32 \[\d+\]; expected one",
        ),
        (lambda o, y: cross_entropy(o, y).detach(), "loss: got a number without a gradient"),
        (
            lambda o, y: cross_entropy(o, y + 7),
            r"loss: got float32 .* as targets; expected numbers that the loss",
        ),
        (lambda o: o.mean(), "it says: TypeError"),
        ("cross_entropy", "loss: got 'cross_entropy'; expected a function"),
        (nn.L1Loss, "loss: got"),
    ],
)
def test_a_loss_that_is_no_mean_is_refused_by_name(loss, message):
    with pytest.raises(ValueError, match=message):
        pruned((X, Y), loss)
    with pytest.raises(ValueError, match=message):
        plan(network(), X[:3]).score("taylor", (X, Y), loss)


def loader(*tensors, size=32):
    return DataLoader(TensorDataset(*tensors), size)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (iter([(X, Y)]), {}, "data: got list_iterator"),
        ({"x": X, "y": Y}, {}, "data: got dict"),
        (({"x": X}, Y), {}, "data: got X that is no array of numbers"),
        ((np.full((30, 6), "a"), np.zeros(30)), {}, "data: got X that is no array of numbers"),
        ((X.long(), Y), {}, "example_inputs: got inputs on which"),
        (loader(X, Y, Y), {"validation": HELD}, "data: got TypeError.*expected rows"),
        (loader(X[:0], Y[:0]), {"validation": HELD}, "data: got no rows"),
        ((X, Y), {"certify": (X[:, :4], Y)}, "data: got RuntimeError.*eval mode"),
        ((X, Y), {"flops": 50}, "flops: got 50; expected a finite number > 0 and <= 1"),
        ((X, Y), {"flops": None, "widths": [4]}, "widths: got .*expected a dict"),
        ((X, Y), {"progress": 3}, "progress: got 3; expected a function"),
    ],
)
def test_data_and_sizes_that_cannot_be_used_are_refused_by_name(data, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        pruned(data, **options)


def test_a_last_batch_that_batch_normalisation_refuses_is_named():
    module = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 2))
    with pytest.raises(ValueError, match=r"data: got .*training mode"):
        pruned(loader(X[:33], Y[:33]), module=module, validation=HELD)


@pytest.mark.parametrize(
    "rows", [X[:0], X * torch.nan, X[:, :4], iter([X]), [X, X, X], "rows", TensorDataset(X)]
)
def test_calibration_rows_that_say_nothing_are_refused(rows):
    with pytest.raises(ValueError, match=r"data: got .*; expected"):
        plan(network(), X[:3]).score("reconstruction", rows)


def test_frozen_weights_are_scored_and_cut_but_not_trained():
    module = network().requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="module: got parameters that are all frozen"):
        pruned((X, Y), module=module)
    small = pruned((X, Y), module=module, fine_tune_steps=0)
    assert not any(p.requires_grad for p in small.module.parameters())
    ours = plan(module, X[:3]).score("taylor", (X, Y), cross_entropy)
    free = plan(network(), X[:3]).score("taylor", (X, Y), cross_entropy)
    np.testing.assert_allclose(ours.values["0"], free.values["0"])


def test_gradients_that_are_switched_off_outside_are_on_inside():
    with torch.no_grad():
        found = pruned((X, Y), score="taylor")
    wanted = pruned((X, Y), score="taylor")
    for ours, theirs in zip(found.module.parameters(), wanted.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with torch.inference_mode():
        assert pruned((X, Y), module=wanted.module).n_parameters[1] < wanted.n_parameters[1]
        module = network()
    with pytest.raises(ValueError, match="tensors of inference_mode"):
        pruned((X, Y), module=module)


class Writing(nn.Module):
    """It writes to a buffer in place, which training does not forget."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 12), nn.Linear(12, 2)
        self.register_buffer("mean", torch.zeros(12))

    def forward(self, x, z=None):
        h = torch.relu(self.first(x if z is None else x + z))
        self.mean.mul_(0.9).add_(h.mean(0), alpha=0.1)
        return self.out(h - self.mean)


def test_a_score_leaves_no_gradient_in_the_buffers():
    module = Writing()
    found = plan(module, (X[:3], X[:3]))
    for how in ("taylor", "reconstruction", "norm"):
        scores = found.score(how, ((X, X), Y), cross_entropy)
        assert found.choose(scores, flops=0.6).apply().form == "class"
    assert not module.mean.requires_grad
    assert not module.mean.any()
    with pytest.raises(ValueError, match=r"data: got 120 rows of X and 3 of y"):
        found.score("taylor", ((X, X), Y[:3]), cross_entropy)


class InPlace(nn.Module):
    """A forward that has no gradient, because a value that it needs is overwritten."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 12), nn.Linear(12, 2)

    def forward(self, x):
        h = torch.sigmoid(self.first(x))
        h.mul_(2.0)
        return self.out(h)


def test_a_forward_without_a_gradient_is_refused_by_name():
    with pytest.raises(ValueError, match=r"module: got RuntimeError.*differentiate"):
        pruned((X, Y), module=InPlace())
    found = plan(InPlace(), X[:3])
    with pytest.raises(ValueError, match=r"module: got RuntimeError.*differentiate"):
        found.score("taylor", (X, Y), cross_entropy)
    assert np.isfinite(found.score("norm").values["first"]).all()


def test_weights_that_are_nan_have_no_scores():
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan
    for how in ("norm", "taylor", "reconstruction"):
        with pytest.raises(ValueError, match=r"(module|data): got .*NaN"):
            plan(module, X[:3]).score(how, (X, Y), cross_entropy)


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 12), nn.Linear(12, 1)

    def forward(self, x):
        return self.out(input=torch.relu(self.first(input=x)))


def test_layers_that_are_called_by_keyword_are_repaired():
    small = pruned((X, X[:, :1]), mse_loss, ByKeyword())
    assert small.certificate["equality"].verdict == "holds"


def test_scores_of_another_plan_and_wrong_arguments_of_apply_are_refused():
    found = plan(network(), X[:3])
    other = plan(ByKeyword(), X[:3]).score("norm")
    for scores in (other, None):
        with pytest.raises(ValueError, match=r"scores: got .*same plan"):
            found.choose(scores, flops=0.5)
    cut = found.keep({"0": [1, 2]})
    for options in ({"data": X[:3]}, {"data": [X[:3, :4]]}, {"optimizer": "adam"}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: got"):
            cut.apply(**options)


def test_state_of_an_optimiser_that_cannot_be_cut_is_refused_before_anything_changes():
    module = network()
    optimizer = torch.optim.Adafactor(module.parameters())
    cross_entropy(module(X), Y).backward()
    optimizer.step()
    before = list(optimizer.param_groups[0]["params"])
    with pytest.raises(ValueError, match=r"optimizer: got 'row_var' of shape \(12, 1\)"):
        plan(module, X[:3]).keep({"0": [1, 2]}).apply(optimizer)
    assert all(a is b for a, b in zip(before, optimizer.param_groups[0]["params"], strict=True))
