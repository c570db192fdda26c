"""Cases of text repair, with negatives: what must be repaired, and what must be left alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.cleaning import clean

CASES = json.loads((Path(__file__).parents[1] / "cases" / "cleaning.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["label"])
def test_case(case):
    text, steps = clean(case["text"], case["kind"])
    if "expected" in case:
        assert text == case["expected"]
    for part in case.get("contains", []):
        assert part in text
    for part in case.get("lacks", []):
        assert part not in text
    assert steps == case["steps"]


@given(st.text())
def test_cleaning_a_clean_text_changes_nothing(text):
    once = clean(text).text
    twice = clean(once)
    assert (
        twice.text == once or "encoding" in clean(text).steps + twice.steps
    )  # ftfy may find a layer of mojibake under another


@given(st.text(st.characters(codec="ascii", exclude_characters="&<\x1b", categories=["L", "N", "P", "Zs"])))
def test_plain_ascii_without_markup_is_only_stripped(text):
    assert clean(text).text == text.strip()
