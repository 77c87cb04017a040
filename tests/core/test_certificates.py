import math

import numpy as np
import pytest
from scipy.stats import binom

from secateurs.core.certificate import Certificate, Check
from secateurs.core.generalization import (
    budget_check,
    description_bits,
    error_upper_bound,
    held_out_check,
    held_out_regression_checks,
    occam_check,
    support_check,
)


@pytest.mark.parametrize("n", [10, 57, 400])
@pytest.mark.parametrize("p", [0.02, 0.3, 0.5])
def test_the_held_out_bound_is_violated_at_most_one_time_in_twenty(n, p):
    """Exactly, not by simulation: sum the probability of the counts whose bound is below p."""
    violated = sum(binom.pmf(k, n, p) for k in range(n + 1) if error_upper_bound(k, n, 0.95) < p)
    assert violated <= 0.05 + 1e-12


def test_held_out_bounds_at_the_ends():
    assert error_upper_bound(0, 0, 0.95) == 1.0
    assert error_upper_bound(5, 5, 0.95) == 1.0
    assert 0 < error_upper_bound(0, 1000, 0.95) < 0.004


def test_verdicts_follow_the_numbers():
    assert held_out_check((np.empty(0),), 0.9, 1).verdict == "unknown"
    assert held_out_check((mistakes(5, 100),), 0.9, 1).verdict == "holds"
    assert held_out_check((mistakes(60, 100),), 0.5, 1).verdict == "unknown"
    assert budget_check(11, 10).verdict == "fails"
    assert budget_check(10, 10).verdict == "holds"
    assert support_check(100, 99).verdict == "fails"


def test_comparing_more_models_loosens_the_bound():
    bounds = [held_out_check((mistakes(5, 200),), 0.9, k).measured for k in (1, 4, 20)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


def test_occam_bound_tightens_with_rows_and_loosens_with_weights():
    def bound(n=60_000, s=100):
        return occam_check(0.2, n, (784, 20, 10), s, 64, 0.9).measured

    assert bound(n=10_000) > bound() > 0.2
    assert bound(s=300) > bound()
    assert occam_check(0.0, 100, (64, 50, 10), 300, 64, 0.9).verdict == "unknown"


def test_description_length_satisfies_kraft():
    """Summed over all networks of every size, 2^-bits is at most 1."""
    total = 0.0
    for widths in [(a, b) for a in range(1, 12) for b in range(1, 12)]:
        places = (widths[0] + 1) * widths[1]
        for s in range(places + 1):
            log_count = math.log2(math.comb(places, s)) + 32 * s
            total += 2 ** (log_count - description_bits(widths, s))
    assert total <= 1


def mistakes(k, n):
    """Error rates of n units, k of them wrong."""
    return np.r_[np.ones(k), np.zeros(n - k)]


def test_the_bound_is_that_of_the_worse_sample():
    """Copies are one observation or several; the statement must be true in both cases."""
    distinct, rows = mistakes(0, 50), mistakes(30, 100)
    both = held_out_check((distinct, rows), 0.9, 1)
    assert both.measured == held_out_check((rows,), 0.9, 1).measured
    assert held_out_check((rows, distinct), 0.9, 1).measured == both.measured
    assert "100 where equal rows count one by one" in both.statement


def test_groups_that_are_partly_right_are_bounded_by_their_mean():
    rng = np.random.default_rng(0)
    rates = rng.random(400) * 0.2
    check = held_out_check((rates,), 0.5, 1, grouped=True)
    assert check.verdict == "holds"
    assert 0.1 < check.measured < 0.2
    assert "each group counts alike" in check.statement


def test_regression_gain():
    rng = np.random.default_rng(0)

    def verdicts(*errors, clip=2.0):
        samples = [np.stack(pair, axis=1) for pair in zip(errors[::2], errors[1::2], strict=True)]
        return [
            c.verdict for c in held_out_regression_checks(samples, clip, "squared units of y", 1)
        ]

    error = rng.chisquare(1, 400)
    assert verdicts(0.3 * error, error) == ["holds", "holds"]
    assert verdicts(error, error) == ["unknown", "unknown"]
    assert verdicts(error, 0.3 * error) == ["unknown", "unknown"]
    assert verdicts(np.empty(0), np.empty(0)) == ["unknown", "unknown"]
    assert verdicts(0.3 * error, error, error, error) == ["unknown", "unknown"]
    assert verdicts(0.3 * error, error, clip=0.0)[0] == "unknown"  # a constant target


def test_an_outlier_cannot_carry_a_gain():
    rng = np.random.default_rng(0)
    model, mean = rng.chisquare(1, 200), rng.chisquare(1, 200)
    mean[0] = 1e12
    samples = (np.stack([model, mean], axis=1),)
    assert held_out_regression_checks(samples, 2.0, "squared units of y", 1)[0].verdict == "unknown"


def test_certificates_are_read_by_name():
    certificate = Certificate((Check("a", "A.", "holds", 1.0, 2.0, "counted"),))
    assert certificate["a"].verdict == "holds"
    assert "A." in str(certificate)
    with pytest.raises(KeyError, match="there are"):
        certificate["b"]
