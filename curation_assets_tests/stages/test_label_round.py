"""Rounds of labelling through the real job: simulated experts answer what is queued, between one run and the next."""

import numpy as np
import pytest
from conftest import materialize, materialize_unchecked
from planted_headlines import TASK, headlines, moon_headlines, save
from simulated_raters import act, with_slips

from curation_assets.algorithms.agreement import cohen_kappa
from curation_assets.labelling import journal
from curation_assets.labelling.task import current_task
from curation_assets.stages.label_model import LabelModelConfig, fit_round
from curation_assets.stages.label_queue import next_round
from curation_assets.stages.label_queue_config import LabelQueueConfig

READING = ["raw", "cleaned", "deduped", "filtered", "embeddings"]
STAGES = [
    "lexical_vectors",
    "label_task",
    "expert_labels",
    "agreement",
    "label_model",
    "predicted_labels",
    "label_queue",
]


def run(warehouse, *, is_checked=False, **ops):
    """One run of the job label_round up to the queue, with its checks on request; what the queue says of it."""
    if is_checked:
        assert materialize(warehouse, ops, STAGES, raise_on_error=True).success
        warehouse.release_run()
    else:
        materialize_unchecked(warehouse, ops, STAGES)
    return warehouse.value(
        "select max_by(notes ->> 'said', finished_at) as said from ledger.runs where stage = 'label_queue'"
    )


def answer(warehouse, truth, *, raters=("ann", "bob", "cho"), slips=0.05, share=1.0, seed=0):
    """The experts answer the newest round, or its first items."""
    records = warehouse.query(
        "select record_id from label_queue.items where round = (select max(round) from label_queue.items) order by position"
    )["record_id"].to_list()
    records = records[: round(share * len(records))]
    rng = np.random.default_rng(seed)
    journal.write(
        warehouse,
        [
            act(record, rater, label, task=TASK["name"], at=1e5 * seed + 10.0 * place)
            for rater in raters
            for place, (record, label) in enumerate(
                zip(
                    records,
                    with_slips([truth[one] for one in records], slips, ["ordinary", "clickbait"], rng),
                    strict=True,
                )
            )
        ],
    )


def kappa_on_the_pool(warehouse, truth):
    predicted = warehouse.query("select record_id, label from predicted_labels.predictions")
    return cohen_kappa(predicted["label"].to_list(), [truth[one] for one in predicted["record_id"]]).value


def test_rounds_of_labels_make_a_model_and_end_and_a_new_concept_opens_them_again(pool, tmp_path):
    warehouse, truth = pool
    assert "Round 1: 30 items queued" in run(warehouse, label_task=TASK)
    first = kappa_on_the_pool(warehouse, truth)
    assert warehouse.rows("label_model.rounds") == 0
    assert warehouse.query("select distinct labeller, round from predicted_labels.predictions").rows() == [
        ("zero_shot", 1)
    ]

    answer(warehouse, truth, share=0.5, seed=1)
    assert "Round 1 is still open: 15 of its items" in run(warehouse)  # half of them is no round
    assert warehouse.rows("label_queue.items") == 30
    task = current_task(warehouse)
    assert not len(fit_round(warehouse, task, LabelModelConfig()).rounds)  # nothing new, nothing fitted
    assert len(next_round(warehouse, task, LabelQueueConfig(even_if_open=True)).items) == 30

    for seed in (2, 3, 4):
        answer(warehouse, truth, seed=seed)
        said = run(warehouse)
    last = warehouse.query("from label_model.rounds order by finished_at desc limit 1").row(0, named=True)
    assert kappa_on_the_pool(warehouse, truth) > max(0.6, first + 0.3)
    assert last["stop_reason"] in ("parity", "plateau", "budget") and "Nothing is queued" in said
    assert last["labels_train"] + last["labels_evaluate"] == last["items_used"]
    assert last["expert_kappa"] == pytest.approx(0.8, abs=0.25) and last["model_kappa"] is not None
    curve = warehouse.query("from label_model.curve order by round")
    assert len(curve) and curve["round"].is_unique().all() and curve["labels"].is_sorted()
    assert warehouse.value("select count(distinct record_id) = count(*) as once from label_queue.items")
    assert len(next_round(warehouse, task, LabelQueueConfig(keep_labelling=True)).items) == 30
    with warehouse.get_connection() as connection:  # as a new basis leaves the models: none can be asked again
        connection.execute("update label_model.models set embedded_by = 'other ' || embedded_by")
    kept = fit_round(warehouse, task, LabelModelConfig()).curve
    assert kept.select("round", "model_kappa").equals(curve.select("round", "model_kappa"))
    with warehouse.get_connection() as connection:
        connection.execute("update label_model.models set embedded_by = substring(embedded_by, 7)")

    labels = warehouse.query("from expert_labels.labels order by label_id")
    source = {"name": "moon", "path": str(save(moon_headlines(60) + headlines(60, seed=9), tmp_path / "moon.jsonl"))}
    materialize_unchecked(warehouse, {"raw": {"sources": [source]}}, READING)
    said = run(warehouse, is_checked=True, label_queue={"only": "new_concept"}, label_task=TASK | {"budget_items": 200})
    queued = warehouse.query(
        "select source_record_id, reason from label_queue.items join filtered.records using (record_id) "
        "where round = (select max(round) from label_queue.items)"
    )
    assert "1 new concept among" in said and len(queued) > 10
    assert queued["source_record_id"].str.starts_with("moon").mean() >= 0.9
    assert queued["reason"].unique().to_list() == ["new_concept"]
    assert warehouse.query("from expert_labels.labels order by label_id").equals(labels)
