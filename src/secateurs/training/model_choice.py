"""Choose between a constant, a line and networks, by cross-validation on the training rows.

    cut the training rows into three parts, copies of a row together
    choose the penalty of the line, on five parts
    for each candidate and each part: fit on the others, predict the part        (1)
    the best network, unless the line is within a standard error of it           (2)
    the constant, where the line is no better                                    (3)

The rows that certify are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.solution import History, Solution, Status
from secateurs.sparse.network import SparseNetwork
from secateurs.training.choice import (
    Candidate,
    Choice,
    Model,
    Train,
    is_ahead,
    row_losses,
    score_of,
)
from secateurs.training.comparison_parts import comparison_units, cut
from secateurs.training.defaults import SMALL_TABLE, auto_noise, auto_weight_decay
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.initial import random_support
from secateurs.training.line import constant, fit_line, n_places, start_from_line
from secateurs.training.moments import scaled_inputs
from secateurs.training.staged_progress import Stages
from secateurs.training.training_data import TrainingData

FloatArray = NDArray[np.float64]

PARTS = 3
LINE_PARTS = 5  # for the penalty of the line
ONE_PART = 300_000  # with more rows x columns x outputs, one part is predicted, unless it is close
EXACT = 3_000_000  # with more, the line is trained like a network
SEEN = 4000  # rows on which the training losses of large tables are compared
SHORT = 2  # networks are compared after half of the steps
LINE_SHORT = 6  # and a line that is trained like a network gets a sixth of them
PENALTIES = (1e-6, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
FEW_PENALTIES = (0.1, 1.0, 10.0, 100.0)
COLUMNS = 500  # with more, the line has too many weights for an exact solution
NETWORKS = (
    Candidate(0.4),
    Candidate(0.1),
    Candidate(0.1, from_line=True),
    Candidate(0.0, from_line=True),
)


class Comparison:
    """The training rows of a fit, on which candidates are compared.

    Parameters
    ----------
    task : FitTask
    rows : TrainingData
        Its scaling is used.
    hidden : tuple of int
        Widths of the networks.
    n_nonzero, overshoot : int, float
        No candidate holds more than ``overshoot * n_nonzero`` weights at any time.
    seed : int
    train : callable
        ``train(rows, candidate, initial, n_nonzero, shorten)`` trains a network.
    stages : Stages
        Told of every run of training.
    """

    def __init__(
        self,
        task: FitTask,
        rows: TrainingData,
        hidden: tuple[int, ...],
        n_nonzero: int,
        overshoot: float,
        seed: int,
        train: Train,
        stages: Stages,
    ) -> None:
        self.task, self.rows, self.hidden, self.seed = task, rows, hidden, seed
        self.n_nonzero, self.train = n_nonzero, train
        self.largest = max(n_nonzero, int(overshoot * n_nonzero))
        self.y = task.targets[task.train]
        self._counts = None if task.weights is None else task.weights[task.train]
        places = n_places(rows.d, rows.n_outputs, classifies=rows.is_classification)
        self.work = len(task.train) * places
        self.is_exact = self.work <= EXACT and places <= self.largest and rows.d <= COLUMNS
        self.places = places
        self._Z = scaled_inputs(task.inputs, rows.scaling, task.train) if self.is_exact else None
        self._units = comparison_units(task) if len(task.train) <= SMALL_TABLE else task.train
        self._stages = stages
        self._fitted_networks: dict[tuple[Candidate, bytes], SparseNetwork] = {}

    # -- candidates ----------------------------------------------------------------------------

    def networks(self, noise: float | None, decay: float | None) -> list[Candidate]:
        """Return the networks to compare; a noise or a decay that is given is not varied."""
        can_start = self.is_exact and len(self.hidden) == 1
        can_start &= self.hidden[0] > self.rows.n_outputs + 1
        can_start &= self.n_nonzero >= 4 * self.rows.n_outputs + 4
        found = []
        for candidate in NETWORKS:
            noise_of = candidate.noise if noise is None else noise
            decay_of = candidate.decay if decay is None else decay
            start = candidate.from_line and can_start
            found.append(Candidate(noise_of, decay_of, start, self.hidden))
        return list(dict.fromkeys(found))

    def line(self, at: NDArray[np.int64] | None, penalty: float | None, n_nonzero: int) -> Any:
        """Fit a line to the training rows with these positions; return its network."""
        if penalty is None:
            rows = self._part(at, 0.0)
            short = LINE_SHORT
            tell = self._stages.run(SHORT / short) if self._stages.n_left else None
            return self.train(rows, Candidate(0.0), None, n_nonzero, short, tell).value
        assert self._Z is not None
        Z, y = (self._Z, self.y) if at is None else (self._Z[at], self.y[at])
        counts = self._counts_of(at)
        return fit_line(Z, y, self.rows.n_outputs, n_nonzero, penalty, counts).network()

    def constant(self, at: NDArray[np.int64] | None = None) -> SparseNetwork:
        """Return the network that answers the mean or the shares of the classes."""
        y = self.y if at is None else self.y[at]
        return constant(y, self.rows.n_outputs, self.rows.d, self._counts_of(at)).network()

    def _counts_of(self, at: NDArray[Any] | None) -> FloatArray | None:
        """Return what these training rows count for; None where all count the same."""
        return self._counts if self._counts is None or at is None else self._counts[at]

    def start(
        self,
        candidate: Candidate,
        penalty: float | None,
        at: NDArray[np.int64] | None,
        rows: TrainingData,
    ) -> SparseNetwork | None:
        """Return the network from which a candidate starts; None for a random one."""
        if not candidate.from_line:
            return None
        k = self.rows.n_outputs
        line = self.line(at, penalty, max(1, (self.n_nonzero - 4 * k) // 2))
        where = self.task.train if at is None else self.task.train[at]
        outputs = self._fitted(line).outputs(self.task.inputs[where])
        biases = np.zeros(k)
        r, c = line.entries(0)
        biases[r[c == self.rows.d]] = line.values[0][c == self.rows.d]
        sizes = np.abs(outputs - biases).max(axis=0)
        generator = torch.Generator().manual_seed(self.seed)
        widths = (self.rows.d, *self.hidden, k)
        room = max(1, self.largest - line.n_nonzero - 3 * k)
        random = random_support(widths, room, rows.input_variance(), generator)
        return start_from_line(line, sizes, random)

    def solution(self, choice: Choice) -> Solution[SparseNetwork]:
        """Return the line or the constant that was chosen, as the solution of a solver."""
        network = choice.line if choice.model == "line" else self.constant()
        assert network is not None
        loss = float(self.losses(network, self.task.train).mean())
        history = History("step", "loss", "n_nonzero")
        history.record(step=0, loss=loss, n_nonzero=network.n_nonzero)
        status: Status = "interrupted" if choice.interrupted else "converged"
        peak = self.places if self.is_exact else self.largest
        measured = {"n_steps": 0, "peak_support": peak, "peak_bytes": 8 * (peak + self.rows.d**2)}
        return Solution(network, status, history, measured)

    def solve(
        self,
        noise: float | None,
        decay: float | None,
        *,
        only_line: bool = False,
    ) -> tuple[Solution[SparseNetwork], Choice]:
        """Choose a model and fit it to all training rows.

        A noise or a decay that is given is not varied.  Beyond `SMALL_TABLE` rows the network and
        a line, which is trained like a network, are compared by their training losses: there the
        two differ little from the losses on new rows.
        """
        if len(self.y) > SMALL_TABLE:
            return self._solve_large(noise, decay)
        choice = self.choose(noise, decay, only_line=only_line)
        choice.line = self.line(None, choice.penalty, self.n_nonzero)
        if choice.model != "network":
            return self.solution(choice), choice
        rows = self._part(None, choice.candidate.noise)
        initial = self.start(choice.candidate, choice.penalty, None, rows)
        tell = self._stages.run(SHORT, last=True)
        found = self.train(rows, choice.candidate, initial, self.n_nonzero, 1, tell)
        if self.is_exact:
            found.measured["peak_support"] = max(found.measured["peak_support"], self.places)
        return found, choice

    def _solve_large(
        self, noise: float | None, decay: float | None
    ) -> tuple[Solution[SparseNetwork], Choice]:
        n = len(self.y)
        candidate = Candidate(
            auto_noise(n) if noise is None else noise,
            auto_weight_decay(n) if decay is None else decay,
            hidden=self.hidden,
        )
        self._stages.n_left = 1 + 1 / LINE_SHORT
        found = self.train(self.rows, candidate, None, self.n_nonzero, 1, self._stages.run())
        choice = Choice("network", candidate)
        if found.status == "interrupted":
            return found, choice
        where = np.sort(
            np.random.default_rng(self.seed).choice(self.task.train, SEEN, replace=False)
        )
        choice.line = self.line(None, None, self.n_nonzero)
        models: dict[Model, SparseNetwork] = {
            "constant": self.constant(),
            "line": choice.line,
            "network": found.value,
        }
        y = self.task.targets[where]
        outputs = {
            name: self._fitted(net).outputs(self.task.inputs[where]) for name, net in models.items()
        }
        choice.scores = {name: score_of(values, y) for name, values in outputs.items()}
        counts = None if self.task.weights is None else self.task.weights[where]
        losses = {
            name: float(np.average(row_losses(values, y), weights=counts))
            for name, values in outputs.items()
        }
        if losses["line"] <= losses["network"]:
            choice.model = "line"
            return replace(found, value=models["line"]), choice
        return found, choice

    # -- losses --------------------------------------------------------------------------------

    def losses(self, network: SparseNetwork, where: NDArray[np.int64]) -> FloatArray:
        """Return the loss of each row: squared error, or the Brier score of the classes."""
        return row_losses(
            self._fitted(network).outputs(self.task.inputs[where]), self.task.targets[where]
        )

    def _fitted(self, network: SparseNetwork) -> FittedNetwork:
        k = self.rows.n_outputs
        return FittedNetwork.build(network, self.rows.scaling, np.zeros(k), np.ones(k))

    def _part(self, at: NDArray[np.int64] | None, noise: float) -> TrainingData:
        train = self.task.train if at is None else self.task.train[at]
        return TrainingData(
            self.task.inputs,
            self.task.targets,
            self.rows.scaling,
            self.rows.n_outputs,
            rows=train,
            weights=self.task.weights,
            noise=noise,
            device=self.rows.device,
        )

    # -- the comparison ------------------------------------------------------------------------

    def parts(self, count: int | None = None) -> list[NDArray[np.bool_]]:
        """Return for each part the training rows that it predicts; copies are together."""
        if count is None:
            count = 1 if self.work > ONE_PART else PARTS
        return cut(self._units, PARTS, self.seed)[:count]

    def choose(
        self, noise: float | None, decay: float | None, *, only_line: bool = False
    ) -> Choice:
        """Compare all candidates; see the text of this module."""
        networks = self.networks(noise, decay)
        choice = Choice("network", networks[0])
        parts = self.parts()
        if min(int(part.sum()) for part in parts) < 2 or len(self.y) < 2 * PARTS:
            return self._without_comparison(choice)
        line, right = self._best_line(parts, choice)
        level, level_right = self._predicted(parts, self.constant)
        choice.scores = {"constant": level_right, "line": right}
        choice.n_rows = len(line)
        if only_line:
            choice.model = "line"
            return choice
        n_leaders = (len(networks) + 1) // 2
        self._stages.n_left = len(networks) + n_leaders * (len(parts) - 1) + SHORT
        networks = self._leaders(networks, parts[0], choice)  # they go on to the other parts
        measured = []
        for candidate in networks:
            measured.append(self._predicted(parts, self._network_fit(candidate, choice)))
            if choice.interrupted:
                choice.model = "line"
                return choice
        first = int(np.argmin([losses.mean() for losses, _ in measured]))
        losses, score = measured[first]
        choice.candidate, choice.scores["network"] = networks[first], score
        if self._ahead(losses, line, parts):
            return choice
        if len(parts) < PARTS and self.is_exact and not self._ahead(line, losses, parts):
            parts = self.parts(PARTS)
            losses, choice.scores["network"] = self._predicted(
                parts, self._network_fit(choice.candidate, choice)
            )
            line, choice.scores["line"] = self._line_losses(parts, choice.penalty)
            level, choice.scores["constant"] = self._predicted(parts, self.constant)
            choice.n_rows = len(line)
            if not choice.interrupted and self._ahead(losses, line, parts):
                return choice
        choice.model = "line" if line.mean() < level.mean() else "constant"
        return choice

    def _best_line(
        self, parts: list[NDArray[np.bool_]], choice: Choice
    ) -> tuple[FloatArray, float]:
        """Choose the penalty of the line; return its losses on these parts, and its score."""
        if self.is_exact:
            few = self.rows.is_classification or self.places > self.n_nonzero
            penalties = FEW_PENALTIES if few else PENALTIES
            more = cut(self._units, LINE_PARTS, self.seed) if len(parts) == PARTS else parts
            losses = [self._line_losses(more, p)[0].mean() for p in penalties]
            choice.penalty = penalties[int(np.argmin(losses))]
        return self._line_losses(parts, choice.penalty)

    def _line_losses(
        self, parts: list[NDArray[np.bool_]], penalty: float | None
    ) -> tuple[FloatArray, float]:
        return self._predicted(parts, lambda at: self.line(at, penalty, self.n_nonzero))

    def _ahead(self, network: FloatArray, line: FloatArray, parts: list[NDArray[np.bool_]]) -> bool:
        return is_ahead(network, line, np.concatenate([self._units[part] for part in parts]))

    def predicted_by_best(self, *, line: bool) -> tuple[FloatArray, NDArray[Any]]:
        """Return the outputs of the better of line and network on one part, and its targets."""
        part = self.parts()[0]
        at, where = np.flatnonzero(~part), self.task.train[part]
        penalty = 1.0 if self.is_exact else None
        candidate = self.networks(None, 0.0)[-2]
        rows = self._part(at, candidate.noise)
        initial = self.start(candidate, penalty, at, rows)
        tell = self._stages.run()
        networks = [self.train(rows, candidate, initial, self.n_nonzero, SHORT, tell).value]
        if line:
            networks.append(self.line(at, penalty, self.n_nonzero))
        y = self.y[part]
        found = [self._fitted(network).outputs(self.task.inputs[where]) for network in networks]
        return min(found, key=lambda outputs: float(row_losses(outputs, y).mean())), y

    def _leaders(
        self, networks: list[Candidate], part: NDArray[np.bool_], choice: Choice
    ) -> list[Candidate]:
        """Return the half of the candidates that predict one part best."""
        found = [self._predicted([part], self._network_fit(c, choice))[0].mean() for c in networks]
        order = np.argsort(found, kind="stable")[: max(1, (len(networks) + 1) // 2)]
        return [networks[i] for i in sorted(order)]

    def _without_comparison(self, choice: Choice) -> Choice:
        """With very few rows, take a line with a large penalty."""
        if self.is_exact:
            choice.model, choice.penalty = "line", 1.0
        return choice

    def _network_fit(self, candidate: Candidate, choice: Choice) -> Callable[..., SparseNetwork]:
        def fit(at: NDArray[np.int64]) -> SparseNetwork:
            key = candidate, at.tobytes()
            if key not in self._fitted_networks and not choice.interrupted:
                rows = self._part(at, candidate.noise)
                initial = self.start(candidate, choice.penalty, at, rows)
                tell = self._stages.run()
                found = self.train(rows, candidate, initial, self.n_nonzero, SHORT, tell)
                choice.interrupted = found.status == "interrupted"
                self._fitted_networks[key] = found.value
            return self._fitted_networks.get(key, self.constant())

        return fit

    def _predicted(
        self, parts: list[NDArray[np.bool_]], fit: Callable[..., SparseNetwork]
    ) -> tuple[FloatArray, float]:
        """Return the losses of all predicted rows, and the accuracy or R² on them."""
        outputs = []
        for part in parts:
            network = fit(np.flatnonzero(~part))
            outputs.append(self._fitted(network).outputs(self.task.inputs[self.task.train[part]]))
        targets = np.concatenate([self.y[part] for part in parts])
        together = np.concatenate(outputs)
        losses = row_losses(together, targets)
        if self._counts is not None:
            losses = losses * np.concatenate([self._counts[part] for part in parts])
        return losses, score_of(together, targets)
