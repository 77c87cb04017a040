"""Models for MNIST that emlearn turns into C, their accuracy, and their bytes of flash.

    python -m benchmarks.tiny.emlearn_models mnist.npz [--packages SITE_PACKAGES]

emlearn has to be importable, or is in the given folder of packages, which may be that of another
environment.  Inputs are pixels, pooled to 14 x 14.  Accuracy is that of emlearn's program in C on
the MNIST test images.  The bytes are those of code and constants, linked by arm-none-eabi-gcc at
-Os for a Cortex-M0 with the parts of the C library that they need; pooling is not in them.  Trees
read doubled pixels, because emlearn cuts their thresholds to whole numbers, and these lie halfway
between pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.tiny.mnist import COMPILER, SHAPE
from secateurs.tiny.pooling import Pooling

UNITS = (8, 16)
LEAVES = ((10, 30), (10, 100))  # trees, and leaves of each

ENTRY = """#include "model.h"
volatile int result;
{kind} pixels[196];
int entry(void) {{ return result = {call}; }}
"""
HOST = """#include "model.h"
#include <stdio.h>
static {kind} pixels[196];
int main(void) {{
    while (fread(pixels, sizeof pixels, 1, stdin) == 1)
        printf("%d\\n", {call});
    return 0;
}}
"""


def linked_bytes(folder: Path, include: str, words: dict[str, str]) -> int:
    """Bytes of code and constants of a program that calls the model once."""
    (folder / "main.c").write_text(ENTRY.format(**words))
    flags = ["-std=c99", "-mcpu=cortex-m0", "-mthumb", "-Os", "-ffunction-sections"]
    flags += [
        "-fdata-sections",
        "-Wl,--gc-sections,-e,entry",
        "-nostartfiles",
        "-specs=nosys.specs",
    ]
    command = [COMPILER, *flags, f"-I{include}", "main.c", "-lm", "-o", "all.elf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    sizes = subprocess.run(
        ["arm-none-eabi-size", "-A", "all.elf"],
        **{"cwd": folder, "check": True, "capture_output": True, "text": True},
    ).stdout
    found = re.findall(r"^\.(?:text|rodata|data)\s+(\d+)", sizes, re.MULTILINE)
    return sum(map(int, found))


def predictions(folder: Path, include: str, words: dict[str, str], X: Any) -> Any:
    """Predictions of the program in C on this machine."""
    (folder / "host.c").write_text(HOST.format(**words))
    command = ["gcc", "-std=c99", "-O2", f"-I{include}", "host.c", "-lm", "-o", "host"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    out = subprocess.run(
        ["./host"], cwd=folder, check=True, input=X.tobytes(), stdout=subprocess.PIPE
    ).stdout
    return np.array(out.split(), dtype=np.int64)


def report(name: str, model: Any, X: Any, y: Any, call: str, emlearn: Any, **options: Any) -> None:
    """Convert a fitted model, score its program in C, and compile it for the microcontroller."""
    method = str(options["method"])
    words = {"kind": "int16_t" if X.dtype == np.int16 else "float", "call": call}
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        with (
            contextlib.chdir(folder),
            warnings.catch_warnings(),
        ):  # emlearn makes a folder of its own
            converted = emlearn.convert(model, **options)
            warnings.simplefilter("ignore", DeprecationWarning)
            converted.save(file="model.h", name="model", inference=[method])
        accuracy = float(np.mean(predictions(folder, emlearn.includedir, words, X) == y))
        flash = linked_bytes(folder, emlearn.includedir, words)
    print(f"{name:40}{accuracy:.4f} {flash:7,} B", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--packages")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.packages:
        sys.path.append(options.packages)
    before = np.geterr()
    import emlearn

    np.seterr(**before)  # the import changes it
    data = np.load(options.archive)
    pooling = Pooling(*SHAPE, 2)
    X, X_test = (pooling(data[f"x_{part}"].reshape(-1, 784)) for part in ("train", "test"))
    y, y_test = data["y_train"], data["y_test"]
    for units in UNITS:
        model = MLPClassifier((units,), max_iter=20, early_stopping=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X / 255.0, y)
        rows = (X_test / 255.0).astype(np.float32)
        name, call = f"dense network, {units} units, float", "eml_net_predict(&model, pixels, 196)"
        report(name, model, rows, y_test, call, emlearn, method="loadable")
    doubled, rows = (2 * pixels.astype(np.int16) for pixels in (X, X_test))
    for trees, leaves in LEAVES:
        forest = RandomForestClassifier(trees, max_leaf_nodes=leaves, random_state=0)
        forest.fit(doubled, y)
        name, call = f"{trees} trees of at most {leaves} leaves", "model_predict(pixels, 196)"
        kind = {"method": "inline", "dtype": "int16_t"}
        report(name, forest, rows, y_test, call, emlearn, **kind)


if __name__ == "__main__":
    main()
