"""Exact and near-duplicates by MinHash and locality-sensitive hashing, every pair verified.

Here: sketches, band keys, which record duplicates which, and the true Jaccard similarity that proves it. What a
word and a shingle is belongs in `shingles.py`; which record is the better one to keep is the caller's `rank`.

MinHash: Broder, "On the resemblance and containment of documents" (SEQUENCES 1997). Banding: Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4. 5-word shingles are FineWeb's (arXiv 2406.17557),
which takes 14 bands of 8 rows; 16 bands of 7 are as many hashes and miss a third as many pairs (2.3 % for 7.6 % at .8), and what more
they bring is verified (ours).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types
from scipy.sparse import coo_array, csgraph

from curation_assets.algorithms.shingles import Shingles, shingle, shingle_slabs

MAX_COMPARISONS = 10_000
"""Kept records a record is compared with at most (ours): a bound on time where very many resemble each other just below the threshold."""

SKETCH_VERSION = 2
"""Sketches that were kept are of use only beside those of the same version: raised whenever what a text's keys are changes."""

_RECORDS_AT_A_TIME = 65_536  # sketches live only until their band keys are made

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


def candidate_probability(similarity: float | np.ndarray, bands: int = 16, rows: int = 7) -> float | np.ndarray:
    """Return the probability that two records of this Jaccard similarity share a band and so are compared at all.

    P(s) = 1 - (1 - s^rows)^bands (Mining of Massive Datasets, section 3.4.2), steepest near (1/bands)^(1/rows) = .67.

    >>> [round(candidate_probability(s), 3) for s in (0.5, 0.7, 0.75, 0.8, 0.85, 0.9)]
    [0.118, 0.747, 0.899, 0.977, 0.998, 1.0]
    """
    return 1 - (1 - similarity**rows) ** bands


class Sketches(NamedTuple):
    """What of n texts is needed to say which may be duplicates: about 150 bytes a text at 16 bands."""

    keys: np.ndarray
    """uint64[bands, n]: the key of each band; texts with an equal one in a band are candidates."""
    word_hash: np.ndarray
    """uint64[n, 2]: 128 bits of the sequence of normalised words; equal words have equal keys, too."""


class Found(NamedTuple):
    """The duplicates among some records, with the evidence."""

    pairs: pl.DataFrame
    """As `duplicates` returns them."""
    skipped: np.ndarray
    """int64[n]: per record the comparisons that were not made because there were `max_comparisons` before them."""


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the size of the intersection over that of the union of two sets, each a sorted unique uint64 array.

    Two empty sets are equal: 1.0.

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64))
    0.5
    """
    return _jaccard(a, b, 0.0)


def sketch(
    shingles: Shingles, *, bands: int = 16, rows: int = 7, seed: int = 0, records: np.ndarray | None = None
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


def band_keys(signatures: np.ndarray, bands: int = 16) -> np.ndarray:
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
    bands: int = 16,
    rows: int = 7,
    min_jaccard: float = 0.7,
    seed: int = 0,
    max_comparisons: int = MAX_COMPARISONS,
) -> pl.DataFrame:
    """Return one row per record that is a near-duplicate of a better record that is kept, with their true similarity.

    Greedy and direct, without chains: from the best rank to the worst, each record is compared, by the Jaccard
    similarity of the shingle sets, with every record *already kept* that shares a band with it. If the largest
    similarity is at least `min_jaccard` it duplicates that record (of several, the best ranked); if not, it is
    kept. So every row is a verified pair of a dropped record and a kept one, and no two kept records that share a
    band reach the threshold. What bands miss is `candidate_probability`. The outcome depends on the texts and their
    rank only, not on the order in which they are given.

    Of a pair, the sizes of the sets and an odd sketch of each (`_odd_sketches`) bound the similarity from above before the
    sets are merged, which keeps thousands of records of one template, all just below the threshold, cheap.

    `rank[i]` is record i's priority to survive, 0 the best, a permutation of 0..n-1.
    Columns: record, survivor (Int64, row numbers), similarity (Float64, min_jaccard to 1), by record.

    Raises:
        ValueError: `rank` is no permutation, `min_jaccard` is not in (0, 1], or bands or rows is below 1.

    """
    order = _best_first(rank, len(shingles.offsets) - 1)
    keys = _keys(shingles, order, bands, rows, seed)
    return _near_duplicates(
        shingles, np.arange(len(order)), order, keys, min_jaccard, max_comparisons, np.zeros(len(order), bool)
    )[0]


def duplicates(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array],
    rank: np.ndarray,
    *,
    words: int = 5,
    bands: int = 16,
    rows: int = 7,
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
    n = len(shingles.n_words)
    sketches = Sketches(_keys(shingles, np.arange(n), bands, rows, seed), shingles.word_hash)
    return verified(sketches, rank, shingles, np.arange(n), min_jaccard=min_jaccard).pairs


def sketches(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array],
    *,
    words: int = 5,
    bands: int = 16,
    rows: int = 7,
    seed: int = 0,
) -> Sketches:
    """Return the sketches of texts, which are gone through once and not kept, nor are their shingles.

    >>> found = sketches(pa.array(["One, two, three.", "one two three", "four"]))
    >>> found.keys.shape, bool((found.word_hash[0] == found.word_hash[1]).all())
    ((16, 3), True)
    """
    _refuse_empty_bands(bands, rows)
    keys, word_hash = [np.empty((bands, 0), np.uint64)], [np.empty((0, 2), np.uint64)]
    for part in shingle_slabs(texts, words, as_sets=False):
        keys.append(band_keys(sketch(part, bands=bands, rows=rows, seed=seed), bands))
        word_hash.append(part.word_hash)
    return Sketches(np.concatenate(keys, axis=1), np.concatenate(word_hash))


def components(sketches: Sketches) -> np.ndarray:
    """Return int64[n]: for each record the smallest record number it is connected to by shared band keys, itself if by none.

    What `verified` says of a record depends on the records of its component alone.
    """
    n = len(sketches.word_hash)
    parent = np.arange(n)
    _join(_buckets(sketches.keys), parent)
    return parent


def candidates(sketches: Sketches) -> np.ndarray:
    """Return bool[n]: whether a record shares a band with one of other words, so that its shingles are needed.

    Of several records with the same words all are named.
    """
    is_shared = np.zeros(len(sketches.word_hash), bool)
    first = _first_of_words(sketches.word_hash)
    ones = np.flatnonzero(first == np.arange(len(first)))
    is_shared[ones] = (_buckets(sketches.keys[:, ones]) >= 0).any(axis=0)
    return is_shared[first]


def has_twin(sketches: Sketches) -> np.ndarray:
    """Return bool[n]: whether another record has the same words."""
    first = _first_of_words(sketches.word_hash)
    return np.bincount(first, minlength=len(first))[first] > 1


def verified(
    sketches: Sketches,
    rank: np.ndarray,
    shingles: Shingles,
    row: np.ndarray,
    *,
    min_jaccard: float = 0.7,
    exact: bool = True,
    near: bool = True,
    max_comparisons: int = MAX_COMPARISONS,
    is_kept: np.ndarray | None = None,
) -> Found:
    """Return the duplicates among records whose sketches are known, and the shingles of those that `candidates` names.

    row: int64[n], where each record's shingles are in `shingles`; any number where they are not needed. Several records
    may share a row. exact=False takes records of the same words for near-duplicates of similarity 1, near=False finds
    only them. is_kept: bool[n], records that are kept whatever they resemble, but for the same shingles. See `duplicates` for the pairs
    and `near_duplicates` for what is guaranteed.

    >>> texts = pa.array(["a b c d e f", "A b c d e f.", "b c d e f g"])
    >>> known, shingles = sketches(texts, words=2, bands=30, rows=1), shingle(texts, 2)
    >>> verified(known, np.array([2, 1, 0]), shingles, np.arange(3), min_jaccard=0.5).pairs.rows()
    [(0, 1, 1.0, 'exact'), (0, 2, 0.6666666666666666, 'near'), (1, 2, 0.6666666666666666, 'near')]
    """
    order = _best_first(rank, len(sketches.word_hash))
    skipped = np.zeros(len(order), np.int64)
    exact_pairs = exact_duplicates(sketches.word_hash, rank).rename({"survivor": "matched"})
    exact_pairs = exact_pairs if exact else exact_pairs.clear()
    is_repeat = np.zeros(len(order), bool)
    is_repeat[exact_pairs["record"].to_numpy()] = True
    order = order[~is_repeat[order]]
    is_kept = np.zeros(len(row), bool) if is_kept is None else is_kept
    near_pairs, skipped[order] = _near_duplicates(
        shingles, row, order, sketches.keys[:, order if near else order[:0]], min_jaccard, max_comparisons, is_kept
    )
    near_pairs = near_pairs.rename({"survivor": "matched"})
    inherited = exact_pairs.join(near_pairs, left_on="matched", right_on="record", suffix="_near")
    near_kind, exact_kind = pl.lit("near").alias("kind"), pl.lit("exact").alias("kind")
    pairs = pl.concat(
        [
            exact_pairs.with_columns(pl.lit(1.0).alias("similarity"), exact_kind),
            near_pairs.with_columns(near_kind),
            inherited.select("record", pl.col("matched_near").alias("matched"), "similarity", near_kind),
        ],
    ).sort("record", "kind")
    return Found(pairs, skipped)


def linked(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array],
    *,
    words: int = 5,
    bands: int = 16,
    rows: int = 7,
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
    buckets = _buckets(_keys(shingles, order, bands, rows, seed))
    odd, odd_offsets = _odd_sketches(shingles, order)
    _link(
        shingles.hashes, shingles.offsets, order, odd, odd_offsets, buckets, _bucket_starts(buckets), min_jaccard, parent
    )  # fmt: skip
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
    shingles: Shingles,
    row: np.ndarray,
    order: np.ndarray,
    keys: np.ndarray,
    min_jaccard: float,
    max_comparisons: int,
    is_kept: np.ndarray,
) -> tuple[pl.DataFrame, np.ndarray]:
    """`near_duplicates` among the records in `order` only, best to worst, and the comparisons skipped for each of them.

    row: per record the row of its shingles; keys: uint64[bands, len(order)], or no columns to compare nothing.
    """
    if not 0 < min_jaccard <= 1:
        raise ValueError(f"min_jaccard must be above 0 and at most 1, got {min_jaccard}.")
    buckets = _buckets(keys)
    some = np.flatnonzero((buckets >= 0).any(axis=0))  # in order; nobody else is compared with anything
    rows = row[order[some]]
    survivor, similarity = np.full(len(some), -1, np.int64), np.zeros(len(some))
    skipped = np.zeros(len(order), np.int64)
    skipped_here = np.zeros(len(some), np.int64)
    buckets = np.ascontiguousarray(buckets[:, some])
    odd, odd_offsets = _odd_sketches(shingles, rows)
    _greedy(
        shingles.hashes, shingles.offsets, rows, odd, odd_offsets, buckets, _bucket_starts(buckets),
        min_jaccard, max_comparisons, is_kept[order[some]], survivor, similarity, skipped_here,
    )  # fmt: skip
    skipped[some] = skipped_here
    found = np.flatnonzero(survivor >= 0)
    pairs = pl.DataFrame(
        {
            "record": order[some[found]],
            "survivor": order[some[survivor[found]]],
            "similarity": similarity[found],
        },
        schema={"record": pl.Int64, "survivor": pl.Int64, "similarity": pl.Float64},
    )
    return pairs.sort("record"), skipped


def _first_of_words(word_hash: np.ndarray) -> np.ndarray:
    """Return int64[n]: per record the first one with the same words."""
    order = np.lexsort((word_hash[:, 1], word_hash[:, 0]))  # stable
    ranked = word_hash[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))] if len(order) else order
    return first


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
    """Return int32[bands, n]: equal keys of a band get the same number, unlike any of another band; a key that stands alone gets -1."""
    buckets = np.full(keys.shape, -1, np.int32)
    _fill_buckets(np.ascontiguousarray(keys), np.full(_power_of_two(2 * keys.shape[1]), -1, np.int32), buckets)
    return buckets


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 1).bit_length()


def _bucket_starts(buckets: np.ndarray) -> np.ndarray:
    """Return int64[buckets + 1]: where each bucket's members begin when all are laid out one after the other."""
    sizes = np.bincount(buckets[buckets >= 0]) if buckets.size else np.empty(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def _odd_sketches(shingles: Shingles, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an odd sketch of each set of shingles named, uint64[words], and where each begins, int64[len(rows) + 1].

    Bit k is the parity of the number of elements whose lowest bits are k, so the exclusive or of two sketches is that of
    the symmetric difference of the sets, and its ones are at most as many as the elements of that: a lower bound, never
    wrong (Mitzenmacher, Pagh and Pham, WWW 2014, who estimate with it). Four to eight bits an element (ours).
    """
    sizes = shingles.offsets[rows + 1] - shingles.offsets[rows] if len(rows) else np.empty(0, np.int64)
    words = 2 ** np.ceil(np.log2(np.maximum(4 * sizes, 64) / 64)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(words)])
    odd = np.zeros(int(offsets[-1]), np.uint64)
    _fill_odd_sketches(shingles.hashes, shingles.offsets, np.ascontiguousarray(rows, np.int64), offsets, odd)
    return odd, offsets


@njit(inline="always")
def _upper(shingle: np.uint64) -> np.uint32:
    return np.uint32(shingle >> np.uint64(32))


@njit(inline="always")
def _permuted(a: np.uint32, x: np.uint32, b: np.uint32) -> np.uint32:
    return np.uint32(np.uint32(a * x) + b)


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
        first, last = offsets[records[i]], offsets[records[i] + 1]
        place = first
        while place < last:
            # Eight shingles for one reading and writing of the signature; at the end the last one stands for those that lack.
            x_1, x_2, x_3, x_4, x_5, x_6, x_7, x_8 = (
                _upper(hashes[place]), _upper(hashes[min(place + 1, last - 1)]),
                _upper(hashes[min(place + 2, last - 1)]), _upper(hashes[min(place + 3, last - 1)]),
                _upper(hashes[min(place + 4, last - 1)]), _upper(hashes[min(place + 5, last - 1)]),
                _upper(hashes[min(place + 6, last - 1)]), _upper(hashes[min(place + 7, last - 1)]),
            )  # fmt: skip
            for k in range(length):
                a, b = multiply[k], add[k]
                least_1 = min(min(_permuted(a, x_1, b), _permuted(a, x_2, b)), min(_permuted(a, x_3, b), _permuted(a, x_4, b)))
                least_2 = min(min(_permuted(a, x_5, b), _permuted(a, x_6, b)), min(_permuted(a, x_7, b), _permuted(a, x_8, b)))
                signature[k] = min(signature[k], min(least_1, least_2))
            place += 8


@njit(
    types.void(types.Array(types.uint64, 2, "C", readonly=True), types.int32[::1], types.int32[:, ::1]), cache=True, nogil=True
)
def _fill_buckets(keys: np.ndarray, table: np.ndarray, buckets: np.ndarray) -> None:
    """Number the keys of each band that more than one record has; `table`, all -1, is for the first record of each key."""
    bands, n = keys.shape
    last = np.uint64(len(table) - 1)
    numbers = 0
    for band in range(bands):
        table[:] = -1
        for this in range(n):
            key = keys[band, this]
            slot = (key ^ (key >> np.uint64(32))) & last
            while table[slot] >= 0 and keys[band, table[slot]] != key:
                slot = (slot + np.uint64(1)) & last
            first = table[slot]
            if first < 0:
                table[slot] = this
                continue
            if buckets[band, first] < 0:
                buckets[band, first] = numbers
                numbers += 1
            buckets[band, this] = buckets[band, first]


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


@njit(types.void(_HASHES, _INTS, _INTS, _INTS, types.uint64[::1]), cache=True, nogil=True)
def _fill_odd_sketches(
    hashes: np.ndarray, offsets: np.ndarray, rows: np.ndarray, odd_offsets: np.ndarray, odd: np.ndarray
) -> None:
    for i in range(len(rows)):
        first = odd_offsets[i]
        mask = np.uint64(64 * (odd_offsets[i + 1] - first) - 1)
        for place in range(offsets[rows[i]], offsets[rows[i] + 1]):
            bit = hashes[place] & mask
            odd[first + np.int64(bit >> np.uint64(6))] ^= np.uint64(1) << (bit & np.uint64(63))


@njit(inline="always")
def _ones(x: np.uint64) -> np.uint64:
    """The number of ones among 64 bits (Hacker's Delight, section 5-1)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(types.int64(_HASHES, _HASHES), cache=True, nogil=True)
def _differing(a: np.ndarray, b: np.ndarray) -> int:
    """Return a number of elements by which two sets differ at least, from their odd sketches."""
    if len(a) < len(b):
        a, b = b, a
    ones = np.uint64(0)
    for k in range(len(b)):
        folded = b[k]
        for place in range(k, len(a), len(b)):  # the longer sketch folds to the length of the shorter one
            folded ^= a[place]
        ones += _ones(folded)
    return np.int64(ones)


@njit(types.boolean(types.int64, types.int64, _HASHES, _HASHES, types.float64), cache=True, nogil=True)
def _may_reach(n: int, m: int, odd_a: np.ndarray, odd_b: np.ndarray, at_least: float) -> bool:
    """Return False if two sets of n and m elements cannot have a Jaccard similarity of `at_least`."""
    needed = np.int64(at_least * (n + m) / (1.0 + at_least))  # of the intersection, as in `_jaccard`
    return min(n, m) >= needed and n + m - _differing(odd_a, odd_b) >= 2 * needed


@njit(
    types.void(
        _HASHES, _INTS, _INTS, _HASHES, _INTS, types.int32[:, ::1], _INTS, types.float64, types.int64, types.boolean[::1],
        types.int64[::1], types.float64[::1], types.int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _greedy(
    hashes: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    odd: np.ndarray,
    odd_offsets: np.ndarray,
    buckets: np.ndarray,
    starts: np.ndarray,
    min_jaccard: float,
    max_comparisons: int,
    is_kept: np.ndarray,
    survivor: np.ndarray,
    similarity: np.ndarray,
    skipped: np.ndarray,
) -> None:
    """Fill `survivor` (a place in `rows`; stays -1 for the kept), `similarity` and `skipped` per place in `rows`, best first."""
    bands, n = buckets.shape
    kept = np.empty(starts[-1], np.int32)  # the kept records of each bucket, best first
    ends = starts[:-1].copy()
    compared_with = np.full(n, -1, np.int32)
    for this in range(n):
        a = hashes[offsets[rows[this]] : offsets[rows[this] + 1]]
        odd_a = odd[odd_offsets[this] : odd_offsets[this + 1]]
        best = np.int64(-1)
        best_similarity = min_jaccard
        comparisons = 0
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket < 0:
                continue
            for place in range(starts[bucket], ends[bucket]):
                other = np.int64(kept[place])
                if compared_with[other] == this:
                    continue
                compared_with[other] = this
                comparisons += 1
                if comparisons > max_comparisons:
                    continue
                b = hashes[offsets[rows[other]] : offsets[rows[other] + 1]]
                odd_b = odd[odd_offsets[other] : odd_offsets[other + 1]]
                if not _may_reach(len(a), len(b), odd_a, odd_b, best_similarity):
                    continue
                found = _jaccard(a, b, best_similarity)
                if found > best_similarity or (found == best_similarity and (best < 0 or other < best)):
                    best, best_similarity = other, found
        skipped[this] = max(0, comparisons - max_comparisons)
        if best >= 0 and (best_similarity >= 1.0 or not is_kept[this]):
            survivor[this] = best
            similarity[this] = best_similarity
            continue
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket >= 0:
                kept[ends[bucket]] = this
                ends[bucket] += 1


@njit(types.int64(types.int64[::1], types.int64), cache=True, nogil=True)
def _root(parent: np.ndarray, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@njit(types.void(types.int32[:, ::1], types.int64[::1]), cache=True, nogil=True)
def _join(buckets: np.ndarray, parent: np.ndarray) -> None:
    """Union (in `parent`, int64[n], each its own at first) all that share a bucket; each ends with the smallest it is joined to."""
    bands, n = buckets.shape
    first = np.full(max(1, buckets.max() + 1) if buckets.size else 1, -1, np.int64)
    for band in range(bands):
        for this in range(n):
            bucket = buckets[band, this]
            if bucket < 0:
                continue
            if first[bucket] < 0:
                first[bucket] = this
                continue
            mine, theirs = _root(parent, this), _root(parent, first[bucket])
            parent[max(mine, theirs)] = min(mine, theirs)
    for this in range(n):
        parent[this] = _root(parent, this)


@njit(
    types.void(_HASHES, _INTS, _INTS, _HASHES, _INTS, types.int32[:, ::1], _INTS, types.float64, types.int64[::1]),
    cache=True, nogil=True,
)  # fmt: skip
def _link(
    hashes: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    odd: np.ndarray,
    odd_offsets: np.ndarray,
    buckets: np.ndarray,
    starts: np.ndarray,
    min_jaccard: float,
    parent: np.ndarray,
) -> None:
    """Union (in `parent`, int64[len(rows)], each its own at first) all that share a band and are similar enough."""
    bands, n = buckets.shape
    members = np.empty(starts[-1], np.int32)
    ends = starts[:-1].copy()
    for this in range(n):
        a = hashes[offsets[rows[this]] : offsets[rows[this] + 1]]
        odd_a = odd[odd_offsets[this] : odd_offsets[this + 1]]
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket < 0:
                continue
            for place in range(starts[bucket], ends[bucket]):
                other = np.int64(members[place])
                mine, theirs = _root(parent, this), _root(parent, other)
                if mine == theirs:
                    continue
                b = hashes[offsets[rows[other]] : offsets[rows[other] + 1]]
                odd_b = odd[odd_offsets[other] : odd_offsets[other + 1]]
                if _may_reach(len(a), len(b), odd_a, odd_b, min_jaccard) and _jaccard(a, b, min_jaccard) >= 0:
                    parent[max(mine, theirs)] = min(mine, theirs)
            members[ends[bucket]] = this
            ends[bucket] += 1
    for this in range(n):
        parent[this] = _root(parent, this)
