"""Tombstones: how an erased record is recognised when it comes again, without anything of it being kept.

What is kept is a keyed hash. The key lies beside the database and not in it, so a copy of the database alone, however it got
where it is, cannot be searched for short texts by trying them; whoever holds the key as well can try. Without the key nobody can
tell an erased record from a new one, so reading sources stops rather than let one in again.
"""

import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from curation_assets.readers.records import REJECTS, Batch
from curation_assets.warehouse import Warehouse

TABLE = "erasure.tombstones"
REASON = "erased: this record was erased, and is refused wherever it comes from"
REASON_IN_SOURCE = "erased: this record was erased from this source, and is refused here"


class KeyMissingError(Exception):
    """The key that the tombstones were made with is not beside the database."""


class Keyed(NamedTuple):
    """A key that hashes."""

    key: bytes

    @property
    def id(self) -> str:
        """Which key: the first 16 hex digits of its SHA-256."""
        return hashlib.sha256(self.key).hexdigest()[:16]

    def hash(self, kind: str, value: str, source: str | None = None) -> str:
        """HMAC-SHA256 (RFC 2104) of a value of a kind; source: only as it stands in that source."""
        return self.sign("\x1f".join((kind, source or "", normalised(value) if kind != "record" else value)))

    def sign(self, message: str) -> str:
        """HMAC-SHA256 of a message, in hex."""
        return hmac.new(self.key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def normalised(text: str) -> str:
    r"""A text's words: NFKC, case folded, one space between them.

    >>> normalised("  Ａ Text\n of  WORDS ")
    'a text of words'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key_path(warehouse: Warehouse) -> Path:
    """The file of the key, beside the database."""
    return warehouse.path.with_name(f"{warehouse.path.name}.erasure.key")


def key(warehouse: Warehouse) -> Keyed:
    """The key of this database. Raises KeyMissingError if tombstones were made with one that is not there."""
    path = key_path(warehouse)
    found = Keyed(bytes.fromhex(path.read_text(encoding="ascii"))) if path.exists() else None
    if not warehouse.has_table(TABLE):
        return found or _new_key(path)
    used = warehouse.query("select distinct key_id from erasure.tombstones")["key_id"].to_list()
    if found is None or used != [found.id]:
        raise KeyMissingError(
            f"The tombstones in {warehouse.path.name} were made with the key {', '.join(used)}, which is not in {path}. Put that file "
            "back beside the database: without it an erased record would not be recognised when it comes again."
        )
    return found


def _new_key(path: Path) -> Keyed:
    """A random key, on disk before it is used, readable by its owner alone."""
    made = Keyed(secrets.token_bytes(32))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(made.key.hex())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return made


class Refusals(NamedTuple):
    """What may not be read in again."""

    key: Keyed
    everywhere: frozenset[str]
    """Keyed hashes refused in every source."""
    here: frozenset[str]
    """Keyed hashes refused in this source."""
    source: str

    def sift(self, batch: Batch) -> Batch:
        """The batch without its erased records, which become rejects of reason `erased` and without any excerpt."""
        told = [
            self._reason(text, original)
            for text, original in zip(
                batch.records["text"].to_pylist(), batch.records["original"].to_pylist(), strict=True
            )
        ]
        if not any(told):
            return batch
        refused = batch.records.filter(pa.array([reason is not None for reason in told]))
        reasons = [reason for reason in told if reason]
        columns = {
            "source_uri": refused["source_uri"],
            "source_row": refused["source_row"],
            "reason": pa.array(reasons, pa.string()),
            "excerpt": pa.array([""] * len(reasons), pa.string()),
        }
        rejects = pa.concat_batches(
            [batch.rejects, pa.record_batch([columns[name] for name in REJECTS.names], schema=REJECTS)]
        )
        return Batch(batch.records.filter(pa.array([reason is None for reason in told])), rejects, batch.notes)

    def _reason(self, text: str, original: str) -> str | None:
        for kind, value in (("text", text), ("original", original)):
            if self.everywhere and self.key.hash(kind, value) in self.everywhere:
                return REASON
            if self.here and self.key.hash(kind, value, self.source) in self.here:
                return REASON_IN_SOURCE
        return None


def refusals(warehouse: Warehouse, source: str) -> Refusals | None:
    """What a source may not bring in again; None where nothing was ever erased. Raises KeyMissingError."""
    if not warehouse.has_table(TABLE):
        return None
    hashes = "select keyed_hash from erasure.tombstones where kind <> 'record' and source is not distinct from $source"
    everywhere, here = (frozenset(warehouse.query(hashes, source=name)["keyed_hash"]) for name in (None, source))
    return Refusals(key(warehouse), everywhere, here, source)
