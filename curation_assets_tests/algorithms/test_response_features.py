"""The kernel against a plain Python reading of its definitions, and what planted responses must and must not be."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.response_features import (
    BUCKETS,
    PLANTED,
    inverse_document_frequencies,
    planted_responses,
    response_features,
)

texts = st.lists(st.sampled_from(["a", "b", "c", "d", "the", "naïve", "x1"]), max_size=12).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def plain_features(request: str, response: str, idf: dict[str, float]) -> list[float]:
    asked, said = request.split(), response.split()
    both = sum(idf[word] for word in set(asked) & set(said))
    adjacent, of_request = list(pairwise(said)), set(pairwise(asked))
    weight = [sum(idf[word] for word in set(words)) for words in (said, asked)]
    return [
        both / weight[0] if weight[0] else 0,
        both / weight[1] if weight[1] else 0,
        sum(pair in of_request for pair in adjacent) / len(adjacent) if adjacent else 0,
        1 - len(set(adjacent)) / len(adjacent) if adjacent else 0,
        len(set(said) - set(asked)),
    ]


@settings(deadline=None)  # the first example waits for the table of code points
@given(pairs)
def test_features_are_what_their_definitions_say(found):
    requests, responses = (pl.Series(side, dtype=pl.String) for side in zip(*found, strict=True))
    records = [set(f"{request} {response}".split()) for request, response in found]
    idf = {
        word: np.log((len(found) + 1) / (sum(word in record for record in records) + 1))
        for word in set().union(*records)
    }
    measured = response_features(requests, responses, inverse_document_frequencies(requests, responses))
    np.testing.assert_allclose(measured, [plain_features(*pair, idf) for pair in found], atol=1e-12)


def test_features_know_scripts_without_spaces_and_no_texts_at_all():
    flat = np.ones(BUCKETS)
    measured = response_features(pl.Series(["漢字は何"]), pl.Series(["漢字"]), flat)
    assert measured.tolist() == [[1.0, 0.5, 1.0, 0.0, 0.0]]
    nothing = pl.Series([], dtype=pl.String)
    assert response_features(nothing, nothing, flat).shape == (0, 5)


@pytest.fixture
def corpus() -> tuple[pl.Series, pl.Series, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    requests = pl.Series([f"Say something of {n}." for n in range(60)])
    responses = pl.Series([f"Of {n} there is this to say, and {n * n} more." for n in range(60)])
    vectors = chance.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return requests, responses, vectors, chance.integers(0, 2**63, 60).astype(np.uint64)


def test_each_kind_of_bad_response_is_what_it_is_called_and_never_the_own(corpus):
    requests, responses, vectors, _ = corpus
    planted = {kind: (rows, bad) for kind, rows, bad in planted_responses(*corpus)}
    assert tuple(planted) == PLANTED
    for rows, bad in planted.values():
        assert len(rows) == len(bad) == 60
        assert not (bad == responses.gather(rows)).any()
    assert sorted(planted["another's"][1]) == sorted(responses)
    place = {response: row for row, response in enumerate(responses)}
    for row, bad in zip(*planted["a neighbour's"], strict=True):
        nearest = np.argsort(-vectors[row] @ vectors.T)
        assert place[bad] in nearest[nearest != row][:20]
    for row, bad in zip(*planted["cut off"], strict=True):
        assert responses[int(row)].startswith(bad + " ") and len(bad) <= 0.8 * len(responses[int(row)])
    assert all(
        bad.split("\n") in [[responses[int(row)]] * n for n in (2, 3, 4)]
        for row, bad in zip(*planted["repeated"], strict=True)
    )
    assert planted["the request"][1].to_list() == requests.to_list()


def test_planting_does_not_depend_on_the_order_and_leaves_out_what_would_be_no_change(corpus):
    order = np.random.default_rng(1).permutation(60)
    shuffled = (corpus[0].gather(order), corpus[1].gather(order), corpus[2][order], corpus[3][order])
    there = {kind: set(zip(corpus[0].gather(rows), bad, strict=True)) for kind, rows, bad in planted_responses(*corpus)}
    again = {
        kind: set(zip(shuffled[0].gather(rows), bad, strict=True)) for kind, rows, bad in planted_responses(*shuffled)
    }
    for kind in set(PLANTED) - {"a neighbour's"}:  # which of the nearest is drawn goes by their rows
        assert there[kind] == again[kind]
    alike = (pl.Series(["Yes"] * 3), pl.Series(["Yes"] * 3), corpus[2][:3], corpus[3][:3])
    made = {kind: len(rows) for kind, rows, _ in planted_responses(*alike)}
    assert made == {"another's": 0, "a neighbour's": 0, "cut off": 3, "repeated": 3, "the request": 0}
    one = (corpus[0][:1], corpus[1][:1], corpus[2][:1], corpus[3][:1])
    assert list(planted_responses(*one)) == []
