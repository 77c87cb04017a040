"""Independent work cut into pieces, on several threads, that Ctrl-C ends at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.solution import Progress, ProgressCallback

PIECE = 2048  # rows: a millisecond of work or more, against a tenth of one to hand it over ...
SHARES = 8  # ... or fewer, so that each thread has some pieces to balance

Stop = NDArray[np.bool_]  # one entry, set when the work is to end: compiled code can read it


def run_pieces(
    work: Callable[[slice, Stop], int],
    n: int,
    size: int = 0,
    *,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> bool:
    """Call `work` on every slice of `size` of the rows 0..n-1, in any order.

    Parameters
    ----------
    work : callable
        Does the rows of a slice; touches no others, so that the result does not depend on the
        threads.  Should hold the interpreter lock as little as it can, and leave the rows not
        yet done as they are once its second argument is set.  Returns how many of its rows
        failed: the `loss` of the progress.
    n, size : int
        Rows in all, and of a piece at most; 0 for at most 2048.
    n_threads : int, optional
        Those of torch by default.
    progress : callable, optional
        Called in this thread after each piece, with the rows done as its step.

    Returns
    -------
    bool
        False when a keyboard interrupt ended it: some rows may not be done.
    """
    n_threads = torch.get_num_threads() if n_threads is None else n_threads
    if n_threads < 1:
        raise ValueError(f"n_threads: got {n_threads}, expected at least 1")
    stop = np.zeros(1, np.bool_)
    size = min(size or PIECE, -(-n // (SHARES * n_threads)) or 1)
    pieces = [slice(a, min(a + size, n)) for a in range(0, n, size)]
    done = failed = 0
    # one thread is also a thread of the pool: this one is free to notice Ctrl-C
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
