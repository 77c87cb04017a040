"""Hard thresholding equals its textbook version, keeps its budget, recovers and stays small."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from secateurs.experiments.allocation import measure
from secateurs.recovery.thresholding import gates as gates_module
from secateurs.recovery.thresholding.exchange import eliminate, exchange
from secateurs.recovery.thresholding.gates import (
    Chunks,
    FixedGates,
    KeyedWeights,
    OwnGates,
    SupportColumns,
)
from secateurs.recovery.thresholding.iht import iht
from secateurs.recovery.thresholding.layer_by_layer import iht_network
from secateurs.recovery.thresholding.steps import largest_entries
from secateurs.sparse.stack import Generators
from tests.reference.planted import planted, planted_network, psnr
from tests.reference.textbook_iht import textbook_iht, textbook_predict


def generators(m: int, d: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((m, d))


def relative(y: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.linalg.norm(y - prediction) / np.linalg.norm(y))


@pytest.mark.parametrize("mode", ["sequential", "convex"])
@pytest.mark.parametrize(("kind", "tolerance"), [(np.float64, 1e-7), (np.float32, 1e-4)])
@pytest.mark.parametrize(("m", "s"), [(20, 40), (8, 90)])
def test_every_step_equals_the_textbook(mode, kind, tolerance, m, s):
    X, _, y = planted(900, 25, m, s, seed=1)
    X, y, H = X.astype(kind), y.astype(kind), generators(m, 25)
    oracle = textbook_iht(X, y, s, H, 10, sequential=mode == "sequential")
    ours = iht(X, y, s, m, n_kept=s, mode=mode, generators=H, n_steps=10)
    for step, W in enumerate(oracle):
        gates = H if mode == "convex" or step == 0 else None
        theirs = relative(y, textbook_predict(X, W, gates))
        assert ours.history["loss"][step] == pytest.approx(theirs, rel=tolerance)
        assert ours.history["n_nonzero"][step] in (np.count_nonzero(W), 0)


def test_the_best_iterate_has_the_weights_of_the_textbook():
    X, _, y = planted(900, 25, 20, 40, seed=2)
    H = generators(20, 25)
    oracle = textbook_iht(X, y, 40, H, 8, sequential=True)
    ours = iht(X, y, 40, 20, n_kept=40, generators=H, n_steps=8)
    best = int(np.argmin(ours.history["loss"]))
    np.testing.assert_allclose(ours.value.weights.toarray(), oracle[best], atol=1e-9)
    assert relative(y, ours.value.predict(X)) == pytest.approx(ours.history["loss"][best])


@pytest.mark.parametrize("limit", [8, 1000])
def test_blocks_stores_and_chunks_do_not_change_the_result(monkeypatch, limit):
    X, _, y = planted(700, 20, 30, 40, seed=3)
    for mode in ("sequential", "convex"):
        whole = iht(X, y, 40, 30, mode=mode, n_steps=6)
        with monkeypatch.context() as patch:
            patch.setattr(gates_module, "BLOCK", limit)
            patch.setattr(gates_module, "GRAM", 0)
            patch.setattr(gates_module, "CHUNK_ROWS", (64, 64))
            cut = iht(X, y, 40, 30, mode=mode, n_steps=6)
        np.testing.assert_allclose(cut.history["loss"], whole.history["loss"], rtol=1e-9)


def test_gradient_and_curvature_match_finite_differences():
    X, _, y = planted(300, 12, 6, 15, seed=4)
    data = Chunks.of(torch.from_numpy(X), torch.from_numpy(y), 64)
    keys = torch.tensor([0, 5, 13, 24, 40, 61])
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)
    fixed = FixedGates(data, Generators(6, 12, seed=1))
    own = OwnGates(data, KeyedWeights(keys, x + 0.1, 12))

    for gates in (fixed, own):

        def loss(v, gates=gates):
            neurons = KeyedWeights(keys, v, 12).neurons
            open_rows = torch.cat([b.gate(0) for b in gates_module.blocks(gates, neurons)]) > 0
            at = torch.searchsorted(neurons, keys // 12)
            A = open_rows[at].double() * data.X[0][keys % 12]
            return 0.5 * float((v @ A - data.y[0]).square().sum())

        columns = SupportColumns(data, gates, KeyedWeights(keys, x, 12))
        for e in range(6):
            step = torch.zeros(6, dtype=torch.float64)
            step[e] = 1e-4
            slope = (loss(x + step) - loss(x - step)) / 2e-4
            assert float(columns.gradient[e]) == pytest.approx(slope, rel=1e-6)
        curved, Qx = columns.curvature(x)
        assert curved == pytest.approx(float(x @ Qx))


def test_thresholding_keeps_the_largest_and_breaks_ties_by_index():
    keys = torch.tensor([9, 2, 5, 7, 1])
    values = torch.tensor([3.0, -1.0, 1.0, 1.0, 0.0])
    assert keys[largest_entries(keys, values, 3)].tolist() == [2, 5, 9]
    # zeros never enter, however large the budget
    assert keys[largest_entries(keys, values, 5)].tolist() == [2, 5, 7, 9]


@pytest.mark.parametrize("s", [1, 3, 50, 10_000])
def test_the_budget_is_kept(s):
    X, _, y = planted(200, 10, 5, 12, seed=5)
    for mode in ("sequential", "convex"):
        fit = iht(X, y, s, 5, mode=mode, n_steps=15)
        assert fit.value.n_nonzero <= s
        assert fit.value.weights.shape == (5, 10)
        assert max(fit.history["n_nonzero"]) <= 2 * s


def test_equal_seeds_give_equal_fits_and_generators_do_not_depend_on_the_dtype():
    X, _, y = planted(200, 10, 5, 12, seed=5)
    a, b = (iht(X, y, 12, 5, random_state=3, n_steps=8) for _ in range(2))
    np.testing.assert_array_equal(a.value.weights.toarray(), b.value.weights.toarray())
    drawn = Generators(600, 4, seed=2)
    some = torch.tensor([3, 255, 256, 599])
    whole = drawn.rows(torch.arange(600), torch.float64, "cpu")
    torch.testing.assert_close(drawn.rows(some, torch.float64, "cpu"), whole[some])
    single = drawn.rows(some, torch.float32, "cpu")
    torch.testing.assert_close(single.double(), whole[some])


@pytest.mark.parametrize("exchanges", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_convex_mode_recovers_separated_networks_at_one_and_a_half_times_s_log(seed, exchanges):
    m, s, d, p = 10, 50, 100, 20
    n = math.ceil(1.5 * s * math.log(d * p / s))
    X, W, y = planted(n, d, m, s, separated=True, seed=seed)
    H = np.vstack([W, generators(p - m, d, seed)])
    for n_kept in (None, 75):
        fit = iht(
            *(X, y, s, p),
            n_kept=n_kept,
            mode="convex",
            generators=H,
            n_steps=500,
            exchanges=exchanges,
        )
        assert fit.status == "exact"
        np.testing.assert_allclose(fit.value.weights.toarray()[:m], W, atol=1e-6)
        assert relative(y, fit.value.predict(X)) < 1e-9


def test_to_keep_more_entries_than_the_budget_recovers_more_networks():
    m, s, d, p = 10, 50, 100, 20
    n = math.ceil(1.5 * s * math.log(d * p / s))
    found = {s: 0, 75: 0, 100: 0}
    for seed in range(3):
        X, W, y = planted(n, d, m, s, separated=True, seed=50 + seed)
        H = np.vstack([W, generators(p - m, d, seed)])
        for n_kept in found:
            fit = iht(X, y, s, p, n_kept=n_kept, mode="convex", generators=H, exchanges=False)
            assert fit.value.n_nonzero <= s
            found[n_kept] += fit.status == "exact"
    assert found[75] == found[100] == 3 > found[s]


def test_the_residual_is_that_of_the_network_that_is_returned():
    X, _, y = planted(300, 20, 5, 30, seed=8)
    H = generators(5, 20)
    for mode, n_kept in product(("sequential", "convex"), (30, 45, 90)):
        given = H if mode == "convex" else None
        fit = iht(
            *(X, y, 30, 5), n_kept=n_kept, mode=mode, generators=H, n_steps=25, exchanges=False
        )
        assert fit.value.n_nonzero <= 30
        theirs = relative(y, textbook_predict(X, fit.value.weights.toarray(), given))
        assert fit.measured["relative_residual"] == pytest.approx(theirs, rel=1e-6)


def test_near_parallel_twins_are_not_called_exact():
    X, W, y = planted(400, 30, 4, 12, separated=True, seed=1)
    twin = W[:1] + 1e-3 * np.random.default_rng(0).standard_normal((1, 30))
    W = np.vstack([W, twin * (np.abs(W[:1]) > 0) * 0.9])
    y = np.maximum(X @ W.T, 0).sum(1)
    fit = iht(X, y, 12, 5, mode="convex", generators=W, n_steps=100)
    wrong = np.abs(fit.value.weights.toarray() - W).max() > 1e-3
    assert not wrong or fit.status != "exact"


def test_every_status_is_reached():
    X, _, y = planted(200, 10, 5, 12, seed=5)
    assert iht(X, 0 * y, 12, 5).status == "exact"
    assert iht(X, y, 12, 5, n_steps=2).status == "budget"
    seen = []

    def stop(progress):
        seen.append(progress.step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    fit = iht(X, y, 12, 5, progress=stop)
    assert fit.status == "interrupted"
    assert fit.value.n_nonzero <= 12
    assert iht(X, y, 2, 5, n_steps=500).status in ("converged", "stalled")


def test_inputs_that_explain_nothing_give_an_empty_network():
    for mode in ("sequential", "convex"):
        fit = iht(np.zeros((30, 4)), np.ones(30), 5, 3, mode=mode, n_steps=40)
        assert fit.value.n_nonzero == 0
        assert fit.status == "converged"


def test_neurons_that_open_together_share_one_representative():
    keys = torch.tensor([2, 12, 22, 30, 33, 45])  # d = 10: neurons 0, 1, 2, 3, 3, 4
    values = torch.tensor([1.0, 3.0, -2.0, 1.0, 1.0, 0.0])
    data = Chunks.of(torch.ones(3, 10), torch.ones(3), 10)
    own = OwnGates(data, KeyedWeights(keys, values, 10))
    assert own.representatives(torch.arange(5)).tolist() == [0, 0, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(7)}, "shapes .n, d. and .n."),
        ({"n_nonzero": 0}, "n_nonzero: got 0"),
        ({"n_kept": 11}, "n_kept: got 11"),
        ({"n_neurons": 0}, "n_neurons: got 0"),
        ({"mode": "other"}, "expected 'sequential' or 'convex'"),
        ({"generators": np.zeros((3, 10))}, "expected shape .5, 10."),
        ({"dtype": torch.float16}, "expected torch.float32"),
        ({"y": np.full(200, np.nan)}, "NaN"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(change, message):
    X, _, y = planted(200, 10, 5, 12, seed=5)
    arguments: dict[str, Any] = {"X": X, "y": y, "n_nonzero": 12, "n_neurons": 5} | change
    with pytest.raises(ValueError, match=message):
        iht(**arguments)


def alive(m: int, mode: str) -> int:
    """Return the peak of torch and numpy memory in two steps on 16 rows of 1000 inputs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((16, 1000)).astype(np.float32)
    y = rng.standard_normal(16).astype(np.float32)
    fits = []
    allocation = measure(lambda: fits.append(iht(X, y, 50, m, mode=mode, n_steps=2)))
    assert fits[0].value.n_nonzero <= 50
    assert fits[0].value.weights.shape == (m, 1000)
    return allocation.torch_peak + allocation.numpy_peak


@pytest.mark.parametrize("mode", ["sequential", "convex"])
@pytest.mark.parametrize("m", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_m_times_d(mode, m):
    """More neurons than a block of 1024 need only an index or two for each neuron."""
    alive(10, mode)  # some memory is allocated only once
    small, large = alive(2000, mode), alive(m, mode)
    assert large <= small + 64 * m  # a dense gradient takes 4000 bytes for each neuron
    assert large < 8 * 2 * 4 * gates_module.BLOCK * 1000


def test_vector_outputs_are_recovered_under_one_budget():
    X, _, y = planted_network(1500, (40, 20, 10), 40, seed=1)
    fit = iht_network(X, y, 40, 20)
    assert fit.value.n_nonzero <= 40
    assert fit.status == "exact"
    assert psnr(y, fit.value.predict(X)) > 150


def test_two_hidden_layers_under_one_budget():
    X, _, y = planted_network(1500, (40, 15, 15, 5), 45, seed=2)
    fit = iht_network(X, y, 45, (15, 15))
    assert [W.shape for W in fit.value.layers] == [(15, 40), (15, 15), (5, 15)]
    assert fit.value.n_nonzero <= 45
    assert psnr(y, fit.value.predict(X)) > 40


def test_exchanges_never_make_a_fit_worse():
    X, _, y = planted(500, 30, 10, 30, seed=6)
    start = iht(X, y, 30, 10, n_steps=15)
    after = exchange(X, y, start.value, 30, n_rounds=8)
    assert after.value.n_nonzero <= 30
    assert after.measured["relative_residual"] <= start.measured["relative_residual"] * (1 + 1e-9)
    losses = after.history["loss"]
    assert losses == sorted(losses, reverse=True)


def test_elimination_removes_the_weights_that_cost_least():
    rng = np.random.default_rng(0)
    J, w = rng.standard_normal((60, 8)), rng.standard_normal(8)
    J[:, 7] = J[:, 6] + 1e-3 * rng.standard_normal(60)  # one of these twins can be removed
    kept, values = eliminate(w, J.T @ J, 3)
    left = np.arange(8)
    for _ in range(3):  # one at a time: the refit with the smallest residual
        fits = [np.linalg.lstsq(J[:, left[left != e]], J @ w)[0] for e in left]
        errors = [
            np.linalg.norm(J[:, left[left != e]] @ v - J @ w)
            for e, v in zip(left, fits, strict=True)
        ]
        best = int(np.argmin(errors))
        left, refit = np.delete(left, best), fits[best]
    assert np.flatnonzero(kept).tolist() == left.tolist()
    np.testing.assert_allclose(values[kept], refit, atol=1e-4)
    assert not values[~kept].any()


@pytest.mark.slow
def test_the_drift_from_the_textbook_is_rounding():
    X, _, y = planted(50_000, 100, 100, 100, seed=0)
    H = generators(100, 100)
    for kind, tolerance in ((np.float32, 0.5), (np.float64, 1e-6)):
        oracle = textbook_iht(X.astype(kind), y.astype(kind), 100, H, 15, sequential=True)
        ours = iht(X.astype(kind), y.astype(kind), 100, 100, n_kept=100, generators=H, n_steps=15)
        theirs = relative(y, textbook_predict(X, oracle[-1].astype(float)))
        assert abs(20 * math.log10(ours.history["loss"][-1] / theirs)) < tolerance
