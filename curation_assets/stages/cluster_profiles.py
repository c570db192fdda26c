"""The `cluster_profiles` stage: what each cluster is about, how good and how dense it is."""

import dagster as dg
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.asking import LanguageModel, affordable_prompts, asker_of
from curation_assets.models.cluster_titles import TITLE_TOKENS, cluster_titles, title_request
from curation_assets.pages import BLUE, figure, log_scale, markdown_table, materialized
from curation_assets.progress import logger
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.density import density
from curation_assets.stages.filtered import filtered
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.warehouse import Warehouse

SHOWN_CLUSTERS = 20
TITLE_WORDS = 3
EXAMPLE_CHARS = 500  # of each of the three texts a language model titles a cluster by
NAMED_BUBBLES = 10
LARGEST_BUBBLE = 900  # area in square points


class ClusterProfilesConfig(dg.Config):
    """How clusters are described."""

    words: int = Field(default=8, ge=1, description="Words to describe a cluster by.")
    language_model: LanguageModel | None = Field(
        default=None,
        description="A language model that titles each cluster from its words and nearest texts, the largest first where its caps do "
        "not allow all; titles are not kept for the next run. Default: its first words.",
    )


@dg.asset(
    deps=[filtered, clusters, density, quality_scores],
    group_name="measures",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="2",
)
def cluster_profiles(
    context: dg.AssetExecutionContext, config: ClusterProfilesConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per cluster: what it is about, how large, how good, how dense, and what it looks like."""
    started = warehouse.begin()
    ids, words = cluster_words(warehouse, config.words)
    titles = titles_of(warehouse, config.language_model, ids, words)
    with warehouse.commit(context, config, rows_in=len(ids), main="clusters.profiles", started=started) as commit:
        named = {"cluster_id": ids, "words": words, "title": titles}
        schema = {"cluster_id": pl.Int64, "words": pl.List(pl.String), "title": pl.String}
        commit.build("clusters.profiles", pl.DataFrame(named, schema=schema))
    profiles = warehouse.query(SHOWN, clusters=SHOWN_CLUSTERS)
    return materialized(
        warehouse,
        "clusters.profiles",
        plots={"sizes": size_chart(profiles), "quality_against_density": quality_chart(warehouse)},
        largest_clusters=dg.MetadataValue.md(markdown_table(in_words(profiles))),
    )


SHOWN = (
    "select title, cluster_id, records, share, type, type_share, languages, sources, licenses, quality_deciles, density_deciles, "
    "mean_chars, nearest_examples[1] as nearest, farthest_examples[1] as farthest "
    "from clusters.profiles order by records desc, cluster_id limit $clusters"
)


NEAREST = (
    "select a.cluster_id, arg_min(left(r.text, $chars::integer), a.distance, 3) as texts from clusters.assignments as a "
    "join filtered.records as r using (record_id) group by a.cluster_id order by count(*) desc, a.cluster_id"
)


def cluster_words(warehouse: Warehouse, top: int) -> tuple[list[int], list[list[str]]]:
    """The ids of all clusters in order, and for each its words most typical by c-TF-IDF.

    The names before the turns of a chat are no words of it.
    """
    with warehouse.get_connection(read_only=True) as connection:
        table = connection.sql(
            "select a.cluster_id, case when r.kind in ('chat', 'preference', 'instruction', 'reward') "
            "then regexp_replace(left(r.text, 2000), '(^|\\n)(User|Assistant|Tool): ', ' ', 'g') else left(r.text, 2000) end as text "
            "from clusters.assignments as a join filtered.records as r using (record_id) order by record_id"
        ).to_arrow_table()
    ids = sorted(set(table["cluster_id"].to_pylist()))
    position = {cluster: index for index, cluster in enumerate(ids)}
    labels = pl.Series(table["cluster_id"].to_pylist()).replace_strict(position, return_dtype=pl.Int64).to_numpy()
    return ids, ctfidf_words(table["text"], labels, len(ids), top=top)


def titles_of(
    warehouse: Warehouse, language_model: LanguageModel | None, ids: list[int], words: list[list[str]]
) -> list[str | None]:
    """What each cluster is called: by the language model if there is one, else and where it fails by its first words."""
    plain = [title(of) for of in words]
    if language_model is None:
        return plain
    nearest = dict(warehouse.query(NEAREST, chars=EXAMPLE_CHARS).iter_rows())
    words_of = dict(zip(ids, words, strict=True))
    requests = [title_request(words_of[cluster], texts) for cluster, texts in nearest.items()]
    titled = list(nearest)[: affordable_prompts(requests, TITLE_TOKENS, language_model)]
    if len(titled) < len(ids):
        logger.warning("cluster_profiles: the caps allow titles for %d of %d clusters", len(titled), len(ids))
    at_once = language_model.concurrency if language_model.server else 1
    asked = cluster_titles(
        asker_of(language_model), [words_of[of] for of in titled], [nearest[of] for of in titled], at_once=at_once
    )
    given = dict(zip(titled, asked, strict=True))
    return [given.get(cluster) or words for cluster, words in zip(ids, plain, strict=True)]


def title(words: list[str]) -> str | None:
    """What a cluster is called: its first words; null for one without any."""
    return ", ".join(words[:TITLE_WORDS]) or None


def in_words(profiles: pl.DataFrame) -> pl.DataFrame:
    """The largest clusters as a person reads them: shares in percent, spreads as the 10 %, 50 % and 90 % of a measure."""
    rows = []
    for row in profiles.iter_rows(named=True):
        languages = [f"{of['language']} {of['records'] / row['records']:.0%}" for of in row["languages"][:3]]
        task = f"{row['type']} {row['type_share']:.0%}" if row["type"] else None
        rows.append(
            {
                "title": row["title"] or f"cluster {row['cluster_id']}",
                "cluster": row["cluster_id"],
                "records": row["records"],
                "share": f"{row['share']:.1%}",
                "type": task,
                "languages": languages,
                "sources": row["sources"],
                "licences": [of or "none named" for of in row["licenses"]],
                "quality (10, 50, 90 %)": " · ".join(f"{of:.2f}" for of in row["quality_deciles"]),
                "density (10, 50, 90 %)": " · ".join(f"{of:.3g}" for of in row["density_deciles"]),
                "characters": round(row["mean_chars"]),
                "nearest example": row["nearest"],
                "farthest example": row["farthest"],
            }
        )
    return pl.DataFrame(rows)


def size_chart(largest: pl.DataFrame) -> Figure:
    """The largest clusters by their title, or by their id where the plot's font lacks their script."""
    labels = [
        called.replace("$", r"\$") if called and called.isascii() else f"cluster {cluster}"  # $ would begin a formula
        for cluster, called in largest.select("cluster_id", "title").iter_rows()
    ]
    drawing, axes = figure(6.5, 0.25 * len(largest) + 1)
    axes.barh(range(len(largest)), largest["records"].to_list(), color=BLUE)
    axes.set_yticks(range(len(largest)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("records")
    return drawing


def quality_chart(warehouse: Warehouse) -> Figure:
    """Quality against density, a bubble a cluster, its area its number of records; the largest are named by their id."""
    clusters_of = warehouse.query(
        "select cluster_id, records, mean_quality, mean_density from clusters.profiles order by records desc"
    )
    drawing, axes = figure(6.5, 4.5)
    largest = max(clusters_of["records"].to_list(), default=1)
    axes.scatter(
        clusters_of["mean_density"],
        clusters_of["mean_quality"],
        s=(clusters_of["records"] / largest * LARGEST_BUBBLE).to_list(),
        color=BLUE,
        alpha=0.45,
        linewidths=0,
    )
    for cluster, _, quality, crowd in clusters_of.head(NAMED_BUBBLES).iter_rows():
        axes.annotate(str(cluster), (crowd, quality), fontsize=7, ha="center", va="center")
    if len(clusters_of) and clusters_of["mean_density"].min() > 0:
        log_scale(axes, "x")
    axes.set_xlabel("mean density")
    axes.set_ylabel("mean quality")
    return drawing
