"""Gauss-Newton polish of a sparse ReLU network: the values move, the support stays.

    repeat <= 40 times:
      r = f(w) - y,  J = df / dw on the support                               (1)
      q <- <= 60 steps of CGLS on  || J C q + r ||^2 + lambda ||q||^2         (2)
           C = 1 / column norms of J, so lambda has no units
      t <- 1, 1/2, .. until  || f(w + t C q) - y || drops;  w <- w + t C q    (3)
      lambda <- lambda / 5 after a full step, 2 lambda after a shortened one,
                10 lambda after none                                          (4)

J is never formed: J p and J^T u are sparse products, chunk by chunk of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.recovery.thresholding.gates import open_where
from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.stack import ReLUStack

EXACT = 1e-14  # relative residual at which nothing is left to polish
CHUNK_ELEMENTS = 1 << 20  # rows of a chunk times units
KEPT_ELEMENTS = 1 << 24  # activations up to this many are kept between passes (128 MB)
HALVINGS = 8
FIRST_DAMPING, LEAST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-15, 1e8
GAIN, PATIENCE = 1e-6, 5  # steps with a smaller relative gain before "converged"
CG_TOLERANCE = 1e-10  # relative drop of the normal residual that ends (2)

Array = NDArray[np.floating]


def gauss_newton(
    X: Array | Tensor,
    y: Array | Tensor,
    start: ReLUStack,
    *,
    n_steps: int = 40,
    cg_steps: int = 60,
    device: torch.device | str | None = None,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Least squares over the nonzero weights of `start`, from their values.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
    y : array or Tensor, shape [n], or [n, k] for a network that is not fused
    start : ReLUStack
    n_steps, cg_steps : int
        Gauss-Newton steps, and conjugate gradient steps in each.
    device : torch.device or str, optional
        Where to work; that of X by default.
    progress : callable, optional
        Called with a `Progress` after every step; its loss is the relative residual.

    Returns
    -------
    Solution of ReLUStack
        float64, never worse than `start`.  Weights that cannot reach an output are dropped.
        Status "exact", "converged" (gains below 1e-6), "stalled" (no step lowers the
        residual), "budget" or "interrupted".

    Raises
    ------
    ValueError
        When shapes do not fit, or `start` has generators (its problem is linear).

    Notes
    -----
    One conjugate gradient step costs about 8 * n * nnz flops.  Memory beyond the data:
    O(nnz + n k), and up to 128 MB of activations when they fit.
    Source: Levenberg (1944), Marquardt (1963); CGLS of Bjorck, "Numerical methods for least
    squares problems" (1996), section 7.4.
    """
    if start.generators is not None:
        raise ValueError("got a network in convex form; expected one whose gates are its own")
    inputs = torch.as_tensor(X).detach()
    device = inputs.device if device is None else torch.device(device)
    problem, live, _ = problem_of(inputs, torch.as_tensor(y), start, device)
    values = torch.from_numpy(np.concatenate([W.data for W in live])).to(device, torch.float64)
    history: dict[str, list[float]] = {"step": [], "loss": [], "n_nonzero": []}
    status, damping, waited, step = "budget", FIRST_DAMPING, 0, 0
    scale = max(problem.scale, np.finfo(float).tiny)
    model = problem.at(values)
    loss = model.square() ** 0.5 / scale
    try:
        for step in range(1, n_steps + 1):
            if loss <= EXACT or not len(values):
                status = "exact" if loss <= EXACT else "converged"
                break
            direction = _cgls(model, cg_steps, damping)  # (1), (2)
            t, trial, trial_loss = 1.0, model, loss
            for _ in range(HALVINGS):  # (3)
                trial = problem.at(values + t * direction)
                trial_loss = trial.square() ** 0.5 / scale
                if trial_loss < loss:
                    break
                t /= 2
            gain = 0.0
            if trial_loss < loss:
                gain = 1 - trial_loss / loss
                values, model, loss = trial.values, trial, trial_loss
                damping = max(damping / 5, LEAST_DAMPING) if t == 1.0 else 2 * damping  # (4)
            else:
                damping *= 10
            history["step"].append(step)
            history["loss"].append(loss)
            history["n_nonzero"].append(len(values))
            if progress is not None:
                progress(Progress(step, n_steps, loss, len(values)))
            waited = waited + 1 if gain < GAIN else 0
            if damping > LARGEST_DAMPING:
                status = "stalled"
                break
            if waited >= PATIENCE:
                status = "converged" if gain > 0 else "stalled"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    layers, at = [], 0
    for W in live:
        v = values[at : at + W.nnz].cpu().numpy()
        layers.append(sp.csr_array((v, W.indices, W.indptr), shape=W.shape))
        at += W.nnz
    return Solution(
        ReLUStack(tuple(layers), start.fused),
        status,
        history,
        {"relative_residual": loss, "n_steps": step},
    )


@dataclass(frozen=True)
class Problem:
    """Data by chunks, features first, and the supports of the layers, compacted."""

    X: list[Tensor]
    y: list[Tensor]
    crows: list[Tensor]
    cols: list[Tensor]
    shapes: list[tuple[int, int]]
    fused: bool

    @property
    def scale(self) -> float:
        """Norm of the targets."""
        return math.sqrt(sum(float(y.square().sum()) for y in self.y))

    def at(self, values: Tensor) -> Model:
        """The network with these values."""
        return Model(self, values)

    def matrices(self, values: Tensor) -> list[SparseMatrix]:
        """The layers with the given values."""
        parts = torch.split(values, [len(c) for c in self.cols])
        return [
            SparseMatrix(crow, col, v, shape)
            for crow, col, v, shape in zip(self.crows, self.cols, parts, self.shapes, strict=True)
        ]


class Model:
    """The network at some values: residuals, J p and J^T u."""

    def __init__(self, problem: Problem, values: Tensor) -> None:
        self.problem, self.values = problem, values
        self.layers = problem.matrices(values)
        units = sum(W.shape[0] for W in self.layers)
        n = sum(y.shape[-1] for y in problem.y)
        self._kept: list[list[Tensor]] | None = [] if units * n <= KEPT_ELEMENTS else None

    def _forward(self, i: int) -> list[Tensor]:
        """Z of every layer on chunk i, before the ReLU."""
        if self._kept is not None and len(self._kept) > i:
            return self._kept[i]
        Zs: list[Tensor] = []
        for layer, W in enumerate(self.layers):
            Zs.append(W.product(self.problem.X[i] if layer == 0 else Zs[-1].clamp_min(0)))
        if self._kept is not None:
            self._kept.append(Zs)
        return Zs

    def _input(self, i: int, layer: int, Zs: list[Tensor]) -> Tensor:
        return self.problem.X[i] if layer == 0 else Zs[layer - 1].clamp_min(0)

    def residual(self) -> list[Tensor]:
        """f(w) - y of every chunk (1)."""
        found = []
        for i, y in enumerate(self.problem.y):
            Z = self._forward(i)[-1]
            found.append((Z.clamp_min(0).sum(0) if self.problem.fused else Z) - y)
        return found

    def square(self) -> float:
        """Squared residual."""
        return float(sum(float(r.square().sum()) for r in self.residual()))

    def forward_derivative(self, p: Tensor) -> list[Tensor]:
        """J p of every chunk."""
        P = self.problem.matrices(p)
        found = []
        for i in range(len(self.problem.X)):
            Zs = self._forward(i)
            dH: Tensor | None = None
            for layer, W in enumerate(self.layers):
                dZ = P[layer].product(self._input(i, layer, Zs))
                if dH is not None:
                    dZ += W.product(dH)
                linear = layer == len(self.layers) - 1 and not self.problem.fused
                dH = dZ if linear else open_where(dZ, Zs[layer])
            assert dH is not None
            found.append(dH.sum(0) if self.problem.fused else dH)
        return found

    def adjoint(self, u: Sequence[Tensor]) -> Tensor:
        """J^T u."""
        total = torch.zeros_like(self.values)
        for i, part in enumerate(u):
            total += self._backward(i, part, squared=False)
        return total

    def column_squares(self) -> Tensor:
        """Squared norms of the columns of J: one backward pass an output."""
        total = torch.zeros_like(self.values)
        for i in range(len(self.problem.y)):
            for unit in self._unit_outputs(i):
                total += self._backward(i, unit, squared=True)
        return total

    def gram(self) -> Tensor:
        """J^T J, columns of J of a chunk and an output at a time: n k p^2 flops for p weights."""
        p = len(self.values)
        total = torch.zeros(p, p, dtype=self.values.dtype, device=self.values.device)
        rows = [
            torch.repeat_interleave(torch.arange(len(crow) - 1, device=crow.device), crow.diff())
            for crow in self.problem.crows
        ]
        for i in range(len(self.problem.y)):
            Zs = self._forward(i)
            for unit in self._unit_outputs(i):
                columns = [
                    D[row] * self._input(i, layer, Zs)[col.long()]
                    for layer, (D, row, col) in enumerate(
                        zip(self.deltas(i, unit), rows, self.problem.cols, strict=True)
                    )
                ]
                J = torch.cat(columns)
                total.addmm_(J, J.t())
        return total

    def deltas(self, i: int, u: Tensor) -> list[Tensor]:
        """Derivatives of <u, f> with respect to Z of every layer, chunk i."""
        Zs = self._forward(i)
        D = open_where(u, Zs[-1]) if self.problem.fused else u
        found = [D]
        for layer in range(len(self.layers) - 1, 0, -1):
            D = open_where(self.layers[layer].transpose_product(D), Zs[layer - 1])
            found.append(D)
        return found[::-1]

    def squared_deltas(self, i: int) -> list[Tensor]:
        """Squared derivatives of f with respect to Z of every layer, summed over outputs."""
        totals: list[Tensor] | None = None
        for unit in self._unit_outputs(i):
            squares = [D.square() for D in self.deltas(i, unit)]
            totals = (
                squares if totals is None else [a + b for a, b in zip(totals, squares, strict=True)]
            )
        assert totals is not None
        return totals

    def activations(self, i: int) -> list[Tensor]:
        """Outputs of the hidden layers on chunk i."""
        Zs = self._forward(i)
        return [Z.clamp_min(0) for Z in (Zs if self.problem.fused else Zs[:-1])]

    def _unit_outputs(self, i: int) -> Iterator[Tensor]:
        y = self.problem.y[i]
        if self.problem.fused:
            yield torch.ones_like(y)
            return
        for k in range(len(y)):
            unit = torch.zeros_like(y)
            unit[k] = 1.0
            yield unit

    def _backward(self, i: int, u: Tensor, *, squared: bool) -> Tensor:
        Zs, grads = self._forward(i), []
        for layer, (W, D) in enumerate(zip(self.layers, self.deltas(i, u), strict=True)):
            H = self._input(i, layer, Zs)
            factors = (D.square(), H.square()) if squared else (D, H)
            grads.append(W.sampled_product(*factors).clone())
        return torch.cat(grads)


def _cgls(model: Model, n_steps: int, damping: float) -> Tensor:
    """Direction C q of (2)."""
    squares = model.column_squares()
    C = squares.clamp_min(1e-14 * float(squares.max()) + 1e-300).rsqrt()
    r = [-part for part in model.residual()]
    q = torch.zeros_like(C)
    s = C * model.adjoint(r)
    p, power = s, float(s @ s)
    target = CG_TOLERANCE**2 * power
    for _ in range(n_steps):
        if power <= target:
            break
        Jp = model.forward_derivative(C * p)
        curved = sum(float(part.square().sum()) for part in Jp) + damping * float(p @ p)
        if curved <= 0.0:
            break
        alpha = power / curved
        q = q + alpha * p
        r = [a - alpha * b for a, b in zip(r, Jp, strict=True)]
        s = C * model.adjoint(r) - damping * q
        last, power = power, float(s @ s)
        p = s + (power / last) * p
    return C * q


def problem_of(
    X: Tensor, y: Tensor, start: ReLUStack, device: torch.device
) -> tuple[Problem, list[sp.csr_array], list[NDArray[np.intp]]]:
    """Compact the network to its live units (returned, inputs first); chunk the data."""
    k = start.layers[-1].shape[0]
    expected = (len(X),) if start.fused else (len(X), k)
    if X.ndim != 2 or X.shape[1] != start.layers[0].shape[1] or tuple(y.shape) != expected:
        raise ValueError(
            f"got X of shape {tuple(X.shape)} and y of shape {tuple(y.shape)}; expected "
            f"[n, {start.layers[0].shape[1]}] and {'[n]' if start.fused else f'[n, {k}]'}"
        )
    live = _live(start)
    inputs = np.unique(live[0].indices).astype(np.intp)
    units: list[NDArray[np.intp]] = [inputs, *(np.flatnonzero(np.diff(W.indptr)) for W in live)]
    if not start.fused:
        units[-1] = np.arange(k)
    compact = [W[rows][:, cols] for W, (cols, rows) in zip(live, pairwise(units), strict=True)]
    c = max(64, CHUNK_ELEMENTS // max(1, sum(len(u) for u in units)))
    columns = torch.from_numpy(inputs).to(X.device)
    chunks = [
        X[a : a + c].index_select(1, columns).to(device, torch.float64).t().contiguous()
        for a in range(0, len(X), c)
    ]
    targets = [
        y[a : a + c].detach().to(device, torch.float64).t().contiguous()
        for a in range(0, len(X), c)
    ]
    int32 = [[torch.from_numpy(v.astype(np.int32)).to(device) for v in (W.indptr, W.indices)]
             for W in compact]  # fmt: skip
    shapes = [(int(W.shape[0]), int(W.shape[1])) for W in compact]
    crows, cols = [c for c, _ in int32], [c for _, c in int32]
    return Problem(chunks, targets, crows, cols, shapes, start.fused), live, units


def _live(stack: ReLUStack) -> list[sp.csr_array]:
    """Layers without the weights that cannot change an output, columns sorted."""
    layers = [sp.csr_array(W).astype(np.float64) for W in stack.layers]
    while True:
        before = sum(W.nnz for W in layers)
        for layer in range(len(layers) - 1):
            fed = np.diff(layers[layer].indptr) > 0  # units with inputs
            layers[layer + 1] = keep_entries(layers[layer + 1], columns=fed)
            read = np.zeros(len(fed), dtype=bool)  # units with outputs
            read[layers[layer + 1].indices] = True
            layers[layer] = keep_entries(layers[layer], rows=read)
        if sum(W.nnz for W in layers) == before:
            break
    for W in layers:
        W.sort_indices()
    return layers


def keep_entries(
    W: sp.csr_array,
    rows: NDArray[np.bool_] | None = None,
    columns: NDArray[np.bool_] | None = None,
) -> sp.csr_array:
    """Entries of the given rows or columns."""
    coo = W.tocoo()
    row, col = coo.coords
    kept = np.ones(len(row), dtype=bool)
    if rows is not None:
        kept &= rows[row]
    if columns is not None:
        kept &= columns[col]
    return sp.csr_array((coo.data[kept], (row[kept], col[kept])), shape=W.shape)
