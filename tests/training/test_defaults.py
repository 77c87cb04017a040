from hypothesis import given
from hypothesis import strategies as st

from secateurs.training import defaults as settings


@given(n=st.integers(1, 10**7), d=st.integers(1, 10**6))
def test_automatic_steps_and_batches_are_sane(n, d):
    batch = settings.auto_batch_size(n, d)
    assert 1 <= batch <= min(n, 500)
    steps = settings.auto_steps(n, batch)
    assert 2000 <= steps <= 8000
    intervals = [settings.exchange_interval(steps, places) for places in (10, 10**5, 10**9)]
    assert intervals == sorted(intervals)
    assert 10 <= intervals[0] <= 25
    assert intervals[-1] <= 100
    assert 0 <= settings.auto_noise(n) <= 0.4
    assert (settings.auto_noise(n) == 0) == (settings.auto_weight_decay(n) > 0)


@given(s=st.integers(1, 10**6), k=st.integers(1, 1000))
def test_automatic_widths_are_distinct_and_increasing(s, k):
    widths = settings.auto_widths(s, k)
    assert widths == sorted(set(widths))
    assert widths[0] >= 2
    assert len(widths) >= 3
