"""Accelerated iterative hard thresholding for sparse ReLU networks.

    y = sum_j D_j X w_j,   D_j = diag(1{X h_j > 0}),   at most s nonzeros in W [m, d]

    repeat:
      w <- a thresholding step to s~ >= s entries, gates h_j     `steps`, (1) to (4)
      h_j <- w_j                                                 mode "sequential"         (5)
      where the s largest entries settle, and at a stall:
        keep these, least squares on them, stop if they fit                                (6)
        at a stall: continue from them if they fit better than at the stall before
    after a stall in mode "convex":
      replace entries of the support, least squares on it                                  (7)

Nothing of size m * d is formed: memory is O(s + n * block + d * block).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.group import ALONE, Group
from secateurs.core.interrupt import Stop
from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer
from secateurs.core.solution import ProgressCallback, Solution, Status
from secateurs.recovery.thresholding.cut import Cut
from secateurs.recovery.thresholding.gates import BLOCK, Chunks, FixedGates, KeyedWeights, OwnGates
from secateurs.recovery.thresholding.steps import (
    EXACT,
    Iterate,
    gradient,
    largest_entries,
    least_squares,
    require_same_support,
    residual_of,
    thresholding_step,
)
from secateurs.sparse.stack import Generators, ReLUStack

KEPT = 2.0  # entries that a step keeps by default, for each of the s
WINDOW = 20  # steps without progress after which the run ends
PROGRESS = 1e-3  # relative fall of the residual that counts as progress

Array = NDArray[np.floating]


def iht(
    X: Array | Tensor,
    y: Array | Tensor,
    n_nonzero: int,
    n_neurons: int,
    *,
    mode: str = "sequential",
    n_kept: int | None = None,
    n_steps: int = 200,
    generators: Array | Tensor | None = None,
    exchanges: bool = True,
    random_state: int = 0,
    dtype: torch.dtype | None = None,
    progress: ProgressCallback | None = None,
    group: Group = ALONE,
) -> Solution[ReLUStack]:
    """Fit y = sum_j relu(X w_j) with at most `n_nonzero` weights.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
        Rows of finite numbers; the fit runs on the device of a tensor.
    y : array or Tensor, shape [n]
        The outputs to explain.
    n_nonzero : int
        The budget s.
    n_neurons : int
        Neurons m; in convex mode the number p of generators.
    mode : {"sequential", "convex"}
        "sequential": the gates follow the weights, h_j <- w_j, after every step but the first;
        "convex": the gates stay those of the generators.
    n_kept : int, optional
        Entries s~ >= s that a step keeps; the result has s.  The theorem keeps more than s.  By
        default 2 s, but not more than half of the rows; s where that is less.
    n_steps : int
        The most steps of the iteration.
    generators : array or Tensor, shape [n_neurons, d], optional
        Vectors h_j of the first gates.  By default they are standard normal and are drawn again
        from `random_state` block by block whenever they are needed.
    exchanges : bool
        In convex mode, leave a fixed point or cycle of the iteration by (7).
    random_state : int
        Random seed of the generators.
    dtype : torch.float32 or torch.float64, optional
        That of X by default.
    progress : callable, optional
        Called with a `Progress` after every step; its loss is the relative residual.
    group : Group
        Processes that share the fit.  Each passes its own rows and the same other arguments, and
        gets the same solution.

    Returns
    -------
    Solution of ReLUStack
        The best iterate, cut to s entries (6).  Status "exact" (its relative residual is rounding
        error), "converged" (a fixed point: same support, no further progress), "stalled" (no
        progress, but the support still changes), "budget" (all steps made) or "interrupted".
        History: step, loss (relative residual ||y - prediction|| / ||y|| after the step, with the
        gates of the step) and n_nonzero, which is at most s~ before (6).

    Raises
    ------
    ValueError
        The data, a shape or a size cannot be used.
    GroupError
        The arguments or the support differ between processes.

    Notes
    -----
    A step costs 2 * n * d flops for every neuron that can receive a weight, and about
    40 * n * s~ for (4).  Memory beyond a copy of the data: O(s~ + 1024 n + 1024 d).
    In a group of several processes a step sends the gradient, which has d numbers for each of
    these neurons, and the products of (4), up to 11 s~ numbers (s~^2 where a Gram matrix is used).
    Equal magnitudes are ranked by index, so that runs are reproducible.
    Source: Blumensath, "Accelerated iterative hard thresholding" (2012); Jain, Tewari & Kar, "On
    iterative hard thresholding methods for high-dimensional M-estimation" (2014), for s~ > s;
    Fridovich-Keil & Pilanci, "A recovery guarantee for sparse neural networks" (2025).  The factor
    2 was measured (benchmarks/recovery/convex_transition.py).
    """
    with group.failing_together():
        check_choice("mode", mode, ("sequential", "convex"))
        n_nonzero = check_integer("n_nonzero", n_nonzero)
        n_neurons = check_integer("n_neurons", n_neurons)
        n_steps = check_integer("n_steps", n_steps, 0)
        if n_kept is not None:
            n_kept = check_integer("n_kept", n_kept, n_nonzero, otherwise="None")
        inputs, targets = checked_data(X, y, dtype=dtype)
        data = Chunks.of(inputs, targets, min(max(n_nonzero, n_neurons), BLOCK), group)
        start = _generators(generators, n_neurons, data.d, random_state)
        _require_same_arguments(data, start, n_nonzero, n_kept, mode, n_steps, exchanges)
    if n_kept is None:
        n_rows = data.n if group.size == 1 else int(group.total(data.n))
        n_kept = max(n_nonzero, min(math.ceil(KEPT * n_nonzero), n_rows // 2))
    none = torch.empty(0, dtype=torch.int64, device=data.device)
    empty = KeyedWeights(none, torch.empty(0, dtype=data.dtype, device=data.device), data.d)
    fixed = FixedGates(data, start)
    stop, run = Stop(group), Iterations(n_steps, progress)
    best = _Best(run, stop, empty, _norm(targets, group), EXACT[data.dtype])
    gates = fixed if mode == "convex" else None
    square = best.scale**2
    cut = Cut(data, n_nonzero, gates, empty, square, square) if n_kept > n_nonzero else None
    if best.scale == 0.0:
        run.end("exact")
    with run, stop:
        ended = _iterate(data, best, cut, n_kept, fixed, own_gates=mode == "sequential")
        if cut:
            _end_with_cut(cut, best)
            ended = "exact" if best.loss <= best.exact else ended
        if exchanges and mode == "convex" and ended in ("converged", "stalled"):
            ended = _leave_stall(data, fixed, best, n_nonzero, ended)  # (7)
        if ended != "budget":
            run.end(ended)
    if cut and len(best.weights.keys) > n_nonzero:  # after Ctrl-C
        _end_with_cut(cut, best)
    group.require_same("the solution", best.weights.keys, best.weights.values)
    return run.solution(
        _stack(best.weights.nonzero(), n_neurons, start if mode == "convex" else None),
        relative_residual=best.loss,
        n_steps=len(run.history["step"]),
        mode=mode,
    )


@dataclass
class _Best:
    """The best iterate so far, and the rule that ends the iteration."""

    run: Iterations
    stop: Stop
    weights: KeyedWeights
    scale: float
    exact: float
    loss: float = 1.0
    _keys: Tensor | None = None
    _moved: int = 0  # step at which the support last changed
    _reference: tuple[int, float] = (1, 1.0)  # step and loss of the last progress

    def replace(self, weights: KeyedWeights, square: float) -> None:
        """Make the cut of an iterate the best one."""
        self.weights, self.loss = weights, square**0.5 / (self.scale or 1.0)
        self._reference = self.run.step, self.loss

    def record(self, weights: KeyedWeights, square: float) -> Status:
        """Record an iterate with this squared residual; "budget" means that the run continues."""
        run, loss = self.run, square**0.5 / self.scale
        with self.stop.held():
            run.record(loss=loss, n_nonzero=int((weights.values != 0).sum()))
        if self._keys is None or not torch.equal(self._keys, weights.keys):
            self._moved = run.step
        self._keys = weights.keys
        if loss < self.loss:
            self.weights, self.loss = weights, loss
        if run.step == 1 or self.loss < (1 - PROGRESS) * self._reference[1]:
            self._reference = run.step, self.loss
        status: Status = "budget"
        if loss <= self.exact:
            status = "exact"
        elif run.step - self._reference[0] >= WINDOW:
            status = "stalled" if run.step - self._moved < WINDOW else "converged"
        self.stop.check()
        return status


def _iterate(
    data: Chunks, best: _Best, cut: Cut | None, n_kept: int, fixed: FixedGates, *, own_gates: bool
) -> Status:
    """Make the steps (1) to (6) until one is exact or nothing improves."""
    now = Iterate(best.weights, fixed)
    residual, _ = residual_of(data, now)
    ended: Status = "budget"
    for step in best.run:
        weights = thresholding_step(data, now, residual, n_kept, step)  # (1) to (4)
        own = own_gates and step > 1
        now = Iterate(weights, OwnGates(data, weights) if own else now.gates)  # (5)
        residual, square = residual_of(data, now)
        ended = best.record(weights, square)
        if cut and (ended != "budget" or cut.settled(weights)):  # (6)
            now, ended = _cut(cut, best, now, ended)
            residual, _ = residual_of(data, now)
        if ended != "budget":
            break
    return ended


def _cut(cut: Cut, best: _Best, now: Iterate, ended: Status) -> tuple[Iterate, Status]:
    """Try the s largest entries; at a stall continue from them while they fit better (6)."""
    stall = ended != "budget"
    trial, square = cut.offer(best.weights if stall else now.weights, best.run.step)
    if cut.square**0.5 <= best.exact * best.scale:
        return now, "exact"
    if stall and square < (1 - PROGRESS) * cut.last:
        cut.last = square
        best.replace(trial.weights, square)
        return trial, "budget"
    return now, "stalled" if ended == "exact" else ended


def _end_with_cut(cut: Cut, best: _Best) -> None:
    """Replace the best iterate by the best cut."""
    cut.offer(best.weights, best.run.step)
    best.replace(cut.weights, cut.square)


def _leave_stall(
    data: Chunks, gates: FixedGates, best: _Best, n_nonzero: int, ended: Status
) -> Status:
    """Leave a fixed point or a cycle of the convex problem by replacing entries (7).

    Solve least squares on S and the q largest |g|, keep the s largest, and solve least squares
    again.  Accept if the residual falls, otherwise q <- q / 2.  This is subspace pursuit (Dai &
    Milenkovic 2009), down to single replacements (Jain, Tewari & Dhillon 2011).
    """
    q = n_nonzero
    best.run.step += 1  # the first least squares count as a step
    weights = least_squares(data, gates, best.weights)
    residual, square = residual_of(data, Iterate(weights, gates))
    if best.record(weights, square) == "exact":
        return "exact"
    for step in best.run:
        _, keys, _ = gradient(data, Iterate(weights, gates), residual, q)
        pool = torch.cat([weights.keys, keys]).sort().values
        require_same_support(data, pool, step)
        zeros = torch.zeros_like(pool).to(data.dtype)
        wide = least_squares(data, gates, KeyedWeights(pool, zeros, data.d))
        kept = largest_entries(wide.keys, wide.values, n_nonzero)
        require_same_support(data, wide.keys[kept], step)
        narrow = KeyedWeights(wide.keys[kept], wide.values[kept], data.d)
        trial = least_squares(data, gates, narrow)
        trial_residual, trial_square = residual_of(data, Iterate(trial, gates))
        if trial_square < (1 - PROGRESS) * square:
            weights, residual, square = trial, trial_residual, trial_square
            q = min(n_nonzero, 2 * q)
        else:
            q //= 2
        if best.record(weights, square) == "exact":
            return "exact"
        if not q:
            return ended
    return "budget"


def _norm(targets: Tensor, group: Group) -> float:
    """Return ||y|| over all processes."""
    norm = float(targets.double().norm())
    return norm if group.size == 1 else math.sqrt(group.total(norm**2))


def _stack(w: KeyedWeights, m: int, generators: Generators | None) -> ReLUStack:
    values, keys = w.values.cpu().numpy(), w.keys.cpu().numpy()
    W = sp.csr_array((values, np.divmod(keys, w.d)), shape=(m, w.d))
    return ReLUStack((W,), fused=True, generators=generators)


def _generators(given: Array | Tensor | None, p: int, d: int, random_state: int) -> Generators:
    if given is None:
        return Generators(p, d, random_state)
    H = torch.as_tensor(given)
    if H.shape != (p, d):
        shown, do = Shown(f"shape {tuple(H.shape)}"), "set n_neurons to the number of generators"
        raise bad_value("generators", shown, f"shape ({p}, {d}), one row for each neuron", do)
    return Generators(p, d, given=H)


def _require_same_arguments(data: Chunks, start: Generators, *arguments: object) -> None:
    names = (data.d, str(data.dtype), *arguments, start.count, start.seed)
    given = [] if start.given is None else [start.given]
    data.group.require_same("the set of arguments", repr(names).encode(), *given)


def checked_data(
    X: Array | Tensor,
    y: Array | Tensor,
    *,
    several_outputs: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Return X [n, d] and y [n], or [n, k], as tensors of one float type, or raise ValueError."""
    floats = (torch.float32, torch.float64)
    inputs, targets = torch.as_tensor(X).detach(), torch.as_tensor(y).detach()
    if dtype is None:
        dtype = inputs.dtype if inputs.dtype in floats else torch.float64
    if dtype not in floats:
        raise bad_value("dtype", dtype, "torch.float32 or torch.float64")
    outputs = (1, 2) if several_outputs else (1,)
    fits = inputs.ndim == 2 and targets.ndim in outputs and len(inputs) == len(targets)
    if not fits or not len(inputs):
        shown = Shown(f"shapes {tuple(inputs.shape)} and {tuple(targets.shape)}")
        if several_outputs:
            raise bad_value("X and y", shown, "shapes [n, d] and [n] or [n, k] with n >= 1")
        do = "use iht_network for several outputs"
        raise bad_value("X and y", shown, "shapes [n, d] and [n] with n >= 1", do)
    inputs, targets = inputs.to(dtype), targets.to(device=inputs.device, dtype=dtype)
    for name, tensor in (("X", inputs), ("y", targets)):
        if not bool(torch.isfinite(tensor).all()):
            shown = Shown("infinite or NaN values")
            raise bad_value(name, shown, "finite numbers", "remove or impute those rows")
    return inputs, targets
