"""The counts against a plain Python reading of what each is."""

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.surface_signals import (
    CLOSING_MARKS,
    COLUMNS,
    FUNCTION_WORDS,
    capitals_and_letters,
    surface_signals,
)
from curation_assets.algorithms.token_signals import STOP_WORDS
from curation_assets.algorithms.tokens import TERMINAL_MARKS

WORDS = "The the OF don't 안녕 ... :// wait… no! É İ Σ 𝔘 🫠 𠀋"
CHARACTERS = "aZÉ韓ㅋ1Ⅻ²#!.…-•\"'”()/:@_"
SPACES = [" ", "  ", "\n", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\x0b", "\u200b", "\r\n"]
PIECES = st.sampled_from([*CHARACTERS, *WORDS.split(), *SPACES])
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def of_class(text: str, *classes: str) -> int:
    return sum(unicodedata.category(character).startswith(classes) for character in text)


def is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def stripped(token: str) -> str:
    marks = "".join({character for character in token if is_mark(character)})
    return token.strip(marks) if marks else token


def plain_reading(text: str) -> dict[str, int]:
    words = [word for word in map(stripped, text.split()) if word]
    lower = ["".join({"İ": "i"}.get(one, one.lower()) for one in word) for word in words]
    raw_lines = [line for line in text.split("\n") if line.strip(" \t\r\u00a0\u3000")]
    lines = [line.strip(" \t\r\u00a0\u3000") for line in raw_lines]
    paragraphs = re.split("\n{2,}", text.strip(" \n")) if "\n\n" in text else [text]
    return {
        "letters": len("".join(text.split())) - of_class(text, "N", "P", "S"),
        "digits": of_class(text, "N"),
        "punctuation": of_class(text, "P", "S"),
        "upper_case": of_class(text, "Lu"),
        "newlines": text.count("\n"),
        "hashes": text.count("#"),
        "exclamations": text.count("!"),
        "ellipses": text.count("...") + text.count("…"),
        "urls": text.count("://"),
        "split_words": len(words),
        "word_chars": sum(map(len, words)),
        "alpha_words": sum(of_class(word, "L") > 0 for word in words) if of_class(text, "N") else len(words),
        "capitalized_words": sum(unicodedata.category(word[0]) == "Lu" for word in words),
        "different_words": len(set(lower)),
        "function_words": sum(word in FUNCTION_WORDS for word in lower),
        "stop_words": len(set(lower) & set(STOP_WORDS)),
        "lines": len(lines),
        "line_chars": sum(map(len, lines)),
        "bullet_lines": sum(line[0] in "•-" for line in lines),
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines),
        "short_lines": sum(len(line) <= 30 for line in lines),
        "closed_lines": sum(line[-1] in CLOSING_MARKS for line in lines),
        "terminal_mark_lines": sum(line[-1] in TERMINAL_MARKS for line in raw_lines),
        "different_lines": len(set(lines)),
        "different_line_chars": sum(map(len, set(lines))),
        "paragraphs": len(paragraphs),
        "paragraph_chars": sum(map(len, paragraphs)),
        "different_paragraphs": len(set(paragraphs)),
        "different_paragraph_chars": sum(map(len, set(paragraphs))),
    }


@given(st.lists(TEXTS, max_size=6))
def test_counts_equal_the_plain_reading(texts):
    found = surface_signals(pl.Series(texts, dtype=pl.String))
    assert tuple(found.columns) == COLUMNS
    assert found.to_dicts() == [plain_reading(text) for text in texts]


@given(st.lists(TEXTS, max_size=6))
def test_capitals_and_letters_equal_the_plain_reading(texts):
    found = capitals_and_letters(pl.Series(texts, dtype=pl.String))
    assert found.rows() == [(of_class(text, "Lu"), of_class(text, "L")) for text in texts]


def test_a_text_that_is_no_string_or_null_is_refused():
    with pytest.raises(TypeError, match="measures texts"):
        surface_signals(pl.Series([1]))
    with pytest.raises(ValueError, match="row 1 is null"):
        surface_signals(pl.Series(["a", None]))
