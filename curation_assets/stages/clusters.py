"""The `clusters` stage: k-means over the embeddings, with ids that carry over from run to run."""

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms.kmeans import KMeans, default_k, kmeans, match_clusters
from curation_assets.pages import BLUE, figure, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.warehouse import Warehouse

MAP_POINTS = 5_000


class ClustersConfig(dg.Config):
    """How finely the records are divided."""

    clusters: int | None = Field(
        default=None,
        ge=1,
        description="Number of clusters. Default: √(records / 2), at most a tenth of the records and 1,000.",
    )
    iterations: int = Field(default=10, ge=1, description="Lloyd iterations over the sample.")
    sample_per_cluster: int = Field(
        default=256, ge=1, description="Vectors a cluster that the centroids are fitted on."
    )
    seed: int = Field(default=0, description="Seed of the sample and of the first centroids.")


@dg.asset(deps=[embeddings], group_name="measures", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1")
def clusters(context: dg.AssetExecutionContext, config: ClustersConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record and the cluster it belongs to: k-means over the embeddings.

    A cluster keeps its id from run to run where its centroid is recognised, so numbers over time can be compared.
    """
    started = warehouse.begin()
    record_ids, vectors = warehouse.vectors()
    k = config.clusters or default_k(len(vectors))
    found = kmeans(
        vectors, k, seed=config.seed, iterations=config.iterations, sample_per_centroid=config.sample_per_cluster
    )
    model = embedded_by(warehouse)
    last_ids, last_centroids, first_new_id = last_clusters(warehouse, model)
    ids = carried_over_ids(last_ids, last_centroids, first_new_id, found)
    with warehouse.commit(
        context, config, rows_in=len(record_ids), main="clusters.assignments", started=started
    ) as commit:
        assignments = {"record_id": record_ids, "cluster_id": ids[found.labels], "distance": found.distances}
        commit.build("clusters.assignments", pl.DataFrame(assignments))
        centroids = pl.Series(found.centroids.tolist(), dtype=pl.List(pl.Float32))
        commit.build("clusters.centroids", pl.DataFrame({"cluster_id": ids, "centroid": centroids}))
        commit.notes = {
            "embedded_by": model,
            "clusters": len(ids),
            "why_so_many": "given" if config.clusters else "√(records / 2), at most a tenth of the records and 1,000",
            "inertia": round(found.inertia, 3),
            "first_new_id": max(first_new_id, int(ids.max()) + 1),
            "carried_over_from_last_run": int(np.isin(ids, last_ids).sum()),
        }
    return materialized(
        warehouse, "clusters.assignments", plots={"cluster_map": cluster_map(vectors, ids[found.labels])}
    )


def embedded_by(warehouse: Warehouse) -> str:
    """Model and revision of the embeddings as they are."""
    return warehouse.value(
        "select max_by(concat_ws(' ', notes ->> 'model', notes ->> 'revision'), finished_at) as model "
        "from ledger.runs where stage = 'embeddings'"
    )


def last_clusters(warehouse: Warehouse, model: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Ids int64[k] and centroids float32[k, d] of the last run's clusters, and the first id never given to any cluster.

    Centroids in another model's space are no clusters to recognise: then there are none.
    """
    if not warehouse.has_table("clusters.centroids"):
        return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32), 0
    last = warehouse.query("select cluster_id, centroid from clusters.centroids order by cluster_id")
    first_new, last_model = warehouse.query(
        "select max((notes ->> 'first_new_id')::int) as id, max_by(notes ->> 'embedded_by', finished_at) as model "
        "from ledger.runs where stage = 'clusters'"
    ).row(0)
    if last_model != model:
        return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32), first_new
    return (
        last["cluster_id"].to_numpy().astype(np.int64),
        np.array(last["centroid"].to_list(), dtype=np.float32),
        first_new,
    )


def carried_over_ids(last_ids: np.ndarray, last_centroids: np.ndarray, first_new_id: int, found: KMeans) -> np.ndarray:
    """The id of each cluster found, int64[k]: that of the last run's cluster it continues, or a new one."""
    if last_centroids.shape[1:] != found.centroids.shape[1:]:  # the first run, or another model: nothing to recognise
        return np.arange(len(found.centroids)) + first_new_id
    return match_clusters(last_centroids, found.centroids, old_ids=last_ids, first_new_id=first_new_id)


def cluster_map(vectors: np.ndarray, labels: np.ndarray) -> Figure:
    """The records in two dimensions (principal components), coloured by cluster."""
    drawing, axes = figure(5.5, 5)
    step = max(1, len(vectors) // MAP_POINTS)
    sample = vectors[::step] - vectors.mean(axis=0)
    if len(sample) > 2:
        _, _, axes_of_variance = np.linalg.svd(sample, full_matrices=False)
        points = sample @ axes_of_variance[:2].T
        axes.scatter(points[:, 0], points[:, 1], c=labels[::step], cmap="tab20", s=4, linewidths=0)
    else:
        axes.scatter(np.arange(len(sample)), np.zeros(len(sample)), c=BLUE)
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second")
    return drawing
