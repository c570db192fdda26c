"""Texts as sets of hashed word shingles, straight over Arrow buffers.

Here: the word sequence's 128-bit hash (exact duplicates) and the sorted set of the hashes of its runs of `words` words
(near-duplicates). What a word is stands in `words.py`; what is done with the sets, in `minhash.py`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.word_hashes import find_starts, hash_starts, scratch
from curation_assets.algorithms.words import BYTES, INTS, Slab, code_point_classes, mixed, slabs

# 64-bit odd multipliers with no structure (splitmix64's finaliser, Knuth's MMIX generator, the fractional parts of
# square roots). Only their being odd and different matters.
_BYTE_1, _BYTE_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x5851F42D4C957F2D)
_WORD_1, _WORD_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SEED_1, _SEED_2 = np.uint64(0xBB67AE8584CAA73B), np.uint64(0x3C6EF372FE94F82B)
_SHORT, _WORDLESS = np.uint64(0xA54FF53A5F1D36F1), np.uint64(0x510E527FADE682D1)
_SHIFT = np.uint64(32)

_HASHES = types.uint64[::1]


class Shingles(NamedTuple):
    """What is left of n texts: per record the set of its shingles and one hash of its whole word sequence."""

    hashes: np.ndarray
    """uint64[total]: the shingle hashes, per record sorted ascending and unique; at least one a record."""
    offsets: np.ndarray
    """int64[n + 1]: record i's shingles are `hashes[offsets[i]:offsets[i + 1]]`."""
    word_hash: np.ndarray
    """uint64[n, 2]: 128 bits (not cryptographic) of the sequence of normalised words, whatever the shingle length."""
    n_words: np.ndarray
    """int64[n]: the number of normalised words."""


def shingle(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array], words: int = 5) -> Shingles:
    """Return each text's set of hashed runs of `words` consecutive words.

    A text with fewer words has one shingle, all its words, so it is only ever compared whole. A text with no word
    at all (empty, or punctuation only) has one shingle, its raw bytes. Texts may come in chunks, also from an
    iterator; the result is the same as for all at once. It takes 8 bytes a distinct shingle, about 1.4 times the
    size of English text and 2.5 times that of Korean.

    Five words is the shingle of FineWeb (arXiv 2406.17557).

    >>> three = shingle(pa.array(["The cat, sat.", "the  CAT sat", "5 + 3"]))
    >>> three.n_words.tolist(), bool((three.word_hash[0] == three.word_hash[1]).all())
    ([3, 3, 3], True)
    >>> len(set(shingle(pa.array(["5 + 3", "5 * 3", "5 - 3", "5, 3"])).hashes.tolist()))
    4

    Raises:
        ValueError: a text is null, or not valid UTF-8; `words` is below 1.
        TypeError: the texts are not strings.

    """
    return concat(part._replace(hashes=part.hashes.copy()) for part in shingle_slabs(texts, words))


def shingle_slabs(
    texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array], words: int = 5, *, as_sets: bool = True
) -> Iterator[Shingles]:
    """Yield what `shingle` returns by slabs of consecutive texts; the hashes of one are overwritten by the next.

    So the memory it takes is that of one slab, about `SLAB_BYTES` of text. as_sets=False leaves the hashes of a text in
    the order of its words, repeats included, which is enough for a sketch and takes half the time.

    >>> [len(part.n_words) for part in shingle_slabs([pa.array(["one", "two"]), pa.array(["three"])])]
    [2, 1]
    """
    if words < 1:
        raise ValueError(f"A shingle needs at least one word, got words={words}.")
    room = np.empty(0, np.uint64)
    for slab in slabs(texts):
        wanted = int(slab.most_bytes.sum()) + len(slab.normal_row)
        if len(room) < wanted:
            room = np.empty(wanted, np.uint64)  # pages that no shingle reaches are never touched
        yield _shingle_slab(slab, words, room, as_sets)


def concat(parts: Iterable[Shingles]) -> Shingles:
    """Return the shingles of several chunks as those of one; no chunks give the shingles of no texts.

    Each chunk's hashes are let go as they are copied, so the peak is one copy of all and one chunk.
    """
    parts = list(parts)
    counts = [np.diff(part.offsets) for part in parts]
    word_hash = [part.word_hash for part in parts]
    n_words = [part.n_words for part in parts]
    hashes = np.empty(sum(len(part.hashes) for part in parts), np.uint64)
    filled = len(hashes)
    while parts:
        last = parts.pop().hashes
        hashes[filled - len(last) : filled] = last
        filled -= len(last)
    return Shingles(
        hashes,
        np.concatenate([np.zeros(1, np.int64), *counts]).cumsum(),
        np.concatenate(word_hash or [np.empty((0, 2), np.uint64)]),
        np.concatenate(n_words or [np.empty(0, np.int64)]),
    )


def _shingle_slab(slab: Slab, words: int, hashes: np.ndarray, as_sets: bool) -> Shingles:
    n = len(slab.normal_row)
    longest = int(slab.most_bytes.max()) + 2
    ends, word_hash, n_words = np.empty(n, np.int64), np.empty((n, 2), np.uint64), np.empty(n, np.int64)
    _shingle_records(
        *slab[:5], code_point_classes(), words, as_sets,
        hashes, ends, word_hash, n_words, *scratch(longest), np.empty(longest, np.uint64), np.empty(longest, np.int64),
    )  # fmt: skip
    return Shingles(hashes[: ends[-1]], np.concatenate([np.zeros(1, np.int64), ends]), word_hash, n_words)


@njit(types.int64(types.uint64[::1], types.uint64[::1], types.int64[::1]), cache=True, nogil=True)
def _sort_unique(values: np.ndarray, out: np.ndarray, places: np.ndarray) -> int:
    """Put the distinct `values` into `out` in ascending order and return their number; `places` is scratch.

    The values are hashes, spread evenly, so each goes straight to about its place by its upper half (a bucket sort with
    as many buckets as values) and an insertion sort of neighbours does the rest, in linear time.
    """
    n = len(values)
    places[:n] = 0
    for value in values:
        places[np.int64(((value >> _SHIFT) * np.uint64(n)) >> _SHIFT)] += 1
    start = 0
    for k in range(n):
        start, places[k] = start + places[k], start
    for value in values:
        bucket = np.int64(((value >> _SHIFT) * np.uint64(n)) >> _SHIFT)
        out[places[bucket]] = value
        places[bucket] += 1
    for k in range(1, n):
        value = out[k]
        j = k
        while j > 0 and out[j - 1] > value:
            out[j] = out[j - 1]
            j -= 1
        out[j] = value
    distinct = 1
    for k in range(1, n):
        if out[k] != out[distinct - 1]:
            out[distinct] = out[k]
            distinct += 1
    return distinct


@njit(types.UniTuple(types.uint64, 2)(_HASHES, _HASHES, types.int64), cache=True, nogil=True)
def _sequence_hash(first: np.ndarray, second: np.ndarray, n_words: int) -> tuple[np.uint64, np.uint64]:
    """Two hashes, not yet mixed, of a sequence of words from the two of each."""
    all_1, all_2 = _SEED_1, _SEED_2
    for k in range(n_words):
        all_1 = (all_1 ^ first[k]) * _WORD_1
        all_1 ^= all_1 >> _SHIFT
        all_2 = (all_2 ^ second[k]) * _WORD_2
        all_2 ^= all_2 >> _SHIFT
    return all_1, all_2


@njit(types.int64(_HASHES, types.int64, types.int64, types.uint64[::1]), cache=True, nogil=True)
def _runs(hashes: np.ndarray, n_words: int, words: int, into: np.ndarray) -> int:
    """Put a hash of each run of `words` of the words' `hashes` into `into`; return how many runs there are."""
    found = max(n_words - words + 1, 0)
    for k in range(found):
        into[k] = hashes[k]
    for word in range(1, words):  # run by run a compiler would not take several at once
        for k in range(found):
            into[k] = into[k] * _WORD_1 + hashes[k + word]
    for k in range(found):
        into[k] = mixed(into[k])
    return found


@njit(
    types.void(
        BYTES, INTS, BYTES, INTS, INTS, BYTES, types.int64, types.boolean,
        types.uint64[::1], types.int64[::1], types.uint64[:, ::1], types.int64[::1],
        types.uint8[::1], types.uint8[::1], types.uint8[::1], types.int64[::1], types.uint64[::1], types.uint64[::1],
        types.uint64[::1], types.int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _shingle_records(
    raw_data: np.ndarray,
    raw_offsets: np.ndarray,
    normal_data: np.ndarray,
    normal_offsets: np.ndarray,
    normal_row: np.ndarray,
    classes: np.ndarray,
    words: int,
    as_sets: bool,
    hashes: np.ndarray,
    ends: np.ndarray,
    word_hash: np.ndarray,
    n_words: np.ndarray,
    folded: np.ndarray,
    kinds: np.ndarray,
    begins: np.ndarray,
    starts: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    unsorted: np.ndarray,
    places: np.ndarray,
) -> None:
    """Fill `hashes`, `ends`, `word_hash` and `n_words`; from `folded` on all is scratch."""
    filled = 0
    for record in range(len(raw_offsets) - 1):
        data, i, end = raw_data, raw_offsets[record], raw_offsets[record + 1]
        row = normal_row[record]
        if row >= 0:
            data, i, end = normal_data, normal_offsets[row], normal_offsets[row + 1]
        into = unsorted if as_sets else hashes[filled:]
        n_starts = find_starts(data, i, end, folded, kinds, begins, starts)
        count = hash_starts(data, i, end, classes, n_starts, folded, starts, first, second)
        all_1, all_2 = _sequence_hash(first, second, count)
        if count == 0:
            for k in range(raw_offsets[record], raw_offsets[record + 1]):
                all_1 = (all_1 ^ np.uint64(raw_data[k])) * _BYTE_1
                all_2 = (all_2 ^ np.uint64(raw_data[k])) * _BYTE_2
            all_1 ^= _WORDLESS
        found = _runs(first, count, words, into)
        if found == 0:
            into[0] = mixed(all_1 ^ (np.uint64(count + 1) * _SHORT))
            found = 1
        word_hash[record, 0], word_hash[record, 1] = mixed(all_1), mixed(all_2)
        n_words[record] = count
        if as_sets:
            filled += _sort_unique(unsorted[:found], hashes[filled : filled + found], places)
        else:
            filled += found
        ends[record] = filled
