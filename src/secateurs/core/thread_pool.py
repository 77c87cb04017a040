"""Run independent work in pieces on several threads; Ctrl-C ends it at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.parameters import bad_value
from secateurs.core.solution import Progress, ProgressCallback

PIECE = 2048  # rows of a piece: a millisecond of work, ten times the cost of handing it over
SHARES = 8  # pieces for each thread at least, so that the threads end at about the same time

StopFlag = NDArray[np.bool_]  # one entry, set when the work must end; compiled code can read it


def run_pieces(
    work: Callable[[slice, StopFlag], int],
    n: int,
    size: int = 0,
    *,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> bool:
    """Call `work` on slices that together cover the rows 0..n-1, in any order.

    Parameters
    ----------
    work : callable
        Computes the rows of a slice and changes no others, so that the result does not depend on
        the threads.  It should release the interpreter lock, and stop early once its second
        argument is set.  It returns how many of its rows failed, which becomes the `loss` of the
        progress.
    n, size : int
        Number of rows, and the most rows of a piece; 0 means at most 2048.
    n_threads : int, optional
        The number of torch threads by default.
    progress : callable, optional
        Called in this thread after each piece; its step is the number of rows done.

    Returns
    -------
    bool
        False where Ctrl-C ended the work early, so that some rows may be missing.
    """
    n_threads = torch.get_num_threads() if n_threads is None else n_threads
    if n_threads < 1:
        raise bad_value("n_threads", n_threads, "an integer >= 1")
    stop = np.zeros(1, np.bool_)
    size = min(size or PIECE, -(-n // (SHARES * n_threads)) or 1)
    pieces = [slice(a, min(a + size, n)) for a in range(0, n, size)]
    done = failed = 0
    # even a single thread is one of the pool, because only this thread can notice Ctrl-C
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(work, piece, stop) for piece in pieces]
        try:
            for piece, future in zip(pieces, futures, strict=True):
                failed += future.result()
                done = piece.stop
                if progress is not None:
                    progress(Progress(done, n, failed / done, done))
        except BaseException as error:
            stop[0] = True
            pool.shutdown(cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                return False
            raise
    return True
