"""Refine a fit: fewer directions, no column without use, missing columns added.

    D <- the directions along which f moves                                          (1)
    J <- J without { j : |t_j| <= threshold }, or without the weaker half of them    (2)
    J <- J and { j : residual score > threshold }                                    (3)
    once more with the directions of the residual, searched as y was searched        (4)

After each change the network is trained again.  A change is kept if R^2 on the validation rows
falls by less than .005 in (1) and (2), or rises by more than .002 in (3) and (4).

Source: all steps are additions to the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from secateurs.features.linearised import conditional_scores, residual_scores
from secateurs.features.network import column_gradients, responses
from secateurs.features.null_scores import normal_threshold
from secateurs.features.screening import label_transforms, screen
from secateurs.features.search import (
    NO_COLUMNS,
    Candidate,
    directions,
    supports,
    trained_candidate,
)
from secateurs.features.search_data import SearchData

REPEATS = 4  # of (1) to (3)
MAY_LOSE = 0.005  # R^2 on the validation rows that a smaller network may lose
MUST_GAIN = 0.002  # R^2 on the validation rows that a larger network must gain
SMALL_SHARE = 0.02  # share of the energy of the gradient below which a direction is dropped


def refined(data: SearchData, start: Candidate) -> Iterator[Candidate]:
    """Yield each better candidate, by (1) to (3), and by (4) if that finds one."""
    best = start
    for better in _simplified(data, start):
        best = better
        yield best
    more = _another_direction(data, best)
    if more is not None:
        yield more
        yield from _simplified(data, more)


def _simplified(data: SearchData, start: Candidate) -> Iterator[Candidate]:
    best = start
    for _ in range(REPEATS):
        before = best
        for step in (_fewer_directions, _without_weak_columns, _with_missing_columns):
            better = step(data, best)
            if better is not None:
                best = better
                yield best
        if best is before:
            break


def accepted(candidate: Candidate, best: Candidate, gain: float) -> Candidate | None:
    """Return the candidate if its score exceeds the best one by more than `gain`, else None."""
    return candidate if candidate.network.score > best.network.score + gain else None


def _fewer_directions(data: SearchData, now: Candidate) -> Candidate | None:
    """Apply (1)."""
    if len(now.network.D) == 1:
        return None
    moves = column_gradients(now.network, now.rows)
    _, sizes, V = torch.linalg.svd(moves, full_matrices=False)
    share = sizes.square() / sizes.square().sum().clamp_min(1e-30)
    r = max(1, int((share > SMALL_SHARE).sum()))
    if r >= len(now.network.D):
        return None
    return accepted(trained_candidate(data, now.J, V[:r]), now, -MAY_LOSE)


def _without_weak_columns(data: SearchData, now: Candidate) -> Candidate | None:
    """Apply (2)."""
    t, D = conditional_scores(now.network, now.rows)
    weak = t <= normal_threshold(data.alpha, data.source.d)
    for drop in (weak, weak & (t <= np.median(t[weak])) if weak.any() else weak):
        if drop.any() and not drop.all():
            kept = torch.from_numpy(D[:, ~drop]).float()
            better = accepted(trained_candidate(data, now.J[~drop], kept), now, -MAY_LOSE)
            if better is not None:
                return better
    return None


def _with_missing_columns(data: SearchData, now: Candidate) -> Candidate | None:
    """Apply (3)."""
    z = residual_scores(data, now).max(axis=1)
    hits = np.flatnonzero(z > normal_threshold(data.alpha, z.size * now.network.D.shape[0]))
    room = data.cap - len(now.J)
    hits = hits[np.argsort(-z[hits], kind="stable")][: max(0, room)]
    if not len(hits):
        return None
    J = np.sort(np.concatenate([now.J, hits]))
    D = torch.zeros(len(now.network.D), len(J))
    D[:, np.searchsorted(J, now.J)] = now.network.D
    _, stepped = conditional_scores(replace(now.network, D=D), data.rows(J))
    return accepted(trained_candidate(data, J, torch.from_numpy(stepped).float()), now, MUST_GAIN)


def _another_direction(data: SearchData, now: Candidate) -> Candidate | None:
    """Apply (4): the gradient of the network shows no direction that it does not have yet."""
    room = data.cap - len(now.J)
    if room < 1:
        return None
    with torch.no_grad():
        e = (now.rows.Y - responses(now.network, now.rows)).double().numpy()
    T, names = label_transforms(e[: data.n_train, -1])
    T = data.on_all_rows(T)
    found = screen(data.source, labels=(T, names), degrees=data.degrees, alpha=data.alpha)
    if not len(found.selected):
        return None
    c, k = found.channel
    residual = replace(data, T=T, transforms=names, cap=room)
    extra = supports(residual, found, NO_COLUMNS)[0]
    more = directions(data.ranked.take(extra), T[:, c], k + 1, found.z[extra, c, k])
    J = np.union1d(now.J, extra)
    r = len(now.network.D)
    D = torch.zeros(r + len(more), len(J))
    D[:r, np.searchsorted(J, now.J)] = now.network.D
    D[r:, np.searchsorted(J, extra)] = torch.from_numpy(more).float()
    return accepted(trained_candidate(data, J, D), now, MUST_GAIN)
