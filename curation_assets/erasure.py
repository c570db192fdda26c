"""Erasing records: from every table and cache, from the file's very bytes, with tombstones and a receipt in their place.

Dagster's history comes first (`history`). The database is then written afresh without the records and takes the old one's place by one
rename, so a kill at any point leaves it as it was or erased. What lies beside it (journals, receipts as files) follows. What a kill cut
short of that is finished on the next start; drafts that killed releases left go first. What is built of the records is built
again by the command, and counts as out of date until it is. `erasure_plan` says what is touched, `erasure_receipts` what is left in its
place.

A source or a licence that is withdrawn gets a tombstone of its own, by which `raw` refuses new records of it, until that is taken back.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation_assets import history
from curation_assets.algorithms.cleaning import clean
from curation_assets.audit import ask
from curation_assets.erasure_plan import (
    REDACTED,
    Columns,
    Plan,
    Request,
    Touched,
    is_rebuilt_from_text,
    plan,
    quoted,
    table_columns,
)
from curation_assets.erasure_receipts import finish_side_files, settle
from curation_assets.progress import logger
from curation_assets.tables import SQL
from curation_assets.tombstones import LIFTED, Keyed, forms, key, normalised
from curation_assets.warehouse import Commit, StaleError, Warehouse

if TYPE_CHECKING:
    import duckdb

NOT_SEARCHED = ("erasure.tombstones", "erasure.receipts", "erasure.lifted", "ledger.redactions")

PROBE_CHARS = 60
SHORTEST_PROBE = 16
"""Shorter texts are not searched for in tables of no record: they would be found in many that have nothing to do with them."""

WITHHELD = "(withheld: it named an erased record)"


def erase(warehouse: Warehouse, planned: Plan, home: Path | None = None) -> dict[str, Any]:
    """Erase what was planned and return the receipt. Waits for a run that is working on the database.

    home: Dagster's, whose history shows texts; None: it is not looked at, and the receipt says so.

    A withdrawal of what has no record now, and records that only a withdrawal keeps out, change no table but those of erasures.

    Raises ValueError if the plan is empty, StaleError if other records answer to the request by now, KeyMissingError if
    earlier tombstones were made with a key that is not there.
    """
    if planned.is_empty:
        raise ValueError("the plan names no record and withdraws nothing")
    warehouse.hold_for_run()
    now = plan(warehouse, planned.request)
    if not (now.records["record_id"].equals(planned.records["record_id"]) and now.gone.equals(planned.gone)):
        raise StaleError(
            "Other records answer to that by now: a run has worked on the database since. Nothing was changed; ask again."
        )
    keyed, started = key(warehouse), datetime.now(timezone.utc)
    erasure_id = f"erasure-{secrets.token_hex(8)}"
    make = _write_afresh if len(planned.records) else _refuse_only
    receipt = make(warehouse, planned, keyed, erasure_id, started, home)
    finish_side_files(warehouse, keyed)
    return receipt


def _write_afresh(
    warehouse: Warehouse, planned: Plan, keyed: Keyed, erasure_id: str, started: datetime, home: Path | None
) -> dict[str, Any]:
    """Write the database without the planned records; return the receipt."""
    columns = table_columns(warehouse)
    cleaned = [clean(text, kind).text for text, kind in planned.records.select("text", "kind").iter_rows()]
    erased = planned.records.with_columns(
        tombstone_id=pl.Series(
            [f"erased-{secrets.token_hex(12)}" for _ in range(len(planned.records))], dtype=pl.String
        ),
        cleaned=pl.Series(cleaned, dtype=pl.String),
    )
    forgotten = history.forget(warehouse, home, planned.records)
    probes, too_short = _probes(erased)
    logger.info("erase: writing %s afresh without %s records", warehouse.path.name, f"{len(erased):,}")
    with warehouse.rewritten() as connection:
        _name_erased(connection, columns, erased)
        touched, left = _copy_tables(connection, columns, probes)
        commit = Commit(connection, "erasure", erasure_id)
        commit.append("erasure.tombstones", _tombstones(keyed, planned, erased, erasure_id, started))
        commit.append(LIFTED, _lifted([], erasure_id, "", started))  # the table is there from the first erasure on
        _write_redactions(commit, columns, erasure_id, started)
        withdrawn = _withdraw(commit, columns, erasure_id, planned.request, started)
        did = {
            "tables": [one._asdict() for one in touched],
            "releases_withdrawn": withdrawn,
            "found_elsewhere": [*left, *forgotten.get("left", ())],
            "too_short_to_search": {"tables": too_short, "history": forgotten.get("records_too_short", 0)},
            "history": forgotten,
        }
        return settle(commit, keyed, _said(planned) | did, _asked(planned.request), started, len(erased))


def _refuse_only(
    warehouse: Warehouse, planned: Plan, keyed: Keyed, erasure_id: str, started: datetime, home: Path | None
) -> dict[str, Any]:
    """Write the tombstones of a plan that has no record to take out; return the receipt. home: not looked at."""
    with warehouse.transaction("erasure", erasure_id) as commit:
        commit.append("erasure.tombstones", _tombstones(keyed, planned, planned.records, erasure_id, started))
        commit.append(LIFTED, _lifted([], erasure_id, "", started))
        did = {
            "tables": [],
            "releases_withdrawn": [],
            "found_elsewhere": [],
            "too_short_to_search": {"tables": 0, "history": 0},
            "history": {"searched": False},
        }
        return settle(commit, keyed, _said(planned) | did, _asked(planned.request), started, 0)


def _said(planned: Plan) -> dict[str, Any]:
    """What a receipt says of the request."""
    return {
        "asked": planned.request.selected_by,
        "reach": planned.request.reach,
        "reason": planned.request.reason,
        "records_by_why": dict(sorted(planned.records["why"].value_counts().iter_rows())),
        "records_gone_refused_for_good": planned.records_gone,
        "new_records_refused": planned.request.withdraws,
    }


def _asked(request: Request) -> dict[str, Any]:
    """What the ledger keeps of a request."""
    return {**request.selected_by, "reach": request.reach, "reason": request.reason}


def withdrawals(warehouse: Warehouse, source: str | None = None, license: str | None = None) -> pl.DataFrame:
    """The withdrawals of sources and licences in force, or of just this one: rows of sql/audit/withdrawals.sql."""
    if not warehouse.has_table(LIFTED):
        return pl.DataFrame()
    rows = ask(warehouse, "withdrawals").filter(pl.col("lifted_at").is_null())
    if source is None and license is None:
        return rows
    is_it = [
        of == source and normalised(under or "") == normalised(license or "")
        for of, under in rows.select("source", "license").iter_rows()
    ]
    return rows.filter(pl.Series(is_it, dtype=pl.Boolean))


def allow_again(warehouse: Warehouse, taken_back: pl.DataFrame, reason: str) -> dict[str, Any]:
    """Take withdrawals back, so that new records of their sources and licences are read again; return the receipt.

    taken_back: of `withdrawals`. What was erased stays erased. Waits for a run that is working on the database.
    Raises ValueError without a reason or a withdrawal.
    """
    if not len(taken_back) or not reason.strip():
        raise ValueError("a withdrawal is taken back for a reason: give both")
    warehouse.hold_for_run()
    keyed, started = key(warehouse), datetime.now(timezone.utc)
    erasures = taken_back["erasure_id"].to_list()
    asked = {"allow_again": taken_back.select("source", "license").to_dicts(), "reason": reason}
    with warehouse.transaction("erasure", f"erasure-{secrets.token_hex(8)}") as commit:
        commit.append(LIFTED, _lifted(erasures, commit.run_id, reason, started))
        said = {"asked": asked, "reason": reason, "lifted": erasures}
        receipt = settle(commit, keyed, said, asked, started, 0)
    finish_side_files(warehouse, keyed)
    return receipt


def _lifted(erasures: list[str], lifted_by: str, reason: str, lifted_at: datetime) -> pl.DataFrame:
    return pl.DataFrame({"erasure_id": erasures}, schema={"erasure_id": pl.String}).with_columns(
        lifted_by=pl.lit(lifted_by), reason=pl.lit(reason), lifted_at=pl.lit(lifted_at)
    )


def _name_erased(connection: "duckdb.DuckDBPyConnection", columns: dict[str, Columns], erased: pl.DataFrame) -> None:
    """Make the temporary tables `erased` (record_id, tombstone_id) and `erased_texts` (hashes of texts no record that stays has)."""
    connection.register("erased_frame", erased.select("record_id", "tombstone_id").to_arrow())
    connection.execute(
        "create temp table erased as select record_id::varchar as record_id, tombstone_id::varchar as tombstone_id from erased_frame"
    )
    connection.unregister("erased_frame")
    # Hashed here and not read off cleaned.records, which does not hold superseded records.
    hashes = {
        hashlib.sha256(text.encode()).hexdigest()[:32] for column in ("text", "cleaned") for text in erased[column]
    }
    connection.execute(
        "create temp table erased_texts as select unnest($hashes::varchar[]) as text_hash", {"hashes": sorted(hashes)}
    )
    in_use = [
        ("cleaned.records", "text_hash"),
        ("cleaned.records", "raw_text_hash"),
        ("deduped.shortened", "text_hash"),
    ]
    in_use = [(name, column) for name, column in in_use if name in columns]
    for name, column in in_use:
        connection.execute(
            f"insert into erased_texts select {column} from old.{name} where record_id in (select record_id from erased)"
        )
    known = "select record_id from old.cleaned.records" if "cleaned.records" in columns else "select null"
    superseded = f"select count(*) from erased where record_id not in ({known})"
    if connection.execute(superseded).fetchall()[0][0]:
        # Under which rules a superseded record was cleaned last is not known: whatever nobody uses goes from the caches.
        for name, found in columns.items():
            for column in () if found.records else found.texts:
                connection.execute(f"insert into erased_texts select distinct {quoted(column)} from old.{quoted(name)}")
    for name, column in in_use:
        connection.execute(
            f"delete from erased_texts where text_hash in (select {column} from old.{name} "
            "where record_id not in (select record_id from erased))"
        )


def _copy_tables(
    connection: "duckdb.DuckDBPyConnection", columns: dict[str, Columns], probes: list[str]
) -> tuple[list[Touched], list[str]]:
    """Copy every table without what is erased; return what was done to which, and where text was found that stays."""
    touched: list[Touched] = []
    left: list[str] = []
    for name, found in columns.items():
        if found.records:
            touched += _copy_of_records(connection, name, found)
        elif found.texts:
            touched += _copy_of_texts(connection, name, found)
        elif is_rebuilt_from_text(name, found.strings):
            rows = connection.execute(f"select count(*) from old.{quoted(name)}").fetchall()[0][0]
            touched += [Touched(name, rows, "emptied")] if rows else []
        else:
            connection.execute(f"insert into {quoted(name)} by name select * from old.{quoted(name)}")
            if name not in NOT_SEARCHED:
                told, stays = _search(connection, name, found, probes)
                touched += told
                left += stays
    return touched, left


def _copy_of_records(connection: "duckdb.DuckDBPyConnection", name: str, columns: Columns) -> Iterator[Touched]:
    """Copy a table of records."""
    deletes = "record_id" in columns.records and name not in REDACTED
    replaced, joins, is_touched = {}, [], []
    for number, column in enumerate(columns.records):
        if deletes and column == "record_id":
            continue
        joins.append(f"left join erased as e{number} on e{number}.record_id = t.{quoted(column)}")
        is_touched.append(f"e{number}.record_id is not null")
        replaced[column] = f"coalesce(e{number}.tombstone_id, t.{quoted(column)})"
        owners = column.replace("record_id", "source_record_id")
        if owners in columns.names and name != "raw.records":
            replaced[owners] = f"if(e{number}.record_id is null, t.{quoted(owners)}, null)"
    any_touched = " or ".join(is_touched) or "false"
    if name in REDACTED:
        hidden = [column for column in (*columns.texts, "nonce") if column in columns.names]
        replaced |= {column: f"if({any_touched}, null, t.{quoted(column)})" for column in hidden}
    gone = "where not exists (select 1 from erased as e where e.record_id = t.record_id)" if deletes else ""
    rows = f"from old.{quoted(name)} as t {' '.join(joins)} {gone}"
    if deletes:
        there = f"select count(*) from old.{quoted(name)} where record_id in (select record_id from erased)"
        if count := connection.execute(there).fetchall()[0][0]:
            yield Touched(name, count, "deleted")
    redacted = connection.execute(f"select count(*) {rows} {'and' if gone else 'where'} ({any_touched})").fetchall()[0][
        0
    ]
    if redacted:
        yield Touched(name, redacted, "redacted")
        star = f"t.* replace ({', '.join(f'{value} as {quoted(column)}' for column, value in replaced.items())})"
        connection.execute(f"insert into {quoted(name)} by name select {star} {rows}")
    else:
        connection.execute(f"insert into {quoted(name)} by name select t.* from old.{quoted(name)} as t {gone}")


def _copy_of_texts(connection: "duckdb.DuckDBPyConnection", name: str, columns: Columns) -> Iterator[Touched]:
    """Copy a cache of texts."""
    mine = " or ".join(f"{quoted(column)} in (select text_hash from erased_texts)" for column in columns.texts)
    if count := connection.execute(f"select count(*) from old.{quoted(name)} where {mine}").fetchall()[0][0]:
        yield Touched(name, count, "deleted")
    connection.execute(
        f"insert into {quoted(name)} by name select * from old.{quoted(name)} where coalesce(not ({mine}), true)"
    )


def _probes(erased: pl.DataFrame) -> tuple[list[str], int]:
    """Pieces of the erased texts, and their ids, to search for in tables that are no record's; and how many texts are too short."""
    found: dict[str, None] = {}
    too_short = 0
    for row in erased.iter_rows(named=True):
        found[row["record_id"]] = None
        of_text: dict[str, None] = {}
        for text in {row["text"], row["cleaned"], row["original"]}:
            pieces = sorted(re.split(r"[\n\r\t\"\\]+", text), key=len, reverse=True)[:3]
            pieces = [piece[:PROBE_CHARS] for piece in pieces if len(piece) >= SHORTEST_PROBE]
            of_text |= dict.fromkeys(pieces if text != row["original"] else [])
            found |= dict.fromkeys(pieces)
        too_short += not of_text
        if row["has_owner_id"]:
            found[f"'{row['source_record_id'][:100]}'"] = None  # as the notes of a batch quote it
    return list(found), too_short


def _search(
    connection: "duckdb.DuckDBPyConnection", name: str, columns: Columns, probes: list[str]
) -> tuple[list[Touched], list[str]]:
    """Search a table's words for pieces of the erased texts; take them out where we know how, else tell where they are."""
    touched, left = [], []
    for column in columns.strings:
        column_values = connection.sql(
            f"select rowid, {quoted(column)}::varchar as value from {quoted(name)} where {quoted(column)} is not null"
        ).pl()
        hits = column_values.filter(pl.col("value").str.contains_any(probes))
        if not len(hits):
            continue
        rows = {"rows": hits["rowid"].to_list()}
        if (name, column) == ("raw.rejects", "excerpt"):
            connection.execute(
                "update raw.rejects set excerpt = '' where rowid in (select unnest($rows::bigint[]))", rows
            )
        elif (name, column) == ("raw.batches", "notes"):
            connection.execute(
                "update raw.batches set notes = list_transform(notes, lambda note: if(len(list_filter($probes::varchar[], lambda probe: "
                "contains(note, probe))) > 0, $withheld, note)) where rowid in (select unnest($rows::bigint[]))",
                {**rows, "probes": probes, "withheld": WITHHELD},
            )
        elif name == "eval_report.bad_outputs":  # an output that repeats the record goes with it
            connection.execute(
                "delete from eval_report.bad_outputs where rowid in (select unnest($rows::bigint[]))", rows
            )
            touched.append(Touched(name, len(hits), "deleted"))
            continue
        else:
            left.append(f"{name}.{column}: {len(hits):,} rows")
            continue
        touched.append(Touched(name, len(hits), "withheld"))
    return touched, left


def _tombstones(
    keyed: Keyed, planned: Plan, erased: pl.DataFrame, erasure_id: str, erased_at: datetime
) -> pl.DataFrame:
    """The rows of erasure.tombstones: for each record its id and the forms it is recognised in; for a withdrawal, what is refused.

    A withdrawal keeps the owners' ids too: whoever asks for such a record later has to be found.
    """
    request = planned.request
    rows = []
    for row in erased.iter_rows(named=True):
        source = row["source"] if request.is_of_a_source else None
        hashes = {("record", keyed.hash("record", row["record_id"]), None)}
        if request.withdraws and row["has_owner_id"]:
            owner_id = keyed.hash("owner_id", row["source_record_id"], row["source"])
            hashes.add(("owner_id", owner_id, row["source"]))
        hashes |= {
            (kind, keyed.hash(kind, value, source), source)
            for kind, value in forms(row["text"], row["original"], row["kind"])
        }
        rows += [(row["tombstone_id"], *one) for one in sorted(hashes, key=str)]
    rows += planned.gone.select("tombstone_id", "kind", "keyed_hash", "source").rows()
    if request.withdraws:
        kind, value = ("license", request.license) if request.license is not None else ("source", request.source)
        of = request.source if kind == "license" else None
        rows.append((f"withdrawn-{secrets.token_hex(12)}", kind, keyed.hash(kind, value, of), of))
    columns = {"tombstone_id": pl.String, "kind": pl.String, "keyed_hash": pl.String, "source": pl.String}
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        erasure_id=pl.lit(erasure_id),
        key_id=pl.lit(keyed.id),
        reason=pl.lit(request.reason),
        erased_at=pl.lit(erased_at),
    )


def _write_redactions(commit: Commit, columns: dict[str, Columns], erasure_id: str, redacted_at: datetime) -> None:
    """Write ledger.redactions for the chained decisions that lost an id."""
    connection = commit.connection
    question = (SQL / "audit" / "decision_hashes.sql").read_text(encoding="utf-8")
    everything = {"run_id": None, "stage": None}
    if "ledger.redactions" in columns and "position" in columns["ledger.decisions"].names:
        connection.execute("use old")
        connection.execute(
            f"create temp table hashes_before as select run_id, stage, position, counted_as, record_id from ({question})",
            everything,
        )
        connection.execute("use fresh")
        connection.execute(
            "create temp table touched_decisions as select d.run_id, d.stage, d.position from "
            "old.ledger.decisions as d where d.position is not null "
            "and (d.record_id in (select record_id from erased) or d.matched_record_id in (select record_id from erased))"
        )
        rows = connection.sql(
            "select b.run_id, b.stage, b.position, b.counted_as as hash_before, a.hash as hash_after from touched_decisions as t "
            "join hashes_before as b on b.run_id = t.run_id and b.stage = t.stage and b.position = t.position "
            f"join ({question}) as a on a.run_id = t.run_id and a.stage = t.stage and a.position = t.position",
            params=everything,
        ).pl()
        if len(rows):
            commit.append(
                "ledger.redactions", rows.with_columns(erasure_id=pl.lit(erasure_id), redacted_at=pl.lit(redacted_at))
            )


def _withdraw(
    commit: Commit, columns: dict[str, Columns], erasure_id: str, request: Request, withdrawn_at: datetime
) -> list[str]:
    """Mark the releases that hold an erased record as withdrawn."""
    if "release.records" not in columns:
        return []
    held = "select distinct release_id from old.release.records where record_id in (select record_id from erased) order by release_id"
    releases = commit.connection.sql(held).pl()["release_id"].to_list()
    if releases:
        why = f"It holds records that were erased{f': {request.reason}' if request.reason else '.'}"
        rows = [
            {"release_id": release, "withdrawn_at": withdrawn_at, "why": why, "erasure_id": erasure_id}
            for release in releases
        ]
        commit.append("release.withdrawals", pl.DataFrame(rows))
    return releases
