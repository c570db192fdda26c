"""What the published rules measure on a text's tokens: counts, ratios and repetition, in one pass over Arrow buffers.

Here: the signals of Gopher's and FineWeb's rules that read tokens (`tokens.py`), with the definitions of DataTrove's
filters, and the sentences that C4's rules count. Lines and characters are counted in `surface_signals.py`;
`sql/40_filtered/signals.sql` says to whom each signal speaks. No Python object is made per token.
"""

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.repetition import COLUMNS as REPETITION
from curation_assets.algorithms.repetition import ngram_ratios
from curation_assets.algorithms.tokens import (
    LETTER,
    SPACE,
    SYMBOL,
    TERMINAL,
    code_point_flags,
    decode,
    hash_points,
    is_punctuation,
    special_tokens,
    tokenize,
)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's eight stop words (Rae et al. 2021, appendix A1.1)."""

COUNTS = ("tokens", "word_tokens", "stop_word_tokens", "sentences")
RATIOS = (
    "mean_word_token_chars",
    "hash_token_ratio",
    "ellipsis_token_ratio",
    "alpha_token_ratio",
    "newline_token_ratio",
)
WORD_REPETITION = ("top_2gram_char_ratio", "duplicate_5gram_char_ratio")
COLUMNS = (*COUNTS, *RATIOS, *REPETITION, *WORD_REPETITION)
"""The columns of `token_signals`, in order."""

_ALL, _2_AND_5 = (1 << 11) - 4, 1 << 2 | 1 << 5

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_FLAGS = types.Array(types.uint16, 1, "C", readonly=True)
_HASHES = types.Array(types.uint64, 1, "C", readonly=True)


def token_signals(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.DataFrame:
    """Return one row per text, in order: four Int64 counts, five Float64 ratios, fourteen of repetition: `COLUMNS`.

    `tokens`: words and punctuation marks. `word_tokens`: those with anything but punctuation. `stop_word_tokens`: how
    many of Gopher's eight stop words occur, in lower case. `sentences`: runs of tokens up to a sentence terminal and the
    punctuation behind it. `mean_word_token_chars`: over word_tokens. `hash_token_ratio`: '#' per token.
    `ellipsis_token_ratio`: '...' and '…' per token. `alpha_token_ratio`: share of tokens with a letter.
    `newline_token_ratio`: newlines per token. Repetition is explained in `repetition.py`;
    two are measured again on the words between spaces (`WORD_REPETITION`), as the embedded judge learned them.

    A ratio is null in a text without tokens; repetition is zero there.

    >>> token_signals(pl.Series(["Go, go on. Stay!"])).select("tokens", "word_tokens", "sentences").row(0)
    (7, 4, 2)

    Raises:
        TypeError: `texts` are not strings.
        ValueError: a text is null; the message names its row.

    """
    data, offsets = buffers(texts)
    stop_words = np.array([_hash(word) for word in STOP_WORDS], np.uint64)
    values = _token_signals(data, offsets, code_point_flags(), is_punctuation(), *special_tokens(), stop_words)
    frame = pl.DataFrame({name: values[:, column] for column, name in enumerate(COLUMNS)})
    return frame.with_columns(pl.col(COUNTS).cast(pl.Int64), pl.col(RATIOS).fill_nan(None))


def sentences(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.Series:
    """How many sentences each text has, Int64; as `token_signals` counts them, without the rest. Raises as it does."""
    data, offsets = buffers(texts)
    found = _sentences_of(data, offsets, code_point_flags(), is_punctuation(), *special_tokens())
    return pl.Series("sentences", found)


def buffers(texts: pl.Series | pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of texts, and the n + 1 places where they begin and end. Raises as `token_signals` does."""
    array = texts.to_arrow() if isinstance(texts, pl.Series) else texts
    kind = array.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise TypeError(f"token_signals measures texts, got an array of {kind}.")
    if array.null_count:
        row = array.is_null().to_pylist().index(True)
        raise ValueError(
            f"token_signals: the text in row {row} is null. Leave records without text out, or give them ''."
        )
    array = array.cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
    if not len(array):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(array.buffers()[2] or b"", np.uint8), offsets


def _hash(word: str) -> np.uint64:
    points = np.frombuffer(word.encode("utf-32-le"), np.uint32)
    return np.uint64(hash_points(points, 0, len(points)))


@njit(cache=True, nogil=True)
def _spans(text: np.ndarray, flags: np.ndarray, hashes: np.ndarray, chars: np.ndarray) -> int:
    """Fill the hash and the characters of each run without white space of a text; return how many."""
    n_spans = 0
    i = 0
    while i < len(text):
        if flags[text[i]] & SPACE:
            i += 1
            continue
        start = i
        while i < len(text) and not flags[text[i]] & SPACE:
            i += 1
        hashes[n_spans], chars[n_spans] = hash_points(text, start, i), i - start
        n_spans += 1
    return n_spans


@njit(cache=True, nogil=True)
def _count_sentences(
    points: np.ndarray, flags: np.ndarray, punctuation: np.ndarray, found: np.ndarray, n_tokens: int
) -> int:
    """Sentences among the tokens of one text: spaCy's sentencizer."""
    n_sentences = 1 if n_tokens else 0
    is_over = False
    for k in range(n_tokens):
        start, end = found[k, 0], found[k, 1]
        if end - start == 1 and flags[points[start]] & TERMINAL:
            is_over = True
        elif is_over:
            is_mark = True
            for i in range(start, end):
                is_mark = is_mark and punctuation[points[i]]
            if not is_mark:
                n_sentences += 1
                is_over = False
    return n_sentences


@njit(
    types.float64[:, ::1](
        _BYTES, _OFFSETS, _FLAGS, types.Array(types.boolean, 1, "C", readonly=True), _HASHES, _OFFSETS, _OFFSETS,
        _HASHES, _HASHES,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _token_signals(
    data: np.ndarray,
    offsets: np.ndarray,
    flags: np.ndarray,
    punctuation: np.ndarray,
    keys: np.ndarray,
    first: np.ndarray,
    lengths: np.ndarray,
    units: np.ndarray,
    stop_words: np.ndarray,
) -> np.ndarray:
    """All signals of all texts; float64[n, 23] in the order of `COLUMNS`."""
    n_texts = len(offsets) - 1
    values = np.zeros((n_texts, 23))
    most = np.int64(1)
    for i in range(n_texts):
        most = max(most, offsets[i + 1] - offsets[i] + 1)
    points = np.empty(most, np.uint32)
    found = np.empty((most, 2), np.int64)
    suffixes = np.empty(most, np.int64)
    token_hashes = np.empty(most, np.uint64)
    token_chars = np.empty(most, np.int64)
    of_words = np.zeros(12)
    capacity = np.int64(16)
    gram_keys = np.empty(capacity, np.uint64)
    gram_stamps = np.zeros(capacity, np.int64)
    gram_counts = np.empty(capacity, np.int64)
    stamp = 0
    for i in range(n_texts):
        n_points = decode(data, offsets[i], offsets[i + 1], points)
        text = points[:n_points]
        n_tokens = tokenize(text, flags, keys, first, lengths, units, found, suffixes)
        hashes = newlines = ellipses = dots = 0
        for k in range(n_points):
            point = text[k]
            hashes += point == 35
            newlines += point == 10
            if point == 46:
                dots += 1
                if dots == 3:
                    ellipses += 1
                    dots = 0
            else:
                dots = 0
                ellipses += point == 0x2026
        n_words = word_chars = n_alpha = 0
        stop_bits = 0
        for k in range(n_tokens):
            start, end = found[k, 0], found[k, 1]
            is_word = has_letter = False
            for j in range(start, end):
                flag = flags[text[j]]
                is_word = is_word or not flag & SYMBOL
                has_letter = has_letter or flag & LETTER != 0
            token_hash = hash_points(text, start, end)
            token_hashes[k], token_chars[k] = token_hash, end - start
            n_words += is_word
            n_alpha += has_letter
            if is_word:
                word_chars += end - start
            if end - start <= 4:
                for w in range(len(stop_words)):
                    if token_hash == stop_words[w]:
                        stop_bits |= 1 << w
        stops = 0
        while stop_bits:
            stops += stop_bits & 1
            stop_bits >>= 1
        row = values[i]
        row[0], row[1], row[2] = n_tokens, n_words, stops
        row[3] = _count_sentences(text, flags, punctuation, found, n_tokens)
        row[4] = word_chars / n_words if n_words else np.nan
        for at, count in ((5, hashes), (6, ellipses), (7, n_alpha), (8, newlines)):
            row[at] = count / n_tokens if n_tokens else np.nan
        if capacity < 2 * n_tokens:
            while capacity < 2 * n_tokens:
                capacity *= 2
            gram_keys = np.empty(capacity, np.uint64)
            gram_stamps = np.zeros(capacity, np.int64)
            gram_counts = np.empty(capacity, np.int64)
        stamp = ngram_ratios(
            token_hashes, token_chars, n_tokens, n_points, gram_keys, gram_stamps, gram_counts, stamp, _ALL, row[9:21]
        )
        n_spans = _spans(text, flags, token_hashes, token_chars)
        stamp = ngram_ratios(
            token_hashes, token_chars, n_spans, n_points, gram_keys, gram_stamps, gram_counts, stamp, _2_AND_5, of_words
        )
        row[21], row[22] = of_words[0], of_words[3]
    return values


@njit(
    types.int64[::1](
        _BYTES, _OFFSETS, _FLAGS, types.Array(types.boolean, 1, "C", readonly=True), _HASHES, _OFFSETS, _OFFSETS,
        _HASHES,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _sentences_of(
    data: np.ndarray,
    offsets: np.ndarray,
    flags: np.ndarray,
    punctuation: np.ndarray,
    keys: np.ndarray,
    first: np.ndarray,
    lengths: np.ndarray,
    units: np.ndarray,
) -> np.ndarray:
    """Sentences of each text, int64[n]."""
    n_texts = len(offsets) - 1
    counts = np.zeros(n_texts, np.int64)
    most = np.int64(1)
    for i in range(n_texts):
        most = max(most, offsets[i + 1] - offsets[i] + 1)
    points = np.empty(most, np.uint32)
    found = np.empty((most, 2), np.int64)
    suffixes = np.empty(most, np.int64)
    for i in range(n_texts):
        text = points[: decode(data, offsets[i], offsets[i + 1], points)]
        n_tokens = tokenize(text, flags, keys, first, lengths, units, found, suffixes)
        counts[i] = _count_sentences(text, flags, punctuation, found, n_tokens)
    return counts
