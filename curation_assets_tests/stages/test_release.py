"""Releases end to end: a small corpus of every kind of record, released, loaded, verified, and made again elsewhere."""

import json
import random
import shutil

import dagster as dg
import polars as pl
import pytest
from conftest import materialize
from small_language_models import CHATML
from typer.testing import CliRunner

from curation_assets import audit, overrides
from curation_assets.algorithms.splits import assign
from curation_assets.cli import app
from curation_assets.definitions import ASSETS, LABEL_ASSETS
from curation_assets.releasing.verify import read_manifest, verify
from curation_assets.stages.cluster_profiles import cluster_profiles
from curation_assets.stages.drift_report import drift_report
from curation_assets.stages.eval_report import eval_report
from curation_assets.stages.release import release
from curation_assets.warehouse import Warehouse

WORDS = """
the a of and to in is on that with river mountain garden window letter market bridge winter music paper teacher village
engine harvest island lantern painter forest kitchen station captain library summer history weather question answer travel
machine country morning evening silver copper wooden quiet bright narrow early
"""
STAGES = [asset for asset in ASSETS if asset not in (eval_report, cluster_profiles, drift_report)]
SHARES = {"validation_share": 0.2, "test_share": 0.2}


def corpus():
    """Records of every kind, with planted groups: chains of near-duplicates, prompts answered several times, pages of a book."""
    rng, words = random.Random(7), WORDS.split()

    def said(n):
        return " ".join(rng.choice(words) for _ in range(n)).capitalize() + "."

    def calling(at):
        call = {"id": f"c{at}", "type": "function", "function": {"name": "look", "arguments": json.dumps({"n": at})}}
        return [
            {"role": "system", "content": "You may look things up."},
            {"role": "user", "content": said(12)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{at}", "content": said(6)},
            {"role": "assistant", "content": said(12)},
        ]

    records = []
    for at in range(12):  # the first and the last are near-duplicates of the second, not of one another
        long = [rng.choice(words) for _ in range(120)]
        records += [{"text": " ".join(long[step : step + 100]), "chain": at} for step in (0, 10, 20)]
    records += [{"text": said(60), "label": rng.choice(["good", "bad"])} for _ in range(10)]
    records += [{"text": said(60), "book": at // 4} for at in range(28)]
    for at in range(12):
        asked = said(14)
        records += [{"instruction": asked, "input": "", "output": said(20), "asked": at} for _ in range(3)]
    records += [{"instruction": said(10), "input": said(8), "output": said(20)} for _ in range(10)]
    records += [
        {"messages": calling(at), "tools": [{"type": "function", "function": {"name": "look"}}]} for at in range(10)
    ]
    records += [
        {"conversations": [{"from": who, "value": said(15)} for who in ("human", "gpt", "human", "gpt")]}
        for _ in range(20)
    ]
    records += [{"prompt": said(10), "chosen": said(15), "rejected": said(15)} for _ in range(12)]
    records += [{"prompt": said(10), "response": said(15), "score": rng.randint(1, 5)} for _ in range(12)]
    return [{"id": f"r{at}", **record} for at, record in enumerate(records)]


def curate(folder, source):
    """A database with the curated set of the corpus: nearly all of it."""
    warehouse = Warehouse(database=str(folder / "set.duckdb"))
    ops = {
        "raw": {"sources": [{"name": "planted", "path": str(source), "license": "CC-BY-4.0"}]},
        "filtered": {"rule_sets": []},
        "embeddings": {"precision": "fp32"},  # a self-test of each database might choose differently
        "curated_set": {"budget_share": 0.95},
    }
    assert without_checks(warehouse, STAGES, ops).success
    return warehouse


def make(warehouse, **config):
    return without_checks(warehouse, [release], {"release": config})


def without_checks(warehouse, assets, ops):
    """Run assets alone: `release` runs the checks of what it releases by itself."""
    config = {
        "ops": {name: {"config": settings} for name, settings in ops.items()},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    result = dg.materialize(assets, resources={"warehouse": warehouse}, run_config=config, raise_on_error=False)
    warehouse.release_run()
    return result


def why(result):
    """What a run that failed says, at the root."""
    error = result.get_step_failure_events()[0].step_failure_data.error
    while error.cause is not None:
        error = error.cause
    return error.message


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "planted.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in corpus()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def set_(tmp_path_factory, source):
    """A curated set nobody changes; what a test releases from it, it does in a copy."""
    return curate(tmp_path_factory.mktemp("set"), source)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tokenizer")
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")))
    fast.chat_template = "{% if messages|length > 5 %}{{ raise_exception('too long') }}{% endif %}" + CHATML
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def released(set_, tmp_path_factory, tokenizer):
    """(warehouse, folder) of one release with all that a release can have."""
    warehouse = Warehouse(database=str(tmp_path_factory.mktemp("released") / "set.duckdb"))
    shutil.copy(set_.path, warehouse.path)
    folder = warehouse.path.parent / "out"
    config = {"folder": str(folder), "group_field": "book", "chat_template": str(tokenizer), **SHARES}
    assert materialize(warehouse, {"release": config}, ["release"]).success
    warehouse.release_run()
    return warehouse, folder


@pytest.fixture
def copy(set_, tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "set.duckdb"))
    shutil.copy(set_.path, warehouse.path)
    yield warehouse
    warehouse.release_run()


def rows_of(folder, format, split="*"):
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob(f"data/{format}/{split}.parquet"))])


def test_every_record_is_released_in_the_formats_of_its_kind(released):
    warehouse, folder = released
    kinds = dict(warehouse.query("select kind, count(*) from curated_set.records group by kind").iter_rows())
    assert min(kinds.values()) > 5
    assert len(rows_of(folder, "text")) == kinds["document"]
    assert len(rows_of(folder, "alpaca")) == kinds["instruction"]
    assert len(rows_of(folder, "messages")) == kinds["instruction"] + kinds["chat"]
    assert len(rows_of(folder, "sharegpt")) == kinds["instruction"] + kinds["chat"]
    assert len(rows_of(folder, "preference")) == kinds["preference"]
    assert len(rows_of(folder, "reward")) == kinds["reward"]
    labelled = warehouse.value("select count(*) from curated_set.records where label is not null")
    assert len(rows_of(folder, "classification")) == labelled > 5
    placed = warehouse.query("select distinct record_id from release.records")
    assert len(placed) == warehouse.rows("curated_set.records") == read_manifest(folder)["records"]


def test_parquet_and_jsonl_hold_the_same_rows_in_the_order_of_training(released):
    warehouse, folder = released
    for path in sorted(folder.rglob("*.parquet")):
        table = pl.read_parquet(path)
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
        assert table["record_id"].to_list() == [line["record_id"] for line in lines]
        assert table["position"].is_sorted()
        for row, line in zip(table.to_dicts(), lines, strict=True):
            tools = row.pop("tools", None)
            if tools is not None:
                assert json.loads(tools) == (
                    json.loads(line["tools"]) if isinstance(line["tools"], str) else line["tools"]
                )
            line.pop("tools", None)
            assert without_nulls(row) == without_nulls(line)
    places = warehouse.query(
        "select * from release.records where format = 'messages' and split = 'train' order by position"
    )
    assert places["record_id"].to_list() == rows_of(folder, "messages", "train")["record_id"].to_list()


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def test_nothing_that_belongs_together_crosses_splits(released):
    warehouse, _ = released
    split = dict(warehouse.query("select distinct record_id, split from release.records").iter_rows())
    owned = warehouse.query("select record_id, original from raw.records")
    together, members = {}, {}
    for record, original in owned.iter_rows():
        for field in ("chain", "asked", "book"):
            if (value := json.loads(original).get(field)) is not None and record in split:
                together.setdefault((field, value), []).append(split[record])
                members.setdefault((field, value), []).append(record)
    several = {name: found for name, found in together.items() if len(found) > 1}
    for field in ("chain", "asked", "book"):
        assert sum(name[0] == field for name in several) > 5, field
    assert {name: found for name, found in several.items() if len(set(found)) > 1} == {}
    assert set(split.values()) == {"train", "validation", "test"}
    assert len({tuple(set(found)) for found in several.values()}) == 3  # groups are in all three splits
    # By chance they would cross: without what connects them, records are split one by one.
    alone = pl.Series(list(split))
    by_chance = dict(zip(alone, assign(alone, {"test": 0.2, "validation": 0.2}, seed=0), strict=True))
    assert sum(len({by_chance[record] for record in found}) > 1 for found in members.values()) > 5


def test_the_chat_template_makes_the_text_and_what_it_refuses_is_told(released):
    _, folder = released
    rows = rows_of(folder, "messages")
    first = rows.row(0, named=True)
    assert first["text"].startswith(
        f"<|im_start|>{first['messages'][0]['role']}\n{first['messages'][0]['content']}<|im_end|>"
    )
    assert rows["text"].null_count() == 0
    assert "chat_template" in read_manifest(folder)["reproducible"]


def test_what_a_template_refuses_is_left_out_of_that_format_and_counted(copy, tokenizer):
    config = json.loads((tokenizer / "tokenizer_config.json").read_text())
    strict = copy.path.parent / "strict"
    shutil.copytree(tokenizer, strict)
    strict_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system prompts') }}{% endif %}" + CHATML
    )
    for path in strict.glob("*.jinja"):
        path.write_text(strict_template)
    if "chat_template" in config:
        (strict / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": strict_template}))
    assert make(copy, chat_template=str(strict), formats=["messages", "sharegpt"]).success
    folder = next((copy.path.parent / "releases").iterdir())
    left = {(one["format"], one["kind"]): one for one in read_manifest(folder)["left_out"]}
    assert "no system prompts" in left["messages", "chat"]["reason"]
    assert left["messages", "chat"]["records"] == len(rows_of(folder, "sharegpt")) - len(rows_of(folder, "messages"))
    assert left[None, "document"]["records"] > 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "no system prompts" in card
    assert "kind document are not released at all" in card
    assert list(verify(folder)) == []


def test_the_folder_verifies_and_the_manifest_says_what_it_was_made_of(released):
    warehouse, folder = released
    assert list(verify(folder)) == []
    manifest = read_manifest(folder)
    assert len(manifest["checks"]) > 15
    assert all(check["passed"] for check in manifest["checks"])
    made_of = manifest["reproducible"]
    assert made_of["tables"]["raw.records"]["rows"] == warehouse.rows("raw.records")
    assert made_of["seeds"]["curated_set.seed"] == 0
    assert made_of["config"]["curated_set"]["budget_share"] == 0.95
    assert {row["license"] for row in manifest["composition"]} == {"CC-BY-4.0"}
    assert sum(row["records"] for row in manifest["composition"]) == manifest["records"]
    row = warehouse.query("select * from release.releases").row(0, named=True)
    assert (row["release_hash"], row["reason"], row["supersedes"]) == (manifest["release_hash"], "manual", None)
    assert json.loads(row["manifest"]) == manifest


def test_the_card_tells_the_funnel_the_licence_and_that_nothing_was_evaluated(released):
    warehouse, folder = released
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0\n" in card
    for stage, rows_in in audit.funnel(warehouse).select("stage", "rows_in").iter_rows():
        assert f"| {stage} | {rows_in:,} |" in card
    assert "It has not been evaluated." in card
    assert "made on request" in card
    assert "New records had not been compared with old ones for drift." in card
    assert read_manifest(folder)["release_hash"] in card


def test_the_same_inputs_code_and_config_have_the_same_release_hash(set_, copy, source, tmp_path):
    other = curate(tmp_path / "elsewhere", source)
    assert make(copy, name="one", **SHARES).success
    assert make(other, name="other", folder=str(tmp_path / "out"), **SHARES).success
    here = next((copy.path.parent / "releases").iterdir())
    first, second = read_manifest(here), read_manifest(tmp_path / "out")
    assert first["reproducible"] == second["reproducible"]
    assert first["release_hash"] == second["release_hash"]
    assert here.name == first["release_id"]
    # Again: said so, nothing written. Another seed: another release, which follows the first.
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert make(copy, **SHARES).success
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before
    assert copy.rows("release.releases") == 1
    assert make(copy, seed=1, **SHARES).success
    last = copy.query("select * from release.releases order by released_at desc limit 1").row(0, named=True)
    assert (copy.rows("release.releases"), last["supersedes"]) == (2, first["release_id"])
    shutil.rmtree(here)  # gone, and made again as it was, with no second row
    assert make(copy, **SHARES).success
    assert read_manifest(here)["release_hash"] == first["release_hash"]
    assert copy.rows("release.releases") == 2


def test_a_release_is_refused_with_a_reason_and_leaves_nothing(copy, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert "is no release" in why(make(copy, folder=str(taken)))
    assert "no record of the curated set has a field 'nothing'" in why(make(copy, group_field="nothing"))
    assert "sum to less than 1" in why(make(copy, validation_share=0.6, test_share=0.6))
    assert "cannot be loaded" in why(make(copy, chat_template=str(tmp_path / "no tokenizer")))
    member = copy.value("select min(record_id) from curated_set.records")
    overrides.enter(copy, [overrides.Entry(member, "drop", "not this one")], "the editor")
    assert "holds 1 records that a person has dropped" in why(make(copy))
    overrides.enter(copy, [overrides.Entry(member, "none", "after all")], "the editor")
    with copy.transaction("filtered", "a later run") as commit:
        commit.connection.execute(
            "insert into ledger.runs select * replace (now() + interval 1 day as finished_at) from ledger.runs where stage = 'filtered'"
        )
    assert "out of date" in why(make(copy))
    with copy.transaction("filtered", "undone") as commit:
        commit.connection.execute("delete from ledger.runs where finished_at > now()")
        commit.connection.execute("delete from ledger.decisions where stage = 'curated_set' and verdict = 'keep'")
    assert "breaks checks" in why(make(copy))
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    assert not copy.has_table("release.releases")
    assert list((tmp_path / "releases").iterdir()) == []


def test_asked_for_text_alone_every_kind_is_text(copy):
    assert make(copy, formats=["text"], provenance=["record_id", "language"]).success
    folder = next((copy.path.parent / "releases").iterdir())
    rows = rows_of(folder, "text")
    assert rows.columns == ["text", "record_id", "language"]
    assert len(rows) == copy.rows("curated_set.records")


def test_settled_labels_are_released_and_what_they_evaluate_on_is_never_trained_on(copy):
    chosen = copy.query("select record_id from curated_set.records where kind = 'document' order by record_id limit 12")
    settled = chosen.with_row_index().select(
        "record_id",
        label=pl.when(pl.col("index") % 2 == 0).then(pl.lit("sea")).otherwise(pl.lit("land")),
        half=pl.when(pl.col("index") < 6).then(pl.lit("evaluate")).otherwise(pl.lit("train")),
    )
    with copy.transaction("label_set", "a run") as commit:
        commit.connection.register("settled", settled.to_arrow())
        commit.connection.execute("create schema label_set")
        commit.connection.execute("create table label_set.records as from settled")
    assert make(copy, formats=["classification"], **SHARES).success
    folder = next((copy.path.parent / "releases").iterdir())
    released = dict(rows_of(folder, "classification").select("record_id", "label").iter_rows())
    assert released == dict(settled.select("record_id", "label").iter_rows())
    tested = set(rows_of(folder, "classification", "test")["record_id"])
    assert set(settled.filter(half="evaluate")["record_id"]) <= tested


def test_datasets_loads_the_folder(released, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed (pip install -e .[dev])")
    _, folder = released
    for format in ("text", "alpaca", "messages", "sharegpt", "preference", "reward", "classification"):
        loaded = datasets.load_dataset(str(folder), format, cache_dir=str(tmp_path / "cache"))
        for split, part in loaded.items():
            assert part["record_id"] == rows_of(folder, format, split)["record_id"].to_list()
    assert datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"].column_names[0] == "text"


def test_croissant_is_valid_and_reads_the_rows(released):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (pip install -e .[dev])")
    _, folder = released
    found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not found.metadata.issues.errors
    assert not found.metadata.issues.warnings
    for name in ("text_test", "preference_train"):
        rows = list(found.records(record_set=name))
        format, split = name.split("_")
        expected = rows_of(folder, format, split)["record_id"].to_list()
        assert [row[f"{name}/record_id"].decode() for row in rows] == expected


def test_the_commands_release_verify_and_say_what_they_find(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == code, result.output
        return result.output

    out = tmp_path / "out"
    command = ("release", "--out", out, "--format", "messages", "--name", "small", "--database", copy.path)
    assert "Released" in invoke(*command)
    assert "nothing was written" in invoke(*command)
    release_hash = read_manifest(out)["release_hash"]
    assert release_hash in invoke("verify", out, "--hash", release_hash[:20])
    assert "another release" in invoke("verify", out, "--hash", "0" * 64, code=1)
    changed = out / "data" / "messages" / "train.jsonl"
    whole = bytearray(changed.read_bytes())
    whole[10] ^= 1
    changed.chmod(0o644)
    changed.write_bytes(whole)
    assert "data/messages/train.jsonl: changed" in invoke("verify", out, code=1)
    assert "no release" in invoke("verify", tmp_path, code=2)
    assert "formats" in invoke("release", "--format", "csv", "--database", copy.path, code=2)


def test_the_job_is_no_part_of_curate_everything():
    names = {asset.key.to_user_string() for asset in [*ASSETS, *LABEL_ASSETS]}
    assert "release" not in names
