"""Whether the ledger is what was written: its rows are hashed and chained, and these questions hold them to it.

Every decision has a number within its run, a random nonce and a short hash; the row of its run in ledger.runs holds a hash over all
of the run's decisions, the hash of the run row before it and one over itself (`sql/00_ledger`). What is edited,
removed, added or reordered no longer fits. Who can write the database can also compute a whole new chain, so the chain proves
as much as its last hash is known elsewhere: in the manifest of a release, in the receipt of an erasure, in a note of one's own.
Receipts and tombstones of erasures are held to it by `audit_receipts`.
"""

import json
from collections.abc import Iterator

import polars as pl

from curation_assets.audit import ask
from curation_assets.audit_receipts import receipt_lines, receipt_problems
from curation_assets.warehouse import CHAIN_START, OVERRIDES, Warehouse

SHOWN = 20
"""Rows that are named one by one; the rest are counted."""


def verify_ledger(warehouse: Warehouse, head: str | None = None) -> list[str]:
    """What is wrong with the ledger, and with receipts and tombstones, a line each; nothing where all is as it was written.

    head: a chain_hash noted earlier, which must still be in the chain.
    """
    if not _is_chained(warehouse):
        if warehouse.has_table("ledger.decisions") and _has_marks(warehouse):
            return ["The ledger has rows that were chained, and no chain: the numbers of ledger.runs were taken out."]
        return [f"The chain has no row {head}: the ledger was never chained."] if head else []
    problems = [*_runs(warehouse), *_decisions(warehouse), *_strays(warehouse), *_overrides(warehouse)]
    known = warehouse.query("select chain_hash from ledger.runs where chain_position is not null")["chain_hash"]
    if head and head not in known:
        problems.append(f"The chain has no row {head}, which it had when that was noted: it was cut off or rewritten.")
    problems += receipt_problems(warehouse)
    problems += [
        f"Release {release}: its manifest names row {chain_hash[:16]}… of the chain, which is not there: "
        "the ledger was cut off or rewritten."
        for release, chain_hash in _anchors(warehouse)
        if chain_hash not in known
    ]
    return problems


def ledger_lines(warehouse: Warehouse) -> list[str]:
    """What the chain covers, in words, with its last hash to be noted elsewhere."""
    if not _is_chained(warehouse):
        return [
            "The ledger's rows are from before the chain began: nothing can be said of them. The next run begins it."
        ]
    counts = warehouse.query(
        "select count(chain_position) as links, count(*) - count(chain_position) as earlier, sum(decisions)::bigint as decisions, "
        "max_by(chain_hash, chain_position) as head, min(finished_at) filter (chain_position is not null) as since from ledger.runs"
    ).row(0, named=True)
    lines = [
        (
            f"{counts['links']:,} runs of stages with {counts['decisions'] or 0:,} decisions are chained, since "
            f"{counts['since']:%Y-%m-%d %H:%M}."
        ),
        f"The last hash is {counts['head']}; note it elsewhere: with it a ledger that was cut off or rewritten as a whole shows too.",
    ]
    if counts["earlier"]:
        before = warehouse.value("select count(*) from ledger.decisions where position is null")
        lines.append(
            f"{counts['earlier']:,} runs of stages with {before:,} decisions are rows before the chain began: nothing can be said of them."
        )
    if redacted := warehouse.rows("ledger.redactions"):
        lines.append(
            f"{redacted:,} decisions no longer name their record: erasures took it out, and the chain says which did."
        )
    return [*lines, *receipt_lines(warehouse)]


def chain_head(warehouse: Warehouse) -> str | None:
    """The last hash of the chain; None where there is none yet."""
    if not _is_chained(warehouse):
        return None
    return warehouse.value("select max_by(chain_hash, chain_position) as head from ledger.runs")


def _is_chained(warehouse: Warehouse) -> bool:
    columns = (
        "select count(*) from information_schema.columns where table_schema = 'ledger' and table_name = "
        "'runs' and column_name = 'chain_position'"
    )
    if not warehouse.has_table("ledger.redactions") or not warehouse.value(columns):
        return False
    return bool(warehouse.value("select count(chain_position) from ledger.runs"))


def _runs(warehouse: Warehouse) -> Iterator[str]:
    """Rows of ledger.runs that are not what was written, or not where."""
    position, before = 0, CHAIN_START
    for row in ask(warehouse, "run_hashes").iter_rows(named=True):
        where = f"Run {row['run_id']}, stage {row['stage']}, row {row['chain_position']} of the chain"
        if row["chain_position"] > position + 1:
            gone = row["chain_position"] - position - 1
            yield f"{where}: {gone:,} {'row is' if gone == 1 else 'rows are'} missing from ledger.runs before it."
        elif row["chain_position"] == position:
            yield f"{where}: ledger.runs has two rows of that number."
        elif row["previous_hash"] != before:
            yield f"{where}: the row before it is not the one it was hung on: that one was edited, or rows were reordered."
        if row["hash"] != row["chain_hash"]:
            yield f"{where}: its row in ledger.runs was edited."
        position, before = row["chain_position"], row["chain_hash"]


def _decisions(warehouse: Warehouse) -> Iterator[str]:
    """Decisions that are not what was written, missing or added.

    Hashed once, by stage of a run; single rows are looked at only where some hash is not what it should be.
    """
    afresh = ask(warehouse, "decisions_hash", run_id=None, stage=None, last=None)
    chained = warehouse.query(
        "select run_id, stage, decisions, decisions_hash, decisions = max(decisions) over (partition by run_id, stage) as is_last "
        "from ledger.runs where chain_position is not null"
    )
    unlike = list(_unlike_their_hash(warehouse, chained, afresh))
    added = set(afresh.select("run_id", "stage").rows()) - set(chained.select("run_id", "stage").rows())
    if not unlike and not added and not afresh["edited"].sum():
        return
    edited = ask(warehouse, "decision_hashes", run_id=None, stage=None).filter(~pl.col("is_as_written"))
    for row in edited.sort("run_id", "stage", "position").head(SHOWN).iter_rows(named=True):
        yield f"{_where(row)} (record {row['record_id']}): was edited or moved."
    if len(edited) > SHOWN:
        yield f"… and {len(edited) - SHOWN:,} more edited rows of ledger.decisions."
    gaps = ask(warehouse, "ledger_gaps")
    for row in gaps.head(SHOWN).iter_rows(named=True):
        yield f"{_where(row)}: " + (
            "is missing." if not row["rows"] else "was added." if not row["is_expected"] else "is there more than once."
        )
    if len(gaps) > SHOWN:
        yield f"… and {'at least ' if len(gaps) == 100 else ''}{len(gaps) - SHOWN:,} more missing or added rows of ledger.decisions."
    told = {(row["run_id"], row["stage"]) for rows in (edited, gaps) for row in rows.iter_rows(named=True)}
    for run_id, stage in unlike:
        if (run_id, stage) not in told:
            yield (
                f"Run {run_id}, stage {stage}: its decisions are not those it committed, though every row fits "
                "its own short hash: rows were "
                "rewritten together with their hashes."
            )


def _unlike_their_hash(warehouse: Warehouse, chained: pl.DataFrame, afresh: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Run and stage of the rows of ledger.runs whose decisions no longer give their decisions_hash.

    chained: run_id, stage, decisions, decisions_hash, is_last of those rows. afresh: the rows of sql/audit/decisions_hash.sql.
    """
    hashes = {(run_id, stage): (n, value) for run_id, stage, n, value, _ in afresh.iter_rows()}
    for run_id, stage, decisions, decisions_hash, is_last in chained.iter_rows():
        if is_last:
            found = hashes.get((run_id, stage), (0, None))
        else:  # a stage that committed twice in one run
            part = ask(warehouse, "decisions_hash", run_id=run_id, stage=stage, last=decisions)
            found = part.row(0)[2:4] if len(part) else (0, None)
        if found != (decisions, decisions_hash):
            yield run_id, stage


def _strays(warehouse: Warehouse) -> Iterator[str]:
    """Rows that came into a chained ledger by another way than a commit, and redactions that no erasure stands for."""
    added = warehouse.query(
        "select run_id, stage from ledger.runs where chain_position is null and finished_at > "
        "(select min(finished_at) from ledger.runs where chain_position is not null)"
    )
    yield from (
        f"Run {run_id}, stage {stage}: its row of ledger.runs is not in the chain: it was added."
        for run_id, stage in added.iter_rows()
    )
    loose = warehouse.query(
        "select d.run_id, d.stage, count(*) as rows from ledger.decisions as d where d.position is null and not exists ("
        "select 1 from ledger.runs as r where r.run_id = d.run_id and r.stage = d.stage and r.chain_position is "
        "null) group by all order by all"
    )
    yield from (
        f"Run {run_id}, stage {stage}: {rows:,} rows of ledger.decisions have no number: they were added."
        for run_id, stage, rows in loose.iter_rows()
    )
    held = {erasure: (n, value) for erasure, n, value in ask(warehouse, "redactions_hash").iter_rows()}
    noted = {
        run_id: json.loads(notes)
        for run_id, notes in warehouse.query(
            "select run_id, notes::varchar as notes from ledger.runs where stage = 'erasure' and chain_position is not null"
        ).iter_rows()
    }
    for erasure in sorted(held.keys() | noted.keys()):
        said = noted.get(erasure)
        if said is None:
            yield f"Erasure {erasure}: ledger.redactions has rows of it, but the chain has none: they were added."
        elif held.get(erasure, (0, None)) != (said.get("redactions"), said.get("redactions_hash")):
            yield f"Erasure {erasure}: its rows of ledger.redactions are not those it wrote."


def _overrides(warehouse: Warehouse) -> Iterator[str]:
    """Verdicts of people that are not as they were entered, or gone without an erasure."""
    if not warehouse.has_table(OVERRIDES):
        return
    found = ask(warehouse, "override_hashes")
    strange = found.filter(pl.col("state") == "was edited or added")
    for row in strange.head(SHOWN).iter_rows(named=True):
        yield f"The override of record {row['record_id']} (run {row['run_id']}): was edited or added."
    if len(strange) > SHOWN:
        yield f"… and {len(strange) - SHOWN:,} more edited or added overrides."
    erased = 0
    if warehouse.has_table("erasure.receipts"):
        receipts = warehouse.query("select receipt::varchar as receipt from erasure.receipts")["receipt"]
        touched = [table for receipt in receipts for table in json.loads(receipt).get("tables", [])]
        erased = sum(table["rows"] for table in touched if (table["table"], table["what"]) == (OVERRIDES, "deleted"))
    missing = found.filter(pl.col("state") == "is missing")
    if len(missing) != erased:
        runs = ", ".join(missing["run_id"].unique().sort().head(SHOWN))
        yield f"overrides.entries: {len(missing):,} entries are missing (runs {runs}), and erasures removed {erased:,}."


def _has_marks(warehouse: Warehouse) -> bool:
    """Whether rows of the ledger carry what only chained rows have."""
    columns = warehouse.query(
        "select table_name || '.' || column_name as name from information_schema.columns where table_schema = 'ledger'"
    )["name"]
    marked = {
        "runs.chain_hash": "select count(chain_hash) from ledger.runs",
        "decisions.row_hash": "select count(row_hash) from ledger.decisions",
    }
    return any(name in columns and warehouse.value(count) > 0 for name, count in marked.items())


def _anchors(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Releases whose manifest holds the chain's last hash of their time, and that hash."""
    if not warehouse.has_table("release.releases"):
        return []
    return warehouse.query(
        "select release_id, manifest ->> '$.ledger.chain_hash' as chain_hash from release.releases "
        "where (manifest ->> '$.ledger.chain_hash') is not null order by released_at"
    ).rows()


def _where(row: dict) -> str:
    return f"Run {row['run_id']}, stage {row['stage']}, row {row['position']} of its decisions"
