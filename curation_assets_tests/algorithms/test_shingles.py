"""What counts as a word, and that the kernels find just the sets of shingles that plain Python finds."""

import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import words as subject
from curation_assets.algorithms.shingles import Shingles, concat, shingle
from curation_assets.algorithms.words import code_point_classes

any_text = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=60)
dense_text = st.text("aBZ9_ \u00a0\u2003-–+*/.\n'’éÉ가漢ไ\u0301\u00ad\u200b\ufe0f\x00½…Σ😀", max_size=60)
UNSPACED = ("CJK", "IDEOGRAPHIC", "KANGXI", "MASU", "BOPOMOFO", "HIRAGANA", "KATAKANA", "HANGUL")
UNSPACED += ("HENTAIGANA", "THAI", "LAO", "KHMER", "MYANMAR")
UNSPACED_INSIDE = (" HANGUL ", " KATAKANA", " IDEOGRAPHIC ")


def words_of(text: str) -> list[str]:
    """The rules again, character by character and without tables."""

    def kind(c: str) -> str:
        category = unicodedata.category(c)
        if c in "*/%#&@" or (category[0] == "S" and c != "`"):
            return "symbol"
        if c == "\u034f" or "VARIATION SELECTOR-" in unicodedata.name(c, "") or (category == "Cf" and c != "\u200b"):
            return "ignored"
        if category[0] not in "LMN" and c != "_":
            return "separator"
        return "lone" if int(code_point_classes()[ord(c)]) & 7 == subject.LONE else "word"

    text = unicodedata.normalize("NFKC", text).lower()
    words, run, after_word = [], "", False
    for i, c in enumerate(text):
        k = kind(c)
        if k == "ignored":
            continue  # a run may go on after it
        if c == "-":
            rest = text[i + 1 :]
            begins = rest[:1] and kind(rest[0]) in ("symbol", "lone", "word")
            blanks = rest.lstrip(" \t\n\v\f\r")
            if not after_word and (begins or blanks[:1] in tuple("0123456789")):
                k = "symbol"
        if k != "word" and run:
            words, run = [*words, run], ""
        if k == "word":
            run += c
        elif k != "separator":
            words.append(c)
        after_word = k in ("word", "lone")
    return [*words, run] if run else words


def same(a: Shingles, b: Shingles) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def one_hash(text: str) -> tuple[int, int]:
    return tuple(shingle(pa.array([text])).word_hash[0].tolist())


@settings(deadline=None)
@given(st.lists(any_text | dense_text, min_size=1, max_size=6), st.integers(1, 7))
@example(["x² ≠ ½", "ΟΔΟΣ ΟΔΟΣ", "e\u0301 é", "ﬁ fi", "İ", "\u1112\u1161\u11ab 한", "\u09c7\u09be \u09cb", "ｶﾞ"], 1)
@example(["ΟΔΟΣ ὈΔΥΣΣΕΎΣ. ΑΣ\tΑ\r\nΣ, ½\u2003e\u0301 \u0301e \u00a8\u0301 ﬁ", "ΟΔΟΣ\u00a0Σ Σ"], 1)
@example(["a -\u00a03", "a -\u00a0x", "- \u00a0 3", "a…b", "-…3", "-\u20033", "a\u2025b\u00a0c"], 1)
def test_words_and_shingles_are_those_of_plain_python(texts, words):
    found = shingle(pa.array(texts), words)
    expected = [words_of(text) for text in texts]
    assert found.n_words.tolist() == [len(e) for e in expected]
    for i, e in enumerate(expected):
        hashes = found.hashes[found.offsets[i] : found.offsets[i + 1]]
        assert len(hashes) == len({tuple(e[k : k + words]) for k in range(max(1, len(e) - words + 1))})
        assert (np.diff(hashes.astype(object)) > 0).all()
        for j, other in enumerate(expected):
            if e and other:
                assert (found.word_hash[i] == found.word_hash[j]).all() == (e == other)


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("The cat sat.", "the  CAT\n\tsat"),
        ("“Don’t”, he said…", "Don't - he said"),
        ("ＦＵＬＬ width ﬁne", "full width fine"),
        ("cafe\u0301", "CAFÉ"),
        ("ex\u00adam\u200dple \ufeff❤️", "example ❤"),
        ("아버지가 방에", "아버지 가방에."),
        ("well-known", "well known"),
        ("word - word", "word — word"),
        ("-3 and - 3", "- 3 and\n-3"),
    ],
)
def test_case_space_and_punctuation_make_no_difference(text, variant):
    assert one_hash(text) == one_hash(variant)


@pytest.mark.parametrize(
    "texts",
    [
        ["5 + 3", "5 * 3", "5 - 3", "5 / 3", "5 ^ 3", "5 = 3", "5 < 3", "5 > 3", "5 % 3", "5 | 3", "5 & 3", "5, 3"],
        ["y = -x", "y = x", "-y = x"],
        ["$5", "5%", "#5", "5", "@5", "~5", "-5", "€5", "°5"],
        ["", " ", ".", "..", "…", "\x00", "\x00\x00", "?!", "\u00ad"],
        ["😀", "😀😀", "😂", "👍🏽", "👍", "🇰🇷", "🇯🇵"],
        ["a\x00b", "ab", "a\x00\x00bc"],
        ["你好", "您好", "안녕", "こんにちは", "コンニチハ", "สวัสดี"],
        ["a b", "ab", "a_b"],
        ["1 2 3", "12 3", "1 23"],
        ["a a a a a a a", "a a a a a a a a"],
    ],
)
def test_what_means_something_makes_a_difference(texts):
    assert len({one_hash(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50])
def test_a_word_is_the_same_word_however_it_is_read(length):
    """ASCII is hashed sixteen bytes at a time, what else stands beside it byte by byte: a soft hyphen changes which."""
    word = "abcdefghijklmnopqrstuvwxyz0123456789_ABCDEFGHIJKLMNOP"[:length]
    same = [word, word.upper(), f" {word}. ", f"{word}\u00ad", f"\ufeff{word}", f"{word[:3]}\u00ad{word[3:]}"]
    other = [word[:-1], word + "a", f"{word} a", f"{word}+", f"-{word}", word[::-1] + "é"]
    assert {one_hash(text) for text in same} == {one_hash(word)}
    assert len({one_hash(text) for text in [word, *other]}) == 1 + len(other)


def test_every_ascii_character_is_what_the_table_says():
    for point in range(128):
        for text in (f"a{chr(point)}b", f"{chr(point)}7", f"a {chr(point)} b", f"é{chr(point)}b"):
            assert shingle(pa.array([text])).n_words.tolist() == [len(words_of(text))], repr(text)


def test_texts_without_a_word_neither_crash_nor_meet():
    found = shingle(pa.array(["", "...", "!!!", "", " "]))
    assert found.n_words.tolist() == [0] * 5
    assert np.diff(found.offsets).tolist() == [1] * 5
    assert len(set(found.hashes.tolist())) == 4
    assert found.hashes[0] == found.hashes[3]


def test_a_short_text_is_compared_whole():
    found = shingle(pa.array(["a b c d", "a b c d e", "b c d e", "a b c d"]))
    assert np.diff(found.offsets).tolist() == [1] * 4
    assert len(set(found.hashes.tolist())) == 3


@settings(deadline=None)
@given(st.lists(any_text | dense_text, max_size=8), st.integers(0, 8), st.integers(0, 8), st.integers(1, 30))
def test_chunks_slices_and_slabs_change_nothing(texts, a, b, slab_bytes):
    array = pa.array(texts, pa.string())
    whole = shingle(array)
    a, b = sorted((min(a, len(texts)), min(b, len(texts))))
    pieces = [array.slice(0, a), array.slice(a, b - a), array.slice(b)]
    assert same(whole, shingle(iter(pieces)))
    assert same(whole, shingle(pa.chunked_array(pieces, pa.string())))
    assert same(whole, concat(map(shingle, pieces)))
    assert same(whole, shingle(array.dictionary_encode()))
    assert same(whole, shingle(pl.Series(texts, dtype=pl.String).to_arrow()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "SLAB_BYTES", slab_bytes)
        assert same(whole, shingle(array))


def test_a_long_text_of_few_distinct_shingles_takes_no_quadratic_time():
    found = shingle(pa.array(["ab cd ef " * 300_000, "z"]))
    assert np.diff(found.offsets).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        ([pa.array(["a", "b"]), pa.array(["c", None, None])], ValueError, "2 of 3 texts are null, the first in row 3"),
        (pa.array([1, 2]), TypeError, "must be Arrow strings, got int64"),
        (pa.array([b"a", b"\xc3("]).view(pa.string()), ValueError, "not valid UTF-8.*index 1"),
    ],
)
def test_bad_texts_are_refused_with_their_place(texts, error, says):
    with pytest.raises(error, match=says):
        shingle(texts)
    with pytest.raises(ValueError, match="at least one word"):
        shingle(pa.array(["a"]), words=0)


def test_every_letter_of_a_script_without_spaces_is_a_word():
    classes = code_point_classes() & 7
    for point in range(0x20000):
        name, category = unicodedata.name(chr(point), ""), unicodedata.category(chr(point))
        if category[0] in "LM" and not name.startswith("VARIATION SELECTOR"):
            is_unspaced = name.startswith(UNSPACED) or any(part in name for part in UNSPACED_INSIDE)
            assert is_unspaced == (classes[point] == subject.LONE), f"{point:05X} {name}"
