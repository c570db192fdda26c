"""What runs by itself and why: jobs, the sensors for new data, drift and erasures, the weekly schedule, and when a set counts as old.

    new or grown files → `new_data` → what comes in: raw … clusters, drift_report
    drift_report's check warns → `drift` → what that leaves out of date: density … eval_report, then new concepts to the experts
    an erasure whose rebuilding was cut short or left out → `after_erasure` → what depends on the erased records
    Monday, 03:00 → `weekly` → everything

Sensors and schedules are off until someone switches them on: in the UI under Automation, or with
`dagster sensor start new_data -w workspace.yaml` (`dagster schedule start weekly`). They need the daemon, which `make ui` starts.
A run made here has the settings each asset last ran with in this database, so that nobody's recipe is lost, and says in its tag
`curation/reason` why it exists.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from curation_assets import lexical_store, watching
from curation_assets import openlineage as lineage_events
from curation_assets.progress import logger
from curation_assets.stages.raw import known_sources
from curation_assets.warehouse import Warehouse

REASON, FOUND_BY, DATABASE, READS = "curation/reason", "curation/found_by_run", "curation/database", "curation/reads"
"""Tags of a run: manual, new data, drift, schedule or erasure; the run that found the drift; the database it works on; the hash of
the contents it is to read."""

ERASED_BY = "curation/erased_by"
"""Tag of a run that builds again what an erasure left: the erasure's id."""

RUN_KEY = "dagster/run_key"
"""Dagster's tag of the key a sensor gave a run."""

MOST_TRIES = 3
"""Runs that are requested for the same contents or the same drift, where each was killed or failed; and times that a run's events are
sent to who refuses them. Ours."""

SILENT_SECONDS = 300.0
"""A started run is dead once it has said nothing for so long and nobody holds its database's run lock: it takes that lock in its first
stage, within seconds, and keeps it until its process ends. Ours."""

SECOND_LOOK_SECONDS = 1.0
"""Between two looks at the run lock, so that its passing from one run to the next, which takes a tenth of this, is not taken for none."""

INCOMING = ("raw", "cleaned", "deduped", "contamination", "filtered", "embeddings", "clusters", "drift_report")
"""What new data goes through before anybody knows whether it differs from the old."""

OUT_OF_DATE = ("density", "quality_scores", "cluster_profiles", "curated_set", "eval_report")
"""What new data leaves out of date. A run of `recurate_on_drift` brings it up to date."""

TO_THE_EXPERTS = ("predicted_labels", "label_queue")
"""What follows where there is a labelling task: the new concepts, and nothing else, are queued."""

BEFORE_THE_EXPERTS = ("lexical_vectors", "label_model")
"""What comes before that where there are no lexical vectors: an earlier version fitted the model, or an erasure was not built again.
The model is fitted on the labels there are."""

AFTER_DRIFT = (*OUT_OF_DATE, *BEFORE_THE_EXPERTS, *TO_THE_EXPERTS)

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
    after_drift = [one for one in everything if one.key.to_user_string() in AFTER_DRIFT]
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
def new_data(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """A run for new or changed files of the sources the database knows.

    The run goes from raw to drift_report. Its key is the hash of the files' contents and of the batches they follow, so the same
    change is requested once; where that run was killed or failed before it had read it, again, `MOST_TRIES` times in all. Where one
    was killed or failed after it had read it in, the rest of its way is requested, as often.
    """
    if said := why_not_now(warehouse):
        return dg.SkipReason(said)
    fail_the_dead(context.instance, warehouse)
    before = json.loads(context.cursor or "{}")
    seen = watching.look(
        known_sources(warehouse),
        last_batches(warehouse),
        before.get("hashes", {}),
        time.time(),
        before.get("waiting", {}),
    )
    words, cursor = watching.in_words(seen), json.dumps({"hashes": seen.hashes, "waiting": seen.waiting})
    for reads, tags in left_to_do(warehouse, seen):
        tries = context.instance.get_runs(filters=dg.RunsFilter(tags={READS: reads}))
        if said := why_not_again(tries, reads, until="a file changes"):
            words = f"{words} {said}"
            if any(not run.is_finished for run in tries):
                break
            continue
        context.log.info(words)
        run_key = next_key(tries, reads)
        request = request_of(warehouse, INCOMING, "new data", run_key=run_key, tags=tags | {READS: reads})
        return dg.SensorResult(run_requests=[request], cursor=cursor)
    return dg.SensorResult(skip_reason=words, cursor=cursor)


def left_to_do(warehouse: Warehouse, seen: watching.Seen) -> Iterator[tuple[str, dict[str, str]]]:
    """What a run is to read or to bring to its end, the more urgent first: a key of it, and the tags that tell of it."""
    if seen.changed:
        new = sum(one.is_new for one in seen.changed)
        yield (
            watching.key(seen.changed),
            {
                "curation/new_files": f"{new} new, {len(seen.changed) - new} changed",
                "curation/first_file": watching.display(f"{seen.changed[0].source}/{seen.changed[0].uri}"),
            },
        )
    if batch := unfinished(warehouse):
        yield f"unfinished-{batch}", {"curation/new_files": "none; an earlier run was not finished"}


def why_not_again(tries: Sequence[dg.DagsterRun], key: str, *, until: str) -> str | None:
    """Why what runs were requested for is not to be requested (again), in a sentence; None where it is. tries: the latest first."""
    if not tries:
        return None
    if at_work := [run for run in tries if not run.is_finished]:
        return f"Run {at_work[0].run_id[:8]} was requested for it and has not ended."
    if succeeded := [run for run in tries if run.is_success]:
        return f"Run {succeeded[0].run_id[:8]} ended well and left it so; it is not requested again until {until}."
    if (made := tries_made(tries, key)) >= MOST_TRIES:
        return f"{made} runs for it failed, run {tries[0].run_id[:8]} last; it is not requested again until {until}."
    return None


def tries_made(tries: Sequence[dg.DagsterRun], key: str) -> int:
    """How many runs were requested for something: the highest number in their run keys, since an erasure may have deleted some."""
    numbers = [run.tags.get(RUN_KEY, "").removeprefix(f"{key}-") for run in tries]
    return max([len(tries), *(int(number) for number in numbers if number.isdecimal())])


def next_key(tries: Sequence[dg.DagsterRun], key: str) -> str:
    """The run key of the next try. Dagster starts a run key once, so a tick that is repeated requests nothing twice."""
    return f"{key}-{tries_made(tries, key) + 1}"


def fail_the_dead(instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
    """Report as failed the started runs on this database whose process is gone: a reboot or a kill leaves them started for ever."""
    silent = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        if REASON in run.tags
        and (database_of(run) or str(Warehouse().path)) == str(warehouse.path)
        and time.time() - last_said(instance, run) > SILENT_SECONDS
    ]
    if not silent or not warehouse.path.exists() or warehouse.is_held_by_a_run():
        return
    time.sleep(SECOND_LOOK_SECONDS)
    if warehouse.is_held_by_a_run():
        return
    for run in silent:
        minutes = f"{SILENT_SECONDS / 60:.0f} minutes"
        said = f"Nobody works on {warehouse.path}, and this run has said nothing for {minutes}: its process is gone."
        logger.warning("Run %s is reported as failed. %s", run.run_id[:8], said)
        instance.report_run_failed(run, said)


def last_said(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    """When the last line of a run's log was written, in seconds since 1970; when it was made, where there is none."""
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    if last:
        return last[0].timestamp
    made = instance.get_run_record_by_id(run.run_id).create_timestamp
    return (made if made.tzinfo else made.replace(tzinfo=timezone.utc)).timestamp()


@dg.sensor(
    job_name="recurate_on_drift",
    minimum_interval_seconds=60,
    description="Where drift_report's check warns: what is out of date is curated again, new concepts go to the experts.",
)
def drift(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """A run for drift that drift_report's check has warned of, once the run that found it is over.

    Where it is killed or fails, it is requested again, `MOST_TRIES` times in all.

    It makes no release. The curation it makes has taken the drifted records in, and later ones are compared with what there is
    since then (`drift_looks.py`), so that the same drift sets off one run, not one a batch until somebody releases.
    Where there is a labelling task, the records of new concepts, and no others, are queued for the experts.
    """
    fail_the_dead(context.instance, warehouse)
    found = context.instance.get_latest_asset_check_evaluation_record(DRIFT_CHECK)
    if found is None or found.status.value == "PLANNED":
        return dg.SkipReason("drift_report has not been compared yet, or is being compared now.")
    run, short = context.instance.get_run_by_id(found.run_id), found.run_id[:8]
    if found.status.value == "SUCCEEDED":
        return dg.SkipReason(f"No drift: run {short} found that the new records are like the old.")
    if run and (database := database_of(run)) not in (None, str(warehouse.path)):
        return dg.SkipReason(f"Run {short} found drift in another database, {database}.")
    if run and not run.is_finished:
        return dg.SkipReason(f"Run {short} found drift and is still at work; what follows waits for its end.")
    tries, key = context.instance.get_runs(dg.RunsFilter(tags={FOUND_BY: found.run_id})), f"drift-{found.run_id}"
    if context.cursor == found.run_id or any(one.is_success for one in tries):
        return dg.SensorResult(skip_reason=f"The drift that run {short} found has been acted on.", cursor=found.run_id)
    if said := why_not_again(tries, key, until="drift is found anew"):
        return dg.SkipReason(f"Run {short} found drift. {said}")
    if said := why_not_now(warehouse):
        return dg.SkipReason(said)
    in_graph = {asset.to_user_string() for asset in job_assets(context, "recurate_on_drift")}
    affected = [name for name in affected_by(warehouse, found.run_id) if name in in_graph]
    if not affected:
        said = f"Run {short} found drift, and everything was curated anew since; there is no labelling task to send new concepts to."
        return dg.SensorResult(skip_reason=said, cursor=found.run_id)
    run_key = next_key(tries, key)
    request = request_of(warehouse, affected, "drift", run_key=run_key, tags={FOUND_BY: found.run_id})
    if "label_queue" in affected:
        settings = request.run_config["ops"].setdefault("label_queue", {"config": {}})["config"]
        settings.update(NEW_CONCEPTS_ONLY)
    return dg.SensorResult(run_requests=[request])


@dg.sensor(
    job_name="curate_everything",
    minimum_interval_seconds=60,
    description="Where an erasure's rebuilding was cut short or left out: what depends on the erased records is built again.",
)
def after_erasure(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """A run for what an erasure left out of date. `curate erase` builds it itself; a kill or --no-rebuild leaves it.

    Where the run is killed or fails, it is requested again, `MOST_TRIES` times in all. Labels are left to the next round, which is
    a person's decision.
    """
    if said := why_not_now(warehouse):
        return dg.SkipReason(said)
    fail_the_dead(context.instance, warehouse)
    left = warehouse.query(LEFT_BY_ERASURE)
    in_job = {asset.to_user_string() for asset in job_assets(context, "curate_everything")} - {"raw"}
    stages = [stage for stage in left["stage"] if stage in in_job]
    if not stages or not warehouse.rows("raw.records"):
        return dg.SkipReason("No erasure has left anything out of date.")
    erasure = left["erasure_id"][0]
    tries, key = context.instance.get_runs(dg.RunsFilter(tags={ERASED_BY: erasure})), f"after-{erasure}"
    if said := why_not_again(tries, key, until="records are erased anew"):
        return dg.SkipReason(f"{erasure} left {', '.join(stages)} out of date. {said}")
    run_key = next_key(tries, key)
    return dg.SensorResult(
        run_requests=[request_of(warehouse, stages, "erasure", run_key=run_key, tags={ERASED_BY: erasure})]
    )


@dg.schedule(
    job_name="curate_everything",
    cron_schedule="0 3 * * 1",
    description="Every Monday at 03:00 UTC: reads the known sources once more and curates everything anew.",
)
def weekly(
    context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.RunRequest | dg.SkipReason:
    """A run of everything that is due, on the sources the database knows."""
    if said := why_not_now(warehouse, waits_for_runs=False):
        return dg.SkipReason(said)
    return request_of(warehouse, None, "schedule")


@dg.sensor(
    minimum_interval_seconds=60,
    description="Sends what finished runs have made to $CURATION_OPENLINEAGE, a file or a URL, as OpenLineage events.",
)
def openlineage(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """The events of runs that ended since the last tick, those of the command line too; at first, of none.

    The cursor is the run sent last, so where sending fails the next tick begins with the run that failed: for as long as the
    server is down or knows neither the key nor the address. A run whose events it refuses themselves is passed over after
    `MOST_TRIES` ticks, which the tick and the log say.
    """
    destination = os.environ.get(lineage_events.DESTINATION)
    if not destination:
        return dg.SkipReason(f"{lineage_events.DESTINATION} names no file and no URL, so no events are sent.")
    if not context.cursor:
        return dg.SensorResult(
            skip_reason="Runs that end from now on are sent.", cursor=datetime.now(timezone.utc).isoformat()
        )
    cursor = context.cursor
    after, _, refusals = cursor.partition(" ")  # the time of the run sent last, and how often the next was refused
    runs = lineage_events.finished_runs(context.instance, datetime.fromisoformat(after))
    sent, passed_over = 0, []
    for ended, run in runs:
        namespace = lineage_events.namespace_of(database_of(run) or warehouse.path)
        events = list(lineage_events.events_of_run(context.instance, run, namespace))
        try:
            lineage_events.send(events, destination)
            sent += len(events)
        except OSError as error:
            told = f"The events of run {run.run_id[:8]} were not taken: {error}"
            times = int(refusals or 0) + 1 if lineage_events.is_refusal(error) else 0
            if not times and cursor == context.cursor:
                raise  # so that the tick is shown as failed
            if times < MOST_TRIES:
                again = f"; it was refused {times} of {MOST_TRIES} times" if times else ""
                context.log.warning(told)
                cursor = f"{cursor.partition(' ')[0]} {times}" if times else cursor
                return dg.SensorResult(
                    skip_reason=f"{sent} events were sent. {told}{again}. The next look tries again.", cursor=cursor
                )
            logger.warning("%s. It was refused %d times and is passed over.", told, times)
            passed_over.append(f"{told}. It was refused {times} times and is passed over.")
        cursor, refusals = ended.isoformat(), ""
    words = f"{len(runs)} runs ended; {sent} events were sent."
    return dg.SensorResult(skip_reason=" ".join([words, *passed_over]), cursor=cursor)


SENSORS, SCHEDULES = [new_data, drift, after_erasure, openlineage], [weekly]


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


LEFT_BY_ERASURE = (
    "select r.stage, e.erasure_id from (select stage, max(finished_at) as finished_at from ledger.runs group by stage) as r cross join "
    "(select max_by(run_id, finished_at) as erasure_id, max(finished_at) as erased_at from ledger.runs "
    "where stage = 'erasure' and rows_dropped > 0) as e where r.finished_at < e.erased_at order by r.finished_at"
)
"""The stages that have not run since records were last erased, in the order they last ran in, and that erasure's id."""


MADE_SINCE = (
    "select distinct stage from ledger.runs where run_id = $run_id or finished_at > "
    "(select max(finished_at) from ledger.runs where run_id = $run_id and stage = 'drift_report')"
)


def affected_by(warehouse: Warehouse, run_id: str) -> list[str]:
    """What is to be made anew after a run that found drift: what neither it nor a later one has made, and the experts' queue."""
    made = warehouse.query(MADE_SINCE, run_id=run_id)["stage"].to_list()
    left = [name for name in OUT_OF_DATE if name not in made]
    has_task = warehouse.has_table("label_task.tasks") and warehouse.rows("label_task.tasks") > 0
    if not has_task or not warehouse.has_table("predicted_labels.predictions"):
        return left
    before = [] if lexical_store.has_basis(warehouse) else BEFORE_THE_EXPERTS
    return [*left, *before, *TO_THE_EXPERTS]


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
    """The configuration each of these assets (None: of all of the job) last ran with here, as a run config's `ops`.

    An asset that never ran has none.
    """
    wanted = set((*INCOMING, *OUT_OF_DATE) if names is None else names)
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
    "epoch(max(ingested_at)) as ingested_at, max_by(batch_id, ingested_at) as batch_id from raw.batches group by source, source_uri"
)


def last_batches(warehouse: Warehouse) -> dict[tuple[str, str], watching.LastBatch]:
    """The last batch of every file the database has read, by source and uri."""
    return {(row[0], row[1]): watching.LastBatch(*row[2:]) for row in warehouse.query(LAST_BATCHES).iter_rows()}


def database_of(run: dg.DagsterRun) -> str | None:
    """The database a run works on, as its tag or its config says; None where it says nothing: the default one."""
    config = run.run_config if isinstance(run.run_config, dict) else {}
    configured = config.get("resources", {}).get("warehouse", {}).get("config", {}).get("database")
    return run.tags.get(DATABASE) or (str(Warehouse(database=configured).path) if configured else None)


def job_assets(context: dg.SensorEvaluationContext, name: str) -> set[dg.AssetKey]:
    """The assets of a job as the graph has them."""
    job = context.repository_def.get_job(name)
    return set(job.asset_layer.selected_asset_keys)
