"""One call of an operation, as its rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from secateurs.nn.axes import Axes, Walk, tensors_in


@dataclass(frozen=True, eq=False)
class Call:
    """An operation, the values that it was called with, and its result."""

    walk: Walk
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    def axes(self, i: int) -> Axes:
        """Return the axes of a positional argument, which must be a tensor."""
        tensor = self.args[i]
        if not isinstance(tensor, Tensor):
            raise TypeError
        return self.walk.axes(tensor)

    def optional(self, i: int, name: str = "") -> Axes | None:
        """Return the axes of an argument if it was given."""
        tensor = self.argument(i, name)
        return self.walk.axes(tensor) if isinstance(tensor, Tensor) else None

    def argument(self, i: int, name: str = "", default: Any = None) -> Any:
        """Return an argument by its place or name."""
        if i < len(self.args):
            return self.args[i]
        return self.kwargs.get(name, default)

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors of the result."""
        return tensors_in(self.result)


Rule = Callable[[Call], list[Axes]]


def short_name(operation: Any) -> str:
    """Return the name of an operation without its library, its overload and its trailing _."""
    schema = getattr(operation, "_schema", None)
    name = schema.name.split("::")[1] if schema is not None else str(operation)
    return name if name.startswith("__") else name.rstrip("_")
