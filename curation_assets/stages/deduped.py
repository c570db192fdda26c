"""The `deduped` stage: exact and near-duplicates, with evidence."""

from enum import Enum

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.warehouse import Warehouse


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
        description="Which copy is kept: the longest text, the first one by source, file and row, or the newest by its owner's time. "
        "Ties go to the smaller record_id, so the result does not depend on the order of the input.",
    )
    seed: int = Field(default=0, description="Seed of the MinHash permutations.")


@dg.asset(deps=[cleaned], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1")
def deduped(context: dg.AssetExecutionContext, config: DedupedConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record that is no exact and no near-duplicate of a kept record.

    Candidates come from MinHash; every one is verified by its true Jaccard similarity, and a record is only dropped
    for a record that is itself kept. `deduped.pairs` holds the evidence.
    """
    started = warehouse.begin()
    ids, pairs = _find(warehouse, config)
    with warehouse.commit(context, config, rows_in=len(ids), main="deduped.records", started=started) as commit:
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


def _find(warehouse: Warehouse, config: DedupedConfig) -> tuple[list[str], pl.DataFrame]:
    """All record ids, and the verified pairs among them with our ids."""
    from curation_assets.algorithms.minhash import duplicates  # compiles its kernels on import

    with warehouse.get_connection(read_only=True) as connection:
        records = connection.sql(
            "select record_id, text from cleaned.records order by "
            "case $survivor when 'longest' then -len(text) end, "
            "case $survivor when 'newest' then record_time end desc nulls last, "
            "case $survivor when 'first' then source || chr(31) || source_uri end, "
            "case $survivor when 'first' then source_row end, record_id",
            params={"survivor": config.survivor.value},
        ).to_arrow_table()
    found = duplicates(
        records["text"],
        np.arange(len(records)),
        words=config.shingle_words,
        bands=config.bands,
        rows=config.rows,
        min_jaccard=config.min_jaccard,
        seed=config.seed,
    )
    ids = np.array(records["record_id"].to_pylist(), dtype=object)
    return list(ids), found.select(
        pl.Series("record_id", ids[found["record"].to_numpy()], dtype=pl.String),
        pl.Series("matched_record_id", ids[found["matched"].to_numpy()], dtype=pl.String),
        "similarity",
        "kind",
    )


def _weakest(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select p.similarity, left(a.text, 120) as dropped, left(b.text, 120) as kept "
        "from deduped.pairs as p join cleaned.records as a on a.record_id = p.record_id "
        "join cleaned.records as b on b.record_id = p.matched_record_id where p.kind = 'near' order by p.similarity limit 5"
    )
