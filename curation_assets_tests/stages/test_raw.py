"""Batches: what the same file, a grown file and an edited file bring, and that nothing read is ever lost."""

import json
from datetime import datetime, timezone

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.readers import SourceError
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.raw import RawConfig, SourceConfig, files_of, known_sources, raw, what_is_unchanged
from curation_assets.warehouse import Warehouse


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def ingest(warehouse, path, **options):
    source = {"name": "notes", "path": str(path), **options}
    run_config = {
        "ops": {"raw": {"config": {"sources": [source]}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    assert dg.materialize([raw, cleaned], resources={"warehouse": warehouse}, run_config=run_config).success
    return warehouse.query("select * exclude (source_config) from raw.batches order by ingested_at desc").row(
        0, named=True
    )


def texts(warehouse, table):
    return sorted(warehouse.query(f"select text from {table}")["text"])


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.jsonl"
    write(path, [{"id": i, "text": f"note number {i}"} for i in range(5)])
    return path


def test_the_same_file_twice_adds_nothing(warehouse, notes):
    ingest(warehouse, notes)
    first = warehouse.query("select * from raw.records order by record_id")
    ingest(warehouse, notes)
    assert warehouse.rows("raw.batches") == 1
    assert warehouse.query("select * from raw.records order by record_id").equals(first)


def test_a_grown_file_adds_its_new_rows_and_says_that_it_changed(warehouse, notes):
    ingest(warehouse, notes)
    with notes.open("a", encoding="utf-8") as file:
        file.write('{"id": 5, "text": "a new one"}\nnot json\n')
    batch = ingest(warehouse, notes)
    assert (batch["rows_read"], batch["rows_added"], batch["rows_known"], batch["rows_rejected"]) == (7, 1, 5, 1)
    assert any("has changed" in note and "1 rows are new" in note for note in batch["notes"])
    assert len(texts(warehouse, "cleaned.records")) == 6


def test_the_same_bytes_under_another_licence_are_not_called_a_changed_file(warehouse, notes):
    ingest(warehouse, notes, license="MIT")
    batch = ingest(warehouse, notes, license="CC0-1.0")
    (note,) = [note for note in batch["notes"] if "read anew" in note]
    assert note.endswith(
        "itself unchanged, is read anew with another license: 5 rows are new, 0 were known, 5 of those read before are outdated."
    )


def test_the_unchanged_files_of_a_folder_are_one_sentence():
    at = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
    unchanged = [{"batch_id": None, "source": "pages", "source_uri": f"{n}.html", "ingested_at": at} for n in range(3)]
    one = {"batch_id": None, "source": "notes", "source_uri": "notes.txt", "ingested_at": at}
    assert what_is_unchanged([*unchanged, {"batch_id": "b", "source": "new"}, one]) == [
        "pages: 3 files are unchanged since 2026-01-02 03:04 or before; they add nothing.",
        "notes.txt is unchanged since 2026-01-02 03:04; it adds nothing.",
    ]


def test_an_edited_row_supersedes_the_old_one_and_the_ledger_says_so(warehouse, notes):
    ingest(warehouse, notes)
    rows = [json.loads(line) for line in notes.read_text().splitlines()]
    rows[2]["text"] = "edited"
    write(notes, rows[:4])
    ingest(warehouse, notes)
    assert texts(warehouse, "cleaned.records") == ["edited", "note number 0", "note number 1", "note number 3"]
    assert len(texts(warehouse, "raw.records")) == 6
    dropped = warehouse.query(
        "select r.text, d.rule from ledger.current_decisions as d join raw.records as r using (record_id) where verdict = 'drop'"
    )
    assert sorted(dropped.rows()) == [("note number 2", "superseded"), ("note number 4", "superseded")]


def test_another_text_field_is_another_reading_of_the_same_file(warehouse, tmp_path):
    path = tmp_path / "notes.jsonl"
    write(path, [{"id": 1, "text": "short", "body": "the body"}])
    ingest(warehouse, path)
    ingest(warehouse, path, text_field="body")
    assert texts(warehouse, "cleaned.records") == ["the body"]


def test_a_licence_stated_later_reaches_the_records(warehouse, notes):
    ingest(warehouse, notes)
    ingest(warehouse, notes, license="MIT")
    assert warehouse.query("select distinct license from cleaned.records")["license"].to_list() == ["MIT"]
    assert warehouse.rows("cleaned.records") == 5


def test_reading_on_without_sources_takes_the_settings_of_the_last_time(warehouse, tmp_path):
    path = tmp_path / "notes.jsonl"
    write(path, [{"id": 1, "a": "alpha", "b": "beta"}])
    ingest(warehouse, path, text_field="b")
    ingest(warehouse, path, text_field="a")
    assert [source.text_field for source in known_sources(warehouse)] == ["a"]
    path.unlink()
    assert list(files_of(known_sources(warehouse), may_be_gone=True)) == []


def test_a_file_of_the_same_name_elsewhere_is_refused_not_taken_for_a_new_version(warehouse, notes, tmp_path):
    ingest(warehouse, notes)
    other = tmp_path / "elsewhere" / notes.name
    other.parent.mkdir()
    write(other, [{"id": 1, "text": "another file"}])
    with pytest.raises(SourceError, match="another name"):
        ingest(warehouse, other)
    notes.unlink()
    batch = ingest(warehouse, other)  # now it can only be the same file, moved
    assert batch["rows_added"] == 1


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(ValueError, match="given more than once"):
        RawConfig(sources=[SourceConfig(name="x", path="a.jsonl"), SourceConfig(name="x", path="b.jsonl")])


def test_ids_are_the_same_on_another_machine_and_in_another_order(tmp_path):
    ids = []
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        for name in ("b.jsonl", "a.jsonl") if place == "here" else ("a.jsonl", "b.jsonl"):
            write(folder / name, [{"text": f"{name} {i}"} for i in range(3)] + [{"text": "twice"}] * 2)
        warehouse = Warehouse(database=str(folder / "c.duckdb"))
        ingest(warehouse, folder / "*.jsonl")
        warehouse.release_run()
        ids.append(warehouse.query("select record_id, source_record_id from raw.records order by record_id"))
    assert ids[0].equals(ids[1])
    assert ids[0]["record_id"].n_unique() == 10


def test_the_original_is_kept_verbatim(warehouse, tmp_path):
    lines = [
        '{"id":  "a\\u00e9", "text": "  spaced "}',
        '{"text":"caf\\u00e9 \\u200b zero width","extra":{"deep":[1,2]}}',
    ]
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    ingest(warehouse, path)
    assert warehouse.query("select original from raw.records order by source_row")["original"].to_list() == lines


@settings(max_examples=4, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=2, max_size=3))
def test_every_row_is_added_known_or_rejected_over_any_history_of_a_file(tmp_path_factory, versions):
    folder = tmp_path_factory.mktemp("history")
    warehouse = Warehouse(database=str(folder / "c.duckdb"))
    for version in versions:
        write(folder / "f.jsonl", [{"text": text} for text in version])
        ingest(warehouse, folder / "f.jsonl")
        assert texts(warehouse, "cleaned.records") == sorted(version)
    warehouse.release_run()
    totals = warehouse.query(
        "select sum(rows_added) as added, sum(rows_read - rows_added - rows_known - rows_rejected) as lost from raw.batches"
    )
    assert totals.row(0) == (warehouse.rows("raw.records"), 0)


def test_the_log_quotes_no_address_of_a_first_line_that_is_no_header(warehouse, tmp_path, caplog):
    (tmp_path / "people.csv").write_text("1,jane@example.org wrote a line.\n2,Nobody wrote another.\n")
    with caplog.at_level("INFO", logger="curation_assets"):
        batch = ingest(warehouse, tmp_path / "people.csv", text_field="jane@example.org wrote a line.")
    assert "jane@example.org wrote" in batch["notes"][0]  # in the table it stays
    assert "reads like data ('1', '[EMAIL] wrote a line.')" in caplog.text
    assert "jane@" not in caplog.text
