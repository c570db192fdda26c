"""The `embeddings` stage: one unit vector a record, computed once per text and model."""

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from curation_assets.models.embedders import DEFAULT_MODEL, Embedder, SentenceTransformerEmbedder
from curation_assets.pages import materialized
from curation_assets.progress import logger, reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.filtered import filtered
from curation_assets.warehouse import Warehouse

MISSING = (
    "select distinct on (text_hash) text_hash, text from filtered.records "
    "where text_hash not in (select text_hash from embeddings.cache where model = $model and revision = $revision) "
    "order by text_hash"
)
"""Texts without an embedding, in no order of length, so that the time left can be told from the time spent."""

SELF_TEST_TEXTS = 24


class EmbeddingsConfig(dg.Config):
    """Which model embeds, and how often its work is put away."""

    model: str = Field(
        default=DEFAULT_MODEL,
        description="A sentence-transformers model by id or path. The default comes with the package and needs no network.",
    )
    chunk_texts: int = Field(
        default=512, ge=1, description="Texts embedded between two commits: what an interruption costs at most."
    )


@dg.asset(
    deps=[filtered], group_name="measures", kinds={"duckdb", "python", "huggingface"}, owners=OWNERS, code_version="1"
)
def embeddings(
    context: dg.AssetExecutionContext, config: EmbeddingsConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per record and its embedding, a unit vector.

    Embeddings are cached by text, model and revision and committed in chunks: an interruption costs at most one chunk,
    and a new batch costs only its own texts.
    """
    started = warehouse.begin()
    embedder = SentenceTransformerEmbedder(config.model)
    computed = embed_missing(warehouse, embedder, config.chunk_texts)
    rows_in = warehouse.rows("filtered.records")
    with warehouse.commit(context, config, rows_in=rows_in, main="embeddings.vectors", started=started) as commit:
        commit.build(
            "embeddings.vectors",
            model=embedder.model,
            revision=embedder.revision,
            vector_column=("embedding", embedder.dimensions),
        )
        commit.notes = {
            "model": embedder.model,
            "revision": embedder.revision,
            "dimensions": embedder.dimensions,
            "texts_embedded": computed,
            "precision": embedder.precision,
        }
    return materialized(warehouse, "embeddings.vectors")


def embed_missing(warehouse: Warehouse, embedder: Embedder, chunk_texts: int) -> int:
    """Embed the texts of filtered.records that the cache lacks, chunk by chunk; return how many there were."""
    identity = {"model": embedder.model, "revision": embedder.revision}
    if not warehouse.has_table("embeddings.cache"):
        warehouse.append("embeddings.cache", _chunk([], embedder.embed(["x"])[:0], identity))
    with warehouse.spooled(MISSING, **identity) as missing:
        sample = next(missing.batches(SELF_TEST_TEXTS), None)
        embedder.choose_precision(sample["text"].to_pylist() if sample else [])
        logger.info(
            "embeddings: %s texts to embed with %s (%s)", f"{missing.rows:,}", embedder.model, embedder.precision
        )
        report, done = reporter("embeddings", "texts", missing.rows), 0
        for batch in missing.batches(chunk_texts):
            vectors = embedder.embed(batch["text"].to_pylist())
            warehouse.append("embeddings.cache", _chunk(batch["text_hash"].to_pylist(), vectors, identity))
            report(done := done + len(batch))
        return missing.rows


def _chunk(hashes: list[str], vectors: np.ndarray, identity: dict[str, str]) -> pa.Table:
    offsets = pa.array(np.arange(len(hashes) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.table(
        {
            "text_hash": pa.array(hashes, pa.string()),
            "model": pa.array([identity["model"]] * len(hashes), pa.string()),
            "revision": pa.array([identity["revision"]] * len(hashes), pa.string()),
            "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32())),
        }
    )
