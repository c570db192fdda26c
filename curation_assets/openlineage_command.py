"""`curate openlineage`: the OpenLineage events of past runs, printed or sent."""

import json
import os
import sys
from typing import Annotated

import typer

from curation_assets.command_line import FAILED, NOT_FOUND, Database, warehouse_at
from curation_assets.home import dagster_home


def openlineage(
    run: Annotated[
        str | None, typer.Option(help="Id of a run, or how it begins. Default: the latest that ended.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="A .jsonl file to append to, or a URL to post to. Default: print them.")
    ] = None,
    database: Database = None,
) -> None:
    """Print or send what a run has made as OpenLineage events: schema, column lineage, checks. No record's text is in them."""
    os.environ["DAGSTER_HOME"] = str(dagster_home())
    import dagster as dg

    from curation_assets import openlineage as events

    with dg.DagsterInstance.get() as instance:
        ended = instance.get_runs(filters=dg.RunsFilter(statuses=events.FINISHED))
        found = next((one for one in ended if run is None or one.run_id.startswith(run)), None)
        if found is None:
            print(f"No run {run or ''} has ended in {dagster_home()}.", file=sys.stderr)
            raise typer.Exit(NOT_FOUND)
        place = found.tags.get("curation/database") or warehouse_at(database).path
        made = list(events.events_of_run(instance, found, events.namespace_of(place)))
    if to is None:
        print("\n".join(json.dumps(event, ensure_ascii=False) for event in made))
        return
    try:
        events.send(made, to)
    except OSError as error:
        print(f"{to} does not take the events: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from error
    print(f"{len(made)} events of run {found.run_id[:8]} went to {to}.", file=sys.stderr)
