"""Learned filters of images in integers: convolution, the largest value of a window, one byte.

    z_f(p) = b_f 2^s + sum over the size x size pixels at position p of code_f * pixel       (1)
    x_f(w) = min(255, max(0, max over the positions p of window w of z_f(p)) >> s)           (2)

A code has 4 bits, from -8 to 7, and its weight counts once, however many positions it is used at.
All numbers are integers, and Python and C compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value, check_integer
from secateurs.core.short_repr import short_repr
from secateurs.tiny.integer_layer import IntArray
from secateurs.tiny.pixels import as_pixels

LEAST_CODE, MOST_CODE = -8, 7
BIASES = 127  # largest |bias|, in units of a feature
MOST_FILTERS, MOST_SIZE, MOST_WINDOW = 64, 9, 15  # the program counts them in one byte
BLOCK = 256  # rows that are filtered together
EXACT = 1 << 24  # integers below it are exact in float32
LARGE = 16  # pixels of the shorter side from which filters have 5 x 5 pixels


def filter_size(image_shape: Sequence[int]) -> int:
    """Return the side of the filters that suits images of (height, width)."""
    return 5 if min(image_shape) >= LARGE else 3


def windows_for(image_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the windows that suit images of (height, width): none if the images are too small."""
    positions = min(image_shape) - filter_size(image_shape) + 1
    windows = (4, 6) if min(image_shape) >= LARGE else (2, 3)
    return tuple(window for window in windows if 2 * window <= positions)


@dataclass(frozen=True, eq=False)
class Filters:
    """The first stage of a network that reads images: some filters that all positions share.

    Made by `secateurs.tiny.learn_filters`; called with rows of pixels, it returns the inputs of the
    network behind it.

    Parameters
    ----------
    height, width : int
        Shape of the image in each row.
    window : int
        Side of the square of positions of which the largest value is taken.  Positions at the
        right and the lower edge that fill no window are left out.
    codes : int64 array [n_filters, size, size]
        Weights, from -8 to 7.
    biases : int64 array [n_filters]
        From -127 to 127, in units of ``2^shift``.
    shift : int
        Bits by which a sum is shifted right.
    """

    height: int
    width: int
    window: int
    codes: IntArray
    biases: IntArray
    shift: int

    name = "filter"
    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_integer("window", self.window, 1, MOST_WINDOW)
        check_integer("size", self.size, 1, MOST_SIZE)
        check_integer("n_filters", len(self.codes), 1, MOST_FILTERS)
        if self.codes.min() < LEAST_CODE or self.codes.max() > MOST_CODE:
            got = Shown(f"{self.codes.min()} to {self.codes.max()}")
            raise bad_value("codes", got, f"whole numbers from {LEAST_CODE} to {MOST_CODE}")
        if np.abs(self.biases).max() > BIASES:
            got = Shown(f"{np.abs(self.biases).max()}")
            raise bad_value("biases", got, f"whole numbers from {-BIASES} to {BIASES}")
        if min(self.n_rows, self.n_columns) < 1:
            got = Shown(f"images of {self.height} x {self.width} pixels")
            least = self.size + self.window - 1
            raise bad_value("image_shape", got, f"at least {least} pixels on both sides")
        if self.worst_sum >= EXACT:
            raise bad_value("shift", self.shift, "a number for which sums stay below 2^24")

    @property
    def about(self) -> str:
        """What it computes, in words."""
        return (
            f"{len(self.codes)} filters of {self.size} x {self.size} pixels, the largest value in "
            f"windows of {self.window} x {self.window} positions"
        )

    @property
    def size(self) -> int:
        """Side of a filter in pixels."""
        return len(self.codes[0])

    @property
    def n_rows(self) -> int:
        """Windows below each other."""
        return (self.height - self.size + 1) // self.window

    @property
    def n_columns(self) -> int:
        """Windows beside each other."""
        return (self.width - self.size + 1) // self.window

    @property
    def n_pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    @property
    def n_features(self) -> int:
        """Numbers that the network reads: windows times filters, filter by filter."""
        return len(self.codes) * self.n_rows * self.n_columns

    @property
    def n_nonzero(self) -> int:
        """Weights and biases of the filters that are not zero."""
        return int(np.count_nonzero(self.codes) + np.count_nonzero(self.biases))

    @property
    def worst_sum(self) -> int:
        """The largest absolute value of a partial sum of (1) over all images."""
        taps = np.abs(self.codes).sum(axis=(1, 2)) * 255
        return int((taps + np.abs(self.biases << self.shift)).max())

    def __call__(self, X: Any) -> NDArray[np.uint8]:
        """Compute (2) for rows of pixels [n, height * width], whole numbers from 0 to 255.

        Sums are computed in float32, which is exact for them.
        """
        pixels = as_pixels(X, self.n_pixels)
        found = np.empty((len(pixels), self.n_features), dtype=np.uint8)
        taps = torch.from_numpy(self.codes.reshape(len(self.codes), -1)).to(torch.float32)
        constant = torch.from_numpy(self.biases << self.shift).to(torch.float32)[:, None]
        for start in range(0, len(pixels), BLOCK):
            block = torch.from_numpy(pixels[start : start + BLOCK]).to(torch.float32)
            image = block.reshape(-1, 1, self.height, self.width)
            squares = torch.nn.functional.unfold(image, self.size)  # [b, size^2, positions]
            sums = (taps @ squares + constant).clamp_(min=0)
            map_ = sums.reshape(len(block), -1, *(side - self.size + 1 for side in image.shape[2:]))
            largest = torch.nn.functional.max_pool2d(map_, self.window).to(torch.int32)
            values = (largest >> self.shift).clamp_(max=255).reshape(len(block), -1)
            found[start : start + BLOCK] = values.to(torch.uint8).numpy()
        return found
