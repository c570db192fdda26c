"""Drift: silent where nothing changed, loud where a tenth is new, and every size and p-value means what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import drift
from curation_assets.algorithms.drift import Look
from curation_assets.algorithms.kmeans import kmeans
from curation_assets.algorithms.new_concept import new_concepts


def blobs(rng, counts, d=32, spread=0.15):
    """Unit vectors around the first axes, so many around each."""
    vectors = np.eye(d, dtype=np.float32)[np.repeat(range(len(counts)), counts)]
    vectors = vectors + spread * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[rng.permutation(len(vectors))]


def looks(old, new, seed=0):
    labels = kmeans(np.concatenate([old, new]), 20, seed=seed).labels
    return [
        drift.classifier_two_sample(old, new, permutations=199, seed=seed),
        drift.shares("occupancy", labels[: len(old)], labels[len(old) :], permutations=199, seed=seed),
        drift.novelty(new_concepts(old, new, seed=seed), len(new)),
    ]


def test_every_look_sees_a_tenth_of_a_new_topic():
    rng = np.random.default_rng(0)
    old, new = blobs(rng, [400, 400, 400]), blobs(rng, [120, 120, 120, 40])
    found = drift.findings(looks(old, new), alpha=0.05)
    assert [one.is_drift for one in found] == [True, True, True]
    assert found[2].look.size == pytest.approx(0.1, abs=0.01)
    assert 0.5 < found[0].look.size < 0.6


def test_false_alarms_are_as_rare_as_promised():
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        everything = blobs(rng, [300, 200, 100])
        alarms += any(
            one.is_drift for one in drift.findings(looks(everything[:400], everything[400:], seed), alpha=0.05)
        )
    assert alarms <= 6  # 40 × .05 = 2 expected at most; P(more than 6) < .005


def test_p_values_are_uniform_where_nothing_changed():
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        old, new = rng.standard_normal((200, 8)), rng.standard_normal((100, 8))
        values.append(
            [
                drift.classifier_two_sample(old, new, permutations=99, seed=seed).p_value,
                drift.shares(
                    "occupancy", rng.integers(0, 10, 300), rng.integers(0, 10, 100), permutations=99, seed=seed
                ).p_value,
            ]
        )
    assert np.abs(np.mean(values, axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 60)


def test_a_shifted_signal_has_its_medians_and_its_psi():
    rng = np.random.default_rng(0)
    found = drift.signal_shift("words", rng.normal(100, 10, 1_000), rng.normal(120, 10, 500))
    assert found.p_value < 1e-6
    assert found.size > 1
    assert found.detail["new_median"] == pytest.approx(120, abs=2)
    few = drift.signal_shift("words", np.full(30, np.nan), np.ones(100))
    assert (few.p_value, few.size) == (1.0, 0.0)


@given(st.lists(st.integers(0, 1_000), min_size=2, max_size=20).filter(any), st.integers(1, 9))
def test_psi_and_jensen_shannon_of_the_same_shares_are_nil(counts, factor):
    counts = np.array(counts)
    assert drift.psi(counts, factor * counts) == pytest.approx(0, abs=1e-9)
    assert drift.jensen_shannon(counts, factor * counts) == pytest.approx(0, abs=1e-9)


def test_jensen_shannon_of_nothing_in_common_is_one_bit():
    assert drift.jensen_shannon(np.array([5, 0]), np.array([0, 9])) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_corrects_upwards_and_keeps_the_order(p_values):
    found = drift.findings([Look("signal:x", 1.0, p, {}) for p in p_values])
    adjusted = np.array([one.adjusted_p for one in found])
    assert (adjusted >= np.array(p_values)).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()
    assert adjusted.min() == min(1, len(p_values) * min(p_values))


def test_what_is_significant_but_tiny_is_no_drift():
    tiny = drift.findings([Look("occupancy", 0.001, 1e-9, {}), Look("signal:words", 0.5, 1e-9, {})])
    assert [one.is_drift for one in tiny] == [False, True]


def test_the_least_p_value_still_counts_among_many_looks():
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((400, 8)), rng.standard_normal((200, 8)) + 1
    permutations = drift.permutations_for(150)
    found = drift.classifier_two_sample(old, new, permutations=permutations)
    quiet = [Look(f"signal:{n}", 0.0, 1.0, {}) for n in range(149)]
    assert drift.findings([found, *quiet])[0].is_drift
    assert not drift.findings([drift.classifier_two_sample(old, new, permutations=999), *quiet])[0].is_drift


def test_the_group_that_grew_is_named_and_its_records_are_behind_it():
    old, new = np.repeat(["en", "ko"], [900, 100]), np.repeat(["en", "ko", "pt"], [400, 50, 50])
    found = drift.shares("language", old, new, permutations=999)
    assert drift.findings([found])[0].is_drift
    assert found.detail["grown"] == "pt"
    assert (found.detail["grown_from"], found.detail["grown_to"]) == (0, 0.1)
    assert (new[found.behind] == "pt").all() and found.behind.sum() == 50


@pytest.mark.parametrize(("new_dropped", "is_drift"), [(30, False), (180, True)])
def test_a_rule_that_drops_more_than_it_did_is_drift(new_dropped, is_drift):
    found = drift.drop_rate("short", 90, 3_000, new_dropped, 1_000)
    assert drift.findings([found])[0].is_drift is is_drift
    assert found.detail == {"old_share": 0.03, "new_share": new_dropped / 1_000}


def test_kappa_falls_where_the_model_errs_on_new_records_and_nowhere_else():
    rng = np.random.default_rng(0)

    def labelled(n, right):
        truth = rng.integers(0, 3, n)
        return np.column_stack([np.where(rng.random(n) < right, truth, rng.integers(0, 3, n)), truth])

    old = labelled(150, 0.9)
    worse, alike, better = (drift.kappa_fall(old, labelled(60, right)) for right in (0.4, 0.9, 1.0))
    assert [drift.findings([one])[0].is_drift for one in (worse, alike, better)] == [True, False, False]
    assert worse.size == pytest.approx(worse.detail["old_kappa"] - worse.detail["new_kappa"])
    assert better.size == 0
    one_class = drift.kappa_fall(old, np.ones((30, 2), dtype=np.int64))
    assert (one_class.size, one_class.p_value) == (0.0, 1.0)


def test_what_is_like_one_of_two_references_is_no_drift():
    looks = [Look("occupancy", 0.3, 1e-6, {}), Look("novelty", 0.1, 1e-6, {}), Look("signal:words", 0.5, 1e-6, {})]
    others = [Look("occupancy", 0.001, 1e-6, {}), Look("novelty", 0.1, 0.5, {})]
    found = drift.findings(drift.unlike_both(looks, others))
    assert [one.is_drift for one in found] == [False, False, True]
    assert found[0].look.detail == {"size_against_all": 0.3, "size_against_last_drift": 0.001}
