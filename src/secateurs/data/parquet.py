"""Reading of Parquet files, in memory that the size of the file bounds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from secateurs.core.input_files import check_unpacked

ALWAYS_READ = 256 << 20  # bytes of a table that any file may hold; constant columns pack well
_BYTES_A_CELL = 8


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table without its index.

    A text is kept once and not once in every row, because a short file may repeat a long text a
    billion times.

    Raises
    ------
    ValueError
        The file unpacks to far more than it has.
    Exception
        Any error of pyarrow, for a damaged file.
    """
    metadata = pq.read_metadata(path)
    n_groups = metadata.num_row_groups
    packed = sum(metadata.row_group(i).total_byte_size for i in range(n_groups))
    cells = metadata.num_rows * metadata.num_columns * _BYTES_A_CELL
    check_unpacked(path, max(packed, cells), always=ALWAYS_READ)
    texts = [
        field.name
        for field in metadata.schema.to_arrow_schema()
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    frame: pd.DataFrame = pq.read_table(path, read_dictionary=texts).to_pandas()
    # shared texts: a cell is a reference
    kept = {name: frame[name].astype(object) for name in texts if name in frame}
    if kept:
        frame = frame.assign(**kept)
    return frame.reset_index(drop=True)
