"""Normal random numbers by position, the same bits on every machine and in every version.

A ticket is a seed and masks, so the same random weights must come back years later.  This file
alone defines them.  Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011) turns a counter that names
the weight into a 32-bit word W.  The number is sqrt(2) erfinv(2 (W + 1/2) / 2^32 - 1), computed by
the polynomials of Giles (2010) and rounded to float32.  Only +, -, *, / and sqrt are used, because
IEEE 754 fixes their results; it does not fix the logarithm of a library.

Both branches of the polynomial are computed, and terms are added in pairs, so that the compiler
can use vector instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

WORD = np.uint64(0xFFFFFFFF)  # the low 32 bits
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)

Floats32 = NDArray[np.float32]
Words = NDArray[np.uint64]


@compiled()
def philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, key: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return four 32-bit words for a counter of four words and a key of 64 bits."""
    k0, k1 = key & WORD, key >> HALF
    for _ in range(10):
        a, b = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & WORD, (a >> HALF) ^ c3 ^ k1, a & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


@compiled(error_model="numpy")
def logarithm(y: float) -> float:
    """Return the natural logarithm to 1e-11: y = 2^e m, log m = 2 artanh((m - 1) / (m + 1))."""
    bits = np.float64(y).view(np.int64)
    e = (bits - ROOT_HALF) >> 52  # so that sqrt(1/2) <= m < sqrt(2)
    m = np.int64(bits - (e << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    zz = z * z
    high = (1 / 9 + z * (1 / 11)) + zz * (1 / 13)
    series = (1.0 + z * (1 / 3)) + zz * ((1 / 5 + z * (1 / 7)) + zz * high)
    return float(e * 0.6931471805599453 + 2.0 * s * series)


@compiled(error_model="numpy")
def normal(word: np.uint64) -> np.float32:
    """Return the standard normal number of a word.

    The relative error is 2e-7, and up to 4e-4 where |z| is from 5.4 to 6.3.
    """
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


@compiled()
def normals(
    key: np.uint64, c3: np.uint64, c2: np.uint64, c1: np.uint64, words: Words, out: Floats32
) -> None:
    """Write the first numbers of the stream (c3, c2, c1) to `out`.

    Number k comes from word k % 4 of the counter (k // 4, c1, c2, c3).  `words` is working space:
    at least as many entries as `out`, and a multiple of four.
    """
    for b in range(len(words) // 4):
        k = 4 * b
        words[k], words[k + 1], words[k + 2], words[k + 3] = philox(np.uint64(b), c1, c2, c3, key)
    for k in range(len(out)):
        out[k] = normal(words[k])


@compiled()
def products(
    key: np.uint64,
    c3: np.uint64,
    side: np.uint64,
    first: int,
    inner: Floats32,
    scale: float,
    n_inputs: int,
    out: NDArray[np.float64],
) -> None:
    """Write rows first, first + 1, ... of the candidates |u| v of a layer to `out`.

    Row ``i * n_inputs + j`` is row j of `inner`, the weights of the hidden units of input j, times
    the weights v of output i.  These are `scale` times the stream (c3, i, j + side).  Both factors
    are float32, so their product is exact in float64.
    """
    n_terms = out.shape[1]
    v = np.empty(n_terms, np.float32)
    words = np.empty((n_terms + 3) // 4 * 4, np.uint64)
    for row in range(len(out)):
        i, j = (first + row) // n_inputs, (first + row) % n_inputs
        normals(key, c3, np.uint64(i), np.uint64(j) + side, words, v)
        for k in range(n_terms):
            out[row, k] = np.float64(inner[j, k]) * np.float64(np.float32(scale * v[k]))
