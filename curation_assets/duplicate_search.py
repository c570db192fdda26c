"""Comparing records for duplicates: what is known of their texts, which must be compared again, and what follows.

Sketches and passages are kept by text, exchanges by record: a new batch costs its own. What is said of a record depends on
those alone that share a band key with it, or do so by way of others, so only the groups that a new, changed or removed
record belongs to are compared again; everything else keeps its pairs. The result is that of comparing everything.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from curation_assets import overrides
from curation_assets.progress import logger, reporter
from curation_assets.readers.kinds import conversation, exchange, whole_request
from curation_assets.warehouse import Spool, Warehouse

CHUNK_TEXTS = 100_000
"""Texts between two commits of sketches, at most."""

CHUNK_BYTES = 256_000_000
"""Bytes of them held at once, about: documents may be long."""


METHOD = 2
"""Pairs that were kept are of use only beside those of the same method: raised whenever ranking or comparing changes."""


class Settings(NamedTuple):
    """What the pairs depend on, besides the records."""

    exact: bool
    near: bool
    min_jaccard: float
    words: int
    bands: int
    rows: int
    seed: int
    max_comparisons: int
    survivor: str
    source_priority: tuple[str, ...]
    quality_field: str | None
    passages: bool
    instruction_conflicts: bool

    @property
    def sketch(self) -> str:
        """The kind of sketch, as deduped.sketches names it."""
        from curation_assets.algorithms.minhash import SKETCH_VERSION

        return f"{self.words} words, {self.bands} × {self.rows}, seed {self.seed}, version {SKETCH_VERSION}"

    @property
    def of_pairs(self) -> str:
        """All that pairs made earlier must have been made with, in one string."""
        said = self._asdict() | {"sketch": self.sketch, "method": METHOD}
        return json.dumps({name: said[name] for name in said if name not in ("passages", "instruction_conflicts")})


class Comparison(NamedTuple):
    """The duplicates among all records."""

    records: pl.DataFrame
    """record_id, text_hash, quality, override, rank, comparisons_skipped: rows of deduped.compared."""
    pairs: pl.DataFrame
    """record_id, matched_record_id, similarity, kind: rows of deduped.pairs."""
    notes: dict[str, Any]
    """What was computed for it."""


NEEDED = {
    "highest_quality": (("quality",), "no record has a score: the longest copy"),
    "newest": (("time", "number"), "no record has a time: the first copy by source, file and row"),
}
"""Survivor → the columns of the records that it ranks by, and what is said where no record has a value in any."""


def compare(warehouse: Warehouse, settings: Settings) -> Comparison:
    """Find the duplicates among cleaned.records, comparing only what earlier runs have not."""
    from curation_assets.algorithms.duplicates import verified
    from curation_assets.algorithms.minhash import Sketches
    from curation_assets.algorithms.shared_bands import candidates, components, has_twin

    texts_sketched = sketch_missing(warehouse, settings)
    exchanges_read = read_missing_exchanges(warehouse) if settings.instruction_conflicts else 0
    records = read_records(warehouse, settings)
    sources = set(records["source"].unique())
    if unknown := [source for source in settings.source_priority if source not in sources]:
        logger.warning("deduped: source_priority names %s, of which there is no record.", ", ".join(unknown))
    columns, without = NEEDED.get(settings.survivor, ((), ""))
    if columns and len(records) and not any(records[column].count() for column in columns):
        logger.warning("deduped: survivor is %s, and %s is kept.", settings.survivor, without)
    records = ranked(records, settings)
    known = Sketches(_keys(records, settings.bands), _word_hashes(records))
    records = records.drop("word_hash_high", "word_hash_low", "band_keys")
    before = earlier(warehouse, settings, records)
    groups = components(known)
    again = np.isin(groups, groups[records["record_id"].is_in(before.changed.implode()).to_numpy()])
    chosen = np.flatnonzero(again)
    some = Sketches(np.ascontiguousarray(known.keys[:, chosen]), known.word_hash[chosen])
    is_candidate = candidates(some) if settings.near else np.zeros(len(chosen), bool)
    if settings.near and not settings.exact:  # records of the same words are compared like any others
        is_candidate |= has_twin(some)
    shingles, row = shingles_of(warehouse, settings, records[chosen].filter(is_candidate))
    found = verified(
        some,
        _ordinal(records["rank"].to_numpy()[chosen]),
        shingles,
        np.array([row.get(text, 0) for text in records["text_hash"].gather(chosen)], np.int64),
        min_jaccard=settings.min_jaccard,
        exact=settings.exact,
        near=settings.near,
        max_comparisons=settings.max_comparisons,
        is_kept=(records["override"].gather(chosen) == "keep").fill_null(False).to_numpy(),
    )
    ids = records["record_id"].gather(chosen)
    pairs = found.pairs.select(
        ids.gather(found.pairs["record"]).alias("record_id"),
        ids.gather(found.pairs["matched"]).alias("matched_record_id"),
        "similarity",
        "kind",
    )
    kept = before.pairs.filter(pl.col("record_id").is_in(records.filter(~again)["record_id"].implode()))
    skipped = before.skipped(records)
    skipped[chosen] = found.skipped
    compared = records.with_columns(comparisons_skipped=pl.Series(skipped, dtype=pl.Int64))
    return Comparison(
        compared.select("record_id", "text_hash", "quality", "override", "rank", "comparisons_skipped"),
        pl.concat([kept.select(pairs.columns).cast(pairs.schema), pairs]),
        {
            "pairs_made_with": settings.of_pairs,
            "texts_sketched": texts_sketched,
            "exchanges_read": exchanges_read,
            "records_new_or_changed": len(before.changed),
            "records_compared_again": len(chosen),
            "texts_read_to_verify": len(row),
            "records_with_comparisons_skipped": int((skipped > 0).sum()),
            "comparisons_skipped": int(skipped.sum()),
        },
    )


# --- what is kept by text -------------------------------------------------------------------------------------------

MISSING_TEXTS = (
    "select text_hash, text from cleaned.records where record_id in (select min(record_id) from cleaned.records "
    "where text_hash not in (select text_hash from deduped.sketches where sketch = $sketch) "
    "or ($passages and text_hash not in (select text_hash from deduped.passages)) group by text_hash)"
)


def sketch_missing(warehouse: Warehouse, settings: Settings) -> int:
    """Put away the sketches and passages of texts that have none yet, chunk by chunk; return how many there were."""
    from curation_assets.algorithms.minhash import sketches
    from curation_assets.algorithms.passages import passages

    wanted = {"sketch": settings.sketch, "passages": settings.passages}
    if not warehouse.value(HAS_EXCHANGES):
        with warehouse.transaction(stage="deduped", run_id="") as commit:
            commit.append(
                "deduped.sketches",
                _sketch_rows(pa.array([], pa.string()), settings, sketches(pa.array([], pa.string()))),
            )
            commit.append(
                "deduped.passages", _passage_rows(pa.array([], pa.string()), passages(pa.array([], pa.string())))
            )
            commit.build("deduped.exchanges", pl.DataFrame([], schema=EXCHANGES), version=EXCHANGE_VERSION)
    with warehouse.spooled(MISSING_TEXTS, **wanted) as missing:
        report, done = reporter("deduped: sketches", "texts", missing.rows), 0
        for chunk in _chunks(missing):
            texts = [batch["text"] for batch in chunk]
            hashes = pa.concat_arrays([batch["text_hash"].cast(pa.string()) for batch in chunk])
            found = sketches(texts, words=settings.words, bands=settings.bands, rows=settings.rows, seed=settings.seed)
            with warehouse.transaction(stage="deduped", run_id="") as commit:
                commit.append_absent("deduped.sketches", _sketch_rows(hashes, settings, found), ("text_hash", "sketch"))
                if settings.passages:
                    commit.append_absent("deduped.passages", _passage_rows(hashes, passages(texts)), ("text_hash",))
            report(done := done + len(hashes))
        return missing.rows


def _chunks(spool: Spool) -> Iterator[list[pa.RecordBatch]]:
    chunk: list[pa.RecordBatch] = []
    for batch in spool.batches():
        chunk.append(batch)
        if sum(map(len, chunk)) >= CHUNK_TEXTS or sum(one.nbytes for one in chunk) >= CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sketch_rows(hashes: pa.Array, settings: Settings, found: Any) -> pa.Table:
    bands, n = found.keys.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * bands)
    return pa.table(
        {
            "text_hash": hashes,
            "sketch": pa.array([settings.sketch] * n, pa.string()),
            "word_hash_high": pa.array(found.word_hash[:, 0].copy(), pa.uint64()),
            "word_hash_low": pa.array(found.word_hash[:, 1].copy(), pa.uint64()),
            "band_keys": pa.ListArray.from_arrays(offsets, pa.array(found.keys.T.reshape(-1), pa.uint64())),
        }
    )


def _passage_rows(hashes: pa.Array, found: Any) -> pa.Table:
    columns = {
        "passage_hash": pa.array(found.hashes, pa.uint64()),
        "start": pa.array(found.starts, pa.int64()).cast(pa.uint32()),
        "chars": pa.array(found.chars, pa.int64()).cast(pa.uint32()),
        "is_paragraph": pa.array(found.is_paragraph, pa.bool_()),
    }
    structs = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    lists = pa.LargeListArray.from_arrays(pa.array(found.offsets, pa.int64()), structs)
    return pa.table({"text_hash": hashes, "passages": lists})


EXCHANGES = {"record_id": pl.String, "request_hash": pl.String, "answer_hash": pl.String, "answer_words": pl.Int64}

MISSING_EXCHANGES = (
    "select r.record_id, r.kind, r.original from raw.records as r join cleaned.records as c using (record_id) "
    "where r.kind in ('instruction', 'chat') and r.record_id not in (select record_id from deduped.exchanges where version = $version)"
)
HAS_EXCHANGES = (  # an older database has them without their version
    "select count(*) from information_schema.columns "
    "where table_schema = 'deduped' and table_name = 'exchanges' and column_name = 'version'"
)
EXCHANGE_VERSION = 3
"""Of the reading of exchanges: what another one has read is read again."""


def read_missing_exchanges(warehouse: Warehouse) -> int:
    """Put away what records of kind instruction and chat ask and answer, where it is not there yet; return how many."""
    with warehouse.spooled(MISSING_EXCHANGES, version=EXCHANGE_VERSION) as missing:
        for batch in missing.batches():
            rows = [exchange_row(**row) for row in batch.to_pylist()]
            read = pl.DataFrame(rows, schema=EXCHANGES, orient="row")
            warehouse.append("deduped.exchanges", read, version=EXCHANGE_VERSION)
        return missing.rows


def exchange_row(record_id: str, kind: str, original: str) -> tuple[str, str, str, int]:
    """A row of deduped.exchanges.

    >>> one = exchange_row("a", "instruction", '{"instruction": "Add  1 and 2", "output": "It is 3"}')
    >>> other = exchange_row("b", "instruction", '{"prompt": "add 1 and 2", "completion": "it is 3"}')
    >>> one[1:] == other[1:], one[3]
    (True, 3)
    """
    found = conversation(kind, original)
    asked, answered = whole_request(found).casefold().split(), exchange(found)[1].casefold().split()
    asked_hash, answer_hash = (
        hashlib.md5(" ".join(said).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        for said in (asked, answered)
    )
    return record_id, asked_hash, answer_hash, len(answered)


# --- records in their order -----------------------------------------------------------------------------------------

RECORDS = (
    "select record_id, text_hash, source, source_uri, source_row, chars, epoch_us(time) as time, "
    "if(isfinite(number), number, null) as number, word_hash_high, word_hash_low, band_keys from ("
    "select r.record_id, r.text_hash, r.source, r.source_uri, r.source_row, len(r.text) as chars, "
    # A time without a zone is one of UTC, wherever this runs; "nan" and "infinity" are no times.
    "coalesce(try_cast(r.record_time || 'Z' as timestamptz), try_cast(r.record_time || ' 00:00Z' as timestamptz), "
    "try_cast(r.record_time as timestamptz)) as time, try_cast(r.record_time as double) as number, "
    "s.word_hash_high, s.word_hash_low, s.band_keys "
    "from cleaned.records as r join deduped.sketches as s on s.text_hash = r.text_hash and s.sketch = $sketch)"
)

QUALITY_OF_OWNER = (
    "select record_id, if(isfinite(quality), quality, null) as quality from ("
    "select record_id, try_cast(try(json_extract_string(original, $path)) as double) as quality from raw.records)"
)

QUALITY_OF_LAST_RUN = (
    "select r.record_id, max(s.quality) as quality from quality_scores.scores as s "
    "join deduped.records as d on d.record_id = s.record_id join cleaned.records as r on r.text_hash = d.text_hash group by r.record_id"
)


def read_records(warehouse: Warehouse, settings: Settings) -> pl.DataFrame:
    """Every cleaned record with its sketch and with what survivors are chosen by."""
    records = warehouse.query(RECORDS, sketch=settings.sketch)
    said = overrides.in_force(warehouse).select("record_id", override="verdict")
    for known in (qualities(warehouse, settings), said):
        records = records.join(known, on="record_id", how="left", maintain_order="left")
    return records


def qualities(warehouse: Warehouse, settings: Settings) -> pl.DataFrame:
    """record_id and quality, for survivor `highest_quality`: the owner's score, or the last run's of the same text."""
    if settings.survivor == "highest_quality" and settings.quality_field:
        field = settings.quality_field.replace("\\", "\\\\").replace('"', '\\"')
        return warehouse.query(QUALITY_OF_OWNER, path=f'$."{field}"')
    if settings.survivor == "highest_quality" and warehouse.has_table("quality_scores.scores"):
        return warehouse.query(QUALITY_OF_LAST_RUN)
    return pl.DataFrame(schema={"record_id": pl.String, "quality": pl.Float64})


def ranked(records: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The records with their `rank`, 0 the first to be kept, in the order of rank.

    What people keep comes first and what they drop last, so that a copy of it stands for the others. Ties go to the first by
    source, file and row, so the order in which records come plays no part.
    """
    priority = {source: place for place, source in enumerate(settings.source_priority)}
    longest, newest = [-pl.col("chars")], [pl.col("time"), pl.col("number")]
    first = {
        "longest": longest,
        "drop_all": longest,
        "first": [],
        "newest": newest,
        "highest_quality": [pl.col("quality"), *longest],
        "source_priority": [
            pl.col("source").replace_strict(priority, default=len(priority), return_dtype=pl.Int64),
            *longest,
        ],
    }[settings.survivor]
    descending = {"newest": [True, True], "highest_quality": [True, False]}.get(settings.survivor, [False] * len(first))
    of_people = pl.col("override").replace_strict({"keep": 0, "drop": 2}, default=1, return_dtype=pl.Int64)
    ties = [pl.col(name) for name in ("source", "source_uri", "source_row", "record_id")]
    descending = [False, *descending, *[False] * len(ties)]
    ordered = records.sort(of_people, *first, *ties, descending=descending, nulls_last=True)
    return ordered.drop("source", "source_uri", "source_row", "chars", "time", "number").with_row_index("rank")


def _keys(records: pl.DataFrame, bands: int) -> np.ndarray:
    flat = records["band_keys"].explode(empty_as_null=False).to_numpy() if len(records) else np.empty(0, np.uint64)
    return np.ascontiguousarray(flat.reshape(len(records), bands).T)


def _word_hashes(records: pl.DataFrame) -> np.ndarray:
    return np.ascontiguousarray(records.select("word_hash_high", "word_hash_low").to_numpy())


def _ordinal(rank: np.ndarray) -> np.ndarray:
    """Number the ranks of some records from 0, in their order."""
    order = np.empty(len(rank), np.int64)
    order[np.argsort(rank)] = np.arange(len(rank))
    return order


TEXTS = "select text_hash, text from cleaned.records where record_id in (select unnest($ids::varchar[]))"


def shingles_of(warehouse: Warehouse, settings: Settings, records: pl.DataFrame) -> tuple[Any, Mapping[str, int]]:
    """The shingles of some records' texts, and for each text hash its row among them."""
    from curation_assets.algorithms.shingles import shingle

    hashes: list[str] = []

    def texts(spool: Spool) -> Iterator[pa.Array]:
        for batch in spool.batches():
            hashes.extend(batch["text_hash"].to_pylist())
            yield batch["text"]

    ids = records.unique("text_hash", maintain_order=True)["record_id"].to_list()
    if not ids:
        return shingle([], settings.words), {}
    with warehouse.spooled(TEXTS, ids=ids) as spool:
        found = shingle(texts(spool), settings.words)
    return found, {text: row for row, text in enumerate(hashes)}


# --- what is known from earlier runs --------------------------------------------------------------------------------


class Earlier(NamedTuple):
    """What earlier runs have found, as far as it still holds."""

    pairs: pl.DataFrame
    """Rows of deduped.pairs."""
    compared: pl.DataFrame
    """Rows of deduped.compared."""
    changed: pl.Series
    """record_id of the records that must be compared, with all that is connected with them."""

    def skipped(self, records: pl.DataFrame) -> np.ndarray:
        """int64[n]: comparisons that were skipped for each record then."""
        found = records.select("record_id").join(self.compared, on="record_id", how="left", maintain_order="left")
        return found["comparisons_skipped"].fill_null(0).to_numpy().copy()


LAST_SETTINGS = (
    "select max_by(notes ->> 'pairs_made_with', finished_at) as made_with from ledger.runs where stage = 'deduped'"
)


def earlier(warehouse: Warehouse, settings: Settings, records: pl.DataFrame) -> Earlier:
    """What earlier runs have found of these records; nothing if they worked with other settings.

    A record has changed if it is new, if its text, its quality or what a person said of it is another, or if what it was
    dropped for is gone or has changed: then it is to be decided anew. A record or text that is gone and that nothing was dropped
    for has had no say in what became of others, but where comparisons were skipped.
    """
    schema = {"record_id": pl.String, "matched_record_id": pl.String, "similarity": pl.Float64, "kind": pl.String}
    compared = {
        "record_id": pl.String,
        "text_hash": pl.String,
        "quality": pl.Float64,
        "override": pl.String,
        "comparisons_skipped": pl.Int64,
    }
    if not warehouse.has_table("deduped.compared") or warehouse.value(LAST_SETTINGS) != settings.of_pairs:
        return Earlier(pl.DataFrame(schema=schema), pl.DataFrame(schema=compared), records["record_id"])
    pairs = warehouse.query("select record_id, matched_record_id, similarity, kind from deduped.pairs")
    before = warehouse.query(
        "select record_id, text_hash, quality, override, comparisons_skipped from deduped.compared"
    )
    same = records.join(before, on=["record_id", "text_hash", "quality", "override"], how="semi", nulls_equal=True)
    left = pairs.join(same, left_on="matched_record_id", right_on="record_id", how="anti")["record_id"]
    # A text that is gone may have been among the comparisons that were made.
    if len(before.join(records, on=["record_id", "text_hash"], how="anti")):
        left = pl.concat([left, before.filter(pl.col("comparisons_skipped") > 0)["record_id"]])
    is_changed = ~pl.col("record_id").is_in(same["record_id"].implode()) | pl.col("record_id").is_in(left.implode())
    return Earlier(pairs, before, records.filter(is_changed)["record_id"])
