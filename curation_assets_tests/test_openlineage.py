"""OpenLineage events of a real run: what the published classes take, what is in them, and what must not be."""

import importlib
import json
import pkgutil
import threading
from datetime import datetime, timedelta, timezone
from enum import Enum
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import attr
import dagster as dg
import pytest
from conftest import materialize
from openlineage.client import generated
from openlineage.client.generated import base
from openlineage.client.serde import Serde

from curation_assets import automation, openlineage
from curation_assets.definitions import JOBS
from curation_assets.pages import lineage
from curation_assets.tables import MAIN_TABLES, asset_of, tables

SECRET = "Marigold zeppelins"
ASSETS = ["raw", "cleaned", "deduped"]
FACET_KINDS = ("facets", "inputFacets", "outputFacets")


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
    [deduped] = complete["deduped"]["outputs"]
    sources = {
        (one["name"], one["field"])
        for of in deduped["facets"]["columnLineage"]["fields"].values()
        for one in of["inputFields"]
    }
    assert ("overrides.entries", "verdict") in sources  # a table that no asset builds
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


def published_classes() -> dict[str, type]:
    """The classes that openlineage-python has generated from the published schemas, by the full address of their schema."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__, f"{generated.__name__}."):
        for cls in vars(importlib.import_module(module.name)).values():
            if attr.has(cls) and hasattr(cls, "_get_schema"):
                found[cls._get_schema()] = cls
    return found


PUBLISHED = published_classes()


def take(kind, value, where="event"):
    """Make of a value what a published class wants there. Asserts that nothing is missing, too much, or of another type.

    A facet is made of the class of the schema it names, which has to be one for the place it stands in.
    """
    if get_origin(kind) in (Union, UnionType):
        [kind] = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is list:
        assert isinstance(value, list), where
        return [take(get_args(kind)[0], one, f"{where}[{n}]") for n, one in enumerate(value)]
    if get_origin(kind) is dict:
        assert isinstance(value, dict), where
        return {name: take(get_args(kind)[1], one, f"{where}.{name}") for name, one in value.items()}
    if issubclass(kind, Enum):
        return kind(value)
    if not attr.has(kind):
        assert type(value) is kind, f"{where} is no {kind.__name__}: {value!r}"
        return value
    address = value.get("_schemaURL", value.get("schemaURL"))
    if issubclass(kind, base.BaseFacet):
        assert address in PUBLISHED, f"{where} names {address}"
        assert issubclass(PUBLISHED[address], kind), f"{where} may be no {PUBLISHED[address].__name__}"
        kind = PUBLISHED[address]
        assert kind.__name__.lower().startswith(where.rpartition(".")[2].lower()), f"{where} is a {kind.__name__}"
    hints, fields = get_type_hints(kind), {one.name: one for one in attr.fields(kind)}
    assert value.keys() <= fields.keys(), f"{where} has {value.keys() - fields.keys()} too much"
    given = {name: take(hints[name], one, f"{where}.{name}") for name, one in value.items() if fields[name].init}
    made = kind(**{fields[name].alias: one for name, one in given.items()})  # a TypeError names what is missing
    assert address is None or address == made._get_schema(), f"{where} names {address}"
    return made


def test_the_published_classes_take_every_event_as_it_is(ran):
    facets = set()
    for event in ran[3]:
        made = take(base.RunEvent, event)
        assert json.loads(Serde.to_json(made))["run"]["runId"] == event["run"]["runId"]
        of_datasets = [one.get(kind, {}) for one in event["inputs"] + event["outputs"] for kind in FACET_KINDS]
        facets.update(*of_datasets, event["run"]["facets"], event["job"]["facets"])
    assert facets == set(openlineage.FACETS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.update(event_type="START"),
        lambda event: event.update(eventType="DONE"),
        lambda event: event.update(eventTime="yesterday"),
        lambda event: event.update(schemaURL=event["schemaURL"].replace("2-0-2", "1-0-0")),
        lambda event: event["run"].update(runId="7"),
        lambda event: event["job"].pop("name"),
        lambda event: event["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="9"),
        lambda event: event["outputs"][0]["outputFacets"].update(tags=event["run"]["facets"]["tags"]),
        lambda event: event["outputs"][0]["facets"]["schema"].update(_schemaURL="https://openlineage.io/spec/7"),
        lambda event: event["outputs"][0]["facets"]["schema"]["fields"][0].pop("name"),
        lambda event: event["run"]["facets"]["parent"]["run"].update(id="7"),
    ],
)
def test_no_published_class_takes_another_event(ran, spoil):
    event = next(json.loads(json.dumps(one)) for one in ran[3] if one["outputs"])
    spoil(event)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        take(base.RunEvent, event)


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


def test_a_run_whose_events_are_refused_is_passed_over_and_no_other_is_sent_again(ran, monkeypatch):
    instance, warehouse, first, _ = ran
    second = materialize(warehouse, {}, ["raw"], instance=instance)
    assert second.success
    warehouse.release_run()
    got, status = [], {first.run_id: 201, second.run_id: 422}

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append(event["run"]["facets"]["parent"]["run"]["runId"])
            self.send_response(status[got[-1]])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(openlineage.DESTINATION, f"http://127.0.0.1:{server.server_port}/api/v1/lineage")

    def tick(cursor):
        got.clear()
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"warehouse": warehouse})
        return automation.openlineage(context)

    start = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    tried = tick(start)
    assert (set(got), got.count(second.run_id)) == ({first.run_id, second.run_id}, 1)
    assert f"run {second.run_id[:8]} were not taken: 422" in tried.skip_reason.skip_message
    tried = tick(tried.cursor)
    assert got == [second.run_id]
    status[second.run_id] = 401  # the key is wrong: that is not about the event, and does not count
    with pytest.raises(OSError, match="401"):
        tick(tried.cursor)
    status[second.run_id] = 422
    given_up = tick(tried.cursor)
    assert "refused 3 times and is passed over" in given_up.skip_reason.skip_message
    assert tick(given_up.cursor).cursor == given_up.cursor
    assert got == []
    server.shutdown()


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
