"""The largest partial sum of each layer over every input that the type of an input can hold.

The weights of a layer are added in the order of their columns.  For every prefix of a row the
largest and the smallest sum follow from the ranges of the inputs.  In the first layer the inputs
are independent, so a corner of the box attains the stated number.  In later layers the inputs are
sums with ranges of their own, so the number is a bound.  All of it is computed in Python integers,
which cannot overflow.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateurs.tiny.integer_layer import IntegerLayer

INT32, INT64 = 1 << 31, 1 << 63


def worst_sums(layers: Sequence[IntegerLayer], low: int, high: int) -> tuple[int, ...]:
    """Return the largest |partial sum| or |product| of each layer.

    Parameters
    ----------
    layers : sequence of IntegerLayer
    low, high : int
        The range of every input of the first layer.

    Notes
    -----
    O(number of weights).  Source: interval arithmetic.
    """
    lows, highs = [low] * layers[0].n_in, [high] * layers[0].n_in
    found = []
    for layer in layers:
        worst, lows, highs = _layer(layer, lows, highs)
        found.append(worst)
        lows, highs = [max(v, 0) for v in lows], [max(v, 0) for v in highs]
    return tuple(found)


def _layer(
    layer: IntegerLayer, lows: list[int], highs: list[int]
) -> tuple[int, list[int], list[int]]:
    """Return the worst sum of a layer and the ranges of its outputs."""
    least, most = [0] * layer.n_out, [0] * layer.n_out
    lows, highs = [*lows, 1 << layer.shift], [*highs, 1 << layer.shift]
    worst = 0
    for row, column, code in zip(
        layer.rows.tolist(), layer.columns.tolist(), layer.codes.tolist(), strict=True
    ):
        ends = sorted((code * lows[column], code * highs[column]))
        least[row] += ends[0]
        most[row] += ends[1]
        worst = max(worst, -ends[0], ends[1], -least[row], most[row])
    return worst, least, most


def worst_corner(layer: IntegerLayer, low: int, high: int) -> list[int]:
    """Return inputs of the first layer for which some partial sum is as large as can be.

    Law: the largest |partial sum| on these inputs is the first of `worst_sums`, where `low` is at
    most 0 and `high` at least 0.
    """
    best, corner = -1, [0] * layer.n_in
    for row in range(layer.n_out):
        here = layer.rows == row
        pairs = list(zip(layer.columns[here].tolist(), layer.codes[here].tolist(), strict=True))
        for sign in (1, -1):
            inputs, total, most = [0] * (layer.n_in + 1), 0, 0
            inputs[-1] = 1 << layer.shift
            for column, code in pairs:
                if column < layer.n_in:
                    inputs[column] = high if sign * code > 0 else low
                total += code * inputs[column]
                most = max(most, abs(total))
            if most > best:
                best, corner = most, inputs[:-1]
    return corner
