"""Receipts: what an erasure says it did, hung on the ledger's chain, in the database and as files; and what follows a kill.

The erasure's row of ledger.runs holds the hash of what the receipt says and of the tombstones it left; the receipt names that row and
the receipt before it. `audit_receipts` holds them to it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from curation_assets import __version__, history
from curation_assets.progress import logger
from curation_assets.tables import SQL
from curation_assets.tombstones import TABLE as TOMBSTONES
from curation_assets.tombstones import Keyed, erased_ids, key
from curation_assets.warehouse import CHAIN_START, Commit, Warehouse

RECEIPTS = "select erasure_id, receipt::varchar as receipt, previous_receipt_hash, receipt_hash, signature, key_id from erasure.receipts"


def settle(
    commit: Commit, keyed: Keyed, said: Mapping[str, Any], asked: Mapping[str, Any], started: datetime, records: int
) -> dict[str, Any]:
    """Write an erasure's row of ledger.runs and its receipt; return the receipt with its signature, as its file holds it.

    said: what the receipt says besides what every receipt does; asked: what was asked for; records: how many were erased. Redactions,
    tombstones and withdrawals taken back are in the transaction already.
    """
    connection = commit.connection
    notes = _hashes(commit)
    body = {
        "erasure_id": commit.run_id,
        "issued_at": started.isoformat(),
        "software": f"curation-assets {__version__}",
        **said,
        "records": records,
        "decisions_redacted": notes["redactions"],
        "tombstones": notes["tombstones"],
        "key_id": keyed.id,
    }
    commit.rows_dropped = records
    commit.notes = {**notes, "receipt_hash": body_hash(body)}
    settings = json.dumps(dict(asked), sort_keys=True, ensure_ascii=False)
    account = {
        "run_id": commit.run_id,
        "stage": commit.stage,
        "code_version": __version__,
        "config": settings,
        "config_hash": hashlib.sha256(f"{__version__}\n{settings}".encode()).hexdigest(),
    }
    commit.write_run_row(account, "raw.records", started, commit.count("raw.records") + records)
    link = "select chain_position, previous_hash, chain_hash from ledger.runs order by chain_position desc nulls last limit 1"
    link = dict(
        zip(("chain_position", "previous_hash", "chain_hash"), connection.execute(link).fetchall()[0], strict=True)
    )
    row = sealed(keyed, {**body, "ledger": link}, _last_receipt(commit))
    stored = {
        **row,
        "receipt": canonical(row["receipt"]),
        "erasure_id": commit.run_id,
        "issued_at": started,
        "chain_hash": link["chain_hash"],
    }
    commit.append("erasure.receipts", pl.DataFrame([stored]))
    return row


def _hashes(commit: Commit) -> dict[str, Any]:
    """The numbers and hashes of the rows that an erasure has written in a transaction."""
    found: dict[str, Any] = {}
    for name, question, table in (
        ("redactions", "redactions_hash", "ledger.redactions"),
        ("tombstones", "tombstone_hashes", TOMBSTONES),
        ("lifted", "lifted_hash", "erasure.lifted"),
    ):
        found |= {name: 0, f"{name}_hash": None}
        if commit.has_table(table):
            rows = commit.connection.sql((SQL / "audit" / f"{question}.sql").read_text(encoding="utf-8")).pl()
            for row in rows.filter(pl.nth(0) == commit.run_id).iter_rows(named=True):
                found |= {name: row[name], f"{name}_hash": row[f"{name}_hash"]}
    return found


def _last_receipt(commit: Commit) -> str:
    """The hash of the receipt before; 64 zeros for the first."""
    last = (
        "select r.receipt_hash from erasure.receipts as r join ledger.runs as u on u.chain_hash = r.chain_hash "
        "order by u.chain_position desc limit 1"
    )
    rows = commit.connection.execute(last).fetchall() if commit.has_table("erasure.receipts") else []
    return rows[0][0] if rows else CHAIN_START


def canonical(value: Any) -> str:
    """A value's one JSON form: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def body_hash(said: Mapping[str, Any]) -> str:
    """SHA-256 of what a receipt says, its place in the ledger's chain apart: the row there holds it."""
    return hashlib.sha256(
        canonical({name: value for name, value in said.items() if name != "ledger"}).encode()
    ).hexdigest()


def sealed(keyed: Keyed, said: dict[str, Any], previous: str) -> dict[str, Any]:
    """A receipt with its hash over itself and the one before, and the signature of that."""
    receipt_hash = hashlib.sha256(f"{previous}\n{canonical(said)}".encode()).hexdigest()
    return {
        "receipt": said,
        "previous_receipt_hash": previous,
        "receipt_hash": receipt_hash,
        "signature": keyed.sign(receipt_hash),
        "key_id": keyed.id,
    }


# --- beside the database --------------------------------------------------------------------------------------------


def receipts_folder(warehouse: Warehouse) -> Path:
    """Where the receipts lie as files."""
    return warehouse.path.with_name(f"{warehouse.path.name}.receipts")


def finish_killed(warehouse: Warehouse) -> None:
    """Undo or finish an erasure whose process was killed; nothing to do otherwise. Called when a run takes the database."""
    if warehouse.rewriting.exists():
        logger.warning("An erasure was killed before it changed anything; ask for it again.")
        for path in (warehouse.rewriting, warehouse.rewriting.with_name(f"{warehouse.rewriting.name}.wal")):
            path.unlink(missing_ok=True)
    history.finish(warehouse)
    if warehouse.has_table(TOMBSTONES):
        finish_side_files(warehouse, key(warehouse))


def finish_side_files(warehouse: Warehouse, keyed: Keyed) -> None:
    """Take erased records out of the journals beside the database, and write the receipts that are not there as files yet."""
    hashes = erased_ids(warehouse)
    for path in sorted(warehouse.path.parent.glob(f"{_escaped(warehouse.path.name)}.*")):
        if path.is_file() and path.suffix in (".jsonl", ".unread"):
            _drop_lines(path, keyed, hashes)
    folder = receipts_folder(warehouse)
    rows = warehouse.query(RECEIPTS)
    for row in rows.iter_rows(named=True):
        path = folder / f"{row.pop('erasure_id')}.json"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(as_file(row), encoding="utf-8")
            draft.replace(path)


def as_file(row: Mapping[str, Any]) -> str:
    """What a receipt's file holds. row: of erasure.receipts, without erasure_id."""
    return json.dumps({**row, "receipt": json.loads(row["receipt"])}, indent=2, ensure_ascii=False) + "\n"


_NAMED = re.compile(rb'"record_id"\s*:\s*"([^"\\]+)"')


def _drop_lines(path: Path, keyed: Keyed, hashes: frozenset[str]) -> None:
    """Leave out the lines of a journal that name an erased record."""
    with _journal(path):
        lines = path.read_bytes().splitlines(keepends=True)
        named = {line: _NAMED.findall(line) for line in lines}
        gone = {
            record
            for records in named.values()
            for record in records
            if keyed.hash("record", record.decode("utf-8", "replace")) in hashes
        }
        kept = [line for line in lines if not gone.intersection(named[line])]
        if len(kept) < len(lines):
            shortened = path.with_name(f"{path.name}.new")
            shortened.write_bytes(b"".join(kept))
            shortened.replace(path)
            logger.info("erase: %s lines left out of %s", f"{len(lines) - len(kept):,}", path.name)


@contextmanager
def _journal(path: Path) -> Iterator[None]:
    """Keep a journal's writers and whoever folds it into the database off it."""
    with FileLock(f"{path}.fold.lock"), FileLock(f"{path}.lock"):
        yield


def _escaped(name: str) -> str:
    """A file name as a glob that means only itself."""
    return re.sub(r"([*?[])", r"[\1]", name)
