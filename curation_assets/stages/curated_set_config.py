"""The configuration of `curated_set`: how much, how chosen, and what is held back before."""

from enum import Enum

import dagster as dg
from pydantic import Field, model_validator

from curation_assets.algorithms.selection import Strategy


class GroupBy(str, Enum):
    """What quotas are over."""

    source = "source"
    language = "language"
    cluster = "cluster"
    kind = "kind"
    label = "label"
    license = "license"


class QuotasConfig(dg.Config):
    """How the budget is divided over groups: a domain mix. Off unless `by` is given."""

    by: GroupBy | None = Field(
        default=None,
        description="What the groups are. Records without one count as the group 'none', and what people keep (`curate override`) "
        "counts towards its group before anything is drawn.",
    )
    shares: dict[str, float] = Field(
        default={},
        description="Share of the budget by group, e.g. {books: .5, web: .25}. Under 1 together, the rest goes to all other "
        "records as one group; at 1 they get nothing. A cluster's name is its id.",
    )
    equal: bool = Field(default=False, description="Or the same share for every group.")
    redistribute: bool = Field(
        default=True,
        description="What a group has too few records to take goes to the others in proportion to their shares; off: it "
        "stays unspent.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "QuotasConfig":
        if self.by is None and (self.shares or self.equal):
            raise ValueError("quotas: `by` is missing; it says what the groups are (source, language, cluster, …).")
        if self.by is not None and bool(self.shares) == self.equal:
            raise ValueError("quotas: give either shares or equal: true.")
        return self


class OutlierMethod(str, Enum):
    """How outliers are found."""

    none = "none"
    neighbour_distance = "neighbour_distance"
    cluster_spread = "cluster_spread"
    lof = "lof"
    isolation_forest = "isolation_forest"


class OutlierAction(str, Enum):
    """What is done about outliers."""

    cap = "cap"
    drop = "drop"


class OutlierConfig(dg.Config):
    """The guard before rare records get their large weights."""

    method: OutlierMethod = Field(
        default=OutlierMethod.cluster_spread,
        description="cluster_spread: distance to the own centroid in the cluster's robust spreads (ours; spares rare topics). "
        "neighbour_distance: to the 5th nearest of 1,000 sampled records (finds stray noise best, and flags loose rare topics "
        "too). lof: local outlier factor against 5,000 sampled records. isolation_forest. none.",
    )
    share: float = Field(default=0.01, gt=0, lt=1, description="Share of the records with the highest scores to flag.")
    above: float | None = Field(default=None, description="Or: flag every score above this.")
    action: OutlierAction = Field(
        default=OutlierAction.cap,
        description="cap: weigh at most the median (k_center takes them last). drop: rule `outlier`.",
    )


class ClusterActionKind(str, Enum):
    """What is done with a cluster."""

    drop = "drop"
    cap = "cap"
    weight = "weight"
    review = "review"


class ClusterActionConfig(dg.Config):
    """What a person decided about a cluster."""

    cluster_id: int = Field(description="The cluster, as in clusters.profiles.")
    action: ClusterActionKind = Field(
        description="drop: none of it. cap: at most `value` records. weight: its records weigh `value` times as much. "
        "review: held back and listed in curated_set.review."
    )
    value: float | None = Field(default=None, ge=0, description="Records for cap, factor for weight.")
    reason: str = Field(default="", description="Why; it stays with the records.")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "ClusterActionConfig":
        needs = self.action in (ClusterActionKind.cap, ClusterActionKind.weight)
        told = f"cluster_actions: {self.action.value} of cluster {self.cluster_id}"
        if needs != (self.value is not None):
            raise ValueError(f"{told} {'needs a value' if needs else 'takes no value'}.")
        if self.action is ClusterActionKind.cap and self.value != int(self.value):
            raise ValueError(f"{told} needs a whole number of records, got {self.value:g}.")
        if self.action is ClusterActionKind.weight and not 0 < self.value <= 1e6:
            raise ValueError(f"{told} needs a factor above 0 and up to a million; drop takes none of it.")
        return self


class Keep(str, Enum):
    """Which of two semantic duplicates stays."""

    farthest = "farthest"
    best = "best"


class Balance(str, Enum):
    """Who chooses quality_weight and sharpness."""

    given = "given"
    best_product = "best_product"


class Order(str, Enum):
    """In which order a model is to see the records."""

    none = "none"
    easy_to_hard = "easy_to_hard"
    hard_to_easy = "hard_to_easy"


class CuratedSetConfig(dg.Config):
    """How much is taken, and what counts. Give at most one budget."""

    budget_records: int | None = Field(default=None, ge=1, description="Records to take.")
    budget_tokens: int | None = Field(default=None, ge=1, description="Tokens to take, at 4 bytes of UTF-8 a token.")
    budget_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of the records to draw from to take, where no other budget is given.",
    )
    strategy: Strategy = Field(
        default=Strategy.quality_coverage,
        description="By chance: quality_coverage (weight quality^a × density^-(1-a)), density (a = 0), random. Without "
        "chance, so that the set speaks for itself alone: quality (the best), k_center (the farthest from those taken), "
        "facility_location (the most representative).",
    )
    quality_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a in quality^a × density^-(1-a): 1 looks at quality alone, 0 spreads evenly over the embedding space. In "
        "facility_location: a × quality + (1 - a) × what a record represents.",
    )
    sharpness: float = Field(
        default=1.0,
        gt=0,
        le=32,
        description="Exponent on the weight of quality_coverage. At a = .5 each part has half its exponent; 2 makes it "
        "quality / density: better and more even at once, with larger differences in chance.",
    )
    balance: Balance = Field(
        default=Balance.given,
        description="given: quality_weight and sharpness as they stand here. best_product: those with the highest product of mean "
        "quality and evenness over the clusters; take it where you trust the judge.",
    )
    max_inverse_density_ratio: float | None = Field(
        default=50.0,
        gt=1,
        description="Inverse densities above this many times the median are lowered to it; null: none is.",
    )
    quotas: QuotasConfig = Field(default=QuotasConfig(), description="Shares of the budget by source, language, …")
    outliers: OutlierConfig = Field(
        default=OutlierConfig(), description="The guard before rare records get large weights."
    )
    semantic_duplicate_cosine: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="SemDeDup: of two records of a cluster whose cosine is above this, one is dropped (.9 to .99 are usual). "
        "Default: off.",
    )
    semantic_duplicate_keep: Keep = Field(
        default=Keep.farthest,
        description="Which of the two stays: the farthest from the centroid (the paper's), or the best in quality.",
    )
    cluster_actions: list[ClusterActionConfig] = Field(
        default=[], description="What is done with single clusters: drop, cap, weight or review."
    )
    order: Order = Field(
        default=Order.none,
        description="Order of `position`: none is a seeded shuffle; difficulty is the mean rank of length and of distance to "
        "the cluster's centroid.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the draw, the shuffle and the guard's sample.")

    @model_validator(mode="after")
    def _has_one_budget_and_one_action_a_kind(self) -> "CuratedSetConfig":
        if self.budget_records and self.budget_tokens:
            raise ValueError("curated_set: budget_records and budget_tokens are both given; give one of them.")
        if self.balance is Balance.best_product and self.strategy is not Strategy.quality_coverage:
            raise ValueError(
                f"curated_set: balance best_product chooses for quality_coverage; {self.strategy.value} has nothing to balance."
            )
        seen = [(one.cluster_id, one.action) for one in self.cluster_actions]
        if repeated := {cluster for cluster, action in seen if seen.count((cluster, action)) > 1}:
            raise ValueError(f"cluster_actions: the same action twice for cluster {min(repeated)}; give it once.")
        drop, review = ClusterActionKind.drop, ClusterActionKind.review
        if both := {cluster for cluster, action in seen if action is drop and (cluster, review) in seen}:
            raise ValueError(f"cluster_actions: cluster {min(both)} is to be both dropped and reviewed; choose one.")
        return self
