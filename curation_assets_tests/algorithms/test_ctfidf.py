import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import ctfidf
from curation_assets.algorithms.ctfidf import ctfidf_words


def test_scores_follow_the_formula():
    # cluster 0: apple 4, shared 2; cluster 1: pear 2, shared 4; A = 6 words a cluster.
    # apple 4·ln(1+6/4) = 3.67 > shared 2·ln(1+6/6) = 1.39; shared 4·ln 2 = 2.77 = pear 2·ln(1+6/2) = 2.77 (alphabet)
    texts = ["apple apple shared", "apple apple shared", "pear shared shared", "pear shared shared"]
    assert ctfidf_words(texts, np.array([0, 0, 1, 1]), k=2) == [["apple", "shared"], ["pear", "shared"]]


def test_stop_words_urls_and_numbers_name_no_cluster():
    texts = ["You should visit https://www.example.org in 2024 for the violin"] * 2
    assert ctfidf_words(texts, np.zeros(2, dtype=int), k=1) == [["example", "violin", "visit"]]


def test_words_of_any_script_and_of_one_case():
    texts = ["강아지 산책 Кошка", "강아지 사료 кошка"]
    assert ctfidf_words(texts, np.zeros(2, dtype=int), k=1) == [["кошка", "강아지"]]


def test_one_odd_record_does_not_name_its_cluster_unless_it_is_alone():
    texts = ["zyx " * 50 + "music", "music", "music"]
    assert ctfidf_words(texts, np.zeros(3, dtype=int), k=1) == [["music"]]
    assert ctfidf_words(texts[:1], np.zeros(1, dtype=int), k=1) == [["zyx", "music"]]


def test_empty_clusters_null_texts_and_foreign_labels_are_harmless():
    texts = pa.chunked_array([["word word", None], ["", "noise"]], pa.string())
    assert ctfidf_words(texts, np.array([2, 2, 1, -1]), k=4, min_records=1) == [[], [], ["word"], []]
    assert ctfidf_words([], np.array([], dtype=int), k=2) == [[], []]


def test_only_the_first_characters_are_read():
    assert ctfidf_words(["early " + "x" * 20 + " late"], np.array([0]), k=1, max_chars=10) == [["early", "xxxx"]]


@given(st.lists(st.tuples(st.text(alphabet="abc é가 ", max_size=12), st.integers(0, 2)), max_size=12))
def test_reading_in_slices_changes_nothing(records):
    texts, labels = [text for text, _ in records], np.array([label for _, label in records], dtype=int)
    whole = ctfidf_words(texts, labels, k=3, top=50)
    original, ctfidf.RECORDS_AT_ONCE = ctfidf.RECORDS_AT_ONCE, 3
    try:
        assert ctfidf_words(texts, labels, k=3, top=50) == whole
    finally:
        ctfidf.RECORDS_AT_ONCE = original
