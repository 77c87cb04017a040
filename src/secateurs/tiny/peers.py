"""Small networks for MNIST of other projects, quoted from their own reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A published network.

    Attributes
    ----------
    name : str
    flash : int
        Bytes of its model and code, compiled for a Cortex-M0 at -Os from the published source.
    accuracy : float
        On the MNIST test images, as its authors report it.
    """

    name: str
    flash: int
    accuracy: float


# github.com/cpldcpu/BitNetMCU, accuracies from its documentation; trained on distorted images
MNIST_PEERS = (
    Peer("BitNetMCU 1k, fully connected", 1906, 0.9422),
    Peer("BitNetMCU CNN", 4530, 0.9892),
    Peer("BitNetMCU 12k, fully connected", 13_414, 0.9902),
)
