"""The number of threads that a computation uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

SMALL = 1 << 25  # multiply-adds; a smaller product is not faster on a second thread


@contextmanager
def threads_for(work: int) -> Iterator[None]:
    """Use one thread inside the block where the largest product of a step is small.

    Kernels that take well under a millisecond gain nothing from more threads.  On a busy machine
    they become tens of times slower, because every kernel waits for all of its threads.

    Parameters
    ----------
    work : int
        Multiply-adds of the largest product.
    """
    if work >= SMALL:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):  # of numpy and scipy, which have their own
            yield
    finally:
        torch.set_num_threads(before)
