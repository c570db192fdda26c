"""What a new batch costs: everything read at first against a hundredth more of it, asset by asset, raw to drift_report.

    python benchmarks/incremental.py TEXTS.jsonl[.gz] [--records 9225] [--share 0.01] [--folder FOLDER]

TEXTS: JSONL, or a JSON array. The first run reads all but a share of the records with every cache empty, so it embeds them; the
second finds one more file in the folder. Seconds are those of the ledger (a stage from its beginning to its commit); beside them
stand the whole command's (start, checks and pages included), its CPU-seconds, and of the embeddings how many texts were computed.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from curation_assets.automation import INCOMING
from curation_assets.warehouse import Warehouse

STAGES = (
    "select stage, epoch(finished_at) - epoch(started_at) as seconds, rows_out, notes::varchar as notes from ledger.runs "
    "where finished_at > coalesce(make_timestamptz($after::bigint), '-infinity')"
)


def main() -> None:
    """Measure both runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--records", type=int, default=None, help="take the first so many (default: all)")
    parser.add_argument("--share", type=float, default=0.01, help="share that comes later")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), records_of(options.texts)[: options.records], options.share)


def records_of(path: Path) -> list[dict]:
    """The records of a file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]


def measure(folder: Path, records: list[dict], share: float) -> None:
    """Run twice and print seconds by asset."""
    later = max(1, round(share * len(records)))
    parts = {"first": records[:-later], "later": records[-later:]}
    (folder / "in").mkdir()
    (folder / "home").mkdir()
    warehouse, told = Warehouse(database=str(folder / "set.duckdb")), []
    for name, part in parts.items():
        lines = "".join(json.dumps(record) + "\n" for record in part)
        (folder / "in" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        after, started, used = int(time.time() * 1e6) if told else 0, time.monotonic(), cpu_seconds()
        source = ["--source", str(folder / "in")] if not told else []
        command = [sys.executable, "-m", "curation_assets.cli", "run", *source, "--select", ",".join(INCOMING)]
        command += ["--database", str(warehouse.path)]
        ran = subprocess.run(
            command,
            env=os.environ | {"DAGSTER_HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            sys.exit(ran.stdout + ran.stderr)
        stages = warehouse.query(STAGES, after=after)
        stages = stages.with_columns(stage=pl.col("stage").cast(pl.Enum(INCOMING))).sort("stage")
        print_run(name, len(part), stages, time.monotonic() - started, cpu_seconds() - used)
        told.append(stages)
    print("| asset | first run, s | one batch more, s | ratio |\n|---|---|---|---|")
    both = told[0].join(told[1], on="stage", suffix="_later").sort("stage")
    rows = both.select("stage", "seconds", "seconds_later").rows()
    rows.append(("in all", both["seconds"].sum(), both["seconds_later"].sum()))
    for stage, first, again in rows:
        print(f"| {stage} | {first:.1f} | {again:.1f} | {again / first:.2f} |")


def cpu_seconds() -> float:
    """CPU-seconds of the processes that were run so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def print_run(name: str, records: int, stages: pl.DataFrame, seconds: float, cpu: float) -> None:
    """What a run did, in a line or two."""
    notes = json.loads(stages.filter(stage="embeddings")["notes"].item())
    counted = {key: value for key, value in notes.items() if isinstance(value, int)}
    in_stages = stages["seconds"].sum()
    took = f"{in_stages:.1f} s in stages, {seconds:.1f} s and {cpu:.1f} CPU-s in all"
    print(f"{name}: {records:,} records, {took}; embeddings: {counted}", flush=True)


if __name__ == "__main__":
    main()
