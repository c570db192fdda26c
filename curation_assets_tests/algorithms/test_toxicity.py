"""Words of abuse, disguised and not, and words that only look like them."""

import json
import re

import polars as pl
import pytest

from curation_assets.algorithms.toxicity import GROUPS, LEXICONS, toxic_words


def counted(text: str, language: str = "en") -> tuple:
    return toxic_words(pl.Series([text]), pl.Series([language])).row(0)


@pytest.mark.parametrize(
    "text", ["shit", "SHIT!", "shiiiit", "sh1t", "shi7", "sh*t", "shits", "bullshit", "f**king", "a$$hole"]
)
def test_english_words_are_found_however_disguised(text):
    assert counted(f"what {text} this is")[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "assess the class",
        "Scunthorpe",
        "455 shirts",
        "cocktail",
        "a dickens of a day",
        "spices and spikes",
        "shiitake",
        "tilt",
        "as is",
        "cumulative",
    ],
)
def test_english_words_that_look_like_them_are_not(text):
    assert counted(text) == (0, 0, 0)


@pytest.mark.parametrize("text", ["병신", "병1신", "시1발", "씨~발", "ㅅㅂ", "개 새 끼", "미친놈아"])
def test_korean_words_are_found_however_disguised(text):
    assert counted(f"저 {text} 봐라", "ko")[0] >= 1


@pytest.mark.parametrize(
    "text", ["시발점이 되었다", "다시 발표했다", "새로운 끼니", "병원에 신고했다", "1950년에 놈이라는 말은"]
)
def test_korean_words_that_look_like_them_are_not(text):
    assert counted(text, "ko") == (0, 0, 0)


def test_slurs_and_threats_are_counted_apart():
    assert counted("kill yourself, you retard") == (2, 1, 1)
    assert counted("what a mess", "und") == (0, 0, 0)


def test_a_language_without_a_lexicon_has_no_count():
    assert counted("merde alors", "fr") == (None, None, None)
    assert counted("merde 병신", "fr")[0] == 1


def test_the_lexicons_have_every_group_and_no_entry_twice():
    lexicons = json.loads(LEXICONS.read_text(encoding="utf-8"))
    for language in ("en", "ko"):
        entries = [entry for group in GROUPS for entry in lexicons[language][group]]
        assert len(entries) == len(set(entries)) > 100
        assert not any(re.fullmatch(r"\s*", entry) for entry in entries)
