"""Compiled functions run everywhere, and their machine code is stored where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import secateurs

RUN_A_KERNEL = """
import numpy as np
from secateurs.tickets.subset_sum_kernels import masked_sums
out = np.empty(2)
masked_sums(np.array([[1.0, 2.0], [4.0, 8.0]]), np.array([3, 2], np.uint64), out)
print(out.tolist())
"""
# the administrator may write everywhere, so numba's test of a directory has to fail by hand
READ_ONLY = """
from numba.core.caching import _CacheLocator
def refuse(self):
    raise PermissionError(13, "read-only file system")
_CacheLocator.ensure_cache_path = refuse
"""


@pytest.mark.parametrize("writable", [True, False])
def test_a_kernel_runs_without_a_home_and_from_a_read_only_installation(tmp_path, writable):
    package = shutil.copytree(
        Path(secateurs.__file__).parent,
        tmp_path / "site" / "secateurs",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    if not writable:
        for folder in folders:
            folder.chmod(0o555)
    hidden = ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    code = RUN_A_KERNEL if writable else READ_ONLY + RUN_A_KERNEL
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            **{"capture_output": True, "text": True, "env": environment, "cwd": tmp_path},
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "[3.0, 8.0]\n"), done.stderr
    assert any(tmp_path.rglob("*.nbi")) is writable
