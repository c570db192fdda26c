"""Lexical vectors: counted as scikit-learn counts, the same for a text wherever it stands, and telling what embeddings do not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from curation_assets.algorithms import lexical

TITLES = [
    f"{n} {thing} you {verb} before you {end}"
    for n in (7, 12, 21)
    for thing in ("foods", "places", "movies", "songs")
    for verb in ("should try", "have to see", "need")
    for end in ("die", "turn thirty", "go home")
] + [
    f"{who} {did} {what} in {where}"
    for who in ("Senate", "Court", "Police", "Minister")
    for did in ("rejects", "opens", "delays")
    for what in ("inquiry", "budget", "tunnel")
    for where in ("Oslo", "Lima", "Turin")
]
TEXTS = st.lists(st.text(max_size=60), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def basis():
    return lexical.fit(pl.Series(TITLES), dimensions=20)


def weights(analyzer: str, ngrams: tuple[int, int], least: int, **more) -> np.ndarray:
    """scikit-learn's TF-IDF as the module describes it; a blank alone, which `char_wb` counts, says nothing and is left out."""
    vectorizer = TfidfVectorizer(
        sublinear_tf=True, norm=None, analyzer=analyzer, ngram_range=ngrams, min_df=least, dtype=np.float64, **more
    )
    found = vectorizer.fit_transform(TITLES).toarray()[:, vectorizer.get_feature_names_out() != " "]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_similarities_before_projection_are_those_of_scikit_learn():
    whole = lexical.fit(pl.Series(TITLES), dimensions=10_000)  # all directions: nothing is lost
    ours = np.vstack(
        [
            part.toarray()
            for part in (lexical._weighted(whole, *one) for one in lexical._counted(lexical._read(pl.Series(TITLES))))
        ]
    )
    theirs = np.hstack(
        [
            weights("word", (1, 2), lexical.LEAST_WITH_WORDS, token_pattern=r"\w+|[^\w\s]"),
            weights("char_wb", (1, 4), lexical.LEAST_WITH_CHARS),
        ]
    )
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-5)
    projected = lexical.vectors(whole, pl.Series(TITLES))
    assert np.allclose(projected @ projected.T, ours @ ours.T / 2, atol=1e-3)


@given(TEXTS)
def test_a_texts_vector_depends_on_itself_alone(basis, texts):
    together = lexical.vectors(basis, pl.Series(texts, dtype=pl.String))
    apart = np.vstack([lexical.vectors(basis, pl.Series([text])) for text in texts])
    assert together.shape == (len(texts), 20)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(together, apart, atol=1e-5)


def test_capitals_do_not_count_and_only_the_beginning_is_read(basis):
    short, loud, long = "you need this", "YOU NEED THIS", "you need this " * 1_000
    found = lexical.vectors(basis, pl.Series([short, loud, long, long + "Senate rejects budget"]))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[2], found[3])


def test_words_with_particles_are_alike_and_scripts_without_spaces_have_ngrams():
    texts = [
        "영화가 정말 좋았다",
        "영화는 정말 좋았어",
        "영화를 봤다",
        "这部电影很好看",
        "这部电影不好看",
        "음식이 맛있다",
    ] * 5
    basis = lexical.fit(pl.Series(texts), dimensions=6)
    one, two, _, four, five, six = lexical.vectors(basis, pl.Series(texts[:6]))
    assert one @ two > 0.2 > one @ six
    assert four @ five > 0.2 > four @ six


def test_the_same_texts_give_the_same_basis_and_few_texts_give_a_small_one():
    first, second = (lexical.fit(pl.Series(TITLES), dimensions=20) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert lexical.fit(pl.Series(["one lone text"])).directions.shape[1] == 1


def test_no_text_is_no_basis_and_unknown_ngrams_are_the_first_direction(basis):
    with pytest.raises(ValueError, match="No n-gram"):
        lexical.fit(pl.Series(["", " "]))
    assert lexical.vectors(basis, pl.Series(["", "ѫѫѫ"])).argmax(axis=1).tolist() == [0, 0]
    assert lexical.vectors(basis, pl.Series([], dtype=pl.String)).shape == (0, 20)


def test_beside_takes_the_mean_of_both_cosines(basis):
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((len(TITLES), 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    words = lexical.vectors(basis, pl.Series(TITLES))
    both = lexical.beside(embeddings, words)
    assert np.allclose(both @ both.T, (embeddings @ embeddings.T + words @ words.T) / 2, atol=1e-5)
