"""How the `quality_scores` stage comes to its scores: one function a judge, each from records to scores and what is to be said of them."""

from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from curation_assets import asking, responses
from curation_assets.algorithms import cascade
from curation_assets.algorithms.calibration import Reliability
from curation_assets.asking import LanguageModel
from curation_assets.models.ask_llm import Asker
from curation_assets.models.embedders import DEFAULT_MODEL
from curation_assets.models.judges import EmbeddedJudge
from curation_assets.progress import logger
from curation_assets.readers import CONVERSATIONS
from curation_assets.reference import ReferenceSets, reference_texts
from curation_assets.warehouse import Warehouse

RECORDS = (
    "select r.text_hash, md5_number_upper(r.record_id) as draw_hash, s.* from filtered.signals as s "
    "join filtered.records as r using (record_id) order by record_id"
)

SHARE_WITH_TURNS = (
    "select coalesce(avg((kind in (select unnest($kinds::varchar[])))::int), 0) as share from filtered.records"
)
NOT_FOR_TURNS = (
    "most records are instructions, chats or preferences, but too few of them have a request and a response for the response judge "
    "to learn from. The embedded judge that stands in for it knows well-formed prose, not right answers. Take another judge "
    "(reference, ask_llm, cascade), or give quality no weight (curated_set.quality_weight: 0)."
)

MAX_FAILED_SHARE = 0.05
"""Share of questions that may fail in a run whose judge is the language model; above it the run stops."""

CALIBRATION = {"bin": pl.Int32, "records": pl.Int64} | dict.fromkeys(
    ("predicted", "answered", "answered_low", "answered_high"), pl.Float64
)


class Judged(NamedTuple):
    """The records' scores and what the asset's page says of them."""

    scores: pl.DataFrame
    """record_id, quality, judge, revision and, of a language model, cheap_quality, p_yes, method, asked_because, asked_probability."""
    notes: dict[str, Any]
    calibration: pl.DataFrame = pl.DataFrame(schema=CALIBRATION)
    """Rows of quality_scores.calibration."""


def records_to_judge(warehouse: Warehouse) -> pl.DataFrame:
    """One row per record of filtered.records in the order of record_id: its signals, text_hash and draw_hash."""
    return warehouse.query(RECORDS)


def warn_of_turns(warehouse: Warehouse, judged: Judged) -> None:
    """Say so where most records are of a kind with turns and no judge of responses could be fitted."""
    is_response_judge_missing = responses.NAME not in judged.scores["judge"]
    if is_response_judge_missing and warehouse.value(SHARE_WITH_TURNS, kinds=list(CONVERSATIONS)) > 0.5:
        logger.warning("quality_scores: %s", NOT_FOR_TURNS)


def by_embedded_judge(warehouse: Warehouse, records: pl.DataFrame, *, use_embeddings: bool, seed: int) -> Judged:
    """Score records with turns by how the response answers the request, others as prose.

    Prose is scored by the small model that comes with the package, over signals and embedding; responses by one fitted on
    the corpus's own pairs (`responses.of_corpus`), where there are enough of them. `judge` says which looked at a record.
    """
    by_prose = _by_prose(warehouse, records, use_embeddings=use_embeddings)
    by_response, told = responses.of_corpus(warehouse, seed=seed)
    if not len(by_response):
        return by_prose
    found = by_response.rename({"quality": "response_quality", "revision": "response_revision"})
    has_response = pl.col("response_quality").is_not_null()
    scores = by_prose.scores.join(found, on="record_id", how="left", maintain_order="left").with_columns(
        quality=pl.coalesce("response_quality", "quality"),
        judge=pl.when(has_response).then(pl.lit(responses.NAME)).otherwise("judge"),
        revision=pl.coalesce("response_revision", "revision"),
    )
    notes = {
        "mean_quality": _mean(scores["quality"].to_numpy()),
        "responses": {"records": len(by_response), "told_from": {kind: plain(figure) for kind, figure in told.items()}},
    }
    return Judged(scores.drop("response_quality", "response_revision"), by_prose.notes | notes)


def _by_prose(warehouse: Warehouse, records: pl.DataFrame, *, use_embeddings: bool) -> Judged:
    judge = EmbeddedJudge()
    vectors = _vectors_of_the_default_model(warehouse) if use_embeddings else None
    quality = judge.score(records, vectors)
    notes = {f"fitted_{name}": value for name, value in judge.figures.items()} | {
        "looked_at": "signals" if vectors is None else "signals and embedding"
    }
    return _judged(records, quality, "embedded", judge.revision, notes)


def by_reference_judge(warehouse: Warehouse, records: pl.DataFrame, sets: ReferenceSets, *, seed: int) -> Judged:
    """Score by a classifier of the user's good texts against the bad ones, fitted and cross-validated now.

    Raises dagster's Failure where a set is too small.
    """
    from curation_assets.models.reference_judge import fit_reference_judge

    try:
        judge = fit_reference_judge(
            reference_texts(warehouse, sets.good, "good"), reference_texts(warehouse, sets.bad, "bad"), seed=seed
        )
    except ValueError as error:
        raise dg.Failure(f"quality_scores: {error}") from error
    for warning in judge.figures.warnings:
        logger.warning("quality_scores: %s", warning)
    ids, parts = [], [np.empty(0)]
    for batch in warehouse.batches("select record_id, text from filtered.records"):
        ids += batch["record_id"].to_pylist()
        parts.append(judge.score(batch["text"]))
    scored = pl.DataFrame({"record_id": ids, "quality": np.concatenate(parts)})
    quality = records.select("record_id").join(scored, on="record_id", how="left", maintain_order="left")["quality"]
    return _judged(records, quality.to_numpy(), judge.name, judge.revision, {"reference": plain(judge.figures)})


def by_language_model(
    warehouse: Warehouse, records: pl.DataFrame, config: LanguageModel, cheap: Judged, asker: Asker
) -> Judged:
    """Score every record by the language model's P(yes).

    A record whose question failed gets the P(yes) that has the same rank as its cheap score. Raises dagster's Failure
    before anything is asked if the caps do not allow all of it, and after it if too many questions failed.
    """
    hashes = records["text_hash"].to_list()
    planned = asking.plan(warehouse, asker, config, hashes)
    if (affordable := asking.affordable_calls(planned, config)) < planned.calls:
        raise dg.Failure(
            f"quality_scores: asking {asker.model} about every record takes {planned.calls:,} calls and {planned.prompt_tokens:,} tokens; "
            f"the caps in the config allow {affordable:,} calls. Raise them, or take the judge 'cascade', which asks about a sample."
        )
    spent = asking.ask_missing(warehouse, asker, config, hashes)
    answered = _with_answers(warehouse, records, asker)
    p_yes = answered["p_yes"].to_numpy()
    failed = np.isnan(p_yes)
    if failed.mean() > MAX_FAILED_SHARE:
        raise dg.Failure(
            f"quality_scores: {failed.sum():,} of {len(p_yes):,} records have no answer by {asker.model}"
            f"{f'; {spent.stopped_by} ended the run' if spent.stopped_by else ''}. "
            f"The first error: {spent.first_error or 'none in this run; the model said neither yes nor no before'}. "
            "What was answered is kept; run again to ask about the rest."
        )
    quality = np.where(failed, _as_ranked_by(cheap.scores["quality"].to_numpy(), p_yes), p_yes)
    judged = _judged(
        records, quality, "ask_llm", _revision(asker), {"asked": _asked(asker, spent), "failed": int(failed.sum())}
    )
    return judged._replace(
        scores=judged.scores.with_columns(
            cheap_quality=cheap.scores["quality"],
            p_yes=answered["p_yes"].fill_nan(None),
            method=answered["method"],
            asked_because=pl.lit("all"),
            judge=pl.when(pl.Series(failed)).then(cheap.scores["judge"]).otherwise(pl.lit("ask_llm")),
        )
    )


def by_cascade(
    warehouse: Warehouse,
    records: pl.DataFrame,
    config: LanguageModel,
    cheap: Judged,
    asker: Asker,
    *,
    sample_records: int,
    stratified_share: float,
    seed: int,
) -> Judged:
    """Score every record by a student of the language model, which is asked about a sample only.

    Half of the sample is stratified over the cheap scores, the rest comes from the band in which the cheap judge cannot
    tell. The student's figures are those on stratified records held out of its fit.
    """
    cheap_quality = cheap.scores["quality"].to_numpy()
    chosen, _ = questions(warehouse, records, config, cheap_quality, asker, sample_records, stratified_share, seed)
    asked_about = records.select("record_id", "text_hash", "draw_hash")[chosen.indices]
    spent = asking.ask_missing(warehouse, asker, config, asked_about["text_hash"].to_list())
    answered = _with_answers(warehouse, asked_about, asker)
    has_answer = answered["p_yes"].is_not_nan().to_numpy()
    chosen = cascade.Choice(*(column[has_answer] for column in chosen))
    answered, asked_about = answered.filter(pl.Series(has_answer)), asked_about.filter(pl.Series(has_answer))
    features = _features(warehouse, records, cheap_quality)
    student = _student(features, answered["p_yes"].to_numpy(), asked_about, chosen, cheap_quality, seed)
    notes = {"asked": _asked(asker, spent), "answers": len(answered), "student": plain(student.figures)}
    if is_worth_following(student.figures):
        judged = _judged(records, student.predict(features), "student", _revision(asker), notes)
        taken = "Its scores are taken."
    else:
        judged = cheap._replace(notes=cheap.notes | notes)
        taken = "The cheap judge's scores are taken."
    if student.figures.is_good_enough:
        logger.info("quality_scores: %s", student.figures.verdict)
    else:
        logger.warning("quality_scores: %s %s", student.figures.verdict, taken)
    about = answered.select("record_id", "p_yes", "method").with_columns(
        asked_because=pl.Series(chosen.reason.tolist(), dtype=pl.String),
        asked_probability=pl.Series(
            np.where(chosen.reason == cascade.STRATIFIED, chosen.stratified_probability, np.nan)
        ),
    )
    scores = judged.scores.drop(about.columns[1:]).join(about, on="record_id", how="left", maintain_order="left")
    return judged._replace(
        scores=scores.with_columns(pl.col("asked_probability").fill_nan(None), cheap_quality=pl.Series(cheap_quality)),
        calibration=_calibration(student.figures.reliability),
    )


def is_worth_following(figures: cascade.StudentFigures) -> bool:
    """Whether the student's scores are better than the cheap judge's, also where it is not good enough to be trusted.

    Ours: its rank correlation with the language model is above 0 beyond chance and above the cheap judge's.
    """
    student, cheap = figures.rank_correlation, figures.cheap_rank_correlation
    cheap_value = -1.0 if cheap is None or cheap.value is None else cheap.value
    return student.value is not None and student.low > 0 and student.value > cheap_value


def _student(
    features: np.ndarray, p_yes: np.ndarray, asked: pl.DataFrame, chosen: cascade.Choice, cheap: np.ndarray, seed: int
) -> cascade.Student:
    try:
        return cascade.fit_student(
            features[chosen.indices],
            p_yes,
            asked["draw_hash"].to_numpy(),
            reason=chosen.reason,
            inclusion_probability=chosen.inclusion_probability,
            stratified_probability=chosen.stratified_probability,
            cheap_scores=cheap[chosen.indices],
            groups=asked["text_hash"].rank("dense").to_numpy(),  # one text must not be learned from and tested on
            seed=seed,
        )
    except ValueError as error:
        raise dg.Failure(f"quality_scores: {error}") from error


def _calibration(curve: Reliability) -> pl.DataFrame:
    bins = np.arange(1, len(curve.n) + 1, dtype=np.int32)
    columns = (bins, curve.n, curve.predicted, curve.observed, curve.low, curve.high)
    return pl.DataFrame(dict(zip(CALIBRATION, columns, strict=True)), schema=CALIBRATION)


def plain(value: Any) -> Any:
    """Figures as JSON takes them: tuples with names as objects, arrays left out, numbers to four digits."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items() if not isinstance(part, Reliability)}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return round(float(value), 4) if isinstance(value, float) else value


def questions(
    warehouse: Warehouse,
    records: pl.DataFrame,
    config: LanguageModel,
    cheap_quality: np.ndarray,
    asker: Asker,
    sample_records: int,
    stratified_share: float,
    seed: int,
) -> tuple[cascade.Choice, asking.Plan]:
    """The records a cascade asks about, no more than the caps allow, and what asking about all it wants to would take."""
    draw_hashes = records["draw_hash"].to_numpy()

    def chosen_of(size: int) -> tuple[cascade.Choice, list[str]]:
        chosen = cascade.choose_for_llm(
            cheap_quality, draw_hashes, min(size, len(records)), stratified_share=stratified_share, seed=seed
        )
        return chosen, records["text_hash"].gather(chosen.indices).to_list()

    chosen, hashes = chosen_of(sample_records)
    planned = asking.plan(warehouse, asker, config, hashes)
    affordable, missing = asking.affordable_calls(planned, config), planned.calls
    if affordable < missing:
        logger.info("quality_scores: the caps allow %s of %s calls", f"{affordable:,}", f"{missing:,}")
    # A record less in the sample is at most a call less: so this ends at the largest sample within the caps. One that the
    # caps cut short later would keep the records answered by earlier runs and lose others: no random sample.
    size = min(sample_records, len(records))
    while missing > affordable:
        size -= missing - affordable
        chosen, hashes = chosen_of(size)
        missing = len(asking.missing(warehouse, asker, hashes))
    if np.count_nonzero(chosen.reason == cascade.STRATIFIED) < cascade.LEAST_HELD_OUT:
        raise dg.Failure(
            f"quality_scores: of {len(chosen.indices):,} records to ask about, fewer than {cascade.LEAST_HELD_OUT} are stratified: too few "
            "to say what the student is worth. Raise sample_records, stratified_share or the caps, or take the cheap judge alone."
        )
    return chosen, planned


def _judged(records: pl.DataFrame, quality: np.ndarray, judge: str, revision: str, notes: dict[str, Any]) -> Judged:
    scores = records.select(
        "record_id",
        quality=pl.Series(quality, dtype=pl.Float64),
        judge=pl.lit(judge),
        revision=pl.lit(revision),
        cheap_quality=pl.lit(None, pl.Float64),
        p_yes=pl.lit(None, pl.Float64),
        method=pl.lit(None, pl.String),
        asked_because=pl.lit(None, pl.String),
        asked_probability=pl.lit(None, pl.Float64),
    )
    return Judged(scores, {"judge": judge, "revision": revision, "mean_quality": _mean(quality)} | notes)


def _mean(quality: np.ndarray) -> float | None:
    return round(float(np.mean(quality)), 4) if len(quality) else None


def _with_answers(warehouse: Warehouse, records: pl.DataFrame, asker: Asker) -> pl.DataFrame:
    """Records in their order with p_yes (NaN without an answer) and method."""
    answers = asking.answers(warehouse, asker).select(
        "text_hash", "method", p_yes=pl.col("yes") / (pl.col("yes") + pl.col("no"))
    )
    joined = records.select("record_id", "text_hash").join(answers, on="text_hash", how="left", maintain_order="left")
    return joined.with_columns(pl.col("p_yes").fill_null(float("nan")))


def _as_ranked_by(cheap: np.ndarray, p_yes: np.ndarray) -> np.ndarray:
    """For every record the quantile of the known P(yes) at the rank of its cheap score: both scales agree by rank."""
    known = p_yes[~np.isnan(p_yes)]
    if not len(known):
        return np.full(len(p_yes), np.nan)
    ranks = np.argsort(np.argsort(cheap, kind="stable"), kind="stable") / max(1, len(cheap) - 1)
    return np.quantile(known, ranks)


def _features(warehouse: Warehouse, records: pl.DataFrame, cheap_quality: np.ndarray) -> np.ndarray:
    """What the student sees, float32[records, dimensions + signals + 1]: the embedding, standardised signals, the cheap score."""
    _, vectors = warehouse.vectors()
    numbers = records.drop("record_id", "text_hash", "draw_hash").select(pl.selectors.numeric()).cast(pl.Float64)
    signals = numbers.with_columns(pl.all().sign() * pl.all().abs().log1p()).fill_nan(None)
    signals = signals.with_columns(((pl.all() - pl.all().mean()) / pl.all().std()).fill_null(0).fill_nan(0))
    finite = np.nan_to_num(signals.to_numpy(), posinf=0, neginf=0)
    return np.hstack([vectors, finite, cheap_quality[:, None]]).astype(np.float32)


def _asked(asker: Asker, spent: asking.Spent) -> dict[str, Any]:
    seconds_per_call = round(spent.seconds / spent.calls, 4) if spent.calls else None
    return asking.identity(asker) | spent._asdict() | {"seconds_per_call": seconds_per_call}


def _revision(asker: Asker) -> str:
    return f"{asker.model} {asker.revision} {asker.prompt.name} {asker.prompt.version}"


def _vectors_of_the_default_model(warehouse: Warehouse) -> np.ndarray | None:
    """The embeddings by record_id, if they are the default model's: the judge knows no other's."""
    model = warehouse.value(
        "select max_by(notes ->> 'model', finished_at) as model from ledger.runs where stage = 'embeddings'"
    )
    return warehouse.vectors()[1] if model == DEFAULT_MODEL else None
