"""Verdicts that a person gives on single records: kept whatever the rules say, or dropped.

They are entries of the table overrides.entries, each also a decision in the ledger, and every stage that decides obeys them from its
next run on (`Commit.decide`). What is no judgement is not overridden: an empty text, a second copy of the very same words, answers
that differ no longer once personal data is masked. Nor is a rule that drops records for personal data: choose mask there to keep them.
"""

import uuid
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

    Raises ValueError for an unknown verdict, a reason left out, a record named twice or none we know; then nothing is written.
    """
    if wrong := {entry.verdict for entry in entries} - set(VERDICTS):
        raise ValueError(f"'{min(wrong)}' is no verdict; choose keep, drop or none.")
    if not all(entry.reason.strip() for entry in entries):
        raise ValueError("A verdict needs a reason: it is what the ledger will say of the record.")
    ids = [entry.record_id for entry in entries]
    if repeated := {one for one in ids if ids.count(one) > 1}:
        raise ValueError(f"Record {min(repeated)} is named more than once; give one verdict a record.")
    known = warehouse.query(
        "select record_id from raw.records where record_id in (select unnest($ids::varchar[]))", ids=ids
    )
    if unknown := set(ids) - set(known["record_id"]):
        raise ValueError(f"There is no record {min(unknown)} in {warehouse.path}.")
    warehouse.hold_for_run()  # a run that is deciding now would obey half of them
    started, run_id = datetime.now(timezone.utc), f"override-{uuid.uuid4()}"
    rows = pl.DataFrame(entries, schema=list(Entry._fields), orient="row").with_columns(
        decided_by=pl.lit(decided_by), decided_at=pl.lit(started), run_id=pl.lit(run_id)
    )
    with warehouse.transaction("override", run_id) as commit:
        commit.append(OVERRIDES, rows)
        commit.record_overrides(started, {"decided_by": decided_by, "entries": len(entries)})
    return run_id
