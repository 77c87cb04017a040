"""Edge-popup keeps the requested number of random weights and does not change them."""

import numpy as np
import pytest
from benchmarks.training.edge_popup import edge_popup, equal_shares

from tests.training.test_baselines import accuracy, two_moons_like


def test_it_learns_without_changing_a_weight():
    data = two_moons_like()
    solution = edge_popup(data, (64,), 200, n_steps=600, batch_size=50, random_state=0)
    assert solution.value.n_nonzero == 200
    assert accuracy(solution.value, data) > 0.75  # a linear model gets about 0.5
    assert solution.history["loss"][-1] < solution.history["loss"][0]
    for layer, values in enumerate(solution.value.values):
        assert len(np.unique(np.abs(values))) == 1
        _, cols = solution.value.entries(layer)
        assert (cols < solution.value.widths[layer]).all()  # no biases
    fresh = edge_popup(data, (64,), 8 * 64, n_steps=0, batch_size=50, random_state=0).value
    for layer in range(2):
        signs = dict(zip(fresh.keys[layer], np.sign(fresh.values[layer]), strict=True))
        for key, value in zip(
            solution.value.keys[layer], solution.value.values[layer], strict=True
        ):
            assert signs[key] == np.sign(value)


def test_it_is_deterministic_and_ends_with_ctrl_c():
    data = two_moons_like()

    def stop(p):
        raise KeyboardInterrupt

    settings = {"n_steps": 120, "batch_size": 50, "random_state": 3}
    a, b = (edge_popup(data, (16,), 60, **settings) for _ in range(2))
    for x, y in zip(a.value.keys, b.value.keys, strict=True):
        np.testing.assert_array_equal(x, y)
    ended = edge_popup(data, (16,), 60, **settings, progress=stop)
    assert (ended.status, ended.measured["n_steps"]) == ("interrupted", 50)
    assert ended.value.n_nonzero == 60


@pytest.mark.parametrize("sizes", [[10], [7, 3, 5], [1000, 1, 1], [3, 3, 3, 3]])
def test_every_number_of_weights_is_shared_out(sizes):
    for n in range(1, sum(sizes) + 1):
        kept = equal_shares(sizes, n)
        assert sum(kept) == n
        assert all(0 <= k <= size for k, size in zip(kept, sizes, strict=True))
        assert all(abs(k - n * s / sum(sizes)) < 1 for k, s in zip(kept, sizes, strict=True))


def test_budgets_beyond_the_network_are_refused():
    for n in (0, 8 * 16 + 1):
        with pytest.raises(ValueError, match="from 1 to 128"):
            edge_popup(two_moons_like(), (16,), n, n_steps=1, batch_size=5)
