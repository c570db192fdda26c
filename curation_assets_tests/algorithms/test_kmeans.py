import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import kmeans as kmeans_module
from curation_assets.algorithms.kmeans import default_k, kmeans, match_clusters, nearest_centroids


def unit_rows(matrix):
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def groups(n=3_000, k=30, d=32, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    return unit_rows(unit_rows(rng.normal(size=(k, d)))[labels] + rng.normal(size=(n, d)) * spread), labels


def test_planted_groups_are_found():
    vectors, planted = groups()
    found = kmeans(vectors, 30).labels
    pairs = {(int(a), int(b)) for a, b in zip(planted, found, strict=True)}
    assert len(pairs) == 30  # one to one


def test_inertia_is_within_three_percent_of_full_lloyd_although_most_vectors_are_not_in_the_sample():
    from sklearn.cluster import KMeans as FullLloyd

    vectors, _ = groups(n=8_000, k=60, spread=0.25)
    full = FullLloyd(40, n_init=1, max_iter=30, random_state=0).fit(vectors).inertia_
    assert kmeans(vectors, 40, sample_per_centroid=64).inertia <= 1.03 * full


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(1, 80), copies=st.integers(1, 3), seed=st.integers(0, 5))
def test_every_result_is_consistent(n, k, copies, seed):
    vectors = np.repeat(unit_rows(np.random.default_rng(seed).normal(size=(n, 5))), copies, axis=0)
    centroids, labels, distances, inertia = kmeans(vectors, k, seed=seed)
    assert 1 <= len(centroids) <= min(k, n)
    assert set(labels.tolist()) == set(range(len(centroids)))  # no empty cluster
    assert np.array_equal(labels, nearest_centroids(vectors, centroids)[0])
    assert np.allclose(distances, np.linalg.norm(vectors - centroids[labels], axis=1), atol=1e-5)
    assert np.isclose(inertia, np.square(distances.astype(float)).sum())
    assert (labels.dtype, distances.dtype, centroids.dtype) == (np.int32, np.float32, np.float32)


def test_more_seeds_than_the_pool_can_give_are_drawn_evenly(monkeypatch):
    monkeypatch.setattr(kmeans_module, "SEEDING_POOL", (16, 32))
    vectors, _ = groups(n=400)
    result = kmeans(vectors, 100)
    assert 90 <= len(result.centroids) <= 100
    assert set(result.labels.tolist()) == set(range(len(result.centroids)))
    assert result.inertia < kmeans(vectors, 30).inertia


def test_identical_vectors_make_one_cluster_without_distance():
    vectors = np.repeat(unit_rows(np.ones((1, 7))), 50, axis=0)
    result = kmeans(vectors, 10)
    assert len(result.centroids) == 1
    assert result.inertia < 1e-9


def test_same_seed_same_result_and_another_seed_another():
    vectors, _ = groups(spread=0.5)
    first, again, other = (kmeans(vectors, 20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.labels, again.labels) and np.array_equal(first.centroids, again.centroids)
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize(
    ("vectors", "k", "says"),
    [
        (np.empty((0, 3)), 2, "at least one vector"),
        (np.ones((3, 3)), 0, "k ≥ 1"),
        (np.array([[1.0, 0.0], [np.nan, 1.0]]), 2, "row 1"),
    ],
)
def test_impossible_input_is_refused(vectors, k, says):
    with pytest.raises(ValueError, match=says):
        kmeans(vectors, k)


def test_default_k_never_leaves_fewer_than_ten_records_to_a_cluster():
    assert all(default_k(n) <= max(1, n // 10) for n in range(1, 3_000))


def test_ids_follow_clusters_through_a_permutation_and_new_ones_are_fresh():
    rng = np.random.default_rng(0)
    old = unit_rows(rng.normal(size=(6, 40)))
    order = rng.permutation(6)
    new = np.concatenate([old[order] + 0.02, unit_rows(rng.normal(size=(2, 40)))])
    ids = match_clusters(old, new, old_ids=np.arange(6) + 10, first_new_id=50)
    assert ids.tolist() == [*(order + 10), 50, 51]


def test_a_cluster_that_moved_too_far_gets_a_new_id():
    old = np.eye(3, dtype=np.float32)
    assert match_clusters(old, -old).tolist() == [3, 4, 5]


def test_a_cluster_found_again_keeps_its_id_whatever_the_others_do():
    old = unit_rows(np.array([[1, 0, 0], [0.7, 0.72, 0]]))
    new = unit_rows(np.array([[0.97, 0.24, 0], [0.65, -0.76, 0]]))  # cosines .97, .65 and .85, -.09
    assert match_clusters(old, new).tolist() == [0, 2]
