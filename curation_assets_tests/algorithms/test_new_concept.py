"""New concepts: found where planted, all of them and little else; nothing where the new records are like the old."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.new_concept import new_concepts, representatives


def records_of(rng, topics, per_topic, spread=0.35, dimensions=24):
    """Unit vectors around the topics' directions (rows of `topics`)."""
    means = np.repeat(topics, per_topic, axis=0)
    rows = means + spread * rng.normal(size=means.shape) / np.sqrt(dimensions) * 3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def topics_of(rng, count, dimensions=24):
    rows = rng.normal(size=(count, dimensions))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(60, 150))
def test_a_planted_concept_is_found_and_little_else(seed, size):
    rng = np.random.default_rng(seed)
    topics = topics_of(rng, 9)
    old = records_of(rng, topics[:8], 150)
    new = np.concatenate([records_of(rng, topics[:8], 40), records_of(rng, topics[8:], size)])
    is_planted = np.arange(len(new)) >= 320
    found = new_concepts(old, new, seed=seed)
    taken = found.concept >= 0
    assert is_planted[taken].mean() >= 0.9 and taken[is_planted].mean() >= 0.5
    assert found.records.sum() == taken.sum() and (found.ratio >= 20).all() and (found.p_value <= 0.01).all()


def test_nothing_is_new_where_the_new_records_are_like_the_old():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        topics = topics_of(rng, 8)
        both = rng.permutation(records_of(rng, topics, 80))
        alarms += len(new_concepts(both[:480], both[480:], least_ratio=1.01, seed=seed).records) > 0
    assert alarms <= 3  # at .01 a seed more than 3 of 60 have a chance of .3 %


def test_a_known_concept_that_becomes_frequent_is_not_new():
    rng = np.random.default_rng(0)
    topics = topics_of(rng, 8)
    old = np.concatenate([records_of(rng, topics[:7], 150), records_of(rng, topics[7:], 60)])
    new = np.concatenate([records_of(rng, topics[:7], 20), records_of(rng, topics[7:], 140)])
    assert not len(new_concepts(old, new).records)


def test_two_new_concepts_are_told_apart_the_larger_first():
    rng = np.random.default_rng(1)
    topics = topics_of(rng, 10)
    old = records_of(rng, topics[:8], 150)
    new = np.concatenate([records_of(rng, topics[8:9], 60), records_of(rng, topics[9:], 160)])
    found = new_concepts(old, new)
    assert len(found.records) == 2 and found.records[0] > found.records[1]
    assert np.bincount(found.concept[:60] + 1, minlength=3).argmax() == 2
    assert np.bincount(found.concept[60:] + 1, minlength=3).argmax() == 1


def test_representatives_spread_and_are_no_near_duplicates():
    rng = np.random.default_rng(2)
    topics = topics_of(rng, 5)
    vectors = np.concatenate([records_of(rng, topics, 30), records_of(rng, topics[:1], 1).repeat(50, axis=0)])
    rows = representatives(vectors, 20)
    assert 5 <= len(rows) <= 20 and len(set(rows.tolist())) == len(rows)
    alike = vectors[rows] @ vectors[rows].T
    assert alike[~np.eye(len(rows), dtype=bool)].max() <= 0.95
    assert len(set((vectors[rows] @ topics.T).argmax(axis=1))) == 5
    assert len(representatives(vectors[:0], 3)) == len(representatives(vectors, 0)) == 0


def test_what_cannot_be_is_refused_and_nothing_comes_of_nothing():
    some = np.eye(3, dtype=np.float32)
    for wrong in ({"false_alarm": 0.0}, {"least_ratio": 1.0}):
        with pytest.raises(ValueError, match="new_concepts needs"):
            new_concepts(some, some, **wrong)
    with pytest.raises(ValueError, match="one model"):
        new_concepts(some, some[:, :2])
    assert new_concepts(some[:0], some).concept.tolist() == [-1, -1, -1]
    assert len(new_concepts(some, some[:0]).concept) == 0
