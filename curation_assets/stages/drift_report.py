"""The `drift_report` stage: how the newest records differ from those before."""

import json
from collections.abc import Sequence

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms import drift
from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.algorithms.drift import Finding, Look
from curation_assets.algorithms.new_concept import NewConcepts
from curation_assets.drift_looks import (
    EVERYTHING,
    WORDS,
    Compared,
    Reference,
    Taken,
    compare,
    concepts_of,
    drops,
    looks_at_labels,
    looks_of,
    reference,
    words_behind,
)
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.clusters import clusters
from curation_assets.stages.deduped import deduped
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.filtered import filtered
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

EXAMPLES, EXAMPLE_CHARS = 5, 200
TOLD, CHARTED = 8, 40
"""Looks that the verdict tells of, and that the chart shows; the table has all."""


class DriftReportConfig(dg.Config):
    """What counts as new, and how sure an alarm has to be."""

    since: str | None = Field(
        default=None,
        description="Records read at or after this time (ISO 8601) are new. Default: those read since the last release, or since the "
        "first curation after drift was found, which took the drifted records in, whichever is later; without either, those that the "
        "newest reading brought and those before it that were too few to compare, or drifted, and are not curated yet.",
    )
    alpha: float = Field(
        default=drift.ALPHA,
        gt=0,
        lt=1,
        description="Chance of an alarm where nothing changed, over all looks of all sources.",
    )
    seed: int = Field(default=0, description="Seed of the permutations.")


@dg.asset(
    deps=[raw, deduped, filtered, embeddings, clusters],
    group_name="product",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="2",
)
def drift_report(
    context: dg.AssetExecutionContext, config: DriftReportConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per source and look: how far the new records differ from the old, and whether that could be chance.

    Embeddings (can a classifier tell new from old?), clusters (other shares?), new concepts (groups the old records do not
    reach, with their words and examples), languages, signals (length, symbols, …), what each filter rule drops, and whether the
    model of a labelling task still agrees with the experts. New is what was read since the last release or, if later, the
    curation that took in the drift found last: the same drift is told once.
    """
    started = warehouse.begin()
    warehouse.require_all_records("clusters.assignments")
    against = reference(warehouse, config.since)
    compared = compare(warehouse, against)
    found = concepts_of(compared)
    labelled = looks_at_labels(warehouse, against, config.seed)
    taken = looks_of(compared, drops(warehouse, against), found, labelled, alpha=config.alpha, seed=config.seed)
    findings = drift.findings([one.look for one in taken], alpha=config.alpha)
    texts = new_texts(warehouse, compared) if len(found.records) or any(one.is_drift for one in findings) else None
    table = looks_table(taken, findings, compared, texts)
    concepts = concepts_table(compared, found, texts)
    said = verdict(table, concepts, against)
    with warehouse.commit(
        context, config, rows_in=len(compared.records), main="drift_report.looks", started=started
    ) as commit:
        commit.build("drift_report.looks", table)
        commit.build("drift_report.concepts", concepts)
        commit.build("drift_report.records", records_table(compared, found))
        sides = dict(compared.records["side"].value_counts().iter_rows())
        commit.notes = {
            "since": against.since and against.since.isoformat(),
            "since_what": against.why,
            "drifted_since": against.drifted_since and against.drifted_since.isoformat(),
            "old": len(compared.records) - sides.get("new", 0),
            "new": sides.get("new", 0),
            "drift_looks": int(table["is_drift"].sum()),
            "verdict": said,
        }
    return materialized(
        warehouse,
        "drift_report.looks",
        plots={"sizes": size_chart(table)} if len(table) else {},
        verdict=dg.MetadataValue.md(said),
        new_since=against.why,
        new_concepts=dg.MetadataValue.md(markdown_table(concepts) if len(concepts) else "none"),
        drift_looks=int(table["is_drift"].sum()),
    )


TEXTS = "select record_id, text from filtered.records where list_contains($ids, record_id)"


def new_texts(warehouse: Warehouse, compared: Compared) -> pl.DataFrame:
    """The new records in order: source, text."""
    new = compared.new.select("record_id", "source")
    texts = warehouse.query(TEXTS, ids=new["record_id"].to_list())
    return new.join(texts, on="record_id", how="left", maintain_order="left").select("source", "text")


def looks_table(
    taken: Sequence[Taken], findings: Sequence[Finding], compared: Compared, texts: pl.DataFrame | None
) -> pl.DataFrame:
    """Rows of drift_report.looks. texts: as `new_texts` has them; needed where a finding is drift."""
    schema = dict.fromkeys(("source", "look"), pl.String) | dict.fromkeys(("size", "p_value", "adjusted_p"), pl.Float64)
    schema |= {
        "is_drift": pl.Boolean,
        "old_records": pl.Int64,
        "new_records": pl.Int64,
        "detail": pl.String,
        "sentence": pl.String,
    }
    rows = []
    for one, finding in zip(taken, findings, strict=True):
        words = []
        if finding.is_drift and texts is not None:
            of_source = texts if one.source == EVERYTHING else texts.filter(source=one.source)
            words = words_behind(one.look, of_source["text"])
        rows.append(
            {
                "source": one.source,
                "look": one.look.name,
                "size": one.look.size,
                "p_value": one.look.p_value,
                "adjusted_p": finding.adjusted_p,
                "is_drift": finding.is_drift,
                "old_records": one.old_records,
                "new_records": one.new_records,
                "detail": json.dumps(dict(one.look.detail), ensure_ascii=False),
                "sentence": in_words(one.look, finding, words),
            }
        )
    return pl.DataFrame(rows, schema=schema)


def in_words(look: Look, finding: Finding, words: Sequence[str] = ()) -> str:
    """A finding as a sentence: what was measured, how large against the least size that counts, what is behind it, how sure."""
    detail, least = look.detail, drift.SIZES[look.kind]
    name = look.name.partition(":")[2]
    sign = ">" if look.size >= least else "<"
    size = f"{look.size:.2f} {sign} {least:.2f}"
    grown = f"{detail.get('grown_from', 0):.1%} to {detail.get('grown_to', 0):.1%}"
    beyond = f"PSI {size} beyond the {detail.get('psi_by_chance', 0):.2f} by chance"
    told = {
        "classifier": f"a linear classifier tells new from old with an AUC of {size} (.50: not at all)",
        "occupancy": f"cluster shares: {beyond}; cluster {detail.get('grown')} went from {grown}",
        "novelty": f"{look.size:.1%} {sign} {least:.0%} of the new records in no known cluster",
        "language": f"languages: {beyond}; {detail.get('grown')!r} went from {grown}",
        "signal": f"{name}: PSI {size}, median {detail.get('old_median', 0):.3g} before and {detail.get('new_median', 0):.3g} now",
        "filter": f"the rule {name} drops {detail.get('new_share', 0):.1%} of the new records and {detail.get('old_share', 0):.1%} of "
        f"the old: PSI {size}",
        "kappa": f"the model's kappa with the experts fell by {size}: {detail.get('old_kappa', float('nan')):.2f} on "
        f"{detail.get('old_labels', 0):,} old records, {detail.get('new_kappa', float('nan')):.2f} on {detail.get('new_labels', 0):,} new",
    }[look.kind]
    named = f": {', '.join(map(repr, words))}, …" if words else ""
    sure = "drift" if finding.is_drift else "no drift"
    if "size_against_last_drift" in detail:
        sure += ", held against all before and against the batch that drifted last"
    return f"{told}{named} ({sure}; adjusted p {finding.adjusted_p:.2g})."


def verdict(table: pl.DataFrame, concepts: pl.DataFrame, against: Reference) -> str:
    """All findings in a few plain sentences: what is drift first, with its size and its cause, then what it was compared with."""
    new_is = f"New is what was read since {against.why}."
    if not len(table):
        return f"Nothing to compare: fewer than {drift.LEAST_RECORDS} old or new records. {new_is}"
    drifting = table.filter("is_drift")
    came_through = table.filter(~pl.col("look").str.contains("^(filter:|kappa)"))
    old, new = (came_through if len(came_through) else table).select("old_records", "new_records").max().row(0)
    if not len(drifting):
        return f"No drift: {new:,} new records look like the {old:,} before. {new_is}"
    # By size in units of what counts, those of everything first.
    least = pl.col("look").str.split(":").list.first().replace_strict(drift.SIZES, return_dtype=pl.Float64)
    order = drifting.sort(pl.col("source") != EVERYTHING, pl.col("size") / least, descending=[False, True])
    told = [f"{source}: {sentence}" for source, sentence in order.head(TOLD).select("source", "sentence").iter_rows()]
    more = [f"And {len(order) - TOLD} looks more."] if len(order) > TOLD else []
    named = [
        f"New concept of {row['records']:,} records ({row['share']:.1%}): {', '.join(map(repr, row['words']))}."
        for row in concepts.head(EXAMPLES).iter_rows(named=True)
    ]
    return " ".join(["Drift.", *told, *more, *named, f"{new:,} new records against {old:,}.", new_is])


def concepts_table(compared: Compared, found: NewConcepts, texts: pl.DataFrame | None) -> pl.DataFrame:
    """Rows of drift_report.concepts: size, words and examples of each new concept. texts: as `new_texts` has them."""
    schema = {"concept": pl.Int64, "records": pl.Int64, "share": pl.Float64, "ratio": pl.Float64, "p_value": pl.Float64}
    schema |= dict.fromkeys(("words", "sources", "examples"), pl.List(pl.String))
    if texts is None or not len(found.records):
        return pl.DataFrame(schema=schema)
    new = texts.with_columns(concept=pl.Series(found.concept))
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
    concept = pl.Series(found.concept, dtype=pl.Int64)
    return compared.new.select("record_id").with_columns(concept=pl.when(concept >= 0).then(concept))


def size_chart(table: pl.DataFrame) -> Figure:
    """How small the adjusted p-value of each look is, the least first; what is drift in colour."""
    table = table.sort("adjusted_p", maintain_order=True).head(CHARTED)
    drawing, axes = figure(6.5, max(2.0, 0.25 * len(table)))
    names = [f"{source} · {look}" for source, look in table.select("source", "look").iter_rows()]
    evidence = -np.log10(np.maximum(table["adjusted_p"].to_numpy(), 1e-12))
    axes.barh(names[::-1], evidence[::-1], color=[BLUE if one else GREY for one in table["is_drift"].to_list()[::-1]])
    axes.set_xlabel("-log10 of the adjusted p-value (blue: drift)")
    axes.tick_params(axis="y", labelsize=7)
    return drawing
