"""A small ReLU network on a few indices of the kept columns, and how it is trained.

    f(x) = c + w . relu(A D x + b),   D [r, s] the directions, A [h, r], x the s kept columns

    A on the unit sphere, b uniform, w by ridge on the features                       (1)
    AdamW on D, A, b, w, c with a cosine; the step best on validation rows is kept    (2)

(1) is the random-bias, ridge second layer of Vural & Erdogdu (COLT 2024); (2) is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

FloatArray = NDArray[np.float64]

RATE, DECAY = 0.02, 1e-4  # AdamW
RIDGES = (1e-4, 1e-2, 1.0)  # of the second layer, in units of a feature's mean square
LOOK = 20  # steps between two looks at the validation rows
LEAST, MOST = 0.03, 0.97  # share of rows a unit may be active on at the start
BIAS = 2.5  # largest bias, in standard deviations of an index


@dataclass(frozen=True, eq=False)
class IndexNetwork:
    """f(x) = out(c + w^T relu(W (x - center) / scale + b)).

    Attributes
    ----------
    center, scale : float array [s]
        Of the kept columns.
    W : float array [h, s]
        First layer.
    bias : float array [h]
    w : float array [h, k]
    intercept : float array [k]
    task : {"regression", "classification"}
        Regression: k = 1, out the identity; classification: out the softmax of k classes.
    """

    center: FloatArray
    scale: FloatArray
    W: FloatArray
    bias: FloatArray
    w: FloatArray
    intercept: FloatArray
    task: str = "regression"

    def predict(self, X: FloatArray) -> FloatArray:
        """Values [n], or probabilities [n, k], for kept columns X [n, s]; O(n h s)."""
        hidden = np.maximum((X - self.center) / self.scale @ self.W.T + self.bias, 0.0)
        out = hidden @ self.w + self.intercept
        if self.task == "regression":
            return np.asarray(out[:, 0])
        out = np.exp(out - out.max(axis=1, keepdims=True))
        return np.asarray(out / out.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Rows:
    """Standardised kept columns and targets; the first n_train rows are trained on.

    Attributes
    ----------
    X : Tensor [n, s], float32
    Y : Tensor [n, k], float32
        Standardised values (k = 1), or class indicators.
    n_train : int
    task : str
    """

    X: Tensor
    Y: Tensor
    n_train: int
    task: str


@dataclass(frozen=True, eq=False)
class Head:
    """Everything of the network, in units of standardised columns."""

    D: Tensor  # [r, s]
    A: Tensor  # [h, r]
    b: Tensor  # [h]
    w: Tensor  # [h, k]
    c: Tensor  # [k]
    score: float  # on the validation rows

    def parameters(self) -> list[Tensor]:
        """D, A, b, w and c."""
        return [self.D, self.A, self.b, self.w, self.c]

    @classmethod
    def of(cls, parameters: list[Tensor], score: float) -> Head:
        """The reverse of `parameters`."""
        D, A, b, w, c = parameters
        return cls(D, A, b, w, c, score)


def initial_head(rows: Rows, D: Tensor, hidden: int, generator: torch.Generator) -> Head:
    """(1): directions scaled to indices of variance 1, ridge chosen on the validation rows."""
    n = rows.n_train
    U = rows.X @ D.t()
    spread = U[:n].std(dim=0).clamp_min(1e-12)
    D = D / spread[:, None]
    U = U / spread
    A, b = _units(U[:n], hidden, generator)
    H = torch.relu(U @ A.t() + b)
    center = H[:n].mean(dim=0)
    mean = rows.Y[:n].mean(dim=0)
    F = (H - center).double()
    gram = F[:n].t() @ F[:n]
    right = F[:n].t() @ (rows.Y[:n] - mean).double()
    unit = float(gram.diagonal().mean()) + 1e-12
    best: Head | None = None
    for ridge in RIDGES:
        eye = torch.eye(len(gram), dtype=gram.dtype)
        w = torch.linalg.solve(gram + ridge * unit * eye, right).float()
        c = mean - center @ w
        head = Head(D, A, b, w, c, 0.0)
        head = Head(D, A, b, w, c, score(rows, outputs(head, rows.X)))
        if best is None or head.score > best.score:
            best = head
    assert best is not None
    return best


def _units(U: Tensor, hidden: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weights on the sphere and biases; units active on too few or too many rows drawn again."""
    A = torch.randn(8 * hidden, U.shape[1], generator=generator)
    A /= A.norm(dim=1, keepdim=True).clamp_min(1e-12)
    b = BIAS * (2 * torch.rand(8 * hidden, generator=generator) - 1)
    active = (U @ A.t() + b > 0).float().mean(dim=0)
    good = (active >= LEAST) & (active <= MOST)
    order = torch.argsort(good.int(), descending=True, stable=True)[:hidden]
    return A[order], b[order]


def outputs(head: Head, X: Tensor) -> Tensor:
    """Network outputs before `out`, [n, k]."""
    return torch.relu(X @ head.D.t() @ head.A.t() + head.b) @ head.w + head.c


def responses(head: Head, rows: Rows) -> Tensor:
    """Fitted values or probabilities, [n, k]."""
    out = outputs(head, rows.X)
    return out if rows.task == "regression" else torch.softmax(out, dim=1)


def score(rows: Rows, out: Tensor) -> float:
    """R^2 on the validation rows; for classes 1 - log-loss over that of the shares."""
    n = rows.n_train
    if rows.task == "regression":
        y = rows.Y[n:]
        rest = float((y - out[n:]).square().sum())
        return 1.0 - rest / max(float((y - y.mean(dim=0)).square().sum()), 1e-12)
    loss = -(rows.Y[n:] * torch.log_softmax(out[n:], dim=1)).sum()
    share = rows.Y[:n].mean(dim=0).clamp_min(1e-6)
    return 1.0 - float(loss) / max(float(-(rows.Y[n:] * share.log()).sum()), 1e-12)


def train(rows: Rows, head: Head, steps: int, rate: float = RATE, fixed: bool = False) -> Head:
    """(2) from `head`, the directions left as they are if `fixed`; never a worse score."""
    parameters = [p.clone().requires_grad_(True) for p in head.parameters()]
    moving = parameters[1:] if fixed else parameters
    optimiser = torch.optim.AdamW(moving, lr=rate, weight_decay=DECAY, foreach=True)
    X, Y = rows.X[: rows.n_train], rows.Y[: rows.n_train]
    best = head
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
        optimiser.zero_grad()
        out = outputs(Head.of(parameters, 0.0), X)
        if rows.task == "regression":
            loss = (out - Y).square().mean()
        else:
            loss = functional.cross_entropy(out, Y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % LOOK == 0 or step == steps:
            now = Head.of([p.detach().clone() for p in parameters], 0.0)
            with torch.no_grad():
                value = score(rows, outputs(now, rows.X))
            if value > best.score:
                best = replace(now, score=value)
    return best


def gradients(head: Head, rows: Rows) -> Tensor:
    """Gradient of every fitted value by every index, [k, n, r]."""
    pre = rows.X @ head.D.t() @ head.A.t() + head.b
    by_index = torch.einsum("nh,hr,hk->knr", (pre > 0).to(head.A.dtype), head.A, head.w)
    if rows.task == "regression":
        return by_index
    p = torch.softmax(torch.relu(pre) @ head.w + head.c, dim=1).t()[:, :, None]
    return p * (by_index - (p * by_index).sum(dim=0))


def finished(
    head: Head, center: FloatArray, scale: FloatArray, y_mean: float, y_scale: float, task: str
) -> IndexNetwork:
    """The network on raw columns and raw targets."""
    W = (head.A @ head.D).double().numpy()
    w, c = head.w.double().numpy(), head.c.double().numpy()
    if task == "regression":
        w, c = w * y_scale, c * y_scale + y_mean
    return IndexNetwork(center, scale, W, head.b.double().numpy(), w, c, task)
