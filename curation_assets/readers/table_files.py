"""Tables: CSV and TSV row by row, Parquet batch by batch."""

import csv
import re
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.readers.fields import as_json, named, template_fields
from curation_assets.readers.files import File, LongLine, compression_of, data, lines
from curation_assets.readers.found import Found, Items, long_line, note_blank, reject, too_long, why_not_text
from curation_assets.readers.records import Reject, Source, excerpt

_PARQUET_BATCH_BYTES = 8 << 20


def _missing(source: Source, columns: Sequence[str]) -> list[str]:
    asked = [source.text_field] if source.text_field else []
    asked += template_fields(source.text_template) if source.text_template else []
    return [name for name in asked if name not in columns]


def _unique_names(names: Sequence[str]) -> list[str]:
    """Name every column once.

    >>> _unique_names(["a", "", "a", "a_2"])
    ['a', 'column_2', 'a_2', 'a_2_2']
    """
    unique: list[str] = []
    for at, name in enumerate(names, 1):
        name = name or f"column_{at}"
        n = 1
        while (new := name if n == 1 else f"{name}_{n}") in unique:
            n += 1
        unique.append(new)
    return unique


# --- CSV and TSV ------------------------------------------------------------------------------------------------------

_QUOTES = "if quotes mean nothing in this file, give the source quoting: none"


def _why_not_csv(error: csv.Error, first: int, last: int) -> str:
    message = str(error)
    if "expected after" in message and last > first:
        return f"a quote is opened in it that runs on to line {last} and has text after its end there; {_QUOTES}"
    if "expected after" in message:
        return f"a quote inside a quoted field is not doubled; {_QUOTES}"
    if "unexpected end of data" in message:
        return f"a quote is opened in it and never closed; {_QUOTES}"
    if "new-line character" in message:
        return "it has a carriage return outside quotes"
    return message


def csv_rows(source: Source, uri: str, format: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A record is a row as RFC 4180 has it; its original is the row as a JSON object, every value a string."""
    csv.field_size_limit(max(csv.field_size_limit(), source.max_record_bytes))
    numbered = enumerate(lines(pieces, source.max_record_bytes), 1)
    again: deque[tuple[int, bytes | LongLine]] = deque()  # lines to be read once more, after a record that failed
    taken: list[tuple[int, bytes]] = []  # the lines of the record being read
    long_lines: list[Reject] = []
    faults: list[str] = []

    def physical_lines() -> Iterator[str]:
        while (line_of := again.popleft() if again else next(numbered, None)) is not None:
            number, line = line_of
            size = sum(len(before) + 1 for _, before in taken) if taken else 0
            if taken and (type(line) is LongLine or size + len(line) > source.max_record_bytes):
                again.appendleft(line_of)
                raise csv.Error(f"a quote is opened in it and not closed within max_record_bytes; {_QUOTES}")
            if type(line) is LongLine:
                long_lines.append(long_line(source, uri, number, line, encoding))
                continue
            taken.append((number, line))
            if reason := why_not_text(line, encoding, f"line {number}" if len(taken) > 1 else "line"):
                faults.append(reason)
            if b"\0" in line:
                faults.append(f"byte {line.index(0) + 1} of line {number} is a NUL")
            yield line.decode(encoding, "surrogateescape").replace("\0", " ") + "\n"

    first = next(numbered, None)
    if first is None:
        return
    again.append(first)
    delimiter = _delimiter(uri, format, first[1], notes)
    quoting = csv.QUOTE_NONE if source.quoting == "none" else csv.QUOTE_MINIMAL

    def records() -> Any:
        return csv.reader(physical_lines(), delimiter=delimiter, quoting=quoting, strict=True)

    reader = records()
    header: list[str] = []
    blank = 0
    while True:
        taken.clear()
        faults.clear()
        reason = None
        try:
            cells = next(reader)
        except StopIteration:
            yield from long_lines
            break
        except csv.Error as error:
            # Only the line it began in is given up: what follows may be good rows.
            reason, cells = _why_not_csv(error, taken[0][0], taken[-1][0]), []
            again.extendleft(reversed(taken[1:]))
            del taken[1:]
            reader = records()
        yield from long_lines
        long_lines.clear()
        row = taken[0][0]
        stored = b"\n".join(line for _, line in taken)
        reason = reason or (faults[0] if faults else None)
        if not header:
            if reason or not cells:
                problem = reason or "it is blank"
                yield Reject(uri, None, f"{uri}: its header in line {row} can't be read: {problem}.", excerpt(stored))
                return
            header = _header(uri, cells, notes)
            if missing := _missing(source, header):
                reason = f"{uri}: its header has no column {named(missing)}; it has {named(header)}."
                yield Reject(uri, None, reason, excerpt(stored, encoding))
                return
        elif reason:
            yield reject(uri, "line", row, reason, stored, encoding)
        elif not cells:
            blank += 1
        elif len(cells) != len(header):
            reason = f"it has {len(cells)} fields where the header has {len(header)}"
            yield reject(uri, "line", row, reason, stored, encoding)
        else:
            values = dict(zip(header, cells, strict=True))
            yield Found(row, values, as_json(values))
    note_blank(uri, blank, notes)


def _delimiter(uri: str, format: str, first: bytes | LongLine, notes: list[str]) -> str:
    if format == "tsv":
        return "\t"
    other = max(";\t", key=lambda char: first.count(char.encode())) if type(first) is bytes else ","
    if type(first) is LongLine or b"," in first or other.encode() not in first:
        return ","
    notes.append(f"{uri}: its fields are separated by {'tabs' if other != ';' else 'semicolons'}, not commas.")
    return other


def _header(uri: str, cells: Sequence[str], notes: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    header = _unique_names(names)
    if renamed := [new for new, name in zip(header, names, strict=True) if new != name]:
        notes.append(f"{uri}: header names that are empty or come twice are read as {named(renamed)}.")
    if any(len(name) > 100 or re.fullmatch(r"[-+]?[0-9][0-9.,:/-]*", name) for name in names):
        notes.append(f"{uri}: its first line reads like data ({named(names, 4)}); if it has no header, put one in.")
    return header


# --- Parquet ----------------------------------------------------------------------------------------------------------


def parquet_rows(source: Source, file: File) -> Items:
    """A record is a row; its original is the row as a JSON object."""
    uri = file.uri
    with tempfile.TemporaryFile() as plain:
        stored: IO[bytes] | str = str(file.path)
        if compression_of(file):  # Parquet is read from its end, so a compressed one is unpacked first
            for piece in data(file):
                plain.write(piece)
            stored = plain
        try:
            table = pq.ParquetFile(stored)
        except (pa.ArrowException, OSError) as error:
            yield Reject(uri, None, f"{uri}: it is damaged, or not Parquet: {_first_line(error)}.", "")
            return
        with table:
            yield from _rows_of(source, uri, table)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _holds_strings(type: pa.DataType) -> bool:
    type = type.value_type if pa.types.is_dictionary(type) else type
    return pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)


def _rows_of(source: Source, uri: str, table: pq.ParquetFile) -> Items:
    schema = table.schema_arrow
    columns = _unique_names(schema.names)
    problem = None
    if missing := _missing(source, columns):
        problem = f"it has no column {named(missing)}; it has {named(columns)}"
    elif source.text_field and not _holds_strings(of := schema.field(columns.index(source.text_field)).type):
        problem = f"its column '{source.text_field}' is {of}, not string"
    elif not (source.text_template or any(map(_may_hold_text, schema.types))):
        problem = f"none of its columns holds text; they are {named(columns)}"
    if problem:
        yield Reject(uri, None, f"{uri}: {problem}.", "")
        return
    before = 0
    for group in range(table.num_row_groups):
        meta = table.metadata.row_group(group)
        at_once = _PARQUET_BATCH_BYTES * max(meta.num_rows, 1) // max(meta.total_byte_size, 1)
        row = before
        try:
            for batch in table.iter_batches(min(4096, max(1, at_once)), [group], use_threads=False):
                for values in _values(batch.rename_columns(columns)):
                    row += 1
                    yield _parquet_item(source, uri, row, values)
        except (pa.ArrowException, OSError) as error:
            last = before + meta.num_rows
            reason = f"{uri}: a damaged part of the file, its rows {row + 1} to {last}, can't be read"
            yield Reject(uri, row + 1, f"{reason} ({_first_line(error)}).", "")
        before += meta.num_rows


def _parquet_item(source: Source, uri: str, row: int, values: dict[str, Any] | tuple[str, bytes]) -> Found | Reject:
    if not isinstance(values, dict):
        return reject(uri, "row", row, *values)
    original = as_json(values)
    if len(original) > source.max_record_bytes:
        return reject(uri, "row", row, too_long(source, len(original)), original)
    return Found(row, values, original)


def _values(batch: pa.RecordBatch) -> list[Any]:
    """Take the rows of a batch as dicts; a row that is no text where it should be, as reason and bytes."""
    batch = _without_nanoseconds(batch)
    try:
        batch.validate(full=True)  # reading does not look at the bytes of strings
        return batch.to_pylist()
    except (pa.ArrowException, ValueError):
        return [_one_row(batch.slice(i, 1)) for i in range(batch.num_rows)]


def _may_hold_text(type: pa.DataType) -> bool:
    return _holds_strings(type) or pa.types.is_nested(type)


def _one_row(row: pa.RecordBatch) -> dict[str, Any] | tuple[str, bytes]:
    """Take the row of a batch in which some row is damaged: its values, or what is wrong and the bytes it is about."""
    values = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            values[name] = column.to_pylist()[0]
        except (pa.ArrowException, ValueError) as error:
            stored = column.cast(pa.binary())[0].as_py() if _holds_strings(column.type) else b""
            reason = why_not_text(stored, "utf-8", f"column '{name}'") or f"its column '{name}' is {_first_line(error)}"
            return reason, stored
    return values


def _without_nanoseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Round times to microseconds, the finest that Python and DuckDB timestamps hold."""
    arrays = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
