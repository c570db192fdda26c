"""The `quality_scores` stage: the judge's opinion of each text."""

from collections.abc import Iterator
from enum import Enum
from itertools import zip_longest
from typing import Any

import dagster as dg
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets import asking, judging, perplexity
from curation_assets.asking import LanguageModel
from curation_assets.judging import Judged
from curation_assets.pages import BLUE, GREY, figure, histogram, markdown_table, materialized
from curation_assets.reference import ReferenceSets
from curation_assets.stages import OWNERS
from curation_assets.stages.deduped import deduped
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.filtered import filtered
from curation_assets.warehouse import Warehouse


class JudgeName(str, Enum):
    """Who scores the records."""

    embedded = "embedded"
    reference = "reference"
    ask_llm = "ask_llm"
    cascade = "cascade"


class CheapJudge(str, Enum):
    """Who scores all records before a language model is asked about some."""

    embedded = "embedded"
    reference = "reference"


class PerplexityModel(str, Enum):
    """What the n-gram model of the perplexity signal is fitted on."""

    none = "none"
    corpus = "corpus"
    reference = "reference"


class QualityScoresConfig(dg.Config):
    """Who judges, and what that may cost."""

    judge: JudgeName = Field(
        default=JudgeName.embedded,
        description="embedded: small models that need no labels, one for prose and, of records with turns, one for how the response "
        "answers the request. reference: a classifier of your good texts against "
        "your bad ones. ask_llm: a language model's P(yes) for every record. cascade: the language model is asked about a "
        "sample, and a student of it scores all records.",
    )
    use_embeddings: bool = Field(
        default=True,
        description="The embedded judge looks at signals and embedding; off, or with another embedding model, at signals alone. "
        "On labelled web pages both rank alike.",
    )
    reference: ReferenceSets | None = Field(
        default=None, description="Good and bad texts, for the reference judge and the reference perplexity."
    )
    language_model: LanguageModel | None = Field(
        default=None, description="The model that ask_llm and cascade ask, and what it may cost."
    )
    cheap_judge: CheapJudge = Field(
        default=CheapJudge.embedded,
        description="cascade: who scores every record before the model is asked about some.",
    )
    sample_records: int = Field(
        default=1_000,
        ge=50,
        description="cascade: records the language model is asked about, if the caps allow as many.",
    )
    stratified_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="cascade: share of the sample spread over all cheap scores, on which the student is measured; "
        "the rest comes from where the cheap judge cannot tell.",
    )
    perplexity: PerplexityModel = Field(
        default=PerplexityModel.corpus,
        description="Perplexity as a signal, in bits a byte, by an n-gram model fitted on the corpus itself (each half read by the "
        "other half's model), on the reference set's good texts (which it then reads with fewer bits than others), or none.",
    )
    seed: int = Field(default=0, description="Seed of the sample and of the folds.")


@dg.asset(
    deps=[deduped, filtered, embeddings],
    group_name="measures",
    kinds={"duckdb", "python", "scikitlearn"},
    owners=OWNERS,
    code_version="3",
)
def quality_scores(
    context: dg.AssetExecutionContext, config: QualityScoresConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record: how good a text the judge finds it, from 0 to 1, and its perplexity.

    The embedded judge knows well-formed informative prose from menus, lists, keyword spam and broken text, in English
    best; of records with turns it asks instead whether the response answers the request, by a judge fitted on the corpus's
    own pairs (`judge` is embedded_response). It checks no facts. A reference judge knows your good texts from your bad
    ones. A language model is asked as in Ask-LLM (arXiv 2402.09668), about every record or, in a cascade, about a sample
    that a student learns from.
    """
    started = warehouse.begin()
    require_settings(config)
    records = judging.records_to_judge(warehouse)
    records = records.join(bits_per_byte(warehouse, config), on="record_id", how="left", maintain_order="left")
    judged = judge(warehouse, config, records)
    scores = judged.scores.with_columns(records["bits_per_byte"])
    with warehouse.commit(
        context, config, rows_in=len(records), main="quality_scores.scores", started=started
    ) as commit:
        commit.append("quality_scores.answers", asking.no_answers())
        commit.build("quality_scores.scores", scores)
        commit.build("quality_scores.calibration", judged.calibration)
        commit.notes = judged.notes
    return materialized(
        warehouse, "quality_scores.scores", plots=plots(scores, judged.calibration), **in_words(judged.notes)
    )


def judge(warehouse: Warehouse, config: QualityScoresConfig, records: pl.DataFrame) -> Judged:
    """Score the records by the judge of the config."""
    if config.judge in (JudgeName.embedded, JudgeName.reference):
        judged = cheap_judge(warehouse, config, records, config.judge.value)
        if config.judge == JudgeName.embedded:
            judging.warn_of_turns(warehouse, judged)
        return judged
    cheap = cheap_judge(warehouse, config, records, config.cheap_judge.value)
    asker = asking.asker_of(config.language_model)
    if config.judge == JudgeName.ask_llm:
        return judging.by_language_model(warehouse, records, config.language_model, cheap, asker)
    return judging.by_cascade(
        warehouse,
        records,
        config.language_model,
        cheap,
        asker,
        sample_records=config.sample_records,
        stratified_share=config.stratified_share,
        seed=config.seed,
    )


def estimate_lines(warehouse: Warehouse, config: QualityScoresConfig) -> Iterator[str]:
    """What the language model's part of this config takes, before anything is asked, as lines of text."""
    require_settings(config)
    if config.judge in (JudgeName.embedded, JudgeName.reference):
        yield f"quality_scores asks no language model: its judge is {config.judge.value}."
        return
    records, asker = judging.records_to_judge(warehouse), asking.asker_of(config.language_model)
    if config.judge == JudgeName.ask_llm:
        planned = asking.plan(warehouse, asker, config.language_model, records["text_hash"].to_list())
    else:
        cheap = cheap_judge(warehouse, config, records, config.cheap_judge.value).scores["quality"].to_numpy()
        settings = (config.sample_records, config.stratified_share, config.seed)
        planned = judging.questions(warehouse, records, config.language_model, cheap, asker, *settings)[1]
    yield f"Asking {asker.model} about {planned.texts:,} of {len(records):,} records, prompt {asker.prompt.name} {asker.prompt.version}:"
    yield from asking.plan_lines(planned, config.language_model)


def cheap_judge(warehouse: Warehouse, config: QualityScoresConfig, records: pl.DataFrame, name: str) -> Judged:
    """Score the records by a judge that costs nothing to ask."""
    if name == "reference":
        return judging.by_reference_judge(warehouse, records, config.reference, seed=config.seed)
    return judging.by_embedded_judge(warehouse, records, use_embeddings=config.use_embeddings, seed=config.seed)


def require_settings(config: QualityScoresConfig) -> None:
    """Make sure the config names what its judge needs."""
    asks = config.judge in (JudgeName.ask_llm, JudgeName.cascade)
    if asks and config.language_model is None:
        raise dg.Failure(f"quality_scores: the judge {config.judge.value} needs language_model, with at least a model.")
    by_reference = config.judge == JudgeName.reference or (
        config.judge == JudgeName.cascade and config.cheap_judge == CheapJudge.reference
    )
    if (by_reference or config.perplexity == PerplexityModel.reference) and config.reference is None:
        raise dg.Failure(
            "quality_scores: the reference judge and the reference perplexity need reference: {good: […], bad: […]}."
        )


def bits_per_byte(warehouse: Warehouse, config: QualityScoresConfig) -> pl.DataFrame:
    """record_id and bits_per_byte of every record, null where nothing is measured."""
    if config.perplexity == PerplexityModel.corpus:
        return perplexity.of_corpus(warehouse, seed=config.seed)
    if config.perplexity == PerplexityModel.reference:
        return perplexity.of_reference(warehouse, config.reference)
    return pl.DataFrame(schema={"record_id": pl.String, "bits_per_byte": pl.Float64})


def in_words(notes: dict[str, Any]) -> dict[str, dg.MetadataValue]:
    """What the page says of a student or a reference judge: figures with their intervals, words that tell, warnings."""
    told = {}
    if responses := notes.get("responses"):
        told["responses_told_from_bad_ones"] = dg.MetadataValue.md(
            markdown_table(figures_table(responses["told_from"]))
        )
    if student := notes.get("student"):
        told["verdict"] = dg.MetadataValue.md(student["verdict"])
        told["student_on_held_out_records"] = dg.MetadataValue.md(markdown_table(figures_table(student)))
    if reference := notes.get("reference"):
        told["reference_judge_cross_validated"] = dg.MetadataValue.md(markdown_table(figures_table(reference)))
        sides = [[word["word"] for word in reference[f"{side}_words"]] for side in ("good", "bad")]
        words = pl.DataFrame(list(zip_longest(*sides)), schema=["good", "bad"], orient="row")
        told["most_telling_words"] = dg.MetadataValue.md(markdown_table(words))
        told["warnings"] = dg.MetadataValue.md("\n".join(f"- {said}" for said in reference["warnings"]) or "none")
    return told


def figures_table(figures: dict[str, Any]) -> pl.DataFrame:
    """Figures of the notes, one a row: value, 95 % interval, and the records it was measured on."""
    rows = [
        {
            "figure": name.replace("_", " "),
            "value": one["value"],
            "low": one["low"],
            "high": one["high"],
            "records": one["n"],
        }
        for name, one in figures.items()
        if isinstance(one, dict) and "value" in one
    ]
    return pl.DataFrame(rows)


def plots(scores: pl.DataFrame, calibration: pl.DataFrame) -> dict[str, Figure]:
    """The scores' histogram and, of a cascade, the student's calibration; the perplexity's where it was measured."""
    drawn = {"quality_histogram": histogram(scores["quality"], "quality")}
    if scores["bits_per_byte"].null_count() < len(scores):
        drawn["perplexity_histogram"] = histogram(scores["bits_per_byte"], "bits a byte under the n-gram model")
    if len(calibration):
        drawn["calibration"] = calibration_chart(calibration)
    return drawn


def calibration_chart(calibration: pl.DataFrame) -> Figure:
    """The language model's mean P(yes) against the student's score, by bin, with 95 % intervals; the diagonal is perfect."""
    drawing, axes = figure(4.5, 4)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    # Of a bin in which all answers are alike both are 0, give or take a rounding error, which matplotlib refuses.
    low = (calibration["answered"] - calibration["answered_low"]).clip(lower_bound=0)
    high = (calibration["answered_high"] - calibration["answered"]).clip(lower_bound=0)
    axes.errorbar(
        calibration["predicted"], calibration["answered"], yerr=[low, high], fmt="o", color=BLUE, markersize=4
    )
    axes.set_xlabel("student's score, held out")
    axes.set_ylabel("language model's mean P(yes)")
    return drawing
