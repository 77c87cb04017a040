import numpy as np
import pytest

from secateurs.sparse.compact import CompactNetwork
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.trainers import TRAINERS
from secateurs.training.training_data import TrainingData


def two_moons_like(seed=0, n=300):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    return TrainingData(X, y, Scaling(None, np.ones(6)), 2)


def accuracy(network, data):
    import torch

    net = CompactNetwork.from_network(network)
    rows = torch.arange(data.n)
    Z = net.forward(data.inputs(rows, net.units[0]))[-1]
    return (Z.argmax(0) == data.targets(rows)).float().mean().item()


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_every_trainer_keeps_the_budget_and_learns(name):
    data = two_moons_like()
    solution = TRAINERS[name](data, (16,), 60, n_steps=600, batch_size=50, random_state=0)
    if name != "dense":
        assert solution.value.n_nonzero <= 60
    assert accuracy(solution.value, data) > 0.75  # a linear model gets about 0.5
    assert solution.history["loss"][-1] < solution.history["loss"][0]
    assert {"n_steps", "peak_support", "peak_bytes"} <= solution.measured.keys()


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_every_trainer_is_deterministic(name):
    a, b = (
        TRAINERS[name](two_moons_like(), (8,), 30, n_steps=60, batch_size=50, random_state=5)
        for _ in range(2)
    )
    assert a.history == b.history
    for x, y in zip(a.value.keys + a.value.values, b.value.keys + b.value.values, strict=True):
        np.testing.assert_array_equal(x, y)


def test_imp_path_visits_every_budget_and_masks_are_nested():
    data = two_moons_like()
    path = imp_path(data, (16,), [40, 80, 20], round_steps=100, batch_size=50)
    assert [s.value.n_nonzero for s in path] == [40, 80, 20]
    keys = {s.value.n_nonzero: s.value.keys for s in path}
    for small, large in ((20, 40), (40, 80)):
        for a, b in zip(keys[small], keys[large], strict=True):
            assert np.isin(a, b).all()
    seconds = [path[i].measured["cpu_seconds"] for i in (1, 0, 2)]
    assert seconds == sorted(seconds)


def test_imp_without_retraining_measures_straight_after_the_cut():
    data = two_moons_like()
    settings = {"round_steps": 150, "batch_size": 50, "random_state": 1}
    cut = imp_path(data, (16,), [30], retrain=False, **settings)[0].value
    trained = imp_path(data, (16,), [30], **settings)[0].value
    for a, b in zip(cut.keys, trained.keys, strict=True):
        np.testing.assert_array_equal(a, b)  # the same mask
    assert accuracy(trained, data) >= accuracy(cut, data)


def test_regression_works_in_every_trainer():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)).astype(np.float32)
    Y = np.stack([X[:, 0] * 2, np.abs(X[:, 1])], 1).astype(np.float32)
    data = TrainingData(X, Y, Scaling(None, np.ones(5)), 2)
    for name, trainer in TRAINERS.items():
        solution = trainer(data, (16,), 60, n_steps=500, batch_size=50, random_state=0)
        assert solution.history["loss"][-1] < 0.5, name
