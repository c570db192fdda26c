"""The `eval_report` stage: does training on the curated set beat training on random records, or on everything."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets import audit, blaming
from curation_assets.algorithms import coverage, proxy_model
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.progress import logger, reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.clusters import clusters
from curation_assets.stages.contamination import ContaminationConfig
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.embeddings import embeddings
from curation_assets.tables import tables
from curation_assets.warehouse import Spool, Warehouse

CHARS_PER_TOKEN = 8
"""Characters fetched per training token: meant to be more than a token of the proxy's small vocabulary stands for."""

HELDOUT_CHARS = 300_000
"""Characters of held-out text fetched per slice; the proxy reads the first 65,536 tokens of it."""

HELDOUT_RECORD_CHARS = 2_000
"""Characters read of a held-out record, from its first on, so that the figure is that of many records: uncut, one long licence in
175 records was a third of what the model read, and decided. Ours."""

HELD_FROM = 0.5
"""Share of a held-out record's n-grams from which a record that holds them trains no arm; what `filtered` drops benchmarks by."""

CAVEAT = "The interval covers the luck of training and of which records are held out, not of which were drawn."

MEANING = {
    "everything": "Held out is a sample of all deduplicated records, also of those that a rule drops.",
    "target": "Held out is a sample of the target's deduplicated records; the curated set is drawn without a look at the target.",
}
"""What each slice is, for the verdict."""

REFERENCE_RECORDS = 2_000

OTHERS = "select record_id, text from cleaned.records where record_id not in (select unnest($heldout::varchar[]))"
"""The texts that may hold a held-out one."""

MIN_TOKENS = 1_000
"""Tokens an arm and a slice must have at least for a comparison to mean anything."""

ARMS = ("curated", "random", "everything")
SUMMARY = {
    "slice": pl.String,
    "curated": pl.Float64,
    "random": pl.Float64,
    "everything": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "seeds": pl.Int64,
    "verdict": pl.String,
}
LEAKS = {"record_id": pl.String, "heldout_record_id": pl.String, "coverage": pl.Float64}
RESULTS = {"arm": pl.String, "slice": pl.String, "seed": pl.Int32, "metric": pl.String, "value": pl.Float64}


class EvalReportConfig(dg.Config):
    """What is trained and what it is measured on."""

    target: str | None = Field(
        default=None,
        description="A glob over 'source/file' that names the text you care most about; a part of it is held out, to be read by itself. "
        "It is measured and not aimed at: what is drawn is up to curated_set. None: no target slice.",
    )
    heldout_share: float = Field(
        default=0.05, gt=0, lt=1, description="Share of the records held out, of all and of the target."
    )
    token_budget: int = Field(default=200_000, ge=1_000, description="Training tokens a run: the same for every arm.")
    seeds: int = Field(default=3, ge=3, description="Training runs an arm; intervals need at least three.")
    vocabulary: int = Field(
        default=2_048, ge=300, description="Tokens of the proxy's vocabulary, trained on all arms' text."
    )
    seed: int = Field(default=0, description="Seed of the held-out choice and of the random arm.")


@dg.asset(
    deps=[cleaned, deduped, embeddings, clusters, curated_set],
    group_name="product",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version="2",
)
def eval_report(
    context: dg.AssetExecutionContext, config: EvalReportConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per measurement: the same small language model trained on the curated set, a random set as large, everything.

    All arms see the same number of tokens, and none sees held-out text, a duplicate of it or a record that holds most of it. The
    verdict says in words whether curation helped, also when it did not.
    """
    started = warehouse.begin()
    split = {"share": config.heldout_share, "target": config.target, "seed": config.seed}
    leaks = find_leaks(warehouse, split)
    arms = draft_arms(warehouse, split, leaks)
    if config.target and not arms["heldout_in"].list.contains("target").any():
        names = ", ".join(warehouse.query("select distinct source from deduped.records order by source")["source"])
        raise dg.Failure(
            f"eval_report: the target {config.target!r} matches no 'source/file'. The sources are {names}."
        )
    runs = train_and_measure(warehouse, arms, config)
    measured = results_of(runs)
    summary = summarise(runs, ["everything", *(["target"] if config.target else [])])
    results = pl.concat([measured, coverage_of_arms(warehouse, config.seed)])
    looks = look_at_bad_outputs(warehouse, config, context.run_id)
    with warehouse.commit(context, config, main="eval_report.results", started=started) as commit:
        commit.build("eval_report.leaks", leaks)
        commit.build("eval_report.arms", **split)
        commit.build("eval_report.results", results)
        commit.build("eval_report.summary", summary)
        commit.append("eval_report.bad_output_checks", looks)
        for name in ("eval_report.bad_outputs", "eval_report.blamed"):  # `curate blame` fills them
            commit.append(name, pl.DataFrame(schema=dict.fromkeys(tables()[name].incoming, pl.Null)))
        commit.notes = dict(summary.select("slice", "verdict").iter_rows())
    return materialized(
        warehouse,
        "eval_report.results",
        plots={"perplexity": perplexity_chart(measured), "funnel": funnel_chart(audit.funnel(warehouse))},
        verdict=dg.MetadataValue.md(
            "\n\n".join(f"**{name}**: {text}" for name, text in summary.select("slice", "verdict").iter_rows())
        ),
        comparison=dg.MetadataValue.md(markdown_table(summary.drop("verdict"))),
        records_that_hold_heldout_text=len(leaks),
        **(
            {"bad_outputs": dg.MetadataValue.md(markdown_table(looks.select("output_id", "verdict")))}
            if len(looks)
            else {}
        ),
    )


def look_at_bad_outputs(warehouse: Warehouse, config: EvalReportConfig, run_id: str) -> pl.DataFrame:
    """A look at every bad output that `curate blame` was given: whether the set of now has unlearnt it."""
    outputs = blaming.remembered(warehouse)
    report = reporter("eval_report: training, for the bad outputs", "percent", 100)
    training = blaming.Training(config.token_budget, config.vocabulary, config.seeds)
    return blaming.look_at(warehouse, outputs, training, run_id, lambda share: report(round(100 * share)))


def draft_arms(warehouse: Warehouse, split: dict[str, Any], leaks: pl.DataFrame) -> pl.DataFrame:
    """The rows of eval_report.arms as they will be with these leaks, in the order in which arms are read."""
    with warehouse.supposing({"eval_report.leaks": leaks}, {}) as query:
        return query(tables()["eval_report.arms"].sql, **split).sort("draw", "record_id")


def find_leaks(warehouse: Warehouse, split: dict[str, Any]) -> pl.DataFrame:
    """Rows of eval_report.leaks: the records that hold most of what the model is read on of a held-out record."""
    from curation_assets.algorithms import decontamination

    heldout = draft_arms(warehouse, split, pl.DataFrame(schema=LEAKS)).filter(pl.col("heldout_in").list.len() > 0)
    read = pl.concat(_first(part, HELDOUT_CHARS, HELDOUT_RECORD_CHARS) for part in slices_of(heldout).values())
    read = read.unique("record_id", maintain_order=True)
    texts = fetch_texts(warehouse, [read])
    measure = ContaminationConfig()
    parts = pl.Series([texts[record][:HELDOUT_RECORD_CHARS] for record in read["record_id"]], dtype=pl.String)
    ngrams = decontamination.ngrams_of(parts, measure.ngram_words)
    ids: list[pa.Array] = []

    def others(spool: Spool) -> Iterator[pa.Array]:
        for batch in spool.batches():
            ids.append(batch["record_id"])
            yield batch["text"]

    with warehouse.spooled(OTHERS, heldout=heldout["record_id"].to_list()) as spool:
        found = decontamination.hits(others(spool), ngrams)
    is_common = decontamination.common_ngrams(
        found,
        ngrams,
        min_coverage=HELD_FROM,
        max_records=measure.common_in_records,
        max_parts=measure.common_in_parts,
    )
    held = decontamination.coverage(found, ngrams, is_common).filter(pl.col("coverage") > HELD_FROM)
    record_ids = pl.concat([pl.Series("record_id", [], pl.String), *map(pl.from_arrow, ids)])
    return (
        held.select(
            record_ids.gather(held["record"]),
            read["record_id"].gather(held["part"]).alias("heldout_record_id"),
            "coverage",
        )
        .sort("record_id", "coverage", "heldout_record_id", descending=[False, True, False])
        .unique("record_id", maintain_order=True)
    )


def slices_of(arms: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The held-out records of each slice."""
    return {name: arms.filter(pl.col("heldout_in").list.contains(name)) for name in ("everything", "target")}


def train_and_measure(warehouse: Warehouse, arms: pl.DataFrame, config: EvalReportConfig) -> pl.DataFrame:
    """Train the proxy on each arm and read the held-out slices with it: what `proxy_model.perplexities` gives.

    Without text enough to train on or to read, there are no rows: nothing is measured rather than something weak.
    """
    limit = config.token_budget * CHARS_PER_TOKEN
    training = {arm: _first(arms.filter(f"is_in_{arm}"), limit) for arm in ARMS}
    heldout = {name: _first(part, HELDOUT_CHARS, HELDOUT_RECORD_CHARS) for name, part in slices_of(arms).items()}
    texts = fetch_texts(warehouse, [*training.values(), *heldout.values()])
    spoken = {
        name: [texts[record][:HELDOUT_RECORD_CHARS] for record in part["record_id"]] for name, part in heldout.items()
    }
    learned = {arm: [texts[record] for record in part["record_id"]] for arm, part in training.items()}
    tokenizer = proxy_model.train_tokenizer(
        (text for part in learned.values() for text in part), vocab=config.vocabulary
    )
    streams = {arm: proxy_model.encode(tokenizer, part) for arm, part in learned.items()}
    slices = {name: proxy_model.encode(tokenizer, part) for name, part in spoken.items()}
    slices = {name: stream for name, stream in slices.items() if len(stream) >= MIN_TOKENS}
    if min(map(len, streams.values())) < MIN_TOKENS or not slices:
        logger.warning("eval_report: too little text to train and compare models on; only coverage is measured.")
        return pl.DataFrame(schema=proxy_model.RESULT_SCHEMA)
    report = reporter("eval_report: training", "percent", 100)
    return proxy_model.perplexities(
        streams,
        slices,
        token_budget=config.token_budget,
        token_bytes=proxy_model.token_bytes(tokenizer),
        seeds=tuple(range(config.seeds)),
        progress=lambda share: report(round(100 * share)),
    )


def results_of(runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of eval_report.results."""
    figures = runs.drop("record_nats", "record_tokens")
    return figures.unpivot(index=["arm", "slice", "seed"], variable_name="metric").select(
        "arm", "slice", pl.col("seed").cast(pl.Int32), "metric", pl.col("value").cast(pl.Float64)
    )


def fetch_texts(warehouse: Warehouse, parts: list[pl.DataFrame]) -> dict[str, str]:
    """The texts of the records of some parts, by record id."""
    wanted = pl.concat([part.select("record_id") for part in parts]).unique()["record_id"].to_list()
    rows = warehouse.query(
        "select record_id, text from cleaned.records where record_id in (select unnest($ids::varchar[]))", ids=wanted
    )
    return dict(rows.iter_rows())


def _first(part: pl.DataFrame, chars: int, of_each: int | None = None) -> pl.DataFrame:
    """The records of a part, in its order, until that many characters are reached, of_each at most counting of each; at least one."""
    counted = part["chars"] if of_each is None else part["chars"].clip(upper_bound=of_each)
    return part.filter(counted.cum_sum() - counted < chars)


def coverage_of_arms(warehouse: Warehouse, seed: int) -> pl.DataFrame:
    """How much of the filtered records' clusters and embedding space the curated set reaches, beside as many drawn blindly."""
    record_ids, vectors = warehouse.vectors()
    warehouse.require_all_records("clusters.assignments")
    labels = warehouse.query("select cluster_id from clusters.assignments order by record_id")["cluster_id"].to_numpy()
    curated = set(warehouse.query("select record_id from curated_set.records")["record_id"])
    rng = np.random.default_rng(seed)
    chosen = {"curated": np.array([record in curated for record in record_ids])}
    chosen["random_of_filtered"] = np.isin(np.arange(len(record_ids)), rng.permutation(len(record_ids))[: len(curated)])
    reference = vectors[rng.permutation(len(vectors))[:REFERENCE_RECORDS]]
    radius = coverage.neighbourhood_radius(reference) if len(reference) > 5 else 0.0
    rows = [
        (arm, None, None, metric, value)
        for arm, selected in chosen.items()
        for metric, value in {
            "records": float(selected.sum()),
            "clusters_reached_ratio": coverage.clusters_reached_ratio(labels, selected),
            "occupancy_entropy_ratio": coverage.occupancy_entropy_ratio(labels, selected),
            "space_reached_ratio": coverage.space_reached_ratio(reference, vectors[selected], radius),
        }.items()
    ]
    return pl.DataFrame(rows, schema=RESULTS, orient="row")


def summarise(runs: pl.DataFrame, slices: list[str]) -> pl.DataFrame:
    """One row per held-out slice: the comparison in numbers and in words, or why there is none."""
    verdict = f"Not evaluated: each arm and each held-out slice needs at least {MIN_TOKENS:,} tokens of text."
    missing = [{"slice": name, "verdict": verdict} for name in slices if name not in runs["slice"].to_list()]
    if len(missing) == len(slices):
        return pl.DataFrame(missing, schema=SUMMARY)
    compared = proxy_model.compare(runs)
    rows = []
    for name in compared["slice"].unique(maintain_order=True):
        part = compared.filter(slice=name)
        means = dict(part.select("arm", "perplexity").iter_rows())
        curated = part.row(by_predicate=pl.col("arm") == "curated", named=True)
        verdict = f"{proxy_model.verdict(part)} Trained on everything it reads {means['everything']:.1f}. {MEANING[name]} {CAVEAT}"
        rows.append(
            {
                "slice": name,
                "verdict": verdict,
                **means,
                **{field: curated[field] for field in SUMMARY if field in curated and field != "slice"},
            }
        )
    return pl.DataFrame(rows + missing, schema=SUMMARY)


def funnel_chart(funnel: pl.DataFrame) -> Figure:
    """Records kept and dropped by each stage that decides."""
    stages = funnel.unique("stage", maintain_order=True)
    drawing, axes = figure(6.5, 2.6)
    places = range(len(stages))
    axes.barh(places, stages["rows_out"].to_list(), color=BLUE, label="kept")
    axes.barh(places, stages["rows_dropped"].to_list(), left=stages["rows_out"].to_list(), color=GREY, label="dropped")
    axes.set_yticks(places, stages["stage"].to_list())
    axes.invert_yaxis()
    axes.set_xlabel("records")
    axes.legend(frameon=False, loc="lower right")
    return drawing


def perplexity_chart(measured: pl.DataFrame) -> Figure:
    """Perplexity of each arm on each slice: a dot a seed, a bar the mean."""
    runs = measured.filter(pl.col("metric") == "perplexity")  # none where nothing could be evaluated
    names = [(name, arm) for name in runs["slice"].unique(maintain_order=True) for arm in ARMS]
    drawing, axes = figure(6.5, 3.5)
    for position, (name, arm) in enumerate(names):
        values = runs.filter(slice=name, arm=arm)["value"].to_numpy()
        axes.bar(position, values.mean(), color=BLUE if arm == "curated" else GREY)
        axes.plot([position] * len(values), values, "k.", markersize=4)
    axes.set_xticks(range(len(names)), [f"{arm}\n({name})" for name, arm in names], fontsize=7)
    axes.set_ylabel("perplexity on held-out text")
    return drawing
