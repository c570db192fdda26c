import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.algorithms.particles import bare_nouns


def bare(*words):
    return dict(bare_nouns(pl.Series(words, dtype=pl.String)).iter_rows())


def test_a_noun_seen_with_several_endings_loses_them():
    found = bare("영화", "영화가", "영화를", "영화에서는", "학생이", "학생들이", "학생들은", "학생들")
    assert {found[word] for word in ("영화", "영화가", "영화를", "영화에서는")} == {"영화"}
    assert found["학생들은"] == "학생"  # the plural's 들 goes too


def test_what_only_looks_like_a_particle_stays():
    assert bare("고양이", "고양이가", "고양이를")["고양이가"] == "고양이"
    assert bare("고양이", "나이", "사과", "바나나") == {word: word for word in ("고양이", "나이", "사과", "바나나")}
    assert bare("movie", "movies", "가가가") == {word: word for word in ("movie", "movies", "가가가")}
    assert bare() == {}


def test_the_words_of_a_cluster_are_counted_without_particles():
    texts = ["린치가 만든 영화", "린치의 영화는", "린치를 위한 영화가", "린치 린치는"]
    assert ctfidf_words(texts, pl.Series([0, 0, 0, 0]).to_numpy(), k=1) == [["린치", "영화"]]


def test_one_record_with_a_noun_in_many_forms_does_not_name_its_cluster():
    texts = ["영화 영화가 영화를 최고", "음악", "음악"]
    assert ctfidf_words(texts, pl.Series([0, 0, 0]).to_numpy(), k=1) == [["음악"]]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="영화린치가는을의도에서", min_size=1, max_size=6)))
def test_every_word_comes_once_and_is_only_ever_shortened(words):
    found = bare_nouns(pl.Series(words, dtype=pl.String))
    assert sorted(found["word"]) == sorted(set(words))
    for word, cut in found.iter_rows():
        assert word.startswith(cut)
        assert len(cut) >= min(2, len(word))
    again = bare_nouns(pl.Series([*words, *reversed(words)], dtype=pl.String))
    assert dict(again.iter_rows()) == dict(found.iter_rows())
