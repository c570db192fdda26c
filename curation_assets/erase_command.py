"""`curate erase`: take records out of everything, after showing what that touches."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation_assets.command_line import FAILED, NOT_FOUND, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    from curation_assets.erasure import Plan
    from curation_assets.warehouse import Warehouse

SHOWN = 10


def erase(
    record: Annotated[
        list[str] | None,
        typer.Option("--record", help="A record by our id or the owner's. May be given several times."),
    ] = None,
    owner_id_file: Annotated[
        Path | None,
        typer.Option(
            "--owner-id-file", help="A file of owners' ids (or ours), one a line.", dir_okay=False, exists=True
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="All records of a source; with ids: only those of it.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", help="All records of a licence, as it is stated.")] = None,
    reach: Annotated[
        str | None,
        typer.Option(
            "--reach",
            help="records: those named; copies: and all of the same text; related: and near-duplicates of them and records made from "
            "them. Default: related for records and ids, records for a source or a licence.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why. It stays in the ledger and the receipt: write no names.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild/--no-rebuild", help="Build again what depends on the records.")
    ] = True,
    database: Database = None,
) -> None:
    """Erase records from every table, cache and journal and from the bytes of the database; refuse them from then on.

    Shows first what that touches, and asks. Leaves tombstones that recognise the records without keeping their text, and a signed
    receipt; marks releases that hold them as withdrawn; builds again what depends on them.
    """
    from curation_assets import erasure

    if not (record or owner_id_file or source or license):
        raise typer.BadParameter("say what is to be erased: --record, --owner-id-file, --source or --license.")
    reach = reach or ("related" if record or owner_id_file else "records")
    if reach not in erasure.REACHES:
        raise typer.BadParameter(f"--reach {reach}: it is one of {', '.join(erasure.REACHES)}.")
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        ids = tuple(_ids(warehouse, record or [], owner_id_file)) if record or owner_id_file else None
        planned = erasure.plan(warehouse, erasure.Request(ids, source, license, reach, reason))
        if not len(planned.records):
            print(f"No record in {warehouse.path} answers to that; nothing was changed.", file=sys.stderr)
            raise typer.Exit(NOT_FOUND)
        print("\n".join(plan_lines(planned, warehouse)))
        if not yes and not typer.confirm("Erase them? This cannot be taken back."):
            print("Nothing was changed.")
            raise typer.Exit(FAILED)
        receipt = erasure.erase(warehouse, planned)
        print("\n".join(receipt_lines(receipt, warehouse)))
        try:
            forget_history(planned)
            if rebuild:
                rebuild_dependents(warehouse, database)
            else:
                print("What depends on them is not rebuilt yet: `curate run` does it.")
        finally:
            warehouse.release_run()
        if receipt["receipt"]["found_elsewhere"]:
            raise typer.Exit(FAILED)


def _ids(warehouse: "Warehouse", records: list[str], file: Path | None) -> Iterator[str]:
    """The ids asked for; a prefix of one of ours is made whole. What no record has is told."""
    from curation_assets import audit

    for given in records:
        found = audit.find_records(warehouse, given)
        exact = [row for row in found.iter_rows(named=True) if given in (row["record_id"], row["source_record_id"])]
        if not exact and len(found) > 1:
            raise typer.BadParameter(f"--record {given} is the beginning of {len(found)} ids; give more of it.")
        yield given if exact or not len(found) else found["record_id"][0]
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    wanted = [line.strip() for line in lines if line.strip()]
    known = set()
    if wanted:
        rows = audit.ask(warehouse, "erasure_named", ids=wanted, source=None, license=None)
        known = {*rows["record_id"], *rows["source_record_id"]}
    if unknown := [given for given in wanted if given not in known]:
        shown = ", ".join(unknown[:SHOWN])
        print(
            f"{len(unknown):,} ids of {file} are no record's: {shown}{' …' if len(unknown) > SHOWN else ''}",
            file=sys.stderr,
        )
    yield from wanted


def plan_lines(planned: "Plan", warehouse: "Warehouse") -> Iterator[str]:
    """What an erasure would touch, in words."""
    from curation_assets.audit import printable

    counts = dict(planned.records["why"].value_counts().iter_rows())
    words = {
        "named": "named",
        "copy": "of the same text",
        "near-duplicate": "near-duplicates of them",
        "derived": "made from them",
    }
    told = ", ".join(f"{counts[why]:,} {word}" for why, word in words.items() if why in counts)
    yield f"To be erased: {len(planned.records):,} records ({told})."
    for row in planned.records.head(SHOWN).iter_rows(named=True):
        yield printable(
            f"  {row['record_id'][:12]}  {row['why']:<14} {row['source']}: {row['source_record_id']} "
            f"({row['source_uri']} row {row['source_row']})"
        )
    if len(planned.records) > SHOWN:
        yield f"  … and {len(planned.records) - SHOWN:,} more"
    if planned.kept_copies:
        yield f"{planned.kept_copies:,} records of the same text from elsewhere stay; --reach copies erases them too."
    if planned.kept_near:
        yield f"{planned.kept_near:,} near-duplicates of them, or records made from them, stay; --reach related erases them too."
    if not warehouse.has_table("deduped.pairs"):
        yield "Near-duplicates of them are not known: deduped has not run."
    yield "Tables with rows of them:"
    yield from (f"  {one.rows:>9,} {one.what:<9} {one.table}" for one in planned.tables)
    yield f"Labels on them: {planned.labels:,}. Releases that hold them: {', '.join(planned.releases) or 'none'}."
    files = planned.records.group_by("source", "source_uri").len().sort("source", "source_uri")
    yield "The files they were read from are not touched and still hold them (from now on they are refused there):"
    yield from (printable(f"  {source}: {uri}, {rows:,} rows") for source, uri, rows in files.head(SHOWN).iter_rows())
    if len(files) > SHOWN:
        yield f"  … and {len(files) - SHOWN:,} more files"


def receipt_lines(receipt: dict[str, Any], warehouse: "Warehouse") -> Iterator[str]:
    """What an erasure did, in words."""
    from curation_assets.erasure import receipts_folder

    said = receipt["receipt"]
    done = sum(one["rows"] for one in said["tables"] if one["what"] == "deleted")
    yield f"Erased: {said['records']:,} records, {done:,} rows; the database was written afresh without them."
    if said["releases_withdrawn"]:
        yield f"Withdrawn: {', '.join(said['releases_withdrawn'])}. Their folders are not touched: delete them, and tell who has them."
    for place in said["found_elsewhere"]:
        yield f"STILL THERE: pieces of the text, or an id, in {place}. This table is no record's; take it out by hand."
    path = receipts_folder(warehouse) / f"{said['erasure_id']}.json"
    yield f"Receipt: {path} (hash {receipt['receipt_hash'][:16]}…, in the ledger as {said['ledger']['chain_hash'][:16]}…)."


def forget_history(planned: "Plan") -> None:
    """Take out of Dagster's history the runs and asset pages that show the erased texts, and say which."""
    import os

    from curation_assets import history
    from curation_assets.home import dagster_home

    home = dagster_home()
    os.environ["DAGSTER_HOME"] = str(home)
    runs, assets = (
        history.forget(home, [*planned.records["text"], *planned.records["original"]]) if home.exists() else (0, [])
    )
    if runs or assets:
        pages = f", and the last pages of {', '.join(assets)}" if assets else ""
        print(f"Dagster's history: deleted {runs:,} runs whose pages showed them{pages}.")


def rebuild_dependents(warehouse: "Warehouse", database: Path | None) -> None:
    """Run again, with the settings of their last run, the assets after raw that have been built."""
    from curation_assets.cli import execute
    from curation_assets.definitions import ASSETS

    rows = warehouse.query(
        "select stage, max_by(config::varchar, finished_at) as config from ledger.runs group by stage"
    )
    configs = {stage: json.loads(config) for stage, config in rows.iter_rows()}
    stages = [asset.key.to_user_string() for asset in ASSETS]
    stages = [stage for stage in stages if stage in configs and stage != "raw"]
    if not stages or not warehouse.rows("raw.records"):
        print("Nothing depends on them that could be built again.")
        return
    print(f"Building again: {', '.join(stages)}.")
    execute(
        {"ops": {stage: {"config": configs[stage]} for stage in stages}}, database, ",".join(stages), reason="erasure"
    )
