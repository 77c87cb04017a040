"""The best network that fits into so many bytes of flash and RAM.

    rows that certify are set aside: no choice sees them                            (1)
    first stage and width are compared with 4 bits, on validation rows              (2)
    then the bits, and on small tables fewer weights                                (3)
    the best is fitted on all rows but those of (1), with as many weights as fit    (4)

Flash grows with the number of weights, so (4) changes their number until the network fits and no
more than a few bytes are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import clone, is_classifier

from secateurs.core.parameters import Shown, bad_value, check_integer
from secateurs.core.solution import ProgressCallback
from secateurs.core.splits import HeldOutRows
from secateurs.data.table_estimator import certifying_split
from secateurs.tiny.bit_stream import stream_bits
from secateurs.tiny.candidates import LEAST_WEIGHTS, Candidate, FirstStage, Room
from secateurs.tiny.distortion import distortable
from secateurs.tiny.filters import Filters
from secateurs.tiny.fine_tune import LEAST_STEPS
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.learned_filters import learn_filters
from secateurs.tiny.pixels import are_pixels
from secateurs.tiny.pooling import pooling_for
from secateurs.tiny.quantization import quantize
from secateurs.tiny.reading import as_rows, take

CERTIFYING, VALIDATING = 0.1, 0.2  # shares of the rows
SEARCHED_ROWS = 10_000  # most rows that the comparison fits on
SMALL = 3000  # rows up to which fewer weights and a line are tried too, on two splits
WIDTHS = (1.2, 2.2)  # hidden units, in square roots of the number of weights
TRIES, FULL = 4, 0.97  # fits of the last step, and the share of the flash that is enough
SEARCH_STEPS, SEARCH_TUNING = 800, 300  # steps of a fit and of a fine-tuning in the comparison

Label = Callable[[str], ProgressCallback | None]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a fit, and how they are read."""

    X: Any
    y: NDArray[Any]
    image_shape: tuple[int, ...] | None
    groups: NDArray[Any] | None
    samples: HeldOutRows | None = None  # of rows that certify

    def taken(self, rows: NDArray[np.int64]) -> _Rows:
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, X=take(self.X, rows), y=self.y[rows], groups=groups)

    def parts(self, fraction: float, seed: int) -> tuple[_Rows, _Rows]:
        """Split as a certificate needs it."""
        numbers = self.y
        if numbers.dtype.kind not in "biuf":
            numbers = np.unique(numbers, return_inverse=True)[1]
        split = certifying_split(self.X, numbers, self.groups, fraction, seed)
        unseen = replace(self.taken(split.held_out), samples=split.held_out_rows())
        return self.taken(split.train), unseen


def fit_bytes(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    flash: int = 1024,
    ram: int = 512,
    bits: Sequence[int] = (3, 4, 5),
    image_shape: tuple[int, ...] | None = None,
    groups: Any = None,
    epochs: int = 12,
    distort: float | str = 0.0,
    random_state: int = 0,
    progress: Label | None = None,
) -> IntegerNetwork:
    """Search first stage, width, bits and number of weights for the best network that fits.

    Parameters
    ----------
    estimator : SparseMLPClassifier or SparseMLPRegressor
        Not fitted; it is copied, and `n_nonzero`, `hidden_layer_sizes`, `random_state` and
        `validation_fraction` are set.
    X : array [n, d], scipy sparse or DataFrame
        Rows to fit, to compare and to certify on.
    y : array [n] or [n, k]
        Classes, or one or several numbers for each row.
    flash : int
        Bytes of flash with all code, on a Cortex-M0 at -Os.
    ram : int
        Bytes of stack with the inputs of the network.
    bits : sequence of int
        Bits of a weight to compare.
    image_shape : tuple of int, optional
        (height, width) of the images in the rows of `X`; pooling and learned filters are then
        compared too.
    groups : array [n], optional
        Rows of one group stay together in every split.
    epochs : int
        Passes of the last fine-tuning over the rows.
    distort : float or "auto"
        Distort images in the last fine-tuning, as in `quantize`.
    random_state : int
        Seed of the splits, the fits and the fine-tuning.
    progress : callable, optional
        Gets the name of a part of the work and returns a callback for its progress.

    Returns
    -------
    IntegerNetwork
        Its certificate is from a tenth of the rows, which chose and trained nothing.  The
        comparison is in ``report_["candidates"]``.

    Raises
    ------
    ValueError
        No network fits; the message says how many bytes the smallest needs.

    Notes
    -----
    Cost: about 8 short fits on at most 10,000 rows (24 on tables of up to 3000), and up to 4 fits
    on all rows.  Source: derived.
    """
    check_integer("flash", flash)
    check_integer("ram", ram)
    for b in bits:
        check_integer("bits", b, 2, 8)
    check_integer("epochs", epochs, 0)
    rows = _Rows(as_rows(X), np.asarray(y), image_shape,
                 None if groups is None else np.asarray(groups))  # fmt: skip
    distortable(rows.X, image_shape, distort, np.asarray)  # refuses here what has no pixels
    work, unseen = rows.parts(CERTIFYING, random_state)
    search = _Search(estimator, work, flash, ram, random_state, progress)
    best = search.compare(sorted(set(bits)))
    network = search.fitted(best, unseen, epochs, distort)
    report = {**(network.report_ or {}), "candidates": search.tried}
    return replace(network, report_=report)


class _Search:
    """Fits candidates and remembers their scores."""

    def __init__(
        self,
        estimator: Any,
        rows: _Rows,
        flash: int,
        ram: int,
        seed: int,
        progress: Label | None,
    ) -> None:
        self.estimator, self.rows, self.flash, self.ram = estimator, rows, flash, ram
        self.seed, self.progress = seed, progress
        self.tried: list[dict[str, Any]] = []
        n = rows.X.shape[0]
        self.small = n <= SMALL
        some = rows
        if n > SEARCHED_ROWS / (1 - VALIDATING):
            chosen = np.random.default_rng(seed).permutation(n)
            some = rows.taken(np.sort(chosen[: int(SEARCHED_ROWS / (1 - VALIDATING))]))
        self.splits = [some.parts(VALIDATING, seed + i) for i in range(2 if self.small else 1)]
        n_outputs = 1 if rows.y.ndim == 1 else rows.y.shape[1]
        if is_classifier(estimator):
            n_outputs = len(np.unique(rows.y))
        self.room = Room(
            rows.X.shape[1], rows.image_shape, are_pixels(rows.X), n_outputs,
            is_classifier(estimator), flash, ram,
        )  # fmt: skip
        self.filters: dict[tuple[FirstStage, int], Filters] = {}

    def compare(self, bits: Sequence[int]) -> Candidate:
        """Return the candidate with the best score on the validation rows: (2) and (3)."""
        room, middle = self.room, bits[len(bits) // 2]
        room.check_flash()
        stages = room.first_stages()
        best = self._best([room.candidate(s, middle, r) for s in stages for r in WIDTHS])
        others = [room.candidate(best.stage, b, best.width) for b in bits if b != middle]
        best = self._best([best, *others])
        if not self.small:
            return best
        fewer = [replace(best, n_nonzero=max(LEAST_WEIGHTS, best.n_nonzero // p)) for p in (2, 5)]
        return self._best([best, *fewer, replace(best, model="line")])

    def _best(self, candidates: Sequence[Candidate]) -> Candidate:
        self.room.check_ram(candidates)
        scores = {c: self._score(c) for c in dict.fromkeys(candidates) if c.width >= 1}
        return max(scores, key=scores.__getitem__)

    def _score(self, candidate: Candidate) -> float:
        """Return the mean score on the validation rows, fitting each candidate once."""
        for one in self.tried:
            if one["candidate"] == candidate.to_dict():
                return float(one["quality"])
        qualities, scores, flash = [], [], 0
        for i, (train, valid) in enumerate(self.splits):
            name = f"{candidate.stage}, {candidate.width} units, {candidate.bits} bits"
            network = self._network(candidate, train, None, 1, f"{name} ({i + 1})")
            qualities.append(_quality(network, valid))
            scores.append(network.score(valid.X, valid.y))
            flash = max(flash, network.flash_bytes_)
        found = {"quality": float(np.mean(qualities)), "score": float(np.mean(scores))}
        self.tried.append({"candidate": candidate.to_dict(), **found, "flash": flash})
        return found["quality"]

    def fitted(
        self, candidate: Candidate, unseen: _Rows, epochs: int, distort: float | str
    ) -> IntegerNetwork:
        """Fit on all rows with as many weights as fit: (4)."""
        most = candidate.n_nonzero if self.small else math.inf
        fits: IntegerNetwork | None = None
        low, high, s = 0, math.inf, candidate.n_nonzero
        for attempt in range(TRIES):
            sized = replace(candidate, n_nonzero=s)
            name = f"last fit ({attempt + 1})"
            network = self._network(sized, self.rows, unseen, epochs, name, distort)
            distort = (network.report_ or {})["distort"]  # chosen once
            used = network.flash_bytes_
            if used <= self.flash and network.ram_bytes_ <= self.ram:
                low, fits = s, network
                if used >= FULL * self.flash or s >= most or network.n_nonzero_ < 0.9 * s:
                    break
            else:
                high = s
            if network.ram_bytes_ > self.ram and used <= self.flash:
                candidate = replace(candidate, width=max(1, int(0.8 * candidate.width)))
            each = stream_bits(network.layers) / max(1, network.n_nonzero_)
            step = 8 * (0.99 * self.flash - used) / each
            s = int(min(max(s + step, low + 1), high - 1, most))
            if s < LEAST_WEIGHTS or s in (low, high):
                break
        if fits is None:
            got = Shown(f"{self.flash} bytes of flash and {self.ram} of RAM")
            needs = f"at least about {network.flash_bytes_} and {network.ram_bytes_}"
            raise bad_value("flash, ram", got, needs)
        return fits

    def _network(
        self,
        candidate: Candidate,
        rows: _Rows,
        unseen: _Rows | None,
        epochs: int,
        name: str,
        distort: float | str = 0.0,
    ) -> IntegerNetwork:
        report = None if self.progress is None else self.progress(name)
        searching = unseen is None
        pool, filters = candidate.stage.pool, None
        if candidate.stage.filters:
            filters = self._filters(candidate.stage, rows, 1 if searching else epochs, distort)
        stage = pooling_for(rows.image_shape, pool) if filters is None else filters
        X = rows.X if stage is None else stage(rows.X)
        model = clone(self.estimator).set_params(
            n_nonzero=candidate.n_nonzero,
            hidden_layer_sizes=(candidate.width,),
            validation_fraction=0.0,
            random_state=self.seed,
            model=candidate.model,
        )
        if searching:
            batch = min(500, max(32, len(rows.y) // 6))
            model.set_params(
                batch_size=batch, max_epochs=max(1, SEARCH_STEPS * batch // len(rows.y))
            )
        model.fit(X, rows.y, groups=rows.groups, progress=report)
        certify = None if unseen is None else (unseen.X, unseen.y, unseen.samples)
        return quantize(
            model, rows.X, rows.y, candidate.bits, epochs,
            image_shape=rows.image_shape, pool=pool, filters=filters, certify=certify,
            least_steps=SEARCH_TUNING if searching else LEAST_STEPS,
            groups=rows.groups, distort=distort, random_state=self.seed, progress=report,
        )  # fmt: skip

    def _filters(
        self, stage: FirstStage, rows: _Rows, epochs: int, distort: float | str
    ) -> Filters:
        """Learn filters on these rows, once."""
        key = stage, id(rows)  # the rows live as long as the search
        if key not in self.filters:
            assert rows.image_shape is not None
            height, width = rows.image_shape
            name = f"learning {stage.filters} filters"
            self.filters[key] = learn_filters(
                rows.X,
                rows.y if self.room.is_classifier else rows.y.astype(np.float64),
                (height, width),
                stage.filters,
                window=stage.window,
                epochs=max(1, epochs),
                least_steps=SEARCH_STEPS if epochs == 1 else LEAST_STEPS,
                distort=0.0 if isinstance(distort, str) else distort,
                random_state=self.seed,
                progress=None if self.progress is None else self.progress(name),
            )
        return self.filters[key]


def _quality(network: IntegerNetwork, rows: _Rows) -> float:
    """Mean log-probability of the classes, or R² of the numbers, on validation rows."""
    labels = getattr(network.outputs, "labels", None)
    if labels is None:
        y = rows.y.reshape(len(rows.y), -1).astype(np.float64)
        error = np.square(network.predict(rows.X).reshape(y.shape) - y).sum()
        return float(1 - error / max(np.square(y - y.mean(axis=0)).sum(), 1e-300))
    chance = log_softmax(network.scores(rows.X) * network.score_unit_, axis=1)
    number = {label: i for i, label in enumerate(labels.tolist())}
    known = np.array([number.get(label, -1) for label in rows.y.tolist()])
    found = np.where(known >= 0, chance[np.arange(len(known)), known], -10.0)
    return float(np.maximum(found, -10.0).mean())
