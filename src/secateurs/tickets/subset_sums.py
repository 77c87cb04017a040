"""Subset sum for many targets at once: which candidates add up to the target, nearly.

    min over subsets S of {1..n}  |sum_(k in S) a_k - t|

    L = R = {0}                                          sorted sums of the candidates so far
    for k = 1, 2, ...                                    as few candidates as will do
      nearest pair:  l in L, r in R,  l + r ~ t - a_k    subsets with a_k: one staircase walk (1)
      stop if within eps
      the smaller of L, R <- merge(itself, itself + a_k)                                      (2)
    subset from the values l, r; its sum and error again in float64                           (3)

Without a tolerance the walk is taken once, at the end: the minimum over all subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateurs.core.solution import ProgressCallback
from secateurs.core.thread_pool import PIECE, Stop, run_pieces

MAX_TERMS = 48  # lists of 2^24 sums; float64 resolves no more than about 50 terms
WORK = 1 << 26  # steps of a piece of work: well under a second


@dataclass(frozen=True)
class SubsetSum:
    """Subsets found, one for each target.

    Attributes
    ----------
    mask : array of uint64, shape [n_targets]
        Bit k is set when candidate k is in the subset; see `unpack_masks`.
    error : array of float64, shape [n_targets]
        ``|sum - target|``, computed in float64 from the mask.
    n_used : array of int64, shape [n_targets]
        Candidates that were looked at: with a tolerance the shortest prefix that reaches it.
    status : str
        "converged" (all targets within the tolerance, or the minimum of all), "budget"
        (`max_terms` or the candidates ran out for some) or "interrupted" (the targets not done
        have the empty subset, and its error).
    """

    mask: NDArray[np.uint64]
    error: NDArray[np.float64]
    n_used: NDArray[np.int64]
    status: str


def subset_sum(
    candidates: ArrayLike,
    targets: ArrayLike,
    eps: float | None = None,
    max_terms: int = 40,
    *,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> SubsetSum:
    """Approximate every target by the sum of a subset of its candidates.

    Parameters
    ----------
    candidates : array, shape [n_targets, N] or [N]
        A row for each target, or one set for all; N <= 64.
    targets : array, shape [n_targets]
    eps : float, optional
        Tolerance: use the first n candidates, n as small as will do.  None: the minimum over
        all subsets of the first `max_terms`.
    max_terms : int
        Candidates used at most, up to 48.
    n_threads : int, optional
        Those of torch by default; the result is the same for any number.
    progress : callable, optional
        Called after every 2048 targets at most with their number as step, and as loss the share of
        targets that were not reached.

    Returns
    -------
    SubsetSum

    Raises
    ------
    ValueError
        On shapes or values that cannot be used; the message says what to do.

    Notes
    -----
    O(2^(n/2)) time a target and 24 * 2^(n/2) bytes a thread; about 1.04 log2(1 / eps) + 1 terms
    of products of two normals reach an eps (benchmarks/tickets/subset_sums.py).  The first use
    after an installation compiles for 2 seconds.  Keys are rounded to 2^-57 of
    ``sum |a_k| + |t|``: the
    minimum is exact to 1e-15 of that.
    Source: Horowitz & Sahni (1974); its use for networks: Pensia et al. (2020).
    """
    a, t = _checked(candidates, targets, eps, max_terms)
    # imported here: the compiler takes a second to load, and two the first time
    from secateurs.tickets.subset_sum_kernels import solve

    masks = np.zeros(len(t), np.uint64)
    errors, n_used = np.abs(t), np.zeros(len(t), np.int64)  # of the empty subset
    tolerance = 0.0 if eps is None else float(eps)

    def work(rows: slice, stop: Stop) -> int:
        part = a if len(a) == 1 else a[rows]
        out = masks[rows], errors[rows], n_used[rows]
        solve(part, t[rows], tolerance, eps is None, stop, *out)
        return int((errors[rows] > tolerance).sum()) if eps is not None else 0

    # the minimum takes 2^(n/2) steps; a tolerance is mostly met long before
    size = 0 if eps is not None else min(max(WORK >> (a.shape[1] // 2), 1), PIECE)
    finished = run_pieces(work, len(t), size, n_threads=n_threads, progress=progress)
    reached = eps is None or bool((errors <= tolerance).all())
    status = "interrupted" if not finished else "converged" if reached else "budget"
    return SubsetSum(masks, errors, n_used, status)


def unpack_masks(masks: NDArray[np.uint64], n_terms: int = 64) -> NDArray[np.bool_]:
    """Masks as booleans, shape [..., n_terms]: entry k is bit k."""
    shifts = np.arange(n_terms, dtype=np.uint64)
    return (np.asarray(masks, np.uint64)[..., None] >> shifts & np.uint64(1)).astype(bool)


def pack_masks(chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Inverse of `unpack_masks`, from shape [..., n_terms]."""
    bits = chosen.astype(np.uint64) << np.arange(chosen.shape[-1], dtype=np.uint64)
    masks: NDArray[np.uint64] = np.bitwise_or.reduce(bits, axis=-1, initial=np.uint64(0))
    return masks


def _checked(
    candidates: ArrayLike, targets: ArrayLike, eps: float | None, max_terms: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, t = np.asarray(candidates, np.float64), np.asarray(targets, np.float64)
    if t.ndim != 1:
        raise ValueError(f"targets: got shape {t.shape}, expected [n_targets]")
    if a.shape[:-1] not in ((), t.shape) or a.ndim == 0 or not 1 <= a.shape[-1] <= 64:
        raise ValueError(
            f"candidates: got shape {a.shape}, expected [{len(t)}, N] for {len(t)} targets, or "
            "[N] for all of them, with 1 <= N <= 64"
        )
    if not (isinstance(max_terms, int | np.integer) and 1 <= max_terms <= MAX_TERMS):
        raise ValueError(f"max_terms: got {max_terms!r}, expected an integer in 1..{MAX_TERMS}")
    if eps is not None and not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps: got {eps!r}, expected a tolerance >= 0, or None for the minimum")
    for name, array in (("candidates", a), ("targets", t)):
        if not (np.abs(array) < 1e300).all():
            raise ValueError(f"{name}: expected finite numbers, below 1e300")
    a = a[None, :] if a.ndim == 1 else a
    # contiguous and writable, as the compiled code was promised
    kept = np.require(a[:, :max_terms], requirements=["C", "W"])
    return kept, np.require(t, requirements=["C", "W"])
