"""Find a trained network inside a random one by masks alone: the strong lottery ticket.

    for every block of every layer (see `secateurs.tickets.ticket`)
      for every weight w of the block                    pieces of the weights, on several threads
        candidates v_k |u_k|, k = 1, 2, ...              drawn from the seed
        mask <- subset of few candidates whose sum is within eps s of w

Every weight is met within eps s, where s is the largest |weight| of its tensor.  The literature
does the same, with targets in [-1, 1].  The function of a relu network stays the same when one
layer is multiplied by c and the next one divided by c, and its masks then stay the same too.  With
an absolute error they would not.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.parameters import check_integer, check_real
from secateurs.core.solution import Progress, ProgressCallback, Solution, Status
from secateurs.core.thread_pool import StopFlag, run_pieces
from secateurs.tickets.read_program import read_module
from secateurs.tickets.subset_sums import MAX_TERMS
from secateurs.tickets.ticket import LEAST_EPS, Candidates, Ticket, block_targets, scale_of
from secateurs.tickets.verify import compare, positions

ROUNDING = 1 - 1e-12  # ensures error / scale <= eps, and not only error <= eps scale

Blocks = dict[str, NDArray[np.float64]]


def prune_network(
    module: nn.Module,
    eps: float,
    random_state: int | None = None,
    *,
    nonnegative_inputs: bool = False,
    max_terms: int = 40,
    radius: float = 1.0,
    input_shape: tuple[int, int, int] | None = None,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Solution[Ticket]:
    """Find a trained network inside a random one, by masks alone.

    Parameters
    ----------
    module : nn.Module
        Its forward is a chain of Linear and Conv2d layers, each with a batch normalisation in
        eval mode or without, ReLU, Flatten and pooling.  It is read through torch.export.
    eps : float
        Largest error of a weight, in units of the largest ``|weight|`` of its tensor (the weight or
        the bias of a layer), below 1.
    random_state : int or None
        Random seed of the random network; None draws one.
    nonnegative_inputs : bool
        The inputs are >= 0, as pixels are.  The first layer then needs one subset sum for each
        weight, not two.  The error bound then holds only for inputs without a negative entry.
    max_terms : int
        The most candidates for a weight, up to 48.
    radius : float
        Largest l2 norm of an input, for the error bound.
    input_shape : (channels, height, width), optional
        Shape of an input.  It is only needed for the error bound when a convolution has a bias or
        a batch normalisation, and is compared with the layers whenever it is given.
    n_threads : int, optional
        The number of torch threads by default; the ticket is the same for any number.
    progress : callable, optional
        Called with a `Progress` of the weights done; its loss is the share outside eps so far.

    Returns
    -------
    Solution of Ticket
        Status "converged" (every weight within eps), "budget" (some are not: see `n_outside`)
        or "interrupted" (the masks of the weights that were not done are empty).  ``measured``
        holds the `TicketReport` of `verify_ticket` as "report", its fields by name, and
        "mean_terms", the mean number of candidates looked at for a weight.

    Raises
    ------
    TypeError
        A layer has no error bound; the message names it.
    ValueError
        A setting, a weight or the `input_shape` cannot be used.

    Notes
    -----
    About log2(1 / eps) + 1 candidates and 2^(half of them) steps for each weight.  At 1e-3 that is
    about 600,000 weights a second and thread, drawing and verification included
    (benchmarks/tickets/network.py).  A plain quantiser with the same number of bits is more
    accurate (benchmarks/tickets/compression.py); do not use this for compression.
    The first call after an installation also compiles its kernels, which takes seconds.
    Source: Pensia et al. (2020); for convolutions da Cunha, Natale & Viennot (2022).
    """
    check_real("eps", eps, above=LEAST_EPS, below=1)
    check_integer("max_terms", max_terms, 1, MAX_TERMS)
    check_real("radius", radius, least=0)
    seed = int(np.random.default_rng().integers(2**63))
    if random_state is not None:
        seed = check_integer("random_state", random_state, 0, 2**63 - 1, otherwise="None")
    target = read_module(module, nonnegative_inputs, input_shape)
    positions(target.layers, input_shape)  # refuses a wrong shape before the search
    goals = [block_targets(target, number) for number in range(len(target.layers))]
    ticket = Ticket(
        seed,
        float(eps),
        tuple({name: scale_of(goal) for name, goal in blocks.items()} for blocks in goals),
        target.layers,
        tuple(
            {name: np.zeros(goal.size, np.uint64) for name, goal in blocks.items()}
            for blocks in goals
        ),
    )
    finished, mean_terms = _find_masks(ticket, goals, max_terms, n_threads, progress)
    report = compare(ticket, target, radius=radius, input_shape=input_shape)
    status: Status = "budget" if report.n_outside else "converged"
    measured = {**asdict(report), "mean_terms": mean_terms, "report": report}
    return Solution(ticket, status if finished else "interrupted", {}, measured)


def _find_masks(
    ticket: Ticket,
    goals: list[Blocks],
    max_terms: int,
    n_threads: int | None,
    progress: ProgressCallback | None,
) -> tuple[bool, float]:
    """Fill the masks of a ticket.

    Returns
    -------
    finished, mean_terms : bool, float
        Whether all masks were filled, and the mean number of candidates looked at.
    """
    total = ticket.n_weights
    n_done = n_failed = n_candidates = 0
    finished = True

    def show(p: Progress) -> None:
        if progress is not None:
            done = n_done + p.step
            progress(Progress(done, total, (n_failed + p.loss * p.step) / done, done))

    for number, blocks in enumerate(goals):
        for name, goal in blocks.items():
            candidates = Candidates(ticket, number, name, max_terms)
            within = ticket.eps * ticket.scales[number][name] * ROUNDING
            targets = goal.ravel()
            errors, n_used = np.abs(targets), np.zeros(goal.size, np.int64)
            arrays = targets, ticket.masks[number][name], errors, n_used
            work = partial(_solve_piece, candidates, within, *arrays)
            finished = finished and run_pieces(work, goal.size, n_threads=n_threads, progress=show)
            n_done += goal.size
            n_failed += int((errors > within).sum())
            n_candidates += int(n_used.sum())
    return finished, n_candidates / total


def _solve_piece(
    candidates: Candidates,
    within: float,
    targets: NDArray[np.float64],
    masks: NDArray[np.uint64],
    errors: NDArray[np.float64],
    n_used: NDArray[np.int64],
    piece: slice,
    stop: StopFlag,
) -> int:
    # numba is imported at the first use, because it takes long
    from secateurs.tickets.subset_sum_kernels import solve  # noqa: PLC0415

    out = masks[piece], errors[piece], n_used[piece]
    solve(candidates(piece), targets[piece], within, False, stop, *out)
    return int((errors[piece] > within).sum())
