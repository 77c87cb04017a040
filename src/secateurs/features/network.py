"""A small ReLU network on a few indices of the kept columns, and its training.

    f(x) = c + w . relu(A D x + b),   D [r, s] the directions, A [h, r], x the s kept columns

    A on the unit sphere, b uniform, w by ridge on the hidden units                   (1)
    AdamW on D, A, b, w, c with a cosine schedule; keep the step that is best on the
    validation rows                                                                   (2)

Source: (1) is the second layer with random biases and ridge of Vural & Erdogdu (COLT 2024); (2) is
an addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from secateurs.core.threads import threads_for
from secateurs.features.ranks import FloatArray

RATE, DECAY = 0.02, 1e-4  # learning rate and weight decay of AdamW
RIDGES = (1e-4, 1e-2, 1.0)  # penalties of the second layer, in units of a hidden unit's mean square
LOOK = 20  # steps between two evaluations on the validation rows
LEAST_ACTIVE, MOST_ACTIVE = 0.03, 0.97  # share of the rows on which a new unit may be active
LARGEST_BIAS = 2.5  # in standard deviations of an index


@dataclass(frozen=True, eq=False)
class IndexNetwork:
    """A fitted network on raw columns: f(x) = out(c + w^T relu(W (x - center) / scale + b)).

    For the task "regression" k = 1 and out is the identity; for "classification" into k classes out
    is the softmax.
    """

    center: FloatArray  # of the kept columns, [s]
    scale: FloatArray  # of the kept columns, [s]
    W: FloatArray  # first layer, [h, s]
    bias: FloatArray  # b, [h]
    w: FloatArray  # second layer, [h, k]
    intercept: FloatArray  # c, [k]
    task: str = "regression"

    def predict(self, X: FloatArray) -> FloatArray:
        """Return values [n], or probabilities [n, k], for kept columns X [n, s]; O(n h s)."""
        hidden = np.maximum((X - self.center) / self.scale @ self.W.T + self.bias, 0.0)
        out = hidden @ self.w + self.intercept
        if self.task == "regression":
            return np.asarray(out[:, 0])
        out = np.exp(out - out.max(axis=1, keepdims=True))
        return np.asarray(out / out.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Standardised kept columns and targets; the first n_train rows are for training.

    The other rows are validation rows.
    """

    X: Tensor  # [n, s], float32
    Y: Tensor  # standardised values (k = 1) or class indicators, [n, k], float32
    n_train: int
    task: str


@dataclass(frozen=True, eq=False)
class ScaledNetwork:
    """A network in units of standardised columns, and its score on the validation rows."""

    D: Tensor  # [r, s]
    A: Tensor  # [h, r]
    b: Tensor  # [h]
    w: Tensor  # [h, k]
    c: Tensor  # [k]
    score: float = field(default=0.0, kw_only=True)

    def parameters(self) -> list[Tensor]:
        """Return D, A, b, w and c."""
        return [self.D, self.A, self.b, self.w, self.c]


def initial_network(
    rows: SplitRows, D: Tensor, hidden: int, generator: torch.Generator
) -> ScaledNetwork:
    """Apply (1) to directions scaled to indices of variance 1; validation rows choose the ridge."""
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
    eye = torch.eye(len(gram), dtype=gram.dtype)
    tries = []
    for ridge in RIDGES:
        w = torch.linalg.solve(gram + ridge * unit * eye, right).float()
        network = ScaledNetwork(D, A, b, w, mean - center @ w)
        tries.append(scored(network, rows))
    return max(tries, key=lambda network: network.score)


def _units(U: Tensor, hidden: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw weights on the sphere and biases; prefer units active on some, not nearly all, rows."""
    A = torch.randn(8 * hidden, U.shape[1], generator=generator)
    A /= A.norm(dim=1, keepdim=True).clamp_min(1e-12)
    b = LARGEST_BIAS * (2 * torch.rand(8 * hidden, generator=generator) - 1)
    active = (U @ A.t() + b > 0).float().mean(dim=0)
    good = (active >= LEAST_ACTIVE) & (active <= MOST_ACTIVE)
    order = torch.argsort(good.int(), descending=True, stable=True)[:hidden]
    return A[order], b[order]


def outputs(network: ScaledNetwork, X: Tensor) -> Tensor:
    """Return the outputs of the network before `out`, [n, k]."""
    return torch.relu(X @ network.D.t() @ network.A.t() + network.b) @ network.w + network.c


def responses(network: ScaledNetwork, rows: SplitRows) -> Tensor:
    """Return the fitted values or probabilities, [n, k]."""
    out = outputs(network, rows.X)
    return out if rows.task == "regression" else torch.softmax(out, dim=1)


def score(rows: SplitRows, out: Tensor) -> float:
    """Return R^2 on the validation rows; for classes 1 - log-loss over that of the class shares."""
    n = rows.n_train
    if rows.task == "regression":
        y = rows.Y[n:]
        rest = float((y - out[n:]).square().sum())
        return 1.0 - rest / max(float((y - y.mean(dim=0)).square().sum()), 1e-12)
    loss = -(rows.Y[n:] * torch.log_softmax(out[n:], dim=1)).sum()
    share = rows.Y[:n].mean(dim=0).clamp_min(1e-6)
    return 1.0 - float(loss) / max(float(-(rows.Y[n:] * share.log()).sum()), 1e-12)


def scored(network: ScaledNetwork, rows: SplitRows) -> ScaledNetwork:
    """Return the network with its score on the validation rows."""
    with torch.no_grad():
        return replace(network, score=score(rows, outputs(network, rows.X)))


def train(
    rows: SplitRows,
    network: ScaledNetwork,
    n_steps: int,
    rate: float = RATE,
    *,
    fixed_directions: bool = False,
) -> ScaledNetwork:
    """Train (2) from `network`; return the network with the best score, at worst `network`."""
    flat = torch.cat([p.reshape(-1) for p in network.parameters()])
    slope = torch.zeros_like(flat)
    now, by = _views(flat, network), _views(slope, network)
    first = network.D.numel() if fixed_directions else 0
    moving = flat[first:]
    moving.grad = slope[first:]
    X, Y = rows.X[: rows.n_train], rows.Y[: rows.n_train]

    def gradient() -> float:
        return fill_gradient(now, X, Y, rows.task, by, fixed_directions=fixed_directions)

    best = network
    size = len(X) * max(network.A.numel(), network.D.numel())
    with torch.no_grad(), threads_for(size):
        for step, _ in enumerate(adamw_steps([moving], gradient, n_steps, rate, DECAY), start=1):
            if step % LOOK == 0 or step == n_steps:
                trained = scored(_views(flat.clone(), network), rows)
                if trained.score > best.score:
                    best = trained
    return best


def _views(flat: Tensor, like: ScaledNetwork) -> ScaledNetwork:
    """Return the network whose parameters are views of one vector, of the shapes of `like`."""
    shapes = [p.shape for p in like.parameters()]
    parts = torch.split(flat, [shape.numel() for shape in shapes])
    return ScaledNetwork(*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)))


def fill_gradient(
    network: ScaledNetwork,
    X: Tensor,
    Y: Tensor,
    task: str,
    by: ScaledNetwork,
    *,
    fixed_directions: bool = False,
) -> float:
    """Write the gradient of the mean loss by every parameter into `by`; return the loss.

    The formulas are written out because the networks are small: autograd took three quarters of a
    step.  With `fixed_directions` the gradient by D is left as it is.  O(n (r s + h r + h k)).
    """
    U = X @ network.D.t()
    H = torch.addmm(network.b, U, network.A.t()).relu_()
    out = torch.addmm(network.c, H, network.w)
    if task == "regression":
        rest = out - Y
        loss = float(rest.square().mean())
        rest *= 2.0 / rest.numel()
    else:
        log_p = torch.log_softmax(out, dim=1)
        loss = -float((Y * log_p).sum()) / len(Y)
        rest = (log_p.exp_() - Y).div_(len(Y))
    torch.mm(H.t(), rest, out=by.w)
    torch.sum(rest, 0, out=by.c)
    back = (rest @ network.w.t()).mul_(H > 0)  # by the hidden units before relu, [n, h]
    torch.mm(back.t(), U, out=by.A)
    torch.sum(back, 0, out=by.b)
    if not fixed_directions:
        torch.mm((back @ network.A).t(), X, out=by.D)
    return loss


def adamw_steps(
    parameters: list[Tensor],
    gradient: Callable[[], float],
    n_steps: int,
    rate: float,
    decay: float,
) -> Iterator[float]:
    """Take full-batch AdamW steps with a cosine schedule; yield the loss before each of them.

    `gradient` fills the gradients of the parameters and returns the loss.
    """
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    for step in range(n_steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        loss = gradient()
        optimiser.step()
        yield loss


def gradients(network: ScaledNetwork, rows: SplitRows) -> Tensor:
    """Return the gradient of every fitted value with respect to every index, [k, n, r]."""
    pre = rows.X @ network.D.t() @ network.A.t() + network.b
    by_index = torch.einsum("nh,hr,hk->knr", (pre > 0).to(network.A.dtype), network.A, network.w)
    if rows.task == "regression":
        return by_index
    p = torch.softmax(torch.relu(pre) @ network.w + network.c, dim=1).t()[:, :, None]
    return p * (by_index - (p * by_index).sum(dim=0))


def column_gradients(network: ScaledNetwork, rows: SplitRows) -> Tensor:
    """Return the gradient of every fitted value with respect to every kept column, [k n, s]."""
    with torch.no_grad():
        G = gradients(network, rows)
    return torch.einsum("knr,rs->kns", G, network.D).reshape(-1, rows.X.shape[1])


def on_raw_columns(
    network: ScaledNetwork,
    center: FloatArray,
    scale: FloatArray,
    y_mean: float,
    y_scale: float,
    task: str,
) -> IndexNetwork:
    """Return the network on raw columns and raw targets."""
    W = (network.A @ network.D).double().numpy()
    w, c = network.w.double().numpy(), network.c.double().numpy()
    if task == "regression":
        w, c = w * y_scale, c * y_scale + y_mean
    return IndexNetwork(center, scale, W, network.b.double().numpy(), w, c, task)
