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
    precision: str | None = Field(
        default=None,
        description="fp32 or bf16. Default: what this database already holds of the model; for a new one bf16 if, on a few texts, "
        "it is faster here and leaves the vectors the same. Set it where embeddings must agree across machines.",
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
    if not warehouse.rows("filtered.records"):
        raise dg.Failure(
            "No record is left to embed. `curate funnel` shows which rule dropped how many; loosen it in filtered's config."
        )
    embedder = SentenceTransformerEmbedder(config.model)
    embedder.precision = (
        config.precision
        or precision_of_cache(warehouse, embedder)
        or embedder.fastest_precision(sample_texts(warehouse))
    )
    warn_of_other_languages(warehouse, embedder)
    computed = embed_missing(warehouse, embedder, config.chunk_texts)
    rows_in = warehouse.rows("filtered.records")
    with warehouse.commit(context, config, rows_in=rows_in, main="embeddings.vectors", started=started) as commit:
        commit.build(
            "embeddings.vectors",
            model=embedder.model,
            revision=f"{embedder.revision}-{embedder.precision}",
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


def warn_of_other_languages(warehouse: Warehouse, embedder: Embedder) -> None:
    """Say so where most records are in another language than the default model was made for."""
    other = warehouse.value(
        "select avg((language not in ('en', 'und'))::int) as share from filtered.signals join filtered.records using (record_id)"
    )
    if embedder.model == DEFAULT_MODEL and other > 0.5:
        logger.warning(
            "embeddings: %.0f %% of the records are not English, and the default model is an English one; "
            "clusters and density will be coarse. embeddings.model in a recipe names another (a multilingual one).",
            100 * other,
        )


def sample_texts(warehouse: Warehouse) -> list[str]:
    """A few texts to try the embedder's arithmetic on."""
    return warehouse.query("select text from filtered.records order by text_hash limit $n", n=SELF_TEST_TEXTS)[
        "text"
    ].to_list()


def precision_of_cache(warehouse: Warehouse, embedder: Embedder) -> str | None:
    """The precision this database already holds embeddings of this model in, so that one set never mixes two."""
    if not warehouse.has_table("embeddings.cache"):
        return None
    known = warehouse.query(
        "select revision from embeddings.cache where model = $model and starts_with(revision, $revision) "
        "group by revision order by count(*) desc limit 1",
        model=embedder.model,
        revision=f"{embedder.revision}-",
    )["revision"].to_list()
    return known[0].rsplit("-", 1)[-1] if known else None


def embed_missing(warehouse: Warehouse, embedder: Embedder, chunk_texts: int) -> int:
    """Embed the texts of filtered.records that the cache lacks, chunk by chunk; return how many there were."""
    identity = {"model": embedder.model, "revision": f"{embedder.revision}-{embedder.precision}"}
    if not warehouse.has_table("embeddings.cache"):
        warehouse.append("embeddings.cache", _chunk([], embedder.embed(["x"])[:0], identity))
    with warehouse.spooled(MISSING, **identity) as missing:
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
