"""Measure the memory of a function by asking the allocators of numpy and torch (CPU)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

from torch.autograd.profiler import profile  # that of torch.profiler imports the compiler


@dataclass(frozen=True)
class Allocation:
    """Bytes allocated during a call.

    Attributes
    ----------
    torch_peak, numpy_peak : int
        The most bytes in use at one time.  The trainers use numpy before and after training, and
        torch during it.
    largest : int
        Largest single torch allocation.
    """

    torch_peak: int
    numpy_peak: int
    largest: int


def measure(function: Callable[[], object]) -> Allocation:
    """Run a function and sum its allocations and releases in order."""
    with profile(profile_memory=True):
        pass  # the first use imports modules, whose memory is not the function's
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with profile(profile_memory=True) as run:
        function()
    numpy_peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in run.kineto_results.events()
        if event.name() == "[memory]"
    ]
    if not changes:
        raise RuntimeError("the profiler of torch recorded no allocation; is it built with Kineto?")
    alive = torch_peak = 0
    for _, change in sorted(changes):
        alive += change
        torch_peak = max(torch_peak, alive)
    return Allocation(torch_peak, numpy_peak, max(change for _, change in changes))
