"""Neurons that could be two of opposite signs.

The neurons on a line u through zero, relu(p u.x) and relu(-q u.x), are one term of

    sum_j relu(w_j.x) = x.beta + sum_l |x.u_l|,   beta = sum_l sigma_l u_l,  |sigma_l| <= 1,   (1)

and a line is two neurons where |sigma_l| < 1.  Its neurons need not be exactly opposite: with
parts a + b = 2 u that no row tells apart, |x.u| = (|x.a| + |x.b|) / 2 on the rows, and with signs
+1 and -1 they add a - b to 2 beta.  So a line that is two neurons, and has at least two inputs,
can change beta by a small vector on its inputs, if other lines take it up.  Examined are

- the lines that are two neurons in the fit: whether their small vectors, and the sigma of all such
  lines, can change together;
- other lines that become two, where the weights come from the budget or from lines that become
  one: a mixed-integer programme with the equation (1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secateurs.recovery.fitted_rows import BoolArray, FittedRows, FloatArray, IntArray
from secateurs.recovery.programme import Programme

EVIDENCE = 3  # rows that must exclude another network
ROOM = 1e-3  # least change of a weight, relative, that counts as possible between the rows
INSIDE = 1e-4  # distance of |sigma| from 1 for a line that becomes two
BALANCE = 1e-8  # error of the equation (1), relative to the largest weight
DEPENDENT = 1e-9  # singular value of changes that cancel, at unit columns
MOST_NODES = 2000  # of the mixed-integer programme


@dataclass(frozen=True, eq=False)
class _Lines:
    """The terms of (1), in the units of the scaled inputs.

    Attributes
    ----------
    U : array [p, q]
    beta : array [q]
    split : bool array [p]
        Whether a line is two neurons.
    movable : bool array [p]
        Whether its two neurons need not be exactly opposite.
    cost : int array [p]
        Weights that two neurons need beyond those of one.
    room : array [p, q]
        Largest changes of its weights.
    linear : array [q]
        Largest changes of the neurons that are open on all rows, and so part of beta.
    """

    U: FloatArray
    beta: FloatArray
    split: BoolArray
    movable: BoolArray
    cost: IntArray
    room: FloatArray
    linear: FloatArray


def opposite_parts(case: FittedRows) -> str:
    """Find lines that could be other pairs of neurons with opposite signs.

    Needs n p^2 operations, and a mixed-integer programme of at most 2000 nodes where pairs or
    unused weights leave a choice.
    """
    if not case.W.nnz:
        return ""
    lines = _lines(case)
    return _changes_that_cancel(lines) or _other_splits(case, lines)


def _lines(case: FittedRows) -> _Lines:
    """Put neurons on one line whose boundaries hardly any row separates."""
    unit = np.abs(case.W.data).max()
    W, pre = case.W.toarray() / unit, case.pre / unit
    always = np.all(pre >= 0.0, axis=1)
    waiting = np.flatnonzero(~always).tolist()
    groups: list[list[int]] = []
    while waiting:
        j = waiting.pop(0)
        other = next((i for i in waiting if _opposite(W[[j, i]], pre[[j, i]])), None)
        groups.append([j] if other is None else [j, other])
        if other is not None:
            waiting.remove(other)
    split = np.array([len(g) > 1 for g in groups], dtype=bool)
    U = np.zeros((len(groups), W.shape[1]))
    room, cost = np.zeros_like(U), np.zeros(len(groups), dtype=np.intp)
    movable = np.zeros(len(groups), dtype=bool)
    for at, group in enumerate(groups):
        U[at] = (W[group[0]] - W[group[-1]] if len(group) > 1 else W[group[0]]) / 2
        used = (W[group] != 0.0).any(axis=0)
        room[at] = _room(case, U[at], used, EVIDENCE)
        movable[at] = used.sum() > 1 and not case.all_seen(case.used[np.flatnonzero(used)])
        cost[at] = max(1, int((used & (np.abs(U[at]) > room[at])).sum()))
        if len(group) > 1:
            cost[at] = np.count_nonzero(W[group]) - used.sum()
        room[at] = _room(case, U[at], used, EVIDENCE + int(used.sum()))
        room[at] = movable[at] * np.maximum(room[at], ROOM * np.abs(U[at])) * used
    beta = (W[~always].sum(axis=0) + 2 * W[always].sum(axis=0)) / 2
    return _Lines(U, beta, split, movable, cost, room, np.abs(W[always]).sum(axis=0))


def _opposite(W: FloatArray, pre: FloatArray) -> bool:
    """Whether two neurons [2, q] are opposite on all but few rows, and share an input."""
    common = int((W != 0.0).all(axis=0).sum())
    if not common or W[0] @ W[1] >= 0.0:
        return False
    a, b = pre
    return int((((a > 0.0) & (b > 0.0)) | ((a < 0.0) & (b < 0.0))).sum()) < common + EVIDENCE


def _room(case: FittedRows, u: FloatArray, used: BoolArray, n_rows: int) -> FloatArray:
    """Return the change [q] of each weight of a line that fewer than n_rows show."""
    values = np.abs(u @ case.inputs)
    room = np.zeros(len(u))
    for k in np.flatnonzero(used):
        x = np.abs(case.inputs[k])
        ratio = np.sort(values[x > 0.0] / x[x > 0.0])
        room[k] = ratio[min(n_rows, len(ratio)) - 1] if len(ratio) else 0.0
    return np.asarray(np.minimum(room, np.abs(u).max()))


def _changes_that_cancel(lines: _Lines) -> str:
    """Find changes of the pairs, and of linear neurons, that leave beta as it is."""
    if not (lines.split & lines.movable).any():
        return ""
    unit = np.eye(lines.U.shape[1])
    columns = [unit[lines.linear > 0.0]]
    for at in np.flatnonzero(lines.split):
        columns.append(unit[lines.room[at] > 0.0] if lines.movable[at] else lines.U[at][None])
    A = np.vstack(columns)
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    if len(A) <= A.shape[1] and np.linalg.svd(A, compute_uv=False).min() > DEPENDENT:
        return ""
    return "opposite neurons could change together, and no row would show it"


def _other_splits(case: FittedRows, lines: _Lines) -> str:
    """Find lines that become two, at the cost of others that become one or of unused weights."""
    n_free = int(lines.cost[lines.split].sum()) + case.n_left
    n_pairs = int(lines.split.sum()) + case.n_spare
    possible = lines.cost <= n_free
    if not n_pairs or not (possible & ~lines.split).any() or not (possible & lines.movable).any():
        return ""
    problem = _programme(lines, n_free, n_pairs)
    found = problem.solve(most_nodes=MOST_NODES)
    if found is None:
        return "" if problem.infeasible else "the signs of neurons are too many to examine"
    j = int(np.argmax(found["split"] * ~lines.split))
    inputs = ", ".join(str(k) for k in case.used[np.flatnonzero(lines.U[j])])
    return f"a neuron on the inputs {inputs} could be two of opposite signs, with others changed"


def _programme(lines: _Lines, n_free: int, n_pairs: int) -> Programme:
    """State that a line becomes two, a movable line is two, and that (1) and the budget hold."""
    p, q = lines.U.shape
    scale, new = float(np.abs(lines.U).max()), ~lines.split
    at, on = np.nonzero(lines.room)
    room, place = lines.room[at, on] / scale, np.arange(len(at))
    on_input, of_line = np.zeros((q, len(at))), np.zeros((len(at), p))
    on_input[on, place], of_line[place, at] = 1.0, room
    one = np.ones((1, p))
    problem = Programme()
    problem.sign_variables(lines.cost)
    problem.variables("change", len(at), low=-room, high=room)
    problem.variables("linear", q, low=-lines.linear / scale, high=lines.linear / scale)
    problem.constrain(
        lines.beta / scale - BALANCE,
        lines.beta / scale + BALANCE,
        sigma=lines.U.T / scale,
        change=on_input,
        linear=np.eye(q),
    )
    problem.link_signs()
    for sign in (1.0, -1.0):
        problem.constrain(-np.inf, 0.0, change=sign * np.eye(len(at)), split=-of_line)
        inside = {"sigma": sign * np.eye(p)[new], "split": INSIDE * np.eye(p)[new]}
        problem.constrain(-np.inf, 1.0, **inside)
    problem.constrain(-np.inf, n_free, split=one * lines.cost)
    problem.constrain(-np.inf, n_pairs, split=one)
    problem.constrain(1.0, np.inf, split=one * lines.movable)
    problem.constrain(1.0, np.inf, split=one * new)
    return problem
