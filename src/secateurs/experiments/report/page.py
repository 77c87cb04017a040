"""Write a run folder as one HTML page, which needs no network and no other file.

The page holds its numbers as columns and aggregates them itself: it shows a hundred thousand cells
as a heat map, and the records of a cell when the user chooses it.
"""

from __future__ import annotations

import base64
import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from secateurs.core.atomic_write import write_atomically
from secateurs.core.extras import package
from secateurs.core.input_files import MOST_TEXT, check_input
from secateurs.core.output_files import check_output
from secateurs.core.parameters import bad_value
from secateurs.core.version import __version__
from secateurs.experiments.report.certificates import packed
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.folder import LEDGER, SWEEP, RunFolderError
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.registry import CPU_SECONDS
from secateurs.experiments.sweeps.settings import Sweep
from secateurs.experiments.sweeps.sweep import boundaries, finished, labels, of_file
from secateurs.experiments.sweeps.table import cell_table
from secateurs.experiments.sweeps.verdicts import (
    sweep_verdicts,
    verdict_table,
    without_certificate,
)

DIGITS = 6  # significant digits of the numbers on the page
MAX_FIGURE_BYTES = 20_000_000
EXACT_INTEGERS = 2**53  # float64 has all integers below
PARTS = ("page.html", "page.css", "tables.js", "certificates.js", "page.js")  # scripts in order


def write_report(run: str | Path, output: str | Path) -> int:
    """Write the page of a run and return its size in bytes.

    Parameters
    ----------
    run : str or Path
        Folder of a sweep or of a reproduction, which need not be finished.
    output : str or Path
        A name that ends in .html.

    Raises
    ------
    RunFolderError
        The folder holds no run.
    LedgerError
        Its ledger cannot be read.
    ValueError
        The name does not end in .html.
    """
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise bad_value("output", str(output), "a name that must end in .html")
    check_output(output, "page")
    content = render(run_content(Path(run))).encode()
    write_atomically(output, content)
    return len(content)


def run_content(run: Path) -> dict[str, Any]:
    """Return the content of the page, as JSON can hold it.

    Keys: title, kind ("sweep" or "claims"), settings (text), starts (environments), axes, methods,
    metrics, columns (see `encoded`), claims, verdicts (of the certificates, counted), truth (the
    metric that they are compared with, or null), uncertified (cells of an earlier version),
    certificates (see `packed`), boundaries, figures (data URIs).
    """
    if not (run / LEDGER).is_file():
        raise RunFolderError(f"{run}: holds no run; give the folder that sweep or reproduce made")
    text = _text(run / SWEEP)
    sweep = None if text is None else parse_sweep(text, str(run / SWEEP))
    with Ledger(run / LEDGER) as ledger:
        frame = cell_table(ledger, None if sweep is None else labels(sweep))
        if sweep is not None:
            frame = of_file(sweep, frame)
        keys = [] if frame.empty else frame["key"].tolist()
        shared = {
            "title": run.resolve().name.removesuffix(".run"),
            "starts": ledger.starts(),
            "version": __version__,
            "settings": text or "",
            "figures": _figures(run),
            "certificates": packed(
                ((record.key, record.certificate) for _, record in ledger.records()), keys
            ),
        }
    special = _claims_content(run, frame) if sweep is None else _sweep_content(sweep, frame)
    return {**shared, "columns": encoded(frame.drop(columns=["key"], errors="ignore")), **special}


def _claims_content(run: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the content that only a reproduction has, from the table of its parts."""
    claims, verdicts = _claims(run), frame
    if not frame.empty:
        named = frame.assign(label=frame["paper"] + ": " + frame["claim"])
        verdicts = verdict_table(named, named["label"].unique())
    numbers = frame.select_dtypes("number").columns
    return {
        "kind": "claims",
        "axes": {},
        "methods": [],
        "metrics": [str(name) for name in numbers if name != "attempts"],
        "claims": claims,
        "verdicts": _rows(verdicts),
        "truth": None,
        "uncertified": 0,
        "boundaries": [],
    }


def _sweep_content(sweep: Sweep, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the content that only a sweep has, from the table of its cells."""
    done = finished(sweep, frame)
    found = []
    if sweep.adaptive is not None:
        wanted = sweep.adaptive
        found = boundaries(sweep, done, wanted.axis, wanted.metric, wanted.level)
    asked = [*sweep.metrics, *(m for m in sweep.family.metrics if m not in sweep.metrics)]
    return {
        "kind": "sweep",
        "axes": {name: [_plain(v) for v in values] for name, values in sweep.axes.items()},
        "methods": [variant.label for variant in sweep.variants],
        "metrics": [*asked, CPU_SECONDS],
        "claims": [],
        "verdicts": _rows(sweep_verdicts(sweep, done)),
        "truth": sweep.family.truth,
        "uncertified": without_certificate(sweep, done),
        "boundaries": [
            {
                "method": b.label,
                **b.others,
                "boundary": _plain(b.fit.boundary),
                "low": _plain(b.fit.low),
                "high": _plain(b.fit.high),
            }
            for b in found
        ],
    }


def encoded(frame: pd.DataFrame) -> dict[str, dict[str, list[Any]]]:
    """Return columns of a table: numbers as ``{"numbers": [...]}``, anything else as codes."""
    columns: dict[str, dict[str, list[Any]]] = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            columns[str(name)] = {"numbers": [_plain(v) for v in column.tolist()]}
        else:
            codes, values = pd.factorize(column.astype(object).map(_shown))
            columns[str(name)] = {"codes": codes.tolist(), "values": list(values)}
    return columns


def render(content: dict[str, Any]) -> str:
    """Return the page with this content."""
    page, css, *scripts = ((files(__package__) / name).read_text("utf-8") for name in PARTS)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(page)
    # The data have no "<", so that no text in them can end the element that holds them.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.render(
        title=content["title"],
        css=css,
        script="\n".join(scripts),
        plotly=package("plotly.offline", "report", "report").get_plotlyjs(),
        data=data,
    )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _claims(run: Path) -> list[dict[str, Any]]:
    try:
        text = _text(run / "claims.json")
        if text is None:
            return []
        claims = json.loads(text)["claims"]
        return [dict(claim) for claim in claims]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunFolderError(
            f"{run / 'claims.json'}: damaged ({error}); run reproduce again with --resume"
        ) from error


def _figures(run: Path) -> list[dict[str, str | None]]:
    """Return the figures of the run; a figure that is too large for the page has no source."""
    found: list[dict[str, str | None]] = []
    left = MAX_FIGURE_BYTES
    for path in sorted(run.glob("*.png")):
        left -= path.stat().st_size
        source = None
        if left >= 0:
            content = base64.b64encode(path.read_bytes()).decode()
            source = f"data:image/png;base64,{content}"
        found.append({"name": path.stem, "source": source})
    return found


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    check_input(path, MOST_TEXT)
    return path.read_text("utf-8")


def _plain(value: Any) -> Any:
    """Return a value for JSON: a number with few digits, None where it is not finite."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    if number == int(number) and abs(number) < EXACT_INTEGERS:
        return int(number)
    return float(np.format_float_scientific(number, precision=DIGITS - 1))


def _shown(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)
