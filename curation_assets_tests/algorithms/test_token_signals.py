"""The tokens against what spaCy makes of the same texts, and the kernel against a plain Python reading of DataTrove's definitions."""

from collections import Counter

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.repetition import COLUMNS as REPETITION
from curation_assets.algorithms.repetition import DUPLICATE, TOP
from curation_assets.algorithms.token_signals import COLUMNS, STOP_WORDS, sentences, token_signals
from curation_assets.algorithms.tokens import tokens

# Few words, so that runs repeat; every kind of white space str.split() knows; letters of one to four bytes.
words = st.sampled_from(["a", "b", "the", "naïve", "안녕", "語", "🙂", "x.", "\u200b", "\x00", "don't", "#", "..."])
spaces = st.sampled_from(
    [" ", " ", " ", "\n", "\t", "  ", "\x0b", "\x1f", "\x85", "\xa0", "\u1680", "\u2009", "\u2028", "\u202f", "\u3000"]
)
texts = st.one_of(
    st.lists(st.tuples(words, spaces), max_size=60).map(lambda pairs: "".join(word + space for word, space in pairs)),
    st.text(max_size=60),
)

# Text -> the tokens of spacy.blank("en"), version 3.8.
SPACY = {
    "Don't panic!": ["Do", "n't", "panic", "!"],
    "“It’s (only) $3.50,” he said...": ["“", "It", "’s", "(", "only", ")", "$", "3.50", ",", "”", "he", "said", "..."],
    "e.g. the U.S. and St. Ives, Mr. X.": ["e.g.", "the", "U.S.", "and", "St.", "Ives", ",", "Mr.", "X."],
    "a well-known 10km/h e-mail/post": ["a", "well", "-", "known", "10", "km/h", "e", "-", "mail", "/", "post"],
    "see https://example.org/a-b?c=1, or me@example.com.": ["see", "https://example.org/a-b?c=1", ",", "or", "me@example.com", "."],
    "10pm 3-4 2+2 x=y": ["10", "pm", "3", "-", "4", "2", "+", "2", "x", "=", "y"],
    "<b>bold</b> #tag @me": ["<", "b", ">", "bold</b", ">", "#", "tag", "@me"],
    "end.Next a,b 1,000 wait…what :-) C++": ["end", ".", "Next", "a", ",", "b", "1,000", "wait", "…", "what", ":-)", "C++"],
    "**bold** _under_ 'tis ☺☺ 50% 5'": ["*", "*", "bold", "*", "*", "_", "under", "_", "'", "tis", "☺", "☺", "50", "%", "5", "'"],
    "cannot gonna I'm they'd've": ["can", "not", "gon", "na", "I", "'m", "they", "'d", "'ve"],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("text", SPACY)
def test_tokens_are_spacys(text):
    assert tokens(text) == SPACY[text]


@settings(max_examples=200, deadline=None)
@given(texts)
def test_tokens_lose_nothing_but_white_space(text):
    found = tokens(text)
    assert "".join(found) == "".join(text.split())
    assert all(found)


def plain(text: str) -> dict[str, float | None]:
    found = tokens(text)
    marks = set("!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»") | set(
        map(chr, [*range(9), *range(11, 32), *range(127, 160)])
    )
    real = [token for token in found if not set(token) <= marks]
    row = {
        "tokens": len(found),
        "word_tokens": len(real),
        "stop_word_tokens": len(set(found) & set(STOP_WORDS)),
        "mean_word_token_chars": sum(map(len, real)) / len(real) if real else None,
        "hash_token_ratio": text.count("#") / len(found) if found else None,
        "ellipsis_token_ratio": (text.count("...") + text.count("…")) / len(found) if found else None,
        "alpha_token_ratio": sum(any(map(str.isalpha, token)) for token in found) / len(found) if found else None,
        "newline_token_ratio": text.count("\n") / len(found) if found else None,
    }
    row |= {f"top_{n}gram_token_ratio": top(found, n, text) for n in TOP}
    row |= {f"duplicate_{n}gram_token_ratio": duplicate(found, n, text) for n in DUPLICATE}
    row |= {f"datatrove_top_{n}gram_token_ratio": top(found, n, text, least=1) for n in TOP}
    return row | {
        "top_2gram_char_ratio": top(text.split(), 2, text),
        "duplicate_5gram_char_ratio": duplicate(text.split(), 5, text),
    }


def top(found: list[str], n: int, text: str, least: int = 2) -> float:
    counts = Counter(tuple(found[i : i + n]) for i in range(len(found) - n + 1))
    gram, count = counts.most_common(1)[0] if counts else ((), 0)
    return len(" ".join(gram)) * count / len(text) if count >= least else 0.0


def duplicate(found: list[str], n: int, text: str) -> float:
    seen, chars, at = set(), 0, 0
    while at < len(found) - n + 1:
        gram = tuple(found[at : at + n])
        if gram in seen:
            chars += len("".join(gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return chars / len(text) if chars else 0.0


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=5))
def test_the_kernel_equals_the_plain_reading(some_texts):
    measured = token_signals(pl.Series(some_texts, dtype=pl.String))
    assert measured.columns == list(COLUMNS)
    for text, row in zip(some_texts, measured.drop("sentences").to_dicts(), strict=True):
        assert row == pytest.approx(plain(text), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6), st.integers(0, 3))
def test_neither_neighbours_nor_slices_nor_chunks_change_a_text(some_texts, cut):
    alone = pl.concat([token_signals(pl.Series([text])) for text in some_texts])
    assert token_signals(pa.array(some_texts)).equals(alone)
    assert token_signals(pa.array(some_texts, pa.large_string())[cut:]).equals(alone[cut:])
    assert token_signals(pa.chunked_array([some_texts[:cut], some_texts[cut:]], pa.string_view())).equals(alone)
    assert sentences(pa.array(some_texts)).to_list() == alone["sentences"].to_list()


def test_thousands_of_words():
    text = " ".join(f"w{i * i % 997}" for i in range(5000))
    row = token_signals(pl.Series(["short", text])).drop("sentences").to_dicts()[1]
    assert row == pytest.approx(plain(text))
    assert row["duplicate_10gram_token_ratio"] > 0.5


def test_sentences_end_at_terminal_marks_of_any_script():
    found = {
        "One. Two! Three?": 3,
        "He said: “Stop.” Then he left.": 2,
        "Wait... what?": 1,
        "Mr. Smith came": 1,
        "비가 온다. 바람도 분다.": 2,
        "下雨了。 刮風了。": 2,
        "no end": 1,
        "": 0,
    }
    assert sentences(pl.Series(list(found))).to_list() == list(found.values())


def test_a_text_that_says_nothing_twice_has_zeros_however_short():
    measured = token_signals(pl.Series(["go to bed", "one", "", "   "]))
    datatroves = [f"datatrove_top_{n}gram_token_ratio" for n in TOP]
    assert measured.select(set(REPETITION) - set(datatroves)).sum_horizontal().to_list() == [0, 0, 0, 0]
    assert measured.select(datatroves).rows() == [(5 / 9, 1, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    assert measured["alpha_token_ratio"].to_list() == [1, 1, None, None]


def test_what_is_no_text_is_refused_with_its_row():
    with pytest.raises(ValueError, match="row 1 is null"):
        token_signals(pl.Series(["a", None]))
    with pytest.raises(TypeError, match="int64"):
        token_signals(pa.array([1, 2]))
