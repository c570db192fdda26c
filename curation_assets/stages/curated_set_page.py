"""The page of `curated_set`: what was chosen beside what else could have been, and what the set says about the whole."""

from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from curation_assets.algorithms import coverage, horvitz_thompson, selection
from curation_assets.algorithms.holding import Candidates
from curation_assets.algorithms.selection import BY_CHANCE, Drawn, Plan, Strategy
from curation_assets.pages import BLUE, GREY, figure, log_scale, markdown_table
from curation_assets.progress import logger

A_VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
SHARES_SHOWN = 10
"""Clusters, the largest, whose shares are estimated on the page."""


def summary(scores: pl.DataFrame, drawn: Drawn, names: list[str]) -> dict[str, Any]:
    """What the choice did to quality, density and size, why candidates ended as they did, and what quotas got."""
    selected = scores.filter("is_selected")
    means = {
        f"mean_{name}_{part}": round(float(frame[name].mean()), 4)
        for name in ("quality", "density")
        for part, frame in (("of_all", scores), ("of_curated", selected))
    }
    rules = dict(scores.group_by("rule").len().sort("len", descending=True).iter_rows())
    notes = means | {"records": len(selected), "tokens": int(selected["tokens"].sum()), "candidates_by_rule": rules}
    if drawn.allocation is None:
        return notes
    found = drawn.allocation
    given = zip(names, found.asked, found.budgets + found.taken, found.is_short, strict=False)
    told = {
        name: {"asked": round(float(asked), 1), "given": int(budget), "has_too_little": bool(is_short)}
        for name, asked, budget, is_short in given
        if asked or budget
    }
    for name, quota in told.items():
        if quota["has_too_little"]:
            logger.warning(
                "curated_set: %s has too little for its quota: %s asked, %s given",
                *(name, f"{quota['asked']:,.0f}", f"{quota['given']:,}"),
            )
    return notes | {"quotas": told}


def balance_notes(tried: list[selection.Tried]) -> dict[str, Any]:
    """The quality weight and sharpness that were chosen, and the best of each part alone, as numbers of the run row."""

    def best(of: list[selection.Tried]) -> dict[str, float]:
        return {name: round(float(value), 4) for name, value in max(of, key=lambda one: one.product)._asdict().items()}

    return {
        "chosen": best(tried),
        "quality_alone": best([one for one in tried if one.quality_weight == 1]),
        "density_alone": best([one for one in tried if one.quality_weight == 0]),
    }


def plots(scores: pl.DataFrame, pool: Candidates, drawn: Drawn, plan: Plan) -> dict[str, Figure]:
    """The plots of the page."""
    return {"density_by_quality": scatter(scores), "quality_against_coverage": pareto_chart(pool, drawn, plan)}


def metadata(pool: Candidates, drawn: Drawn, plan: Plan, notes: dict[str, Any]) -> dict[str, dg.MetadataValue]:
    """What else the page says: what the set tells of the whole, and what quotas were given."""
    told = {"speaks_for_the_whole": dg.MetadataValue.md(estimates(pool, drawn, plan))}
    if "balance" in notes:
        rows = [{"": name.replace("_", " ")} | figures for name, figures in notes["balance"].items()]
        told["balance_by_product"] = dg.MetadataValue.md(markdown_table(pl.DataFrame(rows)))
    if "quotas" in notes:
        rows = [{"quota": name} | quota for name, quota in notes["quotas"].items()]
        told["quotas"] = dg.MetadataValue.md(markdown_table(pl.DataFrame(rows)))
    return told


def estimates(pool: Candidates, drawn: Drawn, plan: Plan) -> str:
    """The pool's mean length and its largest clusters' shares, estimated from the set alone, beside the truth.

    About 5 % of the intervals should miss the truth. Where no estimate is possible, the reason.
    """
    if plan.strategy not in BY_CHANCE:
        return f"{plan.strategy.value} leaves nothing to chance, so the set cannot be weighted back to the whole."
    options = {"sizes": drawn.sizes, "strata": drawn.strata}
    clusters, counts = np.unique(pool.clusters, return_counts=True)
    largest = clusters[np.argsort(-counts, kind="stable")[:SHARES_SHOWN]]
    try:
        rows = [
            (
                "mean characters",
                horvitz_thompson.mean(pool.chars, drawn.inclusion_probability, drawn.selected, **options),
            )
        ]
        rows += [
            (
                f"share of cluster {cluster}",
                horvitz_thompson.share(
                    pool.clusters == cluster, drawn.inclusion_probability, drawn.selected, **options
                ),
            )
            for cluster in largest
        ]
    except ValueError as refusal:
        return str(refusal)
    truth = [float(pool.chars.mean()), *(float((pool.clusters == cluster).mean()) for cluster in largest)]
    table = [
        {"of the pool": name, "estimate": one.value, "low": one.low, "high": one.high, "truth": true}
        | {"is within": one.low <= true <= one.high}
        for (name, one), true in zip(rows, truth, strict=True)
    ]
    return markdown_table(pl.DataFrame(table))


def pareto_chart(pool: Candidates, drawn: Drawn, plan: Plan) -> Figure:
    """Mean quality against the share of embedding space reached for a from 0 to 1, and the chosen set in colour.

    The curve is that of quality_coverage under the same budget, quotas and caps, whatever the strategy.
    """
    curve = {}
    for a in sorted({*A_VALUES, plan.quality_weight}):
        other = plan._replace(strategy=Strategy.quality_coverage, quality_weight=a)
        curve[f"a = {a:g}"] = selection.draw(pool, other).selected
    chosen = f"a = {plan.quality_weight:g}" if plan.strategy is Strategy.quality_coverage else plan.strategy.value
    measured = coverage.compare(
        curve | {chosen: drawn.selected},
        pool.quality,
        pool.density,
        pool.clusters,
        pool.tokens,
        vectors=pool.vectors,
        seed=plan.seed,
    )
    drawing, axes = figure(6, 4)
    measure = "space_reached_ratio" if measured["space_reached_ratio"].null_count() == 0 else "clusters_reached_ratio"
    line = measured.filter(pl.col("selection").is_in(list(curve)))
    axes.plot(line["mean_quality"], line[measure], color=GREY, zorder=1)
    for name, quality, reached in measured.select("selection", "mean_quality", measure).iter_rows():
        axes.scatter(quality, reached, color=BLUE if name == chosen else GREY, zorder=2)
        axes.annotate(name, (quality, reached), textcoords="offset points", xytext=(5, 5), fontsize=7)
    axes.set_xlabel("mean quality")
    axes.set_ylabel(
        "share of the embedding space reached" if measure.startswith("space") else "share of clusters reached"
    )
    return drawing


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
        log_scale(axes, "y")
    axes.legend(frameon=False, markerscale=3)
    return drawing
