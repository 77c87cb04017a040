"""The number of neurons of a ReLU teacher: group lasso against L2 norms with the known number.

    python -m benchmarks.nn.neurons [--neurons 3 5 8] [--seeds 10] [--noise 0] [--first 0]
        [--steps 3000]

A student of 100 neurons is trained on 1,800 rows of 20 inputs.  Both methods start from it, train
on these rows and choose on 200 others.  `prune_neurons` does not know the number r and has the same
parameters in all cases.  L2 pruning knows r, and its fine-tuning has as many steps as all phases of
`prune_neurons`.  The test loss is the mean squared error on test rows without noise, over the
variance of y.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from benchmarks.nn.dense_training import train_dense
from secateurs.nn import l2_prune_neurons, prune_neurons
from secateurs.nn.teacher import TeacherProblem, relu_teacher

ROWS, VALIDATION, INPUTS, STUDENT = 2000, 200, 20, 100
TRAIN_STEPS = 3000


def train_student(problem: TeacherProblem, seed: int) -> nn.Sequential:
    """Train a dense student by Adam with a cosine schedule."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = nn.Sequential(nn.Linear(INPUTS, STUDENT), nn.ReLU(), nn.Linear(STUDENT, 1))
    data = tensors(problem.X[VALIDATION:], problem.y[VALIDATION:])
    train_dense(student, mse_loss, data, TRAIN_STEPS, 1e-2, seed)
    return student


def tensors(X: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32)


def test_loss(module: nn.Module, problem: TeacherProblem) -> float:
    X, y = tensors(problem.X_test, problem.y_test)
    with torch.no_grad():
        return float(mse_loss(module(X), y) / y.var())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, nargs="*", default=[3, 5, 8])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=3000, help="of each phase")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for r in arguments.neurons:
        exact, ratios = 0, []
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            problem = relu_teacher(ROWS, INPUTS, r, noise=arguments.noise, random_state=seed)
            student = train_student(problem, seed)
            y = problem.y[:, None]
            data = (problem.X[VALIDATION:], y[VALIDATION:])
            held: dict[str, Any] = {
                "validation": (problem.X[:VALIDATION], y[:VALIDATION]),
                "random_state": seed,
            }
            began = time.process_time()
            ours = prune_neurons(student, mse_loss, data, n_steps=arguments.steps, **held)
            cpu = time.process_time() - began
            short = len(ours.widths_tried["n_neurons"]) * (arguments.steps // 4)
            steps = int(ours.history["step"][-1]) + short + arguments.steps
            began = time.process_time()
            plain = l2_prune_neurons(student, mse_loss, data, r, fine_tune_steps=steps, **held)
            cpu_plain = time.process_time() - began
            width = ours.widths["0"]
            exact += width == r
            losses = [test_loss(m, problem) for m in (student, ours.module, plain.module)]
            ratios.append(losses[2] / losses[1])
            print(
                f"r={r} seed {seed}: student {losses[0]:.2e}, group lasso {width} neurons "
                f"{losses[1]:.2e} (cpu {cpu:.1f} s), L2 pruning to {r} {losses[2]:.2e} "
                f"(cpu {cpu_plain:.1f} s), ratio {ratios[-1]:.3g}",
                flush=True,
            )
        print(
            f"r={r}: exactly r in {exact} of {arguments.seeds}; loss of L2 pruning over ours: "
            f"median {np.median(ratios):.3g}, above 10 in {np.sum(np.array(ratios) > 10)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
