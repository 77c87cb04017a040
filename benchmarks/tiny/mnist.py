"""Accuracy of networks for microcontrollers on the MNIST test images, against bytes of flash.

    python -m benchmarks.tiny.mnist mnist.npz [--seeds 3] [--only 500,1000] [--plot frontier.png]
        [--distort] [--filters]

The archive has x_train, y_train, x_test and y_test.  Sizes and bits are fixed beforehand; nothing
is chosen on the test images.  With --distort the fit sees distorted copies of its images, and the
fine-tuning distorts them anew in each step.  With --filters learned filters take the place of
pooling.  The bytes are those of arm-none-eabi-gcc at -Os for a
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
from secateurs.tiny import Filters, distorted_copies, learn_filters, quantize
from secateurs.tiny.figures import bytes_figure
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.peers import MNIST_PEERS
from secateurs.tiny.pooling import Pooling

SHAPE = (28, 28)
CASES = [(545, 50, 4), (1000, 72, 4), (1900, 100, 3), (3900, 100, 4)]  # weights, units, bits
DISTORTED_CASES = [(4240, 100, 4), (8100, 140, 4)]
FILTER_CASES = [(400, 40, 4), (560, 40, 4), (900, 50, 4), (1500, 64, 4), (2500, 80, 4)]
DISTORTED_FILTER_CASES = [(2500, 80, 4), (4500, 120, 4)]
FEW, MANY = 8, 16  # filters of networks with at most `SMALL` weights, and of larger ones
SMALL = 560
CERTIFYING = 6000  # rows that certify; the fit sees the others
PLAIN_EPOCHS, PLAIN_TUNING = 60, 20
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


def trained_network(
    X: Any, y: Any, s: int, hidden: int, bits: int, seed: int, *, distort: bool,
    known: dict[int, Filters] | None,
) -> IntegerNetwork:  # fmt: skip
    """Fit a network, and fine-tune it for 20 epochs; with distorted images for 40.

    `known` has the filters of this seed by their number, and is completed; None pools instead.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    train, unseen = order[CERTIFYING:], order[:CERTIFYING]
    X, y, certify = X[train], y[train], (X[unseen], y[unseen])
    strength, copies = (STRENGTH, COPIES) if distort else (0.0, 0)
    stage: dict[str, Any] = {"pool": 2}
    read: Any = Pooling(*SHAPE, 2)
    if known is not None:
        count = FEW if s <= SMALL else MANY
        if count not in known:
            known[count] = learn_filters(X, y, SHAPE, count, distort=strength, random_state=seed)
        read = known[count]
        stage = {"filters": read}
    images = distorted_copies(X, SHAPE, strength=strength, copies=copies, random_state=seed)
    model = SparseMLPClassifier(
        *(s, (hidden,), EPOCHS // (COPIES + 1) if distort else PLAIN_EPOCHS),
        **{"random_state": seed, "model": "network", "validation_fraction": 0.0},
    )
    model.fit(read(images), np.tile(y, copies + 1))
    return quantize(
        *(model, X, y, bits, TUNING if distort else PLAIN_TUNING),
        **{"image_shape": SHAPE, **stage, "certify": certify},
        **{"distort": strength, "random_state": seed},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--plot")
    parser.add_argument("--distort", action="store_true")
    parser.add_argument("--filters", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(options.archive)
    X, X_test = (data[f"x_{part}"].reshape(-1, 784) for part in ("train", "test"))
    y, y_test = data["y_train"], data["y_test"]
    known = DISTORTED_CASES if options.distort else CASES
    if options.filters:
        known = DISTORTED_FILTER_CASES if options.distort else FILTER_CASES
    wanted = {int(s) for s in options.only.split(",") if s}
    cases = [case for case in known if not wanted or case[0] in wanted]
    found: dict[int, list[dict[str, Any]]] = {s: [] for s, _, _ in cases}
    for seed in range(options.seeds):
        filters: dict[int, Filters] | None = {} if options.filters else None
        for s, hidden, bits in cases:
            network = trained_network(
                X, y, s, hidden, bits, seed, distort=options.distort, known=filters
            )
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
