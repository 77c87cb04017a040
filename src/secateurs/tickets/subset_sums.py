"""Subset sums for many targets at once: the candidates whose sum is nearest to the target.

    min over subsets S of {1..n}  |sum_(k in S) a_k - t|

    L = R = {0}                                          sorted sums of the candidates so far
    for k = 1, 2, ...                                    no more candidates than are needed
      nearest pair:  l in L, r in R,  l + r ~ t - a_k    subsets with a_k: one staircase walk (1)
      stop if within eps
      the smaller of L, R <- merge(itself, itself + a_k)                                      (2)
    subset from the values l, r; its sum and error again in float64                           (3)

Without a tolerance there is one walk, at the end, which gives the minimum over all subsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import ProgressCallback, Status
from secateurs.core.thread_pool import PIECE, StopFlag, run_pieces

MAX_TERMS = 48  # lists of 2^24 sums; float64 cannot resolve more than about 50 terms
MAX_CANDIDATES = 64  # bits of a mask
LARGEST = 1e300  # numbers that can still be added
WORK = 1 << 26  # steps of a piece of work: less than a second


@dataclass(frozen=True)
class SubsetSum:
    """The subsets that were found, one for each target.

    Parameters
    ----------
    mask : array of uint64, shape [n_targets]
        Bit k is set when candidate k is in the subset; see `unpack_masks`.
    error : array of float64, shape [n_targets]
        ``|sum - target|``, computed in float64 from the mask.
    n_used : array of int64, shape [n_targets]
        Candidates that were looked at; with a tolerance, the shortest prefix that reaches it.
    status : str
        "converged" (every target is within the tolerance, or has its minimum), "budget" (for
        some target `max_terms` or the number of candidates was too small) or "interrupted" (the
        targets that were not done have the empty subset and its error).
    """

    __repr__ = short_repr

    mask: NDArray[np.uint64]
    error: NDArray[np.float64]
    n_used: NDArray[np.int64]
    status: Status


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
        One row for each target, or one set for all targets; N <= 64.
    targets : array, shape [n_targets]
        The numbers to approximate, each below 1e300 in size.
    eps : float, optional
        Tolerance: the search uses the shortest prefix of the candidates that reaches it.  None asks
        for the minimum over all subsets of the first `max_terms`.
    max_terms : int
        The most candidates that are used, up to 48.
    n_threads : int, optional
        The number of torch threads by default; the result is the same for any number.
    progress : callable, optional
        Called after every 2048 targets or less.  Its step is their number, and its loss the share
        of targets that were not reached.

    Returns
    -------
    SubsetSum
        One subset for each target, with its error.

    Raises
    ------
    ValueError
        A shape or a value cannot be used.

    Notes
    -----
    A target costs O(2^(n/2)) time, and a thread needs 24 * 2^(n/2) bytes.  About 1.04 log2(1 / eps)
    + 1 terms that are products of two normals reach an eps (benchmarks/tickets/subset_sum.py).  The
    first use after an installation compiles for 2 seconds.  Keys are rounded to 2^-57 of
    ``sum |a_k| + |t|``, so the minimum is exact to 1e-15 of that.
    Source: Horowitz & Sahni (1974); its use for networks: Pensia et al. (2020).
    """
    # numba is imported at the first use, because it takes long
    from secateurs.tickets.subset_sum_kernels import solve  # noqa: PLC0415

    a, t = _checked(candidates, targets, eps, max_terms)
    masks = np.zeros(len(t), np.uint64)
    errors, n_used = np.abs(t), np.zeros(len(t), np.int64)  # of the empty subset
    tolerance = 0.0 if eps is None else float(eps)

    def work(rows: slice, stop: StopFlag) -> int:
        part = a if len(a) == 1 else a[rows]
        out = masks[rows], errors[rows], n_used[rows]
        solve(part, t[rows], tolerance, eps is None, stop, *out)
        return int((errors[rows] > tolerance).sum()) if eps is not None else 0

    # the minimum takes 2^(n/2) steps; a tolerance is usually met long before
    size = 0 if eps is not None else min(max(WORK >> (a.shape[1] // 2), 1), PIECE)
    finished = run_pieces(work, len(t), size, n_threads=n_threads, progress=progress)
    reached = eps is None or bool((errors <= tolerance).all())
    status: Status = "converged" if reached else "budget"
    return SubsetSum(masks, errors, n_used, status if finished else "interrupted")


def unpack_masks(masks: NDArray[np.uint64], n_terms: int = 64) -> NDArray[np.bool_]:
    """Turn masks into booleans.

    Parameters
    ----------
    masks : array of uint64, shape [...]
        Masks, of which bit k stands for candidate k.
    n_terms : int
        Number of bits to read, from the lowest, up to 64.

    Returns
    -------
    array of bool, shape [..., n_terms]
        Entry k of the last axis is bit k.
    """
    shifts = np.arange(n_terms, dtype=np.uint64)
    return (np.asarray(masks, np.uint64)[..., None] >> shifts & np.uint64(1)).astype(bool)


def pack_masks(chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Turn booleans into masks; the inverse of `unpack_masks`.

    Parameters
    ----------
    chosen : array of bool, shape [..., n_terms]
        True for the chosen candidates; at most 64 of them on the last axis.

    Returns
    -------
    array of uint64, shape [...]
        Bit k is entry k of the last axis.
    """
    bits = chosen.astype(np.uint64) << np.arange(chosen.shape[-1], dtype=np.uint64)
    masks: NDArray[np.uint64] = np.bitwise_or.reduce(bits, axis=-1, initial=np.uint64(0))
    return masks


def _checked(
    candidates: ArrayLike, targets: ArrayLike, eps: float | None, max_terms: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, t = np.asarray(candidates, np.float64), np.asarray(targets, np.float64)
    if t.ndim != 1:
        raise bad_value("targets", Shown(f"shape {t.shape}"), "[n_targets]")
    if a.shape[:-1] not in ((), t.shape) or a.ndim == 0 or not 1 <= a.shape[-1] <= MAX_CANDIDATES:
        shapes = f"[{len(t)}, N], or [N] for all targets, with 1 <= N <= {MAX_CANDIDATES}"
        raise bad_value("candidates", Shown(f"shape {a.shape}"), shapes)
    check_integer("max_terms", max_terms, 1, MAX_TERMS)
    if eps is not None:
        check_real("eps", eps, least=0, otherwise="None for the minimum")
    for name, array in (("candidates", a), ("targets", t)):
        if not (np.abs(array) < LARGEST).all():
            raise bad_value(name, Shown("nan, inf or a large number"), f"sizes below {LARGEST:g}")
    a = a[None, :] if a.ndim == 1 else a
    # other layouts would be compiled again
    kept = np.require(a[:, :max_terms], requirements=["C", "W"])
    return kept, np.require(t, requirements=["C", "W"])
