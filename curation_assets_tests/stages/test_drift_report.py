"""The drift report over three readings: silent on more of the same, and naming a new topic with its words."""

import json
import random
from itertools import islice

import dagster as dg
from conftest import materialize

from curation_assets.readers.python_environment import Item, stdlib

STAGES = ["raw", "cleaned", "deduped", "filtered", "embeddings", "clusters", "drift_report"]
RECIPE = (
    "Simmer {} tomatoes with {} cloves of garlic and olive oil for {} minutes, add {}, season with basil; serves {}."
)
WITH = [
    "red lentils and cumin",
    "roasted peppers",
    "a splash of white wine",
    "fresh thyme",
    "chopped walnuts",
    "saffron rice",
]


def read(warehouse, folder, name: str, texts: list[str]) -> dg.ExecuteInProcessResult:
    """Write a file into the source's folder and materialize up to the drift report."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    ops = {"raw": {"sources": [{"name": "batches", "path": str(folder)}]}, "filtered": {"rule_sets": []}}
    ops["deduped"] = {"min_jaccard": 0.95}
    return materialize(warehouse, ops, STAGES)


def has_warned(result: dg.ExecuteInProcessResult) -> bool:
    checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    return not checks["new_records_are_like_the_old"]


def verdict(warehouse) -> str:
    sql = "select max_by(notes ->> 'verdict', finished_at) as verdict from ledger.runs where stage = 'drift_report'"
    return warehouse.value(sql)


def test_a_new_topic_is_named_and_more_of_the_same_is_no_drift(warehouse, tmp_path):
    rng = random.Random(0)
    items = (item.text for item in stdlib() if isinstance(item, Item))
    docs = sorted({" ".join(text.split()[:30]) for text in islice(items, 1_200) if len(text) > 100})
    rng.shuffle(docs)
    old, same, more = docs[:400], docs[400:600], docs[600:780]
    cooking = [RECIPE.format(n, n % 7 + 2, 10 + 3 * n, rng.choice(WITH), n % 5 + 2) for n in range(30)]

    assert not has_warned(read(warehouse, tmp_path / "in", "1.jsonl", old))
    assert verdict(warehouse).startswith("Nothing to compare")
    assert not has_warned(read(warehouse, tmp_path / "in", "2.jsonl", same))
    assert verdict(warehouse).startswith("No drift: 200 new records look like the 400 before.")
    assert has_warned(read(warehouse, tmp_path / "in", "3.jsonl", more + cooking))

    assert "garlic" in verdict(warehouse)
    assert {"basil", "garlic"} <= set(warehouse.query("from drift_report.concepts order by concept")["words"][0])
    found = warehouse.query(
        "select f.text like 'Simmer%' as is_cooking, d.concept is not null as is_new from drift_report.records as d "
        "join filtered.records as f using (record_id)"
    )
    assert found["is_cooking"].sum() >= 25
    assert (found["is_cooking"] == found["is_new"]).mean() > 0.97
