"""What a word is: texts as sequences of hashed normalised words, straight over Arrow buffers.

Here: the one tokeniser that duplicates (`shingles.py`), perplexity (`ngram_model.py`) and the reference judge read text
with. No Python object is made per word.

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

# 64-bit odd multipliers with no structure (MurmurHash3's finaliser; Knuth's MMIX generator; the fractional parts of
# square roots). Only their being odd and different matters.
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_BYTE, _SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_SHIFT = np.uint64(32)

_BLOCK = 64  # bytes that are asked at once whether they are ASCII
SLAB_BYTES = 8_000_000  # texts are hashed this many bytes at a time, which bounds the scratch space

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
INTS = types.Array(types.int64, 1, "C", readonly=True)


class Slab(NamedTuple):
    """Some consecutive texts as the kernels read them: raw where only ASCII capitals need lowering, else normalised."""

    data: np.ndarray
    """uint8[…]: the texts' UTF-8 bytes."""
    offsets: np.ndarray
    """int64[n + 1]: text i is `data[offsets[i]:offsets[i + 1]]`."""
    normal_data: np.ndarray
    """uint8[…]: the bytes of the texts that NFKC and lower case change, normalised but for ASCII capitals."""
    normal_offsets: np.ndarray
    """int64[m + 1]: their places."""
    normal_row: np.ndarray
    """int64[n]: the row among the normalised texts to read instead of the raw one, or -1."""
    most_bytes: np.ndarray
    """int64[n]: the bytes of each text as it is read; it has no more words than that."""


class Words(NamedTuple):
    """The normalised words of some consecutive texts, in order."""

    hashes: np.ndarray
    """uint64[words]: a hash of each word."""
    offsets: np.ndarray
    """int64[n + 1]: text i's words are `offsets[i]` to `offsets[i + 1]`."""
    ends: np.ndarray
    """int64[words]: where each word ends in `data`; it begins where the one before it ends."""
    data: np.ndarray
    """uint8[bytes]: the words' UTF-8 bytes, normalised, one word after the other."""


def words(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array]) -> Iterator[Words]:
    """Yield the texts' words by slabs of consecutive texts, about `SLAB_BYTES` of text at a time.

    >>> (found,) = words(pa.array(["The cat, sat.", "漢字"]))
    >>> found.offsets.tolist(), [bytes(word).decode() for word in np.split(found.data, found.ends[:-1])]
    ([0, 3, 5], ['the', 'cat', 'sat', '漢', '字'])

    Raises:
        ValueError: a text is null, or not valid UTF-8.
        TypeError: the texts are not strings.

    """
    for slab in slabs(texts):
        most = int(slab.most_bytes.sum())
        # Pages that no word reaches are never touched.
        hashes, ends, data = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.uint8)
        offsets = np.zeros(len(slab.offsets), np.int64)
        _words(*slab[:5], code_point_classes(), hashes, ends, data, offsets)
        found = int(offsets[-1])
        n_bytes = int(ends[found - 1]) if found else 0
        yield Words(hashes[:found].copy(), offsets, ends[:found].copy(), data[:n_bytes].copy())


def slabs(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array], *, normalized: bool = True) -> Iterator[Slab]:
    """Check the texts and yield them ready for the kernels, about `SLAB_BYTES` at a time; raises as `words` does.

    normalized=False leaves out the normalised forms, for kernels that read the texts as they stand.
    """
    first = 0
    for array in _arrays(texts):
        for part in _slices(_checked(array, first)):
            data, offsets = _buffers(part)
            rows = (
                np.flatnonzero(_unsettled(data, offsets, code_point_classes())) if normalized else np.empty(0, np.int64)
            )
            normal_data, normal_offsets = _normalized(data, offsets, rows) if len(rows) else (data, offsets[:1])
            normal_row = np.full(len(part), -1, np.int64)
            normal_row[rows] = np.arange(len(rows))
            most_bytes = np.diff(offsets)
            most_bytes[rows] = np.diff(normal_offsets)
            yield Slab(data, offsets, normal_data, normal_offsets, normal_row, most_bytes)
        first += len(array)


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
    # NFKC only makes other separators of these (no-break spaces, the ellipsis); blanks before a digit are looked at in
    # `_begins_something`, which knows the no-break space and no other.
    blanks = set(range(0x2000, 0x200B)) | {0x202F, 0x205F, 0x3000}
    for point, character in enumerate(known):
        if classes[point] == SEPARATOR and point not in blanks and not 0xD800 <= point <= 0xDFFF:
            normal = unicodedata.normalize("NFKC", character)
            if all(ord(c) < 0x80 and classes[ord(c)] & 7 == SEPARATOR and c not in "-\r\n\t" for c in normal):
                classes[point] |= SETTLED
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
            "Leave records without a text out first."
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


def _slices(array: pa.Array) -> Iterator[pa.Array]:
    """Cut the array into slices of about `SLAB_BYTES` bytes, and one record at least."""
    if len(array) == 0:
        return
    _, offsets = _buffers(array)
    start = 0
    while start < len(array):
        stop = int(np.searchsorted(offsets, offsets[start] + SLAB_BYTES, "right")) - 1
        stop = min(max(stop, start + 1), len(array))
        yield array.slice(start, stop - start)
        start = stop


def _normalized(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of the texts in `rows` after NFKC and lower case, ASCII capitals apart, and their n + 1 places.

    Only what stands between two blanks and is not settled is normalised: NFKC joins or reorders nothing across a space, a
    tab or a line break, and the lower case of no letter depends on what lies beyond one.
    """
    most = int((offsets[rows + 1] - offsets[rows]).sum()) + 1
    starts, ends, row_ends = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(len(rows), np.int64)
    n = _unsettled_pieces(data, offsets, rows, code_point_classes(), starts, ends, row_ends)
    starts, ends = starts[:n], ends[:n]
    places = np.concatenate([np.zeros(1, np.int64), np.cumsum(ends - starts)])
    pieces = np.empty(int(places[-1]), np.uint8)
    _gather(data, starts, ends, pieces)
    found = pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(n, pa.py_buffer(places), pa.py_buffer(pieces))))
    normal, normal_places = _buffers(found.str.normalize("NFKC").str.to_lowercase().to_arrow().cast(pa.large_string()))
    joined = np.empty(most + len(normal) + 1, np.uint8)
    joined_offsets = np.zeros(len(rows) + 1, np.int64)
    _join(data, offsets, rows, starts, ends, row_ends, normal, normal_places, joined, joined_offsets)
    return joined, joined_offsets


@njit(inline="always")
def mixed(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser."""
    h = (h ^ (h >> np.uint64(33))) * _MIX_1
    h = (h ^ (h >> np.uint64(33))) * _MIX_2
    return h ^ (h >> np.uint64(33))


@njit(types.UniTuple(types.int64, 2)(BYTES, types.int64, BYTES), cache=True, nogil=True)
def code_point_class(data: np.ndarray, i: int, classes: np.ndarray) -> tuple[int, int]:
    """Return class (with `SETTLED`) and width in bytes of the non-ASCII character at `data[i]`."""
    b = np.int64(data[i])
    width = 4 if b >= 0xF0 else 3 if b >= 0xE0 else 2
    point = b & (0x7F >> width)
    for k in range(1, width):
        point = (point << 6) | (np.int64(data[i + k]) & 0x3F)
    return np.int64(classes[point]), width


@njit(types.uint8[::1](BYTES, INTS, BYTES), cache=True, nogil=True)
def _unsettled(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return per text 1 if NFKC or lower case might change more than its ASCII capitals, else 0."""
    unsettled = np.zeros(len(offsets) - 1, np.uint8)
    for record in range(len(unsettled)):
        text = data[offsets[record] : offsets[record + 1]]
        i = 0
        while i < len(text) and not unsettled[record]:
            block = text[i : i + _BLOCK]
            bits = np.uint8(0)
            for byte in block:
                bits |= byte
            stop = i + len(block)
            if bits < 0x80:
                i = stop
            while i < stop:  # a character may reach into the next block
                if text[i] < 0x80:
                    i += 1
                    continue
                kind, width = code_point_class(text, i, classes)
                if not kind & SETTLED:
                    unsettled[record] = 1
                    break
                i += width
    return unsettled


@njit(
    types.int64(BYTES, INTS, INTS, BYTES, types.int64[::1], types.int64[::1], types.int64[::1]), cache=True, nogil=True
)
def _unsettled_pieces(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    classes: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    row_ends: np.ndarray,
) -> int:
    """Find what stands between blanks and holds a character that is not settled, in order; `row_ends` counts up to each row."""
    found = 0
    for row in range(len(rows)):
        i, end = offsets[rows[row]], offsets[rows[row] + 1]
        start = i
        is_unsettled = False
        while i < end:
            b = data[i]
            if b >= 0x80:
                kind, width = code_point_class(data, i, classes)
                is_unsettled |= kind & SETTLED == 0
                i += width
            else:
                i += 1
            if b == 0x20 or 0x09 <= b <= 0x0D or i >= end:
                if is_unsettled:
                    starts[found], ends[found] = start, i
                    found += 1
                    is_unsettled = False
                start = i
        row_ends[row] = found
    return found


@njit(types.void(BYTES, INTS, INTS, types.uint8[::1]), cache=True, nogil=True)
def _gather(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, into: np.ndarray) -> None:
    filled = 0
    for piece in range(len(starts)):
        length = ends[piece] - starts[piece]
        into[filled : filled + length] = data[starts[piece] : ends[piece]]
        filled += length


@njit(
    types.void(BYTES, INTS, INTS, INTS, INTS, INTS, BYTES, INTS, types.uint8[::1], types.int64[::1]),
    cache=True,
    nogil=True,
)
def _join(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    row_ends: np.ndarray,
    normal: np.ndarray,
    normal_places: np.ndarray,
    joined: np.ndarray,
    joined_offsets: np.ndarray,
) -> None:
    """Write each row with its pieces replaced by the normalised ones."""
    filled, piece = 0, 0
    for row in range(len(rows)):
        at = offsets[rows[row]]
        while piece < row_ends[row]:
            length = starts[piece] - at
            joined[filled : filled + length] = data[at : starts[piece]]
            filled += length
            length = normal_places[piece + 1] - normal_places[piece]
            joined[filled : filled + length] = normal[normal_places[piece] : normal_places[piece + 1]]
            filled += length
            at = ends[piece]
            piece += 1
        length = offsets[rows[row] + 1] - at
        joined[filled : filled + length] = data[at : at + length]
        filled += length
        joined_offsets[row + 1] = filled


@njit(inline="always")
def _begins_something(data: np.ndarray, i: int, end: int, classes: np.ndarray) -> bool:
    """Return whether what follows the `-` before `data[i]` makes it a minus sign or a flag and not a dash."""
    is_no_break_space = i + 1 < end and data[i] == 0xC2 and data[i + 1] == 0xA0  # which NFKC would make a space
    if i < end and data[i] >= 0x80 and not is_no_break_space:
        kind = code_point_class(data, i, classes)[0] & 7
        return kind != SEPARATOR and kind != IGNORED
    if i < end and data[i] < 0x80 and classes[data[i]] & 7 != SEPARATOR:
        return True
    while i < end:
        if data[i] == 0x20 or 0x09 <= data[i] <= 0x0D:
            i += 1
        elif i + 1 < end and data[i] == 0xC2 and data[i + 1] == 0xA0:
            i += 2
        else:
            break
    return i < end and 0x30 <= data[i] <= 0x39


@njit(inline="always")
def next_word(
    data: np.ndarray, i: int, stop: int, end: int, word_end: int, classes: np.ndarray
) -> tuple[int, int, int, np.uint64]:
    """Find the first word in `data[i:stop]` of a text that goes on to `end`; `word_end` is where the last word of letters ended, or -1.

    Returns (start, i, word_end, hash): where the word begins and what lies behind it, a hash of its normalised bytes.
    `start` is `stop` if there is no word left.
    """
    kind, width = SEPARATOR, 1
    while i < stop:
        b = data[i]
        if b < 0x80:
            kind, width = np.int64(classes[b]) & 7, 1
            if b == 0x2D and i != word_end and _begins_something(data, i + 1, end, classes):
                kind = SYMBOL
        else:
            kind, width = code_point_class(data, i, classes)
            kind &= 7
        if kind != SEPARATOR and kind != IGNORED:
            break
        i += width
    start = i
    h = _SEED
    if i < stop and kind != WORD:
        for k in range(i, i + width):
            h = (h ^ np.uint64(data[k])) * _BYTE
        i += width
        if kind == LONE:
            word_end = i
    elif i < stop:
        while i < stop:
            b = data[i]
            if b < 0x80:
                if classes[b] & 7 != WORD:
                    break
                if 0x41 <= b <= 0x5A:
                    b |= 0x20
                h = (h ^ np.uint64(b)) * _BYTE
                i += 1
                continue
            kind, width = code_point_class(data, i, classes)
            kind &= 7
            if kind == WORD:
                for k in range(i, i + width):
                    h = (h ^ np.uint64(data[k])) * _BYTE
            elif kind != IGNORED:
                break
            i += width
        word_end = i
    h = (h ^ (h >> _SHIFT)) * _MIX_1
    return start, i, word_end, h ^ (h >> _SHIFT)


@njit(
    types.void(BYTES, INTS, BYTES, INTS, INTS, BYTES,
               types.uint64[::1], types.int64[::1], types.uint8[::1], types.int64[::1]),
    cache=True, nogil=True,
)  # fmt: skip
def _words(
    raw_data: np.ndarray,
    raw_offsets: np.ndarray,
    normal_data: np.ndarray,
    normal_offsets: np.ndarray,
    normal_row: np.ndarray,
    classes: np.ndarray,
    hashes: np.ndarray,
    ends: np.ndarray,
    spelled: np.ndarray,
    offsets: np.ndarray,
) -> None:
    """Fill the fields of `Words`."""
    found, n_bytes = 0, 0
    for record in range(len(raw_offsets) - 1):
        data, i, end = raw_data, raw_offsets[record], raw_offsets[record + 1]
        row = normal_row[record]
        if row >= 0:
            data, i, end = normal_data, normal_offsets[row], normal_offsets[row + 1]
        word_end = np.int64(-1)
        while True:
            start, i, word_end, word = next_word(data, i, end, end, word_end, classes)
            if start >= end:
                break
            k = start
            while k < i:
                b = data[k]
                kind, width = WORD, 1
                if b >= 0x80:
                    kind, width = code_point_class(data, k, classes)
                elif 0x41 <= b <= 0x5A:
                    b |= 0x20
                if kind & 7 != IGNORED:
                    spelled[n_bytes] = b
                    n_bytes += 1
                    for place in range(k + 1, k + width):
                        spelled[n_bytes] = data[place]
                        n_bytes += 1
                k += width
            hashes[found], ends[found] = word, n_bytes
            found += 1
        offsets[record + 1] = found
