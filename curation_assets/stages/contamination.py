"""The `contamination` stage: which records hold items of the benchmarks a model will be judged by."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from curation_assets import readers
from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.readers import CONVERSATIONS
from curation_assets.readers.turns import words
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned, last_cleaned_by
from curation_assets.stages.deduped import deduped
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Spool, StaleError, Warehouse

if TYPE_CHECKING:
    from curation_assets.algorithms.decontamination import Ngrams

CODE_VERSION = "4"
NGRAM_WORDS = 6
"""Ours, by benchmarks/decontamination.py: of questions with every twentieth word exchanged .91 are found, .78 by 8 words, with as few
false alarms."""
KEPT_FROM = 0.2
"""Coverage from which a match is kept as evidence; below it one shared phrase is enough."""
MOST_CHARS_OF_EVIDENCE = 500
MATCHES_AT_A_TIME = 1_000
TEXTS = (
    "select d.record_id, d.kind, d.text, case when d.kind = 'preference' "
    "or (list_contains($kinds::varchar[], d.kind) and regexp_matches(r.original, '(?i)system|developer')) "
    "then coalesce(c.cleaned_original, r.original) end as original from deduped.records as d "
    "left join raw.records as r using (record_id) left join cleaned.records as c using (record_id)"
)
"""Every text, and the whole record where it may say more: a rejected answer, a system prompt."""
NEW_TEXTS = TEXTS + " anti join contamination.hits as h on h.record_id = d.record_id and h.text_hash = d.text_hash"
STILL_HELD = (
    "select h.record_id, h.ngram_hashes from contamination.hits as h join deduped.records as d "
    "on d.record_id = h.record_id and d.text_hash = h.text_hash where len(h.ngram_hashes) > 0"
)
TEXTS_OF = TEXTS + " where d.record_id in (select unnest($ids::varchar[]))"
ID_NAMES = ("id", "_id", "uuid", "task_id", "question_id", "qid")

PARTS = {
    "benchmark": pl.String,
    "item_id": pl.String,
    "field": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "words": pl.Int64,
    "ngrams": pl.Int64,
    "common_ngrams": pl.Int64,
}
MATCHES = {
    "record_id": pl.String,
    "benchmark": pl.String,
    "item_id": pl.String,
    "field": pl.String,
    "coverage": pl.Float64,
    "shared_ngrams": pl.Int64,
    "ngrams": pl.Int64,
    "longest_run": pl.String,
}
NO_MATCHES = pl.DataFrame(schema=MATCHES)
NOT_LOOKED = pl.DataFrame(schema={"record_id": pl.String, "ngram_hashes": pl.List(pl.UInt64)})
OF_PART = ("benchmark", "item_id", "field")


class BenchmarkConfig(dg.Config):
    """One benchmark whose items must not be in the training data."""

    name: str = Field(description="Name of the benchmark, as the evidence gives it.")
    path: str = Field(description="Its file, or a glob: JSONL, JSON, CSV, TSV, Parquet or text, also .gz and .zst.")
    fields: list[str] = Field(
        default=[],
        description="Fields to look for, each by itself (question, answer, …; dots reach inside). Default: every field that holds text.",
    )


class ContaminationConfig(dg.Config):
    """The benchmarks, and what counts as a shared n-gram."""

    benchmarks: list[BenchmarkConfig] = Field(
        default=[], description="Benchmarks to look for. Empty: nothing is looked for, and the audit report says so."
    )
    ngram_words: int = Field(
        default=NGRAM_WORDS,
        ge=2,
        description="Words of an n-gram. Fewer also find items of which words were changed, and more phrases by chance.",
    )
    common_in_records: int = Field(
        default=10,
        ge=1,
        description="An n-gram found in more records than this, none of which holds much of the item, is common and counts for nothing.",
    )
    common_in_parts: int = Field(
        default=5, ge=1, description="An n-gram that more parts of the benchmarks than this hold is common as well."
    )

    @field_validator("benchmarks")
    @classmethod
    def _differ_in_name(cls, benchmarks: list[BenchmarkConfig]) -> list[BenchmarkConfig]:
        names = [benchmark.name for benchmark in benchmarks]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"benchmarks need names of their own; {', '.join(repeated)} is given more than once")
        return benchmarks


@dg.asset(
    deps=[raw, cleaned, deduped],
    group_name="records",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def contamination(
    context: dg.AssetExecutionContext, config: ContaminationConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record and benchmark item of which the record holds a good share of the word n-grams.

    Measured only: `filtered` drops a record whose share is above its `max_benchmark_coverage`. System prompts and rejected answers
    count too, though they are no part of a record's text. The numbers of an item may have been exchanged, and it may stand inside a
    longer text; n-grams that are common are exempt. The evidence is the item, the share, and the longest run of words. Only records
    that are new or whose text has changed are compared, all of them where the benchmarks have changed.
    """
    from curation_assets.algorithms.decontamination import ngrams_of  # compiles its kernels on import

    started = warehouse.begin()
    of_run, rows_in = deduped_run(warehouse), warehouse.rows("deduped.records")
    parts, notes = parts_of(config.benchmarks, config.ngram_words)
    ngrams = ngrams_of(parts["text"], config.ngram_words)
    by = looked_by(warehouse, parts, ngrams)
    anew = by != last_looked_by(warehouse)
    looked = look_for(warehouse, ngrams, TEXTS if anew else NEW_TEXTS, rows_in) if len(parts) else NOT_LOOKED
    matches, counted = matches_of(warehouse, looked, parts, ngrams, config, anew=anew)
    with warehouse.commit(context, config, rows_in=rows_in, main="contamination.matches", started=started) as commit:
        commit.build("contamination.parts", counted)
        commit.build("contamination.matches", matches)
        if anew:
            commit.build("contamination.hits", looked)
        else:
            commit.renew("contamination.hits", looked, ("record_id", "text_hash"), "deduped.records")
        commit.notes = {"deduped_run": of_run, "benchmarks": notes, "looked_by": by, "records_looked_at": len(looked)}
    return materialized(
        warehouse,
        "contamination.matches",
        plots={"coverage_histogram": histogram(matches["coverage"], "share of an item's n-grams in a record")},
        benchmarks=dg.MetadataValue.md(
            markdown_table(_by_benchmark(warehouse)) if notes else "No benchmark is named; nothing was looked for."
        ),
        strongest=dg.MetadataValue.md(markdown_table(_strongest(warehouse))),
    )


def deduped_run(warehouse: Warehouse) -> str | None:
    """The run that made deduped.records as they are."""
    return warehouse.value("select max_by(run_id, finished_at) as run from ledger.runs where stage = 'deduped'")


def require_current(warehouse: Warehouse) -> None:
    """Raise StaleError if the records were looked at before deduped.records became what they are; never looked at is no error."""
    last = warehouse.query(
        "select notes ->> 'deduped_run' as deduped_run from ledger.runs where stage = 'contamination' order by finished_at desc limit 1"
    )["deduped_run"]
    if len(last) and last.item() != deduped_run(warehouse):
        raise StaleError(
            "deduped has run since the records were compared with the benchmarks. Materialize contamination first."
        )


def parts_of(benchmarks: list[BenchmarkConfig], n: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read the benchmarks: one row per part with its text (columns of PARTS known so far, and text), and notes by benchmark.

    Raises readers.SourceError if a file is missing or can't be read whole, and ValueError if there is no text under the fields named.
    """
    rows, notes = [], {}
    for benchmark in benchmarks:
        source = readers.Source(name=benchmark.name, path=benchmark.path)
        hashes: dict[str, str] = {}
        items = 0
        for file in readers.files(source):
            hashes[file.uri] = readers.file_hash(file.path)
            for row, item in readers.items(source, file):
                item_id = next(
                    (str(item[name]) for name in ID_NAMES if item.get(name) is not None), f"{file.uri}:{row}"
                )
                found = _texts(item, benchmark.fields)
                rows += [(benchmark.name, item_id, field, file.uri, row, text) for field, text in found.items()]
                items += 1
        if benchmark.fields and not any(name == benchmark.name for name, *_ in rows):
            raise ValueError(
                f"Benchmark '{benchmark.name}': none of its {items:,} items has text in {', '.join(benchmark.fields)}; check `fields`."
            )
        notes[benchmark.name] = {"items": items, "files": hashes}
    schema = {name: PARTS[name] for name in ("benchmark", "item_id", "field", "file", "row")} | {"text": pl.String}
    return joined_if_short(pl.DataFrame(rows, schema=schema, orient="row"), n), notes


def looked_by(warehouse: Warehouse, parts: pl.DataFrame, ngrams: "Ngrams") -> str:
    """What decides how a record compares, but for its text: the benchmarks' parts and n-grams, the code, and how records were cleaned.

    The parts are told apart also where they hold the same n-grams: the evidence of one is not that of another that has got its id.
    """
    of_benchmarks = hashlib.sha256(ngrams.hashes.tobytes())
    of_benchmarks.update(parts.select(*OF_PART, "text").write_ndjson().encode())
    return f"{ngrams.n}-grams {of_benchmarks.hexdigest()[:16]}, code {CODE_VERSION}, cleaned by {last_cleaned_by(warehouse)}"


def last_looked_by(warehouse: Warehouse) -> str | None:
    """The same of the rows of contamination.hits; None where there are none, or an older version has run since."""
    if not warehouse.has_table("contamination.hits"):
        return None
    last = "select notes ->> 'looked_by' as looked_by from ledger.runs where stage = 'contamination' order by finished_at desc limit 1"
    return next(iter(warehouse.query(last)["looked_by"]), None)


def look_for(warehouse: Warehouse, ngrams: "Ngrams", texts: str, total: int) -> pl.DataFrame:
    """Compare the records of a query, at most `total`, with the benchmarks' n-grams: incoming rows of contamination.hits."""
    from curation_assets.algorithms.decontamination import hits

    ids: list[pl.Series] = [pl.Series([], dtype=pl.String)]

    def said(spool: Spool) -> Iterator[pa.Array]:
        report, done = reporter("contamination", "records", total), 0
        for batch in spool.batches():
            ids.append(pl.Series(pl.from_arrow(batch["record_id"]), dtype=pl.String))
            yield _said(batch)
            report(done := done + len(batch))

    with warehouse.spooled(texts, kinds=list(CONVERSATIONS)) as spool:
        found = hits(said(spool), ngrams)
    held = found.select(
        "record", pl.Series(ngrams.hashes, dtype=pl.UInt64).gather(found["ngram"]).alias("ngram_hashes")
    )
    records = pl.DataFrame({"record_id": pl.concat(ids)}).with_row_index("record").cast({"record": pl.Int64})
    return records.join(
        held.group_by("record").agg("ngram_hashes"), on="record", how="left", maintain_order="left"
    ).select("record_id", pl.col("ngram_hashes").fill_null([]))


def matches_of(
    warehouse: Warehouse,
    looked: pl.DataFrame,
    parts: pl.DataFrame,
    ngrams: "Ngrams",
    config: ContaminationConfig,
    *,
    anew: bool,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of contamination.matches and of contamination.parts, by what the records just looked at hold and, unless anew, the others."""
    from curation_assets.algorithms import decontamination

    held = looked if anew else pl.concat([warehouse.query(STILL_HELD).cast(looked.schema), looked])
    held = held.filter(pl.col("ngram_hashes").list.len() > 0)
    found = held.select(pl.int_range(pl.len()).alias("record"), "ngram_hashes").explode("ngram_hashes")
    places = np.searchsorted(ngrams.hashes, found["ngram_hashes"].to_numpy())
    found = found.select("record", pl.Series("ngram", places, pl.Int64))
    is_common = decontamination.common_ngrams(
        found, ngrams, min_coverage=0.5, max_records=config.common_in_records, max_parts=config.common_in_parts
    )
    covered = decontamination.coverage(found, ngrams, is_common).filter(pl.col("coverage") >= KEPT_FROM)
    common = np.bincount(ngrams.parts[np.repeat(is_common, np.diff(ngrams.offsets))], minlength=len(ngrams.n_ngrams))
    counted = parts.with_columns(
        words=pl.Series(ngrams.n_words), ngrams=pl.Series(ngrams.n_ngrams), common_ngrams=pl.Series(common)
    )
    matches = covered.select(
        held["record_id"].gather(covered["record"]),
        *(parts[name].gather(covered["part"]) for name in OF_PART),
        "coverage",
        pl.col("shared").alias("shared_ngrams"),
        pl.col("of").alias("ngrams"),
        pl.Series("text", parts["text"].gather(covered["part"])),
    )
    known = pl.DataFrame(schema=MATCHES) if anew else warehouse.query("from contamination.matches")
    known = known.join(looked, on="record_id", how="anti").select("record_id", *OF_PART, "longest_run")
    ambiguous = parts.filter(parts.select(OF_PART).is_duplicated())  # items that share an id
    known = known.join(ambiguous, on=OF_PART, how="anti")
    matches = matches.join(known, on=["record_id", *OF_PART], how="left")
    without = pl.col("longest_run").is_null()
    told = pl.concat(
        [matches.filter(~without).drop("text"), _with_evidence(warehouse, matches.filter(without).drop("longest_run"))]
    )
    return told.select(list(MATCHES)).sort("record_id", *OF_PART), counted.select(list(PARTS))


def _with_evidence(warehouse: Warehouse, matches: pl.DataFrame) -> pl.DataFrame:
    """The matches with the longest run of words that record and part share, texts read some at a time."""
    from curation_assets.algorithms.decontamination import longest_shared_run

    matches = matches.sort("record_id", *OF_PART)
    done = [matches.clear().drop("text").with_columns(longest_run=pl.lit(None, pl.String))]
    for part in matches.iter_slices(MATCHES_AT_A_TIME):
        rows = warehouse.query(TEXTS_OF, kinds=list(CONVERSATIONS), ids=part["record_id"].unique().to_list()).to_arrow()
        texts = dict(zip(rows["record_id"].to_pylist(), _said(rows).to_pylist(), strict=True))
        runs = [
            longest_shared_run(texts[record_id], text)[:MOST_CHARS_OF_EVIDENCE]
            for record_id, text in part.select("record_id", "text").iter_rows()
        ]
        done.append(part.drop("text").with_columns(longest_run=pl.Series(runs, dtype=pl.String)))
    return pl.concat(done)


def _said(rows: pa.RecordBatch | pa.Table) -> pa.Array | pa.ChunkedArray:
    """All that each record says: its text and, of one with turns, what a trainer sees and is no part of that."""
    if rows["original"].null_count == len(rows):
        return rows["text"]
    columns = (rows[name].to_pylist() for name in ("kind", "text", "original"))
    said = ("\n".join([text, *_beside_the_text(kind, original)]) for kind, text, original in zip(*columns, strict=True))
    return pa.array(said, pa.large_string())


def _beside_the_text(kind: str, original: str | None) -> list[str]:
    """System prompts and the rejected answer."""
    if original is None:
        return []
    try:
        found = readers.conversation(kind, original)
    except ValueError:  # read by an older version, which was less strict
        return []
    systems = [turn for turn in found.prompt if turn.role == "system"]
    return [said for turn in (*systems, *found.rejected) for said in words(turn)]


def _texts(item: Any, fields: list[str]) -> dict[str, str]:
    """The texts of an item by field; lists of texts joined, dots for fields of fields; all of them unless fields are named."""
    found = {field: text for field, text in _leaves(item, "") if field not in ID_NAMES}
    return {field: found[field] for field in fields if field in found} if fields else found


def _leaves(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field or "text", value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        if all(isinstance(one, str) for one in value):
            yield field or "text", "\n".join(value)
        else:
            for at, inner in enumerate(value):
                yield from _leaves(inner, f"{field}.{at}" if field else str(at))


def joined_if_short(parts: pl.DataFrame, n: int) -> pl.DataFrame:
    """The parts, but of items whose every part is too short to be looked for all of them as one: a short question with its choices."""
    from curation_assets.algorithms.decontamination import can_be_found

    if not len(parts):
        return parts
    item = ["benchmark", "file", "row"]
    found = parts.with_columns(can_be_found(parts["text"], n))
    has_long = found.with_columns(pl.col("can_be_found").any().over(item))["can_be_found"]
    joined = (
        parts.filter(~has_long)
        .group_by(item, maintain_order=True)
        .agg(pl.col("item_id").first(), pl.col("field").str.join("+"), pl.col("text").str.join("\n"))
    )
    return pl.concat([parts.filter(has_long), joined.select(parts.columns)])


def _by_benchmark(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "with found as (select benchmark, count(distinct item_id) as items_found, count(distinct record_id) as records, "
        "max(coverage) as greatest_coverage from contamination.matches group by benchmark) "
        "select p.benchmark, count(distinct p.item_id) as items, count(*) as parts, "
        "count(*) filter (p.ngrams < 3) as too_short_to_look_for, "
        "count(*) filter (p.ngrams >= 3 and p.ngrams - p.common_ngrams < 3) as too_common_to_look_for, "
        "coalesce(any_value(f.items_found), 0) as items_found, coalesce(any_value(f.records), 0) as records, "
        "any_value(f.greatest_coverage) as greatest_coverage "
        "from contamination.parts as p left join found as f using (benchmark) group by p.benchmark order by p.benchmark"
    )


def _strongest(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select benchmark, item_id, field, coverage, record_id, left(longest_run, 160) as longest_run from contamination.matches "
        "order by coverage desc, record_id, benchmark, item_id, field limit 10"
    )
