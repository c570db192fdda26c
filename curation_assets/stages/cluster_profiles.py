"""The `cluster_profiles` stage: what each cluster is about, how good and how dense it is."""

import dagster as dg
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.pages import BLUE, figure, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.density import density
from curation_assets.stages.filtered import filtered
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.warehouse import Warehouse


class ClusterProfilesConfig(dg.Config):
    """How clusters are described."""

    words: int = Field(default=8, ge=1, description="Words to describe a cluster by.")


@dg.asset(
    deps=[filtered, clusters, density, quality_scores],
    group_name="measures",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def cluster_profiles(
    context: dg.AssetExecutionContext, config: ClusterProfilesConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per cluster: what it is about, how large, how good, how dense, and what it looks like."""
    started = warehouse.begin()
    ids, words = cluster_words(warehouse, config.words)
    with warehouse.commit(context, config, rows_in=len(ids), main="clusters.profiles", started=started) as commit:
        incoming = pl.DataFrame({"cluster_id": ids, "words": pl.Series(words, dtype=pl.List(pl.String))})
        commit.build("clusters.profiles", incoming)
    return materialized(warehouse, "clusters.profiles", plots={"sizes": size_chart(warehouse)})


def cluster_words(warehouse: Warehouse, top: int) -> tuple[list[int], list[list[str]]]:
    """The ids of all clusters in order, and for each its words most typical by c-TF-IDF."""
    with warehouse.get_connection(read_only=True) as connection:
        table = connection.sql(
            "select a.cluster_id, left(r.text, 2000) as text from clusters.assignments as a "
            "join filtered.records as r using (record_id) order by record_id"
        ).to_arrow_table()
    ids = sorted(set(table["cluster_id"].to_pylist()))
    position = {cluster: index for index, cluster in enumerate(ids)}
    labels = pl.Series(table["cluster_id"].to_pylist()).replace_strict(position, return_dtype=pl.Int64).to_numpy()
    return ids, ctfidf_words(table["text"], labels, len(ids), top=top)


def size_chart(warehouse: Warehouse) -> Figure:
    """The twenty largest clusters by their words, or by their id where the plot's font lacks their script."""
    largest = warehouse.query(
        "select cluster_id, array_to_string(words[:3], ', ') as words, records from clusters.profiles order by records desc limit 20"
    )
    labels = [
        words if words.isascii() and words else f"cluster {cluster}"
        for cluster, words in largest.select("cluster_id", "words").iter_rows()
    ]
    drawing, axes = figure(6.5, 0.25 * len(largest) + 1)
    axes.barh(range(len(largest)), largest["records"].to_list(), color=BLUE)
    axes.set_yticks(range(len(largest)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("records")
    return drawing
