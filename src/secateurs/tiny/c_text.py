"""Texts of users inside of C: comments and strings that cannot end early."""

from __future__ import annotations

from collections.abc import Iterable


def c_comment(text: str) -> str:
    """Return a text for a comment: one line of ASCII in which nothing ends the comment."""
    line = " ".join(text.split())
    plain = line.encode("ascii", "backslashreplace").decode().replace("\\", "%")
    plain = "".join(c if c.isprintable() else "." for c in plain)
    for pair in ("*/", "/*", "??"):
        plain = plain.replace(pair, " ".join(pair))
    return plain.replace("??", "? ?")


def c_string(text: str) -> str:
    """Return a string literal; bytes other than letters, digits and spaces are octal."""
    body = "".join(
        chr(b) if (chr(b).isalnum() and b < 128) or chr(b) in " _.-+" else f"\\{b:03o}"
        for b in text.encode("utf-8", "surrogatepass")
    )
    return f'"{body}"'


def array_lines(values: Iterable[int], per_line: int = 16) -> str:
    """Return numbers as lines of an initialiser, with a comma after each."""
    numbers = [str(value) for value in values]
    lines = [numbers[i : i + per_line] for i in range(0, len(numbers), per_line)]
    return "".join(f"    {', '.join(line)},\n" for line in lines)
