"""Throughput on this processor at half of the FLOPs, planning time and memory.

    python -m benchmarks.nn.speed [--memory mnist.npz]

ResNet-18 and VGG-11 of torchvision, 64 x 64 images in batches of 8, widths rounded to multiples
of 8, one thread; the best of seven runs.  With --memory: the largest resident memory of a call of
`prune` on an MNIST network, above what the module and the data took before it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.nn.mnist import read_parts
from benchmarks.nn.torch_zoo import make
from secateurs.nn import plan, prune


def seconds(module: nn.Module, x: torch.Tensor) -> float:
    times = []
    with torch.no_grad():
        module(x)
        for _ in range(7):
            start = time.process_time()
            module(x)
            times.append(time.process_time() - start)
    return min(times)


def memory(name: str) -> int:
    """Return a line of /proc/self/status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        fit, validation, _ = read_parts(arguments.memory)
        module = nn.Sequential(
            nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
        )
        with torch.enable_grad():  # what any training needs is not counted
            cross_entropy(module(fit[0][:128]), fit[1][:128]).backward()
        torch.export.export(module, (fit[0][:4],), strict=False)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        before = memory("VmRSS")
        prune(module, cross_entropy, fit, flops=0.25, validation=validation, fine_tune_steps=100)
        after = memory("VmHWM")
        print(f"memory of prune above the module, the data and one export: "
              f"{(after - before) / 1024:.0f} MB")  # fmt: skip
        return
    for name in ("torchvision resnet18", "torchvision vgg11_bn"):
        module, _ = make(name)
        x = torch.randn(8, 3, 64, 64)
        found = plan(module, x[:2])
        cut = found.choose(found.score("norm"), flops=0.5, round_to=8, per_layer=True)
        small = cut.apply(each_group=False)
        before, after = seconds(module, x), seconds(small.module.eval(), x)
        print(
            f"{name}: {cut.flops / found.flops:.1%} of the FLOPs, {before / after:.2f} times as "
            f"fast ({1000 * before:.0f} ms, then {1000 * after:.0f} ms)",
            flush=True,
        )


if __name__ == "__main__":
    main()
