"""Which files of the known sources are new or have changed since they were read, at the price of a `stat` a file.

A file whose size is that of its last batch and whose bytes and inode have not been touched since it was read is not opened. The
others are hashed, at most so many bytes at a look; what has been hashed is remembered by its `stat`, for the next look. A file that
may still be written waits until its `stat` is at one look what it was at an earlier one, whatever time it bears: clocks differ, and
some files come from the future.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from curation_assets import readers
from curation_assets.readers import python_environment

QUIET_SECONDS = 10.0
"""A file that changed less than so long ago may still be written; it waits until it has been seen unchanged for as long. Ours: longer than
a writer pauses between two writes."""

HASH_BYTES = 4 << 30
"""Bytes hashed at one look, and one file at least: some ten seconds of reading, where a tick of a sensor may take sixty."""


class LastBatch(NamedTuple):
    """What the database knows of a file's last reading."""

    file_hash: str
    """SHA-256 of its bytes, in hex."""
    file_bytes: int
    ingested_at: float
    """When it was read, in seconds since 1970."""
    batch_id: str


class ChangedFile(NamedTuple):
    """A file that the database has not read as it is now."""

    source: str
    uri: str
    file_hash: str
    last_batch: str | None
    """The batch it was last read in; None: it was never read."""

    @property
    def is_new(self) -> bool:
        """Never read before; else it has changed."""
        return self.last_batch is None


class Seen(NamedTuple):
    """What one look at the sources found."""

    changed: list[ChangedFile]
    files: int
    """Files there are."""
    hashed: int
    """Files that were opened at this look."""
    unsettled: int
    """Files that may still be written."""
    unhashed: int
    """Files left for the next look, because enough was hashed at this one."""
    missing: list[str]
    """A sentence for each source that cannot be listed."""
    hashes: dict[str, tuple[str, str]]
    """Path → (stat, hash) of the files that `stat` alone cannot tell; to be given to the next look."""
    waiting: dict[str, tuple[str, float]]
    """Path → (stat, when it was first seen so) of the files that may still be written; to be given to the next look."""


def look(
    sources: Sequence[readers.Source],
    last: Mapping[tuple[str, str], LastBatch],
    hashes: Mapping[str, Sequence[str]],
    now: float,
    waiting: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> Seen:
    """Compare the files of the sources with their last batches, by (source, uri). now: seconds since 1970.

    hashes, waiting: what the last look found of them.

    The text of a Python environment is no file and is passed over: it changes by installing.
    """
    found = Seen([], 0, 0, 0, 0, [], {}, {})
    counts = dict.fromkeys(("files", "hashed", "unsettled", "unhashed"), 0)
    hashed_bytes = 0
    for source in sources:
        if source.path == python_environment.PATH:
            continue
        try:
            files = readers.files(source)
        except readers.SourceError as error:
            found.missing.append(str(error))
            continue
        for file in files:
            counts["files"] += 1
            try:
                stat = file.path.stat()
            except OSError:  # gone since it was listed
                continue
            touched = max(stat.st_mtime, stat.st_ctime)  # ctime too: a copy may keep its original's mtime
            before = last.get((source.name, file.uri))
            if before and before.file_bytes == stat.st_size and touched < before.ingested_at:
                continue
            path, state = str(file.path), state_of(stat)
            remembered, waited = hashes.get(path), waiting.get(path)
            first_seen = waited[1] if waited and waited[0] == state else now
            if remembered and remembered[0] == state:
                file_hash = remembered[1]
            elif now - min(touched, first_seen) < QUIET_SECONDS:
                counts["unsettled"] += 1
                found.waiting[path] = (state, first_seen)
                continue
            elif hashed_bytes and hashed_bytes + stat.st_size > HASH_BYTES:
                counts["unhashed"] += 1
                continue
            else:
                try:
                    file_hash = readers.file_hash(file.path)
                    after = state_of(file.path.stat())
                except OSError as error:
                    found.missing.append(f"Source '{source.name}': {file.uri} cannot be read: {error.strerror}.")
                    continue
                hashed_bytes += stat.st_size
                counts["hashed"] += 1
                if after != state:  # written while it was read
                    counts["unsettled"] += 1
                    found.waiting[path] = (after, now)
                    continue
            found.hashes[path] = (state, file_hash)
            if not before or before.file_hash != file_hash:
                found.changed.append(ChangedFile(source.name, file.uri, file_hash, before.batch_id if before else None))
    return found._replace(**counts)


def state_of(stat: os.stat_result) -> str:
    """What of a file's `stat` changes whenever its bytes do."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def key(changed: Sequence[ChangedFile]) -> str:
    """One hash for a set of changed files: the same for the same contents after the same batches, so that they are read in once.

    A file that becomes what it was before the last reading is another change.

    >>> a, b = ChangedFile("web", "1.jsonl", "ab", None), ChangedFile("web", "2.jsonl", "cd", None)
    >>> key([a, b]) == key([b, a]) != key([a])
    True
    >>> key([a._replace(last_batch="x")]) == key([a._replace(last_batch="y")])
    False
    """
    lines = sorted("\x1f".join((one.source, one.uri, one.file_hash, one.last_batch or "")) for one in changed)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def in_words(seen: Seen) -> str:
    """What a look found, in numbers, for people who ask why nothing ran or why something did.

    >>> in_words(Seen([ChangedFile("web", "1.jsonl", "ab", None)], 3, 1, 1, 0, [], {}, {}))
    '1 of 3 files is new; 1 may still be written and waits for the next look; 1 was opened, the others are as when they were read.'
    >>> in_words(Seen([], 3, 0, 0, 0, [], {}, {}))
    'Nothing new in 3 files; none had to be opened.'
    """
    new = sum(one.is_new for one in seen.changed)
    counts = [(new, "new"), (len(seen.changed) - new, "changed")]
    told = " and ".join(f"{count:,} {'is' if count == 1 else 'are'} {what}" for count, what in counts if count)
    parts = [
        f"{told.replace(' ', f' of {seen.files:,} files ', 1) if told else f'Nothing new in {seen.files:,} files'}"
    ]
    if seen.unsettled:
        parts.append(f"{seen.unsettled:,} may still be written and waits for the next look")
    if seen.unhashed:
        parts.append(f"{seen.unhashed:,} more are opened at the next look")
    parts.append(
        f"{seen.hashed:,} {'was' if seen.hashed == 1 else 'were'} opened, the others are as when they were read"
        if seen.hashed
        else "none had to be opened"
    )
    return " ".join(["; ".join(parts) + ".", *seen.missing])


def display(path: str | Path, chars: int = 80) -> str:
    """A path's end, cut to fit a tag."""
    text = str(path)
    return text if len(text) <= chars else "…" + text[-(chars - 1) :]
