"""The stream of bits that holds a network: coded gaps between positions, and codes of weights.

For every layer and every weight, in the order of ``column * n_out + row``:

    gap to the position before, minus 1    exponential Golomb code of order k
    code of the weight                     b bits: q stands for 2 q + 1 - 2^b; a bias has 8 bits

The most significant bit of a byte comes first.  The order k of a layer is the one with the
shortest code among those near the logarithm of the mean gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateurs.tiny.integer_layer import BIAS_BITS, IntArray, IntegerLayer

NEAR = (-2, -1, 0, 1)  # orders that are compared, beside the logarithm of the mean gap


def gaps(layer: IntegerLayer) -> IntArray:
    """Return the absent positions before each weight, counted from the weight before it."""
    return np.diff(layer.index, prepend=-1) - 1


def best_order(distances: IntArray) -> tuple[int, int]:
    """Return the fewest bits of these gaps among a few orders of the code, and the order."""
    mean = float(distances.sum()) / max(len(distances), 1)
    near = int(mean + 1).bit_length() - 1
    orders = np.array(sorted({max(0, near + k) for k in NEAR}))
    _, length = np.frexp((distances >> orders[:, None]) + 1)  # the length of a number in bits
    bits = (2 * length - 1 + orders[:, None]).sum(axis=1)
    least = int(bits.argmin())
    return int(bits[least]), int(orders[least])


def stream_bits(layers: Sequence[IntegerLayer]) -> int:
    """Return the length of the stream in bits, without writing it."""
    total = 0
    for layer in layers:
        n_biases = int(layer.is_bias.sum())
        total += best_order(gaps(layer))[0] + BIAS_BITS * n_biases
        total += layer.bits * (len(layer.codes) - n_biases)
    return total


class BitWriter:
    """Bits in a row; the first is the most significant bit of the first byte."""

    def __init__(self) -> None:
        self._digits: list[str] = []

    def put(self, value: int, width: int) -> None:
        """Append the lowest `width` bits of a number."""
        if width:
            self._digits.append(format(value, f"0{width}b"))

    def put_gap(self, gap: int, order: int) -> None:
        """Append a gap in the exponential Golomb code of this order."""
        value = gap + (1 << order)
        self.put(0, value.bit_length() - 1 - order)
        self.put(value, value.bit_length())

    def to_bytes(self) -> bytes:
        """Return the bytes, filled up with zeros."""
        text = "".join(self._digits)
        text += "0" * (-len(text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


class BitReader:
    """The bits of a stream, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._bits = "".join(format(byte, "08b") for byte in content)
        self._at = 0

    def get(self, width: int) -> int:
        """Return the next `width` bits as a number."""
        found = self._bits[self._at : self._at + width]
        self._at += width
        return int(found, 2) if width else 0

    def get_gap(self, order: int) -> int:
        """Return the next gap."""
        width = order
        while not self.get(1):
            width += 1
        return ((1 << width) | self.get(width)) - (1 << order)


def encode(layers: Sequence[IntegerLayer]) -> tuple[bytes, list[int]]:
    """Return the stream of these layers and the order of the code of each."""
    writer, orders = BitWriter(), []
    for layer in layers:
        distances = gaps(layer)
        order = best_order(distances)[1]
        orders.append(order)
        widths = np.where(layer.is_bias, BIAS_BITS, layer.bits)
        for gap, code, width in zip(
            distances.tolist(), layer.codes.tolist(), widths.tolist(), strict=True
        ):
            writer.put_gap(gap, order)
            writer.put((code + (1 << width) - 1) // 2, width)
    return writer.to_bytes(), orders


def decode(
    content: bytes, orders: Sequence[int], like: Sequence[IntegerLayer]
) -> list[IntegerLayer]:
    """Read a stream back, as the program in C does.

    Parameters
    ----------
    content : bytes
    orders : sequence of int
    like : sequence of IntegerLayer
        Layers with the sizes, the numbers of weights, the bits, shifts and steps; their positions
        and codes are not used.
    """
    reader, found = BitReader(content), []
    for order, layer in zip(orders, like, strict=True):
        index, codes, position = [], [], -1
        for _ in range(len(layer.codes)):
            position += reader.get_gap(order) + 1
            width = BIAS_BITS if position >= layer.n_in * layer.n_out else layer.bits
            index.append(position)
            codes.append(2 * reader.get(width) + 1 - (1 << width))
        places, values = (np.array(numbers, dtype=np.int64) for numbers in (index, codes))
        found.append(replace(layer, index=places, codes=values))
    return found
