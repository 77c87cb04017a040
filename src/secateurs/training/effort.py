"""Spend more processor time on a fit: a longer run, or the best of several runs.

    an effort e, and s weights for k outputs
    a run has at most 1, 3 or 10 times the default steps: s / k up to 15, up to 40, or more     (1)
    the rest of e pays for runs from other seeds; the lowest training loss is kept              (2)

With few weights an output, the result differs more between seeds than between lengths.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from secateurs.core.losses import output_loss
from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.core.threads import threads_for
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork
from secateurs.training.defaults import EXCHANGES
from secateurs.training.processes import running_elsewhere
from secateurs.training.training_data import TrainingData

LONGEST = ((15, 1.0), (40, 3.0))  # weights an output, and the longest run that they deserve
LONGEST_OF_ALL = 10.0
LEAST, MOST = 0.05, 100.0  # of an effort that is computed from seconds
PROBES = (1, 10)  # steps between changes of the support in the two runs that are timed
_LOSS_ROWS, _LOSS_BATCH = 10_000, 2000  # training rows on which runs are compared

ONE_THREAD = 0  # work of several runs, for `threads_for`: sums depend on the number of threads

Run = Callable[[int, ProgressCallback | None], Solution[SparseNetwork]]
_Judged = tuple[float, int, Solution[SparseNetwork]]  # training loss, number of the run, result


def run_plan(effort: float, n_nonzero: int, n_outputs: int) -> tuple[float, int]:
    """Return the length of a run, in units of the default, and the number of runs: (1), (2)."""
    share = n_nonzero / n_outputs
    longest = next((length for limit, length in LONGEST if share <= limit), LONGEST_OF_ALL)
    length = min(effort, longest)
    return length, max(1, int(effort / length + 1e-9))


def best_run(
    run: Run,
    data: TrainingData,
    n_runs: int,
    seed: int,
    progress: ProgressCallback | None,
    n_jobs: int = 1,
) -> Solution[SparseNetwork]:
    """Train from several seeds and return the run with the lowest training loss: (2).

    Parameters
    ----------
    run : callable
        ``run(seed, progress)`` trains a network.  It is sent to the other processes.
    data : TrainingData
        At most 10,000 of its rows are used for the comparison.
    n_runs : int
    seed : int
        Seed of the first run; it determines the seeds of the others.
    progress : callable, optional
        Counts the steps of the runs of this process.
    n_jobs : int
        Processes that train at the same time; this one is the first.  The result does not depend
        on it: several runs use one thread each, and of equal losses the earlier run wins.

    Returns
    -------
    Solution of SparseNetwork
        After Ctrl-C the best of the runs that had ended, or the interrupted one if it is the first.
    """
    if n_runs == 1:
        return run(seed, progress)
    seeds = list(enumerate([seed, *_seeds(seed, n_runs - 1)]))
    n_jobs = min(n_jobs, n_runs)
    mine, theirs = seeds[::n_jobs], [pair for pair in seeds if pair[0] % n_jobs]
    judged = partial(_judged, run, data)
    ended: list[_Judged] = []
    with running_elsewhere(judged, theirs, n_jobs - 1) as elsewhere, threads_for(ONE_THREAD):
        try:
            for place, (number, own) in enumerate(mine):
                found = run(own, _counted(progress, place, len(mine)))
                if found.status == "interrupted":
                    ended = ended or [(0.0, number, found)]
                    raise KeyboardInterrupt
                ended.append((training_loss(found.value, data), number, found))
            ended.extend(elsewhere)
        except KeyboardInterrupt:
            if not ended:
                raise
            return replace(_best(ended), status="interrupted")
    return _best(ended)


def _judged(run: Run, data: TrainingData, number: int, seed: int) -> _Judged:
    """Train one of several runs in a process of its own."""
    with threads_for(ONE_THREAD):
        found = run(seed, None)
        return training_loss(found.value, data), number, found


def _best(ended: list[_Judged]) -> Solution[SparseNetwork]:
    return min(ended, key=lambda judged: judged[:2])[2]


def training_loss(network: SparseNetwork, data: TrainingData) -> float:
    """Return the mean loss of a network on at most 10,000 training rows of every process."""
    net = CompactNetwork.from_network(network, data.device)
    n = min(data.n, _LOSS_ROWS)
    total = 0.0
    for rows in data.pieces(n, _LOSS_BATCH):
        H = net.forward(data.inputs(rows, net.units[0]))
        total += float(output_loss(H[-1], data.targets(rows), n, data.weights(rows)))
    group = data.group
    return float(group.total(total * n)) / float(group.total(n))


def effort_for(
    max_seconds: float, n_steps: int, train: Callable[..., Solution[SparseNetwork]]
) -> float:
    """Return the effort that takes about so long on this machine now.

    Parameters
    ----------
    max_seconds : float
    n_steps : int
        Steps of a run of effort 1.
    train : callable
        Trains a network with `n_steps` and `exchange_every`.  It is called for two short runs with
        as many changes of the support as a whole one, so that ``a + b * n_steps`` can be solved.
    """
    n_changes = max(1, min(EXCHANGES, n_steps // PROBES[1]))
    train(n_steps=1, exchange_every=1)  # compiles, and warms the caches
    lengths, seconds = [], []
    for every in PROBES:
        began = time.perf_counter()
        found = train(n_steps=n_changes * every, exchange_every=every)
        if found.status == "interrupted":  # there is no network to keep yet
            raise KeyboardInterrupt
        lengths.append(n_changes * every)
        seconds.append(time.perf_counter() - began)
    slope = max(0.0, (seconds[1] - seconds[0]) / (lengths[1] - lengths[0]))
    # a whole run has more steps than the second one, and not fewer changes
    whole = max(seconds[1], seconds[0] + slope * (n_steps - lengths[0]))
    left = max_seconds - sum(seconds)
    return float(f"{min(MOST, max(LEAST, left / whole)):.2g}")


def _seeds(seed: int, count: int) -> list[int]:
    state = np.random.SeedSequence([seed, count]).generate_state(count, np.uint32)
    return [int(number) >> 1 for number in state]


def _counted(
    progress: ProgressCallback | None, number: int, n_runs: int
) -> ProgressCallback | None:
    """Return a callback for one of several runs that counts the steps of all."""
    if progress is None:
        return None

    def tell(state: Progress) -> None:
        step = number * state.n_steps + state.step
        progress(replace(state, step=step, n_steps=n_runs * state.n_steps))

    return tell
