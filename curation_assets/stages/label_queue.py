"""The `label_queue` stage: the items that the experts label next, and why each of them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from curation_assets import expert_models
from curation_assets.algorithms.label_queue import (
    NEARLY_EMPTY,
    next_items,
)
from curation_assets.algorithms.new_concept import (
    NewConcepts,
    new_concepts,
    representatives,
)
from curation_assets.expert_models import Pool
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import materialized
from curation_assets.progress import logger
from curation_assets.stages import OWNERS
from curation_assets.stages.agreement import agreement
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_model import label_model
from curation_assets.stages.label_queue_config import LabelQueueConfig, Only
from curation_assets.stages.label_queue_page import plots, previews
from curation_assets.stages.label_task import label_task
from curation_assets.stages.lexical_vectors import lexical_vectors
from curation_assets.stages.predicted_labels import predicted_labels
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

PROTOTYPES = ("zero_shot", "few_shot")
"""Labellers that rank the records of a pool and do not know how many are of a class."""

EVERY_CLASS = 2.0
"""As `nearly_empty`: more than the whole pool, so that no class has a border yet."""

PREDICTIONS = (
    "select record_id, label, probability, probabilities, labeller from predicted_labels.predictions order by record_id"
)

QUEUED = "select record_id, round from label_queue.items where task = $task"

LABELLED = "select record_id from expert_labels.items where task = $task"

OPEN_ITEMS = (
    "with answers as (select record_id, count(distinct rater) filter (role = 'expert') as experts, "
    "bool_or(role = 'adjudicator' and answer = 'label') as is_settled "
    "from expert_labels.current where task = $task and (answer <> 'label' or list_contains($classes::varchar[], label)) "
    "group by record_id) select count(*) as items, count(*) filter (coalesce(a.experts, 0) = 0) as untouched from label_queue.items as q "
    "join filtered.records using (record_id) left join answers as a using (record_id) "
    "where q.task = $task and q.round = $round and coalesce(a.experts, 0) < $raters and not coalesce(a.is_settled, false)"
)

ARRIVED_SINCE = (
    "select f.record_id, b.ingested_at > (select max(queued_at) from label_queue.items where task = $task) as is_new "
    "from filtered.records as f join raw.records as r using (record_id) join raw.batches as b on b.batch_id = r.batch_id"
)

LAST_STOP = (
    "select stop_reason, stop_sentence from label_model.rounds where task = $task order by finished_at desc limit 1"
)


class Next(NamedTuple):
    """What a run queues, and why, or why nothing."""

    items: pl.DataFrame
    """Rows of label_queue.items, none where nothing is queued."""
    sentence: str
    notes: dict[str, Any]


@dg.asset(
    deps=[
        raw,
        label_task,
        predicted_labels,
        embeddings,
        lexical_vectors,
        expert_labels,
        agreement,
        label_model,
        filtered,
    ],
    group_name="labels",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def label_queue(
    context: dg.AssetExecutionContext, config: LabelQueueConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per item that was ever queued for the experts: pairs across the border of the classes, uncertain and random ones.

    A run adds one round, or none and says why: the last one is not labelled to the end, the stopping rule or the budget
    says it is enough, or no new concept is found.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    make_table(warehouse)
    found = next_round(warehouse, task, config)
    logger.info("label_queue: %s", found.sentence)
    warn_of_the_gate(warehouse)
    with warehouse.commit(context, config, main="label_queue.items", started=started) as commit:
        commit.append("label_queue.items", found.items)
        commit.notes = {"task": task.name, "queued": len(found.items), "said": found.sentence} | found.notes
    return materialized(
        warehouse,
        "label_queue.items",
        plots=plots(found.items, task),
        said=found.sentence,
        items_queued=len(found.items),
        **previews(warehouse, found.items),
    )


def next_round(warehouse: Warehouse, task: Task, config: LabelQueueConfig) -> Next:
    """Choose the items of the next round, or say why there is none."""
    queued = warehouse.query(QUEUED, task=task.name)
    last = int(queued["round"].max() or 0)
    if (said := still_open(warehouse, task, last)) and not config.even_if_open:
        return nothing(said)
    known = set(queued["record_id"]) | set(warehouse.query(LABELLED, task=task.name)["record_id"])
    left = task.settings["budget_items"] - len(known)
    stopped = why_enough(warehouse, task, left, after_drift=config.only == Only.new_concept)
    if stopped and not config.keep_labelling:
        return nothing(
            f"{stopped} Nothing is queued; label_queue.keep_labelling: true queues another round all the same."
        )
    size = task.settings["items_per_round"]
    size = size if config.keep_labelling or config.only == Only.new_concept else min(size, left)
    pool, predicted = expert_models.pool_of(warehouse), warehouse.query(PREDICTIONS)
    if predicted["record_id"].to_list() != pool.record_ids:
        raise dg.Failure("label_queue: the predictions are of other records; materialize predicted_labels first.")
    rows = pool.rows(sorted(known))
    if config.only == Only.new_concept:
        return of_new_concepts(warehouse, task, config, pool, predicted, rows[rows >= 0], size, last)
    return of_everything(task, config, pool, predicted, rows[rows >= 0], size, last)


def of_everything(
    task: Task,
    config: LabelQueueConfig,
    pool: Pool,
    predicted: pl.DataFrame,
    known: np.ndarray,
    size: int,
    last: int,
) -> Next:
    """The next items from the whole pool, by algorithms/label_queue.py.

    While the first model predicts, the tops of every class's score stand in for the pairs: it ranks, but knows no shares,
    so its border lies where half of the pool is on either side, and in a pool with few of a class far from any of it.
    """
    is_first = predicted["labeller"][0] in PROTOTYPES
    shares = (config.pair_share, config.uncertain_share)
    pair_share, uncertain_share = (max(shares), min(shares)) if is_first else shares
    found = next_items(
        pool.features,
        np.array(predicted["probabilities"].to_list()),
        size,
        labelled=known,
        near_duplicate_threshold=config.near_duplicate_cosine,
        pair_share=pair_share,
        uncertain_share=uncertain_share,
        random_share=config.random_share,
        nearly_empty=EVERY_CLASS if is_first else NEARLY_EMPTY,
        seed=config.seed + last,  # another draw every round
    )
    if not len(found.rows):
        return nothing("Every record is queued or labelled, or like one that is: there is nothing left to queue.")
    partner = [pool.record_ids[row] if row >= 0 else None for row in found.partner]
    items = items_of(
        task,
        pool,
        predicted,
        found.rows,
        last + 1,
        reason=pl.Series(found.reason.tolist(), dtype=pl.String),
        partner_record_id=pl.Series(partner, dtype=pl.String),
        distance=_or_null(found.distance),
        cluster=pl.Series([int(one) if one >= 0 else None for one in found.cluster], dtype=pl.Int32),
        partner_cluster=pl.Series([int(one) if one >= 0 else None for one in found.partner_cluster], dtype=pl.Int32),
        sampling_probability=_or_null(found.sampling_probability),
    )
    counts = items["reason"].value_counts(sort=True)
    made = ", ".join(f"{count:,} {reason}" for reason, count in counts.iter_rows())
    return Next(items, f"Round {last + 1}: {len(items):,} items queued ({made}).", dict(counts.iter_rows()))


def of_new_concepts(
    warehouse: Warehouse,
    task: Task,
    config: LabelQueueConfig,
    pool: Pool,
    predicted: pl.DataFrame,
    known: np.ndarray,
    size: int,
    last: int,
) -> Next:
    """Items of the concepts that new batches brought: as many of each as it has records, spread over it."""
    if not last:
        return nothing("There is no round before this one, so nothing is new: queue everything first.")
    arrived = warehouse.query(ARRIVED_SINCE, task=task.name)
    is_new = np.zeros(len(pool.record_ids), dtype=bool)
    is_new[pool.rows(arrived.filter("is_new")["record_id"].to_list())] = True
    new_rows = np.flatnonzero(is_new)
    if not len(new_rows):
        return nothing("No record came in since the last round was queued.")
    found = new_concepts(
        pool.vectors[~is_new],
        pool.vectors[new_rows],
        false_alarm=config.new_concept_false_alarm,
        least_ratio=config.new_concept_least_ratio,
        seed=config.seed,
    )
    rows, concept = spread_over(pool.vectors, new_rows, found, known, size, config)
    if not len(rows):
        return nothing(
            f"{len(new_rows):,} records came in since the last round was queued, and the older ones cover them: there is no new concept."
        )
    empty = {"partner_record_id": pl.String, "partner_cluster": pl.Int32, "distance": pl.Float64}
    items = items_of(
        task,
        pool,
        predicted,
        rows,
        last + 1,
        reason=pl.Series(["new_concept"] * len(rows)),
        cluster=pl.Series(concept, dtype=pl.Int32),
        sampling_probability=pl.Series([None] * len(rows), dtype=pl.Float64),
        **{name: pl.Series([None] * len(rows), dtype=kind) for name, kind in empty.items()},
    )
    sizes = [
        f"{count:,} records, {ratio:.0f} times as frequent as before"
        for count, ratio in zip(found.records, found.ratio, strict=True)
    ]
    said = (
        f"{len(found.records)} new concept{'s' if len(found.records) > 1 else ''} among {len(new_rows):,} new records"
    )
    notes = {
        "new_records": len(new_rows),
        "new_concept_records": found.records.tolist(),
        "p_values": found.p_value.tolist(),
    }
    return Next(items, f"Round {last + 1}: {len(items):,} items queued, of {said} ({'; '.join(sizes)}).", notes)


def spread_over(
    vectors: np.ndarray,
    new_rows: np.ndarray,
    found: NewConcepts,
    known: np.ndarray,
    size: int,
    config: LabelQueueConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pool that stand for the new concepts, and the concept of each: shares by records, one of each at least."""
    rows, concepts = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for number, records in enumerate(found.records.tolist()):
        left = size - sum(map(len, rows))
        share = min(left, max(1, round(size * records / int(found.records.sum()))))
        members = np.setdiff1d(new_rows[found.concept == number], known)
        asked_about = vectors[np.concatenate([known, *rows])]
        if len(asked_about) and len(members):
            members = members[(vectors[members] @ asked_about.T).max(axis=1) <= config.near_duplicate_cosine]
        picked = representatives(vectors[members], share, most_alike=config.near_duplicate_cosine, seed=config.seed)
        rows.append(members[picked])
        concepts.append(np.full(len(picked), number))
    return np.concatenate(rows), np.concatenate(concepts)


def items_of(
    task: Task, pool: Pool, predicted: pl.DataFrame, rows: np.ndarray, number: int, **columns: pl.Series
) -> pl.DataFrame:
    """Rows of label_queue.items in their order, with what was predicted of them."""
    ids = [pool.record_ids[row] for row in rows]
    said = predicted[rows.tolist()]
    return pl.DataFrame(
        {
            "item_id": [item_id(task.name, one) for one in ids],
            "record_id": ids,
            "position": pl.Series(range(1, len(ids) + 1), dtype=pl.Int32),
            "predicted_label": said["label"],
            "predicted_probability": said["probability"],
            **columns,
        }
    ).with_columns(task=pl.lit(task.name), round=pl.lit(number, pl.Int32), queued_at=pl.lit(datetime.now(timezone.utc)))


def item_id(task: str, record_id: str) -> str:
    """The id of a record as an item of a task."""
    return hashlib.sha256(f"{task}\x1f{record_id}".encode()).hexdigest()[:32]


def still_open(warehouse: Warehouse, task: Task, last: int) -> str | None:
    """What is still to be labelled of the last round, in words; None if nothing is."""
    raters = task.settings["raters_per_item"]
    items, untouched = warehouse.query(
        OPEN_ITEMS, task=task.name, classes=task.class_names, round=last, raters=raters
    ).row(0)
    if not items:
        return None
    asked = f"{raters} expert{'s are' if raters > 1 else ' is'} to answer each"
    return (
        f"Round {last} is still open: {items:,} of its items are not labelled to the end ({untouched:,} by nobody yet; {asked}). "
        "No further items are queued; label_queue.even_if_open: true queues them all the same."
    )


def why_enough(warehouse: Warehouse, task: Task, left: int, *, after_drift: bool) -> str | None:
    """Why no more is to be labelled; None to go on. A new concept is labelled whatever was reached on the old ones."""
    if left < 1 and not after_drift:
        return f"The budget of {task.settings['budget_items']:,} items is queued."
    stop = warehouse.query(LAST_STOP, task=task.name)
    if not len(stop) or stop["stop_reason"][0] in (None, "budget") or after_drift:
        return None
    return stop["stop_sentence"][0]


def warn_of_the_gate(warehouse: Warehouse) -> None:
    """Say so where the experts agree too little: more items will not help before the guideline does."""
    gate = warehouse.query("select verdict, sentence from agreement.gate")
    if len(gate) and gate["verdict"][0] == "below":
        logger.warning("label_queue: %s", gate["sentence"][0])


def make_table(warehouse: Warehouse) -> None:
    """Make label_queue.items where it is not there yet, so that it can be asked."""
    if not warehouse.has_table("label_queue.items"):
        warehouse.append("label_queue.items", no_items())


ITEM_SCHEMA = (
    dict.fromkeys(("item_id", "task", "record_id", "reason", "partner_record_id", "predicted_label"), pl.String)
    | dict.fromkeys(("round", "position", "cluster", "partner_cluster"), pl.Int32)
    | dict.fromkeys(("distance", "predicted_probability", "sampling_probability"), pl.Float64)
    | {"queued_at": pl.Datetime("us", "UTC")}
)


def no_items() -> pl.DataFrame:
    """No row of label_queue.items."""
    return pl.DataFrame(schema=ITEM_SCHEMA)


def nothing(why: str) -> Next:
    """No further round, and why."""
    return Next(no_items(), why, {})


def _or_null(values: Sequence[float]) -> pl.Series:
    return pl.Series(np.asarray(values, dtype=np.float64)).fill_nan(None)
