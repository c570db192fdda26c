"""What no arm of the evaluation may train on, and how much of a held-out record is read."""

import json
import random

import polars as pl
import pytest
from conftest import materialize_unchecked

from curation_assets.stages import eval_report
from curation_assets.tables import SQL

SPLIT = {"share": 0.2, "target": None, "seed": 0}


@pytest.fixture
def inside_pages(warehouse, tmp_path):
    """Forty short texts, thirty of which also stand inside a longer page of their own: no near-duplicate of it."""
    draw = random.Random(3)

    def words(count):
        return " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(count))

    texts = {f"short{i}": words(60) for i in range(40)}
    texts |= {f"page{i}": f"{words(150)}\n{texts[f'short{i}']}\n{words(150)}" for i in range(30)}
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    ops = {"raw": {"sources": [{"name": "texts", "path": str(source)}]}}
    materialize_unchecked(warehouse, ops, ["raw", "cleaned", "deduped"])
    assert warehouse.rows("deduped.records") == 70
    with warehouse.get_connection() as connection:
        connection.execute("create schema curated_set; create table curated_set.records as from cleaned.records")
    names = dict(warehouse.query("select record_id, source_record_id from cleaned.records").iter_rows())
    return warehouse, names


def test_a_record_that_holds_a_held_out_one_trains_no_arm(inside_pages):
    warehouse, names = inside_pages
    leaks = eval_report.find_leaks(warehouse, SPLIT)
    arms = eval_report.draft_arms(warehouse, SPLIT, leaks).with_columns(pl.col("record_id").replace_strict(names))
    heldout = arms.filter(pl.col("heldout_in").list.len() > 0)["record_id"].to_list()
    pages = {name.replace("short", "page") for name in heldout if name.startswith("short") and int(name[5:]) < 30}
    assert pages - set(heldout), "the draw holds out no text that stands inside a page"
    found = {names[page]: names[short] for page, short in leaks.select("record_id", "heldout_record_id").iter_rows()}
    assert found == {page: page.replace("page", "short") for page in pages - set(heldout)}
    assert (leaks["coverage"] == 1).all()
    for arm in eval_report.ARMS:
        trained = set(arms.filter(f"is_in_{arm}")["record_id"])
        assert trained and not trained & (pages | set(heldout))
    everything = set(arms.filter("is_in_everything")["record_id"])
    assert everything == set(names.values()) - pages - set(heldout)  # a short text of a held-out page may stay

    with warehouse.transaction("eval_report", "run") as commit:
        commit.build("eval_report.leaks", leaks)
        commit.build("eval_report.arms", **SPLIT)
    check = (SQL / "checks" / "no_arm_trains_on_held_out_text.sql").read_text(encoding="utf-8")
    assert not len(warehouse.query(check))
    with warehouse.get_connection() as connection:
        connection.execute(
            "update eval_report.arms set is_in_random = true where record_id in (select record_id from eval_report.leaks)"
        )
    assert set(warehouse.query(check)["record_id"]) == set(leaks["record_id"]) != set()


def test_a_duplicate_that_a_person_keeps_and_that_is_held_out_keeps_the_others_of_its_group_out(warehouse):
    records = pl.DataFrame(
        {"record_id": list("abcde"), "text": ["x"] * 5, "source": ["s"] * 5, "source_uri": ["f"] * 5}
    )
    with warehouse.get_connection() as connection:
        for name, rows in (
            ("cleaned.records", records),
            ("deduped.records", records.filter(pl.col("record_id").is_in(["b"]))),  # a, the survivor, is dropped since
            ("curated_set.records", records),
            ("deduped.pairs", pl.DataFrame({"record_id": ["b", "c"], "matched_record_id": ["a", "a"]})),
        ):
            connection.register("rows", rows.to_arrow())
            connection.execute(f"create schema if not exists {name.split('.')[0]}; create table {name} as from rows")
    arms = eval_report.draft_arms(warehouse, SPLIT, pl.DataFrame(schema=eval_report.LEAKS))
    assert arms.filter(pl.col("heldout_in").list.len() > 0)["record_id"].to_list() == ["b"]
    assert set(arms.filter("is_in_everything")["record_id"]) == {"d", "e"}


def test_of_a_long_held_out_record_only_its_beginning_counts():
    part = pl.DataFrame({"record_id": list("abcd"), "chars": [50_000, 10, 10, 10]})
    assert eval_report._first(part, 2_015)["record_id"].to_list() == ["a"]
    assert eval_report._first(part, 2_015, 2_000)["record_id"].to_list() == ["a", "b", "c"]
