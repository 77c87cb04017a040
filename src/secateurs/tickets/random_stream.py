"""Normal numbers by position, the same bits on every machine and in every version.

A ticket is a seed and masks, so its random weights must come back exactly, years later: the
stream is defined here and nowhere else.  Words are Philox4x32-10 (Salmon, Moraes, Dror & Shaw
2011) of a counter that names the weight; a word W becomes sqrt(2) erfinv(2 (W + 1/2) / 2^32 - 1)
by the polynomials of Giles (2010), rounded to float32.  Only +, -, *, / and sqrt are used: IEEE
754 fixes their results, which it does not for a library's logarithm.

The first import compiles it.  Both branches of the polynomial are computed, and the terms paired,
so that the loop becomes vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64, njit, uint64, void

WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLY = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROOT_HALF = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)


@njit("UniTuple(u8, 4)(u8, u8, u8, u8, u8)", cache=True, nogil=True)
def philox(c0, c1, c2, c3, key):  # type: ignore[no-untyped-def]
    """Four 32-bit words of a counter of four words and a key of 64 bits."""
    k0, k1 = key & WORD, key >> HALF
    for _ in range(10):
        a, b = MULTIPLY[0] * c0, MULTIPLY[1] * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & WORD, (a >> HALF) ^ c3 ^ k1, a & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


@njit(float64(float64), cache=True, nogil=True, error_model="numpy")
def logarithm(y):  # type: ignore[no-untyped-def]
    """Natural logarithm to 1e-11: y = 2^e m, log m = 2 artanh((m - 1) / (m + 1))."""
    bits = np.float64(y).view(np.int64)
    e = (bits - ROOT_HALF) >> 52  # so that sqrt(1/2) <= m < sqrt(2)
    m = np.int64(bits - (e << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    zz = z * z
    high = (1 / 9 + z * (1 / 11)) + zz * (1 / 13)
    series = (1.0 + z * (1 / 3)) + zz * ((1 / 5 + z * (1 / 7)) + zz * high)
    return e * 0.6931471805599453 + 2.0 * s * series


@njit(float32(uint64), cache=True, nogil=True, error_model="numpy")
def normal(word):  # type: ignore[no-untyped-def]
    """Standard normal number of a word; relative error 2e-7, from |z| = 5.4 to 6.3 up to 4e-4."""
    u = (np.float64(np.int64(word)) + 0.5) * 2.0**-32
    w = -logarithm(4.0 * u * (1.0 - u))
    x = w - 2.5
    xx = x * x
    p = (1.50140941 + 0.246640727 * x) + xx * (-0.00417768164 - 0.00125372503 * x)
    high = (0.00021858087 - 4.39150654e-06 * x) + xx * (-3.5233877e-06 + 3.43273939e-07 * x)
    p += (xx * xx) * (high + (xx * xx) * 2.81022636e-08)
    x = np.sqrt(w) - 3.0
    xx = x * x
    q = (2.83297682 + 1.00167406 * x) + xx * (0.00943887047 - 0.0076224613 * x)
    high = (0.00573950773 - 0.00367342844 * x) + xx * (0.00134934322 + 0.000100950558 * x)
    q += (xx * xx) * (high + (xx * xx) * -0.000200214257)
    tail = p if w < 5.0 else q
    return np.float32(1.4142135623730951 * tail * (2.0 * u - 1.0))


@njit(void(uint64, uint64, uint64, uint64, uint64[::1], float32[::1]), cache=True, nogil=True)
def normals(key, c3, c2, c1, words, out):  # type: ignore[no-untyped-def]
    """First numbers of the stream (c3, c2, c1): number k is word k % 4 of counter (k // 4, c1, ..).

    `words` is space for as many words, a multiple of four.
    """
    for b in range(len(words) // 4):
        k = 4 * b
        words[k], words[k + 1], words[k + 2], words[k + 3] = philox(np.uint64(b), c1, c2, c3, key)
    for k in range(len(out)):
        out[k] = normal(words[k])


@njit(
    void(uint64, uint64, uint64, int64, float32[:, ::1], float64, int64, float64[:, ::1]),
    cache=True,
    nogil=True,
)
def products(key, c3, side, first, inner, scale, n_inputs, out):  # type: ignore[no-untyped-def]
    """Rows first, first + 1, ... of the candidates |u| v of a layer.

    Row ``i * n_inputs + j`` holds the weights of the hidden units of input j (row j of `inner`,
    zeros once there are no more) times the v of output i: stream (c3, i, j + side), times
    `scale`.  Both factors are float32, so their product is exact.
    """
    n_terms = out.shape[1]
    v = np.empty(n_terms, np.float32)
    words = np.empty((n_terms + 3) // 4 * 4, np.uint64)
    for row in range(len(out)):
        i, j = (first + row) // n_inputs, (first + row) % n_inputs
        normals(key, c3, np.uint64(i), np.uint64(j) + side, words, v)
        for k in range(n_terms):
            out[row, k] = float64(inner[j, k]) * float64(np.float32(scale * v[k]))
