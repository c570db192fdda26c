"""Verdicts that a person gives on single records: kept whatever the rules say, or dropped.

They are entries of the table overrides.entries, hashed into the ledger's chain, and every stage that decides obeys them from its
next run on (`Commit.decide`). What is no judgement is not overridden: an outdated version, an empty text, a second copy of the very same
words, personal data.
"""

import secrets
import uuid
from collections import Counter
from datetime import datetime, timezone
from typing import NamedTuple

import polars as pl

from curation_assets.audit import ask
from curation_assets.warehouse import OVERRIDES, Warehouse

VERDICTS = ("keep", "drop", "none")
IN_FORCE = {
    "record_id": pl.String,
    "verdict": pl.String,
    "reason": pl.String,
    "decided_by": pl.String,
    "decided_at": pl.Datetime("us", "UTC"),
}


# A join a way, each on equal values: with one condition of three, thousands of verdicts in a file took minutes.
MEANT = (
    "with asked as (select unnest($given::varchar[]) as given) "
    "select given, record_id from asked join raw.records on record_id = given union "
    "select given, record_id from asked join raw.records on source_record_id = given union "
    "select given, record_id from asked join raw.records on left(record_id, 8) = left(given, 8) "
    "and len(given) >= 8 and starts_with(record_id, given) order by all"
)


class Entry(NamedTuple):
    """One verdict of a person."""

    record_id: str
    """Our id."""
    verdict: str
    """keep, drop, or none, which takes an earlier one back."""
    reason: str
    """Why; it is shown wherever the record is explained."""


def in_force(warehouse: Warehouse) -> pl.DataFrame:
    """One row per record on which a verdict is in force, columns of IN_FORCE, by record."""
    return ask(warehouse, "overrides_in_force") if warehouse.has_table(OVERRIDES) else pl.DataFrame(schema=IN_FORCE)


def enter(warehouse: Warehouse, entries: list[Entry], decided_by: str) -> str:
    """Write verdicts to the database and the ledger in one transaction; return the id of their row in ledger.runs.

    Raises ValueError for an unknown verdict, a reason or a name left out, a record named twice or none we know; then nothing is
    written.
    """
    for entry in entries:
        if wrong := wrong_with(entry.verdict, entry.reason):
            raise ValueError(wrong)
    if not decided_by.strip():
        raise ValueError("A verdict needs a name: the ledger will say who decided.")
    ids = [entry.record_id for entry in entries]
    if repeated := [one for one, times in Counter(ids).items() if times > 1]:
        raise ValueError(f"Record {min(repeated)} is named more than once; give one verdict a record.")
    known = warehouse.query(
        "select record_id from raw.records where record_id in (select unnest($ids::varchar[]))", ids=ids
    )
    if unknown := set(ids) - set(known["record_id"]):
        raise ValueError(f"There is no record {min(unknown)} in {warehouse.path}.")
    warehouse.hold_for_run()  # a run that is deciding now would obey half of them
    started, run_id = datetime.now(timezone.utc), f"override-{uuid.uuid4()}"
    rows = pl.DataFrame(entries, schema=list(Entry._fields), orient="row").with_columns(
        decided_by=pl.lit(decided_by),
        decided_at=pl.lit(started),
        run_id=pl.lit(run_id),
        nonce=pl.Series([secrets.token_hex(16) for _ in entries], dtype=pl.String),
    )
    with warehouse.transaction("override", run_id) as commit:
        commit.append(OVERRIDES, rows)
        commit.record_overrides(started, decided_by)
    return run_id


def wrong_with(verdict: str, reason: str) -> str | None:
    """What a verdict lacks, in a sentence; None where it can be entered."""
    if verdict not in VERDICTS:
        return f"'{verdict}' is no verdict; choose keep, drop or none."
    return None if reason.strip() else "A verdict needs a reason: it is what the ledger will say of the record."


def copies_of(warehouse: Warehouse, record_ids: list[str]) -> list[str]:
    """Our ids of the other records that deduped's last run found to say the same as these, or nearly: one of a group stands for all."""
    pairs = (
        "with dropped as (select unnest($ids::varchar[]) as record_id), "
        "kept as (select matched_record_id as record_id from deduped.pairs where record_id in (from dropped) union from dropped) "
        "select record_id from kept union "
        "select record_id from deduped.pairs where matched_record_id in (from kept) order by all"
    )
    said = set(record_ids)
    return [one for one in warehouse.query(pairs, ids=record_ids)["record_id"] if one not in said]


def meant(warehouse: Warehouse, given: list[str]) -> dict[str, str]:
    """Our ids of the records that ids mean: ours, its first eight characters or more, or the owner's.

    Of several versions of a record the one in force is meant. Raises LookupError for an id of no record, ValueError for one of several.
    """
    found = warehouse.query(MEANT, given=sorted(set(given)))
    if warehouse.has_table("cleaned.records"):
        current = warehouse.query(
            "select record_id from cleaned.records where record_id in (select unnest($ids::varchar[]))",
            ids=found["record_id"].unique().to_list(),
        )["record_id"]
        is_current = pl.col("record_id").is_in(current.implode())
        found = found.filter(is_current | ~is_current.any().over("given"))
    by_given = dict(found.group_by("given").agg("record_id").iter_rows())
    for one in given:
        if one not in by_given:
            raise LookupError(f"No record has the id '{one[:100]}', neither ours nor an owner's, in {warehouse.path}.")
        if len(ids := sorted(by_given[one])) > 1:
            raise ValueError(f"{len(ids)} records answer to '{one[:100]}'; give our id of one: {', '.join(ids[:5])}.")
    return {one: by_given[one][0] for one in given}
