"""What stands of many acts of labelling, and which half each record is in."""

import dagster as dg
import polars as pl
import pytest
from simulated_raters import TASK, act, answer, build, in_force, labelled_warehouse, pool_of

from curation_assets.labelling.snapshot import read_snapshot
from curation_assets.labelling.task import current_task
from curation_assets.stages.label_task import LabelTaskConfig, task_version

CLASSES = ["documentation", "licence"]
DOC, LIC = CLASSES


@pytest.fixture
def loop(curated, tmp_path):
    found = labelled_warehouse(curated, tmp_path)
    yield found
    found.release_run()


def items_of(warehouse) -> dict:
    return {row["record_id"]: row for row in warehouse.query("from expert_labels.items").iter_rows(named=True)}


def test_the_last_answer_is_in_force_and_an_undo_takes_it_back(loop):
    one, two, three, four, *_ = pool_of(loop)
    answer(
        loop,
        [
            act(one, "anna", DOC, at=1),
            act(one, "anna", LIC, at=2, guideline_version="another"),
            act(two, "anna", DOC, at=3),
            act(two, "anna", answer="undo", at=4),
            act(three, "anna", DOC, at=5),
            act(three, "anna", answer="undo", at=6),
            act(three, "anna", LIC, at=7),
            act(four, "anna", answer="unsure", at=8),
        ],
    )
    build(loop, "expert_labels", crowd_labels=False)
    assert in_force(loop) == {(one, "anna"): LIC, (three, "anna"): LIC, (four, "anna"): None}
    items = items_of(loop)
    assert set(items) == {one, three, four}
    assert (
        items[one]["label"] == LIC
        and items[one]["is_stale_guideline"]
        and items[one]["guideline_versions"] == ["another"]
    )
    assert not items[three]["is_stale_guideline"]
    assert items[four]["label"] is None and items[four]["unsure"] == 1 and items[four]["raters"] == 0
    assert loop.rows("expert_labels.labels") == 8


def test_majority_tie_and_adjudicator(loop):
    agreed, tied, settled, against, lone = pool_of(loop)[:5]
    votes = {agreed: (DOC, DOC, LIC), tied: (DOC, LIC), settled: (DOC, LIC), against: (DOC, DOC), lone: ()}
    acts = [
        act(one, f"rater {place}", label, at=place) for one, given in votes.items() for place, label in enumerate(given)
    ]
    judged = [act(one, "judge", LIC, role="adjudicator", at=9) for one in (settled, against, lone)]
    answer(loop, [*acts, *judged])
    build(loop, "expert_labels", crowd_labels=False)
    items = items_of(loop)
    told = {one: (row["label"], row["is_disputed"], row["is_adjudicated"]) for one, row in items.items()}
    assert told == {
        agreed: (DOC, True, False),
        tied: (None, True, False),
        settled: (LIC, False, True),
        against: (LIC, False, True),
        lone: (LIC, False, True),
    }
    assert [items[one]["agreement_share"] for one in votes] == [pytest.approx(2 / 3), 0.5, 0.5, 0, None]
    assert items[agreed]["votes"][2] == {"rater": "rater 2", "label": LIC}


def test_an_expert_who_adjudicates_keeps_their_own_vote(loop):
    one = pool_of(loop)[0]
    answer(loop, [act(one, "anna", DOC), act(one, "ben", LIC), act(one, "anna", LIC, role="adjudicator", at=5)])
    build(loop, "expert_labels", crowd_labels=False)
    row = items_of(loop)[one]
    assert row["label"] == LIC and row["raters"] == 2
    assert {vote["rater"]: vote["label"] for vote in row["votes"]} == {"anna": DOC, "ben": LIC}


def test_labels_of_the_source_come_in_once_as_the_crowds(loop):
    named = loop.value("select count(*) as n from filtered.records where label in ('documentation', 'licence')")
    assert named > 100
    for _ in range(2):
        build(loop, "expert_labels", crowd_labels=True)
    found = loop.query("select rater, role, origin, count(*) as n from expert_labels.labels group by all")
    assert found.rows() == [("source", "crowd", "source", named)]
    assert loop.rows("expert_labels.items") == 0  # nothing an expert has said
    build(loop, "expert_labels", crowd_labels=False)
    assert loop.rows("expert_labels.labels") == named and loop.rows("expert_labels.current") == 0


def test_a_renamed_class_keeps_its_labels_and_a_lost_one_is_told(loop, caplog):
    one, two, three, *_ = pool_of(loop)
    answer(loop, [act(one, "anna", "manual"), act(two, "anna", LIC), act(three, "anna", "readme")])
    build(loop, "expert_labels", crowd_labels=False)
    assert in_force(loop)[one, "anna"] == "manual" and items_of(loop).keys() == {two}
    assert "2 labels do not count" in caplog.text and "1 of 'manual', 1 of 'readme'" in caplog.text
    assert "`renamed_from: [manual]`" in caplog.text
    caplog.clear()
    classes = [TASK["classes"][0] | {"renamed_from": ["manual", "readme"]}, TASK["classes"][1]]
    guideline_version = current_task(loop).guideline_version
    build(loop, "expert_labels", ops={"label_task": TASK | {"crowd_labels": False, "classes": classes}})
    assert {record: row["label"] for record, row in items_of(loop).items()} == {one: DOC, two: LIC, three: DOC}
    assert "do not count" not in caplog.text
    assert current_task(loop).guideline_version == guideline_version  # nothing is new to read
    assert {act["label"] for act in read_snapshot(loop).acts} == {DOC, LIC}  # the page sees the same


@pytest.mark.parametrize("earlier", [["licence"], ["manual", "manual"]])
def test_an_earlier_name_is_of_one_class_that_is_gone(earlier):
    classes = [TASK["classes"][0] | {"renamed_from": earlier}, TASK["classes"][1]]
    with pytest.raises(dg.Failure, match="renamed_from"):
        task_version(LabelTaskConfig(**TASK | {"classes": classes}))


def test_other_tasks_and_ignored_raters_and_old_classes_stay_out_of_the_items(loop):
    one, two, three, *_ = pool_of(loop)
    answer(
        loop,
        [
            act(one, "anna", DOC, task="another"),
            act(two, "mallory", DOC),
            act(two, "anna", LIC),
            act(three, "anna", "a class of last week"),
        ],
    )
    build(loop, "expert_labels", crowd_labels=False, ops={"expert_labels": {"ignored_raters": ["mallory"]}})
    assert {one: row["label"] for one, row in items_of(loop).items()} == {two: LIC}
    assert items_of(loop)[two]["raters"] == 1
    notes = loop.value("select notes from ledger.runs where stage = 'expert_labels' order by finished_at desc limit 1")
    assert '"labels_of_classes_the_task_no_longer_has": 1' in notes


def test_a_record_stays_in_its_half(loop):
    records = pool_of(loop)[:60]
    answer(loop, [act(one, "anna", DOC) for one in records[:30]])
    build(loop, "expert_labels", crowd_labels=False)
    first = {one: row["half"] for one, row in items_of(loop).items()}
    answer(loop, [act(one, "ben", LIC, at=100) for one in records])
    build(loop, "expert_labels", crowd_labels=False)
    second = {one: row["half"] for one, row in items_of(loop).items()}
    assert first.items() <= second.items()
    assert 0.2 < pl.Series(list(second.values())).eq("evaluate").mean() < 0.6  # evaluation_share .4
    assert TASK["name"] == "licence"
