"""MinHash sketches of texts and the keys of their bands.

MinHash: Broder, "On the resemblance and containment of documents" (SEQUENCES 1997). Banding: Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4. 5-word shingles are FineWeb's (arXiv 2406.17557),
which takes 14 bands of 8 rows; 16 bands of 7 are as many hashes and miss a third as many pairs (2.3 % for 7.6 % at .8), and what more
they bring is verified (ours). What a shingle is stands in `shingles.py`; which records share a band, in `shared_bands.py`; what
is a duplicate of what, in `duplicates.py`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.shingles import Shingles, shingle_slabs

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


def sketch(
    shingles: Shingles, *, bands: int = 16, rows: int = 7, seed: int = 0, records: np.ndarray | None = None
) -> np.ndarray:
    """Return the MinHash signatures, uint32[n, bands * rows], of all records or of those numbered in `records`.

    The permutations are x → a·x + b modulo 2^32 with a odd, over the upper half of each shingle hash. The share of
    equal entries of two signatures estimates their Jaccard similarity. Multipliers are drawn by splitmix64 from
    `seed`: the same everywhere.
    """
    refuse_empty_bands(bands, rows)
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
    refuse_empty_bands(bands, rows)
    keys, word_hash = [np.empty((bands, 0), np.uint64)], [np.empty((0, 2), np.uint64)]
    for part in shingle_slabs(texts, words, as_sets=False):
        keys.append(band_keys(sketch(part, bands=bands, rows=rows, seed=seed), bands))
        word_hash.append(part.word_hash)
    return Sketches(np.concatenate(keys, axis=1), np.concatenate(word_hash))


def keys_of(shingles: Shingles, order: np.ndarray, bands: int, rows: int, seed: int) -> np.ndarray:
    """Return uint64[bands, len(order)]: the key of each band of each record in `order`."""
    refuse_empty_bands(bands, rows)
    keys = np.empty((bands, len(order)), np.uint64)
    for start in range(0, len(order), _RECORDS_AT_A_TIME):
        records = order[start : start + _RECORDS_AT_A_TIME]
        signatures = sketch(shingles, bands=bands, rows=rows, seed=seed, records=records)
        keys[:, start : start + len(records)] = band_keys(signatures, bands)
    return keys


def refuse_empty_bands(bands: int, rows: int) -> None:
    """Raise ValueError where there is no band or no row in one."""
    if bands < 1 or rows < 1:
        raise ValueError(f"There must be at least one band and one row a band, got bands={bands}, rows={rows}.")


def _splitmix64(seed: int, count: int) -> np.ndarray:
    """Return uint32[count], the upper halves of Steele, Lea and Flood's generator (OOPSLA 2014)."""
    z = np.uint64(seed % 2**64) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)


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
                least_1 = min(
                    min(_permuted(a, x_1, b), _permuted(a, x_2, b)), min(_permuted(a, x_3, b), _permuted(a, x_4, b))
                )
                least_2 = min(
                    min(_permuted(a, x_5, b), _permuted(a, x_6, b)), min(_permuted(a, x_7, b), _permuted(a, x_8, b))
                )
                signature[k] = min(signature[k], min(least_1, least_2))
            place += 8
