"""What the certificates of a sweep came to, held against the truth where it is known."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from secateurs.experiments.sweeps.settings import Sweep
from secateurs.experiments.sweeps.table import VERDICT

VERDICTS = ("holds", "fails", "unknown")


def sweep_verdicts(sweep: Sweep, frame: pd.DataFrame) -> pd.DataFrame:
    """`verdict_table` of the methods of a sweep, against the truth metric of its family.

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
    """Verdicts counted by method and check.

    Parameters
    ----------
    frame : DataFrame
        Cells, from `Ledger.frame`; the method of each in column "label".
    labels : iterable of str
        Methods, in order.
    truth : str, optional
        Column that is 1 where what was planted was found, 0 where it was not.

    Returns
    -------
    DataFrame
        Columns "method", "check", "cells" (with this check), "holds", "fails", "unknown"; with a
        `truth` also "holds, TRUTH = 0" and "fails, TRUTH = 1".  A check is about its own
        statement: one that holds where the truth is 0 is wrong only if its statement says so.
    """
    contrary = [] if truth is None else [f"holds, {truth} = 0", f"fails, {truth} = 1"]
    rows = []
    for method in labels:
        mine = frame[frame["label"] == method]
        for name in _columns(frame):
            told = mine[name].dropna()
            if told.empty:
                continue
            counts = [int((told == verdict).sum()) for verdict in VERDICTS]
            if truth is not None:
                found = mine.loc[told.index, truth]
                counts.append(int(((told == "holds") & (found == 0)).sum()))
                counts.append(int(((told == "fails") & (found == 1)).sum()))
            rows.append([method, name.removeprefix(VERDICT), len(told), *counts])
    return pd.DataFrame(rows, columns=["method", "check", "cells", *VERDICTS, *contrary])


def without_certificate(sweep: Sweep, frame: pd.DataFrame) -> int:
    """Cells whose method gives a certificate, recorded without it by an earlier version.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    """
    certified = {v.label for v in sweep.variants if v.method in sweep.family.certificates}
    return int((frame["label"].isin(certified) & frame[_columns(frame)].isna().all(axis=1)).sum())


def verdict_line(sweep: Sweep, frame: pd.DataFrame) -> str | None:
    """One line for the terminal, None where no cell has a certificate or should have one.

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
    told = f"certificates of {n_cells} cells: {holds} checks hold, {fails} fail, {unknown} unknown"
    if sweep.family.truth is not None:  # summed over checks that state different things: no number
        told += f"; secateurs report holds each against {sweep.family.truth}"
    return told + (f"; {missing} cells of an earlier version have none" if missing else "")


def _columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if str(name).startswith(VERDICT)]
