"""The file of a ticket: an archive with packed masks.

    LAYER.plus, LAYER.minus, LAYER.bias   uint8   the masks, weight after weight, lowest bit first;
                                                  each has the bits that the highest one set needs
    "record"                              the fields of `TicketRecord`

The file does not hold the random weights.  `random_stream` draws them again from the seed, and a
checksum of the sums under the masks shows whether they are the same.  A file is untrusted: sizes
are checked before arrays are made.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from secateurs.core.archive import Archive, archive_bytes, read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.core.output_files import check_output
from secateurs.tickets.layers import Layer, stack_problem
from secateurs.tickets.subset_sums import MAX_TERMS, pack_masks, unpack_masks
from secateurs.tickets.ticket import LEAST_EPS, LEAST_SCALE, MOST_SCALE, Ticket, bits_in

MAX_WEIGHTS = 1 << 32
PIECE = 1 << 16  # masks packed together; a multiple of 8


class TicketRecord(BaseModel):
    """The content of a ticket file without the masks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["ticket"]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    eps: Annotated[float, Field(gt=LEAST_EPS, lt=1)]
    scales: dict[str, Annotated[float, Field(ge=LEAST_SCALE, lt=MOST_SCALE)]]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
    bits: dict[str, Annotated[int, Field(ge=1, le=MAX_TERMS)]]
    checksum: Annotated[int, Field(ge=0, lt=2**32)]


def ticket_bytes(ticket: Ticket) -> bytes:
    """Return the content of a ticket file; the same ticket gives the same bytes.

    It has about log2(1 / eps) + 10 bits a weight: as many as the longest mask of the layer needs.
    """
    arrays, bits, scales = {}, {}, {}
    for number, masks in enumerate(ticket.masks):
        for name, mask in masks.items():
            key = f"{number}.{name}"
            bits[key], scales[key] = bits_in(mask), ticket.scales[number][name]
            arrays[key] = _pack(mask, bits[key])
    record = TicketRecord(
        kind="ticket",
        seed=ticket.seed,
        eps=ticket.eps,
        scales=scales,
        layers=ticket.layers,
        bits=bits,
        checksum=checksum(ticket),
    )
    return archive_bytes(record.model_dump(mode="json", exclude_defaults=True), arrays)


def save_ticket(path: str | Path, ticket: Ticket) -> int:
    """Write a ticket to a file, atomically.

    Parameters
    ----------
    path : str or Path
        Where to write.  An older file of a model or a ticket is replaced.
    ticket : Ticket
        The ticket; its random weights are not written.

    Returns
    -------
    int
        The size of the file in bytes.

    Raises
    ------
    ValueError
        The path cannot be written, or a file is there that is neither a model nor a ticket.
    """
    check_output(path, "model")
    content = ticket_bytes(ticket)
    write_atomically(path, content)
    return len(content)


def load_ticket(path: str | Path) -> Ticket:
    """Read and check a file made by `save_ticket`.

    The random weights are drawn again, and the checksum of their sums under the masks is compared
    with that in the file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Ticket
        `masked_module` and `effective_module` turn it into torch modules.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        The file is damaged, or was written by a version in which eps was absolute.  The message
        gives the path and the first fault.
    """
    archive = read_archive(path)
    if "scale" in archive.body["record"]:
        raise archive.damaged(
            "got a ticket of an earlier version, whose eps was absolute; prune the network again "
            "with secateurs ticket or prune_network"
        )
    record = archive.record(TicketRecord)
    _check_layout(archive, record)
    arrays = archive.arrays
    masks = tuple(
        {
            name: _unpack(arrays[f"{number}.{name}"], shape, record.bits[f"{number}.{name}"])
            for name, shape in layer.blocks().items()
        }
        for number, layer in enumerate(record.layers)
    )
    scales = tuple(
        {name: record.scales[f"{number}.{name}"] for name in layer.blocks()}
        for number, layer in enumerate(record.layers)
    )
    ticket = Ticket(record.seed, record.eps, scales, record.layers, masks)
    found = checksum(ticket)
    if found != record.checksum:
        raise archive.damaged(
            f"got weights with checksum {found}; expected {record.checksum}: the seed or the masks "
            "were changed"
        )
    return ticket


def checksum(ticket: Ticket) -> int:
    """Return the CRC-32 of the sums under the masks of all layers, as little-endian float64."""
    value = 0
    for number in range(len(ticket.layers)):
        for weights in ticket.approximation(number).values():
            value = zlib.crc32(np.ascontiguousarray(weights, "<f8").tobytes(), value)
    return value


def _check_layout(archive: Archive, record: TicketRecord) -> None:
    """Check names, types and lengths, before an array of a declared size is made."""
    problem = stack_problem(record.layers)
    if problem:
        raise archive.damaged(problem)
    wanted = {
        f"{number}.{name}": rows * inputs
        for number, layer in enumerate(record.layers)
        for name, (rows, inputs) in layer.blocks().items()
    }
    if not set(archive.arrays) == set(record.bits) == set(record.scales) == set(wanted):
        raise archive.damaged("the arrays are not those of the layers")
    if sum(wanted.values()) > MAX_WEIGHTS:
        raise archive.damaged(f"more than {MAX_WEIGHTS} weights")
    for name, count in wanted.items():
        length = (count * record.bits[name] + 7) // 8
        array = archive.arrays[name]
        if array.dtype != np.uint8 or array.shape != (length,):
            raise archive.damaged(f"array {name!r} is not {length} bytes")


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
