"""Model files with one changed value, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sparse.test_storage import join_header, split_header


def change_record(path: Path, name: str, value: Any) -> None:
    """Overwrite one field of the record in a model file."""
    header, data = split_header(path.read_bytes())
    body = json.loads(header["__metadata__"]["secateurs"])
    body["record"][name] = value
    header["__metadata__"]["secateurs"] = json.dumps(body)
    path.write_bytes(join_header(header, data))
