"""Accelerated iterative hard thresholding for sparse ReLU networks.

    y = sum_j D_j X w_j,   D_j = diag(1{X h_j > 0}),   at most s nonzeros in W [m, d]

    repeat:
      r = A w - y,  g = A^T r                     one product X^T (D o r) a block       (1)
      eta = ||g_S||^2 / ||A g_S||^2               the step that is exact on S           (2)
      w <- the s largest of w - eta g             streamed: only S and s others         (3)
      10 x: descend on the support, eta <- eta / 2 until eta g^T Q g <= 1.1 g^T g       (4)
      h_j <- w_j                                  mode "sequential"                     (5)
    a stall in mode "convex": exchange entries, least squares on the support            (6)

Nothing of size m * d is formed: memory is O(s + n * block + d * block).

Where the rows are shared out over a group of processes, A^T r, ||A g||^2, Q g and ||r||^2 are
summed over the group; the rest is done alike by every process, on the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.group import ALONE, Group
from secateurs.core.interrupt import Stop
from secateurs.core.solution import Progress, ProgressCallback, Solution, Status
from secateurs.recovery.thresholding.gates import (
    BLOCK,
    Chunks,
    FixedGates,
    Gates,
    OwnGates,
    SupportColumns,
    Weights,
    blocks,
    open_where,
    sum_over,
)
from secateurs.sparse.stack import Generators, ReLUStack
from secateurs.sparse.topk import StreamingTopK

LEAST_SQUARES_STEPS = 200  # conjugate gradients, in (6)
INNER_STEPS = 10  # descent steps on the support (4)
SUFFICIENT = 1.1  # (4): f drops by .9 eta ||g||^2, written for a quadratic f
HALVINGS = 11  # after so many the line search goes back to where (3) was
EXACT = {torch.float32: 1e-6, torch.float64: 1e-12}  # relative residual
WINDOW = 20  # steps without progress before "converged" or "stalled"
PROGRESS = 1e-3  # relative drop of the residual that counts as progress

Array = NDArray[np.floating]


@dataclass
class _State:
    """Where the iteration is: weights on their support, the gates they are read with."""

    weights: Weights
    gates: Gates


def iht(
    X: Array | Tensor,
    y: Array | Tensor,
    n_nonzero: int,
    n_neurons: int,
    *,
    mode: str = "sequential",
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
    y : array or Tensor, shape [n]
    n_nonzero : int
        The budget s.
    n_neurons : int
        Neurons m; in convex mode the number p of generators.
    mode : {"sequential", "convex"}
        "sequential": gates follow the weights, h_j <- w_j, after every step but the first;
        "convex": gates stay those of the generators.
    n_steps : int
    generators : array or Tensor, shape [n_neurons, d], optional
        Vectors h_j of the first gates.  Without: standard normal, regenerated from
        `random_state` block by block, never stored.
    exchanges : bool
        In convex mode, leave a fixed point or cycle of the iteration by (6).
    random_state : int
    dtype : torch.float32 or torch.float64, optional
        That of X by default.
    progress : callable, optional
        Called with a `Progress` after every step; its loss is the relative residual.
    group : Group
        Processes that share the fit: each calls this with rows of its own and else the same
        arguments, and gets the same solution.

    Returns
    -------
    Solution of ReLUStack
        The best iterate.  Status "exact" (relative residual at rounding), "converged" (a fixed
        point: same support, no further progress), "stalled" (no progress, support still
        moving), "budget" (steps spent) or "interrupted".  History: step, loss (relative
        residual ||y - prediction|| / ||y|| after the step, under its own gates) and n_nonzero.

    Raises
    ------
    ValueError
        On shapes, sizes or values that cannot be fitted; the message says what to do.
    GroupError
        Arguments or the support are not the same on all processes; the message names the step.

    Notes
    -----
    A step costs 2 * n * d flops for every neuron that can receive a weight, and about
    40 * n * s for (4).  Memory beyond a copy of the data: O(s + 1024 n + 1024 d).
    In a group of several processes a step sends the gradient, d numbers a live neuron, and the
    products of (4), up to 11 s numbers (s^2 where a Gram matrix serves).
    Equal magnitudes are ranked by index, so a run is reproducible.
    Source: Blumensath, "Accelerated iterative hard thresholding" (2012); Fridovich-Keil &
    Pilanci, "A recovery guarantee for sparse neural networks" (2025).
    """
    with group.failing_together():
        inputs, targets = _checked(X, y, n_nonzero, n_neurons, mode, n_steps, dtype)
        data = Chunks.of(inputs, targets, min(max(n_nonzero, n_neurons), BLOCK), group)
        start = _generators(generators, n_neurons, data.d, random_state)
        _require_same_arguments(data, start, n_nonzero, mode, n_steps, exchanges)
    none = torch.empty(0, dtype=torch.int64, device=data.device)
    empty = Weights(none, torch.empty(0, dtype=data.dtype, device=data.device), data.d)
    fixed: Gates = FixedGates(data, start)
    state = _State(empty, fixed)
    scale = _norm(targets, group)
    stop = Stop(group)
    run = _Run(empty, scale, n_steps, EXACT[data.dtype], progress, stop)
    if run.scale == 0.0:
        run.status = "exact"
    try:
        with stop:
            residual, _ = _residual(data, state)
            while run.status == "budget" and run.step < n_steps:
                weights = _step(data, state, residual, n_nonzero, run.step + 1)
                own = mode == "sequential" and run.step > 0
                state = _State(weights, OwnGates(data, weights) if own else state.gates)  # (5)
                residual, square = _residual(data, state)
                run.record(weights, square)
            if exchanges and mode == "convex" and run.status in ("converged", "stalled"):
                _exchange(data, fixed, run, n_nonzero)  # (6)
    except KeyboardInterrupt:
        run.status = "interrupted"
    group.require_same("the solution", run.best.keys, run.best.values)
    measured = {"relative_residual": run.loss, "n_steps": run.step, "mode": mode}
    value = _stack(run.best.nonzero(), n_neurons, start if mode == "convex" else None)
    return Solution(value, run.status, run.history, measured)


@dataclass
class _Run:
    """The best iterate so far, the history, and when to stop."""

    best: Weights
    scale: float
    n_steps: int
    exact: float
    progress: ProgressCallback | None
    stop: Stop
    loss: float = 1.0
    step: int = 0
    status: Status = "budget"
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "n_nonzero": []}
    )
    _keys: Tensor | None = None
    _moved: int = 0
    _reference: tuple[int, float] = (1, 1.0)

    def record(self, weights: Weights, square: float) -> None:
        """Take note of an iterate whose squared residual is `square`."""
        self.step += 1
        loss, count = square**0.5 / self.scale, int((weights.values != 0).sum())
        self.history["step"].append(self.step)
        self.history["loss"].append(loss)
        self.history["n_nonzero"].append(count)
        if self.progress is not None:
            with self.stop.held():
                self.progress(Progress(self.step, self.n_steps, loss, count))
        if self._keys is None or not torch.equal(self._keys, weights.keys):
            self._moved = self.step
        self._keys = weights.keys
        if loss < self.loss:
            self.best, self.loss = weights, loss
        if self.step == 1 or self.loss < (1 - PROGRESS) * self._reference[1]:
            self._reference = self.step, self.loss
        if loss <= self.exact:
            self.status = "exact"
        elif self.step - self._reference[0] >= WINDOW:
            self.status = "stalled" if self.step - self._moved < WINDOW else "converged"
        self.stop.check()


def _step(
    data: Chunks, state: _State, residual: list[Tensor], n_nonzero: int, step: int
) -> Weights:
    """(1) to (4): the next weights, read with the same gates."""
    w = state.weights
    g_support, keys, g_off = _gradient(data, state, residual, n_nonzero)  # (1)
    if len(w.keys):
        power = float(g_support.double().square().sum())
        image = _image_square(data, state, g_support)
        eta = power / image if image > 0 else 0.0  # (2)
        pool = torch.cat([w.keys, keys])
        proposal = torch.cat([w.values - eta * g_support, -eta * g_off])
    else:
        eta, pool, proposal = 0.0, keys, -g_off  # the first step only selects the support
    chosen = _largest(pool, proposal, n_nonzero)  # (3)
    weights = Weights(pool[chosen], proposal[chosen], data.d)
    _require_same_support(data, weights.keys, step)
    if eta == 0.0 or not len(chosen):
        return replace(weights, values=torch.zeros_like(weights.values))
    return _descend(SupportColumns(data, state.gates, weights), weights, eta)  # (4)


def _gradient(
    data: Chunks, state: _State, residual: list[Tensor], n_nonzero: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient on the support; keys and values of its `n_nonzero` largest entries elsewhere (1)."""
    w = state.weights
    candidates = StreamingTopK(n_nonzero, data.device)
    g_support = torch.zeros_like(w.values)
    neurons = state.gates.neurons()
    # neurons with equal patterns have equal gradients: one product for all of them
    distinct, which = torch.unique(state.gates.representatives(neurons), return_inverse=True)
    start = 0
    for block in blocks(state.gates, distinct):
        G = torch.zeros(len(block.neurons), data.d, dtype=data.dtype, device=data.device)
        for i, r in enumerate(residual):
            G.addmm_(open_where(r, block.gate(i)), data.X[i].t())
        data.group.sum_(G)
        here = torch.nonzero((which >= start) & (which < start + len(G))).squeeze(1)
        for part in torch.split(here, BLOCK):
            _offer(G[which[part] - start], neurons[part], w, g_support, candidates)
        start += len(G)
    signed, size = candidates.result()
    return g_support, signed // 2, torch.where(signed % 2 == 1, -size, size).to(data.dtype)


def _offer(
    G: Tensor, neurons: Tensor, w: Weights, g_support: Tensor, candidates: StreamingTopK
) -> None:
    """Read g on the support out of a block of gradients, offer the rest to the top s.

    Off the support w - eta g ranks as |g| whatever eta is, so eta can wait.  The key of an
    entry is ``2 (j d + k)``, plus 1 when it is negative.
    """
    run = w.slice_of(neurons)  # with neurons between them that are not in the block
    rows, cols = w.rows[run], w.keys[run] - w.rows[run] * w.d
    at = torch.searchsorted(neurons, rows)
    inside = neurons[at] == rows
    at, cols = at[inside], cols[inside]
    g_support[run][inside] = G[at, cols]
    G[at, cols] = 0.0
    columns = 2 * torch.arange(w.d, device=G.device)
    scores = torch.cat([G.clamp_min(0), G.neg_().clamp_min_(0)], dim=1)
    candidates.update(scores, 2 * w.d * neurons, torch.cat([columns, columns + 1]))


def _image_square(data: Chunks, state: _State, g: Tensor) -> float:
    """||A g_S||^2 (2)."""
    matrices = [
        (b, state.weights.matrix(b.neurons, g)) for b in blocks(state.gates, state.weights.neurons)
    ]
    total = torch.zeros((), dtype=torch.float64, device=data.device)
    for i in range(len(data.X)):
        u = sum_over(matrices, data, i)
        total += u @ u
    return float(data.group.sum_(total))


def _descend(columns: SupportColumns, weights: Weights, eta: float) -> Weights:
    """Descent on the support with a step that only ever shrinks (4).

    f is quadratic, so f(x - eta g) <= f(x) - .9 eta ||g||^2 is eta ||A g||^2 <= 1.1 ||g||^2,
    and the next gradient is g - eta Q g: one product with Q = A^T A a step.
    """
    x, g = weights.values, columns.gradient
    g_start = g
    for inner in range(INNER_STEPS):
        power = float(g.double() @ g.double())
        if power == 0.0:
            break
        curved, Qg = columns.curvature(g, image=inner < INNER_STEPS - 1)
        for _ in range(HALVINGS):
            if eta * curved <= SUFFICIENT * power:
                x, g = x - eta * g, g - eta * Qg
                break
            eta /= 2
        else:
            x, g = weights.values, g_start
    return replace(weights, values=x)


def _exchange(data: Chunks, gates: Gates, run: _Run, n_nonzero: int) -> None:
    """Leave a fixed point or a cycle of the convex problem by exchanges (6).

    Least squares on S and the q largest |g|, keep the s largest, least squares again; accepted
    when the residual drops, else q <- q / 2: subspace pursuit (Dai & Milenkovic 2009) down to
    single replacements (Jain, Tewari & Dhillon 2011).
    """
    ended, q = run.status, n_nonzero
    run.status = "budget"
    weights = _least_squares(data, gates, run.best)
    residual, square = _residual(data, _State(weights, gates))
    run.record(weights, square)
    while q and run.status != "exact":
        if run.step >= run.n_steps:
            run.status = "budget"
            return
        _, keys, _ = _gradient(data, _State(weights, gates), residual, q)
        pool = torch.cat([weights.keys, keys]).sort().values
        _require_same_support(data, pool, run.step + 1)
        wide = _least_squares(
            data, gates, Weights(pool, torch.zeros_like(pool).to(data.dtype), data.d)
        )
        kept = _largest(wide.keys, wide.values, n_nonzero)
        _require_same_support(data, wide.keys[kept], run.step + 1)
        trial = _least_squares(data, gates, Weights(wide.keys[kept], wide.values[kept], data.d))
        trial_residual, trial_square = _residual(data, _State(trial, gates))
        if trial_square < (1 - PROGRESS) * square:
            weights, residual, square = trial, trial_residual, trial_square
            q = min(n_nonzero, 2 * q)
        else:
            q //= 2
        run.record(weights, square)
    if run.status != "exact":
        run.status = ended


def _least_squares(data: Chunks, gates: Gates, weights: Weights) -> Weights:
    """Minimise ||A_S x - y|| by conjugate gradients, from the given values."""
    if not len(weights.keys):
        return weights
    columns = SupportColumns(data, gates, weights)
    x, g = weights.values, columns.gradient
    p, power = -g, float(g.double() @ g.double())
    target = (EXACT[data.dtype] ** 2) * power
    for _ in range(LEAST_SQUARES_STEPS):
        if power <= target:
            break
        curved, Qp = columns.curvature(p)
        if curved <= 0.0:
            break
        alpha = power / curved
        x, g = x + alpha * p, g + alpha * Qp
        last, power = power, float(g.double() @ g.double())
        p = (power / last) * p - g
    return replace(weights, values=x)


def _residual(data: Chunks, state: _State) -> tuple[list[Tensor], float]:
    """A w - y by chunks, and its square."""
    w = state.weights
    matrices = []
    if len(w.keys):
        matrices = [(b, w.matrix(b.neurons)) for b in blocks(state.gates, w.neurons)]
    own = isinstance(state.gates, OwnGates)
    residual, square = [], torch.zeros((), dtype=torch.float64, device=data.device)
    for i, y in enumerate(data.y):
        if own:  # D_j X w_j = relu(X w_j)
            r = -y
            for b, _ in matrices:
                r += b.gate(i).clamp_min_(0).sum(0)
        else:
            r = sum_over(matrices, data, i) - y
        residual.append(r)
        square += r @ r
    return residual, float(data.group.sum_(square))


def _norm(targets: Tensor, group: Group) -> float:
    """||y|| over all processes."""
    norm = float(targets.double().norm())
    return norm if group.size == 1 else math.sqrt(group.total(norm**2))


def _require_same_support(data: Chunks, keys: Tensor, step: int) -> None:
    data.group.require_same(f"the support at step {step}", keys)


def _largest(keys: Tensor, values: Tensor, k: int) -> Tensor:
    """Positions of the k largest |values|, by increasing key; equal ones by key."""
    by_key = torch.argsort(keys)
    size = values[by_key].abs()
    order = torch.argsort(size, descending=True, stable=True)[:k]
    order = by_key[order[size[order] > 0]]
    return order[torch.argsort(keys[order])]


def _stack(w: Weights, m: int, generators: Generators | None) -> ReLUStack:
    values, keys = w.values.cpu().numpy(), w.keys.cpu().numpy()
    W = sp.csr_array((values, np.divmod(keys, w.d)), shape=(m, w.d))
    return ReLUStack((W,), fused=True, generators=generators)


def _generators(given: Array | Tensor | None, p: int, d: int, random_state: int) -> Generators:
    if given is None:
        return Generators(p, d, random_state)
    H = torch.as_tensor(given)
    if H.shape != (p, d):
        raise ValueError(
            f"got generators of shape {tuple(H.shape)}; expected ({p}, {d}), one row of length d "
            "for every neuron: set n_neurons to the number of generators"
        )
    return Generators(p, d, given=H)


def _require_same_arguments(
    data: Chunks, start: Generators, n_nonzero: int, mode: str, n_steps: int, exchanges: bool
) -> None:
    told = (data.d, str(data.dtype), n_nonzero, mode, n_steps, exchanges, start.count, start.seed)
    given = [] if start.given is None else [start.given]
    data.group.require_same("the set of arguments", repr(told).encode(), *given)


def _checked(
    X: Array | Tensor,
    y: Array | Tensor,
    n_nonzero: int,
    n_neurons: int,
    mode: str,
    n_steps: int,
    dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """Inputs as tensors of one dtype, or the reason why they cannot be used."""
    if mode not in ("sequential", "convex"):
        raise ValueError(f'got mode {mode!r}; expected "sequential" or "convex"')
    for name, number, least in (
        ("n_nonzero", n_nonzero, 1),
        ("n_neurons", n_neurons, 1),
        ("n_steps", n_steps, 0),
    ):
        if int(number) != number or number < least:
            raise ValueError(f"got {name} = {number}; expected an integer >= {least}")
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y)
    if dtype is None:
        dtype = inputs.dtype if inputs.dtype in EXACT else torch.float64
    if dtype not in EXACT:
        raise ValueError(f"got dtype {dtype}; expected torch.float32 or torch.float64")
    if inputs.ndim != 2 or targets.ndim != 1 or len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            f"got X of shape {tuple(inputs.shape)} and y of shape {tuple(targets.shape)}; "
            "expected [n, d] and [n] with n >= 1 (for several outputs use iht_network)"
        )
    inputs = inputs.detach().to(dtype)
    targets = targets.detach().to(device=inputs.device, dtype=dtype)
    for name, tensor in (("X", inputs), ("y", targets)):
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has infinite or NaN values; remove or impute those rows")
    return inputs, targets
