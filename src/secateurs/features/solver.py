"""Find the few inputs and directions that matter, and fit a small network on them.

    of rows that are copies of each other, keep one                 copies.py
    screen columns, pairs, triples; J <- hits           screening.py, interactions.py    (1)
    repeat 3: D <- directions of J;  J <- columns with large scores along D
                                                        search.py                        (2)
    from J of 4 sizes: train f(D x_J) on raw columns; keep the best on the validation rows
                                                        search.py                        (3)
    repeat: fewer directions, drop columns that are not needed given the others, add missing
            ones, train again; accept a change unless validation R^2 falls by .005
                                                        refine.py                        (4)
    if many small coordinates are left: shrunk directions over more columns, if validation R^2
            gains                                       shrunk_directions.py             (5)
    give every unit its own weights on the kept columns, if validation R^2 gains         (6)
    regression: a line on the kept columns, unless the network is better by a standard error on
            five folds                                  line_or_network.py               (7)

Source: (1) is the pruning of Vural & Erdogdu (COLT 2024) as derived here, on ranks; the other steps
are additions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.driver import Iterations
from secateurs.core.parameters import bad_value, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.data.columns import columns_of
from secateurs.features.copies import distinct_rows, on_rows
from secateurs.features.discovery import Discoveries, discover
from secateurs.features.line_or_network import line_or_network
from secateurs.features.network import train
from secateurs.features.ranks import IntArray
from secateurs.features.refine import accepted, refined
from secateurs.features.result import MultiIndexFit, fit_of, measured, signal_detected
from secateurs.features.screening import FEWEST_ROWS, Screen, check_target, screen
from secateurs.features.search import (
    NO_COLUMNS,
    TRAINING_STEPS,
    Candidate,
    first_network,
    product_columns,
    supports,
)
from secateurs.features.search_data import SearchData, prepared
from secateurs.features.shrunk_directions import with_small_coordinates

MOST_FREE = 256  # columns up to which (6) is tried
FREE_RATE = 0.005  # learning rate of (6)
FREE_GAIN = 0.01  # R^2 on the validation rows that (6) must gain
SEARCH, REFINEMENT, SMALL_COORDINATES, FREE_LAYER, LINE = range(1, 6)  # the stages
CHANGE_COLUMNS = (SEARCH, REFINEMENT, SMALL_COORDINATES)


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
    fdr: float | None = None,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[MultiIndexFit]:
    """Find the columns and directions that y depends on, and fit a small ReLU network on them.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Numeric columns without missing values.
    y : array [n]
        Numbers; for classes the labels 0, 1, ..., K - 1.
    task : {"regression", "classification"}
        What `y` holds: numbers or classes.
    max_features : int, optional
        Most columns kept, as in `SparseMultiIndexRegressor`.
    alpha : float
        Under pure noise, the probability that any column passes the screen.
    degrees : int
        Largest Hermite degree of the scores, from 1 to 3.
    hidden : int
        Hidden units of the network.
    validation : float
        Share of the rows that are held out to make choices.
    interactions : bool
        Also score pairs of columns, and triples if no single column is found.
    fdr : float, optional
        Keep the columns that `discover` finds at this rate, and change them no more: the first
        column only where it finds none.  Products of columns are not screened.
    random_state : int or None
        Random seed of the split of the rows and of the network; None draws another at each call.
    progress : callable, optional
        Called after each of the 5 stages (search, refinement, small coordinates, free layer, line
        or network) with 1 - validation R^2 and the number of columns; it is not called during the
        screen.

    Returns
    -------
    Solution of MultiIndexFit
        Status "converged" or "interrupted" (the best network so far).  Measured: "alpha", "n_rows",
        "n" (rows that were used: of rows that are copies of each other, one), "n_train", "hits"
        (columns that the screen found), "products" (columns of the pairs and triples found),
        "noise_floor" (1 / sqrt n, in units of a correlation), "conditional_scores" (``|t|`` of
        every kept column given the others), "dropped_score" (the largest screen score of a column
        that was dropped), "kept_score" (the median of the kept columns in the channel),
        "predicted_n" (rows at which the median kept column passes the screen by itself,
        n ((threshold + 1.3) / kept_score)^2, measured to be too few by a factor of up to 2; None
        where that score is below 1, as it is for products).

    Raises
    ------
    ValueError
        Shapes do not match, values are missing, or a number is out of range.
    KeyboardInterrupt
        Ctrl-C was pressed before the first network was trained.

    Notes
    -----
    O(n d (log n + C K)) time for a pass over the columns, with 4 passes or a few more.  Memory of
    one block of columns and 12 numbers for each column, or of all columns in float32 where they
    take less than 256 MB.
    """
    source = columns_of(X)
    n_rows, y = source.n, check_target(y, source.n, FEWEST_ROWS)
    rows = distinct_rows(source, y)
    if rows is not None:
        source, y = on_rows(source, rows), y[rows]
    data = prepared(source, y, task, max_features, alpha, degrees, hidden, validation, random_state)
    found = screen(source, labels=(data.T, data.transforms), degrees=degrees, alpha=alpha)
    discovered = None if fdr is None else _discovered(data, found, fdr, max_features)
    products, p_products = NO_COLUMNS, 1.0
    best: Candidate | None = None
    base: Candidate | None = None  # the candidate that `signal_detected` judges
    with Iterations(LINE, progress) as run:
        if interactions and discovered is None:
            products, p_products = product_columns(data, found)
        for stage in run:
            for better in _candidates(stage, data, found, products, best, discovered):
                best = better
            assert best is not None
            base = best if stage <= REFINEMENT else base
            run.record(loss=1.0 - best.network.score, n_nonzero=len(best.J))
        run.end("converged")
    if best is None:
        raise KeyboardInterrupt
    if base is None or run.status == "interrupted":
        base = best
    detected = signal_detected(data, found, p_products, base)
    if discovered is not None:
        detected = detected and len(discovered.columns) > 0
    value = fit_of(data, found, best, y, detected=detected)
    return run.solution(
        value, n_rows=n_rows, **measured(data, found, products, best), discovered=discovered
    )


def _discovered(
    data: SearchData, found: Screen, fdr: float, max_features: int | None
) -> Discoveries:
    """Return the columns at a false discovery rate."""
    check_real("fdr", fdr, above=0, below=1, otherwise="None")
    if max_features is not None:
        raise bad_value("max_features", max_features, "None with fdr", "use only one of them")
    return discover(data.source, rate=fdr, labels=(data.T, data.transforms), found=found)


def _candidates(
    stage: int,
    data: SearchData,
    found: Screen,
    products: IntArray,
    best: Candidate | None,
    discovered: Discoveries | None,
) -> Iterator[Candidate]:
    """Yield each candidate of a stage that replaces the best so far, as soon as it is known."""
    if discovered is not None and (best is None or stage in CHANGE_COLUMNS):
        if best is None:
            J = discovered.columns
            J = J if len(J) else np.array([int(np.argmax(found.scores))])
            yield first_network(data, found, J, axes=False)
    elif stage == SEARCH or best is None:  # (2), (3)
        for J in supports(data, found, products):
            candidate = first_network(data, found, J, axes=len(products) > 0)
            if best is None or accepted(candidate, best, 0.0):
                best = candidate
                yield best
    elif stage == REFINEMENT:
        yield from refined(data, best)
    else:
        steps = {
            SMALL_COORDINATES: with_small_coordinates,
            FREE_LAYER: _with_free_layer,
            LINE: _with_line,
        }
        better = steps[stage](data, best)
        if better is not None:
            yield better


def _with_free_layer(data: SearchData, now: Candidate) -> Candidate | None:  # noqa: ARG001
    """Apply (6)."""
    if len(now.J) > MOST_FREE or len(now.J) <= len(now.network.D):
        return None
    start = replace(now.network, D=torch.eye(len(now.J)), A=now.network.A @ now.network.D)
    free = train(now.rows, start, TRAINING_STEPS // 2, rate=FREE_RATE)
    return accepted(Candidate(now.J, free, now.rows), now, FREE_GAIN)


def _with_line(data: SearchData, now: Candidate) -> Candidate | None:
    """Apply (7); the score may fall, because the earlier one is from rows used for choices."""
    if data.task != "regression":
        return None
    chosen = line_or_network(now.rows, now.network, data.hidden, TRAINING_STEPS, data.generator)
    return Candidate(now.J, chosen, now.rows)
