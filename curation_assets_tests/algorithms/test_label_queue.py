"""What is queued: pairs across the border that is really there, coverage, no near-duplicates, honest sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.label_queue import REASONS, next_items


def unit(matrix: np.ndarray) -> np.ndarray:
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def topics(seed: int = 0, each: int = 150, d: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eight topics; in the last four a border runs through the middle, the first four are all of class 0."""
    rng = np.random.default_rng(seed)
    topic = np.repeat(np.arange(8), each)
    vectors = unit(3 * np.eye(8, d)[topic] + 0.4 * rng.standard_normal((len(topic), d)))
    side = vectors[:, -1] > 0
    positive = np.where((topic >= 4) & side, 0.5 + 2 * np.abs(vectors[:, -1]), 0.5 - 0.4 * (topic < 4) - 0.3 * ~side)
    positive = np.clip(positive - 0.01 * (topic >= 4), 0.02, 0.98)
    return vectors, np.column_stack([1 - positive, positive]), topic


def test_pairs_lie_across_the_border_and_cover_it():
    vectors, probabilities, topic = topics()
    queue = next_items(vectors, probabilities, 40, pair_share=1, uncertain_share=0, random_share=0)
    pairs = queue.reason == "boundary_pair"
    assert pairs.sum() == 40
    assert (topic[queue.rows] >= 4).all() and set(topic[queue.rows]) == {4, 5, 6, 7}
    assert (topic[queue.rows] == topic[queue.partner]).all()
    where = {row: i for i, row in enumerate(queue.rows.tolist())}
    for i, row in enumerate(queue.rows):
        j = where[int(queue.partner[i])]
        assert queue.partner[j] == row and abs(i - j) == 1 and queue.predicted[i] != queue.predicted[j]
        assert queue.partner_cluster[i] == queue.cluster[j] != queue.cluster[i]
        assert queue.distance[i] == pytest.approx(1 - vectors[row] @ vectors[queue.partner[i]], abs=1e-5)


def test_a_short_budget_visits_many_cluster_pairs_before_one_twice():
    vectors, probabilities, topic = topics()
    vectors[topic == 4] = unit(vectors[topic == 4] + 4 * np.eye(24)[4])  # the nearest pairs of all lie in topic 4
    queue = next_items(vectors, probabilities, 8, pair_share=1, uncertain_share=0, random_share=0)
    assert np.bincount(topic[queue.rows], minlength=8)[4] < 8 and len(set(queue.cluster.tolist())) == 8


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000), st.integers(2, 120), st.integers(2, 4), st.integers(0, 60), st.floats(0.3, 1.0), st.data()
)
def test_every_queue_keeps_its_promises(seed, n, k, size, threshold, data):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((n, 5)))
    vectors[n // 2 :] = vectors[: n - n // 2]  # exact duplicates
    probabilities = rng.dirichlet(np.full(k, 0.5), n)
    labelled = rng.choice(n, data.draw(st.integers(0, n // 2)), replace=False)
    candidates = rng.random(n) < data.draw(st.floats(0, 1))
    queue = next_items(
        vectors,
        probabilities,
        size,
        labelled=labelled,
        candidates=candidates,
        near_duplicate_threshold=threshold,
        seed=seed,
    )
    assert len({len(column) for column in queue}) == 1 and len(queue.rows) <= size
    assert candidates[queue.rows].all() and not set(queue.rows) & set(labelled)
    cosines = vectors[queue.rows] @ vectors[np.concatenate([queue.rows, labelled]).astype(int)].T
    np.fill_diagonal(cosines, -1)
    assert (cosines <= threshold + 1e-5).all()
    is_random = queue.reason == "random"
    assert np.isnan(queue.sampling_probability[~is_random]).all()
    assert (queue.sampling_probability[is_random] > 0).all() and (queue.sampling_probability[is_random] <= 1).all()
    assert set(queue.reason) <= set(REASONS)
    assert ((queue.partner >= 0) == (queue.reason == "boundary_pair")).all()
    assert (queue.predicted == probabilities.argmax(axis=1)[queue.rows]).all()
    if len(queue.rows) < size:  # only because nothing else may be queued
        taken = np.concatenate([queue.rows, labelled]).astype(int)
        left = np.setdiff1d(np.flatnonzero(candidates), taken)
        assert not len(left) or (
            len(taken) and ((vectors[left] @ vectors[taken].T).max(axis=1) > threshold - 1e-5).all()
        )


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    vectors, probabilities, _ = topics()
    order = np.random.default_rng(1).permutation(len(vectors))
    queue, again = next_items(vectors, probabilities, 30), next_items(vectors[order], probabilities[order], 30)
    assert np.array_equal(queue.rows, order[again.rows]) and np.array_equal(queue.reason, again.reason)
    assert np.array_equal(queue.rows, next_items(vectors, probabilities, 30).rows)
    other = next_items(vectors, probabilities, 30, seed=1)
    assert set(queue.rows[queue.reason == "random"]) != set(other.rows[other.reason == "random"])


def test_random_items_are_drawn_with_the_chance_that_is_stored():
    vectors, probabilities, topic = topics(each=30)
    times, stored = np.zeros(len(vectors)), None
    for seed in range(300):
        queue = next_items(vectors, probabilities, 24, pair_share=0, uncertain_share=0, random_share=1, seed=seed)
        times[queue.rows] += 1
        stored = queue.sampling_probability[0]
    assert stored == pytest.approx(24 / 240)
    of_topic = np.bincount(topic, weights=times) / 30 / 300
    assert np.abs(of_topic - stored).max() < 4 * np.sqrt(stored / 9_000)  # four standard errors of a topic's mean


def test_the_top_of_the_score_stands_in_for_a_class_that_is_hardly_predicted():
    vectors, _, topic = topics()
    rare = np.where(topic == 5, 0.3, 0.02) + 0.01 * np.arange(len(topic)) / len(topic)
    queue = next_items(vectors, np.column_stack([1 - rare, rare]), 40)
    top = queue.rows[queue.reason == "top_of_score"]
    assert len(top) == 11 and (topic[top] == 5).all() and not (queue.reason == "boundary_pair").any()


def test_three_classes_pair_with_each_other():
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((600, 3)))
    probabilities = np.exp(6 * vectors) / np.exp(6 * vectors).sum(axis=1, keepdims=True)
    queue = next_items(
        vectors, probabilities, 60, pair_share=1, uncertain_share=0, random_share=0, near_duplicate_threshold=0.9999
    )
    of_pair = {tuple(sorted(pair)) for pair in zip(queue.predicted, vectors[queue.partner].argmax(axis=1), strict=True)}
    assert of_pair == {(0, 1), (0, 2), (1, 2)}


def test_errors_say_which_input():
    vectors, probabilities, _ = topics(each=5)
    for message, arguments in {
        r"row 3 has length 2\.000": (vectors * np.where(np.arange(len(vectors)) == 3, 2, 1)[:, None], probabilities, 5),
        r"k ≥ 2": (vectors, probabilities[:, :1], 5),
        "size of at least 0": (vectors, probabilities, -1),
        "finite": (vectors, probabilities * np.nan, 5),
    }.items():
        with pytest.raises(ValueError, match=message):
            next_items(*arguments)
    with pytest.raises(ValueError, match="outside 0"):
        next_items(vectors, probabilities, 5, labelled=np.array([40]))
    assert not len(next_items(vectors, probabilities, 5, labelled=np.arange(40)).rows)
