"""The stream that tickets are drawn from never changes."""

import zlib

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from secateurs.tickets.random_stream import logarithm, normal, normals, philox, products

# known answers of Philox4x32-10: counter, key, words (Random123's own test vectors)
ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draw(key, stream, n):
    out, words = np.empty(n, np.float32), np.empty((n + 3) // 4 * 4, np.uint64)
    normals(np.uint64(key), *(np.uint64(c) for c in stream), words, out)
    return out


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS)
def test_words_are_those_of_philox(counter, key, words):
    whole = np.uint64(key[0] | key[1] << 32)
    assert philox(*(np.uint64(c) for c in counter), whole) == words


def test_words_become_normal_numbers():
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 2**32, 2000), [2**31 - 1, 2**31, 500, 2**32 - 500]])
    z = np.array([normal(np.uint64(w)) for w in words])
    np.testing.assert_allclose(z, ndtri((words + 0.5) / 2**32), rtol=5e-7, atol=1e-9)
    assert -6.4 < normal(np.uint64(0)) < -6.3
    assert normal(np.uint64(2**32 - 1)) == -normal(np.uint64(0))
    for y in 10.0 ** rng.uniform(-12, 12, 200):
        assert logarithm(y) == pytest.approx(np.log(y), rel=1e-10, abs=1e-10)


def test_bits_that_tickets_already_written_depend_on():
    """If this fails, files that were written before cannot be read."""
    z = draw(12345, (3, 2, 1), 4096)
    assert zlib.crc32(z.astype("<f4").tobytes()) == 0x1306F401
    np.testing.assert_array_equal(draw(12345, (3, 2, 1), 7), z[:7])


def test_streams_and_keys_are_independent():
    streams = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1 << 31, 0, 0), (0, 0, 1 << 31)]
    rows = [draw(key, s, 2000) for s in streams for key in (0, 1, 1 << 32)]
    assert kstest(np.concatenate(rows), "norm").pvalue > 1e-3
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_products_are_exact_and_any_piece_is_the_same():
    inner = np.abs(draw(1, (9, 9, 9), 15)).reshape(3, 5)
    whole, part = np.empty((12, 5)), np.empty((4, 5))
    args = np.uint64(7), np.uint64(2), np.uint64(0)
    products(*args, 0, inner, 0.1, 3, whole)
    products(*args, 5, inner, 0.1, 3, part)
    np.testing.assert_array_equal(part, whole[5:9])
    v = np.stack([draw(7, (2, row // 3, row % 3), 5) for row in range(12)])
    v = (0.1 * v.astype(float)).astype(np.float32)
    np.testing.assert_array_equal(whole, np.tile(inner, (4, 1)).astype(float) * v)
