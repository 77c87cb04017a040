"""Selecting neurons: the best subset is found, and no bound exceeds a reached error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.tickets.neuron import subset as neuron_selection
from secateurs.tickets.neuron.bounds import relaxation_bound
from secateurs.tickets.neuron.local_search import best_code, local_search
from secateurs.tickets.neuron.pruned_neuron import checked
from secateurs.tickets.neuron.subset import first_points, milp_subset, select_neurons
from secateurs.tickets.neuron.sup_error import sup_error
from tests.reference.pruned_neuron import adversarial, best_subset

FORMS = ("A", "B")


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), form=st.sampled_from(FORMS))
def test_gray_code_equals_brute_force_over_points(seed, n, form):
    rng = np.random.default_rng(seed)
    A, f = rng.standard_normal((12, n)), np.maximum(rng.standard_normal(12), 0)
    code, error = best_code(np.ascontiguousarray(A.T), f, form == "B")
    slow, mask = best_subset(A, f, form)
    assert error == pytest.approx(slow, abs=1e-12)
    assert [code >> i & 1 for i in range(n)] == mask.astype(int).tolist()


@pytest.mark.parametrize("form", FORMS)
def test_gray_code_keeps_its_sums_over_many_steps(form):
    rng = np.random.default_rng(0)
    A, f = rng.standard_normal((40, 15)), np.maximum(rng.standard_normal(40), 0)
    code, error = best_code(np.ascontiguousarray(A.T), f, form == "B")
    h = A[:, [i for i in range(15) if code >> i & 1]].sum(axis=1)
    direct = np.abs(f - (np.maximum(h, 0) if form == "B" else h)).max()
    assert error == pytest.approx(direct, abs=1e-12)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 6), form=st.sampled_from(FORMS))
def test_the_subset_of_the_plane_is_optimal(seed, n, form):
    W, alpha, target = adversarial(2, n, seed)
    found = select_neurons(W, alpha, target, form)
    assert found.status == "exact"
    optimum = min(
        sup_error(W, alpha, target, form, np.array(bits, dtype=bool))[0]
        for bits in itertools.product([False, True], repeat=n)
    )
    size = np.linalg.norm(target)
    assert found.value.lower_bound <= optimum + 1e-12
    assert optimum <= found.value.error <= optimum + 1.01e-3 * size


@settings(max_examples=24)
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(2, 6),
    n=st.integers(0, 30),
    form=st.sampled_from(FORMS),
)
def test_bounds_are_in_order(seed, d, n, form):
    W, alpha, target = adversarial(d, n, seed)
    found = select_neurons(W, alpha, target, form, max_cells=500, tolerance=0.01, node_limit=20)
    value = found.value
    assert value.lower_bound <= value.error
    assert 0 <= value.error_at_least <= value.error <= np.linalg.norm(target) * (1 + 1e-9)
    lower, upper = sup_error(W, alpha, target, form, value.mask, max_cells=500)
    assert lower <= value.error
    assert value.error_at_least <= upper
    other = np.random.default_rng(seed).random(n) < 0.3
    assert value.lower_bound <= sup_error(W, alpha, target, form, other, max_cells=500)[1]


@pytest.mark.parametrize("form", FORMS)
def test_the_integer_program_agrees_with_every_subset(form, monkeypatch):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        W, alpha, target = rng.standard_normal((14, 2)), rng.standard_normal(14), np.ones(2)
        every = select_neurons(W, alpha, target, form).value
        with monkeypatch.context() as patch:
            patch.setattr(neuron_selection, "EXHAUSTIVE", 5)
            integer = select_neurons(W, alpha, target, form).value
        assert (every.method, integer.method) == ("gray", "milp")
        assert integer.lower_bound <= every.error
        assert every.lower_bound <= integer.error
        assert integer.error <= 1.05 * every.error


def test_the_plane_is_within_five_per_cent_of_the_proven_optimum():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W, alpha, target = rng.standard_normal((40, 2)), rng.standard_normal(40), np.ones(2)
        found = select_neurons(W, alpha, target, "A").value
        assert found.error <= 1.05 * found.lower_bound


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [2, 3])
def test_a_planted_neuron_is_found_among_many(d, form):
    rng = np.random.default_rng(d)
    W, alpha, target = rng.standard_normal((300, d)), rng.standard_normal(300), np.ones(d)
    W[123], alpha[123] = target / 2, 2.0
    found = select_neurons(W, alpha, target, form)
    assert found.value.error < 0.002 * np.sqrt(d)
    assert found.value.method == "local"


@pytest.mark.parametrize("form", FORMS)
def test_the_relaxation_is_below_every_subset(form):
    rng = np.random.default_rng(0)
    for seed in range(4):
        W, alpha, target = adversarial(2, 7, seed)
        target /= np.linalg.norm(target)
        X = rng.standard_normal((60, 2))
        X /= np.linalg.norm(X, axis=1)[:, None]
        problem = checked(W, alpha, target, form)
        bound = max(relaxation_bound(problem, X, tau)[0] for tau in (0.1, 0.3, 0.6))
        for bits in itertools.product([False, True], repeat=7):
            assert bound <= sup_error(W, alpha, target, form, np.array(bits))[1]


def test_runs_are_equal_and_scale():
    W, alpha, target = adversarial(3, 40, 6)
    one, two = (select_neurons(W, alpha, target, max_cells=500).value for _ in range(2))
    assert (one.mask == two.mask).all()
    assert (one.error, one.lower_bound) == (two.error, two.lower_bound)
    four = select_neurons(4 * W, alpha, 4 * target, max_cells=500).value
    assert (one.mask == four.mask).all()
    assert four.error == pytest.approx(4 * one.error, rel=1e-12)


def test_an_interrupt_keeps_the_best_so_far():
    W, alpha, target = adversarial(3, 40, 6)
    seen = []

    def stop(state):
        seen.append(state.loss)
        if len(seen) == 2:
            raise KeyboardInterrupt

    found = select_neurons(W, alpha, target, max_cells=500, progress=stop)
    assert found.status == "interrupted"
    size = np.linalg.norm(target)
    assert found.value.error == pytest.approx(size * min(seen), rel=1e-12)
    assert found.value.lower_bound <= found.value.error
    assert sup_error(W, alpha, target, "A", found.value.mask)[0] <= found.value.error


def test_the_history_never_gets_worse():
    found = select_neurons(*adversarial(3, 40, 6), max_cells=500)
    for key, sign in (("loss", -1), ("lower_bound", 1)):
        steps = sign * np.diff(found.history[key])
        assert (steps >= 0).all()
    assert len({len(column) for column in found.history.values()}) == 1


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="tolerance: got -1"):
        select_neurons(np.eye(2), np.ones(2), np.ones(2), tolerance=-1)
    with pytest.raises(ValueError, match="expected"):
        select_neurons(np.eye(2), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="form"):
        select_neurons(np.eye(2), np.ones(2), np.ones(2), "C")


@given(seed=st.integers(0, 10**6), form=st.sampled_from(FORMS))
def test_no_one_or_two_changes_improve_on_the_local_search(seed, form):
    rng = np.random.default_rng(seed)
    n, k = 9, 30
    rows, f = rng.standard_normal((n, k)).round(1), np.abs(rng.standard_normal(k))
    z = local_search(rows, f, form == "B", rng.random((2, n)) < 0.4, rng.integers(n, size=(3, 3)))

    def error(z):
        h = rows[z].sum(axis=0)
        return np.abs(f - (np.maximum(h, 0) if form == "B" else h)).max()

    for changes in itertools.combinations_with_replacement(range(n), 2):
        other = z.copy()
        other[list(changes)] ^= True
        assert error(other) >= error(z) * (1 - 1e-9)


@pytest.mark.parametrize(("seed", "large", "upper"), [(1000786, False, 1.1), (192, True, 1.5)])
def test_the_integer_program_is_not_misled_by_opposite_neurons(seed, large, upper):
    """Two cases in which HiGHS with its presolve gives bounds above the optimum."""
    rng = np.random.default_rng(seed)
    n = 13
    W, alpha = rng.standard_normal((n, 2)), rng.standard_normal(n)
    if large:
        alpha *= 10.0 ** rng.uniform(0, rng.choice([0, 3, 6, 8, 10]), n)
    for j in range(0, 6, 2):
        W[j + 1] = W[j]
        alpha[j + 1] = -alpha[j] + rng.standard_normal() * 10.0 ** rng.uniform(-6, 0)
    problem = checked(W, alpha, np.array([1.0, 0.0]), "A")
    X = first_points(problem, 0)[:40]
    A, f = problem.neuron_values(X), np.maximum(X[:, 0], 0)
    subsets = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    least = np.abs(f - subsets @ A.T).max(axis=1).min()
    assert milp_subset(A, f, f >= 0, upper * least, 4000)[1] <= least


def test_weights_beyond_an_integer_program_are_searched():
    rng = np.random.default_rng(0)
    W, alpha = rng.standard_normal((24, 2)), rng.standard_normal(24)
    alpha[0] = 1e10
    found = select_neurons(W, alpha, np.array([1.0, 0.0])).value
    assert found.method == "local"
    assert found.lower_bound <= found.error < 1
