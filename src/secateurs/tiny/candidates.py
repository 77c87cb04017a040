"""The networks that a search by bytes compares: first stage, width, bits, number of weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from secateurs.core.parameters import bad_value
from secateurs.tiny.filters import filter_size, windows_for
from secateurs.tiny.footprint import (
    CATEGORIES,
    CLASSES,
    EACH_NUMBER,
    EACH_OUTPUT,
    FRAMES,
    NUMBERS,
    ONE_LAYER,
    POOL,
    SCALED,
    TWO_LAYERS,
    filter_bytes,
)
from secateurs.tiny.pooling import FACTORS

GAP_BITS, FILTER_GAP_BITS = 3.2, 5.2  # bits of a position, before it is measured
LEAST_WEIGHTS = 2
FILTERS = (8, 16)  # numbers of filters


@dataclass(frozen=True)
class FirstStage:
    """What is computed from an image before the network: nothing, pooling or filters."""

    pool: int = 1
    filters: int = 0
    window: int = 0

    def __str__(self) -> str:
        """Say what it is in few words."""
        if self.filters:
            return f"{self.filters} filters, {self.window} x {self.window}"
        return "none" if self.pool == 1 else f"pool {self.pool}"


@dataclass(frozen=True)
class Candidate:
    """A size of network: what the search compares."""

    stage: FirstStage
    width: int
    bits: int
    n_nonzero: int
    model: str = "network"

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes, for a report."""
        return {**vars(self), "stage": str(self.stage)}


@dataclass(frozen=True)
class Room:
    """The rows and the limits of a search.

    Attributes
    ----------
    n_columns : int
        Columns of the rows.
    image_shape : tuple of int or None
        (height, width) of the images in the rows.
    are_pixels : bool
        Whether all numbers are whole and from 0 to 255.
    n_outputs : int
        Classes, or numbers to predict.
    is_classifier : bool
    flash, ram : int
        Bytes.
    """

    n_columns: int
    image_shape: tuple[int, ...] | None
    are_pixels: bool
    n_outputs: int
    is_classifier: bool
    flash: int
    ram: int

    def check_flash(self) -> None:
        """Refuse at once what not even the code of the smallest program fits into."""
        inputs = 0 if self.are_pixels else min(NUMBERS + EACH_NUMBER, CATEGORIES)
        least = ONE_LAYER + self._output_bytes + inputs + 1  # one byte of weights
        if self.flash < least:
            smallest = f"at least {least} bytes, which the smallest program of this kind takes"
            raise bad_value("flash", self.flash, smallest)

    def first_stages(self) -> Iterator[FirstStage]:
        """Yield the first stages to compare; filters take at most half of what the code leaves."""
        yield FirstStage()
        shape = self.image_shape
        if shape is None or len(shape) != 2 or not self.are_pixels:
            return
        for factor in FACTORS:
            if all(side % factor == 0 for side in shape):
                yield FirstStage(factor)
        for window in windows_for(shape):
            for count in FILTERS:
                stage = FirstStage(1, count, window)
                if 2 * self._stage_bytes(stage) <= self.flash - self._network_code:
                    yield stage

    def candidate(self, stage: FirstStage, bits: int, width: float) -> Candidate:
        """Return the size that should fit, before anything is measured.

        A `width` that is no int is in square roots of the number of weights.
        """
        code = self._network_code + self._stage_bytes(stage)
        gap = FILTER_GAP_BITS if stage.filters else GAP_BITS
        n_nonzero = max(LEAST_WEIGHTS, int(8 * (self.flash - code) / (bits + gap)))
        if not isinstance(width, int):
            width = max(2, round(width * math.sqrt(n_nonzero)))
        most = (self.ram - FRAMES - self._n_features(stage)) // 4 - self.n_outputs
        return Candidate(stage, min(width, most), bits, n_nonzero)

    def check_ram(self, candidates: Sequence[Candidate]) -> None:
        """Refuse RAM in which no candidate has a hidden unit."""
        if any(c.width >= 1 for c in candidates):
            return
        inputs = min(self._n_features(c.stage) for c in candidates)
        least = inputs + FRAMES + 4 * (self.n_outputs + 1)
        smallest = f"at least {least} bytes, which a network of one hidden unit takes"
        raise bad_value("ram", self.ram, smallest)

    @property
    def _network_code(self) -> int:
        return TWO_LAYERS + self._output_bytes

    @property
    def _output_bytes(self) -> int:
        """Bytes of code that turn the last sums into classes or numbers."""
        return CLASSES if self.is_classifier else SCALED + EACH_OUTPUT * self.n_outputs

    def _stage_bytes(self, stage: FirstStage) -> int:
        if stage.filters:
            assert self.image_shape is not None
            return filter_bytes(stage.filters, filter_size(self.image_shape))
        return POOL if stage.pool > 1 else 0

    def _n_features(self, stage: FirstStage) -> int:
        """Bytes of the inputs; those of a table are known after the fit."""
        shape = self.image_shape
        if shape is None:
            return 0
        if stage.filters:
            sides = ((side - filter_size(shape) + 1) // stage.window for side in shape)
            return stage.filters * math.prod(sides)
        return self.n_columns // stage.pool**2
