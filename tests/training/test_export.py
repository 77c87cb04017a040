import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.export import check_agreement, dense_module
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from tests.reference import dense_network
from tests.strategies import random_network


@given(
    seed=st.integers(0, 10_000),
    widths=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    density=st.sampled_from([0.0, 0.15, 0.4, 1.0]),
    centred=st.booleans(),
)
def test_the_dense_module_computes_the_sparse_network(seed, widths, density, centred):
    rng = np.random.default_rng(seed)
    d, k = widths[0], widths[-1]
    network = random_network(rng, widths, density)
    if centred:
        scaling = Scaling(rng.standard_normal(d), rng.random(d) + 0.5)
    else:
        scaling = Scaling(None, np.full(d, 0.3))
    out_shift, out_scale = rng.standard_normal(k), rng.random(k) + 0.1
    fitted = FittedNetwork.build(network, scaling, out_shift, out_scale)
    module = dense_module(fitted)
    x = rng.standard_normal((9, d))
    shift = scaling.shift if scaling.shift is not None else 0
    inner = dense_network.forward(dense_network.matrices(network), (x - shift) * scaling.scale)
    expected = inner[-1] * out_scale + out_shift
    np.testing.assert_allclose(fitted.outputs(x), expected, rtol=1e-4, atol=1e-4)
    got = module(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_the_module_has_no_unused_inputs_and_no_dead_units():
    """Units that do not depend on the input are gone too."""
    from secateurs.sparse.network import SparseNetwork

    # hidden unit 0 reads input 2, unit 1 has only a bias, no weight leaves unit 2, and unit 3
    # has no weights
    keys = [np.array([0 * 5 + 2, 1 * 5 + 4, 2 * 5 + 0]), np.array([0, 1, 3])]
    values = [np.array([2, 3, 4], np.float32), np.array([1, 10, 7], np.float32)]
    network = SparseNetwork((4, 4, 1), keys, values)
    fitted = FittedNetwork.build(network, Scaling(None, np.ones(4)), np.zeros(1), np.ones(1))
    assert fitted.network.n_nonzero == 4
    module = dense_module(fitted)
    assert module[0].columns.tolist() == [2]
    assert [tuple(layer.weight.shape) for layer in module if isinstance(layer, nn.Linear)] == [
        (1, 1),
        (1, 1),
    ]
    assert module(torch.tensor([[9.0, 9, 0.5, 9]])).item() == pytest.approx(2 * 0.5 + 10 * 3)


def test_estimators_export_what_they_predict(digits, tmp_path):
    model = SparseMLPClassifier(100, max_epochs=10, random_state=0).fit(digits.X, digits.y)
    module = model.to_torch()
    scores = module(torch.tensor(digits.X_test, dtype=torch.float32))
    np.testing.assert_array_equal(
        model.classes_[scores.argmax(1).numpy()], model.predict(digits.X_test)
    )
    hidden = module[1].out_features
    assert hidden <= 50
    assert module[1].in_features == len(model.fitted_.columns) < 64


def test_onnx_file_predicts_the_same(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 6)) * [1, 5, 20, 1, 1, 1] + 3
    model = SparseMLPRegressor(30, (8,), max_epochs=30, random_state=0).fit(X, X[:, 0] * 4)
    model.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    for n in (1, 7):
        (got,) = session.run(None, {"X": X[:n].astype(np.float32)})
        np.testing.assert_allclose(got[:, 0], model.predict(X[:n]), rtol=1e-3, atol=1e-3)


def test_disagreement_is_an_error():
    with pytest.raises(RuntimeError, match="differs"):
        check_agreement(nn.Linear(2, 1), torch.ones(3, 2), torch.full((3, 1), 1e3))
