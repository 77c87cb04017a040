"""Tests of the checks of the rank: on planted matrices they hold only if they are true."""

from __future__ import annotations

import re

import numpy as np
import pytest
from benchmarks.sensing.certificates import COUNTED, KINDS, problem
from scipy.stats import binom

from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path

SEEDS = 3


def _most(n, rate=0.05):
    return int(binom.ppf(0.999, n, rate))


def _certified(p, rank=None, **options):
    fit = group_lasso_path(p.operator, p.y) if rank is None else fit_rank(p.operator, p.y, rank)
    U, signs = fit.value.components, fit.value.signs
    strength = fit.measured.get("strength")
    return fit.value, sensing_certificate(p.operator, p.y, U, signs, strength=strength, **options)


def _missed(p, matrix, check):
    """Whether a component as large as the check excludes is missing."""
    hidden = re.search(r"\(([-+.e\d]+)\) is hidden", check.statement)
    left = np.abs(np.linalg.eigvalsh(p.matrix() - matrix)).max()
    return check.verdict == "holds" and hidden is not None and left >= float(hidden[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_of_the_stated_size_is_rarely_missed(kind):
    """The path's own fits, and fits of a rank that is too small by one."""
    n_missed = n = 0
    for seed in range(SEEDS):
        for noise in (0.3, 0.6):
            p = problem(kind, 90, 15, 2, noise, 7_000_000 + seed)
            for rank in (None, 1):
                found, certificate = _certified(p, rank)
                n_missed += len(found.components) < 2 and _missed(
                    p, found.matrix(), certificate["second order"]
                )
                n += 1
    assert n_missed <= _most(n)


@pytest.mark.parametrize("kind", ["gaussian", "rank-one", "student"])
def test_a_component_too_many_is_rarely_more_than_noise(kind):
    n_false = 0
    for seed in range(2 * SEEDS):
        p = problem(kind, 200, 15, 1, 0.2, 7_000_000 + seed)
        n_false += _certified(p, 2)[1]["singular gap"].verdict == "holds"
    assert n_false <= _most(2 * SEEDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_window_never_holds_without_the_gap(kind):
    for seed in range(SEEDS):
        p = problem(kind, 60, 10, 1, 0.5, 7_000_000 + seed)
        fit = fit_rank(p.operator, p.y, 2).value
        for strength in np.geomspace(1e-2, 3, 3):
            found = sensing_certificate(
                p.operator, p.y, fit.components, fit.signs, strength=strength
            )
            window, gap = found["penalty window"].verdict, found["singular gap"].verdict
            assert window != "holds" or gap == "holds"


def test_the_checks_hold_for_gaussian_measurements_with_little_noise():
    n_right = n_hold = 0
    for seed in range(2 * SEEDS):
        p = problem("gaussian", 120, 20, 2, 0.3, 7_000_000 + seed)
        found, certificate = _certified(p)
        right = len(found.components) == 2
        n_right += right
        n_hold += right and all(certificate[name].verdict == "holds" for name in COUNTED)
    assert n_hold >= 0.85 * n_right > 0


def test_a_component_of_rounding_is_no_component():
    """A fit of rank three to rank two without noise: the third one cannot be told from zero."""
    p = planted_sensing(300, 12, 2, random_state=0)
    fit = fit_rank(p.operator, p.y, 2).value
    for size in (1e-12, 1e-9):
        U = np.vstack([fit.components, size * np.eye(12)[:1]])
        check = sensing_certificate(p.operator, p.y, U)["singular gap"]
        assert check.verdict == "fails"
