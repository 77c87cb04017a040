"""Run a function in other processes of this machine while this one works too."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from joblib import effective_n_jobs
from joblib.externals.loky import get_reusable_executor


def number_of_processes(n_jobs: int | None) -> int:
    """Return what `n_jobs` means on this machine: None is 1, -1 is all cores."""
    return int(effective_n_jobs(n_jobs))


@contextmanager
def running_elsewhere(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], n_processes: int
) -> Iterator[Iterator[Any]]:
    """Start calls in other processes, and stop those that have not ended when the block ends.

    Parameters
    ----------
    function : callable
        It is sent to the processes with everything that it refers to.
    calls : sequence of tuples
        The arguments of each call; without calls no process is started.
    n_processes : int

    Yields
    ------
    iterator
        The results, in the order of the calls.
    """
    if not calls:
        yield iter(())
        return
    executor = get_reusable_executor(max_workers=n_processes)
    futures = [executor.submit(_without_interrupts, function, call) for call in calls]
    try:
        yield (future.result() for future in futures)
    finally:
        if not all(future.done() for future in futures):
            executor.shutdown(kill_workers=True)


def _without_interrupts(function: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the first process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return function(*call)
