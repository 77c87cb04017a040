"""Linear layers from a safetensors file of a state dict, with ReLU between them.

The names say where a layer stands, not what is between two of them: that is an assumption, which
whoever calls has to state.
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors
import torch
from torch import Tensor, nn

_NAME = re.compile(r"((?:[A-Za-z_]\w*\.)*)(\d+)\.(weight|bias)")
EXPECTED = (
    "expected the state dict of nn.Sequential(Linear, ReLU, Linear, ...): tensors named "
    "0.weight, 0.bias, 2.weight, ...; save any other network as ONNX"
)


def read_state(path: str | Path) -> nn.Sequential:
    """Linear layers in the order of their numbers, ReLU between every two.

    Parameters
    ----------
    path : str or Path
        A safetensors file with tensors ``0.weight`` [n_out, n_in], ``0.bias`` [n_out], ...; a
        common prefix (``net.0.weight``) is allowed.

    Returns
    -------
    nn.Sequential

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is damaged, or its tensors are not those of Linear layers that fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    weights: dict[int, Tensor] = {}
    biases: dict[int, Tensor] = {}
    prefixes = set()
    for name, tensor in tensors.items():
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise ValueError(f"{path}: tensor {name[:60]!r}; {EXPECTED}")
        prefixes.add(parts[1])
        is_weight = parts[3] == "weight"
        if tensor.ndim != (2 if is_weight else 1) or not tensor.is_floating_point():
            raise ValueError(f"{path}: tensor {name!r} is {_shown(tensor)}; {EXPECTED}")
        (weights if is_weight else biases)[int(parts[2])] = tensor
    if len(prefixes) != 1 or not biases.keys() <= weights.keys():
        raise ValueError(f"{path}: tensors {', '.join(sorted(tensors))[:200]!r}; {EXPECTED}")
    layers: list[nn.Module] = []
    width = None
    for number, weight in sorted(weights.items()):
        bias = biases.get(number)
        if 0 in weight.shape or (width is not None and weight.shape[1] != width):
            raise ValueError(
                f"{path}: layer {number} has weights {_shown(weight)}, the layer before it "
                f"{width} outputs"
            )
        width = weight.shape[0]
        if bias is not None and len(bias) != width:
            raise ValueError(f"{path}: layer {number} has {len(bias)} biases for {width} outputs")
        layer = nn.Linear(weight.shape[1], width, bias is not None, device="meta")
        layer.weight = nn.Parameter(weight.to(torch.float64))
        if bias is not None:
            layer.bias = nn.Parameter(bias.to(torch.float64))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def _shown(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
