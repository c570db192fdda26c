"""What all commands share: the database they work on, exit codes, and errors told as messages."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation_assets.home import default_database

if TYPE_CHECKING:
    from curation_assets.warehouse import Warehouse

FAILED, USAGE, NOT_FOUND = 1, 2, 3

Database = Annotated[
    Path | None,
    typer.Option(
        "--database", help="The DuckDB file. Default: $CURATION_DATABASE, else data/curation.duckdb.", dir_okay=False
    ),
]


def warehouse_at(database: Path | None) -> "Warehouse":
    """The warehouse of --database, or the default one. An erasure that was killed is finished first, unless a run is at work."""
    from curation_assets.warehouse import Warehouse

    warehouse = Warehouse(database=str((database or Path(default_database())).expanduser().resolve()))
    if warehouse.has_unfinished_erasure() and not warehouse.is_held_by_a_run():
        warehouse.hold_for_run()
        warehouse.release_run()
    return warehouse


@contextmanager
def messages_for_the_reader() -> Iterator[None]:
    """Turn the errors a user can cause into one message and an exit code; others keep their traceback."""
    try:
        yield
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        from curation_assets.warehouse import DatabaseError

        print(f"DuckDB: {error}" if isinstance(error, DatabaseError) else error, file=sys.stderr)
        raise typer.Exit(code) from error


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that a user can cause; None for any other. Imported here: most commands raise none of them."""
    from curation_assets.audit_sets import NoSuchReleaseError
    from curation_assets.readers import SourceError
    from curation_assets.tombstones import KeyMissingError
    from curation_assets.warehouse import DatabaseError, DatabaseNameError, NoSuchDatabaseError, StaleError

    codes = {
        (NoSuchDatabaseError, NoSuchReleaseError): NOT_FOUND,
        (SourceError, DatabaseNameError): USAGE,
        (StaleError, KeyMissingError, DatabaseError): FAILED,
    }
    return next((code for kinds, code in codes.items() if isinstance(error, kinds)), None)
