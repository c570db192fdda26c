"""What labelling needs of the database, read at once: task, queued items with their texts, acts of labelling."""

from typing import Any, NamedTuple

import polars as pl

from curation_assets.labelling.journal import TABLE, columns, pending
from curation_assets.labelling.standing import Item
from curation_assets.labelling.task import Task, current_task
from curation_assets.warehouse import Warehouse

SHOWN_CHARS = 50_000
"""Characters of a text that are shown to a rater: who decides on a class has seen enough by then."""

QUEUED = """
select
  i.item_id, i.record_id, i.round, i.position, i.reason, i.partner_record_id, i.distance, i.predicted_label, i.predicted_probability,
  left(r.text, $chars) as text, len(r.text) as text_chars, left(p.text, $chars) as partner_text, len(p.text) as partner_chars
from label_queue.items as i
left join filtered.records as r on r.record_id = i.record_id
left join filtered.records as p on p.record_id = i.partner_record_id
where i.task = $task
order by i.round, i.position
"""


class Snapshot(NamedTuple):
    """The database as it was at one time."""

    task: Task
    items: list[Item]
    """In the queue's order; those whose records are no longer in the pool are left out."""
    gone: int
    """Queued items whose records are no longer in the pool."""
    acts: list[dict[str, Any]]
    """Acts of labelling in this task, those still in the journal included."""


def read_snapshot(warehouse: Warehouse) -> Snapshot:
    """Read what labelling needs. Waits for the database. Raises dagster's Failure if there is no task."""
    waiting = pending(warehouse)  # first: what is folded meanwhile is then found in the database
    task = current_task(warehouse)
    queued = pl.DataFrame()
    if warehouse.has_table("label_queue.items"):
        queued = warehouse.query(QUEUED, task=task.name, chars=SHOWN_CHARS)
    items = [Item(**row) for row in queued.iter_rows(named=True) if row["text"] is not None]
    ignored = ignored_raters(warehouse)
    acts = [
        act
        for act in acts_of(warehouse, task, waiting)
        # As in expert_labels: an answer by a rater who does not count, or with a class the task no longer has, is none.
        if act["rater"] not in ignored and (act["label"] is None or act["label"] in task.class_names)
    ]
    return Snapshot(task, items, len(queued) - len(items), acts)


def ignored_raters(warehouse: Warehouse) -> set[str]:
    """The raters whose answers do not count, by the config of the last round."""
    if not warehouse.has_table("ledger.runs"):
        return set()
    found = warehouse.query(
        "select unnest(raters) as rater from (select max_by((config -> '$.ignored_raters')::varchar[], finished_at) as raters "
        "from ledger.runs where stage = 'expert_labels')"
    )
    return set(found["rater"])


def acts_of(warehouse: Warehouse, task: Task, waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The acts of labelling in a task: the database's and those waiting in the journal, each once, with the classes' names of now."""
    acts = {act["label_id"]: act for act in waiting if act["task"] == task.name}
    if warehouse.has_table(TABLE):
        stored = warehouse.query("select * from expert_labels.labels where task = $task", task=task.name)
        acts |= {act["label_id"]: act for act in stored.select(columns()).iter_rows(named=True)}
    return [act | {"label": task.renamed.get(act["label"], act["label"])} for act in acts.values()]
