"""The files that items go out in and labels come in: CSV, TSV, JSON Lines, and Label Studio's JSON; their columns and rows."""

import csv
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from curation_assets.labelling.label_studio import is_export, labels_of

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

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet takes for a formula or, after apostrophes, what we must mark to read it back as it was
(OWASP, CSV Injection: a cell that begins with = + - @, tab or carriage return)."""


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


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON Lines or, marked against formulas, as a table; the file is there when it is whole."""
    if path.suffix.lower() == ".jsonl":
        kept = ({name: _written(row.get(name)) for name in columns} for row in rows)
        write(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
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


def write(path: Path, parts: Iterable[str]) -> None:
    """Write a text; the file is there when it is whole."""
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
    rows = [Row(number, filled(values), values.get("problem")) for number, values in enumerate(annotations, 1)]
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
        values = filled(dict(zip(names, cells, strict=False)))
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
    return Row(number, filled(found))


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something, as text but for the record's text without space around them; true, lists … as JSON."""
    kept = {}
    for name, value in values.items():
        if not name or value is None or name == "problem":
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if text.strip():
            kept[name] = text if name == "text" else text.strip()
    return kept
