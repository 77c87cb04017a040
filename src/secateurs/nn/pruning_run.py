"""The steps that `prune_neurons` and its baseline share, before and after their own algorithm."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from secateurs.core.driver import Iterations
from secateurs.core.estimator import draw_seed
from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.solution import History, Progress, Status
from secateurs.core.threads import threads_for
from secateurs.nn.certificate import neuron_certificate
from secateurs.nn.data import Batch, Data, Loss, PruningData, prepare_data
from secateurs.nn.evaluation import chunk_losses, constant_loss, outputs, probe_rows
from secateurs.nn.groups import CONVS, NeuronLayer, find_layers
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.remove import rounding_tolerance
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule
from secateurs.nn.training_steps import PruneCallback, PruneProgress

PROBE_ROWS = 64  # rows on which outputs are compared at every removal


@dataclass
class PruningRun:
    """The state that the phases of one run share; the last three are as in `PrunedModule`."""

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
        self, best: ScoredModule, allowed_increase: float, *, training: bool
    ) -> PrunedModule:
        """Make the result and its certificate, with the module in training or eval mode."""
        network = best.network
        network.module.train(training)
        network.module.zero_grad(set_to_none=True)
        return PrunedModule(
            network.module,
            {name: index.numpy() for name, index in network.kept.items()},
            loss_before=self.original.loss,
            loss_after=best.loss,
            status=self.status,
            history=dict(self.history),
            widths_tried=dict(self.widths_tried),
            certificate=neuron_certificate(
                agreement=network.agreement,
                agreement_tolerance=rounding_tolerance(next(network.module.parameters()).dtype),
                gaps={
                    name: (removed, network.smallest_kept[name])
                    for name, removed in network.largest_removed.items()
                },
                loss_before=self.original.loss,
                loss_after=best.loss,
                allowed_increase=allowed_increase,
            ),
        )


@contextmanager
def pruning_run(
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
    """Check the arguments, copy the module, and seed all random draws inside the block."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected an nn.Module")
    check_integer("batch_size", batch_size)
    check_real("learning_rate", learning_rate, least=0)
    layers = find_layers(module)
    _refuse_frozen(module, layers)
    seed = draw_seed(random_state)
    generator = torch.Generator().manual_seed(seed)
    device = next(module.parameters()).device
    # dropout and loaders draw from the global random state, which is restored after the block
    if device.type == "cpu":
        own_draws = torch.random.fork_rng(devices=[])
    else:
        own_draws = torch.random.fork_rng([device], device_type=device.type)
    has_convs = any(isinstance(m, CONVS) for m in module.modules())
    work = batch_size * max(p.numel() for p in module.parameters())
    with own_draws, nullcontext() if has_convs else threads_for(work):
        torch.manual_seed(seed)
        pruning_data = prepare_data(data, validation, batch_size, module, generator)
        ours = copy.deepcopy(module)
        ours.zero_grad(set_to_none=True)
        kept = {layer.name: torch.arange(layer.width) for layer in layers}
        network = ShrinkingModule(ours, layers, kept, probe_rows(pruning_data, PROBE_ROWS))
        _check_probe(network)
        yield PruningRun(
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


def checked_widths(keep: Any, layers: list[NeuronLayer]) -> dict[str, int]:
    """Check the given numbers of neurons, and return them by layer."""
    widths = {layer.name: layer.width for layer in layers}
    if not isinstance(keep, dict):
        if len(layers) > 1:
            expected = (
                f"'auto' or the numbers for some of the {len(layers)} hidden layers, {widths}"
            )
            raise bad_value("keep", keep, expected)
        only = layers[0]
        return {only.name: check_integer("keep", keep, 1, only.width, otherwise="'auto'")}
    for name in keep:
        if name not in widths:
            raise bad_value("keep", Shown(f"layer {name!r}"), f"names of hidden layers, {widths}")
    if not keep:
        raise bad_value("keep", keep, f"at least one of the hidden layers, {widths}")
    return {name: check_integer(f"keep[{name!r}]", k, 1, widths[name]) for name, k in keep.items()}


def _check_probe(network: ShrinkingModule) -> None:
    """Raise ValueError unless the module accepts the rows."""
    probe = network.probe
    try:
        outputs(network.module, probe)
    except RuntimeError as error:
        raise ValueError(
            f"X: got rows of shape {tuple(probe.shape[1:])} and dtype {probe.dtype}; expected rows "
            f"that the module accepts ({error})"
        ) from error


def _refuse_frozen(module: nn.Module, layers: list[NeuronLayer]) -> None:
    for layer in layers:
        weights = [module.get_submodule(n).weight for n in (layer.name, *layer.readers)]
        if not all(isinstance(w, nn.Parameter) and w.requires_grad for w in weights):
            got = Shown("frozen weights (requires_grad=False) in it or in a reader")
            raise bad_value(f"layer {layer.name!r}", got, "weights that can be trained")
