"""The state that the phases of a pruning share, made from a plan."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from secateurs.core.certificate import Certificate, Check
from secateurs.core.driver import Iterations
from secateurs.core.estimator import draw_seed
from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.program import Inputs
from secateurs.core.solution import History, Progress, Status
from secateurs.core.threads import threads_for
from secateurs.nn.certificate import equality_check, loss_check
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.data import Batch, Data, Loss, PruningData, first_parameter, prepare_data
from secateurs.nn.evaluation import chunk_losses, constant_loss, outputs, probe_rows
from secateurs.nn.increase import increase_checks
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule
from secateurs.nn.silence import embed
from secateurs.nn.training_steps import PruneCallback, PruneProgress
from secateurs.nn.verify import verify, widened

PROBE_ROWS = 64  # rows on which outputs are compared at every removal
PLAN_ROWS = 4  # rows of the example that is planned


@dataclass
class PruningRun:
    """The state that the phases of one run share; the last three are as in `PrunedModule`."""

    plan: ChannelPlan
    loss: Loss
    data: PruningData
    batches: Iterator[Batch]
    original: ScoredModule  # a copy of the given module
    null_loss: float  # validation loss of a constant answer
    learning_rate: float
    progress: PruneCallback | None
    status: Status = "budget"
    history: History = field(
        default_factory=lambda: History("step", "strength", "loss", "n_neurons")
    )
    widths_tried: History = field(default_factory=lambda: History("n_neurons", "loss"))

    @contextmanager
    def phase(self, name: str, network: ShrinkingModule, n_steps: int) -> Iterator[Iterations]:
        """Give the loop of a phase, which reports a `PruneProgress`; note Ctrl-C in `status`."""

        def report(state: Progress) -> None:
            if self.progress is not None:
                self.progress(PruneProgress(**vars(state), phase=name, widths=network.widths))

        loop = Iterations(n_steps, report, columns=())
        with loop:
            yield loop
        if loop.status == "interrupted":
            self.status = "interrupted"

    def score(self, network: ShrinkingModule) -> ScoredModule:
        """Compute the losses of a module on the validation rows."""
        return ScoredModule(network, *chunk_losses(network.module, self.loss, self.data))

    def gain(self, scored: ScoredModule) -> float:
        """Return how much lower its validation loss is than that of a constant answer."""
        return max(self.null_loss - scored.loss, 0.0)

    def result(
        self,
        best: ScoredModule,
        allowed_increase: float | None,
        *,
        certify: Any = None,
        further: tuple[Check, ...] = (),
    ) -> PrunedModule:
        """Make the result, in the mode of the given module, and its certificate.

        `certify` are rows that nothing was chosen on.
        """
        network, found = best.network, self.plan
        gone = network.gone
        exact = widened(network.module)
        agreement = verify(found, embed(found, gone, exact), network.kept, exact)
        checks = [
            equality_check(**vars(agreement), form=network.form),
            *further,
            loss_check(self.original.loss, best.loss, allowed_increase),
        ]
        if certify is not None:
            checks += increase_checks(
                self.original.network.module, network.module, self.loss, certify, self.data,
                clip=2 * self.null_loss,
            )  # fmt: skip
        network.module.train(found.was_training)
        network.module.zero_grad(set_to_none=True)
        flops, n_parameters = found.cost(network.kept)
        return PrunedModule(
            module=network.module,
            kept=network.kept,
            certificate=Certificate(tuple(checks)),
            form=network.form,
            flops=(found.flops, flops),
            n_parameters=(found.n_parameters, n_parameters),
            loss_before=self.original.loss,
            loss_after=best.loss,
            status=self.status,
            history=dict(self.history),
            widths_tried=dict(self.widths_tried),
            changes=tuple(network.changes),
            plan=found,
        )


@contextmanager
def run_of(
    make: Callable[[Inputs], ChannelPlan],
    module: nn.Module,
    loss: Loss,
    data: Data,
    *,
    validation: float | Data,
    batch_size: int,
    learning_rate: float,
    random_state: int | np.random.RandomState | None,
    progress: PruneCallback | None,
) -> Iterator[PruningRun]:
    """Check the arguments, plan a module, and seed all random draws inside the block.

    `make` plans it for example inputs, or has planned it already.
    """
    check_integer("batch_size", batch_size)
    check_real("learning_rate", learning_rate, least=0)
    for name, function in (("loss", loss), ("progress", progress or loss)):
        if not callable(function):
            raise bad_value(name, function, "a function")
    seed = draw_seed(random_state)
    generator = torch.Generator().manual_seed(seed)
    device = first_parameter(module).device
    # dropout and loaders draw from the global random state, which is restored after the block
    if device.type == "cpu":
        own_draws = torch.random.fork_rng(devices=[])
    else:
        own_draws = torch.random.fork_rng([device], device_type=device.type)
    has_convs = any(isinstance(m, nn.modules.conv._ConvNd) for m in module.modules())
    work = batch_size * max(p.numel() for p in module.parameters())
    trains = torch.inference_mode(mode=False), torch.enable_grad()
    with own_draws, trains[0], trains[1], nullcontext() if has_convs else threads_for(work):
        torch.manual_seed(seed)
        pruning_data = prepare_data(data, validation, batch_size, module, generator)
        probe = Inputs.of(probe_rows(pruning_data, PROBE_ROWS))
        example = probe.rows(min(PLAN_ROWS, probe.n_rows))
        found = make(example)
        if not found.groups:
            expected = "channels that can be removed (print secateurs.nn.plan of it)"
            raise bad_value("module", Shown("no group of channels"), expected)
        ours = copy.deepcopy(found.module)
        _check_probe(ours, probe)
        kept = {name: np.arange(group.size) for name, group in found.groups.items()}
        network = ShrinkingModule(found, ours, kept, 0, frozenset(), probe)
        yield PruningRun(
            found,
            loss,
            pruning_data,
            pruning_data.batches(generator),
            ScoredModule(network, *chunk_losses(ours, loss, pruning_data)),
            constant_loss(ours, loss, pruning_data),
            learning_rate,
            progress,
        )


def record_in_six_digits(history: History, **values: float) -> None:
    """Append to a history in six digits, because more carry no meaning."""
    history.record(**{name: float(f"{value:.6g}") for name, value in values.items()})


def _check_probe(module: nn.Module, probe: Inputs) -> None:
    """Raise ValueError unless the module accepts the rows."""
    try:
        outputs(module, probe)
    except RuntimeError as error:
        rows = probe.tensors()[0]
        raise ValueError(
            f"X: got rows of shape {tuple(rows.shape[1:])} and dtype {rows.dtype}; expected rows "
            f"that the module accepts ({error})"
        ) from error
