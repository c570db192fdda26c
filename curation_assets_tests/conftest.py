"""What the tests share: a warehouse in a temporary folder, a small real corpus, one run of the whole graph over it."""

import os
import sys
from pathlib import Path

import dagster as dg
import pytest

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

collect_ignore = ["models/write_gguf.py"]  # runs in another environment, which has the package gguf

EXIT_STATUS = pytest.StashKey[int]()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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

    keys = {dg.AssetKey(name) for name in selection} if selection else selected_assets(None)
    names = {key.to_user_string() for key in keys}
    return job_of(keys).execute_in_process(
        run_config={
            "ops": {name: {"config": config} for name, config in ops.items() if name in names},
            "resources": {"warehouse": {"config": {"database": warehouse.database}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        asset_selection=list(keys),
        **options,
    )


@pytest.fixture(scope="session")
def curated(tmp_path_factory):
    """A warehouse after one run of the whole graph over a few hundred real texts of this Python environment."""
    from curation_assets.warehouse import Warehouse

    warehouse = Warehouse(database=str(tmp_path_factory.mktemp("curated") / "curation.duckdb"))
    source = {"name": "python_environment", "path": "python_environment", "max_records": 500}
    ops = {
        "raw": {"sources": [source]},
        "curated_set": {"budget_records": 60},
        "eval_report": {"token_budget": 8_000, "vocabulary": 512, "target": "python_environment/stdlib/*"},
    }
    result = materialize(warehouse, ops)
    warehouse.release_run()
    assert result.success
    return warehouse


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

    from curation_assets.warehouse import Warehouse

    folder = tmp_path_factory.mktemp("headlines")
    warehouse = Warehouse(database=str(folder / "curation.duckdb"))
    rows = headlines(320)
    source = {"name": "headlines", "path": str(save(rows, folder / "headlines.jsonl")), "license": "CC0-1.0"}
    stages = ["raw", "cleaned", "deduped", "filtered", "embeddings"]
    assert materialize(warehouse, {"raw": {"sources": [source]}}, stages).success
    warehouse.release_run()
    kinds = {row["id"]: row["kind"] for row in rows}
    records = warehouse.query("select record_id, source_record_id from filtered.records")
    return warehouse, {record: kinds[owner] for record, owner in records.iter_rows()}


@pytest.fixture
def pool(headlines_embedded, tmp_path):
    """A copy of the embedded headlines to label, and the true classes."""
    import shutil

    from curation_assets.warehouse import Warehouse

    base, truth = headlines_embedded
    warehouse = Warehouse(database=str(tmp_path / "labels.duckdb"))
    shutil.copy(base.path, warehouse.path)
    yield warehouse, truth
    warehouse.release_run()
