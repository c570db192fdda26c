"""The `drift_report` stage: how the newest records differ from those before."""

import json
from datetime import datetime
from typing import NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms import drift
from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.algorithms.drift import Finding, Look
from curation_assets.algorithms.new_concept import NewConcepts, new_concepts
from curation_assets.algorithms.sampling import uniforms
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.filtered import filtered
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

EVERYTHING = "everything"
SIGNALS = ("words", "alpha_word_ratio", "stop_word_ratio", "punctuation_ratio", "digit_ratio", "unique_word_ratio")
"""Signals whose distributions are compared. Few, since every look more needs a larger difference to be told from chance."""
OLD_RECORDS, NEW_RECORDS = (
    20_000,
    10_000,
)  # compared at most, drawn by hash: more makes no difference that matters visible
EXAMPLES, EXAMPLE_CHARS, WORDS = 5, 200, 6


class DriftReportConfig(dg.Config):
    """What counts as new, and how sure an alarm has to be."""

    since: str | None = Field(
        default=None,
        description="Records read at or after this time (ISO 8601) are new. Default: those read since the last release; without a "
        "release, those the newest reading brought.",
    )
    alpha: float = Field(
        default=drift.ALPHA,
        gt=0,
        lt=1,
        description="Chance of an alarm where nothing changed, over all looks of all sources.",
    )
    seed: int = Field(default=0, description="Seed of the permutations.")


class Compared(NamedTuple):
    """The records of a comparison: one row each, in the order of their vectors."""

    records: pl.DataFrame
    """record_id, source, is_new, cluster_id, the signals."""
    vectors: np.ndarray


@dg.asset(
    deps=[raw, filtered, embeddings, clusters],
    group_name="product",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def drift_report(
    context: dg.AssetExecutionContext, config: DriftReportConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per source and look: how far the new records differ from the old, and whether that could be chance.

    Embeddings (can a classifier tell new from old?), clusters (other shares?), new concepts (groups the old records do not
    reach, with their words and examples) and signals (length, symbols, …). New is what was read since the last release.
    """
    started = warehouse.begin()
    warehouse.require_all_records("clusters.assignments")
    since = since_of(warehouse, config.since)
    compared = compare(warehouse, since)
    found = {EVERYTHING: concepts_of(compared)}
    looks = looks_of(compared, found[EVERYTHING], config.seed)
    findings = drift.findings([look for _, look, *_ in looks], alpha=config.alpha)
    table = looks_table(looks, findings)
    concepts = concepts_table(warehouse, compared, found[EVERYTHING])
    with warehouse.commit(
        context, config, rows_in=len(compared.records), main="drift_report.looks", started=started
    ) as commit:
        commit.build("drift_report.looks", table)
        commit.build("drift_report.concepts", concepts)
        commit.build("drift_report.records", records_table(compared, found[EVERYTHING]))
        new = int(compared.records["is_new"].sum())
        commit.notes = {"since": since and since.isoformat(), "old": len(compared.records) - new, "new": new} | {
            "verdict": verdict(table, concepts)
        }
    return materialized(
        warehouse,
        "drift_report.looks",
        plots={"sizes": size_chart(table)} if len(table) else {},
        verdict=dg.MetadataValue.md(verdict(table, concepts)),
        new_concepts=dg.MetadataValue.md(markdown_table(concepts) if len(concepts) else "none"),
        drift_looks=int(table["is_drift"].sum()),
    )


RELEASED = "select max(released_at) as since from release.releases"
NEWEST_READING = (
    "select min(ingested_at) as since from raw.batches where run_id = "
    "(select max_by(run_id, ingested_at) from raw.batches where rows_added > 0)"
)


def since_of(warehouse: Warehouse, given: str | None) -> datetime | None:
    """From when on records are new. Raises dagster's Failure for a time that cannot be read."""
    if given is not None:
        try:
            moment = datetime.fromisoformat(given)
        except ValueError as error:
            raise dg.Failure(
                f"drift_report: since is no ISO 8601 time: {given!r}, e.g. 2026-01-31T00:00:00+00:00"
            ) from error
        return moment.astimezone()
    released = warehouse.value(RELEASED) if warehouse.has_table("release.releases") else None
    return released or warehouse.value(NEWEST_READING)


RECORDS = (
    "select f.record_id, r.source, b.ingested_at >= $since as is_new, a.cluster_id, md5_number_upper(f.record_id) as draw_hash, "
    "s.words, s.alpha_word_ratio, s.stop_word_ratio, s.punctuation_ratio, s.digit_ratio, s.unique_word_ratio "
    "from filtered.records as f join raw.records as r using (record_id) join raw.batches as b using (batch_id) "
    "join filtered.signals as s using (record_id) join clusters.assignments as a using (record_id) order by f.record_id"
)


def compare(warehouse: Warehouse, since: datetime | None) -> Compared:
    """The old and new records, at most as many as are needed, and their vectors."""
    records = warehouse.query(RECORDS, since=since)
    _, vectors = warehouse.vectors()
    drawn = records.with_columns(draw=pl.Series(uniforms(records["draw_hash"].to_numpy())))
    rank = pl.col("draw").rank("ordinal").over("is_new")
    most = pl.when("is_new").then(NEW_RECORDS).otherwise(OLD_RECORDS)
    taken = drawn.select(taken=rank <= most)["taken"]
    return Compared(records.filter(taken), vectors[taken.to_numpy()])


def concepts_of(compared: Compared) -> NewConcepts:
    """The concepts among the new records that the old ones do not cover."""
    is_new = compared.records["is_new"].to_numpy()
    return new_concepts(compared.vectors[~is_new], compared.vectors[is_new])


def looks_of(compared: Compared, found: NewConcepts, seed: int) -> list[tuple[str, Look, int, int]]:
    """Every look at everything and at each source that has enough old and new records: (source, look, old, new)."""
    sources = compared.records["source"].unique().sort().to_list()
    looks = []
    for source in [EVERYTHING, *(sources if len(sources) > 1 else [])]:
        chosen = (
            np.ones(len(compared.records), dtype=bool)
            if source == EVERYTHING
            else (compared.records["source"] == source).to_numpy()
        )
        part, vectors = compared.records.filter(pl.Series(chosen)), compared.vectors[chosen]
        is_new = part["is_new"].to_numpy()
        old_records, new_records = int((~is_new).sum()), int(is_new.sum())
        if min(old_records, new_records) < drift.LEAST_RECORDS:
            continue
        of_source = found if source == EVERYTHING else new_concepts(vectors[~is_new], vectors[is_new])
        cluster_ids = part["cluster_id"].to_numpy()
        of_part = [
            drift.classifier_two_sample(vectors[~is_new], vectors[is_new], seed=seed),
            drift.occupancy(cluster_ids[~is_new], cluster_ids[is_new], seed=seed),
            drift.novelty(of_source, new_records),
        ]
        for name in SIGNALS:
            values = part[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            of_part.append(drift.signal_shift(name, values[~is_new], values[is_new]))
        looks += [(source, look, old_records, new_records) for look in of_part]
    return looks


def looks_table(looks: list[tuple[str, Look, int, int]], findings: list[Finding]) -> pl.DataFrame:
    """Rows of drift_report.looks."""
    schema = dict.fromkeys(("source", "look"), pl.String) | dict.fromkeys(("size", "p_value", "adjusted_p"), pl.Float64)
    schema |= {
        "is_drift": pl.Boolean,
        "old_records": pl.Int64,
        "new_records": pl.Int64,
        "detail": pl.String,
        "sentence": pl.String,
    }
    rows = [
        {
            "source": source,
            "look": look.name,
            "size": look.size,
            "p_value": look.p_value,
            "adjusted_p": finding.adjusted_p,
            "is_drift": finding.is_drift,
            "old_records": old,
            "new_records": new,
            "detail": json.dumps(dict(look.detail)),
            "sentence": in_words(look, finding),
        }
        for (source, look, old, new), finding in zip(looks, findings, strict=True)
    ]
    return pl.DataFrame(rows, schema=schema)


def in_words(look: Look, finding: Finding) -> str:
    """A finding as a sentence: what was measured, how large, how sure."""
    kind, _, name = look.name.partition(":")
    measured = {
        "classifier": f"a linear classifier tells new from old with an AUC of {look.size:.2f} (.50: not at all)",
        "occupancy": f"PSI over the clusters is {look.detail.get('psi', 0):.2f}, {look.detail.get('psi_by_chance', 0):.2f} of it by chance",
        "novelty": f"{look.size:.1%} of the new records are of concepts the old ones do not cover",
        "signal": f"{name}: PSI {look.size:.2f}, median {look.detail.get('old_median', 0):.3g} before and "
        f"{look.detail.get('new_median', 0):.3g} now",
    }[kind]
    sure = "no drift" if not finding.is_drift else "drift"
    return f"{measured}: {sure} (adjusted p {finding.adjusted_p:.2g})."


def verdict(table: pl.DataFrame, concepts: pl.DataFrame) -> str:
    """All findings in a few plain sentences, cause and size first."""
    if not len(table):
        return (
            f"Nothing to compare: fewer than {drift.LEAST_RECORDS} old or new records. New is what was read since the last release, "
            "or by the newest reading."
        )
    drifting = table.filter("is_drift")
    if not len(drifting):
        old, new = table["old_records"].max(), table["new_records"].max()
        return f"No drift: {new:,} new records look like the {old:,} before."
    told = [f"{source}: {sentence}" for source, sentence in drifting.select("source", "sentence").iter_rows()]
    named = [
        f"new concept of {row['records']:,} records ({row['share']:.1%}): {', '.join(repr(word) for word in row['words'])}."
        for row in concepts.head(EXAMPLES).iter_rows(named=True)
    ]
    return " ".join(["Drift.", *told, *named])


TEXTS = "select record_id, text from filtered.records where list_contains($ids, record_id)"


def concepts_table(warehouse: Warehouse, compared: Compared, found: NewConcepts) -> pl.DataFrame:
    """Rows of drift_report.concepts: size, words and examples of each new concept."""
    schema = {"concept": pl.Int64, "records": pl.Int64, "share": pl.Float64, "ratio": pl.Float64, "p_value": pl.Float64}
    schema |= dict.fromkeys(("words", "sources", "examples"), pl.List(pl.String))
    new = compared.records.filter("is_new").with_columns(concept=pl.Series(found.concept))
    if not len(found.records):
        return pl.DataFrame(schema=schema)
    texts = warehouse.query(TEXTS, ids=new["record_id"].to_list())
    new = new.join(texts, on="record_id", how="left", maintain_order="left")
    # The covered new records are a class of their own, so that words are those that tell a concept from them.
    k = len(found.records)
    words = ctfidf_words(new["text"], np.where(found.concept >= 0, found.concept, k), k + 1, WORDS)
    rows = []
    for concept in range(k):
        members = new.filter(pl.col("concept") == concept)
        rows.append(
            {
                "concept": concept,
                "records": int(found.records[concept]),
                "share": float(found.records[concept] / len(new)),
                "ratio": float(found.ratio[concept]),
                "p_value": float(found.p_value[concept]),
                "words": words[concept],
                "sources": members["source"].unique().sort().to_list(),
                "examples": members["text"].head(EXAMPLES).str.slice(0, EXAMPLE_CHARS).to_list(),
            }
        )
    return pl.DataFrame(rows, schema=schema)


def records_table(compared: Compared, found: NewConcepts) -> pl.DataFrame:
    """Rows of drift_report.records."""
    new = compared.records.filter("is_new").select("record_id")
    concept = pl.Series(found.concept, dtype=pl.Int64)
    return new.with_columns(concept=pl.when(concept >= 0).then(concept))


def size_chart(table: pl.DataFrame) -> Figure:
    """How small the adjusted p-value of each look is; what is drift in colour."""
    drawing, axes = figure(6.5, max(2.0, 0.25 * len(table)))
    names = [f"{source} · {look}" for source, look in table.select("source", "look").iter_rows()]
    evidence = -np.log10(np.maximum(table["adjusted_p"].to_numpy(), 1e-12))
    axes.barh(names[::-1], evidence[::-1], color=[BLUE if one else GREY for one in table["is_drift"].to_list()[::-1]])
    axes.set_xlabel("-log10 of the adjusted p-value (blue: drift)")
    axes.tick_params(axis="y", labelsize=7)
    return drawing
