"""Experts and crowds made of the true classes and their mistakes: acts of labelling as the page would write them."""

import hashlib
import shutil
from datetime import datetime, timedelta, timezone

import numpy as np
import polars as pl
from conftest import materialize

from curation_assets.labelling import journal
from curation_assets.warehouse import Warehouse

START = datetime(2026, 1, 5, 9, tzinfo=timezone.utc)

TASK = {
    "name": "licence",
    "classes": [
        {"name": "documentation", "definition": "Text that explains software."},
        {"name": "licence", "definition": "The terms under which software may be used."},
    ],
    "guideline": "# Licence or documentation?\nTerms of use are **licence**.",
    "raters_per_item": 3,
}


def act(
    record_id,
    rater,
    label=None,
    *,
    task="licence",
    role="expert",
    answer=None,
    at=0.0,
    seconds=8.0,
    origin="page",
    **more,
):
    """One row of expert_labels.labels; `at` in seconds since the simulated Monday morning."""
    answer = answer or ("label" if label is not None else "unsure")
    row = {
        "label_id": hashlib.sha256(repr((record_id, rater, role, answer, label, at)).encode()).hexdigest()[:32],
        "task": task,
        "item_id": None,
        "record_id": record_id,
        "rater": rater,
        "role": role,
        "answer": answer,
        "label": label,
        "comment": None,
        "guideline_version": None,
        "seconds": seconds,
        "labelled_at": START + timedelta(seconds=at),
        "origin": origin,
    }
    return row | more


def with_slips(labels, rate, classes, rng):
    """Labels with independent slips to another class at that rate."""
    return [
        str(rng.choice([one for one in classes if one != label])) if rng.random() < rate else label for label in labels
    ]


def rate(records, truth, raters, *, slips=0.05, seed=0, **more):
    """Every rater labels every record, ten seconds apart, each with slips of their own."""
    rng = np.random.default_rng(seed)
    classes = sorted(set(truth))
    return [
        act(record, rater, label, at=10.0 * place, **more)
        for rater in raters
        for place, (record, label) in enumerate(zip(records, with_slips(truth, slips, classes, rng), strict=True))
    ]


def queue(warehouse, records, *, task="licence", round=1, drawn=None, reason="uncertain"):
    """Queue records as the stage label_queue does. `drawn`: the chance they had in the random share, if they are of it."""
    rows = {
        "item_id": [hashlib.sha256(f"{task}{record}".encode()).hexdigest()[:32] for record in records],
        "task": task,
        "round": round,
        "position": range(1, len(records) + 1),
        "record_id": records,
        "reason": "random" if drawn else reason,
        "partner_record_id": None,
        "distance": None,
        "cluster": 0,
        "partner_cluster": None,
        "predicted_label": None,
        "predicted_probability": None,
        "sampling_probability": drawn,
        "queued_at": START,
    }
    warehouse.append("label_queue.items", pl.DataFrame(rows))


def answer(warehouse, acts):
    """Write acts of labelling to the journal, as the page does."""
    journal.write(warehouse, acts)


def labelled_warehouse(curated, tmp_path):
    """A copy of the curated warehouse, to be labelled."""
    copy = Warehouse(database=str(tmp_path / "labelled.duckdb"))
    shutil.copy(curated.path, copy.path)
    return copy


def pool_of(warehouse):
    """The ids of the records that can be labelled, in order."""
    return warehouse.query("select record_id from filtered.records order by record_id")["record_id"].to_list()


def build(warehouse, *stages, crowd_labels=True, ops=None):
    """Materialize the task and some stages of labelling, with their checks; return the run's result."""
    task = {"label_task": TASK | {"crowd_labels": crowd_labels}}
    result = materialize(warehouse, task | (ops or {}), ["label_task", "lexical_vectors", *stages])
    assert result.success
    return result


def in_force(warehouse):
    """The labels in force: (record, rater) → class, None where there is none."""
    return {
        row[:2]: row[2] for row in warehouse.query("select record_id, rater, label from expert_labels.current").rows()
    }
