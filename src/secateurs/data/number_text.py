"""Numbers as people write them: decimal marks, thousands, currencies, percents, units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache

#: Words that stand for a missing number, in lower case.
MISSING_NUMBERS = frozenset(
    (
        *("", "na", "n/a", "#n/a", "#na", "n.a.", "nan", "<na>", "null", "none", "nil", "missing"),
        *(
            "-",
            "--",
            "---",
            "—",
            "–",
            ".",
            "..",
            "...",
            ":",
            "?",
            "*",
            "n.d.",
            "nd",
            "k.a.",
            "unknown",
        ),
        *("#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "-nan", "nat"),
    )
)
TRUTHS = {"true": 1.0, "false": 0.0}
_WORDS = TRUTHS | {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinity": math.inf}
LONGEST = 80  # characters of a number
SPACES = " \t\u00a0\u2007\u2009\u202f"
_MINUS = "\u2212\u2013-"  # the hyphen last, for sets of characters
_SYMBOLS = "$€£¥₹₽₩₺₫₪₴₦฿₱¢¤"  # the last is the euro of Latin-9, read as Latin-1
_CODES = (
    "USD|EUR|GBP|CHF|JPY|CNY|SEK|NOK|DKK|PLN|CZK|HUF|INR|BRL|CAD|AUD|NZD|ZAR|SFr\\.?|Fr\\.|kr\\.?"
    "|zł|Kč|R\\$|Rs\\.?|US\\$|A\\$|C\\$"
)
_CURRENCY = f"(?:{_CODES}|[{_SYMBOLS}])"
_WORD = "[^\\W\\d_]{1,12}[23²³]?"
_UNIT = f"(?:[%‰]|{_CURRENCY}|°?{_WORD}\\.?(?:[/·]{_WORD})?|°)"
_GAP = f"[{SPACES}]*"
_PLURALS = {"": 0, "s": 1, "es": 2, "e": 2, "n": 2, "en": 2}  # after more letters than that
_NO_CENTS = re.compile(rf"(?<=[0-9])[.,][—{_MINUS}]{{1,2}}(?![0-9])")  # as in 5.- and 5,--
_OUTSIDE = re.compile(rf"({_CURRENCY}){_GAP}\((.*)\)|\((.*)\){_GAP}({_CURRENCY}|[%‰])")


@cache
def _pattern(decimal: str) -> re.Pattern[str]:
    """Return the pattern of a number with this decimal mark."""
    mark = re.escape(decimal)
    thousands = f"['’{SPACES}{'.' if decimal == ',' else ','}]"
    fraction = f"(?:{mark}[0-9]*)?"
    grouped = f"[1-9][0-9]{{0,2}}(?P<mark>{thousands})[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*{fraction}"
    indian = f"[0-9]{{1,2}}(?:,[0-9]{{2}})+,[0-9]{{3}}{fraction}" if decimal == "." else "(?!)"
    plain = f"[0-9]+{fraction}|{mark}[0-9]+"
    return re.compile(
        f"(?P<sign>[+{_MINUS}]?){_GAP}(?P<before>{_CURRENCY})?{_GAP}(?P<inner>[{_MINUS}]?){_GAP}"
        f"(?P<digits>{grouped}|{indian}|{plain})(?P<power>[eEdD][+-]?[0-9]{{1,4}})?{_GAP}"
        f"(?P<unit>{_UNIT})?(?P<last>[{_MINUS}]?)"
    )


def parse_number(text: str, decimal: str) -> tuple[float, str] | None:
    """Read a number and its unit; None if the text is no number with this decimal mark.

    The unit is a currency, a percent sign or letters, "" without one.  A percent is read as the
    number before the sign.  Parentheses around a number, or a minus sign behind it, make it
    negative; "true" is 1 and "false" is 0.

    Parameters
    ----------
    text : str
    decimal : {".", ","}
        Groups of three digits may be separated by the other of these marks, by an apostrophe or
        by any kind of space.

    Notes
    -----
    O(len(text)) time.
    """
    text = text.strip(SPACES)
    word = _WORDS.get(text.lower())
    if word is not None:
        return word, ""
    if len(text) > LONGEST:
        return None
    text = _NO_CENTS.sub("", text)
    outside = _OUTSIDE.fullmatch(text)
    if outside is not None:  # $ (5) is ($ 5)
        before, inner, first, behind = (part or "" for part in outside.groups())
        text = f"({before}{inner}{first}{behind})"
    bracketed = text.startswith("(") and text.endswith(")")
    found = _pattern(decimal).fullmatch(text[1:-1].strip(SPACES) if bracketed else text)
    if found is None or (found["before"] and found["unit"] and found["unit"] != "%"):
        return None
    signs = [found["sign"], found["inner"], found["last"], "-" if bracketed else ""]
    if sum(bool(sign) for sign in signs) > 1:
        return None
    digits = found["digits"]
    if found["mark"]:
        digits = digits.replace(found["mark"], "")
    elif decimal == ".":
        digits = digits.replace(",", "")
    value = float(digits.replace(",", ".") + (found["power"] or "").lower().replace("d", "e"))
    negative = any(sign and sign in _MINUS for sign in signs)
    return (-value if negative else value), found["before"] or found["unit"] or ""


class NumberReader:
    """Reads the texts of one column as numbers with one decimal mark.

    Parameters
    ----------
    decimal : {".", ","}
    texts : iterable of str
        Distinct texts without the missing ones.
    unit : str, optional
        The only unit that is accepted; by default, the most frequent one of the texts.

    Attributes
    ----------
    values : dict of str to float
        The texts that are numbers.
    strays : list of str
        The others, in the order given.
    unit : str
        The unit; "" where no text has one.
    """

    def __init__(self, decimal: str, texts: Iterable[str], unit: str | None = None) -> None:
        self.decimal = decimal
        parsed = {text: parse_number(text, decimal) for text in texts}
        units = [found[1] for found in parsed.values() if found is not None and found[1]]
        self.unit = (
            unit if unit is not None else max(sorted(set(units)), key=units.count, default="")
        )
        self.values = {
            text: found[0]
            for text, found in parsed.items()
            if found is not None and (not found[1] or is_same_unit(found[1], self.unit))
        }
        self.strays = [text for text in parsed if text not in self.values]


def is_same_unit(one: str, other: str) -> bool:
    """Whether two units are one word: ``hour`` and ``hours``, ``Tag`` and ``Tage``, ``pc.``."""
    short, long = sorted((one.removesuffix("."), other.removesuffix(".")), key=len)
    ending = long[len(short) :]
    if not long.startswith(short) or not short.isalpha():
        return one == other
    return ending in _PLURALS and len(short) > _PLURALS[ending]


def text_as_number(text: str) -> float | None:
    """Return the number that a text stands for, whatever its form: 1.0, 007, true, 1e3."""
    found = parse_number(text, ".")
    return None if found is None or found[1] else found[0]
