"""Dates and times as people write them, and the numbers they become."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.data.date_words import duration, plain_date

ISO = "ISO8601"
#: Formats of dates, in the order in which they are tried; a year of four digits comes first.
DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y"),
    *("%d-%b-%y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d"),
    *("%Y-%m", "%b %Y", "%B %Y", "%a %b %d %Y", "%Y/%m", "%m/%Y", "%b-%y", "%b-%Y", "%Y%m%d"),
)
CLOCK_FORMATS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
DURATION = "duration"  # hours beyond a day, or with words
_GAPS = (" ", "T", ", ")
_STAMPS = ("%b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S", "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S")
FORMATS = (
    ISO,
    *DATE_FORMATS,
    *(f"{date}{gap}{clock}" for date in DATE_FORMATS for gap in _GAPS for clock in CLOCK_FORMATS),
    *CLOCK_FORMATS,
    *_STAMPS,
    DURATION,
)
DIGITS = ("%Y%m%d", "%Y%m%d%H%M%S")  # formats of dates that look like whole numbers
_ISO_PATTERN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?( ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?)?"
)
_LOOKS_LIKE = re.compile(r"(?=.*[0-9])[\w ,.:/+-]{2,60}")
FEW = 3  # different numbers that may be dates
_TESTED = 20  # texts on which a format must hold before the whole column is tried
DAY = 86_400.0
PERIODS = (("of year", 365.2425), ("of week", 7.0), ("of day", 1.0))


@dataclass(frozen=True)
class DateFormat:
    """A format that reads every text of a column, and whether another order also would."""

    format: str
    other: str | None = None


def find_format(texts: Sequence[str], *, day_first: bool) -> DateFormat | None:
    """Find the format of a column of dates or times; None if there is none.

    Parameters
    ----------
    texts : sequence of str
        Distinct texts without the missing ones.
    day_first : bool
        Decides between the two orders of day and month where every text fits both.

    Notes
    -----
    O(number of texts) time; a column that holds no dates is left after its first text.
    """
    if not texts or not all(map(looks_like_date, texts[:_TESTED])):
        return None
    marks = _marks(plain_date(texts[0].strip())[0])
    likely = [form for form in FORMATS if form in (ISO, DURATION) or _marks(form) == marks]
    # the first one, and the one with day and month the other way round
    first = next((form for form in likely if _reads(texts, form)), None)
    if first is None:
        return None
    found = [form for form in (first, _swapped(first)) if form in likely and _reads(texts, form)]
    swapped = _swapped(first)
    if swapped == first or swapped not in found:
        return DateFormat(first)
    return DateFormat(first, swapped) if day_first else DateFormat(swapped, first)


def looks_like_date(text: str) -> bool:
    """Whether a text may be a date or a time; false for most words and codes."""
    return _LOOKS_LIKE.fullmatch(text.strip()) is not None


def are_dates_in_digits(texts: Sequence[str]) -> bool:
    """Whether whole numbers are dates such as 20201231, from 1900 to 2100."""
    if len(texts) < FEW or any(
        re.fullmatch(r"(19|20)\d{6}(\d{6})?", text) is None for text in texts
    ):
        return False
    return any(_reads(texts, form) for form in DIGITS)


def _marks(text: str) -> str:
    """Return the signs between the parts of a text or a format."""
    return re.sub(r"%?[^\W_]", "", text)


def _swapped(form: str) -> str:
    """Return a format with day and month the other way round, if it has both in numbers."""
    if "%d" not in form or "%m" not in form:
        return form
    return form.replace("%d", "%0").replace("%m", "%d").replace("%0", "%m")


def _reads(texts: Sequence[str], form: str) -> bool:
    for part in (texts[:1], texts[:_TESTED], texts):
        if np.isnat(parse_dates(part, form)).any():
            return False
    return True


def parse_dates(texts: Sequence[str], form: str) -> NDArray[np.datetime64]:
    """Read texts as times in UTC, to the microsecond; those that do not fit become NaT.

    A time of day is a time on 1970-01-01.
    """
    stripped = [text.strip() for text in texts]
    if form == DURATION:
        return _durations(stripped)
    if form.startswith("%a"):
        return _parsed(stripped, form)
    if form == ISO:
        whole = [(t, 0) if _ISO_PATTERN.fullmatch(t) else plain_date(t) for t in stripped]
        pairs = [pair if _ISO_PATTERN.fullmatch(pair[0]) else ("", 0) for pair in whole]
    else:
        pairs = [plain_date(text) for text in stripped]
    values = _parsed([text for text, _ in pairs], form)
    values -= np.array([minutes for _, minutes in pairs], dtype="timedelta64[m]")
    if is_clock(form):
        values = values - values.astype("datetime64[D]") + np.datetime64(0, "us")
        late = np.isnat(values)
        values[late] = _durations([stripped[i] for i in np.flatnonzero(late)])
    return values


def _durations(texts: Sequence[str]) -> NDArray[np.datetime64]:
    hours = [duration(text) for text in texts]
    return np.datetime64(0, "us") + np.array(hours, dtype="timedelta64[us]")


def _parsed(texts: Sequence[str], form: str) -> NDArray[np.datetime64]:
    try:
        read = pd.to_datetime(
            pd.Series(texts, dtype=object), format=form, errors="coerce", utc=True
        )
    except (ValueError, OverflowError):
        return np.full(len(texts), np.datetime64("NaT"), dtype="datetime64[us]")
    times = np.asarray(read.dt.tz_localize(None).to_numpy().astype("datetime64[us]"))
    if read.dt.unit == "ns":  # pandas before version 3 ends at the year 2262
        for i in np.flatnonzero(np.isnat(times)):
            times[i] = _distant_time(texts[int(i)], form)
    return times


def _distant_time(text: str, form: str) -> np.datetime64:
    """Read one time that is beyond the range of nanoseconds."""
    try:
        time = datetime.fromisoformat(text) if form == ISO else datetime.strptime(text, form)
    except ValueError:
        return np.datetime64("NaT")
    return np.datetime64(time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None))


def is_clock(form: str) -> bool:
    """Whether a format holds a time of day without a date."""
    return form in CLOCK_FORMATS or form == DURATION


def numbers_of_times(series: pd.Series[Any]) -> NDArray[np.float64]:
    """Return days since 1970-01-01 (UTC) of times, hours of durations and of times of day.

    Missing times are NaN.  Periods count from their start.
    """
    kind = series.dtype
    if isinstance(kind, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    elif isinstance(kind, pd.ArrowDtype) or kind.kind == "O":
        series = _as_times(series)
    if series.dtype.kind == "m":
        return np.asarray(series.dt.total_seconds().to_numpy(dtype=np.float64) / 3600)
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    values = series.to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64) / (DAY * 1e6))


def _as_times(series: pd.Series[Any]) -> pd.Series[Any]:
    """Return Python or Arrow dates, times and durations as datetime64 or timedelta64."""
    objects = series.astype(object)
    present = objects.dropna()
    first = present.iloc[0] if len(present) else None
    if hasattr(first, "hour") and not hasattr(first, "year"):
        return pd.to_timedelta(objects.map(str, na_action="ignore"))
    if hasattr(first, "total_seconds"):
        return pd.to_timedelta(objects)
    return pd.to_datetime(objects, utc=True)


def cyclic_parts(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sine and cosine of the time of year, of week and of day, shape [n, 6]."""
    angles = np.outer(days, [2 * np.pi / period for _, period in PERIODS])
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(days), -1)


def cyclic_names(name: str) -> list[str]:
    """Return the names of the columns of `cyclic_parts`."""
    return [f"{name} ({part} {wave})" for part, _ in PERIODS for wave in ("sin", "cos")]
