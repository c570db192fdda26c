import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curation_assets.algorithms import kernel_density
from curation_assets.algorithms.kernel_density import (
    centroid_density,
    local_bandwidth,
    median_distance,
    reference_density,
    wide_bandwidth,
)
from curation_assets.algorithms.kmeans import KMeans, kmeans


def unit_rows(n, d=8, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(n, d))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def groups(sizes, d=64, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    centres = unit_rows(len(sizes), d, seed)
    noise = rng.normal(size=(sum(sizes), d)) * spread / d**0.5
    return (np.repeat(centres, sizes, axis=0) + noise).astype(np.float32)


def double_sum(vectors, bandwidth):
    vectors = vectors.astype(np.float64)
    squared = np.square(vectors[:, None] - vectors[None]).sum(axis=2)
    return np.exp(-squared / (2 * bandwidth**2)).sum(axis=1)


def everyone(vectors):
    return np.arange(len(vectors))


vectors_and_bandwidth = given(
    n=st.integers(1, 40), copies=st.integers(1, 3), bandwidth=st.floats(0.1, 3), seed=st.integers(0, 9)
)
quick = settings(max_examples=40, deadline=None)


@quick
@vectors_and_bandwidth
def test_with_every_record_a_reference_it_is_the_double_sum(n, copies, bandwidth, seed):
    vectors = np.repeat(unit_rows(n, seed=seed), copies, axis=0)
    found = reference_density(vectors, everyone(vectors), everyone(vectors), bandwidth=bandwidth)
    assert found == pytest.approx(double_sum(vectors, bandwidth), rel=1e-3)
    assert (found >= 1).all()


@quick
@vectors_and_bandwidth
def test_one_cluster_and_a_cluster_a_record_are_exact_too(n, copies, bandwidth, seed):
    vectors = np.repeat(unit_rows(n, seed=seed), copies, axis=0)
    n = len(vectors)
    mean = vectors.mean(axis=0, keepdims=True)
    distances = np.linalg.norm(vectors - mean, axis=1)
    one = KMeans(mean, np.zeros(n, np.int32), distances, float((distances**2).sum()))
    own = KMeans(vectors, np.arange(n, dtype=np.int32), np.zeros(n, np.float32), 0.0)
    for clusters in (one, own):
        found = centroid_density(vectors, clusters, everyone(vectors), bandwidth=bandwidth)
        assert found == pytest.approx(double_sum(vectors, bandwidth), rel=1e-3)


@quick
@given(seed=st.integers(0, 99), m=st.integers(2, 60))
def test_a_reference_is_no_denser_for_being_one(seed, m):
    vectors = np.eye(60, dtype=np.float32)  # all alike: every pair at distance √2
    references = np.random.default_rng(seed).permutation(60)[:m]
    found = reference_density(vectors, references, everyone(vectors), bandwidth=1.0)
    assert found == pytest.approx(np.full(60, 1 + 59 * np.exp(-1)), rel=1e-5)


def test_the_estimate_from_references_is_unbiased():
    vectors = unit_rows(200)
    draws = [np.random.default_rng(seed).permutation(200)[:20] for seed in range(300)]
    found = np.stack([reference_density(vectors, draw, everyone(vectors), bandwidth=0.5) for draw in draws])
    z = (found.mean(axis=0) - double_sum(vectors, 0.5)) / (found.std(axis=0) / len(draws) ** 0.5)
    assert abs(z).max() < 5


def test_blobs_are_nearly_unbiased_where_plain_centroids_overrate():
    vectors = groups([400, 300, 100, 50])
    exact = double_sum(vectors, 0.4)
    clusters = kmeans(vectors, 12)
    found = centroid_density(vectors, clusters, everyone(vectors), bandwidth=0.4)
    assert np.median(found / exact) == pytest.approx(1, abs=0.05)
    assert spearmanr(found, exact).statistic > 0.99


def test_a_large_cluster_is_sampled_the_same_for_whatever_rows_are_asked(monkeypatch):
    monkeypatch.setattr(kernel_density, "MOST_NEIGHBOURS", 100)
    vectors = groups([400, 200])
    clusters = kmeans(vectors, 2)
    whole = centroid_density(vectors, clusters, everyone(vectors), bandwidth=0.5)
    some = np.array([590, 3, 77, 401])
    assert centroid_density(vectors, clusters, some, bandwidth=0.5) == pytest.approx(whole[some], rel=1e-5)
    assert spearmanr(whole, double_sum(vectors, 0.5)).statistic > 0.9


def test_blocks_do_not_change_the_sum_nor_does_the_order_of_records(monkeypatch):
    vectors = groups([60, 30, 10])
    clusters, order = kmeans(vectors, 4), np.random.default_rng(1).permutation(100)
    shuffled = clusters._replace(labels=clusters.labels[order], distances=clusters.distances[order])
    for bandwidth in (0.2, 1.0):
        one = [
            reference_density(vectors, everyone(vectors), everyone(vectors), bandwidth=bandwidth),
            centroid_density(vectors, clusters, everyone(vectors), bandwidth=bandwidth),
        ]
        monkeypatch.setattr(kernel_density, "BLOCK_ENTRIES", 150)
        assert reference_density(vectors[order], everyone(vectors), everyone(vectors), bandwidth=bandwidth) == (
            pytest.approx(one[0][order], rel=1e-5)
        )
        assert centroid_density(vectors[order], shuffled, everyone(vectors), bandwidth=bandwidth) == (
            pytest.approx(one[1][order], rel=1e-5)
        )
        monkeypatch.undo()


def test_the_local_bandwidth_tells_a_tight_group_from_the_rest_and_is_narrower_than_the_wide_one():
    vectors = np.concatenate([unit_rows(300, 64), groups([100], spread=0.2, seed=5)])
    median = median_distance(vectors)
    local = local_bandwidth(median)
    assert 0 < local < wide_bandwidth(median)
    density = double_sum(vectors, local)
    assert density[300:].min() > 10 * density[:300].max()


@pytest.mark.parametrize("vectors", [unit_rows(1), np.repeat(unit_rows(1), 30, axis=0), unit_rows(2)])
def test_degenerate_sets_have_a_bandwidth_and_densities(vectors):
    median = median_distance(vectors)
    for bandwidth in (wide_bandwidth(median), local_bandwidth(median)):
        assert np.isfinite(bandwidth)
        assert bandwidth > 0
        found = reference_density(vectors, everyone(vectors), everyone(vectors), bandwidth=bandwidth)
        assert found == pytest.approx(double_sum(vectors, bandwidth), rel=1e-3)
