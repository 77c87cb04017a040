"""Removal of neurons is exact, a graph is understood or refused, and the right width is found."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from secateurs.core.program import Inputs
from secateurs.nn import l2_prune_neurons, plan, prune_neurons
from secateurs.nn.certificate import loss_check, path_checks
from secateurs.nn.evaluation import outputs
from secateurs.nn.penalty import (
    add_penalty_gradient,
    balance,
    is_scalable,
    squared_norms,
    weights_of,
)
from secateurs.nn.teacher import relu_teacher


class Convolutional(nn.Module):
    """Conv -> BatchNorm -> ReLU -> pool, twice, then flatten to several columns a channel."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.AvgPool2d(2),
        )
        self.drop = nn.Dropout(0.1)
        self.hidden = nn.Linear(8 * 4, 10)
        self.out = nn.Linear(10, 3)

    def forward(self, x):
        x = self.features(x)
        x = self.drop(x.view(x.size(0), -1))
        return self.out(torch.relu(self.hidden(x)))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(5, 7)
        self.norm = nn.BatchNorm1d(7)
        self.a, self.b = nn.Linear(7, 4), nn.Linear(7, 4)

    def forward(self, x):
        h = torch.relu(self.norm(self.trunk(x)))
        return self.a(h) + self.b(h)


def perceptron(*widths, activation=nn.ReLU):
    layers = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), activation()]
    return nn.Sequential(*layers[:-1])


MODELS = {
    "relu": (lambda: perceptron(5, 9, 7, 3), (5,)),
    "gelu": (lambda: perceptron(5, 9, 3, activation=nn.GELU), (5,)),
    "sigmoid": (lambda: perceptron(5, 9, 3, activation=nn.Sigmoid), (5,)),
    "two heads": (TwoHeads, (5,)),
    "convolutional": (Convolutional, (1, 8, 8)),
    "1-d": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(6, 2),
            nn.Softmax(1),
        ),
        (2, 9),
    ),
}


def make(name, seed, n=12):
    build, shape = MODELS[name]
    torch.manual_seed(seed)
    module = build().double()
    X = torch.randn(n, *shape, dtype=torch.float64)
    module(X)  # running statistics of the batch normalisations
    return module, X


def groups_of(module, X, lost=0):
    """The weights of every group, after the first channels of each were removed."""
    found = plan(module, X[:3])
    kept = {name: np.arange(min(lost, g.size - 1), g.size) for name, g in found.groups.items()}
    gone = found.gone(kept)
    weights = []
    for name, group in found.groups.items():
        of_group = weights_of(found, group, torch.arange(group.size), frozenset(), scalable=False)
        scalable = is_scalable(found, of_group, Inputs.of(X[:3]))
        weights.append(
            weights_of(found, group, torch.from_numpy(kept[name]), gone, scalable=scalable)
        )
    return found.keep(kept).apply(each_group=False).module, weights


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_balancing_keeps_the_function_and_lowers_the_norms(name, seed):
    module, X = make(name, seed)
    module, groups = groups_of(module.eval(), X, lost=seed % 3)
    before = outputs(module, Inputs.of(X))
    raw = squared_norms(module, groups[0])
    balance(module, groups[:1])  # one group, because two neighbours share weights
    torch.testing.assert_close(outputs(module, Inputs.of(X)), before, rtol=1e-10, atol=1e-12)
    assert (squared_norms(module, groups[0]) <= raw * (1 + 1e-9)).all()
    balance(module, groups)
    torch.testing.assert_close(outputs(module, Inputs.of(X)), before, rtol=1e-10, atol=1e-12)


def test_only_positively_homogeneous_groups_are_scalable():
    found = {}
    for name in MODELS:
        module, X = make(name, 0)
        found[name] = [weights.scalable for weights in groups_of(module.eval(), X)[1]]
    assert found["relu"] == [True, True]
    assert found["gelu"] == found["sigmoid"] == [False]
    assert found["two heads"] == [True]
    assert found["convolutional"] == [True, True, True]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), beta=st.floats(1e-3, 1.0))
def test_the_gradient_of_the_penalty_matches_finite_differences(name, seed, beta):
    def penalty(module, group, beta):
        q = squared_norms(module, group)
        return float((q / (q + beta).sqrt()).sum())

    module, X = make(name, seed)
    rng = np.random.default_rng(seed)
    module, groups = groups_of(module.eval(), X, lost=1)
    for group in groups:
        for p in module.parameters():
            p.grad = torch.zeros_like(p)
        add_penalty_gradient(module, group, 0.7, beta)
        for p in module.parameters():
            flat, at = p.data.view(-1), int(rng.integers(p.numel()))
            value, h = float(flat[at]), 1e-6
            flat[at] = value + h
            up = penalty(module, group, beta)
            flat[at] = value - h
            down = penalty(module, group, beta)
            flat[at] = value
            slope = 0.7 * (up - down) / (2 * h)
            assert float(p.grad.view(-1)[at]) == pytest.approx(slope, rel=1e-5, abs=1e-7)


class DependsOnWidth(nn.Module):
    """A module whose forward depends on the width, which its graph does not show."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.out(torch.relu(self.first(x))) * self.first.out_features


def test_a_forward_that_depends_on_the_width_is_pruned_as_a_graph():
    torch.manual_seed(0)
    X, y = torch.randn(60, 4), torch.randn(60, 1)
    found = l2_prune_neurons(
        DependsOnWidth(), mse_loss, (X, y), 3, fine_tune_steps=5, random_state=0
    )
    assert found.form == "graph"
    assert found.certificate["equality"].verdict == "holds"


def test_an_optimiser_goes_with_a_module_that_gets_smaller_while_it_is_trained():
    torch.manual_seed(0)
    module = perceptron(4, 10, 2)
    X, y = torch.randn(200, 4), torch.randn(200, 2)
    found = prune_neurons(module, mse_loss, (X, y), 2, n_steps=400, random_state=0)
    assert found.widths == {"0": 2}
    assert found.certificate["path length"].verdict in ("holds", "fails")


def student(problem, seed, width=40):
    """Return a dense student of a teacher, trained for a short time."""
    torch.manual_seed(seed)
    module = perceptron(problem.X.shape[1], width, 1)
    X = torch.tensor(problem.X, dtype=torch.float32)
    y = torch.tensor(problem.y[:, None], dtype=torch.float32)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2, fused=True)
    for _ in range(800):
        rows = torch.randint(len(X), (128,))
        optimizer.zero_grad()
        mse_loss(module(X[rows]), y[rows]).backward()
        optimizer.step()
    return module


@pytest.fixture(scope="module")
def taught():
    problem = relu_teacher(1000, 10, 3, random_state=11)
    return problem, student(problem, 11)


SHORT = {"n_steps": 1500, "fine_tune_steps": 800}


@pytest.mark.parametrize(
    "seed", [101, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(102, 106))]
)
def test_the_neurons_of_the_teacher_are_found(seed):
    problem = relu_teacher(1000, 10, 3, random_state=seed)
    found = prune_neurons(
        student(problem, seed),
        mse_loss,
        (problem.X, problem.y[:, None]),
        n_steps=2000,
        fine_tune_steps=800,
        random_state=seed,
    )
    assert found.widths == {"0": 3}
    assert found.status == "converged"
    # each neuron is a neuron of the teacher, up to scale
    W = found.module[0].weight.detach().double().numpy()
    cosines = (W / np.linalg.norm(W, axis=1, keepdims=True)) @ problem.weights.T
    assert sorted(cosines.argmax(1)) == [0, 1, 2]
    assert cosines.max(1).min() > 0.999
    with torch.no_grad():
        error = found.module(torch.tensor(problem.X_test, dtype=torch.float32)).numpy()[:, 0]
    assert np.mean((error - problem.y_test) ** 2) < 1e-4 * problem.y_test.var()
    assert found.certificate["validation loss"].verdict == "holds"
    assert found.certificate["norm gap"].verdict == "holds"
    assert found.certificate["stationarity"].verdict == "unknown"


def test_the_same_seed_gives_the_same_module_and_inputs_do_not_change(taught):
    problem, module = taught
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in module.named_parameters()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    data = (problem.X, problem.y[:, None])
    with_dropout = nn.Sequential(module[0], nn.Dropout(0.05), *module[1:])
    runs = [
        prune_neurons(with_dropout, mse_loss, data, 5, n_steps=300, fine_tune_steps=100,
                      random_state=4)
        for _ in range(2)
    ]  # fmt: skip
    for a, b in zip(runs[0].module.parameters(), runs[1].module.parameters(), strict=True):
        assert torch.equal(a, b)
    other = prune_neurons(
        with_dropout, mse_loss, data, 5, n_steps=300, fine_tune_steps=100, random_state=5
    )
    assert not torch.equal(other.module[0].weight, runs[0].module[0].weight)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    for name, now in module.named_parameters():
        assert torch.equal(now, before[name])
        assert torch.equal(now.grad, gradients[name])
    assert module.training
    description = runs[0].describe()
    assert description.facts["widths"] == {"0": 5}
    assert description.tables[0].rows == [("0", "5")]


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_the_given_number_of_neurons_is_kept(taught, k):
    problem, module = taught
    data = (problem.X, problem.y[:, None])
    for found in (
        prune_neurons(module, mse_loss, data, k, n_steps=400, fine_tune_steps=0, random_state=0),
        l2_prune_neurons(module, mse_loss, data, k, fine_tune_steps=0, random_state=0),
    ):
        assert found.widths == {"0": k}
        assert found.module[0].weight.shape == (k, 10)
        assert (np.diff(found.kept["0"]) > 0).all()
        assert found.certificate["equality"].verdict == "holds"


def test_the_loss_rises_by_at_most_the_allowed_increase(taught):
    problem, module = taught
    data = (problem.X, problem.y[:, None])
    widths = []
    for allowed in (0.0, 0.3):
        found = prune_neurons(
            module, mse_loss, data, max_loss_increase=allowed, n_steps=600, fine_tune_steps=200,
            random_state=0,
        )  # fmt: skip
        assert found.loss_after <= found.loss_before + allowed
        assert found.certificate["validation loss"].verdict == "holds"
        widths.append(found.widths["0"])
    assert widths[1] < widths[0] <= 40


def test_named_layers_of_a_convolutional_network_get_smaller():
    module, _ = make("convolutional", 0)
    module = module.float()
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(240, 1, 8, 8, generator=generator)
    y = (X.mean((1, 2, 3)) > 0).long() + (X[:, 0, 0, 0] > 0).long()
    loader = DataLoader(TensorDataset(X[:200], y[:200]), batch_size=32, shuffle=True)
    keep = {"features.0": 3, "hidden": 4}
    runs = [
        prune_neurons(
            module, cross_entropy, loader, keep, validation=(X[200:], y[200:]), n_steps=60,
            fine_tune_steps=30, random_state=0,
        )
        for _ in range(2)
    ]  # fmt: skip
    found = runs[0]
    assert found.widths == {"features.0": 3, "features.4": 8, "hidden": 4}
    assert found.module.features[1].running_mean.shape == (3,)
    assert found.module.hidden.weight.shape == (4, 32)
    assert outputs(found.module, Inputs.of(X)).shape == (240, 3)
    assert torch.equal(found.module.out.weight, runs[1].module.out.weight)  # shuffled alike
    assert module.features[0].weight.shape[0] == 6


@pytest.mark.parametrize("phase", ["group lasso", "choosing a width", "fine-tuning"])
def test_ctrl_c_returns_the_best_so_far(taught, phase):
    problem, module = taught
    seen = []

    def stop(state):
        seen.append(state)
        if state.phase == phase and state.n_nonzero < 300:
            raise KeyboardInterrupt

    data = (problem.X, problem.y[:, None])
    keep = "auto" if phase == "choosing a width" else 4
    found = prune_neurons(module, mse_loss, data, keep, random_state=0, progress=stop, **SHORT)
    assert found.status == "interrupted"
    assert seen[-1].phase == phase
    if keep == 4:
        assert found.widths == {"0": 4}
    assert np.isfinite(found.loss_after)
    assert outputs(found.module, Inputs.of(torch.zeros(2, 10))).shape == (2, 1)


@pytest.fixture
def heard():
    """Ctrl-C takes effect, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_a_signal_does_not_interrupt_a_removal(taught):
    problem, module = taught
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
    started = []

    def start(state):
        if not started:
            started.append(True)
            timer.start()

    data = (problem.X, problem.y[:, None])
    found = prune_neurons(
        module, mse_loss, data, 4, n_steps=200_000, random_state=0, progress=start
    )
    assert found.status == "interrupted"
    assert found.widths == {"0": 4}


X, Y = np.ones((20, 10)), np.ones((20, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"keep": 0}, ValueError, "from 1 to 40"),
        ({"keep": 41}, ValueError, "from 1 to 40"),
        ({"keep": True}, ValueError, "from 1 to 40 or 'auto'"),
        ({"keep": {"5": 3}}, ValueError, "expected names of groups"),
        ({"keep": {"0": 1.5}}, ValueError, "'0'.: got 1.5; expected an integer from 1 to 40"),
        ({"keep": {}}, ValueError, "at least one of the groups"),
        ({"keep": 3, "max_loss_increase": 0.1}, ValueError, "expected only one of the two"),
        ({"max_loss_increase": -1}, ValueError, "max_loss_increase: got -1"),
        ({"n_steps": 0}, ValueError, "n_steps: got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size"),
        ({"fine_tune_steps": -1}, ValueError, "fine_tune_steps"),
        ({"learning_rate": np.inf}, ValueError, "learning_rate: got inf"),
        ({"validation": 1.5}, ValueError, "validation: got 1.5; expected .* > 0 and < 1"),
        ({"data": (X, Y[:3])}, ValueError, "same number of rows"),
        ({"data": (X * np.nan, Y)}, ValueError, "NaN"),
        ({"data": X}, TypeError, "expected"),
        ({"data": DataLoader(TensorDataset(torch.ones(4, 10)))}, ValueError, "cannot be split"),
        ({"loss": lambda a, b: (a - b) ** 2}, ValueError, "one number"),
        ({"module": lambda x: x}, TypeError, "nn.Module"),
    ],
)
def test_bad_input_is_refused(taught, arguments, error, message):
    given_ = {"module": taught[1], "loss": mse_loss, "data": (X, Y), "n_steps": 20, **arguments}
    with pytest.raises(error, match=message):
        prune_neurons(**given_)


def test_frozen_layers_and_one_number_for_several_layers_are_refused():
    module = perceptron(10, 4, 4, 1)
    with pytest.raises(ValueError, match="2 groups"):
        prune_neurons(module, mse_loss, (X, Y), 2)
    module[2].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="frozen"):
        prune_neurons(module, mse_loss, (X, Y), {"0": 2})


def test_divergence_is_an_error(taught):
    with pytest.raises(FloatingPointError, match="diverged"):
        prune_neurons(taught[1], mse_loss, (X * 1e30, Y), 3, random_state=0)


def test_the_certificate_fails_if_the_measurements_are_bad():
    gap, length, stationarity = path_checks({"a": (1.0, 5.0), "b": (1.0, 1.1)}, 5, 10, 0.0)
    assert gap.verdict == length.verdict == "fails"
    assert "'b'" in gap.statement
    assert "n_steps is too short" in length.statement
    assert stationarity.verdict == "unknown"
    assert loss_check(0.1, 0.3, 0.1).verdict == "fails"
    assert loss_check(0.1, 0.3, None).verdict == "unknown"


def test_the_data_follow_the_teacher():
    p = relu_teacher(50, 4, 3, random_state=0)
    y = [sum(a * max(w @ x + b, 0) for w, b, a in zip(p.weights, p.biases, p.outputs, strict=True))
         for x in p.X]  # fmt: skip
    np.testing.assert_allclose(p.y, y)
    noisy = relu_teacher(5000, 4, 3, noise=0.3, random_state=0)
    clean = relu_teacher(5000, 4, 3, random_state=0)
    assert np.std(noisy.y - clean.y) == pytest.approx(0.3 * clean.y.std(), rel=0.05)
    assert (noisy.y_test == clean.y_test).all()
    for bad in ({"n": 0}, {"r": 1.5}, {"noise": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            relu_teacher(**{"n": 5, "d": 2, "r": 1, **bad})


def test_a_student_that_memorised_noise_is_pruned_all_the_same():
    """The student was trained on the validation rows, so its loss there is no reference."""
    problem = relu_teacher(500, 5, 2, noise=0.3, random_state=3)
    module = student(problem, 3, width=60)
    found = prune_neurons(
        module, mse_loss, (problem.X, problem.y[:, None]), n_steps=1000, fine_tune_steps=400,
        random_state=3,
    )  # fmt: skip

    def clean_error(net):
        out = outputs(net, Inputs.of(torch.tensor(problem.X_test, dtype=torch.float32))).numpy()[
            :, 0
        ]
        return np.mean((out - problem.y_test) ** 2)

    assert found.widths["0"] <= 6
    assert clean_error(found.module) < 0.5 * clean_error(module)
