"""Compiled parts of the subset-sum solver; importing this compiles them (about two seconds).

Sums are exact: candidates are rounded to multiples of 2^-57 of their total, so the keys are
64-bit integers, which also compare in one cycle.  Every choice is arithmetic (``i += x <= y``):
the outcomes are random, so branches would be mispredicted half the time.  Merges and scans run
from both ends at once, two independent chains of loads.  Indices are unsigned because numba
guards signed ones against negative values.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float64, int64, njit, uint64, void

FAR = 1 << 60  # beyond every sum: the ends of the lists
TOTAL = 2.0**57  # integer value of the sum of all |candidates| and the |target|
MARGIN = 1 << 10  # more than all roundings, of the keys and of a sum in float64, can add up to
BLOCK = 128  # scan steps between two looks at the tolerance
FIRST = 1 << 8  # entries allocated to begin with
ONE = np.uint64(1)
LIST = int64[::1]


@njit(void(LIST, int64, int64, LIST), nogil=True, error_model="numpy")
def merge(source, size, a, target):  # type: ignore[no-untyped-def]
    """Merge S and S + a, both sorted, into `target`; entries 1..size, an end on either side."""
    last = np.uint64(size)
    i = j = f = ONE
    p = q = last
    g = last + last
    for _ in range(size):  # the smallest half from the front, the largest from the back
        x, y = source[i], source[j] + a
        low = np.uint64(x <= y)
        target[f] = min(x, y)
        i += low
        j += ONE - low
        f += ONE
        x, y = source[p], source[q] + a
        high = np.uint64(x > y)  # equal ones: as from the front
        target[g] = max(x, y)
        p -= high
        q -= ONE - high
        g -= ONE
    target[0] = -FAR
    target[last + last + ONE] = FAR


@njit(
    "Tuple((i8, i8, i8, b1))(i8[::1], i8, i8[::1], i8, i8, i8, i8)",
    nogil=True,
    error_model="numpy",
)
def scan(left, n_left, right, n_right, target, best, tolerance):  # type: ignore[no-untyped-def]
    """Pair of entries whose sum is nearest to `target`, if nearer than `best`.

    The staircase where l + r crosses the target has n_left + n_right - 1 steps.  It is walked
    from both ends; when the walks have taken that many steps together, every pair was met or
    lies beyond one that was.  Ends early once within `tolerance`.
    """
    i, j = ONE, np.uint64(n_right)
    p, q = np.uint64(n_left), ONE
    found_left = found_right = 0
    found = False
    steps = (n_left + n_right) // 2
    done = 0
    while done < steps and best > tolerance:
        stop = min(steps, done + BLOCK)
        for _ in range(done, stop):
            x, y = left[i], right[j]
            s = x + y - target
            if abs(s) < best:  # rare, so well predicted
                best, found_left, found_right, found = abs(s), x, y, True
            up = np.uint64(s < 0)
            i += up
            j -= ONE - up
            x, y = left[p], right[q]
            s = x + y - target
            if abs(s) < best:
                best, found_left, found_right, found = abs(s), x, y, True
            up = np.uint64(s < 0)
            q += up
            p -= ONE - up
        done = stop
    return best, found_left, found_right, found


@njit(uint64(LIST, int64, int64, int64, LIST), nogil=True, error_model="numpy")
def bits_of(keys, first, count, value, space):  # type: ignore[no-untyped-def]
    """First subset of keys first, first + 2, ... (`count` of them) whose sum is `value`."""
    space[0] = 0
    size = 1
    for k in range(count):
        for i in range(size):
            space[size + i] = space[i] + keys[first + 2 * k]
        size *= 2
    subset = 0
    while subset < size - 1 and space[subset] != value:
        subset += 1
    mask = np.uint64(0)
    for k in range(count):
        if subset >> k & 1:
            mask |= ONE << np.uint64(first + 2 * k)
    return mask


@njit(float64(float64[::1], uint64), nogil=True)
def masked_sum(a, mask):  # type: ignore[no-untyped-def]
    """Sum of the candidates under a mask, in order: the same bits everywhere."""
    total = 0.0
    for k in range(len(a)):
        if mask >> np.uint64(k) & ONE:
            total += a[k]
    return total


@njit(
    void(
        float64[:, ::1], float64[::1], float64, boolean,
        uint64[::1], float64[::1], int64[::1],
    ),
    nogil=True, error_model="numpy",
)  # fmt: skip
def solve(candidates, targets, eps, minimum, masks, errors, n_used):  # type: ignore[no-untyped-def]
    """Every target by its row of candidates, or by the one row there is.

    Targets that share a row share its lists: a candidate is merged in once, when no target is
    left that is reached without it.
    """
    shared = candidates.shape[0] == 1
    n_terms = candidates.shape[1]
    group = len(targets) if shared else 1
    keys = np.empty(n_terms, np.int64)
    goal = np.empty(group, np.int64)
    tolerance = np.empty(group, np.int64)
    best = np.empty(group, np.int64)
    at = np.empty(group, np.int64)  # candidates before the last one looked at
    with_last = np.empty(group, np.bool_)
    pair = np.empty((group, 2), np.int64)
    left, right = np.empty(FIRST, np.int64), np.empty(FIRST, np.int64)
    space = np.empty(FIRST, np.int64)
    for row in range(candidates.shape[0]):
        a = candidates[row]
        b = targets if shared else targets[row : row + 1]
        total = np.abs(a).sum() + np.abs(b).max()
        scale = min(TOTAL / total, 2.0**1000) if total > 0 else 0.0
        for k in range(n_terms):
            keys[k] = np.int64(np.rint(a[k] * scale))
        for t in range(group):
            goal[t] = np.int64(np.rint(b[t] * scale))
            tolerance[t] = np.int64(min(eps * scale, TOTAL)) - MARGIN
            best[t] = FAR if abs(b[t]) > eps or minimum else -1
            n_used[row + t] = 0
            at[t], with_last[t], pair[t] = 0, False, 0
            if best[t] > 0:
                best[t] = abs(goal[t])
                tolerance[t] = -1 if minimum else max(tolerance[t], -1)
        left[0] = right[0] = -FAR
        left[1] = right[1] = 0
        left[2] = right[2] = FAR
        n_left = n_right = 1
        for k in range(n_terms):
            last = k == n_terms - 1
            # subsets with candidate k: those without it were looked at before, or at the end
            tails = range(1, 2) if not minimum else range(2) if last else range(0)
            open_ = 0
            for t in range(group):
                if best[t] <= tolerance[t] or best[t] < 0:
                    continue
                for tail in tails:
                    near, x, y, found = scan(
                        left, n_left, right, n_right,
                        goal[t] - tail * keys[k], best[t], tolerance[t],
                    )  # fmt: skip
                    if found:
                        best[t], at[t], with_last[t] = near, k, tail == 1
                        pair[t, 0], pair[t, 1] = x, y
                n_used[row + t] = k + 1
                open_ += best[t] > tolerance[t]
            if last or open_ == 0:
                break
            if 2 * n_left + 2 > len(space):
                space = np.empty(4 * len(space), np.int64)
            if n_left <= n_right:
                merge(left, n_left, keys[k], space)
                n_left *= 2
                left, space = space, left
            else:
                merge(right, n_right, keys[k], space)
                n_right *= 2
                right, space = space, right
        for t in range(group):
            mask = np.uint64(0)
            k = at[t]
            if 1 << ((k + 1) // 2) > len(space):
                space = np.empty(1 << ((k + 1) // 2), np.int64)
            mask |= bits_of(keys, 0, (k + 1) // 2, pair[t, 0], space)
            mask |= bits_of(keys, 1, k // 2, pair[t, 1], space)
            if with_last[t]:
                mask |= ONE << np.uint64(k)
            masks[row + t] = mask
            errors[row + t] = abs(masked_sum(a, mask) - b[t])


@njit(void(float64[:, ::1], uint64[::1], float64[::1]), nogil=True)
def masked_sums(candidates, masks, out):  # type: ignore[no-untyped-def]
    """Sum of every row under its mask."""
    for row in range(len(out)):
        out[row] = masked_sum(candidates[row], masks[row])
