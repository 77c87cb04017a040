__all__ = [
    "IntegerNetwork",
    "bits_figure",
    "bytes_figure",
    "distorted_copies",
    "fit_bytes",
    "quantize",
    "round_weights",
]

from .distortion import distorted_copies
from .figures import bits_figure, bytes_figure
from .integer_network import IntegerNetwork
from .quantization import quantize, round_weights
from .search import fit_bytes
