"""What every run of `prune_neurons` or a baseline does before and after its own algorithm."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import nn

from secateurs.core.certificate import Certificate
from secateurs.core.parameters import check_integer, check_real, is_integer
from secateurs.core.solution import Status
from secateurs.core.threads import threads_for
from secateurs.nn.certificate import neuron_certificate
from secateurs.nn.data import Batch, Data, Loss, Rows, constant_loss, prepare
from secateurs.nn.fine_tune import PruneCallback, fine_tune
from secateurs.nn.groups import CONVS, NeuronLayer, find_layers
from secateurs.nn.network import Judged, Network, judge, outputs, probe_of
from secateurs.nn.remove import AGREEMENT


@dataclass(frozen=True, eq=False)
class PrunedModule:
    """A smaller module and how it was found.

    Attributes
    ----------
    module : nn.Module
        Of the class that was given, with narrower layers, in the mode that was given.
    kept : dict of str to array of int64
        For each hidden layer the neurons that survived, as numbered in the module given.
    loss_before, loss_after : float
        On the validation rows.
    status : str
        "converged" (a width was chosen), "budget" (the width asked for was reached) or
        "interrupted".
    history : dict of lists
        The path: "step", "strength" (lambda), "loss" (training), "n_neurons".  Empty for
        `l2_prune_neurons`.
    widths_tried : dict of lists
        "n_neurons", "loss" (validation, after short fine-tuning) of each width compared.
    certificate : Certificate
    """

    module: nn.Module
    kept: dict[str, NDArray[np.int64]]
    loss_before: float
    loss_after: float
    status: Status
    history: dict[str, list[float]]
    widths_tried: dict[str, list[float]]
    certificate: Certificate

    @property
    def widths(self) -> dict[str, int]:
        """Neurons left in each hidden layer."""
        return {name: len(index) for name, index in self.kept.items()}


@dataclass
class Run:
    """What the phases of one run share."""

    loss: Loss
    rows: Rows
    batches: Iterator[Batch]
    original: Judged
    null_loss: float
    learning_rate: float
    fine_tune_steps: int
    progress: PruneCallback | None
    status: Status = "budget"
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "strength": [], "loss": [], "n_neurons": []}
    )
    tried: dict[str, list[float]] = field(default_factory=lambda: {"n_neurons": [], "loss": []})


def begin(
    stack: ExitStack,
    module: nn.Module,
    loss: Loss,
    data: Data,
    validation: float | Data,
    batch_size: int,
    learning_rate: float,
    fine_tune_steps: int,
    random_state: int | np.random.RandomState | None,
    progress: PruneCallback | None,
) -> Run:
    """Check everything, copy the module, and seed what a run draws from."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"got a module of type {type(module).__name__}; expected an nn.Module")
    check_integer("batch_size", batch_size)
    check_integer("fine_tune_steps", fine_tune_steps, 0)
    check_real("learning_rate", learning_rate, least=0)
    layers = find_layers(module)
    _refuse_frozen(module, layers)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    generator = torch.Generator().manual_seed(seed)
    device = next(module.parameters()).device
    # dropout and loaders draw from the global state: give them one of their own, for a while
    if device.type == "cpu":
        stack.enter_context(torch.random.fork_rng(devices=[]))
    else:
        stack.enter_context(torch.random.fork_rng([device], device_type=device.type))
    torch.manual_seed(seed)
    rows = prepare(data, validation, batch_size, module, generator)
    if not any(isinstance(m, CONVS) for m in module.modules()):
        largest = max(p.numel() for p in module.parameters())
        stack.enter_context(threads_for(batch_size * largest))
    ours = copy.deepcopy(module)
    ours.zero_grad(set_to_none=True)
    kept = {layer.name: torch.arange(layer.width) for layer in layers}
    network = Network(ours, layers, kept, probe_of(rows))
    try:
        outputs(ours, network.probe)
    except RuntimeError as error:
        probe = network.probe
        raise ValueError(
            f"the module cannot read X with rows of shape {tuple(probe.shape[1:])} and dtype "
            f"{probe.dtype}: {error}"
        ) from error
    original = judge(network, loss, rows)
    return Run(
        loss, rows, rows.stream(generator), original, constant_loss(ours, loss, rows),
        learning_rate, fine_tune_steps, progress,
    )  # fmt: skip


def tuned(run: Run, network: Network, n_steps: int, phase: str = "fine-tuning") -> Judged:
    """Fine-tune; after an interrupt the best so far."""
    best: Judged | None = None
    try:
        for judged in fine_tune(
            network, run.loss, run.rows, run.batches, n_steps=n_steps,
            learning_rate=run.learning_rate, phase=phase, progress=run.progress,
        ):  # fmt: skip
            best = judged
    except KeyboardInterrupt:
        run.status = "interrupted"
    return judge(network, run.loss, run.rows) if best is None else best


def report(run: Run, result: Judged, allowed: float, training: bool) -> PrunedModule:
    """The result, its certificate and its history, in the mode of the module given."""
    network = result.network
    network.module.train(training)
    network.module.zero_grad(set_to_none=True)
    dtype = next(network.module.parameters()).dtype
    return PrunedModule(
        network.module,
        {name: index.numpy() for name, index in network.kept.items()},
        run.original.loss,
        result.loss,
        run.status,
        run.history,
        run.tried,
        neuron_certificate(
            agreement=network.agreement,
            agreement_tolerance=AGREEMENT.get(dtype, AGREEMENT[torch.float32]),
            gaps={name: (went, network.stayed[name]) for name, went in network.went.items()},
            loss_before=run.original.loss,
            loss_after=result.loss,
            allowed_increase=allowed,
        ),
    )


def targets(keep: Any, layers: list[NeuronLayer]) -> dict[str, int]:
    """The number of neurons asked for in each layer to be pruned, checked."""
    widths = {layer.name: layer.width for layer in layers}
    if is_integer(keep, 1):
        if len(layers) > 1:
            raise ValueError(
                f"got keep={keep} for {len(layers)} hidden layers; expected a dict with the "
                f"number for each layer to be pruned, such as {widths}"
            )
        keep = {layers[0].name: keep}
    if not isinstance(keep, dict) or not keep:
        raise ValueError(f"got keep={keep!r}; expected 'auto', an int or a dict such as {widths}")
    for name, k in keep.items():
        if name not in widths:
            raise ValueError(f"got keep for {name!r}; the hidden layers are {widths}")
        if not is_integer(k, 1, widths[name]):
            raise ValueError(
                f"got keep={k!r} for layer {name!r}; expected an integer from 1 to {widths[name]}"
            )
    return {name: int(k) for name, k in keep.items()}


def _refuse_frozen(module: nn.Module, layers: list[NeuronLayer]) -> None:
    for layer in layers:
        of_layer = [module.get_submodule(n).weight for n in (layer.name, *layer.readers)]
        if not all(isinstance(w, nn.Parameter) and w.requires_grad for w in of_layer):
            raise ValueError(
                f"layer {layer.name!r} or one that reads it is frozen (requires_grad=False); "
                "expected weights that can be trained"
            )
