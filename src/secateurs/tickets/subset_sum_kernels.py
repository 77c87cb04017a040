"""Compiled parts of the subset-sum solver; the first import compiles them (two seconds).

Sums are exact: candidates are rounded to multiples of 2^-57 of their total, so the keys are
64-bit integers, which also compare in one cycle.  Every choice is arithmetic (``i += x <= y``):
the outcomes are random, so branches would be mispredicted half the time.  What then limits a
merge or a walk is the wait for each load, so several run at once: two in a merge, of which each
gives two sums, because a set of subset sums is symmetric; four in a scan.  Indices are unsigned
because numba guards signed ones against negative values.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float64, int64, njit, uint64, void

FAR = 1 << 60  # beyond every sum: the ends of the lists
TOTAL = 2.0**57  # integer value of the sum of all |candidates| and the |target|
MARGIN = 1 << 10  # more than all roundings, of the keys and of a sum in float64, can add up to
BLOCK = 256  # steps of each walk between two looks at the tolerance
FIRST = 1 << 8  # entries allocated to begin with
ONE = np.uint64(1)
SIGN = np.uint64(63)  # its place in a 64-bit integer
LIST = int64[::1]


@njit(uint64(LIST, int64, LIST, int64, int64, int64), cache=True, nogil=True, error_model="numpy")
def cut(left, n_left, right, n_right, target, steps):  # type: ignore[no-untyped-def]
    """How many of the first steps of the staircase l + r ~ `target` go up the left list.

    It starts from the smallest l and the largest r; the other steps go down the right list.
    """
    below = max(steps - n_right, 0)
    n = min(steps, n_left) - below
    while n > 0:  # without a branch on the outcome
        half = (n + 1) >> 1
        k = below + half
        below += half * (left[k] + right[n_right - steps + k] < target)
        n -= half
    return np.uint64(below)


@njit(void(LIST, int64, int64, LIST), cache=True, nogil=True, error_model="numpy")
def merge(source, size, a, target):  # type: ignore[no-untyped-def]
    """Merge S and S + a, both sorted, into `target`; entries 1..size, an end on either side.

    With s in S goes total - s, so the merged list is symmetric about half of
    ``mirror = total + a``, and S + a is mirror - S: the merge is the staircase s + s' ~ mirror,
    and its first half is enough.  That half is walked from both ends.
    """
    mirror = source[1] + source[size] + a
    last = np.uint64(size)
    end = last + last + ONE
    i = j = front = ONE
    p, back = cut(source, size, source, size, mirror, size), last
    q = last - p
    for _ in range((size + 1) // 2):
        x, y = source[i], source[j] + a
        low, least = np.uint64(x <= y), min(x, y)
        target[front], target[end - front] = least, mirror - least
        i += low
        j += ONE - low
        front += ONE
        x, y = source[p], source[q] + a
        high, most = np.uint64(x > y), max(x, y)
        target[back], target[end - back] = most, mirror - most
        p -= high
        q -= ONE - high
        back -= ONE
    target[0] = -FAR
    target[end] = FAR


@njit(void(LIST, int64, int64, LIST), cache=True, nogil=True, error_model="numpy")
def shift(source, size, by, target):  # type: ignore[no-untyped-def]
    """The list with `by` added, into `target`."""
    for k in range(1, size + 1):
        target[k] = source[k] + by
    target[0] = -FAR
    target[size + 1] = FAR


@njit(inline="always")
def step(rising, i, falling, j, near, width, x, y):  # type: ignore[no-untyped-def]
    """One step of a walk: up the one list or down the other, towards a sum of 0.

    Keeps the pair x, y of the nearest sum; a nearer one is within `near` of 0, and
    ``width = 2 near + 1``, which makes that one comparison.
    """
    rise, fall = rising[i], falling[j]
    s = rise + fall
    if np.uint64(s + near) < width:  # rare, so well predicted
        near, x, y = abs(s) - 1, rise, fall
        width = np.uint64(max(2 * near + 1, 0))
    short = np.uint64(s) >> SIGN
    return i + short, j + short - ONE, near, width, x, y


@njit(
    "Tuple((i8, i8, i8, b1))(i8[::1], i8, i8[::1], i8, i8, i8)",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def scan(left, n_left, right, n_right, best, tolerance):  # type: ignore[no-untyped-def]
    """Pair of entries whose sum is nearest to 0, if nearer than `best`.

    The staircase where l + r crosses 0 has n_left + n_right - 1 steps.  It is cut in the middle,
    and each half walked from both ends; when two walks have taken as many steps together as
    their half has, every pair was met or lies beyond one that was.  Ends early once within
    `tolerance`, or exact.
    """
    half = max((n_left + n_right) // 2 - 1, 0)
    up = cut(left, n_left, right, n_right, 0, half)
    i1, j1 = ONE, np.uint64(n_right)
    i2 = i3 = up + ONE
    j2 = j3 = np.uint64(n_right - half) + up
    i4, j4 = np.uint64(n_left), ONE
    x = y = FAR
    near, width = best - 1, np.uint64(2 * best - 1)
    steps = (n_left + n_right + 3) // 4
    done, enough = 0, max(tolerance, 0)
    while done < steps and near >= enough:
        stop = min(steps, done + BLOCK)
        for _ in range(done, stop):
            i1, j1, near, width, x, y = step(left, i1, right, j1, near, width, x, y)
            j2, i2, near, width, y, x = step(right, j2, left, i2, near, width, y, x)
            i3, j3, near, width, x, y = step(left, i3, right, j3, near, width, x, y)
            j4, i4, near, width, y, x = step(right, j4, left, i4, near, width, y, x)
        done = stop
    return near + 1, x, y, x < FAR


@njit(uint64(LIST, int64, int64, int64, LIST), cache=True, nogil=True, error_model="numpy")
def bits_of(keys, first, count, value, space):  # type: ignore[no-untyped-def]
    """First subset of keys first, first + 2, ... (`count` of them) whose sum is `value`."""
    space[0] = 0
    size = 1
    for k in range(count):
        for i in range(size):
            space[size + i] = space[i] + keys[first + 2 * k]
        size *= 2
    subset = size
    for i in range(size):  # no early end: this way it is compiled to vectors
        subset = min(subset, i if space[i] == value else size)
    mask = np.uint64(0)
    for k in range(count):
        if subset >> k & 1:
            mask |= ONE << np.uint64(first + 2 * k)
    return mask


@njit(float64(float64[::1], uint64), cache=True, nogil=True)
def masked_sum(a, mask):  # type: ignore[no-untyped-def]
    """Sum of the candidates under a mask, in order: the same bits everywhere."""
    total = 0.0
    for k in range(len(a)):
        if mask >> np.uint64(k) & ONE:
            total += a[k]
    return total


@njit(
    void(
        float64[:, ::1], float64[::1], float64, boolean, boolean[::1],
        uint64[::1], float64[::1], int64[::1],
    ),
    cache=True, nogil=True, error_model="numpy",
)  # fmt: skip
def solve(candidates, targets, eps, minimum, stop, masks, errors, n_used):  # type: ignore[no-untyped-def]
    """Every target by its row of candidates, or by the one row there is.

    Targets that share a row share its lists: a candidate is merged in once, when no target is
    left that is reached without it.  Once ``stop[0]`` is set, by another thread, the row at hand
    and those after it are left as they were.
    """
    shared = candidates.shape[0] == 1
    n_terms = candidates.shape[1]
    group = len(targets) if shared else 1
    keys = np.empty(n_terms, np.int64)
    goal = np.empty(group, np.int64)
    tolerance = np.empty(group, np.int64)
    best = np.empty(group, np.int64)
    looked_at = np.empty(group, np.int64)
    at = np.empty(group, np.int64)  # candidates before the last one looked at
    with_last = np.empty(group, np.bool_)
    pair = np.empty((group, 2), np.int64)
    left, right = np.empty(FIRST, np.int64), np.empty(FIRST, np.int64)
    space = np.empty(FIRST, np.int64)
    for row in range(candidates.shape[0]):
        a = candidates[row]
        b = targets if shared else targets[row : row + 1]
        total = 0.0
        for k in range(n_terms):
            total += abs(a[k])
        largest = 0.0
        for t in range(group):
            largest = max(largest, abs(b[t]))
        total += largest
        scale = min(TOTAL / total, 2.0**1000) if total > 0 else 0.0
        for k in range(n_terms):
            keys[k] = np.int64(np.rint(a[k] * scale))
        for t in range(group):
            goal[t] = np.int64(np.rint(b[t] * scale))
            tolerance[t] = np.int64(min(eps * scale, TOTAL)) - MARGIN
            best[t] = FAR if abs(b[t]) > eps or minimum else -1
            looked_at[t], at[t], with_last[t], pair[t] = 0, 0, False, 0
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
            if 2 * n_right + 2 > len(space):  # n_right is n_left or half of it
                space = np.empty(4 * len(space), np.int64)
            for t in range(group):
                if best[t] <= tolerance[t] or best[t] < 0:
                    continue
                for tail in tails:
                    by = tail * keys[k] - goal[t]
                    shift(right, n_right, by, space)
                    near, x, y, found = scan(left, n_left, space, n_right, best[t], tolerance[t])
                    if found:
                        best[t], at[t], with_last[t] = near, k, tail == 1
                        pair[t, 0], pair[t, 1] = x, y - by
                looked_at[t] = k + 1
                open_ += best[t] > tolerance[t]
                if stop[0]:
                    return
            if last or open_ == 0:
                break
            if n_left <= n_right:
                merge(left, n_left, keys[k], space)
                n_left *= 2
                left, space = space, left
            else:
                merge(right, n_right, keys[k], space)
                n_right *= 2
                right, space = space, right
        for t in range(group):
            k = at[t]
            if 1 << ((k + 1) // 2) > len(space):
                space = np.empty(1 << ((k + 1) // 2), np.int64)
            mask = bits_of(keys, 0, (k + 1) // 2, pair[t, 0], space)
            mask |= bits_of(keys, 1, k // 2, pair[t, 1], space)
            if with_last[t]:
                mask |= ONE << np.uint64(k)
            masks[row + t] = mask
            errors[row + t] = abs(masked_sum(a, mask) - b[t])
            n_used[row + t] = looked_at[t]


@njit(void(float64[:, ::1], uint64[::1], float64[::1]), cache=True, nogil=True)
def masked_sums(candidates, masks, out):  # type: ignore[no-untyped-def]
    """Sum of every row under its mask."""
    for row in range(len(out)):
        out[row] = masked_sum(candidates[row], masks[row])
