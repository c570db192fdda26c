"""Types of tasks and profiles over a few records made by hand: the SQL and what a person is shown."""

import json

import numpy as np
import polars as pl
import pytest

from curation_assets.pages import embed
from curation_assets.readers import conversation
from curation_assets.readers.kinds import canonical_text
from curation_assets.stages.cluster_profiles import SHOWN, cluster_words, in_words, quality_chart, size_chart, title
from curation_assets.stages.clusters import choice_of_k, distances_by_k, task_types

RECORDS = [
    ("a", "instruction", {"instruction": "Define entropy.", "output": "A measure of disorder."}),
    (
        "b",
        "chat",
        {"messages": [{"role": "user", "content": "Entropy?"}, {"role": "assistant", "content": "Disorder."}]},
    ),
    ("c", "preference", {"prompt": "다음 문장을 영어로 번역해 주세요.", "chosen": "Yes", "rejected": "No"}),
    ("d", "document", {"text": "Entropy grows and entropy stays."}),
]


@pytest.fixture
def described(warehouse):
    """A warehouse with four records in two clusters, and what the stages before give of them."""
    rows = [
        {
            "record_id": record,
            "kind": kind,
            "original": json.dumps(original, ensure_ascii=False),
            "text": original["text"]
            if kind == "document"
            else canonical_text(conversation(kind, json.dumps(original))),
            "source": "test",
            "license": None,
            "label": None,
            "cluster_id": int(record == "c"),
            "distance": 0.1 * at,
            "language": "ko" if record == "c" else "en",
            "density": 1.0 + at,
            "quality": 0.2 * at,
        }
        for at, (record, kind, original) in enumerate(RECORDS)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"license": pl.String, "label": pl.String})
    with warehouse.get_connection() as connection:
        connection.register("rows", frame.to_arrow())
        for table in ("raw.records", "filtered.records", "filtered.signals", "clusters.assignments"):
            connection.execute(f"create schema if not exists {table.split('.')[0]}")
            connection.execute(f"create table {table} as select * from rows")
        connection.execute("create schema cleaned")
        connection.execute(
            "create table cleaned.records as select record_id, null::varchar as cleaned_original from rows"
        )
        for table in ("density.scores", "quality_scores.scores"):
            connection.execute(f"create schema {table.split('.')[0]}")
            connection.execute(f"create table {table} as select record_id, density, quality from rows")
    return warehouse


def profiles(warehouse):
    vectors = np.float32([[1, 0], [1, 0], [0, 1], [1, 0]])
    types = task_types(warehouse, ["a", "b", "c", "d"], vectors, seed=0)
    ids, words = cluster_words(warehouse, 8)
    named = {"cluster_id": ids, "words": words, "title": [title(of) for of in words]}
    with warehouse.transaction("clusters", "run") as commit:
        commit.build("clusters.types", types)
        commit.build("clusters.profiles", pl.DataFrame(named, schema_overrides={"words": pl.List(pl.String)}))
    return types


def test_what_asks_for_something_has_a_type(described):
    types = {row["record_id"]: row for row in profiles(described).iter_rows(named=True)}
    assert {record: row["type"] for record, row in types.items()} == {
        "a": "definition",
        "b": "definition",
        "c": "translation",
    }
    assert {record: row["how"] for record, row in types.items()} == {"a": "rule", "b": "neighbours", "c": "rule"}


def test_a_record_that_an_older_version_read_is_typed_by_its_neighbours(described):
    with described.get_connection() as connection:
        connection.execute("update raw.records set original = '{}' where record_id = 'a'")
    assert len(profiles(described)) == 3


def test_a_profile_adds_up(described):
    profiles(described)
    first, second = described.query("select * from clusters.profiles order by records desc").iter_rows(named=True)
    assert (first["records"], first["share"], second["records"]) == (3, 0.75, 1)
    assert (first["type"], first["type_share"], second["type"]) == ("definition", 1.0, "translation")
    assert first["kinds"] == [{"kind": kind, "records": 1} for kind in ("chat", "document", "instruction")]
    assert first["languages"] == [{"language": "en", "records": 3}]
    assert first["words"][0] == "entropy"
    assert first["density_deciles"] == pytest.approx([1.2, 2.0, 3.6])
    shown = described.query(SHOWN, clusters=20)
    first, second = in_words(shown).iter_rows(named=True)
    assert (first["languages"], second["languages"]) == (["en 100%"], ["ko 100%"])
    assert (first["type"], second["type"]) == ("definition 100%", "translation 100%")
    assert (first["sources"], first["licences"]) == (["test"], ["none named"])
    assert (first["quality (10, 50, 90 %)"], first["density (10, 50, 90 %)"]) == ("0.04 · 0.20 · 0.52", "1.2 · 2 · 3.6")
    assert (first["nearest example"], first["farthest example"]) == (
        "Define entropy.\nA measure of disorder.",
        "Entropy grows and entropy stays.",
    )
    embed(size_chart(shown.with_columns(title=pl.lit("costs $^$"))))  # no formula
    assert quality_chart(described)


def test_more_clusters_help_until_there_are_as_many_as_groups():
    draw = np.random.default_rng(0)
    groups = np.eye(8, dtype=np.float32)[draw.integers(0, 8, 800)]
    vectors = groups + draw.normal(scale=0.02, size=groups.shape).astype(np.float32)
    means = distances_by_k(vectors, [4, 8, 16])
    assert means[4] > 2 * means[8]
    assert means[16] > 0.8 * means[8]
    assert distances_by_k(vectors[:10], [4, 8]) == {}
    notes = {"carried_over_from_last_run": 3, "clusters": 8, "why_so_many": "given"}
    assert "8 clusters of 800 records: given. 3 kept the id they had in the last run, 5 are new." in choice_of_k(
        vectors, 8, notes
    )
