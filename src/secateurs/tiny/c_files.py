"""Write the program in C and its header, or a sketch for Arduino."""

from __future__ import annotations

from pathlib import Path

from secateurs.core.atomic_write import write_atomically
from secateurs.core.parameters import Shown, bad_value
from secateurs.tiny import c_templates
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.c_source import c_files, check_name
from secateurs.tiny.generated import check_generated
from secateurs.tiny.inputs import TableInputs
from secateurs.tiny.outputs import NumberOutputs


def check_c_path(path: str | Path, name: str | None = None) -> tuple[Path, Path, str]:
    """Return the paths of program and header and the prefix, or raise ValueError."""
    path = Path(path)
    if path.suffix != ".c":
        raise bad_value("output", str(path), "a name that ends in .c")
    header = path.with_suffix(".h")
    prefix = check_name(path.stem if name is None else name)
    if header.stem != prefix:
        header = path.with_name(f"{prefix}.h")  # the program includes PREFIX.h
    check_generated(path)
    check_generated(header, others=[path])
    return path, header, prefix


def write_c(
    network: IntegerArithmetic, path: str | Path, name: str | None = None
) -> tuple[Path, Path]:
    """Write both files, each completely or not at all."""
    target, header, prefix = check_c_path(path, name)
    source, declarations = c_files(network, prefix)
    write_atomically(target, source.encode())
    write_atomically(header, declarations.encode())
    return target, header


def write_sketch(
    network: IntegerArithmetic, directory: str | Path, name: str | None = None
) -> tuple[Path, ...]:
    """Write a folder with a sketch, the program in C and its header."""
    directory = Path(directory)
    prefix = check_name(name or "net")
    check_name(directory.name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        got = Shown("a file, or a folder that is not empty")
        raise bad_value(str(directory), got, "a new or empty folder")
    directory.mkdir(parents=True, exist_ok=True)
    files = write_c(network, directory / f"{prefix}.c", prefix)
    sketch = directory / f"{directory.name}.ino"
    write_atomically(sketch, sketch_text(network, prefix).encode())
    return (sketch, *files)


def sketch_text(network: IntegerArithmetic, name: str) -> str:
    """Return the text of the sketch: read inputs, predict, print."""
    inputs, upper = network.inputs, name.upper()
    kind = "int8_t" if isinstance(inputs, TableInputs) else "uint8_t"
    buffers, body = f"static {kind} x[{upper}_INPUTS];\n", []
    if isinstance(inputs, TableInputs):
        buffers += f"static int32_t raw[{upper}_RAW];\n"
        body += [f"  // Fill raw[] with your measurements; {name}.h has their units.",
                 f"  {name}_encode(raw, x);"]  # fmt: skip
    elif inputs.stage is not None:
        buffers += f"static uint8_t pixels[{upper}_PIXELS];\n"
        body += ["  // Fill pixels[] with an image.", f"  {name}_{inputs.stage.name}(pixels, x);"]
    else:
        body += ["  // Fill x[] with your inputs."]
    if isinstance(network.outputs, NumberOutputs):
        body += [f"  int32_t y[{upper}_OUTPUTS];", f"  {name}_predict(x, y);",
                 "  Serial.println(y[0]);"]  # fmt: skip
    else:
        body += [f"  Serial.println({name}_predict(x));"]
    return c_templates.SKETCH.format(name=name, buffers=buffers, body="\n".join(body))
