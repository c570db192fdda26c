"""Simulated raters give the kappas that follow from their slips; nobody is accused without cause; real raters of KLUE."""

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from simulated_raters import act, answer, build, labelled_warehouse, pool_of, queue, rate, with_slips

from curation_assets.algorithms.agreement import cohen_kappa, krippendorff_alpha, mean_pairwise_kappa
from curation_assets.labelling.task import LabelClass, Task
from curation_assets.stages.agreement import measure
from curation_assets.stages.agreement_config import AgreementConfig
from curation_assets.stages.agreement_tables import ratings_matrix, session_rows

TWO, THREE = ("no", "yes"), ("a", "b", "c")


def task(classes, gate=0.8, version="v2"):
    named = tuple(LabelClass(name, "") for name in classes)
    return Task("t", "1", version, "", named, (), {"expert_gate": gate, "raters_per_item": 3})


def frame(acts):
    """Acts as the stage reads them: those in force, with the reason their item was queued for."""
    rows = pl.DataFrame(
        acts, infer_schema_length=None, schema_overrides={"guideline_version": pl.String, "label": pl.String}
    )
    return rows.select(
        "rater", "record_id", "answer", "label", "guideline_version", "seconds", pl.col("labelled_at").cast(pl.Datetime("us", "UTC")),
        is_timed=pl.col("origin") == "page", reason=pl.lit(""),
    ).sort("rater", "labelled_at")  # fmt: skip


def truth(n, share, classes, seed=0):
    rng = np.random.default_rng(seed)
    return [classes[1] if rng.random() < share else classes[0] for _ in range(n)]


def test_three_raters_with_slips_have_the_kappa_that_follows():
    share, slip, n = 0.4, 0.05, 4_000
    labels = frame(rate(list(map(str, range(n))), truth(n, share, TWO), ["anna", "ben", "chris"], slips=slip))
    observed = (1 - slip) ** 2 + slip**2
    given = share * (1 - slip) + (1 - share) * slip
    kappa = (observed - given**2 - (1 - given) ** 2) / (1 - given**2 - (1 - given) ** 2)
    found = measure(labels, task(TWO), AgreementConfig(replicates=200))
    values = dict(found.summary.select("measure", "value").iter_rows())
    assert values["mean_pairwise_kappa"] == pytest.approx(kappa, abs=0.02)
    assert values["fleiss_kappa"] == pytest.approx(kappa, abs=0.02)
    assert values["krippendorff_alpha"] == pytest.approx(kappa, abs=0.02)
    assert len(found.pairs) == 3
    assert found.gate["verdict"].item() == ("pass" if found.gate["low"].item() >= 0.8 else "cannot_say_yet")
    overall = found.raters.filter(pl.col("class").is_null())
    # The others of a rater agree with each other, so they are right but for both slipping: the rater slips in .05.
    assert overall["agreement_share"].to_list() == pytest.approx([0.95] * 3, abs=0.02)


def test_the_interval_is_over_items_and_not_over_pairs():
    """Raters who rated nothing add nothing: value and interval are those of the one pair."""
    rng = np.random.default_rng(3)
    first = truth(150, 0.4, TWO)
    second = with_slips(first, 0.2, TWO, rng)
    one = cohen_kappa(first, second)
    same = mean_pairwise_kappa([first, second, [None] * 150, [None] * 150])
    assert same.value == pytest.approx(one.value)
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=0.03)


def test_one_rater_and_raters_of_disjoint_items_leave_it_unknown():
    records = list(map(str, range(60)))
    alone = measure(frame(rate(records, truth(60, 0.4, TWO), ["anna"])), task(TWO), AgreementConfig(replicates=100))
    halves = rate(records[:30], truth(30, 0.4, TWO), ["anna"]) + rate(records[30:], truth(30, 0.4, TWO), ["ben"])
    apart = measure(frame(halves), task(TWO), AgreementConfig(replicates=100))
    nobody = measure(frame([act("r", "x", "no")]).clear(), task(TWO), AgreementConfig(replicates=100))
    for found in (alone, apart, nobody):
        assert (
            found.gate["verdict"].item() == "unknown" and "no item has labels of two" in found.gate["sentence"].item()
        )
        assert found.summary["value"].null_count() == 3 and not len(found.pairs)
        assert not found.sessions["is_alarm"].any()
    assert alone.raters["labels"][0] == 60 and alone.raters["compared"][0] == 0


def test_everyone_giving_one_class_is_undefined_and_not_agreement():
    found = measure(
        frame(rate(list(map(str, range(50))), ["no"] * 50, ["anna", "ben"], slips=0)),
        task(TWO),
        AgreementConfig(replicates=100),
    )
    assert found.gate["verdict"].item() == "unknown" and found.pairs["kappa"].to_list() == [None]
    assert found.pairs["same_share"].item() == 1


def test_three_classes_are_told_apart_and_the_confusion_is_named():
    rng = np.random.default_rng(0)
    records = list(map(str, range(300)))
    true = [THREE[i % 3] for i in range(300)]
    mixed = ["c" if label == "b" and rng.random() < 0.9 else label for label in true]
    found = measure(
        frame(rate(records, true, ["anna", "ben"], slips=0.01) + rate(records, mixed, ["zoe"], slips=0)),
        task(THREE),
        AgreementConfig(replicates=200),
    )
    by_class = dict(found.summary.filter(pl.col("class").is_not_null()).select("class", "value").iter_rows())
    assert by_class["a"] > 0.95 > 0.8 > max(by_class["b"], by_class["c"])
    zoe = found.raters.filter((pl.col("rater") == "zoe") & (pl.col("class") == "c")).row(0, named=True)
    assert zoe["instead"] == "b" and zoe["given_more_often"] > 0.1
    assert found.gate["verdict"].item() == "below" and "b / c: " in found.gate["sentence"].item()
    assert found.pairs["rater"][0] == "anna" and found.pairs["other_rater"][0] == "zoe"  # who agree least stand first


def test_a_sharpened_guideline_starts_the_gate_afresh():
    true = truth(200, 0.4, TWO)
    records = list(map(str, range(200)))
    early = rate(records[:100], true[:100], ["anna", "ben"], slips=0.25, guideline_version="v1")
    late = rate(records[100:], true[100:], ["anna", "ben"], slips=0.0, guideline_version="v2")
    found = measure(frame(early + late), task(TWO), AgreementConfig(replicates=300))
    assert found.gate["verdict"].item() == "pass" and found.gate["items"].item() == 100
    assert "there are earlier ones" in found.gate["sentence"].item()
    rows = found.summary.filter(pl.col("measure") == "mean_pairwise_kappa").select("guideline_version", "value").rows()
    assert rows[0][0] is None and rows[0][1] < 0.75 and rows[1] == ("v2", 1.0)
    before = measure(frame(early), task(TWO, version="v1"), AgreementConfig(replicates=300))
    assert before.gate["verdict"].item() == "below"


def tired(records, true, rater, rng, *, slips=(0.05, 0.05), seconds=(10.0, 10.0), seed=0):
    """A rater whose slips and seconds go from the first to the second figure in the last third."""
    late = 2 * len(records) // 3
    labels = with_slips(true[:late], slips[0], TWO, rng) + with_slips(true[late:], slips[1], TWO, rng)
    return [
        act(record, rater, label, at=10.0 * place, seconds=seconds[place >= late])
        for place, (record, label) in enumerate(zip(records, labels, strict=True))
    ]


def test_who_tires_is_named_and_who_does_not_is_left_alone():
    rng = np.random.default_rng(5)
    records, true = list(map(str, range(150))), truth(150, 0.4, TWO)
    acts = [one for rater in ("anna", "ben") for one in tired(records, true, rater, rng)]
    acts += tired(records, true, "chris", rng, slips=(0.03, 0.45), seconds=(10.0, 3.0))
    found = session_rows(frame(acts), AgreementConfig())
    alarms = found.filter("is_alarm")
    assert alarms["rater"].to_list() == ["chris"]
    verdict = alarms["verdict"].item()
    assert (
        verdict.startswith("tires") and "10 s an answer early and 3 s late" in verdict and "shorter sessions" in verdict
    )
    assert alarms["high"].item() < 0


def test_false_alarms_are_as_rare_as_promised():
    """Six raters, two sessions each, nobody drifts: in 60 studies some 3 may have an alarm at all, and not 8."""
    alarmed = 0
    for study in range(60):
        rng = np.random.default_rng(study)
        records, true = list(map(str, range(120))), truth(120, 0.4, TWO, seed=study)
        acts = []
        for rater in "abcdef":
            own = with_slips(true, 0.1, TWO, rng)
            order = rng.permutation(120)
            acts += [
                act(records[place], rater, own[place], at=10.0 * turn + (7_200 if turn >= 60 else 0))
                for turn, place in enumerate(order)
            ]
        found = session_rows(frame(acts), AgreementConfig())
        assert len(found) == 12
        alarmed += found["is_alarm"].any()
    assert alarmed <= 7


def test_the_stage_warns_below_the_gate_and_lists_what_to_settle(curated, tmp_path):
    warehouse = labelled_warehouse(curated, tmp_path)
    records = pool_of(warehouse)[:60]
    build(warehouse, "expert_labels", "agreement")
    assert warehouse.value("select verdict from agreement.gate") == "unknown"
    true = truth(60, 0.5, ("documentation", "licence"))
    acts = rate(records, true, ["anna", "ben", "chris"], slips=0.3)
    acts[0]["comment"] = "<b>cannot</b> tell"
    queue(warehouse, records)
    answer(warehouse, [*acts, act(pool_of(warehouse)[70], "anna"), act(pool_of(warehouse)[70], "ben")])
    result = build(warehouse, "expert_labels", "agreement")
    warehouse.release_run()
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert not checks["experts_agree_enough"].passed and checks["experts_agree_enough"].severity.value == "WARN"
    assert "Sharpen the guideline" in checks["experts_agree_enough"].description
    disputed = warehouse.query("from agreement.disputed")
    in_items = warehouse.query("select record_id from expert_labels.items where is_disputed")["record_id"]
    assert set(disputed["record_id"]) == {*in_items, pool_of(warehouse)[70]}
    assert "nobody could tell" in disputed["why"].to_list() and disputed["text"].null_count() == 0
    said = {vote["comment"] for votes in disputed["votes"].to_list() for vote in votes}
    assert said <= {None, "<b>cannot</b> tell"}
    page = result.asset_materializations_for_node("agreement")[0].metadata
    assert "below" in page["gate"].value and "<b>" not in page["to_adjudicate"].value


def test_real_raters_of_korean_similarity_agree_as_published(shared_data):
    """KLUE-STS: 519 pairs, seven of 17 people each, scores 0 to 5; at least 3 counts as the same meaning."""
    pairs = json.loads((shared_data / "korean_klue" / "klue-sts-v1.1_dev.json").read_text(encoding="utf-8"))
    acts = [
        act(pair["guid"], person, "yes" if score >= 3 else "no", origin="csv", at=place, seconds=None)
        for place, pair in enumerate(pairs)
        for person, score in zip(pair["annotations"]["annotators"], pair["annotations"]["annotations"], strict=True)
    ]
    answers = frame(acts)
    found = measure(answers, task(TWO), AgreementConfig(replicates=200))
    people = sorted(set(answers["rater"]))
    assert len(people) == 17
    assert set(zip(found.pairs["rater"], found.pairs["other_rater"], strict=True)) <= set(combinations(people, 2))
    well_known = found.pairs.filter(pl.col("items") >= 80)["kappa"]  # .56 to .83 in the data set's own notes
    assert (well_known.min(), well_known.max()) == pytest.approx((0.563, 0.831), abs=5e-4)
    gate = found.gate.row(0, named=True)
    assert (
        0.6 < gate["low"] < gate["kappa"] < gate["high"] < 0.8 and gate["verdict"] == "below" and gate["items"] == 519
    )
    alpha = krippendorff_alpha(ratings_matrix(answers))
    assert alpha.value == pytest.approx(gate["kappa"], abs=0.03)
