r"""Sources of text as Arrow batches: `files` lists a source's files, `read` reads one, `file_hash` names its state.

Nothing is dropped on the way: what can't be read comes back as a reject with its file, row and reason. Here is what the
`raw` stage calls, and `conversation`, which gives a stored record's turns back; this package imports neither dagster
nor duckdb.

>>> import pathlib, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> _ = pathlib.Path(folder.name, "reviews.jsonl").write_text('{"id": 7, "review": "Fine."}\n{"id": 8, "rev\n')
>>> source = Source("reviews", folder.name + "/*.jsonl")
>>> [batch] = read(source, files(source)[0])
>>> batch.records.column("text").to_pylist(), batch.rejects.column("source_row").to_pylist()
(['Fine.'], [2])
>>> batch.notes
["reviews.jsonl: text is taken from the field 'review' (no field 'text')."]
>>> folder.cleanup()
"""

from collections.abc import Iterator

from curation_assets.readers import formats, python_environment
from curation_assets.readers.files import File, SourceError, file_hash, files
from curation_assets.readers.formats import items
from curation_assets.readers.kinds import (
    CONVERSATIONS,
    KINDS,
    Conversation,
    canonical_text,
    conversation,
    exchange,
    read_fields,
    request,
    whole_request,
)
from curation_assets.readers.records import RECORDS, REJECTS, Batch, Record, Reject, Source, batches
from curation_assets.readers.turns import Message, as_messages

__all__ = [
    "CONVERSATIONS",
    "KINDS",
    "RECORDS",
    "REJECTS",
    "Batch",
    "Conversation",
    "File",
    "Message",
    "Record",
    "Reject",
    "Source",
    "SourceError",
    "as_messages",
    "canonical_text",
    "conversation",
    "exchange",
    "file_hash",
    "files",
    "items",
    "read",
    "read_fields",
    "request",
    "whole_request",
]


def read(source: Source, file: File, batch_bytes: int = 16 << 20) -> Iterator[Batch]:
    """Read one file of a source, about `batch_bytes` of text and originals at a time; at least one batch comes.

    How the batches are cut changes nothing else: put together they hold the same records, rejects and notes in the
    same order. Bad input never raises: see the rejects and the notes.

    Raises:
        ValueError: `batch_bytes` is not positive.

    """
    if batch_bytes < 1:
        raise ValueError(f"batch_bytes is {batch_bytes}; it must be at least 1.")
    notes: list[str] = []
    if source.path == python_environment.PATH:
        rows = python_environment.rows(source.parts, source.max_records, notes)
    else:
        rows = formats.rows(source, file, notes)
    return batches(rows, file.uri, notes, batch_bytes)
