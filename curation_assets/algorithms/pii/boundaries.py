"""Where a value begins and ends in a text, and the characters that stand in and around it."""

from collections.abc import Iterator

Spans = Iterator[tuple[int, int, str]]

SAID_CHARS = 40
"""How far before a number the word may stand that says what it is."""

WORD = "A-Za-z0-9_"

SPACES = " \u00a0\u2007\u2009\u202f"

DASHES = r"\-\u2010-\u2015\u2212"

SEPARATOR = f"[{SPACES}{DASHES}]"


def begin(more: str = "", read: int = 0) -> str:
    r"""Where a value can begin: not behind a character of a word or of `more`, but behind an escape (\n) or an underscore of emphasis.

    It stands behind the first `read` characters of the value: a pattern that begins with characters is searched for many times faster.
    """
    value = rf"[\s\S]{{{read}}}" if read else ""
    letter = (
        rf"(?<!\\[nrt]{value[:-3]}{{{read - 1}}})" if read > 1 else r"(?<!\\[nrt])" if read else r"(?!(?<=\\)[nrt])"
    )
    return (
        rf"(?:(?<![0-9A-Za-z_{more}]{value}){letter}|(?<=_{value})(?<![0-9A-Za-z{more}]_{value})"
        rf"|(?<=\\[nrt]{value})|(?<=\\u[0-9A-Fa-f]{{4}}{value}))"
    )


END = "(?![0-9A-Za-z]|_+[0-9A-Za-z])"
"""Where a value can end: before no character of a word, but before an underscore of emphasis."""

END_OF_NUMBER = r"(?![0-9A-Za-z]|_+[0-9A-Za-z]|[.\-][0-9])"
