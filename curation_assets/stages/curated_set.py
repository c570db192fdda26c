"""The `curated_set` stage: quality × coverage sampling to a budget."""

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms import coverage, sampling
from curation_assets.pages import BLUE, GREY, figure, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.density import density
from curation_assets.stages.filtered import filtered
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.warehouse import Warehouse

CANDIDATES = (
    "select r.record_id, q.quality, d.density, greatest(1, ceil(strlen(r.text) / 4))::bigint as tokens, "
    "md5_number_upper(r.record_id) as draw_hash from filtered.records as r join quality_scores.scores as q using (record_id) "
    "join density.scores as d using (record_id) join clusters.assignments as a using (record_id) order by r.record_id"
)


class CuratedSetConfig(dg.Config):
    """How much is taken, and what counts. Give at most one budget."""

    budget_records: int | None = Field(default=None, ge=1, description="Records to take.")
    budget_tokens: int | None = Field(default=None, ge=1, description="Tokens to take, at 4 bytes of UTF-8 a token.")
    budget_share: float = Field(
        default=0.25, gt=0, le=1, description="Share of the filtered records to take, where no other budget is given."
    )
    quality_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a in quality^a × density^-(1-a): 1 looks at quality alone, 0 spreads evenly over the embedding space.",
    )
    seed: int = Field(default=0, description="Seed of the draw.")


@dg.asset(
    deps=[filtered, clusters, density, quality_scores],
    group_name="product",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def curated_set(
    context: dg.AssetExecutionContext, config: CuratedSetConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per record of the curated set: the training data.

    A weighted draw without replacement, weight quality^a × density^-(1-a), to a budget in records or tokens; every
    candidate's chance is stored, so the set can speak for the whole it was drawn from.
    """
    started = warehouse.begin()
    warehouse.require_all_records("quality_scores.scores", "density.scores", "clusters.assignments")
    candidates = warehouse.query(CANDIDATES)
    scores = draw(candidates, config)
    with warehouse.commit(
        context, config, rows_in=len(candidates), main="curated_set.records", started=started
    ) as commit:
        commit.build("curated_set.scores", scores)
        commit.decide()
        commit.build("curated_set.records")
        commit.keep_the_rest()
        commit.notes = summary(scores)
    return materialized(
        warehouse,
        "curated_set.records",
        plots={
            "density_by_quality": scatter(scores),
            "quality_against_coverage": pareto_chart(warehouse, candidates, config),
        },
    )


def draw(candidates: pl.DataFrame, config: CuratedSetConfig) -> pl.DataFrame:
    """Draw the curated set: one row per candidate with weight, draw, inclusion probability and whether it is selected.

    Raises ValueError if both budgets are given, or if there is nothing to draw from.
    """
    if config.budget_records and config.budget_tokens:
        raise ValueError("curated_set: budget_records and budget_tokens are both given; give one of them.")
    if not len(candidates):
        raise ValueError(
            "curated_set: no record is left to draw from. `curate funnel` shows which rule dropped them; "
            "loosen it in the config of `filtered`."
        )
    budget = budget_of(candidates, config)
    weights = sampling.weights(
        candidates["quality"].to_numpy(), candidates["density"].to_numpy(), a=config.quality_weight
    )
    sample = sampling.sample(
        weights,
        candidates["draw_hash"].to_numpy(),
        **budget,
        tokens=candidates["tokens"].to_numpy(),
        seed=config.seed,
    )
    if not sample.selected.any():
        raise ValueError(
            f"curated_set: no record fits into budget_tokens {config.budget_tokens}; "
            f"the smallest candidate has {candidates['tokens'].min()}."
        )
    return candidates.drop("draw_hash").with_columns(
        weight=pl.Series(weights),
        draw=pl.Series(sample.key),
        inclusion_probability=pl.Series(sample.inclusion_probability),
        is_selected=pl.Series(sample.selected),
    )


def budget_of(candidates: pl.DataFrame, config: CuratedSetConfig) -> dict[str, int]:
    """The budget as the sampler takes it: tokens if given, else records, else the share of the candidates."""
    if config.budget_tokens:
        return {"budget_tokens": config.budget_tokens}
    records = config.budget_records or max(1, round(config.budget_share * len(candidates)))
    return {"budget_records": min(records, len(candidates))}


def pareto_chart(warehouse: Warehouse, candidates: pl.DataFrame, config: CuratedSetConfig) -> Figure:
    """Mean quality against the share of embedding space reached, for a from 0 to 1, with the chosen a in colour."""
    _, vectors = warehouse.vectors()
    labels = warehouse.query("select cluster_id from clusters.assignments order by record_id")["cluster_id"].to_numpy()
    curve = coverage.pareto(
        candidates["quality"].to_numpy(),
        candidates["density"].to_numpy(),
        labels,
        candidates["draw_hash"].to_numpy(),
        vectors=vectors,
        **budget_of(candidates, config),
        tokens=candidates["tokens"].to_numpy(),
        a_values=sorted({0.0, 0.25, 0.5, 0.75, 1.0, config.quality_weight}),
        seed=config.seed,
    )
    drawing, axes = figure(6, 4)
    measure = "space_reached_ratio" if curve["space_reached_ratio"].null_count() == 0 else "clusters_reached_ratio"
    axes.plot(curve["mean_quality"], curve[measure], color=GREY, zorder=1)
    for a, quality, reached in curve.select("a", "mean_quality", measure).iter_rows():
        axes.scatter(quality, reached, color=BLUE if a == config.quality_weight else GREY, zorder=2)
        axes.annotate(f"a = {a:g}", (quality, reached), textcoords="offset points", xytext=(5, 5), fontsize=7)
    axes.set_xlabel("mean quality")
    axes.set_ylabel(
        "share of the embedding space reached" if measure.startswith("space") else "share of clusters reached"
    )
    return drawing


def summary(scores: pl.DataFrame) -> dict[str, float]:
    """What the draw did to quality, density and size."""
    selected = scores.filter("is_selected")
    means = {
        f"mean_{name}_{part}": round(float(frame[name].mean()), 4)
        for name in ("quality", "density")
        for part, frame in (("of_all", scores), ("of_curated", selected))
    }
    return means | {"records": len(selected), "tokens": int(selected["tokens"].sum())}


def scatter(scores: pl.DataFrame) -> Figure:
    """Density against quality, the selected records in colour."""
    drawing, axes = figure(6, 4.5)
    step = max(1, len(scores) // 8_000)
    shown = scores[::step]
    for is_selected, colour, label in ((False, GREY, "not selected"), (True, BLUE, "selected")):
        part = shown.filter(pl.col("is_selected") == is_selected)
        axes.scatter(part["quality"], part["density"], s=5, c=colour, label=label, linewidths=0, alpha=0.7)
    axes.set_xlabel("quality")
    axes.set_ylabel("density")
    if np.ptp(shown["density"].to_numpy()) > 0:
        axes.set_yscale("log")
    axes.legend(frameon=False, markerscale=3)
    return drawing
