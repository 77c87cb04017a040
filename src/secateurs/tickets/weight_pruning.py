"""Prune the weights of random ReLU neurons until the rest is a given linear map (form B).

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

from secateurs.core.parameters import Shown, bad_value, check_choice, check_real
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import ProgressCallback, Status
from secateurs.tickets.subset_sums import subset_sum, unpack_masks


@dataclass(frozen=True)
class PrunedWeights:
    """Masks of a two-layer random network, and its distance from the target.

    Parameters
    ----------
    hidden_mask : array of bool, shape [N, d]
        Weights of W that stay: at most one a neuron, and none where no output uses the neuron.
    output_mask : array of bool, shape of alpha
        Output weights that stay.
    error : float, or array of float64, shape [k]
        Exact supremum of the inner error over the unit l2 ball (over its nonnegative part
        with ``nonnegative_inputs``), by (3), in exact arithmetic on the given numbers and up to
        the rounding of the sums in float64.  The outer relu can only make it smaller.
    residual_plus, residual_minus : arrays of float64, shape of the target
        The residuals d+ and d- of (2); d- is 0 with ``nonnegative_inputs``.
    n_used : array of int64, shape of the target
        Candidates that were looked at for each coordinate, for both signs together.
    status : str
        "converged" (error <= eps for every output), "budget" or "interrupted".
    """

    __repr__ = short_repr

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
    """Approximate a neuron, or a layer of neurons, by masking weights of a random network.

    Parameters
    ----------
    W : array, shape [N, d]
        Weights of the random hidden neurons.
    alpha : array, shape [N] or [k, N]
        Output weights of one neuron, or of a layer of k neurons on the same hidden neurons.
    target : array, shape [d] or [k, d]
        Weights w* of the neuron, or of the k neurons, to approximate.
    eps : float
        The error asked for; each coordinate gets eps / sqrt(d).
    form : {"B"}
        "B": the target and the network end with a relu.  "A" (without it) is refused.
    nonnegative_inputs : bool
        The inputs are >= 0.  The sums for relu(-x) are then left out, and with them all w_ij < 0.
    max_terms : int
        The most neurons for each coordinate and sign.
    n_threads : int, optional
        The number of torch threads by default.
    progress : callable, optional
        As in `subset_sum`.

    Returns
    -------
    PrunedWeights
        Also when eps is not reached.  More neurons are then needed, about
        ``2 to 2.4 d log2(1 / eps) + 10 to 14 d`` for standard normal W and alpha, d = 2 to 16
        (benchmarks/tickets/subset_sum.py).

    Raises
    ------
    ValueError
        The form is "A", or a shape or a value cannot be used.

    Notes
    -----
    2 k d subset sums of about log2(sqrt(d) / eps) terms.
    Source: Pensia et al. (2020), Theorem 1; (3) derived.
    """
    if form == "A":
        raise bad_value(
            "form",
            form,
            "'B', because the masks make the network the linear map <w*, x>, whose error without "
            "an outer relu is ||w*|| at x = -w* / ||w*||",
        )
    check_choice("form", form, ("B",))
    W, alpha, target = (np.asarray(v, np.float64) for v in (W, alpha, target))
    _check_arrays(W, alpha, target)
    check_real("eps", eps, above=0)
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
    status: Status = "converged" if (error <= eps).all() else "budget"
    single = target.ndim == 1
    return PrunedWeights(
        hidden_mask,
        output_mask[0] if single else output_mask,
        float(error[0]) if single else error,
        residuals[0, 0] if single else residuals[0],
        residuals[1, 0] if single else residuals[1],
        n_used[0] if single else n_used,
        "interrupted" if found.status == "interrupted" else status,
    )


def inner_error(
    residual_plus: NDArray[np.float64], residual_minus: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sup over the unit ball of |sum_j d+_j relu(x_j) + d-_j relu(-x_j)| (3).

    j is the last axis.  The proof takes the better of the two signs of each coordinate, or 0, and
    then Cauchy-Schwarz, which is attained.
    """
    up = np.maximum(np.maximum(residual_plus, residual_minus), 0)
    down = np.maximum(np.maximum(-residual_plus, -residual_minus), 0)
    return np.asarray(np.maximum(np.linalg.norm(up, axis=-1), np.linalg.norm(down, axis=-1)))


def _served(W: NDArray[np.float64], signs: tuple[int, ...], max_terms: int) -> NDArray[np.int64]:
    """Return the neurons that serve each coordinate with a weight of each sign, [signs, d, terms].

    -1 stands where there are no more.  Its candidate is 0, which is never chosen.
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
    """Return alpha_i |w_ij| of the neurons of each coordinate; a row is (output, coordinate)."""
    d = W.shape[1]
    size = np.abs(W[neurons, np.arange(d)[:, None]])
    products = np.where(neurons >= 0, alpha[:, neurons] * size, 0.0)
    return products.reshape(len(alpha) * d, -1)


def _check_arrays(
    W: NDArray[np.float64], alpha: NDArray[np.float64], target: NDArray[np.float64]
) -> None:
    if W.ndim != 2 or W.size == 0:
        raise bad_value("W", Shown(f"shape {W.shape}"), "[N, d] with at least one weight")
    N, d = W.shape
    if alpha.ndim not in (1, 2) or alpha.shape[-1] != N or 0 in alpha.shape:
        raise bad_value("alpha", Shown(f"shape {alpha.shape}"), f"[{N}] or [k, {N}]")
    if target.shape != (*alpha.shape[:-1], d):
        shape = f"{[*alpha.shape[:-1], d]}"
        raise bad_value("target", Shown(f"shape {target.shape}"), shape)
    for name, array in (("W", W), ("alpha", alpha), ("target", target)):
        if not np.isfinite(array).all():
            raise bad_value(name, Shown("nan or inf"), "finite numbers")
