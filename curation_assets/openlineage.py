"""What happened in runs, as OpenLineage events for other systems: which asset was made from which, with schema, column lineage, checks.

An asset's materialization becomes a START and a COMPLETE event of a job of its name; its checks become a COMPLETE event of the job
`ASSET.checks`, which reads it. All of it is read off Dagster's event log after the run, so the stages know nothing of it and a
server that is down, or refuses an event, stops nobody. Events hold names, types, descriptions of columns, counts and outcomes;
never a record's text. The lineage of single records is the ledger's and stays in the database.

Off until $CURATION_OPENLINEAGE names a `.jsonl` file to append to or a URL to post to (`$OPENLINEAGE_API_KEY` is sent as a bearer token)
and the sensor `openlineage` is switched on; `curate openlineage` writes the events of past runs without either.

The specification is https://openlineage.io/spec/2-0-2/OpenLineage.json; events are dictionaries of that shape.
"""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import requests

from curation_assets import __version__
from curation_assets.tables import MAIN_TABLES
from curation_assets.warehouse import OVERRIDES

DESTINATION, API_KEY = "CURATION_OPENLINEAGE", "OPENLINEAGE_API_KEY"
PRODUCER = f"https://pypi.org/project/curation-assets/{__version__}"
EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "schema": "1-2-0/SchemaDatasetFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "dataQualityMetrics": "1-0-3/DataQualityMetricsInputDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "parent": "1-2-0/ParentRunFacet",
    "tags": "1-0-0/TagsRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
}
"""Facet → version and name of its schema below https://openlineage.io/spec/facets/."""

SOURCE_TABLES = MAIN_TABLES | {"overrides": OVERRIDES}
"""The table that stands for each asset a column may come from; people's verdicts are a table that no asset builds."""

NOT_ABOUT_THE_EVENT = {401, 403, 404, 405, 407, 408, 421, 425, 429}
"""Answers of 4xx that speak of the key, the address or the load; the same event may be taken later."""

TIMEOUT_SECONDS = 10
RUNS_AT_ONCE = 20
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def facet(name: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """One facet under its name, with what every facet has."""
    schema = FACETS[name]
    url = f"https://openlineage.io/spec/facets/{schema}.json#/$defs/{schema.split('/')[1]}"
    return {name: {"_producer": PRODUCER, "_schemaURL": url, **fields}}


def events_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, namespace: str) -> Iterator[dict[str, Any]]:
    """The events of one run, in the order of its event log. namespace: of datasets and jobs, such as `duckdb:///data/c.duckdb`.

    The same run gives the same events, run ids included, so that sending them twice changes nothing.
    """
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    checks: dict[str, list[tuple[float, dg.AssetCheckEvaluation]]] = {}
    rows: dict[str, int] = {}
    for entry in instance.all_logs(run.run_id, of_type=kinds):
        event = entry.dagster_event
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            checks.setdefault(found.asset_key.to_user_string(), []).append((entry.timestamp, found))
            continue
        made = event.step_materialization_data.materialization
        asset, metadata = made.asset_key.to_user_string(), made.metadata
        if asset not in MAIN_TABLES or "dagster/column_schema" not in metadata:
            continue
        rows[asset] = int(metadata["dagster/row_count"].value)
        output = dataset(asset, metadata, namespace)
        inputs = [{"namespace": namespace, "name": name} for name in upstream(metadata, namespace)]
        start = next((step.start_time for step in instance.get_run_step_stats(run.run_id, [event.step_key])), None)
        for kind, at in (("START", start or entry.timestamp), ("COMPLETE", entry.timestamp)):
            yield run_event(run, asset, namespace, kind, at, inputs, [output] if kind == "COMPLETE" else [])
    for asset, evaluations in checks.items():
        if asset in MAIN_TABLES:
            at = max(time for time, _ in evaluations)
            looked_at = checked(asset, [one for _, one in evaluations], rows.get(asset), namespace)
            yield run_event(run, f"{asset}.checks", namespace, "START", min(time for time, _ in evaluations), [], [])
            yield run_event(run, f"{asset}.checks", namespace, "COMPLETE", at, [looked_at], [])


def run_event(
    run: dg.DagsterRun,
    job: str,
    namespace: str,
    kind: str,
    at: float,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """One event of a job: an asset's step of a Dagster run, which is its parent. at: seconds since 1970."""
    parent = facet("parent", run={"runId": run.run_id}, job={"namespace": namespace, "name": run.job_name})
    told = [
        {"key": key, "value": value, "source": "USER"} for key, value in run.tags.items() if key.startswith("curation/")
    ]
    job_type = facet("jobType", processingType="BATCH", integration="DAGSTER", jobType="ASSET")
    return {
        "eventType": kind,
        "eventTime": datetime.fromtimestamp(at, timezone.utc).isoformat(),
        "producer": PRODUCER,
        "schemaURL": EVENT_SCHEMA,
        "run": {
            "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.run_id}/{job}")),
            "facets": parent | (facet("tags", tags=told) if told else {}),
        },
        "job": {"namespace": namespace, "name": job, "facets": job_type},
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def dataset(asset: str, metadata: Any, namespace: str) -> dict[str, Any]:
    """An asset's tables as an output dataset named by its main table: columns with descriptions, where they come from, rows."""
    columns = metadata["dagster/column_schema"].schema.columns
    fields = [
        {"name": one.name, "type": one.type or "unknown", "description": one.description or ""} for one in columns
    ]
    deps = metadata["dagster/column_lineage"].lineage.deps_by_column
    lineage = {
        column: {
            "inputFields": [
                {
                    "namespace": namespace,
                    "name": SOURCE_TABLES[dep.asset_key.to_user_string()],
                    "field": dep.column_name,
                }
                for dep in of_column
            ]
        }
        for column, of_column in deps.items()
        if of_column
    }
    facets = facet("schema", fields=fields) | (facet("columnLineage", fields=lineage) if lineage else {})
    counted = facet("outputStatistics", rowCount=int(metadata["dagster/row_count"].value))
    return {"namespace": namespace, "name": MAIN_TABLES[asset], "facets": facets, "outputFacets": counted}


def upstream(metadata: Any, namespace: str) -> list[str]:
    """The main tables of the assets that an asset's columns come from."""
    deps = metadata["dagster/column_lineage"].lineage.deps_by_column.values()
    return sorted({SOURCE_TABLES[dep.asset_key.to_user_string()] for of_column in deps for dep in of_column})


def checked(
    asset: str, evaluations: Sequence[dg.AssetCheckEvaluation], rows: int | None, namespace: str
) -> dict[str, Any]:
    """An asset as the input of its checks, with their outcomes; what they found in which record is left out."""
    severity = {dg.AssetCheckSeverity.ERROR: "error", dg.AssetCheckSeverity.WARN: "warn"}
    assertions = [
        {"assertion": one.check_name, "success": bool(one.passed), "severity": severity[one.severity]}
        for one in evaluations
    ]
    facets = facet("dataQualityAssertions", assertions=assertions)
    if rows is not None:
        facets |= facet("dataQualityMetrics", rowCount=rows, columnMetrics={})
    return {"namespace": namespace, "name": MAIN_TABLES[asset], "inputFacets": facets}


def namespace_of(database: str | Path) -> str:
    """The namespace of a database's tables, as OpenLineage names file-based ones: scheme and absolute path."""
    return f"duckdb://{Path(database).as_posix()}"


def send(events: Sequence[dict[str, Any]], destination: str) -> None:
    """Append events to a file, or post them one by one; the first that is not taken ends it, and those before it have been sent.

    Raises OSError (requests' errors are such), of which `is_refusal` tells whether it makes sense to try again.
    """
    if not destination.startswith(("http://", "https://")):
        with Path(destination).expanduser().open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events)
        return
    key = os.environ.get(API_KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for event in events:
        answer = requests.post(destination, json=event, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        answer.raise_for_status()
        if answer.is_redirect:
            raise requests.HTTPError(f"{destination} redirects elsewhere; give the address that takes events itself.")


def is_refusal(error: OSError) -> bool:
    """Whether a server has refused an event for what it is, and would do so again."""
    answer = getattr(error, "response", None)
    return answer is not None and 400 <= answer.status_code < 500 and answer.status_code not in NOT_ABOUT_THE_EVENT


def finished_runs(
    instance: dg.DagsterInstance, after: datetime | None, limit: int = RUNS_AT_ONCE
) -> list[tuple[datetime, dg.DagsterRun]]:
    """The runs that ended after a time, earliest first, with when they were last changed."""
    wanted = dg.RunsFilter(statuses=FINISHED, updated_after=after)
    records = instance.get_run_records(wanted, limit=limit, order_by="update_timestamp", ascending=True)
    return [(record.update_timestamp, record.dagster_run) for record in records]
