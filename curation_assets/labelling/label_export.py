"""Items out to be labelled elsewhere, and labels out as files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.labelling import journal
from curation_assets.labelling.label_files import ITEM_COLUMNS, LABEL_COLUMNS, ExchangeError, write, write_table
from curation_assets.labelling.label_studio import config_xml, tasks
from curation_assets.labelling.snapshot import read_snapshot
from curation_assets.labelling.standing import Standing, wants_labels
from curation_assets.labelling.task import Task, current_task
from curation_assets.owners_ids import hidden_now, hide_columns
from curation_assets.warehouse import Warehouse

TEXTS = (
    "select record_id, source_record_id, text from filtered.records where record_id in (select unnest($ids::varchar[]))"
)

QUEUE = (
    "select record_id, item_id, reason, round, position, partner_record_id from label_queue.items where task = $task"
)

LABELS = """
with last_acts as (
  select *
  from expert_labels.labels
  where task = $task
  qualify row_number() over (partition by rater, role, record_id order by labelled_at desc, label_id desc) = 1
)
select a.* exclude (item_id, task, label_id, answer), r.source_record_id, r.text
from last_acts as a
left join filtered.records as r on r.record_id = a.record_id
where a.answer = 'label'
"""


def export_items(warehouse: Warehouse, path: Path, rater: str | None = None, label_studio: bool = False) -> int:
    """Write the items that still want labels, with room for label and rater; return how many.

    rater: fill in this name, and leave out what they have answered. label_studio: tasks as JSON, and the labelling
    interface beside it (`interface_path`). Raises ExchangeError where the file is there already or its suffix is none of ours.
    """
    _must_be_new(path, (".json",) if label_studio else (".csv", ".tsv", ".jsonl"))
    journal.fold(warehouse)
    with warehouse.reading():
        snapshot = read_snapshot(warehouse)
        standing, task = Standing(snapshot.acts), snapshot.task
        wanted = int(task.settings.get("raters_per_item", 3))
        items = [
            item
            for item in snapshot.items
            if wants_labels(item, standing, wanted) and not (rater and standing.answer("expert", rater, item.record_id))
        ]
        ids = {item.record_id for item in items} | {item.partner_record_id for item in items if item.partner_record_id}
        texts = hide_columns(warehouse.query(TEXTS, ids=sorted(ids)), hidden_now(warehouse))
    records = {row["record_id"]: row for row in texts.iter_rows(named=True)}
    rows = [
        item._asdict()
        | {"guideline_version": task.guideline_version, "rater": rater, "label": None}
        | records[item.record_id]
        | {"partner_text": records.get(item.partner_record_id, {}).get("text")}
        for item in items
    ]
    if label_studio:
        write(interface_path(path), [config_xml(task)])
        write(path, [json.dumps(tasks(rows), ensure_ascii=False, indent=1), "\n"])
    else:
        write_table(path, ITEM_COLUMNS, rows)
    return len(rows)


def interface_path(path: Path) -> Path:
    """Where the labelling interface for Label Studio is put beside its tasks."""
    return path.with_suffix(".xml")


def export_labels(warehouse: Warehouse, path: Path) -> int:
    """Write the labels in force of all raters, one row each; return how many. Raises ExchangeError as export_items does."""
    _must_be_new(path, (".csv", ".tsv", ".jsonl"))
    journal.fold(warehouse)
    with warehouse.reading():
        rows = _labels(warehouse, current_task(warehouse)) if warehouse.has_table(journal.TABLE) else []
    write_table(path, LABEL_COLUMNS, rows)
    return len(rows)


def _labels(warehouse: Warehouse, task: Task) -> list[dict[str, Any]]:
    """The labels in force with the items they are of, in the order of the queue."""
    queued = queue_of(warehouse, task)
    nowhere = dict.fromkeys(("item_id", "reason", "round", "position", "partner_record_id"))
    found = hide_columns(warehouse.query(LABELS, task=task.name), hidden_now(warehouse))
    rows = [
        row | queued.get(row["record_id"], nowhere) | {"label": task.renamed.get(row["label"], row["label"])}
        for row in found.iter_rows(named=True)
    ]
    last = (math.inf, math.inf)
    rows.sort(
        key=lambda row: (
            *((row["round"], row["position"]) if row["round"] else last),
            *(row[name] for name in ("record_id", "role", "rater")),
        )
    )
    return rows


def _must_be_new(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise ExchangeError(f"{path}: the name must end in {' or '.join(suffixes)}, which says what to write.")
    for one in (path, interface_path(path)) if path.suffix.lower() == ".json" else (path,):
        if one.exists():
            raise ExchangeError(f"{one} is there already and may hold somebody's labels; give another name.")


def queue_of(warehouse: Warehouse, task: Task) -> dict[str, dict[str, Any]]:
    """The task's queued items by record."""
    if not warehouse.has_table("label_queue.items"):
        return {}
    rows: pl.DataFrame = warehouse.query(QUEUE, task=task.name)
    return {row["record_id"]: row for row in rows.iter_rows(named=True)}
