"""The wheel: what is in it, and what an installation without extras does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from secateurs.core.compiled import compiled
from secateurs.core.extras import MissingExtraError, package

ROOT = Path(__file__).parents[2]
BARE = ROOT / ".venv-bare/bin"
MOST_BYTES = 1 << 20
MOST_INSTALLED = 900 << 20  # bytes beside torch


def test_a_missing_package_names_its_extra():
    with pytest.raises(MissingExtraError, match=r"pip install 'secateurs\[report\]'"):
        package("no_such_package_", "report", "report")


def test_a_package_that_lacks_something_itself_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_package_\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_") as caught:
        package("half_installed", "report", "report")
    assert not isinstance(caught.value, MissingExtraError)


def test_without_numba_a_compiled_function_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("secateurs.core.compiled.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "numba", None)

    @compiled()
    def twice(x):
        return 2 * x

    with pytest.raises(MissingExtraError, match=r"twice: .* pip install 'secateurs\[kernels\]'"):
        twice(1)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    line = [str(BARE / arguments[0]), *arguments[1:]]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.package
class TestTheWheel:
    """`make package` builds it, installs it alone and runs these."""

    def test_is_small_and_complete(self):
        (wheel,) = (ROOT / "dist").glob("*.whl")
        assert wheel.stat().st_size <= MOST_BYTES
        names = ZipFile(wheel).namelist()
        stubs = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*.pyi")}
        assert stubs <= set(names)
        assert "secateurs/py.typed" in names
        assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]

    def test_has_a_source_archive_beside_it(self):
        (archive,) = (ROOT / "dist").glob("*.tar.gz")
        assert archive.stat().st_size <= 8 * MOST_BYTES

    def test_fits_without_an_extra(self, tmp_path):
        shown = run("secateurs", "fit", "digits", "--nonzeros", "100", "--json", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["nonzeros"] <= 100

    def test_what_needs_an_extra_names_it_in_one_line(self, tmp_path):
        shown = run("secateurs", "bounds", "tickets", "--d", "2", "--eps", ".1", cwd=tmp_path)
        assert shown.returncode in (0, 2)
        assert "Traceback" not in shown.stderr

    def test_takes_less_room_than_with_all_extras(self):
        code = "import secateurs, pathlib; print(pathlib.Path(secateurs.__file__).parents[1])"
        site = Path(run("python", "-c", code, cwd=ROOT / "dist").stdout.strip())
        files = [
            p for p in site.rglob("*") if p.is_file() and p.relative_to(site).parts[0] != "torch"
        ]
        assert sum(p.stat().st_size for p in files) <= MOST_INSTALLED
        assert not {"numba", "plotly", "onnx", "dask"} & {p.name for p in site.iterdir()}
