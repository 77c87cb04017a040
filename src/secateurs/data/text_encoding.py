"""The encoding of a text file whose name nobody gave."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

SAMPLE_BYTES = 1 << 16  # bytes from which the encoding is guessed
MOST_MESS = 0.5  # of charset-normalizer, whose default refuses tables of few words
MOSTLY = 4  # letters of UTF-8 for each damaged byte
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# letters beyond ASCII of languages in Latin letters, by the encodings in which each is written
_ALPHABETS = {
    ("cp1252", "mac_roman", "cp850"): (
        *("äöüß", "àâæçèéêëîïôœùûüÿ", "áéíñóúü", "ãáàâçéêíóôõú", "àèéìíòóù", "àçèéíïòóúü"),
        *("åäöé", "æøåé", "ëéèïöü"),
    ),
    ("cp1250", "iso8859_2"): (
        *("áéíóöőúüű", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "čćđšž", "ăâîșțşţ"),
    ),
    ("cp1254",): ("çğıöşüİâî",),
    ("iso8859_1",): ("áðéíóúýþæö",),  # Icelandic has bytes in common with Turkish
    ("cp1257",): ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
}
_OTHER_SCRIPTS = (
    *("cp1251", "koi8_r", "cp1253", "cp1255", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_CONTROL = re.compile("[\ufffd\x80-\x9f]")
_SIGN_IN_WORD = re.compile(r"[^\W\d_][\u00a1-\u00bf‚„…†‡‰‹›•™˜][^\W\d_]|[£¹³¿©®¦¬¯¶¸¼½¾][^\W\d_]")


def find_encoding(content: bytes) -> str | None:
    """Find the encoding of a text; None for bytes that are no text.

    It is the one of the byte order mark; else UTF-8, even with a few damaged letters; else UTF-16
    or UTF-32 where zeros stand as they do there; else a legacy encoding, which is a guess.
    """
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    sample = content[: SAMPLE_BYTES // 4 * 4]
    if b"\0" in sample:
        return _wide(sample)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        n_letters, n_damaged = _letters_of_utf8(content)
        if n_letters >= MOSTLY * n_damaged:
            return "utf-8"
        # the guess needs the lines around the first letter that is not ASCII
        start = max(0, error.start - SAMPLE_BYTES // 2)
        return _guessed(content[start : start + SAMPLE_BYTES])
    return "utf-8"


def _letters_of_utf8(content: bytes) -> tuple[int, int]:
    """Return the letters beyond ASCII that read as UTF-8, and the number of damaged ones."""
    text = content.decode("utf-8", errors="replace")
    n_damaged = text.count("\ufffd")
    return sum(not letter.isascii() for letter in text) - n_damaged, n_damaged


def _wide(sample: bytes) -> str | None:
    """Return the encoding of letters of two or four bytes, of which most are ASCII."""
    zeros = [sample[k::4].count(0) for k in range(4)]
    most = 0.8 * len(sample) / 4
    for name, places in (
        ("utf-32-le", (1, 2, 3)), ("utf-32-be", (0, 1, 2)),
        ("utf-16-le", (1, 3)), ("utf-16-be", (0, 2)),
    ):  # fmt: skip
        others = sum(count for k, count in enumerate(zeros) if k not in places)
        if others == 0 and all(zeros[k] > most for k in places[-2:]):
            return name
    return None


def _guessed(sample: bytes) -> str:
    """Guess a legacy encoding; western Europe is preferred where it reads as well.

    Every encoding of one byte a letter reads every other, so that short texts mislead any guess.
    Words of Latin letters hold few letters beyond ASCII, and no signs such as a pound sign, and
    the letters of one language decide.
    """
    western = sample.decode("cp1252", errors="replace")
    words = [
        word
        for word in re.findall(r"[^\s\d,;|]+", western)
        if any((letter.isalpha() and not letter.isascii()) or letter == "\ufffd" for letter in word)
    ]
    if not words:  # only signs, such as the euro sign beside a price
        return "cp1252"
    latin = 2 * sum(not letter.isascii() for word in words for letter in word) < sum(
        map(len, words)
    )
    if latin:
        found = _by_alphabet(sample)
        if found is not None:
            return found
        if "\ufffd" not in western and not any(_SIGN_IN_WORD.search(word) for word in words):
            return "cp1252"
    candidates = ("cp850", "cp1250", "mac_roman") if latin else _OTHER_SCRIPTS
    best = charset_normalizer.from_bytes(
        sample, cp_isolation=list(candidates), threshold=MOST_MESS
    ).best()
    return "cp1252" if best is None else best.encoding


def _by_alphabet(sample: bytes) -> str | None:
    """Return the first encoding in which the letters of one language are all that is found."""
    for encodings, alphabets in _ALPHABETS.items():
        for encoding in encodings:
            text = sample.decode(encoding, errors="replace")
            used = {letter for letter in text if not letter.isascii() and letter.isalpha()}
            if not used or _SIGN_IN_WORD.search(text) or _CONTROL.search(text):
                continue
            if any(used <= {*letters, *letters.upper()} for letters in alphabets):
                return encoding
    return None
