"""OpenLineage events of a real run: what the published classes take, what is in them, and what must not be."""

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest
from conftest import materialize

from curation_assets import automation, openlineage
from curation_assets.definitions import JOBS
from curation_assets.pages import MAIN_TABLES, asset_of, lineage
from curation_assets.tables import tables

SECRET = "Marigold zeppelins"
ASSETS = ["raw", "cleaned", "deduped"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """An instance, a warehouse and a run of three assets over records whose text must not leave."""
    from curation_assets.warehouse import Warehouse

    folder = tmp_path_factory.mktemp("openlineage")
    lines = [
        {"id": f"n{n}", "text": f"{SECRET} fly over town number {n} at noon, and {n * 17} people wave."}
        for n in range(9)
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    warehouse = Warehouse(database=str(folder / "c.duckdb"))
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        ops = {"raw": {"sources": [{"name": "notes", "path": str(folder / "in.jsonl")}]}}
        result = materialize(warehouse, ops, ASSETS, instance=instance, tags={"curation/reason": "manual"})
        assert result.success
        warehouse.release_run()
        run = instance.get_run_by_id(result.run_id)
        yield instance, warehouse, run, list(openlineage.events_of_run(instance, run, "duckdb:///c.duckdb"))


def test_each_materialization_starts_and_completes_and_its_checks_follow(ran):
    _, _, run, events = ran
    told = [(event["job"]["name"], event["eventType"]) for event in events]
    assert told[:6] == [(name, kind) for name in ASSETS for kind in ("START", "COMPLETE")]
    assert {name for name, _ in told[6:]} == {f"{name}.checks" for name in ASSETS}
    complete = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    [output] = complete["cleaned"]["outputs"]
    assert output["name"] == "cleaned.records"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 9
    from_raw = {"namespace": "duckdb:///c.duckdb", "name": "raw.records", "field": "text"}
    assert output["facets"]["columnLineage"]["fields"]["text"]["inputFields"] == [from_raw]
    text = next(field for field in output["facets"]["schema"]["fields"] if field["name"] == "text")
    assert (text["type"], bool(text["description"])) == ("VARCHAR", True)
    assert [one["name"] for one in complete["cleaned"]["inputs"]] == ["raw.records"]
    [looked_at] = complete["deduped.checks"]["inputs"]
    assertions = {one["assertion"]: one for one in looked_at["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert assertions["deduped_loses_no_record"]["success"] is True
    assert looked_at["inputFacets"]["dataQualityMetrics"]["rowCount"] == 9
    assert complete["raw"]["run"]["facets"]["parent"]["run"]["runId"] == run.run_id
    assert complete["raw"]["run"]["facets"]["tags"]["tags"][0]["value"] == "manual"


def test_the_same_run_gives_the_same_events_and_none_holds_text(ran):
    instance, _, run, events = ran
    assert list(openlineage.events_of_run(instance, run, "duckdb:///c.duckdb")) == events
    assert SECRET.lower() not in json.dumps(events).lower()


def test_the_published_classes_take_every_event_as_it_is(ran):
    generated = pytest.importorskip(
        "openlineage.client.generated.base", reason="openlineage-python is in the dev extra"
    )
    from importlib import import_module

    from openlineage.client.serde import Serde

    modules = {
        "schema": "schema_dataset",
        "columnLineage": "column_lineage_dataset",
        "outputStatistics": "output_statistics_output_dataset",
        "dataQualityMetrics": "data_quality_metrics_input_dataset",
        "dataQualityAssertions": "data_quality_assertions_dataset",
        "parent": "parent_run",
        "tags": "tags_run",
        "jobType": "job_type_job",
    }
    nested = {"fields": "SchemaDatasetFacetFields", "tags": "TagsRunFacetFields", "assertions": "Assertion"}

    def made(facets: dict) -> dict:
        found = {}
        for name, content in facets.items():
            module = import_module(f"openlineage.client.generated.{modules[name]}")
            kind = getattr(module, openlineage.FACETS[name].split("/")[1])
            fields = {key: value for key, value in content.items() if not key.startswith("_")}
            if name == "columnLineage":
                fields["fields"] = {
                    column: module.Fields([module.InputField(**one) for one in of["inputFields"]])
                    for column, of in fields["fields"].items()
                }
            for key, cls in nested.items():
                if isinstance(fields.get(key), list):
                    fields[key] = [getattr(module, cls)(**one) for one in fields[key]]
            if name == "parent":
                fields = {"run": module.Run(**fields["run"]), "job": module.Job(**fields["job"])}
            found[name] = kind(**fields, producer=content["_producer"])
            assert content["_schemaURL"].split("#")[1] == kind._get_schema().split("#")[1]
        return found

    for event in ran[3]:
        rebuilt = generated.RunEvent(
            eventType=generated.EventType[event["eventType"]],
            eventTime=event["eventTime"],
            producer=event["producer"],
            run=generated.Run(runId=event["run"]["runId"], facets=made(event["run"]["facets"])),
            job=generated.Job(**event["job"] | {"facets": made(event["job"]["facets"])}),
            inputs=[
                generated.InputDataset(**one | {"inputFacets": made(one.get("inputFacets", {}))})
                for one in event["inputs"]
            ],
            outputs=[
                generated.OutputDataset(
                    **one | {"facets": made(one["facets"]), "outputFacets": made(one["outputFacets"])}
                )
                for one in event["outputs"]
            ],
        )
        sent = json.loads(Serde.to_json(rebuilt))
        assert event["schemaURL"] == sent["schemaURL"]
        assert sent["outputs"] == [] or {field["name"] for field in sent["outputs"][0]["facets"]["schema"]["fields"]}


def test_events_are_appended_to_a_file_or_posted_and_failure_is_an_error(ran, tmp_path, monkeypatch):
    events, got = ran[3], []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers.get("Authorization"), json.loads(body)))
            self.send_response(201 if self.path == "/api/v1/lineage" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    openlineage.send(events, str(tmp_path / "events.jsonl"))
    openlineage.send(events[:1], str(tmp_path / "events.jsonl"))
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [*events, events[0]]
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(openlineage.API_KEY, "key")
    openlineage.send(events, f"http://127.0.0.1:{server.server_port}/api/v1/lineage")
    assert [event for _, event in got] == events
    assert got[0][0] == "Bearer key"
    with pytest.raises(OSError, match="404"):
        openlineage.send(events, f"http://127.0.0.1:{server.server_port}/elsewhere")
    server.shutdown()


def test_the_sensor_sends_runs_that_ended_since_the_last_tick(ran, tmp_path, monkeypatch):
    instance, warehouse, _, events = ran

    def tick(cursor=None):
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"warehouse": warehouse})
        return automation.openlineage(context)

    assert "names no file" in tick().skip_message
    destination = tmp_path / "events.jsonl"
    monkeypatch.setenv(openlineage.DESTINATION, str(destination))
    first = tick()
    assert not destination.exists()
    before = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    sent = tick(before)
    assert len(destination.read_text(encoding="utf-8").splitlines()) == len(events)
    assert tick(sent.cursor).cursor == sent.cursor
    assert first.cursor > before


def test_every_asset_has_column_lineage_back_to_other_assets():
    """But the first one, and the one a person writes: what a column is made from is told through tables of its own asset."""
    for asset in [one.key.to_user_string() for assets in JOBS.values() for one in assets]:
        built = [name for name in tables() if asset_of(name) == asset and not name.endswith(".decisions")]
        deps = lineage(built, MAIN_TABLES[asset]).deps_by_column
        if asset not in ("raw", "label_task"):
            assert any(deps.values()), asset
    of = lineage(["curated_set.records", "curated_set.scores"], "curated_set.records").deps_by_column
    assert [dep.column_name for dep in of["quality"]] == ["quality"]
    of = lineage(["embeddings.vectors"], "embeddings.vectors").deps_by_column
    assert [dep.asset_key.to_user_string() for dep in of["embedding"]] == ["filtered"]
