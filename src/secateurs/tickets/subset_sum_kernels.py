"""Compiled parts of the subset-sum solver.

Candidates are rounded to multiples of 2^-57 of their total size.  Their sums are then exact in
64-bit integers, which the processor compares in one cycle.  The outcomes of the comparisons are
random, so a branch on one would be mispredicted half of the time; the code adds the outcome to an
index instead (``i += x <= y``).  What then limits a merge or a walk is the wait for each load from
memory, so several run at once.  A merge runs two, and each gives two sums, because the
sorted list of all subset sums is symmetric; a scan runs four walks.  Indices are unsigned because
numba adds a test for negative values to signed ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

FAR = 1 << 60  # beyond every sum: the two ends of a list
TOTAL = 2.0**57  # integer value of the sum of all |candidates| and the largest |target|
LARGEST_SCALE = 2.0**1000
MARGIN = 1 << 10  # more than all roundings of the keys and of a sum in float64
BLOCK = 256  # steps of each walk between two comparisons with the tolerance
FIRST_SIZE = 1 << 8  # entries that are allocated at first
ONE = np.uint64(1)
SIGN_BIT = np.uint64(63)

# columns of the state of a target: what it asks for, the candidates looked at, and the best subset
# so far as one sum of either list, its last candidate, and whether that candidate is chosen
GOAL, TOLERANCE, BEST, N_USED, LAST, LAST_CHOSEN, LEFT_SUM, RIGHT_SUM = range(8)
N_COLUMNS = 8

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Masks = NDArray[np.uint64]


@compiled(error_model="numpy")
def cut(
    left: Integers, n_left: int, right: Integers, n_right: int, target: int, steps: int
) -> np.uint64:
    """Return how many of the first steps of the staircase l + r ~ `target` go up the left list.

    The staircase starts from the smallest l and the largest r.  The other steps go down the right
    list.
    """
    below = max(steps - n_right, 0)
    n = min(steps, n_left) - below
    while n > 0:  # bisection, without a branch on the outcome
        half = (n + 1) >> 1
        k = below + half
        below += half * (left[k] + right[n_right - steps + k] < target)
        n -= half
    return np.uint64(below)


@compiled(error_model="numpy")
def merge(source: Integers, size: int, a: int, target: Integers) -> None:
    """Merge S and S + a into `target`; a list has entries 1..size between two far ends.

    For every s in S, total - s is in S too.  The merged list is therefore symmetric about half of
    ``mirror = total + a``, and S + a is mirror - S.  So the merge is the staircase s + s' ~
    mirror, and its first half is enough.  That half is walked from both ends.
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


@compiled(error_model="numpy")
def shift(source: Integers, size: int, by: int, target: Integers) -> None:
    """Write the list with `by` added to `target`."""
    for k in range(1, size + 1):
        target[k] = source[k] + by
    target[0] = -FAR
    target[size + 1] = FAR


@compiled(inline="always")
def step(
    rising: Integers,
    i: np.uint64,
    falling: Integers,
    j: np.uint64,
    near: int,
    width: np.uint64,
    x: int,
    y: int,
) -> tuple[np.uint64, np.uint64, int, np.uint64, int, int]:
    """Take one step of a walk, up the one list or down the other, towards a sum of 0.

    x and y are the pair with the sum nearest to 0 so far.  A nearer sum is within `near` of 0;
    with ``width = 2 near + 1`` that is a single comparison.
    """
    rise, fall = rising[i], falling[j]
    s = rise + fall
    if np.uint64(s + near) < width:  # rare, so the branch is predicted well
        near, x, y = abs(s) - 1, rise, fall
        width = np.uint64(max(2 * near + 1, 0))
    short = np.uint64(s) >> SIGN_BIT
    return i + short, j + short - ONE, near, width, x, y


@compiled(error_model="numpy")
def scan(
    left: Integers, n_left: int, right: Integers, n_right: int, best: int, tolerance: int
) -> tuple[int, int, int, bool]:
    """Find the pair of entries whose sum is nearest to 0, if it is nearer than `best`.

    The staircase where l + r crosses 0 has n_left + n_right - 1 steps.  It is cut in the middle,
    and each half is walked from both ends.  When two walks together have taken as many steps as
    their half has, every pair was met or lies beyond one that was met.  The scan ends early once
    the sum is within `tolerance` or exact.

    Returns
    -------
    near, x, y, found : int, int, int, bool
        The distance of the sum from 0, its entries, and whether it is nearer than `best`.
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


@compiled(error_model="numpy")
def bits_of(keys: Integers, first: int, count: int, value: int, space: Integers) -> np.uint64:
    """Return the first subset of `count` keys first, first + 2, ... whose sum is `value`."""
    space[0] = 0
    size = 1
    for k in range(count):
        for i in range(size):
            space[size + i] = space[i] + keys[first + 2 * k]
        size *= 2
    subset = size
    for i in range(size):  # no early end, so that the compiler can use vector instructions
        subset = min(subset, i if space[i] == value else size)
    mask = np.uint64(0)
    for k in range(count):
        if subset >> k & 1:
            mask |= ONE << np.uint64(first + 2 * k)
    return mask


@compiled(error_model="numpy")
def masked_sum(a: Floats, mask: np.uint64) -> float:
    """Return the sum of the candidates under a mask, added in order: the same bits everywhere."""
    total = 0.0
    for k in range(len(a)):
        if mask >> np.uint64(k) & ONE:
            total += a[k]
    return total


@compiled(error_model="numpy")
def round_to_keys(
    a: Floats, b: Floats, eps: float, minimum: bool, keys: Integers, states: Integers
) -> None:
    """Write the integer keys of the candidates a, and the first state of each target b.

    The first subset is the empty one.  Its target is finished where that is within `eps`, unless
    the minimum is asked for.
    """
    total, largest = 0.0, 0.0
    for k in range(len(a)):
        total += abs(a[k])
    for t in range(len(b)):
        largest = max(largest, abs(b[t]))
    total += largest
    scale = min(TOTAL / total, LARGEST_SCALE) if total > 0 else 0.0
    for k in range(len(a)):
        keys[k] = np.int64(np.rint(a[k] * scale))
    within = np.int64(min(eps * scale, TOTAL)) - MARGIN
    for t in range(len(b)):
        goal = np.int64(np.rint(b[t] * scale))
        for column in range(N_COLUMNS):
            states[t, column] = 0
        states[t, GOAL] = goal
        states[t, TOLERANCE] = -1 if minimum else max(int(within), -1)
        states[t, BEST] = abs(goal) if minimum or abs(b[t]) > eps else -1


@compiled(error_model="numpy")
def search(
    keys: Integers,
    states: Integers,
    minimum: bool,
    stop: NDArray[np.bool_],
    left: Integers,
    right: Integers,
    space: Integers,
) -> tuple[Integers, Integers, Integers, bool]:
    """Look at longer and longer prefixes of the candidates, until every target is finished.

    For the minimum, only the last candidate is looked at: with it and without it.

    Returns
    -------
    left, right, space, done : three arrays, bool
        The three lists, which may have grown; `done` is False where `stop` was set by another
        thread.
    """
    left[0] = right[0] = -FAR
    left[1] = right[1] = 0
    left[2] = right[2] = FAR
    n_left = n_right = 1
    for k in range(len(keys)):
        last = k == len(keys) - 1
        # the subsets without candidate k were looked at before, or are at the end
        first, end = (0, 2 if last else 0) if minimum else (1, 2)
        if 2 * n_right + 2 > len(space):  # n_right is n_left or half of it
            space = np.empty(4 * len(space), np.int64)
        n_open = 0
        for t in range(len(states)):
            best, tolerance = states[t, BEST], states[t, TOLERANCE]
            if best <= tolerance or best < 0:
                continue
            for chosen in range(first, end):
                by = chosen * keys[k] - states[t, GOAL]
                shift(right, n_right, by, space)
                near, x, y, found = scan(left, n_left, space, n_right, best, tolerance)
                if found:
                    best = near
                    states[t, BEST], states[t, LAST], states[t, LAST_CHOSEN] = near, k, chosen
                    states[t, LEFT_SUM], states[t, RIGHT_SUM] = x, y - by
            states[t, N_USED] = k + 1
            n_open += best > tolerance
            if stop[0]:
                return left, right, space, False
        if last or n_open == 0:
            break
        if n_left <= n_right:
            merge(left, n_left, keys[k], space)
            n_left *= 2
            left, space = space, left
        else:
            merge(right, n_right, keys[k], space)
            n_right *= 2
            right, space = space, right
    return left, right, space, True


@compiled(error_model="numpy")
def subset_of(keys: Integers, state: Integers, space: Integers) -> np.uint64:
    """Return the mask of the best subset; the lists hold every other candidate, in turn."""
    k = state[LAST]
    mask = bits_of(keys, 0, (k + 1) // 2, state[LEFT_SUM], space)
    mask |= bits_of(keys, 1, k // 2, state[RIGHT_SUM], space)
    if state[LAST_CHOSEN]:
        mask |= ONE << np.uint64(k)
    return mask


@compiled(error_model="numpy")
def solve(
    candidates: Floats,
    targets: Floats,
    eps: float,
    minimum: bool,
    stop: NDArray[np.bool_],
    masks: Masks,
    errors: Floats,
    n_used: Integers,
) -> None:
    """Solve every target with its row of candidates, or with the single row there is.

    Targets that share a row share its lists: a candidate is merged in once, when some target is
    not reached without it.  Once ``stop[0]`` is set by another thread, the current row and those
    after it are left as they were.
    """
    n_rows, n_terms = candidates.shape
    group = len(targets) if n_rows == 1 else 1
    keys, states = np.empty(n_terms, np.int64), np.empty((group, N_COLUMNS), np.int64)
    left, right = np.empty(FIRST_SIZE, np.int64), np.empty(FIRST_SIZE, np.int64)
    space = np.empty(FIRST_SIZE, np.int64)
    for row in range(n_rows):
        a, b = candidates[row], targets[row : row + group]
        round_to_keys(a, b, eps, minimum, keys, states)
        left, right, space, done = search(keys, states, minimum, stop, left, right, space)
        if not done:
            return
        for t in range(group):
            most = 1 << ((states[t, LAST] + 1) // 2)
            if most > len(space):
                space = np.empty(most, np.int64)
            mask = subset_of(keys, states[t], space)
            masks[row + t] = mask
            errors[row + t] = abs(masked_sum(a, mask) - b[t])
            n_used[row + t] = states[t, N_USED]


@compiled(error_model="numpy")
def masked_sums(candidates: Floats, masks: Masks, out: Floats) -> None:
    """Write the sum of every row under its mask to `out`."""
    for row in range(len(out)):
        out[row] = masked_sum(candidates[row], masks[row])
