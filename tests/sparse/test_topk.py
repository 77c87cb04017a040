from unittest import mock

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateurs.sparse import topk
from secateurs.sparse.topk import StreamingTopK, kth_largest, kth_smallest, smallest_mask


def brute_force(scores, k):
    """Return the keys of the k largest positive scores; of equal scores the lowest key."""
    order = sorted((i for i in range(len(scores)) if scores[i] > 0), key=lambda i: (-scores[i], i))
    return sorted(order[:k])


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    k=st.integers(0, 60),
    levels=st.sampled_from([2, 5, 1000]),
    cuts=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    n_keys=st.sampled_from([15 * 15, 2**40]),
)
def test_equals_brute_force_for_all_blocks_in_every_order(seed, shape, k, levels, cuts, n_keys):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-1, levels, size=shape) / levels
    expected = brute_force(scores.ravel(), k)
    t = torch.tensor(scores, dtype=torch.float32)
    row_keys = torch.arange(shape[0]) * shape[1]
    col_keys = torch.arange(shape[1])
    blocks = [
        (rows, cols)
        for rows in torch.arange(shape[0]).split(cuts[0])
        for cols in torch.arange(shape[1]).split(cuts[1])
    ]
    top = StreamingTopK(k, n_keys=n_keys)
    for i in rng.permutation(len(blocks)):
        rows, cols = blocks[i]
        top.update(t[rows][:, cols], row_keys[rows], col_keys[cols])
    found, values = top.result()
    assert found.tolist() == expected
    assert values.tolist() == t.ravel()[found].tolist()
    assert top.keys().tolist() == expected


def test_long_streams_overflow_the_buffer(monkeypatch):
    monkeypatch.setattr(topk, "SLACK", 8)
    monkeypatch.setattr(topk, "PIECE", 16)
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 40, size=(50, 60)) / 40
    top = StreamingTopK(100)
    for i in range(50):
        block = torch.tensor(scores[i : i + 1], dtype=torch.float32)
        top.update(block, torch.tensor([60 * i]), torch.arange(60))
    assert top.keys().tolist() == brute_force(scores.ravel(), 100)


@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=40), share=st.floats(0, 1))
def test_smallest_mask_takes_exactly_n_ties_by_index(values, share):
    n = int(share * len(values))
    mask = smallest_mask(torch.tensor(values, dtype=torch.float32), n).tolist()
    expected = sorted(range(len(values)), key=lambda i: (values[i], i))[:n]
    assert [i for i, m in enumerate(mask) if m] == sorted(expected)


@given(values=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30), data=st.data())
def test_kth_largest(values, data):
    k = data.draw(st.integers(1, len(values)))
    t = torch.tensor(values, dtype=torch.float32)
    assert kth_largest(t, k) == sorted(t.tolist(), reverse=True)[k - 1]


@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
    data=st.data(),
    piece=st.sampled_from([1, 3, 8]),
)
def test_selection_in_pieces_equals_that_of_a_sorted_array(values, data, piece):
    k = data.draw(st.integers(1, len(values)))
    t = torch.tensor(values, dtype=torch.float32)
    with mock.patch.object(topk, "PIECE", piece):
        assert kth_smallest(t.__getitem__, len(t), k) == sorted(values)[k - 1]
        mask = smallest_mask(t.__getitem__, k, len(t))
    assert mask.tolist() == smallest_mask(t, k).tolist()
    assert int(mask.sum()) == k
