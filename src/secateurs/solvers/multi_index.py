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
from scipy import sparse

from secateurs.problems.columns import Columns, columns_of
from secateurs.solvers.index_directions import level, ranked_columns
from secateurs.solvers.index_network import (
    Head,
    IndexNetwork,
    finished,
    gradients,
    initial_head,
    outputs,
    responses,
    score,
    train,
)
from secateurs.solvers.index_refine import conditional_scores, residual_labels
from secateurs.solvers.index_search import STEPS, Candidate, Data, first_network, supports
from secateurs.solvers.index_soft import lightest, most_columns, soft_directions
from secateurs.solvers.interactions import (
    Interactions,
    pair_cost,
    pair_screen,
    ranked_matrix,
    triple_cost,
    triple_screen,
)
from secateurs.solvers.screening import Screen, label_transforms, screen, standardised
from secateurs.solvers.solution import Progress, ProgressCallback, Solution

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REFINEMENTS = 4
LOSS = 0.005  # of validation R^2 that a simpler network may cost
GAIN = 0.002  # of validation R^2 that a larger one must bring
FREE_GAIN = 0.01  # the same for a first layer that is no longer of rank r
MOST = 128  # columns kept, and at most an eighth of the rows
PRODUCTS = 1e11  # multiply-adds that pairs, or triples, may take
RESIDUAL = 6.0  # standard deviations of sum z^2 that tell of many small coordinates
SMALL_RANK = 0.02  # share of the gradient's energy below which a direction is dropped
FREE = 256  # columns up to which the first layer is set free
CERTAIN = 0.01  # chance of a false alarm of the screen, for `signal_detected`
N_STAGES = 4


@dataclass(frozen=True, eq=False)
class MultiIndexFit:
    """What was found.

    Attributes
    ----------
    support : int array [s]
        Kept columns, ascending.
    directions : CSR array [r, d]
        Unit rows, in units of standardised columns.
    network : IndexNetwork
        On raw kept columns: ``network.predict(X[:, support])``.
    channel : (str, int)
        Label transform and degree that the screen found most in.  The degree is the
        information exponent of the transformed labels, not of y.
    scores : float array [d]
        max |z| of the screen.
    threshold : float
        Of `scores`.
    val_r2 : float
        On validation rows, that the training did not see but the choices did.  For classes
        1 - log-loss over that of the class shares.
    signal_detected : bool
        False: what was found is no better than what noise gives; do not trust the model.
    """

    support: IntArray
    directions: sparse.csr_array[np.float64]
    network: IndexNetwork
    channel: tuple[str, int]
    scores: FloatArray
    threshold: float
    val_r2: float
    signal_detected: bool

    def predict(self, X: Any) -> FloatArray:
        """Values, or class probabilities, for rows of all d columns."""
        return self.network.predict(columns_of(X).take(self.support))


@dataclass
class _Run:
    """Best candidate so far; a step that is interrupted leaves it whole."""

    data: Data
    progress: ProgressCallback | None
    best: Candidate | None = None
    status: str = "converged"
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
        Called after each of the 4 stages (search, refinement, small coordinates, free layer)
        with 1 - validation R^2 and the number of columns; during the screen it is not.

    Returns
    -------
    Solution of MultiIndexFit
        Status "converged" or "interrupted" (the best network so far).  Measured: seconds are
        not; "alpha", "n", "n_train", "hits" (columns the screen found), "products" (columns of
        pairs and triples found), "noise_floor" (1 / sqrt n, in units of a correlation),
        "conditional_scores" (|t| of every kept column given the others), "dropped_score" (the
        largest screen score among columns not kept), "kept_score" (the median among kept
        ones), "predicted_n" (rows at which the median kept column passes the screen by itself:
        n ((threshold + 1.3) / kept score)^2; measured to fall short by up to 2).

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
    data, T_names = _data(source, y, task, max_features, alpha, hidden, validation, random_state)
    found = screen(source, labels=(data.T, T_names), degrees=degrees, alpha=alpha)
    run = _Run(data, progress)
    products = np.empty(0, dtype=np.int64)
    try:
        products = _products(data, found) if interactions else products
        _search(run, found, products)
        base = run.best
        for stage, step in enumerate((_refine, _soften, _set_free), start=2):
            step(run)
            base = run.best if stage == 2 else base
            run.record(stage)
    except KeyboardInterrupt:
        if run.best is None:
            raise
        run.status, base = "interrupted", run.best
    assert run.best is not None
    assert base is not None
    detected = _detected(data, found, products, base)
    value = _fit(data, found, run.best, y, detected)
    return Solution(value, run.status, run.history, _measured(data, found, products, run.best))


def _search(run: _Run, found: Screen, products: IntArray) -> None:
    """(2) and (3)."""
    for J in supports(run.data, found, products):
        run.offer(first_network(run.data, found, J, axes=len(products) > 0), 0.0)
    run.record(1)


def _refine(run: _Run) -> None:
    """(4): every accepted step may cost LOSS against the best score there was."""
    for _ in range(REFINEMENTS):
        steps: tuple[Callable[[_Run], bool], ...] = (_fewer_directions, _drop, _add)
        if not any([step(run) for step in steps]):
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
    wide = Candidate(J, Head(D, *now.head.parameters()[1:], now.head.score), data.rows(J))
    _, stepped = conditional_scores(wide.head, wide.rows)
    return run.offer(_trained(run, J, torch.from_numpy(stepped).float()), GAIN)


def _soften(run: _Run) -> None:
    """(5), when what is left of y tells of many columns at once."""
    now, data = _best(run), run.data
    z = _residual_scores(data, now, each=True)
    excess = (np.square(z).sum() - z.size) / np.sqrt(2.0 * z.size)
    r = len(now.head.D)
    most = min(most_columns(now.rows, r), data.source.d)
    most = min(most, data.cap) if data.cap < _largest_support(data.source.n) else most
    if excess < RESIDUAL or most <= len(now.J):
        return
    order = np.argsort(-np.abs(z).max(axis=1), kind="stable")
    others = order[~np.isin(order, now.J)][: most - len(now.J)]
    C = np.sort(np.concatenate([now.J, others]))
    D = torch.zeros(r, len(C))
    D[:, np.searchsorted(C, now.J)] = now.head.D
    rows = data.rows(C)
    start = Head(D, *now.head.parameters()[1:], now.head.score)
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
    labels = data.labels(residual_labels(now.head, now.rows))
    z = np.abs(data.ranked.products(labels))
    z[now.J] = 0.0
    return z if each else z.max(axis=1)


def _products(data: Data, found: Screen) -> IntArray:
    """Columns in pairs; in triples when neither columns nor pairs are found (1)."""
    n, d = data.source.n, data.source.d
    C = data.T.shape[1]
    x = data.ranked.kept
    if d < 2 or pair_cost(n, d, C) > PRODUCTS:
        return np.empty(0, dtype=np.int64)
    x = ranked_matrix(data.source) if x is None else x
    hits = [pair_screen(x, data.T, data.alpha)]
    if not len(found.selected) and d > 2 and triple_cost(n, d) <= PRODUCTS:
        hits.append(triple_screen(x, data.T[:, 0], data.alpha))
    strongest_first = [h.columns.ravel()[: data.cap] for h in sorted(hits, key=_strength)]
    flat = np.concatenate(strongest_first)
    return np.asarray(list(dict.fromkeys(flat.tolist())), dtype=np.int64)[: data.cap]


def _strength(hits: Interactions) -> float:
    """Sorts the screen whose best product stands out most first."""
    return hits.threshold - float(np.abs(hits.z).max(initial=0.0))


def _detected(data: Data, found: Screen, products: IntArray, base: Candidate) -> bool:
    """Evidence that noise does not give: a sure hit that predicts, or far too large an R^2.

    Columns were chosen with the validation rows among the others, so on noise s columns of
    score z give a validation R^2 of about s z^2 / n: twice that must be exceeded.
    """
    n, value = data.source.n, base.head.score
    n_val = n - data.n_train
    if not value > 2.0 / n_val:
        return False
    with torch.no_grad():
        fitted = responses(base.head, base.rows)[data.n_train :].numpy().ravel()
    Y = base.rows.Y[data.n_train :].numpy().ravel()
    together = float(np.corrcoef(fitted, Y)[0, 1]) if fitted.std() > 0 else 0.0
    sure = bool(found.p_values.min() * data.source.d < CERTAIN)
    if (sure or len(products) > 0) and together * np.sqrt(n_val) > 3.0:
        return True
    by_chance = len(base.J) * level(data.alpha, data.source.d) ** 2 / n
    return value > 2.0 * by_chance + 3.0 / np.sqrt(n_val)


def _fit(
    data: Data, found: Screen, best: Candidate, y: NDArray[Any], detected: bool
) -> MultiIndexFit:
    raw = data.source.take(best.J)
    scale = raw.std(axis=0)
    values = np.asarray(y, dtype=np.float64)
    network = finished(
        best.head,
        raw.mean(axis=0),
        np.where(scale > 0, scale, 1.0),
        float(values.mean()),
        float(values.std()),
        data.task,
    )
    c, k = found.channel
    return MultiIndexFit(
        best.J,
        _sparse_directions(best, data.source.d),
        network,
        (found.transforms[c], k + 1),
        found.scores,
        found.threshold,
        best.head.score,
        detected,
    )


def _sparse_directions(best: Candidate, d: int) -> sparse.csr_array[np.float64]:
    """Orthonormal directions of the fitted function, the one it moves along most first."""
    with torch.no_grad():
        G = gradients(best.head, best.rows)
    moves = torch.einsum("knr,rs->kns", G, best.head.D).reshape(-1, len(best.J)).double()
    values, vectors = torch.linalg.eigh(moves.t() @ moves)
    values, vectors = values.flip(0), vectors.flip(1)
    r = max(1, int((values > SMALL_RANK * values.sum()).sum()))
    V = vectors[:, : min(r, len(best.head.D))].t().numpy()
    largest = np.argmax(np.abs(V), axis=1)
    V = V * np.sign(V[np.arange(len(V)), largest])[:, None]
    rows = np.repeat(np.arange(len(V)), V.shape[1])
    return sparse.csr_array((V.ravel(), (rows, np.tile(best.J, len(V)))), shape=(len(V), d))


def _measured(data: Data, found: Screen, products: IntArray, best: Candidate) -> dict[str, Any]:
    n, scores = data.source.n, found.scores
    c, k = found.channel
    kept = float(np.median(np.abs(found.z[best.J, c, k])))
    dropped = np.delete(scores, best.J)
    return {
        "alpha": data.alpha,
        "n": n,
        "n_train": data.n_train,
        "hits": found.selected,
        "products": np.sort(products),
        "noise_floor": 1.0 / np.sqrt(n),
        "conditional_scores": conditional_scores(best.head, best.rows)[0],
        "dropped_score": float(dropped.max()) if len(dropped) else 0.0,
        "kept_score": kept,
        "predicted_n": n * ((found.threshold + 1.3) / max(kept, 1e-12)) ** 2,
    }


def _largest_support(n: int) -> int:
    return max(8, min(n // 8, MOST))


def _data(
    source: Columns,
    y: NDArray[Any],
    task: str,
    max_features: int | None,
    alpha: float,
    hidden: int,
    validation: float,
    random_state: int | None,
) -> tuple[Data, tuple[str, ...]]:
    """Rows split, labels transformed, columns ranked; or why that cannot be."""
    if task not in ("regression", "classification"):
        raise ValueError(f'got task {task!r}; expected "regression" or "classification"')
    if hidden < 1 or int(hidden) != hidden:
        raise ValueError(f"got hidden = {hidden}; expected an integer >= 1")
    if not 0.0 < validation < 1.0:
        raise ValueError(f"got validation = {validation}; expected a share between 0 and 1")
    if max_features is not None and (max_features < 1 or int(max_features) != max_features):
        raise ValueError(f"got max_features = {max_features}; expected an integer >= 1, or None")
    values = np.asarray(y)
    T, names = label_transforms(values)
    if len(values) != source.n:
        raise ValueError(f"got X with {source.n} rows and y with {len(values)}; expected as many")
    if task == "classification":
        classes = values.astype(np.int64)
        if (
            (classes != values).any()
            or classes.min() < 0
            or len(np.unique(classes)) != classes.max() + 1
        ):
            raise ValueError("got classes that are not 0, 1, .., K - 1; encode the labels")
        Y = np.eye(int(classes.max()) + 1)[classes]
        T = standardised(Y[:, 1:] if Y.shape[1] == 2 else Y)
        names = tuple(f"class {c}" for c in range(Y.shape[1] - T.shape[1], Y.shape[1]))
    else:
        Y = standardised(values.astype(np.float64))[:, None]
    n_val = max(2, round(validation * source.n))
    if source.n - n_val < 8:
        raise ValueError(
            f"got {source.n} rows; expected at least 10, with validation = {validation}"
        )
    seed = np.random.SeedSequence(random_state)
    order = np.random.default_rng(seed).permutation(source.n)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    cap = min(_largest_support(source.n), max_features or source.d, source.d)
    ranked = ranked_columns(source)
    data = Data(
        source, ranked, T, Y, order, source.n - n_val, task, int(hidden), alpha, cap, generator
    )
    return data, names
