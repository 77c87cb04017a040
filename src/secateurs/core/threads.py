"""How many threads a training run is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1 << 25  # multiply-adds of a product below which a second thread only waits


@contextmanager
def threads_for(work: int) -> Iterator[None]:
    """Run on one thread when the largest product of a step is small.

    Kernels of well under a millisecond gain nothing from more threads, and on a busy machine
    they lose a factor of tens, because every kernel waits for all of its threads.

    Parameters
    ----------
    work : int
        Multiply-adds of the largest product.
    """
    before = torch.get_num_threads()
    if work >= SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
