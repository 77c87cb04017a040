__all__ = [
    "Dataset",
    "DatasetError",
    "TableSchema",
    "load_dataset",
    "load_inputs",
    "split",
]

from .checked_dataset import Dataset
from .datasets import load_dataset, load_inputs, split
from .errors import DatasetError
from .tables import TableSchema
