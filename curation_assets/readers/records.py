"""What one source, one record and one reject are, and how they are gathered into Arrow batches.

Which field of a record means what is for `fields.py`; where records come from, for `formats.py` and
`python_environment.py`.
"""

import codecs
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "text", "lines", "html", "warc")
PARTS = ("descriptions", "licences", "stdlib", "modules")

EXCERPT_BYTES = 1_000

RECORDS = pa.schema(
    [
        pa.field("source_record_id", pa.string(), nullable=False),
        pa.field("has_owner_id", pa.bool_(), nullable=False),
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("license", pa.string()),
        pa.field("record_time", pa.string()),
        pa.field("original", pa.string(), nullable=False),
    ]
)
REJECTS = pa.schema(
    [
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("source_row", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)


class Source(NamedTuple):
    """One source of text, as a recipe names it.

    Every field but `name` and `path` has a default; what a file's records leave open (which field is the text, which
    the id) is then guessed once per file and said in a note.
    """

    name: str
    """What the source is called from here to the release."""
    path: str
    """A file, a folder, a glob (`**` allowed), or `python_environment`: the text in the running Python's packages."""
    format: str | None = None
    """jsonl, json, csv, tsv, parquet, text (a file is a record), lines (a line is a record), html; None: by suffix."""
    kind: str | None = None
    """document, html, instruction, preference, reward or chat, for all records. Default: each record is looked at."""
    text_field: str | None = None
    """The field that holds the text."""
    text_template: str | None = None
    """Or a text made of several fields: `{question}\\n{answer}`. Plain field names only; `{{` is a brace."""
    id_field: str | None = None
    """The owner's id. Default: id, _id, uuid, guid, record_id, doc_id, or the one `…_id` field whose values differ."""
    time_field: str | None = None
    """When the record was made, kept as given. Default: time, timestamp, created, date, added."""
    label_field: str | None = None
    """A label the owner gave. Default: label."""
    license_field: str | None = None
    """The record's own licence. Default: license, licence."""
    license: str | None = None
    """The licence of every record that states none of its own."""
    quoting: str = "minimal"
    """CSV and TSV: `minimal` reads quotes as RFC 4180 does, `none` takes a quote for a character like any other."""
    max_record_bytes: int = 16_777_216
    """A longer record is rejected, and a longer line is passed over without ever being held whole."""
    encoding: str = "utf-8"
    """Any codec Python knows, such as cp949 or latin-1. A UTF-16 byte order mark is believed over `utf-8`."""
    parts: tuple[str, ...] = PARTS
    """python_environment only: descriptions, licences, stdlib, modules."""
    max_records: int | None = None
    """python_environment only: a sample of at most this many records, each part keeping its share."""


class Record(NamedTuple):
    """One record as the `raw` table holds it; the columns are those of `RECORDS`, the original in UTF-8."""

    source_record_id: str
    has_owner_id: bool
    source_uri: str
    source_row: int
    kind: str
    text: str
    label: str | None
    license: str | None
    record_time: str | None
    original: bytes


class Reject(NamedTuple):
    """One piece of input that could not be read, with the reason; the columns are those of `REJECTS`."""

    source_uri: str
    source_row: int | None
    reason: str
    excerpt: str


class Batch(NamedTuple):
    """Some of a file's records and rejects, in file order, and what a reader of the result should be told."""

    records: pa.RecordBatch
    rejects: pa.RecordBatch
    notes: list[str]


class Unusable(ValueError):
    """A record can't be used; the message says why, without the file and row, which the caller knows."""


def json_type(value: Any) -> str:
    """Name the type of a value in JSON's terms.

    >>> json_type(None), json_type([1]), json_type(True)
    ('null', 'an array', 'a boolean')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {
        str: "a string",
        int: "a number",
        float: "a number",
        list: "an array",
        tuple: "an array",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}")


def excerpt(data: bytes | str, encoding: str = "utf-8") -> str:
    r"""Show the first 1,000 bytes of what was refused, bytes that are no text as `\xNN`.

    >>> excerpt(b"caf\xe9 au lait")
    'caf\\xe9 au lait'
    """
    if isinstance(data, str):
        data = data[:EXCERPT_BYTES].encode(
            "utf-8", "surrogateescape" if _only_escaped_bytes(data) else "backslashreplace"
        )
        encoding = "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
    # Not final when something was cut off: half a character at the cut is left out, not shown as an error.
    shown = decoder.decode(data[:EXCERPT_BYTES], final=len(data) <= EXCERPT_BYTES)
    return shown.replace("\0", "\\x00")


def _only_escaped_bytes(text: str) -> bool:
    return all(not "\ud800" <= char <= "\udfff" or "\udc80" <= char <= "\udcff" for char in text[:EXCERPT_BYTES])


def refuse_unstorable(*values: str | None) -> None:
    """Raise Unusable for text that a database column can't hold: NUL characters and lone surrogates."""
    for value in values:
        if value is not None and "\0" in value:
            raise Unusable(
                f"it holds a NUL character (U+0000), the first as character {value.index(chr(0)) + 1} of a field"
            )
        try:
            _ = value is None or value.isascii() or value.encode()
        except UnicodeEncodeError as error:
            raise Unusable(
                f"it holds a lone surrogate (U+{ord(error.object[error.start]):04X}), which is no text"
            ) from None


# --- batches --------------------------------------------------------------------------------------------------------


class _SeenIds(NamedTuple):
    """Hashes of the owner ids so far, sorted, each with the row it first stood in: 16 bytes an id of any length."""

    hashes: np.ndarray
    rows: np.ndarray


def _repeats(seen: _SeenIds, records: Sequence[Record]) -> tuple[_SeenIds, list[tuple[str, int, int]]]:
    """Find the records whose owner id was there before, as (id, first row, this row) in file order."""
    owned = [record for record in records if record.has_owner_id]
    hashes = np.fromiter((hash(record.source_record_id) for record in owned), np.int64, len(owned))
    rows = np.fromiter((record.source_row for record in owned), np.int64, len(owned))
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    first_rows = rows[first]
    at = np.searchsorted(seen.hashes, unique)
    known = np.zeros(len(unique), bool)
    inside = at < len(seen.hashes)
    known[inside] = seen.hashes[at[inside]] == unique[inside]
    first_rows[known] = seen.rows[at[known]]
    again = [int(i) for i in np.flatnonzero(first_rows[inverse] != rows)]
    new = ~known
    merged = _SeenIds(
        np.insert(seen.hashes, at[new], unique[new]),
        np.insert(seen.rows, at[new], first_rows[new]),
    )
    return merged, [(owned[i].source_record_id, int(first_rows[inverse[i]]), int(rows[i])) for i in again]


def _flush(records: list[Record], rejects: list[Reject], notes: list[str]) -> Batch:
    def batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        return pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )

    made = Batch(batch(records, RECORDS), batch(rejects, REJECTS), list(notes))
    for used in (records, rejects, notes):
        used.clear()
    return made


def _counted(n: int) -> str:
    return f"{n:,} record{'s' if n != 1 else ''}"


def batches(rows: Iterator[Record | Reject], uri: str, notes: list[str], batch_bytes: int) -> Iterator[Batch]:
    """Gather rows into batches of about `batch_bytes` of text and originals; there is always at least one batch.

    `notes` may grow while `rows` is read: each batch carries what came up since the one before. The last batch also
    says which owner ids were given twice (all their rows stay) and how many records have none.
    """
    records: list[Record] = []
    rejects: list[Reject] = []
    seen = _SeenIds(np.empty(0, np.int64), np.empty(0, np.int64))
    size = n_records = n_repeats = n_without = first_without = 0
    examples: list[tuple[str, int, int]] = []

    def look_at_ids() -> None:
        nonlocal seen, n_records, n_repeats, n_without, first_without
        seen, repeats = _repeats(seen, records)
        examples.extend(repeats[: 3 - len(examples)])
        without = [record.source_row for record in records if not record.has_owner_id]
        first_without = first_without or (without[0] if without else 0)
        n_records, n_repeats, n_without = n_records + len(records), n_repeats + len(repeats), n_without + len(without)

    for row in rows:
        if type(row) is Record:
            records.append(row)
            size += len(row.text) + len(row.original)
        else:
            rejects.append(row)
            size += len(row.reason) + len(row.excerpt)
        if size >= batch_bytes:
            look_at_ids()
            yield _flush(records, rejects, notes)
            size = 0
    look_at_ids()
    if n_repeats:
        shown = ", ".join(f"'{owner_id[:100]}' (rows {first} and {row})" for owner_id, first, row in examples)
        notes.append(f"{uri}: owner ids repeat, {_counted(n_repeats)} in all: {shown}; every record stays.")
    if 0 < n_without < n_records:
        notes.append(
            f"{uri}: no owner id in {_counted(n_without)} (first: row {first_without}); file:row stands in for it."
        )
    yield _flush(records, rejects, notes)
