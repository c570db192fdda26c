"""The split that never moves, the three reasons to stop and what does not stop, kappa weighted back to the pool."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.agreement import Agreement, cohen_kappa
from curation_assets.algorithms.label_rounds import Round, is_evaluation, pool_weights, should_stop, weighted_kappa

EXPERTS = Agreement(0.80, 0.74, 0.86, 180, 0.0)


def rounds(*kappas: float | None, half: float = 0.06, experts: Agreement = EXPERTS) -> list[Round]:
    found = [Agreement(k, None if k is None else k - half, None if k is None else k + half, 150, 0.0) for k in kappas]
    return [Round(80 * (i + 1), kappa, experts) for i, kappa in enumerate(found)]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200), st.floats(0, 1), st.floats(0, 1))
def test_an_item_keeps_its_side_whatever_its_company(hashes, share, larger):
    share, larger = sorted((share, larger))
    items = np.array(hashes, dtype=np.uint64)
    sides = is_evaluation(items, share)
    assert np.array_equal(sides[::-1], is_evaluation(items[::-1], share))
    assert (sides <= is_evaluation(items, larger)).all()
    assert np.array_equal(sides[:1], is_evaluation(items[:1], share))


def test_the_share_is_met_for_hashes_and_ids():
    assert is_evaluation(np.arange(20_000, dtype=np.uint64), 0.4).mean() == pytest.approx(0.4, abs=0.015)
    assert is_evaluation([f"record {i}" for i in range(20_000)], 0.4).mean() == pytest.approx(0.4, abs=0.015)
    with pytest.raises(ValueError, match="uint64 hashes or ids as text"):
        is_evaluation([1, 2], 0.4)
    with pytest.raises(ValueError, match="share between 0 and 1"):
        is_evaluation(["a"], 40)


def test_parity_needs_the_value_and_a_narrow_interval():
    assert should_stop(rounds(0.6, 0.81), 500).reason == "parity"
    assert should_stop(rounds(0.6, 0.79), 500).reason is None
    lucky = should_stop(rounds(0.6, 0.9, half=0.3), 500)
    assert lucky.reason is None and "too few to tell" in lucky.sentence
    assert should_stop(rounds(0.6, None), 500).reason is None
    undefined = Agreement(None, None, None, 150, 1.0)
    assert should_stop(rounds(0.6, 0.99, experts=undefined), 500).reason is None


def test_plateau_looks_at_the_line_not_at_the_last_step():
    assert should_stop(rounds(0.50, 0.62, 0.70, 0.69), 900).reason is None  # one step back on the way up
    assert should_stop(rounds(0.40, 0.60, 0.61, 0.60, 0.61), 900).reason == "plateau"
    assert should_stop(rounds(0.60, 0.61, 0.60), 900).reason is None  # too few rounds
    assert should_stop(rounds(0.60, 0.60, None, 0.60), 900).reason is None
    assert "0.60, 0.61, 0.60, 0.61" in should_stop(rounds(0.40, 0.60, 0.61, 0.60, 0.61), 900).sentence


def test_budget_comes_last_and_nothing_labelled_goes_on():
    assert should_stop(rounds(0.4, 0.5), 160).reason == "budget"
    assert should_stop(rounds(0.4, 0.5), 161).reason is None
    assert should_stop(rounds(0.4, 0.81), 160).reason == "parity"
    assert should_stop([], 100).reason is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=40))
def test_weighted_kappa_counts_whole_weights_as_copies(items):
    model, expert, copies = np.array(items).T
    found = weighted_kappa(model, expert, copies.astype(float), replicates=20)
    expected = cohen_kappa(np.repeat(model, copies), np.repeat(expert, copies), replicates=20)
    assert found.n == np.count_nonzero(copies)
    if expected.value is None:
        assert found.value is None
    else:
        assert found.value == pytest.approx(expected.value, abs=1e-9)


def test_pool_weights_give_the_pools_kappa_where_the_labels_alone_do_not():
    """Three rounds: 40 of the hard items and 40 random ones each; the kappa over all labels is that of hard items."""
    rng = np.random.default_rng(0)
    n = 6_000
    expert = (rng.random(n) < 0.3).astype(int)
    is_hard = rng.random(n) < 0.15
    model = np.where(rng.random(n) < np.where(is_hard, 0.45, 0.05), 1 - expert, expert)
    truth = cohen_kappa(model, expert).value
    estimates, naive = [], []
    for _ in range(60):
        left = np.ones(n, dtype=bool)
        rows, in_round, chance = [], [], []
        for t in range(3):
            eligible = np.flatnonzero(left)
            at_random = rng.choice(eligible, 40, replace=False)
            hard = rng.choice(np.setdiff1d(eligible[is_hard[eligible]], at_random), 40, replace=False)
            rows += [*at_random, *hard]
            in_round += [t] * 80
            chance += [40 / len(eligible)] * 40 + [np.nan] * 40
            left[rows] = False
        weights = pool_weights(np.array(in_round), np.array(chance))
        assert weights.sum() == pytest.approx(n)
        estimates.append(weighted_kappa(model[rows], expert[rows], weights, replicates=10).value)
        naive.append(cohen_kappa(model[rows], expert[rows], replicates=10).value)
    assert np.mean(estimates) == pytest.approx(truth, abs=0.03)
    assert abs(np.mean(naive) - truth) > 0.1


def test_a_few_heavy_items_give_no_interval():
    rng = np.random.default_rng(0)
    expert = rng.integers(0, 2, 200)
    model = np.where(rng.random(200) < 0.1, 1 - expert, expert)
    even = weighted_kappa(model, expert, np.ones(200))
    heavy = weighted_kappa(model, expert, np.where(np.arange(200) < 12, 500.0, 1.0))
    assert even.low < even.value < even.high
    assert heavy.value is not None and heavy.low is None and heavy.high is None


def test_a_handful_of_items_all_predicted_right_does_not_stop_the_loop():
    few = cohen_kappa([0, 1, 0, 1, 0], [0, 1, 0, 1, 0])
    assert (few.value, few.low) == (1.0, 1.0)
    assert should_stop([Round(12, few, Agreement(0.8, 0.6, 0.9, 5, 0.0))], 500).reason is None
