"""The stage lexical_vectors: a basis that stays while the pool grows, vectors of new texts alone, nothing kept as text."""

import json
from datetime import datetime, timezone

import numpy as np
import polars as pl
import pytest
from conftest import materialize, materialize_unchecked

from curation_assets import erasure, erasure_plan, lexical_store
from curation_assets.algorithms import lexical
from curation_assets.drift_looks import Reference, looks_at_labels
from curation_assets.warehouse import StaleError

READING = ["raw", "cleaned", "deduped", "filtered"]


def lines(folder, name, texts):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return {"raw": {"sources": [{"name": name, "path": str(path)}]}}


def texts(word, count):
    return [
        f"{word} number {n} tells what the town of {chr(65 + n % 26)}{n}ville did about its {word}"
        for n in range(count)
    ]


def projected(warehouse):
    return warehouse.value(
        "select max_by((notes ->> 'texts_projected')::int, finished_at) as n from ledger.runs where stage = 'lexical_vectors'"
    )


def test_the_basis_stays_until_the_pool_has_doubled_and_only_new_texts_cost(warehouse, tmp_path):
    materialize_unchecked(warehouse, lines(tmp_path, "one", texts("harbour", 40)), READING)
    with pytest.raises(StaleError, match="Materialize lexical_vectors first"):
        lexical_store.vectors_of(warehouse)
    assert materialize(warehouse, {}, ["lexical_vectors"]).success
    warehouse.release_run()
    first, basis = lexical_store.basis_of(warehouse)
    records = warehouse.query("select record_id, text from filtered.records order by record_id")
    assert projected(warehouse) == len(records) == 40
    before = lexical_store.vectors_of(warehouse)
    assert np.allclose(before, lexical.vectors(basis, records["text"]), atol=1e-6)

    materialize_unchecked(warehouse, lines(tmp_path, "two", texts("library", 30)), READING)
    # Before the stage runs again, what is new is projected as it is asked for.
    records = warehouse.query("select record_id, text from filtered.records order by record_id")
    both = lexical_store.vectors_of(warehouse)
    assert np.allclose(both, lexical.vectors(basis, records["text"]), atol=1e-6)
    materialize_unchecked(warehouse, {}, ["lexical_vectors"])
    assert (lexical_store.basis_name(warehouse), projected(warehouse)) == (first, 30)
    assert np.array_equal(lexical_store.vectors_of(warehouse), both)
    materialize_unchecked(warehouse, {}, ["lexical_vectors"])
    assert projected(warehouse) == 0

    materialize_unchecked(warehouse, lines(tmp_path, "three", texts("orchard", 30)), READING)
    materialize_unchecked(warehouse, {}, ["lexical_vectors"])
    assert lexical_store.basis_name(warehouse) != first
    assert projected(warehouse) == 100
    assert warehouse.query("select distinct basis from lexical_vectors.vectors").rows() == [
        (lexical_store.basis_name(warehouse),)
    ]
    assert warehouse.rows("lexical_vectors.bases") == 2


def test_other_settings_are_another_basis_and_it_comes_back_as_it_was(warehouse, tmp_path):
    materialize_unchecked(warehouse, lines(tmp_path, "one", texts("harbour", 60)), READING)
    names = []
    for config in ({}, {"dimensions": 5}, {}):
        materialize_unchecked(warehouse, {"lexical_vectors": config}, ["lexical_vectors"])
        names.append(lexical_store.basis_name(warehouse))
    assert names[0] == names[2] != names[1]
    assert (
        pl.Series(warehouse.query("select dimensions from lexical_vectors.bases order by fitted_at")["dimensions"])[1]
        == 5
    )


def test_after_an_erasure_a_basis_is_fitted_without_what_was_erased(warehouse, tmp_path):
    materialize_unchecked(warehouse, lines(tmp_path, "one", texts("harbour", 40)), [*READING, "lexical_vectors"])
    [record] = warehouse.query("select record_id from raw.records limit 1")["record_id"]
    erasure.erase(warehouse, erasure_plan.plan(warehouse, erasure_plan.Request(ids=(record,), reach="records")))
    warehouse.release_run()
    with pytest.raises(StaleError, match="Materialize lexical_vectors first"):  # the words of the pool went with it
        lexical_store.vectors_of(warehouse)
    with (
        warehouse.get_connection() as connection
    ):  # of a labelling task, whose model nothing can be read for until then
        connection.execute("create schema label_model; create table label_model.models (task varchar)")
        connection.execute("create schema expert_labels; create table expert_labels.items (task varchar)")
    assert looks_at_labels(warehouse, Reference(datetime.now(timezone.utc), "the start"), seed=0) == []
    materialize_unchecked(warehouse, {}, [*READING[1:], "lexical_vectors"])
    assert len(lexical_store.vectors_of(warehouse)) == projected(warehouse) == warehouse.rows("filtered.records") == 39
