"""Deduplication batch by batch: what all records cost, what one more in a hundred costs, and that both end the same.

    python benchmarks/dedup_batches.py CORPUS.parquet    # as dedup.py makes it

CPU seconds of finding the duplicates, and of writing the stage's tables, in a database of its own. The tables are then
held against those of a database that was given everything at once.
"""

import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import pyarrow.parquet as pq
from vectors import cpu_timed

from curation_assets.duplicate_search import Comparison, compare
from curation_assets.stages.deduped import DedupedConfig
from curation_assets.warehouse import Warehouse

TABLES = ("repeated_passages", "shared_paragraphs", "instruction_conflicts", "shortened")


def main() -> None:
    """Print a line a run, and whether the tables are the same."""
    corpus = Path(sys.argv[1])
    rows = pq.read_metadata(corpus).num_rows
    hashes = []
    with tempfile.TemporaryDirectory() as folder:
        for name, readings in (("batches", (rows * 100 // 101, rows, rows)), ("at once", (rows,))):
            warehouse = Warehouse(database=f"{folder}/{name[:2]}.duckdb")
            for held in readings:
                hold(warehouse, corpus, held)
                found, finding = cpu_timed(lambda warehouse=warehouse: compare(warehouse, DedupedConfig().settings()))
                _, writing = cpu_timed(lambda warehouse=warehouse, found=found: write(warehouse, found))
                told = ", ".join(
                    f"{found.notes[key]:,} {key.replace('_', ' ')}"
                    for key in ("texts_sketched", "records_compared_again", "texts_read_to_verify")
                )
                print(
                    f"{name}: {held:,} records: {finding:.1f} CPU-s to find, {writing:.1f} to write; {told}", flush=True
                )
            names = ["deduped.compared", "deduped.pairs", *(f"deduped.{table}" for table in TABLES)]
            hashes.append(warehouse.content_hashes(names))
    print("the tables are the same" if hashes[0] == hashes[1] else f"the tables differ: {hashes}")


def hold(warehouse: Warehouse, corpus: Path, rows: int) -> None:
    """Make cleaned.records of a corpus' rows, one in a hundred and one of which comes with the last batch."""
    with warehouse.get_connection() as connection:
        connection.execute("create schema if not exists cleaned; create schema if not exists raw")
        connection.read_parquet(str(corpus), file_row_number=True).create_view("corpus")
        connection.execute(
            "create or replace table cleaned.records as select 'r' || file_row_number as record_id, 'corpus' as source, "
            "'o' || file_row_number as source_record_id, 'file' as source_uri, file_row_number as source_row, 'document' as kind, "
            "null::varchar as record_time, text, left(sha256(text), 32) as text_hash from corpus "
            "where $everything or file_row_number % 101 > 0",
            {"everything": rows == pq.read_metadata(corpus).num_rows},
        )
        connection.execute(
            "create or replace table raw.records as select record_id, source, source_record_id, true as has_owner_id, text, kind, "
            "'{}' as original from cleaned.records"
        )


def write(warehouse: Warehouse, found: Comparison) -> None:
    """Write the stage's tables and its run row."""
    config = DedupedConfig().model_dump(mode="json")
    with warehouse.transaction("deduped", "run") as commit:
        commit.build("deduped.compared", found.records)
        commit.build("deduped.pairs", found.pairs)
        commit.build("deduped.repeated_passages", passages=True)
        commit.build(
            "deduped.shared_paragraphs",
            **{name: config[name] for name in ("passages", "shared_paragraph_records", "survivor")},
        )
        commit.build(
            "deduped.instruction_conflicts",
            **{name: config[name] for name in ("instruction_conflicts", "min_answer_words")},
        )
        commit.build(
            "deduped.shortened",
            **{name: config[name] for name in ("remove_repeated_passages", "remove_shared_paragraphs")},
        )
        commit.notes = found.notes
        account = {"run_id": "run", "stage": "deduped", "code_version": "2", "config": "{}", "config_hash": ""}
        commit.write_run_row(account, "deduped.compared", datetime.now(timezone.utc), None)


if __name__ == "__main__":
    main()
