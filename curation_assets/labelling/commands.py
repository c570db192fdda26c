"""`curate label`: the experts' page, and labels in and out as files."""

import secrets
import sys
from typing import Annotated

import typer

from curation_assets.command_line import FAILED, USAGE, Database, messages_for_the_reader, warehouse_at

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
        bool, typer.Option("--hide-guess", help="Never show what the model thought, not even after the answer.")
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
        desk, token = Desk(warehouse), secrets.token_urlsafe(24)
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
        serve(desk, found, token, shows_guess=not hide_guess)
        desk.stop()
        print("Every answer is on disk; `curate run --select label_round` takes them in.")
