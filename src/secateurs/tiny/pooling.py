"""Mean pooling of images in integers, the same in Python and in C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.tiny.pixels import as_pixels

FACTORS = (2, 4)


@dataclass(frozen=True)
class Pooling:
    """Replace every square of pixels by its mean, rounded half up.

    Attributes
    ----------
    height, width : int
        Shape of the image in each row.
    factor : {2, 4}
        Side of a square; it divides height and width.
    """

    height: int
    width: int
    factor: int

    name = "pool"

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise bad_value("pool", self.factor, "1, 2 or 4")
        if self.height % self.factor or self.width % self.factor:
            got = Shown(f"images of {self.height} x {self.width} pixels")
            raise bad_value("pool", got, f"a height and a width that {self.factor} divides")

    @property
    def about(self) -> str:
        """What it computes, in words."""
        return f"means of squares of {self.factor} x {self.factor} pixels"

    @property
    def n_pixels(self) -> int:
        """Pixels of an image before pooling."""
        return self.height * self.width

    @property
    def n_features(self) -> int:
        """Pixels of an image after pooling."""
        return self.n_pixels // self.factor**2

    @property
    def shift(self) -> int:
        """The mean is the sum plus ``2^shift / 2``, shifted right by `shift`."""
        return 2 * (self.factor.bit_length() - 1)

    def __call__(self, X: Any) -> NDArray[np.uint8]:
        """Pool rows of pixels [n, height * width], whole numbers from 0 to 255."""
        pixels = as_pixels(X, self.n_pixels)
        f = self.factor
        squares = pixels.reshape(len(pixels), self.height // f, f, self.width // f, f)
        sums = squares.sum(axis=(2, 4), dtype=np.uint16)
        means = (sums + (1 << self.shift >> 1)) >> self.shift
        pooled: NDArray[np.uint8] = means.reshape(len(pixels), -1).astype(np.uint8)
        return pooled


def pooling_for(image_shape: tuple[int, ...] | None, factor: int) -> Pooling | None:
    """Return the pooling of images of this shape; None for the factor 1."""
    if factor == 1:
        return None
    if image_shape is None or len(image_shape) != 2:
        raise bad_value("image_shape", image_shape, "(height, width) where images are pooled")
    return Pooling(int(image_shape[0]), int(image_shape[1]), factor)
