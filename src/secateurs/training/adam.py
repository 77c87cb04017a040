"""Adam on a support that changes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secateurs.sparse.compact import CompactNetwork

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
_GROWN_UP = 1500  # steps after which the bias correction is 1 in float32
_OLDEST = 255  # changes of the support after which a weight counts as grown up
_AHEAD = 32  # steps for which corrections are computed together


class SupportAdam:
    """Adam on the flat values of a `CompactNetwork`, with an age for each weight.

    The bias correction of a weight depends on the steps since it grew.  Its age is stored in one
    byte as the number of changes of the support since then; a table has the steps for each age.
    Weight decay is decoupled (Loshchilov & Hutter 2019).  Gradients are sums over the `n_batch`
    rows of a batch instead of means: a step does not depend on their scale.

    Memory: 9 bytes for each weight.  Time: about 10 element-wise operations for each step.
    """

    def __init__(
        self, net: CompactNetwork, learning_rate: float, weight_decay: float = 0.0, n_batch: int = 1
    ) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._epsilon = torch.tensor(EPSILON * n_batch, device=net.values.device)
        age = np.arange(1, _GROWN_UP + 2)
        self._step_factor, self._second_correction = (
            torch.from_numpy(table.astype(np.float32)).to(net.values.device)
            for table in ((1 - BETA1**age) / np.sqrt(1 - BETA2**age), 1 / (1 - BETA2**age))
        )
        self._steps_of_age = torch.zeros(_OLDEST + 1, dtype=torch.int64, device=net.values.device)
        self.since = 0  # steps since the last change of the support
        self._rate = 0.0
        self.m: Tensor
        self.v: Tensor
        self.age: Tensor
        self._pieces: list[tuple[Tensor, Tensor, Tensor, Tensor]]
        m, v = torch.zeros_like(net.values), torch.zeros_like(net.values)
        age_0 = torch.zeros(net.nnz, dtype=torch.uint8, device=net.values.device)
        self.restore(net, [m, v, age_0])

    def begin_step(self, rate: float) -> None:
        """Begin a step at ``rate`` times the learning rate; `update` is called for each piece."""
        self._rate = rate * self.learning_rate
        ahead = self.since % _AHEAD
        if ahead == 0:  # one row of factors for each of the next steps, one column for each age
            next_steps = torch.arange(self.since, self.since + _AHEAD, device=self.v.device)
            steps = self._steps_of_age + next_steps[:, None]
            self._factors = self._step_factor[steps.clamp_(max=_GROWN_UP)]
        self._factor = self._factors[ahead]
        self.since += 1

    def update(self, piece: int, gradient: Tensor) -> None:
        """Update the values of one piece of the network (`CompactNetwork.pieces`)."""
        w, m, v, age = self._pieces[piece]
        if self.weight_decay > 0:
            w.mul_(1 - self._rate * self.weight_decay)
        m.lerp_(gradient, 1 - BETA1)
        v.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        divisor = v.sqrt()
        factor = self._factor.index_select(0, age.int())
        torch.addcmul(self._epsilon, divisor, factor, out=divisor)
        w.addcdiv_(m, divisor, value=-self._rate)

    def saliency(self, net: CompactNetwork, where: slice) -> Tensor:
        """Return w^2 times the bias-corrected second moment for a slice of the weights."""
        steps = (self._steps_of_age + self.since - 1).clamp_(0, _GROWN_UP)
        correction = self._second_correction[steps]
        score = net.values[where].square().mul_(self.v[where])
        return score.mul_(correction.index_select(0, self.age[where].int()))

    def release(self) -> list[Tensor]:
        """Hand over the state of the weights for `update_support`, at the end of an interval."""
        for age in torch.split(self.age, 1 << 16):
            age.add_(age < _OLDEST)
        steps = self._steps_of_age
        steps[1:] = steps[:-1] + self.since
        steps[_OLDEST] = _GROWN_UP
        state = [self.m, self.v, self.age]
        self.m = self.v = self.age = torch.empty(0)
        self._pieces = []
        return state

    def restore(self, net: CompactNetwork, state: list[Tensor]) -> None:
        """Take the state back after `update_support`; weights that grew have age 0."""
        self.m, self.v, self.age = state
        self.since = 0
        # the ages of a small network are converted to indices once
        index = self.age.int() if len(net.pieces) == 1 else self.age
        self._pieces = [
            (net.values[piece], self.m[piece], self.v[piece], index[piece]) for piece in net.pieces
        ]
