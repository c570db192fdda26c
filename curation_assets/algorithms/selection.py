"""How a pool of candidates is drawn, and why each of them ended as it did.

A strategy takes a budget out of the pool, group by group where there are quotas, no more from a cluster than its cap.
Every record gets one rule with its value and threshold. Rows are positions in the pool.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np

from curation_assets.algorithms import coresets, quotas, sampling
from curation_assets.algorithms.coverage import occupancy_evenness
from curation_assets.algorithms.holding import Candidates


class Strategy(str, Enum):
    """How records are chosen. The first three draw by chance, the others leave nothing to it."""

    quality_coverage = "quality_coverage"
    density = "density"
    random = "random"
    quality = "quality"
    k_center = "k_center"
    facility_location = "facility_location"


BY_CHANCE = (Strategy.quality_coverage, Strategy.density, Strategy.random)
BY_RARITY = (Strategy.quality_coverage, Strategy.density, Strategy.k_center)
"""Strategies that favour rare records, so that outliers matter."""
QUALITY_WEIGHTS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARPNESSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""What `best_product` tries; at 32 the draw hardly depends on chance any more."""
TRIED_RECORDS = 20_000
"""Records of a pool that `best_product` tries its plans on at most."""
BY_VECTORS = (Strategy.k_center, Strategy.facility_location)


class Plan(NamedTuple):
    """How a pool is drawn: one strategy, one budget (records or tokens), and what bends it."""

    strategy: Strategy
    budget_records: int | None = None
    budget_tokens: int | None = None
    quality_weight: float = 0.5
    """a in quality^a × density^-(1-a), and the share of quality in facility location."""
    sharpness: float = 1.0
    """Exponent on that weight in quality_coverage."""
    max_inverse_density_ratio: float | None = 50.0
    """Inverse densities above this many times the median are lowered to it."""
    caps: Mapping[int, int] = {}
    """Cluster → records taken from it at most."""
    factors: Mapping[int, float] = {}
    """Cluster → factor on the weights of its records."""
    groups: np.ndarray | None = None
    """int64[n] of the pool: the quota each record counts towards; None without quotas."""
    shares: np.ndarray | None = None
    """float64[g]: each quota's share of the budget."""
    taken: np.ndarray | None = None
    """int64[g]: what is in already of each quota, in records or tokens, beside the budget; None for nothing."""
    redistribute: bool = True
    """Whether what a group is too small to take goes to the others."""
    is_outlier: np.ndarray | None = None
    """bool[n] of the pool: weigh at most the median of the others where rarity counts, and come last in k_center."""
    seed: int = 0


class Drawn(NamedTuple):
    """What was drawn from a pool of n records.

    ``selected`` bool[n]; ``inclusion_probability`` float64[n] (1 or 0 where nothing is left to chance); ``weight``
    float64[n] (nan: the strategy weighs nothing); ``key`` float64[n], the order of taking, smallest first: a draw, or the
    rank (nan: never reached); ``rule`` str[n], ``value``, ``threshold`` float64[n] as in the ledger; ``strata`` int64[n]:
    records that share one budget or one cap, and ``sizes`` int64[n], what that counts of each: 1 or its tokens;
    ``allocation``: what each quota was given.
    """

    selected: np.ndarray
    inclusion_probability: np.ndarray
    weight: np.ndarray
    key: np.ndarray
    rule: np.ndarray
    value: np.ndarray
    threshold: np.ndarray
    strata: np.ndarray
    sizes: np.ndarray
    allocation: quotas.Allocation | None


def draw(pool: Candidates, plan: Plan) -> Drawn:
    """Take the budget out of the pool.

    Caps come first: a capped cluster keeps the records its strategy takes first. Then each quota is its own draw with
    its own part of the budget. Raises ValueError for factors on clusters where the strategy weighs nothing.
    """
    weight = weights(pool, plan)
    sizes = np.ones(len(weight), dtype=np.int64) if plan.budget_tokens is None else pool.tokens
    budget = plan.budget_records if plan.budget_tokens is None else plan.budget_tokens
    under = _capped(pool, plan, weight, sizes <= budget)
    groups = np.zeros(len(weight), dtype=np.int64) if plan.groups is None else plan.groups
    allocation = None
    if plan.groups is not None:
        is_out = under.is_over | (
            (sizes > budget) & (budget > 0)
        )  # of no budget nothing is drawn, and no group has too little for it
        available = np.bincount(groups, np.where(is_out, 0, sizes), minlength=len(plan.shares)).astype(np.int64)
        allocation = quotas.allocate(budget, plan.shares, available, taken=plan.taken, redistribute=plan.redistribute)
    budgets = np.array([budget]) if allocation is None else allocation.budgets
    selected, probability = np.zeros(len(weight), dtype=bool), np.zeros(len(weight))
    key, cut = np.full(len(weight), np.nan), np.zeros(len(weight))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        taken = _take(pool, plan, weight, under, rows, int(budgets[group]))
        selected[rows], probability[rows], key[rows] = taken
        cut[rows] = key[rows][selected[rows]].max(initial=0)
    rule = np.where(selected, "selected", "not_selected").astype(object)
    value, threshold = key.copy(), cut
    own_budget = budgets[groups]
    if plan.groups is not None:
        wanted = _wanted_without_quotas(pool, plan, weight, under, budget) | (own_budget == 0)
        rule[~selected & wanted] = "over_quota"
    rule[under.is_over] = "cluster_capped"
    threshold[under.is_over] = under.cut[under.is_over]
    too_long = (sizes > own_budget) & (own_budget > 0)
    rule[too_long] = "longer_than_budget"
    value[too_long], threshold[too_long] = sizes[too_long], own_budget[too_long]
    # Only where the cap is what ends the cluster is the number of its records fixed, and the chance the cap's own.
    is_capped = np.isfinite(under.tau)
    capped_chance = -np.expm1(-weight[is_capped] * under.tau[is_capped])
    is_capped[is_capped] = probability[is_capped] >= capped_chance * (1 - 1e-12)
    strata = np.where(is_capped, len(budgets) + pool.clusters, groups)
    sizes = np.where(is_capped, 1, sizes)
    return Drawn(selected, probability, weight, key, rule, value, threshold, strata, sizes, allocation)


class Tried(NamedTuple):
    """What quality_coverage takes at one quality weight and sharpness, in expectation over seeds."""

    quality_weight: float
    sharpness: float
    mean_quality: float
    occupancy_entropy_ratio: float
    product: float


def best_product(pool: Candidates, plan: Plan) -> tuple[Plan, list[Tried]]:
    """The plan of quality_coverage whose set has the highest product of mean quality and coverage, and all that were tried.

    Both figures are expectations from the inclusion probabilities, so no draw decides: mean quality is Σ π·quality / Σ π,
    coverage the evenness of Σ π over the clusters (entropy of their shares / log(clusters)). The grid is `QUALITY_WEIGHTS`
    × `SHARPNESSES`, quality alone and density alone among it; a pool above `TRIED_RECORDS` stands in by every n-th
    record in the order of its hashes, with the budget and the caps scaled. Choosing by the product is ours.
    """
    few, scaled = _sampled(pool, plan)
    tried = []
    for a in QUALITY_WEIGHTS:
        for sharpness in SHARPNESSES:
            other = scaled._replace(quality_weight=a, sharpness=sharpness)
            tried.append(Tried(a, sharpness, *_expected(few, draw(few, other).inclusion_probability)))
    best = max(tried, key=lambda one: one.product)
    return plan._replace(quality_weight=best.quality_weight, sharpness=best.sharpness), tried


def _expected(pool: Candidates, probability: np.ndarray) -> tuple[float, float, float]:
    """Mean quality, evenness over the clusters, and their product, of what is taken with these probabilities."""
    if not probability.any():
        return 0.0, 0.0, 0.0
    quality = float(probability @ pool.quality / probability.sum())
    evenness = occupancy_evenness(pool.clusters, probability)
    return quality, evenness, quality * evenness


def _sampled(pool: Candidates, plan: Plan) -> tuple[Candidates, Plan]:
    """Every n-th record of a pool in the order of its hashes, and the plan for as many."""
    step = -(-len(pool.quality) // TRIED_RECORDS)
    if step <= 1:
        return pool, plan
    rows = np.sort(np.argsort(pool.hashes, kind="stable")[::step])

    def part(of_pool: np.ndarray | None) -> np.ndarray | None:
        return None if of_pool is None else of_pool[rows]

    def fewer(count: int | None) -> int | None:
        return None if count is None else -(-count // step)

    return pool.take(rows), plan._replace(
        budget_records=fewer(plan.budget_records),
        budget_tokens=fewer(plan.budget_tokens),
        caps={cluster: fewer(cap) for cluster, cap in plan.caps.items()},
        groups=part(plan.groups),
        taken=None if plan.taken is None else plan.taken // step,
        is_outlier=part(plan.is_outlier),
    )


def weights(pool: Candidates, plan: Plan) -> np.ndarray:
    """The weight of each record of the pool, float64[n]; nan under strategies that weigh nothing."""
    if plan.strategy in BY_VECTORS:
        if plan.factors:
            raise ValueError(
                f"cluster_actions: a weight has no effect under {plan.strategy.value}, which weighs nothing; cap or drop "
                "the cluster, or use another strategy."
            )
        return np.full(len(pool.quality), np.nan)
    if plan.strategy is Strategy.random:
        weight = np.ones(len(pool.quality))
    elif plan.strategy is Strategy.quality:
        weight = np.asarray(pool.quality, dtype=np.float64)  # no floor: among poor records too the best come first
    else:
        is_mixed = plan.strategy is Strategy.quality_coverage
        a, sharpness = (plan.quality_weight, plan.sharpness) if is_mixed else (0.0, 1.0)
        weight = sampling.weights(
            pool.quality,
            pool.density,
            a,
            sharpness=sharpness,
            max_inverse_density_ratio=plan.max_inverse_density_ratio,
        )
    others = None if plan.is_outlier is None else weight[~plan.is_outlier]
    if plan.strategy in BY_RARITY and others is not None and 0 < len(others) < len(weight):
        weight = np.where(plan.is_outlier, np.minimum(weight, np.median(others)), weight)
    for cluster, factor in plan.factors.items():
        weight = np.where(pool.clusters == cluster, weight * factor, weight)
    return weight


def _capped(pool: Candidates, plan: Plan, weight: np.ndarray, fits: np.ndarray) -> sampling.Ceiling:
    """What the caps on clusters leave of the records that fit the budget (bool[n]); the others fill no cap."""
    if plan.strategy in BY_CHANCE:
        return sampling.ceiling(np.where(fits, weight, 0), pool.hashes, pool.clusters, plan.caps, seed=plan.seed)
    nothing = np.full(len(weight), np.inf)
    under = sampling.Ceiling(np.zeros(len(weight), dtype=bool), nothing, nothing.copy())
    for cluster, cap in plan.caps.items():
        rows = np.flatnonzero((pool.clusters == cluster) & fits)
        if len(rows) > cap:
            under.is_over[np.setdiff1d(rows, _ranked(pool, plan, weight, rows, cap)[:cap])] = True
            under.cut[rows] = cap
    return under


def _take(
    pool: Candidates,
    plan: Plan,
    weight: np.ndarray,
    under: sampling.Ceiling,
    rows: np.ndarray,
    budget: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take a budget out of some rows: selected, inclusion probability and key of each of them."""
    if plan.strategy in BY_CHANCE:
        unit = "budget_records" if plan.budget_tokens is None else "budget_tokens"
        part = sampling.Ceiling(*(column[rows] for column in under))
        drawn = sampling.sample(
            weight[rows], pool.hashes[rows], **{unit: budget}, tokens=pool.tokens[rows], under=part, seed=plan.seed
        )
        return drawn.selected, drawn.inclusion_probability, np.where(np.isfinite(drawn.key), drawn.key, np.nan)
    open_rows = rows[~under.is_over[rows]]
    if plan.budget_tokens is None:
        order = _ranked(pool, plan, weight, open_rows, budget)
    else:
        open_rows = open_rows[pool.tokens[open_rows] <= budget]
        order = _ranked_to_tokens(pool, plan, weight, open_rows, budget)
    rank = np.full(len(weight), np.nan)
    rank[order] = np.arange(1, len(order) + 1)
    size = np.ones(len(order)) if plan.budget_tokens is None else pool.tokens[order]
    selected = np.zeros(len(weight), dtype=bool)
    selected[order[np.cumsum(size) <= budget]] = True
    return selected[rows], selected[rows].astype(np.float64), rank[rows]


def _ranked(pool: Candidates, plan: Plan, weight: np.ndarray, rows: np.ndarray, limit: int) -> np.ndarray:
    """The first ``limit`` of some rows, at least, in the order a strategy without chance takes them."""
    if plan.strategy is Strategy.quality:
        tie = sampling.uniforms(pool.hashes[rows], plan.seed)
        return rows[np.lexsort((tie, -weight[rows]))]
    if plan.strategy is Strategy.facility_location:
        order, _ = coresets.facility_location(
            pool.vectors[rows],
            pool.clusters[rows],
            quality=pool.quality[rows],
            quality_weight=plan.quality_weight,
            limit=limit,
            seed=plan.seed,
        )
        return rows[order]
    order = []
    is_outlier = np.zeros(len(rows), dtype=bool) if plan.is_outlier is None else plan.is_outlier[rows]
    for part in (rows[~is_outlier], rows[is_outlier]):
        left = limit - sum(map(len, order))
        if left > 0 and len(part):
            start = int(sampling.uniforms(pool.hashes[part], plan.seed).argmin())
            order.append(part[coresets.k_center(pool.vectors[part], left, start=start)])
    return np.concatenate(order) if order else rows[:0]


def _ranked_to_tokens(pool: Candidates, plan: Plan, weight: np.ndarray, rows: np.ndarray, budget: int) -> np.ndarray:
    """As many ranked rows as a token budget could need: guessed from the mean length, doubled while too few."""
    if not len(rows):
        return rows
    limit = int(1.2 * budget / pool.tokens[rows].mean()) + 1
    while True:
        order = _ranked(pool, plan, weight, rows, limit)
        if len(order) >= len(rows) or pool.tokens[order].sum() > budget:
            return order
        limit *= 2


def _wanted_without_quotas(
    pool: Candidates, plan: Plan, weight: np.ndarray, under: sampling.Ceiling, budget: int
) -> np.ndarray:
    """Which records the same draw without quotas would take, bool[n].

    Nothing where each pick depends on the picks before it: that is another draw altogether.
    """
    if plan.strategy in BY_VECTORS:
        return np.zeros(len(weight), dtype=bool)
    everyone = np.arange(len(weight))
    plain = plan._replace(groups=None, shares=None, taken=None)
    return _take(pool, plain, weight, under, everyone, budget)[0]
