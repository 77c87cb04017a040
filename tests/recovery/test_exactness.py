"""A fit that is called exact is right on 100,000 fresh rows, whatever the inputs and the budget.

The table of `python -m benchmarks.recovery.exactness` counts the same on many more instances.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from secateurs import SparseReLURegressor, planted_relu
from secateurs.recovery.fitted_rows import ends_at_zero
from secateurs.recovery.uniqueness import doubt
from tests.recovery.kinds_of_input import BUDGETS, KINDS, RELATED, budget_of, instance

FEW = (
    # the kinds of the fast test
    "normal",
    "shifted",
    "0/1",
    "+-1",
    "heavy tails",
    *RELATED,
    "twins",
    "opposite twins",
)


def exact_and_wrong(kind, seeds, budgets, solver="pursuit"):
    """Return the fits that are exact and wrong, and the number of exact fits."""
    wrong, n_exact = [], 0
    for seed in seeds:
        case = instance(kind, seed)
        for i, name in enumerate(budgets):
            model = SparseReLURegressor(
                budget_of(name, case.n_planted),
                case.n_neurons if (seed + i) % 3 == 0 else None,
                "pursuit" if case.intercept else solver,
                fit_intercept=case.intercept,
                random_state=0,
            ).fit(case.X, case.y)
            if model.status_ == "exact":
                n_exact += 1
                if case.is_wrong(model.predict):
                    wrong.append((kind, seed, name))
    return wrong, n_exact


@pytest.mark.parametrize("kind", FEW)
def test_never_exact_and_wrong(kind):
    wrong, _ = exact_and_wrong(kind, range(500, 503), BUDGETS[:2])
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_never_exact_and_wrong_on_many_instances(kind):
    wrong, _ = exact_and_wrong(kind, range(600, 625), BUDGETS)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_both_solvers_are_never_exact_and_wrong(kind):
    wrong, _ = exact_and_wrong(kind, range(700, 704), BUDGETS[:2], "auto")
    assert wrong == []


def planted_and_exact(seeds):
    """Return the share of planted Gaussian networks with 4 (s + d) rows that are exact."""
    told = []
    for seed in seeds:
        for m, s, d in ((2, 10, 15), (5, 20, 30), (10, 40, 30)):
            problem = planted_relu(math.ceil(4 * (s + d) / 0.9), d, m, s, random_state=seed)
            model = SparseReLURegressor(s, m, random_state=0).fit(problem.X, problem.y)
            told.append(model.status_ == "exact")
    return np.mean(told)


def test_identified_networks_are_exact():
    assert planted_and_exact(range(4)) >= 0.9


@pytest.mark.slow
def test_identified_networks_are_exact_on_many_seeds():
    assert planted_and_exact(range(10, 50)) >= 0.95


# --- the kinds of alternatives, one at a time


def weights(*rows):
    return sparse.csr_array(np.array(rows, dtype=float))


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.5, 1e-8, 1e8])
def test_an_unused_multiple_of_a_column_is_an_alternative(factor):
    X = gaussian(300, 4)
    W = weights([1, -2, 0, 0], [0, 1, 1, 0])
    assert doubt(X, W, 4) == ""
    X[:, 3] = factor * X[:, 0]
    assert "input 3" in doubt(X, W, 4)


def test_a_sum_of_columns_needs_a_weight_more():
    X = gaussian(300, 5)
    X[:, 0] = X[:, 3] + X[:, 4]
    W = weights([1, -2, 0, 0, 0], [0, 1, 1, 0, 0])
    assert doubt(X, W, 4) == ""
    assert "3, 4" in doubt(X, W, 5)


def test_a_constant_column_can_carry_the_intercept():
    X = gaussian(300, 4)
    X[:, 3] = 2.0
    W = weights([1, -2, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0])
    assert doubt(X, W, 4, intercept=True) == ""
    assert doubt(X, W, 5, intercept=True) != ""


def test_a_bias_in_every_neuron_is_identified():
    X = gaussian(300, 4)
    X[:, 3] = 1.0
    W = weights([1, -2, 0, 0.5], [0, 1, 1, -0.7])
    assert doubt(X, W, 6) == ""
    assert doubt(X, W, 6, intercept=True) == ""


def test_a_neuron_can_be_two_only_with_weights_and_neurons_to_spare():
    X = gaussian(500, 4)
    one = [1, -2, 1, 0]
    assert doubt(X, weights(one, [0, 0, 0, 0]), 5) == ""
    assert "n_nonzero=3" in doubt(X, weights(one, [0, 0, 0, 0]), 6)
    assert doubt(X, weights(one), 6) == ""
    small = weights([1, 0.001, 0, 0], [0, 0, 0, 0])
    assert doubt(X, small, 2) == ""
    assert doubt(X, small, 3) != ""


@pytest.mark.parametrize("seed", range(8))
def test_neurons_that_no_row_tells_apart_are_in_doubt(seed):
    """Without a row between their boundaries one of them can take over a part of the other."""
    rng = np.random.default_rng(seed)
    X, m, k = gaussian(200, 5, seed), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    W = np.zeros((m, 5))
    W[:, :k] = rng.standard_normal(k) * rng.uniform(0.3, 2.0, (m, 1))
    W[:, :k] *= 1.0 + 10.0 ** rng.uniform(-8.0, -5.0) * rng.standard_normal((m, k))
    assert doubt(X, weights(*W), m * k) != ""
    rest = [0, 0, 0, 1, -1]
    assert doubt(X, weights(*W, rest), m * k + 2) != ""


def opposite_parts_as_one(seed):
    """Return rows and two networks that agree on them, the second with a neuron less.

    relu(u.x) + relu(-v.x) = relu(-(u + v).x) + u.x where no row is between the boundaries, and
    neurons of one input, or of the first two together, take up u.x.
    """
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(100, 400)), int(rng.integers(2, 4))
    X = rng.standard_normal((n, 6))
    u, c = np.zeros(6), rng.uniform(0.2, 2.0, 6)
    u[:k] = rng.standard_normal(k)
    v = rng.uniform(0.3, 2.0) * u
    v[:k] *= 1.0 + 1e-6 * rng.standard_normal(k)
    parts = [u[[j]] * np.eye(6)[j] for j in range(k)]
    if k == 3 and seed % 2:
        parts = [parts[0] + parts[1], parts[2]]
    minus = [-(1.0 + c[j]) * part for j, part in enumerate(parts)]
    both = [neuron for j, part in enumerate(parts) for neuron in (part, -c[j] * part)]
    return X, np.array([u, -v, *minus]), np.array([-(u + v), *both])


@pytest.mark.parametrize("seed", range(8))
def test_a_neuron_can_be_two_of_opposite_signs(seed):
    X, planted, found = opposite_parts_as_one(seed)
    y, y_found = (np.maximum(X @ W.T, 0.0).sum(axis=1) for W in (planted, found))
    np.testing.assert_allclose(y_found, y, atol=1e-12)
    assert np.count_nonzero(planted) <= np.count_nonzero(found) + 1
    assert doubt(X, weights(*found), np.count_nonzero(planted)) != ""


def test_opposite_neurons_are_exact_unless_others_take_up_a_change():
    X = gaussian(300, 4)
    pair = [[1, -2, 1, 0], [-0.5, 1, -0.5, 0]]
    assert doubt(X, weights(*pair), 6) == ""
    assert doubt(X, weights(*pair, [0, 0, 1, 0]), 7) == ""
    assert doubt(X, weights(*pair, [0, 0, 0, 1], [0, 0, 0, -2]), 8) == ""
    assert "together" in doubt(X, weights(*pair, [0, 0, 1, 0], [0, 0, -2, 0]), 8)
    assert doubt(X, weights(*pair, [0, 0, 1, 0], [0, 0, 0, 0]), 8) != ""


def test_parallel_neurons_are_one_and_leave_weights():
    X = gaussian(500, 4)
    W = weights([1, -2, 1, 0], [0.5, -1, 0.5, 0])
    assert "n_nonzero=3" in doubt(X, W, 6)


def test_all_combinations_of_signs_leave_no_second_neuron():
    X = np.sign(gaussian(800, 4))
    rows = [[1, -2, 1.5, 0], [0, 0, 0, 0]]
    assert "nearly parallel" not in doubt(X, weights(*rows), 6)


def test_repeated_rows_count_once():
    X = gaussian(12, 3)
    W = weights([1, -2, 1], [0, 1, 1])
    assert doubt(np.tile(X, (50, 1)), W, 5) == doubt(X, W, 5) != ""


def test_an_end_at_zero_is_seen_where_there_is_one():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal(1000)
    for values in (np.abs(Z), rng.random(1000), rng.exponential(size=1000), (Z > 0) * 1.0):
        assert ends_at_zero(values)
    for n in (30, 100, 300, 1000, 3000):
        for shift in (2.5, 4.0):
            values = rng.standard_normal(n) + shift
            assert not ends_at_zero(values[values >= 0.0])
            assert not ends_at_zero(np.maximum(np.round(values), 0.0))
    assert not ends_at_zero(np.ones(100))


@pytest.mark.parametrize("budget", BUDGETS[:2])
def test_signs_that_only_change_together_are_in_doubt(budget):
    """A neuron that is open on all rows takes up the signs of two neurons, but not of one."""
    case = instance("constant column", 10085)
    model = SparseReLURegressor(budget_of(budget, case.n_planted), random_state=0)
    model.fit(case.X, case.y)
    assert model.status_ == "converged"
    assert "opposite sign" in model.certificate_["identification"].statement
