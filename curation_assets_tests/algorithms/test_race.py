import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.race import (
    add,
    choose_width,
    collision_probability,
    empty_sketch,
    merge,
    score,
)


def unit_rows(n=300, d=16, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(n, d))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def exact_sum(vectors, width, hashes):
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    return collision_probability(distances, width, hashes).sum(axis=0)


@pytest.mark.parametrize(("distance", "width"), [(0.3, 0.5), (0.9, 0.5), (1.4, 2.0)])
def test_the_closed_form_is_the_frequency_of_collisions(distance, width):
    rng = np.random.default_rng(0)
    offset = rng.random(400_000) * width
    together = np.floor(offset / width) == np.floor((offset + distance * rng.standard_normal(400_000)) / width)
    assert together.mean() == pytest.approx(collision_probability(distance, width), abs=4 * (0.25 / 400_000) ** 0.5)


@given(st.floats(0.01, 2), st.integers(1, 16), st.floats(0.001, 0.9))
def test_choose_width_puts_the_kernel_where_it_says(distance, hashes, probability):
    width = choose_width(distance, probability, hashes=hashes)
    assert collision_probability(distance, width, hashes) == pytest.approx(probability, rel=1e-6)


def test_the_expected_score_is_the_exact_kernel_sum():
    vectors = unit_rows()
    exact = exact_sum(vectors, 2.0, 3)
    estimates = np.stack(
        [
            # few buckets, so that the correction for chance meetings is tested too
            score(add(empty_sketch(16, width=2.0, rows=150, hashes=3, buckets=256, seed=seed), vectors), vectors)
            for seed in range(40)
        ]
    )
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    z = (estimates.mean(axis=0) - exact) / error
    assert abs(z).max() < 6
    assert abs((estimates.mean(axis=0) - exact).mean()) < 0.01 * exact.mean()


def test_crowded_records_score_higher_than_lonely_ones():
    lonely, centre = unit_rows(200, d=64), unit_rows(1, d=64, seed=9)
    crowd = centre + 0.02 * unit_rows(100, d=64, seed=5)
    vectors = np.concatenate([lonely, crowd])
    sketch = add(empty_sketch(64, width=choose_width(1.0, 0.01), rows=200), vectors)
    density = score(sketch, vectors)
    assert density[200:].min() > 10 * density[:200].max()


def test_a_record_counts_itself():
    vectors = unit_rows(20, d=64)
    assert np.allclose(score(add(empty_sketch(64, width=0.01, rows=50), vectors), vectors), 1, atol=0.1)
    assert (
        score(add(empty_sketch(64, width=0.01, rows=50), vectors), unit_rows(5, d=64, seed=3), is_added=False).max()
        < 0.1
    )


def test_parts_and_blocks_add_up_to_the_whole():
    vectors = unit_rows()
    whole = add(empty_sketch(16, width=1.0, rows=20), vectors)
    parts = [add(empty_sketch(16, width=1.0, rows=20), part) for part in (vectors[:100], vectors[100:])]
    merged = merge(*parts)
    assert np.array_equal(merged.counts, whole.counts)
    assert merged.records == whole.records == 300
    assert (whole.counts.sum(axis=1) == 300).all()


def test_misuse_is_refused():
    vectors = unit_rows()
    with pytest.raises(ValueError, match="different hash functions"):
        merge(empty_sketch(16, width=1.0, rows=5), empty_sketch(16, width=1.0, rows=5, seed=1))
    with pytest.raises(ValueError, match="never added"):
        score(empty_sketch(16, width=1.0, rows=5), vectors)
    with pytest.raises(ValueError, match="power of two"):
        empty_sketch(16, width=1.0, buckets=1_000)
    with pytest.raises(ValueError, match="distance above 0"):
        choose_width(0.0, 0.5)
