"""The group lasso path for sensed matrices: no lambda, beta, rank or stopping rule to choose.

base = mean ||(1/n) sum_i g_i A_i||_op over draws g ~ N(0, I)         noise per unit of sigma
tau = .8 lambda_max(A* y / n),  U = {}
while tau > 3e-3 of that:
beta = .4 tau / curvature,  lambda = 2 tau sqrt(beta)    zero columns stable iff N <= tau (1)
<= 8 times: add the eigenvectors of N above 1.05 tau; descend on L + lambda R_beta;      (2)
rotate to the eigenbasis; drop columns below .5 sqrt(beta)
P = columns above 2 sqrt(beta)                    greedy pruning                         (3)
if rank(P) is new: F = descend on L from P        fine-tuning                            (4)
certified when lambda_max(N_F) <= 1.15 of what noise alone leaves                      (5)
BIC = log(RSS / n) + log(n) dof / n
stop when certified, or BIC has risen for two ranks;  tau *= .6
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.solution import Progress, ProgressCallback, Solution, Status
from secateurs.sensing.factored import (
    Factors,
    Point,
    Sensed,
    checked,
    descend,
    rotated,
    squares,
)
from secateurs.sensing.operators.base import Array, SensingOperator, real_dtype
from secateurs.sensing.operators.spectrum import noise_norm

FIRST, RATIO, LAST = 0.8, 0.6, 3e-3  # tau over lambda_max(A* y / n): first, factor, last
BETA = 0.4  # beta over tau / curvature
GROW = 1.05  # (2): eigenvectors of N above this many tau
ROUNDS = 8
INNER, LOOSE = 0.1, 0.05  # relative accuracies of (2), and of (4) before a certificate is near
CERTIFIED = 1.15  # (5), in units of what noise alone leaves
DOUBT = 1.02  # certified, but above this another component is tried, and BIC decides
PLAUSIBLE = 1.3  # a smaller rank below this is chosen where BIC prefers it to the certified one
WEAK = 4.0  # components below this many noise norms must earn their place by BIC
SAME_NOISE = 1.5  # and the two estimate noise alike, within this: one of them only fits noise
LOOK, FINAL_STEPS = 20, 500  # descent steps on a rank that is only tried, on the last
HOPELESS = 1.5  # before fine-tuning: a rank above this is not worth it
LATE = 3  # ranks skipped so, the last of which are fine-tuned after all where no other is certified
BETTER = 0.9  # a rank met again at a loss this much lower than its fit sits in another basin
ZERO = 1e-4  # of lambda_max(A* y / n): N below it is zero, when there is no noise


@dataclass(frozen=True)
class _Fit:
    """A fine-tuned rank."""

    point: Point
    sigma: float
    lambda_max: float
    ratio: float
    bic: float

    @property
    def rank(self) -> int:
        return len(self.point.U)


def group_lasso_path(
    operator: SensingOperator,
    y: ArrayLike,
    *,
    signed: bool = False,
    criterion: str = "certificate",
    max_rank: int | None = None,
    tolerance: float = 1e-6,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Fit y_i = <A_i, sum_k s_k u_k u_k^H> with as few components as the data ask for.

    Parameters
    ----------
    operator : SensingOperator
        n measurements of d x d matrices.  With an intercept or a linear part, or measurements by
        x x^T, wrap it first (`operators.projected`).
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    signed : bool
        Allow components of both signs; without, M is positive semidefinite.
    criterion : {"certificate", "bic"}
        "certificate": the smallest rank found after which nothing above the noise is left;
        "bic": the smallest BIC of the ranks met, going on until it has risen twice.
    max_rank : int, optional
        By default the largest rank with half as many degrees of freedom as measurements:
        beyond it two matrices of that rank can agree on all of them.
    tolerance : float
        Of the returned fit: the squared distance to its optimum is about tolerance^2 times the
        loss.  Without noise it goes on to rounding.
    random_state : int
        Of the draws behind `base`.
    progress : callable, optional
        Called with a `Progress` after every tau: stage, stages at most, loss and rank.

    Returns
    -------
    Solution of Factors
        Components [r, d], strongest first and orthogonal, and their signs.  Status: "exact"
        (residual at rounding), "converged" (certified; for "bic": BIC has risen twice),
        "stalled" (neither: the smallest BIC met), "budget" (neither, and the rank is `max_rank`)
        or "interrupted" (the best so far).
        History, an entry a tau: tau, rank (after pruning), n_columns (before), loss, bic and
        ratio (nan where the rank was not new), calls.
        Measured: certified, sigma, lambda_max (of N at the fit), ratio, threshold, noise_norm
        (base), noise_floor (base sigma), base, curvature, tau, beta, strength (lambda), bic, dof,
        forward and adjoint passes, calls (half of both: a loss and its gradient each).

    Raises
    ------
    ValueError
        On shapes, sizes or values that cannot be fitted; the message says what to do.

    Notes
    -----
    O(passes over the data): about 40 to 100 calls on random measurements.  Memory O(d r) for the
    factors and 12 L-BFGS pairs, O(n), and d x d where the operator forms it.
    (5) compares with base rms(residual) sqrt(1 - r / d), the norm that N has when the residual
    is noise: fitting takes the tangent space from it.  A certificate says that no zero column
    would grow at that level; it is no proof that the rank is the true one.
    Source: Rajaraman, Devvrit, Mokhtari & Ramchandran, "Greedy Pruning with Group Lasso Provably
    Generalizes for Matrix Sensing" (2023); (1), (2) and (5) derived.
    """
    values = checked(operator, y)
    _check(criterion, max_rank, tolerance)
    path = _Path(operator, values, signed, criterion == "bic", max_rank, tolerance, random_state)
    try:
        path.start()
        for stage in path.stages():
            if progress is not None:
                progress(Progress(*stage))
    except KeyboardInterrupt:
        path.status = "interrupted"
    return path.solution()


@dataclass
class _Path:
    """Where the path is."""

    operator: SensingOperator
    y: Array
    signed: bool
    by_bic: bool
    max_rank: int | None
    tolerance: float
    seed: int
    status: Status = "stalled"
    fits: list[_Fit] = field(default_factory=list)
    skipped: list[Point] = field(default_factory=list)
    chosen: _Fit | None = None
    history: dict[str, list[float]] = field(
        default_factory=lambda: {
            name: [] for name in ("tau", "rank", "n_columns", "loss", "bic", "ratio", "calls")
        }
    )
    base: float = math.nan
    curvature: float = math.nan
    tau: float = math.nan
    top: float = math.nan

    def __post_init__(self) -> None:
        n, d = self.operator.shape
        self.sensed = Sensed(self.operator, self.operator.project(self.y))
        self.point = Point.empty(self.sensed)
        power = float(self.sensed.y @ self.sensed.y) / n
        self.floor = (16 * float(np.finfo(real_dtype(self.operator.dtype)).eps)) ** 2 * power
        free = n - self.operator.n_nuisance
        ranks = [k for k in range(1, d + 1) if 2 * self._dof(k) <= free]
        most = ranks[-1] if ranks else 0
        self.most = most if self.max_rank is None else min(most, self.max_rank)
        self.wide = d

    def start(self) -> None:
        """The noise norm and the first tau; stop there if there is only noise."""
        n, d = self.operator.shape
        if self.point.loss <= 0:
            self.status = "exact"
            return
        self.base, passes = noise_norm(self.operator, self.seed)
        self.sensed.adjoint += passes
        self.curvature = n * self.base**2 / (2 * d)  # exact for Gaussian measurements
        values, _ = self.point.eigenpairs(both_ends=self.signed)
        self.top = float(abs(values[0]))
        if (values[0] <= 0 and not self.signed) or self.top == 0:
            self.chosen, self.status = self._judged(self.point), "converged"
            return
        self.fits.append(self._judged(self.point))
        self._accepted(self.fits[0])

    def stages(self) -> Iterator[tuple[int, int, float, int]]:
        """Lower tau until a rank is accepted; yields (stage, stages, loss, rank)."""
        if self.status != "stalled":
            return
        n_stages = math.ceil(math.log(LAST / FIRST) / math.log(RATIO))
        for stage in range(n_stages):
            self.tau = FIRST * self.top * RATIO**stage
            beta = BETA * self.tau / self.curvature
            self._grow(beta)
            pruned = self._part(self.point, squares(self.point.U) > 4 * beta)  # (3)
            fit = None
            if self._new(pruned):
                fit = self._tuned(pruned)
                self.fits.append(fit)
            self._record(len(pruned.U), fit)
            yield stage + 1, n_stages, self.point.loss, len(pruned.U)
            if fit is not None and self._accepted(fit):
                return
        met = [f.rank for f in self.fits]
        for pruned in self.skipped[-LATE:]:
            if len(pruned.U) and len(pruned.U) not in met:
                self.fits.append(self._tuned(pruned))
        best = min(self.fits, key=lambda f: f.bic)
        self._choose(best)
        if self.status != "exact":
            self.status = "budget" if best.rank >= self.most else "stalled"

    def _new(self, pruned: Point) -> bool:
        """Whether a rank was not met, or only in a worse basin than this."""
        met = [f.point.loss for f in self.fits if f.rank == len(pruned.U)]
        if len(pruned.U) > self.most or (met and pruned.loss >= BETTER * min(met)):
            return False
        if self.by_bic or self._unexplained() <= HOPELESS:
            return True
        self.skipped = [p for p in self.skipped if len(p.U) != len(pruned.U)] + [pruned]
        return False

    def _unexplained(self) -> float:
        """The ratio of (5) off the columns, before fine-tuning; 0 when N is not at hand."""
        N, U = self.point.N, self.point.U
        if N is None:
            return 0.0
        Q = np.linalg.qr(U.T)[0]
        off = N - Q @ (Q.conj().T @ N)
        off -= (off @ Q) @ Q.conj().T
        values = np.linalg.eigvalsh(off)
        most = max(values[-1], -values[0]) if self.signed else values[-1]
        return float(most) / (self.base * math.sqrt(self.point.loss))

    def _grow(self, beta: float) -> None:
        """(2): an approximate second-order stationary point of L + lambda R_beta."""
        for _ in range(ROUNDS):
            values, vectors = self.point.eigenpairs(both_ends=self.signed)
            size = np.abs(values) if self.signed else values
            new = np.flatnonzero(size > GROW * self.tau)[: self.wide - len(self.point.U)]
            if not len(new) and len(self.history["tau"]) and self._settled(beta):
                return
            if len(new):
                V = vectors[new] * np.sqrt((size[new] - self.tau) / self.curvature)[:, None]
                self.point = self._appended(self.point, V, np.sign(values[new]))
            if not len(self.point.U):
                return
            self.point = rotated(
                descend(
                    self.point,
                    strength=2 * self.tau * math.sqrt(beta),
                    beta=beta,
                    curvature=self.curvature,
                    tolerance=INNER,
                    floor=self.floor,
                )
            )
            self._at = beta
            live = squares(self.point.U) > beta / 4
            if not live.all():
                self.point = self._part(self.point, live)

    _at: float = math.nan

    def _settled(self, beta: float) -> bool:
        """Whether the descent at this beta has been made."""
        return self._at == beta

    def _appended(self, point: Point, V: Array, signs: Array) -> Point:
        """New columns, at the scale that fits the residual best; one pass."""
        y = self.sensed.factors(V, signs)
        scale = max(float(point.residual @ y) / float(y @ y), 1e-3)
        return Point(
            self.sensed,
            np.vstack([point.U, V * math.sqrt(scale)]),
            np.concatenate([point.signs, signs]),
            point.residual - scale * y,
        )

    def _part(self, point: Point, kept: Array) -> Point:
        if kept.all():
            return point
        return Point.at(self.sensed, point.U[kept], point.signs[kept])

    def _dof(self, rank: int) -> int:
        """Degrees of freedom of rank components."""
        d = self.operator.shape[1]
        if self.operator.dtype.kind == "c":
            return 2 * rank * d - rank * rank
        return rank * d - rank * (rank - 1) // 2

    def _judged(self, point: Point) -> _Fit:
        """Sigma, lambda_max(N) against noise (5), and BIC at a point."""
        n, d = self.operator.shape
        dof = self._dof(len(point.U))
        free = max(n - self.operator.n_nuisance, 1)
        loss = max(point.loss, self.floor)
        sigma = math.sqrt(loss * n / max(free - dof, 1))
        values, _ = point.eigenpairs(both_ends=self.signed)
        most = max(float(abs(values[0]) if self.signed else values[0]), 0.0)
        left = self.base * math.sqrt(loss * n / free * max(1 - len(point.U) / d, 1 / d))
        ratio = most / left if most > ZERO * self.top * CERTIFIED else 0.0
        bic = math.log(loss) + math.log(n) * dof / n
        return _Fit(point, sigma, most, ratio, bic)

    def _tuned(self, point: Point, n_steps: int = 200, tolerance: float = LOOSE) -> _Fit:
        """(4), to a tolerance."""
        return self._judged(
            descend(
                point,
                curvature=self.curvature,
                n_steps=n_steps,
                tolerance=tolerance,
                floor=self.floor,
            )
        )

    def _accepted(self, fit: _Fit) -> bool:
        """Whether the path stops here."""
        if not self.by_bic and fit.ratio <= CERTIFIED:
            if fit.ratio > DOUBT and self._one_more(fit).bic < fit.bic:
                return False
            alike = [f for f in self.fits if f.sigma <= SAME_NOISE * fit.sigma or f is fit]
            near = [f for f in alike if f.ratio <= PLAUSIBLE]
            self._choose(self._fewest(min(near, key=lambda f: f.bic)))
            return True
        last = self.fits[-3:]
        rising = len(last) == 3 and last[2].bic > last[1].bic > last[0].bic
        # while the noise estimate still falls, components are being found
        if rising and (self.by_bic or last[0].sigma <= SAME_NOISE * last[2].sigma):
            self._choose(min(self.fits, key=lambda f: f.bic))
            return True
        return False

    def _choose(self, fit: _Fit) -> None:
        """Fine-tune to the end, and stop."""
        self.chosen = fit
        self.chosen = self._tuned(fit.point, FINAL_STEPS, self.tolerance)
        certified = self.by_bic or self.chosen.ratio <= CERTIFIED
        self.status = "converged" if certified else "stalled"
        if self.chosen.point.loss <= self.floor:
            self.status = "exact"

    def _one_more(self, fit: _Fit) -> _Fit:
        """The fit with the next eigenvector of N, after a few steps."""
        if fit.rank >= self.most:
            return fit
        values, vectors = fit.point.eigenpairs(both_ends=self.signed)
        V = vectors[:1] * math.sqrt(abs(values[0]) / self.curvature)
        return self._tuned(self._appended(fit.point, V, np.sign(values[:1])), LOOK)

    def _fewest(self, fit: _Fit) -> _Fit:
        """The fit without components at the level of the noise that BIC does not want."""
        while fit.rank > 1:
            point = rotated(fit.point)
            if squares(point.U)[-1] > WEAK * self.base * fit.sigma + ZERO * self.top:
                break
            less = self._tuned(Point.at(self.sensed, point.U[:-1], point.signs[:-1]))
            if less.ratio > PLAUSIBLE or less.bic >= fit.bic:
                break
            fit = less
        return fit

    def _record(self, rank: int, fit: _Fit | None) -> None:
        values = {
            "tau": self.tau,
            "rank": rank,
            "n_columns": len(self.point.U),
            "loss": self.point.loss if fit is None else fit.point.loss,
            "bic": math.nan if fit is None else fit.bic,
            "ratio": math.nan if fit is None else fit.ratio,
            "calls": self.sensed.calls,
        }
        for name, value in values.items():
            self.history[name].append(float(value))

    def solution(self) -> Solution[Factors]:
        """The chosen fit, or the smallest BIC so far."""
        fit = self.chosen
        if fit is None and self.fits:
            fit = min(self.fits, key=lambda f: f.bic)
        point = rotated(self.point if fit is None else fit.point)
        beta = BETA * self.tau / self.curvature
        measured: dict[str, Any] = {
            "certified": fit is not None and fit.ratio <= CERTIFIED,
            "sigma": math.nan if fit is None else fit.sigma,
            "lambda_max": math.nan if fit is None else fit.lambda_max,
            "ratio": math.nan if fit is None else fit.ratio,
            "threshold": CERTIFIED,
            "noise_norm": self.base,
            "noise_floor": math.nan if fit is None else self.base * fit.sigma,
            "curvature": self.curvature,
            "tau": self.tau,
            "beta": beta,
            "strength": 2 * self.tau * math.sqrt(beta) if beta > 0 else math.nan,
            "bic": math.nan if fit is None else fit.bic,
            "loss": point.loss,
            "dof": self._dof(len(point.U)),
            "forward": self.sensed.forward,
            "adjoint": self.sensed.adjoint,
            "calls": self.sensed.calls,
        }
        return Solution(Factors(point.U, point.signs), self.status, self.history, measured)


def _check(criterion: str, max_rank: int | None, tolerance: float) -> None:
    if criterion not in ("certificate", "bic"):
        raise ValueError(f"got criterion={criterion!r}; expected 'certificate' or 'bic'")
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"got max_rank={max_rank!r}; expected an integer >= 1, or None")
    if not 0 < tolerance < 1:
        raise ValueError(f"got tolerance={tolerance!r}; expected between 0 and 1")
