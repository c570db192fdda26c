"""Labels in from a file, through the journal like an answer on the page.

A row that cannot be taken in is given back with its number and the reason; it never disappears.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from curation_assets.labelling import journal
from curation_assets.labelling.label_export import TEXTS, queue_of
from curation_assets.labelling.label_files import IDENTIFYING, Row, read_rows, unmarked, write_table
from curation_assets.labelling.snapshot import acts_of
from curation_assets.labelling.standing import Standing
from curation_assets.labelling.task import Task, current_task
from curation_assets.warehouse import Warehouse

ID_CHARS = 32

NO_LATER_THAN = timedelta(days=1)
"""So far ahead a clock may be; a label from further in the future could never be replaced."""

BY_SOURCE_ID = "select source_record_id as key, record_id from filtered.records where source_record_id in (select unnest($keys::varchar[]))"

BY_TEXT = "select text as key, record_id from filtered.records where text in (select unnest($keys::varchar[]))"


class Rejected(NamedTuple):
    """A row that was not taken in."""

    row: Row
    reason: str


class Imported(NamedTuple):
    """What became of the rows of a file."""

    added: int
    """Labels that are new."""
    known: int
    """Labels that were there already."""
    empty: int
    """Rows without a label."""
    cancelled: int
    """Annotations that were cancelled in Label Studio."""
    ground_truth: int
    """Annotations that are marked as ground truth in Label Studio, counted as what they are: their rater's label."""
    other_texts: int
    """Rows taken in by an id whose text is not that record's."""
    rejected: list[Rejected]


def import_labels(warehouse: Warehouse, path: Path, rater: str | None = None, role: str = "expert") -> Imported:
    """Take in the labels of a file: they are in the database when this returns, each once however often the file comes.

    rater, role: for rows that name none. Without a time of its own a label counts as given now, so of two files that
    contradict each other the one imported later wins. Rows that cannot be taken in are in `rejected` and in a file
    beside this one (`rejected_path`). Raises ExchangeError where the file as a whole is none of labels.
    """
    content, now = path.read_bytes(), datetime.now(timezone.utc)
    rows, origin, cancelled = read_rows(path, content)
    given = [row for row in rows if row.problem or row.values.get("label")]
    with warehouse.reading():
        task = current_task(warehouse)
        acts = acts_of(warehouse, task, journal.pending(warehouse))
        records = _Records(warehouse, task, given)
    standing, known = Standing(acts), {act["label_id"] for act in acts}
    annotations = {_annotation(act) for act in acts if act["origin"] == "label_studio"}
    file_hash = hashlib.sha256(content).hexdigest()
    new, rejected, other_texts = [], [], 0
    for row in given:
        try:
            act = _act(row, records, task, rater, role, now)
        except _NotTakenError as error:
            rejected.append(Rejected(row, str(error)))
            continue
        when = row.values.get("labelled_at") or (file_hash, row.number)
        act["label_id"] = _label_id(act, when)
        act["origin"] = origin
        other_texts += records.has_other_text(act["record_id"], row)
        stands = standing.answer(act["role"], act["rater"], act["record_id"])
        if act["label_id"] in known or (stands and _says_the_same(act, stands)):
            continue
        if origin == "label_studio" and _annotation(act) in annotations:
            continue  # in one export its rater has an address, in another a number
        if stands and not row.values.get("labelled_at") and stands["labelled_at"] >= act["labelled_at"]:
            act["labelled_at"] = stands["labelled_at"] + timedelta(microseconds=1)
        known.add(act["label_id"])
        standing.add(act)
        new.append(act)
    if rejected:
        _write_rejected(path, rejected)
    journal.write(warehouse, new, task.class_names)
    journal.fold(warehouse)
    return Imported(
        added=len(new),
        known=len(given) - len(rejected) - len(new),
        empty=len(rows) - len(given),
        cancelled=cancelled,
        ground_truth=sum(bool(row.values.get("is_ground_truth")) for row in given),
        other_texts=other_texts,
        rejected=rejected,
    )


def rejected_path(path: Path) -> Path:
    """Where the rows of a file go that could not be taken in."""
    return path.with_name(f"{path.name}.rejected.csv")


def _write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    names = dict.fromkeys(name for one in rejected for name in one.row.values)
    rows = [one.row.values | {"file_row": one.row.number, "rejected_because": one.reason} for one in rejected]
    write_table(rejected_path(path), list(dict.fromkeys(("file_row", "rejected_because", *names))), rows)


class _NotTakenError(Exception):
    """A row cannot be taken in; the message is the reason."""


def _act(row: Row, records: "_Records", task: Task, rater: str | None, role: str, now: datetime) -> dict[str, Any]:
    """The act of labelling in a row, but for label_id and origin. Raises _NotTakenError."""
    values = row.values
    if row.problem:
        raise _NotTakenError(row.problem)
    if any(0xD800 <= ord(char) <= 0xDFFF for value in values.values() if isinstance(value, str) for char in value):
        raise _NotTakenError("it holds half a character (a lone surrogate); write the text out anew")
    label = task.renamed.get(values["label"], values["label"])
    if label not in task.class_names:
        raise _NotTakenError(
            f"{values['label']!r} is no class of {task.name}; its classes are {', '.join(task.class_names)}"
        )
    who = values.get("rater") or rater
    if not who:
        raise _NotTakenError("it names no rater; fill in the column `rater`, or give --rater for all rows without")
    if values.get("role", role) not in journal.ROLES:
        raise _NotTakenError(f"the role {values['role']!r} is none of {', '.join(journal.ROLES)}")
    record_id = records.find(row)
    return {
        "task": task.name,
        "item_id": records.item_ids.get(record_id),
        "record_id": record_id,
        "rater": who,
        "role": values.get("role", role),
        "answer": "label",
        "label": label,
        "comment": values.get("comment"),
        "guideline_version": values.get("guideline_version"),
        "seconds": _seconds(values.get("seconds")),
        "labelled_at": _time(values.get("labelled_at"), now) or now + timedelta(microseconds=row.number),
    }


def _seconds(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise _NotTakenError(f"seconds is {value!r}; it is a number from 0")
    return seconds


def _time(value: str | None, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
    except ValueError:
        raise _NotTakenError(f"labelled_at is {value!r}; it is a time such as 2026-01-31T14:05:00+01:00") from None
    time = time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    if time > now + NO_LATER_THAN:
        raise _NotTakenError(f"labelled_at is {value!r}, which has not come yet")
    return time


def _label_id(act: Mapping[str, Any], when: object) -> str:
    said = [act[name] for name in ("task", "rater", "role", "record_id", "label")]
    return hashlib.sha256(json.dumps([*said, when], ensure_ascii=False).encode()).hexdigest()[:ID_CHARS]


def _annotation(act: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells an annotation from others without its rater: Label Studio's times are in microseconds."""
    return act["record_id"], act["role"], act["label"], act["labelled_at"]


def _says_the_same(act: Mapping[str, Any], stands: Mapping[str, Any]) -> bool:
    """Whether a label only repeats what its rater said last, under no other guideline."""
    return act["label"] == stands["label"] and act["guideline_version"] in (None, stands["guideline_version"])


class _Records:
    """The records that the rows of a file may be about, looked up at once."""

    def __init__(self, warehouse: Warehouse, task: Task, rows: Sequence[Row]) -> None:
        queued = queue_of(warehouse, task)
        self.item_ids = {record_id: row["item_id"] for record_id, row in queued.items()}
        self.by_item = {item_id: record_id for record_id, item_id in self.item_ids.items()}
        deciding = [(name, row.values[name]) for row in rows if (name := _deciding(row))]
        keys = {name: [value for one, value in deciding if one == name] for name in IDENTIFYING}
        self.by_source_id = _found(warehouse, BY_SOURCE_ID, keys["source_record_id"])
        self.by_text = _found(warehouse, BY_TEXT, [one for text in keys["text"] for one in _readings(text)])
        ids = {self.by_item.get(item_id, "") for item_id in keys["item_id"]} | set(keys["record_id"])
        ids |= {row.values["record_id"] for row in rows if row.values.get("record_id")}
        ids |= {record_id for found in self.by_source_id.values() for record_id in found}
        self.texts = dict(warehouse.query(TEXTS, ids=sorted(ids)).select("record_id", "text").iter_rows())

    def find(self, row: Row) -> str:
        """The record a row is about. Raises _NotTakenError where none is, or more than one."""
        name = _deciding(row)
        if name is None:
            raise _NotTakenError(f"it does not say which record it is about: {', '.join(IDENTIFYING)} are all empty")
        value = row.values[name]
        if name == "item_id":
            found = {self.by_item[value]} if value in self.by_item else set()
        elif name == "record_id":
            found = {value} & set(self.texts)
        elif name == "source_record_id":
            found = self.by_source_id.get(value, set())
        else:
            found = {record_id for one in _readings(value) for record_id in self.by_text.get(one, ())}
        if not found:
            where = "item in the queue of the task" if name == "item_id" else "record in the pool"
            raise _NotTakenError(f"no {where} has this {name}" + ("" if name == "text" else f": {value}"))
        if len(found) > 1:
            raise _NotTakenError(f"{len(found)} records have this {name}; say which by item_id or record_id")
        record_id = found.pop()
        if name != "text" and record_id not in self.texts:
            raise _NotTakenError("its record is no longer in the pool")
        if row.values.get("record_id", record_id) != record_id:
            raise _NotTakenError("item_id and record_id are those of different records")
        return record_id

    def has_other_text(self, record_id: str, row: Row) -> bool:
        """Whether a row found by its id has a text that is not the record's, but for space at the ends and of lines."""
        texts = {" ".join(one.split()) for one in _readings(row.values.get("text", ""))}
        return "text" in row.values and record_id in self.texts and " ".join(self.texts[record_id].split()) not in texts


def _deciding(row: Row) -> str | None:
    return next((name for name in IDENTIFYING if row.values.get(name)), None)


def _readings(text: str) -> set[str]:
    """What the text of a row may stand for: as it is, without the mark of `marked`, with the line ends of Unix."""
    return {one for text in (text, unmarked(text)) for one in (text, text.replace("\r\n", "\n"))}


def _found(warehouse: Warehouse, question: str, keys: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    if keys:
        for key, record_id in warehouse.query(question, keys=sorted(set(keys))).iter_rows():
            found.setdefault(key, set()).add(record_id)
    return found
