"""The kernel against a plain Python reading of DataTrove's definitions, and the cases it says nothing about."""

from collections import Counter

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.repetition import COLUMNS, DUPLICATE, TOP, repetition

# Few words, so that runs repeat; every kind of white space str.split() knows; letters of one to four bytes.
words = st.sampled_from(["a", "b", "the", "naïve", "안녕", "語", "🙂", "x.", "\u200b", "\x00"])
spaces = st.sampled_from(
    [" ", " ", " ", "\n", "\t", "  ", "\x0b", "\x1f", "\x85", "\xa0", "\u1680", "\u2009", "\u2028", "\u202f", "\u3000"]
)
texts = st.one_of(
    st.lists(st.tuples(words, spaces), max_size=60).map(lambda pairs: "".join(word + space for word, space in pairs)),
    st.text(max_size=60),
)


def plain_ratios(text: str) -> list[float]:
    tokens = text.split()
    ratios = []
    for n in TOP:
        counts = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
        gram, count = counts.most_common(1)[0] if counts else ((), 0)
        ratios.append(len(" ".join(gram)) * count / len(text) if count > 1 else 0.0)
    for n in DUPLICATE:
        seen, chars, at = set(), 0, 0
        while at < len(tokens) - n + 1:
            gram = tuple(tokens[at : at + n])
            if gram in seen:
                chars += len("".join(gram))
                at += n
            else:
                seen.add(gram)
                at += 1
        ratios.append(chars / len(text) if chars else 0.0)
    return ratios


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=5))
def test_the_kernel_equals_the_plain_reading(some_texts):
    measured = repetition(pl.Series(some_texts, dtype=pl.String))
    assert measured.columns == list(COLUMNS)
    assert measured.rows() == [pytest.approx(tuple(plain_ratios(text)), abs=1e-12) for text in some_texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6), st.integers(0, 3))
def test_neither_neighbours_nor_slices_nor_chunks_change_a_text(some_texts, cut):
    alone = pl.concat([repetition(pl.Series([text])) for text in some_texts])
    assert repetition(pa.array(some_texts)).equals(alone)
    assert repetition(pa.array(some_texts, pa.large_string())[cut:]).equals(alone[cut:])
    assert repetition(pa.chunked_array([some_texts[:cut], some_texts[cut:]], pa.string_view())).equals(alone)


def test_thousands_of_words():
    text = " ".join(f"w{i * i % 997}" for i in range(5000))
    assert repetition(pl.Series([text])).row(0) == pytest.approx(tuple(plain_ratios(text)))
    assert repetition(pl.Series([text]))["duplicate_10gram_char_ratio"][0] > 0.5


def test_a_text_that_says_nothing_twice_has_zeros_however_short():
    assert repetition(pl.Series(["go to bed", "one", "", "   "])).sum_horizontal().to_list() == [0, 0, 0, 0]


def test_what_is_no_text_is_refused_with_its_row():
    with pytest.raises(ValueError, match="row 1 is null"):
        repetition(pl.Series(["a", None]))
    with pytest.raises(TypeError, match="int64"):
        repetition(pa.array([1, 2]))
