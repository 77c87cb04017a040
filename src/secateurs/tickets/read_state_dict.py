"""Read linear layers from a safetensors file of a state dict, with ReLU between them.

The names of the tensors give the order of the layers, but not what is between them.  ReLU is an
assumption, which the caller has to report.
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors
from torch import Tensor, nn

from secateurs.core.input_files import check_input
from secateurs.core.parameters import Shown, bad_value
from secateurs.tickets.layers import linear

NAME = re.compile(r"((?:[A-Za-z_]\w*\.)*)(\d+)\.(weight|bias)")
EXPECTED = (
    "the state dict of nn.Sequential(Linear, ReLU, Linear, ...): tensors named 0.weight, 0.bias, "
    "2.weight, ..."
)


def read_state(path: str | Path) -> nn.Sequential:
    """Read linear layers in the order of their numbers, with ReLU between every two.

    Parameters
    ----------
    path : str or Path
        A safetensors file with tensors ``0.weight`` [n_out, n_in], ``0.bias`` [n_out], ...; a
        common prefix (``net.0.weight``) is allowed.

    Returns
    -------
    nn.Sequential
        Linear and ReLU by turns, in float64 and in eval mode; it ends with a Linear.

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is damaged, or its tensors are not those of Linear layers that fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    check_input(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    weights, biases = _by_layer(tensors, str(path))
    layers: list[nn.Module] = []
    width = None
    for number, weight in sorted(weights.items()):
        bias, where = biases.get(number), f"{path}: layer {number}"
        if 0 in weight.shape or width not in (None, weight.shape[1]):
            before = "" if width is None else f" that take the {width} outputs of the layer before"
            raise bad_value(where, Shown(f"weights {_shown(weight)}"), f"weights{before}")
        width = weight.shape[0]
        if bias is not None and len(bias) != width:
            raise bad_value(where, Shown(f"{len(bias)} biases"), f"one for each of {width} outputs")
        layers += [linear(weight.double(), None if bias is None else bias.double()), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def _by_layer(tensors: dict[str, Tensor], path: str) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Sort the tensors into weights and biases by the number of their layer."""
    found: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}}
    prefixes = set()
    other = "save any other network as ONNX"
    for name, tensor in tensors.items():
        parts = NAME.fullmatch(name)
        dimensions = 2 if parts is not None and parts[3] == "weight" else 1
        if parts is None or tensor.ndim != dimensions or not tensor.is_floating_point():
            shown = Shown(f"tensor {name[:40]!r}, {_shown(tensor)}")
            raise bad_value(path, shown, EXPECTED, other)
        prefixes.add(parts[1])
        found[parts[3]][int(parts[2])] = tensor
    if len(prefixes) != 1 or not found["bias"].keys() <= found["weight"].keys():
        raise bad_value(path, Shown(f"tensors {', '.join(sorted(tensors))}"), EXPECTED, other)
    return found["weight"], found["bias"]


def _shown(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
