"""Questions about a release, or about the curated set: why a record is not in it, and what differs between two."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from curation_assets.audit import ask, stage_reasons, waiting_verdict
from curation_assets.warehouse import Warehouse

SHOWN = 5
"""Records that are shown for each reason."""


class NoSuchReleaseError(Exception):
    """The database knows no such release, or several that the words could mean."""


class Release(NamedTuple):
    """A release as the database knows it."""

    release_id: str
    name: str
    released_at: Any
    records: int
    tokens: int


def find_release(warehouse: Warehouse, given: str) -> Release:
    """The release of an id or the beginning of one, of a name (the latest of it), or `latest`. Raises NoSuchReleaseError."""
    known = pl.DataFrame()
    if warehouse.has_table("release.releases"):
        known = warehouse.query(
            "select release_id, name, released_at, records, tokens from release.releases order by released_at desc"
        )
    if not len(known):
        raise NoSuchReleaseError(f"{warehouse.path} knows no release yet; `curate release` makes one.")
    found = known.filter(pl.col("release_id").str.starts_with(given) if len(given) >= 4 else pl.lit(False))
    if given == "latest":
        found = known.head(1)
    elif not len(found):
        found = known.filter(name=given).head(1)
    if len(found) != 1:
        shown = ", ".join(
            f"{row['release_id']} ({row['name']}, {row['released_at']:%Y-%m-%d})"
            for row in known.head(10).iter_rows(named=True)
        )
        told = "means several releases" if len(found) else "is no release"
        raise NoSuchReleaseError(f"'{given}' {told}; there are {shown}.")
    return Release(*found.row(0))


def why_not(warehouse: Warehouse, record_id: str, release: Release | None) -> Iterator[str]:
    """Why a record is not in a release, or in the curated set as it is now: lines of plain words. record_id is ours and exists."""
    record = ask(warehouse, "record", record_id=record_id).row(0, named=True)
    called = f"Record {record_id} ({record['source']}: {record['source_record_id']})"
    if release is None:
        yield from _why_not_now(warehouse, record_id, called)
        return
    places = warehouse.query(
        "select split, format, file, position from release.records where release_id = $release and record_id = $record order by format",
        release=release.release_id,
        record=record_id,
    )
    where = f"release {release.release_id} of {release.released_at:%Y-%m-%d %H:%M}"
    if len(places):
        yield f"{called} IS in {where}:"
        yield from (
            f"  {split}, {format}: {file} row {position}" for split, format, file, position in places.iter_rows()
        )
        return
    yield f"{called} is not in {where}."
    if record["ingested_at"] > release.released_at:
        yield f"raw: it had not been read yet; it was on {record['ingested_at']:%Y-%m-%d %H:%M}."
        return
    decisions = ask(warehouse, "decisions_on_record", record_id=record_id, at=release.released_at)
    said = list(stage_reasons(warehouse, decisions, record_id))
    yield from said or [
        "It was in the curated set then, but no format of the release could hold it: see left_out in its MANIFEST.json."
    ]


def _why_not_now(warehouse: Warehouse, record_id: str, called: str) -> Iterator[str]:
    decisions = ask(warehouse, "decisions_on_record", record_id=record_id, at=None)
    is_in = warehouse.has_table("curated_set.records") and warehouse.value(
        "select count(*) from curated_set.records where record_id = $id", id=record_id
    )
    if is_in:
        yield f"{called} IS in the curated set as it is now."
        yield from waiting_verdict(warehouse, record_id, decisions)
        return
    yield f"{called} is not in the curated set as it is now."
    said = list(stage_reasons(warehouse, decisions, record_id))
    yield from said or [
        "No stage has dropped it: those after it have not been run yet. `curate run` goes on from here."
    ]
    yield from waiting_verdict(warehouse, record_id, decisions)


def diff(warehouse: Warehouse, before: Release, after: Release | None) -> pl.DataFrame:
    """One row per record that only one of them holds, or that they hold in different splits, with the reason."""
    return ask(warehouse, "release_diff", before=before.release_id, after=after.release_id if after else None)


def diff_lines(warehouse: Warehouse, rows: pl.DataFrame, before: Release, after: Release | None) -> Iterator[str]:
    """The difference in words: how many entered, left and moved, for which reasons, with examples."""
    counts = Counter(rows["change"])
    first = (
        f"release {before.release_id} ({before.name}, {before.released_at:%Y-%m-%d %H:%M}, {before.records:,} records)"
    )
    second = (
        f"release {after.release_id} ({after.name}, {after.released_at:%Y-%m-%d %H:%M}, {after.records:,} records)"
        if after
        else "the curated set as it is now"
    )
    yield f"From {first}"
    yield f"to {second}:"
    yield f"{counts['entered']:,} records entered, {counts['left']:,} left, {counts['moved']:,} stand in another split."
    words = {"entered": "entered; before, they were", "left": "left; now they are"}
    for change, told in words.items():
        part = rows.filter(change=change)
        reasons = part.group_by("stage", "rule").len().sort("len", "stage", "rule", descending=[True, False, False])
        for stage, rule, count in reasons.iter_rows():
            yield f"  {count:,} {told} {_reason(stage, rule)}"
            for row in (
                part.filter(pl.col("stage").eq_missing(stage) & pl.col("rule").eq_missing(rule))
                .head(SHOWN)
                .iter_rows(named=True)
            ):
                owner = f"{row['source']}: {row['source_record_id']}" if row["source"] else "a tombstone"
                yield f"      {row['record_id'][:12]}  {owner}{_measured(row)}"
            if count > SHOWN:
                yield f"      … and {count - SHOWN:,} more"
    sources = rows.filter(pl.col("change") != "moved").group_by("source", "change").len().sort("source", "change")
    told = [f"{source or 'erased'}: {count:,} {change}" for source, change, count in sources.iter_rows()]
    if told:
        yield f"By source: {'; '.join(told)}."


def _reason(stage: str, rule: str | None) -> str:
    words = {
        ("raw", "not_read_yet"): "not read yet",
        ("release", "left_out"): "in the curated set, but not in the release: no format could hold them",
        ("erased", "erased"): "erased",
    }
    return words.get((stage, rule or ""), f"dropped by {stage}: {rule}")


def _measured(row: dict[str, Any]) -> str:
    if row["value"] is None or row["threshold"] is None:
        return ""
    other = f" with {row['matched_record_id'][:12]}" if row["matched_record_id"] else ""
    return f" ({row['value']:.4g} against {row['threshold']:.4g}{other})"
