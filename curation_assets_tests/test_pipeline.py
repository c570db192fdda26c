"""One run of the whole graph over a few hundred real texts: what must be true of its tables, checks and pages."""

import shutil

import numpy as np
import polars as pl
import pytest
from conftest import materialize

from curation_assets import audit
from curation_assets.checks.invariants import asset_of_check, invariant_check
from curation_assets.definitions import ASSETS
from curation_assets.stages.curated_set import CANDIDATES, select
from curation_assets.stages.curated_set_config import CuratedSetConfig
from curation_assets.tables import SQL, asset_of, read_table, tables
from curation_assets.warehouse import StaleError, Warehouse

DECIDING = {"cleaned": "raw", "deduped": "cleaned", "filtered": "deduped", "curated_set": "filtered"}

BUILT = {asset.key.to_user_string() for asset in ASSETS}

EMPTY_HERE = {
    "ledger.redactions": "nothing was erased",
    "drift_report.looks": "one reading only: nothing is older",
    "drift_report.concepts": "one reading only",
    "eval_report.leaks": "whether a text of this environment stands inside another is its own affair",
    "eval_report.bad_outputs": "nobody blamed anything",
    "eval_report.blamed": "nobody blamed anything",
    "eval_report.bad_output_checks": "nobody blamed anything",
    "contamination.parts": "no benchmark is named",
    "contamination.matches": "no benchmark is named",
    "contamination.hits": "no benchmark is named",
    "deduped.exchanges": "no record asks for anything",
    "deduped.instruction_conflicts": "no record asks for anything",
    "deduped.shortened": "nothing is taken out of texts",
    "deduped.shared_paragraphs": "whether this environment's packages share much is theirs to say",
    "raw.rejects": "every row is readable",
    "clusters.types": "no record asks for anything",
    "curated_set.review": "no cluster is in review",
    "quality_scores.answers": "no language model is asked",
    "quality_scores.calibration": "no language model is asked",
}


def count(warehouse, sql: str) -> int:
    return warehouse.value(f"select count(*) from {sql}")


def test_every_table_of_sql_is_there_with_its_columns(curated):
    for name, table in tables().items():
        if name.endswith(".decisions") and name != "ledger.decisions":
            continue
        if asset_of(name) not in BUILT | {"ledger"}:
            continue  # of another job, with tests of its own
        assert curated.head(name, list(table.columns), 1).columns == list(table.columns)
        if name not in EMPTY_HERE:
            assert curated.rows(name) > 0, name


@pytest.mark.parametrize(("stage", "upstream"), DECIDING.items())
def test_rows_in_are_rows_out_plus_records_with_a_dropping_decision(curated, stage, upstream):
    dropped = count(
        curated, f"(select distinct record_id from ledger.decisions where stage = '{stage}' and verdict = 'drop')"
    )
    kept = count(
        curated, f"(select distinct record_id from ledger.decisions where stage = '{stage}' and verdict = 'keep')"
    )
    assert curated.rows(f"{upstream}.records") == curated.rows(f"{stage}.records") + dropped
    assert kept == curated.rows(f"{stage}.records")


def test_near_duplicates_carry_their_true_jaccard_and_their_survivor(curated):
    pairs = curated.query(
        "select p.*, a.text, b.text as kept_text from deduped.pairs as p join cleaned.records as a using (record_id) "
        "join deduped.records as b on b.record_id = p.matched_record_id where p.kind = 'near'"
    )
    assert len(pairs) > 0
    from curation_assets.algorithms.jaccard import jaccard
    from curation_assets.algorithms.shingles import shingle

    for row in pairs.head(20).iter_rows(named=True):
        pair = shingle(pl.Series([row["text"], row["kept_text"]]).to_arrow().cast("large_string"))
        assert jaccard(pair.hashes[: pair.offsets[1]], pair.hashes[pair.offsets[1] :]) == pytest.approx(
            row["similarity"]
        )
        assert row["similarity"] >= 0.7


def test_embeddings_are_typed_unit_vectors(curated):
    kind = curated.value(
        "select data_type from information_schema.columns "
        "where table_schema = 'embeddings' and table_name = 'vectors' and column_name = 'embedding'"
    )
    assert kind == "FLOAT[384]"
    ids, vectors = curated.vectors()
    assert len(ids) == curated.rows("filtered.records")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_the_curated_set_keeps_to_its_budget_and_stores_chances(curated):
    assert curated.rows("curated_set.records") == 60
    scores = curated.query("select * from curated_set.scores")
    assert scores["inclusion_probability"].is_between(0, 1).all()
    assert scores["inclusion_probability"].sum() == pytest.approx(60, rel=0.01)
    assert scores["quality"].is_between(0, 1).all()
    assert (scores["density"] >= 1).all()


def test_no_arm_trains_on_held_out_text_and_all_train_on_as_many_tokens(curated):
    assert count(curated, "eval_report.arms where is_in_everything and len(heldout_in) > 0") == 0
    chars = curated.query(
        "select sum(chars) filter (is_in_random) as random, sum(chars) filter (is_in_curated) as curated, "
        "max(chars) as longest from eval_report.arms"
    ).row(0, named=True)
    assert chars["curated"] <= chars["random"] <= chars["curated"] + chars["longest"]
    tokens = curated.query("select distinct value from eval_report.results where metric = 'train_tokens'")
    assert len(tokens) == 1
    seeds = curated.query(
        "select arm, slice, count(distinct seed) as seeds from eval_report.results where metric = 'perplexity' group by all"
    )
    assert set(seeds["arm"]) == {"curated", "random", "everything"}
    assert set(seeds["slice"]) == {"everything", "target"}
    assert (seeds["seeds"] >= 3).all()


def test_the_verdict_is_in_words(curated):
    for verdict in curated.query("select verdict from eval_report.summary")["verdict"]:
        assert "curated" in verdict
        assert "random" in verdict


def test_every_stage_left_a_run_row_with_code_and_config(curated):
    runs = curated.query(
        "select stage, rows_in, rows_out, rows_dropped, code_version, config_hash, config from ledger.runs"
    )
    assert sorted(runs["stage"]) == sorted(BUILT)
    assert runs["config_hash"].str.len_chars().eq(64).all()
    deciding = runs.filter(pl.col("stage").is_in(list(DECIDING)))
    assert (deciding["rows_in"] == deciding["rows_out"] + deciding["rows_dropped"]).all()


def test_trace_tells_the_whole_path_of_a_dropped_and_of_a_kept_record(curated):
    duplicate, survivor, owner_id = curated.query(
        "select p.record_id, p.matched_record_id, r.source_record_id from deduped.pairs as p join raw.records as r using (record_id) "
        "where p.kind = 'near' order by p.record_id limit 1"
    ).row(0)
    told = "\n".join(audit.trace(curated, duplicate))
    assert "DROPPED by near_duplicate" in told
    assert survivor[:12] in told
    assert owner_id in told
    assert duplicate in audit.find_records(curated, owner_id)["record_id"]
    assert audit.find_records(curated, duplicate[:10])["record_id"].to_list() == [duplicate]
    kept = curated.value("select record_id from curated_set.records order by record_id limit 1")
    told = "\n".join(audit.trace(curated, kept))
    for stage in ("raw", "cleaned", "deduped", "filtered", "curated_set"):
        assert f"\n{stage}: kept" in told
    assert "chance of selection" in told


def test_the_funnel_adds_up(curated):
    rows = audit.funnel(curated)
    assert rows["stage"].unique(maintain_order=True).to_list() == ["raw", *DECIDING]
    assert (rows["rows_in"] == rows["rows_out"] + rows["rows_dropped"]).all()
    assert any("curated_set" in line for line in audit.funnel_lines(curated))


BREAKAGES = {
    "drift_report_covers_its_new_records": "update drift_report.records set concept = 0",
    "cleaned_loses_no_record": "delete from cleaned.records where record_id = (select min(record_id) from cleaned.records)",
    "deduped_loses_no_record": "insert into deduped.records by name "
    "select * exclude (cleaning_steps, raw_text_hash, cleaned_original) from cleaned.records "
    "where record_id in (select record_id from deduped.pairs) limit 1",
    "filtered_loses_no_record": "delete from filtered.records where record_id = (select min(record_id) from filtered.records)",
    "curated_set_loses_no_record": "delete from curated_set.records where record_id = (select min(record_id) from curated_set.records)",
    "curated_set_decides_once_on_every_record": "insert into ledger.decisions "
    "select * from ledger.decisions where stage = 'curated_set' limit 1",
    "every_selected_record_had_a_chance": "update curated_set.records set inclusion_probability = 0 where position = 1",
    "every_semantic_duplicate_points_to_a_record_it_is_like": "update curated_set.scores "
    "set rule = 'semantic_duplicate', value = .9, threshold = .95, matched_record_id = 'x' where not is_selected",
    "every_record_in_review_is_listed": "update curated_set.scores set rule = 'cluster_review' where not is_selected",
    "embeddings_covers_every_record": "insert into embeddings.vectors select * from embeddings.vectors limit 1",
    "clusters_covers_every_record": "delete from clusters.assignments where record_id = (select min(record_id) from clusters.assignments)",
    "density_covers_every_record": "update density.scores set record_id = 'x' where density = (select max(density) from density.scores)",
    "quality_scores_covers_every_record": "delete from quality_scores.scores",
    "every_row_read_is_accounted_for": "update raw.batches set rows_read = rows_read + 1",
    "every_duplicate_points_to_a_kept_record": "delete from deduped.records "
    "where record_id in (select matched_record_id from deduped.pairs)",
    "every_filter_drop_breaks_its_threshold": "update ledger.decisions set value = threshold where stage = 'filtered'",
    "no_arm_trains_on_held_out_text": "update eval_report.arms set is_in_everything = true where len(heldout_in) > 0",
}


CHECKS = [path for path in sorted((SQL / "checks").glob("*.sql")) if asset_of_check(path) in BUILT]


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_each_invariant_holds_and_catches_a_planted_breakage(curated, tmp_path, path):
    promise = read_table(path)
    assert len(curated.query(promise.sql)) == 0
    copy = Warehouse(database=str(tmp_path / "broken.duckdb"))
    shutil.copy(curated.path, copy.path)
    with copy.get_connection() as connection:
        connection.execute(BREAKAGES[path.stem])
    assert len(copy.query(promise.sql)) > 0
    assert not invariant_check(path)(warehouse=copy).passed


def test_critical_expectations_catch_bad_rows_and_name_them(curated, tmp_path):
    from curation_assets.checks.expectations import SUITES, broken, missing_columns, scalar_columns

    copy = Warehouse(database=str(tmp_path / "broken.duckdb"))
    shutil.copy(curated.path, copy.path)
    with copy.get_connection() as connection:
        connection.execute(
            "update quality_scores.scores set quality = 1.5 where record_id = (select min(record_id) from quality_scores.scores)"
        )
        connection.execute("alter table cleaned.records drop column license")
    failures = broken(scalar_columns(copy, "quality_scores.scores"), SUITES["quality_scores"])
    assert len(failures) == 1
    assert "quality" in failures[0]
    assert "1.5" in failures[0]
    assert missing_columns(copy, "cleaned.records", ["license"]) == ["cleaned.records lacks the column license"]


def test_measures_of_other_records_are_refused_by_name(curated, tmp_path):
    copy = Warehouse(database=str(tmp_path / "stale.duckdb"))
    shutil.copy(curated.path, copy.path)
    with copy.get_connection() as connection:
        connection.execute(
            "delete from filtered.records where record_id = (select min(record_id) from filtered.records)"
        )
    with pytest.raises(StaleError, match="Materialize embeddings first"):
        copy.vectors()
    with pytest.raises(StaleError, match="Materialize density first"):
        copy.require_all_records("density.scores")


def test_the_draw_does_not_depend_on_the_company_of_a_record(curated):
    candidates = curated.query(CANDIDATES)
    everyone, some = (
        dict(select(part, None, CuratedSetConfig()).scores.select("record_id", "draw").iter_rows())
        for part in (candidates, candidates.tail(100).reverse())
    )
    plain = [record for record in some if everyone[record] == pytest.approx(some[record])]
    assert len(plain) >= 95  # capped weights depend on the median of the others


def test_what_is_held_back_is_listed_and_traced(curated, tmp_path):
    copy = Warehouse(database=str(tmp_path / "held.duckdb"))
    shutil.copy(curated.path, copy.path)
    cluster = copy.value("select min(cluster_id) from clusters.assignments")
    config = {
        "budget_tokens": 8_000,
        "strategy": "facility_location",
        "quotas": {"by": "language", "equal": True},
        "semantic_duplicate_cosine": 0.8,
        "cluster_actions": [{"cluster_id": cluster, "action": "review", "reason": "licence texts"}],
    }
    assert materialize(copy, {"curated_set": config}, ["curated_set"]).success
    copy.release_run()
    review = copy.query("select reason, text from curated_set.review")
    assert set(review["reason"]) == {"licence texts"}
    assert len(review) == count(copy, f"clusters.assignments where cluster_id = {cluster}")
    with copy.get_connection() as connection:
        connection.execute("drop table clusters.profiles")  # as after --select '*curated_set', which needs none
    for rule, words in {
        "cluster_review": "the reason given: “licence texts”",
        "semantic_duplicate": "stays among",
    }.items():
        record = copy.value("select min(record_id) from curated_set.scores where rule = $rule", rule=rule)
        assert words in "\n".join(audit.trace(copy, record))


def test_changing_a_threshold_measures_nothing_anew(curated, tmp_path):
    copy = Warehouse(database=str(tmp_path / "again.duckdb"))
    shutil.copy(curated.path, copy.path)
    assert materialize(copy, {"filtered": {"max_duplicate_5gram_char_ratio": 0.01}}, ["filtered"]).success
    copy.release_run()
    last = copy.query(
        "select (notes ->> 'signals_measured')::int as measured from ledger.runs where stage = 'filtered' order by finished_at"
    )
    assert last["measured"].to_list() == [copy.rows("deduped.records"), 0]
    assert copy.rows("filtered.records") < curated.rows("filtered.records")
    assert audit.funnel(copy).filter(pl.col("is_out_of_date"))["stage"].unique().to_list() == ["curated_set"]
