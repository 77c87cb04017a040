"""Networks with several outputs, two hidden layers or biases are found and kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.utils.estimator_checks import check_estimator

import secateurs
from secateurs import SparseReLUNetworkRegressor, planted_relu
from secateurs.cli import main
from secateurs.recovery import sample_network
from secateurs.recovery.layer_matching import match_layers, normal_form
from secateurs.recovery.sampling.layered import LayeredProblem
from secateurs.recovery.sampling.layered_sweeps import energy_change, moments, sensitivity, trial
from secateurs.sparse.stack import ReLUStack

N = 60


def random_layers(seed, *sizes, density=0.5):
    rng = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes, strict=False)
    return [rng.standard_normal(shape) * (rng.random(shape) < density) for shape in shapes]


def outputs(layers, X, *, fused=False):
    return ReLUStack(tuple(sparse.csr_array(W) for W in layers), fused).predict(X)


# --- the kernels


def test_the_kernels_equal_plain_numpy():
    X = np.random.default_rng(0).standard_normal((N, 5)).astype(np.float32)
    W1, W2, V = (W.astype(np.float32) for W in random_layers(1, 5, 4, 3, 2, density=0.8))
    Z1 = W1 @ X.T
    H = np.maximum(Z1, 0)
    Z2 = W2 @ H
    Y = np.random.default_rng(2).standard_normal((2, N)).astype(np.float32)
    r = (Y - V @ np.maximum(Z2, 0)).astype(np.float32)
    v = V.T.copy()  # the kernels have a row for each unit
    for j in range(4):
        D, Q, part = (np.zeros(N, np.float32) for _ in range(3))
        below = W2[:, j].copy()
        sensitivity(below, v, Z2, r, D, Q, part)
        slope = np.einsum("oa,an,a->on", V, (Z2 > 0) * 1.0, below)
        np.testing.assert_allclose(D, (slope * r).sum(axis=0), atol=1e-4)
        np.testing.assert_allclose(Q, (slope**2).sum(axis=0), atol=1e-4)
        change = np.random.default_rng(j).standard_normal(N).astype(np.float32)
        Z_new, r_new = Z2.copy(), r.copy()
        energy = trial(change, below, v, Z2, r, Z_new, r_new)
        expected = Y - V @ np.maximum(Z2 + below[:, None] * change, 0)
        np.testing.assert_allclose(r_new, expected, atol=1e-4)
        assert energy == pytest.approx(((expected**2).sum() - (r**2).sum()) / 2, abs=1e-3)
    a, k, delta = 1, 2, np.float32(0.3)
    D, q = V[:, a] @ r, np.float32((V[:, a] ** 2).sum())
    new = Z2.copy()
    new[a] += delta * H[k]
    expected = (((Y - V @ np.maximum(new, 0)) ** 2).sum() - (r**2).sum()) / 2
    assert energy_change(H[k], Z2[a], D, q, delta) == pytest.approx(expected, abs=1e-3)
    is_open = Z2[a] > 0
    np.testing.assert_allclose(moments(H[k], Z2[a], D)[0], (is_open * H[k]) @ D, rtol=1e-3)


# --- the search

CELLS = [
    {"m": 5, "s": 20, "n_outputs": 4},
    {"m": 4, "s": 18, "n_outputs": 3, "n_hidden_layers": 2},
    {"m": 3, "s": 12, "n_hidden_layers": 2},
]


@pytest.mark.parametrize("cell", CELLS)
def test_planted_networks_are_found(cell):
    problem = planted_relu(600, 15, random_state=3, **cell)
    hidden = (cell["m"],) * cell.get("n_hidden_layers", 1)
    model = SparseReLUNetworkRegressor(cell["s"], hidden, random_state=0)
    model.fit(problem.X, problem.y)
    error = np.abs(model.predict(problem.X_test) - problem.y_test).max()
    assert error < 1e-6 * np.abs(problem.y_test).max()
    assert model.status_ == "converged"
    assert model.certificate_["identification"].verdict == "unknown"
    assert model.n_nonzero_ <= cell["s"]


@pytest.mark.parametrize("seed", [0, 4])  # the pursuit stalls on some other such layers
def test_an_upper_layer_with_divided_signs_is_found_again_with_fewer_weights(seed):
    """relu(z) = a relu(z) + (1 - a) relu(-z) + (1 - a) z, where a unit with weights >= 0 has z."""
    rng = np.random.default_rng(seed)
    first = np.zeros((4, 6))
    first[[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 1, 2, 3, 4, 5, 0]] = rng.standard_normal(8)
    z, linear = np.array([1.2, -0.9, -0.7, 0.0]), np.array([0.0, 1.1, 1.3, 0.8])
    X = torch.as_tensor(rng.standard_normal((2000, 6)))
    truth = stack_of_arrays(first, np.array([z, linear]))
    divided = stack_of_arrays(first, np.array([0.3 * z, -0.7 * z, linear + 0.7 * z]))
    y = torch.as_tensor(truth.predict(X.numpy()))
    np.testing.assert_allclose(divided.predict(X.numpy()), y, atol=1e-12)
    problem = LayeredProblem(X, y, X, y, 14, (4, 3), rng)
    found, left = problem.finished(problem.with_other_top(divided))
    assert left < 1e-9
    assert found.n_nonzero <= truth.n_nonzero < divided.n_nonzero


def stack_of_arrays(*layers):
    return ReLUStack(tuple(sparse.csr_array(W) for W in layers), True)


def test_biases_are_found_and_can_be_exact():
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((500, 6)), np.zeros((3, 6))
    W[[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 0]] = rng.standard_normal(6)
    b = np.array([0.5, -0.7, 0.3])
    y = np.maximum(X @ W.T + b, 0).sum(axis=1)
    model = SparseReLUNetworkRegressor(9, 3, fit_biases=True, random_state=0).fit(X, y)
    assert model.status_ == "exact"
    assert model.match([W], b).error < 1e-9
    vector = np.maximum(X @ W.T + b, 0) @ rng.standard_normal((3, 2))
    model = SparseReLUNetworkRegressor(15, 3, fit_biases=True, random_state=0).fit(X, vector)
    assert model.held_out_error_ < 1e-9
    assert model.status_ == "converged"


def test_runs_are_repeatable_and_the_budget_holds():
    problem = planted_relu(200, 12, 4, 16, n_outputs=2, noise=0.5, random_state=0)
    first, second = (
        sample_network(problem.X, problem.y, 11, 4, n_runs=1, random_state=5) for _ in range(2)
    )
    assert first.status == "budget"
    assert first.value.n_nonzero <= 11
    for a, b in zip(first.value.layers, second.value.layers, strict=True):
        np.testing.assert_array_equal(a.toarray(), b.toarray())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (3, 3, 3)}, "hidden: got"),
        ({"hidden": 0}, r"hidden\[0\]: got 0"),
        ({"n_nonzero": 1, "hidden": (3, 3)}, "n_nonzero: got 1"),
        ({"solver": "pursuit"}, "solver: got"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    X = np.ones((9, 2))
    with pytest.raises(ValueError, match=message):
        SparseReLUNetworkRegressor(**{"n_nonzero": 5, "hidden": 3} | change).fit(X, X[:, 0])


def test_zeros_give_an_empty_network():
    X = np.random.default_rng(0).standard_normal((20, 3))
    model = SparseReLUNetworkRegressor(5, 3).fit(X, np.zeros((20, 2)))
    assert model.n_nonzero_ == 0
    assert (model.predict(X) == np.zeros((20, 2))).all()


# --- matching and the file


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_and_scale_of_neurons_do_not_matter(fused, seed):
    rng = np.random.default_rng(seed)
    layers = random_layers(seed, 5, 4, 3, *([] if fused else [2]), density=0.9)
    X = rng.standard_normal((50, 5))
    moved = [W.copy() for W in layers]
    for layer in range(len(layers) - 1):
        order, factor = rng.permutation(len(moved[layer])), rng.uniform(0.3, 3, len(moved[layer]))
        moved[layer] = (moved[layer] * factor[:, None])[order]
        moved[layer + 1] = (moved[layer + 1] / factor)[:, order]
    expected = outputs(layers, X, fused=fused)
    np.testing.assert_allclose(outputs(moved, X, fused=fused), expected, atol=1e-12)
    normal = normal_form(moved, fused=fused)
    np.testing.assert_allclose(outputs(normal, X, fused=fused), expected, atol=1e-12)
    assert match_layers(moved, layers, fused=fused).error < 1e-12
    moved[0][0] = -moved[0][0]
    assert match_layers(moved, layers, fused=fused).error > 1e-3


def test_a_file_gives_the_same_predictions(tmp_path):
    problem = planted_relu(150, 6, 3, 12, n_outputs=2, random_state=0)
    model = SparseReLUNetworkRegressor(12, 3, fit_biases=True, random_state=0)
    model.fit(problem.X, problem.y).save(tmp_path / "model")
    again = secateurs.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(problem.X), model.predict(problem.X))
    assert again.describe().facts == model.describe().facts


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_contract_of_scikit_learn_holds():
    torch.set_num_threads(1)
    model = SparseReLUNetworkRegressor(6, 2, solver="sampling", random_state=0)
    check_estimator(model, on_skip=None)


def test_the_command_line_fits_several_outputs(tmp_path, capsys):
    problem = planted_relu(120, 5, 2, 8, n_outputs=2, random_state=0)
    np.savez(tmp_path / "data.npz", X=problem.X, y=problem.y)

    def run(*options):
        with pytest.raises(SystemExit) as stop:
            main(["recover", str(tmp_path / "data.npz"), "--nonzeros", "8", *options])
        return stop.value.code

    assert run("--hidden", "2", "--biases") == 0
    assert "SparseReLUNetworkRegressor: 8 weights" in capsys.readouterr().out
    assert (
        run("--biases") == run("--hidden", "2", "--neurons", "2") == run("--hidden", "2,2,2") == 2
    )
