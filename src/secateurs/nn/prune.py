"""Make a trained torch network narrower: how many neurons are enough, and which."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import nn

from secateurs.certificates.check import Certificate
from secateurs.certificates.neurons import neuron_certificate
from secateurs.nn.data import Batch, Data, Loss, Rows, constant_loss, prepare
from secateurs.nn.fine_tune import PruneCallback, fine_tune
from secateurs.nn.group_lasso import (
    PRUNED,
    group_lasso_path,
    is_worth_keeping,
    prune_below,
    prune_to,
)
from secateurs.nn.groups import CONVS, NeuronLayer, find_layers
from secateurs.nn.network import Judged, Network, judge, outputs, probe_of
from secateurs.nn.remove import AGREEMENT
from secateurs.solvers.threads import threads_for

SHORT = 4  # a width is judged after a quarter of the fine-tuning
PATIENCE = 3  # widths in a row that are not good enough before narrower ones are left out

Keep = int | dict[str, int] | Literal["auto"]


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
    status: str
    history: dict[str, list[float]]
    widths_tried: dict[str, list[float]]
    certificate: Certificate

    @property
    def widths(self) -> dict[str, int]:
        """Neurons left in each hidden layer."""
        return {name: len(index) for name, index in self.kept.items()}


@dataclass
class _Run:
    """What the phases of one run share."""

    loss: Loss
    rows: Rows
    batches: Iterator[Batch]
    original: Judged
    null_loss: float
    learning_rate: float
    fine_tune_steps: int
    progress: PruneCallback | None
    status: str = "budget"
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "strength": [], "loss": [], "n_neurons": []}
    )
    tried: dict[str, list[float]] = field(default_factory=lambda: {"n_neurons": [], "loss": []})


def prune_neurons(
    module: nn.Module,
    loss: Loss,
    data: Data,
    keep: Keep = "auto",
    *,
    max_loss_increase: float | None = None,
    tolerance: float = 1e-3,
    validation: float | Data = 0.1,
    n_steps: int = 6000,
    fine_tune_steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 5e-3,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Remove neurons of a trained network by group lasso, then fine-tune.

    Parameters
    ----------
    module : nn.Module
        Trained.  Linear and Conv layers in a chain with batch normalisation, element-wise
        activations, pooling, flatten and dropout between them, on any device and in any
        floating dtype.  It is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch, such as ``torch.nn.functional.cross_entropy``.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
    keep : "auto", int or dict of str to int
        "auto" chooses the number of neurons on the validation rows.  An int is that of the
        only hidden layer.  With several hidden layers a dict gives the number for each layer
        to be pruned, by its name in the module; layers not named are left as they are.
    max_loss_increase : float, optional
        With "auto": the smallest width whose validation loss exceeds that of `module` by no
        more.  Without it: the smallest width whose loss is within a standard error, or within
        `tolerance`, of the lowest.
    tolerance : float
        Share of what the best network gains over a constant answer.
    validation : float, (X, y) or DataLoader
        Share of the rows set aside, or other data.  Needed when `data` is a DataLoader.
    n_steps : int
        Length of the path under the penalty, in batches.
    fine_tune_steps : int, optional
        Of the network returned; `n_steps` by default.
    batch_size : int
        For (X, y).
    learning_rate : float
        Of Adam, on the path and at the top of the fine-tuning schedule.
    random_state : int, RandomState or None
        Draws the validation rows, batches and dropout.  Global random states are left alone
        (a DataLoader with a generator of its own goes by that).
    progress : callable, optional
        Called with a `PruneProgress`.

    Returns
    -------
    PrunedModule
        A keyboard interrupt ends the run early: what is there is returned, with exactly the
        neurons asked for if a number was given, and the status is "interrupted".

    Raises
    ------
    ValueError, TypeError
        A graph that is not understood, by the name of the node; unusable data or settings.
    FloatingPointError
        The loss became infinite or NaN.
    RuntimeError
        A removal changed the outputs by more than rounding.

    Notes
    -----
    Costs n_steps steps of Adam on layers that shrink, then up to about 30 short fine-tunings
    ("auto") and one full one.
    Source: Rajaraman et al. (2023) for the penalty and the greedy pruning, of which the
    theorem is for quadratic activations; the path, its choice of width and the treatment of
    other networks are ours.
    """
    if max_loss_increase is not None:
        if keep != "auto":
            raise ValueError(
                f"got keep={keep!r} and max_loss_increase={max_loss_increase!r}; expected one of "
                "them: the width, or what it may cost"
            )
        _check_number("max_loss_increase", max_loss_increase)
    _check_number("tolerance", tolerance)
    _check_count("n_steps", n_steps)
    with ExitStack() as stack:
        run = _begin(
            stack, module, loss, data, validation, batch_size, learning_rate,
            n_steps if fine_tune_steps is None else fine_tune_steps, random_state, progress,
        )  # fmt: skip
        network = run.original.network.copy()
        if keep == "auto":
            result, allowed = _choose(run, network, n_steps, max_loss_increase, tolerance)
        else:
            targets = _targets(keep, network.layers)
            _walk(run, network, targets, n_steps, None)
            result = _finish(run, network, targets)
            allowed = tolerance * max(run.null_loss - run.original.loss, 0.0)
        return _report(run, result, allowed, module.training)


def l2_prune_neurons(
    module: nn.Module,
    loss: Loss,
    data: Data,
    keep: int | dict[str, int],
    *,
    tolerance: float = 1e-3,
    validation: float | Data = 0.1,
    fine_tune_steps: int = 6000,
    batch_size: int = 128,
    learning_rate: float = 5e-3,
    balanced: bool = True,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Keep the neurons with the largest L2 norms, then fine-tune: the plain baseline.

    Parameters
    ----------
    module, loss, data, keep, tolerance, validation, fine_tune_steps, batch_size, \
learning_rate, random_state, progress
        As for `prune_neurons`; `keep` is needed.
    balanced : bool
        Compare norms after balancing the weights in and out of every neuron, which leaves
        the function unchanged.

    Returns
    -------
    PrunedModule
        A keyboard interrupt ends the fine-tuning early, with the status "interrupted".

    Raises
    ------
    ValueError, TypeError, FloatingPointError, RuntimeError
        As for `prune_neurons`.
    """
    with ExitStack() as stack:
        run = _begin(
            stack, module, loss, data, validation, batch_size, learning_rate,
            fine_tune_steps, random_state, progress,
        )  # fmt: skip
        network = run.original.network.copy()
        targets = _targets(keep, network.layers)
        result = _finish(run, network, targets, balanced)
        allowed = tolerance * max(run.null_loss - run.original.loss, 0.0)
        return _report(run, result, allowed, module.training)


def _begin(
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
) -> _Run:
    """Check everything, copy the module, and seed what a run draws from."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"got a module of type {type(module).__name__}; expected an nn.Module")
    _check_count("batch_size", batch_size)
    _check_count("fine_tune_steps", fine_tune_steps, 0)
    _check_number("learning_rate", learning_rate)
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
    outputs(ours, network.probe)  # a wrong shape of X shows here, in the module's own words
    original = judge(network, loss, rows)
    return _Run(
        loss, rows, rows.stream(generator), original, constant_loss(ours, loss, rows),
        learning_rate, fine_tune_steps, progress,
    )  # fmt: skip


def _walk(
    run: _Run,
    network: Network,
    targets: dict[str, int],
    n_steps: int,
    stages: list[Network] | None,
) -> None:
    """Follow the path until the targets; note networks worth fine-tuning in `stages`."""
    every = {layer.name: targets.get(layer.name, layer.width) for layer in network.layers}
    if all(layer.width <= every[layer.name] for layer in network.layers):
        return
    path = group_lasso_path(
        network, run.loss, run.batches, targets=every, null_loss=run.null_loss,
        n_steps=n_steps, learning_rate=run.learning_rate, progress=run.progress,
    )  # fmt: skip
    smallest = network.n_neurons
    try:
        for now, record in path:
            for name, value in vars(record).items():
                run.history[name].append(float(f"{value:.6g}"))
            if stages is None:
                continue
            stage = now.copy()
            prune_below(stage, PRUNED, every)
            if is_worth_keeping(stage.n_neurons, smallest):
                smallest = stage.n_neurons
                stages.append(stage)
    except KeyboardInterrupt:
        run.status = "interrupted"


def _choose(
    run: _Run,
    network: Network,
    n_steps: int,
    max_loss_increase: float | None,
    tolerance: float,
) -> tuple[Judged, float]:
    """The smallest width that is good enough, fine-tuned, and the increase it was allowed."""
    stages: list[Network] = []
    _walk(run, network, {layer.name: 1 for layer in network.layers}, n_steps, stages)
    tried: list[tuple[Judged, Network]] = [(run.original, run.original.network)]

    def good(judged: Judged) -> bool:
        if max_loss_increase is not None:
            return judged.loss <= run.original.loss + max_loss_increase
        best = min((t[0] for t in tried), key=lambda j: j.loss)
        excess, error = judged.excess(best)
        return excess <= max(error, tolerance * max(run.null_loss - best.loss, 0.0))

    bad = 0
    for stage in stages:
        steps = 0 if run.status == "interrupted" else run.fine_tune_steps // SHORT
        judged = _tuned(run, stage, steps, "choosing a width")
        tried.append((judged, stage))
        run.tried["n_neurons"].append(stage.n_neurons)
        run.tried["loss"].append(float(f"{judged.loss:.6g}"))
        bad = 0 if good(judged) else bad + 1
        if bad == PATIENCE:
            break
    chosen, stage = min((t for t in tried if good(t[0])), key=lambda t: t[1].n_neurons)
    if run.status != "interrupted":
        if stage is not run.original.network:
            final = _tuned(run, stage, run.fine_tune_steps, "fine-tuning")
            chosen = min(final, chosen, key=lambda judged: judged.loss)
        run.status = "converged" if run.status == "budget" else run.status
    if max_loss_increase is not None:
        return chosen, max_loss_increase
    _, error = chosen.excess(run.original)
    return chosen, max(error, tolerance * max(run.null_loss - run.original.loss, 0.0))


def _finish(run: _Run, network: Network, targets: dict[str, int], balanced: bool = True) -> Judged:
    """Exactly the neurons asked for, fine-tuned."""
    prune_to(network, targets, balanced)
    steps = 0 if run.status == "interrupted" else run.fine_tune_steps
    return _tuned(run, network, steps, "fine-tuning")


def _tuned(run: _Run, network: Network, n_steps: int, phase: str) -> Judged:
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


def _report(run: _Run, result: Judged, allowed: float, training: bool) -> PrunedModule:
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
            gaps=network.gap,
            loss_before=run.original.loss,
            loss_after=result.loss,
            allowed_increase=allowed,
        ),
    )


def _targets(keep: Any, layers: list[NeuronLayer]) -> dict[str, int]:
    widths = {layer.name: layer.width for layer in layers}
    if _is_whole(keep):
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
        if not _is_whole(k) or not 1 <= k <= widths[name]:
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


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_count(name: str, value: Any, least: int = 1) -> None:
    if not _is_whole(value) or value < least:
        raise ValueError(f"{name}={value!r}: expected an integer >= {least}")


def _check_number(name: str, value: Any) -> None:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={value!r}: expected a finite number >= 0")
