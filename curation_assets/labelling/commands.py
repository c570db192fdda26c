"""`curate label`: the experts' page, and labels in and out as files."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation_assets.command_line import FAILED, NOT_FOUND, USAGE, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    from curation_assets.warehouse import Warehouse

REASONS_SHOWN = 20
"""Rejected rows that are printed; the file has them all."""

READ_SECONDS = 3
"""So long the command waits for the database before it serves the page, which then says that it waits."""

label_app = typer.Typer(
    invoke_without_command=True,
    help="Label the queued items in the browser; `export` and `import` take them elsewhere and bring labels back.",
)


@label_app.callback()
def label(
    context: typer.Context,
    rater: Annotated[str | None, typer.Option(help="Your name; without it the page asks.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1. Default: 8765, or a free one.", min=1, max=65535)
    ] = None,
    adjudicate: Annotated[bool, typer.Option("--adjudicate", help="Open the disputed items, to settle them.")] = False,
    hide_guess: Annotated[
        bool,
        typer.Option(
            "--hide-guess",
            help="Never show what the model thought, not even afterwards; then more than the last answer can be taken back.",
        ),
    ] = False,
    database: Database = None,
) -> None:
    """Serve the page on which experts label, on this machine only, until Ctrl+C.

    Raters open the printed link and give their names; it works while a run does. From elsewhere: ssh -L 8765:127.0.0.1:8765 HOST.
    """
    if context.invoked_subcommand:
        context.obj = database
        return
    from curation_assets.labelling.desk import Desk
    from curation_assets.labelling.page import link, listening, serve
    from curation_assets.warehouse import NoSuchDatabaseError

    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        if not warehouse.path.exists():
            raise NoSuchDatabaseError(
                f"There is no database at {warehouse.path}. `curate run` makes one; --database names another."
            )
        try:
            found = listening(port)
        except OSError as error:
            print(
                f"Port {port} is taken ({error.strerror}); give another, or none to let one be found.", file=sys.stderr
            )
            raise typer.Exit(USAGE) from error
        desk, token = Desk(warehouse, shows_guess=not hide_guess), secrets.token_urlsafe(24)
        desk.start()
        desk.is_read.wait(READ_SECONDS)
        if desk.problem:
            print(desk.problem, file=sys.stderr)
            raise typer.Exit(FAILED)
        shown = link(found.getsockname()[1], token, rater, "adjudicate" if adjudicate else None)
        print(
            f"The labelling page of {warehouse.path}; who has this link can label (Ctrl+C ends it):\n\n  {shown}\n",
            flush=True,
        )
        serve(desk, found, token)
        desk.stop()
        print("Every answer is on disk; `curate run --select label_round` takes them in.")


class Format(str, Enum):
    """What the items are exported for."""

    TABLE = "table"
    LABEL_STUDIO = "label-studio"


class Role(str, Enum):
    """As what labels count."""

    EXPERT = "expert"
    CROWD = "crowd"
    LLM = "llm"
    ADJUDICATOR = "adjudicator"


@label_app.command("export")
def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="New file: .csv, .tsv or .jsonl; .json for Label Studio.", dir_okay=False)
    ],
    labels: Annotated[bool, typer.Option("--labels", help="The labels given so far, not the open items.")] = False,
    rater: Annotated[str | None, typer.Option(help="Whom the file is for: what they answered is left out.")] = None,
    format: Annotated[Format, typer.Option(help="table by the suffix, or tasks for Label Studio.")] = Format.TABLE,
    database: Database = None,
) -> None:
    """Write the items that still want labels, to be filled in elsewhere; the model's guess is not in the file.

    In .csv and .tsv a cell that a spreadsheet would take for a formula has an apostrophe before it, which `import` takes off again.
    """
    from curation_assets.labelling.label_export import export_items, export_labels, interface_path

    is_studio = format is Format.LABEL_STUDIO
    if labels and (rater or is_studio):
        print(
            "--labels writes what all raters said as a table; --rater and --format do not go with it.", file=sys.stderr
        )
        raise typer.Exit(USAGE)
    with _told(), _existing(database or context.obj) as warehouse:
        if labels:
            print(f"{export_labels(warehouse, file):,} labels are in {file}.")
            return
        items = export_items(warehouse, file, rater, is_studio)
        print(f"{items:,} items want labels; they are in {file}.")
        if is_studio:
            print(
                f"{interface_path(file)} is the labelling interface: paste it under Settings > Labeling Interface > Code, then "
                "import the tasks. Export as JSON brings the labels back: curate label import FILE.json"
            )
        else:
            print(f"Fill in the column label{'' if rater else ' and the rater'}, then: curate label import {file}")


@label_app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="Labels as .csv, .tsv or .jsonl, or Label Studio's export (JSON or JSON-MIN).",
            exists=True,
            dir_okay=False,
        ),
    ],
    rater: Annotated[str | None, typer.Option(help="The rater of rows that name none.")] = None,
    role: Annotated[Role, typer.Option(help="As what the labels count, where a row does not say.")] = Role.EXPERT,
    database: Database = None,
) -> None:
    """Take labels in from a file; importing it twice adds nothing.

    Rows that cannot be taken in are printed and written to FILE.rejected.csv, and the exit code is 1; all others count.
    """
    from curation_assets.labelling.label_import import import_labels, rejected_path

    with _told(), _existing(database or context.obj) as warehouse:
        done = import_labels(warehouse, file, rater, role.value)
    told = {
        "labels are new": done.added,
        "were there already": done.known,
        "rows have no label": done.empty,
        "annotations were cancelled by their raters": done.cancelled,
        "are marked as ground truth; they count as their raters' labels": done.ground_truth,
        "have a text that is not their record's (a spreadsheet may have cut it, or a column was moved)": done.other_texts,
        "rows are rejected": len(done.rejected),
    }
    print("\n".join(f"{count:,} {what}" for what, count in told.items() if count or what == "labels are new"))
    if done.empty and not (done.added or done.known or done.rejected):
        print(f"No row of {file} has a value in `label`: is it the file that was filled in?", file=sys.stderr)
    for row, reason in done.rejected[:REASONS_SHOWN]:
        print(f"  row {row.number}: {reason}", file=sys.stderr)
    if done.rejected:
        more = len(done.rejected) - REASONS_SHOWN
        print(f"{f'{more:,} more; all' if more > 0 else 'They'} are in {rejected_path(file)}.", file=sys.stderr)
        raise typer.Exit(FAILED)


@label_app.command("report")
def report(context: typer.Context, database: Database = None) -> None:
    """Print the report on the task: sets and classes, agreement, rounds, effort."""
    from curation_assets.labelling.report import report_lines

    with _told(), _existing(database or context.obj) as warehouse:
        print("\n".join(report_lines(warehouse)))


@contextmanager
def _existing(database: Path | None) -> "Iterator[Warehouse]":
    """The warehouse, if its database is there."""
    from curation_assets.warehouse import NoSuchDatabaseError

    warehouse = warehouse_at(database)
    if not warehouse.path.exists():
        raise NoSuchDatabaseError(
            f"There is no database at {warehouse.path}. `curate run` makes one; --database names another."
        )
    yield warehouse


@contextmanager
def _told() -> Iterator[None]:
    """messages_for_the_reader, with what can be wrong about a task or a file of labels."""
    import dagster as dg

    from curation_assets.labelling.label_files import ExchangeError

    try:
        with messages_for_the_reader():
            yield
    except dg.Failure as failure:
        print(failure.description, file=sys.stderr)
        raise typer.Exit(NOT_FOUND) from failure
    except (ExchangeError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(USAGE) from error
