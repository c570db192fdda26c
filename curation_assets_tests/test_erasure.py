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
from conftest import TOKENS, VICTIM, label, materialize, materialize_unchecked
from typer.testing import CliRunner

from curation_assets import audit, erasure, erasure_plan, erasure_receipts, tombstones
from curation_assets.audit_chain import verify_ledger
from curation_assets.cli import app
from curation_assets.erase_command import to_build_again
from curation_assets.erasure_plan import Request
from curation_assets.labelling import journal
from curation_assets.labelling.desk import Desk
from curation_assets.pages import markdown_table
from curation_assets.releasing import material
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
    return erasure.erase(warehouse, erasure_plan.plan(warehouse, Request(**request)))


def curate(warehouse: Warehouse, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments, "--database", str(warehouse.path)])
    assert result.exit_code == code, result.output
    return result.output


def files_with(folders: list[Path], words: tuple[str, ...]) -> tuple[int, list[str]]:
    """How many files lie in some folders, and those in whose bytes one of some words stands."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [str(path) for path in files if any(word.encode() in path.read_bytes().lower() for word in words)]
    return len(files), found


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
    planned = erasure_plan.plan(warehouse, Request(ids=("victim-1",)))
    assert dict(planned.records.select("source_record_id", "why").iter_rows()) == {
        "victim-1": "named", "copy-1": "copy", "near-1": "near-duplicate", "made-1": "derived",
    }  # fmt: skip
    assert planned.labels == 1
    assert len(planned.releases) == 1
    narrow = erasure_plan.plan(warehouse, Request(ids=(victim,), reach="records"))
    assert (len(narrow.records), narrow.kept_copies, narrow.kept_near) == (1, 1, 2)
    assert not len(erasure_plan.plan(warehouse, Request(ids=("victim-1",), source="others")).records)
    assert len(erasure_plan.plan(warehouse, Request(license="CC-BY-4.0", reach="records")).records) == 63


def pages_of(home: Path, text: str, name: str = "raw") -> None:
    """A run in Dagster's history whose asset page, check and step's output show a text, as previews do."""
    cell = markdown_table(pl.DataFrame({"text": [text]}))

    @dg.asset(name=name)
    def page() -> dg.MaterializeResult:
        sys.stdout.write(cell)
        return dg.MaterializeResult(metadata={"preview": dg.MetadataValue.md(cell)})

    @dg.asset_check(asset=page, name="rows_are_sound")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, metadata={"examples": dg.MetadataValue.md(cell)})

    home.mkdir(exist_ok=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        job = dg.Definitions(assets=[page], asset_checks=[check]).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success


def test_nothing_of_an_erased_text_is_left_and_all_is_built_again(database, tmp_path, monkeypatch):
    warehouse, victim = database
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    words = (*TOKENS, victim)
    labelled = {
        "label_task": {"name": "t", "classes": [{"name": "a"}, {"name": "b"}]},
        "drift_report": {"since": "2020-01-01"},
    }
    assert materialize(warehouse, labelled, ["label_task", "expert_labels", "drift_report"]).success
    item = dict.fromkeys(tables()["label_queue.items"].incoming) | {
        "item_id": "i",
        "task": "t",
        "round": 1,
        "position": 1,
    }
    kept = "select record_id, text_hash from filtered.records where contains(lower(text), $word) limit 1"
    record, text_hash = warehouse.query(kept, word=TOKENS[0]).row(0)
    item |= {"record_id": record, "reason": "random"}
    warehouse.append("label_queue.items", pl.DataFrame([item]))
    warehouse.release_run()
    desk = Desk(warehouse)
    desk.refresh()
    assert TOKENS[0] in desk.view("somebody", "label").item.text.lower()
    act = label(victim, "before")
    path = journal.journal_path(warehouse)
    path.write_bytes(
        b"".join(orjson.dumps(row) + b"\n" for row in (act, act | {"label_id": "o", "record_id": "another"}))
    )
    assert "embeddings.cache.text_hash" in places_of(warehouse, text_hash)
    hashes = warehouse.query(
        "select text_hash from cleaned.records where contains(lower(text), $word)", word=TOKENS[0]
    )["text_hash"].to_list()
    pages_of(home, VICTIM)
    assert any(name.endswith("index.db") for name in files_with([home], words)[1])

    said = curate(warehouse, "erase", "--record", "victim-1", "--reason", "a request", "--yes")
    assert "4 records (1 named, 1 of the same text, 1 near-duplicates of them, 1 made from them)" in said
    assert "Withdrawn: " in said
    assert (
        "deleted 1 runs whose pages showed them, and the last pages of raw, 0 results of checks, 1 outputs of steps"
        in said
    )
    desk.refresh()  # as keep_current does when the database has changed
    assert desk.view("somebody", "label").item is None
    journal.write(warehouse, [label(victim, "after")])  # it was still on somebody's screen
    assert journal.fold(warehouse) == 0
    assert materialize(warehouse, {}, ["release"]).success
    warehouse.release_run()
    assert places_of(warehouse, *words, "victim-1", *hashes) == []
    files, found = files_with([warehouse.path.parent, home], words)
    assert files > 8
    assert found == []
    assert list(warehouse.path.parent.glob("releases/*/MANIFEST.json"))

    assert warehouse.rows("raw.records") == 60
    assert warehouse.value("select count(*) from curated_set.records") > 0
    assert warehouse.rows("clusters.profiles") > 0  # emptied, and built again
    assert warehouse.value("select count(*) from release.withdrawals") == 1
    assert set(warehouse.query("select label_id from expert_labels.labels")["label_id"]) == {"l-2", "o"}
    assert warehouse.value("select count(*) from ledger.decisions where starts_with(record_id, 'erased-')") >= 8
    assert warehouse.value("select count(*) from erasure.tombstones where kind = 'record'") == 4
    assert verify_ledger(warehouse) == []

    again = warehouse.query(
        "select stage, config from ledger.runs where finished_at > (select max(erased_at) from erasure.tombstones)"
    )
    settings = {stage: json.loads(config) for stage, config in again.iter_rows()}
    assert "expert_labels" in settings  # it held the record's label
    assert "label_task" not in settings
    assert settings["drift_report"]["since"] is None  # meant for one run
    assert settings["curated_set"]["budget_records"] == 61


def test_lexical_vectors_are_built_again_with_the_model_that_reads_them_and_only_then():
    ran = {"raw", "filtered", "label_task", "expert_labels", "label_model"}  # as an earlier version left a database
    assert to_build_again(ran, {"raw", "expert_labels"}) == [
        "filtered",
        "lexical_vectors",
        "expert_labels",
        "label_model",
    ]
    assert to_build_again(ran, {"raw"}) == ["filtered"]
    assert to_build_again(ran - {"label_model"}, {"expert_labels"}) == ["filtered", "expert_labels"]


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
                is_place = name in erasure_plan.REDACTED and not (
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
    materialize_unchecked(warehouse, {"raw": {"sources": [{"name": "again", "path": str(again)}]}}, ["raw"])
    rejects = warehouse.query("select source_row, reason, excerpt from raw.rejects where source = 'again'").rows()
    assert rejects == [(1, tombstones.REASON, "")]
    assert warehouse.value("select count(*) from raw.records where source = 'again'") == 1
    assert places_of(warehouse, TOKENS[0]) == []
    warehouse.release_run()
    tombstones.key_path(warehouse).unlink()
    with pytest.raises(tombstones.KeyMissingError, match="Put that file back"):
        warehouse.hold_for_run()


ARTICLE = "The ferry to the island stopped at nine. Nobody had told the keeper, who waited with his lamp until the morning came."
PAGE = (
    "<!DOCTYPE html><html><head><title>Ferry</title></head><body><article><h1>{}</h1><p>{}</p></article></body></html>"
)


def test_an_article_is_refused_in_other_markup_and_another_is_not(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "articles.duckdb"))
    folder = tmp_path / "site"
    folder.mkdir()
    first, second = ARTICLE.split(". ")
    (folder / "a.html").write_text(PAGE.format("The last ferry", f"{ARTICLE} An older ending."))
    (folder / "b.html").write_text(
        PAGE.format("Another thing", "The museum shows forty clocks, and all of them are late by a minute.")
    )
    ops = {"raw": {"sources": [{"name": "site", "path": str(folder), "kind": "html"}]}}
    materialize_unchecked(warehouse, ops, ["raw", "cleaned"])
    cached = warehouse.query("select text_hash, source_uri from cleaned.records")
    vectors = [
        {"text_hash": row[0], "model": "m", "revision": "r", "embedding": [1.0, 0.0]} for row in cached.iter_rows()
    ]
    warehouse.append("embeddings.cache", pl.DataFrame(vectors))
    (folder / "a.html").write_text(PAGE.format("The last ferry", ARTICLE))
    assert materialize(warehouse, {}, ["raw", "cleaned"]).success
    assert warehouse.rows("raw.records") == 3  # the older version is superseded, and in no table after raw
    now = warehouse.value("select record_id from cleaned.records where source_uri = 'a.html'")
    planned = erasure_plan.plan(warehouse, Request(ids=(now,)))
    assert planned.records["why"].sort().to_list() == ["named", "version"]
    erasure.erase(warehouse, planned)
    left = warehouse.query("select source_uri from embeddings.cache join cleaned.records using (text_hash)")
    assert (warehouse.rows("embeddings.cache"), left["source_uri"].to_list()) == (1, ["b.html"])

    again = tmp_path / "again.jsonl"
    texts = [
        f"<div>\n  <h2>The last ferry</h2><div class='x'>{first}.</div> <span>{second}</span></div>",  # other tags and spaces
        PAGE.format("The last&nbsp;ferry", ARTICLE.replace("T", "&#84;")),  # entities
        f"**The last ferry**\r\n\r\n*{ARTICLE}*",  # Markdown
        f"\ufeffTHE LAST FERRY\u2028{ARTICLE}",  # plain, in other case and lines
        PAGE.format("The last ferry", f"{ARTICLE} An older ending."),  # the superseded version
        PAGE.format("The first ferry", ARTICLE.replace("nine", "eight")),  # another article in the same markup
        "<p>The last ferry</p>",
    ]
    again.write_text("".join(json.dumps({"id": f"n-{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    materialize_unchecked(warehouse, {"raw": {"sources": [{"name": "again", "path": str(again)}]}}, ["raw"])
    assert warehouse.query("select source_record_id from raw.records where source = 'again' order by 1")[
        "source_record_id"
    ].to_list() == ["n-5", "n-6"]
    rejects = warehouse.query("select source_row, reason, excerpt from raw.rejects order by 1").rows()
    assert rejects == [(row, tombstones.REASON, "") for row in range(1, 6)]
    warehouse.release_run()
    for text in texts[:5]:
        assert "It was erased on" in curate(warehouse, "trace", "--text", text)


def test_a_withdrawn_source_or_licence_is_refused_until_it_is_allowed_again(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "licences.duckdb"))
    files = {name: tmp_path / f"{name}.jsonl" for name in ("mine", "yours")}

    def write(name: str, *rows: tuple[str, str, str]) -> None:
        files[name].write_text(
            "".join(json.dumps({"id": id, "text": text, "license": of}) + "\n" for id, text, of in rows)
        )

    def read() -> set[str]:
        sources = [{"name": name, "path": str(path)} for name, path in files.items()]
        materialize_unchecked(warehouse, {"raw": {"sources": sources}}, ["raw"])
        return set(warehouse.query("select source_record_id from raw.records")["source_record_id"])

    held, other = (
        ("a", "the first text of them all", "CC-BY-NC-4.0"),
        ("b", "a second text with other words", "CC0-1.0"),
    )
    write("mine", held, other)
    write("yours", ("c", "a third text from elsewhere", "CC0-1.0"))
    assert read() == {"a", "b", "c"}
    said = curate(
        warehouse, "erase", "--license", "cc-by-nc-4.0 ", "--yes", "--no-rebuild", "--reason", "its author asked"
    )
    assert "new records of licence 'cc-by-nc-4.0 ' will be refused" in said
    curate(warehouse, "erase", "--source", "yours", "--yes", "--no-rebuild")
    write(
        "mine",
        held,
        other,
        ("d", "a fourth text, under that licence", "CC-BY-NC-4.0"),
        ("e", "the fifth, free", "CC0-1.0"),
    )
    write("yours", ("f", "a sixth text of the withdrawn source", "CC0-1.0"))
    assert read() == {"b", "e"}
    rejects = warehouse.query("select source, source_row, reason, excerpt from raw.rejects order by 1, 2").rows()
    assert rejects == [
        ("mine", 1, tombstones.REASON_OF_LICENSE, ""),
        ("mine", 3, tombstones.REASON_OF_LICENSE, ""),
        ("yours", 1, tombstones.REASON_OF_SOURCE, ""),
    ]
    assert materialize(warehouse, {}, ["cleaned"]).success
    warehouse.release_run()

    def stated() -> str:
        curate(warehouse, "audit", "--out", str(tmp_path))
        summary = json.loads(next(tmp_path.glob("audit-*.json")).read_text())["training_content_summary"]
        return next(part for part in summary if part["title"].startswith("3."))["paragraphs"][0]

    assert "Withdrawn now: licence cc-by-nc-4.0 ; source yours." in stated()
    no_reason = ["erase", "--allow-again", "--source", "yours"]
    curate(warehouse, *no_reason, code=2)
    curate(warehouse, *no_reason[:-1], "mine", "--reason", "x", code=3)  # it is not withdrawn
    curate(
        warehouse, "erase", "--allow-again", "--license", "CC-BY-NC-4.0", "--yes", "--reason", "its author came round"
    )
    assert "Withdrawn now: source yours. Taken back: licence cc-by-nc-4.0 ." in stated()
    assert read() == {"a", "b", "d", "e"}  # the file did not change, and is read again
    assert verify_ledger(warehouse) == []
    curate(warehouse, "erase", "--record", "a", "--yes", "--no-rebuild")
    curate(warehouse, "erase", "--allow-again", "--source", "yours", "--yes", "--reason", "a mistake")
    assert read() == {"b", "d", "e", "f"}  # what was erased by its id stays refused
    assert warehouse.rows("erasure.receipts") == 5
    assert verify_ledger(warehouse) == []


def test_a_withdrawn_source_leaves_the_same_text_of_another(database, tmp_path):
    warehouse, _ = database
    erase(warehouse, source="texts", reach="records")
    assert warehouse.query("select source_record_id from raw.records")["source_record_id"].to_list() == ["copy-1"]
    both = tmp_path / "texts.jsonl"
    both.write_text(json.dumps({"id": "x", "text": VICTIM}) + "\n")
    sources = [{"name": name, "path": str(both)} for name in ("texts_again", "others_again")]
    materialize_unchecked(warehouse, {"raw": {"sources": sources}}, ["raw"])
    assert warehouse.value("select count(*) from raw.records") == 3  # another source may bring it
    refused = tombstones.refusals(warehouse, "texts")
    assert refused.is_withdrawn
    assert refused.key.hash("text", VICTIM, "texts") in refused.here
    assert not tombstones.refusals(warehouse, "others").is_withdrawn


@pytest.fixture
def small(tmp_path):
    """A database with what two sources hold, and a function that reads them once more and gives the owners' ids there are."""
    warehouse = Warehouse(database=str(tmp_path / "small.duckdb"))
    texts = {
        "mine": {"a": "the first text of them all", "b": "a second text with other words"},
        "yours": {"c": "a third"},
    }
    for name, rows in texts.items():
        lines = [json.dumps({"id": id, "text": text, "license": f"{name}-1.0"}) for id, text in rows.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    def read(*names: str) -> set[str]:
        sources = [{"name": name, "path": str(tmp_path / f"{name}.jsonl")} for name in names]
        materialize_unchecked(warehouse, {"raw": {"sources": sources}}, ["raw"])
        return set(warehouse.query("select source_record_id from raw.records")["source_record_id"])

    yield warehouse, read
    warehouse.release_run()


def test_labels_count_again_once_a_withdrawal_is_taken_back(small):
    warehouse, read = small
    read("mine")
    first, second = (
        warehouse.value("select record_id from raw.records where source_record_id = $id", id=id) for id in ("a", "b")
    )
    erase(warehouse, ids=("b",), reach="records")
    erase(warehouse, source="mine", reach="records")
    journal.write(warehouse, [label(first, "too late")])
    assert journal.fold(warehouse) == 0
    erasure.allow_again(warehouse, erasure.withdrawals(warehouse, "mine"), "back")
    warehouse.release_run()
    assert read("mine") == {"a"}
    assert first in set(warehouse.query("select record_id from raw.records")["record_id"])
    journal.write(warehouse, [label(first, "l-1"), label(second, "l-2")])
    warehouse.hold_for_run()  # takes erased records out of the journal
    assert b"l-1" in journal.journal_path(warehouse).read_bytes()
    assert b"l-2" not in journal.journal_path(warehouse).read_bytes()  # erased by its id as well
    journal.write(warehouse, [label(second, "l-3")])
    assert journal.fold(warehouse) == 1
    assert warehouse.query("select label_id from expert_labels.labels")["label_id"].to_list() == ["l-1"]


def test_who_asks_while_the_source_is_withdrawn_stays_out_when_it_is_back(small):
    warehouse, read = small
    read("mine", "yours")
    ours = warehouse.value("select record_id from raw.records where source_record_id = 'b'")
    curate(warehouse, "erase", "--source", "mine", "--yes", "--no-rebuild")
    assert "No record" in curate(warehouse, "erase", "--record", "nobody", "--yes", code=3)
    assert "No record" in curate(warehouse, "erase", "--record", "a", "--source", "yours", "--yes", code=3)
    said = curate(warehouse, "erase", "--record", "a", "--record", ours, "--yes", "--reason", "they asked")
    assert "2 records asked for are not here any more: a withdrawal took them out" in said
    assert "Refused for good: 2 records" in said
    assert "No record" in curate(warehouse, "erase", "--record", "a", "--yes", code=3)  # done already
    assert "It was erased on" in curate(warehouse, "trace", "a")
    curate(warehouse, "erase", "--allow-again", "--source", "mine", "--yes", "--reason", "back")
    assert read("mine") == {"c"}
    assert tombstones.erased_records(warehouse, [ours]) == {ours}
    assert verify_ledger(warehouse) == []


def test_what_an_erasure_left_is_out_of_date_until_it_is_built_again(small):
    warehouse, read = small

    def out_of_date() -> dict[str, bool]:
        return {row["stage"]: row["is_out_of_date"] for row in audit.funnel(warehouse).iter_rows(named=True)}

    read("mine", "yours")
    materialize_unchecked(warehouse, {}, ["cleaned"])
    erase(warehouse, source="nobody's")  # takes no record out
    assert out_of_date() == {"raw": False, "cleaned": False}
    erase(warehouse, ids=("a",))  # and a kill before anything was built again
    warehouse.release_run()
    assert out_of_date() == {"raw": False, "cleaned": True}
    assert material.ask(warehouse, "stages")["is_out_of_date"].to_list() == [False, True]
    materialize_unchecked(warehouse, {}, ["cleaned"])
    assert out_of_date() == {"raw": False, "cleaned": False}


def test_what_has_no_record_yet_can_be_withdrawn(small):
    warehouse, read = small
    read("yours")
    said = curate(warehouse, "erase", "--license", "MINE-1.0", "--yes")
    assert "No record here answers to that now" in said
    assert read("mine") == {"c"}
    assert "is withdrawn already" in curate(warehouse, "erase", "--license", "mine-1.0", "--yes")
    assert warehouse.query("select distinct reason from raw.rejects")["reason"].to_list() == [
        tombstones.REASON_OF_LICENSE
    ]
    curate(warehouse, "erase", "--allow-again", "--license", "mine-1.0", "--yes", "--reason", "settled")
    assert read("mine") == {"a", "b", "c"}
    assert verify_ledger(warehouse) == []


FORGET = """
import os, signal, sys
from pathlib import Path
import dagster as dg
from curation_assets import erasure, erasure_plan, warehouse as w
home, path = sys.argv[1:]
dg.DagsterInstance.wipe_assets = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
found = w.Warehouse(database=path)
erasure.erase(found, erasure_plan.plan(found, erasure_plan.Request(ids=("a",))), Path(home))
"""


def test_the_history_is_forgotten_first_and_what_a_kill_left_of_it_by_the_next_command(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    warehouse = Warehouse(database=str(tmp_path / "history.duckdb"))
    source = tmp_path / "texts.jsonl"
    page = f"<p><a href='/a'>The   last</a> ferry</p><p>{TOKENS[0]} {ARTICLE}</p>"
    rows = [{"id": "a", "text": page}, {"id": "short", "text": "yes?"}, {"id": "c", "text": "a third text of the file"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    materialize_unchecked(warehouse, {"raw": {"sources": [{"name": "texts", "path": str(source)}]}}, ["raw", "cleaned"])
    cleaned = warehouse.value("select text from cleaned.records where source_record_id = 'a'")
    for text, asset in ((cleaned, "cleaned"), (cleaned, "raw"), ("a third text of the file, which stays", "raw")):
        pages_of(home, text, asset)
    assert len(files_with([home], (TOKENS[0],))[1]) > 1
    environment = os.environ | {"PYTHONPATH": str(Path(erasure.__file__).parents[1])}
    command = [sys.executable, "-c", FORGET, str(home), str(warehouse.path)]
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert warehouse.rows("raw.records") == 3
    assert files_with([home], (TOKENS[0],))[1] != []  # the runs are gone; pages and results of checks are not
    assert warehouse.forgetting.exists()

    curate(warehouse, "funnel")
    assert not warehouse.forgetting.exists()
    assert files_with([home], (TOKENS[0],))[1] == []
    assert files_with([home], ("a third text",))[1] != []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [key.to_user_string() for key in instance.all_asset_keys()] == ["raw"]

    said = curate(warehouse, "erase", "--record", "a", "--record", "short", "--yes", "--no-rebuild")
    assert (
        "Too short to search for by their text: 1 records in tables that are no record's, 1 in Dagster's history"
        in said
    )
    receipt = json.loads(warehouse.value("select receipt from erasure.receipts"))
    assert receipt["too_short_to_search"] == {"tables": 1, "history": 1}
    assert receipt["history"]["searched"]


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
from curation_assets import erasure, erasure_plan, erasure_receipts, warehouse as w
place, path = sys.argv[1:]
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if place == "copying": erasure._copy_of_texts = kill
if place == "before the rename": w._sync = kill
if place == "after the rename":
    sync = w._sync
    w._sync = lambda path: kill() if path.is_dir() else sync(path)
if place == "receipt's file": erasure_receipts.receipts_folder = kill
found = w.Warehouse(database=path)
erasure.erase(found, erasure_plan.plan(found, erasure_plan.Request(ids=("victim-1",))))
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
        [sys.executable, "-c", KILL, place, str(warehouse.path)], env=environment, capture_output=True, timeout=600
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    warehouse.hold_for_run()
    assert not warehouse.rewriting.exists()
    assert not warehouse.spool_folder.exists()
    assert verify_ledger(warehouse) == []
    if is_done:
        assert places_of(warehouse, *TOKENS, victim) == []
        assert victim.encode() not in journal.read_bytes()
        assert len(list(erasure_receipts.receipts_folder(warehouse).glob("*.json"))) == 1
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
    stored = json.loads(next(erasure_receipts.receipts_folder(warehouse).glob("*.json")).read_text())
    assert stored == receipt
    keyed = tombstones.key(warehouse)
    assert erasure_receipts.sealed(keyed, stored["receipt"], stored["previous_receipt_hash"]) == receipt
    assert keyed.sign(stored["receipt_hash"]) != tombstones.Keyed(bytes(32)).sign(stored["receipt_hash"])
    mode = tombstones.key_path(warehouse).stat().st_mode & 0o777
    assert mode == 0o600
