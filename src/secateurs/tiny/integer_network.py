"""An integer network that states its costs and writes its programs."""

from __future__ import annotations

from pathlib import Path

from secateurs.core.description import Description
from secateurs.core.short_repr import short_repr
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.c_files import write_c, write_sketch
from secateurs.tiny.c_source import c_files
from secateurs.tiny.description import describe_integer_network
from secateurs.tiny.footprint import flash_bytes, ram_bytes
from secateurs.tiny.numpy_source import write_numpy
from secateurs.tiny.onnx_graph import write_onnx


class IntegerNetwork(IntegerArithmetic):
    """A sparse network in integers, with its costs in bytes and its programs.

    Made by `secateurs.tiny.quantize` and `secateurs.tiny.fit_bytes`.  The methods that predict are
    those of `secateurs.tiny.arithmetic.IntegerArithmetic`.

    Parameters
    ----------
    layers : tuple of IntegerLayer
        The weights as integers, first layer first, with ReLU between the layers.
    inputs : PixelInputs or TableInputs
        How rows of data become integers.
    outputs : ClassOutputs or NumberOutputs
        What the scores mean.
    examples : int64 array [m, n_raw]
        A few rows as raw integers, for the test in the program in C.
    certificate_ : Certificate
        What is known about the arithmetic and about errors on new rows.
    report_ : dict, optional
        Numbers about the fine-tuning and the comparison, for a table.
    """

    __repr__ = short_repr

    @property
    def flash_bytes_(self) -> int:
        """Bytes of flash with all code, on a Cortex-M0 at -Os; see `secateurs.tiny.footprint`."""
        return flash_bytes(self)

    @property
    def ram_bytes_(self) -> int:
        """Bytes of stack with the inputs of the network, on a Cortex-M0 at -Os."""
        return ram_bytes(self)

    def describe(self) -> Description:
        """Describe the network, for a terminal or a program.

        Returns
        -------
        Description
            The headline, the facts, a table of the costs and one of the certificate.
        """
        return describe_integer_network(self)

    def c_source(self, name: str = "net") -> tuple[str, str]:
        """Write the program in C as text.

        Parameters
        ----------
        name : str
            Prefix of all public names, which has to be a name in C.

        Returns
        -------
        tuple of str
            The text of the program, and that of its header.

        Raises
        ------
        ValueError
            The name is no name in C, or a sum can pass 2^63.
        """
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

        Returns
        -------
        tuple of Path
            The sketch, the program and the header.
        """
        return write_sketch(self, directory, name)

    def to_numpy(self, path: str | Path) -> None:
        """Write one readable Python file that needs only NumPy and computes the same scores.

        Parameters
        ----------
        path : str or Path
            Ends in ``.py``.  An older file is replaced only if it was generated too.
        """
        write_numpy(self, path)

    def to_onnx(self, path: str | Path) -> None:
        """Write the network as ONNX in float64, whose scores are the same integers.

        This needs ``pip install secateurs[onnx]``.

        Parameters
        ----------
        path : str or Path
            Where to write.  An older file is replaced only if it is an ONNX file.

        Raises
        ------
        ModuleNotFoundError
            The extra is not installed.
        ValueError
            The path cannot be written, or a sum can pass 2^53, beyond which float64 is not exact.
        """
        write_onnx(self, path)
