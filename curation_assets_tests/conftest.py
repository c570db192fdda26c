"""What the tests share: a warehouse in a temporary folder, a small real corpus, one run of the whole graph over it."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest
from filelock import FileLock
from hypothesis import settings

if TYPE_CHECKING:
    from curation_assets.warehouse import Warehouse

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

settings.register_profile("curation_assets", deadline=None)  # the first example of a kernel compiles or loads it
settings.load_profile("curation_assets")

collect_ignore = ["models/write_gguf.py"]  # runs in another environment, which has the package gguf

LONG = (
    "test_pipeline",
    "test_drift_report",
    "test_warehouse",
    "test_label_round",
    "test_release",
    "test_blaming",
    "test_erasure",
    "test_automation",
    "test_overrides",
    "test_cleaned",
)
"""Files begun first. pytest-xdist would begin with the files of many tests, and these few long ones at the end, several on one worker
while the others have nothing left."""

EXIT_STATUS = pytest.StashKey[int]()
INSTANCE = pytest.StashKey[dg.DagsterInstance]()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    config.option.loadscopereorder = False  # pytest-xdist takes the files in the order of collection


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


def pytest_runtest_setup(item):
    """Let every test start under an instance that lives: Dagster asks the one entered last, even when that one is gone."""
    if (held := item.config.stash.get(INSTANCE, None)) is None:
        held = item.config.stash[INSTANCE] = dg.DagsterInstance.ephemeral()
    held.__enter__()


def pytest_sessionfinish(session, exitstatus):
    session.config.stash[EXIT_STATUS] = exitstatus


def pytest_unconfigure(config):
    """Leave at once, as the command line does: its `main` says why."""
    if EXIT_STATUS in config.stash:
        sys.stdout.flush()
        os._exit(config.stash[EXIT_STATUS])


@pytest.fixture
def shared_data() -> Path:
    """The folder of shared data sets; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared/data with the real data sets is not here")
    return SHARED


@pytest.fixture
def warehouse(tmp_path):
    from curation_assets.warehouse import Warehouse

    found = Warehouse(database=str(tmp_path / "curation.duckdb"))
    yield found
    found.release_run()


def materialize(warehouse, ops: dict, selection: list[str] | None = None, **options) -> dg.ExecuteInProcessResult:
    """Run assets (those of curate_everything by default) with their checks, as `curate run` does, on an instance of its own."""
    from curation_assets.cli import job_of, selected_assets

    ops = with_given_precision(ops)
    keys = {dg.AssetKey(name) for name in selection} if selection else selected_assets(None)
    names = {key.to_user_string() for key in keys}
    options.setdefault(
        "instance", dg.DagsterInstance.ephemeral()
    )  # held by `options`: Dagster itself refers to it weakly
    return job_of(keys).execute_in_process(
        run_config={
            "ops": {name: {"config": config} for name, config in ops.items() if name in names},
            "resources": {"warehouse": {"config": {"database": warehouse.database}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        asset_selection=list(keys),
        **options,
    )


def materialize_unchecked(warehouse, ops: dict, selection: list[str]) -> dg.ExecuteInProcessResult:
    """Run assets without their checks, which take half of the time: for what a test stands on and others test."""
    ops = with_given_precision(ops)
    assets = [getattr(import_module(f"curation_assets.stages.{name}"), name) for name in selection]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            assets,
            instance=instance,
            resources={"warehouse": warehouse},
            run_config={
                "ops": {name: {"config": ops[name]} for name in selection if name in ops},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    warehouse.release_run()
    assert result.success
    return result


def with_given_precision(ops: dict) -> dict:
    """Embed in float32 unless a test says otherwise: the self-test, which a new database asks otherwise, takes longer than a few texts."""
    return ops | {"embeddings": {"precision": "fp32"} | ops.get("embeddings", {})}


def built_once(tmp_path_factory, name: str, build: Callable[["Warehouse"], None]) -> "Warehouse":
    """A database of this process's own: built by the first of pytest's workers that needs it, copied by the others."""
    from curation_assets.warehouse import Warehouse

    warehouse = Warehouse(database=str(tmp_path_factory.mktemp(name) / "curation.duckdb"))
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}.duckdb"
    with FileLock(f"{kept}.lock"):
        if kept.exists():
            shutil.copy(kept, warehouse.path)
        else:
            build(warehouse)
            warehouse.release_run()
            shutil.copy(warehouse.path, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
    return warehouse


@pytest.fixture(scope="session")
def curated(tmp_path_factory):
    """A warehouse after one run of the whole graph over a few hundred real texts of this Python environment."""

    def build(warehouse):
        source = {"name": "python_environment", "path": "python_environment", "max_records": 500}
        ops = {
            "raw": {"sources": [source]},
            "embeddings": {"precision": None},
            "curated_set": {"budget_records": 60},
            "eval_report": {"token_budget": 8_000, "vocabulary": 512, "target": "python_environment/stdlib/*"},
        }
        assert materialize(warehouse, ops).success

    return built_once(tmp_path_factory, "curated", build)


@pytest.fixture(scope="session")
def language_models(tmp_path_factory):
    """Folders of small real language models: a causal one with chat template, a causal one without, and a seq2seq one."""
    from small_language_models import save_causal_model, save_seq2seq_model

    folder = tmp_path_factory.mktemp("language_models")
    return {
        "chat": save_causal_model(folder / "chat", chat=True),
        "plain": save_causal_model(folder / "plain", chat=False),
        "seq2seq": save_seq2seq_model(folder / "seq2seq"),
    }


@pytest.fixture(scope="session")
def headlines_embedded(tmp_path_factory):
    """A warehouse with 320 planted headlines read and embedded, and the true class of each record."""
    from planted_headlines import headlines, save

    rows = headlines(320)

    def build(warehouse):
        path = save(rows, warehouse.path.with_name("headlines.jsonl"))
        sources = [{"name": "headlines", "path": str(path), "license": "CC0-1.0"}]
        stages = ["raw", "cleaned", "deduped", "filtered", "embeddings"]
        materialize_unchecked(warehouse, {"raw": {"sources": sources}}, stages)

    warehouse = built_once(tmp_path_factory, "headlines", build)
    kinds = {row["id"]: row["kind"] for row in rows}
    records = warehouse.query("select record_id, source_record_id from filtered.records")
    return warehouse, {record: kinds[owner] for record, owner in records.iter_rows()}


@pytest.fixture
def pool(headlines_embedded, tmp_path):
    """A copy of the embedded headlines to label, and the true classes."""
    from curation_assets.warehouse import Warehouse

    base, truth = headlines_embedded
    warehouse = Warehouse(database=str(tmp_path / "labels.duckdb"))
    shutil.copy(base.path, warehouse.path)
    yield warehouse, truth
    warehouse.release_run()


WORDS = [
    "river",
    "stone",
    "harbour",
    "lantern",
    "meadow",
    "copper",
    "window",
    "garden",
    "thunder",
    "velvet",
    "orchard",
    "saddle",
    "candle",
    "marble",
    "feather",
    "anchor",
]
TOKENS = ("zqxvictima", "zqxvictimb", "zqxvictimc")
"""Words of the erased texts alone."""


def sentence(n: int, words: int = 40) -> str:
    """Words that no other sentence has in that order."""
    return " ".join(f"{WORDS[(n * 7 + k * k + 3 * k) % 16]}{(n * 31 + k * 17) % 89}" for k in range(words))


HOSTILE = "<img src=x onerror=alert(1)>"
"""A licence as nobody should state it."""

VICTIM = f"{TOKENS[0]} {sentence(1000)} {TOKENS[1]} {sentence(1001)} {TOKENS[2]}"


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A database after a whole run, a release and some labels, with one record, its copy, its near-duplicate and one made from it."""
    victim_id = "select record_id from raw.records where source_record_id = 'victim-1'"

    def build(warehouse):
        folder = warehouse.path.parent
        rows = [{"id": f"owner-{n}", "text": f"{sentence(n)} {sentence(n + 500)}"} for n in range(60)]
        rows.append({"id": "victim-1", "text": VICTIM})
        rows.append({"id": "near-1", "text": VICTIM.replace(TOKENS[2], "and so on")})
        rows.append({"id": "made-1", "text": f"{sentence(2000)} {sentence(2001)}", "derived_from": "victim-1"})
        lines = [*map(json.dumps, rows), '{"id": "broken", "text": "' + VICTIM]
        (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "others.jsonl").write_text(json.dumps({"id": "copy-1", "text": VICTIM.upper() + "  "}) + "\n")
        licenses = {"texts": "CC-BY-4.0", "others": HOSTILE}
        sources = [
            {"name": name, "path": str(folder / f"{name}.jsonl"), "license": license}
            for name, license in licenses.items()
        ]
        ops = {
            "raw": {"sources": sources},
            "filtered": {"rule_sets": []},
            "curated_set": {"budget_records": 61},
            "eval_report": {"token_budget": 2_000, "vocabulary": 512},
        }
        assert materialize(warehouse, ops).success
        assert materialize(warehouse, {}, ["release"]).success
        victim = warehouse.value(victim_id)
        labels = [label(victim, "l-1"), label("another", "l-2")]
        warehouse.append("expert_labels.labels", pl.DataFrame(labels, infer_schema_length=None))

    warehouse = built_once(tmp_path_factory, "planted", build)
    return warehouse, warehouse.value(victim_id)


def label(record_id: str, label_id: str) -> dict:
    """A row of expert_labels.labels."""
    from curation_assets.tables import tables

    row = dict.fromkeys(tables()["expert_labels.labels"].incoming)
    return row | {
        "label_id": label_id,
        "record_id": record_id,
        "task": "t",
        "rater": "r",
        "answer": "skip",
        "role": "expert",
        "origin": "page",
        "labelled_at": datetime(2026, 1, 1, tzinfo=timezone.utc),
    }
