"""Which records share a key of a band, and who is connected with whom by that: the candidates of `duplicates.py`."""

import numpy as np
from numba import njit, types

from curation_assets.algorithms.minhash import Sketches


def components(sketches: Sketches) -> np.ndarray:
    """Return int64[n]: for each record the smallest record number it is connected to by shared band keys, itself if by none.

    What `verified` says of a record depends on the records of its component alone.
    """
    n = len(sketches.word_hash)
    parent = np.arange(n)
    _join(buckets_of(sketches.keys), parent)
    return parent


def candidates(sketches: Sketches) -> np.ndarray:
    """Return bool[n]: whether a record shares a band with one of other words, so that its shingles are needed.

    Of several records with the same words all are named.
    """
    is_shared = np.zeros(len(sketches.word_hash), bool)
    first = first_of_words(sketches.word_hash)
    ones = np.flatnonzero(first == np.arange(len(first)))
    is_shared[ones] = (buckets_of(sketches.keys[:, ones]) >= 0).any(axis=0)
    return is_shared[first]


def has_twin(sketches: Sketches) -> np.ndarray:
    """Return bool[n]: whether another record has the same words."""
    first = first_of_words(sketches.word_hash)
    return np.bincount(first, minlength=len(first))[first] > 1


def first_of_words(word_hash: np.ndarray) -> np.ndarray:
    """Return int64[n]: per record the first one with the same words."""
    order = np.lexsort((word_hash[:, 1], word_hash[:, 0]))  # stable
    ranked = word_hash[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))] if len(order) else order
    return first


def buckets_of(keys: np.ndarray) -> np.ndarray:
    """Return int32[bands, n]: equal keys of a band get the same number, unlike any of another band; a key that stands alone gets -1."""
    buckets = np.full(keys.shape, -1, np.int32)
    _fill_buckets(np.ascontiguousarray(keys), np.full(_power_of_two(2 * keys.shape[1]), -1, np.int32), buckets)
    return buckets


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 1).bit_length()


def bucket_starts(buckets: np.ndarray) -> np.ndarray:
    """Return int64[buckets + 1]: where each bucket's members begin when all are laid out one after the other."""
    sizes = np.bincount(buckets[buckets >= 0]) if buckets.size else np.empty(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


@njit(
    types.void(types.Array(types.uint64, 2, "C", readonly=True), types.int32[::1], types.int32[:, ::1]),
    cache=True,
    nogil=True,
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


@njit(types.int64(types.int64[::1], types.int64), cache=True, nogil=True)
def root(parent: np.ndarray, at: int) -> int:
    """Return who stands for all that `at` is joined with, and shorten the way there."""
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
            mine, theirs = root(parent, this), root(parent, first[bucket])
            parent[max(mine, theirs)] = min(mine, theirs)
    for this in range(n):
        parent[this] = root(parent, this)
