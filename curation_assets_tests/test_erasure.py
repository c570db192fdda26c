"""Erasing records: nothing of them is left in any table, cache, journal or byte, and a kill leaves all or nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import orjson
import polars as pl
import pytest
from conftest import TOKENS, VICTIM, label, materialize
from typer.testing import CliRunner

from curation_assets import erasure, tombstones
from curation_assets.audit_chain import verify_ledger
from curation_assets.cli import app
from curation_assets.pages import markdown_table
from curation_assets.tables import tables
from curation_assets.warehouse import Warehouse


@pytest.fixture
def database(planted, tmp_path):
    """A copy of the planted database in a folder of its own, and the victim's record_id."""
    original, victim = planted
    copy = tmp_path / "copy" / "copy.duckdb"
    copy.parent.mkdir()
    shutil.copy(original.path, copy)
    warehouse = Warehouse(database=str(copy))
    yield warehouse, victim
    warehouse.release_run()


def erase(warehouse: Warehouse, **request) -> dict:
    return erasure.erase(warehouse, erasure.plan(warehouse, erasure.Request(**request)))


def places_of(warehouse: Warehouse, *words: str) -> list[str]:
    """Every table and column of the database in which one of some words stands, whatever its type."""
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() where not internal and database_name = current_database()"
        ).fetchall()
        return [
            f"{schema}.{table}.{column}"
            for schema, table, column in columns
            if connection.execute(
                (
                    f'select count(*) from "{schema}"."{table}" where len(list_filter($words, lambda word: '
                    f'contains(lower("{column}"::varchar), word))) > 0'
                ),
                {"words": list(words)},
            ).fetchall()[0][0]
        ]


def test_the_plan_finds_copies_near_duplicates_and_what_was_made_from_a_record(database):
    warehouse, victim = database
    planned = erasure.plan(warehouse, erasure.Request(ids=("victim-1",)))
    assert dict(planned.records.select("source_record_id", "why").iter_rows()) == {
        "victim-1": "named", "copy-1": "copy", "near-1": "near-duplicate", "made-1": "derived",
    }  # fmt: skip
    assert planned.labels == 1
    assert len(planned.releases) == 1
    narrow = erasure.plan(warehouse, erasure.Request(ids=(victim,), reach="records"))
    assert (len(narrow.records), narrow.kept_copies, narrow.kept_near) == (1, 1, 2)
    assert not len(erasure.plan(warehouse, erasure.Request(ids=("victim-1",), source="others")).records)
    assert len(erasure.plan(warehouse, erasure.Request(license="CC-BY-4.0", reach="records")).records) == 63


def page_of_victim(home: Path) -> None:
    """A run in Dagster's history whose asset page shows the victim, as previews do."""

    @dg.asset(name="raw")
    def page() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            metadata={"preview": dg.MetadataValue.md(markdown_table(pl.DataFrame({"text": [VICTIM]})))}
        )

    home.mkdir()
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([page], instance=instance).success
    assert any(TOKENS[0].encode() in path.read_bytes() for path in home.rglob("*.db"))


def test_nothing_of_an_erased_text_is_left_and_all_is_built_again(database, tmp_path, monkeypatch):
    warehouse, victim = database
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    journal = warehouse.path.with_name(f"{warehouse.path.name}.labels.jsonl")
    journal.write_bytes(
        b"".join(
            orjson.dumps(label(record, record), option=orjson.OPT_APPEND_NEWLINE) for record in (victim, "another")
        )
    )
    assert "cleaned.records.text" in places_of(warehouse, TOKENS[0])
    hashes = warehouse.query(
        "select text_hash from cleaned.records where contains(lower(text), $word)", word=TOKENS[0]
    )["text_hash"].to_list()

    page_of_victim(tmp_path / "home")

    result = CliRunner().invoke(
        app, ["erase", "--record", "victim-1", "--reason", "a request", "--yes", "--database", str(warehouse.path)]
    )
    assert result.exit_code == 0, result.output
    assert "4 records (1 named, 1 of the same text, 1 near-duplicates of them, 1 made from them)" in result.output
    assert "Withdrawn: " in result.output
    assert places_of(warehouse, *TOKENS, victim, "victim-1", *hashes) == []
    files = [
        path for folder in (warehouse.path.parent, tmp_path / "home") for path in folder.rglob("*") if path.is_file()
    ]
    assert len(files) > 8
    for path in files:
        content = path.read_bytes().lower()
        assert not any(word.encode() in content for word in (*TOKENS, victim)), path
    assert b"another" in journal.read_bytes()

    assert warehouse.rows("raw.records") == 60
    assert warehouse.value("select count(*) from curated_set.records") > 0
    assert warehouse.rows("clusters.profiles") > 0  # emptied, and built again
    assert warehouse.value("select count(*) from release.withdrawals") == 1
    assert warehouse.query("select label_id from expert_labels.labels")["label_id"].to_list() == ["l-2"]
    assert warehouse.value("select count(*) from ledger.decisions where starts_with(record_id, 'erased-')") >= 8
    assert warehouse.value("select count(*) from erasure.tombstones where kind = 'record'") == 4
    assert verify_ledger(warehouse) == []


def test_every_table_there_is_or_will_be_is_walked(database):
    """A row about the victim is put into every table that sql/ builds: its id, the hash of its text, its text in all else."""
    warehouse, victim = database
    text_hash = warehouse.value("select text_hash from cleaned.records where record_id = $id", id=victim)
    with duckdb.connect(str(warehouse.path)) as connection:
        for name, table in tables().items():
            if name in ("ledger.current_decisions", "raw.records", *erasure.NOT_SEARCHED) or (
                name.endswith(".decisions") and name != "ledger.decisions"
            ):
                continue
            connection.execute(f"create schema if not exists {name.split('.')[0]}")
            columns = ", ".join(f"{column} varchar" for column in table.columns)
            connection.execute(f"create table if not exists {name} ({columns})")
            row = {}
            for column, kind, *_ in connection.execute(f"describe {name}").fetchall():
                is_id = column == "record_id" or (
                    column.endswith("_record_id") and not column.endswith("source_record_id")
                )
                is_hash = column.endswith("text_hash")
                is_place = name in erasure.REDACTED and not (
                    is_id or is_hash
                )  # the rest of such a row says where it stands
                value = victim if is_id else text_hash if is_hash else "there" if is_place else VICTIM
                if kind in ("VARCHAR", "JSON", "VARCHAR[]"):
                    row[column] = json.dumps(value) if kind == "JSON" else [value] if kind == "VARCHAR[]" else value
            names = ", ".join(row)
            if not row:
                continue
            connection.execute(f"insert into {name} ({names}) values ({', '.join('?' * len(row))})", list(row.values()))
        connection.execute("create table main.notes_of_mine as select $text as remark", {"text": VICTIM})
    receipt = erase(warehouse, ids=("victim-1",))["receipt"]
    told = {place.split(":")[0] for place in receipt["found_elsewhere"]}
    assert "main.notes_of_mine.remark" in told
    left = set(places_of(warehouse, *TOKENS, victim, text_hash))
    assert left <= told
    keyed = {name for name, table in tables().items() if {"record_id", "text_hash"} & set(table.columns)}
    assert not {place for place in left if place.rsplit(".", 1)[0] in keyed}


def test_an_erased_text_is_refused_when_it_comes_again(database, tmp_path):
    warehouse, _ = database
    erase(warehouse, ids=("victim-1",))
    again = tmp_path / "again.jsonl"
    again.write_text(
        "".join(
            json.dumps({"id": n, "text": text}) + "\n"
            for n, text in enumerate([f" {VICTIM.title()}\n", "a new text of its own"])
        )
    )
    assert materialize(warehouse, {"raw": {"sources": [{"name": "again", "path": str(again)}]}}, ["raw"]).success
    rejects = warehouse.query("select source_row, reason, excerpt from raw.rejects where source = 'again'").rows()
    assert rejects == [(1, tombstones.REASON, "")]
    assert warehouse.value("select count(*) from raw.records where source = 'again'") == 1
    assert places_of(warehouse, TOKENS[0]) == []
    warehouse.release_run()
    tombstones.key_path(warehouse).unlink()
    with pytest.raises(tombstones.KeyMissingError, match="Put that file back"):
        warehouse.hold_for_run()


def test_a_withdrawn_source_leaves_the_same_text_of_another(database, tmp_path):
    warehouse, _ = database
    erase(warehouse, source="texts", reach="records")
    assert warehouse.query("select source_record_id from raw.records")["source_record_id"].to_list() == ["copy-1"]
    both = tmp_path / "texts.jsonl"
    both.write_text(json.dumps({"id": "x", "text": VICTIM}) + "\n")
    sources = [{"name": name, "path": str(both)} for name in ("texts_again", "others_again")]
    assert materialize(warehouse, {"raw": {"sources": sources}}, ["raw"]).success
    assert warehouse.value("select count(*) from raw.records") == 3  # another source may bring it
    refused = tombstones.refusals(warehouse, "texts")
    assert refused.key.hash("text", VICTIM, "texts") in refused.here


def test_erasing_twice_keeps_the_chain_whole_and_an_edited_tombstone_shows(database):
    warehouse, _ = database
    first = erase(warehouse, ids=("near-1",), reach="records")
    second = erase(warehouse, ids=("victim-1",), reach="copies")
    assert second["previous_receipt_hash"] == first["receipt_hash"]
    assert verify_ledger(warehouse) == []
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("update ledger.decisions set verdict = 'keep' where starts_with(record_id, 'erased-')")
    assert any("edited" in problem for problem in verify_ledger(warehouse))


KILL = """
import os, signal, sys
from curation_assets import erasure, warehouse as w
place, path = sys.argv[1:]
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if place == "copying": erasure._copy_of_texts = kill
if place == "before the rename": w._sync = kill
if place == "after the rename":
    sync = w._sync
    w._sync = lambda path: kill() if path.is_dir() else sync(path)
if place == "receipt's file": erasure.receipts_folder = kill
found = w.Warehouse(database=path)
erasure.erase(found, erasure.plan(found, erasure.Request(ids=("victim-1",))))
"""


@pytest.mark.parametrize(
    ("place", "is_done"),
    [
        ("copying", False),
        ("before the rename", False),
        ("after the rename", True),
        ("receipt's file", True),
    ],
)
def test_a_kill_leaves_all_or_nothing_and_the_next_start_finishes_it(database, place, is_done):
    warehouse, victim = database
    journal = warehouse.path.with_name(f"{warehouse.path.name}.labels.jsonl")
    journal.write_bytes(orjson.dumps(label(victim, "l-9")) + b"\n" + orjson.dumps(label("another", "l-8")) + b"\n")
    environment = os.environ | {"PYTHONPATH": str(Path(erasure.__file__).parents[1])}
    killed = subprocess.run(
        [sys.executable, "-c", KILL, place, str(warehouse.path)], env=environment, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    warehouse.hold_for_run()
    assert not warehouse.rewriting.exists()
    assert not warehouse.spool_folder.exists()
    assert verify_ledger(warehouse) == []
    if is_done:
        assert places_of(warehouse, *TOKENS, victim) == []
        assert victim.encode() not in journal.read_bytes()
        assert len(list(erasure.receipts_folder(warehouse).glob("*.json"))) == 1
    else:
        assert "raw.records.text" in places_of(warehouse, TOKENS[0])
        assert victim.encode() in journal.read_bytes()
        assert erase(warehouse, ids=("victim-1",))["receipt"]["records"] == 4
        assert places_of(warehouse, *TOKENS, victim) == []
    assert b"l-8" in journal.read_bytes()


def test_the_receipt_s_signature_needs_the_key(database):
    warehouse, _ = database
    warehouse.path.chmod(0o640)
    receipt = erase(warehouse, ids=("near-1",), reach="records")
    assert warehouse.path.stat().st_mode & 0o777 == 0o640
    stored = json.loads(next(erasure.receipts_folder(warehouse).glob("*.json")).read_text())
    assert stored == receipt
    keyed = tombstones.key(warehouse)
    assert erasure.sealed(keyed, stored["receipt"], stored["previous_receipt_hash"]) == receipt
    assert keyed.sign(stored["receipt_hash"]) != tombstones.Keyed(bytes(32)).sign(stored["receipt_hash"])
    mode = tombstones.key_path(warehouse).stat().st_mode & 0o777
    assert mode == 0o600
