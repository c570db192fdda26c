"""Whether receipts, tombstones and withdrawals taken back are what erasures wrote.

An erasure's row of ledger.runs, a link of the chain, holds the hash of what its receipt says, and the number and hash of its tombstones;
the receipt names that row and the receipt before it. So each can be held to the others without the key. Whoever has the key can also
check the signatures, which say that a receipt was made by someone who had it (see sql/01_erasure/receipts.sql for what they are not).
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import timezone
from typing import Any

from curation_assets.audit import ask
from curation_assets.erasure_receipts import RECEIPTS, as_file, body_hash, receipts_folder
from curation_assets.tombstones import LIFTED, TABLE, Keyed, KeyMissingError, key
from curation_assets.warehouse import CHAIN_START, Warehouse

SHOWN = 20
"""Tombstones that are named one by one; the rest are counted."""

ERASURES = (
    "select run_id, chain_position, previous_hash, chain_hash, rows_dropped, notes::varchar as notes from ledger.runs "
    "where stage = 'erasure' and chain_position is not null order by chain_position"
)

STORED = (
    "select erasure_id, issued_at, receipt::varchar as receipt, previous_receipt_hash, receipt_hash, "
    "signature, key_id, chain_hash from erasure.receipts order by issued_at, erasure_id"
)


def receipt_problems(warehouse: Warehouse) -> Iterator[str]:
    """What is wrong with receipts and tombstones, a line each; nothing where they are as they were written."""
    erasures = {row["run_id"]: row for row in warehouse.query(ERASURES).iter_rows(named=True)}
    has_receipts = warehouse.has_table("erasure.receipts")
    receipts = list(warehouse.query(STORED).iter_rows(named=True)) if has_receipts else []
    yield from _receipts(warehouse, erasures, receipts)
    yield from _tombstones(warehouse, erasures)
    yield from _lifted(warehouse, erasures)
    yield from _files(warehouse)


def receipt_lines(warehouse: Warehouse) -> list[str]:
    """What there is of receipts and tombstones, and what was checked of them, in words."""
    if not warehouse.has_table("erasure.receipts") or not warehouse.rows("erasure.receipts"):
        return []
    counts = f"{warehouse.rows('erasure.receipts'):,} receipts of erasures, {warehouse.rows(TABLE):,} tombstones"
    if _key(warehouse) is None:
        return [f"{counts}; the key is not beside the database, so the receipts' signatures were not checked."]
    return [
        f"{counts}; the signatures were checked with the key beside the database. They show that whoever made a receipt had that key; "
        "without it nobody can check them, and they name no person and no time."
    ]


def _key(warehouse: Warehouse) -> Keyed | None:
    try:
        return key(warehouse) if warehouse.has_table(TABLE) else None
    except KeyMissingError:
        return None


def _receipts(
    warehouse: Warehouse, erasures: dict[str, dict[str, Any]], receipts: list[dict[str, Any]]
) -> Iterator[str]:
    keyed = _key(warehouse)
    order = {erasure: number for number, erasure in enumerate(erasures)}
    receipts.sort(key=lambda row: order.get(row["erasure_id"], len(order)))  # as the chain has them
    before, seen = CHAIN_START, set()
    for row in receipts:
        name, run = f"Erasure {row['erasure_id']}", erasures.get(row["erasure_id"])
        if row["erasure_id"] in seen:
            yield f"{name}: it has more than one receipt: one was added."
            continue
        seen.add(row["erasure_id"])
        if (
            hashlib.sha256(f"{row['previous_receipt_hash']}\n{row['receipt']}".encode()).hexdigest()
            != row["receipt_hash"]
        ):
            yield f"{name}: its receipt was edited."
        elif keyed and row["key_id"] == keyed.id and keyed.sign(row["receipt_hash"]) != row["signature"]:
            yield f"{name}: its receipt's signature was not made with the key: the receipt or the signature was exchanged."
        if row["previous_receipt_hash"] != before:
            yield f"{name}: the receipt before its own is not the one it was hung on: one was edited, removed or moved."
        before = row["receipt_hash"]
        if run is None:
            yield (
                f"{name}: its receipt names row {row['chain_hash'][:16]}… of the chain, which is not there: "
                "the ledger was cut off or rewritten, or the receipt was added."
            )
        else:
            yield from (f"{name}: {told}" for told in _unlike_its_row(warehouse, row, run))
    for erasure, run in erasures.items():
        if erasure not in seen:
            yield f"Erasure {erasure}, row {run['chain_position']} of the chain: its receipt is missing from erasure.receipts."


def _unlike_its_row(warehouse: Warehouse, row: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """Where a receipt and the erasure's row of ledger.runs contradict each other."""
    said, noted = _object(row["receipt"]), _object(run["notes"])
    link = {name: run[name] for name in ("chain_position", "previous_hash", "chain_hash")}
    if said.get("ledger") != link or row["chain_hash"] != run["chain_hash"]:
        yield "its receipt names another row of the chain than its own: it was edited or exchanged."
    if "receipt_hash" in noted and body_hash(said) != noted["receipt_hash"]:
        yield "its receipt does not say what it said when its row of the chain was written."
    stated = {"erasure_id": row["erasure_id"], "key_id": row["key_id"]}
    stated["issued_at"] = row["issued_at"].astimezone(timezone.utc).isoformat()
    if any(said.get(name) != value for name, value in stated.items()):
        yield "the columns of its row in erasure.receipts are not what the receipt says."
    counts = {
        "records": run["rows_dropped"],
        "decisions_redacted": noted.get("redactions"),
        "tombstones": noted.get("tombstones"),
    }
    wrong = [name for name, count in counts.items() if count is not None and said.get(name) != count]
    if wrong:
        yield f"its receipt counts other {' and '.join(wrong)} than its row of the chain."
    for release in said.get("releases_withdrawn", []):
        if not warehouse.has_table("release.withdrawals") or not warehouse.value(
            "select count(*) from release.withdrawals where release_id = $release and erasure_id = $erasure",
            release=release,
            erasure=row["erasure_id"],
        ):
            yield f"release {release}, which it withdrew, is not in release.withdrawals."


def _object(text: str | None) -> dict[str, Any]:
    """A JSON object; an empty one where somebody has put something else in its place, which then fits nothing."""
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def _tombstones(warehouse: Warehouse, erasures: dict[str, dict[str, Any]]) -> Iterator[str]:
    has_numbers = (
        "select count(*) from information_schema.columns where table_schema = 'erasure' and column_name = 'position'"
    )
    held: dict[str, dict[str, Any]] = {}
    if warehouse.has_table(TABLE) and warehouse.value(has_numbers):
        held = {row["erasure_id"]: row for row in ask(warehouse, "tombstone_hashes").iter_rows(named=True)}
        added = "select erasure_id, count(*) as rows from erasure.tombstones where position is null group by all order by all"
        for erasure, rows in warehouse.query(added).iter_rows():
            if erasure in held or "tombstones" in _object(erasures.get(erasure, {}).get("notes")):
                yield f"Erasure {erasure}: {rows:,} of its tombstones have no number: they were added."
    for erasure in sorted(held.keys() | erasures.keys()):
        noted = _object(erasures[erasure]["notes"]) if erasure in erasures else None
        row = held.get(erasure, {"tombstones": 0, "tombstones_hash": None, "edited": [], "positions": []})
        if noted is None:
            yield f"Erasure {erasure}: there are {row['tombstones']:,} tombstones of it, but the chain has no row: they were added."
        elif "tombstones" in noted and (row["tombstones"], row["tombstones_hash"]) != (
            noted["tombstones"],
            noted.get("tombstones_hash"),
        ):
            yield from _which(erasure, row, noted["tombstones"])


def _which(erasure: str, row: dict[str, Any], written: int) -> Iterator[str]:
    """The tombstones of an erasure that are not what it wrote, by their numbers."""
    there = list(row["positions"])
    told = [f"tombstone {position} was edited" for position in row["edited"]]
    told += [f"tombstone {position} is missing" for position in sorted(set(range(1, written + 1)) - set(there))]
    told += [f"tombstone {position} was added" for position in sorted({one for one in there if one > written})]
    told += [
        f"tombstone {position} is there more than once" for position in sorted(set(there)) if there.count(position) > 1
    ]
    yield from (f"Erasure {erasure}: {one}." for one in told[:SHOWN])
    if len(told) > SHOWN:
        yield f"Erasure {erasure}: … and {len(told) - SHOWN:,} more of its tombstones."
    if not told:
        yield f"Erasure {erasure}: its tombstones are not those it wrote: rows were rewritten together with their short hashes."


def _lifted(warehouse: Warehouse, erasures: dict[str, dict[str, Any]]) -> Iterator[str]:
    held = {}
    if warehouse.has_table(LIFTED):
        held = {by: (n, value) for by, n, value in ask(warehouse, "lifted_hash").iter_rows()}
    for by in sorted(held.keys() | erasures.keys()):
        noted = _object(erasures[by]["notes"]) if by in erasures else {}
        if held.get(by, (0, None)) != (noted.get("lifted", 0), noted.get("lifted_hash")):
            yield f"Erasure {by}: its rows of erasure.lifted are not those it wrote: some were edited, added or removed."


def _files(warehouse: Warehouse) -> Iterator[str]:
    """Receipts' files that are not what the database holds. A file that is missing is written by the next run."""
    folder = receipts_folder(warehouse)
    if not folder.is_dir():
        return
    rows = warehouse.query(RECEIPTS).iter_rows(named=True) if warehouse.has_table("erasure.receipts") else ()
    held = {row.pop("erasure_id"): row for row in rows}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in held:
            yield (
                f"{path.name} in {folder.name}: no such receipt is in the database: "
                "that was cut off or is an older one, or the file was added."
            )
            continue
        try:
            is_as_held = path.read_text(encoding="utf-8") == as_file(held[path.stem])
        except (ValueError, OSError):
            is_as_held = False
        if not is_as_held:
            yield f"{path.name} in {folder.name}: the file is not the receipt that the database holds: one of them was edited."
