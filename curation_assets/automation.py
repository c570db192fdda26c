"""What runs by itself and why: jobs, the sensors for new data and for drift, the weekly schedule, and when a set counts as old.

    new or grown files → `new_data` → what comes in: raw … clusters, drift_report
    drift_report's check warns → `drift` → what that leaves out of date: density … eval_report, then new concepts to the experts
    Monday, 03:00 → `weekly` → everything

Sensors and schedules are off until someone switches them on: in the UI under Automation, or with
`dagster sensor start new_data -w workspace.yaml` (`dagster schedule start weekly`). They need the daemon, which `make ui` starts.
A run made here has the settings each asset last ran with in this database, so that nobody's recipe is lost, and says in its tag
`curation/reason` why it exists.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from curation_assets import openlineage as lineage_events
from curation_assets import watching
from curation_assets.progress import logger
from curation_assets.stages.raw import known_sources
from curation_assets.warehouse import Warehouse

REASON, FOUND_BY, DATABASE, READS = "curation/reason", "curation/found_by_run", "curation/database", "curation/reads"
"""Tags of a run: manual, new data, drift, schedule or erasure; the run that found the drift; the database it works on; the hash of
the contents it is to read."""

MOST_TRIES = 3
"""Runs that are requested for the same contents, where each was killed or failed before it had read them. Ours."""

INCOMING = ("raw", "cleaned", "deduped", "filtered", "embeddings", "clusters", "drift_report")
"""What new data goes through before anybody knows whether it differs from the old."""

OUT_OF_DATE = ("density", "quality_scores", "cluster_profiles", "curated_set", "eval_report")
"""What new data leaves out of date. A run of `recurate_on_drift` brings it up to date."""

TO_THE_EXPERTS = ("predicted_labels", "label_queue")
"""What follows where there is a labelling task: the new concepts, and nothing else, are queued."""

NEW_CONCEPTS_ONLY = {"only": "new_concept", "even_if_open": True}
"""What the experts are sent after drift: it does not wait for the round they are at, whose items are of the old concepts."""

DRIFT_CHECK = dg.AssetCheckKey(dg.AssetKey("drift_report"), "new_records_are_like_the_old")

DESCRIPTIONS = {
    "curate_everything": "From the sources to the evaluation: every asset, in order, with its checks.",
    "label_round": "One round of labelling: takes in what the experts have labelled, measures their agreement, fits the model, "
    "and queues the next items. Needs the assets up to clusters.",
    "publish_release": "Writes the curated set as an immutable folder of training data with its card and its manifest. "
    "Needs curate_everything; a step of its own, because a release is a decision.",
    "recurate_on_drift": "Brings up to date what new data has left behind (density, quality, the curated set, its evaluation) and, where "
    "there is a labelling task, queues the new concepts for the experts. The sensor `drift` starts it.",
}

FRESHNESS = {
    "curated_set": dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=15)),
    "release": dg.FreshnessPolicy.time_window(warn_window=timedelta(days=30), fail_window=timedelta(days=90)),
}
"""When an asset is old: the curated set after one missed week (a failure after two), a release after a month and a quarter. Ours."""

NEVER_CARRIED_OVER = {"raw": ("sources",), "drift_report": ("since",), "label_task": (), "label_queue": ()}
"""Settings meant for one run: the sources to add, a date to compare from. Without them raw reads the sources it knows."""


def jobs(assets_of: Mapping[str, Sequence[dg.AssetsDefinition]]) -> list[Any]:
    """The jobs: those whose assets are given by name, and the one that follows on drift, made of the same assets."""
    everything = [asset for assets in assets_of.values() for asset in assets]
    after_drift = [one for one in everything if one.key.to_user_string() in (*OUT_OF_DATE, *TO_THE_EXPERTS)]
    return [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*assets),
            description=DESCRIPTIONS[name],
            tags={REASON: "drift" if name == "recurate_on_drift" else "manual"},
        )
        for name, assets in {**assets_of, "recurate_on_drift": after_drift}.items()
    ]


def with_freshness(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The same assets; those of FRESHNESS say from when on they are old."""

    def policy(spec: dg.AssetSpec) -> dg.AssetSpec:
        found = FRESHNESS.get(spec.key.to_user_string())
        return dg.apply_freshness_policy(spec, found) if found else spec

    return list(dg.map_asset_specs(policy, assets))


@dg.sensor(
    job_name="curate_everything",
    minimum_interval_seconds=60,
    description="Every minute: new or changed files of the sources the database knows are read in and compared with the old.",
)
def new_data(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """A run for new or changed files of the sources the database knows.

    The run goes from raw to drift_report. Its key is the hash of the files' contents, so the same contents are requested once; where
    that run was killed or failed before it had read them, again, `MOST_TRIES` times in all. Where one was killed or failed after it
    had read them in, the rest of its way is requested, as often.
    """
    if said := why_not_now(warehouse):
        return dg.SkipReason(said)
    before = json.loads(context.cursor or "{}")
    seen = watching.look(
        known_sources(warehouse),
        last_batches(warehouse),
        before.get("hashes", {}),
        time.time(),
        before.get("waiting", {}),
    )
    words, cursor = watching.in_words(seen), json.dumps({"hashes": seen.hashes, "waiting": seen.waiting})
    if seen.changed:
        new = sum(one.is_new for one in seen.changed)
        reads = watching.key(seen.changed)
        tags = {
            "curation/new_files": f"{new} new, {len(seen.changed) - new} changed",
            "curation/first_file": watching.display(f"{seen.changed[0].source}/{seen.changed[0].uri}"),
        }
    elif batch := unfinished(warehouse):
        reads, tags = f"unfinished-{batch}", {"curation/new_files": "none; an earlier run was not finished"}
    else:
        return dg.SensorResult(skip_reason=words, cursor=cursor)
    context.log.info(words)
    tries = context.instance.get_runs(filters=dg.RunsFilter(tags={READS: reads}))
    if said := why_not_again(tries):
        return dg.SensorResult(skip_reason=f"{words} {said}", cursor=cursor)
    run_key = (
        f"{reads}-{len(tries) + 1}"  # Dagster starts a run key once, so a tick that is repeated requests nothing twice
    )
    request = request_of(warehouse, INCOMING, "new data", run_key=run_key, tags=tags | {READS: reads})
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def why_not_again(tries: Sequence[dg.DagsterRun]) -> str | None:
    """Why contents that runs were to read are not to be requested (again), in a sentence; None where they are."""
    if not tries:
        return None
    last = tries[0]
    if at_work := [run for run in tries if not run.is_finished]:
        return f"Run {at_work[0].run_id[:8]} is to read it and has not ended."
    if succeeded := [run for run in tries if run.is_success]:
        return (
            f"Run {succeeded[0].run_id[:8]} ended well and left it so; it is not requested again until a file changes."
        )
    if len(tries) >= MOST_TRIES:
        return f"{len(tries)} runs for it failed, run {last.run_id[:8]} last; it is not requested again until a file changes."
    return None


@dg.sensor(
    job_name="recurate_on_drift",
    minimum_interval_seconds=60,
    description="Where drift_report's check warns: what is out of date is curated again, new concepts go to the experts.",
)
def drift(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """A run for drift that drift_report's check has warned of, once the run that found it is over.

    It makes no release. The curation it makes has taken the drifted records in, and later ones are compared with what there is
    since then (`drift_looks.py`), so that the same drift sets off one run, not one a batch until somebody releases.
    Where there is a labelling task, the records of new concepts, and no others, are queued for the experts.
    """
    found = context.instance.get_latest_asset_check_evaluation_record(DRIFT_CHECK)
    if found is None or found.status.value == "PLANNED":
        return dg.SkipReason("drift_report has not been compared yet, or is being compared now.")
    run, short = context.instance.get_run_by_id(found.run_id), found.run_id[:8]
    if found.status.value == "SUCCEEDED":
        return dg.SkipReason(f"No drift: run {short} found that the new records are like the old.")
    if run and not run.is_finished:
        return dg.SkipReason(f"Run {short} found drift and is still at work; what follows waits for its end.")
    if run and (database := database_of(run)) not in (None, str(warehouse.path)):
        return dg.SkipReason(f"Run {short} found drift in another database, {database}.")
    if context.cursor == found.run_id:
        return dg.SkipReason(f"The drift that run {short} found has been acted on.")
    if said := why_not_now(warehouse):
        return dg.SkipReason(said)
    in_graph = {key.to_user_string() for key in job_assets(context)}
    affected = [name for name in affected_by(warehouse, found.run_id) if name in in_graph]
    if not affected:
        said = f"Run {short} found drift, and everything was curated anew since; there is no labelling task to send new concepts to."
        return dg.SensorResult(skip_reason=said, cursor=found.run_id)
    request = request_of(warehouse, affected, "drift", run_key=f"drift-{found.run_id}", tags={FOUND_BY: found.run_id})
    if "label_queue" in affected:
        request.run_config["ops"]["label_queue"] = {"config": NEW_CONCEPTS_ONLY}
    return dg.SensorResult(run_requests=[request], cursor=found.run_id)


@dg.schedule(
    job_name="curate_everything",
    cron_schedule="0 3 * * 1",
    description="Every Monday at 03:00 UTC: reads the known sources once more and curates everything anew.",
)
def weekly(context: dg.ScheduleEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    """A run of everything that is due, on the sources the database knows."""
    if said := why_not_now(warehouse, waits_for_runs=False):
        return dg.SkipReason(said)
    return request_of(warehouse, None, "schedule")


@dg.sensor(
    minimum_interval_seconds=60,
    description="Sends what finished runs have made to $CURATION_OPENLINEAGE, a file or a URL, as OpenLineage events.",
)
def openlineage(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """The events of runs that ended since the last tick, those of the command line too; at first, of none.

    Where sending fails the tick fails, and the next one begins with the same run.
    """
    destination = os.environ.get(lineage_events.DESTINATION)
    if not destination:
        return dg.SkipReason(f"{lineage_events.DESTINATION} names no file and no URL, so no events are sent.")
    if not context.cursor:
        return dg.SensorResult(
            skip_reason="Runs that end from now on are sent.", cursor=datetime.now(timezone.utc).isoformat()
        )
    runs = lineage_events.finished_runs(context.instance, datetime.fromisoformat(context.cursor))
    sent = 0
    for _, run in runs:
        namespace = lineage_events.namespace_of(database_of(run) or warehouse.path)
        events = list(lineage_events.events_of_run(context.instance, run, namespace))
        lineage_events.send(events, destination)
        sent += len(events)
    cursor = runs[-1][0].isoformat() if runs else context.cursor
    return dg.SensorResult(skip_reason=f"{len(runs)} runs ended; {sent} events were sent.", cursor=cursor)


SENSORS, SCHEDULES = [new_data, drift, openlineage], [weekly]


def why_not_now(warehouse: Warehouse, *, waits_for_runs: bool = True) -> str | None:
    """Why there is nothing to do on this database now, in a sentence; None where there is."""
    if not warehouse.path.exists():
        return f"There is no database at {warehouse.path} yet; run curate_everything once by hand."
    if waits_for_runs and warehouse.is_held_by_a_run():
        return f"A run is at work on {warehouse.path}; this looks again when it is done."
    if not warehouse.has_table("raw.batches"):
        return f"{warehouse.path} knows no source yet; run curate_everything once by hand."
    return None


UNFINISHED = (
    "select max_by(batch_id, ingested_at) as batch_id from raw.batches where ingested_at > "
    "coalesce((select max(finished_at) from ledger.runs where stage = 'drift_report'), '-infinity')"
)


def unfinished(warehouse: Warehouse) -> str | None:
    """The latest batch that was read in and has not been compared since; None where all have."""
    return warehouse.value(UNFINISHED)


MADE_SINCE = (
    "select distinct stage from ledger.runs where run_id = $run_id or finished_at > "
    "(select max(finished_at) from ledger.runs where run_id = $run_id and stage = 'drift_report')"
)


def affected_by(warehouse: Warehouse, run_id: str) -> list[str]:
    """What is to be made anew after a run that found drift: what neither it nor a later one has made, and the experts' queue."""
    made = warehouse.query(MADE_SINCE, run_id=run_id)["stage"].to_list()
    left = [name for name in OUT_OF_DATE if name not in made]
    has_task = warehouse.has_table("label_task.tasks") and warehouse.rows("label_task.tasks") > 0
    return left + (list(TO_THE_EXPERTS) if has_task and warehouse.has_table("predicted_labels.predictions") else [])


def request_of(
    warehouse: Warehouse,
    names: Sequence[str] | None,
    reason: str,
    *,
    run_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """A request to run these assets of the job (all of it for None), with the settings they last had, saying why."""
    config = last_settings(warehouse, names)
    return dg.RunRequest(
        run_key=run_key,
        asset_selection=[dg.AssetKey(name) for name in names] if names else None,
        run_config={"ops": config, "resources": {"warehouse": {"config": {"database": str(warehouse.path)}}}},
        tags={REASON: reason, DATABASE: str(warehouse.path), **(tags or {})},
    )


LAST_SETTINGS = "select stage, max_by(config::varchar, finished_at) as config from ledger.runs group by stage"


def last_settings(warehouse: Warehouse, names: Sequence[str] | None) -> dict[str, Any]:
    """The configuration each of these assets last ran with here, as a run config's `ops`; an asset that never ran has none."""
    wanted = set(names or (*INCOMING, *OUT_OF_DATE))
    found: dict[str, Any] = {}
    for stage, config in warehouse.query(LAST_SETTINGS).iter_rows():
        if stage in wanted:
            left_out = NEVER_CARRIED_OVER.get(stage, ())
            settings = {name: value for name, value in json.loads(config).items() if name not in left_out}
            found[stage] = {"config": _still_known(stage, settings)}
    return found


def _still_known(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that the asset still has: an older version may have written others, which Dagster would refuse."""
    from curation_assets.definitions import JOBS

    assets = {asset.key.to_user_string(): asset for assets in JOBS.values() for asset in assets}
    fields = assets[stage].op.config_schema.config_type.fields if stage in assets else settings
    if gone := sorted(settings.keys() - set(fields)):
        logger.warning(
            "%s: it no longer has the settings %s of its last run here; they are left out.", stage, ", ".join(gone)
        )
    return {name: value for name, value in settings.items() if name in fields}


LAST_BATCHES = (
    "select source, source_uri, max_by(file_hash, ingested_at) as file_hash, max_by(file_bytes, ingested_at) as file_bytes, "
    "epoch(max(ingested_at)) as ingested_at from raw.batches group by source, source_uri"
)


def last_batches(warehouse: Warehouse) -> dict[tuple[str, str], watching.LastBatch]:
    """The last batch of every file the database has read, by source and uri."""
    return {(row[0], row[1]): watching.LastBatch(*row[2:]) for row in warehouse.query(LAST_BATCHES).iter_rows()}


def database_of(run: dg.DagsterRun) -> str | None:
    """The database a run works on, as its tag or its config says; None where it says nothing: the default one."""
    config = run.run_config if isinstance(run.run_config, dict) else {}
    configured = config.get("resources", {}).get("warehouse", {}).get("config", {}).get("database")
    return run.tags.get(DATABASE) or (str(Warehouse(database=configured).path) if configured else None)


def job_assets(context: dg.SensorEvaluationContext) -> set[dg.AssetKey]:
    """The assets of recurate_on_drift as the graph has them."""
    job = context.repository_def.get_job("recurate_on_drift")
    return set(job.asset_layer.selected_asset_keys)
