"""Published examples, Fisher's test as oracle, what drift is found, and how seldom there is a false alarm."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from curation_assets.algorithms.rater_drift import excess_late_p, holm, others_majority, session_numbers, thirds

answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100)
@given(answers)
def test_one_stratum_is_fishers_exact_test(pairs):
    events, is_late = np.array(pairs).T
    table = [
        [(events & is_late).sum(), (~events & is_late).sum()],
        [(events & ~is_late).sum(), (~events & ~is_late).sum()],
    ]
    found = excess_late_p(events, is_late, np.zeros(len(pairs), int))
    assert found == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=9))
def test_several_strata_are_all_orders_within_each(items):
    """The exact distribution by brute force: every way to lay the late items out within their stratum."""
    from itertools import combinations, product

    events, is_late, strata = (np.array(column) for column in zip(*items, strict=True))
    places = [np.flatnonzero(strata == one) for one in np.unique(strata)]
    ways = product(*(combinations(place, int(is_late[place].sum())) for place in places))
    counts = [sum(int(events[list(chosen)].sum()) for chosen in way) for way in ways]
    expected = np.mean(np.array(counts) >= (events & is_late).sum())
    assert excess_late_p(events, is_late, strata) == pytest.approx(expected)


def test_a_hard_stretch_late_is_no_drift():
    """All errors late, but the late items are all of the hard kind: nothing can be said."""
    is_late = np.repeat([False, True], 30)
    events = np.concatenate([np.zeros(30, bool), np.arange(30) < 15])
    assert excess_late_p(events, is_late, np.zeros(60, int)) < 1e-4
    assert excess_late_p(events, is_late, is_late.astype(int)) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_the_p_values_and_bonferroni(p_values):
    p = np.array(p_values)
    adjusted = holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@given(st.integers(0, 200))
def test_thirds_cover_the_session_and_mirror_each_other(n):
    parts = thirds(n)
    assert len(parts) == n and (np.diff(parts) >= 0).all()
    assert (parts == 0).sum() == (parts == 2).sum()


def test_sessions_end_at_long_pauses():
    times = np.array(["2026-01-05T09:00", "2026-01-05T09:29", "2026-01-05T10:00", "2026-01-06T09:00"], "datetime64[us]")
    assert session_numbers(times, 30 * 60).tolist() == [1, 1, 2, 3]
    assert session_numbers(times[:0], 1800).tolist() == []


def test_the_others_majority_leaves_the_rater_out():
    frame = pl.DataFrame(
        {
            "rater": ["a", "b", "c", "a", "b", "a", "a", "b", "c", "d"],
            "record_id": [1, 1, 1, 2, 2, 3, 4, 4, 4, 4],
            "label": ["x", "x", "y", "x", "y", "x", "y", "x", "x", "z"],
        }
    )
    # 1: a sees x, y tied; c sees x, x. 2: each sees the other. 3: alone. 4: a sees x twice; b and c see three classes tied; d sees x.
    assert others_majority(frame).to_list() == [None, None, "x", "y", "x", None, "x", None, None, "x"]
