"""`curate erase`: take records out of everything, after showing what that touches."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation_assets.command_line import FAILED, NOT_FOUND, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    from curation_assets.erasure_plan import Plan
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
        str | None,
        typer.Option(
            "--source",
            help="Withdraw a source: all records of it, and new ones are refused. With ids: only those of it.",
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Withdraw a licence, as it is stated (case and spaces apart): all records under it, and new ones are refused. "
            "With --source: those of that source.",
        ),
    ] = None,
    allow_again: Annotated[
        bool,
        typer.Option(
            "--allow-again",
            help="Take the withdrawal of --source or --license back, for the --reason given: new records are read again. "
            "What was erased stays erased.",
        ),
    ] = False,
    reach: Annotated[
        str | None,
        typer.Option(
            "--reach",
            help="records: those named; copies: and all of the same text, and other versions of them; related: and near-duplicates "
            "of them and records made from them. Default: related for records and ids, records for a source or a licence.",
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
    receipt; marks releases that hold them as withdrawn; builds again what depends on them. A whole source or licence that is erased
    is withdrawn: its new records are refused too, until --allow-again. It need not have a record yet. An id whose record a withdrawal
    has taken out is refused for good, in the source it was withdrawn from. What is recognised is the text: an owner's id that comes again
    with another text is another record, for many exports number theirs anew.
    """
    from curation_assets import erasure, erasure_plan
    from curation_assets.home import dagster_home

    if allow_again:
        if record or owner_id_file or reach or not (source or license) or not reason.strip():
            raise typer.BadParameter(
                "--allow-again goes with --source or --license, or both as withdrawn, and a --reason."
            )
        with messages_for_the_reader():
            take_back(warehouse_at(database), source, license, reason, yes=yes)
        return
    if not (record or owner_id_file or source or license):
        raise typer.BadParameter("say what is to be erased: --record, --owner-id-file, --source or --license.")
    reach = reach or ("related" if record or owner_id_file else "records")
    if reach not in erasure_plan.REACHES:
        raise typer.BadParameter(f"--reach {reach}: it is one of {', '.join(erasure_plan.REACHES)}.")
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        ids = tuple(_ids(warehouse, record or [], owner_id_file)) if record or owner_id_file else None
        planned = erasure_plan.plan(warehouse, erasure_plan.Request(ids, source, license, reach, reason))
        if planned.is_empty:
            print(
                f"No record in {warehouse.path} answers to that; nothing was changed. `curate trace` tells of an id whether it was erased "
                "before.",
                file=sys.stderr,
            )
            raise typer.Exit(NOT_FOUND)
        if ids is None and not len(planned.records) and len(erasure.withdrawals(warehouse, source, license)):
            print(f"{named(source, license)} is withdrawn already, and no record of it is here; nothing was changed.")
            return
        print("\n".join(plan_lines(planned, warehouse)))
        if not yes and not typer.confirm(question_of(planned)):
            print("Nothing was changed.")
            raise typer.Exit(FAILED)
        try:
            receipt = erasure.erase(warehouse, planned, dagster_home())
            print("\n".join(receipt_lines(receipt, warehouse)))
            if not len(planned.records):
                print("Nothing else was changed.")
            elif rebuild:
                rebuild_dependents(warehouse, database, receipt)
            else:
                print(
                    "What depends on them is not rebuilt yet, and is not released until then: `curate run` does it, or the sensor "
                    "after_erasure."
                )
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
        rows = audit.ask(warehouse, "erasure_named", ids=wanted, source=None, licenses=None)
        known = {*rows["record_id"], *rows["source_record_id"]}
    if unknown := [given for given in wanted if given not in known]:
        shown = ", ".join(unknown[:SHOWN])
        print(
            f"{len(unknown):,} ids of {file} are of no record here: {shown}{' …' if len(unknown) > SHOWN else ''}",
            file=sys.stderr,
        )
    yield from wanted


def plan_lines(planned: "Plan", warehouse: "Warehouse") -> Iterator[str]:
    """What an erasure would touch, in words."""
    from curation_assets.audit import printable

    if planned.records_gone:
        yield (
            f"{planned.records_gone:,} records asked for are not here any more: a withdrawal took them out. They will be refused when "
            "it is taken back too, where it refuses them now: in their source alone where that was withdrawn, for no more of them is kept."
        )
    if planned.request.withdraws:
        yield f"Withdrawn: new records of {named(planned.request.source, planned.request.license)} will be refused, until --allow-again."
    if not len(planned.records):
        yield "No record here answers to that now, so nothing is taken out."
        return
    counts = dict(planned.records["why"].value_counts().iter_rows())
    words = {
        "named": "named",
        "copy": "of the same text",
        "version": "other versions of them",
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
        yield f"{planned.kept_copies:,} records of the same text or other versions of them stay; --reach copies erases them too."
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


def question_of(planned: "Plan") -> str:
    """What the person is asked before anything happens."""
    return "Erase them? This cannot be taken back." if len(planned.records) else "Refuse that from now on?"


def named(source: str | None, license: str | None) -> str:
    """A source, a licence, or a licence in a source, in words."""
    return " in ".join([*([f"licence '{license}'"] if license else []), *([f"source '{source}'"] if source else [])])


def receipt_lines(receipt: dict[str, Any], warehouse: "Warehouse") -> Iterator[str]:
    """What an erasure did, in words."""
    from curation_assets.erasure_receipts import receipts_folder

    said = receipt["receipt"]
    done = sum(one["rows"] for one in said["tables"] if one["what"] == "deleted")
    if said["records"]:
        yield f"Erased: {said['records']:,} records, {done:,} rows; the database was written afresh without them."
    if gone := said["records_gone_refused_for_good"]:
        yield f"Refused for good: {gone:,} records that a withdrawal had taken out."
    if said["releases_withdrawn"]:
        yield f"Withdrawn: {', '.join(said['releases_withdrawn'])}. Their folders are not touched: delete them, and tell who has them."
    for place in said["found_elsewhere"]:
        yield f"STILL THERE: pieces of the text, or an id, in {place}. This table is no record's; take it out by hand."
    yield from history_lines(said)
    path = receipts_folder(warehouse) / f"{said['erasure_id']}.json"
    yield f"Receipt: {path} (hash {receipt['receipt_hash'][:16]}…, in the ledger as {said['ledger']['chain_hash'][:16]}…)."


def history_lines(said: dict[str, Any]) -> Iterator[str]:
    """What an erasure did in Dagster's history, and what was too short to be searched for, in words."""
    did, short = said["history"], said["too_short_to_search"]
    if did["searched"] and (did["runs"] or did["assets"] or did["checks"] or did["logs"]):
        pages = f", and the last pages of {', '.join(did['assets'])}" if did["assets"] else ""
        yield (
            f"Dagster's history: deleted {did['runs']:,} runs whose pages showed them{pages}, {did['checks']:,} results of checks, "
            f"{did['logs']:,} outputs of steps."
        )
    if did.get("in_use"):
        yield f"Dagster's history: {', '.join(did['in_use'])} in use; their bytes are written afresh on the next start. Stop the UI."
    if short["tables"] or short["history"]:
        yield (
            f"Too short to search for by their text: {short['tables']:,} records in tables that are no record's, {short['history']:,} in "
            "Dagster's history. Pages there may still show them; where that matters, delete the history of the runs on this database."
        )


def take_back(warehouse: "Warehouse", source: str | None, license: str | None, reason: str, *, yes: bool) -> None:
    """Take the withdrawal of a source or licence back, after showing what that lets in again."""
    from curation_assets import erasure

    found = erasure.withdrawals(warehouse, source, license)
    if not len(found):
        print(f"{named(source, license)} is not withdrawn in {warehouse.path}; nothing was changed.", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    for row in found.iter_rows(named=True):
        because = f": {row['reason']}" if row["reason"] else ""
        print(
            f"{named(source, license)} was withdrawn on {row['withdrawn_at']:%Y-%m-%d %H:%M} by {row['erasure_id']}{because}."
        )
    print(
        "New records of it, and those erased with it, will be read again when a run comes upon them. What was erased is not brought back."
    )
    if not yes and not typer.confirm("Allow it again?"):
        print("Nothing was changed.")
        raise typer.Exit(FAILED)
    try:
        receipt = erasure.allow_again(warehouse, found, reason)
    finally:
        warehouse.release_run()
    print(f"Allowed again: {receipt['receipt']['erasure_id']} (hash {receipt['receipt_hash'][:16]}…).")


def rebuild_dependents(warehouse: "Warehouse", database: Path | None, receipt: dict[str, Any]) -> None:
    """Run again, with the settings that runs by themselves would take, the assets after raw that have been built.

    Of the label assets only where one of their tables held a record, and neither the task nor the queue: a round is a person's decision.
    Where a kill cuts this short, or nobody asked for it, the stages count as out of date (sql/release/stages.sql, sql/audit/funnel.sql):
    `curate funnel` says so, `curate release` refuses, and the next `curate run`, the sensor `after_erasure` or the schedule `weekly`
    builds them again.
    """
    from curation_assets.automation import last_settings
    from curation_assets.cli import execute
    from curation_assets.tables import asset_of

    ran = set(warehouse.query("select distinct stage from ledger.runs")["stage"])
    stages = to_build_again(ran, {asset_of(one["table"]) for one in receipt["receipt"]["tables"]})
    if not stages or not warehouse.rows("raw.records"):
        print("Nothing depends on them that could be built again.")
        return
    print(f"Building again: {', '.join(stages)}.")
    execute({"ops": last_settings(warehouse, stages)}, database, ",".join(stages), reason="erasure")


def to_build_again(ran: set[str], touched: set[str]) -> list[str]:
    """The stages to run again, of those that ever ran and after an erasure that touched tables of some.

    Where an earlier version fitted the experts' model, lexical vectors, which it reads now, have not run and come with it.
    """
    from curation_assets.definitions import ASSETS, LABEL_ASSETS

    known = ran | ({"lexical_vectors"} if ran & {"label_model", "predicted_labels"} else set())
    of_labels = [asset.key.to_user_string() for asset in LABEL_ASSETS]
    stages = [asset.key.to_user_string() for asset in ASSETS]
    stages += of_labels if touched & set(of_labels) else []
    return [stage for stage in stages if stage in known and stage not in ("raw", "label_task", "label_queue")]
