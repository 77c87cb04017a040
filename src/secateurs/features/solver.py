"""The few inputs and directions that matter, and a small network on them.

    screen columns, pairs, triples; J <- hits           screening.py, interactions.py    (1)
    repeat 3: D <- directions of J;  J <- anchors       index_directions.py              (2)
    from J of 4 sizes: train f(D x_J) on raw columns; the best on validation rows
                                                        index_search.py                  (3)
    repeat: fewer directions, drop columns not needed given the others, add missing ones,
            train again; accept unless validation R^2 falls by .005
                                                        index_refine.py                  (4)
    many small coordinates left: shrunk directions over more columns, if validation gains
                                                        index_soft.py                    (5)
    first layer set free, if validation gains                                            (6)
    regression: a line on the columns kept, unless the network is better by a standard
    error on five folds                                 index_linear.py                  (7)

(1) is the pruning of Vural & Erdogdu (COLT 2024) as we derive it, with rank channels; the
other steps are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.solution import Progress, ProgressCallback, Solution, Status
from secateurs.data.columns import columns_of
from secateurs.features.directions import directions, level
from secateurs.features.line_or_network import line_or_network
from secateurs.features.network import (
    gradients,
    initial_head,
    outputs,
    responses,
    score,
    train,
)
from secateurs.features.refine import conditional_scores, residual_labels
from secateurs.features.result import (
    SMALL_RANK,
    MultiIndexFit,
    fit_of,
    measured,
    signal_detected,
)
from secateurs.features.screening import Screen, label_transforms, screen
from secateurs.features.search import (
    STEPS,
    Candidate,
    first_network,
    product_columns,
    supports,
)
from secateurs.features.search_data import Data, prepared
from secateurs.features.shrunk_directions import lightest, most_columns, soft_directions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REFINEMENTS = 4
LOSS = 0.005  # of validation R^2 that a simpler network may cost
GAIN = 0.002  # of validation R^2 that a larger one must bring
FREE_GAIN = 0.01  # the same for a first layer that is no longer of rank r
RESIDUAL = 6.0  # standard deviations of sum z^2 that tell of many small coordinates
FREE = 256  # columns up to which the first layer is set free
N_STAGES = 5


@dataclass
class _Run:
    """Best candidate so far; a step that is interrupted leaves it whole."""

    data: Data
    degrees: int
    progress: ProgressCallback | None
    best: Candidate | None = None
    status: Status = "converged"
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "n_nonzero": []}
    )

    def offer(self, candidate: Candidate, gain: float) -> bool:
        """Take a candidate whose score beats the best one's by more than `gain`."""
        if self.best is not None and not candidate.head.score > self.best.head.score + gain:
            return False
        self.best = candidate
        return True

    def record(self, stage: int) -> None:
        if self.best is None:
            return
        loss, size = 1.0 - self.best.head.score, len(self.best.J)
        for name, value in (("step", stage), ("loss", loss), ("n_nonzero", size)):
            self.history[name].append(value)
        if self.progress is not None:
            self.progress(Progress(stage, N_STAGES, loss, size))


def multi_index(
    X: Any,
    y: NDArray[Any],
    *,
    task: str = "regression",
    max_features: int | None = None,
    alpha: float = 0.1,
    degrees: int = 3,
    hidden: int = 64,
    validation: float = 0.2,
    interactions: bool = True,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[MultiIndexFit]:
    """Find the columns and directions that y depends on, and fit a small ReLU network on them.

    Parameters
    ----------
    X : anything `columns_of` reads, [n, d]
    y : array [n]
        Numbers, or for classes the labels 0, 1, .., K - 1.
    task : {"regression", "classification"}
    max_features : int, optional
        Most columns kept.  Without: 128, at most an eighth of the rows, and more only where
        many small coordinates gain on validation rows.
    alpha : float
        Chance of any false column in the screen.
    degrees : int
        Largest Hermite degree of the screen, from 1 to 3.
    hidden : int
        Units of the network.
    validation : float
        Share of the rows that choices are made on.
    interactions : bool
        Also screen pairs of columns, and triples when nothing else is found, where that takes
        at most 1e11 multiply-adds.
    random_state : int or None
    progress : callable, optional
        Called after each of the 5 stages (search, refinement, small coordinates, free layer,
        line or network) with 1 - validation R^2 and the number of columns; during the screen it
        is not.

    Returns
    -------
    Solution of MultiIndexFit
        Status "converged" or "interrupted" (the best network so far).  Measured: "alpha", "n",
        "n_train", "hits" (columns the screen found), "products" (columns of pairs and triples
        found), "noise_floor" (1 / sqrt n, in units of a correlation), "conditional_scores"
        (``|t|`` of every kept column given the others), "dropped_score" (the largest screen score
        among columns not kept), "kept_score" (the median among kept ones in the channel),
        "predicted_n" (rows at which the median kept column passes the screen by itself:
        n ((threshold + 1.3) / kept_score)^2, measured to fall short by up to 2; None where that
        score is below 1, as it is for products).

    Raises
    ------
    ValueError
        Shapes that do not match, missing values, numbers out of range.

    Notes
    -----
    O(n d (log n + C K)) time a pass, 4 passes or a few more; memory one block of columns and
    12 numbers a column, or all columns in float32 where they take less than 256 MB.
    """
    source = columns_of(X)
    data = prepared(source, y, task, max_features, alpha, hidden, validation, random_state)
    found = screen(source, labels=(data.T, data.transforms), degrees=degrees, alpha=alpha)
    run = _Run(data, degrees, progress)
    products, p_products = np.empty(0, dtype=np.int64), 1.0
    try:
        if interactions:
            products, p_products = product_columns(data, found)
        _search(run, found, products)
        base = run.best
        for stage, step in enumerate((_refine, _soften, _set_free, _straighten), start=2):
            step(run)
            base = run.best if stage == 2 else base
            run.record(stage)
    except KeyboardInterrupt:
        if run.best is None:
            raise
        run.status, base = "interrupted", run.best
    assert run.best is not None
    assert base is not None
    detected = signal_detected(data, found, p_products, base)
    value = fit_of(data, found, run.best, y, detected)
    return Solution(value, run.status, run.history, measured(data, found, products, run.best))


def _search(run: _Run, found: Screen, products: IntArray) -> None:
    """(2) and (3)."""
    for J in supports(run.data, found, products):
        run.offer(first_network(run.data, found, J, axes=len(products) > 0), 0.0)
    run.record(1)


def _refine(run: _Run) -> None:
    """(4), and once more when the residual has a direction of its own."""
    _simplify(run)
    if _another_direction(run):
        _simplify(run)


def _simplify(run: _Run) -> None:
    for _ in range(REFINEMENTS):
        changed = False
        for step in STEPS_OF_REFINEMENT:
            changed = step(run) or changed
        if not changed:
            break


def _fewer_directions(run: _Run) -> bool:
    """Only the directions that the fitted function moves along."""
    now = _best(run)
    if len(now.head.D) == 1:
        return False
    with torch.no_grad():
        G = gradients(now.head, now.rows)
    moves = torch.einsum("knr,rs->kns", G, now.head.D).reshape(-1, len(now.J))
    _, sizes, V = torch.linalg.svd(moves, full_matrices=False)
    share = sizes.square() / sizes.square().sum().clamp_min(1e-30)
    r = max(1, int((share > SMALL_RANK).sum()))
    if r >= len(now.head.D):
        return False
    return run.offer(_trained(run, now.J, V[:r]), -LOSS)


def _drop(run: _Run) -> bool:
    """Without the columns whose conditional score is that of noise; else the weaker half."""
    now = _best(run)
    t, D = conditional_scores(now.head, now.rows)
    weak = t <= level(run.data.alpha, run.data.ranked.d)
    for drop in (weak, weak & (t <= np.median(t[weak])) if weak.any() else weak):
        if drop.any() and not drop.all():
            D_kept = torch.from_numpy(D[:, ~drop]).float()
            if run.offer(_trained(run, now.J[~drop], D_kept), -LOSS):
                return True
    return False


def _add(run: _Run) -> bool:
    """With the columns that the residual tells of."""
    now, data = _best(run), run.data
    z = _residual_scores(data, now)
    hits = np.flatnonzero(z > level(data.alpha, z.size * now.head.D.shape[0]))
    room = data.cap - len(now.J)
    hits = hits[np.argsort(-z[hits], kind="stable")][: max(0, room)]
    if not len(hits):
        return False
    J = np.sort(np.concatenate([now.J, hits]))
    D = torch.zeros(len(now.head.D), len(J))
    D[:, np.searchsorted(J, now.J)] = now.head.D
    wide = Candidate(J, replace(now.head, D=D), data.rows(J))
    _, stepped = conditional_scores(wide.head, wide.rows)
    return run.offer(_trained(run, J, torch.from_numpy(stepped).float()), GAIN)


def _another_direction(run: _Run) -> bool:
    """Search the residual as y was searched: a new direction is in no gradient of the network."""
    now, data = _best(run), run.data
    room = data.cap - len(now.J)
    if room < 1:
        return False
    with torch.no_grad():
        e = (now.rows.Y - responses(now.head, now.rows)).double().numpy()
    T, names = label_transforms(e[: data.n_train, -1])
    T = data.labels(T)
    rest = replace(data, T=T, transforms=names, cap=room)
    found = screen(data.source, labels=(T, names), degrees=run.degrees, alpha=data.alpha)
    if not len(found.selected):
        return False
    c, k = found.channel
    extra = supports(rest, found, np.empty(0, dtype=np.int64))[0]
    more = directions(data.ranked.take(extra), T[:, c], k + 1, found.z[extra, c, k])
    J = np.union1d(now.J, extra)
    D = torch.zeros(len(now.head.D) + len(more), len(J))
    D[: len(now.head.D), np.searchsorted(J, now.J)] = now.head.D
    D[len(now.head.D) :, np.searchsorted(J, extra)] = torch.from_numpy(more).float()
    return run.offer(_trained(run, J, D), GAIN)


def _soften(run: _Run) -> None:
    """(5), when what is left of y tells of many columns at once."""
    now, data = _best(run), run.data
    z = _residual_scores(data, now, each=True)
    excess = (np.square(z).sum() - z.size) / np.sqrt(2.0 * z.size)
    r = len(now.head.D)
    most = min(most_columns(now.rows, r), data.limit)
    if excess < RESIDUAL or most <= len(now.J):
        return
    order = np.argsort(-np.abs(z).max(axis=1), kind="stable")
    others = order[~np.isin(order, now.J)][: most - len(now.J)]
    C = np.sort(np.concatenate([now.J, others]))
    D = torch.zeros(r, len(C))
    D[:, np.searchsorted(C, now.J)] = now.head.D
    rows = data.rows(C)
    start = replace(now.head, D=D)
    head = soft_directions(rows, start, data.hidden, data.generator)
    if head.score <= now.head.score + 2 * LOSS:
        return
    kept = lightest(rows, head, 2 * LOSS)
    J = C[kept]
    light = replace(head, D=head.D[:, kept])
    rows = data.rows(J)
    with torch.no_grad():
        light = replace(light, score=score(rows, outputs(light, rows.X)))
    run.offer(Candidate(J, light, rows), 0.0)


def _set_free(run: _Run) -> None:
    """(6): every unit gets weights of its own on the kept columns."""
    now = _best(run)
    if len(now.J) > FREE or len(now.J) <= len(now.head.D):
        return
    A = now.head.A @ now.head.D
    head = replace(now.head, D=torch.eye(len(now.J)), A=A)
    run.offer(Candidate(now.J, train(now.rows, head, STEPS // 2, rate=0.005), now.rows), FREE_GAIN)


def _straighten(run: _Run) -> None:
    """(7).  The score may fall: the one before was of rows that choices were made on."""
    now, data = _best(run), run.data
    if data.task == "regression":
        head = line_or_network(now.rows, now.head, data.hidden, STEPS, data.generator)
        run.best = Candidate(now.J, head, now.rows)


def _best(run: _Run) -> Candidate:
    assert run.best is not None
    return run.best


def _trained(run: _Run, J: IntArray, D: torch.Tensor) -> Candidate:
    data = run.data
    rows = data.rows(J)
    head = initial_head(rows, D, data.hidden, data.generator)
    return Candidate(J, train(rows, head, STEPS), rows)


def _residual_scores(data: Data, now: Candidate, *, each: bool = False) -> FloatArray:
    """Scores of the residual on the columns not kept, largest [d] or for each label [d, c]."""
    labels = data.labels(residual_labels(now.head, now.rows)[: data.n_train])
    z = np.abs(data.ranked.products(labels))
    z[now.J] = 0.0
    return z if each else z.max(axis=1)


STEPS_OF_REFINEMENT: tuple[Callable[[_Run], bool], ...] = (_fewer_directions, _drop, _add)
