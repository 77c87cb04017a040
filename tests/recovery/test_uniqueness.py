"""A fit that is called exact is never wrong on fresh rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from secateurs import SparseReLURegressor
from secateurs.recovery.planted import planted_output, planted_relu
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.uniqueness import doubt

INPUTS = {
    "normal": lambda _, Z: Z,
    "sparse": lambda rng, Z: Z * (rng.random(Z.shape) < 0.1),
    "very sparse": lambda rng, Z: Z * (rng.random(Z.shape) < 0.05),
    "sparse non-negative": lambda rng, Z: np.abs(Z) * (rng.random(Z.shape) < 0.1),
    "binary": lambda _, Z: (Z > 0) * 1.0,
    "rare binary": lambda rng, Z: (rng.random(Z.shape) < 0.1) * 1.0,
    "signs": lambda _, Z: np.sign(Z),
    "counts": lambda rng, Z: rng.poisson(0.7, Z.shape) * 1.0,
    "non-negative": lambda _, Z: np.abs(Z),
}
SIZES = [(800, 40, 10, 10), (300, 20, 3, 6), (120, 8, 3, 6), (60, 6, 2, 4), (30, 5, 2, 4)]
FRESH = 5000


def case(kind, n, d, m, s, seed):
    """Return rows, targets, fresh rows and their targets."""
    p = planted_relu(n, d, m, s, random_state=seed)
    rng = np.random.default_rng(seed)
    X, fresh = INPUTS[kind](rng, p.X), INPUTS[kind](rng, rng.standard_normal((FRESH, d)))
    return (
        X,
        planted_output(p.truth, X, fused=True),
        fresh,
        planted_output(p.truth, fresh, fused=True),
    )


def runs(kind, seeds):
    """Yield the status, whether the rows are fitted, and whether fresh rows are predicted."""
    for size in SIZES:
        for seed in seeds:
            X, y, fresh, y_fresh = case(kind, *size, 600 + seed)
            budget = size[3] + 3 * (seed % 2)  # the planted size, and a larger one
            solution = relu_pursuit(X, y, budget, max_rounds=30)
            error = np.abs(solution.value.predict(fresh) - y_fresh).max()
            fits = solution.measured["residual"] < 1e-10
            assert (solution.status in ("exact", "converged")) >= fits
            assert bool(solution.measured["doubt"]) == (fits and solution.status == "converged")
            yield solution.status, fits, error < 1e-6 * max(y_fresh.max(), 1.0)


@pytest.mark.parametrize("kind", INPUTS)
def test_never_exact_and_wrong_on_fresh_rows(kind):
    assert not [run for run in runs(kind, range(4)) if run[0] == "exact" and not run[2]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", INPUTS)
def test_never_exact_and_wrong_on_fresh_rows_of_many_networks(kind):
    assert not [run for run in runs(kind, range(10, 30)) if run[0] == "exact" and not run[2]]


def test_fits_that_are_wrong_exist_and_right_ones_are_called_exact():
    """Without such fits the law above would say nothing."""
    wrong = [run for run in runs("very sparse", range(2)) if run[1] and not run[2]]
    assert wrong
    for kind in ("normal", "signs"):
        found = [status == "exact" for status, fits, right in runs(kind, (0, 2)) if fits & right]
        assert np.mean(found) > 0.7


def test_the_estimator_is_as_careful_as_the_solver():
    said = []
    for seed in range(6):
        X, y, fresh, y_fresh = case("sparse", 300, 20, 3, 6, seed)
        model = SparseReLURegressor(6, 3, "pursuit", random_state=0).fit(X, y)
        right = np.abs(model.predict(fresh) - y_fresh).max() < 1e-6
        said.append((model.status_, right))
        assert model.status_ != "exact" or right
        verdict = model.certificate_["identification"].verdict
        assert verdict == ("holds" if model.status_ == "exact" else "unknown")
    assert ("converged", False) in said or ("stalled", False) in said


# --- the reasons for doubt, one at a time


def weights(*rows):
    return sparse.csr_array(np.array(rows, dtype=float))


def test_dense_rows_and_spent_weights_leave_no_doubt():
    X = np.random.default_rng(0).standard_normal((200, 3))
    assert doubt(X, weights([1, -2, 0], [0, 1, 1]), 4) == ""
    assert doubt(1e200 * X, weights([1, -2, 0], [0, 1, 1]), 4) == ""
    assert doubt(X, weights([1, -2, 0], [0, 1, 1]), 5) == ""


def test_inputs_that_are_never_nonzero_together():
    X = np.zeros((200, 2))
    X[:100, 0], X[100:, 1] = np.random.default_rng(0).standard_normal((2, 100))
    assert "oppose each other" in doubt(X, weights([1, 0], [0, 1]), 2)
    assert "oppose each other" in doubt(X, weights([1, 1]), 2)
    X = np.abs(X)  # here relu(x_1) + relu(x_2) equals relu(x_1 + x_2)
    assert doubt(X, weights([1, 1]), 2) == ""
    assert doubt(X, weights([1, 0], [0, 1]), 2) == ""


def test_hardly_more_rows_than_weights():
    X = np.random.default_rng(0).standard_normal((9, 3))
    assert "different rows" in doubt(X, weights([1, -2, 1], [0, 1, 1]), 5)
    assert "different rows" in doubt(np.tile(X, (50, 1)), weights([1, -2, 1], [0, 1, 1]), 5)


def test_a_neuron_that_is_hardly_ever_open():
    X = np.random.default_rng(0).random((200, 2)) + 1.0
    X[:3, 1] = 0.1
    assert "open on 3 rows" in doubt(X, weights([0, 1], [1, -3]), 3)


def test_weights_that_can_change_without_a_change_on_the_rows():
    """The neurons are open on all rows, but not on rows with independent inputs."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 9, (200, 1)) * rng.uniform(0.9, 1.1, (200, 3))
    assert "change no row" in doubt(X, weights([1, -0.5, 0], [-0.5, 1, 0]), 4)
    assert "rows show" in doubt(X, weights([1, -0.5, 0], [0, 0, 1]), 3)
    # always open: every form is the same function
    assert doubt(X, weights([1, 0.5, 0], [0.5, 1, 0]), 4) == ""


def test_unused_weights():
    X = np.random.default_rng(0).random((200, 3)) + 1e-3
    assert "no row opens" in doubt(X, weights([1, 0, 0], [0, 0, 0]), 3)
    assert doubt(X, weights([1, 0, 0]), 3) == ""  # there is no neuron left
    X = np.random.default_rng(0).standard_normal((200, 3))
    X[2:, 2] = 0.0
    assert "one sign" in doubt(X, weights([1, -1, 0]), 3)
    assert doubt(X, weights([1, -1, 0]), 2) == ""


def test_a_network_without_weights():
    X = np.random.default_rng(0).standard_normal((200, 3))
    assert doubt(X, sparse.csr_array((2, 3)), 2) == ""
    assert doubt(X[:4], sparse.csr_array((2, 3)), 2) != ""


@pytest.mark.parametrize("n_rows", [60, 200, 600])
@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 2.5), (-1.0, 1.0)])
def test_a_weight_that_only_closes_its_neuron_is_known_only_where_it_must(values, n_rows):
    """No other weight that closes the neuron on the rows may open it elsewhere."""
    every = np.array(list(np.ndindex(*[2] * 10)), dtype=float)
    every = values[0] + every * (values[1] - values[0])
    n_exact = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = every[rng.choice(len(every), n_rows, replace=False)]
        w = np.zeros(10)
        k = rng.choice(10, 3 + seed % 4, replace=False)
        w[k] = rng.uniform(0.3, 1.5, len(k))
        w[k[0]] = -rng.uniform(0.6, 1.1) * w[k[1:]].sum()
        if doubt(X, sparse.csr_array(w[None, :]), len(k)):
            continue
        n_exact += 1
        rest = X @ w - X[:, k[0]] * w[k[0]]
        counts = X[:, k[0]] != 0.0
        if not (counts & (X @ w > 0.0)).any():  # the weight nearest to zero that fits
            other = w.copy()
            other[k[0]] = -(rest[counts] / X[counts, k[0]]).max()
            assert np.abs(np.maximum(every @ other, 0) - np.maximum(every @ w, 0)).max() < 1e-9
    assert n_exact > 0 or n_rows == 60
