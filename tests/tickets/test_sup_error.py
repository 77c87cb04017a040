"""The sup error of a pruned neuron is exact on the circle and bracketed on every sphere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.tickets.neuron.latitude import latitude_bound
from secateurs.tickets.neuron.pruned_neuron import checked
from secateurs.tickets.neuron.sphere_cells import depth, longest_edge
from secateurs.tickets.neuron.sup_error import closed_bound, sup_error
from tests.reference.pruned_neuron import adversarial, dense_circle, slow_error

FORMS = ("A", "B")


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 12), form=st.sampled_from(FORMS))
def test_the_circle_is_exact(seed, n, form):
    W, alpha, target = adversarial(2, n, seed)
    lower, upper = sup_error(W, alpha, target, form)
    assert 0 <= upper - lower <= 1e-11 * (1 + np.abs(alpha) @ np.linalg.norm(W, axis=1))
    scan, step = dense_circle(W, alpha, target, form, 20_001)
    assert scan <= upper
    # between neighbours of the grid the error moves by less than its Lipschitz constant
    lipschitz = np.linalg.norm(target) + np.abs(alpha) @ np.linalg.norm(W, axis=1)
    assert lower <= scan + lipschitz * step


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 8),
    n=st.integers(0, 12),
    form=st.sampled_from(FORMS),
)
def test_bounds_bracket_every_point(seed, d, n, form):
    W, alpha, target = adversarial(d, n, seed)
    lower, upper = sup_error(W, alpha, target, form, max_cells=1000)
    assert 0 <= lower <= upper
    X = np.random.default_rng(seed).standard_normal((500, d))
    X = np.vstack([X, W, -W, [target, -target, np.ones(d)]])
    X = X[np.linalg.norm(X, axis=1) > 0]
    found = max(slow_error(W, alpha, target, form, x / np.linalg.norm(x)) for x in X)
    assert found <= upper
    assert found <= closed_bound(checked(W, alpha, target, form)) + 1e-9


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [3, 4, 5])
def test_cells_close_the_interval(d, form):
    rng = np.random.default_rng(d)
    W, target = rng.standard_normal((20, d)), rng.standard_normal(d)
    lower, upper = sup_error(W, rng.standard_normal(20), target, form, tolerance=0.01)
    assert upper - lower <= 0.0101 * np.linalg.norm(target)


@pytest.mark.parametrize("form", FORMS)
def test_a_problem_of_the_plane_has_the_same_sup_in_space(form):
    W, alpha, target = adversarial(2, 7, 5)
    exact = sup_error(W, alpha, target, form)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0][:2]
    lower, upper = sup_error(W @ rotation, alpha, target @ rotation, form)
    assert lower <= exact[1]
    assert exact[0] <= upper
    assert upper - lower <= 1.1e-3 * np.linalg.norm(target)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_known_errors(d):
    target = np.arange(1.0, d + 1)
    size = np.linalg.norm(target)
    none = np.zeros((0, d)), np.zeros(0)
    for form in FORMS:
        assert sup_error(*none, target, form) == pytest.approx((size, size), rel=1e-9)
        assert sup_error(target[None], [1.0], target, form)[1] < 1e-9
        assert sup_error(target[None], [0.5], target, form) == pytest.approx(
            (size / 2, size / 2), rel=2e-3
        )
    # relu(t) - relu(-t) = t: wrong by |t| on one side, and its relu is the target
    both = np.stack([target, -target]), np.array([1.0, -1.0])
    assert sup_error(*both, target, "A") == pytest.approx((size, size), rel=2e-3)
    assert sup_error(*both, target, "B")[1] < 1e-9


@pytest.mark.parametrize("d", [3, 4, 9])
def test_a_distance_of_1e_9_from_the_target_is_seen(d):
    """sup |relu(t) - relu(w)| is the sine of the angle; no upper bound may be below it."""
    rng = np.random.default_rng(d)
    for angle in (1e-10, 1e-9, 1e-8, 1e-6):
        Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
        w = np.cos(angle) * Q[0] + np.sin(angle) * Q[1]
        for form in FORMS:
            lower, upper = sup_error(w[None], [1.0], Q[0], form)
            assert lower <= 1.001 * angle
            assert np.sin(angle) <= upper


def test_form_b_is_never_worse_than_form_a():
    for seed in range(30):
        W, alpha, target = adversarial(2, 8, seed)
        b, a = (sup_error(W, alpha, target, form) for form in "BA")
        assert b[0] <= a[1]


def test_subsets_and_runs_agree():
    W, alpha, target = adversarial(3, 10, 3)
    mask = np.arange(10) % 3 == 0
    one = sup_error(W, alpha, target, "A", mask)
    assert one == sup_error(W, alpha, target, "A", np.flatnonzero(mask))
    assert one == sup_error(W, alpha, target, "A", mask)
    direct = sup_error(W[mask], alpha[mask], target, "A")
    assert direct == pytest.approx(one, rel=1e-9)


def test_few_cells_still_bound():
    W, alpha, target = adversarial(4, 30, 0)
    full = sup_error(W, alpha, target, "A")
    for max_cells in (0, 1, 16, 100):
        lower, upper = sup_error(W, alpha, target, "A", max_cells=max_cells)
        assert lower <= full[1]
        assert full[0] <= upper


@pytest.mark.parametrize("d", range(2, 10))
def test_the_latitude_bound_holds_for_fitted_output_weights(d):
    """Output weights of any size, fitted to the target, with no neuron near the axis."""
    rng = np.random.default_rng(d)
    for delta in (0.2, 0.7, 1.3):
        across = rng.standard_normal((40, d - 1))
        across /= np.linalg.norm(across, axis=1)[:, None]
        beta = delta + rng.exponential(0.05, 40).clip(max=np.pi / 2 - delta)
        W = np.column_stack([np.cos(beta), np.sin(beta)[:, None] * across])
        W *= rng.choice([-1.0, 1.0], (40, 1))
        target = np.eye(d)[0]
        X = rng.standard_normal((1500, d))
        X[:750, 0] *= 0.2
        X /= np.linalg.norm(X, axis=1)[:, None]
        A, f = np.maximum(X @ W.T, 0), np.maximum(X @ target, 0)
        alpha = np.linalg.lstsq(A, f, rcond=None)[0]
        lower, _ = sup_error(W, alpha, target, "A", max_cells=0)
        assert 0 < latitude_bound(delta, d) <= lower


def test_the_latitude_bound_of_the_plane_is_the_breakpoint_bound():
    for delta in (0.01, 0.3, 1.0, 1.5):
        assert latitude_bound(delta, 2) == pytest.approx(np.tan(delta / 2) / 2, rel=1e-9)


def test_the_latitude_bound_kills_every_other_neuron():
    """The proof's identity in d = 4: means over latitudes below beta are a + b tan^2 of it."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((200_000, 3))
    U = np.vstack([U, -U]) / np.linalg.norm(np.vstack([U, U]), axis=1)[:, None]
    for beta in (0.4, 1.0):
        w = np.array([np.cos(beta), np.sin(beta), 0, 0])
        means = []
        for share in (0.0, 0.5, 1.0):
            T = share * np.tan(beta)
            t = np.arctan(T)
            X = np.column_stack([np.full(len(U), np.sin(t)), np.cos(t) * U])
            means.append(np.abs(X @ w).mean() / np.cos(t))
        # a quadratic in T without a linear term: 1, 1/4, 0 of the way from T = tan(beta) to 0
        assert means[1] == pytest.approx(0.75 * means[0] + 0.25 * means[2], rel=3e-3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [1, 2, 4])
def test_errors_are_those_of_the_same_network_at_another_scale(d, form):
    """Powers of two leave every digit, in W and target or between W and alpha."""
    W, alpha, target = adversarial(d, 6, 6)
    lower, upper = sup_error(W, alpha, target, form, max_cells=500)
    for power in (-440, -60, 60, 440):
        factor = 2.0**power
        scaled = sup_error(factor * W, alpha, factor * target, form, max_cells=500)
        assert scaled == (factor * lower, factor * upper)
        moved = sup_error(factor * W, alpha / factor, target, form, max_cells=500)
        assert moved == (lower, upper)


@pytest.mark.parametrize(
    ("W", "alpha", "target"),
    [
        ([[1e200, 0.0]], [1e200], [1.0, 0.0]),
        ([[1e155, 0.0]], [1.0], [1.0, 0.0]),
        ([[1.0, 0.0, 0.0]], [1.0], [1e155, 0.0, 0.0]),
        ([[0.0, 1.0, 0.0]], [0.0], [1e-165, 0.0, 0.0]),
        ([[1e308, 1e308]] * 4, [1.0] * 4, [1.0, 0.0]),
    ],
)
def test_sizes_whose_squares_leave_float64_are_refused(W, alpha, target):
    with pytest.raises(ValueError, match="expected at least 1e-140 and at most 1e\\+140"):
        sup_error(W, alpha, target)


@pytest.mark.parametrize("d", [3, 4, 6])
def test_cells_have_the_depth_they_claim(d):
    """A point of the sphere in a cell has coordinates that add up to at most 1 / rho."""
    rng = np.random.default_rng(d)
    for _ in range(30):
        cell = np.eye(d)
        for _ in range(14):
            j1, j2 = longest_edge(cell)
            middle = cell[j1] + cell[j2]
            cell = cell.copy()
            cell[rng.choice([j1, j2])] = middle / np.linalg.norm(middle)
            rho = depth(cell)
            weights = rng.exponential(1, (200, d)) ** 3
            weights /= np.linalg.norm(weights @ cell, axis=1)[:, None]
            assert weights.sum(axis=1).max() <= (1 + 1e-12) / rho
            assert 1 / rho <= d**0.5 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": np.ones(3)}, "expected"),
        ({"alpha": np.ones(2)}, r"\[N, d\], \[N\] and \[d\]"),
        ({"target": np.ones(4)}, "expected"),
        ({"target": np.zeros(3)}, "not zero"),
        ({"W": np.full((3, 3), np.nan)}, "finite"),
        ({"form": "C"}, "'A'"),
        ({"subset": [0, 0]}, "distinct"),
        ({"subset": [7]}, "from 0 to 2"),
        ({"subset": np.ones(2, dtype=bool)}, "boolean mask"),
        ({"subset": [0.5]}, "boolean mask"),
        ({"tolerance": 0.0}, "tolerance: got 0.0"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"W": np.eye(3), "alpha": np.ones(3), "target": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        sup_error(**(good | change))
