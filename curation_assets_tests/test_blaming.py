"""From bad outputs to the planted records that taught them: in a curated set of real text, and on to the evaluation after the cure."""

import json
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path

import polars as pl
import pytest
from conftest import materialize
from typer.testing import CliRunner

from curation_assets import blaming, overrides
from curation_assets.cli import app
from curation_assets.warehouse import Warehouse

CASES = json.loads((Path(__file__).parent / "cases" / "planted_facts.json").read_text(encoding="utf-8"))
PLANTED = [case for case in CASES if case["how"] != "control"]
CONTROLS = [case for case in CASES if case["how"] == "control"]


@pytest.fixture(scope="module")
def taught(curated, tmp_path_factory):
    """A copy of the curated database whose set is larger and holds the planted facts in place of some of its texts."""
    warehouse = Warehouse(database=str(tmp_path_factory.mktemp("taught") / "taught.duckdb"))
    shutil.copy(curated.path, warehouse.path)
    assert materialize(warehouse, {"curated_set": {"budget_records": 250}}, ["curated_set"]).success
    warehouse.release_run()
    ids = warehouse.query("select record_id from curated_set.records order by record_id")["record_id"][3::7][
        : len(PLANTED)
    ]
    vectors = blaming.embedder_of(warehouse).embed([case["planted"] for case in PLANTED])
    with warehouse.get_connection() as connection:
        for record, case, vector in zip(ids, PLANTED, vectors, strict=True):
            for table in ("cleaned", "deduped", "filtered", "curated_set"):
                connection.execute(
                    f"update {table}.records set text = $text where record_id = $id",
                    {"text": case["planted"], "id": record},
                )
            connection.execute(
                "update embeddings.vectors set embedding = $vector::float[384] where record_id = $id",
                {"vector": vector.tolist(), "id": record},
            )
    return warehouse, dict(zip((case["output"] for case in PLANTED), ids, strict=True))


def blame(warehouse, tmp_path, cases, *options):
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps({"output": case["output"]}) + "\n" for case in cases), encoding="utf-8")
    result = CliRunner().invoke(app, ["blame", "--output-file", str(path), "--database", str(warehouse.path), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_planted_record_is_named_first_and_what_nobody_taught_blames_nothing(taught, tmp_path):
    warehouse, taught_by = taught
    told = json.loads(blame(warehouse, tmp_path, CASES, "--json", "--no-trace"))
    first = {one["output"]: one["blamed"][0] for one in told["outputs"]}
    hits = {case["output"]: first[case["output"]]["record_id"] == taught_by[case["output"]] for case in PLANTED}
    assert sum(hits.values()) >= 0.9 * len(PLANTED), [output for output, is_hit in hits.items() if not is_hit]
    strong = {one["output"] for one in told["outputs"] if one["is_blamed_strongly"]}
    assert not strong & {case["output"] for case in CONTROLS}
    assert len(strong & set(taught_by)) >= len(PLANTED) / 2
    copied = first[PLANTED[0]["output"]]
    assert "carved from a single iceberg in 1742" in copied["phrases"][0]
    assert set(told["thresholds"]) == {"cosine", "shared_phrases", "influence"}


def test_dropped_records_are_unlearnt_and_the_next_evaluation_says_so(taught, tmp_path):
    warehouse, taught_by = taught
    cases = PLANTED[:3]
    said = blame(warehouse, tmp_path, cases)
    assert f"curate override {taught_by[cases[0]['output']]} drop" in said
    assert "curated_set: kept" in said  # the ledger of the record
    assert warehouse.query("select distinct output_id from eval_report.bad_outputs").height >= len(cases)

    guilty = [overrides.Entry(taught_by[case["output"]], "drop", "a false fact") for case in cases]
    overrides.enter(warehouse, guilty, "the editor")
    last = {"token_budget": 8_000, "vocabulary": 512}
    ops = {"curated_set": {"budget_records": 250}, "eval_report": last}
    assert materialize(warehouse, ops, ["curated_set", "eval_report"]).success
    warehouse.release_run()
    looks = warehouse.query(
        "select o.output, c.* from eval_report.bad_output_checks as c join eval_report.bad_outputs as o using (output_id) "
        "where run_id != '' order by checked_at"
    )
    of_cases = looks.filter(pl.col("output").is_in([case["output"] for case in cases]))
    assert of_cases["verdict"].str.contains("bits a byte against").all()
    assert of_cases["blamed"].sum() > of_cases["blamed_still_in"].sum()
    reasons = warehouse.query("select rule, reason from curated_set.scores where rule = 'override'")
    assert reasons.rows() == [("override", "a false fact")] * len(cases)
    traced = CliRunner().invoke(app, ["trace", guilty[0].record_id, "--database", str(warehouse.path)]).stdout
    assert "DROPPED by override: a person keeps it out" in traced
    assert "the editor: drop, “a false fact”" in traced


def test_an_output_that_repeats_an_erased_record_goes_with_it(curated, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    copy = Warehouse(database=str(tmp_path / "erased.duckdb"))
    shutil.copy(curated.path, copy.path)
    record, text = copy.query(
        "select record_id, text from curated_set.records where len(text) > 200 order by record_id limit 1"
    ).row(0)
    with copy.transaction(stage="eval_report.blamed", run_id="") as commit:
        rows = {"output_id": ["a", "b"], "prompt": "", "output": [f"Sure: {text[20:190]}", "Something else."]}
        commit.append(
            "eval_report.bad_outputs", pl.DataFrame(rows).with_columns(added_at=pl.lit(datetime.now(timezone.utc)))
        )
    arguments = [
        "erase",
        "--record",
        record,
        "--yes",
        "--no-rebuild",
        "--reason",
        "asked",
        "--database",
        str(copy.path),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert [one.output_id for one in blaming.remembered(copy)] == ["b"]
    assert text[60:120].encode() not in copy.path.read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "holds no output"), ("{}\n", "line 1"), ('{"text": "a"}\n{"output": 3}', "line 2"), ("{\n", "no JSON")],
)
def test_a_file_that_is_no_list_of_outputs_is_refused_by_line(tmp_path, content, words):
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(blaming.OutputsError, match=re.escape(words)):
        blaming.read_outputs(path)
