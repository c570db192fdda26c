"""The `deduped` stage: exact and near-duplicates, with evidence."""

from collections.abc import Iterator
from enum import Enum

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curation_assets import overrides
from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.warehouse import Spool, Warehouse


class Survivor(str, Enum):
    """Which copy of a record is kept."""

    longest = "longest"
    first = "first"
    newest = "newest"


class DedupedConfig(dg.Config):
    """What counts as a duplicate, and which copy survives."""

    min_jaccard: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of shingles from which two records are near-duplicates.",
    )
    shingle_words: int = Field(
        default=5, ge=1, description="Words in a shingle (characters, in scripts without spaces)."
    )
    bands: int = Field(
        default=14,
        ge=1,
        description="Bands of the MinHash sketch. 14 × 8 finds 92 % of pairs at Jaccard .8, 56 % at .7.",
    )
    rows: int = Field(default=8, ge=1, description="Rows a band. More rows look at fewer, more similar pairs.")
    survivor: Survivor = Field(
        default=Survivor.longest,
        description="Which copy is kept: the longest text, the first one by source, file and row, or the newest by its "
        "owner's time (a timestamp or a number; without one it comes last). "
        "Ties go to the first one by source, file and row, so the result does not depend on the order of the input.",
    )
    seed: int = Field(default=0, description="Seed of the MinHash permutations.")


@dg.asset(deps=[cleaned], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1")
def deduped(context: dg.AssetExecutionContext, config: DedupedConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record that is no exact and no near-duplicate of a kept record.

    Candidates come from MinHash; every one is verified by its true Jaccard similarity, and a record is only dropped
    for a record that is itself kept. `deduped.pairs` holds the evidence.
    """
    started = warehouse.begin()
    records, pairs = _find(warehouse, config)
    with warehouse.commit(context, config, rows_in=records, main="deduped.records", started=started) as commit:
        commit.build("deduped.pairs", pairs)
        commit.decide(min_jaccard=config.min_jaccard)
        commit.build("deduped.records")
        commit.keep_the_rest()
    near = pairs.filter(pl.col("kind") == "near")
    return materialized(
        warehouse,
        "deduped.records",
        plots={"similarity_of_near_pairs": histogram(near["similarity"], "Jaccard similarity")},
        weakest_pairs=dg.MetadataValue.md(markdown_table(_weakest(warehouse))),
    )


RANKED = (
    "select record_id, text, row_number() over (order by "
    "case when list_contains($kept, record_id) then 0 when list_contains($dropped, record_id) then 2 else 1 end, "
    "case $survivor when 'longest' then -len(text) end, "
    "case $survivor when 'newest' then try_cast(record_time as timestamptz) end desc nulls last, "
    "case $survivor when 'newest' then try_cast(record_time as double) end desc nulls last, "
    "source, source_uri, source_row, record_id) - 1 as rank from cleaned.records"
)
"""Every record with its place in the order of survival, 0 the first to be kept: what people keep, then the rest, then what they drop."""

PEOPLE = {"kept": "keep", "dropped": "drop"}


def _find(warehouse: Warehouse, config: DedupedConfig) -> tuple[int, pl.DataFrame]:
    """How many records there are, and the verified pairs among them with our ids. The texts are streamed."""
    from curation_assets.algorithms.minhash import duplicates  # compiles its kernels on import

    ids: list[str] = []

    def texts(spool: Spool) -> Iterator[pa.Array]:
        for batch in spool.batches():
            ids.extend(batch["record_id"].to_pylist())
            yield batch["text"]

    said = overrides.in_force(warehouse)
    by_people = {name: said.filter(verdict=verdict)["record_id"].to_list() for name, verdict in PEOPLE.items()}
    with warehouse.spooled(RANKED, survivor=config.survivor.value, **by_people) as spool:
        order = np.concatenate(
            [np.empty(0, np.int64), *(batch["rank"].to_numpy() for batch in spool.batches(columns=["rank"]))]
        )
        found = duplicates(
            texts(spool),
            order,
            words=config.shingle_words,
            bands=config.bands,
            rows=config.rows,
            min_jaccard=config.min_jaccard,
            seed=config.seed,
        )
    known = np.array(ids, dtype=object)
    return len(ids), found.select(
        pl.Series("record_id", known[found["record"].to_numpy()], dtype=pl.String),
        pl.Series("matched_record_id", known[found["matched"].to_numpy()], dtype=pl.String),
        "similarity",
        "kind",
    )


def _weakest(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select p.similarity, left(a.text, 120) as dropped, left(b.text, 120) as kept "
        "from deduped.pairs as p join cleaned.records as a on a.record_id = p.record_id "
        "join cleaned.records as b on b.record_id = p.matched_record_id where p.kind = 'near' order by p.similarity limit 5"
    )
