"""Tampering with the ledger: whoever edits, removes, adds or reorders rows is found out, with run, stage and row."""

import json
import shutil

import duckdb
import pytest
from conftest import materialize
from typer.testing import CliRunner

from curation_assets.audit_chain import chain_head, ledger_lines, verify_ledger
from curation_assets.cli import app
from curation_assets.command_line import FAILED, USAGE
from curation_assets.warehouse import Warehouse

TEXTS = ["a first text of some words", "a first text of some words", "another text, on its own", "the fourth one"]


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """A database after two runs up to deduped."""
    folder = tmp_path_factory.mktemp("chained")
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    warehouse = Warehouse(database=str(folder / "chained.duckdb"))
    for _ in range(2):
        sources = [{"name": "texts", "path": str(source)}]
        assert materialize(warehouse, {"raw": {"sources": sources}}, ["raw", "cleaned", "deduped"]).success
    warehouse.release_run()
    return warehouse


@pytest.fixture
def tampered(chained, tmp_path):
    """A copy of the database that statements can be run on behind the ledger's back."""
    path = tmp_path / "tampered.duckdb"
    shutil.copy(chained.path, path)
    warehouse = Warehouse(database=str(path))

    def tamper(*statements):
        with duckdb.connect(str(path)) as connection:
            for statement in statements:
                connection.execute(statement)
        return verify_ledger(warehouse)

    return tamper


def test_a_ledger_that_nobody_touched_is_whole(chained, tampered):
    assert verify_ledger(chained) == []
    assert verify_ledger(chained, head=chain_head(chained)) == []
    assert "6 runs of stages with 16 decisions are chained" in ledger_lines(chained)[0]
    assert tampered("select 1") == []
    assert (
        tampered(
            "create table copy as from ledger.decisions order by value",
            "delete from ledger.decisions",
            "insert into ledger.decisions from copy",
        )
        == []
    )


LATEST = "(select max_by(run_id, finished_at) from ledger.runs)"
ONE = f"stage = 'deduped' and position = 2 and run_id = {LATEST}"


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([f"update ledger.decisions set verdict = 'drop' where {ONE}"], "row 2 of its decisions .*edited"),
        (
            [f"update ledger.decisions set value = value + 1e-9 where {ONE.replace('2', '1')}"],
            "row 1 of its decisions .*edited",
        ),
        (
            [f"update ledger.decisions set record_id = reverse(record_id) where {ONE}"],
            "row 2 of its decisions .*edited",
        ),
        ([f"delete from ledger.decisions where {ONE}"], "row 2 of its decisions: is missing"),
        (
            ["delete from ledger.decisions where stage = 'deduped' and position = 4"],
            "row 4 of its decisions: is missing",
        ),
        (
            [f"insert into ledger.decisions from ledger.decisions where {ONE}"],
            "row 2 of its decisions: is there more than once",
        ),
        (
            [f"insert into ledger.decisions select * replace (9 as position) from ledger.decisions where {ONE}"],
            "row 9 of its decisions: was added",
        ),
        (
            [f"insert into ledger.decisions select * replace (null as position) from ledger.decisions where {ONE}"],
            "1 rows of ledger.decisions have no number",
        ),
        (
            [
                f"update ledger.decisions set position = 5 - position where stage = 'deduped' and position in (2, 3) and run_id = {LATEST}"
            ],
            "row 3 of its decisions .*moved",
        ),
        (
            [f"update ledger.runs set rows_dropped = 0 where stage = 'deduped' and run_id = {LATEST}"],
            "stage deduped, row 6.*was edited",
        ),
        (
            ["update ledger.runs set config = '{}' where chain_position = 2"],
            "stage cleaned, row 2 of the chain: its row in ledger.runs was edited",
        ),
        (["delete from ledger.runs where chain_position = 3"], "stage raw, row 4 of the chain: 1 row is missing"),
        (
            ["update ledger.runs set chain_position = 5 - chain_position where chain_position in (2, 3)"],
            "row 2 of the chain: the row",
        ),
        (
            [
                "insert into ledger.runs select * replace (null as chain_position, now() as finished_at) from "
                "ledger.runs limit 1"
            ],
            "not in the chain: it was added",
        ),
        (
            [
                "insert into ledger.redactions select 'e', run_id, stage, position, 'x', 'y', now() from "
                "ledger.decisions limit 1"
            ],
            "Erasure e: .*were added",
        ),
    ],
)
def test_what_was_done_to_a_row_is_found_and_named(tampered, statements, words):
    import re

    problems = tampered(*statements)
    assert any(re.search(words, problem) for problem in problems), problems


def test_a_row_rewritten_with_its_hash_is_found_by_its_run(tampered):
    from curation_assets.tables import SQL

    afresh = (SQL / "audit" / "decision_hashes.sql").read_text().replace("$run_id", "null").replace("$stage", "null")
    problems = tampered(
        f"update ledger.decisions set rule = 'another' where {ONE}",
        f"update ledger.decisions as d set row_hash = ('0x' || left(h.counted_as, 16))::ubigint from ({afresh}) as h "
        "where h.run_id = d.run_id and h.stage = d.stage and h.position = d.position",
    )
    assert len(problems) == 1
    assert "stage deduped: its decisions are not those it committed" in problems[0]


def test_a_ledger_cut_off_at_its_end_shows_only_against_a_hash_noted_elsewhere(chained, tampered, tmp_path):
    cut = f"where run_id = {LATEST}"
    assert (
        tampered(
            f"create table last as select {LATEST} as run_id",
            f"delete from ledger.decisions {cut}",
            "delete from ledger.runs where run_id in (from last)",
        )
        == []
    )
    problems = verify_ledger(Warehouse(database=str(tmp_path / "tampered.duckdb")), head=chain_head(chained))
    assert "cut off or rewritten" in problems[0]


def test_the_command_says_what_is_wrong_and_fails(chained, tampered, tmp_path):
    whole = CliRunner().invoke(app, ["verify", "--ledger", "--database", str(chained.path)])
    assert (whole.exit_code, "Every chained row is as it was written" in whole.output) == (0, True)
    tampered(f"delete from ledger.decisions where {ONE}")
    broken = CliRunner().invoke(app, ["verify", "--ledger", "--database", str(tmp_path / "tampered.duckdb")])
    assert (broken.exit_code, "row 2 of its decisions: is missing" in broken.output) == (FAILED, True)
    assert CliRunner().invoke(app, ["verify"]).exit_code == USAGE


def test_rows_from_before_the_chain_are_told_and_the_next_run_begins_it(chained, tmp_path):
    path = tmp_path / "older.duckdb"
    shutil.copy(chained.path, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("drop view ledger.current_decisions")
        connection.execute("drop table ledger.redactions")
        for column in ("position", "nonce", "row_hash"):
            connection.execute(f"alter table ledger.decisions drop column {column}")
        for column in ("decisions", "decisions_hash", "chain_position", "previous_hash", "chain_hash"):
            connection.execute(f"alter table ledger.runs drop column {column}")
    warehouse = Warehouse(database=str(path))
    assert verify_ledger(warehouse) == []
    assert "before the chain began" in ledger_lines(warehouse)[0]
    assert materialize(warehouse, {}, ["deduped"]).success
    assert verify_ledger(warehouse) == []
    assert "1 runs of stages with 4 decisions are chained" in ledger_lines(warehouse)[0]
    assert "6 runs of stages with 16 decisions are rows before the chain began" in ledger_lines(warehouse)[2]
    warehouse.release_run()


def test_a_chain_whose_numbers_were_taken_out_is_no_ledger_from_before_the_chain(tampered):
    assert "no chain" in tampered("update ledger.runs set chain_position = null")[0]
