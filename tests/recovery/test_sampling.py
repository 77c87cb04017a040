"""The sampler recovers networks from few rows, keeps its budgets, and is never exact and wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from secateurs import SparseReLURegressor, planted_relu
from secateurs.recovery import relu_sampling
from secateurs.recovery.planted import planted_output
from secateurs.recovery.sampling.spike_slab import assign, energy_change, moments, refresh, sweeps
from secateurs.recovery.solvers import relu_sum
from tests.recovery.kinds_of_input import KINDS, instance

M, D, N = 3, 8, 40


def state(seed: int = 0):
    """Return X^T, y, W, Z and r of a random network in single precision, and its counts."""
    rng = np.random.default_rng(seed)
    XT = rng.standard_normal((D, N)).astype(np.float32)
    y = rng.standard_normal(N).astype(np.float32)
    W = (rng.standard_normal((M, D)) * (rng.random((M, D)) < 0.4)).astype(np.float32)
    Z, r = np.zeros((M, N), np.float32), y.copy()
    refresh(XT, y, W, Z, r)
    return XT, y, W, Z, r, np.count_nonzero(W, axis=1).astype(np.int64)


def test_the_kernels_equal_plain_numpy():
    XT, y, W, Z, r, counts = state()
    np.testing.assert_allclose(Z, W @ XT, atol=1e-5)
    np.testing.assert_allclose(r, y - np.maximum(W @ XT, 0).sum(axis=0), atol=1e-5)
    for j, k in np.ndindex(M, D):
        a = np.where(Z[j] > 0, XT[k], 0)
        np.testing.assert_allclose(moments(XT[k], Z[j], r), [a @ r, a @ a], atol=1e-4)
        value = np.float32(0.7 if (j + k) % 2 else 0.0)
        expected, before = energy_change(XT[k], Z[j], r, value - W[j, k]), r.copy()
        assign(XT[k], W[j], Z[j], r, counts, j, k, value)
        assert (r @ r - before @ before) / 2 == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(r, y - np.maximum(W @ XT, 0).sum(axis=0), atol=1e-4)
    assert counts.tolist() == np.count_nonzero(W, axis=1).tolist()


def test_one_weight_is_drawn_from_its_posterior():
    """One neuron on one input that is never negative is linear, so that (1) and (2) are exact."""
    rng = np.random.default_rng(1)
    x = np.abs(rng.standard_normal((1, 30))).astype(np.float32)
    y = (0.4 * x[0] + 0.5 * rng.standard_normal(30)).astype(np.float32)
    noise, prior = 0.25, 0.0
    W, Z, r = np.full((1, 1), 0.4, np.float32), np.zeros((1, 30), np.float32), y.copy()
    counts, order, scratch = np.ones(1, np.int64), np.arange(1), np.zeros((3, 30), np.float32)
    drawn = []
    for _ in range(6000):
        sweeps(x, y, W, Z, r, counts, order, scratch, np.full(1, noise), prior, 1.0, 0, rng)
        drawn.append(float(W[0, 0]))
    values = np.array(drawn)[1000:]
    h, g = float(x[0] @ x[0]), float(x[0] @ y)
    precision = h / noise + 1.0
    mean = g / noise / precision
    kept = values[values > 0.0]
    below = stats.norm.cdf(0.0, mean, precision**-0.5)
    assert below < 1e-3  # so that the sign does not matter
    assert kept.mean() == pytest.approx(mean, abs=4 * (precision * len(kept) / 4) ** -0.5)
    assert kept.std() == pytest.approx(precision**-0.5, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_networks_are_recovered_from_few_rows(seed):
    problem = planted_relu(60, 40, 3, 12, random_state=300 + seed)
    found = relu_sampling(problem.X, problem.y, 12, 3)
    assert found.status == "exact"
    np.testing.assert_allclose(found.value.predict(problem.X_test), problem.y_test, atol=1e-8)
    again = relu_sampling(problem.X, problem.y, 12, 3)
    assert (found.value.weights != again.value.weights).nnz == 0
    scaled = relu_sampling(1e3 * problem.X, 1e-5 * problem.y, 12, 3)
    assert scaled.status == "exact"


@pytest.mark.parametrize("budget", [(8, 2), (30, 9)])
def test_the_budgets_hold_on_noise_and_hopeless_data_end_early(budget):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 6)), rng.standard_normal(50)
    found = relu_sampling(X, y, *budget, hopeless=0.1)
    assert (found.status, found.measured["runs"]) == ("stalled", 3)
    assert found.value.weights.nnz <= budget[0]
    assert (np.diff(found.value.weights.indptr) > 0).sum() <= budget[1]


@pytest.mark.parametrize("kind", ["normal", "sparse", "copied", "+-1", "twins", "shifted"])
def test_no_fit_is_exact_and_wrong(kind):
    assert kind in KINDS
    for seed in range(3):
        case = instance(kind, seed)
        if not case.intercept:
            found = relu_sampling(case.X, case.y, case.n_planted, n_runs=3, hopeless=0.1)
            assert found.status != "exact" or not case.is_wrong(found.value.predict, 5000)


def test_data_without_signal():
    X = np.random.default_rng(0).standard_normal((20, 3))
    assert relu_sampling(X, np.zeros(20), 3).value.weights.nnz == 0
    assert relu_sampling(np.zeros((20, 3)), np.ones(20), 3).status == "stalled"
    assert relu_sampling(X, np.ones(20), 3, n_runs=1).status == "budget"


def test_time_and_interrupts_end_the_search_with_the_best_so_far():
    problem = planted_relu(40, 60, 5, 30, random_state=5)
    found = relu_sampling(problem.X, problem.y, 30, 5, max_seconds=0.2)
    assert found.status == "budget"
    seen = []

    def stop(progress):
        seen.append(progress.step)
        if progress.step == 3:
            raise KeyboardInterrupt

    found = relu_sampling(problem.X, problem.y, 30, 5, progress=stop)
    assert (found.status, len(found.history["run"])) == ("interrupted", 2)
    assert 0 < found.value.weights.nnz <= 30
    with pytest.raises(ValueError, match="max_seconds: got 0"):
        relu_sampling(problem.X, problem.y, 30, max_seconds=0)


def test_auto_samples_where_rows_are_few_and_says_what_it_used():
    problem = planted_relu(60, 40, 3, 12, random_state=300)
    model = SparseReLURegressor(12, 3, random_state=0).fit(problem.X, problem.y)
    assert (model.status_, model.solver_, model.n_train_) == ("exact", "sampling", 60)
    assert model.certificate_["held-out PSNR"].verdict == "unknown"
    assert model.held_out_error_ is None
    alone = SparseReLURegressor(12, 3, "sampling", random_state=0, max_seconds=60.0)
    alone.fit(problem.X, problem.y)
    assert (alone.status_, alone.n_train_) == ("exact", 54)
    assert alone.certificate_["held-out PSNR"].verdict == "holds"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_a_run_goes_on_from_weights_and_never_loses_them(share, seed):
    rng = np.random.default_rng(seed)
    problem = planted_relu(500, 15, 3, 12, random_state=seed)
    X = problem.X * (rng.random(problem.X.shape) < share)
    y = planted_output(problem.truth, X, fused=True)
    start = problem.truth[0].toarray()
    j, k = np.nonzero(start)
    moved = rng.choice(len(j), 2, replace=False)
    start[(j[moved] + 1) % 3, k[moved]] = start[j[moved], k[moved]]
    start[j[moved], k[moved]] = 0.0
    start = sparse.csr_array(start)
    before = np.linalg.norm(y - relu_sum(X, start)) / np.linalg.norm(y)
    one = relu_sampling(X, y, 12, 3, start=start, n_runs=1)
    assert one.measured["residual"] <= before + 1e-12
    found = relu_sampling(X, y, 12, 3, start=start, n_runs=12)
    assert found.measured["residual"] < (1e-10 if share == 1.0 else 0.1 * before)
    assert found.value.weights.nnz <= 12
    again = relu_sampling(X, y, 12, 3, start=found.value.weights, n_runs=1)
    assert again.measured["residual"] <= found.measured["residual"] + 1e-12
