"""What lies on the surface of texts: characters by class, words between spaces, lines and paragraphs, counted in one pass.

Here: the counts of which `sql/40_filtered/signals.sql` makes ratios; it says what each ratio is and who reads it. Tokens, in which
punctuation marks are apart from words, are counted in `token_signals.py`. No Python object is made per word or line.

A word is what stands between white space, without the punctuation and symbols at its edges; nothing else is one. A line ends at a line
feed and is trimmed; only lines with text count. Paragraphs have an empty line between them. Words, lines and paragraphs are told apart by
64-bit hashes, words without regard to case.
"""

import sys
import unicodedata
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.repetition import slot_of
from curation_assets.algorithms.token_signals import STOP_WORDS, buffers
from curation_assets.algorithms.tokens import TERMINAL_MARKS, decode, hash_points

_OTHER_FUNCTION_WORDS = (
    "a in is it for was on are as by this from at or an not but had has were which you they we he she his her their its i my your our "
    "there been if will can would when who what so than then them these into some could do about also only because"
)
FUNCTION_WORDS = (*STOP_WORDS, *_OTHER_FUNCTION_WORDS.split())
"""Common English words, Gopher's eight first: a text of none of them is hardly English prose. Ours."""

CLOSING_MARKS = ".!?'\"…。！？｡”’」』।॥؟۔։။།።"
"""What a line ends with that is a whole sentence or a quotation."""

COLUMNS = (
    *("letters", "digits", "punctuation", "upper_case", "newlines", "hashes", "exclamations", "ellipses", "urls"),
    *("split_words", "word_chars", "alpha_words", "capitalized_words"),
    *("different_words", "function_words", "stop_words"),
    *("lines", "line_chars", "bullet_lines", "ellipsis_lines", "short_lines", "closed_lines", "terminal_mark_lines"),
    *("different_lines", "different_line_chars"),
    *("paragraphs", "paragraph_chars", "different_paragraphs", "different_paragraph_chars"),
)
"""The columns of `surface_signals`, in order."""

SHORT_LINE_CHARS = 30
"""FineWeb: a line of at most so many characters is short."""

# What a code point is, one bit each.
_SPACE, _LETTER, _NUMBER, _MARK, _UPPER, _TRIMMED, _CLOSING, _TERMINAL = (np.uint8(1 << bit) for bit in range(8))

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_POINTS = types.Array(types.uint32, 1, "C", readonly=True)
_HASHES = types.Array(types.uint64, 1, "C", readonly=True)


def surface_signals(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.DataFrame:
    r"""Return one row per text, in order, of Int64 counts: `COLUMNS`.

    `letters`: characters that are no white space, number, punctuation or symbol. `digits`: Unicode's N. `punctuation`: P and S.
    `upper_case`: Lu. `ellipses`: '...' and '…'. `urls`: '://'. `split_words`: words between spaces; `word_chars`: their
    characters. `alpha_words`: those with a letter, in a text without numbers all. `capitalized_words`: those that begin with a capital.
    `stop_words`: how many of Gopher's eight occur. `lines`: lines with text; `line_chars`: their characters, trimmed.
    `bullet_lines` begin with • or -, `ellipsis_lines` end in an ellipsis, `short_lines` have at most 30 characters,
    `closed_lines` end in one of CLOSING_MARKS, `terminal_mark_lines` in a sentence terminal with no space behind it, as DataTrove has it.
    `different_…`: of those that are alike one counts.

    >>> surface_signals(pl.Series(["The end.\nThe end! "])).select("split_words", "different_words", "lines", "terminal_mark_lines").row(0)
    (4, 2, 2, 1)

    Raises as `token_signals` does.
    """
    words = np.array([hash_points(_points(word), 0, len(word)) for word in FUNCTION_WORDS], np.uint64)
    values = _surface_signals(*buffers(texts), _classes(), _lower_case(), words)
    return pl.DataFrame({name: values[:, column] for column, name in enumerate(COLUMNS)})


def capitals_and_letters(texts: pl.Series) -> pl.DataFrame:
    """Return one row per text, in order: `capitals` (Unicode's Lu) and `letters` (L) in it, Int64. Raises as `token_signals` does."""
    values = _capitals_and_letters(*buffers(texts), _classes())
    return pl.DataFrame({"capitals": values[:, 0], "letters": values[:, 1]})


def _points(word: str) -> np.ndarray:
    return np.frombuffer(word.encode("utf-32-le"), np.uint32)


@cache
def _classes() -> np.ndarray:
    """uint8[0x110000]: what each code point is, as the bits above."""
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for point in range(0x20000):
        character, category = chr(point), unicodedata.category(chr(point))
        classes[point] |= _SPACE if character.isspace() else 0
        classes[point] |= {"L": _LETTER, "N": _NUMBER, "P": _MARK, "S": _MARK}.get(category[0], 0)
        classes[point] |= _UPPER if category == "Lu" else 0
    classes[0x20000:0x323B0] |= _LETTER  # Han
    for marks, bit in ((" \t\r\u00a0\u3000", _TRIMMED), (CLOSING_MARKS, _CLOSING), (TERMINAL_MARKS, _TERMINAL)):
        for mark in marks:
            classes[ord(mark)] |= bit
    classes.flags.writeable = False
    return classes


@cache
def _lower_case() -> np.ndarray:
    """uint32[0x110000]: each code point in lower case, where that is one code point too."""
    lower = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for point in range(0x20000):
        if len(small := chr(point).lower()) == 1:
            lower[point] = ord(small)
    lower[0x130] = ord("i")  # İ, of which lower() makes two
    lower.flags.writeable = False
    return lower


@njit(types.boolean(types.uint64[::1], types.int64[::1], types.uint64, types.int64), cache=True, nogil=True)
def _is_new(keys: np.ndarray, stamps: np.ndarray, key: np.uint64, stamp: int) -> bool:
    """Put a key into a hash table, in which only slots with this stamp are taken; whether it was not there yet."""
    slot = slot_of(keys, stamps, len(keys) - 1, key, stamp)
    is_new = stamps[slot] != stamp
    keys[slot], stamps[slot] = key, stamp
    return is_new


@njit(types.int64[:, ::1](_BYTES, _OFFSETS, _BYTES), cache=True, nogil=True)
def _capitals_and_letters(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """int64[n, 2]."""
    n_texts = len(offsets) - 1
    values = np.zeros((n_texts, 2), np.int64)
    most = np.int64(1)
    for i in range(n_texts):
        most = max(most, offsets[i + 1] - offsets[i])
    points = np.empty(most, np.uint32)
    for i in range(n_texts):
        for k in range(decode(data, offsets[i], offsets[i + 1], points)):
            kind = classes[points[k]]
            values[i, 0] += kind & _UPPER != 0
            values[i, 1] += kind & _LETTER != 0
    return values


@njit(cache=True, nogil=True)
def _words(
    points: np.ndarray, small: np.ndarray, n: int, classes: np.ndarray, function_words: np.ndarray, row: np.ndarray,
    keys: np.ndarray, stamps: np.ndarray, stamp: int,
) -> None:  # fmt: skip
    """Fill what is counted of words."""
    stop_bits = 0
    k = 0
    while k < n:
        if classes[points[k]] & _SPACE:
            k += 1
            continue
        start = k
        while k < n and not classes[points[k]] & _SPACE:
            k += 1
        end = k
        while start < end and classes[points[start]] & _MARK:
            start += 1
        while end > start and classes[points[end - 1]] & _MARK:
            end -= 1
        if start == end:
            continue
        has_letter = row[1] == 0
        for j in range(start, end):
            if has_letter:
                break
            has_letter = classes[points[j]] & _LETTER != 0
        key = hash_points(small, start, end)
        row[9] += 1
        row[10] += end - start
        row[11] += has_letter
        row[12] += classes[points[start]] & _UPPER != 0
        row[13] += _is_new(keys, stamps, key, stamp)
        if end - start <= 7:
            for w in range(len(function_words)):
                if key == function_words[w]:
                    row[14] += 1
                    if w < 8:
                        stop_bits |= 1 << w
    while stop_bits:
        row[15] += stop_bits & 1
        stop_bits >>= 1


@njit(cache=True, nogil=True)
def _lines(
    points: np.ndarray, n: int, classes: np.ndarray, row: np.ndarray, keys: np.ndarray, stamps: np.ndarray, stamp: int
) -> None:
    """Fill what is counted of lines."""
    k = 0
    while k < n:
        start = k
        while k < n and points[k] != 10:
            k += 1
        end = k
        k += 1
        whole = end
        while start < end and classes[points[start]] & _TRIMMED:
            start += 1
        while end > start and classes[points[end - 1]] & _TRIMMED:
            end -= 1
        if start == end:
            continue
        last = points[end - 1]
        row[16] += 1
        row[17] += end - start
        row[18] += points[start] == 0x2022 or points[start] == 45
        is_dotted = end - start >= 3 and last == 46 and points[end - 2] == 46 and points[end - 3] == 46
        row[19] += is_dotted or last == 0x2026
        row[20] += end - start <= SHORT_LINE_CHARS
        row[21] += classes[last] & _CLOSING != 0
        row[22] += classes[points[whole - 1]] & _TERMINAL != 0
        if _is_new(keys, stamps, hash_points(points, start, end), stamp):
            row[23] += 1
            row[24] += end - start


@njit(cache=True, nogil=True)
def _paragraphs(points: np.ndarray, n: int, row: np.ndarray, keys: np.ndarray, stamps: np.ndarray, stamp: int) -> None:
    """Fill what is counted of paragraphs: a text without an empty line is one, as it stands; of another, spaces at the ends go."""
    start, end = 0, n
    has_gap = False
    for k in range(1, n):
        if points[k] == 10 and points[k - 1] == 10:
            has_gap = True
            break
    if not has_gap:
        row[25] = row[27] = 1
        row[26] = row[28] = n
        return
    while start < end and (points[start] == 32 or points[start] == 10):
        start += 1
    while end > start and (points[end - 1] == 32 or points[end - 1] == 10):
        end -= 1
    k = first = start
    while True:
        if k == end or (points[k] == 10 and k + 1 < end and points[k + 1] == 10):
            row[25] += 1
            row[26] += k - first
            if _is_new(keys, stamps, hash_points(points, first, k), stamp):
                row[27] += 1
                row[28] += k - first
            while k < end and points[k] == 10:
                k += 1
            first = k
            if k == end:
                return
        else:
            k += 1


@njit(
    types.int64[:, ::1](_BYTES, _OFFSETS, _BYTES, _POINTS, _HASHES),
    cache=True, nogil=True,
)  # fmt: skip
def _surface_signals(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, lower: np.ndarray, function_words: np.ndarray
) -> np.ndarray:
    """All counts of all texts; int64[n, 29] in the order of `COLUMNS`."""
    n_texts = len(offsets) - 1
    values = np.zeros((n_texts, 29), np.int64)
    most = np.int64(1)
    for i in range(n_texts):
        most = max(most, offsets[i + 1] - offsets[i] + 1)
    points = np.empty(most, np.uint32)
    small = np.empty(most, np.uint32)
    capacity = np.int64(16)
    while capacity < most:  # words, lines and paragraphs are at most half the characters
        capacity *= 2
    keys, stamps = np.empty(capacity, np.uint64), np.zeros(capacity, np.int64)
    for i in range(n_texts):
        row = values[i]
        n = decode(data, offsets[i], offsets[i + 1], points)
        dots = 0
        for k in range(n):
            point = points[k]
            kind = classes[point]
            small[k] = lower[point]
            row[0] += kind & (_SPACE | _NUMBER | _MARK) == 0
            row[1] += kind & _NUMBER != 0
            row[2] += kind & _MARK != 0
            row[3] += kind & _UPPER != 0
            row[4] += point == 10
            row[5] += point == 35
            row[6] += point == 33
            dots = dots + 1 if point == 46 else 0
            if dots == 3:
                dots = 0
                row[7] += 1
            row[7] += point == 0x2026
            row[8] += point == 47 and k > 1 and points[k - 1] == 47 and points[k - 2] == 58
        _words(points, small, n, classes, function_words, row, keys, stamps, 3 * i + 1)
        _lines(points, n, classes, row, keys, stamps, 3 * i + 2)
        _paragraphs(points, n, row, keys, stamps, 3 * i + 3)
    return values
