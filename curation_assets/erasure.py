"""Erasing records: from every table and cache, from the file's very bytes, with tombstones and a receipt in their place.

The database is written afresh without them and takes the old one's place by one rename, so a kill at any point leaves it as it was
or erased. What lies beside it (journals, receipts as files) follows, and is finished on the next start if a kill came between.
Which tables hold a record is read off the database itself, by the names of their columns:

- `record_id`: the record's rows go; in the tables of REDACTED, which count rows for others, they stay under its tombstone's id.
- another `…_record_id`: the row is another record's and stays, with the tombstone's id in that place.
- `text_hash` and no record: a cache; rows whose text no record that stays has go.
- none of these: a table that is rebuilt and has words of records in it (column lineage says so) is emptied until then; any other is
  searched for the text, and what is found is taken out where we know how, else told.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
from filelock import FileLock

from curation_assets import __version__
from curation_assets.audit import ask
from curation_assets.progress import logger
from curation_assets.tables import SQL, column_lineage, tables
from curation_assets.tombstones import TABLE as TOMBSTONES
from curation_assets.tombstones import Keyed, key
from curation_assets.warehouse import CHAIN_START, Commit, StaleError, Warehouse

if TYPE_CHECKING:
    import duckdb

REACHES = ("records", "copies", "related")
"""How far an erasure goes: the records it names; and every record of the same text; and near-duplicates and what was made from them."""

REDACTED = ("ledger.decisions", "raw.batch_records", "release.records")
"""Tables whose rows are counted or hashed elsewhere: the row stays, the record's id gives way to its tombstone's."""

NOT_SEARCHED = ("erasure.tombstones", "erasure.receipts", "ledger.redactions")

PROBE_CHARS = 60
SHORTEST_PROBE = 16
"""Shorter texts are not searched for in tables of no record: they would be found in many that have nothing to do with them."""

WITHHELD = "(withheld: it named an erased record)"


class Request(NamedTuple):
    """What is asked to be erased. Conditions that are given must all hold."""

    ids: tuple[str, ...] | None = None
    """Our ids or owners' ids."""
    source: str | None = None
    license: str | None = None
    reach: str = "related"
    reason: str = ""
    """Goes to the ledger and into the receipt; no names."""

    @property
    def selected_by(self) -> dict[str, Any]:
        """What was asked for, without saying whose records: ids are counted, sources and licences named."""
        asked = {"ids": len(self.ids) if self.ids else None, "source": self.source, "license": self.license}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def is_of_a_source(self) -> bool:
        """Whether it withdraws a source or a licence: then the same text is refused from that source, not from others."""
        return self.ids is None and self.reach == "records"


class Touched(NamedTuple):
    """What an erasure does to a table."""

    table: str
    rows: int
    what: str
    """deleted, redacted (a tombstone's id in the place of the record's), emptied (until it is rebuilt), or withheld (text taken out)."""


class Plan(NamedTuple):
    """What an erasure would touch."""

    request: Request
    records: pl.DataFrame
    """record_id, why (named, copy, near-duplicate, derived), source, source_uri, source_row, text, original,
    source_record_id, has_owner_id."""
    kept_near: int
    """Near-duplicates of them and records made from them that the reach leaves alone."""
    kept_copies: int
    """Records of the same text that it leaves alone."""
    tables: tuple[Touched, ...]
    labels: int
    releases: tuple[str, ...]


# --- what is touched ------------------------------------------------------------------------------------------------


def plan(warehouse: Warehouse, request: Request) -> Plan:
    """What a request touches. Nothing is changed; `records` is empty where nothing answers to it."""
    named = ask(
        warehouse,
        "erasure_named",
        ids=list(request.ids) if request.ids is not None else None,
        source=request.source,
        license=request.license,
    )["record_id"].to_list()
    why = dict.fromkeys(named, "named")
    copies = _copies(warehouse, list(why)) if named else []
    if request.reach != "records":
        why |= dict.fromkeys(copies, "copy")
    related = _related(warehouse, [*named, *copies]) if named else {}
    if request.reach == "related":
        why |= related
        why |= {record: "copy" for record in _copies(warehouse, list(why)) if record not in why}
    details = warehouse.query(
        "select record_id, source, source_uri, source_row, text, original, source_record_id, has_owner_id from raw.records "
        "where record_id in (select unnest($ids::varchar[])) order by source, source_uri, source_row",
        ids=list(why),
    )
    records = details.with_columns(why=pl.col("record_id").replace_strict(why, return_dtype=pl.String))
    ids = records["record_id"].to_list()
    releases = _of(warehouse, "release.records", "select distinct release_id as id from release.records", ids)
    return Plan(
        request,
        records,
        kept_near=0 if request.reach == "related" else len(related),
        kept_copies=0 if request.reach != "records" else len(copies),
        tables=tuple(_counted(warehouse, ids)),
        labels=len(_of(warehouse, "expert_labels.labels", "select label_id as id from expert_labels.labels", ids)),
        releases=tuple(sorted(releases)),
    )


def _of(warehouse: Warehouse, table: str, select: str, ids: list[str]) -> list[str]:
    if not ids or not warehouse.has_table(table):
        return []
    return warehouse.query(f"{select} where record_id in (select unnest($ids::varchar[]))", ids=ids)["id"].to_list()


def _copies(warehouse: Warehouse, ids: list[str]) -> list[str]:
    """Records of the same text as some: by their words as read, and by deduplication, which compares them cleaned."""
    found = set(ask(warehouse, "erasure_copies", ids=ids)["record_id"])
    if warehouse.has_table("deduped.pairs"):
        reached = [*ids, *found]
        while new := set(_duplicates(warehouse, reached, "exact")) - found:
            found |= new
            reached = [*ids, *found]
    return sorted(found - set(ids))


def _duplicates(warehouse: Warehouse, ids: list[str], kind: str) -> list[str]:
    return ask(warehouse, "erasure_duplicates", ids=ids).filter(pl.col("kind") == kind)["record_id"].to_list()


def _related(warehouse: Warehouse, ids: list[str]) -> dict[str, str]:
    """Near-duplicates of some records, and what says that it was made from them or from such."""
    found: dict[str, str] = {}
    if warehouse.has_table("deduped.pairs"):
        found |= dict.fromkeys(_duplicates(warehouse, ids, "near"), "near-duplicate")
    while new := set(ask(warehouse, "erasure_derived", ids=[*ids, *found])["record_id"]) - found.keys():
        found |= dict.fromkeys(sorted(new), "derived")
    return found


class Columns(NamedTuple):
    """The columns of a table that say whose its rows are."""

    names: tuple[str, ...]
    records: tuple[str, ...]
    """record_id and other columns of record ids."""
    texts: tuple[str, ...]
    """Columns of text hashes."""
    strings: tuple[str, ...]
    """Columns that could hold words: strings, lists and structs of them, JSON."""


def table_columns(warehouse: Warehouse) -> dict[str, Columns]:
    """Every table in the database, ours or not, and the columns that matter to erasing."""
    rows = warehouse.query(
        "select c.schema_name || '.' || c.table_name as name, c.column_name, c.data_type from duckdb_columns() "
        "as c join duckdb_tables() as t "
        "on t.database_name = c.database_name and t.schema_name = c.schema_name and t.table_name = c.table_name "
        "where not c.internal and c.database_name = current_database() order by 1, c.column_index"
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for name, column, kind in rows.iter_rows():
        found.setdefault(name, []).append((column, kind))
    return {name: columns_of(columns) for name, columns in found.items()}


def columns_of(columns: list[tuple[str, str]]) -> Columns:
    """Which of some columns (name, type) hold ids of records, hashes of texts, and words.

    >>> columns_of([("record_id", "VARCHAR"), ("matched_record_id", "VARCHAR"), ("source_record_id", "VARCHAR")]).records
    ('record_id', 'matched_record_id')
    """
    names = [name for name, _ in columns]
    strings = [name for name, kind in columns if "VARCHAR" in kind or "JSON" in kind or "BLOB" in kind]
    records = [
        name
        for name in strings
        if name == "record_id" or (name.endswith("_record_id") and not name.endswith("source_record_id"))
    ]
    texts = [name for name in strings if name.endswith("text_hash")]
    return Columns(tuple(names), tuple(records), tuple(texts), tuple(strings))


@cache
def is_rebuilt_from_text(name: str, strings: tuple[str, ...]) -> bool:
    """Whether a table is one that a job builds afresh, and one of its columns of strings is made from records' texts."""
    from curation_assets.definitions import ASSETS, LABEL_ASSETS
    from curation_assets.pages import asset_of

    table = tables().get(name)
    if table is None or "Append-only" in table.description:
        return False
    if asset_of(name) not in {asset.key.to_user_string() for asset in [*ASSETS, *LABEL_ASSETS]} - {"raw"}:
        return False
    return any(_reaches_text(name, column) for column in table.columns if column in strings)


def _reaches_text(name: str, column: str) -> bool:
    """Whether a column is made from raw.records' text or original, at any number of steps."""
    seen: set[tuple[str, str]] = set()
    todo = [(name, column)]
    while todo:
        at = todo.pop()
        if at in seen or at[0] not in tables():
            continue
        seen.add(at)
        if at[0] == "raw.records" and at[1] in ("text", "original"):
            return True
        todo += column_lineage(at[0]).get(at[1], ())
    return False


def _counted(warehouse: Warehouse, ids: list[str]) -> Iterator[Touched]:
    """Rows of each table that hold one of the records."""
    for name, columns in table_columns(warehouse).items():
        if not columns.records or name == "ledger.redactions":
            continue
        mine = " or ".join(f"{_quoted(column)} in (select unnest($ids::varchar[]))" for column in columns.records)
        if rows := warehouse.value(f"select count(*) as n from {_quoted(name)} where {mine}", ids=ids):
            yield Touched(
                name, rows, "deleted" if "record_id" in columns.records and name not in REDACTED else "redacted"
            )


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


# --- erasing --------------------------------------------------------------------------------------------------------


def erase(warehouse: Warehouse, planned: Plan) -> dict[str, Any]:
    """Erase what was planned and return the receipt. Waits for a run that is working on the database.

    Raises ValueError if the plan names no record, StaleError if other records answer to the request by now, KeyMissingError if
    earlier tombstones were made with a key that is not there.
    """
    if not len(planned.records):
        raise ValueError("the plan names no record")
    warehouse.hold_for_run()
    if not plan(warehouse, planned.request).records["record_id"].equals(planned.records["record_id"]):
        raise StaleError(
            "Other records answer to that by now: a run has worked on the database since. Nothing was changed; ask again."
        )
    keyed, started = key(warehouse), datetime.now(timezone.utc)
    erasure_id = f"erasure-{secrets.token_hex(8)}"
    columns = table_columns(warehouse)
    erased = planned.records.with_columns(
        tombstone_id=pl.Series(
            [f"erased-{secrets.token_hex(12)}" for _ in range(len(planned.records))], dtype=pl.String
        )
    )
    logger.info("erase: writing %s afresh without %s records", warehouse.path.name, f"{len(erased):,}")
    with warehouse.rewritten() as connection:
        _name_erased(connection, columns, erased)
        touched, left = _copy_tables(connection, columns, _probes(erased))
        commit = Commit(connection, "erasure", erasure_id)
        commit.append(
            "erasure.tombstones",
            _tombstones(keyed, planned.request, erased, erasure_id, started, _cleaned(connection, columns)),
        )
        redactions = _write_redactions(commit, columns, erasure_id, started)
        withdrawn = _withdraw(commit, columns, erasure_id, planned.request, started)
        _link_to_chain(commit, planned, redactions, started)
        receipt = _receipt(commit, keyed, planned, touched, left, withdrawn, redactions, started)
    finish_side_files(warehouse, keyed)
    return receipt


def _name_erased(connection: "duckdb.DuckDBPyConnection", columns: dict[str, Columns], erased: pl.DataFrame) -> None:
    """Make the temporary tables `erased` (record_id, tombstone_id) and `erased_texts` (hashes of texts no record that stays has)."""
    connection.register("erased_frame", erased.select("record_id", "tombstone_id").to_arrow())
    connection.execute(
        "create temp table erased as select record_id::varchar as record_id, tombstone_id::varchar as tombstone_id from erased_frame"
    )
    connection.unregister("erased_frame")
    mine, others = [], []
    of_texts = [
        ("cleaned.records", "text_hash"),
        ("cleaned.records", "raw_text_hash"),
        ("deduped.shortened", "text_hash"),
    ]
    for name, column in [*of_texts, ("raw.records", None)]:
        if name in columns:
            value = column or "left(sha256(text), 32)"
            mine.append(
                f"select {value} as text_hash from old.{name} where record_id in (select record_id from erased)"
            )
            if column:
                others.append(f"select {column} from old.{name} where record_id not in (select record_id from erased)")
    stays = f" where text_hash not in ({' union all '.join(others)})" if others else ""
    connection.execute(
        f"create temp table erased_texts as select distinct text_hash from ({' union all '.join(mine)}){stays}"
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
            rows = connection.execute(f"select count(*) from old.{_quoted(name)}").fetchall()[0][0]
            touched += [Touched(name, rows, "emptied")] if rows else []
        else:
            connection.execute(f"insert into {_quoted(name)} by name select * from old.{_quoted(name)}")
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
        joins.append(f"left join erased as e{number} on e{number}.record_id = t.{_quoted(column)}")
        is_touched.append(f"e{number}.record_id is not null")
        replaced[column] = f"coalesce(e{number}.tombstone_id, t.{_quoted(column)})"
        owners = column.replace("record_id", "source_record_id")
        if owners in columns.names and name != "raw.records":
            replaced[owners] = f"if(e{number}.record_id is null, t.{_quoted(owners)}, null)"
    any_touched = " or ".join(is_touched) or "false"
    if name in REDACTED:
        hidden = [column for column in (*columns.texts, "nonce") if column in columns.names]
        replaced |= {column: f"if({any_touched}, null, t.{_quoted(column)})" for column in hidden}
    gone = "where not exists (select 1 from erased as e where e.record_id = t.record_id)" if deletes else ""
    rows = f"from old.{_quoted(name)} as t {' '.join(joins)} {gone}"
    if deletes:
        there = f"select count(*) from old.{_quoted(name)} where record_id in (select record_id from erased)"
        if count := connection.execute(there).fetchall()[0][0]:
            yield Touched(name, count, "deleted")
    redacted = connection.execute(f"select count(*) {rows} {'and' if gone else 'where'} ({any_touched})").fetchall()[0][
        0
    ]
    if redacted:
        yield Touched(name, redacted, "redacted")
        star = f"t.* replace ({', '.join(f'{value} as {_quoted(column)}' for column, value in replaced.items())})"
        connection.execute(f"insert into {_quoted(name)} by name select {star} {rows}")
    else:
        connection.execute(f"insert into {_quoted(name)} by name select t.* from old.{_quoted(name)} as t {gone}")


def _copy_of_texts(connection: "duckdb.DuckDBPyConnection", name: str, columns: Columns) -> Iterator[Touched]:
    """Copy a cache of texts."""
    mine = " or ".join(f"{_quoted(column)} in (select text_hash from erased_texts)" for column in columns.texts)
    if count := connection.execute(f"select count(*) from old.{_quoted(name)} where {mine}").fetchall()[0][0]:
        yield Touched(name, count, "deleted")
    connection.execute(
        f"insert into {_quoted(name)} by name select * from old.{_quoted(name)} where coalesce(not ({mine}), true)"
    )


def _probes(erased: pl.DataFrame) -> list[str]:
    """Pieces of the erased texts, and their ids, to search for in tables that are no record's."""
    found: dict[str, None] = {}
    for row in erased.iter_rows(named=True):
        found[row["record_id"]] = None
        for text in {row["text"], row["original"]}:
            pieces = sorted(re.split(r"[\n\r\t\"\\]+", text), key=len, reverse=True)[:3]
            found |= dict.fromkeys(piece[:PROBE_CHARS] for piece in pieces if len(piece) >= SHORTEST_PROBE)
        if row["has_owner_id"]:
            found[f"'{row['source_record_id'][:100]}'"] = None  # as the notes of a batch quote it
    return list(found)


def _search(
    connection: "duckdb.DuckDBPyConnection", name: str, columns: Columns, probes: list[str]
) -> tuple[list[Touched], list[str]]:
    """Search a table's words for pieces of the erased texts; take them out where we know how, else tell where they are."""
    touched, left = [], []
    for column in columns.strings:
        column_values = connection.sql(
            f"select rowid, {_quoted(column)}::varchar as value from {_quoted(name)} where {_quoted(column)} is not null"
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


def _cleaned(connection: "duckdb.DuckDBPyConnection", columns: dict[str, Columns]) -> dict[str, str]:
    if "cleaned.records" not in columns:
        return {}
    rows = connection.execute(
        "select record_id, text from old.cleaned.records where record_id in (select record_id from erased)"
    )
    return dict(rows.fetchall())


def _tombstones(
    keyed: Keyed, request: Request, erased: pl.DataFrame, erasure_id: str, erased_at: datetime, cleaned: dict[str, str]
) -> pl.DataFrame:
    """The rows of erasure.tombstones: for each record its id, its text before and after cleaning, and its original."""
    rows = []
    for row in erased.iter_rows(named=True):
        source = row["source"] if request.is_of_a_source else None
        hashes = {
            ("record", keyed.hash("record", row["record_id"])),
            ("original", keyed.hash("original", row["original"], source)),
        }
        hashes |= {
            ("text", keyed.hash("text", text, source))
            for text in (row["text"], cleaned.get(row["record_id"], row["text"]))
        }
        rows += [
            {"tombstone_id": row["tombstone_id"], "kind": kind, "keyed_hash": value, "source": source}
            for kind, value in sorted(hashes)
        ]
    return pl.DataFrame(
        rows, schema={"tombstone_id": pl.String, "kind": pl.String, "keyed_hash": pl.String, "source": pl.String}
    ).with_columns(
        erasure_id=pl.lit(erasure_id),
        key_id=pl.lit(keyed.id),
        reason=pl.lit(request.reason),
        erased_at=pl.lit(erased_at),
    )


def _write_redactions(
    commit: Commit, columns: dict[str, Columns], erasure_id: str, redacted_at: datetime
) -> dict[str, Any]:
    """Write ledger.redactions for the chained decisions that lost an id; return their number and their hash."""
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
    hashed = connection.sql((SQL / "audit" / "redactions_hash.sql").read_text(encoding="utf-8")).pl()
    mine = hashed.filter(pl.col("erasure_id") == erasure_id)
    return (
        {"redactions": mine["redactions"].item(), "redactions_hash": mine["redactions_hash"].item()}
        if len(mine)
        else {"redactions": 0, "redactions_hash": None}
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


def _link_to_chain(commit: Commit, planned: Plan, redactions: dict[str, Any], started: datetime) -> None:
    """Write the erasure's row of ledger.runs."""
    settings = json.dumps(
        {**planned.request.selected_by, "reach": planned.request.reach, "reason": planned.request.reason},
        sort_keys=True,
    )
    commit.rows_dropped = len(planned.records)
    commit.notes = redactions
    account = {
        "run_id": commit.run_id,
        "stage": commit.stage,
        "code_version": __version__,
        "config": settings,
        "config_hash": hashlib.sha256(f"{__version__}\n{settings}".encode()).hexdigest(),
    }
    commit.write_run_row(account, "raw.records", started, commit.count("old.raw.records"))


def _receipt(
    commit: Commit,
    keyed: Keyed,
    planned: Plan,
    touched: list[Touched],
    left: list[str],
    withdrawn: list[str],
    redactions: dict[str, Any],
    issued_at: datetime,
) -> dict[str, Any]:
    """Write the receipt's row and return the receipt with its signature, as its file holds it."""
    connection = commit.connection
    link = "select chain_position, previous_hash, chain_hash from ledger.runs order by chain_position desc nulls last limit 1"
    position, before, chain_hash = connection.execute(link).fetchall()[0]
    said = {
        "erasure_id": commit.run_id,
        "issued_at": issued_at.isoformat(),
        "software": f"curation-assets {__version__}",
        "asked": planned.request.selected_by,
        "reach": planned.request.reach,
        "reason": planned.request.reason,
        "records": len(planned.records),
        "records_by_why": dict(sorted(planned.records["why"].value_counts().iter_rows())),
        "tables": [one._asdict() for one in touched],
        "releases_withdrawn": withdrawn,
        "found_elsewhere": left,
        "decisions_redacted": redactions["redactions"],
        "ledger": {"chain_position": position, "previous_hash": before, "chain_hash": chain_hash},
        "key_id": keyed.id,
    }
    last = "select receipt_hash from erasure.receipts order by issued_at desc limit 1"
    has_earlier = connection.execute(
        "select count(*) from duckdb_tables() where database_name = 'fresh' and schema_name = 'erasure' and table_name = 'receipts'"
    ).fetchall()[0][0]
    previous = (connection.execute(last).fetchall() if has_earlier else []) or [(CHAIN_START,)]
    row = sealed(keyed, said, previous[0][0])
    stored = {
        **row,
        "receipt": canonical(said),
        "erasure_id": commit.run_id,
        "issued_at": issued_at,
        "chain_hash": chain_hash,
    }
    commit.append("erasure.receipts", pl.DataFrame([stored]))
    return row


def canonical(value: Any) -> str:
    """A value's one JSON form: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(keyed: Keyed, said: dict[str, Any], previous: str) -> dict[str, Any]:
    """A receipt with its hash over itself and the one before, and the signature of that."""
    receipt_hash = hashlib.sha256(f"{previous}\n{canonical(said)}".encode()).hexdigest()
    return {
        "receipt": said,
        "previous_receipt_hash": previous,
        "receipt_hash": receipt_hash,
        "signature": keyed.sign(receipt_hash),
        "key_id": keyed.id,
    }


# --- beside the database --------------------------------------------------------------------------------------------


def receipts_folder(warehouse: Warehouse) -> Path:
    """Where the receipts lie as files."""
    return warehouse.path.with_name(f"{warehouse.path.name}.receipts")


def finish_killed(warehouse: Warehouse) -> None:
    """Undo or finish an erasure whose process was killed; nothing to do otherwise. Called when a run takes the database."""
    if warehouse.rewriting.exists():
        logger.warning("An erasure was killed before it changed anything; ask for it again.")
        for path in (warehouse.rewriting, warehouse.rewriting.with_name(f"{warehouse.rewriting.name}.wal")):
            path.unlink(missing_ok=True)
    if warehouse.has_table(TOMBSTONES):
        finish_side_files(warehouse, key(warehouse))


def finish_side_files(warehouse: Warehouse, keyed: Keyed) -> None:
    """Take erased records out of the journals beside the database, and write the receipts that are not there as files yet."""
    hashes = frozenset(warehouse.query("select keyed_hash from erasure.tombstones where kind = 'record'")["keyed_hash"])
    for path in sorted(warehouse.path.parent.glob(f"{_escaped(warehouse.path.name)}.*")):
        if path.is_file() and path.suffix in (".jsonl", ".unread"):
            _drop_lines(path, keyed, hashes)
    folder = receipts_folder(warehouse)
    rows = warehouse.query(
        "select erasure_id, receipt::varchar as receipt, previous_receipt_hash, receipt_hash, signature, key_id from erasure.receipts"
    )
    for row in rows.iter_rows(named=True):
        path = folder / f"{row.pop('erasure_id')}.json"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(
                json.dumps(row | {"receipt": json.loads(row["receipt"])}, indent=2, ensure_ascii=False) + "\n",
                encoding="utf-8",
            )
            draft.replace(path)


_NAMED = re.compile(rb'"record_id"\s*:\s*"([^"\\]+)"')


def _drop_lines(path: Path, keyed: Keyed, hashes: frozenset[str]) -> None:
    """Leave out the lines of a journal that name an erased record."""
    with _journal(path):
        lines = path.read_bytes().splitlines(keepends=True)
        named = {line: _NAMED.findall(line) for line in lines}
        gone = {
            record
            for records in named.values()
            for record in records
            if keyed.hash("record", record.decode("utf-8", "replace")) in hashes
        }
        kept = [line for line in lines if not gone.intersection(named[line])]
        if len(kept) < len(lines):
            shortened = path.with_name(f"{path.name}.new")
            shortened.write_bytes(b"".join(kept))
            shortened.replace(path)
            logger.info("erase: %s lines left out of %s", f"{len(lines) - len(kept):,}", path.name)


@contextmanager
def _journal(path: Path) -> Iterator[None]:
    """Keep a journal's writers and whoever folds it into the database off it."""
    with FileLock(f"{path}.fold.lock"), FileLock(f"{path}.lock"):
        yield


def _escaped(name: str) -> str:
    """A file name as a glob that means only itself."""
    return re.sub(r"([*?[])", r"[\1]", name)
