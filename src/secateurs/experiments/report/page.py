"""One self-contained HTML page of a run folder: opens anywhere, asks nothing of the network.

Numbers go in as columns; the page adds them up, so that a hundred thousand cells are a heat map
at once and the records of a cell when it is asked for.
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
from plotly.offline import get_plotlyjs

from secateurs.core.atomic_write import write_atomically
from secateurs.core.version import __version__
from secateurs.experiments.report.certificates import packed
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.folder import LEDGER, SWEEP, RunFolderError
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.sweep import boundaries, finished, labels
from secateurs.experiments.sweeps.table import cell_table
from secateurs.experiments.sweeps.verdicts import (
    sweep_verdicts,
    verdict_table,
    without_certificate,
)

DIGITS = 6  # significant, of the numbers on the page
MAX_FIGURE_BYTES = 20_000_000
_SCRIPTS = ("tables.js", "certificates.js", "page.js")  # one after the other
_PARTS = ("page.html", "page.css", *_SCRIPTS)


def write_report(run: str | Path, output: str | Path) -> int:
    """Write the page of a run; its size in bytes.

    Parameters
    ----------
    run : str or Path
        Folder of a sweep or of a reproduction, finished or not.
    output : str or Path
        A name that ends in .html.

    Raises
    ------
    RunFolderError
        No run is in the folder.
    LedgerError
        Its ledger cannot be read.
    ValueError
        The name does not end in .html.
    """
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{output}: the name of a report must end in .html")
    content = render(run_content(Path(run))).encode()
    write_atomically(output, content)
    return len(content)


def run_content(run: Path) -> dict[str, Any]:
    """What the page shows, as JSON can hold it.

    Keys: title, kind ("sweep" or "claims"), settings (text), starts (environments), axes, methods,
    metrics, columns (see `encoded`), claims, verdicts (of the certificates, counted), truth (the
    metric they are held against, or null), uncertified (cells of an earlier version), certificates
    (see `packed`), boundaries, figures (data URIs).
    """
    if not (run / LEDGER).is_file():
        raise RunFolderError(f"{run}: holds no run; give the folder that sweep or reproduce made")
    text = _text(run / SWEEP)
    with Ledger(run / LEDGER) as ledger:
        content: dict[str, Any] = {
            "title": run.resolve().name.removesuffix(".run"),
            "starts": ledger.starts(),
            "version": __version__,
            "settings": text or "",
            "figures": _figures(run),
        }
        if text is None:
            frame = cell_table(ledger)
            certificates = _certificates(ledger, frame)
            frame = frame.drop(columns=["key"], errors="ignore")
            numbers = frame.select_dtypes("number").columns
            return content | {
                "kind": "claims",
                "axes": {},
                "methods": [],
                "metrics": [str(name) for name in numbers if name != "attempts"],
                "columns": encoded(frame),
                "claims": _claims(run),
                "verdicts": _rows(_by_claim(frame)),
                "truth": None,
                "uncertified": 0,
                "certificates": certificates,
                "boundaries": [],
            }
        sweep = parse_sweep(text, str(run / SWEEP))
        frame = cell_table(ledger, labels(sweep))
        certificates = _certificates(ledger, frame)
    frame = frame.drop(columns=["key"], errors="ignore")
    done = finished(sweep, frame)
    found = []
    if sweep.adaptive is not None:
        wanted = sweep.adaptive
        found = boundaries(sweep, done, wanted.axis, wanted.metric, wanted.level)
    asked = [*sweep.metrics, *(m for m in sweep.family.metrics if m not in sweep.metrics)]
    return content | {
        "kind": "sweep",
        "axes": {name: [_plain(v) for v in values] for name, values in sweep.axes.items()},
        "methods": [variant.label for variant in sweep.variants],
        "metrics": [*asked, "cpu_seconds"],
        "columns": encoded(frame),
        "claims": [],
        "verdicts": _rows(sweep_verdicts(sweep, done)),
        "truth": sweep.family.truth,
        "uncertified": without_certificate(sweep, done),
        "certificates": certificates,
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
    """Columns of a table: numbers as ``{"numbers": [...]}``, anything else by code and value."""
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
    """The page."""
    page, css, *scripts = ((files(__package__) / name).read_text("utf-8") for name in _PARTS)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(page)
    # "<" never stands in the data: nothing in them can end the element that holds them
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.render(
        title=content["title"],
        css=css,
        script="\n".join(scripts),
        plotly=get_plotlyjs(),
        data=data,
    )


def _certificates(ledger: Ledger, frame: pd.DataFrame) -> dict[str, Any]:
    """Of every row of a frame."""
    keys = [] if frame.empty else frame["key"].tolist()
    return packed(((record.key, record.certificate) for _, record in ledger.records()), keys)


def _by_claim(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of the parts of each claim."""
    if frame.empty:
        return frame
    named = frame.assign(label=frame["paper"] + ": " + frame["claim"])
    return verdict_table(named, named["label"].unique())


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _claims(run: Path) -> list[dict[str, Any]]:
    text = _text(run / "claims.json")
    if text is None:
        return []
    try:
        claims = json.loads(text)["claims"]
        return [dict(claim) for claim in claims]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run / 'claims.json'}: damaged ({error}); run reproduce again with --resume"
        ) from error


def _figures(run: Path) -> list[dict[str, str | None]]:
    """Pictures of the run; those that would make the page too large are named, without a source."""
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
    return path.read_text("utf-8") if path.is_file() else None


def _plain(value: Any) -> Any:
    """A number in a few digits, or null where it is none."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) and abs(number) < 2**53 else _digits(number)


def _digits(number: float) -> float:
    return float(np.format_float_scientific(number, precision=DIGITS - 1))


def _shown(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)
