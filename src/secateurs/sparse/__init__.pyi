__all__ = [
    "ReLUStack",
    "SparseMatrix",
    "SparseNetwork",
    "StreamingTopK",
    "sparse_linear",
]

from .matrix import SparseMatrix, sparse_linear
from .network import SparseNetwork
from .stack import ReLUStack
from .topk import StreamingTopK
