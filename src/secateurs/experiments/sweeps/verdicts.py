"""Verdicts of the certificates of a sweep, counted and compared with the truth."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from secateurs.experiments.sweeps.settings import Sweep
from secateurs.experiments.sweeps.table import VERDICT

VERDICTS = ("holds", "fails", "unknown")


def sweep_verdicts(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of the methods of a sweep, and compare them with the planted truth.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    """
    return verdict_table(frame, [v.label for v in sweep.variants], sweep.family.truth)


def verdict_table(
    frame: pd.DataFrame, labels: Iterable[str], truth: str | None = None
) -> pd.DataFrame:
    """Count verdicts by method and check.

    Parameters
    ----------
    frame : DataFrame
        Cells, from `cell_table`; column "label" has their methods.
    labels : iterable of str
        Methods, in order.
    truth : str, optional
        Column that is 1 where the planted solution was found, 0 where it was not.

    Returns
    -------
    DataFrame
        Columns "method", "check", "cells" (with this check), "holds", "fails", "unknown"; with a
        `truth` also "holds, TRUTH = 0" and "fails, TRUTH = 1".  A check is about its own
        statement: a check that holds where the truth is 0 need not be wrong.
    """
    contrary = [] if truth is None else [f"holds, {truth} = 0", f"fails, {truth} = 1"]
    rows = []
    for method in labels:
        mine = frame[frame["label"] == method]
        for name in _columns(frame):
            verdicts = mine[name].dropna()
            if verdicts.empty:
                continue
            counts = [int((verdicts == verdict).sum()) for verdict in VERDICTS]
            if truth is not None:
                found = mine.loc[verdicts.index, truth]
                counts.append(int(((verdicts == "holds") & (found == 0)).sum()))
                counts.append(int(((verdicts == "fails") & (found == 1)).sum()))
            rows.append([method, name.removeprefix(VERDICT), len(verdicts), *counts])
    return pd.DataFrame(rows, columns=["method", "check", "cells", *VERDICTS, *contrary])


def without_certificate(sweep: Sweep, frame: pd.DataFrame) -> int:
    """Count cells that an earlier version recorded without the certificate of their method.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    """
    certified = {v.label for v in sweep.variants if v.method in sweep.family.certificates}
    return int((frame["label"].isin(certified) & frame[_columns(frame)].isna().all(axis=1)).sum())


def verdict_line(sweep: Sweep, frame: pd.DataFrame) -> str | None:
    """Return one line for the terminal; None where no method gives a certificate.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    """
    table = sweep_verdicts(sweep, frame)
    missing = without_certificate(sweep, frame)
    if table.empty and not missing:
        return None
    n_cells = int(frame[_columns(frame)].notna().any(axis=1).sum())
    holds, fails, unknown = (int(table[verdict].sum()) for verdict in VERDICTS)
    line = f"certificates of {n_cells} cells: {holds} checks hold, {fails} fail, {unknown} unknown"
    if sweep.family.truth is not None:  # a sum over checks with different statements says nothing
        line += f"; secateurs report compares each with {sweep.family.truth}"
    return line + (f"; {missing} cells of an earlier version have none" if missing else "")


def _columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if str(name).startswith(VERDICT)]
