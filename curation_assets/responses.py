"""How well the responses of records with turns answer their requests, streamed from the database; see `models/response_judge.py`."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from curation_assets.algorithms.ngram_model import cross_fit_parts
from curation_assets.algorithms.response_features import PLANTED
from curation_assets.models import response_judge
from curation_assets.models.response_judge import LEAST_PAIRS, MOST_PAIRS
from curation_assets.progress import logger
from curation_assets.readers import CONVERSATIONS, conversation, exchange
from curation_assets.warehouse import Spool, Warehouse

RECORDS = (
    "select record_id, md5_number_upper(record_id) as draw_hash from filtered.records where list_contains($kinds, kind)"
)
ORIGINALS = (
    "select record_id, r.kind, coalesce(c.cleaned_original, r.original) as original from filtered.records as f "
    "join raw.records as r using (record_id) join cleaned.records as c using (record_id) "
    "where list_contains($kinds, r.kind)"
)

NAME = "embedded_response"
LEAST_AUC = 0.6
"""Ours: a judge that tells responses from those to other requests less well than this is warned of."""

HARDLY_TOLD = (
    "responses are hardly told from those to other requests: here the two share few words, or many responses are the same. How well "
    "is on the page. Take another judge (reference, ask_llm, cascade), or give quality no weight (curated_set.quality_weight: 0)."
)


class Scored(NamedTuple):
    """The records whose responses were judged, and what is to be said of the judges."""

    scores: pl.DataFrame
    """record_id, quality, revision."""
    notes: dict[str, Any]
    """By the kind of bad response planted, the AUC with which the records' own were told from it; empty if none was judged."""


def of_corpus(warehouse: Warehouse, *, seed: int) -> Scored:
    """Score the records that have a request and a response, each half of them by a judge of the other half's pairs.

    Nothing is scored where a half has fewer than `LEAST_PAIRS`.
    """
    records = warehouse.query(f"{RECORDS} order by record_id", kinds=list(CONVERSATIONS))
    none = Scored(pl.DataFrame(schema={"record_id": pl.String, "quality": pl.Float64, "revision": pl.String}), {})
    if len(records) < 2 * LEAST_PAIRS:
        return none
    half, is_fitted_on = cross_fit_parts(
        records["draw_hash"].to_numpy(), np.ones(len(records)), most_bytes=MOST_PAIRS, seed=seed
    )
    parts = records.with_columns(half=pl.Series(half), is_fitted_on=pl.Series(is_fitted_on))
    with warehouse.spooled(ORIGINALS, kinds=list(CONVERSATIONS)) as spool:
        samples = _samples(warehouse, spool, parts.filter("is_fitted_on"))
        if min(len(sample.texts) for sample in samples) < LEAST_PAIRS:
            return none
        judges = [response_judge.fit_response_judge(*sample.arguments(), seed=seed) for sample in samples]
        scored = [none.scores]
        for batch in spool.batches():
            pairs = _pairs(batch).join(parts, on="record_id")
            for which, judge in enumerate(judges):
                read = pairs.filter(half=1 - which)
                quality = judge.score(read["request"], read["response"])
                scored.append(read.select("record_id", quality=pl.Series(quality), revision=pl.lit(judge.revision)))
    told = response_judge.figures(judges[0], *samples[1].arguments(), seed=seed)
    swapped = told.get(PLANTED[0])
    if swapped is None or swapped.low < LEAST_AUC:
        logger.warning("quality_scores: %s", HARDLY_TOLD)
    return Scored(pl.concat(scored), told)


class _Sample(NamedTuple):
    """The pairs one judge is fitted on, in the order of record_id."""

    texts: pl.DataFrame
    vectors: np.ndarray

    def arguments(self) -> tuple[pl.Series, pl.Series, np.ndarray, np.ndarray]:
        return self.texts["request"], self.texts["response"], self.vectors, self.texts["draw_hash"].to_numpy()


def _samples(warehouse: Warehouse, spool: Spool, chosen: pl.DataFrame) -> list[_Sample]:
    read = [_pairs(batch, chosen["record_id"]) for batch in spool.batches()]
    texts = pl.concat(read).join(chosen, on="record_id").sort("record_id")
    ids, vectors = warehouse.vectors()
    rows = pl.DataFrame({"record_id": ids, "row": np.arange(len(ids))})
    samples = []
    for which in (0, 1):
        of_half = texts.filter(half=which).join(rows, on="record_id", maintain_order="left")
        samples.append(_Sample(of_half, vectors[of_half["row"].to_numpy()]))
    return samples


def _pairs(batch: pa.RecordBatch, only: pl.Series | None = None) -> pl.DataFrame:
    """record_id, request and response of a batch's records that have both."""
    rows = pl.DataFrame(batch)
    if only is not None:
        rows = rows.filter(pl.col("record_id").is_in(only.implode()))
    read = [_exchange(kind, original) for kind, original in rows.select("kind", "original").iter_rows()]
    pairs = pl.DataFrame(read, schema={"request": pl.String, "response": pl.String}, orient="row")
    has_both = (pl.col("request").str.strip_chars() != "") & (pl.col("response").str.strip_chars() != "")
    return rows.select("record_id").hstack(pairs).filter(has_both)


def _exchange(kind: str, original: str) -> tuple[str, str]:
    try:
        return exchange(conversation(kind, original))
    except ValueError:  # read by an older version, which was less strict
        return "", ""
