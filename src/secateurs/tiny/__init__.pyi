__all__ = [
    "IntegerNetwork",
    "fit_bytes",
    "quantize",
]

from .integer_network import IntegerNetwork
from .quantization import quantize
from .search import fit_bytes
