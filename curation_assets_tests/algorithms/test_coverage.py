import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.coverage import (
    clusters_reached_ratio,
    compare,
    neighbourhood_radius,
    occupancy_entropy_ratio,
    space_reached_ratio,
)
from curation_assets.algorithms.sampling import sample, weights


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_ratios_are_ratios_and_a_larger_selection_reaches_no_fewer_clusters(records):
    labels, selected = np.array([r[0] for r in records]), np.array([r[1] for r in records])
    assert 0 <= occupancy_entropy_ratio(labels, selected) <= 1 + 1e-12
    everything = np.ones(len(labels), dtype=bool)
    assert clusters_reached_ratio(labels, selected) <= clusters_reached_ratio(labels, everything) == 1


def test_entropy_knows_even_from_uneven():
    labels = np.repeat(np.arange(4), 10)
    one_each, lopsided = np.zeros(40, bool), np.zeros(40, bool)
    one_each[::10] = True
    lopsided[:10] = True
    assert occupancy_entropy_ratio(labels, one_each) == pytest.approx(1)
    assert occupancy_entropy_ratio(labels, lopsided) == 0
    assert occupancy_entropy_ratio(labels, one_each | lopsided) < 0.8


def test_space_reached_counts_the_reference_within_the_radius():
    reference = np.float32([[0, 0], [1, 0], [5, 0], [9, 0]])
    assert space_reached_ratio(reference, np.float32([[0, 0]]), radius=1.0) == 0.5
    assert space_reached_ratio(reference, np.empty((0, 2), np.float32), radius=1.0) == 0
    assert space_reached_ratio(reference, reference, radius=0.0) == 1


def test_the_radius_is_the_fifth_neighbour_and_not_the_record_itself():
    line = np.float32([[float(i), 0] for i in range(101)])
    assert neighbourhood_radius(line) == 3  # neighbours at 1, 1, 2, 2, 3


def test_the_dial_trades_quality_for_coverage():
    rng = np.random.default_rng(0)
    # 300 good records in one spot, 900 poorer ones everywhere else.
    crowd = np.float32([1, 0, 0, 0, 0, 0]) + 0.02 * rng.normal(size=(300, 6))
    vectors = np.concatenate([crowd, rng.normal(size=(900, 6))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_crowd = np.arange(1_200) < 300
    quality = np.where(is_crowd, rng.uniform(0.6, 1, 1_200), rng.uniform(0.1, 0.5, 1_200))
    density = np.where(is_crowd, 200.0, 5.0)
    labels = np.where(is_crowd, 0, 1 + np.arange(1_200) % 20)
    hashes = np.arange(1_200, dtype=np.uint64)
    selections = {
        f"{a:g}": sample(weights(quality, density, a), hashes, budget_records=150).selected for a in (0, 0.5, 1)
    }
    table = compare(selections, quality, density, labels, np.ones(1_200, dtype=int), vectors=vectors)
    assert table["selection"].to_list() == ["0", "0.5", "1"]
    assert table["mean_quality"].is_sorted() and table["mean_density"].is_sorted()
    first, last = table.row(0, named=True), table.row(-1, named=True)
    assert first["occupancy_entropy_ratio"] > last["occupancy_entropy_ratio"]
    assert first["space_reached_ratio"] > last["space_reached_ratio"]
    assert table["records"].to_list() == table["tokens"].to_list() == [150] * 3


def test_without_vectors_or_records_a_comparison_says_null():
    one = np.ones(3)
    table = compare({"none": np.zeros(3, dtype=bool)}, one, one, np.zeros(3), np.ones(3, dtype=int))
    assert table.row(0) == ("none", 0, 0, None, None, 0, 0, None)
