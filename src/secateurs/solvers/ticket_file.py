"""The file of a ticket: safetensors with packed masks, and one JSON text.

    LAYER.plus, LAYER.minus, LAYER.bias   uint8   the masks, as many bits each as the highest one
                                                  set needs, weight after weight, lowest bit first
    __metadata__     {"secateurs": JSON of `TicketRecord`}

The random weights are not in it: they are drawn again from the seed by `random_stream`, and the
checksum of what the masks add up to says whether they came out the same.  A file is untrusted:
sizes are checked before arrays are made.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateurs.files import write_atomically
from secateurs.solvers.subset_sum import MAX_TERMS, pack_masks, unpack_masks
from secateurs.solvers.ticket_layers import Layer, stack_problem
from secateurs.solvers.ticket_network import Ticket, bits_in
from secateurs.sparse.storage import MAX_JSON, DamagedFileError

MAX_WEIGHTS = 1 << 32
PIECE = 1 << 16  # masks packed together; a multiple of 8
_METADATA = "secateurs"
Positive = Annotated[float, Field(gt=1e-30, lt=1e30, allow_inf_nan=False)]


class TicketRecord(BaseModel):
    """Everything in a ticket file but the masks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["ticket"]
    format: Literal[1]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    eps: Positive
    scale: Positive
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
    bits: dict[str, Annotated[int, Field(ge=1, le=MAX_TERMS)]]
    checksum: Annotated[int, Field(ge=0, lt=2**32)]


def ticket_bytes(ticket: Ticket) -> bytes:
    """Content of a ticket file; the same ticket gives the same bytes.

    About log2(scale / eps) + 10 bits a weight: as many as the longest mask of the layer needs.
    """
    arrays, bits = {}, {}
    for number, masks in enumerate(ticket.masks):
        for name, mask in masks.items():
            key = f"{number}.{name}"
            bits[key] = bits_in(mask)
            arrays[key] = _pack(mask, bits[key])
    record = TicketRecord(
        kind="ticket",
        format=1,
        seed=ticket.seed,
        eps=ticket.eps,
        scale=ticket.scale,
        layers=ticket.layers,
        bits=bits,
        checksum=checksum(ticket),
    )
    text = json.dumps(record.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return safetensors.numpy.save(arrays, metadata={_METADATA: text})


def save_ticket(path: str | Path, ticket: Ticket) -> int:
    """Write a ticket to a file, atomically; the number of bytes is returned."""
    content = ticket_bytes(ticket)
    write_atomically(path, content)
    return len(content)


def load_ticket(path: str | Path) -> Ticket:
    """Read and check a file made by `save_ticket`.

    The random weights are drawn again, and what the masks add up to is compared with the
    checksum of the writer.

    Returns
    -------
    Ticket
        `masked_module` and `effective_module` make torch modules of it.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        With the path and the first thing that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no ticket file at {path}")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            record = _record((file.metadata() or {}).get(_METADATA), path)
            shapes = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _check_layout(shapes, record, path)
            arrays = {name: file.get_tensor(name) for name in shapes}
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise DamagedFileError(f"{path}: not a readable safetensors file ({error})") from error
    masks = tuple(
        {
            name: _unpack(arrays[f"{number}.{name}"], shape, record.bits[f"{number}.{name}"])
            for name, shape in layer.blocks().items()
        }
        for number, layer in enumerate(record.layers)
    )
    ticket = Ticket(record.seed, record.eps, record.scale, record.layers, masks)
    found = checksum(ticket)
    if found != record.checksum:
        raise DamagedFileError(
            f"{path}: the weights have checksum {found}, not {record.checksum}: the seed or the "
            "masks were changed"
        )
    return ticket


def checksum(ticket: Ticket) -> int:
    """CRC-32 of what the masks of all layers add up to, as little-endian float64."""
    value = 0
    for number in range(len(ticket.layers)):
        for weights in ticket.approximation(number).values():
            value = zlib.crc32(np.ascontiguousarray(weights, "<f8").tobytes(), value)
    return value


def _record(text: str | None, path: Path) -> TicketRecord:
    if text is None:
        raise DamagedFileError(f"{path}: a safetensors file, but not one of secateurs")
    if len(text) > MAX_JSON:
        raise DamagedFileError(f"{path}: metadata of {len(text)} characters, at most {MAX_JSON}")
    try:
        record = TicketRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedFileError(f"{path}: metadata {where}: {first['msg']}"[:500]) from error
    problem = stack_problem(record.layers)
    if problem:
        raise DamagedFileError(f"{path}: {problem}")
    return record


def _check_layout(shapes: dict[str, Any], record: TicketRecord, path: Path) -> None:
    """Names, types and lengths, from the header alone."""
    wanted = {
        f"{number}.{name}": rows * inputs
        for number, layer in enumerate(record.layers)
        for name, (rows, inputs) in layer.blocks().items()
    }
    if set(shapes) != set(wanted) or set(record.bits) != set(wanted):
        raise DamagedFileError(f"{path}: the arrays are not those of the layers")
    if sum(wanted.values()) > MAX_WEIGHTS:
        raise DamagedFileError(f"{path}: more than {MAX_WEIGHTS} weights")
    for name, count in wanted.items():
        length = (count * record.bits[name] + 7) // 8
        if shapes[name].get_dtype() != "U8" or list(shapes[name].get_shape()) != [length]:
            raise DamagedFileError(f"{path}: array {name!r} is not {length} bytes")


def _pack(masks: NDArray[np.uint64], bits: int) -> NDArray[np.uint8]:
    parts = [
        np.packbits(unpack_masks(masks[a : a + PIECE], bits).ravel(), bitorder="little")
        for a in range(0, len(masks), PIECE)
    ]
    return np.concatenate(parts)


def _unpack(packed: NDArray[np.uint8], shape: tuple[int, int], bits: int) -> NDArray[np.uint64]:
    masks = np.empty(shape[0] * shape[1], np.uint64)
    for a in range(0, len(masks), PIECE):
        n = min(PIECE, len(masks) - a)
        part = packed[a * bits // 8 : ((a + n) * bits + 7) // 8]
        chosen = np.unpackbits(part, count=n * bits, bitorder="little").astype(bool)
        masks[a : a + n] = pack_masks(chosen.reshape(n, bits))
    return masks
