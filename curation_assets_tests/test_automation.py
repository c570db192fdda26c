"""What runs by itself: sensors and schedule on a real instance, over a database of real records."""

import json
import os
import shutil
import time
from datetime import datetime, timezone

import dagster as dg
import polars as pl
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from curation_assets import automation, erasure, erasure_plan, watching
from curation_assets.automation import DATABASE, FOUND_BY, INCOMING, OUT_OF_DATE, REASON
from curation_assets.definitions import JOBS, defs
from curation_assets.readers import Source
from curation_assets.tables import tables
from curation_assets.warehouse import Warehouse

SECONDS_LATER = 60.0
"""How far on the clock is when a sensor looks: files written by the test have settled by then."""


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


def write(path, texts, mode="w"):
    with path.open(mode, encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": f"{path.stem}-{n}-{text[:9]}", "text": text}) + "\n" for n, text in enumerate(texts)
        )


def texts(n, topic="gardening"):
    return [
        f"Note {i} on {topic}: what was done in week {i * 7 % 52}, what it cost ({i * 13}), and who helped."
        for i in range(n)
    ]


def run(warehouse, instance, names, ops=None, reason="manual"):
    """Run some assets as a job of the graph does, and let the database go."""
    job = defs.resolve_job_def("curate_everything")
    result = job.execute_in_process(
        run_config={
            "ops": {name: {"config": config} for name, config in (ops or {}).items()},
            "resources": {"warehouse": {"config": {"database": str(warehouse.path)}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        asset_selection=[dg.AssetKey(name) for name in names],
        instance=instance,
        tags={REASON: reason, DATABASE: str(warehouse.path)},
    )
    warehouse.release_run()
    return result


def tick(sensor, warehouse, instance, cursor=None):
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"warehouse": warehouse}, repository_def=defs.get_repository_def()
    )
    result = sensor(context)
    return result if isinstance(result, dg.SensorResult) else dg.SensorResult(skip_reason=result)


def said(result) -> str:
    return result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason


@pytest.fixture
def later(monkeypatch):
    """The sensors' clock, a minute ahead."""
    now = time.time
    monkeypatch.setattr(automation.time, "time", lambda: now() + SECONDS_LATER)


def test_new_and_grown_files_are_requested_once_with_the_settings_of_the_last_run(warehouse, instance, tmp_path, later):
    assert "no database" in said(tick(automation.new_data, warehouse, instance))
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "1.jsonl", texts(12))
    sources = [{"name": "notes", "path": str(folder), "license": "CC0-1.0"}]
    run(
        warehouse,
        instance,
        ["raw", "cleaned", "deduped"],
        {"raw": {"sources": sources}, "deduped": {"min_jaccard": 0.93}},
    )

    [rest] = tick(automation.new_data, warehouse, instance).run_requests  # as after a kill: read in and not compared
    assert rest.run_key.startswith("unfinished-")
    assert rest.run_key.endswith("-1")
    with warehouse.get_connection() as connection:
        connection.execute(
            "insert into ledger.runs by name select * replace ('drift_report' as stage, now() as finished_at, '{}' as config) "
            "from ledger.runs limit 1"
        )
    quiet = tick(automation.new_data, warehouse, instance)
    assert not quiet.run_requests
    assert said(quiet).startswith("Nothing new in 1 files; none had to be opened.")

    write(folder / "1.jsonl", texts(3, "cooking"), mode="a")
    write(folder / "2.jsonl", texts(2, "sailing"))
    found = tick(automation.new_data, warehouse, instance)
    [request] = found.run_requests
    assert request.tags[REASON] == "new data"
    assert request.tags["curation/new_files"] == "1 new, 1 changed"
    assert [key.to_user_string() for key in request.asset_selection] == list(INCOMING)
    assert request.run_config["ops"]["deduped"]["config"]["min_jaccard"] == 0.93
    assert "sources" not in request.run_config["ops"]["raw"]["config"]
    again = tick(automation.new_data, warehouse, instance, found.cursor)
    assert again.run_requests[0].run_key == request.run_key  # Dagster starts a run key once

    job = defs.resolve_job_def("curate_everything")
    assert dg.validate_run_config(job, request.run_config)
    selection = [dg.AssetKey(name) for name in ("raw", "cleaned", "deduped")]
    ops = {name: request.run_config["ops"][name] for name in ("raw", "cleaned", "deduped")}
    config = request.run_config | {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert job.execute_in_process(run_config=config, asset_selection=selection, instance=instance).success
    assert "is at work" in said(tick(automation.new_data, warehouse, instance))  # this process still holds it
    warehouse.release_run()
    assert warehouse.value("select count(*) from raw.batches") == 3
    assert warehouse.value("select count(*) from raw.records where license = 'CC0-1.0'") == 17
    after = tick(automation.new_data, warehouse, instance, found.cursor)
    assert [one.run_key[:10] for one in after.run_requests] == ["unfinished"]


def test_a_look_opens_only_what_stat_cannot_tell(tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.jsonl", texts(2, name))
    source = Source("notes", str(tmp_path))
    now = time.time() + SECONDS_LATER
    first = watching.look([source], {}, {}, now)
    assert (len(first.changed), first.hashed, first.files) == (3, 3, 3)
    assert watching.look([source], {}, {}, time.time()).unsettled == 3

    size = (tmp_path / "a.jsonl").stat().st_size
    last = {("notes", one.uri): watching.LastBatch(one.file_hash, size, now, "b") for one in first.changed}
    assert watching.look([source], last, {}, now + 1)[:3] == ([], 3, 0)
    earlier = {place: batch._replace(ingested_at=now - 3600) for place, batch in last.items()}
    touched = watching.look([source], earlier, {}, now)
    assert (touched.changed, touched.hashed) == ([], 3)
    assert watching.look([source], earlier, touched.hashes, now).hashed == 0

    # Other bytes, as many, under the old modification time, as `rsync --times` leaves them.
    other = (tmp_path / "a.jsonl").read_text(encoding="utf-8").replace("week", "hour")
    stat = (tmp_path / "a.jsonl").stat()
    (tmp_path / "a.jsonl").write_text(other, encoding="utf-8")
    os.utime(tmp_path / "a.jsonl", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = watching.look([source], earlier, touched.hashes, time.time() + SECONDS_LATER)
    assert [(one.uri, one.is_new) for one in found.changed] == [("a.jsonl", False)]
    assert found.hashed == 1


def test_a_file_from_the_future_settles_once_it_is_seen_unchanged(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, texts(2))
    now, hour = time.time(), 3600.0
    os.utime(path, (now + hour, now + hour))
    source = Source("notes", str(tmp_path))
    first = watching.look([source], {}, {}, now)
    assert (first.changed, first.unsettled) == ([], 1)
    soon = watching.look([source], {}, first.hashes, now + watching.QUIET_SECONDS / 2, first.waiting)
    assert soon.waiting == first.waiting
    write(path, texts(1, "sailing"), mode="a")
    os.utime(path, (now + hour, now + hour))
    changed = watching.look([source], {}, soon.hashes, now + 2 * watching.QUIET_SECONDS, soon.waiting)
    assert (changed.changed, changed.unsettled) == ([], 1)  # it was written meanwhile: it waits anew
    settled = watching.look([source], {}, {}, now + 4 * watching.QUIET_SECONDS, changed.waiting)
    [found] = settled.changed
    assert settled.waiting == {}

    # Read, and still from the future: opened no more.
    last = {("notes", found.uri): watching.LastBatch(found.file_hash, path.stat().st_size, now + 60, "b")}
    known = watching.look([source], last, settled.hashes, now + 120, settled.waiting)
    assert (known.changed, known.unsettled, known.hashed) == ([], 0, 0)


@pytest.mark.parametrize("ended", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_ended_before_it_read_is_requested_again_three_times_in_all(
    curated, instance, tmp_path, monkeypatch, later, ended
):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "1.jsonl", texts(2))
    monkeypatch.setattr(automation, "known_sources", lambda _: [Source("notes", str(folder))])
    keys = []
    for _ in range(automation.MOST_TRIES):
        [request] = tick(automation.new_data, curated, instance).run_requests
        assert tick(automation.new_data, curated, instance).run_requests[0].run_key == request.run_key  # not begun yet
        keys.append(request.run_key)
        run = instance.create_run_for_job(
            defs.resolve_job_def("curate_everything"), tags=request.tags, status=dg.DagsterRunStatus.STARTED
        )
        assert "has not ended" in said(tick(automation.new_data, curated, instance))
        instance.report_run_canceled(run) if ended == dg.DagsterRunStatus.CANCELED else instance.report_run_failed(run)
    assert len(set(keys)) == automation.MOST_TRIES
    assert "3 runs for it failed" in said(tick(automation.new_data, curated, instance))
    write(folder / "2.jsonl", texts(2, "sailing"))
    assert tick(automation.new_data, curated, instance).run_requests[0].run_key not in keys


@pytest.fixture
def compared(warehouse, instance, tmp_path):
    """A database that knows one file, has it compared, and is to read one more; and the folder of both."""
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "1.jsonl", texts(2))
    run(warehouse, instance, ["raw"], {"raw": {"sources": [{"name": "notes", "path": str(folder)}]}})
    with warehouse.get_connection() as connection:
        connection.execute(
            "insert into ledger.runs by name select * replace ('drift_report' as stage, now() as finished_at) from ledger.runs"
        )
    write(folder / "2.jsonl", texts(2, "sailing"))
    return warehouse


def begun(instance, request, status=dg.DagsterRunStatus.STARTED, **tags):
    """The run of a request, as Dagster makes it."""
    job = "recurate_on_drift" if request.tags[REASON] == "drift" else "curate_everything"
    tags = request.tags | {automation.RUN_KEY: request.run_key} | tags
    return instance.create_run_for_job(defs.resolve_job_def(job), tags=tags, status=status)


def test_tries_are_counted_by_their_keys_where_an_erasure_deleted_some(compared, instance, later):
    tries = []
    for _ in range(2):
        [request] = tick(automation.new_data, compared, instance).run_requests
        tries.append(begun(instance, request, dg.DagsterRunStatus.FAILURE))
    instance.delete_run(tries[0].run_id)
    [request] = tick(automation.new_data, compared, instance).run_requests
    assert request.run_key.endswith("-3")
    begun(instance, request, dg.DagsterRunStatus.FAILURE)
    assert "3 runs for it failed" in said(tick(automation.new_data, compared, instance))


def test_a_run_whose_process_is_gone_is_failed_and_requested_again(compared, instance, monkeypatch):
    now, ahead = time.time, [SECONDS_LATER]
    monkeypatch.setattr(automation.time, "time", lambda: now() + ahead[0])
    monkeypatch.setattr(automation, "SECOND_LOOK_SECONDS", 0.0)
    [request] = tick(automation.new_data, compared, instance).run_requests
    gone = begun(instance, request)
    elsewhere = begun(instance, request, **{DATABASE: "/elsewhere.duckdb", automation.READS: "other"})
    foreign = instance.create_run_for_job(
        defs.resolve_job_def("curate_everything"), tags={DATABASE: str(compared.path)}, status=gone.status
    )
    assert "has not ended" in said(
        tick(automation.new_data, compared, instance)
    )  # it may not have begun its first stage

    ahead[0] += automation.SILENT_SECONDS
    compared.hold_for_run()
    automation.fail_the_dead(instance, compared)
    compared.release_run()
    assert instance.get_run_by_id(gone.run_id).status == dg.DagsterRunStatus.STARTED
    [again] = tick(automation.new_data, compared, instance).run_requests
    assert (request.run_key[-2:], again.run_key[-2:]) == ("-1", "-2")
    statuses = [instance.get_run_by_id(one.run_id).status.value for one in (gone, elsewhere, foreign)]
    assert statuses == ["FAILURE", "STARTED", "STARTED"]


def test_contents_that_come_back_are_another_change_and_hide_no_batch(warehouse, instance, tmp_path, later):
    folder = tmp_path / "in"
    folder.mkdir()
    versions, keys = [texts(4), texts(5, "cooking")], []

    def read():
        sources = [{"name": "notes", "path": str(folder), "license": "CC0-1.0"}]
        assert run(warehouse, instance, ["raw"], {"raw": {"sources": sources}}).success

    write(folder / "1.jsonl", versions[0])
    read()
    for turn in (1, 0, 1):
        write(folder / "1.jsonl", versions[turn])
        [request] = tick(automation.new_data, warehouse, instance).run_requests
        assert request.tags["curation/new_files"] == "0 new, 1 changed"
        keys.append(request.run_key)
        begun(instance, request, dg.DagsterRunStatus.SUCCESS)
        if turn == 0 or len(keys) == 1:
            read()
    assert len(set(keys)) == 3

    # The last run left the file unread. What was read before it, and not compared, is not forgotten for that.
    batch = automation.unfinished(warehouse)
    found = tick(automation.new_data, warehouse, instance)
    assert [one.run_key for one in found.run_requests] == [f"unfinished-{batch}-1"]
    begun(instance, found.run_requests[0])
    assert said(tick(automation.new_data, warehouse, instance)).count("not requested again until a file changes") == 1


def test_much_is_hashed_over_several_looks(tmp_path, monkeypatch):
    for n in range(5):
        write(tmp_path / f"{n}.jsonl", texts(3))
    monkeypatch.setattr(watching, "HASH_BYTES", 2 * (tmp_path / "0.jsonl").stat().st_size)
    source, hashes, now = Source("notes", str(tmp_path)), {}, time.time() + SECONDS_LATER
    left = []
    for _ in range(4):
        seen = watching.look([source], {}, hashes, now)
        hashes = seen.hashes
        left.append(seen.unhashed)
    assert left == [3, 1, 0, 0]
    assert len(seen.changed) == 5


def test_a_source_that_is_gone_is_said_and_the_others_are_looked_at(tmp_path):
    write(tmp_path / "a.jsonl", texts(2))
    seen = watching.look(
        [Source("gone", str(tmp_path / "none")), Source("here", str(tmp_path))], {}, {}, time.time() + 60
    )
    assert [one.source for one in seen.changed] == ["here"]
    assert "there is no file" in watching.in_words(seen)


@pytest.fixture
def drifted(curated, tmp_path, instance):
    """A copy of the curated database and, for its instance, functions that report what the drift check found."""
    warehouse = Warehouse(database=str(tmp_path / "drifted.duckdb"))
    shutil.copy(curated.path, warehouse.path)

    def report(passed: bool, database=warehouse.path, stages=("drift_report",)) -> str:
        run = instance.create_run_for_job(
            defs.resolve_job_def("curate_everything"),
            tags={DATABASE: str(database)},
            status=dg.DagsterRunStatus.SUCCESS,
        )
        evaluation = dg.AssetCheckEvaluation(
            asset_key=automation.DRIFT_CHECK.asset_key,
            check_name=automation.DRIFT_CHECK.name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={},
        )
        event = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name=run.job_name,
            event_specific_data=evaluation,
        )
        instance.report_dagster_event(event, run_id=run.run_id)
        with warehouse.get_connection() as connection:
            for stage in stages:
                connection.execute(
                    "insert into ledger.runs by name select * replace ($run as run_id, now() as finished_at) "
                    "from ledger.runs where stage = $stage limit 1",
                    {"run": run.run_id, "stage": stage},
                )
        return run.run_id

    return warehouse, report


def test_drift_has_what_is_out_of_date_curated_again_and_once(drifted, instance):
    warehouse, report = drifted
    assert "not been compared" in said(tick(automation.drift, warehouse, instance))
    report(passed=True)
    assert said(tick(automation.drift, warehouse, instance)).startswith("No drift")
    report(passed=False, database="/elsewhere.duckdb")
    assert "another database" in said(tick(automation.drift, warehouse, instance))

    run_id = report(passed=False)
    found = tick(automation.drift, warehouse, instance)
    [request] = found.run_requests
    assert [key.to_user_string() for key in request.asset_selection] == list(OUT_OF_DATE)
    assert (request.tags[REASON], request.tags[FOUND_BY]) == ("drift", run_id)
    assert request.run_config["ops"]["curated_set"]["config"]["budget_records"] == 60  # as it last ran
    assert dg.validate_run_config(defs.resolve_job_def("recurate_on_drift"), request.run_config)
    for number in range(1, automation.MOST_TRIES + 1):  # a run that fails has not acted on it
        [request] = tick(automation.drift, warehouse, instance, found.cursor).run_requests
        assert request.run_key == f"drift-{run_id}-{number}"
        follows = begun(instance, request)
        assert "has not ended" in said(tick(automation.drift, warehouse, instance, found.cursor))
        instance.report_run_failed(follows)
    assert "3 runs for it failed" in said(tick(automation.drift, warehouse, instance, found.cursor))
    begun(instance, request, dg.DagsterRunStatus.SUCCESS)  # started by hand, from the failed one
    found = tick(automation.drift, warehouse, instance, found.cursor)
    assert "acted on" in said(found)
    assert found.cursor == run_id

    with warehouse.get_connection() as connection:
        for table in ("label_task.tasks", "predicted_labels.predictions"):
            connection.execute(f"create schema {table.split('.')[0]}; create table {table} as select 1 as one")
    assert automation.affected_by(warehouse, run_id) == list(automation.AFTER_DRIFT)  # there are no lexical vectors
    with warehouse.get_connection() as connection:
        connection.execute("create schema lexical_vectors; create table lexical_vectors.ngrams as select 1 as ngram")
    assert automation.affected_by(warehouse, run_id) == [*OUT_OF_DATE, *automation.TO_THE_EXPERTS]
    run_id = report(passed=False)
    last = {"pair_share": 0.7, "only": "everything", "even_if_open": False}
    with warehouse.get_connection() as connection:
        connection.execute(
            "insert into ledger.runs by name select * replace ('label_queue' as stage, $config as config) from ledger.runs limit 1",
            {"config": json.dumps(last)},
        )
    [request] = tick(automation.drift, warehouse, instance).run_requests
    asked = request.run_config["ops"]["label_queue"]["config"]
    assert asked == {"pair_share": 0.7, "only": "new_concept", "even_if_open": True}
    with warehouse.get_connection() as connection:
        connection.execute("drop table label_task.tasks")

    everything = report(passed=False, stages=["drift_report", *OUT_OF_DATE])
    done = tick(automation.drift, warehouse, instance, found.cursor)
    assert not done.run_requests
    assert "everything was curated anew since" in said(done)
    assert done.cursor == everything

    late = report(passed=False)
    with warehouse.get_connection() as connection:  # as by a run for the drift before, which was still waiting
        for stage in OUT_OF_DATE:
            connection.execute(
                "insert into ledger.runs by name select * replace ('later' as run_id, now() as finished_at) from ledger.runs "
                "where stage = $stage limit 1",
                {"stage": stage},
            )
    assert automation.affected_by(warehouse, late) == []


def test_what_an_erasure_left_is_built_again_once(warehouse, instance, tmp_path):
    write(tmp_path / "notes.jsonl", texts(12))
    sources = [{"name": "notes", "path": str(tmp_path / "notes.jsonl")}]
    stages, ops = ["raw", "cleaned", "deduped"], {"raw": {"sources": sources}, "deduped": {"min_jaccard": 0.93}}
    run(warehouse, instance, stages, ops)
    assert "No erasure" in said(tick(automation.after_erasure, warehouse, instance))
    [record] = warehouse.query("select record_id from raw.records limit 1")["record_id"]
    receipt = erasure.erase(warehouse, erasure_plan.plan(warehouse, erasure_plan.Request(ids=(record,))))
    assert "is at work" in said(
        tick(automation.after_erasure, warehouse, instance)
    )  # the command builds it again itself
    warehouse.release_run()

    [request] = tick(automation.after_erasure, warehouse, instance).run_requests  # as after a kill
    assert request.tags[REASON] == "erasure"
    assert request.tags[automation.ERASED_BY] == receipt["receipt"]["erasure_id"]
    assert [key.to_user_string() for key in request.asset_selection] == ["cleaned", "deduped"]
    assert request.run_config["ops"]["deduped"]["config"]["min_jaccard"] == 0.93
    run(warehouse, instance, ["cleaned", "deduped"], reason="erasure")
    assert not tick(automation.after_erasure, warehouse, instance).run_requests


def test_every_week_everything_is_curated_with_the_settings_it_had(curated, instance):
    context = dg.build_schedule_context(instance=instance, resources={"warehouse": curated})
    request = automation.weekly(context)
    assert request.tags[REASON] == "schedule"
    assert request.asset_selection is None
    assert dg.validate_run_config(defs.resolve_job_def("curate_everything"), request.run_config)
    assert request.run_config["ops"]["eval_report"]["config"]["vocabulary"] == 512
    everything = {asset.key.to_user_string() for asset in JOBS["curate_everything"]}
    assert {*INCOMING, *OUT_OF_DATE} == everything  # no asset loses its settings, and none comes in uncompared


def test_nothing_runs_by_itself_until_it_is_switched_on():
    repository = defs.get_repository_def()
    for one in (*repository.sensor_defs, *repository.schedule_defs):
        assert one.default_status.value == "STOPPED", one.name
        assert one.description, one.name


def test_jobs_say_why_their_runs_exist_and_old_sets_are_known():
    for name in (*JOBS, "recurate_on_drift"):
        job = defs.resolve_job_def(name)
        assert job.run_tags[REASON] == ("drift" if name == "recurate_on_drift" else "manual")
        assert job.description
    graph = defs.resolve_asset_graph()
    policies = {
        name: graph.get(dg.AssetKey(name)).freshness_policy
        for name in automation.FRESHNESS
        if graph.has(dg.AssetKey(name))
    }
    assert "curated_set" in policies
    assert all(policies.values())


def test_settings_that_an_older_version_wrote_are_left_out(tmp_path):
    found = Warehouse(database=str(tmp_path / "older.duckdb"))
    row = dict.fromkeys(tables()["ledger.runs"].incoming) | {"run_id": "r", "stage": "curated_set"}
    row |= {"config": '{"seed": 7, "max_weight_ratio": 2}', "finished_at": datetime(2026, 1, 1, tzinfo=timezone.utc)}
    found.append("ledger.runs", pl.DataFrame([row]))
    assert automation.last_settings(found, ["curated_set"]) == {"curated_set": {"config": {"seed": 7}}}
