"""What auditors wait for: wall and CPU seconds of `curate trace`, why-not, diff, audit, verify, whatif, and of erasures end to end.

    python benchmarks/audit.py                              builds a database of 100,000 records first
    python benchmarks/audit.py --records 30000
    python benchmarks/audit.py --database some.duckdb       asks a copy of that one

The texts are short and real: headlines, comments, tweets, instructions and reviews of the shared data, English and
Korean. Every stage that builds the database is the real one; only the vectors are drawn (benchmarks/vectors.py) and
put into the cache of embeddings, since none of the questions asked here depends on what they are. Each question is asked by the command
in a process of its own, as an auditor asks it: interpreter and imports count; the least and the median of --repeats are told, and
the load of the machine, for wall seconds say little on a busy one. Erasures run on copies, with the rebuilding of all that
depends on the records (`with rebuild`) and without. The questions are asked of a release, too, where the database has one.
"""

import argparse
import csv
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vectors import CACHE, SHARED, TEXTS, clustered_vectors

from curation_assets.warehouse import Warehouse

LICENSES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0")
ONE_IN = 100
"""One record of so many is erased by a file of owners' ids."""


def main() -> None:
    """Build or copy the database, ask everything once, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--database", type=Path, help="a database to ask a copy of, instead of building one")
    parser.add_argument("--repeats", type=int, default=5, help="times each question is asked")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder in which the built database is kept")
    parser.add_argument(
        "--no-rebuild", action="store_true", help="leave out the erasures with rebuild, which take longest"
    )
    options = parser.parse_args()
    database = options.database or options.cache / f"audit_{options.records}.duckdb"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DAGSTER_HOME"] = str(folder / "home")
        (folder / "home").mkdir()
        if not database.exists():
            database.parent.mkdir(parents=True, exist_ok=True)
            print(f"built in {build(database, options.records):.0f} s: {database}", flush=True)
        copy = folder / "copy.duckdb"
        shutil.copy(database, copy)
        print_questions(copy, folder, options.repeats)
        print_erasures(database, folder, rebuilds=[False] if options.no_rebuild else [False, True])


# --- what is asked --------------------------------------------------------------------------------------------------


def print_questions(database: Path, folder: Path, repeats: int) -> None:
    """One row of the table for each question."""
    warehouse = Warehouse(database=str(database))
    print_head(f"{warehouse.rows('raw.records'):,} records")
    record, owner, text = warehouse.query(
        "select record_id, source_record_id, text from raw.records where len(text) between 100 and 300 order by record_id limit 1"
    ).row(0)
    near = " ".join([*text.split()[1:], "and", "so", "on"])
    outside = warehouse.value("select min(record_id) from raw.records anti join curated_set.records using (record_id)")
    supposed = ["filtered", "--set", "rule_sets=[language, gopher_quality, gopher_repetition, fineweb]"]
    questions = [
        ("trace by id", ["trace", record], 0),
        ("trace by the owner's id", ["trace", owner], 0),
        ("trace by exact text", ["trace", "--text", text], 0),
        ("trace by nearest text", ["trace", "--text", near], 0),
        ("trace by a text that is nowhere", ["trace", "--text", "zq xq vqw qqz"], 3),
        ("why-not", ["why-not", outside], 0),
        ("whatif, four rule sets", ["whatif", *supposed], 0),
        ("audit", ["audit", "--out", str(folder)], 0),
        ("verify --ledger", ["verify", "--ledger"], 0),
    ]
    if warehouse.has_table("release.releases"):
        questions += [
            ("why-not, in a release", ["why-not", outside, "--release", "latest"], 0),
            ("diff of a release and the set", ["diff", "latest", "--csv"], 0),
            ("audit of a release", ["audit", "latest", "--out", str(folder)], 0),
        ]
    for what, arguments, code in questions:
        print_row(what, arguments, database, code=code, repeats=repeats)


def print_erasures(database: Path, folder: Path, rebuilds: list[bool]) -> None:
    """One row for each erasure, on a copy of its own."""
    ids = folder / "ids.txt"
    owners = Warehouse(database=str(database)).query(
        "select source_record_id from (select source_record_id, row_number() over (order by record_id) as n from raw.records) "
        "where n % $one_in = 1",
        one_in=ONE_IN,
    )["source_record_id"]
    ids.write_text("".join(f"{owner}\n" for owner in owners), encoding="utf-8")
    for rebuild in rebuilds:
        for name, chosen in (
            ("1 record", ["--record", owners[0]]),
            (f"{len(owners):,} records", ["--owner-id-file", str(ids)]),
        ):
            copy = folder / "erased.duckdb"
            for left in folder.glob("erased.duckdb*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            shutil.copy(database, copy)
            ending, option = ("with rebuild", "--rebuild") if rebuild else ("without rebuild", "--no-rebuild")
            print_row(f"erase {name}, {ending}", ["erase", *chosen, "--yes", option], copy)
    print_row("verify --ledger after it", ["verify", "--ledger"], folder / "erased.duckdb")


def print_head(what: str) -> None:
    """The head of the table."""
    print(f"| {what} | wall s | CPU s | peak MB | load |\n|---|---|---|---|---|", flush=True)


def print_row(what: str, arguments: list[str], database: Path, *, code: int = 0, repeats: int = 1) -> None:
    """Run a command in processes of their own; print the least and the median of what they took."""
    command = [sys.executable, "-m", "curation_assets.cli", *arguments, "--database", str(database)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    walls, cpus = [], []
    for _ in range(repeats):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode != code:
            raise SystemExit(f"{what}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    wall, cpu = (
        f"{min(taken):.2f}" if repeats == 1 else f"{min(taken):.2f} ({statistics.median(taken):.2f})"
        for taken in (walls, cpus)
    )
    peak = f"≤ {after.ru_maxrss // 1024:,}"  # of the largest process so far
    print(f"| {what} | {wall} | {cpu} | {peak} | {os.getloadavg()[0]:.0f} |", flush=True)


# --- the database ---------------------------------------------------------------------------------------------------


def build(database: Path, records: int) -> float:
    """Run the graph over the shared texts, up to a curated set and a release; the seconds it took."""
    started = time.perf_counter()
    if not SHARED.is_dir():
        raise SystemExit(f"The shared data are not in {SHARED}; give a --database.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh = folder / "audit.duckdb"
        sources = [
            {"name": source, "path": str(path), "license": LICENSES[number % len(LICENSES)]}
            for number, (source, path) in enumerate(write_sources(folder, records))
        ]
        run(fresh, folder, {"raw": {"sources": sources}, "filtered": {"rule_sets": []}}, "raw,cleaned,deduped,filtered")
        fill_cache(Warehouse(database=str(fresh)))
        measures = {
            "embeddings": {"precision": "fp32"},
            "clusters": {"clusters": 100},
            "curated_set": {"budget_records": records // 10},
        }
        run(fresh, folder, measures, "embeddings,clusters,density,quality_scores,curated_set")
        run(fresh, folder, {}, "release")
        shutil.move(fresh, database)
    return time.perf_counter() - started


def run(database: Path, folder: Path, ops: dict[str, dict], select: str) -> None:
    """`curate run` with a recipe of these settings."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"ops": {name: {"config": config} for name, config in ops.items()}}), encoding="utf-8")
    command = [sys.executable, "-m", "curation_assets.cli", "run", "--recipe", str(recipe), "--select", select]
    subprocess.run([*command, "--database", str(database)], check=True, stdout=subprocess.DEVNULL)


def write_sources(folder: Path, records: int) -> Iterator[tuple[str, Path]]:
    """The shared texts as JSONL, a file a source, with owners' ids; `records` in all where there are as many."""
    left = records
    for name, texts in shared_texts():
        path = folder / f"{name}.jsonl"
        rows = [{"id": f"{name}-{n}", "text": text} for n, text in enumerate(texts[:left])]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        left -= len(rows)
        if rows:
            yield name, path


def shared_texts() -> Iterator[tuple[str, list[str]]]:
    """Short texts of the shared data, by source."""
    yield "instructions", TEXTS["alpaca"]()
    yield "headlines", TEXTS["clickbait"]()
    with (SHARED / "hate_speech_en/labeled_data.csv").open(encoding="utf-8", newline="") as file:
        yield "tweets", [row["tweet"] for row in csv.DictReader(file)]
    with gzip.open(SHARED / "korean_hate/unlabeled_comments_5.txt.gz", "rt", encoding="utf-8") as file:
        yield "comments", [line.strip() for line in file if line.strip()]
    with gzip.open(SHARED / "drift/nsmc_reviews_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        yield "reviews", [text for line in file if (text := (json.loads(line)["review"] or "").strip())]


def fill_cache(warehouse: Warehouse) -> None:
    """Give every text a drawn vector, under the default model's name."""
    import polars as pl

    from curation_assets.models.embedders import DEFAULT_MODEL, SentenceTransformerEmbedder
    from curation_assets.stages.embeddings import identity

    embedder = SentenceTransformerEmbedder(DEFAULT_MODEL)
    embedder.precision = "fp32"
    hashes = warehouse.query("select distinct text_hash from filtered.records order by text_hash")
    vectors = clustered_vectors(len(hashes), embedder.dimensions)
    named = {name: pl.lit(value) for name, value in identity(embedder).items()}
    rows = hashes.with_columns(embedding=pl.Series(vectors).cast(pl.List(pl.Float32)), **named)
    warehouse.append("embeddings.cache", rows)
    read = hashes.with_columns(**named, tokens=pl.lit(30), tokens_read=pl.lit(30), chunks=pl.lit(1))
    warehouse.append("embeddings.readings", read)


if __name__ == "__main__":
    main()
