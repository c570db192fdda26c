"""An auditor's questions: a record by id or text, why it is not in a release, what changed, and the report."""

import json
import re
import shutil
from datetime import datetime, timezone

import duckdb
import polars as pl
import pytest
from conftest import HOSTILE, TOKENS, VICTIM, label, materialize, materialize_unchecked
from typer.testing import CliRunner

from curation_assets import audit, audit_report, audit_sections, audit_sets, erasure
from curation_assets.cli import app
from curation_assets.command_line import NOT_FOUND, USAGE
from curation_assets.erasure_plan import Request, plan
from curation_assets.warehouse import Warehouse


@pytest.fixture
def warehouse(planted, tmp_path):
    """A copy of the planted database."""
    original, _ = planted
    copy = tmp_path / "copy.duckdb"
    shutil.copy(original.path, copy)
    found = Warehouse(database=str(copy))
    yield found
    found.release_run()


def curate(warehouse, *arguments, code=0):
    result = CliRunner().invoke(app, [*arguments, "--database", str(warehouse.path)])
    assert result.exit_code == code, result.output
    return result.output


def test_a_record_is_found_by_its_text_exactly_nearly_or_among_the_rejects(warehouse, planted):
    _, victim = planted
    exact = audit.find(warehouse, f"\n {VICTIM}")
    assert victim in exact.records
    assert "exactly" in exact.how
    assert exact.rejects[0].startswith("Rejected: texts, texts.jsonl row 64: ")
    near = audit.find(warehouse, " ".join(VICTIM.split()[5:40]) + " and something else")
    assert near.records
    assert "the nearest by words has 9" in near.how
    assert audit.find(warehouse, "victim-1") == audit.Found([victim], "")
    assert audit.find(warehouse, "victim-1", is_text=True) == audit.Found([], "")
    assert "row 64" in curate(warehouse, "trace", "texts.jsonl:64")
    assert "nor that text" in curate(warehouse, "trace", "nothing of the kind here", code=NOT_FOUND)
    erasure.erase(warehouse, plan(warehouse, Request(ids=("victim-1",))))
    assert re.search(r"It was erased on .* by erasure-", curate(warehouse, "trace", "--text", VICTIM))


def test_why_not_goes_by_the_decisions_in_force_when_the_release_was_made(warehouse, tmp_path):
    inside = warehouse.value(
        "select source_record_id from curated_set.records where starts_with(source_record_id, 'owner-') order by 1 limit 1"
    )
    assert "IS in release" in curate(warehouse, "why-not", inside, "--release", "latest")
    duplicate = warehouse.value("select source_record_id from deduped.pairs order by 1 limit 1")
    assert "DROPPED by" in curate(warehouse, "why-not", duplicate, "--release", "latest")
    assert materialize(warehouse, {"curated_set": {"strategy": "random", "budget_records": 1}}, ["curated_set"]).success
    assert "IS in release" in curate(warehouse, "why-not", inside, "--release", "latest")  # as it was then
    outside = warehouse.value(
        "select source_record_id from curated_set.scores join raw.records using (record_id) where not is_selected limit 1"
    )
    assert "not_selected" in curate(warehouse, "why-not", outside)
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps({"id": "newcomer", "text": "a text that came only after the release was made"}) + "\n")
    assert materialize(warehouse, {"raw": {"sources": [{"name": "new", "path": str(new)}]}}, ["raw"]).success
    assert "had not been read yet" in curate(warehouse, "why-not", "newcomer", "--release", "latest")
    assert "is no release" in curate(warehouse, "why-not", inside, "--release", "0000", code=NOT_FOUND)


def test_a_diff_says_what_left_and_why_in_rows_and_in_words(warehouse):
    release = audit_sets.find_release(warehouse, "latest")
    assert not len(audit_sets.diff(warehouse, release, None))
    assert materialize(
        warehouse, {"curated_set": {"strategy": "random", "budget_records": 40}}, ["curated_set"]
    ).success
    rows = audit_sets.diff(warehouse, release, None)
    assert rows["change"].unique().to_list() == ["left"]
    assert rows["rule"].unique().to_list() == ["not_selected"]
    assert len(rows) == release.records - 40
    words = curate(warehouse, "diff", release.release_id[:6])
    assert f"{len(rows)} left; now they are dropped by curated_set: not_selected" in words
    erasure.erase(warehouse, plan(warehouse, Request(ids=("victim-1",))))
    after = pl.read_csv(curate(warehouse, "diff", release.release_id, "--csv").encode())
    assert set(after["rule"]) == {"not_selected", "erased"}
    assert after.filter(rule="erased")["source_record_id"].null_count() == len(after.filter(rule="erased")) > 0
    as_json = [json.loads(line) for line in curate(warehouse, "diff", release.release_id, "--json").splitlines()]
    assert len(as_json) == len(after)
    assert not len(audit_sets.diff(warehouse, release, release))


def test_the_report_stands_alone_and_says_what_is_not_known(warehouse, tmp_path):
    curate(warehouse, "audit", "latest", "--out", str(tmp_path), "--provider", "P & Sons")
    page = next(tmp_path.glob("*.html")).read_text()
    assert "default-src 'none'" in page
    assert not re.search(
        r"<(script|link|img|iframe|object)|src=|url\(|https?://[^<]*\">", page.replace("&lt;img src=x", "")
    )
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "P &amp; Sons" in page
    assert "@media print" in page
    assert not any(token in page for token in TOKENS)
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    sections = {section["title"]: section for section in report["sections"]}
    assert "None recorded" in sections["Synthetic text"]["paragraphs"][0]
    assert "were looked for in every record; found: 0 places" in sections["Personal data"]["paragraphs"][0]
    licences = {row[0]: row[4] for row in sections["Licences and the declared use"]["tables"][0]["rows"]}
    assert licences["CC-BY-4.0"] == "yes"
    assert licences.get(HOSTILE, "unknown") == "unknown"
    assert "no legal advice" in sections["Licences and the declared use"]["paragraphs"][1]
    assert sections["Checks"]["failed"] == 0
    assert sections["Duplicates merged"]["paragraphs"][0].startswith("2 records")
    assert [part["title"][:2] for part in report["training_content_summary"][1:]] == ["1.", "2.", "3."]
    assert "it is one of" in curate(warehouse, "audit", "--use", "anything", "--out", str(tmp_path), code=USAGE)
    erasure.erase(warehouse, plan(warehouse, Request(ids=("victim-1",))))
    assert "THIS RELEASE IS WITHDRAWN" in curate(warehouse, "audit", "latest", "--out", str(tmp_path))


def test_the_report_on_a_release_says_what_was_when_it_was_made(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "then.duckdb"))
    text = "write to jane.doe@example.com about the first thing of them all"
    rows = [
        {"id": "a", "text": text},
        {"id": "b", "text": text},
        {"id": "c", "text": "another text about other things"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(number: int, email: str, stages: list[str], *benchmarks: str) -> None:
        sources = [{"name": "rows", "path": str(tmp_path / "rows.jsonl")}]
        ops = {"raw": {"sources": sources}, "cleaned": {"pii": {"email": email}}}
        materialize_unchecked(warehouse, ops, stages)
        settings = json.dumps({"benchmarks": [{"name": name} for name in benchmarks]})
        account = {"stage": "contamination", "code_version": "1", "config": settings, "config_hash": "-"}
        with warehouse.transaction("contamination", f"c-{number}") as commit:
            commit.write_run_row(account | {"run_id": f"c-{number}"}, "raw.records", datetime.now(timezone.utc), None)

    def sections() -> dict[str, dict]:
        found = audit_report.report(warehouse, release, use="research")
        return {section["title"]: section for section in found["sections"]}

    run(1, "keep", ["raw", "cleaned", "deduped"], "first_benchmark")
    release = audit_sets.Release("r" * 16, "set", datetime.now(timezone.utc), 3, 30)
    manifest = {"checks": [], "evaluation": [{"slice": "all", "verdict": "It helped then."}]}
    later = {"labelled_at": datetime(2200, 1, 1, tzinfo=timezone.utc)}
    warehouse.append("expert_labels.labels", pl.DataFrame([label("x", "l-1"), label("x", "l-2") | later]))
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("create schema release; create schema eval_report")
        connection.execute(
            "create table release.releases as select $id as release_id, now() as released_at, $manifest::json as manifest",
            {"id": release.release_id, "manifest": json.dumps(manifest)},
        )
        connection.execute("create table eval_report.summary as select 'all' as slice, 'It helps now.' as verdict")
    then = sections()
    assert audit_sections.NOT_THEN not in str(then)
    assert "keep: email" in then["Personal data"]["paragraphs"][1]

    run(2, "mask", ["cleaned"], "second_benchmark")
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("delete from deduped.pairs")
        connection.execute("create schema contamination")
        connection.execute(
            "create table contamination.parts (benchmark text, item_id text, ngrams int, common_ngrams int)"
        )
        connection.execute("create table contamination.matches (benchmark text, item_id text, record_id text)")
    now = sections()
    told = now["Personal data"]["paragraphs"]
    assert told[1] == then["Personal data"]["paragraphs"][1]
    assert f"found, {audit_sections.NOT_THEN}: 2 places" in told[0]
    assert [row[1] for row in now["Personal data"]["tables"][0]["rows"]] == ["mask"]
    assert audit_sections.NOT_THEN in now["Personal data"]["tables"][0]["title"]
    assert now["Evaluation"]["paragraphs"] == ["It helped then."]
    assert [row[3] for row in now["Human labels"]["tables"][0]["rows"]] == [1]
    assert "first_benchmark" in now["Contamination by benchmarks"]["paragraphs"][0]
    assert "second_benchmark" not in now["Contamination by benchmarks"]["paragraphs"][0]
    assert audit_sections.NOT_THEN in now["Contamination by benchmarks"]["tables"][0]["title"]
    assert now["Duplicates merged"]["paragraphs"] == ["1 records were merged into one that says the same."]
    assert any("lid.176" in limit for limit in now["Known limits"]["paragraphs"])

    release = None  # and of the curated set as it is now, cleaned by versions that knew fewer types, or none
    for pii, told in (
        ({}, "No stage had looked"),
        ({"email": "mask", "phone": "ignore"}, "mask: email; ignore: phone."),
    ):
        account = {"run_id": "older", "stage": "cleaned", "code_version": "1", "config_hash": "-"}
        with warehouse.transaction("cleaned", "older") as commit:
            settings = account | {"config": json.dumps({"pii": pii})}
            commit.write_run_row(settings, "cleaned.records", datetime.now(timezone.utc), None)
        assert told in " ".join(said := sections()["Personal data"]["paragraphs"])
    assert said[2].startswith("Not looked for by the version that cleaned this set: secret,")


def test_generating_models_are_read_off_the_originals(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "made.duckdb"))
    rows = [
        {"id": 1, "text": "one text of a model", "generator": "m-1"},
        {"id": 2, "text": "another text of it", "model": "m-1"},
        {"id": 3, "text": "one that only says so", "synthetic": True},
        {"id": 4, "text": "a text by hand", "synthetic": False},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert materialize(
        warehouse, {"raw": {"sources": [{"name": "rows", "path": str(tmp_path / "rows.jsonl")}]}}, ["raw"]
    ).success
    warehouse.release_run()
    with warehouse.get_connection(read_only=True) as connection:
        connection.execute("create temp table members as select record_id, null as split from raw.records")
        question = (audit.SQL / "audit" / "report_synthetic.sql").read_text()
        assert connection.sql(question).fetchall() == [("m-1", 2, ["rows"]), (None, 1, ["rows"])]
