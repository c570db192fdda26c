"""From the bytes of a file to its records, whatever its format; here too those of lines, whole texts and WARC.

Each format has a function that yields a `Found` for every record and a `Reject` for everything that is none, in file order: those of
JSON are in `json_files.py`, those of tables in `table_files.py`. Which field of a record is its text is decided afterwards, in
`fields.py`.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from curation_assets.readers import warc
from curation_assets.readers.fields import (
    SAMPLE_RECORDS,
    Fields,
    as_json,
    choose_fields,
    field_rule,
    holds_text,
    named,
    record_row,
)
from curation_assets.readers.files import BrokenOff, File, LongLine, SourceError, data, format_of, lines, text_bytes
from curation_assets.readers.found import Found, Items, long_line, note_blank, reject, too_long, why_not_text
from curation_assets.readers.json_files import is_json_lines, json_items, json_lines
from curation_assets.readers.records import Record, Reject, Source, Unusable, excerpt
from curation_assets.readers.table_files import csv_rows, parquet_rows

_SAMPLE_BYTES = 16 << 20  # the sample ends here if its records are large

_UNITS = {
    "jsonl": "line",
    "lines": "line",
    "csv": "line",
    "tsv": "line",
    "json": "element",
    "parquet": "row",
    "warc": "record",
}


def rows(source: Source, file: File, notes: list[str]) -> Iterator[Record | Reject]:
    """Read one file: a Record or a Reject for each thing in it, each kind in file order."""
    format = format_of(source, file, notes)
    try:
        if format == "json" and is_json_lines(source, file):
            format = "jsonl"
        yield from _rows(source, file, format, notes)
    except BrokenOff as error:
        unit = _UNITS.get(format)
        at = f" at {unit} {error.row}; what came before is read, what followed is lost" if error.row else ""
        yield Reject(file.uri, error.row, f"{file.uri}: {error}{at}.", excerpt(error.rest))
    except OSError as error:
        yield Reject(file.uri, None, f"{file.uri}: it can't be read: {error.strerror or error}.", "")


def items(source: Source, file: File) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read one file whole: row and fields of each record, whatever they mean.

    Raises SourceError at the first thing that can't be read, naming file and row.
    """
    notes: list[str] = []
    format = format_of(source, file, notes)
    try:
        if format == "json" and is_json_lines(source, file):
            format = "jsonl"
        for item in _items(source, file, format, notes):
            if isinstance(item, Reject):
                raise SourceError(f"Source '{source.name}': {item.reason}")
            yield item.row, item.values
    except BrokenOff as error:
        at = f" at {_UNITS.get(format, 'row')} {error.row}" if error.row else ""
        raise SourceError(f"Source '{source.name}': {file.uri}: {error}{at}.") from error
    except OSError as error:
        raise SourceError(f"Source '{source.name}': {file.uri} can't be read: {error.strerror or error}.") from error


def _rows(source: Source, file: File, format: str, notes: list[str]) -> Iterator[Record | Reject]:
    """Choose the file's fields from its first good records, then turn every record into a row."""
    items = _items(source, file, format, notes)
    first: list[Found] = []
    size = n_rejects = 0
    broken = None
    try:
        for item in items:
            if type(item) is Reject:
                n_rejects += 1
                yield item
                continue
            first.append(item)
            size += len(item.original)
            if len(first) == SAMPLE_RECORDS or size >= _SAMPLE_BYTES:
                break
    except BrokenOff as error:
        broken = error
    if first:
        yield from _typed(source, file.uri, format, first, () if broken else items, notes)
    if broken:
        raise broken
    if not first and not n_rejects:
        notes.append(f"{file.uri}: it is empty, there is no record in it.")


def _typed(
    source: Source, uri: str, format: str, first: list[Found], others: Iterable[Found | Reject], notes: list[str]
) -> Iterator[Record | Reject]:
    if format == "warc":
        fields = Fields(field_rule("text"), source.kind, is_given=True, id="uri", time="date")
    elif format in ("text", "lines", "html"):
        fields = Fields(field_rule("text"), source.kind or ("html" if format == "html" else None))
    else:
        fields = choose_fields(source, uri, [found.values for found in first], notes)
    if format in ("csv", "tsv", "parquet") and not holds_text(fields, [found.values for found in first]):
        yield Reject(uri, None, f"{uri}: none of its columns holds text; they are {named(first[0].values)}.", "")
        return
    unit = _UNITS.get(format)
    kinds: dict[str, int] = {}
    for item in chain(first, others):
        if type(item) is Reject:
            yield item
            continue
        try:
            is_page = format == "warc" and source.kind is None and warc.is_html(item.values)
            of = fields._replace(kind="html") if is_page else fields
            row = record_row(of, source, uri, item.row, item.values, item.original)
        except Unusable as error:
            yield reject(uri, unit, item.row, str(error), item.original)
        else:
            kinds[row.kind] = kinds.get(row.kind, 0) + 1
            yield row
    if len(kinds) > 1:
        told = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items(), key=lambda of: (-of[1], of[0])))
        notes.append(f"{uri}: its records are of {len(kinds)} kinds, told apart one by one: {told}.")


def _items(source: Source, file: File, format: str, notes: list[str]) -> Items:
    if format == "parquet":
        return parquet_rows(source, file)
    if format == "warc":
        return _warc(source, file, notes)
    encoding, pieces = text_bytes(file, source.encoding, notes)
    if format in ("csv", "tsv"):
        return csv_rows(source, file.uri, format, encoding, pieces, notes)
    if format in ("text", "html"):
        return _text(source, file.uri, encoding, pieces)
    read = {"jsonl": json_lines, "json": json_items, "lines": _lines}[format]
    return read(source, file.uri, encoding, pieces, notes)


def _text(source: Source, uri: str, encoding: str, pieces: Iterator[bytes]) -> Items:
    """A whole file is one record; its original is the text as a JSON string."""
    held = bytearray()
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size <= source.max_record_bytes:
                held += piece
    except BrokenOff as error:
        error.rest = bytes(held)
        raise
    if size > source.max_record_bytes:
        yield reject(uri, None, 1, too_long(source, size), bytes(held), encoding)
    elif reason := why_not_text(bytes(held), encoding, "file"):
        yield reject(uri, None, 1, reason, bytes(held), encoding)
    elif held:
        text = held.decode(encoding)
        yield Found(1, {"text": text}, as_json(text))


def _lines(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A line is a record; its original is the line as a JSON string."""
    blank = 0
    for row, line in enumerate(lines(pieces, source.max_record_bytes), 1):
        if type(line) is LongLine:
            yield long_line(source, uri, row, line, encoding)
        elif not line.strip():
            blank += 1
        elif reason := why_not_text(line, encoding, "line"):
            yield reject(uri, "line", row, reason, line, encoding)
        else:
            text = line.decode(encoding).removesuffix("\r")
            yield Found(row, {"text": text}, as_json(text))
    note_blank(uri, blank, notes)


def _warc(source: Source, file: File, notes: list[str]) -> Items:
    """A record is a page; its original is a JSON object of its fields, the payload as text."""
    for item in warc.pages(file.uri, data(file), source.max_record_bytes, notes):
        yield item if type(item) is Reject else Found(item[0], item[1], as_json(item[1]))
