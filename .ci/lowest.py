"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

torch is not among them: its older builds for processors without a GPU are not on PyPI, and the
version of constraints.txt is used.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
groups = project["optional-dependencies"]
listed = [*project["dependencies"], *groups["kernels"], *groups["report"], *groups["onnx"]]
for line in listed:
    name, lowest = re.fullmatch(r"([\w.-]+)>=([\d.]+)", line).groups()
    if name != "torch":
        print(f"{name}=={lowest}")
tested = (ROOT / "constraints.txt").read_text()
print(re.search(r"^torch==.*", tested, flags=re.MULTILINE)[0])
