"""Cutting, grouping and pooling, for any lengths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.text_chunks import chunk_bounds, length_batches, pool_chunks

SMALL = st.integers(1, 50)


@given(tokens=st.integers(0, 5000), capacity=SMALL, max_chunks=SMALL)
def test_chunks_are_in_order_apart_within_the_capacity_and_reach_both_ends(tokens, capacity, max_chunks):
    bounds = chunk_bounds(tokens, capacity, max_chunks)
    sizes = bounds[:, 1] - bounds[:, 0]
    assert len(bounds) == max(1, min(max_chunks, -(-tokens // capacity)))
    assert (sizes <= capacity).all()
    assert tokens == 0 or sizes.min() > 0
    assert sizes.max() - sizes.min() <= 1
    assert (bounds[1:, 0] >= bounds[:-1, 1]).all()
    assert bounds[0, 0] == 0
    if max_chunks > 1 or tokens <= capacity:
        assert bounds[-1, 1] == tokens
    if tokens <= capacity * max_chunks:
        assert sizes.sum() == tokens


@given(lengths=st.lists(SMALL, max_size=100), budget=st.integers(1, 200))
def test_batches_hold_every_sequence_once_and_stay_within_the_budget(lengths, budget):
    batches = length_batches(np.array(lengths, dtype=int), budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(chunks=st.lists(st.integers(1, 4), min_size=1, max_size=10), seed=st.integers(0, 99))
def test_a_texts_vector_is_the_weighted_mean_of_its_chunks(chunks, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(sum(chunks), 3)).astype(np.float32)
    weights = rng.integers(1, 9, size=sum(chunks))
    pooled, first = pool_chunks(vectors, weights, np.array(chunks)), 0
    for text, count in enumerate(chunks):
        mean = np.average(vectors[first : first + count], axis=0, weights=weights[first : first + count])
        assert np.allclose(pooled[text], mean / np.linalg.norm(mean), atol=1e-4)
        first += count
