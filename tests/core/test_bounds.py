"""Bounds fail no more often than they say, whatever the distribution."""

import numpy as np
import pytest

from secateurs.core.bounds import error_upper_bound, mean_exceeds, mean_lower_bound

LEVEL = 0.9
REPEATS = 1500
WORST = (1 - LEVEL) + 3 * np.sqrt(LEVEL * (1 - LEVEL) / REPEATS)

DRAWS = {  # of mean exactly 1/2, in [0, 1]
    "two values": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "narrow": lambda rng, n: 0.5 + 0.01 * (rng.random(n) - 0.5),
    "rare loss": lambda rng, n: np.where(rng.random(n) < 0.02, 0.0, 0.5 / 0.98),
    "rare gain": lambda rng, n: np.where(rng.random(n) < 0.02, 1.0, 0.48 / 0.98),
    "constant": lambda _, n: np.full(n, 0.5),
}


@pytest.mark.parametrize("n", [1, 7, 60, 300])
@pytest.mark.parametrize("name", DRAWS)
def test_a_mean_is_exceeded_by_chance_as_rarely_as_promised(name, n):
    rng = np.random.default_rng(n)
    wrong = sum(mean_exceeds(DRAWS[name](rng, n), 0.5, LEVEL) for _ in range(REPEATS))
    assert wrong / REPEATS <= WORST


def test_a_clear_gain_is_seen():
    rng = np.random.default_rng(0)
    assert mean_exceeds(0.5 + 0.1 * rng.random(120), 0.5, 0.95)
    assert mean_exceeds(np.full(400, 0.51), 0.5, 0.95)
    assert not mean_exceeds(np.empty(0), 0.5, 0.95)


def test_the_lower_bound_is_below_the_mean_and_comes_near_it():
    rng = np.random.default_rng(0)
    values = rng.random(20_000)
    bound = mean_lower_bound(values, 0.95)
    assert values.mean() - 0.03 < bound < values.mean()
    assert mean_lower_bound(np.zeros(100), 0.95) == 0.0


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.97])
def test_an_error_rate_is_above_its_bound_as_rarely_as_promised(rate):
    rng = np.random.default_rng(0)
    wrong = sum(error_upper_bound(k, 50, LEVEL) < rate for k in rng.binomial(50, rate, REPEATS))
    assert wrong / REPEATS <= WORST
