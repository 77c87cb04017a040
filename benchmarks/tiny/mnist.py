"""Accuracy of networks for microcontrollers on the MNIST test images, against bytes of flash.

python -m benchmarks.tiny.mnist mnist.npz [--seeds 3] [--only 500,1000] [--plot frontier.png]

The archive has x_train, y_train, x_test and y_test.  Sizes and bits are fixed beforehand; nothing
is chosen on the test images.  The bytes are those of arm-none-eabi-gcc at -Os for a Cortex-M0,
linked with the part of libgcc that is needed, where this compiler is installed; otherwise they are
the estimate of `secateurs.tiny.footprint`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateurs import SparseMLPClassifier
from secateurs.core.figures import save_figure
from secateurs.tiny import quantize
from secateurs.tiny.figures import bytes_figure
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.peers import MNIST_PEERS
from secateurs.tiny.pooling import Pooling

SHAPE = (28, 28)
CASES = [(545, 50, 4), (1000, 72, 4), (1900, 100, 3), (3900, 100, 4)]  # weights, units, bits
COMPILER = "arm-none-eabi-gcc"


def compiled_bytes(network: IntegerNetwork) -> int:
    """Bytes of flash of the program, from the compiler if there is one."""
    if shutil.which(COMPILER) is None:
        return network.flash_bytes_
    with tempfile.TemporaryDirectory() as folder:
        network.to_c(Path(folder) / "net.c")
        flags = ["-std=c99", "-mcpu=cortex-m0", "-mthumb", "-Os", "-nostdlib", "-Wl,-e,net_predict"]
        command = [COMPILER, *flags, "net.c", "-lgcc", "-o", "net.elf"]
        subprocess.run(command, cwd=folder, check=True)
        sizes = subprocess.run(
            ["arm-none-eabi-size", "-A", "net.elf"],
            **{"cwd": folder, "check": True, "capture_output": True, "text": True},
        ).stdout
    return sum(map(int, re.findall(r"^\.(?:text|rodata)\s+(\d+)", sizes, re.MULTILINE)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--plot")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(options.archive)
    X, X_test = (data[f"x_{part}"].reshape(-1, 784) for part in ("train", "test"))
    y, y_test = data["y_train"], data["y_test"]
    pooled = Pooling(*SHAPE, 2)(X)
    wanted = {int(s) for s in options.only.split(",") if s}
    cases = [case for case in CASES if not wanted or case[0] in wanted]
    found: dict[int, list[dict[str, Any]]] = {s: [] for s, _, _ in cases}
    for seed in range(options.seeds):
        for s, hidden, bits in cases:
            model = SparseMLPClassifier(s, (hidden,), 60, random_state=seed, model="network")
            model.fit(pooled, y)
            network = quantize(model, X, y, bits, 20, image_shape=SHAPE, pool=2, random_state=seed)
            row = {
                "weights": network.n_nonzero_,
                "hidden": hidden,
                "bits": bits,
                "seed": seed,
                "flash": compiled_bytes(network),
                "estimate": network.flash_bytes_,
                "ram": network.ram_bytes_,
                "test": network.score(X_test, y_test),
                "bound": network.certificate_["held-out error"].measured,
            }
            print(json.dumps(row), flush=True)
            found[s].append(row)
    points = []
    for s, rows in found.items():
        mean = float(np.mean([row["test"] for row in rows]))
        flash = max(row["flash"] for row in rows)
        points.append({"flash": flash, "score": mean, "label": f"{s} weights"})
        print(f"{s} weights: mean {mean:.4f} of {len(rows)} seeds, at most {flash} B")
    for peer in MNIST_PEERS:
        print(f"{peer.name}: {peer.accuracy:.4f} in {peer.flash} B (their accuracy)")
    if options.plot:
        save_figure(bytes_figure(points, "accuracy on the MNIST test images", True), options.plot)


if __name__ == "__main__":
    main()
