"""`curate override`: a person's verdict on single records, with a reason, which every stage obeys."""

import csv
import getpass
import sys
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation_assets.command_line import NOT_FOUND, USAGE, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    from curation_assets.overrides import Entry
    from curation_assets.warehouse import Warehouse


COPIES_SHOWN = 5


def override(
    record: Annotated[
        str | None, typer.Argument(help="Our id (or its first eight characters), or the owner's.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Argument(help="keep, drop, or none to let the rules decide again.", metavar="keep|drop|none")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why. It is shown wherever the record is explained.")] = "",
    by: Annotated[
        str | None, typer.Option("--by", help="Who decides. Default: the name you are logged in with.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="Verdicts from a CSV file with columns record, verdict, reason.", dir_okay=False, exists=True
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the verdicts in force.")] = False,
    database: Database = None,
) -> None:
    """Keep or drop single records whatever the rules say; who and why stays in the ledger.

    Takes effect with the next run of each stage. The same words twice, or none, are not kept by it.
    """
    from curation_assets import overrides
    from curation_assets.audit import printable

    if [show, file is not None, record is not None].count(True) != 1:
        raise typer.BadParameter("give a RECORD and a verdict, or --file, or --list.")
    if record is not None and verdict is None:
        raise typer.BadParameter("say what is to become of the record: keep, drop or none.")
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        if show:
            verdicts = overrides.in_force(warehouse)
            names = _called(warehouse, verdicts["record_id"].to_list())
            for row in verdicts.iter_rows(named=True):
                when = f"{row['decided_at'].astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
                told = f"{row['verdict']:<4} {names[row['record_id']]}  {when}  {row['decided_by']}: {row['reason']}"
                print(printable(told))
            return
        try:
            if file:
                entries = _entries_of(warehouse, file)
            else:
                ids = overrides.meant(warehouse, [record])
                entries = [overrides.Entry(ids[record], verdict, reason)]
            in_force_before = set(overrides.in_force(warehouse)["record_id"])
            run_id = overrides.enter(warehouse, entries, by or getpass.getuser())
        except LookupError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(NOT_FOUND) from error
        except ValueError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USAGE) from error
        names = _called(warehouse, [entry.record_id for entry in entries])
        for entry in entries:
            nothing = entry.verdict == "none" and entry.record_id not in in_force_before
            print(
                printable(
                    f"{entry.verdict}: {names[entry.record_id]}{' (no verdict was in force on it)' if nothing else ''}"
                )
            )
        _tell_of_copies(warehouse, [entry.record_id for entry in entries if entry.verdict == "drop"])
        print(f"In the ledger as {run_id}. `curate run` applies it, with the --recipe you run with.")


def _tell_of_copies(warehouse: "Warehouse", dropped: list[str]) -> None:
    """Say which records deduped found to be copies of those just dropped: one of them stands for the text from then on."""
    from curation_assets import overrides
    from curation_assets.audit import printable

    if not dropped or not warehouse.has_table("deduped.pairs"):
        return
    copies = overrides.copies_of(warehouse, dropped)
    if not copies:
        return
    names = list(_called(warehouse, copies[:COPIES_SHOWN]).values())
    more = f" and {len(copies) - COPIES_SHOWN:,} more" if len(copies) > COPIES_SHOWN else ""
    print(
        printable(
            f"The same words, or nearly, are also in {', '.join(names)}{more}, which the rules may keep in its place."
        )
    )
    print("Drop them as well if it is the text that you mean; deduped.pairs has them all.")


def _called(warehouse: "Warehouse", record_ids: list[str]) -> dict[str, str]:
    """Our id of each record with its source and the owner's id behind it; ours alone where the record is gone."""
    rows = warehouse.query(
        "select record_id, any_value(source || ': ' || source_record_id) as owners from raw.records "
        "where record_id in (select unnest($ids::varchar[])) group by record_id",
        ids=record_ids,
    )
    owners = dict(rows.iter_rows())
    return {one: f"{one} ({owners[one]})" if owners.get(one) else one for one in record_ids}


def _entries_of(warehouse: "Warehouse", file: Path) -> "list[Entry]":
    """The verdicts of a CSV file. Raises ValueError naming what can't be read, LookupError a record there is not."""
    from curation_assets.overrides import Entry, meant, wrong_with

    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened)
            missing = {"record", "verdict", "reason"} - set(rows.fieldnames or [])
            given = []
            for row in () if missing else rows:
                wrong = wrong_with(row["verdict"] or "", row["reason"] or "")
                if wrong:
                    raise ValueError(f"{file}, line {rows.line_num}: {wrong} None of its verdicts is entered.")
                given.append((row["record"] or "", row["verdict"] or "", row["reason"] or ""))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: it cannot be read as CSV in UTF-8: {error}.") from error
    if missing:
        raise ValueError(f"{file}: it has no column {', '.join(sorted(missing))}; it needs record, verdict and reason.")
    try:
        ids = meant(warehouse, [record for record, _, _ in given])
    except (LookupError, ValueError) as error:
        raise type(error)(f"{file}: {error} None of its verdicts is entered.") from error
    return [Entry(ids[record], verdict, reason) for record, verdict, reason in given]
