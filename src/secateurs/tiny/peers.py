"""Small networks for MNIST of other projects."""

from __future__ import annotations

from dataclasses import dataclass

BITNET = "BitNetMCU (their accuracy)"
BITNET_WEIGHTS = "BitNetMCU, weights alone (their accuracy)"
EMLEARN = "emlearn (run here)"


@dataclass(frozen=True)
class Peer:
    """A network of another project.

    Attributes
    ----------
    series : str
        The project, what its bytes count, and who measured its accuracy.
    name : str
    flash : int
        Bytes of model and code on a Cortex-M0 at -Os, or of the weights alone.
    accuracy : float
        On the MNIST test images.
    """

    series: str
    name: str
    flash: int
    accuracy: float


# BitNetMCU: github.com/cpldcpu/BitNetMCU, docs/documentation_cnn.md; trained on distorted images.
# The first three were compiled for a Cortex-M0 from the published sources.
# emlearn 0.23.2: benchmarks/tiny/emlearn_models.py
MNIST_PEERS = (
    Peer(BITNET, "1k, fully connected", 1906, 0.9422),
    Peer(BITNET, "CNN 16, small", 4530, 0.9892),
    Peer(BITNET, "12k, fully connected", 13_414, 0.9902),
    Peer(BITNET_WEIGHTS, "12k FP130, fully connected", 12_608, 0.9886),
    Peer(BITNET_WEIGHTS, "CNN 16", 5360, 0.9906),
    Peer(BITNET_WEIGHTS, "CNN 32", 7328, 0.9928),
    Peer(BITNET_WEIGHTS, "CNN 48", 9296, 0.9944),
    Peer(BITNET_WEIGHTS, "CNN 64", 11_264, 0.9955),
    Peer(EMLEARN, "dense network, 8 units", 14_996, 0.9185),
    Peer(EMLEARN, "dense network, 16 units", 21_620, 0.9459),
    Peer(EMLEARN, "10 trees of 30 leaves", 4192, 0.7978),
    Peer(EMLEARN, "10 trees of 100 leaves", 13_884, 0.8807),
)
