"""Figures against scikit-learn and SciPy, with integer weights as repeats, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from curation_assets.algorithms.calibration import auc, calibration_error, mean, reliability, spearman

small = st.integers(0, 5)
rows = st.lists(st.tuples(small, small, st.integers(1, 3)), min_size=2, max_size=30)


@settings(deadline=None, max_examples=80)
@given(rows)
def test_order_figures_are_the_known_ones_and_weights_are_repeats(rows):
    scores, truth, times = np.array(rows).T
    x, y = np.repeat(scores, times), np.repeat(truth, times)
    rank = spearman(scores, truth, weights=times, replicates=20)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert rank.value is None
    else:
        assert rank.value == pytest.approx(spearmanr(x, y).statistic)
        assert -1 <= rank.low <= rank.high <= 1
    area = auc(scores, truth > 2, replicates=20)
    if len(set(truth > 2)) == 1:
        assert area.value is None
    else:
        assert area.value == pytest.approx(roc_auc_score(truth > 2, scores))
        assert auc(-scores, truth > 2, replicates=20).value == pytest.approx(1 - area.value)


def test_fits_that_know_nothing_do_not_correlate_negatively():
    """Each fold predicted by the mean of the others: ranked together that is a correlation of -.4, within folds none."""
    rng = np.random.default_rng(0)
    truth, folds = rng.random(400), np.arange(400) % 5
    predicted = np.array([truth[folds != fold].mean() for fold in folds])
    assert spearman(predicted, truth).value < -0.03
    assert spearman(predicted, truth, folds=folds).value is None
    noisy = predicted + 1e-9 * rng.random(400)
    found = spearman(noisy, truth, folds=folds)
    assert found.low < 0 < found.high


def test_reliability_and_its_error():
    rng = np.random.default_rng(1)
    p = rng.random(6_000)
    outcome = rng.random(6_000) < p
    curve = reliability(p, outcome)
    assert curve.n.tolist() == [600] * 10
    assert curve.predicted == pytest.approx(curve.observed, abs=0.08)
    assert ((curve.low <= curve.observed) & (curve.observed <= curve.high)).all()
    assert calibration_error(p, outcome).value < 0.03
    shifted = calibration_error(p**2, outcome)
    assert shifted.value == pytest.approx(1 / 6, abs=0.015)  # mean of p - p²
    assert shifted.low < 1 / 6 < shifted.high
    assert mean((p - outcome) ** 2).value == pytest.approx(1 / 6, abs=0.015)  # mean of p(1 - p)


def test_equal_scores_share_a_bin():
    curve = reliability(np.array([0.2] * 50 + [0.9] * 50), np.array([0.0, 1.0] * 50))
    assert curve.n.tolist() == [50, 50] and curve.observed.tolist() == [0.5, 0.5]


def test_weights_bring_back_the_whole():
    rng = np.random.default_rng(2)
    values = rng.normal(size=5_000) + 2
    keep = np.where(values > 2, 0.8, 0.2)
    drawn = rng.random(5_000) < keep
    assert mean(values[drawn]).low > values.mean()
    weighted = mean(values[drawn], weights=1 / keep[drawn])
    assert weighted.low < values.mean() < weighted.high


def test_records_of_a_group_count_as_one():
    rng = np.random.default_rng(3)
    scores, positive = rng.random(60), np.arange(60) % 2 == 0
    alone = auc(scores, positive)
    copied = auc(np.repeat(scores, 9), np.repeat(positive, 9), groups=np.repeat(np.arange(60), 9))
    assert copied.value == pytest.approx(alone.value)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    naive = auc(np.repeat(scores, 9), np.repeat(positive, 9))
    assert naive.high - naive.low < 0.5 * (alone.high - alone.low)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="of the same records"):
        spearman(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="numbers throughout"):
        auc(np.array([0.1, np.nan]), np.array([True, False]))
