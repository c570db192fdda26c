"""What an erasure would touch: which records a request reaches, and which tables hold them.

Which tables hold a record is read off the database itself, by the names of their columns:

- `record_id`: the record's rows go; in the tables of REDACTED, which count rows for others, they stay under its tombstone's id.
- another `…_record_id`: the row is another record's and stays, with the tombstone's id in that place.
- `text_hash` and no record: a cache; rows whose text no record that stays has go.
- none of these: a table that is rebuilt and has words of records in it (column lineage says so) is emptied until then; any other is
  searched for the text, and what is found is taken out where we know how, else told.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import polars as pl

from curation_assets.audit import ask
from curation_assets.tables import MAIN_TABLES, asset_of, column_lineage, tables
from curation_assets.tombstones import TABLE, key, normalised
from curation_assets.warehouse import Warehouse

REACHES = ("records", "copies", "related")
"""How far an erasure goes: the records it names; and every record of the same text, and their other versions; and near-duplicates and
what was made from them."""

REDACTED = ("ledger.decisions", "raw.batch_records", "release.records")
"""Tables whose rows are counted or hashed elsewhere: the row stays, the record's id gives way to its tombstone's."""


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
    def withdraws(self) -> bool:
        """Whether it withdraws a source or a licence: then new records of it are refused as well."""
        return self.ids is None

    @property
    def is_of_a_source(self) -> bool:
        """Whether the erased texts are refused only from the sources they came from, not from others."""
        return self.withdraws and self.reach == "records"


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
    """record_id, why (named, copy, version, near-duplicate, derived), source, source_uri, source_row, kind, text, original,
    source_record_id, has_owner_id."""
    kept_near: int
    """Near-duplicates of them and records made from them that the reach leaves alone."""
    kept_copies: int
    """Records of the same text, and other versions of them, that it leaves alone."""
    tables: tuple[Touched, ...]
    labels: int
    releases: tuple[str, ...]
    gone: pl.DataFrame
    """Tombstones (tombstone_id, kind, keyed_hash, source) of records asked for by id that a withdrawal has taken out: they are written
    anew, so that the records stay out when it is taken back."""

    @property
    def records_gone(self) -> int:
        """Records asked for that only a withdrawal keeps out."""
        return self.gone["tombstone_id"].n_unique()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to erase and nothing to refuse."""
        return not (len(self.records) or len(self.gone) or self.request.withdraws)


def plan(warehouse: Warehouse, request: Request) -> Plan:
    """What a request touches. Nothing is changed; `records` is empty where nothing answers to it."""
    named = ask(
        warehouse,
        "erasure_named",
        ids=list(request.ids) if request.ids is not None else None,
        source=request.source,
        licenses=_as_stated(warehouse, request.license),
    )["record_id"].to_list()
    why = dict.fromkeys(named, "named")
    copies = _copies(warehouse, list(why)) if named else []
    versions = ask(warehouse, "erasure_versions", ids=[*named, *copies])["record_id"].to_list() if named else []
    if request.reach != "records":
        why |= dict.fromkeys(versions, "version") | dict.fromkeys(copies, "copy")
    related = _related(warehouse, [*named, *copies, *versions]) if named else {}
    if request.reach == "related":
        why |= related
        why |= {record: "copy" for record in _copies(warehouse, list(why)) if record not in why}
    details = warehouse.query(
        "select record_id, source, source_uri, source_row, kind, text, original, source_record_id, has_owner_id from raw.records "
        "where record_id in (select unnest($ids::varchar[])) order by source, source_uri, source_row",
        ids=list(why),
    )
    records = details.with_columns(why=pl.col("record_id").replace_strict(why, return_dtype=pl.String))
    ids = records["record_id"].to_list()
    releases = _of(warehouse, "release.records", "select distinct release_id as id from release.records", ids)
    return Plan(
        request,
        records,
        kept_near=0 if request.reach == "related" else len(related.keys() - why.keys()),
        kept_copies=0 if request.reach != "records" else len({*copies, *versions}),
        tables=tuple(_counted(warehouse, ids)),
        labels=len(_of(warehouse, "expert_labels.labels", "select label_id as id from expert_labels.labels", ids)),
        releases=tuple(sorted(releases)),
        gone=_gone(warehouse, request, ids),
    )


def _gone(warehouse: Warehouse, request: Request, here: list[str]) -> pl.DataFrame:
    """Plan.gone. here: ids of the records that are to be erased anyway. A licence is not looked up: tombstones do not tell it."""
    if not request.ids or request.license is not None or not warehouse.has_table(TABLE):
        return pl.DataFrame(schema=dict.fromkeys(("tombstone_id", "kind", "keyed_hash", "source"), pl.String))
    keyed = key(warehouse)
    sources = warehouse.query("select distinct source from erasure.tombstones where kind = 'owner_id'")["source"]
    hashes = [keyed.hash("record", given) for given in request.ids]
    hashes += [keyed.hash("owner_id", given, source) for given in request.ids for source in sources]
    rows = ask(warehouse, "erasure_gone", hashes=hashes, source=request.source)
    is_here = pl.col("keyed_hash").is_in([keyed.hash("record", record) for record in here])
    return rows.filter(~pl.col("tombstone_id").is_in(rows.filter(is_here)["tombstone_id"].to_list()))


def _of(warehouse: Warehouse, table: str, select: str, ids: list[str]) -> list[str]:
    if not ids or not warehouse.has_table(table):
        return []
    return warehouse.query(f"{select} where record_id in (select unnest($ids::varchar[]))", ids=ids)["id"].to_list()


def _as_stated(warehouse: Warehouse, license: str | None) -> list[str] | None:
    """The ways in which a licence is stated here that differ from the given one in case and spaces alone; itself where none is."""
    if license is None:
        return None
    stated = warehouse.query("select distinct license from raw.records where license is not null")["license"]
    return [one for one in stated if normalised(one) == normalised(license)] or [license]


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
    """Whether a table is one that a run builds afresh, and one of its columns of strings is made from records' texts."""
    table = tables().get(name)
    if (
        table is None
        or "Append-only" in table.description
        or asset_of(name) not in MAIN_TABLES.keys() - {"raw", "release"}
    ):
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
    holding = {name: columns for name, columns in table_columns(warehouse).items() if columns.records}
    with warehouse.get_connection(read_only=True) as connection:
        for name, columns in holding.items():
            if name == "ledger.redactions":
                continue
            mine = " or ".join(f"{quoted(column)} in (select unnest($ids::varchar[]))" for column in columns.records)
            question = f"select count(*) from {quoted(name)} where {mine}"
            if rows := connection.execute(question, {"ids": ids}).fetchall()[0][0]:
                deletes = "record_id" in columns.records and name not in REDACTED
                yield Touched(name, rows, "deleted" if deletes else "redacted")


def quoted(name: str) -> str:
    """A table or column as SQL takes any name."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))
