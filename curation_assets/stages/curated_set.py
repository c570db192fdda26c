"""The `curated_set` stage: what is held back, and a draw to a budget from the rest."""

from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from curation_assets import overrides
from curation_assets.algorithms import curriculum, holding, outliers, quotas, selection
from curation_assets.algorithms.holding import Candidates, Verdicts
from curation_assets.algorithms.selection import Drawn, Plan
from curation_assets.pages import materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.curated_set_config import (
    Balance,
    ClusterActionConfig,
    ClusterActionKind,
    CuratedSetConfig,
    GroupBy,
    Keep,
    Order,
    OutlierAction,
    OutlierConfig,
    OutlierMethod,
)
from curation_assets.stages.curated_set_page import balance_notes, metadata, plots, summary
from curation_assets.stages.density import density
from curation_assets.stages.filtered import filtered
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.warehouse import Warehouse

CANDIDATES = (
    "select r.record_id, r.source, s.language, a.cluster_id, r.kind, r.label, r.license, q.quality, d.density, a.distance, "
    "len(r.text) as chars, greatest(1, ceil(strlen(r.text) / 4))::bigint as tokens, "
    "md5_number_upper(r.record_id) as draw_hash "
    "from filtered.records as r join filtered.signals as s using (record_id) join quality_scores.scores as q using (record_id) "
    "join density.scores as d using (record_id) join clusters.assignments as a using (record_id) order by r.record_id"
)
NOTHING_SAID = pl.DataFrame(schema=overrides.IN_FORCE)
HELD_RULES = {ClusterActionKind.drop: "cluster_dropped", ClusterActionKind.review: "cluster_review"}


@dg.asset(
    deps=[filtered, clusters, density, quality_scores],
    group_name="product",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="3",
)
def curated_set(
    context: dg.AssetExecutionContext, config: CuratedSetConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record of the curated set: the training data.

    By default a weighted draw without replacement, weight quality^a × density^-(1-a), to a budget in records or tokens;
    every candidate's chance is stored, so the set can speak for the whole it was drawn from. Other strategies, quotas,
    semantic duplicates, outliers and verdicts on whole clusters are in its config; every candidate gets one decision.
    """
    started = warehouse.begin()
    warehouse.require_all_records("quality_scores.scores", "density.scores", "clusters.assignments")
    candidates = warehouse.query(CANDIDATES)
    chosen = select(candidates, warehouse.vectors()[1], config, overrides.in_force(warehouse))
    with warehouse.commit(
        context, config, rows_in=len(candidates), main="curated_set.records", started=started
    ) as commit:
        commit.build("curated_set.scores", chosen.scores)
        commit.build("curated_set.review")
        commit.decide()
        commit.build("curated_set.records")
        commit.keep_the_rest()
        commit.notes = chosen.notes
    return materialized(
        warehouse,
        "curated_set.records",
        plots=plots(chosen.scores, chosen.pool, chosen.drawn, chosen.plan),
        **metadata(chosen.pool, chosen.drawn, chosen.plan, chosen.notes),
    )


class Chosen(NamedTuple):
    """What came of the candidates: rows of curated_set.scores, the pool that was drawn from, how, and what to note."""

    scores: pl.DataFrame
    pool: Candidates
    drawn: Drawn
    plan: Plan
    notes: dict[str, Any]


def select(
    candidates: pl.DataFrame, vectors: np.ndarray | None, config: CuratedSetConfig, said: pl.DataFrame = NOTHING_SAID
) -> Chosen:
    """Choose among the candidates (rows of CANDIDATES, their vectors beside them) as people said and the config says.

    said: the overrides in force. What people keep is in without a draw and counts in the budget.

    Raises ValueError if there is nothing to draw from, if nothing fits the budget, or if the config names clusters or
    groups that are not there.
    """
    if not len(candidates):
        raise ValueError(
            "curated_set: no record is left to draw from. `curate funnel` shows which rule dropped them; "
            "loosen it in the config of `filtered`."
        )
    everyone = measures(candidates, vectors)
    refuse_unknown_clusters(config.cluster_actions, everyone.clusters)
    verdicts = holding.no_verdicts(len(candidates))
    overridden = candidates.select("record_id").join(said, on="record_id", how="left", maintain_order="left")
    is_kept = (overridden["verdict"] == "keep").fill_null(False).to_numpy()
    is_dropped = (overridden["verdict"] == "drop").fill_null(False).to_numpy()
    verdicts.give(np.flatnonzero(is_dropped), "override", np.nan, np.nan)
    is_outlier, notes = hold_back(verdicts, everyone, config, is_kept)
    if len(said_of := overridden["verdict"].drop_nulls().value_counts(sort=True)):
        notes = notes | {"overrides": dict(said_of.iter_rows())}
    if not len(verdicts.pool) and not is_kept.any():
        raise ValueError(
            "curated_set: every record was held back before the draw; see cluster_actions, outliers and "
            "semantic_duplicate_cosine in the config of `curated_set`."
        )
    pool = everyone.take(verdicts.pool)
    plan, names = plan_of(candidates[verdicts.pool], config, candidates.filter(is_kept))
    plan = plan._replace(is_outlier=is_outlier[verdicts.pool])
    if config.balance is Balance.best_product:
        plan, tried = selection.best_product(pool, plan)
        notes = notes | {"balance": balance_notes(tried)}
    drawn = selection.draw(pool, plan)
    if not drawn.selected.any() and not is_kept.any():
        raise ValueError(
            f"curated_set: no record fits into the budget of {plan.budget_tokens or plan.budget_records:,}; "
            f"the smallest candidate has {pool.tokens.min():,} tokens."
        )
    scores = scores_of(candidates, verdicts, drawn, config, is_kept, overridden["reason"])
    return Chosen(scores, pool, drawn, plan, notes | summary(scores, drawn, names))


def measures(candidates: pl.DataFrame, vectors: np.ndarray | None) -> Candidates:
    """The columns of CANDIDATES that count, as arrays."""
    columns = ("quality", "density", "tokens", "chars", "draw_hash", "cluster_id", "distance")
    return Candidates(*(candidates[name].to_numpy() for name in columns), vectors)


def refuse_unknown_clusters(actions: list[ClusterActionConfig], clusters: np.ndarray) -> None:
    """Raise ValueError for an action on a cluster that is not there, naming those with the nearest ids."""
    known = np.unique(clusters)
    for one in actions:
        if one.cluster_id not in known:
            near = sorted(known[np.argsort(np.abs(known - one.cluster_id), kind="stable")[:3]].tolist())
            raise ValueError(
                f"cluster_actions: there is no cluster {one.cluster_id}; the nearest ids are {', '.join(map(str, near))}. "
                "The table clusters.profiles lists them with their words: `curate sql 'from clusters.profiles'`."
            )


def hold_back(
    verdicts: Verdicts, everyone: Candidates, config: CuratedSetConfig, is_kept: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Give verdicts to what is not to be drawn; return which records are outliers (bool[n]) and what was found.

    First what a person decided on whole clusters, then semantic duplicates, then outliers. What people keep (is_kept, bool[n])
    stays whatever these say, stands for its semantic duplicates, and is not drawn either.
    """
    held = {one.cluster_id: HELD_RULES[one.action] for one in config.cluster_actions if one.action in HELD_RULES}
    holding.hold_back_clusters(verdicts, everyone, held)
    if config.semantic_duplicate_cosine is not None:
        holding.hold_back_semantic_duplicates(
            verdicts,
            everyone,
            config.semantic_duplicate_cosine,
            keep_best=config.semantic_duplicate_keep is Keep.best,
            first=is_kept,
        )
    verdicts.give(np.flatnonzero(is_kept), "override", np.nan, np.nan)
    is_outlier = np.zeros(len(verdicts.rule), dtype=bool)
    guard, pool = config.outliers, verdicts.pool
    matters = guard.action is OutlierAction.drop or config.strategy in selection.BY_RARITY
    if guard.method is OutlierMethod.none or not matters or len(pool) < 2:
        return is_outlier, {}
    outlier_scores = score_outliers(everyone.take(pool), guard, config.seed)
    flagged, cut = holding.outliers(outlier_scores, share=guard.share, above=guard.above)
    if guard.action is OutlierAction.drop:
        verdicts.give(pool[flagged], "outlier", outlier_scores[flagged], cut)
    else:
        is_outlier[pool[flagged]] = True
    notes = {"method": guard.method.value, "action": guard.action.value, "cut": round(cut, 4)}
    return is_outlier, {"outliers": notes | {"records": int(flagged.sum())}}


def score_outliers(pool: Candidates, guard: OutlierConfig, seed: int) -> np.ndarray:
    """How much of an outlier each record of the pool is, float64[n], by the method of the config."""
    if guard.method is OutlierMethod.lof:
        return outliers.local_outlier_factor(pool.vectors, seed=seed)
    if guard.method is OutlierMethod.isolation_forest:
        return outliers.isolation_score(pool.vectors, seed=seed)
    if guard.method is OutlierMethod.neighbour_distance:
        return outliers.neighbour_distance(pool.vectors, seed=seed)
    return outliers.cluster_spread_score(pool.distances, pool.clusters)


def plan_of(pool: pl.DataFrame, config: CuratedSetConfig, kept: pl.DataFrame) -> tuple[Plan, list[str]]:
    """The plan of the draw from a pool (rows of CANDIDATES), and the names of its quotas.

    kept: the records people keep, rows of CANDIDATES too, which are in already and count in the budget, in the quotas and in the caps of
    clusters.
    """
    n_kept, kept_tokens = len(kept), int(kept["tokens"].sum())
    kept_of_cluster = dict(kept["cluster_id"].value_counts().iter_rows())
    by_action = {
        action: {one.cluster_id: one.value for one in config.cluster_actions if one.action is action}
        for action in (ClusterActionKind.cap, ClusterActionKind.weight)
    }
    records = config.budget_records or max(1, round(config.budget_share * (len(pool) + n_kept)))
    plan = Plan(
        strategy=config.strategy,
        budget_records=None if config.budget_tokens else min(max(0, records - n_kept), len(pool)),
        budget_tokens=config.budget_tokens and max(0, config.budget_tokens - kept_tokens),
        quality_weight=config.quality_weight,
        sharpness=config.sharpness,
        max_inverse_density_ratio=config.max_inverse_density_ratio,
        caps={
            cluster: max(0, int(cap) - int(kept_of_cluster.get(cluster, 0)))
            for cluster, cap in by_action[ClusterActionKind.cap].items()
        },
        factors=by_action[ClusterActionKind.weight],
        redistribute=config.quotas.redistribute,
        seed=config.seed,
    )
    if config.quotas.by is None:
        return plan, []
    column = "cluster_id" if config.quotas.by is GroupBy.cluster else config.quotas.by.value
    values, of_kept = (rows[column].cast(pl.String).fill_null("none") for rows in (pool, kept))
    names = pl.concat([values, of_kept]).unique().sort().to_list()
    groups, shares = quotas.group_shares(names, config.quotas.shares, equal=config.quotas.equal)
    position = dict(zip(names, groups.tolist(), strict=True))
    group_of, group_of_kept = (
        part.replace_strict(position, return_dtype=pl.Int64).to_numpy() for part in (values, of_kept)
    )
    sizes = kept["tokens"].to_numpy() if config.budget_tokens else None
    taken = np.bincount(group_of_kept, sizes, minlength=len(shares)).astype(np.int64)
    return plan._replace(groups=group_of, shares=shares, taken=taken), (
        names if config.quotas.equal else [*config.quotas.shares, "everything else"]
    )


def scores_of(
    candidates: pl.DataFrame,
    verdicts: Verdicts,
    drawn: Drawn,
    config: CuratedSetConfig,
    is_kept: np.ndarray,
    said: pl.Series,
) -> pl.DataFrame:
    """Rows of curated_set.scores: one per candidate, kept by a person (is_kept, bool[n]), held back or drawn.

    said: people's reasons, null where nobody decided.
    """
    pool, n = verdicts.pool, len(candidates)

    def spread(values: np.ndarray) -> pl.Series:
        column = np.full(n, np.nan)
        column[pool] = values
        return pl.Series(column, nan_to_null=True)

    verdicts.give(pool, drawn.rule, drawn.value, drawn.threshold)
    is_selected = is_kept.copy()
    is_selected[pool] = drawn.selected
    hard = curriculum.difficulty(candidates["chars"].to_numpy(), candidates["distance"].to_numpy())
    place = np.full(n, np.nan)
    place[is_selected] = curriculum.positions(
        candidates["draw_hash"].to_numpy()[is_selected],
        config.seed,
        difficulty=None if config.order is Order.none else hard[is_selected],
        hardest_first=config.order is Order.hard_to_easy,
    )
    ids = candidates["record_id"]
    match = pl.Series(np.where(verdicts.match >= 0, verdicts.match, 0))
    reasons = {one.cluster_id: one.reason for one in config.cluster_actions if one.action in HELD_RULES}
    return candidates.select("record_id", "quality", "density", "tokens").with_columns(
        weight=spread(drawn.weight),
        draw=spread(drawn.key),
        inclusion_probability=pl.when(pl.Series(is_kept)).then(1.0).otherwise(spread(drawn.inclusion_probability)),
        is_selected=pl.Series(is_selected),
        difficulty=pl.Series(hard),
        position=pl.Series(place, nan_to_null=True).cast(pl.Int64),
        rule=pl.Series(verdicts.rule.tolist(), dtype=pl.String),
        value=pl.Series(verdicts.value, nan_to_null=True),
        threshold=pl.Series(verdicts.threshold, nan_to_null=True),
        matched_record_id=pl.when(pl.Series(verdicts.match >= 0)).then(ids.gather(match)),
        reason=pl.coalesce(
            said,
            candidates["cluster_id"].replace_strict(reasons, default=None, return_dtype=pl.String),
        ),
    )
