"""The cells of a ledger as a table, and its export."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from secateurs.core.atomic_write import write_atomically
from secateurs.core.parameters import bad_value
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, canonical_method

EXPORTS = (".parquet", ".csv")
VERDICT = "certificate."  # before the name of a check, in the names of columns


def cell_table(ledger: Ledger, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return one row a cell, sorted by settings: settings, status, metrics, verdicts, the rest.

    Settings of the problem keep their names and settings of the method are called ``method.NAME``;
    other objects among the settings are spread in the same way.  The verdict of each check is in
    ``certificate.CHECK``, None in a cell without it.  The error of a failed cell is in "failure",
    because a metric may be called error.

    Parameters
    ----------
    ledger : Ledger
    labels : mapping, optional
        Column "label" by `canonical_method`; the name of the method where there is none.
    """
    rows: list[dict[str, Any]] = []
    places: list[Any] = []
    metrics: dict[str, None] = {}
    verdicts: dict[str, None] = {}
    for settings, record in ledger.records():  # one by one: certificates are long
        checks = {VERDICT + check["name"]: check["verdict"] for check in record.certificate or ()}
        rows.append(
            {
                **_spread(settings, labels or {}),
                "status": record.status,
                **record.metrics,
                **checks,
                **_last(record),
            }
        )
        metrics.update(dict.fromkeys(record.metrics))
        verdicts.update(dict.fromkeys(checks))
        places.append(_sortable(settings))
    if not rows:
        return pd.DataFrame()
    order = sorted(range(len(rows)), key=places.__getitem__)
    frame = pd.DataFrame([rows[i] for i in order])
    last = [*verdicts, *_last(record)]
    types = {**dict.fromkeys(metrics, float), "failure": object}
    return frame[[*(name for name in frame if name not in last), *last]].astype(types)


def export_cells(ledger: Ledger, path: Path, labels: Mapping[str, str] | None = None) -> None:
    """Write `cell_table` as .parquet or .csv, atomically.

    Raises
    ------
    ValueError
        The name ends in neither.
    """
    kind = path.suffix.lower()
    if kind not in EXPORTS:
        raise bad_value("path", str(path), f"a name that ends in {' or '.join(EXPORTS)}")
    stream = io.BytesIO()
    frame = cell_table(ledger, labels)
    if kind == ".csv":
        frame.to_csv(stream, index=False)
    else:
        frame.to_parquet(stream, index=False)
    write_atomically(path, stream.getvalue())


def _spread(settings: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in settings.items():
        prefix = "" if name == "problem_settings" else f"{name.removesuffix('_settings')}."
        if isinstance(value, dict):
            row.update({f"{prefix}{inner}": v for inner, v in value.items()})
        else:
            row[name] = value
    if "method" in settings:
        known = canonical_method(settings["method"], settings["method_settings"])
        row["label"] = labels.get(known, settings["method"])
    return row


def _last(record: Record) -> dict[str, Any]:
    return {"attempts": record.attempts, "failure": record.error, "key": record.key}


def _sortable(value: Any) -> Any:
    """Return a key that sorts settings of mixed types, numbers as numbers."""
    if isinstance(value, dict):
        return (2, sorted((name, _sortable(inner)) for name, inner in value.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, value)
    return (1, str(value))
