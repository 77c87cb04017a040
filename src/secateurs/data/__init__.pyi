__all__ = [
    "Dataset",
    "DatasetError",
    "TableFile",
    "TableOptions",
    "TableSchema",
    "load_dataset",
    "load_inputs",
    "read_table",
    "split",
]

from .checked_dataset import Dataset
from .datasets import load_dataset, load_inputs, split
from .errors import DatasetError
from .table_files import TableFile, read_table
from .table_options import TableOptions
from .tables import TableSchema
