"""From the bytes of a file to its records, one function a format: JSON Lines, JSON, CSV, Parquet, lines, whole texts, WARC.

Each function yields a `Found` for every record and a `Reject` for everything that is none, in file order. Which field
of a record is its text is decided afterwards, in `fields.py`.
"""

import codecs
import csv
import json
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.readers import warc
from curation_assets.readers.fields import (
    SAMPLE_RECORDS,
    Fields,
    as_json,
    choose_fields,
    field_rule,
    holds_text,
    is_one_record,
    named,
    record_row,
    template_fields,
)
from curation_assets.readers.files import (
    BrokenOff,
    File,
    LongLine,
    SourceError,
    compression_of,
    data,
    format_of,
    lines,
    text_bytes,
)
from curation_assets.readers.records import Record, Reject, Source, Unusable, excerpt, json_type

_SAMPLE_BYTES = 16 << 20  # the sample ends here if its records are large
_WHOLE_OBJECT_BYTES = 64 << 20  # a JSON file that is one object is held whole up to this size
_PARQUET_BATCH_BYTES = 8 << 20
_UNITS = {
    "jsonl": "line",
    "lines": "line",
    "csv": "line",
    "tsv": "line",
    "json": "element",
    "parquet": "row",
    "warc": "record",
}


class Found(NamedTuple):
    """One record of a file before its fields are chosen; the original is JSON in UTF-8."""

    row: int
    values: dict[str, Any]
    original: bytes


Items = Iterator[Found | Reject]


def rows(source: Source, file: File, notes: list[str]) -> Iterator[Record | Reject]:
    """Read one file: a Record or a Reject for each thing in it, each kind in file order."""
    format = format_of(source, file, notes)
    try:
        if format == "json" and _is_json_lines(source, file):
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
        if format == "json" and _is_json_lines(source, file):
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
            yield _reject(uri, unit, item.row, str(error), item.original)
        else:
            kinds[row.kind] = kinds.get(row.kind, 0) + 1
            yield row
    if len(kinds) > 1:
        told = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items(), key=lambda of: (-of[1], of[0])))
        notes.append(f"{uri}: its records are of {len(kinds)} kinds, told apart one by one: {told}.")


def _items(source: Source, file: File, format: str, notes: list[str]) -> Items:
    if format == "parquet":
        return _parquet(source, file)
    if format == "warc":
        return _warc(source, file, notes)
    encoding, pieces = text_bytes(file, source.encoding, notes)
    if format in ("csv", "tsv"):
        return _csv(source, file.uri, format, encoding, pieces, notes)
    if format in ("text", "html"):
        return _text(source, file.uri, encoding, pieces)
    read = {"jsonl": _json_lines, "json": _json, "lines": _lines}[format]
    return read(source, file.uri, encoding, pieces, notes)


def _reject(uri: str, unit: str | None, row: int, reason: str, shown: bytes | str, encoding: str = "utf-8") -> Reject:
    where = f"{uri}, {unit} {row}" if unit else uri
    return Reject(uri, row, f"{where}: {reason}.", excerpt(shown, encoding))


def _too_long(source: Source, size: int) -> str:
    return f"its {size:,} bytes are over max_record_bytes ({source.max_record_bytes:,})"


def _long_line(source: Source, uri: str, row: int, line: LongLine, encoding: str) -> Reject:
    reason = f"{_too_long(source, line.size_bytes)}; it begins at byte {line.offset:,} of the file"
    return _reject(uri, "line", row, reason, line.head, encoding)


def _why_not_text(data: bytes, encoding: str, of: str) -> str | None:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return f"it is not valid {encoding.upper()}: byte {error.start + 1} of the {of} is \\x{data[error.start]:02x}"
    return None


def _warc(source: Source, file: File, notes: list[str]) -> Items:
    """A record is a page; its original is a JSON object of its fields, the payload as text."""
    for item in warc.pages(file.uri, data(file), source.max_record_bytes, notes):
        yield item if type(item) is Reject else Found(item[0], item[1], as_json(item[1]))


# --- texts and lines ------------------------------------------------------------------------------------------------


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
        yield _reject(uri, None, 1, _too_long(source, size), bytes(held), encoding)
    elif reason := _why_not_text(bytes(held), encoding, "file"):
        yield _reject(uri, None, 1, reason, bytes(held), encoding)
    elif held:
        text = held.decode(encoding)
        yield Found(1, {"text": text}, as_json(text))


def _lines(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A line is a record; its original is the line as a JSON string."""
    blank = 0
    for row, line in enumerate(lines(pieces, source.max_record_bytes), 1):
        if type(line) is LongLine:
            yield _long_line(source, uri, row, line, encoding)
        elif not line.strip():
            blank += 1
        elif reason := _why_not_text(line, encoding, "line"):
            yield _reject(uri, "line", row, reason, line, encoding)
        else:
            text = line.decode(encoding).removesuffix("\r")
            yield Found(row, {"text": text}, as_json(text))
    _note_blank(uri, blank, notes)


def _note_blank(uri: str, blank: int, notes: list[str]) -> None:
    if blank:
        notes.append(f"{uri}: {blank:,} blank line{'s' if blank > 1 else ''} passed over.")


# --- JSON -----------------------------------------------------------------------------------------------------------

_LONE_SURROGATE = re.compile(r"\\u[dD][89abABcdefCDEF][0-9a-fA-F]{2}")


def _why_not_json(line: bytes, encoding: str, of: str) -> str:
    if b"\0" in line:
        return f"byte {line.index(0) + 1} of the {of} is a NUL"
    if reason := _why_not_text(line, encoding, of):
        return reason
    text = line.decode(encoding)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "surrogate" in error.msg and (escape := _LONE_SURROGATE.search(text)):
            return f"it holds a lone surrogate escape, such as {escape[0]}, which is no character"
        if text.startswith(("NaN", "Infinity", "-Infinity"), error.pos):
            return f"it holds NaN or Infinity (character {error.pos + 1}), which JSON does not have; write null"
        return f"it is not valid JSON: {error.msg} at character {error.pos + 1}"
    return f"it is {json_type(value)}, not an object with fields"


def _json_lines(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A line is a JSON object; the original is the line as it stands."""
    blank = row = 0
    numbered = enumerate(lines(pieces, source.max_record_bytes), 1)
    try:
        for row, line in numbered:
            if type(line) is LongLine:
                yield _long_line(source, uri, row, line, encoding)
                continue
            try:
                original = line if encoding == "utf-8" else line.decode(encoding).encode()
                values = orjson.loads(original)
            except ValueError:
                values = None
            if type(values) is dict:
                yield Found(row, values, original.removesuffix(b"\r"))
            elif not line.strip():
                blank += 1
            else:
                yield _reject(uri, "line", row, _why_not_json(line, encoding, "line"), line, encoding)
    except BrokenOff as error:
        # A cut in the last bytes can leave the last object whole; half an object is never valid JSON.
        if error.rest[-1:] == b"}" and type(values := _object(error.rest, encoding)) is dict:
            yield Found(row + 1, values, error.rest.decode(encoding).encode())
            error.row, error.rest = row + 2, b""
        raise
    _note_blank(uri, blank, notes)


def _object(line: bytes, encoding: str) -> Any:
    try:
        return orjson.loads(line.decode(encoding))
    except ValueError:
        return None


def _is_json_lines(source: Source, file: File) -> bool:
    """Tell a `.json` file with an object a line from one that is an array or one object, by its first lines."""
    _, pieces = text_bytes(file, source.encoding, [])
    try:
        first = (line for line in lines(pieces, source.max_record_bytes) if type(line) is LongLine or line.strip())
        line, following = next(first, b""), next(first, None)
    except BrokenOff:
        return False
    if type(line) is LongLine or following is None:
        return False
    line = line.strip()
    return line[:1] == b"{" and line[-1:] == b"}" and (type(following) is LongLine or following.lstrip()[:1] == b"{")


def _json(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A file is an array of objects, or one object: a record, or the wrapping of a list of records."""
    head = b""
    for piece in pieces:
        head += piece
        if head.strip():
            break
    if not head.strip():
        return
    if head.lstrip()[:1] == b"[":
        yield from _array(source, uri, encoding, chain([head], pieces), notes)
        return
    whole = bytearray(head)
    for piece in pieces:
        whole += piece
        if len(whole) > _WHOLE_OBJECT_BYTES:
            reason = (
                f"{uri}: it is one JSON value of over {_WHOLE_OBJECT_BYTES >> 20} MiB; write an object a line (jsonl)."
            )
            yield Reject(uri, None, reason, excerpt(bytes(whole[:2000]), encoding))
            return
    value = _object(bytes(whole), encoding)
    if type(value) is not dict:
        yield _reject(uri, "element", 1, _why_not_json(bytes(whole), encoding, "file"), bytes(whole), encoding)
        return
    text = whole.decode(encoding).strip()
    lists = [name for name, of in value.items() if type(of) is list and of and all(type(one) is dict for one in of)]
    if is_one_record(source, value) or not lists:
        if len(whole) > source.max_record_bytes:
            yield _reject(uri, "element", 1, _too_long(source, len(whole)), text)
        else:
            yield Found(1, value, text.encode())
    elif len(lists) == 1:
        notes.append(f"{uri}: the file is one object, and its records are the list under '{lists[0]}'.")
        yield from _array(source, uri, "utf-8", iter([text[_member(text, lists[0]) :].encode()]))
    else:
        reason = f"{uri}: it is one object with several lists of objects ({named(lists)}); put the list that holds the"
        yield Reject(uri, None, f"{reason} records into a file of its own.", excerpt(text))


def _member(text: str, name: str) -> int:
    """Find where the value of a member of a JSON object begins."""
    decoder = json.JSONDecoder()
    at = 1
    while True:
        found, at = decoder.raw_decode(text, _BETWEEN.match(text, at).end())
        at = _BETWEEN.match(text, at).end()
        if found == name:
            return at
        _, at = decoder.raw_decode(text, at)


_BETWEEN = re.compile(r"[ \t\r\n,:]*")
_SPACE = re.compile(r"[ \t\r\n]*")


def _array(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str] | None = None) -> Items:
    """Each element of a JSON array, its original as it stands; no more than about two elements are held at a time."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    find_end = json.JSONDecoder(strict=False).raw_decode  # control characters are for the element's own check
    buffer = ""
    at = 0
    number = 0

    def more(chars: int) -> bool:
        """Read on by at least so many characters; what is behind `at` is let go."""
        nonlocal buffer, at
        new: list[str] = []
        n_new = 0
        while n_new < max(chars, 1) and (piece := next(pieces, None)) is not None:
            new.append(decoder.decode(piece))
            n_new += len(new[-1])
        buffer, at = buffer[at:] + "".join(new), 0
        return n_new > 0

    def broken(problem: str) -> BrokenOff:
        error = BrokenOff(f"the JSON array breaks off ({problem})")
        error.row, error.rest = number + 1, buffer[at : at + 1000].encode("utf-8", "surrogateescape")
        return error

    def next_char() -> str:
        nonlocal at
        while (at := _SPACE.match(buffer, at).end()) == len(buffer):
            if not more(1):
                raise broken("its end is missing")
        return buffer[at]

    def element() -> str:
        nonlocal at
        while True:
            held = len(buffer) - at
            try:
                _, end = find_end(buffer, at)
                if end < len(buffer) or not more(held):
                    at, start = end, at
                    return buffer[start:end]
            except RecursionError:
                raise broken("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                # An error near the end of the buffer, or an open string, may only need more text.
                is_open = error.pos > len(buffer) - 16 or error.msg.startswith("Unterminated string")
                problem = f"{error.msg} at character {error.pos - at + 1} of the element"
                if not is_open or not (held <= source.max_record_bytes and more(held)):
                    if held > source.max_record_bytes:
                        problem = f"no end of the element within max_record_bytes, {source.max_record_bytes:,}"
                    raise broken(problem) from None

    try:
        next_char()
        at += 1
        while next_char() != "]":
            if number:
                if buffer[at] != ",":
                    raise broken("a comma is missing")
                at += 1
                if next_char() == "]":
                    break
            original = element().encode("utf-8", "surrogateescape")
            number += 1
            try:
                values = orjson.loads(original)
            except orjson.JSONDecodeError:
                values = None
            if len(original) > source.max_record_bytes:
                yield _reject(uri, "element", number, _too_long(source, len(original)), original)
            elif type(values) is dict:
                yield Found(number, values, original)
            else:
                stored = original.decode("utf-8", "surrogateescape").encode(encoding, "surrogateescape")
                yield _reject(uri, "element", number, _why_not_json(stored, encoding, "element"), stored, encoding)
    except BrokenOff as error:
        error.row = number + 1
        raise
    at += 1
    if notes is not None and (_SPACE.match(buffer, at).end() < len(buffer) or more(1)):
        notes.append(f"{uri}: there is more after the end of the JSON array, and it is not read.")


# --- tables ---------------------------------------------------------------------------------------------------------


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


def _csv(source: Source, uri: str, format: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
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
                long_lines.append(_long_line(source, uri, number, line, encoding))
                continue
            taken.append((number, line))
            if reason := _why_not_text(line, encoding, f"line {number}" if len(taken) > 1 else "line"):
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
            yield _reject(uri, "line", row, reason, stored, encoding)
        elif not cells:
            blank += 1
        elif len(cells) != len(header):
            reason = f"it has {len(cells)} fields where the header has {len(header)}"
            yield _reject(uri, "line", row, reason, stored, encoding)
        else:
            values = dict(zip(header, cells, strict=True))
            yield Found(row, values, as_json(values))
    _note_blank(uri, blank, notes)


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


def _parquet(source: Source, file: File) -> Items:
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
            yield from _parquet_rows(source, uri, table)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _holds_strings(type: pa.DataType) -> bool:
    type = type.value_type if pa.types.is_dictionary(type) else type
    return pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)


def _parquet_rows(source: Source, uri: str, table: pq.ParquetFile) -> Items:
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
        return _reject(uri, "row", row, *values)
    original = as_json(values)
    if len(original) > source.max_record_bytes:
        return _reject(uri, "row", row, _too_long(source, len(original)), original)
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
            reason = (
                _why_not_text(stored, "utf-8", f"column '{name}'") or f"its column '{name}' is {_first_line(error)}"
            )
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
