"""Training of a module on its loss alone; the best state on the validation rows is kept."""

from __future__ import annotations

from dataclasses import replace

from secateurs.core.schedules import learning_rate_at
from secateurs.nn.run_state import PruningRun
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule
from secateurs.nn.training_steps import adam, train_and_look

LOOKS = 10  # evaluations on the validation rows during a fine-tuning


def fine_tune(
    run: PruningRun, network: ShrinkingModule, n_steps: int, phase: str = "fine-tuning"
) -> ScoredModule:
    """Train a copy by Adam, with a warm-up and a cosine schedule.

    Returns the state with the lowest validation loss among the start and ten looks on the way;
    Ctrl-C sets ``run.status``.  FloatingPointError if the loss becomes infinite or NaN.
    """
    best: ScoredModule | None = None
    if not n_steps:
        return run.score(network)
    with run.phase(phase, network, n_steps) as loop:
        best = run.score(network)
        work = network.copy()
        work.module.train()
        for mean in train_and_look(
            loop, lambda: work.module, adam(work.module, run.learning_rate), run.loss, run.batches,
            n_looks=LOOKS,
            learning_rate=lambda step: run.learning_rate * learning_rate_at(step, n_steps),
        ):  # fmt: skip
            now = run.score(work)
            if now.loss < best.loss:
                best = replace(now, network=work.copy())
            loop.report(mean, work.n_parameters)
    return run.score(network) if best is None else best
