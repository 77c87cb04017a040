"""The schema of a table of mixed types: how each of its columns becomes numbers.

`secateurs.data.schema_fitting.fit_schema` makes a schema from a training table.
`secateurs.data.encoding.encode` turns any later table with the same columns into float64.  A
schema that was read back from JSON encodes to the same bits.

Schemas of version 1 have no times and no columns that are left out; they are read as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.saved_model import Strict
from secateurs.data.column_values import FLOAT32_MAX, Kind
from secateurs.data.date_text import FORMATS, cyclic_names
from secateurs.data.errors import bad_column

#: Category that stands for a missing value, in columns where the fit saw one.
MISSING = "missing"
#: Most distinct values of a categorical column, `MISSING` not counted.
MAX_CATEGORIES = 1_000
#: Most columns of an encoded table, and so of a schema.
MAX_ENCODED_COLUMNS = 1_000_000
#: Words that version 0.1 read as missing in every column of a file.
OLD_MISSING_WORDS = frozenset(
    (
        *(
            "",
            "#N/A",
            "#N/A N/A",
            "#NA",
            "-1.#IND",
            "-1.#QNAN",
            "-NaN",
            "-nan",
            "1.#IND",
            "1.#QNAN",
        ),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


class ColumnSchema(Strict):
    """How one column is read.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical", "time", "left out"}
    fill : float, str or None
        Replaces a missing value: a number that float32 can hold, or one of `categories`; None
        for a column that is left out.
    categories : list of str, or None for other kinds
        Each has its own encoded column.  If there are two, only the second has one.
    n_rare : int
        Categories beyond `MAX_CATEGORIES`, which have no column of their own.
    missing : list of str
        Words that stand for a missing value in a text file.
    decimal : {".", ","}, or None
        Decimal mark in the file of the fit.
    unit : str
        The currency, percent sign or unit behind every number of that file; "" without one.
    format : str, or None
        Format of the times in that file.
    cyclic : bool
        Whether sine and cosine of the time of year, week and day are encoded too.
    reason : str, or None
        Why the column is left out.
    """

    name: str
    kind: Kind
    fill: Annotated[float, Field(ge=-FLOAT32_MAX, le=FLOAT32_MAX, allow_inf_nan=False)] | str | None
    categories: list[str] | None = None
    n_rare: Annotated[int, Field(ge=0)] = 0
    missing: list[str] = Field(default_factory=list, max_length=MAX_CATEGORIES)
    decimal: Literal[".", ","] | None = None
    unit: str = ""
    format: Literal[FORMATS] | None = None  # type: ignore[valid-type]
    cyclic: bool = False
    reason: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "left out" and (self.fill is None or self.reason is not None):
            raise bad_column(self.name, "no fill, or a reason", "a fill and no reason")
        if self.kind == "categorical":
            self._check_categories()
            return self
        if isinstance(self.fill, str) or self.categories is not None:
            got = "text as fill, or categories"
            raise bad_column(self.name, got, "a number as fill and no categories")
        if self.cyclic and self.kind != "time":
            raise bad_column(self.name, f"cyclic parts of a {self.kind} column", "a time")
        return self

    def _check_categories(self) -> None:
        if not self.categories:
            raise bad_column(self.name, "no categories", "at least one")
        if len(set(self.categories)) < len(self.categories):
            raise bad_column(self.name, "a category twice", "distinct categories")
        if len(self.categories) - (MISSING in self.categories) > MAX_CATEGORIES:
            n_categories = f"{len(self.categories)} categories"
            raise bad_column(self.name, n_categories, f"at most {MAX_CATEGORIES}")
        if self.fill not in self.categories:
            raise bad_column(self.name, f"fill {self.fill!r}", "one of the categories")

    @property
    def encoded_categories(self) -> list[str]:
        """Categories with an encoded column of their own; none for other kinds."""
        categories = self.categories or []
        return categories[1:] if len(categories) == 2 else categories

    @property
    def encoded_names(self) -> list[str]:
        """Names of the encoded columns: "age", or "colour=red" and "colour=blue"."""
        if self.kind == "left out":
            return []
        if self.kind == "categorical":
            return [f"{self.name}={category}" for category in self.encoded_categories]
        return [self.name, *(cyclic_names(self.name) if self.cyclic else ())]


class TableSchema(Strict):
    """The encoding of a table.

    ``TableSchema.model_validate_json(text)`` accepts untrusted text: it refuses unknown keys,
    duplicate names or categories, non-finite fills and sizes beyond `MAX_CATEGORIES` and
    `MAX_ENCODED_COLUMNS`.

    Parameters
    ----------
    version : {1, 2}
        Version of the rules; schemas of version 1 have no times and no columns that are left out.
    columns : list of ColumnSchema
        In the order of the training table.
    """

    version: Literal[1, 2] = 1
    columns: Annotated[list[ColumnSchema], Field(min_length=1, max_length=MAX_ENCODED_COLUMNS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_duplicates(column.name for column in self.columns)
        if self.n_encoded > MAX_ENCODED_COLUMNS:
            got = Shown(f"{self.n_encoded} encoded columns")
            raise bad_value("the table", got, f"at most {MAX_ENCODED_COLUMNS}")
        return self

    @property
    def n_encoded(self) -> int:
        """Number of encoded columns."""
        return sum(len(column.encoded_names) for column in self.columns)

    @property
    def encoded_order(self) -> list[int]:
        """Positions of the columns in the order in which they are encoded: numbers, then texts."""
        texts = [column.kind == "categorical" for column in self.columns]
        return sorted(range(len(texts)), key=texts.__getitem__)

    @property
    def sources(self) -> list[int]:
        """Position of the column that each encoded column comes from."""
        return [j for j in self.encoded_order for _ in self.columns[j].encoded_names]

    def of_kind(self, *kinds: Kind) -> list[ColumnSchema]:
        """Return the columns of these kinds.

        Parameters
        ----------
        *kinds : {"numeric", "categorical", "time", "left out"}
            One or more kinds.

        Returns
        -------
        list of ColumnSchema
            In the order of the table; empty if there are none.
        """
        return [column for column in self.columns if column.kind in kinds]

    def notes(self) -> list[str]:
        """Describe the columns that are not used whole.

        Returns
        -------
        list of str
            A sentence with all columns left out, and one for each column with rare categories.
        """
        left_out = [f"{column.name} ({column.reason})" for column in self.of_kind("left out")]
        notes = [f"Columns left out: {', '.join(left_out)}."] if left_out else []
        return notes + [
            f"Column {column.name!r}: the {len(column.categories or ())} most frequent texts have "
            f"an input of their own; {column.n_rare} others count as unseen."
            for column in self.columns
            if column.n_rare
        ]


def refuse_duplicates(names: Iterable[str]) -> None:
    """Raise ValueError if a name of a column appears twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise bad_column(name, "two columns of this name", "one", "rename one of them")
