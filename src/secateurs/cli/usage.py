"""Messages about options that the parser cannot read, in the grammar of all others."""

from __future__ import annotations

from cyclopts import CoercionError, CycloptsError, RepeatArgumentError, UnusedCliTokensError

from secateurs.core.parameters import bad_value

KINDS: dict[object, str] = {
    int: "a whole number, such as 4",
    float: "a number, such as 0.5",
    bool: "no value; give the option alone",
}


def usage_message(error: CycloptsError) -> str:
    """Say what was given and what is expected; other errors speak for themselves."""
    if isinstance(error, CoercionError) and error.token is not None and error.token.keyword:
        expected = KINDS.get(error.target_type)
        if expected is not None:
            return str(bad_value(error.token.keyword, error.token.value, expected))
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(error.unused_tokens or ())
        expected = "no further word; write names with spaces in quotes"
        return str(bad_value("the command line", words, expected))
    if isinstance(error, RepeatArgumentError) and error.token.keyword:
        return f"{error.token.keyword}: got it more than once; expected it once"
    return str(error)
