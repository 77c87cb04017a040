"""Half of all channels of many networks: right, in which form, exported, reloaded; and peers.

    python -m benchmarks.nn.torch_zoo [--only NAME ...] [--peers] [--no-onnx] [--no-times]
        [--json FILE]

For every network: `plan`, half of the channels of all groups at once, `apply` (which verifies in
float64), torch.onnx.export of the smaller module, its file, and its reload in a fresh process.
With torchvision, timm, transformers and torch-pruning on the path, their networks and Torch-Pruning
run as well.  A network is "right" if the smaller module equals the silenced one to 1e-10.
Planning time is compared with torch.export alone, the better of two runs each, and the peak of
memory with that of a forward pass.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.nn.zoo_external import EXTERNAL
from benchmarks.nn.zoo_networks import ZOO
from secateurs.core.program import Inputs, whole_attention
from secateurs.nn import plan
from secateurs.nn.verify import difference

ALL = {**ZOO, **EXTERNAL}
LEAST_MB = 16  # of a forward pass, below which its memory is not compared
PATIENCE = 60  # seconds for one network of a peer


def make(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    module, inputs = ALL[name]()
    return module.eval(), inputs


def export(module: nn.Module, inputs: Inputs) -> None:
    with torch.no_grad(), whole_attention():
        torch.export.export(module, inputs.args, inputs.kwargs, strict=False)


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds, the better of two runs."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def extra_megabytes(work: Callable[[], Any]) -> float:
    """Peak memory of the process during a call, beyond what it had before it (Linux only)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return max(0.0, _status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def exports_to_onnx(module: nn.Module, inputs: Inputs) -> str:
    """Whether the module exports, and ONNX Runtime computes the same outputs."""
    import onnxruntime

    wide = inputs.replaced([t.float() if t.is_floating_point() else t for t in inputs.tensors()])
    ours = copy.deepcopy(module).float().eval()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "m.onnx")
        try:
            with torch.no_grad():
                torch.onnx.export(ours, wide.args, file, kwargs=wide.kwargs, dynamo=True,
                                  verbose=False)  # fmt: skip
                wanted = torch.utils._pytree.tree_leaves(wide.call(ours))
            session = onnxruntime.InferenceSession(file)
            values = [t.numpy() for t in wide.tensors()]
            feed = {i.name: v for i, v in zip(session.get_inputs(), values, strict=True)}
            found = [torch.from_numpy(v) for v in session.run(None, feed)]
        except Exception as error:  # any fault of the exporter counts
            return f"no ({type(error).__name__})"
    tensors = [leaf for leaf in wanted if isinstance(leaf, torch.Tensor)]
    return "yes" if difference(tensors, found) < 1e-3 else "other outputs"


def effort(module: nn.Module, given: Any) -> dict[str, float]:
    """Seconds and memory of planning, and of an export and a forward pass alone."""
    inputs = Inputs.of(given)
    found = {
        "export": seconds(lambda: export(module, inputs)),
        "plan": seconds(lambda: plan(module, given)),
    }
    with torch.no_grad():
        found["forward MB"] = extra_megabytes(lambda: inputs.call(module))
    return found | {"plan MB": extra_megabytes(lambda: plan(module, given))}


def prune_half(name: str, folder: Path, *, onnx: bool, times: bool) -> dict[str, Any]:
    module, given = make(name)
    inputs = Inputs.of(given)
    record: dict[str, Any] = {"name": name}
    try:
        record |= effort(module, given) if times else {}
        found = plan(module, given)
        rng = np.random.default_rng(0)
        kept = {
            n: np.sort(rng.choice(g.size, (g.size + 1) // 2, replace=False))
            for n, g in found.groups.items()
        }
        record |= {"groups": len(found.groups), "unknown": found.unknown}
        small = found.keep(kept).apply()
    except Exception as error:  # a network of any kind may refuse in any way
        return record | {"result": "refused", "why": f"{type(error).__name__}: {error}"[:300]}
    check = small.certificate["equality"]
    record |= {
        "result": "right" if check.verdict == "holds" and found.groups else "nothing pruned",
        "form": small.form,
        "error": check.measured,
        "left": small.n_parameters[1] / small.n_parameters[0],
    }
    if onnx:
        record["onnx"] = exports_to_onnx(small.module, inputs)
    try:
        small.save(folder / f"{list(ALL).index(name)}.safetensors")
    except ValueError as error:
        record["saved"] = str(error)[:200]
    return record


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError inside the block when it takes too long."""

    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def silence_like(name: str) -> str:
    """Run Torch-Pruning as its README says; compare with the module it silences."""
    import torch_pruning

    module, given = make(name)
    inputs = Inputs.of(given)
    example = inputs.kwargs or (inputs.args if len(inputs.args) > 1 else inputs.args[0])
    before = sum(p.numel() for p in module.parameters())
    try:
        outputs = [m for m in module.modules() if isinstance(m, nn.Linear)][-1:]
        pruner = torch_pruning.pruner.MagnitudePruner(
            module, example, importance=torch_pruning.importance.MagnitudeImportance(p=2),
            pruning_ratio=0.5, ignored_layers=outputs,
        )  # fmt: skip
        reference = copy.deepcopy(module)
        compared = True
        for group in pruner.step(interactive=True):
            for dependency, index in group:
                compared = compared and _zero(reference, module, dependency, index)
            group.prune()
        with torch.no_grad():
            found = torch.utils._pytree.tree_leaves(inputs.call(module))
    except TimeoutError:
        raise
    except Exception as error:
        return f"broken ({type(error).__name__})"
    if sum(p.numel() for p in module.parameters()) == before:
        return "nothing pruned"
    if not compared:
        return "runs, not compared"
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(inputs.call(reference))
    same = difference(
        [t for t in wanted if isinstance(t, torch.Tensor)],
        [t for t in found if isinstance(t, torch.Tensor)],
    )
    return "right" if same < 1e-4 else "runs, not equal by our account"


def _zero(reference: nn.Module, module: nn.Module, dependency: Any, index: list[int]) -> bool:
    """Silence in the reference the channels that a dependency removes; False if it cannot."""
    names = {id(m): n for n, m in module.named_modules()}
    name = names.get(id(dependency.target.module))
    if name is None:
        return True
    layer = reference.get_submodule(name)
    left = layer.__dict__.setdefault("_left", {})
    is_out = "out" in dependency.handler.__name__
    for parameter_name, parameter in layer.named_parameters(recurse=False):
        axis = 0 if is_out or parameter.ndim == 1 else 1
        if not is_out and parameter.ndim == 1 and parameter_name == "bias" and layer_reads(layer):
            continue
        key = (parameter_name, axis)
        now = left.get(key, np.arange(parameter.shape[axis]))
        if max(index, default=0) >= len(now):
            return False  # indices that this account does not follow
        gone = now[np.asarray(index)]
        with torch.no_grad():
            parameter.index_fill_(axis, torch.from_numpy(gone), 0)
        left[key] = np.delete(now, np.asarray(index))
    return True


def layer_reads(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)


RELOAD = """
import sys, torch, warnings
warnings.simplefilter("ignore")
from benchmarks.nn.torch_zoo import ALL, make
from secateurs.nn import load_pruned
from secateurs.core.program import Inputs
names = list(ALL)
for file in sys.argv[1:]:
    name = names[int(file.rpartition("/")[2].partition(".")[0])]
    try:
        small = load_pruned(file, make(name, 1)[0])
        with torch.no_grad():
            Inputs.of(make(name)[1]).call(small)
        print(name, flush=True)
    except Exception as error:
        print("FAILED", name, error, file=sys.stderr, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(ALL))
    parser.add_argument("--peers", action="store_true", help="also run Torch-Pruning")
    parser.add_argument("--only-peers", action="store_true", help="run nothing else")
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--no-times", action="store_true", help="measure no time and no memory")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    records = []
    plan(*make("mlp"))  # what torch loads at the first export is not measured
    with tempfile.TemporaryDirectory() as made:
        for name in arguments.only:
            record: dict[str, Any] = {"name": name, "result": "-"}
            if not arguments.only_peers:
                record = prune_half(
                    name, Path(made), onnx=not arguments.no_onnx, times=not arguments.no_times
                )
            if arguments.peers or arguments.only_peers:
                try:
                    with at_most(PATIENCE):
                        record["torch-pruning"] = silence_like(name)
                except TimeoutError:
                    record["torch-pruning"] = "hangs"
            records.append(record)
            print(
                f"{name:36}{record['result']:15}{record.get('form', ''):6}"
                f"{record.get('error', float('nan')):9.1e} onnx {record.get('onnx', ''):12}"
                f"plan/export {record.get('plan', 0) / record.get('export', 1):5.2f} "
                f"MB {record.get('plan MB', 0):.0f}/{record.get('forward MB', 0):.0f} "
                f"{record.get('torch-pruning', '')} {record.get('why', '')}",
                flush=True,
            )
            gc.collect()
            if arguments.json:
                arguments.json.write_text(json.dumps(records, indent=1))
        files = sorted(str(file) for file in Path(made).glob("*.safetensors"))
        again = subprocess.run(
            [sys.executable, "-c", RELOAD, *files], capture_output=True, text=True, check=False
        )
    reloaded = again.stdout.splitlines()
    print("not reloaded:", [line for line in again.stderr.splitlines() if "FAILED" in line])
    peers = [r["torch-pruning"].split(" (")[0] for r in records if "torch-pruning" in r]
    print("Torch-Pruning:", dict(Counter(peers)))
    if arguments.only_peers:
        return
    right = [r for r in records if r["result"] == "right"]
    n = len(records)
    ratios = [r["plan"] / r["export"] for r in records if "plan" in r]
    large = [r for r in records if r.get("forward MB", 0) > LEAST_MB]
    memory = [r["plan MB"] / r["forward MB"] for r in large]
    print(
        f"{n} networks: {len(right)} right ({len(right) / n:.1%}), "
        f"{sum(r['result'] == 'refused' for r in records)} refused, "
        f"{sum(r['result'] == 'nothing pruned' for r in records)} nothing pruned; class form "
        f"{sum(r['form'] == 'class' for r in right)}, ONNX "
        f"{sum(r.get('onnx') == 'yes' for r in right)}, reloaded {len(reloaded)}; planning over "
        f"export: median {np.median(ratios) if ratios else 0:.2f}, "
        f"largest {max(ratios, default=0):.2f}; memory of planning "
        f"over a forward pass, {len(large)} networks whose pass takes over {LEAST_MB} MB: "
        f"median {np.median(memory) if memory else 0:.2f}, largest {max(memory, default=0):.2f}"
    )


if __name__ == "__main__":
    main()
