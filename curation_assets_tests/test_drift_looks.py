"""New records beside old: which side they are on, what the rules drop of each, and the words of those behind a look."""

import numpy as np
import polars as pl

from curation_assets.algorithms.drift import Look
from curation_assets.drift_looks import looks_at_drops, with_side, words_behind


def test_a_record_is_new_or_of_the_batch_that_drifted_or_old():
    flags = pl.DataFrame({"is_new": [True, False, False, None], "is_drifted": [True, True, False, None]})
    assert with_side(flags)["side"].to_list() == ["new", "drifted", "old", "old"]


def test_a_rule_is_looked_at_where_it_drops_enough_of_enough_records():
    rows = [("old", None, 900), ("drifted", None, 100), ("new", None, 200), ("new", "seldom", 9)]
    rows += [("old", "short", 20), ("drifted", "short", 30), ("new", "short", 60)]
    dropped = pl.DataFrame(rows, schema=["side", "rule", "records"], orient="row")
    [short], counted = looks_at_drops(dropped, ("old", "drifted"))
    assert (short.name, counted) == ("filter:short", (1_000, 200))
    assert short.detail == {"old_share": 0.05, "new_share": 0.3}
    [against_drifted], counted = looks_at_drops(dropped, ("drifted",))
    assert (against_drifted.size, counted) == (0.0, (100, 200))
    assert looks_at_drops(dropped.filter(pl.col("side") != "old"), ("old",)) == ([], (0, 200))


def test_words_behind_a_look_are_not_those_of_all_new_records():
    texts = [f"film number {n} about a garlic soup" for n in range(5)]
    texts += [f"film number {n} about a long train journey" for n in range(20)]
    look = Look("classifier", 0.6, 0.001, {}, np.arange(25) < 5)
    assert words_behind(look, texts) == ["garlic", "soup"]
    assert words_behind(look._replace(behind=None), texts) == []
    assert words_behind(look._replace(behind=np.arange(25) < 2), texts) == []
