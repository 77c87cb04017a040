"""The group lasso path for sensed matrices: no lambda, beta, rank or stopping rule to choose.

if M has one component, is measured by x x^T, and there is no noise: it is retrieved        (0)
tau = .8 lambda_max(A* y / n),  U = {}
while tau > 3e-3 of that:
    beta = .4 tau / curvature,  lambda = 2 tau sqrt(beta)    zero columns stable iff N <= tau   (1)
    at most 8 times: add the eigenvectors of N above 1.05 tau; descend on L + lambda R_beta;    (2)
                     rotate to the eigenbasis; drop columns below .5 sqrt(beta)
    P = columns above 2 sqrt(beta)                    greedy pruning                            (3)
    if rank(P) is new: F = descend on L from P        fine-tuning                               (4)
    stop if lambda_max(N_F) <= 1.15 of the noise (5), or if BIC (6) has risen for two ranks
    tau *= .6

(0) is in `message_passing`, (5) and (6) are in `fine_tuning`.  A rank with more than half as many
degrees of freedom as measurements fits noise so well that (5) and (6) say little.  It is chosen if
its residual is zero, or if no smaller rank is certified and it leaves far less noise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_choice, check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution, Status
from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Factors, Point, Sensed, rotated, squares
from secateurs.sensing.fine_tuning import CERTIFIED, PLAUSIBLE, FineTuning, Fit
from secateurs.sensing.identification import Identification, identify
from secateurs.sensing.message_passing import retrieve
from secateurs.sensing.operators.base import Array, SensingOperator

CRITERIA = ("certificate", "bic")
COLUMNS = ("tau", "rank", "n_columns", "loss", "bic", "ratio", "calls")
FIRST, RATIO, LAST = 0.8, 0.6, 3e-3  # tau over lambda_max(A* y / n): first, factor, last
N_STAGES = math.ceil(math.log(LAST / FIRST) / math.log(RATIO))
BETA = 0.4  # beta over tau / curvature
GROW = 1.05  # (2): eigenvectors of N above this many tau are added
ROUNDS = 8  # of (2), at most
ROUND_ACCURACY = 0.1  # relative accuracy of the descent in (2)
DOUBT = 1.02  # above this ratio, one more component is tried and BIC decides
SAME_NOISE = 1.5  # noise estimates within this factor agree; otherwise one fit explains only noise
LESS_NOISE = 3.0  # by how much a rank too large for BIC must lower the noise estimate
FINAL_STEPS = 500  # descent steps for the chosen rank
HOPELESS = 1.5  # ratio before fine-tuning above which a rank is skipped
LATE = 3  # the last skipped ranks are fine-tuned if no rank was accepted
BETTER = 0.9  # a known rank is tuned again if its loss before tuning is below this share


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
    """Fit y_i = <A_i, sum_k s_k u_k u_k^H> with as few components as the data need.

    Parameters
    ----------
    operator : SensingOperator
        The n measurements of d x d matrices.  Wrap it first (`operators.projected`) for an
        intercept, a linear part, or measurements by x x^T.
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    signed : bool
        Allow components of both signs.  If False, M is positive semidefinite.
    criterion : {"certificate", "bic"}
        "certificate": the smallest rank after which nothing above the noise is left;
        "bic": the smallest BIC of the ranks so far, once it has risen twice.
    max_rank : int, optional
        The largest rank that is tried.  By default the largest with fewer degrees of freedom than
        measurements.  A larger one that is given is tried too; two matrices of that rank can
        agree on all measurements, so the status is then never "exact".
    tolerance : float
        Accuracy of the returned fit: the squared distance to its optimum is about tolerance^2
        times the loss.  Without noise the fit continues to rounding.
    random_state : int
        Random seed of the draws for the noise norm.
    progress : callable, optional
        Called with a `Progress` after every tau: stage, number of stages, loss and rank.

    Returns
    -------
    Solution of Factors
        Components [r, d], strongest first and orthogonal, and their signs.  Status: "exact"
        (the residual is zero to rounding, and no other matrix of this rank was found that has the
        same measurements), "converged" (certified; for "bic": BIC has risen twice; or the
        residual is zero but the matrix is not identified), "stalled" (neither; the smallest BIC
        so far), "budget" (neither, and the rank is `max_rank`) or "interrupted" (the best so far).
        History, one entry for each tau: tau, rank (after pruning), n_columns (before), loss, bic
        and ratio (nan where the rank was not new), calls.
        Measured: certified, sigma, lambda_max (of N at the fit), ratio, threshold, noise_norm
        (base), noise_floor (base sigma), curvature, tau, beta, strength (lambda), bic, loss, dof,
        forward and adjoint passes, calls (half of both: a loss and its gradient each), scale.
        Where the largest ``|y|`` is not between 1e-70 and 1e70, history and measured are those of
        y / scale, with a power of four; otherwise scale is 1.

    Raises
    ------
    ValueError
        Shapes, sizes or values cannot be fitted; the message says what to do.

    Notes
    -----
    The cost is that of the passes over the data: about 40 to 100 calls on random measurements.
    Memory is O(d r) for the factors and 12 L-BFGS pairs, O(n), and d x d if the operator forms it.
    "certified" means that no zero column would grow at the level of the noise; it does not prove
    that the rank is the true one.
    Source: Rajaraman, Devvrit, Mokhtari & Ramchandran, "Greedy Pruning with Group Lasso Provably
    Generalizes for Matrix Sensing" (2023); (1), (2) and (5) derived.
    """
    by_bic = check_choice("criterion", criterion, CRITERIA) == "bic"
    if max_rank is not None:
        check_integer("max_rank", max_rank, otherwise="None")
    check_real("tolerance", tolerance, above=0, below=1)
    sensed = Sensed.of(operator, y)
    tuning = FineTuning(sensed, max_rank, signed=signed)
    fits: list[Fit] = []
    skipped: dict[int, Point] = {}
    beyond: dict[int, Fit] = {}
    chosen: Fit | None = None
    identification: Identification | None = None
    point, tau = Point.empty(sensed), math.nan
    with Iterations(N_STAGES, progress, COLUMNS) as run:
        if point.loss <= 0:
            identification = identify(sensed, point.factors(), random_state=random_state)
            run.end(identification.status)
        elif (retrieved := _retrieved(tuning, y, random_state)) is not None:
            chosen = retrieved
        elif tuning.measure_noise(point, random_state):
            fits.append(tuning.judge(point))
            chosen = _accepted(tuning, fits, by_bic=by_bic)
        else:
            chosen = tuning.judge(point)
            run.end("converged")
        for stage in run:
            if chosen is not None:
                break
            tau = FIRST * tuning.top * RATIO ** (stage - 1)
            point = _penalised(tuning, point, tau, least_rounds=ROUNDS if stage == 1 else 1)  # (2)
            pruned = point.only(squares(point.U) > 4 * _beta(tuning, tau))  # (3)
            fit = _candidate(tuning, fits, skipped, beyond, point, pruned, by_bic=by_bic)  # (4)
            judged = fit or Fit(point, *[math.nan] * 4)
            run.history.record(
                **{"tau": tau, "rank": len(pruned.U), "n_columns": len(point.U)},
                **{"loss": judged.point.loss, "bic": judged.bic, "ratio": judged.ratio},
                calls=sensed.calls,
            )
            run.report(point.loss, len(pruned.U))
            if fit is not None:
                chosen = _accepted(tuning, fits, by_bic=by_bic)
        if not run.ended:
            accepted = chosen is not None
            chosen = chosen or _last_resort(tuning, fits, skipped, beyond)
            if chosen.point.loss > tuning.floor:
                chosen = tuning.tune(chosen.point, FINAL_STEPS, tolerance)
            status = _status(tuning, chosen, accepted=accepted, by_bic=by_bic)
            if status == "exact":
                factors = rotated(chosen.point).factors()
                identification = identify(sensed, factors, random_state=random_state)
            run.end(status if identification is None else identification.status)
    fit = chosen or min(fits, key=_bic, default=Fit(point, *[math.nan] * 4))
    found = rotated(fit.point)
    measured = _measured(tuning, fit, found.loss, tau) | {"identification": identification}
    return run.solution(sensed.unscaled(found.factors()), **measured)


def _retrieved(tuning: FineTuning, y: ArrayLike, random_state: int) -> Fit | None:
    """Return the one component that explains measurements by x x^T exactly, if it is found (0)."""
    u = None if tuning.signed else retrieve(tuning.sensed, y, random_state)
    if u is None:
        return None
    fit = tuning.exact(u, np.ones(1))
    return fit if fit.point.loss <= tuning.floor else None


def _penalised(tuning: FineTuning, point: Point, tau: float, least_rounds: int) -> Point:
    """Approach a second-order stationary point of L + lambda R_beta (2)."""
    beta = _beta(tuning, tau)
    for done in range(ROUNDS):
        values, vectors = point.eigenpairs(both_ends=tuning.signed)
        size = np.abs(values) if tuning.signed else values
        room = point.U.shape[1] - len(point.U)
        new = np.flatnonzero(size > GROW * tau)[:room]
        if len(new):
            point = tuning.grow(point, vectors[new], size[new] - tau, np.sign(values[new]))
        elif done >= least_rounds or not len(point.U):
            break
        point = rotated(
            descend(
                point,
                strength=2 * tau * math.sqrt(beta),
                beta=beta,
                curvature=tuning.curvature,
                tolerance=ROUND_ACCURACY,
                floor=tuning.floor,
            )
        )
        point = point.only(squares(point.U) > beta / 4)
    return point


def _beta(tuning: FineTuning, tau: float) -> float:
    return BETA * tau / tuning.curvature


def _candidate(
    tuning: FineTuning,
    fits: list[Fit],
    skipped: dict[int, Point],
    beyond: dict[int, Fit],
    point: Point,
    pruned: Point,
    *,
    by_bic: bool,
) -> Fit | None:
    """Fine-tune a rank (4) that is new, or was met only at a much larger loss; else skip it.

    A rank that is too large for BIC is put aside, unless its residual is zero.
    """
    rank = len(pruned.U)
    met = [f.point.loss for f in (*fits, *beyond.values()) if f.rank == rank]
    if rank > tuning.most or (met and pruned.loss >= BETTER * min(met)):
        return None
    if rank > tuning.comparable:
        beyond[rank] = fit = tuning.tune(pruned)
        if fit.point.loss > tuning.floor:
            return None
        fits.append(fit)
        return fit
    if not by_bic and _unexplained(tuning, point) > HOPELESS:
        skipped.pop(rank, None)
        skipped[rank] = pruned
        return None
    fits.append(tuning.tune(pruned))
    return fits[-1]


def _unexplained(tuning: FineTuning, point: Point) -> float:
    """Compute the ratio (5) outside the columns, before fine-tuning; 0 if N was not formed."""
    N, U = point.N, point.U
    if N is None:
        return 0.0
    Q = np.linalg.qr(U.T)[0]
    off = N - Q @ (Q.conj().T @ N)
    off -= (off @ Q) @ Q.conj().T
    values: Array = np.linalg.eigvalsh(off)
    most = max(values[-1], -values[0]) if tuning.signed else values[-1]
    return float(most) / (tuning.base * math.sqrt(point.loss))


def _accepted(tuning: FineTuning, fits: list[Fit], *, by_bic: bool) -> Fit | None:
    """Return the fit at which the path stops, or None to go on."""
    fit = fits[-1]
    if not by_bic and fit.ratio <= CERTIFIED:
        more = fit.ratio > DOUBT and fit.rank < tuning.comparable
        if more and tuning.one_more(fit).bic < fit.bic:
            return None
        alike = [f for f in fits if f.sigma <= SAME_NOISE * fit.sigma or f is fit]
        return tuning.without_weak(min((f for f in alike if f.ratio <= PLAUSIBLE), key=_bic))
    last = fits[-3:]
    rising = len(last) == 3 and last[2].bic > last[1].bic > last[0].bic
    # while the noise estimate still falls, the path still finds components
    if rising and (by_bic or last[0].sigma <= SAME_NOISE * last[2].sigma):
        return min(fits, key=_bic)
    return None


def _last_resort(
    tuning: FineTuning, fits: list[Fit], skipped: dict[int, Point], beyond: dict[int, Fit]
) -> Fit:
    """Return the smallest BIC, or the smallest certified rank beyond it with far less noise."""
    best = _smallest_bic_of_all(tuning, fits, skipped)
    certified = (
        fit
        for fit in beyond.values()
        if fit.ratio <= CERTIFIED and LESS_NOISE * fit.sigma < best.sigma
    )
    return min(certified, key=lambda fit: fit.rank, default=best)


def _smallest_bic_of_all(tuning: FineTuning, fits: list[Fit], skipped: dict[int, Point]) -> Fit:
    """Fine-tune the last skipped ranks too, and return the fit of smallest BIC."""
    met = {f.rank for f in fits}
    for rank, pruned in list(skipped.items())[-LATE:]:
        if rank and rank not in met:
            fits.append(tuning.tune(pruned))
    return min(fits, key=_bic)


def _status(tuning: FineTuning, fit: Fit, *, accepted: bool, by_bic: bool) -> Status:
    if fit.point.loss <= tuning.floor:
        return "exact"
    if accepted:
        return "converged" if by_bic or fit.ratio <= CERTIFIED else "stalled"
    return "budget" if fit.rank >= tuning.most else "stalled"


def _bic(fit: Fit) -> float:
    return fit.bic


def _measured(tuning: FineTuning, fit: Fit, loss: float, tau: float) -> dict[str, float | bool]:
    beta = _beta(tuning, tau)
    return {
        "certified": fit.ratio <= CERTIFIED
        and (fit.rank <= tuning.comparable or fit.point.loss <= tuning.floor),
        "sigma": fit.sigma,
        "lambda_max": fit.lambda_max,
        "ratio": fit.ratio,
        "threshold": CERTIFIED,
        "noise_norm": tuning.base,
        "noise_floor": tuning.base * fit.sigma,
        "curvature": tuning.curvature,
        "tau": tau,
        "beta": beta,
        "strength": 2 * tau * math.sqrt(beta) if beta > 0 else math.nan,
        "bic": fit.bic,
        "loss": loss,
        "dof": tuning.degrees_of_freedom(fit.rank),
        "forward": tuning.sensed.forward,
        "adjoint": tuning.sensed.adjoint,
        "calls": tuning.sensed.calls,
        "scale": tuning.sensed.scale,
    }
