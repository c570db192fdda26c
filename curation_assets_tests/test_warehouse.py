"""The database under fire: exceptions, kills, company. Whatever happens, it holds the old version or the new one, whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import dagster as dg
import duckdb
import polars as pl
import pytest
from filelock import FileLock, Timeout

from curation_assets.tables import tables
from curation_assets.warehouse import NoSuchDatabaseError, Warehouse, _idle_engines

RUN = [sys.executable, "-m", "curation_assets.cli", "run"]


def command(tmp_path, *arguments):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    environment = os.environ | {"DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    return {"args": [*RUN, "--database", str(tmp_path / "c.duckdb"), *arguments], "env": environment, "text": True}


def texts_file(tmp_path, name, rows):
    path = tmp_path / f"{name}.jsonl"
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi"]
    lines = [
        {"id": i, "text": " ".join(f"{words[(i * 7 + k * k) % 13]}{(i * 31 + k) % 97}" for k in range(30))}
        for i in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_commit_that_raises_leaves_nothing_behind(warehouse):
    arriving = pl.DataFrame({"batch_id": ["one"], "record_id": ["a"]})
    with warehouse.transaction("raw", "run-1") as commit:
        commit.append("raw.batch_records", arriving)
    with pytest.raises(RuntimeError), warehouse.transaction("raw", "run-2") as commit:
        commit.append("raw.batch_records", arriving.with_columns(batch_id=pl.lit("two")))
        raise RuntimeError
    assert warehouse.query("select batch_id from raw.batch_records")["batch_id"].to_list() == ["one"]


def test_incoming_columns_must_be_those_the_sql_file_names(warehouse):
    with pytest.raises(ValueError, match="expects incoming"), warehouse.transaction("raw", "run") as commit:
        commit.append("raw.batch_records", pl.DataFrame({"id": ["a"]}))


def test_reading_a_database_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(NoSuchDatabaseError, match="curate run"):
        Warehouse(database=str(tmp_path / "none.duckdb")).query("select 1")


def test_what_is_read_together_shares_a_connection_and_writers_wait_for_its_end(warehouse):
    reject = pl.DataFrame([dict.fromkeys(tables()["raw.rejects"].incoming)])
    warehouse.append("raw.rejects", reject, source="s")
    with warehouse.reading():
        assert warehouse.rows("raw.rejects") == 1
        with warehouse.get_connection(read_only=True) as one, warehouse.get_connection(read_only=True) as other:
            assert (
                one.execute("select 1").fetchall() == other.execute("select 1").fetchall()
            )  # one does not close the other
        with pytest.raises(Timeout), FileLock(f"{warehouse.path}.lock", timeout=0):
            pass
        with pytest.raises(RuntimeError, match="after its end"):  # this thread would wait for itself
            warehouse.append("raw.rejects", reject, source="s")
    with FileLock(f"{warehouse.path}.lock", timeout=0):
        pass
    warehouse.append("raw.rejects", reject, source="s")
    assert warehouse.rows("raw.rejects") == 2


def test_one_connection_leaves_the_file_free_and_nothing_behind_for_the_next(warehouse):
    with warehouse.get_connection() as connection:
        connection.register("incoming", pl.DataFrame({"a": [1]}).to_arrow())
        connection.execute("create table kept as from incoming; create temp table passing as from incoming")
    with warehouse.spooled("select a from kept"), duckdb.connect(str(warehouse.path)) as another:
        assert another.sql("from kept").fetchall() == [(1,)]
    for gone in ("from incoming", "from passing"):
        with pytest.raises(duckdb.CatalogException):
            warehouse.query(gone)
    assert warehouse.value("select current_setting('preserve_insertion_order')")
    with pytest.raises(duckdb.BinderException), warehouse.transaction("raw", "run") as commit:
        commit.connection.execute("create table half as select 1 as a; select b from half")
    assert warehouse.query("from duckdb_tables() where not internal")["table_name"].to_list().count("half") == 0
    elsewhere = Warehouse(database=str(warehouse.path.with_name("other.duckdb")), memory_limit="200MB")
    elsewhere.append("raw.batch_records", pl.DataFrame({"batch_id": ["one"], "record_id": ["a"]}))
    assert warehouse.value("select current_setting('memory_limit')") != elsewhere.value(
        "select current_setting('memory_limit')"
    )


def test_an_engine_is_kept_after_a_short_use_only(warehouse, monkeypatch):
    warehouse.append("raw.batch_records", pl.DataFrame({"batch_id": ["one"], "record_id": ["a"]}))
    for seconds, kept in ((3600, 1), (0, 0)):
        monkeypatch.setattr("curation_assets.warehouse.SECONDS_OF_A_SHORT_USE", seconds)
        assert warehouse.rows("raw.batch_records") == 1
        assert len(_idle_engines) == kept


def test_what_spills_does_so_again_when_the_run_of_another_process_has_cleared_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("curation_assets.warehouse.SECONDS_OF_A_SHORT_USE", 3600)
    warehouse = Warehouse(
        database=str(tmp_path / "small.duckdb"), memory_limit="80MB", connection_config=(("threads", 1),)
    )
    spilling = "create temp table z as select hash(i)::varchar || hash(i + 1)::varchar as s from range(2000000) as t(i) order by s"
    for _ in range(2):
        with warehouse.get_connection() as connection:
            connection.execute(spilling)
            assert connection.execute("select count(*) from duckdb_temporary_files()").fetchall()[0][0]
        shutil.rmtree(warehouse.spool_folder, ignore_errors=True)


def test_names_that_no_sql_file_knows_never_reach_the_database(warehouse):
    with pytest.raises(ValueError, match="no file in sql/"):
        warehouse.rows("raw.records; drop table raw.records")


def test_threads_of_one_process_queue_for_the_file(warehouse):
    def append(name):
        for _ in range(5):
            warehouse.append("raw.batch_records", pl.DataFrame({"batch_id": [name], "record_id": [name]}))

    threads = [threading.Thread(target=append, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.rows("raw.batch_records") == 20


def rows_so_far(warehouse, table) -> int:
    if not warehouse.path.exists():
        return 0
    with warehouse.reading():
        return warehouse.rows(table) if warehouse.has_table(table) else 0


def test_a_kill_in_the_middle_of_embeddings_costs_at_most_a_chunk(tmp_path):
    source = texts_file(tmp_path, "texts", 200)
    recipe = tmp_path / "recipe.yaml"
    config = {
        "raw": {"config": {"sources": [{"name": "texts", "path": str(source)}]}},
        "filtered": {"config": {"rule_sets": []}},
        "embeddings": {"config": {"chunk_texts": 16, "precision": "fp32"}},
    }
    recipe.write_text(json.dumps({"ops": config}), encoding="utf-8")
    options = command(tmp_path, "--recipe", str(recipe), "--select", "raw,cleaned,deduped,filtered,embeddings")
    warehouse = Warehouse(database=str(tmp_path / "c.duckdb"))
    with subprocess.Popen(**options, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 900  # to end on a machine where it never gets there
        # Seldom at first: each look holds the database, and the run is to get on.
        for table, rows, seconds in (("filtered.records", 1, 1.0), ("embeddings.cache", 32, 0.2)):
            while process.poll() is None and time.monotonic() < deadline and rows_so_far(warehouse, table) < rows:
                time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    done = warehouse.rows("embeddings.cache")
    assert 32 <= done < 200
    assert done % 16 == 0
    assert not warehouse.has_table("embeddings.vectors")

    subprocess.run(**options, check=True, capture_output=True)
    embedded = warehouse.value(
        "select (notes ->> 'texts_embedded')::int as n from ledger.runs where stage = 'embeddings'"
    )
    assert embedded <= 200 - done
    counts = warehouse.query(
        "select count(*) as rows, count(distinct record_id) as records, (select count(*) from embeddings.cache) as cached, "
        "(select count(distinct text_hash) from embeddings.cache) as texts from embeddings.vectors"
    ).row(0)
    assert counts == (200, 200, 200, 200)
    # The killed run does not stay "started" in the history, where it would hold a place in the queue.
    with dg.DagsterInstance.from_config(options["env"]["DAGSTER_HOME"]) as instance:
        assert sorted(run.status.value for run in instance.get_runs()) == ["FAILURE", "SUCCESS"]


def test_two_runs_at_once_both_finish_and_the_ledger_holds_both(tmp_path):
    runs = [
        subprocess.Popen(
            **command(tmp_path, "--source", str(texts_file(tmp_path, name, 30)), "--select", "raw,cleaned,deduped"),
            stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    for run in runs:
        _, errors = run.communicate(timeout=900)
        assert run.returncode == 0, errors
    warehouse = Warehouse(database=str(tmp_path / "c.duckdb"))
    assert warehouse.rows("raw.records") == 60
    assert warehouse.value("select count(distinct run_id) as n from ledger.runs where stage = 'deduped'") == 2
    # One run worked after the other: their stages do not interleave.
    order = warehouse.query("select run_id from ledger.runs order by finished_at")["run_id"].rle()
    assert len(order) == 2


def test_a_failing_critical_check_stops_what_comes_after_it(tmp_path, warehouse):
    from curation_assets.stages.cleaned import cleaned
    from curation_assets.stages.raw import raw

    @dg.asset_check(asset=raw, blocking=True)
    def broken_promise(warehouse: Warehouse) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    source = {"name": "x", "path": str(texts_file(tmp_path, "x", 3))}
    definitions = dg.Definitions(
        [raw, cleaned],
        asset_checks=[broken_promise],
        resources={"warehouse": warehouse},
        executor=dg.in_process_executor,
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config={
            "ops": {"raw": {"config": {"sources": [source]}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )
    assert not result.success
    assert warehouse.rows("raw.records") == 3
    assert not warehouse.has_table("cleaned.records")


def test_the_hash_of_a_table_is_of_what_it_holds_not_of_order_time_or_place(warehouse):
    def hashed(rows):
        with warehouse.transaction("test", "run") as commit:
            commit.connection.execute("create schema if not exists embeddings")
            commit.connection.execute(
                f"create or replace table embeddings.vectors as select * from (values {rows}) as t(record_id, embedding, run_id, made_at)"
            )
            commit.connection.execute("alter table embeddings.vectors alter embedding type float[2]")
            commit.connection.execute("alter table embeddings.vectors alter made_at type timestamptz")
        return warehouse.content_hashes(["embeddings.vectors"])["embeddings.vectors"]

    first = hashed("('a', [1, 2], 'r', '2020-01-01'), ('b', [3, 4], 'r', '2020-01-01')")
    assert first[0] == 2
    assert hashed("('b', [3, 4], 's', '2021-01-01'), ('a', [1, 2], 's', '2020-01-01')") == first
    others = [
        "('a', [1, 2], 'r', '2020-01-01'), ('b', [3, 5], 'r', '2020-01-01')",
        "('a', [3, 4], 'r', '2020-01-01'), ('b', [1, 2], 'r', '2020-01-01')",
        "('a', [1, 2], 'r', '2020-01-01'), ('b', [3, 4], 'r', '2020-01-01'), ('b', [3, 4], 'r', '2020-01-01')",
        "('a', [1, 2], 'r', '2020-01-01'), (null, [3, 4], 'r', '2020-01-01')",
    ]
    assert len({first, *map(hashed, others)}) == 5
    with pytest.raises(ValueError, match="no file in sql/"):
        warehouse.content_hashes(["embeddings.vectors; drop table x"])
