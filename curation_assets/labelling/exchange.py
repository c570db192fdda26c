"""Labels as files: items out to be labelled elsewhere, labels in from CSV, TSV, JSON Lines and Label Studio.

What comes in goes through the journal like an answer on the page. A row that cannot be taken in is given back with its
number and the reason; it never disappears.
"""

import csv
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation_assets.labelling import journal
from curation_assets.labelling.label_studio import config_xml, is_export, labels_of, tasks
from curation_assets.labelling.snapshot import acts_of, read_snapshot
from curation_assets.labelling.standing import Standing, wants_labels
from curation_assets.labelling.task import Task, current_task
from curation_assets.warehouse import Warehouse

ITEM_COLUMNS = (
    *("item_id", "source_record_id", "text", "label", "rater"),
    *("record_id", "reason", "round", "partner_record_id", "guideline_version"),
)
"""Columns of a file of items; the first five are the ones a rater looks at or fills in."""

LABEL_COLUMNS = (*ITEM_COLUMNS, "role", "comment", "seconds", "labelled_at", "origin")
"""Columns of a file of labels."""

IDENTIFYING = ("item_id", "record_id", "source_record_id", "text")
"""Columns that say which record a row is about: the first that is not empty decides."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".json")
ID_CHARS = 32
NO_LATER_THAN = timedelta(days=1)
"""So far ahead a clock may be; a label from further in the future could never be replaced."""

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet takes for a formula or, after apostrophes, what we must mark to read it back as it was
(OWASP, CSV Injection: a cell that begins with = + - @, tab or carriage return)."""

TEXTS = (
    "select record_id, source_record_id, text from filtered.records where record_id in (select unnest($ids::varchar[]))"
)
BY_SOURCE_ID = "select source_record_id as key, record_id from filtered.records where source_record_id in (select unnest($keys::varchar[]))"
BY_TEXT = "select text as key, record_id from filtered.records where text in (select unnest($keys::varchar[]))"
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


class ExchangeError(ValueError):
    """A file cannot be written or read as a whole."""


class Row(NamedTuple):
    """A row of a file that labels come from."""

    number: int
    """Row of the table, its header being 1; line of JSON Lines; annotation of a Label Studio export, from 1."""
    values: dict[str, Any]
    """By column, empty ones left out."""
    problem: str | None = None
    """Why it cannot be read, if it cannot."""


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


# Out


def export_items(warehouse: Warehouse, path: Path, rater: str | None = None, label_studio: bool = False) -> int:
    """Write the items that still want labels, with room for label and rater; return how many.

    rater: fill in this name, and leave out what they have answered. label_studio: tasks as JSON, and the labelling
    interface beside it (`interface_path`). Raises ExchangeError where the file is there already or its suffix is none of ours.
    """
    _must_be_new(path, (".json",) if label_studio else (".csv", ".tsv", ".jsonl"))
    journal.fold(warehouse)
    snapshot = read_snapshot(warehouse)
    standing, task = Standing(snapshot.acts), snapshot.task
    wanted = int(task.settings.get("raters_per_item", 3))
    items = [
        item
        for item in snapshot.items
        if wants_labels(item, standing, wanted) and not (rater and standing.answer("expert", rater, item.record_id))
    ]
    ids = {item.record_id for item in items} | {item.partner_record_id for item in items if item.partner_record_id}
    records = {row["record_id"]: row for row in warehouse.query(TEXTS, ids=sorted(ids)).iter_rows(named=True)}
    rows = [
        item._asdict()
        | {"guideline_version": task.guideline_version, "rater": rater, "label": None}
        | records[item.record_id]
        | {"partner_text": records.get(item.partner_record_id, {}).get("text")}
        for item in items
    ]
    if label_studio:
        _write(interface_path(path), [config_xml(task)])
        _write(path, [json.dumps(tasks(rows), ensure_ascii=False, indent=1), "\n"])
    else:
        _write_table(path, ITEM_COLUMNS, rows)
    return len(rows)


def interface_path(path: Path) -> Path:
    """Where the labelling interface for Label Studio is put beside its tasks."""
    return path.with_suffix(".xml")


def export_labels(warehouse: Warehouse, path: Path) -> int:
    """Write the labels in force of all raters, one row each; return how many. Raises ExchangeError as export_items does."""
    _must_be_new(path, (".csv", ".tsv", ".jsonl"))
    journal.fold(warehouse)
    task = current_task(warehouse)
    rows: list[dict[str, Any]] = []
    if warehouse.has_table(journal.TABLE):
        queued = _queue(warehouse, task)
        nowhere = dict.fromkeys(("item_id", "reason", "round", "position", "partner_record_id"))
        rows = [
            row | queued.get(row["record_id"], nowhere) | {"label": task.renamed.get(row["label"], row["label"])}
            for row in warehouse.query(LABELS, task=task.name).iter_rows(named=True)
        ]
        last = (math.inf, math.inf)
        rows.sort(
            key=lambda row: (
                *((row["round"], row["position"]) if row["round"] else last),
                *(row[name] for name in ("record_id", "role", "rater")),
            )
        )
    _write_table(path, LABEL_COLUMNS, rows)
    return len(rows)


def _must_be_new(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise ExchangeError(f"{path}: the name must end in {' or '.join(suffixes)}, which says what to write.")
    for one in (path, interface_path(path)) if path.suffix.lower() == ".json" else (path,):
        if one.exists():
            raise ExchangeError(f"{one} is there already and may hold somebody's labels; give another name.")


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    if path.suffix.lower() == ".jsonl":
        kept = ({name: _written(row.get(name)) for name in columns} for row in rows)
        _write(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        return
    partial = _partial(path)
    with partial.open(
        "w", encoding="utf-8-sig", newline="", errors="backslashreplace"
    ) as file:  # the mark tells spreadsheets that it is UTF-8
        # The line end has \r in it so that a text with \r is quoted.
        table = csv.writer(file, delimiter=DELIMITERS[path.suffix.lower()], lineterminator="\r\n")
        table.writerow(columns)
        table.writerows([marked(_written(row.get(name))) for name in columns] for row in rows)
    partial.replace(path)


def _write(path: Path, parts: Iterable[str]) -> None:
    partial = _partial(path)
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)
    partial.replace(path)


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")


def _written(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def marked(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: one apostrophe more before what looks like one.

    >>> marked("=1+1"), marked("'=1+1"), marked("it's = 2")
    ("'=1+1", "''=1+1", "it's = 2")
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def unmarked(value: str) -> str:
    """The value that `marked` made a cell of.

    >>> unmarked("'=1+1"), unmarked("''=1+1"), unmarked("=1+1"), unmarked("'tis")
    ('=1+1', "'=1+1", '=1+1', "'tis")
    """
    return value[1:] if value.startswith("'") and FORMULA.match(value) else value


# In


def import_labels(warehouse: Warehouse, path: Path, rater: str | None = None, role: str = "expert") -> Imported:
    """Take in the labels of a file: they are in the database when this returns, each once however often the file comes.

    rater, role: for rows that name none. Without a time of its own a label counts as given now, so of two files that
    contradict each other the one imported later wins. Rows that cannot be taken in are in `rejected` and in a file
    beside this one (`rejected_path`). Raises ExchangeError where the file as a whole is none of labels.
    """
    content, now = path.read_bytes(), datetime.now(timezone.utc)
    rows, origin, cancelled = read_rows(path, content)
    given = [row for row in rows if row.problem or row.values.get("label")]
    task = current_task(warehouse)
    acts = acts_of(warehouse, task, journal.pending(warehouse))
    standing, known = Standing(acts), {act["label_id"] for act in acts}
    annotations = {_annotation(act) for act in acts if act["origin"] == "label_studio"}
    records = _Records(warehouse, task, given)
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
    _write_table(rejected_path(path), list(dict.fromkeys(("file_row", "rejected_because", *names))), rows)


def read_rows(path: Path, content: bytes) -> tuple[list[Row], str, int]:
    """The rows of a file that labels come from, the origin its labels have, and how many annotations were cancelled.

    Raises ExchangeError where it is none.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ExchangeError(f"{path}: labels come as {', '.join(SUFFIXES)}; the suffix says which.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExchangeError(f"{path} is not UTF-8 ({error}). A spreadsheet writes it as `CSV UTF-8`.") from error
    if suffix in DELIMITERS:
        return _table_rows(path, text, DELIMITERS[suffix]), "csv", 0
    if suffix == ".jsonl":
        lines = enumerate(text.split("\n"), 1)
        return [_json_row(number, line) for number, line in lines if line.strip()], "jsonl", 0
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ExchangeError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, list) or not is_export(found):
        raise ExchangeError(
            f"{path} is no export of Label Studio: JSON or JSON-MIN, a list of tasks with their annotations, was expected."
        )
    annotations, cancelled = labels_of(found)
    rows = [Row(number, _filled(values), values.get("problem")) for number, values in enumerate(annotations, 1)]
    return rows, "label_studio", cancelled


def _table_rows(path: Path, text: str, delimiter: str) -> list[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), min(len(text) + 1, sys.maxsize)))
    try:
        header, *lines = list(csv.reader(_lines(text), delimiter=delimiter)) or [[]]
    except csv.Error as error:
        raise ExchangeError(f"{path} cannot be read as a table: {error}") from error
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if "label" not in names or not set(names) & set(IDENTIFYING) or repeated:
        raise ExchangeError(
            f"{path}: the first row must name the columns, among them `label` and one of {', '.join(IDENTIFYING)}, each once; "
            f"it says {', '.join(names)[:200] or 'nothing'}."
        )
    rows = []
    for number, cells in enumerate(lines, 2):
        if not any(cells):
            continue
        values = _filled(dict(zip(names, cells, strict=False)))
        is_wide = any(cells[len(names) :])
        values = {name: value if name == "text" else unmarked(value) for name, value in values.items()}
        rows.append(Row(number, values, "it has more cells than the first row has columns" if is_wide else None))
    return rows


def _lines(text: str) -> Iterator[str]:
    r"""The lines with their ends, for csv.reader: those of a file, not those of str.splitlines, which cuts at \x0b, \u2028 … too."""
    return (match.group() for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text))


def _json_row(number: int, line: str) -> Row:
    try:
        found = json.loads(line)
    except ValueError as error:
        return Row(number, {"line": line}, f"the line is no JSON: {error}")
    if not isinstance(found, dict):
        return Row(number, {"line": line}, "the line is no JSON object")
    return Row(number, _filled(found))


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something, as text but for the record's text without space around them; true, lists … as JSON."""
    kept = {}
    for name, value in values.items():
        if not name or value is None or name == "problem":
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if text.strip():
            kept[name] = text if name == "text" else text.strip()
    return kept


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
        queued = _queue(warehouse, task)
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


def _queue(warehouse: Warehouse, task: Task) -> dict[str, dict[str, Any]]:
    """The task's queued items by record."""
    if not warehouse.has_table("label_queue.items"):
        return {}
    rows: pl.DataFrame = warehouse.query(QUEUE, task=task.name)
    return {row["record_id"]: row for row in rows.iter_rows(named=True)}
