"""Which estimator the density stage takes, and that what it says of it is so."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from curation_assets.algorithms.kernel_density import reference_density
from curation_assets.stages import density as stage
from curation_assets.stages.density import (
    Attempt,
    DensityConfig,
    at_every_record,
    best,
    choose_bandwidth,
    estimators_table,
    rank_correlation,
    sample_rows,
    self_test,
)


def clustered(n=1_500, k=12, d=48, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, d))
    weight = rng.lognormal(size=k)
    vectors = centres[rng.choice(k, n, p=weight / weight.sum())] + rng.normal(size=(n, d)) * rng.uniform(0.3, 1, (n, 1))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def run(vectors, **settings):
    config = DensityConfig(sketch_rows=50, **settings)
    bandwidth, notes = choose_bandwidth(vectors, config)
    attempts = self_test(vectors, bandwidth, config)
    return config, bandwidth, notes, attempts, at_every_record(best(attempts).density, len(vectors))


@pytest.mark.parametrize("kernel", ["wide", "local"])
def test_the_stored_correlation_of_the_chosen_estimator_is_what_a_recomputation_gives(kernel):
    vectors = clustered()
    config, bandwidth, _, attempts, scores = run(vectors, kernel=kernel, exact_up_to=0, self_test_records=400)
    table = estimators_table(attempts, bandwidth, config)
    stored = table.filter("is_chosen").row(0, named=True)
    rows = sample_rows(len(vectors), config)
    exact = reference_density(vectors, np.arange(len(vectors)), rows, bandwidth=bandwidth)
    assert stored["rank_correlation"] == pytest.approx(spearmanr(exact, scores[rows]).statistic, abs=1e-3)
    assert stored["rank_correlation"] == table["rank_correlation"].max()
    assert stored["rank_correlation"] > 0.95
    assert stored["records_compared"] == 400
    assert (scores >= 1).all()


def test_small_sets_get_the_exact_sum_and_say_so():
    _, _, _, attempts, scores = run(clustered(200))
    assert [attempt.estimator for attempt in attempts] == ["exact"]
    _, bandwidth, *_ = run(clustered(200))
    exact = reference_density(clustered(200), np.arange(200), np.arange(200), bandwidth=bandwidth)
    assert np.array_equal(scores, exact)


def test_race_is_tried_only_where_the_others_fall_short(monkeypatch):
    vectors = clustered(600)
    assert [attempt.estimator for attempt in run(vectors, exact_up_to=0)[3]] == ["references", "centroids"]
    monkeypatch.setattr(stage, "GOOD_RANK_CORRELATION", 1.01)
    attempts = run(vectors, exact_up_to=0)[3]
    assert [attempt.estimator for attempt in attempts] == ["references", "centroids", "race"]
    assert best(attempts).rank_correlation == max(attempt.rank_correlation for attempt in attempts)


@pytest.mark.parametrize("estimator", ["exact", "references", "centroids", "race"])
@pytest.mark.parametrize("vectors", [clustered(1), np.repeat(clustered(1), 40, axis=0), clustered(2)])
@pytest.mark.parametrize("kernel", ["wide", "local"])
def test_degenerate_sets_get_densities_between_1_and_n(estimator, vectors, kernel):
    _, _, _, attempts, scores = run(vectors, estimator=estimator, kernel=kernel)
    assert [attempt.estimator for attempt in attempts] == [estimator]
    assert ((scores >= 1) & (scores <= len(vectors) * 1.001)).all()
    assert np.isfinite(best(attempts).rank_correlation)


def test_ties_go_to_the_earlier_and_constant_densities_have_no_ranks():
    first, second = (
        Attempt(name, lambda rows: rows, np.zeros(1), np.zeros(1), 0.9, 1.0) for name in ("references", "centroids")
    )
    assert best([first, second]).estimator == "references"
    assert rank_correlation(np.full(5, 7.0), np.arange(1.0, 6)) == 1
    assert rank_correlation(np.arange(1.0, 6), np.full(5, 7.0)) == 0


def test_rounding_makes_no_ranks_among_records_in_one_place():
    places = clustered(2, d=384, seed=3)
    vectors = np.repeat(places, [900, 100], axis=0)
    attempts = run(vectors, exact_up_to=0)[3]
    assert attempts[1].rank_correlation == pytest.approx(1)  # of centroids; .6 if rounding counted


def test_a_given_bandwidth_is_taken_and_said():
    config, bandwidth, notes, attempts, _ = run(clustered(100), bandwidth=0.7)
    assert (bandwidth, notes["why_this_bandwidth"]) == (0.7, "given")
    assert estimators_table(attempts, bandwidth, config)["kernel"].to_list() == ["given"]
