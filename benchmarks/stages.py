"""What each stage costs: the corpus of dedup.py from a Parquet file to filtered records, each stage a `curate run --select` of its own.

    python benchmarks/stages.py [--documents 100000] [--only raw,cleaned,deduped] [--folder FOLDER] [--keep DATABASE]

Every stage is a process of its own, with its checks, its page and the default settings. Stage s: from its beginning to its
commit, as the ledger has it; rows and megabytes a second are those of what it was given over that. Command s and CPU s: the
whole command from the first line after its imports, checks and page included; peak: of the process, imports included.
The stages that compare vectors have benchmarks of their own: embeddings.py, kmeans.py, density.py, samplers.py.
With --documents 1000000: 1.7 GB of text, 12 GB of disk.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dedup import built
from vectors import CACHE, SHARED

GIVEN = {"raw": "raw.records", "cleaned": "raw.records", "deduped": "cleaned.records"}
GIVEN |= dict.fromkeys(("contamination", "filtered"), "deduped.records")
"""The stages, and the table of the records each of them is given."""

SIZE = "select count(*) as rows, sum(strlen(text)) / 1e6 as megabytes from query_table($name)"


def main() -> None:
    """Build the corpus if it is not there yet, run the stages over it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--only", help="stages, separated by commas; those before them must have run on the database")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the corpus is kept, and the database made")
    parser.add_argument("--keep", type=Path, help="the database to work on, which stays (default: a new one, removed)")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--recipe", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(run(options.stage, options.recipe, options.keep)))
        return
    corpus = built(options.folder, options.documents)
    stages = options.only.split(",") if options.only else list(GIVEN)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        database = options.keep or Path(folder) / "stages.duckdb"
        recipe = Path(folder) / "stages.yaml"
        source = {"name": "corpus", "path": str(corpus)}
        settings = {"raw": {"sources": [source]}}
        settings["contamination"] = {"benchmarks": benchmarks()}
        recipe.write_text(json.dumps({"ops": {name: {"config": one} for name, one in settings.items()}}))
        os.environ["DAGSTER_HOME"] = str(Path(folder) / "home")
        print(
            "| stage | records in | out | stage s | rows/s | MB/s | command s | CPU s | peak MB |\n" + "|---" * 9 + "|"
        )
        for stage in stages:
            print(row(stage, in_a_process(stage, recipe, database), database), flush=True)


def in_a_process(stage: str, recipe: Path, database: Path) -> dict[str, float]:
    """What `run` tells of a stage, in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--recipe", str(recipe), "--keep", str(database)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{stage} failed")
    return json.loads(done.stdout.splitlines()[-1])


def run(stage: str, recipe: Path, database: Path) -> dict[str, float]:
    """Build one asset with its checks: seconds, CPU seconds and peak bytes."""
    from curation_assets import definitions  # noqa: F401  # what is imported is not counted
    from curation_assets.cli import execute, read_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", stream=sys.stderr)
    before, started = _cpu_seconds(), time.monotonic()
    config = read_recipe(recipe)
    config["ops"] = {name: one for name, one in config["ops"].items() if name == stage}
    execute(config, database, stage)
    told = {"seconds": time.monotonic() - started, "cpu_seconds": _cpu_seconds() - before}
    return told | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def row(stage: str, told: dict[str, float], database: Path) -> str:
    """A stage's row of the table."""
    from curation_assets.warehouse import Warehouse

    warehouse = Warehouse(database=str(database))
    ran = warehouse.query(
        "select epoch(finished_at) - epoch(started_at) as seconds, rows_out from ledger.runs where stage = $stage "
        "order by finished_at desc limit 1",
        stage=stage,
    ).row(0, named=True)
    size = warehouse.query(SIZE, name=GIVEN[stage]).row(0, named=True)
    cells = [stage, f"{size['rows']:,}", f"{ran['rows_out']:,}", f"{ran['seconds']:.1f}"]
    cells += [f"{size['rows'] / ran['seconds']:,.0f}", f"{size['megabytes'] / ran['seconds']:,.1f}"]
    cells += [f"{told['seconds']:.1f}", f"{told['cpu_seconds']:.1f}", f"{told['peak_bytes'] / 1e6:,.0f}"]
    return f"| {' | '.join(cells)} |"


def benchmarks() -> list[dict[str, Any]]:
    """What the stage `contamination` looks for: the test questions of GSM8K, where the shared data are."""
    path = SHARED / "benchmarks" / "gsm8k_test.jsonl"
    return [{"name": "gsm8k", "path": str(path), "fields": ["question"]}] if path.exists() else []


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
