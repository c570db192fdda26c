"""What is chosen from made-up candidates, and that every one of them ends with one rule."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curation_assets.algorithms import horvitz_thompson, selection
from curation_assets.algorithms.selection import BY_CHANCE, Strategy
from curation_assets.stages.curated_set import select
from curation_assets.stages.curated_set_config import CuratedSetConfig
from curation_assets.stages.curated_set_page import estimates, metadata, plots

N = 600


@pytest.fixture(scope="module")
def candidates() -> pl.DataFrame:
    """600 records in six clusters of unequal size, from three sources, with 20 near-copies."""
    rng = np.random.default_rng(0)
    chars = rng.integers(40, 4_000, N)
    return pl.DataFrame(
        {
            "record_id": [f"{i:04d}" for i in range(N)],
            "source": rng.choice(["web", "books", "forum"], N, p=[0.7, 0.2, 0.1]),
            "language": rng.choice(["en", "ko", None], N, p=[0.8, 0.15, 0.05]),
            "cluster_id": np.repeat([3, 4, 5, 7, 8, 9], [300, 150, 80, 40, 20, 10]).astype(np.int32),
            "kind": ["document"] * N,
            "label": [None] * N,
            "license": ["CC0"] * N,
            "quality": rng.random(N),
            "density": 1 + np.repeat([300, 150, 80, 40, 20, 10], [300, 150, 80, 40, 20, 10]) * rng.random(N),
            "distance": rng.random(N).astype(np.float32),
            "chars": chars,
            "tokens": np.maximum(1, chars // 4),
            "draw_hash": rng.integers(0, 1 << 63, N).astype(np.uint64),
        },
        schema_overrides={"label": pl.String},
    )


@pytest.fixture(scope="module")
def vectors(candidates) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.eye(12)[candidates["cluster_id"]] + 0.3 * rng.normal(size=(N, 12))
    found[300:320] = found[320:340] + 0.001 * rng.normal(size=(20, 12))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def rules(chosen) -> dict[str, int]:
    return dict(chosen.scores.group_by("rule").len().iter_rows())


BUDGETS = {"budget_records": 60}, {"budget_tokens": 30_000}, {"budget_share": 1.0}
BENT = {
    "quotas": {"by": "source", "shares": {"web": 0.3, "books": 0.5}},
    "semantic_duplicate_cosine": 0.98,
    "outliers": {"method": "lof", "share": 0.02, "action": "drop"},
    "cluster_actions": [
        {"cluster_id": 7, "action": "review", "reason": "half of it is machine-made"},
        {"cluster_id": 9, "action": "drop"},
        {"cluster_id": 3, "action": "cap", "value": 7},
    ],
    "order": "easy_to_hard",
}


@pytest.mark.parametrize("budget", BUDGETS, ids=["records", "tokens", "everything"])
@pytest.mark.parametrize("bent", [{}, BENT], ids=["plain", "bent"])
@pytest.mark.parametrize("strategy", Strategy)
def test_every_candidate_ends_with_one_rule_and_the_budget_holds(candidates, vectors, strategy, bent, budget):
    config = CuratedSetConfig(strategy=strategy, **budget, **bent)
    chosen = select(candidates, vectors, config)
    scores = chosen.scores
    assert scores["record_id"].to_list() == candidates["record_id"].to_list()
    assert scores["rule"].null_count() == 0
    assert (scores["is_selected"] == (scores["rule"] == "selected")).all()
    selected = scores.filter("is_selected")
    assert 0 < len(selected) <= (config.budget_records or N)
    assert selected["tokens"].sum() <= (config.budget_tokens or 10**9)
    assert (selected["inclusion_probability"] > 0).all()
    assert sorted(selected["position"]) == list(range(1, len(selected) + 1))
    assert (selected["value"] <= selected["threshold"]).all()
    passed_over = scores.filter(pl.col("rule") == "not_selected").drop_nulls("value")
    assert (passed_over["value"] >= passed_over["threshold"]).all()
    if strategy not in BY_CHANCE:
        assert set(scores["inclusion_probability"].drop_nulls()) <= {0, 1}
    if bent:
        found = rules(chosen)
        assert found["cluster_review"] == 40
        assert found["cluster_dropped"] == 10
        assert scores.filter(pl.col("rule") == "cluster_review")["reason"].unique().to_list() == [
            "half of it is machine-made"
        ]
        assert found["semantic_duplicate"] > 0
        assert found["outlier"] > 0
        assert (selected["record_id"] < "0300").sum() <= 7
        duplicates = scores.filter(pl.col("rule") == "semantic_duplicate")
        kept = scores.filter(pl.col("rule") != "semantic_duplicate")["record_id"]
        assert duplicates["matched_record_id"].is_in(kept.implode()).all()
        assert (duplicates["value"] > 0.98).all()
    # The page can be drawn of every one of them.
    assert set(plots(scores, chosen.pool, chosen.drawn, chosen.plan)) == {
        "density_by_quality",
        "quality_against_coverage",
    }
    assert "speaks_for_the_whole" in metadata(chosen.pool, chosen.drawn, chosen.plan, chosen.notes)
    assert ("nothing to chance" in estimates(chosen.pool, chosen.drawn, chosen.plan)) == (strategy not in BY_CHANCE)


def test_a_domain_mix_is_what_was_asked_and_the_ledger_tells_who_was_over_quota(candidates, vectors):
    shares = {"web": 0.2, "books": 0.4, "forum": 0.4}
    config = CuratedSetConfig(budget_records=100, quotas={"by": "source", "shares": shares})
    chosen = select(candidates, vectors, config)
    selected = chosen.scores.filter("is_selected").join(candidates.select("record_id", "source"), on="record_id")
    assert dict(selected["source"].value_counts().iter_rows()) == {"web": 20, "books": 40, "forum": 40}
    assert rules(chosen)["over_quota"] > 0
    over = chosen.scores.filter(pl.col("rule") == "over_quota").join(
        candidates.select("record_id", "source"), on="record_id"
    )
    assert "forum" not in over["source"].to_list()
    assert chosen.notes["quotas"]["web"] == {"asked": 20.0, "given": 20, "has_too_little": False}
    by_source = chosen.scores.join(candidates.select("record_id", "source"), on="record_id").group_by("source")
    sums = dict(by_source.agg(pl.col("inclusion_probability").sum()).iter_rows())
    assert sums == pytest.approx({"web": 20, "books": 40, "forum": 40}, rel=1e-6)


def test_what_a_group_lacks_goes_to_the_others_or_stays_unspent(candidates, vectors):
    quotas = {"by": "cluster", "equal": True}
    spread = select(candidates, vectors, CuratedSetConfig(budget_records=120, quotas=quotas))
    assert sorted(quota["given"] for quota in spread.notes["quotas"].values()) == [10, 20, 22, 22, 23, 23]
    left = select(candidates, vectors, CuratedSetConfig(budget_records=120, quotas=quotas | {"redistribute": False}))
    assert sorted(quota["given"] for quota in left.notes["quotas"].values()) == [10, 20, 20, 20, 20, 20]
    assert left.notes["quotas"]["9"]["has_too_little"]


@pytest.mark.parametrize("budget", [{"budget_records": 90}, {"budget_tokens": 45_000}], ids=["records", "tokens"])
def test_chances_are_frequencies_under_caps_quotas_and_factors(candidates, vectors, budget):
    bent = {
        "quotas": {"by": "source", "shares": {"web": 0.5, "books": 0.3}},
        "cluster_actions": [
            {"cluster_id": 3, "action": "cap", "value": 12},
            {"cluster_id": 5, "action": "weight", "value": 3},
        ],
    }
    chosen = select(candidates, None, CuratedSetConfig(**budget, **bent))
    runs = [selection.draw(chosen.pool, chosen.plan._replace(seed=seed)) for seed in range(300)]
    frequency = np.mean([run.selected for run in runs], axis=0)
    chance = np.mean([run.inclusion_probability for run in runs], axis=0)
    z = (frequency - chance) / np.sqrt(np.maximum(chance * (1 - chance), 1e-2) / 300)
    assert np.sqrt((z**2).mean()) < 1.2
    assert abs(z).max() < 5


def test_a_quota_of_nothing_and_one_too_small_for_a_record_are_told_apart(candidates, vectors):
    quotas = {"by": "source", "shares": {"web": 0.99, "books": 0.01}}
    by_tokens = select(candidates, vectors, CuratedSetConfig(budget_tokens=30_000, quotas=quotas)).scores
    by_tokens = by_tokens.join(candidates.select("record_id", "source"), on="record_id")
    assert by_tokens.filter(pl.col("source") == "forum")["rule"].unique().to_list() == ["over_quota"]
    too_long = by_tokens.filter((pl.col("source") == "books") & (pl.col("tokens") > 300))
    assert too_long["rule"].unique().to_list() == ["longer_than_budget"]
    assert (too_long["value"] == too_long["tokens"]).all() and (too_long["threshold"] == 300).all()
    assert "longer_than_budget" not in rules(select(candidates, vectors, CuratedSetConfig(quotas=quotas)))


def test_the_best_are_taken_however_poor_all_are(candidates, vectors):
    poor = candidates.with_columns(pl.col("quality") / 1_000)
    scores = select(poor, vectors, CuratedSetConfig(strategy="quality", budget_records=60)).scores
    assert scores.filter("is_selected")["quality"].min() >= scores.filter(~pl.col("is_selected"))["quality"].max()


@pytest.mark.parametrize("strategy", ["random", "k_center"])
def test_records_longer_than_the_budget_fill_no_cap(candidates, vectors, strategy):
    long = candidates.with_columns(tokens=pl.when(pl.int_range(N) < 290).then(10_000).otherwise(10).cast(pl.Int64))
    cap = [{"cluster_id": 3, "action": "cap", "value": 10}]
    config = CuratedSetConfig(strategy=strategy, budget_tokens=3_200, cluster_actions=cap, outliers={"method": "none"})
    chosen = select(long, vectors, config)
    assert (chosen.scores.filter("is_selected")["record_id"] < "0300").sum() == 10
    assert rules(chosen)["longer_than_budget"] == 290


@pytest.mark.parametrize("cap", [20, 80])
def test_intervals_cover_the_truth_under_caps_that_bind_and_caps_that_do_not(candidates, cap):
    action = [{"cluster_id": 3, "action": "cap", "value": cap}]
    chosen = select(candidates, None, CuratedSetConfig(strategy="random", budget_records=60, cluster_actions=action))
    clusters = chosen.pool.clusters
    hits = []
    for seed in range(200):
        drawn = selection.draw(chosen.pool, chosen.plan._replace(seed=seed))
        options = {"sizes": drawn.sizes, "strata": drawn.strata}
        found = [
            horvitz_thompson.share(clusters == one, drawn.inclusion_probability, drawn.selected, **options)
            for one in (3, 4, 9)
        ]
        truth = [(clusters == one).mean() for one in (3, 4, 9)]
        hits.append([one.low - 1e-9 <= true <= one.high + 1e-9 for one, true in zip(found, truth, strict=True)])
    assert (np.mean(hits, axis=0) > 0.9).all()


def test_a_group_that_gives_all_its_caps_leave_gives_its_other_records_for_sure(candidates, vectors):
    config = CuratedSetConfig(
        budget_tokens=90_000,
        quotas={"by": "source", "shares": {"forum": 0.9, "books": 0.1}},
        cluster_actions=[{"cluster_id": 3, "action": "cap", "value": 10}],
    )
    chosen = select(candidates, vectors, config)
    for seed in range(20):
        drawn = selection.draw(chosen.pool, chosen.plan._replace(seed=seed))
        is_forum = chosen.plan.groups == 0
        assert drawn.selected[is_forum & (chosen.pool.clusters != 3)].all()
        assert (drawn.inclusion_probability[is_forum & (chosen.pool.clusters != 3)] == 1).all()


def test_a_factor_of_two_doubles_small_chances(candidates, vectors):
    plain = CuratedSetConfig(strategy="random", budget_records=30)
    twice = CuratedSetConfig(
        strategy="random", budget_records=30, cluster_actions=[{"cluster_id": 8, "action": "weight", "value": 2}]
    )
    chances = [
        select(candidates, vectors, config).scores.filter(pl.Series(candidates["cluster_id"] == 8))[
            "inclusion_probability"
        ]
        for config in (plain, twice)
    ]
    assert chances[1].mean() == pytest.approx(2 * chances[0].mean(), rel=0.06)


def test_capped_outliers_weigh_no_more_than_the_median(candidates, vectors):
    strange = candidates.with_columns(
        density=pl.when(pl.col("record_id") == "0000").then(1.0).otherwise(pl.col("density") + 100),
        distance=pl.when(pl.col("record_id") == "0000").then(9.0).otherwise(pl.col("distance")).cast(pl.Float32),
    )
    guard = {"method": "cluster_spread"}
    guarded = select(strange, vectors, CuratedSetConfig(strategy="density", budget_records=60, outliers=guard))
    bare = select(
        strange, vectors, CuratedSetConfig(strategy="density", budget_records=60, outliers={"method": "none"})
    )
    assert bare.scores["weight"][0] > 40 * bare.scores["weight"].median()
    assert guarded.scores["weight"][0] == pytest.approx(guarded.scores["weight"].median(), rel=0.05)
    assert guarded.notes["outliers"]["records"] == 6


def test_positions_go_from_easy_to_hard_or_back_or_anyhow(candidates, vectors):
    orders = {}
    for order in ("none", "easy_to_hard", "hard_to_easy"):
        scores = select(candidates, vectors, CuratedSetConfig(budget_records=60, order=order)).scores
        orders[order] = scores.filter("is_selected").sort("position")["difficulty"]
    assert orders["easy_to_hard"].is_sorted()
    assert orders["hard_to_easy"].is_sorted(descending=True)
    assert not orders["none"].is_sorted()


def test_impossible_configs_are_refused_with_what_to_do(candidates, vectors):
    with pytest.raises(ValueError, match="no cluster 6; the nearest ids are 4, 5, 7"):
        select(candidates, vectors, CuratedSetConfig(cluster_actions=[{"cluster_id": 6, "action": "drop"}]))
    weighted = {"cluster_actions": [{"cluster_id": 3, "action": "weight", "value": 2}]}
    with pytest.raises(ValueError, match="no effect under k_center"):
        select(candidates, vectors, CuratedSetConfig(strategy="k_center", **weighted))
    with pytest.raises(ValueError, match="held back before the draw"):
        drops = [{"cluster_id": cluster, "action": "drop"} for cluster in (3, 4, 5, 7, 8, 9)]
        select(candidates, vectors, CuratedSetConfig(cluster_actions=drops))
    with pytest.raises(ValueError, match="no record fits"):
        select(candidates, vectors, CuratedSetConfig(budget_tokens=1))
    with pytest.raises(ValueError, match="no record is left"):
        select(candidates.head(0), vectors[:0], CuratedSetConfig())
    for bad in (
        {"budget_tokens": 1, "budget_records": 1},
        {"quotas": {"shares": {"web": 1.0}}},
        {"quotas": {"by": "source"}},
        {"cluster_actions": [{"cluster_id": 3, "action": "cap"}]},
        {"cluster_actions": [{"cluster_id": 3, "action": "cap", "value": 2.5}]},
        {"cluster_actions": [{"cluster_id": 3, "action": "drop", "value": 1}]},
        {"cluster_actions": [{"cluster_id": 3, "action": "drop"}, {"cluster_id": 3, "action": "drop"}]},
        {"cluster_actions": [{"cluster_id": 3, "action": "drop"}, {"cluster_id": 3, "action": "review"}]},
        {"seed": -1},
    ):
        with pytest.raises(ValidationError):
            CuratedSetConfig(**bad)


@pytest.mark.parametrize("unit", ["records", "tokens"])
def test_what_people_keep_fills_its_quota_first(candidates, unit):
    books = candidates.filter(source="books").head(20)
    said = books.select("record_id", verdict=pl.lit("keep"), reason=pl.lit("x"))
    budget, size = (60, pl.len()) if unit == "records" else (40_000, pl.col("tokens").sum())
    quotas = {"by": "source", "shares": {"web": 0.25, "books": 0.5, "forum": 0.25}}
    chosen = select(candidates, None, CuratedSetConfig(quotas=quotas, **{f"budget_{unit}": budget}), said)
    members = candidates.filter(chosen.scores["is_selected"])
    assert members["record_id"].is_in(books["record_id"].to_list()).sum() == 20
    shares = dict(members.group_by("source").agg(size / budget).iter_rows())
    assert shares == pytest.approx({"web": 0.25, "books": 0.5, "forum": 0.25}, abs=1e-9 if unit == "records" else 0.05)
    assert {name: quota["asked"] for name, quota in chosen.notes["quotas"].items()} == {
        "web": budget / 4, "books": budget / 2, "forum": budget / 4
    }  # fmt: skip
    # Of books more is kept than their share: they get no more, and the others what is left, by their shares.
    quotas = {"by": "source", "shares": {"web": 0.6, "books": 0.1, "forum": 0.3}}
    chosen = select(candidates, None, CuratedSetConfig(quotas=quotas, budget_records=50), said)
    counted = candidates.filter(chosen.scores["is_selected"]).group_by("source").len()
    assert dict(counted.iter_rows()) == {"web": 20, "books": 20, "forum": 10}
    # What is kept is all of the budget: nothing is drawn, which is not for want of records.
    config = CuratedSetConfig(quotas=quotas, **{f"budget_{unit}": 20 if unit == "records" else 100})
    chosen = select(candidates, None, config, said)
    assert chosen.scores["is_selected"].sum() == 20
    assert not any(quota["has_too_little"] for quota in chosen.notes["quotas"].values())


def test_what_people_keep_stands_for_its_semantic_duplicates(candidates):
    """Not the other way about: both would be in the set, the other one by the draw."""
    two = candidates[:2].with_columns(
        cluster_id=pl.lit(0, candidates.schema["cluster_id"]), distance=pl.Series([0.1, 0.9])
    )
    same = np.tile(np.float32([[1, 0]]), (2, 1))
    config = CuratedSetConfig(budget_records=2, semantic_duplicate_cosine=0.9)
    for kept, other in ((0, 1), (1, 0)):
        said = pl.DataFrame({"record_id": [two["record_id"][kept]], "verdict": ["keep"], "reason": ["a"]})
        scores = select(two, same, config, said).scores
        assert scores["rule"][kept] == "override"
        assert (scores["rule"][other], scores["matched_record_id"][other]) == (
            "semantic_duplicate",
            two["record_id"][kept],
        )


def test_what_people_keep_is_in_without_a_draw_and_counts_in_the_budget(candidates):
    ids = candidates["record_id"]
    said = pl.DataFrame(
        {
            "record_id": [ids[0], ids[1], ids[2], "unknown"],
            "verdict": ["keep", "keep", "drop", "keep"],
            "reason": list("abcd"),
        }
    )
    config = CuratedSetConfig(budget_records=10, semantic_duplicate_cosine=None)
    scores = select(candidates, None, config, said).scores
    mine = scores.filter(pl.col("record_id").is_in(ids[:3].to_list()))
    assert mine["is_selected"].to_list() == [True, True, False]
    assert mine["rule"].to_list() == ["override"] * 3
    assert mine["reason"].to_list() == ["a", "b", "c"]
    assert mine["inclusion_probability"].to_list() == [1.0, 1.0, None]
    assert scores["is_selected"].sum() == 10
    full = select(candidates, None, CuratedSetConfig(budget_records=2), said).scores
    assert set(full.filter("is_selected")["record_id"]) == set(ids[:2])
    everything = pl.DataFrame({"record_id": ids, "verdict": ["keep"] * len(ids), "reason": ["x"] * len(ids)})
    assert select(candidates, None, CuratedSetConfig(budget_records=2), everything).scores["is_selected"].all()
