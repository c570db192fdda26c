"""How much of a text repeats itself: Gopher's n-gram repetition ratios, straight over Arrow buffers.

Here: the nine ratios over runs of words (Rae et al. 2021, arXiv 2112.11446, table A1), as DataTrove computes them.
Repeated lines and paragraphs are in `sql/40_filtered/signals.sql`, the thresholds in `rules.sql`. No Python object is
made per word.

A word is what `str.split()` gives: a run of characters that are not white space, punctuation included. So a text in a
script written without spaces has few words, and this sees little of its repetition.
"""

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

TOP = (2, 3, 4)
"""n of the ratios that look at the most frequent run of n words."""

DUPLICATE = (5, 6, 7, 8, 9, 10)
"""n of the ratios that look at all runs of n words that occurred before."""

COLUMNS = (*(f"top_{n}gram_char_ratio" for n in TOP), *(f"duplicate_{n}gram_char_ratio" for n in DUPLICATE))
"""The columns of `repetition`, in order."""

# Odd 64-bit multipliers without structure: FNV-1a's prime and offset, and the finaliser of splitmix64.
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_STEP, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2 = np.uint64(30), np.uint64(31)

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_HASHES = types.uint64[::1]
_COUNTS = types.int64[::1]


def repetition(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.DataFrame:
    """Return one row per text, in order: nine Float64 ratios, named as in `COLUMNS`.

    `top_{2,3,4}gram_char_ratio`: the characters of the most frequent run of n words (joined by spaces), times how
    often it occurs, over those of the text. Zero if no run occurs twice: DataTrove then takes the first run, which
    in a text of three words is most of it. Of equally frequent runs the first counts. Copies may overlap ("no no no"),
    so the ratio can exceed 1.

    `duplicate_{5..10}gram_char_ratio`: walk the words; where the next n occurred before, add their characters (without
    spaces) and step over them; else remember them and step one word on; over the characters of the text.

    Words are compared by 64-bit hashes: in a text of a million words two different runs are taken for one with a
    probability below 1e-6. An empty text has zeros.

    >>> repetition(pl.Series(["go to bed", "to be or not to be"]))["top_2gram_char_ratio"].round(3).to_list()
    [0.0, 0.556]

    Raises:
        TypeError: `texts` are not strings.
        ValueError: a text is null; the message names its row.

    """
    array = _large_strings(texts)
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    ratios = _repetition(np.frombuffer(array.buffers()[2] or b"", np.uint8), offsets)
    return pl.DataFrame({name: ratios[:, column] for column, name in enumerate(COLUMNS)})


def _large_strings(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    """One chunk of 64-bit offsets and UTF-8 bytes, without a null."""
    array = texts.to_arrow() if isinstance(texts, pl.Series) else texts
    kind = array.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise TypeError(f"repetition measures texts, got an array of {kind}.")
    if array.null_count:
        row = array.is_null().to_pylist().index(True)
        raise ValueError(f"repetition: the text in row {row} is null. Leave records without text out, or give them ''.")
    array = array.cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
    return array if len(array) else pa.array([""], pa.large_string())[:0]


@njit(types.int64(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _white_space_bytes(text: np.ndarray, at: int, end: int) -> int:
    """Bytes of the white-space character at `at`, 0 if the character there is none: `str.isspace()` in UTF-8."""
    byte = text[at]
    if byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
        return 1
    if byte < 0xC2:
        return 0
    if byte == 0xC2 and at + 1 < end and (text[at + 1] == 0x85 or text[at + 1] == 0xA0):
        return 2  # next line, no-break space
    if at + 2 >= end:
        return 0
    second, third = text[at + 1], text[at + 2]
    if byte == 0xE2 and second == 0x80 and (0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF):
        return 3  # en quad to hair space, line and paragraph separator, narrow no-break space
    if byte == 0xE2 and second == 0x81 and third == 0x9F:
        return 3  # medium mathematical space
    if (byte == 0xE1 and second == 0x9A and third == 0x80) or (byte == 0xE3 and second == 0x80 and third == 0x80):
        return 3  # ogham space mark, ideographic space
    return 0


@njit(types.int64(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _count_words(text: np.ndarray, start: int, end: int) -> int:
    """Words of text[start:end]."""
    n_words = 0
    in_word = False
    at = start
    while at < end:
        space = _white_space_bytes(text, at, end)
        n_words += space == 0 and not in_word
        in_word = space == 0
        at += max(space, 1)
    return n_words


@njit(types.UniTuple(types.int64, 2)(_BYTES, types.int64, types.int64, _HASHES, _COUNTS), cache=True, nogil=True)
def _split(text: np.ndarray, start: int, end: int, word_hashes: np.ndarray, word_chars: np.ndarray) -> tuple[int, int]:
    """Fill the hash and the characters of each word of text[start:end]; return (words, characters of the text)."""
    n_words = 0
    chars = 0
    chars_in_word = 0
    word_hash = _FNV_OFFSET
    at = start
    while at < end:
        space = _white_space_bytes(text, at, end)
        if space:
            if chars_in_word:
                word_hashes[n_words], word_chars[n_words] = word_hash, chars_in_word
                n_words += 1
                word_hash, chars_in_word = _FNV_OFFSET, 0
            chars += 1
            at += space
            continue
        word_hash = (word_hash ^ np.uint64(text[at])) * _FNV_PRIME
        if text[at] & 0xC0 != 0x80:
            chars_in_word += 1
            chars += 1
        at += 1
    if chars_in_word:
        word_hashes[n_words], word_chars[n_words] = word_hash, chars_in_word
        n_words += 1
    return n_words, chars


@njit(types.int64(_HASHES, _COUNTS, types.int64, types.uint64, types.int64), cache=True, nogil=True)
def _slot(keys: np.ndarray, stamps: np.ndarray, mask: int, key: np.uint64, stamp: int) -> int:
    """Open addressing: the slot that holds `key` or, if `stamps[slot] != stamp`, the free one where it belongs."""
    slot = np.int64(key & np.uint64(mask))
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(types.float64[:, ::1](_BYTES, _OFFSETS), cache=True, nogil=True)
def _repetition(text: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """All nine ratios of all texts; float64[n, 9] in the order of `COLUMNS`."""
    n_texts = len(offsets) - 1
    ratios = np.zeros((n_texts, 9))
    most_words = 1
    for i in range(n_texts):
        most_words = max(most_words, _count_words(text, offsets[i], offsets[i + 1]))
    capacity = 16
    while capacity < 2 * most_words:
        capacity *= 2
    word_hashes = np.empty(most_words, np.uint64)
    word_chars = np.empty(most_words, np.int64)
    gram_hashes = np.empty(most_words, np.uint64)
    gram_chars = np.empty(most_words, np.int64)
    # One table for all: a slot is taken only if its stamp is that of this text and this n, so nothing is ever cleared.
    keys = np.empty(capacity, np.uint64)
    stamps = np.zeros(capacity, np.int64)
    counts = np.empty(capacity, np.int64)
    stamp = 0
    for i in range(n_texts):
        n_words, chars = _split(text, offsets[i], offsets[i + 1], word_hashes, word_chars)
        mask = 15
        while mask + 1 < 2 * n_words:
            mask = 2 * mask + 1
        for w in range(n_words):
            gram_hashes[w], gram_chars[w] = word_hashes[w], word_chars[w]
        for n in range(2, 11):
            grams = n_words - n + 1
            for w in range(grams):  # a run of n is a run of n - 1 and one more word
                gram_hash = (gram_hashes[w] + _STEP) * _MIX_1 ^ word_hashes[w + n - 1]
                gram_hash = (gram_hash ^ (gram_hash >> _SHIFT_1)) * _MIX_2
                gram_hashes[w] = gram_hash ^ (gram_hash >> _SHIFT_2)
                gram_chars[w] += word_chars[w + n - 1]
            stamp += 1
            if n <= 4:
                best_count = 1
                for w in range(grams):
                    slot = _slot(keys, stamps, mask, gram_hashes[w], stamp)
                    if stamps[slot] != stamp:
                        keys[slot], stamps[slot], counts[slot] = gram_hashes[w], stamp, 0
                    counts[slot] += 1
                    best_count = max(best_count, counts[slot])
                if best_count > 1:
                    for w in range(grams):
                        slot = _slot(keys, stamps, mask, gram_hashes[w], stamp)
                        if counts[slot] == best_count:
                            ratios[i, n - 2] = (gram_chars[w] + n - 1) * best_count / chars
                            break
            else:
                duplicate_chars = 0
                w = 0
                while w < grams:
                    slot = _slot(keys, stamps, mask, gram_hashes[w], stamp)
                    if stamps[slot] == stamp:
                        duplicate_chars += gram_chars[w]
                        w += n
                    else:
                        keys[slot], stamps[slot] = gram_hashes[w], stamp
                        w += 1
                if duplicate_chars:
                    ratios[i, n - 2] = duplicate_chars / chars
    return ratios
