"""The `embeddings` stage: one unit vector a record, computed once per text and model."""

from enum import Enum
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from curation_assets.models.embedders import DEFAULT_MODEL, MAX_CHUNKS, Embedder, Read, SentenceTransformerEmbedder
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

HOW_MUCH_WAS_READ = (
    "select count(*) filter (chunks > 1) as longer_than_limit, count(*) filter (tokens_read < tokens) as read_in_part, "
    "round(sum(tokens_read) / nullif(sum(tokens), 0), 4) as share_of_tokens_read "
    "from filtered.records join embeddings.readings using (text_hash) where model = $model and revision = $revision"
)

SELF_TEST_TEXTS = 24
SELF_TEST_CHARS = 1_000
"""Of each text: the self-test takes a few seconds with the default model."""


class Precision(str, Enum):
    """The arithmetic texts are embedded in."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class EmbeddingsConfig(dg.Config):
    """Which model embeds, how much of a long text it reads, and how often its work is put away."""

    model: str = Field(
        default=DEFAULT_MODEL,
        description="A sentence-transformers or a plain transformers model (an encoder, or a decoder such as GPT-2), by id or "
        "path. The default comes with the package and needs no network.",
    )
    max_chunks: int = Field(
        default=MAX_CHUNKS,
        ge=1,
        description="A text longer than the model's limit is cut into chunks and its vector is the mean of theirs. At most so many "
        "are read of a text, spread evenly from its first to its last; 1 reads its beginning only.",
    )
    precision: Precision | None = Field(
        default=None,
        description="fp32, bf16 or fp16. Default: what this database already holds of the model; for a new one bf16 (fp16 on a GPU "
        "without it) if, on a few texts, it is faster here and leaves the vectors the same. Set it where embeddings must agree "
        "across machines.",
    )
    chunk_texts: int = Field(
        default=512, ge=1, description="Texts embedded between two commits: what an interruption costs at most."
    )


@dg.asset(
    deps=[filtered], group_name="measures", kinds={"duckdb", "python", "huggingface"}, owners=OWNERS, code_version="2"
)
def embeddings(
    context: dg.AssetExecutionContext, config: EmbeddingsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record and its embedding, a unit vector.

    Embeddings are cached by text, model and revision and committed in chunks: an interruption costs at most one chunk,
    and a new batch costs only its own texts.
    """
    started = warehouse.begin()
    if not warehouse.rows("filtered.records"):
        raise dg.Failure(
            "No record is left to embed. `curate funnel` shows how many were read (`raw.rejects` has what could not be, with the reason) "
            "and which rule dropped how many; loosen it in filtered's config."
        )
    embedder = SentenceTransformerEmbedder(config.model, config.max_chunks)
    chosen = choose_precision(warehouse, embedder, config.precision)
    warn_of_other_languages(warehouse, embedder)
    computed = embed_missing(warehouse, embedder, config.chunk_texts)
    read = warehouse.query(HOW_MUCH_WAS_READ, **identity(embedder)).row(0, named=True)
    tell_what_was_not_read(embedder, read)
    rows_in = warehouse.rows("filtered.records")
    with warehouse.commit(context, config, rows_in=rows_in, main="embeddings.vectors", started=started) as commit:
        commit.build("embeddings.vectors", vector_column=("embedding", embedder.dimensions), **identity(embedder))
        commit.notes = {
            "model": embedder.model,
            "revision": embedder.revision,
            "dimensions": embedder.dimensions,
            "texts_embedded": computed,
            **chosen,
            "limit": embedder.limit,
            **read,
        }
    return materialized(warehouse, "embeddings.vectors")


def identity(embedder: Embedder) -> dict[str, str]:
    """What vectors are cached under, besides their text."""
    return {"model": embedder.model, "revision": f"{embedder.revision}-{embedder.precision}"}


def choose_precision(warehouse: Warehouse, embedder: Embedder, wanted: Precision | None) -> dict[str, Any]:
    """Set the embedder's arithmetic, and say for the run row which, why, and what the self-test measured if one was made."""
    test = None
    if embedder.limit is None:
        why = "the model computes its own way"
    elif wanted:
        embedder.precision, why = wanted.value, "given"
    elif cached := precision_of_cache(warehouse, embedder):
        embedder.precision, why = cached, "that of the vectors this database holds"
    else:
        test, why = embedder.self_test(sample_texts(warehouse)), "self-test"
        embedder.precision = test.precision if test else "fp32"
    if test:
        logger.info(
            "embeddings: 16-bit arithmetic is %.1f times as fast as float32 on %s texts, mean cosine %.5f: %s it is",
            *(test.speedup, test.texts, test.mean_cosine, embedder.precision),
        )
    return {"precision": embedder.precision, "why_this_precision": why, "self_test": test._asdict() if test else None}


def tell_what_was_not_read(embedder: Embedder, read: dict[str, Any]) -> None:
    """Say how many texts were longer than the model's limit and how much of all of them it was given."""
    if read["longer_than_limit"]:
        logger.info(
            "embeddings: %s records are longer than the %s tokens the model takes at once; %s of them were read in part, "
            "%.1f %% of all tokens were read (embeddings.max_chunks in a recipe sets how many chunks of a text are)",
            *(f"{read['longer_than_limit']:,}", embedder.limit, f"{read['read_in_part']:,}"),
            100 * read["share_of_tokens_read"],
        )


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
    """The beginnings of a few texts, to try the embedder's arithmetic on."""
    return warehouse.query(
        "select left(text, $chars) as text from filtered.records order by text_hash limit $texts",
        chars=SELF_TEST_CHARS,
        texts=SELF_TEST_TEXTS,
    )["text"].to_list()


def precision_of_cache(warehouse: Warehouse, embedder: Embedder) -> str | None:
    """The precision this database already holds embeddings of this model in, so that one set never mixes two."""
    if not warehouse.has_table("embeddings.cache"):
        return None
    known = warehouse.query(
        "select revision from embeddings.cache where model = $model and starts_with(revision, $revision) "
        "group by revision order by count(*) desc, revision limit 1",
        model=embedder.model,
        revision=f"{embedder.revision}-",
    )["revision"].to_list()
    return known[0].rsplit("-", 1)[-1] if known else None


def embed_missing(warehouse: Warehouse, embedder: Embedder, chunk_texts: int) -> int:
    """Embed the texts of filtered.records that the cache lacks, chunk by chunk; return how many there were."""
    if not warehouse.has_table("embeddings.readings"):
        put_away(warehouse, embedder, [], Read(np.empty((0, embedder.dimensions), np.float32), *[np.empty(0, int)] * 3))
    with warehouse.spooled(MISSING, **identity(embedder)) as missing:
        logger.info(
            "embeddings: %s texts to embed with %s (%s)", f"{missing.rows:,}", embedder.model, embedder.precision
        )
        report, done = reporter("embeddings", "texts", missing.rows), 0
        for batch in missing.batches(chunk_texts):
            put_away(warehouse, embedder, batch["text_hash"].to_pylist(), embedder.read(batch["text"].to_pylist()))
            report(done := done + len(batch))
        return missing.rows


def put_away(warehouse: Warehouse, embedder: Embedder, hashes: list[str], read: Read) -> None:
    """Commit the vectors of some texts, and how much of them was read."""
    offsets = pa.array(np.arange(len(hashes) + 1, dtype=np.int32) * embedder.dimensions)
    key = {"text_hash": pa.array(hashes, pa.string())}
    key |= {name: pa.array([value] * len(hashes), pa.string()) for name, value in identity(embedder).items()}
    vectors = pa.ListArray.from_arrays(offsets, pa.array(read.vectors.reshape(-1), pa.float32()))
    with warehouse.transaction(stage="embeddings", run_id="") as commit:
        commit.append("embeddings.cache", pa.table(key | {"embedding": vectors}))
        counts = {"tokens": read.tokens, "tokens_read": read.tokens_read, "chunks": read.chunks}
        commit.append("embeddings.readings", pa.table(key | counts))
