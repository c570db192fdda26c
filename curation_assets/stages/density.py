"""The `density` stage: how crowded the embedding space is around each record."""

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field
from scipy.stats import spearmanr

from curation_assets.algorithms import race
from curation_assets.pages import histogram, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.warehouse import Warehouse

SELF_TEST_RECORDS = 500


class DensityConfig(dg.Config):
    """Size and kernel of the sketch."""

    rows: int = Field(default=1_000, ge=1, description="Rows of the sketch; the error falls with their square root.")
    hashes: int = Field(default=8, ge=1, description="Hashes concatenated a row: more make the kernel sharper.")
    width: float | None = Field(
        default=None,
        gt=0,
        description="Width of the hash buckets. Default: from the median nearest-neighbour distance.",
    )
    seed: int = Field(default=0, description="Seed of the sketch's hash functions.")


@dg.asset(deps=[embeddings], group_name="measures", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1")
def density(context: dg.AssetExecutionContext, config: DensityConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record: how crowded the embedding space is around it, at least 1 (the record itself).

    A two-pass RACE sketch (Data-efficient LLMs, arXiv 2402.09668, Algorithm 2) estimates the kernel sum; its rank
    correlation with the exact sum on a sample is in the notes.
    """
    started = warehouse.begin()
    record_ids, vectors = warehouse.vectors()
    scores, notes = sketch_density(vectors, config)
    with warehouse.commit(context, config, rows_in=len(record_ids), main="density.scores", started=started) as commit:
        commit.build("density.scores", pl.DataFrame({"record_id": record_ids, "density": scores}))
        commit.notes = notes
    return materialized(
        warehouse, "density.scores", plots={"density_histogram": histogram(pl.Series(scores), "density", log=True)}
    )


def sketch_density(vectors: np.ndarray, config: DensityConfig) -> tuple[np.ndarray, dict[str, float | str]]:
    """Density at each vector, float64[n], and what was chosen and measured on the way."""
    if len(vectors) < 2:
        return np.ones(len(vectors)), {"why": "fewer than two records: density is 1"}
    neighbour = race.median_nearest_neighbour_distance(vectors, seed=config.seed)
    notes: dict[str, float | str] = {"median_nearest_neighbour_distance": round(neighbour, 4)}
    if config.width is None and not neighbour > 0:
        neighbour = 1e-3  # more than half of the vectors repeat another one: any small width tells them from the rest
    width = config.width or race.choose_width(neighbour, hashes=config.hashes)
    sketch = race.empty_sketch(vectors.shape[1], width=width, rows=config.rows, hashes=config.hashes, seed=config.seed)
    sketch = race.add(sketch, vectors)
    scores = race.score(sketch, vectors)
    sample = np.random.default_rng(config.seed).permutation(len(vectors))[:SELF_TEST_RECORDS]
    exact = race.exact_density(vectors, vectors[sample], width=width, hashes=config.hashes)
    rank = (
        float(spearmanr(exact, scores[sample]).statistic) if np.ptp(exact) > 0 and np.ptp(scores[sample]) > 0 else 1.0
    )
    return scores, notes | {
        "width": round(width, 4),
        "why_this_width": "given"
        if config.width
        else "a record at the median nearest-neighbour distance counts .01 as much as the record itself",
        "rank_correlation_with_exact_kernel_sum": round(rank, 4),
        "records_compared": len(sample),
    }
