"""Tampering with the ledger: whoever edits, removes, adds or reorders rows is found out, with run, stage and row."""

import json
import shutil

import duckdb
import pytest
from conftest import materialize, materialize_unchecked
from typer.testing import CliRunner

from curation_assets import erasure
from curation_assets.audit_chain import chain_head, ledger_lines, verify_ledger
from curation_assets.cli import app
from curation_assets.command_line import FAILED, USAGE
from curation_assets.erasure_plan import Request, plan
from curation_assets.erasure_receipts import receipts_folder
from curation_assets.tombstones import key_path
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
        sources = [{"name": "texts", "path": str(source), "license": "CC0-1.0"}]
        materialize_unchecked(warehouse, {"raw": {"sources": sources}}, ["raw", "cleaned", "deduped"])
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


@pytest.fixture(scope="module")
def erased(chained, tmp_path_factory):
    """The database after two erasures, of which the second withdraws a licence, and after that was taken back."""
    path = tmp_path_factory.mktemp("erased") / "erased.duckdb"
    shutil.copy(chained.path, path)
    warehouse = Warehouse(database=str(path))
    for request in (Request(ids=("2",)), Request(license="CC0-1.0")):
        erasure.erase(warehouse, plan(warehouse, request))
    erasure.allow_again(warehouse, erasure.withdrawals(warehouse), "a mistake")
    warehouse.release_run()
    return warehouse


@pytest.fixture
def receipts(erased, tmp_path):
    """A copy of that database with its receipts and key, to run statements on; gives the problems found and the names of the erasures."""
    path = tmp_path / "erased.duckdb"
    for file in erased.path.parent.iterdir():
        if not file.name.endswith(".lock"):
            (shutil.copytree if file.is_dir() else shutil.copy)(file, tmp_path / file.name)
    warehouse = Warehouse(database=str(path))
    named = warehouse.query("select erasure_id from erasure.receipts order by issued_at")["erasure_id"].to_list()

    def tamper(*statements):
        with duckdb.connect(str(path)) as connection:
            for statement in statements:
                for number, name in enumerate(named, start=1):
                    statement = statement.replace(f"ERASURE{number}", f"'{name}'")
                connection.execute(statement)
        return verify_ledger(warehouse)

    return warehouse, named, tamper


R, T = "erasure.receipts", "erasure.tombstones"
AFRESH = "receipt_hash = sha256(previous_receipt_hash || chr(10) || receipt::varchar)"
COUNTED = "replace(receipt::varchar, '\"records\":1', '\"records\":0')"
SWAPPED = f"update {R} set erasure_id = case erasure_id when ERASURE1 then ERASURE2 else ERASURE1 end where erasure_id <> ERASURE3"


@pytest.mark.parametrize(
    ("statements", "which", "words"),
    [
        ([f"update {R} set receipt = {COUNTED} where erasure_id = ERASURE1"], 1, "its receipt was edited"),
        (
            [f"update {R} set receipt = {COUNTED} where erasure_id = ERASURE1", f"update {R} set {AFRESH}"],
            1,
            "signature was not made with the key",
        ),
        (
            [f"update {R} set receipt = {COUNTED} where erasure_id = ERASURE1", f"update {R} set {AFRESH}"],
            1,
            "does not say what it said when its row of the chain was written",
        ),
        (
            [f"update {R} set receipt = {COUNTED} where erasure_id = ERASURE1", f"update {R} set {AFRESH}"],
            1,
            "its receipt counts other records",
        ),
        ([f"update {R} set signature = repeat('0', 64) where erasure_id = ERASURE2"], 2, "signature was not made"),
        (
            [f"update {R} set issued_at = issued_at - interval 1 day where erasure_id = ERASURE2"],
            2,
            "the columns of its row",
        ),
        ([f"delete from {R} where erasure_id = ERASURE1"], 1, "row 7 of the chain: its receipt is missing"),
        ([f"delete from {R} where erasure_id = ERASURE1"], 2, "the receipt before its own is not the one"),
        ([f"delete from {R} where erasure_id = ERASURE3"], 3, "its receipt is missing"),
        ([f"insert into {R} from {R} where erasure_id = ERASURE2"], 2, "it has more than one receipt"),
        ([SWAPPED], 1, "its receipt names another row of the chain"),
        ([SWAPPED], 2, "the receipt before its own is not the one"),
        (
            [f"update {T} set keyed_hash = reverse(keyed_hash) where erasure_id = ERASURE1 and position = 2"],
            1,
            "tombstone 2 was edited",
        ),
        (
            [f"update {T} set source = 'another' where erasure_id = ERASURE2 and position = 1"],
            2,
            "tombstone 1 was edited",
        ),
        ([f"delete from {T} where erasure_id = ERASURE1 and position = 3"], 1, "tombstone 3 is missing"),
        ([f"delete from {T} where erasure_id = ERASURE1"], 1, "tombstone 1 is missing"),
        (
            [f"insert into {T} select * replace (99 as position) from {T} where position = 1"],
            1,
            "tombstone 99 was (added|edited)",
        ),
        (
            [f"insert into {T} select * replace (null as position) from {T} limit 1"],
            1,
            "1 of its tombstones have no number",
        ),
        (
            [f"insert into {T} from {T} where erasure_id = ERASURE1 and position = 1"],
            1,
            "tombstone 1 is there more than once",
        ),
        (
            [f"update {T} set position = 3 - position where erasure_id = ERASURE1 and position < 3"],
            1,
            "tombstone [12] was edited",
        ),
        (
            [
                f"update {T} set reason = 'another' where erasure_id = ERASURE1 and position = 1",
                f"update {T} set row_hash = left(sha256(json_array(erasure_id, position, tombstone_id, kind, keyed_hash, key_id, source, "
                "reason, epoch_us(erased_at))::varchar), 16)",
            ],
            1,
            "rows were rewritten together with their short hashes",
        ),
        (["delete from erasure.lifted"], 3, "its rows of erasure.lifted are not those it wrote"),
        (["update erasure.lifted set erasure_id = ERASURE1"], 3, "its rows of erasure.lifted are not those it wrote"),
        (
            ["delete from ledger.runs where run_id = ERASURE3"],
            3,
            "the ledger was cut off or rewritten, or the receipt was added",
        ),
        (
            ["update ledger.runs set notes = '{\"redactions\":0}' where run_id = ERASURE1"],
            None,
            "its row in ledger.runs was edited",
        ),
    ],
)
def test_receipts_and_tombstones_that_were_touched_are_named(receipts, statements, which, words):
    import re

    _, named, tamper = receipts
    problems = tamper(*statements)
    told = f"Erasure {named[which - 1]}.*{words}" if which else words
    assert any(re.search(told, problem) for problem in problems), problems


def test_receipts_are_whole_and_their_files_and_signatures_are_held_to_them(receipts):
    warehouse, named, tamper = receipts
    assert tamper("select 1") == []
    assert "3 receipts of erasures, 20 tombstones; the signatures were checked" in ledger_lines(warehouse)[-1]
    folder = receipts_folder(warehouse)
    file, other = folder / f"{named[0]}.json", folder / "erasure-zz.json"
    file.write_text(file.read_text().replace('"records": 1', '"records": 2'))
    other.write_text("{}")
    problems = verify_ledger(warehouse)
    assert [problem.split(" in ")[0] for problem in problems] == [file.name, other.name]
    assert "is not the receipt that the database holds" in problems[0]
    assert "no such receipt is in the database" in problems[1]
    file.unlink()  # the next run writes it again
    other.unlink()
    key_path(warehouse).unlink()
    assert tamper("select 1") == []
    assert "signatures were not checked" in ledger_lines(warehouse)[-1]
    forged = tamper(f"update {R} set receipt = {COUNTED} where erasure_id = ERASURE1", f"update {R} set {AFRESH}")
    assert any("does not say what it said" in problem for problem in forged)  # also without the key


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
