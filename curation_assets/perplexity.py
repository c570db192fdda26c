"""The perplexity signal of `quality_scores`: bits a byte of every record under an n-gram model, streamed from the database."""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from curation_assets.algorithms import ngram_model
from curation_assets.reference import ReferenceSets, reference_texts
from curation_assets.warehouse import Warehouse


def of_corpus(warehouse: Warehouse, *, seed: int) -> pl.DataFrame:
    """record_id and bits_per_byte of every record, each half of the corpus read by a model of the other half."""
    rows = warehouse.query(
        "select record_id, md5_number_upper(record_id) as draw_hash, strlen(text) as bytes from filtered.records order by record_id"
    )
    half, is_fitted_on = ngram_model.cross_fit_parts(rows["draw_hash"].to_numpy(), rows["bytes"].to_numpy(), seed=seed)
    parts = rows.select("record_id", half=pl.Series(half), is_fitted_on=pl.Series(is_fitted_on))
    with warehouse.spooled("select record_id, text from filtered.records") as spool:

        def halves(which: int) -> Iterator[pl.DataFrame]:
            for batch in spool.batches():
                yield pl.DataFrame(batch).join(parts.filter(half=which), on="record_id")

        scored = [_nothing()]
        for which in (0, 1):
            fitted_on = (part.filter("is_fitted_on")["text"].to_arrow() for part in halves(which))
            model = _fitted(fitted_on)
            scored += [_perplexity(model, part) for part in halves(1 - which)]
    return pl.concat(scored)


def of_reference(warehouse: Warehouse, sets: ReferenceSets) -> pl.DataFrame:
    """record_id and bits_per_byte of every record, read by a model of the good reference texts.

    Where these are more than a model is fitted on, every second, third, … is taken. A record that is one of them is read
    by a model that saw it, and so has fewer bits than a text as good that is none.
    """
    good = reference_texts(warehouse, sets.good, "good")
    step = -(-sum(map(len, good)) // ngram_model.MOST_BYTES) or 1
    model = _fitted([pa.array(good[::step], pa.large_string())])
    with warehouse.spooled("select record_id, text from filtered.records") as spool:
        return pl.concat([_nothing(), *(_perplexity(model, pl.DataFrame(batch)) for batch in spool.batches())])


def _nothing() -> pl.DataFrame:
    """What is measured of no records."""
    return pl.DataFrame(schema={"record_id": pl.String, "bits_per_byte": pl.Float64})


def _fitted(texts: Iterable[pa.Array]) -> ngram_model.NgramModel | None:
    """The n-gram model of some texts; None where there is not one word in them."""
    try:
        return ngram_model.fit(texts)
    except ValueError:
        return None


def _perplexity(model: ngram_model.NgramModel | None, part: pl.DataFrame) -> pl.DataFrame:
    bits = (
        np.full(len(part), np.nan) if model is None else ngram_model.score(model, part["text"].to_arrow()).bits_per_byte
    )
    return part.select("record_id", bits_per_byte=pl.Series(bits, dtype=pl.Float64, nan_to_null=True))
