"""Measure memory at the allocators, also while sizes grow that should not matter."""

import functools

import numpy as np
import pytest

from secateurs.experiments.allocation import measure
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.trainers import TRAINERS
from secateurs.training.training_data import TrainingData

SUPPORTS = 30_000, 90_000  # times the overshoot


def random_classes(d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, d), dtype=np.float32)
    return TrainingData(X, rng.integers(0, 10, 600), Scaling(None, np.ones(d)), 10)


def train(d, m, s, overshoot, batch_size=20, n_steps=60, stop=None):
    def progress(state):
        if state.step == stop:
            raise KeyboardInterrupt

    data = random_classes(d)
    solutions = []
    allocation = measure(
        lambda: solutions.append(
            prune_regrow(
                data,
                (m,),
                s,
                n_steps=n_steps,
                batch_size=batch_size,
                overshoot=overshoot,
                exchange_every=5,
                progress=progress,
            )
        )
    )
    return allocation, solutions[0]


def test_no_tensor_of_the_size_of_the_layer():
    d, m = 4000, 5000
    allocation, _ = train(d, m, 500, 4)
    assert allocation.largest < 4 * d * m / 10
    assert allocation.torch_peak + allocation.numpy_peak < 4 * d * m / 2


def test_a_layer_sixteen_times_as_large_adds_only_activations_and_blocks():
    """With s fixed, m and d grow fourfold each, so dense memory would grow 16 times."""
    small, _ = train(1000, 1000, 500, 4)
    large, _ = train(4000, 4000, 500, 4)
    # each weight has at most one live unit at either end; 80 rows are scored
    live_units = 2 * 2000
    activations = 4 * 80 * 3 * live_units
    block = 4 * 2 * 1024 * 1024  # a block of scores reaches its full 1024 x 1024 size
    assert large.torch_peak <= small.torch_peak + activations + block
    assert large.torch_peak < 4 * small.torch_peak


def test_slope_is_at_most_twenty_bytes_a_weight():
    """In a long run, the first exchange replaces most weights, of a support of full size."""
    few, many = (train(784, 2000, s, 4, n_steps=1000, stop=20)[0] for s in SUPPORTS)
    added = 4 * (SUPPORTS[1] - SUPPORTS[0])
    assert (many.torch_peak - few.torch_peak) / added <= 20
    assert (many.numpy_peak - few.numpy_peak) / added <= 20


@pytest.mark.parametrize(
    ("d", "m", "s", "overshoot", "batch_size"),
    [(784, 50, 1000, 12, 100), (784, 2000, 40_000, 4, 20), (3000, 20_000, 5000, 4, 100)],
)
def test_reported_bytes_are_those_allocated(d, m, s, overshoot, batch_size):
    allocation, solution = train(d, m, s, overshoot, batch_size, n_steps=30)
    ratio = solution.measured["peak_bytes"] / allocation.torch_peak
    assert 0.85 <= ratio <= 1.5


def test_a_sparse_fit_needs_less_than_a_dense_one_at_the_defaults():
    data = random_classes(784)
    run = functools.partial(TRAINERS["dense"], data, (100,), 1000, n_steps=10, batch_size=500)
    dense = measure(run)
    sparse, _ = train(784, 100, 1000, 12, 500, n_steps=30)
    assert sparse.torch_peak < dense.torch_peak


@pytest.mark.parametrize("name", ["dense", "one_shot"])
def test_the_dense_trainers_report_a_step_of_training(name):
    data, solutions = random_classes(784), []
    run = functools.partial(TRAINERS[name], data, (50,), 1000, n_steps=60, batch_size=100)
    allocation = measure(lambda: solutions.append(run()))
    assert 0.85 <= solutions[0].measured["peak_bytes"] / allocation.torch_peak <= 1.5
