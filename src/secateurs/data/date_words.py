"""Words in dates and times: months of five languages, weekdays, zones, quarters, durations."""

from __future__ import annotations

import re
from datetime import date

import numpy as np

_ENGLISH = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_MONTHS = (
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jänner feber maerz april mai juni juli august september oktober november dezember",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
)
_SHORT_MONTHS = (
    "jan feb mrz apr mai jun jul aug sep okt nov dez",
    "jän feb mär apr mai juni juli aug sept okt nov dez",
    "janv févr mars avr mai juin juil août sept oct nov déc",
    "gen feb mar apr mag giu lug ago set ott nov dic",
    "ene feb mar abr may jun jul ago sep oct nov dic",
)
_NAMES = {
    name: month
    for line in _MONTHS
    for name, month in zip(line.split(), _ENGLISH, strict=True)
    if name.capitalize() != month
}
_SHORT_NAMES = {
    name: month[:3]
    for line in _SHORT_MONTHS
    for name, month in zip(line.split(), _ENGLISH, strict=True)
    if name.capitalize() != month[:3] and name not in _NAMES
}
_WORD = re.compile(r"[^\W\d_]+\.?")
_WEEKDAY = re.compile(
    r"(mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun|(mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|mo|di|mi|do|fr|sa|so|(mon|diens|donners|frei|sams|sonn)tag|mittwoch|sonnabend"
    r"|lun|mer|jeu|ven|sam|dim|(lun|mar|mercre|jeu|vendre|same)di|dimanche)[.,]*\s+(?=.*\d)",
    re.IGNORECASE,
)
_ZONES = {
    **dict.fromkeys(("z", "utc", "gmt"), 0),
    **{"cet": 60, "mez": 60, "cest": 120, "mesz": 120},
    **{"est": -300, "edt": -240, "pst": -480, "pdt": -420},
}
_ZONE = re.compile(
    rf"(.*\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s?({'|'.join(_ZONES)}|[+-]\d\d:?\d\d)", re.IGNORECASE
)
_HALF_OF_DAY = re.compile(r"(?<=\d)\s?([ap])\.?m\.?$", re.IGNORECASE)
_ORDINAL = re.compile(r"\b(\d{1,2})(st|nd|rd|th|er)\b", re.IGNORECASE)
_QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])|Q([1-4])[- /]?(\d{4})", re.IGNORECASE)
_WEEK = re.compile(r"(\d{4})-?W(\d{2})(?:-?([1-7]))?", re.IGNORECASE)
_DAYS = r"(?:(?P<d>\d+) ?d(?:ays?)?,? ?)?"
_DURATIONS = (
    re.compile(rf"(?P<sign>-?){_DAYS}(?P<h>\d+):(?P<m>[0-5]?\d)(?::(?P<s>[0-5]?\d(?:\.\d+)?))?"),
    re.compile(r"(?P<sign>-?)(?P<m>\d+):(?P<s>[0-5]?\d\.\d+)"),
    re.compile(
        r"(?P<sign>-?)P(?:(?P<d>\d+)D)?T?(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>[\d.]+)S)?"
    ),
    re.compile(
        rf"(?P<sign>-?){_DAYS}(?:(?P<h>\d+) ?h(?:rs?|ours?)?\.?,? ?)?"
        r"(?:(?P<m>\d+) ?m(?:in\.?)?,? ?)?(?:(?P<s>[\d.]+) ?s(?:ec\.?)?)?"
    ),
)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}


def plain_date(text: str) -> tuple[str, int]:
    """Return a date with English months and without weekday and zone, and the zone in minutes.

    A quarter or an ISO week becomes its first day.
    """
    found = _QUARTER.fullmatch(text)
    if found:
        year, quarter = found[1] or found[4], int(found[2] or found[3])
        return f"{year}-{3 * quarter - 2:02d}-01", 0
    found = _WEEK.fullmatch(text)
    if found:
        try:
            return date.fromisocalendar(*(int(part or 1) for part in found.groups())).isoformat(), 0
        except ValueError:
            return text, 0
    text, minutes = _without_zone(_WEEKDAY.sub("", text, count=1))
    text = re.sub(r",? Uhr$", "", text)
    text = _HALF_OF_DAY.sub(r" \1m", text)
    text = re.sub(r"(:\d\d),(?=\d+$)", r"\1.", _ORDINAL.sub(r"\1", text))
    return _WORD.sub(_english, text), minutes


def _without_zone(text: str) -> tuple[str, int]:
    found = _ZONE.fullmatch(text)
    if found is None:
        return text, 0
    zone = found[2].lower()
    if zone in _ZONES:
        return found[1], _ZONES[zone]
    minutes = 60 * int(zone[1:3]) + int(zone[-2:])
    return found[1], -minutes if zone.startswith("-") else minutes


def _english(word: re.Match[str]) -> str:
    name = word[0].lower().removesuffix(".")
    month = _NAMES.get(name)
    return month or _SHORT_NAMES.get(name) or word[0]


def duration(text: str) -> np.timedelta64:
    """Return a duration such as 26:30:00, 1 day 02:00:00, 3:25.7, PT1H30M or 1h 30m; else NaT.

    Two numbers are hours and minutes, or minutes and seconds where the seconds have a fraction.
    """
    for form in _DURATIONS:
        found = form.fullmatch(text)
        parts = found.groupdict() if found else {}
        try:
            values = [float(parts[p]) * _SECONDS[p] for p in _SECONDS if parts.get(p)]
        except ValueError:
            continue
        if values and sum(values) < 1e12:
            sign = -1 if parts["sign"] else 1
            return np.timedelta64(round(sign * sum(values) * 1e6), "us")
    return np.timedelta64("NaT", "us")
