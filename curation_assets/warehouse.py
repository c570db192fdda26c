"""The DuckDB file: the only module that opens it.

One file, many processes: a UI run, two `curate run`s and a `curate sql` may all want it. DuckDB lets one process open a
file for writing, so a lock file beside the database queues everybody, readers too; who has it attaches the file to an
engine in memory that outlives the moment, for making one takes longer than most questions. What Python computes is computed
without it: a stage reads what it needs to a spool beside the database, lets go, computes, and commits everything it has
made (tables, ledger decisions, its run row) in one transaction; `raw` commits file by file, small ones together, embeddings
chunk by chunk.
What SQL computes runs inside that transaction, so large signals or batches make readers wait. After a kill at any point the
file holds the old version or the new one, whole. A second lock, held for a whole run, makes runs wait for one another.

SQL comes from the files in sql/ and from literals in the stages; values are bound. The only names put into SQL as text
are those of tables and columns that `tables()` read off sql/.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from csv import writer as csv_writer
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
from filelock import FileLock, Timeout

from curation_assets.home import default_database
from curation_assets.progress import logger
from curation_assets.tables import SQL, Table, schemas, tables

if TYPE_CHECKING:
    import dagster as dg

MEMORY_LIMIT = "1GB"
SECONDS_BEFORE_SAYING_WE_WAIT = 5
SECONDS_OF_A_SHORT_USE = 0.3
"""An engine that worked for longer is not kept: it would hold on to what memory it took (0.4 GB for a half second's sorting), and making
another takes a sixth of that time. Ours."""
SPOOL_ROWS = 16_384
SPOOL_BYTES = 32 << 20
PRINTED_ROWS = 1_000

NOT_CONTENT = ("run_id", "path", "source_config")
"""Columns that say where and by which run a row was made, not what it holds."""

DatabaseError = duckdb.Error
"""What DuckDB raises, for modules that may not import it."""

OVERRIDES = "overrides.entries"
"""The table of verdicts that people gave on single records."""

GIVEN = {"cleaned": "raw", "deduped": "cleaned", "filtered": "deduped", "curated_set": "filtered"}
"""Stages that decide, with the stage whose records they decide on."""

NOT_OVERRIDDEN = (
    "superseded",
    "empty_text",
    "same_after_cleaning",
    "exact_duplicate",
    "same_after_removal",
    "nothing_after_removal",
)
"""Rules that are no judgement on the text: a person who keeps a record does not keep an outdated version of it, an empty text or the same
words twice. Nor what is dropped for personal data (rules pii_…)."""

CHAIN_START = "0" * 64
"""previous_hash of the first row of ledger.runs that is chained."""

_reading: ContextVar[Mapping[str, duckdb.DuckDBPyConnection]] = ContextVar("reading", default=MappingProxyType({}))
"""Connections that `reading` holds open in this thread, by database."""

_idle_engines: dict[str, duckdb.DuckDBPyConnection] = {}
"""The engine in memory, with no file attached, that this process used last, by its settings; at most one."""

_held_run_locks: dict[str, FileLock] = {}
"""Run locks this process holds, by database. A run is one process; they end with it at the latest."""


class NoSuchDatabaseError(Exception):
    """The database file to be read does not exist."""


class StaleError(Exception):
    """A table was made from an older version of what it is needed with."""


class DatabaseNameError(Exception):
    """The database file has the name of one of the schemas in it, or is no database."""


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB database of the graph, with a lock, a sure close and one-transaction commits.

    It knows no Dagster, whose import takes longer than most questions that `curate` asks; resource.py makes it the graph's resource.
    """

    database: str = field(default_factory=default_database)
    """Path of the DuckDB file. Default: $CURATION_DATABASE, else data/curation.duckdb."""
    memory_limit: str = MEMORY_LIMIT
    """Memory DuckDB may use before it spills to disk."""
    connection_config: tuple[tuple[str, Any], ...] = ()
    """Further settings of DuckDB and their values, such as threads."""

    @property
    def path(self) -> Path:
        """The database file, absolute. Raises DatabaseNameError if it has the name of a schema in it."""
        path = Path(self.database).expanduser().resolve()
        if path.stem in schemas():
            raise DatabaseNameError(
                f"{path.name}: DuckDB takes a file's name for a database's, and {path.stem} is the name of a schema in it; "
                "give the file another name."
            )
        return path

    @contextlib.contextmanager
    def get_connection(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database, waiting while another process or thread has it; close it for sure.

        Raises NoSuchDatabaseError when a database that does not exist is to be read.
        """
        if read_only and (held := _reading.get().get(str(self.path))):
            yield held
            return
        if read_only and not self.path.exists():
            raise NoSuchDatabaseError(
                f"There is no database at {self.path}. `curate run` makes one; --database names another."
            )
        self._refuse_other_files()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        settings = {"memory_limit": self.memory_limit, "temp_directory": str(self.spool_folder)}
        settings |= dict(self.connection_config)
        with self._lock(), _attached(self.path, settings, read_only=read_only) as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let everything that is read inside share one connection, where many short questions are asked.

        Opening the file takes longer than most of them do. Writers wait until the end, so nothing may be written inside.
        Raises NoSuchDatabaseError; RuntimeError is raised by what is written inside.
        """
        with self.get_connection(read_only=True) as connection:
            token = _reading.set({**_reading.get(), str(self.path): connection})
            try:
                yield
            finally:
                _reading.reset(token)

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        """The file's lock, waited for. Raises RuntimeError inside `reading`, which holds it: that would be waited for without end."""
        if str(self.path) in _reading.get():
            raise RuntimeError(
                f"{self.path} is being read in one connection (`reading`); write, or suppose, after its end."
            )
        return _waiting_for(FileLock(f"{self.path}.lock"), "the database is in use by another process")

    def _refuse_other_files(self) -> None:
        """A DuckDB file has DUCK after its 8-byte checksum; anything else given as --database is a mistake."""
        if self.path.is_file() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                if file.read(12)[8:] != b"DUCK":
                    raise DatabaseNameError(
                        f"{self.path} is no DuckDB database; --database takes the file to keep the results in."
                    )

    @property
    def spool_folder(self) -> Path:
        """Folder beside the database for spools and for what DuckDB spills."""
        return self.path.with_name(f"{self.path.name}.tmp")

    def begin(self) -> datetime:
        """Begin a stage: make this process the one whose run works on the database, and return the time.

        Waits while another process's run does.
        """
        self.hold_for_run()
        return datetime.now(timezone.utc)

    def hold_for_run(self) -> None:
        """Keep other runs off the database until this process ends or calls release_run."""
        key = str(self.path)
        if key in _held_run_locks:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{key}.run.lock")
        _acquire(lock, "another run is working on this database")
        _held_run_locks[key] = lock
        shutil.rmtree(self.spool_folder, ignore_errors=True)  # what a killed run left behind
        from curation_assets.erasure_receipts import finish_killed
        from curation_assets.releasing import folder

        try:
            folder.clear(self.path)
            finish_killed(self)
        except BaseException:
            self.release_run()
            raise

    def is_held_by_a_run(self) -> bool:
        """Whether a run, of this process or another, works on the database now. Does not wait."""
        lock = FileLock(f"{self.path}.run.lock")
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def release_run(self) -> None:
        """Let the next run have the database."""
        if lock := _held_run_locks.pop(str(self.path), None):
            lock.release()

    def has_unfinished_erasure(self) -> bool:
        """Whether a killed erasure has left something to do, as what lies beside the database says."""
        return self.rewriting.exists() or self.forgetting.exists()

    @property
    def forgetting(self) -> Path:
        """The note of what has still to be taken out of Dagster's history; it is there only while that is done, or was cut short."""
        return self.path.with_name(f"{self.path.name}.forgetting")

    @property
    def rewriting(self) -> Path:
        """The file in which `rewritten` builds the database afresh; it is there only while that works, or was killed."""
        return self.path.with_name(f"{self.path.name}.rewriting")

    @contextlib.contextmanager
    def rewritten(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give an empty database of the same schema, with this one beside it read-only as `old`; at the end it takes this one's place.

        That is one rename: before it nothing has changed, after it everything has, and no byte of the old file is in the new one (DuckDB
        does not overwrite the blocks it frees, so deleting rows would leave them there). Others wait meanwhile.
        """
        settings = {"memory_limit": self.memory_limit, "temp_directory": str(self.spool_folder)}
        settings |= dict(self.connection_config)
        with self._lock():
            with duckdb.connect(str(self.path), config=settings) as connection:
                connection.execute("checkpoint")  # the log of the old file must not be replayed over the new one
            _remove(self.rewriting)
            connection = duckdb.connect(config=settings)
            try:
                for path, name, mode in ((self.path, "old", " (read_only)"), (self.rewriting, "fresh", "")):
                    quoted = str(path).replace("'", "''")  # a path cannot be bound here
                    connection.execute(f"attach '{quoted}' as {name}{mode}")
                shutil.copymode(self.path, self.rewriting)
                connection.execute("copy from database old to fresh (schema)")
                connection.execute("use fresh")
                _make_ledger(connection)  # before the transaction, as in `transaction`
                connection.execute("begin")
                yield connection
                connection.execute("commit")
                connection.execute("checkpoint fresh")
            except BaseException:
                connection.close()
                _remove(self.rewriting)
                raise
            connection.close()
            _sync(self.rewriting)
            self.rewriting.replace(self.path)
            _sync(self.path.parent)
        shutil.rmtree(self.spool_folder, ignore_errors=True)

    def query(self, sql: str, **params: Any) -> pl.DataFrame:
        """Run one read-only query and return its rows."""
        with self.get_connection(read_only=True) as connection:
            return connection.sql(sql, params=params or None).pl()

    @contextlib.contextmanager
    def supposing(
        self, supposed: Mapping[str, pl.DataFrame], derived: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> Iterator[Callable[..., pl.DataFrame]]:
        """Give a `query` like the method, for which some tables (schema.table) hold other rows or are there at all.

        supposed: their rows. derived: tables that a query with its parameters gives on top of these, in order. The database
        is read and left as it is.
        """
        if not self.path.exists():
            self.query("select 1")  # says so
        self._refuse_other_files()
        with self._lock():
            settings = {"memory_limit": self.memory_limit, "temp_directory": str(self.spool_folder)}
            connection = duckdb.connect(config=settings)
            try:
                quoted = str(self.path).replace("'", "''")  # a path cannot be bound here
                connection.execute(f"attach '{quoted}' as kept (read_only)")
                kept = connection.execute(
                    "select table_schema, table_name from information_schema.tables where table_catalog = 'kept'"
                ).fetchall()
                others = [tuple(name.split(".")) for name in [*supposed, *derived]]
                for schema in sorted({schema for schema, _ in [*kept, *others]} - {"main"}):
                    connection.execute(f'create schema "{schema}"')
                for schema, table in kept:
                    if (schema, table) not in others and schema != "main":
                        connection.execute(f'create view "{schema}"."{table}" as from kept."{schema}"."{table}"')
                for name, rows in supposed.items():
                    connection.register("rows", rows.to_arrow())
                    connection.execute(f"create table {name} as from rows")
                    connection.unregister("rows")
                for name, (sql, params) in derived.items():
                    connection.execute(f"create table {name} as {sql}", dict(params))
                yield lambda sql, **params: connection.sql(sql, params=params or None).pl()
            finally:
                connection.close()

    def print_rows(self, sql: str, *, csv: bool = False) -> None:
        """Run one read-only query and print its rows, by DuckDB itself, so that every type of column can be shown."""
        with self.get_connection(read_only=True) as connection:
            rows = connection.sql(sql)
            if not csv:
                width = shutil.get_terminal_size((160, 24)).columns
                rows.show(max_width=width, max_rows=PRINTED_ROWS, max_col_width=80)
                return
            writer = csv_writer(sys.stdout, lineterminator="\n")
            writer.writerow(rows.columns)
            writer.writerows(rows.fetchall())

    def value(self, sql: str, **params: Any) -> Any:
        """Run one read-only query that gives one row and one column, and return that value."""
        return self.query(sql, **params).item()

    def vectors(self) -> tuple[list[str], np.ndarray]:
        """Read the embeddings of filtered.records: record ids in order, and a float32 array [records, dimensions] beside them.

        Raises StaleError if embeddings were made of other records than filtered.records holds now.
        """
        self.require_all_records("embeddings.vectors")
        with self.get_connection(read_only=True) as connection:
            table = connection.sql(
                "select record_id, embedding from embeddings.vectors order by record_id"
            ).to_arrow_table()
        ids = table["record_id"].to_pylist()
        flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return ids, np.ascontiguousarray(flat, dtype=np.float32).reshape(len(ids), -1)

    def require_all_records(self, *names: str) -> None:
        """Make sure tables of measures cover the records of filtered.records, all of them and no others.

        Raises StaleError naming the asset to materialize first.
        """
        for name in names:
            _known(name)
            others = self.value(
                "select count(*) as n from (select record_id from filtered.records) as f "
                f"full join {name} as m using (record_id) where f.record_id is null or m.record_id is null"
            )
            if others:
                asset = name.split(".")[0]
                raise StaleError(
                    f"{name} was made of other records than filtered.records holds now ({others:,} differ). Materialize {asset} first."
                )

    def append(self, name: str, incoming: pl.DataFrame | pa.Table, **params: Any) -> None:
        """Append rows to a table in a transaction of their own: a chunk of work that need not be done again."""
        with self.transaction(stage=name, run_id="") as commit:
            commit.append(name, incoming, **params)

    def draft(self, name: str, **params: Any) -> pl.DataFrame:
        """The rows a table's SQL file gives now, without building it."""
        return self.query(_known(name).sql, **params)

    def rows(self, name: str) -> int:
        """How many rows a table has."""
        _known(name)
        return self.value(f"select count(*) from {name}")

    def head(self, name: str, columns: list[str], rows: int) -> pl.DataFrame:
        """The first rows of some columns of a table."""
        unknown = set(columns) - set(_known(name).columns)
        if unknown:
            raise ValueError(f"{name} has no columns {sorted(unknown)}")
        return self.query(f"select {', '.join(columns)} from {name} limit $rows", rows=rows)

    def matching(self, name: str, columns: list[str], **values: str) -> pl.DataFrame:
        """Some columns of the rows of a table whose other columns have the given values."""
        unknown = {*columns, *values} - set(_known(name).columns)
        if unknown:
            raise ValueError(f"{name} has no columns {sorted(unknown)}")
        conditions = " and ".join(f"{column} = ${column}" for column in values)
        return self.query(f"select {', '.join(columns)} from {name} where {conditions}", **values)

    def scalars(self, name: str, columns: list[str], *, with_text_chars: bool) -> pl.DataFrame:
        """Some columns of a table, and on request the length of its texts as text_chars."""
        unknown = set(columns) - set(_known(name).columns)
        if unknown:
            raise ValueError(f"{name} has columns its SQL file does not name: {sorted(unknown)}")
        chosen = [*columns, "len(text) as text_chars"] if with_text_chars else columns
        return self.query(f"select {', '.join(chosen)} from {name}")

    def content_hashes(self, names: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Rows of each table, and a hash of what they hold that neither their order nor when or where they were made changes.

        A row is hashed as its JSON by MD5 and the hashes are added, as Bellare and Micciancio's AdHash does (EUROCRYPT 1997,
        sec. 3), here modulo 2^64 in each half: a fingerprint that finds any change but one made to deceive it. Arrays of
        numbers enter by DuckDB's own hash, which is the same within a version of DuckDB. Left out are times, run ids, paths
        and the reader settings, of which batch_id is a hash.
        """
        with self.get_connection(read_only=True) as connection:
            return {_known(name).name: _content_hash(connection, name) for name in names}

    def has_table(self, name: str) -> bool:
        """Whether a table has been built."""
        if not self.path.exists():
            return False
        schema, short = name.split(".")
        found = "select count(*) from information_schema.tables where table_schema = $schema and table_name = $name"
        return bool(self.value(found, schema=schema, name=short))

    @contextlib.contextmanager
    def spool(self) -> Iterator["Spool"]:
        """Give a place beside the database for rows that do not fit in memory; it is gone afterwards."""
        self.spool_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.spool_folder, ignore_cleanup_errors=True) as folder:
            spool = Spool(Path(folder) / "rows.parquet")
            try:
                yield spool
            finally:
                spool.close()

    @contextlib.contextmanager
    def spooled(self, sql: str, **params: Any) -> Iterator["Spool"]:
        """Read a query once to a spool, so that its rows can be gone through with the database free for others.

        The rows come in no particular order, whatever the query says: let it number them where order matters.
        """
        with self.spool() as spool:
            with self.get_connection(read_only=True) as connection:
                connection.execute(
                    "set preserve_insertion_order = false"
                )  # lets DuckDB write by bytes, in bounded memory
                rows = connection.sql(sql, params=params or None)
                rows.write_parquet(str(spool.path), compression="zstd", row_group_size_bytes=SPOOL_BYTES)
                connection.execute("reset preserve_insertion_order")
            yield spool

    def batches(self, sql: str, **params: Any) -> Iterator[pa.RecordBatch]:
        """Stream a query's rows, in no particular order, with the database free for others."""
        with self.spooled(sql, **params) as spool:
            yield from spool.batches()

    @contextlib.contextmanager
    def transaction(self, stage: str, run_id: str) -> Iterator["Commit"]:
        """Open one transaction; what is written in it is visible whole or not at all."""
        with self.get_connection() as connection:
            # Before the transaction: DuckDB (2.0) plans over large inserts into a table of the same transaction as if it were empty.
            _make_ledger(connection)
            connection.execute("begin")
            try:
                yield Commit(connection, stage, run_id)
                connection.execute("commit")
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # the error to be told is the first one
                    connection.execute("rollback")
                raise

    @contextlib.contextmanager
    def commit(
        self,
        context: "dg.AssetExecutionContext",
        config: "dg.Config",
        *,
        main: str,
        started: datetime,
        rows_in: int | None = None,
    ) -> Iterator["Commit"]:
        """Open the transaction in which a stage writes its tables, its decisions and its run row.

        main: the table whose rows are the records the stage hands on. rows_in: records it was given; by default as many.
        """
        stage = context.asset_key.to_user_string()
        code_version = context.assets_def.code_versions_by_key[context.asset_key] or "1"
        with self.transaction(stage, context.run_id) as commit:
            yield commit
            commit.write_run_row(run_account(stage, context.run_id, code_version, config), main, started, rows_in)


def run_account(stage: str, run_id: str, code_version: str, config: "dg.Config") -> dict[str, Any]:
    """What ledger.runs keeps of a stage's code and configuration."""
    settings = json.dumps(config.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return {
        "run_id": run_id,
        "stage": stage,
        "code_version": code_version,
        "config": settings,
        "config_hash": hashlib.sha256(f"{code_version}\n{settings}".encode()).hexdigest(),
    }


class Spool:
    """Rows on disk between reading, computing and committing: one Parquet file, written and read in batches."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append rows. Every batch has the schema of the first."""
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(
                self.path, batch.schema, compression="zstd", use_dictionary=False
            )
        self._writer.write(batch)
        self._written += len(batch)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._written if self._writer else pyarrow.parquet.read_metadata(self.path).num_rows

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows, once the first were written."""
        return self._writer.schema

    def close(self) -> None:
        """Finish the file, so that it can be read."""
        if self._writer is not None:
            self._writer.close()

    def batches(self, rows: int = SPOOL_ROWS, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows back, at most `rows` and, on average, at most `SPOOL_BYTES` at a time."""
        with pyarrow.parquet.ParquetFile(self.file()) as file:
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
            fitting = SPOOL_BYTES * max(1, file.metadata.num_rows) // max(1, size)
            for group in range(file.num_row_groups):  # over several groups at once, pyarrow holds on to all it has read
                yield from file.iter_batches(max(1, min(rows, fitting)), row_groups=[group], columns=columns)

    def file(self) -> Path:
        """The finished Parquet file, which `Commit.build` and `append` take as incoming.

        Raises ValueError if nothing was written.
        """
        self.close()
        if not self.path.exists():
            raise ValueError("nothing was written to the spool; write an empty batch so that it has a schema")
        return self.path


Incoming = pl.DataFrame | pa.Table | Path | None


class Commit:
    """What a stage writes, all of it or nothing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stage: str, run_id: str) -> None:
        self.connection = connection
        self.stage = stage
        self.run_id = run_id
        self.notes: dict[str, Any] = {}
        self.rows_dropped = 0
        self._secret = secrets.token_hex(32)  # what the nonces of this commit's decisions are made of; kept nowhere

    def build(
        self, name: str, incoming: Incoming = None, *, vector_column: tuple[str, int] | None = None, **params: Any
    ) -> None:
        """Build a table afresh from its file in sql/. vector_column (name, n) makes that FLOAT[] column FLOAT[n]."""
        table = tables()[name]
        self.connection.execute(f"create schema if not exists {name.split('.')[0]}")
        with self._incoming(incoming, table.incoming):
            self.connection.execute(f"create or replace table {name} as {table.sql}", params or None)
        if vector_column:
            column, size = vector_column
            # A type cannot be bound; `size` is an int from the model.
            self.connection.execute(f"alter table {name} alter {column} type float[{int(size)}]")

    def append(self, name: str, incoming: Incoming = None, **params: Any) -> None:
        """Append rows to a table from its file in sql/, making the table first if need be."""
        table = tables()[name]
        self.connection.execute(f"create schema if not exists {name.split('.')[0]}")
        with self._incoming(incoming, table.incoming):
            self.connection.execute(
                f"create table if not exists {name} as select * from ({table.sql}) limit 0", params or None
            )
            self.connection.execute(f"insert into {name} by name {table.sql}", params or None)

    def renew(self, name: str, incoming: Incoming, keys: tuple[str, ...], of: str, **params: Any) -> None:
        """Bring a table up to date: rows whose `keys` the table `of` no longer holds go, those made of `incoming` come."""
        table = tables()[name]
        if unknown := set(keys) - (set(table.columns) & set(_known(of).columns)):
            raise ValueError(f"{name} or {of} has no columns {sorted(unknown)}")
        key = ", ".join(keys)
        self.connection.execute(f"delete from {name} where ({key}) not in (select ({key}) from {of})")
        with self._incoming(incoming, table.incoming):
            self.connection.execute(f"insert into {name} by name {table.sql}", params or None)

    def append_absent(self, name: str, incoming: Incoming, keys: tuple[str, ...], **params: Any) -> None:
        """Append the rows of which the table has none with the same values in the columns `keys`, making it first if need be."""
        table = tables()[name]
        if unknown := set(keys) - set(table.columns):
            raise ValueError(f"{name} has no columns {sorted(unknown)}")
        self.connection.execute(f"create schema if not exists {name.split('.')[0]}")
        with self._incoming(incoming, table.incoming):
            self.connection.execute(
                f"create table if not exists {name} as select * from ({table.sql}) limit 0", params or None
            )
            self.connection.execute(
                f"insert into {name} by name select new.* from ({table.sql}) as new anti join {name} using ({', '.join(keys)})",
                params or None,
            )

    def append_new(self, name: str, incoming: Incoming, key: str, *beside: str, **params: Any) -> pl.DataFrame:
        """Append the rows whose key the table does not hold yet; return the keys of all, the columns `beside` them, and `is_new`."""
        table = tables()[name]
        self.connection.execute(f"create schema if not exists {name.split('.')[0]}")
        with self._incoming(incoming, table.incoming):
            self.connection.execute(f"create table if not exists {name} as select * from ({table.sql}) limit 0", params)
            self.connection.execute(
                f"create or replace temp table arriving as "
                f"select {', '.join((key, *beside))}, {key} not in (select {key} from {name}) as is_new from ({table.sql})",
                params,
            )
            self.connection.execute(
                f"insert into {name} select new.* from ({table.sql}) as new anti join {name} using ({key})", params
            )
        return self.connection.sql("from arriving").pl()

    def decide(self, incoming: Incoming = None, **params: Any) -> None:
        """Run the stage's decisions.sql: its verdicts go to ledger.decisions and, for records.sql, to `decided`.

        Where a person's verdict is in force on a record, it is the stage's.
        """
        table = tables()[f"{self.stage}.decisions"]
        with self._incoming(incoming, table.incoming):
            self.connection.execute(f"create or replace temp table decided as {table.sql}", params or None)
        self._override()
        self._append_decisions("select record_id, verdict, rule, value, threshold, matched_record_id from decided")
        self.rows_dropped = self.count("(select distinct record_id from decided where verdict = 'drop')")

    def keep_the_rest(self) -> None:
        """Record a keeping decision for every record of the stage's records that no verdict was written for."""
        self._append_decisions(
            "select record_id, 'keep' as verdict, if(record_id in (select record_id from overridden), 'override', null) as rule, "
            "null as value, null as threshold, null as matched_record_id "
            f"from {self.stage}.records where record_id not in (select record_id from decided)"
        )

    def record_overrides(self, started: datetime, decided_by: str) -> None:
        """Write the run row of entries just made: it holds their hashes, so that the chain shows an edited or removed one."""
        self.connection.execute(
            f"create or replace temp table entered as select entry_hash from {OVERRIDES} where run_id = $run_id",
            {"run_id": self.run_id},
        )
        hashed = self.connection.execute("from entered order by entry_hash").fetchall()
        self.notes = {"decided_by": decided_by, "entry_hashes": [entry_hash for (entry_hash,) in hashed]}
        account = {"run_id": self.run_id, "stage": self.stage, "code_version": "1", "config": "{}"}
        account["config_hash"] = hashlib.sha256(b"1\n{}").hexdigest()
        self.write_run_row(account, "entered", started, None)

    def _override(self) -> None:
        """Put the verdicts of people in the place of the rules', among the records the stage was given."""
        self.connection.execute(
            f"create or replace temp table overridden as select record_id, verdict from ({_overrides_in_force()}) "
            f"where record_id in (select record_id from {GIVEN[self.stage]}.records)"
        )
        self.connection.execute(
            "delete from decided where coalesce(rule, '') not in (select unnest($rules)) and not starts_with(coalesce(rule, ''), 'pii_') "
            "and not (rule = 'near_duplicate' and value >= 1) and record_id in (select record_id from overridden)",
            {"rules": list(NOT_OVERRIDDEN)},
        )
        self.connection.execute(
            "insert into decided by name select record_id, 'drop' as verdict, 'override' as rule from overridden "
            "where verdict = 'drop' and record_id not in (select record_id from decided)"
        )

    def has_table(self, name: str) -> bool:
        """Whether a table is there in this transaction."""
        schema, short = name.split(".")
        found = (
            "select count(*) from duckdb_tables() where database_name = current_database() "
            "and schema_name = $schema and table_name = $name"
        )
        return self.connection.execute(found, {"schema": schema, "name": short}).fetchall()[0][0] > 0

    def count(self, name: str) -> int:
        """Rows of a table as it stands in this transaction."""
        return self.connection.execute(f"select count(*) from {name}").fetchall()[0][0]

    def write_run_row(self, account: Mapping[str, Any], main: str, started: datetime, rows_in: int | None) -> None:
        """Write the stage's row to ledger.runs, the next link of its chain. Called by Warehouse.commit."""
        rows_out = self.count(main)
        rows_in = rows_out if rows_in is None else rows_in
        row = dict(account) | {
            "started_at": started,
            "finished_at": datetime.now(timezone.utc),
            "rows_in": rows_in,
            "rows_out": rows_out,
            "rows_dropped": self.rows_dropped,
            "notes": json.dumps(self.notes, ensure_ascii=False),
        }
        self.append("ledger.runs", pl.DataFrame([row | self._link()], infer_schema_length=None))
        logger.info(
            "%s: %s in, %s out, %s dropped",
            self.stage,
            *(f"{count:,}" for count in (rows_in, rows_out, self.rows_dropped)),
        )

    def _link(self) -> dict[str, Any]:
        """The hash over the decisions this stage has written in this run, and the link its run row is hung on."""
        question = (SQL / "audit" / "decisions_hash.sql").read_text(encoding="utf-8")
        written = {"run_id": self.run_id, "stage": self.stage, "last": None}
        hashed = self.connection.execute(question, written).fetchall()
        decisions, decisions_hash = hashed[0][2:4] if hashed else (0, None)
        counted = "select count(*) from ledger.decisions where run_id = $run_id and stage = $stage"
        if decisions != (
            there := self.connection.execute(counted, {"run_id": self.run_id, "stage": self.stage}).fetchall()[0][0]
        ):
            raise RuntimeError(
                f"{self.stage}: {there:,} decisions were written and {decisions:,} hashed; nothing is committed."
            )
        last = "select chain_position, chain_hash from ledger.runs where chain_position is not null order by chain_position desc limit 1"
        position, previous = (self.connection.execute(last).fetchall() or [(0, CHAIN_START)])[0]
        link = {"decisions": decisions, "decisions_hash": decisions_hash}
        return link | {"chain_position": position + 1, "previous_hash": previous}

    def _append_decisions(self, verdicts: str) -> None:
        self.connection.execute(f"create or replace temp view incoming as {verdicts}")
        decided = "select count(*) from ledger.decisions where run_id = $run_id and stage = $stage"
        written = {"run_id": self.run_id, "stage": self.stage}
        count = self.connection.execute(decided, written).fetchall()[0][0]
        self.connection.execute(
            f"insert into ledger.decisions by name {tables()['ledger.decisions'].sql}",
            {**written, "decided": count, "secret": self._secret},
        )
        self.connection.execute("drop view incoming")

    @contextlib.contextmanager
    def _incoming(self, incoming: Incoming, expected: tuple[str, ...]) -> Iterator[None]:
        """Let the select read `incoming`; its columns must be the ones the file's header names."""
        if incoming is None:
            yield
            return
        if isinstance(incoming, Path):
            names = pyarrow.parquet.read_schema(incoming).names
        else:
            names = list(incoming.columns) if isinstance(incoming, pl.DataFrame) else incoming.schema.names
        if sorted(names) != sorted(expected):
            raise ValueError(f"{self.stage}: the SQL file expects incoming{expected}, got {names}")
        if isinstance(incoming, Path):  # read by DuckDB itself, in bounded memory
            self.connection.read_parquet(str(incoming)).create_view("incoming")
            yield
            self.connection.execute("drop view incoming")
        else:
            self.connection.register(
                "incoming", incoming.to_arrow() if isinstance(incoming, pl.DataFrame) else incoming
            )
            yield
            self.connection.unregister("incoming")


def _make_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the ledger's tables, its view and the overrides where they are missing, and columns that an older database lacks."""
    connection.execute("create schema if not exists ledger; create schema if not exists overrides")
    has = dict(
        connection.execute(
            "select schema_name || '.' || table_name, list(column_name) from duckdb_columns() "
            "where database_name = current_database() group by all"
        ).fetchall()
    )
    for name in ("ledger.decisions", "ledger.runs", "ledger.redactions", OVERRIDES):
        table = tables()[name]
        if set(has.get(name, ())) == set(table.columns):
            continue  # as in nearly every transaction
        columns = ", ".join(f"null as {column}" for column in table.incoming)
        connection.execute(f"create or replace temp view incoming as select {columns}")
        params = dict.fromkeys(table.params) or None
        connection.execute(f"create table if not exists {name} as select * from ({table.sql}) limit 0", params)
        _add_missing_columns(connection, table, params)
    table = tables()["erasure.tombstones"]
    if set(has.get(table.name, table.columns)) != set(table.columns):
        connection.execute(
            f"create or replace temp view incoming as select {', '.join(f'null as {column}' for column in table.incoming)}"
        )
        _add_missing_columns(connection, table, None)
    connection.execute("drop view if exists incoming")
    connection.execute(f"create or replace view ledger.current_decisions as {tables()['ledger.current_decisions'].sql}")


def _overrides_in_force() -> str:
    return (SQL / "audit" / "overrides_in_force.sql").read_text(encoding="utf-8")


def _add_missing_columns(connection: duckdb.DuckDBPyConnection, table: Table, params: dict[str, Any] | None) -> None:
    """Give a table that an older version made the columns it has since got. There is a view `incoming`."""
    has = {column for column, *_ in connection.execute(f"describe {table.name}").fetchall()}
    if has != set(table.columns):
        described = connection.execute(f"describe {table.sql}", params).fetchall()
        for column, kind in ((column, kind) for column, kind, *_ in described if column not in has):
            connection.execute(f"alter table {table.name} add column {column} {kind}")


def _remove(database: Path) -> None:
    for path in (database, database.with_name(f"{database.name}.wal")):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk before going on."""
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content_hash(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[int, str]:
    schema = connection.sql(f"select * from {name} limit 0")
    parts = [
        f"hash({column})::varchar as {column}" if str(kind).startswith(("FLOAT[", "DOUBLE[")) else column
        for column, kind in zip(schema.columns, schema.types, strict=True)
        if column not in NOT_CONTENT and str(kind) != "TIMESTAMP WITH TIME ZONE"
    ]
    rows, high, low = connection.execute(
        "select count(*), coalesce(sum((h >> 64)::hugeint), 0), coalesce(sum((h & 18446744073709551615)::hugeint), 0) "
        f"from (select md5_number(to_json(t)::varchar)::uhugeint as h from (select {', '.join(parts)} from {name}) as t)"
    ).fetchall()[0]
    return rows, f"{high % 2**64:016x}{low % 2**64:016x}"


def _known(name: str) -> Table:
    """The table of that name: names that reach SQL as text are those of files in sql/, nothing else."""
    if name not in tables():
        raise ValueError(f"no file in sql/ builds a table {name}")
    return tables()[name]


@contextlib.contextmanager
def _attached(path: Path, settings: Mapping[str, Any], *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to the file, which is let go of at the end.

    The engine is kept for the next after a short use, unless something failed or it has spilled: then it takes for granted the folder that
    the next run, of whatever process, clears.
    """
    began = time.monotonic()
    key = repr(settings)
    engine = _idle_engines.pop(key, None) or duckdb.connect(config=dict(settings))
    connection = engine.cursor()  # takes what is registered, and tables that are temporary, with it
    try:
        quoted = str(path).replace("'", "''")  # a path cannot be bound here
        connection.execute(f"attach '{quoted}' as warehouse{' (read_only)' if read_only else ''}")
        connection.execute("use warehouse")
        yield connection
        connection.close()
        engine.execute("detach warehouse")
    except BaseException:
        connection.close()
        engine.close()
        raise
    with contextlib.suppress(KeyError):  # another thread, with another file, was quicker
        while _idle_engines:
            _idle_engines.popitem()[1].close()
    if time.monotonic() - began > SECONDS_OF_A_SHORT_USE or _has_spilled(engine):
        engine.close()
    else:
        _idle_engines[key] = engine


def _has_spilled(engine: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB has made temporary files: from then on it refuses another folder for them, be it the same."""
    folder = engine.execute("select current_setting('temp_directory')").fetchall()[0][0]
    try:
        engine.execute("set temp_directory = '{}'".format(folder.replace("'", "''")))  # a setting cannot be bound
    except duckdb.NotImplementedException:
        return True
    return False


@contextlib.contextmanager
def _waiting_for(lock: FileLock, why: str) -> Iterator[None]:
    _acquire(lock, why)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, why: str) -> None:
    try:
        lock.acquire(timeout=SECONDS_BEFORE_SAYING_WE_WAIT, poll_interval=0.02)
    except Timeout:
        logger.info("Waiting: %s (lock file %s).", why, lock.lock_file)
        lock.acquire(poll_interval=0.1)
