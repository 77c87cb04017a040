from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateurs.sparse import compact
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork, from_dense
from secateurs.sparse.support_update import update_support
from tests.reference import dense_network
from tests.strategies import random_network

widths_strategy = st.lists(st.integers(1, 8), min_size=2, max_size=4)


def outputs(network, x):
    net = CompactNetwork.from_network(network)
    H = np.vstack([x.T[net.units[0].numpy()], np.ones((1, len(x)))]).astype(np.float32)
    return net.forward(torch.tensor(H))[-1].t().numpy()


@given(seed=st.integers(0, 10_000), widths=widths_strategy, density=st.sampled_from([0, 0.3, 1]))
def test_compact_form_computes_the_dense_network(seed, widths, density):
    rng = np.random.default_rng(seed)
    network = random_network(rng, widths, density)
    x = rng.standard_normal((5, widths[0]))
    expected = dense_network.forward(dense_network.matrices(network), x)[-1]
    np.testing.assert_allclose(outputs(network, x), expected, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 10_000), widths=widths_strategy)
def test_canonical_to_compact_and_back(seed, widths):
    network = random_network(np.random.default_rng(seed), widths)
    back = CompactNetwork.from_network(network).to_network()
    assert back.widths == network.widths
    for layer in range(len(network.keys)):
        np.testing.assert_array_equal(back.keys[layer], network.keys[layer])
        np.testing.assert_array_equal(back.values[layer], network.values[layer])


@given(seed=st.integers(0, 10_000), widths=widths_strategy)
def test_trimming_keeps_the_function_and_is_idempotent(seed, widths):
    rng = np.random.default_rng(seed)
    network = random_network(rng, widths, 0.25)
    trimmed = network.trimmed()
    x = rng.standard_normal((6, widths[0]))
    np.testing.assert_allclose(outputs(trimmed, x), outputs(network, x), rtol=1e-5, atol=1e-6)
    assert trimmed.trimmed().n_nonzero == trimmed.n_nonzero <= network.n_nonzero


@given(seed=st.integers(0, 10_000), widths=widths_strategy)
def test_trimming_leaves_no_dead_weight(seed, widths):
    """Every weight that is left lies on a path from an input or a constant to an output."""
    network = random_network(np.random.default_rng(seed), widths, 0.25).trimmed()
    weights = dense_network.matrices(network)
    reached = [np.ones(widths[0], bool)]
    for W in weights:
        reached.append((W != 0)[:, :-1] @ reached[-1] | (W[:, -1] != 0))
    needed = [np.ones(widths[-1], bool)]
    for W in reversed(weights):
        needed.insert(0, ((W != 0)[:, :-1].T @ needed[0]) > 0)
    for layer in range(len(weights)):
        rows, cols = network.entries(layer)
        assert needed[layer + 1][rows].all()
        inner = cols < widths[layer]
        assert reached[layer][cols[inner]].all()


@given(
    seed=st.integers(0, 10_000),
    widths=widths_strategy,
    drop_share=st.sampled_from([0, 0.3, 1]),
    grow_share=st.sampled_from([0, 0.2, 1]),
    piece=st.sampled_from([1, 4, 1000]),
    key_type=st.sampled_from([torch.int32, torch.int64]),
)
def test_an_update_of_the_support_equals_set_arithmetic(
    seed, widths, drop_share, grow_share, piece, key_type
):
    rng = np.random.default_rng(seed)
    network = random_network(rng, widths)
    net = CompactNetwork.from_network(network)
    age = torch.arange(1, net.nnz + 1, dtype=torch.int16)
    drop = torch.tensor(rng.random(net.nnz) < drop_share)
    grown, expected = [], {}
    flat = 0
    for layer, keys in enumerate(network.keys):
        for key, value in zip(keys.tolist(), network.values[layer].tolist(), strict=True):
            if not drop[flat]:
                expected[layer, key] = (value, flat + 1)
            flat += 1
        places = (widths[layer] + 1) * widths[layer + 1]
        absent = np.setdiff1d(np.arange(places), keys)
        new = absent[rng.random(len(absent)) < grow_share]
        grown.append(torch.tensor(new, dtype=key_type))
        expected.update({(layer, int(key)): (0.0, 0) for key in new})
    with mock.patch.object(compact, "_PIECE", piece):
        net, (age,) = update_support(net, [age], drop, grown)
    after = net.to_network()
    got, flat = {}, 0
    for layer, keys in enumerate(after.keys):
        assert (np.diff(keys) > 0).all()
        for key, value in zip(keys.tolist(), after.values[layer].tolist(), strict=True):
            got[layer, key] = (value, int(age[flat]))
            flat += 1
    assert got == expected


def test_coefs_and_intercepts_are_the_weights():
    network = random_network(np.random.default_rng(0), (5, 4, 3))
    for layer, W in enumerate(dense_network.matrices(network)):
        np.testing.assert_array_equal(network.coefs()[layer].toarray(), W[:, :-1])
        np.testing.assert_array_equal(network.intercepts()[layer], W[:, -1])


def test_from_dense_round_trip():
    g = torch.Generator().manual_seed(0)
    W = [torch.randn(4, 3, generator=g), torch.randn(2, 4, generator=g)]
    b = [torch.randn(4, generator=g), torch.zeros(2)]
    network = from_dense([torch.cat([w, c[:, None]], 1) for w, c in zip(W, b, strict=True)])
    assert network.n_nonzero == 12 + 8 + 4
    for layer, M in enumerate(dense_network.matrices(network)):
        np.testing.assert_array_equal(M[:, :-1], W[layer].numpy())


@pytest.mark.parametrize("widths", [(10**6, 10**6, 10), (2**31 - 2, 50, 2)])
def test_nominal_width_costs_nothing(widths):
    n_in = widths[0]
    keys = [np.array([3, n_in + 1 + 7]), np.array([0, 1, widths[1]])]
    values = [np.ones(len(k), np.float32) for k in keys]
    network = SparseNetwork(widths, keys, values)
    net = CompactNetwork.from_network(network)
    assert [len(u) for u in net.units] == [2, 2, widths[2]]
