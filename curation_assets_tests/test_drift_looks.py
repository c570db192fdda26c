"""New records beside old: which of them are new, what the rules drop of each side, and the words of those behind a look."""

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from curation_assets.algorithms.drift import Look
from curation_assets.drift_looks import looks_at_drops, reference, with_side, words_behind
from curation_assets.warehouse import Warehouse

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def history(tmp_path):
    """A warehouse, and a function that enters what happened in one run: a reading, what it was compared with, a curation."""
    warehouse = Warehouse(database=str(tmp_path / "history.duckdb"))
    hours = iter(range(1_000))

    def happened(read=0, compared=None, is_drift=False, curated=False, since=None) -> datetime:
        """compared: (old, new) records; since: the date it was asked to compare from."""
        begun = START + timedelta(hours=next(hours))
        run = f"run at {begun:%H}"
        with warehouse.get_connection() as connection:
            connection.execute(
                "create schema if not exists raw; create schema if not exists ledger; create table if not exists raw.batches "
                "(run_id varchar, ingested_at timestamptz, rows_added bigint); create table if not exists ledger.runs "
                "(run_id varchar, stage varchar, finished_at timestamptz, config json, notes json)"
            )
            if read:
                connection.execute("insert into raw.batches values (?, ?, ?)", [run, begun, read])
        against = reference(warehouse, since).since
        notes = {"since": against.isoformat(), "drift_looks": int(is_drift)}
        made = (
            [("drift_report", 5, {"since": since}, notes | dict(zip(("old", "new"), compared, strict=True)))]
            if compared
            else []
        )
        made += [("curated_set", 9, {}, {})] if curated else []
        with warehouse.get_connection() as connection:
            for stage, minute, config, notes in made:
                row = [run, stage, begun + timedelta(minutes=minute), json.dumps(config), json.dumps(notes)]
                connection.execute("insert into ledger.runs values (?, ?, ?, ?, ?)", row)
        return begun

    return warehouse, happened


def test_drift_stays_new_until_a_curation_takes_it_in(history):
    warehouse, happened = history
    first = happened(read=5_000, compared=(0, 5_000), curated=True)
    assert reference(warehouse, None).since == first
    drifted = happened(read=1_000, compared=(5_000, 1_000), is_drift=True)
    assert reference(warehouse, None) == (drifted, "the newest reading began", None)
    happened(read=30, compared=(5_000, 1_030), is_drift=True)
    assert reference(warehouse, None).since == drifted
    assert "the first that no curation has taken in" in reference(warehouse, None).why
    happened(compared=(5_000, 30), since="2026-01-01T02:00:00+00:00")  # a question somebody asked settles nothing
    happened(read=40)
    assert reference(warehouse, None).since == drifted
    happened(curated=True)
    against = reference(warehouse, None)
    assert (against.since > drifted, against.drifted_since) == (True, drifted)


@pytest.mark.parametrize("curated", [False, True])
def test_small_readings_add_up_until_they_are_enough_to_compare(history, curated):
    warehouse, happened = history
    happened(read=49, compared=(0, 49), curated=curated)
    happened(read=49, compared=(49, 49), curated=curated)  # too few old ones: it becomes one of them
    third = happened(read=49, compared=(98, 49), curated=curated)
    happened(read=2, compared=(98, 51), curated=curated)
    assert reference(warehouse, None).since == third  # as often as it is compared again
    after = happened(read=49)
    assert reference(warehouse, None) == (after, "the newest reading began", None)


def test_what_was_curated_and_never_compared_is_old(history):
    warehouse, happened = history
    happened(read=500)
    killed = happened(read=500)
    assert reference(warehouse, None).since == killed
    happened(read=500, curated=True)
    assert reference(warehouse, None).since == killed  # a stage of the same run may ask before or after that curation
    newest = happened(read=10)
    assert reference(warehouse, None).since == newest


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
