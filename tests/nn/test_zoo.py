"""Networks of every family: the smaller module is the silenced one, and reloads without pickle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.nn.zoo_networks import ZOO

from secateurs.core.program import Inputs
from secateurs.nn import load_pruned, plan

ROOT = Path(__file__).parents[2]
# one network of each family; the others are slow tests
QUICK = (
    "mlp", "weight norm", "bfloat16", "inputs by name, outputs in a dict", "autoencoder, tied",
    "top-1 experts with gather", "siamese, cosine", "dlrm", "lenet", "resnet", "resnext",
    "mobilenet", "squeeze and excite", "densenet", "u-net", "group norm", "convnext",
    "shuffle units", "super resolution", "transposed, with groups", "focus and concat",
    "lstm", "recurrent cell by hand", "vision transformer", "llama, grouped queries",
    "gpt, fused and causal", "relative bias and einsum", "nn.MultiheadAttention", "mixer",
    "sigmoid keys", "message passing with index_add", "state space",
)  # fmt: skip


def made(name):
    torch.manual_seed(0)
    module, inputs = ZOO[name]()
    return module.eval(), inputs


def half(found, seed=0):
    """Half of the channels of every group, drawn at random."""
    rng = np.random.default_rng(seed)
    return {
        name: np.sort(rng.choice(group.size, (group.size + 1) // 2, replace=False))
        for name, group in found.groups.items()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("pruned")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # of the constructor of nn.Transformer
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ZOO]
)
def test_half_of_all_groups_at_once_is_exact(name, files):
    module, inputs = made(name)
    found = plan(module, inputs)
    assert found.groups, found
    assert not found.unknown
    small = found.keep(half(found)).apply()
    check = small.certificate["equality"]
    assert check.verdict == "holds"
    assert check.measured < 1e-10
    assert small.n_parameters[1] < small.n_parameters[0]
    assert small.flops[1] <= small.flops[0]
    assert sum(p.numel() for p in small.module.parameters()) == small.n_parameters[1]
    small.save(files / f"{list(ZOO).index(name)}.safetensors")


def test_every_pruned_module_reloads_in_a_fresh_process(files):
    """The process knows the class and the file, and computes the same outputs."""
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from benchmarks.nn.zoo_networks import ZOO\n"
        "from secateurs.nn import load_pruned\n"
        "from secateurs.core.program import Inputs\n"
        "names = list(ZOO)\n"
        "for file in sorted(Path(sys.argv[1]).glob('*.safetensors')):\n"
        "    torch.manual_seed(1)\n"
        "    module, _ = ZOO[names[int(file.stem)]]()\n"
        "    small = load_pruned(file, module.eval())\n"
        "    torch.manual_seed(0)\n"
        "    _, inputs = ZOO[names[int(file.stem)]]()\n"
        "    with torch.no_grad():\n"
        "        Inputs.of(inputs).call(small)\n"
        "    print(file.stem)\n"
    )
    saved = sorted(files.glob("*.safetensors"))
    if not saved:
        pytest.skip("no network was pruned in this run")
    done = subprocess.run(
        [sys.executable, "-c", code, str(files)], capture_output=True, text=True, cwd=ROOT,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [file.stem for file in saved]


@pytest.mark.parametrize("name", ["resnet", "recurrent cell by hand", "bfloat16"])
def test_a_reloaded_module_computes_the_same(name, tmp_path):
    module, inputs = made(name)
    found = plan(module, inputs)
    small = found.keep(half(found, 1)).apply()
    small.save(tmp_path / "m.safetensors")
    fresh, _ = ZOO[name]()  # other weights
    again = load_pruned(tmp_path / "m.safetensors", fresh.eval())
    with torch.no_grad():
        ours, theirs = (Inputs.of(inputs).call(m) for m in (small.module, again))
    assert torch.equal(ours, theirs)
    assert type(again) is type(small.module)


def test_a_channel_of_an_image_goes_with_all_its_columns_of_a_flat_layer():
    module, inputs = made("lenet")
    places = plan(module, inputs).groups["3"].places
    assert {(p.name, p.axis, p.per_channel) for p in places} == {
        ("3.weight", 0, 1), ("3.bias", 0, 1), ("7.weight", 1, 4)
    }  # fmt: skip
