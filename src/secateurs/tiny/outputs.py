"""What the scores of an integer network mean: a class, or numbers in decimal units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.tiny.integer_layer import IntArray

FINEST = 1000  # units of an output in one standard deviation of the target, at least
MOST_BITS = 24  # bits of a multiplier
LEAST_BITS = 10
INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class ClassOutputs:
    """The class with the largest score; of equal ones the first.

    Attributes
    ----------
    labels : array [k]
    """

    labels: NDArray[Any]

    def predict(self, scores: IntArray) -> NDArray[Any]:
        """Return the label of each row of scores [n, k]."""
        found: NDArray[Any] = self.labels[scores.argmax(axis=1)]
        return found


@dataclass(frozen=True)
class Affine:
    """One output: ``((score + half) * multiplier >> shift) + base``, in units of 10^-decimals.

    The sum is never negative before the shift, so that the shift means the same everywhere.
    """

    multiplier: int
    shift: int
    base: int
    half: int
    decimals: int

    def values(self, scores: IntArray) -> IntArray:
        """Return the output in its units, for scores [n]."""
        positive = (scores + self.half).astype(np.uint64) * np.uint64(self.multiplier)
        return (positive >> np.uint64(self.shift)).astype(np.int64) + self.base


@dataclass(frozen=True)
class NumberOutputs:
    """Numbers for each row, as int32 in decimal units.

    Attributes
    ----------
    parts : tuple of Affine
    one_column : bool
        Whether predictions have the shape [n].
    """

    parts: tuple[Affine, ...]
    one_column: bool

    def units(self, scores: IntArray) -> IntArray:
        """Return the outputs as integers [n, k], as the program in C does."""
        return np.stack([p.values(scores[:, k]) for k, p in enumerate(self.parts)], axis=1)

    def predict(self, scores: IntArray) -> NDArray[np.float64]:
        """Return predictions in the units of the targets, [n] or [n, k]."""
        powers = np.array([10.0**-part.decimals for part in self.parts])
        values: NDArray[np.float64] = self.units(scores) * powers
        return values[:, 0] if self.one_column else values


def number_outputs(
    unit: float,
    out_shift: Sequence[float],
    out_scale: Sequence[float],
    worst: int,
    *,
    one_column: bool,
) -> NumberOutputs:
    """Choose decimals, multiplier and shift of each output.

    Parameters
    ----------
    unit : float
        What one unit of a score is worth in outputs of the network.
    out_shift, out_scale : sequences of float
        The target is ``output * out_scale + out_shift``.
    worst : int
        The largest |score| that there can be.
    one_column : bool

    Raises
    ------
    ValueError
        The scores have so many bits, or the targets so large a ratio of size to spread, that
        32 bits hold no useful prediction.
    """
    half = 1 << max(worst, 1).bit_length()
    most_bits = min(MOST_BITS, 62 - half.bit_length())
    if most_bits < LEAST_BITS:
        got = Shown(f"scores up to {worst:.3g}")
        raise bad_value("model", got, "scores that leave room to be scaled", "use fewer bits")
    parts = [
        _affine(unit * scale, centre, scale, half, worst, most_bits)
        for centre, scale in zip(out_shift, out_scale, strict=True)
    ]
    return NumberOutputs(tuple(parts), one_column)


def _affine(
    unit: float, centre: float, scale: float, half: int, worst: int, most_bits: int
) -> Affine:
    spread = scale or abs(centre) or 1.0
    decimals = math.ceil(math.log10(FINEST / spread))
    largest = abs(centre) + worst * unit
    if largest * 10.0**decimals > INT32:  # fewer decimals, where the box of inputs is large
        decimals = math.floor(math.log10(INT32 / largest))
    if spread * 10.0**decimals < 10:
        got = Shown(f"predictions up to {largest:.3g} for targets with a spread of {spread:.3g}")
        raise bad_value("y", got, "predictions that 32 bits hold", "subtract a constant from y")
    ratio = unit * 10.0**decimals
    if ratio == 0:
        return Affine(0, 0, round(centre * 10.0**decimals), half, decimals)
    shift = min(63, max(0, most_bits - 1 - math.floor(math.log2(ratio))))
    multiplier = round(ratio * 2.0**shift)
    base = round(centre * 10.0**decimals - half * multiplier / 2**shift + 0.5)
    return Affine(multiplier, shift, base, half, decimals)
