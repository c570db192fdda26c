"""The `density` stage: how crowded the embedding space is around each record, and how well that is known."""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field
from scipy.stats import spearmanr

from curation_assets.algorithms import kernel_density, race
from curation_assets.algorithms.kmeans import default_k, kmeans
from curation_assets.pages import BLUE, GREY, figure, histogram, log_scale, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.warehouse import Warehouse

GOOD_RANK_CORRELATION = 0.95  # below it RACE, which takes ten times as long, is tried too
SAME_DENSITY_DECIMALS = 5  # of their logarithm: densities that agree to them have one rank
SLAB_RECORDS = 131_072  # records scored between two lines of progress
EXACT_SLAB_RECORDS = 8_192  # of the exact sum, which takes longer

Density = Callable[[np.ndarray], np.ndarray]
"""A fitted estimator: from positions of records, int[m], to their densities, float64[m]."""


class Kernel(str, Enum):
    """How far a record's surroundings reach."""

    wide = "wide"
    local = "local"


class Estimator(str, Enum):
    """How the kernel sum is found."""

    auto = "auto"
    exact = "exact"
    references = "references"
    centroids = "centroids"
    race = "race"


class DensityConfig(dg.Config):
    """The kernel, its bandwidth, and the estimator of its sum."""

    kernel: Kernel = Field(
        default=Kernel.wide,
        description="wide: a record's whole region counts, bandwidth .4 × the median distance of two records. local: its near "
        "neighbours count, .27 × that distance: evens out topics that are all as tight as one another, and harms where they are not.",
    )
    bandwidth: float | None = Field(
        default=None, ge=1e-6, description="Standard deviation of the Gaussian kernel. Default: chosen from the data."
    )
    estimator: Estimator = Field(
        default=Estimator.auto,
        description="exact: the whole kernel sum. references: a sum over records drawn at random. centroids: the own cluster's "
        "members and the other clusters' centroids. race: a sketch. auto: exact up to `exact_up_to` records, else what ranks "
        "a sample of records most like the exact sum.",
    )
    exact_up_to: int = Field(
        default=20_000,
        ge=0,
        description="Records up to which auto takes the exact sum; its cost grows with their square.",
    )
    references: int = Field(default=2_000, ge=2, description="Reference records of the estimator `references`.")
    clusters: int | None = Field(
        default=None,
        ge=1,
        description="Clusters of the estimator `centroids`. Default: √(records / 2), at most a tenth of the records and 1,000.",
    )
    sketch_rows: int = Field(
        default=1_000, ge=1, description="Rows of the RACE sketch; its error falls with their square root."
    )
    sketch_hashes: int = Field(
        default=8, ge=1, description="Hashes concatenated a row of the RACE sketch: more make its kernel sharper."
    )
    self_test_records: int = Field(
        default=1_000, ge=2, description="Records whose estimated density is compared with the exact sum."
    )
    seed: int = Field(default=0, description="Seed of the samples, references, clusters and hash functions.")


class Attempt(NamedTuple):
    """An estimator after its self-test: `estimated` and `exact` are densities at the same sample of records."""

    estimator: str
    density: Density
    estimated: np.ndarray
    exact: np.ndarray
    rank_correlation: float
    seconds: float


@dg.asset(deps=[embeddings], group_name="measures", kinds={"duckdb", "python"}, owners=OWNERS, code_version="2")
def density(
    context: dg.AssetExecutionContext, config: DensityConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record: how crowded the embedding space is around it, at least 1 (the record itself).

    The sum of a Gaussian kernel over all records, exact for small sets, else by the estimator that ranks a sample most like
    the exact sum. `density.estimators` keeps each one's rank correlation. The sampler takes a record with weight
    density^-(1-a) (arXiv 2402.09668, section 3.2).
    """
    started = warehouse.begin()
    record_ids, vectors = warehouse.vectors()
    bandwidth, notes = choose_bandwidth(vectors, config)
    attempts = self_test(vectors, bandwidth, config)
    chosen = best(attempts)
    slab = EXACT_SLAB_RECORDS if chosen.estimator == "exact" else SLAB_RECORDS
    scores = at_every_record(chosen.density, len(record_ids), slab)
    tried = estimators_table(attempts, bandwidth, config)
    with warehouse.commit(context, config, rows_in=len(record_ids), main="density.scores", started=started) as commit:
        commit.build("density.scores", pl.DataFrame({"record_id": record_ids, "density": scores}))
        commit.build("density.estimators", tried)
        commit.notes = notes | summary(scores, chosen)
    return materialized(
        warehouse,
        "density.scores",
        plots={
            "density_histogram": histogram(pl.Series(scores), "density", log=True),
            **({} if chosen.estimator == "exact" else {"exact_against_estimated": comparison(chosen)}),
        },
        estimators=dg.MetadataValue.md(markdown_table(tried)),
    )


def choose_bandwidth(vectors: np.ndarray, config: DensityConfig) -> tuple[float, dict[str, Any]]:
    """The kernel's bandwidth, and why it is that."""
    median = kernel_density.median_distance(vectors, seed=config.seed) if len(vectors) else 1.0
    if config.bandwidth:
        bandwidth, why = config.bandwidth, "given"
    elif config.kernel is Kernel.wide:
        bandwidth = kernel_density.wide_bandwidth(median)
        why = f"{kernel_density.WIDE} × the median distance of two records: unrelated records share .04"
    else:
        bandwidth = kernel_density.local_bandwidth(median)
        why = f"{kernel_density.LOCAL} × the median distance of two records: unrelated records share .001"
    return bandwidth, {
        "kernel": "given" if config.bandwidth else config.kernel.value,
        "bandwidth": round(bandwidth, 4),
        "why_this_bandwidth": why,
        "median_distance_of_two_records": round(median, 4),
    }


def self_test(vectors: np.ndarray, bandwidth: float, config: DensityConfig) -> list[Attempt]:
    """Fit the estimators in question and compare each with the exact kernel sum at a sample of records.

    auto: the exact sum alone for small sets; else references and centroids, and RACE where neither comes up to
    ``GOOD_RANK_CORRELATION``. The exact sum is that of the Gaussian kernel for all of them, RACE too.
    """
    rows = sample_rows(len(vectors), config)
    exact_density = fit_exact(vectors, bandwidth, config)
    is_auto = config.estimator is Estimator.auto
    name = "exact" if is_auto and len(vectors) <= config.exact_up_to else config.estimator.value
    started = time.perf_counter()
    exact = exact_density(rows)
    if name == "exact":
        return [Attempt("exact", exact_density, exact, exact, 1.0, time.perf_counter() - started)]

    def attempt(name: str) -> Attempt:
        started = time.perf_counter()
        fitted = FITS[name](vectors, bandwidth, config)
        estimated = fitted(rows)
        seconds = time.perf_counter() - started
        return Attempt(name, fitted, estimated, exact, rank_correlation(exact, estimated), seconds)

    attempts = [attempt(each) for each in (("references", "centroids") if is_auto else (name,))]
    if is_auto and best(attempts).rank_correlation < GOOD_RANK_CORRELATION:
        attempts.append(attempt("race"))
    return attempts


def sample_rows(n: int, config: DensityConfig) -> np.ndarray:
    """Positions of the records that the self-test compares, int[m] in order."""
    return np.sort(np.random.default_rng(config.seed).permutation(n)[: config.self_test_records])


def best(attempts: list[Attempt]) -> Attempt:
    """The attempt with the highest rank correlation; the earlier, cheaper one of equals."""
    return max(attempts, key=lambda attempt: attempt.rank_correlation)


def rank_correlation(exact: np.ndarray, estimated: np.ndarray) -> float:
    """Spearman's rank correlation of densities to five digits; 1 where all exact ones are the same: there are no ranks.

    Beyond five digits a float32 sum is rounding, which would give records in one place, equally dense, ranks by chance.
    """
    exact, estimated = (np.round(np.log(density), SAME_DENSITY_DECIMALS) for density in (exact, estimated))
    if np.ptp(exact) == 0:
        return 1.0
    return float(spearmanr(exact, estimated).statistic) if np.ptp(estimated) > 0 else 0.0


def fit_exact(vectors: np.ndarray, bandwidth: float, config: DensityConfig) -> Density:
    """The exact sum: every record is a reference."""
    return partial(kernel_density.reference_density, vectors, np.arange(len(vectors)), bandwidth=bandwidth)


def fit_references(vectors: np.ndarray, bandwidth: float, config: DensityConfig) -> Density:
    """The sum over records drawn at random, scaled to all."""
    drawn = np.random.default_rng(config.seed + 1).permutation(len(vectors))[: config.references]
    return partial(kernel_density.reference_density, vectors, np.sort(drawn), bandwidth=bandwidth)


def fit_centroids(vectors: np.ndarray, bandwidth: float, config: DensityConfig) -> Density:
    """The sum over the own cluster's members and the other clusters' centroids. Coarse k-means will do for it."""
    clusters = kmeans(
        vectors, config.clusters or default_k(len(vectors)), seed=config.seed, iterations=6, sample_per_centroid=64
    )
    return partial(kernel_density.centroid_density, vectors, clusters, bandwidth=bandwidth, seed=config.seed)


def fit_race(vectors: np.ndarray, bandwidth: float, config: DensityConfig) -> Density:
    """The RACE sketch, its own kernel as wide as to equal the Gaussian one where most of a sum comes from.

    That is the median distance of two records, or four bandwidths where those are less (the Gaussian is .0003 there).
    """
    distance = min(kernel_density.median_distance(vectors, seed=config.seed), 4 * bandwidth)
    probability = float(np.exp(-(distance**2) / (2 * bandwidth**2)))
    width = race.choose_width(distance, probability, hashes=config.sketch_hashes)
    sketch = race.empty_sketch(
        vectors.shape[1], width=width, rows=config.sketch_rows, hashes=config.sketch_hashes, seed=config.seed
    )
    report = reporter("density: sketch", "records", total=len(vectors))
    for start in range(0, len(vectors), SLAB_RECORDS):
        sketch = race.add(sketch, vectors[start : start + SLAB_RECORDS])
        report(sketch.records)
    return lambda rows: race.score(sketch, vectors[rows])


FITS: dict[str, Callable[[np.ndarray, float, DensityConfig], Density]] = {
    "references": fit_references,
    "centroids": fit_centroids,
    "race": fit_race,
}


def at_every_record(density: Density, n: int, slab: int = SLAB_RECORDS) -> np.ndarray:
    """The density at all n records, float64[n], `slab` of them at a time."""
    scores, report = np.ones(n), reporter("density", "records", total=n)
    for start in range(0, n, slab):
        stop = min(n, start + slab)
        scores[start:stop] = density(np.arange(start, stop))
        report(stop)
    return scores


def estimators_table(attempts: list[Attempt], bandwidth: float, config: DensityConfig) -> pl.DataFrame:
    """The rows of `density.estimators`, in the order they were tried."""
    chosen = best(attempts).estimator
    return pl.DataFrame(
        [
            {
                "estimator": attempt.estimator,
                "kernel": "given" if config.bandwidth else config.kernel.value,
                "bandwidth": bandwidth,
                "rank_correlation": attempt.rank_correlation,
                "records_compared": len(attempt.exact),
                "seconds": attempt.seconds,
                "is_chosen": attempt.estimator == chosen,
            }
            for attempt in attempts
        ]
    )


def summary(scores: np.ndarray, chosen: Attempt) -> dict[str, Any]:
    """What the run's notes say of the densities and of their estimator."""
    low, middle, high = np.quantile(scores, [0.1, 0.5, 0.9]) if len(scores) else (1.0, 1.0, 1.0)
    return {
        "estimator": chosen.estimator,
        "rank_correlation_with_exact_kernel_sum": round(chosen.rank_correlation, 4),
        "records_compared": len(chosen.exact),
        "median_density": round(float(middle), 3),
        "ratio_of_90th_to_10th_percentile": round(float(high / low), 3),
    }


def comparison(chosen: Attempt) -> Figure:
    """The chosen estimator's densities against the exact ones, at the sample of records."""
    drawing, axes = figure(4.5, 4)
    axes.scatter(chosen.exact, chosen.estimated, s=5, color=BLUE, linewidths=0, alpha=0.6)
    if len(chosen.exact):
        ends = [chosen.exact.min(), chosen.exact.max()]
        axes.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
    log_scale(axes, "x", "y")
    axes.set_xlabel("exact density")
    axes.set_ylabel(f"estimated by {chosen.estimator}")
    return drawing
