import numpy as np
import pytest

from curation_assets.algorithms.outliers import (
    cluster_spread_score,
    isolation_score,
    local_outlier_factor,
    neighbour_distance,
)

RNG = np.random.default_rng(0)
CROWDS = np.concatenate([centre + 0.1 * RNG.normal(size=(200, 8)) for centre in np.eye(8)[:3] * 4])
STRAY = CROWDS[::60] + RNG.choice([-1, 1], size=(10, 8)) * 0.7
VECTORS = np.concatenate([CROWDS, STRAY]).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
LABELS = np.r_[np.repeat(range(3), 200), np.repeat(range(3), 200)[::60]]
DISTANCES = np.linalg.norm(VECTORS - np.eye(8)[:3][LABELS], axis=1)


@pytest.mark.parametrize(
    "score",
    [
        lambda: local_outlier_factor(VECTORS, references=300),
        lambda: neighbour_distance(VECTORS, references=300),
        lambda: isolation_score(VECTORS),
        lambda: cluster_spread_score(DISTANCES, LABELS),
    ],
    ids=["lof", "neighbour_distance", "isolation_forest", "cluster_spread"],
)
def test_planted_outliers_come_first(score):
    assert set(np.argsort(-score())[:10]) == set(range(600, 610))


def test_a_loose_cluster_is_no_cluster_of_outliers():
    distances = np.r_[RNG.normal(0.3, 0.01, 500), RNG.normal(0.9, 0.1, 500), 0.4]
    scores = cluster_spread_score(distances, np.r_[np.zeros(500), np.ones(500), 0])
    assert scores.argmax() == 1_000
    assert scores[500:1_000].max() < 5


def test_too_few_or_equal_records_have_no_outliers():
    assert local_outlier_factor(VECTORS[:2]).tolist() == [1, 1]
    assert neighbour_distance(VECTORS[:1]).tolist() == [1]
    assert (neighbour_distance(VECTORS[:4].repeat(9, axis=0)) < 1e-3).all()
    assert isolation_score(VECTORS[:1]).tolist() == [0.5]
    assert cluster_spread_score(np.full(5, 0.2), np.zeros(5)).tolist() == [0] * 5
    assert cluster_spread_score(np.empty(0), np.empty(0)).tolist() == []
