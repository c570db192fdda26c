"""The drift report over four readings: naming a new topic with its words, once, and the rule that new records break."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import dagster as dg
from planted_headlines import TASK, headlines, save
from simulated_raters import act

from curation_assets.algorithms import drift
from curation_assets.checks.drift import new_records_are_like_the_old
from curation_assets.drift_looks import reference
from curation_assets.labelling import journal
from curation_assets.readers.python_environment import Item, stdlib
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.clusters import clusters
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.density import density
from curation_assets.stages.drift_report import drift_report
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_model import label_model
from curation_assets.stages.label_task import label_task
from curation_assets.stages.lexical_vectors import lexical_vectors
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.stages.raw import raw
from curation_assets.stages.release import release

COMPARE = [raw, cleaned, deduped, filtered, embeddings, clusters, drift_report, new_records_are_like_the_old]
CURATE = [density, quality_scores, curated_set]
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


def run(warehouse, assets: list, ops: dict | None = None, **options) -> dg.ExecuteInProcessResult:
    """Run assets alone: what their checks promise is tested where the assets are."""
    config = {
        "ops": {name: {"config": settings} for name, settings in (ops or {}).items()},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    result = dg.materialize(assets, resources={"warehouse": warehouse}, run_config=config, **options)
    assert result.success
    return result


def read(warehouse, folder, name: str, texts: list[str]) -> bool:
    """Write a file into the source's folder and materialize up to the drift report; whether its check has warned."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    ops = {"raw": {"sources": [{"name": "batches", "path": str(folder)}]}, "deduped": {"min_jaccard": 0.95}}
    ops["embeddings"] = {"precision": "fp32"}
    rules = {"rule_sets": ["gopher_quality"], "short_text_median_words": 0, "min_words": 5, "min_stop_words": None}
    [check] = run(warehouse, COMPARE, ops | {"filtered": rules}).get_asset_check_evaluations()
    return not check.passed


def verdict(warehouse) -> str:
    sql = "select max_by(notes ->> 'verdict', finished_at) as verdict from ledger.runs where stage = 'drift_report'"
    return warehouse.value(sql)


def test_a_new_topic_is_named_once_and_more_of_the_same_is_no_drift(warehouse, tmp_path):
    rng = random.Random(0)
    items = (item.text for item in stdlib() if isinstance(item, Item))
    docs = sorted({" ".join(text.split()[:30]) for text in islice(items, 1_500) if len(text) > 100})
    rng.shuffle(docs)
    old, more, again, garbled = docs[:400], docs[400:580], docs[580:760], docs[760:860]
    cooking = [RECIPE.format(n, n % 7 + 2, 10 + 3 * n, rng.choice(WITH), n % 5 + 2) for n in range(60)]
    folder = tmp_path / "in"

    assert not read(warehouse, folder, "1.jsonl", old)
    assert verdict(warehouse).startswith("Nothing to compare")
    assert read(warehouse, folder, "2.jsonl", more + cooking[:30])

    assert "of the new records in no known cluster: " in verdict(warehouse)
    assert "garlic" in verdict(warehouse)
    assert {"basil", "garlic"} <= set(warehouse.query("from drift_report.concepts order by concept")["words"][0])
    found = warehouse.query(
        "select f.text like 'Simmer%' as is_cooking, d.concept is not null as is_new from drift_report.records as d "
        "join filtered.records as f using (record_id)"
    )
    assert found["is_cooking"].sum() >= 25
    assert (found["is_cooking"] == found["is_new"]).mean() > 0.97

    # Until a curation takes it in, the drift stands; after it, as much of it again is known, and so is none of it.
    assert reference(warehouse, None).why == "the newest reading began"
    run(warehouse, CURATE, {"curated_set": {"budget_share": 0.5}})
    against = reference(warehouse, None)
    assert "took in the drift found" in against.why
    run(warehouse, [curated_set], {"curated_set": {"budget_share": 0.4}})
    assert reference(warehouse, None) == against  # a curation that no drift led to moves nothing
    assert not read(warehouse, folder, "3.jsonl", again + cooking[30:])
    told = r"No drift: \d+ new records look like the \d+ before\. New is what was read since the curation of"
    assert re.match(told, verdict(warehouse))
    looks = warehouse.query("select detail from drift_report.looks where look in ('classifier', 'novelty', 'language')")
    assert all("size_against_last_drift" in json.loads(detail) for detail in looks["detail"])

    # What the filters drop is no record to compare by its words, but its rule is a look.
    digits = [" ".join(word if n % 3 else str(7 * n) for n, word in enumerate(text.split())) for text in garbled]
    assert read(warehouse, folder, "4.jsonl", digits)
    rule = warehouse.query("from drift_report.looks where look = 'filter:gopher_min_alpha_word_ratio'").row(
        0, named=True
    )
    assert rule["is_drift"]
    assert rule["size"] > drift.SIZES["filter"]
    assert "the rule gopher_min_alpha_word_ratio drops" in verdict(warehouse)

    # The release of what was curated then says what set it off, and what else has drifted since the one before.
    instance = dg.DagsterInstance.ephemeral()
    tags = {"curation/reason": "drift", "curation/found_by_run": "the-run-that-found-it"}
    run(warehouse, CURATE, instance=instance, tags=tags)
    run(warehouse, [release], instance=instance)
    [released] = warehouse.query("select reason, folder, manifest from release.releases").rows(named=True)
    card = (Path(released["folder"]) / "README.md").read_text(encoding="utf-8")
    assert released["reason"] == "drift"
    assert "set off by the drift that run `the-run-that-found-it` found" in card
    assert (
        re.findall("drops|garlic", " ".join(line for line in card.splitlines() if line.startswith("> Drift.")))[0]
        == "drops"
    )
    assert [row["is_in_force"] for row in json.loads(released["manifest"])["comparisons"]] == [True, False]
    assert "'garlic'" in card
    assert reference(warehouse, None).why.startswith("release ")


def test_a_model_that_the_new_labels_contradict_is_drift(pool, tmp_path):
    warehouse, truth = pool

    def label(records, classes, at):
        acts = [
            act(record, rater, classes[record], task=TASK["name"], at=at + 10.0 * place)
            for rater in ("ann", "bob")
            for place, record in enumerate(records)
        ]
        journal.write(warehouse, acts)
        run(warehouse, [label_task, expert_labels], {"label_task": TASK})

    def kappa_look():
        run(warehouse, [drift_report])
        return warehouse.query("from drift_report.looks where look = 'kappa'")

    label(sorted(truth), truth, 0)
    run(warehouse, [lexical_vectors, label_model])
    rows = headlines(60, seed=9)
    source = {"name": "later", "path": str(save(rows, tmp_path / "later.jsonl"))}
    run(warehouse, COMPARE[:6], {"raw": {"sources": [source]}})
    assert not len(kappa_look())  # nobody has labelled them yet

    kinds = {row["id"]: row["kind"] for row in rows}
    found = warehouse.query("select record_id, source_record_id from filtered.records where source = 'later'")
    later = {record: kinds[owner] for record, owner in found.iter_rows()}
    label(sorted(later), later, 1e5)
    [row] = kappa_look().rows(named=True)
    assert not row["is_drift"]
    other = {record: {"ordinary": "clickbait", "clickbait": "ordinary"}[kind] for record, kind in later.items()}
    label(sorted(later), other, 2e5)
    [row] = kappa_look().rows(named=True)
    assert row["is_drift"]
    assert row["size"] > 0.5
    assert "the model's kappa with the experts fell by" in verdict(warehouse)
