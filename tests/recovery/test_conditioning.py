"""Rounding and a residual leave nothing open that a fit is said to show.

Two columns differ by a relative gap on the rows of the fit, and are independent on fresh rows.  A
part of one weight can then belong to the other column, as far as the gap is hidden by rounding or
by the residual.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from secateurs import SparseReLURegressor
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.uniqueness import doubt
from secateurs.sparse.stack import ReLUStack

GAPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)
FRESH = 20_000


def relu_sum(X, W):
    return np.maximum(X @ W.T, 0.0).sum(axis=1)


def twin_columns(gap, seed):
    """Draw a planted network, and rows on which a used column is nearly another one."""
    rng = np.random.default_rng([seed, int(-10 * np.log10(gap))])
    d, m = int(rng.integers(4, 9)), int(rng.integers(1, 4))
    W = rng.standard_normal((m, d)) * (rng.random((m, d)) < 0.5)
    W[:, 0] = 1.0
    X = rng.standard_normal((int(rng.uniform(4, 16) * ((W != 0).sum() + d)), d))
    k = int(rng.integers(1, d))
    factor = float(rng.choice([1.0, -1.0, 2.5]))
    X[:, k] = factor * X[:, 0] + gap * rng.standard_normal(len(X))
    return W, X, relu_sum(X, W), rng.standard_normal((FRESH, d))


@pytest.mark.parametrize("gap", GAPS)
def test_no_certificate_is_wrong_on_fresh_rows_with_nearly_equal_columns(gap):
    for seed in range(3):
        W, X, y, fresh = twin_columns(gap, seed)
        more = (0, 1, 3)[seed % 3]
        budget, neurons = int((W != 0).sum()) + more, len(W) if seed % 2 else None
        model = SparseReLURegressor(budget, neurons, "pursuit", random_state=0).fit(X, y)
        wanted = relu_sum(fresh, W)
        wrong = np.abs(model.predict(fresh) - wanted).max() > 1e-6 * wanted.max()
        if wrong:
            assert model.status_ != "exact"
            assert model.certificate_["identification"].verdict == "unknown"


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_network_with_the_other_column_is_not_certified(gap, share):
    """The weight is on the wrong column, as a whole or in part, and leaves a residual."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((300, 4))
        X[:, 3] = X[:, 0] + gap * rng.standard_normal(300)
        W = np.array([[1.0, -2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
        moved = W.copy()
        moved[0, [0, 3]] = 1.0 - share, share
        fit = ReLUStack((sparse.csr_array(moved),), fused=True)
        for n_nonzero in (5, 6):
            found = fit_certificate(fit, X, relu_sum(X, W), n_nonzero)
            assert found["identification"].verdict == "unknown"


@pytest.mark.parametrize("gap", GAPS)
def test_what_the_residual_hides_beside_the_gap_is_in_doubt(gap):
    """The error of the weights is about the residual over the gap; 1e-7 of the outputs counts."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    X[:, 3] = X[:, 0] + gap * rng.standard_normal(300)
    y = relu_sum(X, np.array([[1.0, -2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]))
    size = np.linalg.norm(y)
    used = sparse.csr_array([[1.0, -2.0, 0.0, -0.5], [0.0, 1.0, 1.0, 0.0]])  # both columns
    spare = sparse.csr_array([[1.0, -2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])  # a weight is left
    for W, budget in ((used, 5), (spare, 5)):
        for residual in 10.0 ** np.arange(-15.0, -9.0):
            error = 10.0 * residual / gap
            found = doubt(X, W, budget, residual=residual * size)
            if error > 1e-6:
                assert found != ""
            if gap >= 1e-4 and error < 1e-9:
                assert found == ""


def test_a_residual_beyond_rounding_identifies_nothing():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    W = np.array([[1.0, -2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    fit = ReLUStack((sparse.csr_array(W),), fused=True)
    y = relu_sum(X, W)
    for size in 10.0 ** np.arange(-16.0, -6.0):
        noise = rng.standard_normal(300)
        left = size * np.linalg.norm(y) / np.linalg.norm(noise) * noise
        found = fit_certificate(fit, X, y + left, 4)
        assert found["residual"].verdict == "holds"
        assert (found["identification"].verdict == "holds") == (size < 5e-11)


def test_unused_columns_that_cancel_need_two_weights():
    X = np.random.default_rng(0).standard_normal((300, 6))
    W = sparse.csr_array([[1.0, -2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    for n_nonzero in (4, 5):
        X[:, 4] = X[:, 3]
        assert doubt(X, W, n_nonzero) == ""
    assert "inputs 4 together" in doubt(X, W, 6)
    X[:, 5] = X[:, 3] - X[:, 4] + X[:, 2]  # equal to a used column
    assert doubt(X, W, 5) != ""


def test_the_units_of_the_targets_do_not_matter():
    X = np.random.default_rng(0).standard_normal((200, 3))
    W = sparse.csr_array([[1.0, -2.0, 0.0], [0.0, 1.0, 1.0]])
    size = float(np.linalg.norm(relu_sum(X, W.toarray())))
    for unit in (1e-150, 1.0, 1e150):
        assert doubt(X, unit * W, 5, residual=1e-12 * unit * size) == ""
        assert doubt(X, unit * W, 5, residual=1e-5 * unit * size) != ""
