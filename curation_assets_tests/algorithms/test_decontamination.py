"""Decontamination: whatever was done to an item that leaves it the same item is found; what merely resembles it is not."""

import re

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.decontamination import (
    LEAST_NGRAMS,
    common_ngrams,
    coverage,
    hits,
    longest_shared_run,
    ngrams_of,
)

WORDS = st.lists(
    st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl", "mn", "12", "7", "300"]), min_size=1, max_size=30
).map(" ".join)


def covered(texts, parts, n=3, **common):
    ngrams = ngrams_of(pl.Series(parts, dtype=pl.String), n)
    found = hits([pa.array(texts, pa.string())], ngrams)
    limits = {"min_coverage": 0.5, "max_records": 10, "max_parts": 5} | common
    return coverage(found, ngrams, common_ngrams(found, ngrams, **limits))


def plain_ngrams(text, n):
    words = re.sub(r"\d+", "0", text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.integers(2, 4))
def test_coverage_is_the_share_of_distinct_ngrams(texts, parts, n):
    rows = covered(texts, parts, n, max_parts=99, max_records=99)
    expected = {}
    for i, text in enumerate(texts):
        for j, part in enumerate(parts):
            theirs = plain_ngrams(part, n)
            if (shared := plain_ngrams(text, n) & theirs) and len(theirs) >= LEAST_NGRAMS:
                expected[i, j] = (len(shared), len(theirs))
    assert {(r["record"], r["part"]): (r["shared"], r["of"]) for r in rows.iter_rows(named=True)} == expected


@given(st.lists(WORDS, min_size=1, max_size=8), st.lists(WORDS, min_size=1, max_size=4), st.integers(1, 7))
def test_batches_change_nothing(texts, parts, size):
    ngrams = ngrams_of(pl.Series(parts), 2)
    whole = hits([pa.array(texts)], ngrams)
    pieces = hits([pa.array(texts[i : i + size]) for i in range(0, len(texts), size)], ngrams)
    assert whole.equals(pieces)


def test_other_numbers_another_case_and_a_longer_text_around_it_hide_nothing():
    item = "Ann bakes 12 loaves a day and sells them for $3.50 each; how much does she earn in 7 days?"
    told = "ANN bakes 450 loaves a day, and sells them for $1,200 each. How much does she earn in 3 days?"
    rows = covered([f"A long story first. {told} And then the rest of it."], [item], 5)
    assert rows["coverage"].to_list() == [1.0]


def test_a_part_shorter_than_an_ngram_is_never_found_and_a_null_is_none():
    assert len(covered(["yes", "a b c"], ["yes", None, "b c"], 3)) == 0


def test_a_phrase_many_texts_quote_is_common_but_an_item_many_texts_hold_is_not():
    phrase, own = "one two three four", "what is asked here and nowhere else at all"
    item = f"{phrase} {own}"
    quoting = [f"{phrase} text number {chr(97 + i)}" for i in range(12)]
    rows = covered([*quoting, own], [item], 3)
    assert rows.filter(pl.col("record") < 12).is_empty()
    assert rows["coverage"].to_list() == [7 / 9]  # the common phrase's two n-grams count in neither
    leaked = covered([f"page {chr(97 + i)} says {item}" for i in range(12)], [item], 3)
    assert leaked["coverage"].to_list() == [1.0] * 12


def test_a_template_that_many_items_share_is_common():
    template = "choose the best answer below"
    parts = [f"{template} {name} was it" for name in ("red", "green", "blue", "white", "black", "grey")]
    assert covered([f"please {template} now"], parts, 3).is_empty()
    assert covered([f"please {template} now"], parts, 3, max_parts=6).height == 6


def test_the_longest_run_is_the_evidence():
    assert longest_shared_run("x the cat sat, on 3 mats y", "A cat sat on 7 mats today") == "cat sat on 0 mats"
    assert longest_shared_run("nothing", "in common") == ""
    assert longest_shared_run("학교에 갔다", "나는 학교에 갔다") == "학 교 에 갔 다"


def test_no_parts_and_no_texts_give_no_rows():
    ngrams = ngrams_of(pl.Series([], dtype=pl.String), 8)
    found = hits([pa.array(["a b c d e f g h i"])], ngrams)
    assert coverage(found, ngrams, np.zeros(0, bool)).is_empty()
    assert hits([], ngrams_of(pl.Series(["a b c d e f g h"]), 8)).is_empty()


def test_a_passage_that_many_questions_are_about_is_one_part_not_many():
    passage = "the town of old bridges lies where two slow rivers meet below the chalk hills"
    assert covered([f"it says {passage} there"], [passage] * 9, 3)["coverage"].to_list() == [1.0] * 9


def test_one_shared_phrase_is_never_the_whole_of_a_part():
    phrase = "which of the following is true"  # one n-gram of six words
    rows = covered([f"say {phrase} and why"], [phrase, f"{phrase} a cat"], 6)
    assert rows.select("part", "shared", "of").rows() == [(1, 1, 3)]


def test_a_few_syllables_are_not_an_item():
    short, long = "나를 사랑해줘 정말", "기차가 출발하기까지 몇 분이나 더 남아 있습니까"
    rows = covered([f"있는 그대로의 {short} 고마워", f"그가 물었다. {long} 아무도 몰랐다."], [short, long], 6)
    assert rows.select("record", "part", "coverage").rows() == [(1, 1, 1.0)]
