"""Texts as sets of hashed word shingles, straight over Arrow buffers.

Here: what counts as a word, the word sequence's 128-bit hash (exact duplicates) and the sorted set of the hashes of its
runs of `words` words (near-duplicates). What is done with them is in `minhash.py`. No Python object is made per word.

A word, after Unicode NFKC and lower case:

- a run of letters, digits, marks and `_`;
- each letter or mark of a script written without spaces (Han, Hiragana, Katakana, Bopomofo, Thai, Lao, Khmer,
  Myanmar), and each Hangul syllable, by itself: five words of Chinese or Korean are five characters, however spaced;
- each symbol that carries meaning by itself: Unicode category S (`+ < = > $ ^ ~ |`, arrows, emoji) but for the
  backtick, which quotes, and `* / % # & @`; and a `-` that begins something (`-3`, `-x`, `- 3`), so neither hyphen
  nor dash. `5 + 3`, `5 * 3` and `5 - 3` are three texts.

All else separates: white space, control characters and the other punctuation. Format characters (soft hyphens,
joiners, byte order marks) and variation selectors are passed over as if absent; a zero-width space separates.
Unassigned and private code points count as symbols, so that text in a script younger than this Python is not lost.
NFKC has its price: `x²` and `x2` are the same word.
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

# The classes of code points, the low three bits of `code_point_classes`.
SEPARATOR, WORD, SYMBOL, LONE, IGNORED = range(5)
# The fourth bit: neither NFKC nor lower case does anything to this code point or to what stands around it.
SETTLED = 8

_UNSPACED_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: iteration mark, closing mark, zero
    (0x3021, 0x302F),  # Han: Hangzhou numerals, tone marks of Han and Hangul
    (0x3038, 0x303C),
    (0x3041, 0x318F),  # Hiragana, Katakana, Bopomofo, Hangul compatibility Jamo
    (0x31A0, 0x31BF),  # Bopomofo
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA960, 0xA97F),  # Hangul Jamo
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xAC00, 0xD7FF),  # Hangul syllables and Jamo
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFFDC),  # half-width Katakana and Hangul
    (0x1AFF0, 0x1B16F),  # Kana
    (0x20000, 0x3FFFD),  # Han, the two planes
)

# 64-bit odd multipliers with no structure (splitmix64 and MurmurHash3 finalisers; Knuth's MMIX generator; the
# fractional parts of square roots). Only their being odd and different matters.
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_BYTE_1, _BYTE_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x5851F42D4C957F2D)
_WORD_1, _WORD_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SEED_1, _SEED_2 = np.uint64(0xBB67AE8584CAA73B), np.uint64(0x3C6EF372FE94F82B)
_SHORT, _WORDLESS = np.uint64(0xA54FF53A5F1D36F1), np.uint64(0x510E527FADE682D1)
_SHIFT = np.uint64(32)
_NOTHING = np.uint64(0)

_SLAB_BYTES = 8_000_000  # texts are hashed this many bytes at a time, which bounds the scratch space

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C", readonly=True)


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
    size of English text and 2.5 times that of Korean, and twice that while the chunks are joined.

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
    if words < 1:
        raise ValueError(f"A shingle needs at least one word, got words={words}.")
    parts = []
    first = 0
    for array in _arrays(texts):
        parts.extend(_shingle_slab(slab, words) for slab in _slabs(_checked(array, first)))
        first += len(array)
    return concat(parts)


def concat(parts: Iterable[Shingles]) -> Shingles:
    """Return the shingles of several chunks as those of one; no chunks give the shingles of no texts."""
    parts = list(parts)
    counts = [np.diff(part.offsets) for part in parts]
    return Shingles(
        np.concatenate([part.hashes for part in parts] or [np.empty(0, np.uint64)]),
        np.concatenate([np.zeros(1, np.int64), *counts]).cumsum(),
        np.concatenate([part.word_hash for part in parts] or [np.empty((0, 2), np.uint64)]),
        np.concatenate([part.n_words for part in parts] or [np.empty(0, np.int64)]),
    )


@cache
def code_point_classes() -> np.ndarray:
    """Return uint8[0x110000]: for each Unicode code point its class, plus `SETTLED` where normalising does nothing.

    >>> [int(code_point_classes()[ord(c)]) & 7 for c in "a_.+漢"] == [WORD, WORD, SEPARATOR, SYMBOL, LONE]
    True
    """
    # Beyond plane 1 nothing is worth asking for one by one; private and unassigned code points are symbols.
    classes = np.full(sys.maxunicode + 1, SYMBOL, np.uint8)
    known = [chr(point) for point in range(0x20000)]
    by_category = {"L": WORD, "M": WORD, "N": WORD, "S": SYMBOL, "P": SEPARATOR, "Z": SEPARATOR}
    by_category |= {"Cc": SEPARATOR, "Cf": IGNORED, "Cn": SYMBOL, "Co": SYMBOL, "Cs": SYMBOL}
    categories = list(map(unicodedata.category, known))
    classes[: len(known)] = [by_category.get(c) if c in by_category else by_category[c[0]] for c in categories]
    for first, last in _UNSPACED_SCRIPTS:
        block = classes[first : last + 1]
        block[(block == WORD) | ((block == SYMBOL) & (first >= 0x20000))] = LONE
    for character in "*/%#&@":
        classes[ord(character)] = SYMBOL
    classes[ord("_")] = WORD
    classes[ord("`")] = SEPARATOR
    classes[0x200B] = SEPARATOR  # zero-width space
    variation_selectors = [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
    grapheme_joiner, tags = 0x034F, range(0xE0001, 0xE0080)
    classes[[grapheme_joiner, *variation_selectors, *tags]] = IGNORED
    classes[_settled(known)] |= SETTLED
    classes.flags.writeable = False
    return classes


def _settled(known: list[str]) -> list[int]:
    """Return the code points that NFKC and lower case leave alone whatever their neighbours."""
    # A character is moved by its neighbours if it has a combining class, or if it is the second of a canonical pair.
    pairs = (unicodedata.decomposition(character).split() for character in known)
    second = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    second |= {chr(point) for point in range(0x1161, 0x1200)}  # the vowels and finals of Hangul compose by rule
    return [
        point
        for point, character in enumerate(known)
        if not 0xD800 <= point <= 0xDFFF
        and unicodedata.is_normalized("NFKC", character)
        and not unicodedata.combining(character)
        and character not in second
        and (point < 0x80 or character.lower() == character)  # ASCII capitals are lowered on the way
        and unicodedata.category(character) != "Cn"
    ]


def _arrays(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array]) -> Iterator[pa.Array]:
    for part in [texts] if isinstance(texts, (pa.Array, pa.ChunkedArray)) else texts:
        yield from part.chunks if isinstance(part, pa.ChunkedArray) else [part]


def _checked(array: pa.Array, first: int) -> pa.Array:
    """Return the texts as a large_string array without nulls; `first` is the number of the array's first record."""
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise TypeError(f"Texts must be Arrow strings, got {array.type}. Cast the column to string first.")
    if array.null_count:
        row = first + array.is_null().index(True).as_py()
        raise ValueError(
            f"{array.null_count} of {len(array)} texts are null, the first in row {row}. "
            "Leave records without a text out before looking for duplicates."
        )
    array = array.cast(pa.large_string())
    try:
        array.validate(full=True)  # the kernels read as many bytes as a lead byte announces
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"A text is not valid UTF-8 ({error}, counted from row {first}). Decode or repair the texts first."
        ) from error
    return array


def _buffers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return a non-empty large_string array's bytes, and the n + 1 places where its texts begin and end."""
    _, offsets, data = array.buffers()
    offsets = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    data = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return data, np.require(offsets, requirements="A")


def _slabs(array: pa.Array) -> Iterator[pa.Array]:
    """Cut the array into slices of about `_SLAB_BYTES` bytes, and one record at least."""
    if len(array) == 0:
        return
    _, offsets = _buffers(array)
    start = 0
    while start < len(array):
        stop = int(np.searchsorted(offsets, offsets[start] + _SLAB_BYTES, "right")) - 1
        stop = min(max(stop, start + 1), len(array))
        yield array.slice(start, stop - start)
        start = stop


def _shingle_slab(array: pa.Array, words: int) -> Shingles:
    n = len(array)
    data, offsets = _buffers(array)
    classes = code_point_classes()
    is_unsettled = _unsettled(data, offsets, classes)
    rows = np.flatnonzero(is_unsettled)
    normal_data, normal_offsets = _buffers(_normalized(array, rows)) if len(rows) else (data, offsets[:1])
    # Row of the normalised texts to read instead of the original, or -1.
    normal_row = np.full(n, -1, np.int64)
    normal_row[rows] = np.arange(len(rows))
    sizes = np.diff(offsets)
    sizes[rows] = np.diff(normal_offsets)
    hashes = np.empty(int(sizes.sum()) + n, np.uint64)  # pages that no shingle reaches are never touched
    longest = int(sizes.max()) + 2
    ends, word_hash, n_words = np.empty(n, np.int64), np.empty((n, 2), np.uint64), np.empty(n, np.int64)
    _shingle_records(
        data, offsets, normal_data, normal_offsets, normal_row, classes, words,
        hashes, ends, word_hash, n_words, np.empty(longest, np.uint64), np.empty(longest, np.int64),
    )  # fmt: skip
    return Shingles(hashes[: ends[-1]].copy(), np.concatenate([np.zeros(1, np.int64), ends]), word_hash, n_words)


def _normalized(array: pa.Array, rows: np.ndarray) -> pa.Array:
    texts = pl.Series(pl.from_arrow(array.take(pa.array(rows))))
    return texts.str.normalize("NFKC").str.to_lowercase().to_arrow().cast(pa.large_string())


@njit(inline="always")
def _mixed(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser."""
    h = (h ^ (h >> np.uint64(33))) * _MIX_1
    h = (h ^ (h >> np.uint64(33))) * _MIX_2
    return h ^ (h >> np.uint64(33))


@njit(types.UniTuple(types.int64, 2)(_BYTES, types.int64, _BYTES), cache=True, nogil=True)
def _code_point(data: np.ndarray, i: int, classes: np.ndarray) -> tuple[int, int]:
    """Return class (with `SETTLED`) and width in bytes of the non-ASCII character at `data[i]`."""
    b = np.int64(data[i])
    width = 4 if b >= 0xF0 else 3 if b >= 0xE0 else 2
    point = b & (0x7F >> width)
    for k in range(1, width):
        point = (point << 6) | (np.int64(data[i + k]) & 0x3F)
    return np.int64(classes[point]), width


@njit(types.uint8[::1](_BYTES, _INTS, _BYTES), cache=True, nogil=True)
def _unsettled(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return per text 1 if NFKC or lower case might change more than its ASCII capitals, else 0."""
    unsettled = np.zeros(len(offsets) - 1, np.uint8)
    for record in range(len(unsettled)):
        i, end = offsets[record], offsets[record + 1]
        bits = np.uint8(0)
        for k in range(i, end):
            bits |= data[k]
        if bits < 0x80:
            continue
        while i < end:
            if data[i] < 0x80:
                i += 1
                continue
            kind, width = _code_point(data, i, classes)
            if not kind & SETTLED:
                unsettled[record] = 1
                break
            i += width
    return unsettled


@njit(inline="always")
def _begins_something(data: np.ndarray, i: int, end: int, classes: np.ndarray) -> bool:
    """Return whether what follows the `-` before `data[i]` makes it a minus sign or a flag and not a dash."""
    if i < end and data[i] >= 0x80:
        kind = _code_point(data, i, classes)[0] & 7
        return kind != SEPARATOR and kind != IGNORED
    if i < end and classes[data[i]] & 7 != SEPARATOR:
        return True
    while i < end and (data[i] == 0x20 or 0x09 <= data[i] <= 0x0D):
        i += 1
    return i < end and 0x30 <= data[i] <= 0x39


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


@njit(
    types.void(
        _BYTES, _INTS, _BYTES, _INTS, _INTS, _BYTES, types.int64,
        types.uint64[::1], types.int64[::1], types.uint64[:, ::1], types.int64[::1],
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
    hashes: np.ndarray,
    ends: np.ndarray,
    word_hash: np.ndarray,
    n_words: np.ndarray,
    unsorted: np.ndarray,
    places: np.ndarray,
) -> None:
    """Fill `hashes`, `ends`, `word_hash` and `n_words`; `unsorted` and `places` are scratch."""
    recent = np.empty(words, np.uint64)  # the last word hashes, in a ring
    leaving = np.uint64(1)  # what the word that leaves the window has been multiplied by
    for _ in range(words):
        leaving *= _WORD_1
    filled = 0
    for record in range(len(raw_offsets) - 1):
        data, i, end = raw_data, raw_offsets[record], raw_offsets[record + 1]
        row = normal_row[record]
        if row >= 0:
            data, i, end = normal_data, normal_offsets[row], normal_offsets[row + 1]
        recent[:] = _NOTHING
        oldest = 0
        count = 0
        found = 0
        window = _NOTHING
        all_1, all_2 = _SEED_1, _SEED_2
        word_end = np.int64(-1)
        while True:
            # To the next word.
            kind, width = SEPARATOR, 1
            while i < end:
                b = data[i]
                if b < 0x80:
                    kind, width = np.int64(classes[b]) & 7, 1
                    if b == 0x2D and i != word_end and _begins_something(data, i + 1, end, classes):
                        kind = SYMBOL
                else:
                    kind, width = _code_point(data, i, classes)
                    kind &= 7
                if kind != SEPARATOR and kind != IGNORED:
                    break
                i += width
            if i >= end:
                break
            # Through it.
            h_1, h_2 = _SEED_1, _SEED_2
            if kind != WORD:
                for k in range(i, i + width):
                    h_1 = (h_1 ^ np.uint64(data[k])) * _BYTE_1
                    h_2 = (h_2 ^ np.uint64(data[k])) * _BYTE_2
                i += width
                if kind == LONE:
                    word_end = i
            else:
                while i < end:
                    b = data[i]
                    if b < 0x80:
                        if classes[b] & 7 != WORD:
                            break
                        if 0x41 <= b <= 0x5A:
                            b |= 0x20
                        h_1 = (h_1 ^ np.uint64(b)) * _BYTE_1
                        h_2 = (h_2 ^ np.uint64(b)) * _BYTE_2
                        i += 1
                        continue
                    kind, width = _code_point(data, i, classes)
                    kind &= 7
                    if kind == WORD:
                        for k in range(i, i + width):
                            h_1 = (h_1 ^ np.uint64(data[k])) * _BYTE_1
                            h_2 = (h_2 ^ np.uint64(data[k])) * _BYTE_2
                    elif kind != IGNORED:
                        break
                    i += width
                word_end = i
            # Into the record's hash and the window of the last words.
            h_1 = (h_1 ^ (h_1 >> _SHIFT)) * _MIX_1
            h_1 ^= h_1 >> _SHIFT
            all_1 = (all_1 ^ h_1) * _WORD_1
            all_1 ^= all_1 >> _SHIFT
            all_2 = (all_2 ^ h_2) * _WORD_2
            all_2 ^= all_2 >> _SHIFT
            window = window * _WORD_1 + h_1 - recent[oldest] * leaving
            recent[oldest] = h_1
            oldest = oldest + 1 if oldest + 1 < words else 0
            count += 1
            if count >= words:
                unsorted[found] = _mixed(window)
                found += 1
        if count == 0:
            for k in range(raw_offsets[record], raw_offsets[record + 1]):
                all_1 = (all_1 ^ np.uint64(raw_data[k])) * _BYTE_1
                all_2 = (all_2 ^ np.uint64(raw_data[k])) * _BYTE_2
            all_1 ^= _WORDLESS
            window = all_1
        if found == 0:
            unsorted[0] = _mixed(window ^ (np.uint64(count + 1) * _SHORT))
            found = 1
        word_hash[record, 0], word_hash[record, 1] = _mixed(all_1), _mixed(all_2)
        n_words[record] = count
        filled += _sort_unique(unsorted[:found], hashes[filled : filled + found], places)
        ends[record] = filled
