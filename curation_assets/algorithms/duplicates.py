"""Exact and near-duplicates by MinHash and locality-sensitive hashing, every pair verified.

Which record duplicates which, and the true Jaccard similarity that proves it. Sketches are made in `minhash.py`, candidates
found in `shared_bands.py`; which record is the better one to keep is the caller's `rank`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types
from scipy.sparse import coo_array, csgraph

from curation_assets.algorithms.jaccard import may_reach, merged_jaccard, odd_sketches
from curation_assets.algorithms.minhash import Sketches, keys_of
from curation_assets.algorithms.shared_bands import bucket_starts, buckets_of, root
from curation_assets.algorithms.shingles import Shingles, shingle

MAX_COMPARISONS = 10_000
"""Kept records a record is compared with at most (ours): a bound on time where very many resemble each other just below the threshold."""

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


class Found(NamedTuple):
    """The duplicates among some records, with the evidence."""

    pairs: pl.DataFrame
    """As `duplicates` returns them."""
    skipped: np.ndarray
    """int64[n]: per record the comparisons that were not made because there were `max_comparisons` before them."""


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

    Of a pair, the sizes of the sets and an odd sketch of each (`odd_sketches`) bound the similarity from above before the
    sets are merged, which keeps thousands of records of one template, all just below the threshold, cheap.

    `rank[i]` is record i's priority to survive, 0 the best, a permutation of 0..n-1.
    Columns: record, survivor (Int64, row numbers), similarity (Float64, min_jaccard to 1), by record.

    Raises:
        ValueError: `rank` is no permutation, `min_jaccard` is not in (0, 1], or bands or rows is below 1.

    """
    order = _best_first(rank, len(shingles.offsets) - 1)
    keys = keys_of(shingles, order, bands, rows, seed)
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
    sketches = Sketches(keys_of(shingles, np.arange(n), bands, rows, seed), shingles.word_hash)
    return verified(sketches, rank, shingles, np.arange(n), min_jaccard=min_jaccard).pairs


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

    >>> from curation_assets.algorithms.minhash import sketches
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
    buckets = buckets_of(keys_of(shingles, order, bands, rows, seed))
    odd, odd_offsets = odd_sketches(shingles, order)
    _link(
        shingles.hashes, shingles.offsets, order, odd, odd_offsets, buckets, bucket_starts(buckets), min_jaccard, parent
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
    buckets = buckets_of(keys)
    some = np.flatnonzero((buckets >= 0).any(axis=0))  # in order; nobody else is compared with anything
    rows = row[order[some]]
    survivor, similarity = np.full(len(some), -1, np.int64), np.zeros(len(some))
    skipped = np.zeros(len(order), np.int64)
    skipped_here = np.zeros(len(some), np.int64)
    buckets = np.ascontiguousarray(buckets[:, some])
    odd, odd_offsets = odd_sketches(shingles, rows)
    _greedy(
        shingles.hashes, shingles.offsets, rows, odd, odd_offsets, buckets, bucket_starts(buckets),
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
                if not may_reach(len(a), len(b), odd_a, odd_b, best_similarity):
                    continue
                found = merged_jaccard(a, b, best_similarity)
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
    compared_with = np.full(n, -1, np.int32)
    for this in range(n):
        a = hashes[offsets[rows[this]] : offsets[rows[this] + 1]]
        odd_a = odd[odd_offsets[this] : odd_offsets[this + 1]]
        for band in range(bands):
            bucket = buckets[band, this]
            if bucket < 0:
                continue
            for place in range(starts[bucket], ends[bucket]):
                other = np.int64(members[place])
                if compared_with[other] == this:
                    continue
                compared_with[other] = this
                mine, theirs = root(parent, this), root(parent, other)
                if mine == theirs:
                    continue
                b = hashes[offsets[rows[other]] : offsets[rows[other] + 1]]
                odd_b = odd[odd_offsets[other] : odd_offsets[other + 1]]
                if may_reach(len(a), len(b), odd_a, odd_b, min_jaccard) and merged_jaccard(a, b, min_jaccard) >= 0:
                    parent[max(mine, theirs)] = min(mine, theirs)
            members[ends[bucket]] = this
            ends[bucket] += 1
    for this in range(n):
        parent[this] = root(parent, this)
