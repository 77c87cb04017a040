"""What the certificates of a sweep came to, held against the truth where it is known."""

from __future__ import annotations

import pandas as pd

from secateurs.experiments.sweeps.config import Sweep
from secateurs.experiments.sweeps.ledger import VERDICT

VERDICTS = ("holds", "fails", "unknown")


def verdict_table(frame: pd.DataFrame, by: str, truth: str | None = None) -> pd.DataFrame:
    """Verdicts counted by method and check.

    Parameters
    ----------
    frame : DataFrame
        Cells, from `Ledger.frame`.
    by : str
        Column of the methods.
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
    for method, mine in frame.groupby(by, sort=False):
        for name in (str(column) for column in frame if str(column).startswith(VERDICT)):
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
    verdicts = [name for name in frame if str(name).startswith(VERDICT)]
    return int((frame["label"].isin(certified) & frame[verdicts].isna().all(axis=1)).sum())


def verdict_line(sweep: Sweep, frame: pd.DataFrame) -> str | None:
    """One line for the terminal, None where no method gives a certificate.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    """
    table = verdict_table(frame, "label", sweep.family.truth)
    missing = without_certificate(sweep, frame)
    if table.empty and not missing:
        return None
    n_cells = int(frame[[c for c in frame if str(c).startswith(VERDICT)]].notna().any(axis=1).sum())
    holds, fails, unknown = (int(table[verdict].sum()) for verdict in VERDICTS)
    truth = sweep.family.truth
    wrong = "" if truth is None else f" ({int(table[f'holds, {truth} = 0'].sum())} at {truth} = 0)"
    told = f"certificates of {n_cells} cells: {holds} checks hold{wrong}, {fails} fail, "
    told += f"{unknown} unknown"
    return told + (f"; {missing} cells of an earlier version have none" if missing else "")
