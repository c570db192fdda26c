"""The `lexical_vectors` stage: what words and spellings each text has, for the model that experts' labels train."""

from datetime import datetime, timezone
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from curation_assets import lexical_store
from curation_assets.algorithms import lexical
from curation_assets.algorithms.lexical import Basis
from curation_assets.pages import materialized
from curation_assets.progress import logger, reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.filtered import filtered
from curation_assets.warehouse import Warehouse

CHUNK_TEXTS = 8_192
GROWTH = 2.0
"""Times as many texts as a basis was fitted for before it is fitted anew: a new basis costs every model fitted on the old one."""

SAMPLE = (
    "select any_value(left(text, $chars)) as text from filtered.records group by text_hash "
    "order by md5(text_hash || $seed::varchar) limit $texts"
)
TEXTS = "select count(distinct text_hash) as n from filtered.records"
MISSING = (
    "select distinct on (text_hash) text_hash, left(text, $chars) as text from filtered.records "
    "where text_hash not in (select text_hash from lexical_vectors.vectors where basis = $basis) order by text_hash"
)


class LexicalVectorsConfig(dg.Config):
    """What texts are projected on."""

    dimensions: int = Field(
        default=lexical.DIMENSIONS,
        ge=1,
        description="Directions kept. 100, 200 and 300 gave kappas of .887, .900 and .880 on one draw of titles.",
    )
    seed: int = Field(default=0, description="Seed of the sample the basis is fitted on, and of its decomposition.")


@dg.asset(
    deps=[filtered], group_name="labels", kinds={"duckdb", "python", "scikitlearn"}, owners=OWNERS, code_version="1"
)
def lexical_vectors(
    context: dg.AssetExecutionContext, config: LexicalVectorsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per text: its words and spellings as a unit vector, by latent semantic analysis.

    The expert loop's model reads it beside the embedding: what a text is about, and how it says it. The basis is fitted on a
    sample once and kept until the pool has doubled or records are erased, so that models of earlier rounds can be asked again; only new
    texts cost.
    """
    started = warehouse.begin()
    pool_texts = warehouse.value(TEXTS)
    if not pool_texts:
        raise dg.Failure("No record is left after filtered. `curate funnel` shows which rule dropped how many.")
    why = why_new_basis(warehouse, config, pool_texts)
    if why:
        logger.info("lexical_vectors: fitting a basis, since %s", why)
        fit_basis(warehouse, config, pool_texts)
    name, basis = lexical_store.basis_of(warehouse)
    projected = project_missing(warehouse, name, basis)
    with warehouse.commit(
        context, config, rows_in=warehouse.rows("filtered.records"), main="lexical_vectors.vectors", started=started
    ) as commit:
        dimensions = basis.directions.shape[1]
        commit.notes = {
            "basis": name,
            "ngrams": len(basis.ngrams),
            "dimensions": dimensions,
            "texts_projected": projected,
            "fitted_since": why,
        }
    return materialized(warehouse, "lexical_vectors.vectors", basis=name, ngrams=len(basis.ngrams))


def why_new_basis(warehouse: Warehouse, config: LexicalVectorsConfig, pool_texts: int) -> str | None:
    """Why a basis has to be fitted, for the reader; None where the one there is will do."""
    if not lexical_store.has_basis(warehouse):
        return "there is none"
    last = warehouse.query("from lexical_vectors.bases order by fitted_at desc limit 1").row(0, named=True)
    if last["method_version"] != lexical.METHOD_VERSION:
        return "n-grams or their weights are others in this version"
    if (last["seed"], last["dimensions_wanted"]) != (config.seed, config.dimensions):
        return "its settings have changed"
    if pool_texts >= GROWTH * last["pool_texts"]:
        return f"there are {pool_texts:,} texts, and were {last['pool_texts']:,} when the last one was fitted"
    return None


def fit_basis(warehouse: Warehouse, config: LexicalVectorsConfig, pool_texts: int) -> None:
    """Fit a basis on a sample of the texts and put it away; the vectors of the one before go."""
    sample = warehouse.query(SAMPLE, texts=lexical.FIT_TEXTS, chars=lexical.READ_CHARS, seed=config.seed)["text"]
    basis = lexical.fit(sample, dimensions=config.dimensions, seed=config.seed)
    name = lexical_store.name_of(basis)
    row: dict[str, Any] = {"basis": name, "method_version": lexical.METHOD_VERSION}
    row |= {"seed": config.seed, "dimensions_wanted": config.dimensions}
    row |= {"dimensions": basis.directions.shape[1], "ngrams": len(basis.ngrams), "texts": len(sample)}
    row |= {"pool_texts": pool_texts, "fitted_at": datetime.now(timezone.utc)}
    with warehouse.transaction(stage="lexical_vectors", run_id="") as commit:
        commit.append("lexical_vectors.bases", pl.DataFrame([row]))
        commit.build("lexical_vectors.ngrams", lexical_store.rows_of(name, basis))
        commit.build("lexical_vectors.vectors", vector_rows([], name, np.empty((0, basis.directions.shape[1]))))


def project_missing(warehouse: Warehouse, name: str, basis: Basis) -> int:
    """Project the texts that have no vector yet, chunk by chunk; return how many there were."""
    with warehouse.spooled(MISSING, basis=name, chars=lexical.READ_CHARS) as missing:
        report, done = reporter("lexical_vectors", "texts", missing.rows), 0
        for batch in missing.batches(CHUNK_TEXTS):
            found = lexical.vectors(basis, batch["text"])
            with warehouse.transaction(stage="lexical_vectors", run_id="") as commit:
                commit.append("lexical_vectors.vectors", vector_rows(batch["text_hash"].to_pylist(), name, found))
            report(done := done + len(batch))
        return missing.rows


def vector_rows(hashes: list[str], name: str, found: np.ndarray) -> pa.Table:
    """Rows of lexical_vectors.vectors."""
    return pa.table(
        {
            "text_hash": pa.array(hashes, pa.string()),
            "basis": pa.array([name] * len(hashes), pa.string()),
            "lexical_vector": lexical_store.lists_of(found),
        }
    )
