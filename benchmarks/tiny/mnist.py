"""Accuracy of networks for microcontrollers on the MNIST test images, against bytes of flash.

    python -m benchmarks.tiny.mnist mnist.npz [--seeds 3] [--only 500,1000] [--plot frontier.png]
        [--distort]

The archive has x_train, y_train, x_test and y_test.  Sizes and bits are fixed beforehand; nothing
is chosen on the test images.  With --distort the fit sees distorted copies of its images, and the
fine-tuning distorts them anew in each step.  The bytes are those of arm-none-eabi-gcc at -Os for a
Cortex-M0, linked with the part of libgcc that is needed, where this compiler is installed;
otherwise they are the estimate of `secateurs.tiny.footprint`.
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
from secateurs.tiny import distorted_copies, quantize
from secateurs.tiny.figures import bytes_figure
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.peers import MNIST_PEERS
from secateurs.tiny.pooling import Pooling

SHAPE = (28, 28)
CASES = [(545, 50, 4), (1000, 72, 4), (1900, 100, 3), (3900, 100, 4)]  # weights, units, bits
DISTORTED_CASES = [(4240, 100, 4), (8100, 140, 4)]
CERTIFYING = 6000  # rows that certify where the fit sees distorted copies
STRENGTH, COPIES = 1.0, 8  # shifts of a pixel and rotations of 8 degrees
EPOCHS, TUNING = 240, 40  # passes of a fit over as many images as there are, and of the tuning
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


def plain_network(X: Any, y: Any, s: int, hidden: int, bits: int, seed: int) -> IntegerNetwork:
    """Fit on the images, and fine-tune on them for 20 epochs."""
    model = SparseMLPClassifier(s, (hidden,), 60, random_state=seed, model="network")
    model.fit(Pooling(*SHAPE, 2)(X), y)
    return quantize(model, X, y, bits, 20, image_shape=SHAPE, pool=2, random_state=seed)


def distorted_network(X: Any, y: Any, s: int, hidden: int, bits: int, seed: int) -> IntegerNetwork:
    """Fit on images and distorted copies, and fine-tune on images that are distorted anew."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, unseen = order[CERTIFYING:], order[:CERTIFYING]
    copies = distorted_copies(X[train], SHAPE, strength=STRENGTH, copies=COPIES, random_state=seed)
    model = SparseMLPClassifier(
        *(s, (hidden,), EPOCHS // (COPIES + 1)),
        **{"random_state": seed, "model": "network", "validation_fraction": 0.0},
    )
    model.fit(Pooling(*SHAPE, 2)(copies), np.tile(y[train], COPIES + 1))
    return quantize(
        *(model, X[train], y[train], bits, TUNING),
        **{"image_shape": SHAPE, "pool": 2, "certify": (X[unseen], y[unseen])},
        **{"distort": STRENGTH, "random_state": seed},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--plot")
    parser.add_argument("--distort", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(options.archive)
    X, X_test = (data[f"x_{part}"].reshape(-1, 784) for part in ("train", "test"))
    y, y_test = data["y_train"], data["y_test"]
    train, known = plain_network, CASES
    if options.distort:
        train, known = distorted_network, DISTORTED_CASES
    wanted = {int(s) for s in options.only.split(",") if s}
    cases = [case for case in known if not wanted or case[0] in wanted]
    found: dict[int, list[dict[str, Any]]] = {s: [] for s, _, _ in cases}
    for seed in range(options.seeds):
        for s, hidden, bits in cases:
            network = train(X, y, s, hidden, bits, seed)
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
        print(f"{peer.series}: {peer.name}, {peer.accuracy:.4f} in {peer.flash} B")
    if options.plot:
        save_figure(bytes_figure(points, "accuracy on the MNIST test images", True), options.plot)


if __name__ == "__main__":
    main()
