"""Distorted images for the fine-tuning: shifts by up to a pixel or two, and small rotations.

A network that is trained on distorted copies of its images errs less on new ones, where shifted and
rotated images have the same class.  Digits have it; a 6 that is turned by 180 degrees shows the
limit, so rotations stay small.  Pixels are interpolated linearly, rounded, and 0 beyond the edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer, check_real
from secateurs.core.solution import Solution
from secateurs.core.splits import Words, hold_out
from secateurs.tiny.fine_tune import Rows, integer_loss
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.pixels import as_pixels

DEGREES = 8.0  # largest rotation for each pixel of shift
STRENGTHS = (0.0, 0.5, 1.0, 1.5)  # those that "auto" compares
VALIDATING = 0.2  # share of the training rows on which it compares them

Reading = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
Tuning = Callable[[Rows], Solution[list[IntegerLayer]]]


@dataclass(frozen=True, eq=False)
class DistortedImages:
    """Images that are shifted and rotated by new random amounts each time they are asked for.

    Attributes
    ----------
    pixels : uint8 array [n, height * width]
        Images before pooling.
    height, width : int
    strength : float
        Shifts are uniform on both axes, up to so many pixels.  Rotations are uniform up to
        `DEGREES` times as many degrees.
    read : callable
        Turns images, uint8 [b, height * width], into inputs of the network.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    strength: float
    read: Reading

    def __call__(self, picked: Tensor, source: torch.Generator) -> Tensor:
        """Return the inputs of the network, [b, n_features], for some of the images."""
        images = torch.from_numpy(self.pixels[picked.numpy()])
        moved = distorted(images, self.height, self.width, self.strength, source)
        return torch.from_numpy(self.read(moved.numpy()))


def distorted_copies(
    X: Any,
    image_shape: tuple[int, int],
    *,
    strength: float = 1.0,
    copies: int = 4,
    random_state: int = 0,
) -> NDArray[np.uint8]:
    """Return images, followed by distorted copies of all of them, for a fit.

    Parameters
    ----------
    X : array [n, height * width]
        Whole numbers from 0 to 255.
    image_shape : tuple of int
        (height, width).
    strength : float
        Shifts are up to so many pixels, and rotations up to 8 times as many degrees.
    copies : int
        Number of distorted copies of each image, from 0 up.
    random_state : int
        Random seed of the shifts and the rotations.

    Returns
    -------
    uint8 array [(copies + 1) * n, height * width]
        Row ``i + k * n`` is a copy of row i.  Copies are no new rows: set rows that certify aside
        first, or give the fit ``groups=np.tile(np.arange(n), copies + 1)``.

    Raises
    ------
    ValueError
        A parameter makes no sense, or the rows are no such images.
    """
    check_real("strength", strength, least=0.0)
    count = check_integer("copies", copies, 0)
    height, width = image_shape
    pixels = as_pixels(X, height * width)
    images, source = torch.from_numpy(pixels), torch.Generator().manual_seed(random_state)
    parts = [distorted(images, height, width, strength, source).numpy() for _ in range(count)]
    return np.concatenate([pixels, *parts])


def distortable(
    pixels: Any, image_shape: tuple[int, ...] | None, strength: float | str, read: Reading
) -> DistortedImages | None:
    """Check the images and the strength; None where nothing is to be distorted.

    Raises
    ------
    ValueError
        The strength is no number from 0 up and not "auto", or the rows are no images.
    """
    if isinstance(strength, str):
        check_choice("distort", strength, ["auto"])
    elif check_real("distort", strength, least=0.0) == 0:
        return None
    if image_shape is None or len(image_shape) != 2:
        raise bad_value("image_shape", image_shape, "(height, width) where images are distorted")
    height, width = (int(side) for side in image_shape)
    if pixels.ndim != 2 or pixels.shape[1] != height * width:
        got = Shown(f"rows of {pixels.shape[-1]} numbers")
        raise bad_value("X", got, f"images of {height} x {width} pixels", "or leave distort out")
    known = math.nan if isinstance(strength, str) else float(strength)
    return DistortedImages(as_pixels(pixels, height * width), height, width, known, read)


def with_distortion(
    rows: Rows, images: DistortedImages, keys: Words, tune: Tuning
) -> tuple[Rows, float]:
    """Return rows that are distorted in the fine-tuning, and the strength.

    Parameters
    ----------
    rows : Rows
    images : DistortedImages
        The images of these rows.  A strength of NaN is chosen here.
    keys : uint64 array [n]
        Key of each row: rows with the same key stay together.
    tune : callable
        Fine-tunes on rows.

    Notes
    -----
    The choice costs one fine-tuning for each of `STRENGTHS`, on the rows that do not validate.
    The best has the smallest loss on those that do; of equal ones it is the weakest.
    """
    strength = images.strength
    if math.isnan(strength):
        split = hold_out(keys, VALIDATING, 0)
        train, valid = _some(rows, split.train), _some(rows, split.held_out)
        own = replace(images, pixels=images.pixels[split.train])
        losses = []
        for tried in STRENGTHS:
            drawn = replace(own, strength=tried) if tried else None
            found = tune(replace(train, redraw=drawn))
            losses.append(integer_loss(found.value, valid))
            if found.status == "interrupted":
                break
        strength = STRENGTHS[int(np.argmin(losses))]
    drawn = replace(images, strength=strength) if strength else None
    return replace(rows, redraw=drawn), strength


def _some(rows: Rows, at: NDArray[np.int64]) -> Rows:
    teacher = None if rows.teacher is None else rows.teacher[at]
    return replace(rows, features=rows.features[at], targets=rows.targets[at], teacher=teacher)


def distorted(
    images: Tensor, height: int, width: int, strength: float, source: torch.Generator
) -> Tensor:
    """Shift and rotate every image by its own random amounts.

    Parameters
    ----------
    images : uint8 tensor [b, height * width]
    height, width : int
    strength : float
        As for `DistortedImages`; 0 changes nothing.
    source : torch.Generator

    Returns
    -------
    uint8 tensor [b, height * width]

    Notes
    -----
    O(pixels).
    """
    b = len(images)
    angle, across, down = (2 * torch.rand((3, b), generator=source) - 1) * strength
    angle = angle * math.radians(DEGREES)
    rotation = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle)], 1)
    maps = torch.empty((b, 2, 3))  # in units of half a side, in which rotations are no rotations
    maps[:, 0, 0] = maps[:, 1, 1] = rotation[:, 0]
    maps[:, 0, 1] = rotation[:, 1] * (height / width)
    maps[:, 1, 0] = rotation[:, 2] * (width / height)
    maps[:, 0, 2], maps[:, 1, 2] = across * (2 / width), down * (2 / height)
    shape = [b, 1, height, width]
    grid = torch.nn.functional.affine_grid(maps, shape, align_corners=False)
    values = images.reshape(shape).to(torch.float32)
    moved = torch.nn.functional.grid_sample(values, grid, align_corners=False)
    return moved.add_(0.5).clamp_(0, 255).to(torch.uint8).reshape(b, -1)
