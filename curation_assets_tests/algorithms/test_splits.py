"""Splits by group: nothing that is connected crosses, shares are met, and a record keeps its split as others come."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.splits import MAIN, assign, groups

ids = st.integers(0, 40).map(lambda number: f"r{number:02d}")
NO_LINKS = pl.DataFrame(schema={"record_id": pl.String, "matched_record_id": pl.String})


@st.composite
def connected(draw):
    records = draw(st.lists(ids, min_size=1, unique=True))
    links = draw(st.lists(st.tuples(ids, ids), max_size=30))
    keys = draw(st.lists(st.sampled_from([None, "x", "y"]), min_size=len(records), max_size=len(records)))
    return records, links, keys


@given(connected())
def test_groups_are_the_connected_components_named_by_their_smallest_id(case):
    records, links, keys = case
    frame = pl.DataFrame(links, schema=NO_LINKS.schema, orient="row")
    found = groups(pl.Series(records), frame, [pl.Series(keys, dtype=pl.String)]).to_list()
    parent: dict[str, str] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    by_key: dict[str, str] = {}
    pairs = [
        *links,
        *((by_key.setdefault(key, record), record) for record, key in zip(records, keys, strict=True) if key),
    ]
    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    assert found == [root(record) for record in records]


@given(
    st.lists(st.integers(0, 60).map(str), min_size=1, max_size=300),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 5),
)
def test_no_group_crosses_and_no_split_is_left_empty_without_need(names, validation, test, seed):
    shares = {"test": test, "validation": validation}
    found = pl.DataFrame({"group": names, "split": assign(pl.Series(names), shares, seed=seed)})
    assert found.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    sizes = found.group_by("split", "group").len()
    for split, share in shares.items():
        inside = sizes.filter(split=split)
        assert share or not len(inside)
        assert not len(inside) or inside["len"].max() <= max(1, round(share * len(names)))
        if share and not len(inside):  # nothing in train could have gone there
            rest = sizes.filter(split=MAIN)
            assert len(rest) <= 1 or rest["len"].min() > max(1, round(share * len(names)))


def test_shares_are_met_and_a_record_keeps_its_split_as_others_come():
    names = pl.Series([f"record {number}" for number in range(20_000)])
    shares = {"test": 0.05, "validation": 0.1}
    found = assign(names, shares, seed=3)
    counts = dict(found.value_counts().iter_rows())
    assert counts["test"] / 20_000 == pytest.approx(0.05, abs=0.005)
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.006)
    assert assign(names.head(5_000), shares, seed=3).to_list() == found.head(5_000).to_list()
    assert assign(names, shares, seed=4).to_list() != found.to_list()


def test_a_group_larger_than_its_split_stays_in_train():
    names = pl.Series(["big"] * 50 + [f"small {number}" for number in range(50)])
    for seed in range(20):
        assert set(assign(names, {"test": 0.2}, seed=seed).to_list()[:50]) == {MAIN}


def test_what_must_not_be_trained_on_takes_its_group_out_of_train():
    names = pl.Series([f"group {number % 30}" for number in range(90)])
    held = pl.Series([number in (4, 5) for number in range(90)])
    found = assign(names, {"test": 0.0, "validation": 0.1}, seed=0, held_out=held)
    assert names.filter(found == "test").unique().sort().to_list() == ["group 4", "group 5"]
    assert (found == MAIN).sum() > 60


@pytest.mark.parametrize("shares", [{"test": 1.0}, {"test": -0.1}, {"test": 0.5, "validation": 0.5}, {"train": 0.2}])
def test_shares_that_leave_no_train_are_refused(shares):
    with pytest.raises(ValueError, match="sum to less than 1"):
        assign(pl.Series(["a"]), shares, seed=0)


def test_keys_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 records"):
        groups(pl.Series(["a", "b"]), NO_LINKS, [pl.Series(["x"])])
