"""Tests of phase retrieval: few rows suffice, and what is found has the given moduli."""

from __future__ import annotations

import numpy as np
import pytest

from secateurs.sensing.factored import Sensed
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.message_passing import retrieve
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import phase_retrieval, planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path

ROWS = {
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "signs": lambda rng, n, d: rng.choice([-1.0, 1.0], (n, d)),
    "heavy": lambda rng, n, d: rng.standard_t(2, (n, d)),
    "units": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d),
    "shifted": lambda rng, n, d: 1 + rng.standard_normal((n, d)),
}


@pytest.mark.parametrize(
    ("kind", "ratio"),
    [("gaussian", 1.7), ("signs", 1.8), ("heavy", 1.8), ("units", 2), ("shifted", 4)],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_vector_is_found_to_rounding_from_few_rows(kind, ratio, dtype):
    n_found = 0
    for seed in range(8):
        rng = np.random.default_rng(3_000_000 + seed)
        operator = centred(RankOne(ROWS[kind](rng, int(ratio * 100), 100).astype(dtype)))
        u = rng.standard_normal((1, 100))
        y = operator.operator.forward_factors(u).astype(np.float64)
        found = retrieve(Sensed.of(operator, y), y, seed)
        if found is None:
            continue
        n_found += 1
        again = operator.operator.forward_factors(found)
        assert np.abs(again - y).max() <= 200 * np.finfo(dtype).eps * np.abs(y).max()
    assert n_found >= 7


@pytest.mark.parametrize("fit", [group_lasso_path, lambda op, y: fit_rank(op, y, 1)])
@pytest.mark.parametrize("ratio", [1.9, 2.0, 3.0])
def test_phase_retrieval_near_the_limit_is_exact(fit, ratio):
    for seed in range(3):
        p = phase_retrieval(int(ratio * 150), 150, random_state=2_000_000 + seed)
        for scale in (1.0, 2.0**-600, 2.0**600):
            found = fit(p.operator, scale * p.y)
            assert found.status == "exact"
            assert p.error(found.value.components / np.sqrt(scale)) < 1e-10


def test_what_is_no_single_vector_is_left_to_the_path():
    rank_two = planted_sensing(300, 20, 2, kind="rank-one", random_state=0)
    noise = planted_sensing(300, 20, 1, kind="rank-one", noise_ratio=0.3, random_state=0)
    dense = planted_sensing(300, 20, 1, random_state=0)
    for p in (rank_two, noise, dense):
        assert retrieve(Sensed.of(p.operator, p.y), p.y) is None
    assert group_lasso_path(rank_two.operator, rank_two.y).status == "exact"
    assert group_lasso_path(rank_two.operator, rank_two.y).value.components.shape == (2, 20)


def test_an_unknown_constant_beside_the_moduli_is_found_by_the_path():
    p = phase_retrieval(300, 30, random_state=1)
    found = group_lasso_path(p.operator, p.y + 2.0)
    assert found.status == "exact"
    assert p.error(found.value.components) < 1e-8
