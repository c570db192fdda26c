"""The script of a text against a plain reading, and the cases that are easily taken for others."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.scripts import SCRIPTS, scripts

NAMED = {
    "LATIN": "Latin", "HANGUL": "Hangul", "HIRAGANA": "Kana", "KATAKANA": "Kana", "KATAKANA-HIRAGANA": "Kana", "CJK": "Han",
    "CYRILLIC": "Cyrillic", "ARABIC": "Arabic", "DEVANAGARI": "Devanagari", "GREEK": "Greek", "HEBREW": "Hebrew", "THAI": "Thai",
}  # fmt: skip
CHARACTERS = "aZéſ밥ㅋひカー韓𠀋яЖعأहिΣόזֶกีਸ𝔘1Ⅻ²#!.…” \n\u3000"


def plain(text: str) -> str:
    letters = [c for c in text if not c.isspace() and unicodedata.category(c)[0] not in "NPS"]
    if not letters:
        return "none"
    written = [NAMED.get(unicodedata.name(letter).split()[0], "other") for letter in letters]
    for script in SCRIPTS:
        if written.count(script) * (5 if script == "Kana" else 2) > len(letters):
            return script
    return "other"


@given(st.lists(st.lists(st.sampled_from(CHARACTERS), max_size=12).map("".join), max_size=8))
def test_the_kernel_equals_the_plain_reading(texts):
    assert scripts(pl.Series(texts, dtype=pl.String)).to_list() == [plain(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("ＬＥＤ", "Latin"),  # full width
        ("ab яж", "other"),  # no script has more than half
        ("東京へ", "Kana"),
        ("東京大学文学部へ", "Han"),  # one kana in eight letters
        ("각", "Hangul"),  # conjoining jamo
        ("हिन्दी", "Devanagari"),  # vowel signs are of the script
        ("Ⅻ 12 – 4.5 %", "none"),
        ("\U000e0041", "other"),
    ],
)
def test_texts_that_are_easily_taken_for_others(text, script):
    assert scripts(pl.Series([text])).to_list() == [script]
