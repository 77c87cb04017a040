"""Independent work cut into pieces, on several threads, that Ctrl-C ends between two pieces."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from secateurs.solvers.solution import Progress, ProgressCallback


def run_pieces(
    work: Callable[[slice], int],
    n: int,
    size: int,
    *,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> bool:
    """Call `work` on every slice of `size` of the rows 0..n-1, in any order.

    Parameters
    ----------
    work : callable
        Does the rows of a slice; touches no others, so that the result does not depend on the
        threads.  Should hold the interpreter lock as little as it can.  Returns how many of its
        rows failed: the `loss` of the progress.
    n, size : int
    n_threads : int, optional
        Those of torch by default.
    progress : callable, optional
        Called in this thread after each piece, with the rows done as its step.

    Returns
    -------
    bool
        False when a keyboard interrupt ended it: no piece is half done, some may be missing.
    """
    n_threads = torch.get_num_threads() if n_threads is None else n_threads
    if n_threads < 1:
        raise ValueError(f"n_threads: got {n_threads}, expected at least 1")
    pieces = [slice(a, min(a + size, n)) for a in range(0, n, size)]
    done = failed = 0

    def note(piece: slice, failures: int) -> None:
        nonlocal done, failed
        done, failed = done + piece.stop - piece.start, failed + failures
        if progress is not None:
            progress(Progress(done, n, failed / done, done))

    if n_threads == 1:
        try:
            for piece in pieces:
                note(piece, work(piece))
        except KeyboardInterrupt:
            return False
        return True
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(work, piece) for piece in pieces]
        try:
            for piece, future in zip(pieces, futures, strict=True):
                note(piece, future.result())
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return False
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return True
