"""An integer network that states its costs and writes its programs."""

from __future__ import annotations

from pathlib import Path

from secateurs.core.description import Description
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.c_files import write_c, write_sketch
from secateurs.tiny.c_source import c_files
from secateurs.tiny.description import describe_integer_network
from secateurs.tiny.footprint import flash_bytes, ram_bytes
from secateurs.tiny.numpy_source import write_numpy
from secateurs.tiny.onnx_graph import write_onnx


class IntegerNetwork(IntegerArithmetic):
    """A sparse network in integers, with its costs in bytes and its programs.

    Made by `secateurs.tiny.quantize` and `secateurs.tiny.fit_bytes`.  Attributes and the methods
    that predict are those of `secateurs.tiny.arithmetic.IntegerArithmetic`.
    """

    @property
    def flash_bytes_(self) -> int:
        """Bytes of flash with all code, on a Cortex-M0 at -Os; see `secateurs.tiny.footprint`."""
        return flash_bytes(self)

    @property
    def ram_bytes_(self) -> int:
        """Bytes of stack with the inputs of the network, on a Cortex-M0 at -Os."""
        return ram_bytes(self)

    def describe(self) -> Description:
        """Return a headline, the costs in a table, and the certificate."""
        return describe_integer_network(self)

    def c_source(self, name: str = "net") -> tuple[str, str]:
        """Return the text of the program in C and of its header."""
        return c_files(self, name)

    def to_c(self, path: str | Path, name: str | None = None) -> tuple[Path, Path]:
        """Write the program in C (C99 and C++11) and its header beside it.

        Parameters
        ----------
        path : str or Path
            Ends in ``.c``; the header gets the ending ``.h``.
        name : str, optional
            Prefix of all public names; by default the name of the file.

        Returns
        -------
        tuple of Path
            The two files.
        """
        return write_c(self, path, name)

    def to_sketch(self, directory: str | Path, name: str | None = None) -> tuple[Path, ...]:
        """Write an Arduino sketch: a folder with a ``.ino``, the program in C and its header.

        Parameters
        ----------
        directory : str or Path
            The folder of the sketch, which is made; the ``.ino`` has its name, as Arduino wants.
        name : str, optional
            Prefix of all public names; by default ``net``.
        """
        return write_sketch(self, directory, name)

    def to_numpy(self, path: str | Path) -> None:
        """Write one readable Python file that needs only NumPy and computes the same scores."""
        write_numpy(self, path)

    def to_onnx(self, path: str | Path) -> None:
        """Write the network as ONNX in float64, whose scores are the same integers.

        This needs ``pip install secateurs[onnx]``.
        """
        write_onnx(self, path)
