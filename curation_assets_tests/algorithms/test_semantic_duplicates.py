import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import semantic_duplicates as module
from curation_assets.algorithms.semantic_duplicates import semantic_duplicates


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 120), clusters=st.integers(1, 4), min_cosine=st.floats(-0.5, 0.99), block=st.integers(1, 50))
def test_blocks_find_what_a_plain_loop_finds(n, clusters, min_cosine, block):
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    labels, rank = rng.integers(0, clusters, n), rng.integers(0, 10, n)
    kept, dropped = [], {}
    for row in np.lexsort((np.arange(n), -rank)):
        like = {other: float(vectors[row] @ vectors[other]) for other in kept if labels[other] == labels[row]}
        if like and max(like.values()) > min_cosine:
            dropped[int(row)] = max(like.values())
        else:
            kept.append(row)
    size, module.BLOCK = module.BLOCK, block
    found = semantic_duplicates(vectors, labels, rank, min_cosine)
    module.BLOCK = size
    assert set(found.row.tolist()) == set(dropped)
    assert np.allclose(found.cosine, [dropped[row] for row in found.row], atol=1e-5)
    assert not set(found.match.tolist()) & set(dropped)
    assert np.allclose((vectors[found.row] * vectors[found.match]).sum(axis=1), found.cosine, atol=1e-5)


def test_a_chain_keeps_its_far_end():
    turn = np.deg2rad([0, 20, 40])
    chain = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    found = semantic_duplicates(chain, np.zeros(3), np.array([3.0, 2.0, 1.0]), np.cos(np.deg2rad(25)))
    assert (found.row.tolist(), found.match.tolist()) == ([1], [0])  # the last is like the middle only, which is gone


def test_the_rank_says_which_of_two_stays_and_other_clusters_do_not_count():
    pair = np.float32([[1, 0], [1, 0], [1, 0]])
    assert semantic_duplicates(pair, np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0]), 0.9).row.tolist() == [0]
