"""The `clusters` stage: k-means over the embeddings, with ids that carry over from run to run, and types of tasks."""

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms.instruction_types import MAX_CHARS, TYPES, guess_types
from curation_assets.algorithms.kmeans import KMeans, default_k, kmeans, match_clusters, nearest_centroids
from curation_assets.pages import BLUE, figure, markdown_table, materialized
from curation_assets.progress import logger
from curation_assets.readers import CONVERSATIONS, conversation, request
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.filtered import filtered
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

MAP_POINTS = 5_000
TRIAL_VECTORS = 20_000  # half of them to find clusters in, half to measure the distance to them
TRIAL_ITERATIONS = 3
WHY_SO_MANY = "√(records / 2), at most a tenth of the records and 1,000"


class ClustersConfig(dg.Config):
    """How finely the records are divided."""

    clusters: int | None = Field(
        default=None,
        ge=1,
        description=f"Number of clusters. Default: {WHY_SO_MANY}.",
    )
    iterations: int = Field(default=10, ge=1, description="Lloyd iterations over the sample.")
    sample_per_cluster: int = Field(
        default=256, ge=1, description="Vectors a cluster that the centroids are fitted on."
    )
    seed: int = Field(default=0, description="Seed of the sample and of the first centroids.")


@dg.asset(
    deps=[raw, cleaned, filtered, embeddings],
    group_name="measures",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="2",
)
def clusters(
    context: dg.AssetExecutionContext, config: ClustersConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record and the cluster it belongs to: k-means over the embeddings.

    A cluster keeps its id from run to run where its centroid is recognised, so numbers over time can be compared.
    `clusters.types` guesses what type of task each instruction, preference or chat sets.
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
    types = task_types(warehouse, record_ids, vectors, config.seed)
    counted = (
        types.group_by("type", "how").len("records").sort("records", "type", "how", descending=[True, False, False])
    )
    with warehouse.commit(
        context, config, rows_in=len(record_ids), main="clusters.assignments", started=started
    ) as commit:
        assignments = {"record_id": record_ids, "cluster_id": ids[found.labels], "distance": found.distances}
        commit.build("clusters.assignments", pl.DataFrame(assignments))
        centroids = pl.Series(found.centroids.tolist(), dtype=pl.List(pl.Float32))
        commit.build("clusters.centroids", pl.DataFrame({"cluster_id": ids, "centroid": centroids}))
        commit.build("clusters.types", types)
        commit.notes = {
            "embedded_by": model,
            "clusters": len(ids),
            "why_so_many": "given" if config.clusters else WHY_SO_MANY,
            "inertia": round(found.inertia, 3),
            "first_new_id": max(first_new_id, int(ids.max()) + 1),
            "carried_over_from_last_run": int(np.isin(ids, last_ids).sum()),
            "types_by_rule": int((types["how"] == "rule").sum()),
            "types_by_neighbours": int((types["how"] == "neighbours").sum()),
        }
    return materialized(
        warehouse,
        "clusters.assignments",
        plots={"cluster_map": cluster_map(vectors, ids[found.labels])},
        choice_of_k=dg.MetadataValue.md(choice_of_k(vectors, k, commit.notes)),
        types=dg.MetadataValue.md(markdown_table(counted)),
    )


REQUESTS = (
    "select record_id, r.kind, coalesce(c.cleaned_original, r.original) as original from filtered.records as f "
    "join raw.records as r using (record_id) join cleaned.records as c using (record_id) "
    "where list_contains($kinds, r.kind)"
)


def task_types(warehouse: Warehouse, record_ids: list[str], vectors: np.ndarray, seed: int) -> pl.DataFrame:
    """The guessed type of task of every record that asks for something: rows of clusters.types."""
    requests: dict[str, str] = {}
    for batch in warehouse.batches(REQUESTS, kinds=list(CONVERSATIONS)):
        for record, kind, original in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
            requests[record] = _ends(_request(kind, original))
    rows = [row for row, record in enumerate(record_ids) if record in requests]
    asked = [record_ids[row] for row in rows]
    found = guess_types([requests[record] for record in asked], vectors[rows], seed=seed)
    how = [
        None if at < 0 else "rule" if ruled else "neighbours"
        for at, ruled in zip(found.types, found.by_rule, strict=True)
    ]
    types = [None if at < 0 else TYPES[at] for at in found.types]
    return pl.DataFrame(
        {"record_id": asked, "type": types, "how": how, "vote_share": found.vote_share},
        schema={"record_id": pl.String, "type": pl.String, "how": pl.String, "vote_share": pl.Float32},
    )


def _request(kind: str, original: str) -> str:
    try:
        return request(conversation(kind, original)) or ""
    except ValueError:  # read by an older version, which was less strict: its neighbours say what it is
        return ""


def _ends(text: str) -> str:
    """The two ends of a text, which are all the rules read: what is held stays small."""
    return text if len(text) <= 2 * MAX_CHARS else f"{text[:MAX_CHARS]}\n{text[-MAX_CHARS:]}"


def choice_of_k(vectors: np.ndarray, k: int, notes: dict) -> str:
    """What a person needs to judge the number of clusters by, as Markdown: the reason, and half and twice as many tried."""
    carried, made = notes["carried_over_from_last_run"], notes["clusters"]
    said = (
        f"{made:,} clusters of {len(vectors):,} records: {notes['why_so_many']}. {carried:,} kept the id they had in the last "
        f"run, {made - carried:,} are new.\n\n"
    )
    trials = distances_by_k(vectors, sorted({max(1, k // 2), k, 2 * k}))
    if len(trials) < 2:
        return said + "There are too few records to try other numbers."
    return (
        f"{said}Other numbers, tried on a sample: the distance is that of records to the nearest of clusters found in other "
        "records. Where it falls no further, more clusters only divide what belongs together.\n\n"
        + markdown_table(
            pl.DataFrame(
                {
                    "clusters": list(trials),
                    "records a cluster": [round(len(vectors) / tried) for tried in trials],
                    "mean distance": list(trials.values()),
                }
            )
        )
    )


def distances_by_k(vectors: np.ndarray, ks: list[int], seed: int = 0) -> dict[int, float]:
    """For each number of clusters the mean distance of one half of a sample to the clusters found in the other half.

    Numbers for which a half has fewer than two records a cluster are left out.
    """
    sample = np.random.default_rng(seed).permutation(len(vectors))[:TRIAL_VECTORS]
    half = len(sample) // 2
    found_in, measured = vectors[sample[:half]], vectors[sample[half:]]
    means = {}
    for k in ks:
        if 2 * k > half:
            logger.info("clusters: %s clusters are too many to try on %s records.", k, half)
            continue
        trial = kmeans(found_in, k, seed=seed, iterations=TRIAL_ITERATIONS)
        means[k] = float(np.sqrt(nearest_centroids(measured, trial.centroids)[1]).mean())
    return means


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
