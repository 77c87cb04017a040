"""Fewer and fewer neurons by a smooth group penalty that grows.

    L(theta) + lambda sum_l sum_j ||g_lj||^2 / (m_l sqrt(||g_lj||^2 + beta_l))            (1)

    balance the neurons;  m_l <- largest norm of layer l
    every step:      Adam on (1); lambda grows by the same factor every step             (2)
    every T steps:   sqrt(beta_l) <- 0.05 of the largest norm of layer l                  (3)
                     remove the neurons with ||g|| < sqrt(beta) / 2, moments and all      (4)
                     keep a copy, greedily pruned at 2 sqrt(beta), if it is smaller       (5)
    until every layer is at its target, or the training loss is halfway to a constant's

After balancing, ||g|| is proportional to the square root of the share of a neuron in the
function.  So (1) is concave in the shares, and of two neurons with the same direction only one
survives.
"""

from __future__ import annotations

from collections.abc import Callable

from secateurs.core.schedules import WARM_UP
from secateurs.nn.penalty import add_penalty_gradient, balance
from secateurs.nn.run_state import PruningRun, record_in_six_digits
from secateurs.nn.shrinking_module import ShrinkingModule
from secateurs.nn.training_steps import adam, train_and_look

ROOT_BETA = 0.05  # sqrt(beta) over the largest norm, (3)
VANISHED, PRUNED = 0.5, 2.0  # norms over sqrt(beta) below which a neuron is removed, (4) and (5)
LOOKS = 200  # removals along the path
WEAKEST, STRONGEST = 3e-5, 0.3  # lambda over the loss of a constant, at the ends of the path
HOPELESS = 0.5  # training loss, over that of a constant, at which the path ends
FINE, COARSE = 20, 0.8  # up to FINE neurons every width is copied, above it every fifth less
TINY = 1e-30  # keeps scales positive in a layer whose weights are all zero


def group_lasso_path(
    run: PruningRun,
    network: ShrinkingModule,
    targets: dict[str, int],
    n_steps: int,
    *,
    keep_copies: bool,
    on_removal: Callable[[float], None] = lambda _: None,
) -> list[ShrinkingModule]:
    """Train a module under a growing penalty, and remove the neurons that vanish.

    Parameters
    ----------
    run : PruningRun
        Its history gets a record at each removal; Ctrl-C sets its status to "interrupted".
    network : ShrinkingModule
        Trained and pruned in place.
    targets : dict of str to int
        A group is not pruned below its target, which is at least 1; every group has one.
    n_steps : int
        Length of the path.
    keep_copies : bool
        Whether to keep the copies of step (5).
    on_removal : callable
        Called after each removal with the share of the path that is done.

    Returns
    -------
    list of ShrinkingModule
        The copies, from wide to narrow.

    Raises
    ------
    FloatingPointError
        The loss became infinite or NaN.

    Notes
    -----
    A step costs a step of Adam on the current layers, and three passes over the weights for the
    penalty.
    Source: penalty and greedy pruning of Rajaraman et al. (2023), who prove them for matrix
    sensing and quadratic activations; for other networks there is no theorem.
    """
    copies: list[ShrinkingModule] = []
    if _is_done(network, targets):
        return copies
    smallest = network.n_neurons

    def strength(step: int) -> float:  # (2)
        growth: float = (STRONGEST / WEAKEST) ** (step / n_steps)
        return run.null_loss * WEAKEST * growth

    def add_penalty(step: int) -> None:  # (1)
        weight = strength(step)
        for group in network.weights:
            name = group.name
            if group.width > targets[name]:
                add_penalty_gradient(network.module, group, weight / unit[name], beta[name])

    with run.phase("group lasso", network, n_steps) as loop:
        balance(network.module, network.weights)
        network.module.train()
        optimizer = adam(network.module, run.learning_rate)
        unit = {
            name: max(float(q.max()), TINY) ** 0.5 for name, q in network.squared_norms().items()
        }
        beta = _betas(network)
        for mean in train_and_look(
            loop, lambda: network.module, optimizer, run.loss, run.batches,
            n_looks=LOOKS,
            learning_rate=lambda step: run.learning_rate * min(1.0, (step + 1) / WARM_UP),
            add_penalty=add_penalty,
        ):  # fmt: skip
            beta = _betas(network)  # (3)
            network.prune_below(VANISHED * ROOT_BETA, targets, optimizer)  # (4)
            on_removal(loop.step / n_steps)
            record_in_six_digits(
                run.history, step=loop.step, strength=strength(loop.step - 1), loss=mean,
                n_neurons=network.n_neurons,
            )  # fmt: skip
            loop.report(mean, network.n_parameters)
            if keep_copies:
                copy = network.copy()
                copy.prune_below(PRUNED * ROOT_BETA, targets)
                if _is_worth_keeping(copy.n_neurons, smallest):  # (5)
                    smallest = copy.n_neurons
                    copies.append(copy)
            if _is_done(network, targets) or mean > HOPELESS * run.null_loss:
                break
    return copies


def _is_done(network: ShrinkingModule, targets: dict[str, int]) -> bool:
    """Whether every group is at its target."""
    return all(width <= targets[name] for name, width in network.widths.items())


def _is_worth_keeping(n_neurons: int, last: int) -> bool:
    """Whether a copy is enough smaller than the last one, (5)."""
    return n_neurons < last and (n_neurons <= FINE or n_neurons <= COARSE * last)


def _betas(network: ShrinkingModule) -> dict[str, float]:
    return {
        name: max(ROOT_BETA**2 * float(q.max()), TINY)
        for name, q in network.squared_norms().items()
    }
