"""Prune the weights of random ReLU neurons until what is left is a given linear map (form B).

relu(sum_i alpha_i relu(<w_i, x>)) ~ relu(<w*, x>),   x in the unit ball

neuron i serves coordinate j = i mod d: its other weights are masked                    (1)
for every coordinate, two subset sums over the neurons that serve it:
w_ij > 0 answers to x_j > 0:    sum alpha_i |w_ij|  ~   w*_j,  residual d+_j          (2)
w_ij < 0 answers to x_j < 0:    sum alpha_i |w_ij|  ~  -w*_j,  residual d-_j
inner error  sum_j d+_j relu(x_j) + d-_j relu(-x_j); its exact supremum:
max(||max(d+, d-, 0)||_2, ||max(-d+, -d-, 0)||_2)                                     (3)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateurs.core.solution import ProgressCallback, Status
from secateurs.tickets.subset_sums import subset_sum, unpack_masks


@dataclass(frozen=True)
class PrunedWeights:
    """Masks of a two-layer random network, and how near it comes to the target.

    Attributes
    ----------
    hidden_mask : array of bool, shape [N, d]
        Weights of W that stay: at most one a neuron, none where no output uses the neuron.
    output_mask : array of bool, shape of alpha
        Output weights that stay.
    error : float, or array of float64, shape [k]
        Exact supremum of the inner error over the unit l2 ball (over its nonnegative part
        with ``nonnegative_inputs``), by (3); the outer relu can only shrink it.
    residual_plus, residual_minus : arrays of float64, shape of the target
        d+ and d-; the latter 0 with ``nonnegative_inputs``.
    n_used : array of int64, shape of the target
        Candidates looked at for each coordinate, both signs together.
    status : str
        "converged" (error <= eps for every output), "budget" or "interrupted".
    """

    hidden_mask: NDArray[np.bool_]
    output_mask: NDArray[np.bool_]
    error: float | NDArray[np.float64]
    residual_plus: NDArray[np.float64]
    residual_minus: NDArray[np.float64]
    n_used: NDArray[np.int64]
    status: Status


def prune_weights(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    eps: float,
    form: str = "B",
    nonnegative_inputs: bool = False,
    *,
    max_terms: int = 40,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> PrunedWeights:
    """Approximate a neuron, or a layer of them, by masking weights of a random network.

    Parameters
    ----------
    W : array, shape [N, d]
        Weights of the random hidden neurons.
    alpha : array, shape [N] or [k, N]
        Output weights of one neuron, or of a layer of k on the same hidden neurons.
    target : array, shape [d] or [k, d]
    eps : float
        Error asked for; each coordinate gets eps / sqrt(d).
    form : {"B"}
        "B": the target and the network end with a relu.  "A" (without it) is refused.
    nonnegative_inputs : bool
        The inputs are >= 0: the sums for relu(-x) are dropped, and w_ij < 0 with them.
    max_terms : int
        Neurons used at most for each coordinate and sign.
    n_threads : int, optional
        Those of torch by default.
    progress : callable, optional
        As in `subset_sum`.

    Returns
    -------
    PrunedWeights
        Also when eps is not reached: then more neurons are needed, about
        ``2 to 2.4 d log2(1 / eps) + 10 to 14 d`` for standard normal W and alpha, d = 2 to 16
        (benchmarks/tickets/subset_sums.py).

    Raises
    ------
    ValueError
        On form "A", and on shapes or values that cannot be used.

    Notes
    -----
    2 k d subset sums of about log2(sqrt(d) / eps) terms.
    Source: Pensia et al. (2020), Theorem 1; (3) derived.
    """
    _check_form(form)
    W, alpha, target = (np.asarray(v, np.float64) for v in (W, alpha, target))
    _check_shapes(W, alpha, target, eps)
    coefficients, goals = np.atleast_2d(alpha), np.atleast_2d(target)
    k, d = goals.shape
    signs = (1,) if nonnegative_inputs else (1, -1)
    served = _served(W, signs, max_terms)  # (1)
    a = np.concatenate([_candidates(W, coefficients, neurons) for neurons in served])
    t = np.concatenate([sign * goals.ravel() for sign in signs])
    found = subset_sum(  # (2)
        a, t, eps / math.sqrt(d), max_terms, n_threads=n_threads, progress=progress
    )
    output_mask = np.zeros(coefficients.shape, bool)
    residuals = np.zeros((2, k, d))
    n_used = np.zeros((k, d), np.int64)
    for side, neurons in enumerate(served):
        part = slice(side * k * d, (side + 1) * k * d)
        chosen = unpack_masks(found.mask[part], neurons.shape[1]).reshape(k, d, -1)
        sums = (a[part].reshape(k, d, -1) * chosen).sum(2)
        residuals[side] = sums - signs[side] * goals
        n_used += np.minimum(found.n_used[part].reshape(k, d), (neurons >= 0).sum(1))
        output, coordinate, place = np.nonzero(chosen)
        output_mask[output, neurons[coordinate, place]] = True
    hidden_mask = np.zeros(W.shape, bool)
    used = np.nonzero(output_mask.any(0))[0]
    hidden_mask[used, used % d] = True
    error = inner_error(residuals[0], residuals[1])
    status = found.status
    if status != "interrupted":
        status = "converged" if (error <= eps).all() else "budget"
    single = target.ndim == 1
    return PrunedWeights(
        hidden_mask,
        output_mask[0] if alpha.ndim == 1 else output_mask,
        float(error[0]) if single else error,
        residuals[0, 0] if single else residuals[0],
        residuals[1, 0] if single else residuals[1],
        n_used[0] if single else n_used,
        status,
    )


def inner_error(
    residual_plus: NDArray[np.float64], residual_minus: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Supremum over the unit ball of |sum_j d+_j relu(x_j) + d-_j relu(-x_j)| (3), last axis j.

    For each coordinate the better of its two signs, or 0; then Cauchy-Schwarz, attained.
    """
    up = np.maximum(np.maximum(residual_plus, residual_minus), 0)
    down = np.maximum(np.maximum(-residual_plus, -residual_minus), 0)
    larger: NDArray[np.float64] = np.maximum(
        np.linalg.norm(up, axis=-1), np.linalg.norm(down, axis=-1)
    )
    return larger


def _served(W: NDArray[np.float64], signs: tuple[int, ...], max_terms: int) -> NDArray[np.int64]:
    """Neurons i that serve coordinate i mod d with a weight of each sign, [signs, d, terms].

    -1 stands where there are no more; a candidate of 0 is then never chosen.
    """
    N, d = W.shape
    i = np.arange(N)
    rows = [[i[j::d][s * W[j::d, j] > 0][:max_terms] for j in range(d)] for s in signs]
    width = max(1, *(len(row) for of_sign in rows for row in of_sign))
    table = np.full((len(signs), d, width), -1)
    for side, of_sign in enumerate(rows):
        for j, row in enumerate(of_sign):
            table[side, j, : len(row)] = row
    return table


def _candidates(
    W: NDArray[np.float64], alpha: NDArray[np.float64], neurons: NDArray[np.int64]
) -> NDArray[np.float64]:
    """alpha_i |w_ij| of the neurons of each coordinate, rows (output, coordinate); 0 for none."""
    d = W.shape[1]
    size = np.abs(W[neurons, np.arange(d)[:, None]])
    products = np.where(neurons >= 0, alpha[:, neurons] * size, 0.0)
    return products.reshape(len(alpha) * d, -1)


def _check_form(form: str) -> None:
    if form == "A":
        raise ValueError(
            "form A is refused: these masks make the network the linear map <w*, x>, and without "
            "an outer relu that misses relu(<w*, x>) by ||w*|| at x = -w* / ||w*||; use form='B'"
        )
    if form != "B":
        raise ValueError(f"form: got {form!r}, expected 'B'")


def _check_shapes(
    W: NDArray[np.float64], alpha: NDArray[np.float64], target: NDArray[np.float64], eps: float
) -> None:
    if W.ndim != 2 or W.size == 0:
        raise ValueError(f"W: got shape {W.shape}, expected [N, d] with at least one weight")
    N, d = W.shape
    outputs = alpha.shape[:-1]
    if alpha.shape not in ((N,), (*outputs, N)) or alpha.ndim not in (1, 2) or 0 in alpha.shape:
        raise ValueError(f"alpha: got shape {alpha.shape}, expected [{N}] or [k, {N}]")
    if target.shape != (*outputs, d):
        raise ValueError(f"target: got shape {target.shape}, expected {[*outputs, d]}")
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(f"eps: got {eps!r}, expected a tolerance > 0")
    for name, array in (("W", W), ("alpha", alpha), ("target", target)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers")
