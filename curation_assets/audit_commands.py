"""`curate trace`, `why-not`, `diff`, `whatif` and `audit`: what auditors ask, of one record, of a release, of two, and of rules."""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation_assets.command_line import NOT_FOUND, USAGE, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    from curation_assets.warehouse import Warehouse

Record = Annotated[str, typer.Argument(help="Our id (or its first eight characters), the owner's id, or a text.")]
IsText = Annotated[bool, typer.Option("--text", help="Take it for a text, not for an id.")]


def trace(record: Record, text: IsText = False, database: Database = None) -> None:
    """Tell what happened to a record, stage by stage, and why."""
    from curation_assets import audit

    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        with warehouse.reading():
            for record_id in _records(warehouse, record, text):
                print("\n".join(map(audit.printable, audit.trace(warehouse, record_id))), end="\n\n")


def why_not(
    record: Record,
    release: Annotated[
        str | None,
        typer.Option(
            "--release",
            help="Id of a release, the beginning of it, its name, or latest. Default: the curated set as it is now.",
        ),
    ] = None,
    text: IsText = False,
    database: Database = None,
) -> None:
    """Tell why a record is not in a release, by the decisions that were in force when it was made."""
    from curation_assets import audit, audit_sets

    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        with warehouse.reading():
            chosen = audit_sets.find_release(warehouse, release) if release else None
            for record_id in _records(warehouse, record, text):
                print("\n".join(map(audit.printable, audit_sets.why_not(warehouse, record_id, chosen))), end="\n\n")


def diff(
    before: Annotated[str, typer.Argument(help="A release: its id, the beginning of it, or its name.")],
    after: Annotated[str | None, typer.Argument(help="Another release. Default: the curated set as it is now.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print one row a record as CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one row a record as JSON lines.")] = False,
    database: Database = None,
) -> None:
    """Tell what entered and left between two releases, and why, in words; in rows with --csv or --json."""
    from curation_assets import audit, audit_sets

    if csv and json:
        raise typer.BadParameter("--csv or --json, not both.")
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        with warehouse.reading():
            first = audit_sets.find_release(warehouse, before)
            second = audit_sets.find_release(warehouse, after) if after else None
            rows = audit_sets.diff(warehouse, first, second)
            lines = [] if csv or json else list(audit_sets.diff_lines(warehouse, rows, first, second))
        if csv or json:
            print(rows.write_csv() if csv else rows.write_ndjson(), end="")
        else:
            print("\n".join(map(audit.printable, lines)))


def whatif(
    stage: Annotated[str, typer.Argument(help="The stage whose settings are supposed to be others: filtered.")],
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="A rule or a setting and its value, such as gopher_min_words=30; null switches the rule off. May be given several times.",
        ),
    ],
    examples: Annotated[int, typer.Option("--examples", min=0, help="Records to show that enter, and that leave.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    database: Database = None,
) -> None:
    """Tell which records other thresholds would let in or put out, from the stored signals; nothing is changed."""
    from curation_assets import audit
    from curation_assets import whatif as supposition

    if stage != "filtered":
        raise typer.BadParameter(f"whatif asks the rules of filtered; {stage} has no rules over stored signals.")
    with messages_for_the_reader():
        try:
            answer = supposition.ask(warehouse_at(database), set_, examples)
        except supposition.WhatIfError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USAGE) from error
    if json:
        print(json_format.dumps(supposition.as_json(answer), ensure_ascii=False, indent=2))
    else:
        print("\n".join(map(audit.printable, supposition.lines(answer))))


def audit(
    release: Annotated[
        str | None,
        typer.Argument(
            help="A release: its id, the beginning of it, its name, or latest. Default: the curated set as it is now."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for audit-….html and .json. Default: the current one.", file_okay=False),
    ] = None,
    use: Annotated[
        str,
        typer.Option(
            "--use",
            help="What the set is for, to hold the licences to: commercial-training, research or internal-evaluation.",
        ),
    ] = "commercial-training",
    checks: Annotated[bool, typer.Option("--checks", help="Run the checks now, where no release lists them.")] = False,
    provider: Annotated[
        str, typer.Option("--provider", help="Who provides the model, for the summary of training content.")
    ] = "",
    model: Annotated[str, typer.Option("--model", help="Name and version of the model, for the same.")] = "",
    database: Database = None,
) -> None:
    """Write a report for auditors, as one HTML file to read or print and the same as JSON."""
    from curation_assets import audit_page, audit_report, audit_sets, licenses

    if use not in licenses.USES:
        raise typer.BadParameter(f"--use {use}: it is one of {', '.join(licenses.USES)}.")
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        with warehouse.reading():
            chosen = audit_sets.find_release(warehouse, release) if release else None
            report = audit_report.report(warehouse, chosen, use=use, provider=provider, model=model, run_checks=checks)
        folder = (out or Path()).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"audit-{chosen.release_id if chosen else 'curated-set'}"
        for path, content in (
            (folder / f"{name}.html", audit_page.page(report)),
            (folder / f"{name}.json", audit_report.to_json(report)),
        ):
            path.write_text(content, encoding="utf-8")
            print(f"Wrote {path}")
        print("\n".join(f"  {line}" for line in report["findings"]))


def _records(warehouse: "Warehouse", given: str, is_text: bool) -> list[str]:
    """Our ids of the records that an id or a text means; tells how they were found. Exits with NOT_FOUND if there are none."""
    from curation_assets import audit

    found = audit.find(warehouse, given, is_text=is_text)
    for line in found.rejects:
        print(audit.printable(line))
    if not found.records:
        if found.how:
            print(found.how)
        elif not found.rejects:
            shown = given if len(given) <= 100 else f"{given[:100]}…"
            print(
                f"No record has the id '{shown}', neither ours nor an owner's, nor that text or one near it, in {warehouse.path}.",
                file=sys.stderr,
            )
        raise typer.Exit(0 if found.how or found.rejects else NOT_FOUND)
    if found.how:
        print(f"By its text: {found.how}.\n")
    if len(found.records) > 1:
        print(
            f"{'At least ' if len(found.records) == audit.FOUND_AT_MOST else ''}{len(found.records)} records answer to that:\n"
        )
    return found.records
