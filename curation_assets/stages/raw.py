"""The `raw` stage: sources as their owners wrote them, in batches, with what could not be read beside them."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from curation_assets import readers
from curation_assets.algorithms import pii
from curation_assets.home import lasting_path
from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.progress import logger, reporter
from curation_assets.readers import RECORDS, REJECTS
from curation_assets.stages import OWNERS
from curation_assets.tombstones import Refusals, last_lifted_at, refusals
from curation_assets.warehouse import Commit, Spool, Warehouse

COUNTS = ("rows_read", "rows_added", "rows_known", "rows_rejected")
"""What is counted for every batch: rows read = added + known + rejected."""


class Format(str, Enum):
    """Formats of files."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"
    text = "text"
    lines = "lines"
    html = "html"
    warc = "warc"


class Quoting(str, Enum):
    """How quotes in CSV and TSV are read."""

    minimal = "minimal"
    none = "none"


class Kind(str, Enum):
    """Kinds of records."""

    document = "document"
    html = "html"
    instruction = "instruction"
    preference = "preference"
    reward = "reward"
    chat = "chat"


class SourceConfig(dg.Config):
    """One source of text."""

    name: str = Field(description="Name of the source; it stays with its records to the last table.")
    path: str = Field(description="A file, a folder, a glob (** allowed), or python_environment.")
    format: Format | None = Field(
        default=None, description="Default: by suffix. text: a file is a record; lines: a line is a record."
    )
    kind: Kind | None = Field(
        default=None,
        description="Kind of all its records. Default: each record is looked at (a field text makes it a document). "
        "A record that is no good one of the kind is rejected.",
    )
    text_field: str | None = Field(
        default=None, description="Field with the text. Default: text, else what the records suggest."
    )
    text_template: str | None = Field(default=None, description="Or a template over fields: '{question} {answer}'.")
    id_field: str | None = Field(
        default=None, description="Field with the owner's id. Default: id, uuid, … or a unique …_id field."
    )
    time_field: str | None = Field(default=None, description="Field with the record's time.")
    label_field: str | None = Field(default=None, description="Field with the owner's label.")
    license_field: str | None = Field(default=None, description="Field with the record's licence.")
    license: str | None = Field(default=None, description="Licence of records that state none.")
    quoting: Quoting = Field(default=Quoting.minimal, description="CSV and TSV: 'none' takes quotes as they are.")
    max_record_bytes: int = Field(
        default=16_777_216, description="A longer record is rejected, without being read into memory."
    )
    encoding: str = Field(default="utf-8", description="Encoding of the files.")
    parts: list[str] = Field(
        default=["descriptions", "licences", "stdlib", "modules"],
        description="python_environment only: which parts of it.",
    )
    max_records: int | None = Field(default=None, description="python_environment only: at most this many records.")

    def as_source(self) -> readers.Source:
        """The source as the readers know it."""
        return readers.Source(**self.model_dump(mode="json") | {"parts": tuple(self.parts)})


class RawConfig(dg.Config):
    """Where the text comes from."""

    sources: list[SourceConfig] = Field(
        default=[],
        description="Sources to read. Empty: read the sources this database already knows once more; "
        "a new database starts with the text of its own Python environment.",
    )

    @field_validator("sources")
    @classmethod
    def _differ_in_name(cls, sources: list[SourceConfig]) -> list[SourceConfig]:
        names = [source.name for source in sources]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sources need names of their own; {', '.join(repeated)} is given more than once")
        return sources


@dg.asset(group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="2")
def raw(
    context: dg.AssetExecutionContext, config: RawConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record as its owner wrote it: verbatim original, the owner's id, file and row.

    Files are read in batches: a file that has not changed since its last batch adds nothing, one that has changed adds
    its new rows. What cannot be read goes to `raw.rejects` with file, row and reason.
    """
    started = warehouse.begin()
    sources = [source.as_source() for source in config.sources]
    files = list(files_of(sources)) if sources else list(files_of(known_sources(warehouse), may_be_gone=True))
    known = Known(latest_batches(warehouse), last_lifted_at(warehouse), {})
    accounts = [account for group in groups(files) for account in ingest(warehouse, group, context.run_id, known)]
    for said in what_is_unchanged(accounts):
        logger.info("raw: %s", said)
    with warehouse.commit(context, config, main="raw.records", started=started) as commit:
        commit.notes = {name: sum(account[name] for account in accounts) for name in COUNTS} | {
            "files": len(files),
            "files_unchanged": sum(account["batch_id"] is None for account in accounts),
        }
    with warehouse.reading():
        return materialized(
            warehouse,
            "raw.records",
            plots={"length_histogram": histogram(_lengths(warehouse), "characters a record", log=True)},
            batches=dg.MetadataValue.md(markdown_table(masked(_batches(warehouse, context.run_id), "notes"))),
            rejects=dg.MetadataValue.md(markdown_table(masked(_rejects(warehouse), "reason"))),
            rejects_total=warehouse.rows("raw.rejects"),
        )


def files_of(
    sources: list[readers.Source], *, may_be_gone: bool = False
) -> Iterator[tuple[readers.Source, readers.File]]:
    """Every file of every source. A source that is gone is an error, or is passed over with a warning: its records stay."""
    for source in sources:
        try:
            found = readers.files(source)
        except readers.SourceError as error:
            if not may_be_gone:
                raise
            logger.warning("raw: %s Its records stay as they are.", error)
            continue
        yield from ((source, file) for file in found)


def known_sources(warehouse: Warehouse) -> list[readers.Source]:
    """The sources the database has records of, as they were last read; for a new one, the text of this Python environment."""
    if not warehouse.has_table("raw.batches"):
        return [readers.Source(name="python_environment", path="python_environment")]
    rows = warehouse.query(
        "select max_by(source_config::varchar, ingested_at) as config from raw.batches group by source order by source"
    )
    configs = [json.loads(row) for row in rows["config"]]
    return [readers.Source(**config | {"parts": tuple(config["parts"])}) for config in configs]


OTHER_ENCODING = (
    " If the file is in another encoding, say which in a recipe: `encoding:` of the source, such as cp949 or latin-1."
)


def what_is_unchanged(accounts: list[dict[str, Any]]) -> list[str]:
    """A sentence a source on its files that added nothing: a folder may have a hundred thousand of them."""
    said = []
    unchanged = [account for account in accounts if account["batch_id"] is None]
    for source in dict.fromkeys(account["source"] for account in unchanged):
        files = [account for account in unchanged if account["source"] == source]
        last = f"{max(account['ingested_at'] for account in files):%Y-%m-%d %H:%M}"
        if len(files) == 1:
            said.append(f"{files[0]['source_uri']} is unchanged since {last}; it adds nothing.")
        else:
            said.append(f"{source}: {len(files):,} files are unchanged since {last} or before; they add nothing.")
    return said


GROUP_FILES, GROUP_BYTES = 200, 4 << 20
"""Small files are committed together, at most so many and so much at a time: what a kill may cost."""


class Known(NamedTuple):
    """What the database held when the run began, which keeps others from changing it: a folder may have many small files."""

    latest: dict[tuple[str, str], dict[str, Any]]
    """The latest batch of each file, by source and file; those of the run are added."""
    lifted: datetime | None
    """When a withdrawal was taken back last."""
    refusals: dict[str, Refusals | None]
    """What each source may not bring in again, as far as it was asked."""


def groups(files: Iterable[tuple[readers.Source, readers.File]]) -> Iterator[list[tuple[readers.Source, readers.File]]]:
    """The files, in order, small ones of a source together: a transaction costs more than reading a page."""
    group: list[tuple[readers.Source, readers.File]] = []
    for source, file in files:
        size = sum(before.size_bytes for _, before in group) + file.size_bytes
        is_there = any(before.uri == file.uri for _, before in group)
        if group and (group[0][0] != source or is_there or len(group) == GROUP_FILES or size > GROUP_BYTES):
            yield group
            group = []
        group.append((source, file))
    if group:
        yield group


class Reading(NamedTuple):
    """A file that was read, on its way into the database."""

    account: dict[str, Any]
    """Its row of raw.batches, as far as it is known."""
    previous: dict[str, Any] | None
    """Its latest batch before."""
    notes: list[str]
    """What the reader has to say."""


def ingest(
    warehouse: Warehouse, files: list[tuple[readers.Source, readers.File]], run_id: str, known: Known
) -> list[dict[str, Any]]:
    """Read some files of a source into raw.records in one transaction, and return their rows of raw.batches.

    A file whose bytes and reader settings are those of its latest batch is left alone: its row has no batch_id.
    """
    with warehouse.spool() as records, warehouse.spool() as rejects:
        records.write(_numbered(_of_batch(RECORDS.empty_table(), ""), 0))
        rejects.write(_of_batch(REJECTS.empty_table(), ""))
        found = [read(warehouse, source, file, run_id, known, records, rejects) for source, file in files]
        if readings := [one for one in found if isinstance(one, Reading)]:
            with warehouse.transaction("raw", run_id) as commit:
                write(commit, readings, records, rejects)
    for reading in readings:
        tell(warehouse, reading.account)
    return [one.account if isinstance(one, Reading) else one for one in found]


def read(
    warehouse: Warehouse,
    source: readers.Source,
    file: readers.File,
    run_id: str,
    known: Known,
    records: Spool,
    rejects: Spool,
) -> Reading | dict[str, Any]:
    """Read one file to the spools; of a file that is unchanged its row without a batch_id."""
    try:
        file_hash = readers.file_hash(file.path)
    except OSError as error:
        raise readers.SourceError(f"Source '{source.name}': {file.path} cannot be read: {error.strerror}.") from error
    settings = source._asdict() | {"path": lasting_path(source.path)}
    previous = known.latest.get((source.name, file.uri))
    account: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {"batch_id": None}
    if previous and _is_another_file(previous["path"], file.path):
        raise readers.SourceError(
            f"Source '{source.name}' already has a file {file.uri}, read from {previous['path']}, which still exists; "
            f"give the source of {file.path} another name."
        )
    # Not where a withdrawal was taken back since: rows refused then may be let in now.
    if (
        previous
        and previous["file_hash"] == file_hash
        and _reads_alike(json.loads(previous["source_config"]), settings)
        and (known.lifted is None or known.lifted < previous["ingested_at"])
    ):
        return account | {"source": source.name, "source_uri": file.uri, "ingested_at": previous["ingested_at"]}
    account |= {
        "batch_id": _short_hash(
            source.name, file.uri, file_hash, _identity(settings), previous["batch_id"] if previous else ""
        ),
        "source": source.name,
        "source_uri": file.uri,
        "path": str(file.path.absolute()) if file.path.exists() else str(file.path),
        "file_hash": file_hash,
        "file_bytes": file.size_bytes,
        "ingested_at": datetime.now(timezone.utc),
        "run_id": run_id,
        "previous_batch_id": previous["batch_id"] if previous else None,
        "source_config": json.dumps(settings, sort_keys=True, ensure_ascii=False),
    }
    notes: list[str] = []
    report = reporter(f"raw: {file.uri}", "rows")
    if source.name not in known.refusals:
        known.refusals[source.name] = refusals(warehouse, source.name)
    erased = known.refusals[source.name]
    for batch in readers.read(source, file):
        batch = erased.sift(batch) if erased else batch
        records.write(_numbered(_of_batch(batch.records, account["batch_id"]), records.rows))
        rejects.write(_of_batch(batch.rejects, account["batch_id"]))
        notes += batch.notes
        account["rows_read"] += len(batch.records) + len(batch.rejects)
        account["rows_rejected"] += len(batch.rejects)
        report(account["rows_read"])
    known.latest[source.name, file.uri] = account
    return Reading(account, previous, notes)


def write(commit: Commit, readings: list[Reading], records: Spool, rejects: Spool) -> None:
    """Add the rows of files of one source to the tables, and complete their rows of raw.batches."""
    source = readings[0].account["source"]
    arriving = commit.append_new("raw.records", records.file(), "record_id", "batch_id", source=source)
    commit.append("raw.batch_records", arriving.select("batch_id", "record_id"))
    commit.append("raw.rejects", rejects.file(), source=source)
    counted = arriving.group_by("batch_id").agg(pl.len(), pl.col("is_new").sum())
    counts = {batch_id: (rows, new) for batch_id, rows, new in counted.iter_rows()}
    for account, previous, notes in readings:
        rows, new = counts.get(account["batch_id"], (0, 0))
        account["rows_added"], account["rows_known"] = new, rows - new
        account["notes"] = notes + _what_changed(commit, account, previous)
    overrides = {"notes": pl.List(pl.String), "previous_batch_id": pl.String}
    commit.append("raw.batches", pl.DataFrame([reading.account for reading in readings], schema_overrides=overrides))


def tell(warehouse: Warehouse, account: dict[str, Any]) -> None:
    """Log what there is to say of a file that was read; the log of a run is a page, too."""
    for note in account["notes"]:
        logger.info("raw: %s", without_personal_data(note))
    if account["rows_rejected"]:
        first = "select coalesce(min_by(reason, source_row), any_value(reason)) as reason from raw.rejects where batch_id = $id"
        said = warehouse.value(first, id=account["batch_id"])
        logger.warning(
            "raw: %s: not readable: %s (see raw.rejects). First: %s",
            account["source_uri"],
            f"{account['rows_rejected']:,}",
            without_personal_data(said) + (OTHER_ENCODING if "is not valid UTF-8" in said else ""),
        )


def _of_batch(rows: pa.Table | pa.RecordBatch, batch_id: str) -> pa.Table | pa.RecordBatch:
    return rows.append_column("batch_id", pa.repeat(pa.scalar(batch_id, pa.string()), len(rows)))


def _numbered(rows: pa.Table | pa.RecordBatch, first: int) -> pa.Table | pa.RecordBatch:
    """The rows with their position in the file's records, from 0: what tells identical rows apart."""
    return rows.append_column("position", pa.array(range(first, first + len(rows)), pa.int64()))


def _what_changed(commit: Commit, account: dict[str, Any], previous: dict[str, Any] | None) -> list[str]:
    """A sentence on what a changed file, or one read by other settings, brought; nothing for a file read for the first time."""
    if not previous:
        return []
    gone = commit.connection.execute(
        "select count(*) from raw.batch_records where batch_id = $previous "
        "and record_id not in (select record_id from raw.batch_records where batch_id = $batch)",
        {"previous": account["previous_batch_id"], "batch": account["batch_id"]},
    ).fetchall()[0][0]
    file, counts = (
        account["source_uri"],
        f"{account['rows_added']:,} rows are new, {account['rows_known']:,} were known",
    )
    if previous["file_hash"] != account["file_hash"]:
        return [f"{file} has changed since it was last read: {counts}, {gone:,} are no longer in it."]
    before, now = json.loads(previous["source_config"]), json.loads(account["source_config"])
    other = sorted(name for name in now if name != "path" and before.get(name) != now[name])
    why = f" with another {', '.join(other)}" if other else ""
    return [f"{file}, itself unchanged, is read anew{why}: {counts}, {gone:,} of those read before are outdated."]


def latest_batches(warehouse: Warehouse) -> dict[tuple[str, str], dict[str, Any]]:
    """The latest batch of each file that was read, by source and file."""
    if not warehouse.has_table("raw.batches"):
        return {}
    rows = warehouse.query(
        "select source, source_uri, batch_id, path, file_hash, ingested_at, source_config::varchar as source_config from raw.batches "
        "qualify row_number() over (partition by source, source_uri order by ingested_at desc) = 1"
    )
    return {(row["source"], row["source_uri"]): row for row in rows.iter_rows(named=True)}


def _is_another_file(before: str, now: Path) -> bool:
    """Whether a file of the same name in another place is another file, rather than the same one moved."""
    return Path(before).exists() and Path(before).resolve() != now.resolve()


def _reads_alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return _identity(a) == _identity(b)


def _identity(settings: dict[str, Any]) -> str:
    """What makes two readings of the same bytes the same: every setting but where the file lies."""
    return json.dumps({name: value for name, value in settings.items() if name != "path"}, sort_keys=True)


def _short_hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def masked(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows with all personal data masked that patterns find in a column of sentences about files, which may quote a value."""

    def mask_in(said: Any) -> Any:
        return without_personal_data(said) if isinstance(said, str) else [mask_in(one) for one in said]

    return rows.with_columns(
        pl.Series(column, [said and mask_in(said) for said in rows[column].to_list()], rows.schema[column])
    )


def without_personal_data(said: str) -> str:
    """A sentence about a file with all personal data masked that patterns find in it."""
    return pii.redact(said, pii.find(said))


def _lengths(warehouse: Warehouse) -> pl.Series:
    return warehouse.query("select len(text) as chars from raw.records")["chars"]


def _batches(warehouse: Warehouse, run_id: str) -> pl.DataFrame:
    return warehouse.query(
        "select source, source_uri, rows_read, rows_added, rows_known, rows_rejected, notes from raw.batches "
        "where run_id = $run_id order by source, source_uri limit 20",
        run_id=run_id,
    )


def _rejects(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select source_uri, source_row, reason from raw.rejects order by source_uri, source_row limit 10"
    )
