"""Exact and near-duplicates by MinHash and locality-sensitive hashing, every pair verified.

Here: sketches, band keys, which record duplicates which, and the true Jaccard similarity that proves it. What a
word and a shingle is belongs in `shingles.py`; which record is the better one to keep is the caller's `rank`.

MinHash: Broder, "On the resemblance and containment of documents" (SEQUENCES 1997). Banding: Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4. 14 bands of 8 rows over 5-word shingles: FineWeb (arXiv 2406.17557).
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types
from scipy.sparse import coo_array, csgraph

from curation_assets.algorithms.shingles import Shingles, shingle

_RECORDS_AT_A_TIME = 65_536  # sketches live only until their band keys are made

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


def candidate_probability(similarity: float | np.ndarray, bands: int = 14, rows: int = 8) -> float | np.ndarray:
    """Return the probability that two records of this Jaccard similarity share a band and so are compared at all.

    P(s) = 1 - (1 - s^rows)^bands (Mining of Massive Datasets, section 3.4.2), steepest near (1/bands)^(1/rows) = .72.

    >>> [round(candidate_probability(s), 3) for s in (0.5, 0.7, 0.75, 0.8, 0.85, 0.9)]
    [0.053, 0.565, 0.772, 0.924, 0.988, 1.0]
    """
    return 1 - (1 - similarity**rows) ** bands


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the size of the intersection over that of the union of two sets, each a sorted unique uint64 array.

    Two empty sets are equal: 1.0.

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64))
    0.5
    """
    return _jaccard(a, b, 0.0)


def sketch(
    shingles: Shingles, *, bands: int = 14, rows: int = 8, seed: int = 0, records: np.ndarray | None = None
) -> np.ndarray:
    """Return the MinHash signatures, uint32[n, bands * rows], of all records or of those numbered in `records`.

    The permutations are x → a·x + b modulo 2^32 with a odd, over the upper half of each shingle hash. The share of
    equal entries of two signatures estimates their Jaccard similarity. Multipliers are drawn by splitmix64 from
    `seed`: the same everywhere.
    """
    _refuse_empty_bands(bands, rows)
    drawn = _splitmix64(seed, 2 * bands * rows)
    multiply, add = drawn[::2] | np.uint32(1), drawn[1::2].copy()
    if records is None:
        records = np.arange(len(shingles.offsets) - 1)
    signatures = np.full((len(records), bands * rows), np.iinfo(np.uint32).max, np.uint32)
    _sketch(shingles.hashes, shingles.offsets, np.ascontiguousarray(records, np.int64), multiply, add, signatures)
    return signatures


def band_keys(signatures: np.ndarray, bands: int = 14) -> np.ndarray:
    """Return uint64[bands, n], a hash of each band of each signature; records with an equal one are candidates.

    Raises:
        ValueError: the signature's length is not a multiple of `bands`.

    """
    n, length = signatures.shape
    if bands < 1 or length % bands:
        raise ValueError(f"Signatures of {length} rows cannot be cut into {bands} equal bands.")
    keys = np.zeros((bands, n), np.uint64)
    for row in signatures.reshape(n, bands, -1).transpose(2, 1, 0):
        keys = (keys ^ row) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def exact_duplicates(word_hash: np.ndarray, rank: np.ndarray) -> pl.DataFrame:
    """Return one row per record that repeats the normalised words of a better one, which is named.

    `word_hash` is uint64[n, 2] from `Shingles`; `rank[i]` is record i's priority to survive, 0 the best, a
    permutation of 0..n-1. Columns: record, survivor (both Int64, row numbers), by record. Every survivor is the
    best of its group.

    >>> exact_duplicates(np.array([[7, 7], [7, 7], [1, 2]], np.uint64), np.array([1, 0, 2])).rows()
    [(0, 1)]
    """
    order = _best_first(rank, len(word_hash))
    # The sort is stable: equal hashes stand together, the best rank first.
    order = order[np.lexsort((word_hash[order, 1], word_hash[order, 0]))]
    ranked = word_hash[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    survivor = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    frame = pl.DataFrame({"record": order[~is_first], "survivor": survivor[~is_first]})
    return frame.cast(pl.Int64).sort("record")


def near_duplicates(
    shingles: Shingles,
    rank: np.ndarray,
    *,
    bands: int = 14,
    rows: int = 8,
    min_jaccard: float = 0.7,
    seed: int = 0,
) -> pl.DataFrame:
    """Return one row per record that is a near-duplicate of a better record that is kept, with their true similarity.

    Greedy and direct, without chains: from the best rank to the worst, each record is compared, by the Jaccard
    similarity of the shingle sets, with every record *already kept* that shares a band with it. If the largest
    similarity is at least `min_jaccard` it duplicates that record (of several, the best ranked); if not, it is
    kept. So every row is a verified pair of a dropped record and a kept one, and no two kept records that share a
    band reach the threshold. What bands miss is `candidate_probability`. The outcome depends on the texts and their
    rank only, not on the order in which they are given.

    Nothing bounds the comparisons of a record: among thousands of records from one template that resemble each other
    just under the threshold, time grows with the square of their number.

    `rank[i]` is record i's priority to survive, 0 the best, a permutation of 0..n-1.
    Columns: record, survivor (Int64, row numbers), similarity (Float64, min_jaccard to 1), by record.

    Raises:
        ValueError: `rank` is no permutation, `min_jaccard` is not in (0, 1], or bands or rows is below 1.

    """
    order = _best_first(rank, len(shingles.offsets) - 1)
    return _near_duplicates(shingles, order, bands, rows, min_jaccard, seed)


def duplicates(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array],
    rank: np.ndarray,
    *,
    words: int = 5,
    bands: int = 14,
    rows: int = 8,
    min_jaccard: float = 0.7,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the pairs that show which texts are duplicates, and of what.

    Exact duplicates (the same normalised words, see `shingles.py`) are found first, near-duplicates among what is
    left. Columns: record, matched (Int64, row numbers), similarity (Float64), kind ("exact" or "near"), by record
    and kind.

    The records to drop are the distinct ones in `record`. Each has exactly one row whose `matched` is kept. If
    record repeats A exactly and A is a near-duplicate of B, record has two rows, (record, A, 1.0, exact) and
    (record, B, J(A, B), near); the second is as true as A's own, for the words are the same.

    `rank[i]` is text i's priority to survive, 0 the best, a permutation of 0..n-1. Texts may come in chunks, also
    from an iterator; only shingles are held then, never all the texts. See `near_duplicates` for the guarantees and
    `shingle` for the errors.

    >>> texts = pa.array(["One, two, three.", "one two three", "four"])
    >>> duplicates(texts, np.arange(3)).rows()
    [(1, 0, 1.0, 'exact')]
    """
    shingles = shingle(texts, words)
    order = _best_first(rank, len(shingles.n_words))
    exact = exact_duplicates(shingles.word_hash, rank).rename({"survivor": "matched"})
    is_repeat = np.zeros(len(order), bool)
    is_repeat[exact["record"].to_numpy()] = True
    near = _near_duplicates(shingles, order[~is_repeat[order]], bands, rows, min_jaccard, seed)
    near = near.rename({"survivor": "matched"})
    inherited = exact.join(near, left_on="matched", right_on="record", suffix="_near")
    near_kind, exact_kind = pl.lit("near").alias("kind"), pl.lit("exact").alias("kind")
    return pl.concat(
        [
            exact.with_columns(pl.lit(1.0).alias("similarity"), exact_kind),
            near.with_columns(near_kind),
            inherited.select("record", pl.col("matched_near").alias("matched"), "similarity", near_kind),
        ],
    ).sort("record", "kind")


def linked(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array],
    *,
    words: int = 5,
    bands: int = 14,
    rows: int = 8,
    min_jaccard: float = 0.7,
    seed: int = 0,
) -> pl.DataFrame:
    """Return pairs that connect every text with all that resemble it, chains included, so that relatives stay together.

    Unlike `duplicates`, which compares with kept texts only, every pair that shares a band is verified unless the two are
    connected already. Columns: record, matched (Int64, row numbers), by record. See `duplicates` for `texts`.

    >>> linked(pa.array(["One, two, three.", "one two three", "four"])).rows()
    [(1, 0)]
    """
    shingles = shingle(texts, words)
    n = len(shingles.n_words)
    exact = exact_duplicates(shingles.word_hash, np.arange(n)).rename({"survivor": "matched"})
    is_repeat = np.zeros(n, bool)
    is_repeat[exact["record"].to_numpy()] = True
    order = np.flatnonzero(~is_repeat)
    parent = np.arange(len(order))
    keys = _keys(shingles, order, bands, rows, seed)
    _link(shingles.hashes, shingles.offsets, order, _buckets(keys), min_jaccard, parent)
    found = np.flatnonzero(parent != np.arange(len(order)))
    near = {"record": order[found], "matched": order[parent[found]]}
    return pl.concat([exact, pl.DataFrame(near, schema=exact.schema)]).sort("record")


def connected_components(pairs: pl.DataFrame, n: int) -> np.ndarray:
    """Return int64[n]: for each record the smallest record number it is connected to, itself if none, by the pairs.

    `pairs` has record numbers in its first two columns. Components chain: two of one group need not resemble each
    other. They serve to keep relatives together (in one split, say), not to decide what to drop.

    >>> connected_components(pl.DataFrame({"record": [3, 2], "matched": [2, 1]}), 5).tolist()
    [0, 1, 1, 1, 4]
    """
    left, right = (pairs.to_series(column).to_numpy() for column in (0, 1))
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    labels = csgraph.connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def _best_first(rank: np.ndarray, n: int) -> np.ndarray:
    """Return the record numbers, int64[n], from the best rank to the worst."""
    rank = np.asarray(rank)
    if len(rank) != n:
        raise ValueError(f"There are {n} records but {len(rank)} ranks. Give each record one.")
    if rank.dtype.kind not in "iu" or (n and not np.array_equal(np.sort(rank), np.arange(n))):
        raise ValueError(f"The ranks must be the integers 0 to {n - 1}, each once, 0 the best. Try argsort of argsort.")
    order = np.empty(n, np.int64)
    order[rank] = np.arange(n)
    return order


def _refuse_empty_bands(bands: int, rows: int) -> None:
    if bands < 1 or rows < 1:
        raise ValueError(f"There must be at least one band and one row a band, got bands={bands}, rows={rows}.")


def _splitmix64(seed: int, count: int) -> np.ndarray:
    """Return uint32[count], the upper halves of Steele, Lea and Flood's generator (OOPSLA 2014)."""
    z = np.uint64(seed % 2**64) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)


def _near_duplicates(
    shingles: Shingles, order: np.ndarray, bands: int, rows: int, min_jaccard: float, seed: int
) -> pl.DataFrame:
    """`near_duplicates` among the records in `order` only, which goes from best to worst."""
    _refuse_empty_bands(bands, rows)
    if not 0 < min_jaccard <= 1:
        raise ValueError(f"min_jaccard must be above 0 and at most 1, got {min_jaccard}.")
    keys = _keys(shingles, order, bands, rows, seed)
    survivor = np.full(len(order), -1, np.int64)
    similarity = np.zeros(len(order))
    _greedy(shingles.hashes, shingles.offsets, order, _buckets(keys), min_jaccard, survivor, similarity)
    found = np.flatnonzero(survivor >= 0)
    return pl.DataFrame(
        {"record": order[found], "survivor": order[survivor[found]], "similarity": similarity[found]},
        schema={"record": pl.Int64, "survivor": pl.Int64, "similarity": pl.Float64},
    ).sort("record")


def _keys(shingles: Shingles, order: np.ndarray, bands: int, rows: int, seed: int) -> np.ndarray:
    """Return uint64[bands, len(order)]: the key of each band of each record in `order`."""
    _refuse_empty_bands(bands, rows)
    keys = np.empty((bands, len(order)), np.uint64)
    for start in range(0, len(order), _RECORDS_AT_A_TIME):
        records = order[start : start + _RECORDS_AT_A_TIME]
        signatures = sketch(shingles, bands=bands, rows=rows, seed=seed, records=records)
        keys[:, start : start + len(records)] = band_keys(signatures, bands)
    return keys


def _buckets(keys: np.ndarray) -> np.ndarray:
    """Return int32[bands, n]: equal keys of a band get the same number, from 0; a key that stands alone gets -1."""
    buckets = np.empty(keys.shape, np.int32)
    for band, band_buckets in zip(keys, buckets, strict=True):
        order = np.argsort(band)
        ordered = band[order]
        repeats = ordered[1:] == ordered[:-1]
        is_shared = np.append(repeats, False) | np.insert(repeats, 0, False)
        number = np.cumsum(np.insert(~repeats, 0, False)[: len(band)])
        band_buckets[order] = np.where(is_shared, number, -1)
    return buckets


@njit(
    types.void(
        _HASHES, _INTS, _INTS,
        types.Array(types.uint32, 1, "C", readonly=True), types.Array(types.uint32, 1, "C", readonly=True),
        types.uint32[:, ::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _sketch(
    hashes: np.ndarray,
    offsets: np.ndarray,
    records: np.ndarray,
    multiply: np.ndarray,
    add: np.ndarray,
    signatures: np.ndarray,
) -> None:
    length = len(multiply)
    for i in range(len(records)):
        signature = signatures[i]
        for place in range(offsets[records[i]], offsets[records[i] + 1]):
            x = np.uint32(hashes[place] >> np.uint64(32))
            for k in range(length):
                value = np.uint32(np.uint32(multiply[k] * x) + add[k])
                signature[k] = min(signature[k], value)


@njit(types.float64(_HASHES, _HASHES, types.float64), cache=True, nogil=True)
def _jaccard(a: np.ndarray, b: np.ndarray, at_least: float) -> float:
    """Return the Jaccard similarity of two sorted sets, or -1.0 once it cannot reach `at_least`."""
    n, m = len(a), len(b)
    if n + m == 0:
        return 1.0
    # |A ∩ B| / (n + m - |A ∩ B|) >= t means |A ∩ B| >= t (n + m) / (1 + t); rounded down, the last line decides.
    needed = np.int64(at_least * (n + m) / (1.0 + at_least))
    i = j = shared = 0
    while i < n and j < m and shared + min(n - i, m - j) >= needed:
        x, y = a[i], b[j]
        # Sums of comparisons, for branches on hashes cannot be predicted.
        shared += np.int64(x == y)
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    similarity = shared / (n + m - shared)
    return similarity if similarity >= at_least else -1.0


@njit(
    types.void(
        _HASHES, _INTS, _INTS, types.int32[:, ::1], types.float64, types.int64[::1], types.float64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _greedy(
    hashes: np.ndarray,
    offsets: np.ndarray,
    order: np.ndarray,
    buckets: np.ndarray,
    min_jaccard: float,
    survivor: np.ndarray,
    similarity: np.ndarray,
) -> None:
    """Fill `survivor` (a place in `order`; stays -1 for the kept) and `similarity` per place in `order`."""
    bands, n = buckets.shape
    head = np.full((bands, n), -1, np.int32)  # the last kept record of each bucket
    before = np.full((bands, n), -1, np.int32)  # the one kept before it in that bucket
    compared_with = np.full(n, -1, np.int32)
    for this in range(n):
        a = hashes[offsets[order[this]] : offsets[order[this] + 1]]
        best = np.int64(-1)
        best_similarity = min_jaccard
        for band in range(bands):
            if buckets[band, this] < 0:
                continue
            other = np.int64(head[band, buckets[band, this]])
            while other >= 0:
                if compared_with[other] != this:
                    compared_with[other] = this
                    b = hashes[offsets[order[other]] : offsets[order[other] + 1]]
                    found = _jaccard(a, b, best_similarity)
                    if found > best_similarity or (found == best_similarity and (best < 0 or other < best)):
                        best, best_similarity = other, found
                other = np.int64(before[band, other])
        if best >= 0:
            survivor[this] = best
            similarity[this] = best_similarity
            continue
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket >= 0:
                before[band, this] = head[band, bucket]
                head[band, bucket] = this


@njit(types.int64(types.int64[::1], types.int64), cache=True, nogil=True)
def _root(parent: np.ndarray, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@njit(types.void(_HASHES, _INTS, _INTS, types.int32[:, ::1], types.float64, types.int64[::1]), cache=True, nogil=True)
def _link(
    hashes: np.ndarray,
    offsets: np.ndarray,
    order: np.ndarray,
    buckets: np.ndarray,
    min_jaccard: float,
    parent: np.ndarray,
) -> None:
    """Union (in `parent`, int64[len(order)], each its own at first) all that share a band and are similar enough."""
    bands, n = buckets.shape
    head = np.full((bands, n), -1, np.int32)
    before = np.full((bands, n), -1, np.int32)
    for this in range(n):
        a = hashes[offsets[order[this]] : offsets[order[this] + 1]]
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket < 0:
                continue
            other = np.int64(head[band, bucket])
            while other >= 0:
                mine, theirs = _root(parent, this), _root(parent, other)
                if mine != theirs:
                    b = hashes[offsets[order[other]] : offsets[order[other] + 1]]
                    if _jaccard(a, b, min_jaccard) >= 0:
                        parent[max(mine, theirs)] = min(mine, theirs)
                other = np.int64(before[band, other])
            before[band, this] = head[band, bucket]
            head[band, bucket] = this
    for this in range(n):
        parent[this] = _root(parent, this)
