"""The curated label set: what is in it and with which weight, a crowd's systematic mistakes by cluster, labels likely wrong."""

import shutil

import numpy as np
import polars as pl
import pytest
from simulated_raters import TASK, act, answer, build, labelled_warehouse, pool_of, queue, rate

from curation_assets.checks.invariants import invariant_check
from curation_assets.labelling.report import report_lines
from curation_assets.stages.label_set import LabelSetConfig, directions
from curation_assets.tables import SQL, read_table
from curation_assets.warehouse import Warehouse

STAGES = ("expert_labels", "agreement", "label_set", "label_report")
DOC, LIC = "documentation", "licence"
BREAKAGES = {
    "every_answer_is_in_force_once": "insert into expert_labels.current select * from expert_labels.current limit 1",
    "every_dispute_is_listed_for_an_adjudicator": "delete from agreement.disputed",
    "label_set_is_what_the_experts_settled": "update label_set.records set label = 'spam' "
    "where record_id = (select min(record_id) from label_set.records)",
}


def half_space(warehouse):
    """A class that embeddings can tell: the quarter of the records farthest along the direction of most variance."""
    ids, vectors = warehouse.vectors()
    centred = vectors - vectors.mean(axis=0)
    score = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    return dict(zip(ids, np.where(score > np.quantile(score, 0.75), LIC, DOC).tolist(), strict=True))


@pytest.fixture(scope="module")
def labelled(curated, tmp_path_factory):
    """A warehouse with 140 records labelled by three experts, and crowd labels that are wrong in one cluster and at random."""
    warehouse = labelled_warehouse(curated, tmp_path_factory.mktemp("labelled"))
    truth = half_space(warehouse)
    clusters = dict(warehouse.query("select record_id, cluster_id from clusters.assignments").iter_rows())
    plain = [one for one in clusters.values() if np.mean([truth[r] == DOC for r in truth if clusters[r] == one]) > 0.9]
    wrong_cluster = max(set(plain), key=plain.count)
    rng = np.random.default_rng(0)
    crowd = {
        record: LIC
        if clusters[record] == wrong_cluster
        else {DOC: LIC, LIC: DOC}[label]
        if rng.random() < 0.03
        else label
        for record, label in truth.items()
    }
    records = rng.permutation(sorted(truth))[:140].tolist()
    queue(warehouse, records[:100])
    queue(warehouse, records[100:], drawn=40 / (len(truth) - 100))
    acts = rate(records, [truth[one] for one in records], ["anna", "ben", "chris"], slips=0.03)
    acts += [
        act(record, "turk", label, role="crowd", origin="csv", at=place, seconds=None)
        for place, (record, label) in enumerate(crowd.items())
    ]
    answer(warehouse, acts)
    build(warehouse, *STAGES, crowd_labels=False)
    warehouse.release_run()
    return warehouse, truth, crowd, wrong_cluster


def test_the_set_holds_every_settled_record_with_raters_reason_and_weight(labelled):
    warehouse, truth, _, _ = labelled
    rows = warehouse.query("from label_set.records")
    assert len(rows) == 140 and rows["raters"].eq(3).all()
    assert np.mean([truth[record] == label for record, label in rows.select("record_id", "label").iter_rows()]) > 0.97
    assert rows.group_by("reason").len().sort("reason").rows() == [("random", 40), ("uncertain", 100)]
    drawn = rows.filter(pl.col("reason") == "random")
    assert (drawn["weight"] * drawn["sampling_probability"]).to_list() == pytest.approx([1.0] * 40)
    assert rows["weight"].sum() == pytest.approx(
        len(truth) - 100
    )  # those labelled before the draw stand for themselves later
    assert rows["license"].null_count() < len(rows) and set(rows["half"]) == {"train", "evaluate"}


def test_a_crowds_systematic_mistakes_are_found_in_their_cluster(labelled):
    warehouse, truth, crowd, wrong_cluster = labelled
    rows = warehouse.query("from label_set.disagreements where cluster_id is not null")
    systematic = rows.filter("is_systematic")
    assert systematic.select("cluster_id", "given_label", "expert_label").rows() == [(wrong_cluster, LIC, DOC)]
    row = systematic.row(0, named=True)
    assert row["share"] > 0.9 and row["overall_share"] < 0.4 and row["q_value"] < 0.05 and len(row["words"]) > 3
    same = "select record_id from filtered.records where starts_with(text, $example)"
    example = warehouse.query(same, example=row["example"])["record_id"][0]
    assert crowd[example] == LIC and truth[example] == DOC
    overall = warehouse.query("from label_set.disagreements where cluster_id is null and is_systematic")
    assert overall.select("given_label", "expert_label").rows() == [(LIC, DOC)]
    kappas = warehouse.query("select rater, items, kappa, low, high from label_set.raters order by rater nulls first")
    assert kappas["rater"].to_list() == [None, "turk"] and kappas["items"].to_list() == [140, 140]
    assert (kappas["low"] < kappas["kappa"]).all() and kappas["kappa"].max() < 0.9


def test_likely_errors_come_with_their_reason(labelled):
    warehouse, truth, crowd, _ = labelled
    rows = warehouse.query("from label_set.errors where role = 'crowd' order by rank")
    settled = set(warehouse.query("select record_id from label_set.records")["record_id"])
    assert rows["rank"].to_list() == list(range(1, len(rows) + 1)) and not settled & set(rows["record_id"])
    assert rows["method"].unique().to_list() == ["cross_validation"]  # no model of the experts' labels was fitted here
    wrong = {record for record, label in truth.items() if crowd[record] != label}
    by_chance = len(wrong - settled) / (len(truth) - len(settled))
    found = np.mean([record in wrong for record in rows["record_id"]])
    assert found > 1.5 * by_chance  # not more: most mistakes are of the cluster, and learnt with the rest
    first = rows.row(0, named=True)
    assert first["given_label"] == crowd[first["record_id"]] != first["expected_label"]
    assert first["reason"].startswith(f"turk gave {first['given_label']}; a model of the other labels gives")
    assert f"is {first['nearest_label']}" in first["reason"] and first["nearest_record_id"] in settled
    own = warehouse.query(
        "select e.record_id, i.half from label_set.errors as e join expert_labels.items as i using (record_id) where role = 'expert'"
    )
    assert set(own["half"]) <= {"train"}


def test_the_model_of_the_experts_labels_judges_the_crowds_where_there_is_one(labelled, tmp_path):
    warehouse, truth, crowd, _ = labelled
    copy = Warehouse(database=str(tmp_path / "predicted.duckdb"))
    shutil.copy(warehouse.path, copy.path)
    ids = sorted(truth)
    sure = [[0.9, 0.1] if truth[record] == DOC else [0.1, 0.9] for record in ids]
    rows = {
        "record_id": ids,
        "label": [truth[one] for one in ids],
        "probability": 0.9,
        "probabilities": sure,
        "margin": 0.8,
    }
    copy.append(
        "predicted_labels.predictions", pl.DataFrame(rows | {"labeller": "label_model", "revision": "r", "round": 2})
    )
    build(copy, "expert_labels", "label_set", crowd_labels=False)
    copy.release_run()
    found = copy.query("from label_set.errors where role = 'crowd'")
    settled = set(copy.query("select record_id from label_set.records")["record_id"])
    assert found["method"].unique().to_list() == ["expert_model"]
    assert set(found["record_id"]) == {one for one in ids if crowd[one] != truth[one]} - settled


def test_the_report_says_it_in_tables_and_sentences(labelled):
    warehouse, truth, _, _ = labelled
    figures = warehouse.query("from label_report.figures")
    by_name = {(row["section"], row["figure"], row["class"]): row for row in figures.iter_rows(named=True)}
    assert by_name["sets", "labelled", None]["n"] == 140
    assert by_name["sets", "train", None]["n"] + by_name["sets", "evaluate", None]["n"] == 140
    assert by_name["effort", "pool_per_labelled_record", None]["value"] == pytest.approx(len(truth) / 140)
    share = by_name["sets", "pool", LIC]
    assert share["low"] < 0.25 < share["high"]  # the truth
    assert by_name["effort", "expert_answers", None]["n"] == 420
    lines = report_lines(warehouse)
    text = "\n".join(lines)
    assert (
        "crowd labels and experts" in text
        and "experts with each other" in text
        and "labelled records stand for a pool" in text
    )
    assert max(map(len, lines[:9])) < 120 and TASK["name"] in lines[0]


@pytest.mark.parametrize("name", BREAKAGES)
def test_each_invariant_holds_and_catches_a_planted_breakage(labelled, tmp_path, name):
    path = SQL / "checks" / f"{name}.sql"
    copy = Warehouse(database=str(tmp_path / "broken.duckdb"))
    shutil.copy(labelled[0].path, copy.path)
    assert not len(copy.query(read_table(path).sql))
    with copy.get_connection() as connection:
        connection.execute(BREAKAGES[name])
    assert len(copy.query(read_table(path).sql)) and not invariant_check(path)(warehouse=copy).passed


def test_before_any_label_all_stages_say_so(curated, tmp_path):
    warehouse = labelled_warehouse(curated, tmp_path)
    assert report_lines_or_failure(warehouse).startswith("There is no labelling task yet")
    build(warehouse, *STAGES)
    warehouse.release_run()
    assert warehouse.rows("label_set.records") == 0 and pool_of(warehouse)
    assert "unknown" in "\n".join(report_lines(warehouse))


def report_lines_or_failure(warehouse):
    with pytest.raises(Exception, match="no labelling task") as failure:
        report_lines(warehouse)
    return str(failure.value.description)


def test_random_disagreement_is_seldom_called_systematic():
    """Ten clusters of twenty, one in ten labels wrong anywhere: the false discovery rate of the tests by cluster holds."""
    false = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        expert = rng.choice([DOC, LIC], 200)
        given = np.where(rng.random(200) < 0.1, np.where(expert == DOC, LIC, DOC), expert)
        placed = pl.DataFrame(
            {
                "role": "crowd",
                "record_id": [str(i) for i in range(200)],
                "label": given,
                "expert_label": expert,
                "cluster_id": np.arange(200) % 10,
            }
        )
        likely = pl.DataFrame(schema={"given_label": pl.String, "expected_label": pl.String, "cluster_id": pl.Int64})
        false += any(
            row["is_systematic"]
            for row in directions(placed, likely, LabelSetConfig())
            if row["cluster_id"] is not None
        )
    assert false <= 8
