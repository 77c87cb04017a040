__all__ = [
    "Dataset",
    "DatasetError",
    "TableSchema",
    "load_dataset",
    "load_inputs",
    "split",
]

from .datasets import Dataset, load_dataset, load_inputs, split
from .npz import DatasetError
from .tables import TableSchema
