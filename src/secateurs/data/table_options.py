"""What a user may say about a table file: its dialect and the roles of its columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateurs.core.parameters import Shown, bad_value, check_choice

DECIMALS = (".", ",")
#: What `TableOptions.dates` may contain.
DATE_WORDS = ("cyclic", "day-first", "month-first")
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}


@dataclass(frozen=True)
class TableOptions:
    """How a table file is read; everything that is not given is found from the file.

    Parameters
    ----------
    delimiter : str, optional
        One character, or "tab" or "space" (any run of spaces).
    decimal : {".", ","}, optional
        The decimal mark of every column.
    encoding : str, optional
        A name that Python knows, such as "cp1252".
    na : tuple of str
        Words that stand for a missing value in every column; ``COLUMN=WORD`` holds for one column.
    drop : tuple of str
        Columns that are not used.
    id : tuple of str
        Columns that identify rows; they are not used as inputs.
    keep : tuple of str
        Columns that are used although they look like identifiers.
    group : str, optional
        Column of groups: rows with the same value stay together in every split.
    weight : str, optional
        Column of the weights of the rows.
    dates : tuple of str
        "cyclic" adds the sine and cosine of the time of year, of week and of day; "day-first"
        and "month-first" decide how 03/04/2020 is read.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    group: str | None = None
    weight: str | None = None
    dates: tuple[str, ...] = ()

    def checked(self) -> TableOptions:
        """Check the options, and give the delimiter as one character.

        Returns
        -------
        TableOptions
            These options, or a copy in which a word such as "tab" is the character itself.

        Raises
        ------
        ValueError
            An option makes no sense; the message names it.
        """
        if self.decimal is not None:
            check_choice("decimal", self.decimal, DECIMALS)
        for word in self.dates:
            check_choice("dates", word, DATE_WORDS)
        if {"day-first", "month-first"} <= set(self.dates):
            raise bad_value("dates", Shown("day-first and month-first"), "one of them")
        if self.encoding is not None:
            try:
                "a".encode(self.encoding)
            except (LookupError, ValueError) as error:
                expected = "the name of a text encoding, such as utf-8 or cp1252"
                raise bad_value("encoding", self.encoding, expected) from error
        if self.delimiter is None:
            return self
        delimiter = _NAMED_DELIMITERS.get(self.delimiter.lower(), self.delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n' or delimiter.isalnum():
            raise bad_value("delimiter", self.delimiter, "one character, tab or space")
        return replace(self, delimiter=delimiter)

    def missing_words(self, column: str) -> frozenset[str]:
        """Return the words that `na` declares missing in a column.

        Parameters
        ----------
        column : str
            Name of the column.

        Returns
        -------
        frozenset of str
            The words for all columns and those for this one.
        """
        words = set()
        for item in self.na:
            name, equals, word = item.rpartition("=")
            if not equals:
                words.add(item)
            elif name == column:
                words.add(word)
        return frozenset(words)

    def roles(self) -> dict[str, str]:
        """Return the role of every column that was named, except those to keep.

        Returns
        -------
        dict of str
            By the name of the column: "dropped", "identifier", "group" or "weight".
        """
        roles = dict.fromkeys(self.drop, "dropped") | dict.fromkeys(self.id, "identifier")
        if self.group is not None:
            roles[self.group] = "group"
        if self.weight is not None:
            roles[self.weight] = "weight"
        return roles
