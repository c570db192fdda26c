"""The Jaccard similarity of two sets of hashes, and bounds of it that spare comparing them."""

import numpy as np
from numba import njit, types

from curation_assets.algorithms.shingles import Shingles

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the size of the intersection over that of the union of two sets, each a sorted unique uint64 array.

    Two empty sets are equal: 1.0.

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64))
    0.5
    """
    return merged_jaccard(a, b, 0.0)


def odd_sketches(shingles: Shingles, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


@njit(types.float64(_HASHES, _HASHES, types.float64), cache=True, nogil=True)
def merged_jaccard(a: np.ndarray, b: np.ndarray, at_least: float) -> float:
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
def differing(a: np.ndarray, b: np.ndarray) -> int:
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
def may_reach(n: int, m: int, odd_a: np.ndarray, odd_b: np.ndarray, at_least: float) -> bool:
    """Return False if two sets of n and m elements cannot have a Jaccard similarity of `at_least`."""
    needed = np.int64(at_least * (n + m) / (1.0 + at_least))  # of the intersection, as in `merged_jaccard`
    return min(n, m) >= needed and n + m - differing(odd_a, odd_b) >= 2 * needed
