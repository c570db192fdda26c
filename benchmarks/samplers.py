"""Sampler × {mean quality, coverage, entropy, CPU-seconds} on your corpora, on a planted imbalance, and at scale.

    python benchmarks/samplers.py                                     the text of this Python environment
    python benchmarks/samplers.py --corpus alpaca=alpaca.jsonl --corpus reviews=reviews.parquet
    python benchmarks/samplers.py --planted maths.jsonl tools.jsonl reviews.jsonl rare.jsonl
    python benchmarks/samplers.py --scale 100000                      times on made-up vectors

A corpus is any file `curate run --source` reads. Each gets a database of its own in --folder, so that a second run
embeds nothing; quality, density and clusters are those of the graph. Every sampler takes --share of the records; those
that draw by chance are averaged over --seeds. Columns:

    quality     mean quality of the selection
    clusters    share of the clusters reached
    space       share of a reference sample with a selected record within its own 5th-neighbour radius
    entropy     evenness of the selection over the clusters, 1 = the same number from each
    product     quality × entropy
    topics      (planted) entropy of the topics' shares, 1 = uniform; and its product with quality
    CPU s       user and system time of the selection alone, measures given
"""

import argparse
import json
import random
import resource
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from curation_assets.algorithms import coverage, outliers, selection
from curation_assets.algorithms.coverage import occupancy_entropy_ratio
from curation_assets.algorithms.holding import Candidates
from curation_assets.algorithms.selection import BY_CHANCE, Plan, Strategy
from curation_assets.algorithms.semantic_duplicates import semantic_duplicates
from curation_assets.stages.curated_set import CANDIDATES, select
from curation_assets.stages.curated_set_config import CuratedSetConfig
from curation_assets.warehouse import Warehouse

MIX = (0.60, 0.30, 0.08, 0.02)
MEASURES = ["raw", "cleaned", "deduped", "filtered", "embeddings", "clusters", "density", "quality_scores"]


def main() -> None:
    """Run what the command line asks for and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=PATH", help="a corpus; may be repeated")
    parser.add_argument("--planted", nargs=4, metavar="PATH", help="four topics, mixed 60/30/8/2 in this order")
    parser.add_argument("--records", type=int, default=10_000, help="records of the planted mix")
    parser.add_argument("--bandwidth", type=float, default=0.35, help="planted: h of exp(-distance² / 2h²)")
    parser.add_argument("--scale", type=int, metavar="N", help="time everything on N made-up vectors of 384 dimensions")
    parser.add_argument("--share", type=float, default=0.1, help="share of the records each sampler takes")
    parser.add_argument("--seeds", type=int, default=3, help="seeds the samplers by chance are averaged over")
    parser.add_argument("--folder", type=Path, help="where the databases are kept (default: a temporary folder)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="samplers_"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.scale:
        print_scale(options.scale)
        return
    if options.planted:
        print_planted(options, folder)
    corpora = [one.split("=", 1) for one in options.corpus]
    if not corpora and not options.planted:
        corpora = [["python_environment", "python_environment"]]
    for name, path in corpora:
        candidates, vectors = measured(folder / f"{name}.duckdb", name, path, {})
        table = compare_samplers(candidates, vectors, options.share, options.seeds)
        print_table(f"{name}: {len(candidates):,} records, {options.share:.0%} taken", table)


def measured(database: Path, name: str, path: str, config: dict) -> tuple[pl.DataFrame, np.ndarray]:
    """Run the graph up to the measures on a corpus and return its candidates and their vectors."""
    from curation_assets.definitions import defs

    warehouse = Warehouse(database=str(database.resolve()))
    source = {"name": name, "path": path if path == "python_environment" else str(Path(path).resolve())}
    if path == "python_environment":
        source["max_records"] = 3_000
    ops = {"raw": {"config": {"sources": [source | config.pop("source", {})]}}}
    result = defs.resolve_job_def("curate_everything").execute_in_process(
        run_config={
            "ops": ops | {op: {"config": settings} for op, settings in config.items()},
            "resources": {"warehouse": {"config": {"database": warehouse.database}}},
            "loggers": {"console": {"config": {"log_level": "ERROR"}}},
        },
        asset_selection=[dg.AssetKey(asset) for asset in MEASURES],
    )
    warehouse.release_run()
    if not result.success:
        raise SystemExit(f"{name}: the graph failed; `curate run --source {path}` says why.")
    return warehouse.query(CANDIDATES), warehouse.vectors()[1]


def compare_samplers(
    candidates: pl.DataFrame, vectors: np.ndarray, share: float, seeds: int, *, planted: bool = False
) -> pl.DataFrame:
    """One row per sampler: its measures, averaged over seeds where it draws by chance."""
    rows = []
    samplers = {strategy.value: {"strategy": strategy} for strategy in Strategy}
    samplers["quality_coverage, sharpness 2"] = {"sharpness": 2.0}
    samplers["quality_coverage, best product"] = {"balance": "best_product"}
    samplers["facility_location, a = .7"] = {"strategy": Strategy.facility_location, "quality_weight": 0.7}
    samplers["quality, equal quotas by cluster"] = {
        "strategy": Strategy.quality,
        "quotas": {"by": "cluster", "equal": True},
    }
    for name, settings in samplers.items():
        runs = range(seeds if settings.get("strategy", Strategy.quality_coverage) in BY_CHANCE else 1)
        before = cpu_seconds()
        chosen = [
            select(candidates, vectors, CuratedSetConfig(budget_share=share, seed=seed, **settings)) for seed in runs
        ]
        spent = (cpu_seconds() - before) / len(runs)
        masks = {str(seed): one.scores["is_selected"].to_numpy() for seed, one in zip(runs, chosen, strict=True)}
        columns = [candidates[name].to_numpy() for name in ("quality", "density", "cluster_id", "tokens")]
        found = coverage.compare(masks, *columns, vectors=vectors)
        row = {
            "sampler": name,
            "quality": found["mean_quality"].mean(),
            "clusters": found["clusters_reached_ratio"].mean(),
            "space": found["space_reached_ratio"].mean(),
            "entropy": found["occupancy_entropy_ratio"].mean(),
            "product": (found["mean_quality"] * found["occupancy_entropy_ratio"]).mean(),
        }
        if planted:
            topics = candidates["label"].rank("dense").to_numpy()
            row["topics"] = float(np.mean([occupancy_entropy_ratio(topics, mask) for mask in masks.values()]))
            row["quality × topics"] = row["quality"] * row["topics"]
        rows.append(row | {"CPU s": spent})
    return pl.DataFrame(rows)


def print_planted(options: argparse.Namespace, folder: Path) -> None:
    """Mix four topics 60/30/8/2, draw, and say how even the topics come out."""
    mixed = folder / "planted.jsonl"
    topics = [Path(path).stem for path in options.planted]
    with mixed.open("w", encoding="utf-8") as file:
        for topic, path, part in zip(topics, options.planted, MIX, strict=True):
            for text in texts_of(Path(path), round(part * options.records)):
                file.write(json.dumps({"text": text, "topic": topic}, ensure_ascii=False) + "\n")
    # Nothing is filtered, and only copies are dropped: the mix is to stay what was planted.
    config = {
        "source": {"label_field": "topic", "text_field": "text"},
        "deduped": {"min_jaccard": 0.99},
        "filtered": {"rule_sets": []},
    }
    candidates, vectors = measured(folder / "planted.duckdb", "planted", str(mixed), config)
    mix = {topic: f"{(candidates['label'] == topic).mean():.1%}" for topic in topics}
    told = f"planted {mix}, {len(candidates):,} records, exact Gaussian kernel sum, bandwidth {options.bandwidth:g}"
    for above_unrelated in (False, True):
        density = gaussian_density(vectors, options.bandwidth, above_unrelated=above_unrelated)
        table = compare_samplers(
            candidates.with_columns(density=pl.Series(density)), vectors, options.share, options.seeds, planted=True
        )
        print_table(told + (", less what unrelated texts (cosine 0) add" if above_unrelated else ""), table)


def texts_of(path: Path, count: int) -> list[str]:
    """The first texts of a file, after a seeded shuffle; one record a line with the field text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    random.Random(0).shuffle(lines)
    if len(lines) < count:
        raise SystemExit(f"{path}: {count:,} records are needed, it has {len(lines):,}.")
    return [json.loads(line)["text"] for line in lines[:count]]


def gaussian_density(vectors: np.ndarray, bandwidth: float, *, above_unrelated: bool) -> np.ndarray:
    """Σ exp(-|x - y|² / 2h²) over all vectors, itself included, float64[n]: exact, by blocks.

    ``above_unrelated``: less the kernel at cosine 0, where it is that of texts that have nothing in common; there are n
    of them, and a kernel wide enough to hold a topic together counts them in. At least 1.
    """
    total = np.empty(len(vectors))
    unrelated = np.exp(-1 / bandwidth**2) if above_unrelated else 0.0
    for start in range(0, len(vectors), 1_000):
        squared = np.maximum(2 - 2 * (vectors[start : start + 1_000] @ vectors.T), 0)
        kernel = np.exp(-squared / (2 * bandwidth**2))
        total[start : start + 1_000] = np.maximum(kernel - unrelated, 0).sum(axis=1)
    return np.maximum(total, 1.0)


def print_scale(n: int) -> None:
    """CPU-seconds of each step on n clustered unit vectors of 384 dimensions, 10 % taken."""
    pool = made_up(n)
    rows = []
    for name, step in steps_of(pool, n // 10).items():
        before = cpu_seconds()
        step()
        rows.append({"step": name, "CPU s": cpu_seconds() - before})
        print(f"{name}: {rows[-1]['CPU s']:.2f}", file=sys.stderr)
    sizes = np.bincount(pool.clusters)
    print_table(f"{n:,} vectors of 384 dimensions, {len(sizes)} clusters of up to {sizes.max():,}", pl.DataFrame(rows))


def made_up(n: int) -> Candidates:
    """Clustered unit vectors of 384 dimensions with measures drawn at random."""
    rng = np.random.default_rng(0)
    k = max(1, int((n / 2) ** 0.5))
    centres = rng.normal(size=(k, 384)).astype(np.float32)
    labels = np.sort(rng.choice(k, n, p=rng.dirichlet(np.full(k, 2.0))))
    vectors = centres[labels] + 1.2 * rng.standard_normal((n, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Candidates(
        quality=rng.random(n),
        density=1 + rng.gamma(2, 20, n),
        tokens=rng.integers(20, 2_000, n),
        chars=rng.integers(80, 8_000, n),
        hashes=rng.integers(0, 1 << 63, n).astype(np.uint64),
        clusters=labels,
        distances=rng.random(n),
        vectors=vectors,
    )


def steps_of(pool: Candidates, taken: int) -> dict[str, Callable[[], object]]:
    """What is timed: every strategy, two budgets that are harder, and what comes before the draw."""
    plans = {f"{strategy.value}, {taken:,} records": Plan(strategy, budget_records=taken) for strategy in Strategy}
    by_tokens = Plan(Strategy.quality_coverage, budget_tokens=int(pool.tokens.sum() // 10))
    quotas = {"groups": pool.clusters % 20, "shares": np.full(20, 0.05)}
    plans["quality_coverage, 10 % of the tokens"] = by_tokens
    plans["quality_coverage, 20 equal quotas"] = Plan(Strategy.quality_coverage, budget_records=taken, **quotas)
    draws = {name: partial(selection.draw, pool, plan) for name, plan in plans.items()}
    return draws | {
        "semantic duplicates above .95": partial(
            semantic_duplicates, pool.vectors, pool.clusters, pool.distances, 0.95
        ),
        "outliers: cluster_spread": partial(outliers.cluster_spread_score, pool.distances, pool.clusters),
        "outliers: neighbour_distance": partial(outliers.neighbour_distance, pool.vectors),
        "outliers: lof": partial(outliers.local_outlier_factor, pool.vectors),
        "outliers: isolation_forest": partial(outliers.isolation_score, pool.vectors),
    }


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def print_table(title: str, table: pl.DataFrame) -> None:
    """Print a frame as a Markdown table."""
    print(f"\n{title}\n")
    print(f"| {' | '.join(table.columns)} |\n|{'---|' * table.width}")
    for row in table.iter_rows():
        print(f"| {' | '.join(f'{value:.3f}' if isinstance(value, float) else str(value) for value in row)} |")


if __name__ == "__main__":
    main()
