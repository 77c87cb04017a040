"""The schema of a table of mixed types: how each of its columns becomes numbers.

`secateurs.data.schema_fitting.fit_schema` makes a schema from a training table.
`secateurs.data.encoding.encode` turns any later table with the same columns into float32.  A
schema that was read back from JSON encodes to the same bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.saved_model import Strict
from secateurs.data.column_values import FLOAT32_MAX, Kind
from secateurs.data.errors import bad_column

#: Category that stands for a missing value, in columns where the fit saw one.
MISSING = "missing"
#: Most distinct values of a categorical column, `MISSING` not counted.
MAX_CATEGORIES = 1_000
#: Most columns of an encoded table, and so of a schema.
MAX_ENCODED_COLUMNS = 1_000_000


class ColumnSchema(Strict):
    """How one column is read.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical"}
    fill : float or str
        Replaces a missing value: a number that float32 can hold, or one of `categories`.
    categories : list of str, or None for a numeric column
        Each has its own encoded column.  If there are two, only the second has one.
    """

    name: str
    kind: Kind
    fill: Annotated[float, Field(ge=-FLOAT32_MAX, le=FLOAT32_MAX, allow_inf_nan=False)] | str
    categories: list[str] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "numeric":
            if isinstance(self.fill, str) or self.categories is not None:
                got = "text as fill, or categories"
                raise bad_column(self.name, got, "a number as fill and no categories")
            return self
        if not self.categories:
            raise bad_column(self.name, "no categories", "at least one")
        if len(set(self.categories)) < len(self.categories):
            raise bad_column(self.name, "a category twice", "distinct categories")
        if len(self.categories) - (MISSING in self.categories) > MAX_CATEGORIES:
            n_categories = f"{len(self.categories)} categories"
            raise bad_column(self.name, n_categories, f"at most {MAX_CATEGORIES}")
        if self.fill not in self.categories:
            raise bad_column(self.name, f"fill {self.fill!r}", "one of the categories")
        return self

    @property
    def encoded_categories(self) -> list[str]:
        """Categories with an encoded column of their own; none for a numeric column."""
        categories = self.categories or []
        return categories[1:] if len(categories) == 2 else categories


class TableSchema(Strict):
    """The encoding of a table.

    ``TableSchema.model_validate_json(text)`` accepts untrusted text: it refuses unknown keys,
    duplicate names or categories, non-finite fills and sizes beyond `MAX_CATEGORIES` and
    `MAX_ENCODED_COLUMNS`.

    Attributes
    ----------
    columns : list of ColumnSchema
        In the order of the training table.
    """

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
        n_one_hot = sum(len(column.encoded_categories) for column in self.columns)
        return len(self.of_kind("numeric")) + n_one_hot

    def of_kind(self, kind: Kind) -> list[ColumnSchema]:
        """Columns of one kind, in order."""
        return [column for column in self.columns if column.kind == kind]


def refuse_duplicates(names: Iterable[str]) -> None:
    """Raise ValueError if a name of a column appears twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise bad_column(name, "two columns of this name", "one", "rename one of them")
