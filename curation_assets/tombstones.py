"""Tombstones: how an erased record is recognised when it comes again, without anything of it being kept.

What is kept is a keyed hash. The key lies beside the database and not in it, so a copy of the database alone, however it got
where it is, cannot be searched for short texts by trying them; whoever holds the key as well can try. Without the key nobody can
tell an erased record from a new one, so reading sources stops rather than let one in again.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from curation_assets.algorithms.cleaning import clean
from curation_assets.readers.records import REJECTS, Batch
from curation_assets.warehouse import Warehouse

TABLE = "erasure.tombstones"
REASON = "erased: this record was erased, and is refused wherever it comes from"
REASON_IN_SOURCE = "erased: this record was erased from this source, and is refused here"
REASON_OF_SOURCE = (
    "withdrawn: this source was withdrawn, and its records are refused; `curate erase --allow-again` takes that back"
)
REASON_OF_LICENSE = "withdrawn: its licence was withdrawn, and records under it are refused; `curate erase --allow-again` takes that back"

LIFTED = "erasure.lifted"

REFUSED = (
    "select kind, keyed_hash, source from erasure.tombstones where kind not in ('record', 'owner_id') "
    "and (source is null or source = $source) and erasure_id not in (select unnest($lifted::varchar[]))"
)

ERASED_IDS = "select keyed_hash from erasure.tombstones where kind = 'record' and erasure_id not in (select unnest($lifted::varchar[]))"

LIFTED_ERASURES = "select erasure_id from erasure.lifted"

AS_THEY_ARE = ("record", "owner_id", "source")
"""Kinds of values that are hashed as they are; of all others case and spaces do not count."""

FEWEST_WORDS = 5
"""Texts of fewer words are recognised with their marks: `yes?` is not `yes!`. Ours."""


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
        form = value if kind in AS_THEY_ARE else words(value) if kind == "words" else normalised(value)
        return self.sign("\x1f".join((kind, source or "", form)))

    def sign(self, message: str) -> str:
        """HMAC-SHA256 of a message, in hex."""
        return hmac.new(self.key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def normalised(text: str) -> str:
    r"""A text's words: NFKC, case folded, one space between them.

    >>> normalised("  Ａ Text\n of  WORDS ")
    'a text of words'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> str:
    r"""A text's words without the marks between them, so that its markup does not matter; a text of few words with its marks.

    >>> words("**A text**, of some\n* words!"), words("yes?")
    ('a text of some words', 'yes?')
    """
    plain = normalised(text)
    found = re.findall(r"\w+", plain)
    return " ".join(found) if len(found) >= FEWEST_WORDS else plain


def forms(text: str, original: str, kind: str) -> set[tuple[str, str]]:
    """The forms in which a record of some kind is recognised, as (kind of hash, value).

    >>> sorted(forms("<p>Some <b>few</b> words</p>", "{}", "html"))[-2:]
    [('text', 'Some few words'), ('words', 'Some few words')]
    """
    cleaned = clean(text, kind).text
    return {("text", text), ("text", cleaned), ("words", cleaned), ("original", original)}


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
    """Keyed hashes of texts refused in every source."""
    here: frozenset[str]
    """Keyed hashes of texts refused in this source."""
    licenses: frozenset[str]
    """Keyed hashes of licences refused, in every source or this one."""
    is_withdrawn: bool
    """Whether the source itself is refused."""
    source: str

    def sift(self, batch: Batch) -> Batch:
        """The batch without what is refused, which becomes rejects that say why and hold no excerpt."""
        told = [
            self._reason(**row) for row in batch.records.select(["text", "original", "kind", "license"]).to_pylist()
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

    def _reason(self, text: str, original: str, kind: str, license: str | None) -> str | None:
        if self.is_withdrawn:
            return REASON_OF_SOURCE
        if self.licenses and license is not None:
            hashes = {self.key.hash("license", license, source) for source in (None, self.source)}
            if hashes & self.licenses:
                return REASON_OF_LICENSE
        if not self.everywhere and not self.here:
            return None
        for form, value in forms(text, original, kind):
            if self.everywhere and self.key.hash(form, value) in self.everywhere:
                return REASON
            if self.here and self.key.hash(form, value, self.source) in self.here:
                return REASON_IN_SOURCE
        return None


def refusals(warehouse: Warehouse, source: str) -> Refusals | None:
    """What a source may not bring in again; None where nothing was ever erased. Raises KeyMissingError."""
    if not warehouse.has_table(TABLE):
        return None
    rows = warehouse.query(REFUSED, source=source, lifted=_lifted(warehouse))
    keyed = key(warehouse)
    of_texts = [(of, hash) for kind, hash, of in rows.iter_rows() if kind not in ("source", "license")]
    return Refusals(
        keyed,
        everywhere=frozenset(hash for of, hash in of_texts if of is None),
        here=frozenset(hash for of, hash in of_texts if of is not None),
        licenses=frozenset(hash for kind, hash, _ in rows.iter_rows() if kind == "license"),
        is_withdrawn=keyed.hash("source", source) in set(rows.filter(rows["kind"] == "source")["keyed_hash"]),
        source=source,
    )


def _lifted(warehouse: Warehouse) -> list[str]:
    """The erasures that were taken back."""
    return warehouse.query(LIFTED_ERASURES)["erasure_id"].to_list() if warehouse.has_table(LIFTED) else []


def last_lifted_at(warehouse: Warehouse) -> datetime | None:
    """When a withdrawal was taken back last: files read before may have rows that were refused then. None if none ever was."""
    return warehouse.value("select max(lifted_at) as at from erasure.lifted") if warehouse.has_table(LIFTED) else None


def erased_ids(warehouse: Warehouse) -> frozenset[str]:
    """Keyed hashes of the ids that stay erased. There are tombstones.

    A record of a withdrawal that was taken back may be read again, and then has the same id: what is said of it counts.
    """
    return frozenset(warehouse.query(ERASED_IDS, lifted=_lifted(warehouse))["keyed_hash"])


def erased_records(warehouse: Warehouse, ids: Collection[str]) -> set[str]:
    """Those of some of our ids whose records were erased and stay so. Raises KeyMissingError."""
    if not ids or not warehouse.has_table(TABLE):
        return set()
    keyed, gone = key(warehouse), erased_ids(warehouse)
    return {record for record in ids if keyed.hash("record", record) in gone}


def without_erased(warehouse: Warehouse, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows whose record_id is no erased record's. Raises KeyMissingError."""
    kept = list(rows)
    gone = erased_records(warehouse, {row["record_id"] for row in kept})
    return [row for row in kept if row["record_id"] not in gone] if gone else kept
