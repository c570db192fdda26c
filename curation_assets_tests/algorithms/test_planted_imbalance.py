"""Four tight topics mixed 60/30/8/2: what each sampler makes of them. benchmarks/samplers.py does the same on real text."""

import numpy as np
import pytest

from curation_assets.algorithms import coverage, selection
from curation_assets.algorithms.coverage import occupancy_entropy_ratio
from curation_assets.algorithms.holding import Candidates
from curation_assets.algorithms.selection import Plan, Strategy

COUNTS = (1_800, 900, 240, 60)
SHARES = np.array(COUNTS) / sum(COUNTS)
BANDWIDTH = 0.35


@pytest.fixture(scope="module")
def pool() -> tuple[Candidates, np.ndarray]:
    """3,000 unit vectors around four centres; the larger the topic, the better its records, as in a crawl's head."""
    rng = np.random.default_rng(0)
    topics = np.repeat(range(4), COUNTS)
    vectors = np.eye(64, dtype=np.float32)[topics] + 0.1 * rng.standard_normal((3_000, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    squared = np.maximum(2 - 2 * vectors @ vectors.T, 0)
    return Candidates(
        quality=np.clip(np.array([0.65, 0.55, 0.45, 0.4])[topics] + 0.3 * rng.normal(size=3_000), 0.01, 1),
        density=np.exp(-squared / (2 * BANDWIDTH**2)).sum(axis=1),
        tokens=np.full(3_000, 100),
        chars=np.full(3_000, 400),
        hashes=rng.integers(0, 1 << 63, 3_000).astype(np.uint64),
        clusters=topics,
        distances=np.ones(3_000),
        vectors=vectors,
    ), topics


def drawn(pool: Candidates, strategy: Strategy, sharpness: float = 1.0) -> list[np.ndarray]:
    plan = Plan(strategy, budget_records=300, sharpness=sharpness)
    return [selection.draw(pool, plan._replace(seed=seed)).selected for seed in range(5)]


def test_density_sampling_evens_out_the_topics_and_random_leaves_them_as_they_are(pool):
    candidates, topics = pool
    original = -(SHARES * np.log(SHARES)).sum() / np.log(4)
    entropy = {
        strategy: np.mean([occupancy_entropy_ratio(topics, one) for one in drawn(candidates, strategy)])
        for strategy in (Strategy.density, Strategy.random)
    }
    assert entropy[Strategy.density] >= 0.95
    assert entropy[Strategy.random] == pytest.approx(original, abs=0.03)


def test_quality_times_coverage_is_better_in_both_together_than_either_alone(pool):
    candidates, _ = pool
    samplers = {
        "quality": drawn(candidates, Strategy.quality),
        "density": drawn(candidates, Strategy.density),
        "half of each": drawn(candidates, Strategy.quality_coverage),
        "quality / density": drawn(candidates, Strategy.quality_coverage, sharpness=2.0),
    }
    product = {}
    for name, selections in samplers.items():
        found = coverage.compare(
            {str(seed): one for seed, one in enumerate(selections)},
            candidates.quality,
            candidates.density,
            candidates.clusters,
            candidates.tokens,
        )
        product[name] = (found["mean_quality"] * found["occupancy_entropy_ratio"]).mean()
    alone = max(product["quality"], product["density"])
    assert product["half of each"] > alone
    assert product["quality / density"] > 1.15 * alone


def test_the_best_product_is_that_of_the_sets_it_gives_and_above_either_alone(pool):
    candidates, topics = pool
    plan, tried = selection.best_product(candidates, Plan(Strategy.quality_coverage, budget_records=300))
    best = max(tried, key=lambda one: one.product)
    assert (plan.quality_weight, plan.sharpness) == (best.quality_weight, best.sharpness)
    assert 0 < plan.quality_weight < 1
    alone = [one.product for one in tried if one.quality_weight in (0, 1)]
    assert best.product > 1.05 * max(alone)
    selections = [selection.draw(candidates, plan._replace(seed=seed)).selected for seed in range(5)]
    found = [candidates.quality[one].mean() * occupancy_entropy_ratio(topics, one) for one in selections]
    assert np.mean(found) == pytest.approx(best.product, rel=0.03)


def test_a_large_pool_is_balanced_on_a_part_of_it(pool, monkeypatch):
    candidates, _ = pool
    whole, _ = selection.best_product(candidates, Plan(Strategy.quality_coverage, budget_tokens=30_000))
    monkeypatch.setattr(selection, "TRIED_RECORDS", 1_000)
    part, tried = selection.best_product(candidates, Plan(Strategy.quality_coverage, budget_tokens=30_000))
    assert part.budget_tokens == 30_000
    products = {(one.quality_weight, one.sharpness): one.product for one in tried}
    assert products[whole.quality_weight, whole.sharpness] > 0.95 * products[part.quality_weight, part.sharpness]
