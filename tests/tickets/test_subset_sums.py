"""Subset sums: the minimum over all subsets, the shortest prefix, and errors of the mask itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.core import thread_pool as pieces
from secateurs.tickets.subset_sums import pack_masks, subset_sum, unpack_masks
from tests.reference.subset_sum import all_sums


def products(rng, *shape):
    return rng.standard_normal(shape) * rng.standard_normal(shape)


def assert_honest(found, candidates, targets):
    """Check that the error is that of the mask, and not larger than that of the empty subset."""
    chosen = unpack_masks(found.mask, np.shape(candidates)[-1])
    assert not unpack_masks(found.mask)[:, np.shape(candidates)[-1] :].any()
    sums = (chosen * candidates).sum(-1)
    size = np.abs(candidates).sum(-1) + np.abs(targets)
    assert (np.abs(np.abs(sums - targets) - found.error) <= 1e-15 * size).all()
    assert (found.error <= np.abs(targets) + 1e-15 * size).all()
    assert all(int(m).bit_length() <= n for m, n in zip(found.mask, found.n_used, strict=True))


@pytest.mark.parametrize("n", [*range(1, 15), 17, 20])
def test_the_minimum_is_that_of_brute_force(n):
    rng = np.random.default_rng(n)
    a, t = products(rng, 5, n), rng.uniform(-1, 1, 5)
    found = subset_sum(a, t)
    best = [np.abs(all_sums(row) - target).min() for row, target in zip(a, t, strict=True)]
    np.testing.assert_allclose(found.error, best, atol=1e-12)
    assert_honest(found, a, t)
    assert (found.n_used == n).all()


@given(
    values=st.lists(
        st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=9
    ),
    target=st.sampled_from([0.0, 0.5, -0.75, 2.25, 100.0]),
    scale=st.sampled_from([1.0, 2.0**-600, 2.0**600]),
)
def test_ties_zeros_and_extreme_scales(values, target, scale):
    a, t = scale * np.array(values), np.array([scale * target])
    found = subset_sum(a, t)
    assert found.error[0] == np.abs(all_sums(a) - t).min()
    assert_honest(found, a, t)
    adaptive = subset_sum(a, t, eps=0.25 * scale)
    assert adaptive.error[0] <= max(found.error[0], 0.25 * scale)
    assert_honest(adaptive, a, t)


@pytest.mark.parametrize("eps", [0.3, 1e-2, 1e-4])
def test_the_prefix_is_the_shortest_that_reaches_the_tolerance(eps):
    rng = np.random.default_rng(1)
    a, t = products(rng, 40, 16), rng.uniform(-1, 1, 40)
    found = subset_sum(a, t, eps)
    assert_honest(found, a, t)
    for row, target, n, error in zip(a, t, found.n_used, found.error, strict=True):
        errors = np.abs(all_sums(row) - target)
        reaching = [k for k in range(17) if errors[: 1 << k].min() <= eps]
        if reaching:
            assert n == reaching[0]
            assert error <= eps
        else:
            assert n == 16
            assert error == pytest.approx(errors.min(), abs=1e-12)
    assert found.status == ("converged" if (found.error <= eps).all() else "budget")


def test_one_set_of_candidates_for_all_is_that_set_for_each():
    rng = np.random.default_rng(2)
    a, t = products(rng, 15), rng.uniform(-1, 1, 50)
    for eps in (None, 1e-3):
        shared, own = subset_sum(a, t, eps), subset_sum(np.tile(a, (50, 1)), t, eps)
        if eps is None:
            np.testing.assert_allclose(shared.error, own.error, atol=1e-12)
        np.testing.assert_array_equal(shared.n_used, own.n_used)
        assert_honest(shared, a, t)


def test_threads_and_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    a, t = products(rng, 301, 30), rng.uniform(-1, 1, 301)
    monkeypatch.setattr(pieces, "PIECE", 7)
    runs = [subset_sum(a, t, 1e-4, n_threads=n) for n in (1, 2, 5)]
    monkeypatch.setattr(pieces, "PIECE", 1000)
    runs.append(subset_sum(a, t, 1e-4, n_threads=1))
    for other in runs[1:]:
        for name in ("mask", "error", "n_used"):
            np.testing.assert_array_equal(getattr(other, name), getattr(runs[0], name))


def test_every_tolerance_down_to_rounding_is_met_or_reported():
    rng = np.random.default_rng(4)
    a, t = products(rng, 20, 34), rng.uniform(-1, 1, 20)
    for eps in (1e-6, 1e-8, 0.0):
        n = 34 if eps else 24
        found = subset_sum(a, t, eps, max_terms=n)
        assert_honest(found, a[:, :n], t)
        assert (found.status == "converged") == bool((found.error <= eps).all())


def test_lists_longer_than_a_cache():
    rng = np.random.default_rng(5)
    a, t = products(rng, 2, 36), rng.uniform(-1, 1, 2)
    found = subset_sum(a, t, 1e-10, max_terms=36)
    assert_honest(found, a, t)
    assert (found.error < 1e-7).all()


@pytest.mark.slow
def test_terms_for_a_bit_of_accuracy():
    rng = np.random.default_rng(6)
    a, t = products(rng, 2000, 44), rng.uniform(-1, 1, 2000)
    bits = np.arange(4, 27, 2)
    means = [subset_sum(a, t, 2.0**-b, max_terms=44).n_used.mean() for b in bits]
    slope = np.polyfit(bits, means, 1)[0]
    assert 0.95 <= slope <= 1.12


@pytest.mark.parametrize("n_threads", [1, 3])
def test_ctrl_c_keeps_what_is_done(monkeypatch, n_threads):
    monkeypatch.setattr(pieces, "PIECE", 10)
    rng = np.random.default_rng(7)
    a, t = products(rng, 100, 30), rng.uniform(0.5, 1, 100)

    def stop(p):
        if p.step >= 50:
            raise KeyboardInterrupt

    found = subset_sum(a, t, 1e-2, n_threads=n_threads, progress=stop)
    assert found.status == "interrupted"
    assert (found.error[:50] <= 1e-2).all()
    assert_honest(found, a, t)
    left = found.n_used == 0
    np.testing.assert_array_equal(found.error[left], t[left])
    assert not found.mask[left].any()


def test_progress_counts_targets():
    seen = []
    subset_sum(np.ones(4), np.linspace(0, 9, 50_000), 0.1, n_threads=1, progress=seen.append)
    assert [p.step for p in seen] == [*range(2048, 50_000, 2048), 50_000]
    assert seen[-1].n_steps == 50_000
    assert 0 < seen[-1].loss < 1


@given(st.data())
def test_masks_pack_and_unpack(data):
    n = data.draw(st.integers(1, 64))
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), max_size=4))
    chosen = np.array(rows, bool).reshape(len(rows), n)
    np.testing.assert_array_equal(unpack_masks(pack_masks(chosen), n), chosen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": np.ones((2, 3))}, "candidates"),
        ({"candidates": np.ones((3, 65))}, "candidates"),
        ({"candidates": np.ones(0)}, "candidates"),
        ({"candidates": 1.0}, "candidates"),
        ({"candidates": np.full(3, np.nan)}, "candidates"),
        ({"candidates": np.full(3, 1e301)}, "candidates"),
        ({"targets": np.ones((3, 1))}, "targets"),
        ({"targets": [np.inf] * 3}, "targets"),
        ({"eps": -1.0}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"max_terms": 0}, "max_terms"),
        ({"max_terms": 60}, "max_terms"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*expected"):
        subset_sum(**{"candidates": np.ones((3, 4)), "targets": np.ones(3), **arguments})


def test_no_targets_and_read_only_arrays():
    assert len(subset_sum(np.ones(3), np.zeros(0)).mask) == 0
    a, t = np.arange(8.0).reshape(2, 4)[:, ::-1], np.ones(2)
    a.flags.writeable = t.flags.writeable = False
    np.testing.assert_allclose(subset_sum(a, t).error, [0, 1])


@given(
    values=st.lists(st.integers(-40, 40), min_size=1, max_size=9),
    cut=st.integers(0, 9),
    target=st.integers(-200, 200),
    tolerance=st.sampled_from([-1, 0, 3]),
)
def test_merges_sort_and_a_scan_finds_the_nearest_pair(values, cut, target, tolerance):
    from secateurs.tickets.subset_sum_kernels import FAR, merge, scan, shift

    lists = []
    for part in (values[:cut], values[cut:]):
        merged = np.array([-FAR, 0, FAR])
        for a in part:
            longer = np.empty(2 * len(merged) - 2, np.int64)
            merge(merged, len(merged) - 2, a, longer)
            merged = longer
        np.testing.assert_array_equal(merged[1:-1], np.sort(all_sums(np.array(part, np.int64))))
        lists.append(merged)
    left, right = lists
    nearest = np.abs(left[1:-1, None] + right[1:-1] - target).min()
    for best in (1 << 57, nearest + 1, nearest):
        shifted = np.empty_like(right)
        shift(right, len(right) - 2, -target, shifted)
        near, x, y, found = scan(left, len(left) - 2, shifted, len(right) - 2, best, tolerance)
        assert found == (best > max(nearest, tolerance, 0))
        assert nearest <= near <= max(nearest, tolerance) if found else near == best
        assert not found or (abs(x + y) == near and x in left and y + target in right)


def test_work_that_is_stopped_leaves_the_remaining_entries_unchanged():
    from secateurs.tickets.subset_sum_kernels import solve

    rng = np.random.default_rng(8)
    masks, errors, n_used = np.full(5, 7, np.uint64), np.full(5, 7.0), np.full(5, 7)
    stop = np.ones(1, np.bool_)
    solve(products(rng, 5, 20), np.ones(5), 1e-3, False, stop, masks, errors, n_used)
    for untouched in (masks, errors, n_used):
        assert (untouched == 7).all()
