"""A scenario: where instances come from, and how many there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.coverage.judging import Case

Generator = np.random.Generator


@dataclass(frozen=True)
class Scenario:
    """Instances of one kind.

    Attributes
    ----------
    name : str
    make : callable (rng, **options) -> list of Case
        Draws an instance, fits, and returns the certificates with their truths.
    options : dict
    full, small : int
        Instances at each scale.
    chunk : int
        Instances that are computed and recorded together.
    """

    name: str
    make: Callable[..., list[Case]]
    options: dict[str, Any] = field(default_factory=dict)
    full: int = 300
    small: int = 4
    chunk: int = 10

    def instances(self, scale: str) -> int:
        """Number of instances at a scale."""
        return self.full if scale == "full" else self.small

    def cases(self, number: int) -> list[Case]:
        """Draw and certify one instance; it depends on the name and the number only."""
        rng = np.random.default_rng([crc32(self.name.encode()), number])
        return self.make(rng, **self.options)


def seed_of(rng: Generator) -> int:
    """Draw a random_state."""
    return int(rng.integers(1 << 31))
