"""The journal of labels: answers are safe on disk before anyone is told so, whoever has the database at the time.

A person who labels must not wait for a run, and an answer must not be lost. So acts of labelling are appended to a file
beside the database (`<database>.labels.jsonl`, one JSON object a line) and synced before `write` returns; `fold` moves
them into expert_labels.labels when the database is free. Both may run in any number of processes at once.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from filelock import FileLock

from curation_assets.progress import logger
from curation_assets.tables import tables
from curation_assets.tombstones import without_erased
from curation_assets.warehouse import Warehouse

TABLE = "expert_labels.labels"
ROLES = ("expert", "adjudicator", "crowd", "llm")
ANSWERS = ("label", "unsure", "skip", "undo")
ORIGINS = ("page", "csv", "jsonl", "label_studio", "source")
REQUIRED = ("label_id", "task", "record_id", "rater")
SHOWN_CHARS = 200

_DTYPES = {"seconds": pl.Float64, "labelled_at": pl.Datetime("us", "UTC")}


class LabelError(ValueError):
    """An act of labelling contradicts itself or the task."""


def columns() -> tuple[str, ...]:
    """The columns of expert_labels.labels, which every row of the journal has."""
    return tables()[TABLE].incoming


def journal_path(warehouse: Warehouse) -> Path:
    """The journal, beside the database."""
    return warehouse.path.with_name(f"{warehouse.path.name}.labels.jsonl")


def checked(row: Mapping[str, Any], classes: Collection[str] | None = None) -> dict[str, Any]:
    """An act of labelling as the journal keeps it, if it is sound.

    row has exactly the columns of expert_labels.labels; classes: the names a label may have, where they are known.
    Raises LabelError saying which value is wrong.
    """
    if set(row) != set(columns()):
        wrong = sorted(set(row) ^ set(columns()))
        raise LabelError(
            f"a label has exactly the columns {', '.join(columns())}; missing or unknown: {', '.join(wrong)}"
        )
    for name, allowed in (("role", ROLES), ("answer", ANSWERS), ("origin", ORIGINS)):
        if row[name] not in allowed:
            raise LabelError(f"{name} is {row[name]!r}; it is one of {', '.join(allowed)}")
    if missing := [name for name in REQUIRED if not isinstance(row[name], str) or not row[name].strip()]:
        raise LabelError(f"{', '.join(missing)} must not be empty")
    if (row["answer"] == "label") != (row["label"] is not None):
        raise LabelError(
            f"the answer is {row['answer']} and the label {row['label']!r}: a label stands with the answer `label` only"
        )
    if classes is not None and row["label"] is not None and row["label"] not in classes:
        raise LabelError(f"the label {row['label']!r} is no class of the task; its classes are {', '.join(classes)}")
    if not isinstance(row["labelled_at"], datetime) or row["labelled_at"].tzinfo is None:
        raise LabelError("labelled_at must be a time with its time zone")
    if row["seconds"] is not None and not row["seconds"] >= 0:
        raise LabelError(f"seconds is {row['seconds']!r}; it is a number from 0, or null where unknown")
    return {name: row[name] for name in columns()}


def write(warehouse: Warehouse, rows: Iterable[Mapping[str, Any]], classes: Collection[str] | None = None) -> None:
    """Append acts of labelling to the journal, all or none; they are on disk when this returns. Never waits for the database.

    rows and classes: as `checked` takes them. Raises LabelError if a row is not sound, OSError if the disk does not take them.
    """
    lines = b"".join(orjson.dumps(checked(row, classes), option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    if not lines:
        return
    path = journal_path(warehouse)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _writing(path):
        is_new = not path.exists()
        with path.open("ab") as file:
            size = file.tell()
            try:
                if size and not _ends_with_newline(path):  # a writer was killed in the middle of its line
                    file.write(b"\n")
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)
                raise
        if is_new:
            _sync_folder(path.parent)


def pending(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The acts that the journal holds and the database may not have yet, oldest first."""
    return list(_acts(_content(journal_path(warehouse)), unread=[]))


def fold(warehouse: Warehouse) -> int:
    """Move what the journal holds into expert_labels.labels, each label_id once; return how many acts are new there.

    Waits for the database, so it must not be called while this process has it open. A kill at any point loses nothing and
    doubles nothing: the journal is shortened only after the database has committed. Acts on erased records are left out.
    Raises KeyMissingError where records were erased and the key of their tombstones is not there.
    """
    path = journal_path(warehouse)
    if not path.exists():
        return 0
    with FileLock(f"{path}.fold.lock"):
        content = _content(path)
        unread: list[bytes] = []
        # Whoever had a record on their screen when it was erased may have answered since.
        acts = without_erased(warehouse, _acts(content, unread))
        new = 0
        if acts:
            schema = {name: _DTYPES.get(name, pl.String) for name in columns()}
            frame = pl.DataFrame(acts, schema=schema).unique("label_id", keep="first", maintain_order=True)
            with warehouse.transaction("expert_labels", run_id="") as commit:
                new = int(commit.append_new(TABLE, frame, "label_id")["is_new"].sum())
        if unread:
            _set_aside(path.with_suffix(".unread"), unread)
        if content:
            _drop_first(path, len(content))
    return new


def _acts(content: bytes, unread: list[bytes]) -> Iterator[dict[str, Any]]:
    """The acts in a journal's lines; lines that are none are added to `unread`."""
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            yield checked(row | {"labelled_at": datetime.fromisoformat(row["labelled_at"])})
        except (ValueError, TypeError, KeyError):
            unread.append(line)


def _set_aside(path: Path, lines: list[bytes]) -> None:
    logger.warning(
        "%s of the journal of labels is no whole answer, as it is left when a process is killed while it writes; nobody was told "
        "that it was saved. Kept in %s: %s",
        "A line" if len(lines) == 1 else f"{len(lines)} lines",
        path,
        lines[0][:SHOWN_CHARS].decode("utf-8", "replace"),
    )
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _content(path: Path) -> bytes:
    if not path.exists():
        return b""
    with _writing(path):
        return path.read_bytes()


def _drop_first(path: Path, size: int) -> None:
    """Take the first bytes off the journal; what was appended behind them since stays."""
    with _writing(path):
        rest = path.read_bytes()[size:]
        shortened = path.with_name(f"{path.name}.new")
        with shortened.open("wb") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        shortened.replace(path)
        _sync_folder(path.parent)


def _writing(path: Path) -> FileLock:
    return FileLock(f"{path}.lock")


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
