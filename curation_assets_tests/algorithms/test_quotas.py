import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation_assets.algorithms.quotas import allocate, group_shares


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 200)), min_size=1, max_size=8),
    st.booleans(),
)
@example(1, [(0.0, 0), (2.225073858507e-311, 2)], True)
def test_the_budget_is_spent_as_far_as_the_groups_go_and_no_group_is_overdrawn(budget, groups, redistribute):
    shares, available = np.array([g[0] for g in groups]), np.array([g[1] for g in groups])
    shares[0] += 0.1
    found = allocate(budget, shares, available, redistribute=redistribute)
    assert (found.budgets <= available).all() and (found.budgets >= 0).all()
    assert found.budgets.sum() <= budget
    if redistribute:
        assert found.budgets.sum() == min(budget, available[shares > 0].sum())
    else:
        assert (found.budgets <= np.ceil(found.asked) + 1e-9).all()
    assert (found.budgets[shares == 0] == 0).all()


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.floats(0.01, 1), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=8),
    st.booleans(),
)
def test_what_is_taken_already_counts_towards_its_share(budget, groups, redistribute):
    shares, available, taken = (np.array(column) for column in zip(*groups, strict=True))
    found = allocate(budget, shares, available, taken=taken, redistribute=redistribute)
    assert found.budgets.sum() <= budget
    assert not redistribute or found.budgets.sum() == min(budget, available.sum())
    levels = (taken + found.budgets) / shares  # who got something is filled no higher than who could have got more
    for level, share in zip(levels[found.budgets > 0], shares[found.budgets > 0], strict=True):
        assert (level - 1 / share <= (levels + 1 / shares)[found.budgets < available] + 1e-6).all()
    nothing = allocate(budget, shares, available, taken=np.zeros(len(groups)), redistribute=redistribute)
    assert nothing.budgets.tolist() == allocate(budget, shares, available, redistribute=redistribute).budgets.tolist()


def test_a_domain_mix_comes_out_as_asked():
    found = allocate(1_000, np.array([0.5, 0.25, 0.17, 0.08]), np.full(4, 10_000))
    assert found.budgets.tolist() == [500, 250, 170, 80]
    assert not found.is_short.any()


def test_names_become_groups_and_bad_shares_are_refused():
    groups, shares = group_shares(["a", "b", "c", "d"], {"c": 0.5, "a": 0.25}, equal=False)
    assert groups.tolist() == [1, 2, 0, 2]
    assert shares.tolist() == [0.5, 0.25, 0.25]
    assert group_shares(["a", "b"], {"a": 0.5, "b": 0.5}, equal=False)[1].tolist() == [0.5, 0.5, 0]
    assert group_shares(["a", "b"], {}, equal=True)[1].tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="no record to draw from has 'x'; there are 'a', 'b'"):
        group_shares(["a", "b"], {"x": 1.0}, equal=False)
    with pytest.raises(ValueError, match=r"add up to 1\.5"):
        group_shares(["a", "b"], {"a": 1.0, "b": 0.5}, equal=False)
    with pytest.raises(ValueError, match="no other record"):
        group_shares(["a"], {"a": 0.5}, equal=False)
