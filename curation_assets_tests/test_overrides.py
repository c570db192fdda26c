"""What a person decides on single records holds in every stage, says who and why, and can be taken back."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import materialize_unchecked
from typer.testing import CliRunner

from curation_assets import overrides
from curation_assets.audit_chain import verify_ledger
from curation_assets.cli import app
from curation_assets.tables import SQL
from curation_assets.warehouse import Warehouse

STAGES = ["raw", "cleaned", "deduped", "filtered"]
STORY = "On the first morning of the fair the baker of the village opened her door to find the whole square white and nobody about."


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A database with six texts up to filtered, and its settings."""
    texts = {
        "short": "Too short.",
        "fine": f"{STORY} She swept the step and lit the lamp, for the bread had to be sold on that day and on no other. "
        "By noon they had all come, with sledges and with children, and not one loaf was left to be sold to the people of the mill.",
        "copy": STORY + " It was a Monday.",
        "copied": STORY + " It was a Friday.",
        "twin": "Exactly the same words as its twin has.",
        "twin-too": "Exactly the same words as its twin has.",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("overrides")
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    ops = {"raw": {"sources": [{"name": "texts", "path": str(source)}]}, "filtered": {"rule_sets": ["gopher_quality"]}}
    warehouse = Warehouse(database=str(folder / "curation.duckdb"))
    materialize_unchecked(warehouse, ops, STAGES)
    return warehouse, ops


@pytest.fixture
def corpus(read, warehouse):
    """Fill the test's database with a copy of it; gives the settings."""
    built, ops = read
    shutil.copy(built.path, warehouse.path)
    return deepcopy(ops)


@pytest.fixture
def rewritten(corpus):
    """The file of the texts, which gets its content back."""
    path = Path(corpus["raw"]["sources"][0]["path"])
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def said(warehouse, *arguments):
    return CliRunner().invoke(app, ["override", *arguments, "--database", str(warehouse.path)])


def path_of(warehouse, record):
    return CliRunner().invoke(app, ["trace", record, "--database", str(warehouse.path)]).stdout


def kept(warehouse, stage="filtered"):
    return set(warehouse.query(f"select source_record_id as id from {stage}.records")["id"])


def test_a_verdict_holds_from_the_next_run_on_and_can_be_taken_back(warehouse, corpus, tmp_path):
    corpus["filtered"]["short_text_median_words"] = 0
    materialize_unchecked(warehouse, corpus, ["filtered"])
    before = kept(warehouse)
    assert "short" not in before and "fine" in before
    warehouse.release_run()
    for arguments in (["short", "keep"], ["fine", "drop"]):
        result = said(warehouse, *arguments, "--reason", "so says the editor", "--by", "the editor")
        assert result.exit_code == 0, result.output
        assert f"(texts: {arguments[0]})" in result.stdout
    waits = "A person's verdict on it waits for the next `curate run`"
    assert waits in path_of(warehouse, "fine")
    assert waits not in path_of(warehouse, "copy")
    warehouse.release_run()

    materialize_unchecked(warehouse, corpus, STAGES)
    assert waits not in path_of(warehouse, "fine") + path_of(warehouse, "short")
    assert kept(warehouse) == before - {"fine"} | {"short"}
    assert "fine" not in kept(warehouse, "cleaned")
    verdicts = warehouse.query(
        "select r.source_record_id as id, d.stage, d.verdict from ledger.current_decisions as d join raw.records as r using (record_id) "
        "where d.rule = 'override' order by all"
    )
    assert verdicts.rows() == [
        ("fine", "cleaned", "drop"),
        *(("short", stage, "keep") for stage in ("cleaned", "deduped", "filtered")),
    ]
    assert "the editor: so says the editor" in said(warehouse, "--list").stdout
    warehouse.release_run()
    traced = CliRunner().invoke(app, ["trace", "fine", "--database", str(warehouse.path)]).stdout
    assert "cleaned: DROPPED by override: a person keeps it out" in traced
    assert "the editor: drop, “so says the editor”" in traced
    assert not verify_ledger(warehouse)
    tampered = Warehouse(database=str(tmp_path / "tampered.duckdb"))
    for change, told in (
        ("update overrides.entries set decided_by = 'nobody' where verdict = 'drop'", "was edited or added"),
        ("delete from overrides.entries where verdict = 'drop'", "1 entries are missing"),
    ):
        shutil.copy(warehouse.path, tampered.path)
        with tampered.get_connection() as connection:
            connection.execute(change)
        assert told in " ".join(verify_ledger(tampered))

    for record in ("short", "fine"):
        assert said(warehouse, record, "none", "--reason", "a mistake").exit_code == 0
    materialize_unchecked(warehouse, corpus, STAGES)
    assert kept(warehouse) == before
    assert not len(overrides.in_force(warehouse))


def test_a_kept_record_survives_its_near_duplicates_and_its_twin_but_the_same_words_are_never_kept_twice(
    warehouse, corpus
):
    lost = {"copy", "copied", "twin", "twin-too"} - kept(warehouse, "deduped")
    assert len(lost) == 2
    near, twin = sorted(lost)
    for record in lost:
        assert said(warehouse, record, "keep", "--reason", "this one").exit_code == 0
    materialize_unchecked(warehouse, corpus, STAGES)
    survivors = kept(warehouse, "deduped")
    assert near in survivors and twin in survivors
    assert {"twin", "twin-too"} - survivors  # one of them only
    assert not warehouse.query("select text_hash from deduped.records group by text_hash having count(*) > 1").height


def test_a_dropped_record_takes_no_copy_with_it(warehouse, corpus):
    survivor = min({"twin", "twin-too"} & kept(warehouse, "deduped"))
    assert said(warehouse, survivor, "drop", "--reason", "not this one").exit_code == 0
    for selection in (["deduped"], STAGES):  # also where cleaned has not run since
        materialize_unchecked(warehouse, corpus, selection)
        assert {"twin", "twin-too"} & kept(warehouse, "deduped") == {"twin", "twin-too"} - {survivor}
        for check in ("every_duplicate_points_to_a_kept_record", "deduped_loses_no_record"):
            assert not len(warehouse.query((SQL / "checks" / f"{check}.sql").read_text(encoding="utf-8")))


def test_a_verdict_goes_with_what_the_record_says(warehouse, corpus, rewritten):
    assert said(warehouse, "fine", "drop", "--reason", "not ours to use", "--by", "the editor").exit_code == 0
    rows = [json.loads(line) for line in rewritten.read_text().splitlines()]
    for row in rows:
        row["license"] = "CC0-1.0"  # other records to us, the same to the person
    for more in ("", " It was the first of May."):
        next(row for row in rows if row["id"] == "fine")["text"] += more  # a new text is judged anew
        rewritten.write_text("".join(json.dumps(row) + "\n" for row in rows))
        materialize_unchecked(warehouse, corpus, STAGES)
        assert ("fine" in kept(warehouse, "deduped")) == bool(more)
        again = "select record_id from raw.records where source_record_id = 'fine' and license is not null and text like '%' || $more"
        current = warehouse.value(f"{again} order by len(text) desc limit 1", more=more)
        assert ("the editor: drop" in path_of(warehouse, current)) == (not more)
        assert len(overrides.in_force(warehouse)) == 2


def test_a_keep_does_not_go_to_an_answer_that_nobody_has_seen(warehouse, tmp_path):
    path = tmp_path / "pairs.jsonl"
    ops = {"raw": {"sources": [{"name": "pairs", "path": str(path)}]}}
    for rejected in ("No.", "Never."):
        pair = {"id": "p", "prompt": STORY, "chosen": "By noon they had all come.", "rejected": rejected}
        path.write_text(json.dumps(pair) + "\n")
        materialize_unchecked(warehouse, ops, ["raw", "cleaned"])
        warehouse.release_run()
        if rejected == "No.":
            assert said(warehouse, "p", "keep", "--reason", "fine").exit_code == 0
    assert warehouse.rows("raw.records") == 2
    assert len(overrides.in_force(warehouse)) == 1
    current = warehouse.value("select record_id from cleaned.records")
    assert "fine" not in path_of(warehouse, current)


def test_nobody_keeps_what_cleaning_drops_for_personal_data(warehouse, tmp_path):
    """A kept record would come back with what was replaced in it, or with what must not be there."""
    rows = [
        {"id": "same", "prompt": "Who runs the harbour?", "chosen": "Ask jane@example.org.", "rejected": "Ask bob@example.org."},
        {"id": "number", "text": f"{STORY} Her number is 536-90-4399, her mail jane@example.org."},
        {"id": "both", "prompt": "Who?", "chosen": "Ask jane@example.org, 536-90-4399.", "rejected": "Ask bob@example.org."},
    ]  # fmt: skip
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ops = {"raw": {"sources": [{"name": "texts", "path": str(source)}]}, "cleaned": {"pii": {"us_ssn": "drop"}}}
    materialize_unchecked(warehouse, ops, ["raw", "cleaned"])
    assert not kept(warehouse, "cleaned")
    warehouse.release_run()
    for row in rows:
        assert said(warehouse, row["id"], "keep", "--reason", "it is a good one").exit_code == 0
    materialize_unchecked(warehouse, ops, ["raw", "cleaned"])
    assert not kept(warehouse, "cleaned")
    dropped = "select rule, count(*) from ledger.current_decisions where stage = 'cleaned' and verdict = 'drop' group by all order by all"
    assert warehouse.query(dropped).rows() == [("pii_us_ssn", 2), ("same_after_cleaning", 1)]


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["nobody", "drop", "--reason", "x"], "No record has the id 'nobody'", 3),
        (["fine", "burn", "--reason", "x"], "'burn' is no verdict; choose keep, drop or none.", 2),
        (["fine", "drop"], "A verdict needs a reason", 2),
        (["fine", "drop", "--reason", "x", "--by", " "], "A verdict needs a name", 2),
        (["fine"], "say what is to become of the record", 2),
    ],
)
def test_what_cannot_be_entered_is_said_and_changes_nothing(warehouse, corpus, arguments, told, code):
    result = said(warehouse, *arguments)
    assert (result.exit_code, told in " ".join(result.output.replace("│", " ").split())) == (code, True), result.output
    assert not len(overrides.in_force(warehouse))


def test_a_drop_names_the_copies_that_may_stand_for_the_text(warehouse, corpus):
    for dropped, other in [("twin", "texts: twin-too"), ("twin-too", "texts: twin"), ("copied", "texts: copy")]:
        output = said(warehouse, dropped, "drop", "--reason", "x").output.replace("\n", " ")
        assert "The same words" in output and f"({other})" in output, output
    assert "The same words" not in said(warehouse, "fine", "drop", "--reason", "x").output
    assert "The same words" not in said(warehouse, "twin", "keep", "--reason", "x").output


def test_taking_back_what_was_never_said_is_told(warehouse, corpus):
    assert "no verdict was in force" in said(warehouse, "fine", "none", "--reason", "x").output
    said(warehouse, "short", "keep", "--reason", "x")
    assert "no verdict was in force" not in said(warehouse, "short", "none", "--reason", "x").output


def test_a_file_of_verdicts_is_taken_whole_or_not_at_all(warehouse, corpus, tmp_path):
    table = tmp_path / "verdicts.csv"
    table.write_text("record,verdict,reason\nfine,drop,dull\nshort,keep,\n")
    assert f"{table.name}, line 3: A verdict needs a reason" in said(warehouse, "--file", str(table)).output.replace(
        "\n", ""
    )
    table.write_bytes("record,verdict,reason\nfine,drop,clich\u00e9\n".encode("latin-1"))
    assert f"{table}: it cannot be read as CSV in UTF-8" in said(warehouse, "--file", str(table)).output.replace(
        "\n", ""
    )
    assert not len(overrides.in_force(warehouse))
    table.write_text("record,verdict,reason\nfine,drop,dull\nshort,keep,a proverb\n")
    assert said(warehouse, "--file", str(table)).exit_code == 0
    assert overrides.in_force(warehouse)["verdict"].sort().to_list() == ["drop", "keep"]
