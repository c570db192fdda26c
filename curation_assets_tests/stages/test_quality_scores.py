"""Scores by a language model, by a cascade and by reference sets, on real text and with a real small model."""

import json
import pydoc_data.topics
import shutil

import numpy as np
import polars as pl
import pytest
from conftest import materialize

from curation_assets import asking, judging, responses
from curation_assets.algorithms.calibration import reliability
from curation_assets.judging import Judged
from curation_assets.models.fit_embedded_judge import clean_paragraphs
from curation_assets.stages.quality_scores import QualityScoresConfig, calibration_chart, estimate_lines
from curation_assets.warehouse import Warehouse


@pytest.fixture
def model(language_models):
    return str(language_models["chat"])


@pytest.fixture
def copy(curated, tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "copy.duckdb"))
    shutil.copy(curated.path, warehouse.path)
    yield warehouse
    warehouse.release_run()


def cascade(model: str, **options) -> dict:
    return {
        "judge": "cascade",
        "sample_records": 80,
        "language_model": {"model": model} | options,
        "perplexity": "none",
    }


def last_notes(warehouse, path: str):
    return warehouse.value(
        "select max_by(notes ->> $path, finished_at) as value from ledger.runs where stage = 'quality_scores'",
        path=path,
    )


def test_a_cascade_asks_about_a_sample_and_never_twice(copy, model):
    assert materialize(copy, {"quality_scores": cascade(model, chunk_texts=16)}, ["quality_scores"]).success
    asked = copy.query(
        "select asked_because, count(*) as records, count(p_yes) as answers, count(asked_probability) as with_probability, "
        "count(cheap_quality) as with_cheap from quality_scores.scores group by all order by asked_because nulls last"
    )
    assert asked["asked_because"].to_list() == ["stratified", "uncertain", None]
    assert asked["answers"].to_list() == [40, 40, 0]
    assert asked["with_probability"].to_list() == [40, 0, 0]
    assert (asked["with_cheap"] == asked["records"]).all()
    assert copy.rows("quality_scores.calibration") > 0
    assert copy.value("select sum(records) as n from quality_scores.calibration") == 40
    assert "rank correlation" in last_notes(copy, "$.student.verdict") or "same score" in last_notes(
        copy, "$.student.verdict"
    )
    assert copy.rows("quality_scores.answers") == 80
    copy.release_run()
    assert materialize(copy, {"quality_scores": cascade(model)}, ["quality_scores"]).success
    assert copy.rows("quality_scores.answers") == 80
    assert last_notes(copy, "$.asked.calls") == "0"


def test_the_estimate_is_what_is_then_asked_and_a_cap_holds(copy, model):
    price = {"prompt_per_million": 1.0, "completion_per_million": 2.0, "currency": "EUR"}
    config = QualityScoresConfig(**cascade(model, price=price))
    told = "\n".join(estimate_lines(copy, config))
    assert not copy.has_table("quality_scores.answers") or copy.rows("quality_scores.answers") == 0
    assert materialize(copy, {"quality_scores": cascade(model, price=price)}, ["quality_scores"]).success
    tokens, calls = int(last_notes(copy, "$.asked.prompt_tokens")), int(last_notes(copy, "$.asked.calls"))
    assert f"{tokens:,}" in told and f"{calls:,}" in told and "EUR" in told
    assert tokens == copy.value("select sum(prompt_tokens) as n from quality_scores.answers")
    capped = asking.LanguageModel(model=model, max_tokens=tokens // 2, prompt="instruction")
    asker = asking.asker_of(capped)
    spent = asking.ask_missing(copy, asker, capped, copy.query("select text_hash from filtered.records")["text_hash"])
    assert 0 < spent.prompt_tokens + spent.completion_tokens <= tokens // 2
    assert "max_tokens" in spent.stopped_by


def test_a_model_for_every_record_is_refused_where_the_caps_are_too_low(copy, model):
    config = {"judge": "ask_llm", "language_model": {"model": model, "max_calls": 3}, "perplexity": "none"}
    failed = materialize(copy, {"quality_scores": config}, ["quality_scores"], raise_on_error=False)
    assert not failed.success
    said = failed.get_step_failure_events()[0].step_failure_data.error.message
    cause = failed.get_step_failure_events()[0].step_failure_data.error.cause
    assert "allow 3 calls" in said + (cause.message if cause else "")
    assert copy.rows("quality_scores.answers") == 0


def test_every_record_gets_the_models_p_yes(copy, model):
    config = {"judge": "ask_llm", "language_model": {"model": model}, "perplexity": "none"}
    assert materialize(copy, {"quality_scores": config}, ["quality_scores"]).success
    rows = copy.query("select quality, p_yes, judge, asked_because from quality_scores.scores")
    assert (rows["quality"] - rows["p_yes"]).abs().max() < 1e-12
    assert rows["judge"].unique().to_list() == ["ask_llm"]
    assert rows["quality"].n_unique() > len(rows) / 2


def test_a_reference_judge_learns_the_users_sets_and_perplexity_is_lower_where_the_reference_is_alike(copy):
    sets = {
        "good": ["python_environment/stdlib/*"],
        "bad": ["python_environment/modules/*"],
    }
    config = {"judge": "reference", "reference": sets, "perplexity": "reference"}
    result = materialize(copy, {"quality_scores": config}, ["quality_scores"])
    assert result.success
    page = result.asset_materializations_for_node("quality_scores")[0].metadata
    assert "| auc |" in page["reference_judge_cross_validated"].value
    assert page["most_telling_words"].value.count("\n") > 10
    means = copy.query(
        "select avg(quality) filter (is_good) as good, avg(quality) filter (not is_good) as bad, "
        "avg(bits_per_byte) filter (is_good) as good_bits, avg(bits_per_byte) filter (not is_good) as bad_bits from "
        "(select r.source_uri glob 'stdlib/*' as is_good, q.* from quality_scores.scores as q join filtered.records as r using (record_id))"
    ).row(0, named=True)
    assert means["good"] > means["bad"] + 0.2
    assert means["good_bits"] < means["bad_bits"]


def test_the_calibration_of_answers_that_are_all_alike_can_be_drawn():
    """Their interval has no width but for a rounding error, which may be below 0."""
    for seed in range(10):
        chance = np.random.default_rng(seed)
        curve = reliability(chance.random(40), np.full(40, chance.random()), weights=chance.random(40) + 0.1)
        assert calibration_chart(judging._calibration(curve)).axes


def test_a_cascade_under_a_cap_asks_about_a_whole_smaller_sample(copy, model):
    """Also where an earlier run of another sample has answers: cut short, it would keep those and lose others."""
    language_model = asking.LanguageModel(model=model)
    asker = asking.asker_of(language_model)
    records = judging.records_to_judge(copy)
    cheap = np.linspace(0, 1, len(records))
    earlier, _ = judging.questions(copy, records, language_model, cheap, asker, 60, 1.0, 1)
    asking.ask_missing(copy, asker, language_model, records["text_hash"].gather(earlier.indices).to_list())
    capped = language_model.model_copy(update={"max_calls": 50})
    chosen, _ = judging.questions(copy, records, capped, cheap, asker, 120, 0.7, 0)
    spent = asking.ask_missing(copy, asker, capped, records["text_hash"].gather(chosen.indices).to_list())
    assert spent.stopped_by is None and spent.calls == 50
    assert (chosen.reason == "stratified").mean() == pytest.approx(0.7, abs=0.02)


def test_a_judge_without_its_settings_is_refused_in_words(copy):
    for config, said in (({"judge": "cascade"}, "language_model"), ({"judge": "reference"}, "good")):
        failed = materialize(copy, {"quality_scores": config}, ["quality_scores"], raise_on_error=False)
        error = failed.get_step_failure_events()[0].step_failure_data
        assert said in str(error.user_failure_data or error.error)
        copy.release_run()


def test_responses_are_judged_as_responses_and_all_else_as_prose(warehouse, tmp_path, caplog):
    paragraphs = clean_paragraphs(pydoc_data.topics.topics.values())
    topics = [paragraph for paragraph in paragraphs if ". " in paragraph and len(paragraph) < 300]
    pairs = [paragraph.split(". ", 1) for paragraph in topics[:140]]
    rows = [{"instruction": f"Explain: {said}.", "output": explained} for said, explained in pairs]
    rows += [{"text": paragraph} for paragraph in topics[140:160]]
    file = tmp_path / "mixed.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    stages = ["raw", "cleaned", "deduped", "filtered", "embeddings", "quality_scores"]
    ops = {"raw": {"sources": [{"name": "mixed", "path": str(file)}]}, "quality_scores": {"perplexity": "none"}}
    ops["embeddings"] = {"precision": "fp32"}
    result = materialize(warehouse, ops, stages)
    assert result.success
    judged = warehouse.query(
        "select kind, judge, count(*) as records, count(distinct quality) as scores, min(quality) as least, max(quality) as most "
        "from quality_scores.scores join filtered.records using (record_id) group by all order by kind"
    )
    assert judged.select("kind", "judge").rows() == [("document", "embedded"), ("instruction", "embedded_response")]
    assert (judged["scores"] > judged["records"] / 2).all()
    assert judged["least"].min() >= 0 and judged["most"].max() <= 1
    page = result.asset_materializations_for_node("quality_scores")[0].metadata
    assert "| another's |" in page["responses_told_from_bad_ones"].value
    judging.warn_of_turns(warehouse, Judged(warehouse.query("select judge from quality_scores.scores"), {}))
    assert judging.NOT_FOR_TURNS not in caplog.text


def test_too_few_pairs_are_judged_as_prose_and_that_is_said(warehouse, tmp_path, caplog):
    file = tmp_path / "few.jsonl"
    rows = [{"instruction": f"Add {n} and {n}.", "output": f"The sum of {n} and {n} is {n + n}."} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ops = {"raw": {"sources": [{"name": "few", "path": str(file)}]}, "deduped": {"min_jaccard": 1.0}}
    assert materialize(warehouse, ops, ["raw", "cleaned", "deduped", "filtered"]).success
    records = judging.records_to_judge(warehouse)
    assert len(records) == 40
    judged = judging.by_embedded_judge(warehouse, records, use_embeddings=False, seed=0)
    assert judged.scores["judge"].unique().to_list() == ["embedded"]
    judging.warn_of_turns(warehouse, judged)
    assert judging.NOT_FOR_TURNS in caplog.text


def test_pairs_that_have_nothing_to_do_with_one_another_are_judged_with_a_warning(warehouse, caplog):
    chance = np.random.default_rng(0)
    words = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ag", "eb", "id", "ol", "um")]
    asked, answered = (
        [" ".join(chance.choice(words[start:stop], 8)) for _ in range(200)] for start, stop in ((0, 30), (30, 60))
    )
    ids = [f"{row:03}" for row in range(200)]
    originals = [json.dumps({"instruction": a, "output": b}) for a, b in zip(asked, answered, strict=True)]
    vectors = chance.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    records = pl.DataFrame({"record_id": ids, "kind": "instruction", "original": originals})
    rows = pl.DataFrame({"record_id": ids, "embedding": pl.Series(vectors.tolist(), dtype=pl.Array(pl.Float32, 8))})
    with warehouse.get_connection() as connection:
        for schema, table, frame in (
            ("raw", "records", records),
            ("filtered", "records", records),
            ("cleaned", "records", records.select("record_id", cleaned_original=pl.lit(None, pl.String))),
            ("embeddings", "vectors", rows),
        ):
            connection.execute(f"create schema {schema}")
            connection.register("frame", frame.to_arrow())
            connection.execute(f"create table {schema}.{table} as select * from frame")
    scored = responses.of_corpus(warehouse, seed=0)
    assert scored.scores["record_id"].sort().to_list() == ids
    assert scored.notes["another's"].low < 0.6 < scored.notes["repeated"].low
    assert responses.HARDLY_TOLD in caplog.text
