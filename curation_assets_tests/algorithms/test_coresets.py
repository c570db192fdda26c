import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import coresets
from curation_assets.algorithms.coresets import facility_location, k_center


def unit(n: int, d: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), k=st.integers(0, 60), pool=st.integers(1, 40), pending=st.integers(1, 10))
def test_the_lazy_k_center_is_the_plain_one(n, k, pool, pending):
    vectors = unit(n, 5, seed=n)
    plain, nearest = [n // 2], vectors @ vectors[n // 2]
    while len(plain) < min(k, n):
        nearest[plain] = np.inf
        plain.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[plain[-1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coresets, "POOL", pool)
        patch.setattr(coresets, "PENDING", pending)
        found = k_center(vectors, k, start=n // 2)
    assert len(found) == len(set(found.tolist())) == min(k, n)
    assert (vectors[found] == vectors[np.array(plain[: min(k, n)], dtype=int)]).all()


def test_k_center_reaches_every_far_corner_before_it_repeats_one():
    corners = np.eye(8, dtype=np.float32)
    crowd = np.concatenate([corners[:1].repeat(500, axis=0), corners])
    assert set(crowd[k_center(crowd, 8)].argmax(axis=1)) == set(range(8))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 80), clusters=st.integers(1, 5), a=st.sampled_from([0.0, 0.3, 1.0]))
def test_facility_location_is_the_plain_greedy_one(n, clusters, a):
    vectors, rng = unit(n, 4, seed=n), np.random.default_rng(n)
    labels, quality = rng.integers(0, clusters, n), rng.random(n)
    similarity = np.maximum(vectors @ vectors.T, 0).astype(np.float64) * (labels[:, None] == labels)

    def worth(rows: list[int]) -> float:
        return (1 - a) * similarity[:, rows].max(axis=1, initial=0).sum() + a * quality[rows].sum()

    order, gains = facility_location(vectors, labels, quality=quality, quality_weight=a)
    assert sorted(order.tolist()) == list(range(n))
    assert (np.diff(gains) <= 1e-6).all()
    for k in {1, 1 + n // 3, n}:
        before = order[: k - 1].tolist()
        best = max(worth([*before, row]) for row in range(n) if row not in before)
        assert worth(order[:k].tolist()) == pytest.approx(best, abs=1e-4)
        assert gains[:k].sum() == pytest.approx(worth(order[:k].tolist()), abs=1e-3)


def test_large_clusters_are_cut_and_a_limit_stops_early(monkeypatch):
    monkeypatch.setattr(coresets, "MAX_BLOCK", 10)
    vectors = unit(95, 4, seed=0)
    order, _ = facility_location(vectors, np.zeros(95, dtype=int))
    assert sorted(order.tolist()) == list(range(95))
    assert facility_location(vectors, np.zeros(95, dtype=int), limit=7)[0].tolist() == order[:7].tolist()
