__all__ = [
    "IntegerNetwork",
    "distorted_copies",
    "fit_bytes",
    "quantize",
]

from .distortion import distorted_copies
from .integer_network import IntegerNetwork
from .quantization import quantize
from .search import fit_bytes
