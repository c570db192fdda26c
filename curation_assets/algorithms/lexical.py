"""Lexical vectors: what words and spellings a text has, as latent semantic analysis sees them.

A sentence embedding says what a text is about and is nearly blind to how it says it; what people label is often the
second. Word and character n-grams are weighted by TF-IDF and projected on the directions in which a corpus varies most
(Deerwester et al. 1990, *Indexing by Latent Semantic Analysis*; logarithmic TF and smoothed IDF as in scikit-learn).
On the clickbait titles of `benchmarks/expert_loop.py` 300 labels give kappa .875 with them beside the embedding; without them .817.

N-grams are kept as 64-bit hashes, so a basis holds no text. The kernel reads Arrow buffers, without a Python object per
token. Works in any script: Korean, whose words carry particles, and Chinese, which has no spaces, live on the character
n-grams.
"""

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types
from scipy.sparse import csr_matrix, vstack
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from curation_assets.algorithms.tokens import decode

METHOD_VERSION = 1
"""To be raised with anything that gives a text another vector or other n-grams: a basis of another version is fitted anew."""

DIMENSIONS = 200
READ_CHARS = 2_000
"""Of a text: its beginning says what class it is of, and a long text costs no more than this. Ours."""

LONGEST_WORDS, LONGEST_CHARS = 2, 4  # n-grams of up to so many words and characters
LEAST_WITH_WORDS, LEAST_WITH_CHARS = 3, 5  # texts an n-gram of words, of characters must stand in
FEW_TEXTS = 50  # of fewer texts every n-gram counts
MOST_NGRAMS = 65_536  # the most frequent ones: bounds the basis to 52 MB
FIT_TEXTS, FIT_CHARS = 20_000, 8_000_000
"""A basis is fitted on at most so many texts, and characters of them, which takes some 800 MB."""

CHARS_AT_ONCE = 500_000
POWER_ITERATIONS = 3  # of the randomized SVD (Halko et al. 2011)

_SPACE, _WORD, _MARK = np.uint8(0), np.uint8(1), np.uint8(2)
_IS_WORD = np.uint64(1 << 63)
_OFFSET, _PRIME, _MIX = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)


class Basis(NamedTuple):
    """What texts are projected on."""

    ngrams: np.ndarray
    """uint64[v], ascending: hashes of n-grams; those of words have the highest bit."""
    idf: np.ndarray
    """float32[v]: ln((1 + texts) / (1 + texts with it)) + 1."""
    directions: np.ndarray
    """float32[v, d]: orthonormal columns, by falling variance."""


def fit(texts: pl.Series | pa.Array | pa.ChunkedArray, *, dimensions: int = DIMENSIONS, seed: int = 0) -> Basis:
    """Fit a basis on texts, of which those at the head are read that `FIT_TEXTS` and `FIT_CHARS` allow: give them in random order.

    ``dimensions``: directions wanted; fewer come where texts or n-grams are fewer. The same texts in the same order give
    the same basis on any number of cores; another kind of processor rounds sums otherwise, by some 1e-6 of a cosine. Raises
    ValueError where there are not two n-grams.
    """
    read = _read(texts).head(FIT_TEXTS)
    read = read.filter((read.str.len_chars().cum_sum() <= FIT_CHARS) | (pl.Series(range(len(read))) == 0))
    parts = list(_counted(read))
    hashes = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.uint64)
    found, texts_with = np.unique(hashes, return_counts=True)
    least = np.where(found >= _IS_WORD, LEAST_WITH_WORDS, LEAST_WITH_CHARS) if len(read) >= FEW_TEXTS else 1
    kept = np.flatnonzero(texts_with >= least)
    if len(kept) > MOST_NGRAMS:
        kept = np.sort(kept[np.argsort(-texts_with[kept], kind="stable")[:MOST_NGRAMS]])
    if len(kept) < 2:
        raise ValueError(
            f"No n-gram stands in enough of these {len(read):,} texts to fit lexical vectors; give more texts."
        )
    idf = np.log((1 + len(read)) / (1 + texts_with[kept])) + 1
    basis = Basis(found[kept], idf.astype(np.float32), np.empty((len(kept), 0), np.float32))
    weights = vstack([_weighted(basis, *part) for part in parts]).tocsr()
    size = min(dimensions, len(kept) - 1, len(read))
    with threadpool_limits(1, user_api="blas"):  # the same sums on any number of cores
        _, _, rows = randomized_svd(weights, size, n_iter=POWER_ITERATIONS, random_state=seed)
    return basis._replace(directions=np.ascontiguousarray(rows.T, dtype=np.float32))


def vectors(basis: Basis, texts: pl.Series | pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Project texts on a basis: float32[n, d], unit rows. A text without a known n-gram lies on the first direction."""
    projected = [
        np.asarray(_weighted(basis, *part) @ basis.directions, dtype=np.float32) for part in _counted(_read(texts))
    ]
    found = np.vstack(projected) if projected else np.empty((0, basis.directions.shape[1]), np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    found[lengths[:, 0] < 1e-6, 0] = 1
    return found / np.where(lengths < 1e-6, 1, lengths)


def beside(embeddings: np.ndarray, lexical: np.ndarray) -> np.ndarray:
    """Embeddings and lexical vectors as one: float32[n, d + e], unit rows, whose cosine is the mean of both cosines.

    Equal shares: of .5, 1 and 2 times the embedding's length for the lexical half 1 did best on English titles (two draws);
    on Korean comments, which the English embedding hardly knows, 2 did, and on English posts none (one draw each).
    """
    return np.hstack([embeddings, lexical]).astype(np.float32) / np.float32(np.sqrt(2))


def _read(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.Series:
    series = texts if isinstance(texts, pl.Series) else pl.Series(texts)
    return series.cast(pl.String).str.head(READ_CHARS).str.to_lowercase()


def _counted(texts: pl.Series) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For some texts at a time: the n-grams of each, ascending, how often each occurs, and where a text's begin and end."""
    places = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy()  # unsigned 32-bit sums wrap at 4 GB
    first = 0
    while first < len(texts):
        before = places[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(places, before + CHARS_AT_ONCE, side="right")))
        data = pa.concat_arrays([texts[first:last].to_arrow().cast(pa.large_string())])
        offsets = np.frombuffer(data.buffers()[1], np.int64)[data.offset : data.offset + len(data) + 1]
        yield _ngrams(np.frombuffer(data.buffers()[2] or b"", np.uint8), offsets, _kinds())
        first = last


def _weighted(basis: Basis, hashes: np.ndarray, counts: np.ndarray, offsets: np.ndarray) -> csr_matrix:
    """TF-IDF of texts, float32 csr[n, v]: words and characters of a text have length 1 each."""
    columns = np.searchsorted(basis.ngrams, hashes)
    columns[columns == len(basis.ngrams)] = 0
    known = basis.ngrams[columns] == hashes
    starts = np.concatenate([[0], np.cumsum(known)])[offsets]
    columns, counts = columns[known], counts[known]
    weights = (1 + np.log(counts)) * basis.idf[columns]
    text_and_kind = 2 * np.repeat(np.arange(len(offsets) - 1), np.diff(starts)) + (basis.ngrams[columns] >= _IS_WORD)
    squares = np.bincount(text_and_kind, weights**2, minlength=2 * (len(offsets) - 1))
    weights = (weights / np.sqrt(squares[text_and_kind])).astype(np.float32)
    return csr_matrix((weights, columns, starts), shape=(len(offsets) - 1, len(basis.ngrams)))


@cache
def _kinds() -> np.ndarray:
    """uint8[0x110000]: whether a code point is white space, part of a word (letter, mark above one, number) or stands alone."""
    kinds = np.full(sys.maxunicode + 1, _MARK, np.uint8)
    for point in range(0x32000):  # no letters above but private and unassigned ones
        character = chr(point)
        if character.isspace():
            kinds[point] = _SPACE
        elif unicodedata.category(character)[0] in "LNM" or character == "_":
            kinds[point] = _WORD
    kinds.flags.writeable = False
    return kinds


@njit(inline="always")
def _stirred(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _SHIFT)) * _MIX
    return h ^ (h >> _SHIFT)


@njit(
    types.Tuple((types.uint64[::1], types.int64[::1], types.int64[::1]))(_BYTES, _PLACES, _BYTES),
    nogil=True,
    cache=True,
)
def _ngrams(data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    texts = len(offsets) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    points = np.empty(longest + 1, np.uint32)
    # A span of n characters has 4 n n-grams of characters, blanks counted, and at most 2 n of words.
    hashes = np.empty((LONGEST_WORDS + LONGEST_CHARS) * len(data), np.uint64)
    counts = np.empty(len(hashes), np.int64)
    ends = np.zeros(texts + 1, np.int64)
    done = 0
    for text in range(texts):
        size = decode(data, offsets[text], offsets[text + 1], points)
        begun = done
        i = 0
        last_word = np.uint64(0)
        while i < size:  # words and single marks, and pairs of them
            kind = kinds[points[i]]
            if kind == _SPACE:
                i += 1
                continue
            h = _OFFSET
            while True:
                h = (h ^ np.uint64(points[i])) * _PRIME
                i += 1
                if kind == _MARK or i == size or kinds[points[i]] != _WORD:
                    break
            word = _stirred(h)
            hashes[done] = word | _IS_WORD
            done += 1
            if last_word:
                hashes[done] = _stirred(last_word * _PRIME ^ word) | _IS_WORD
                done += 1
            last_word = word
        i = 0
        while i < size:  # characters of each span between white space, with a blank at either end
            if kinds[points[i]] == _SPACE:
                i += 1
                continue
            end = i
            while end < size and kinds[points[end]] != _SPACE:
                end += 1
            for start in range(i - 1, end + 1):
                h = _OFFSET
                for at in range(start, min(start + LONGEST_CHARS, end + 1)):
                    h = (h ^ np.uint64(points[at] if i <= at < end else 32)) * _PRIME
                    if at > start or i <= at < end:  # a blank alone says nothing
                        hashes[done] = _stirred(h) & ~_IS_WORD
                        done += 1
            i = end
        hashes[begun:done].sort()
        kept = begun
        for at in range(begun, done):
            if at > begun and hashes[at] == hashes[kept - 1]:
                counts[kept - 1] += 1
            else:
                hashes[kept] = hashes[at]
                counts[kept] = 1
                kept += 1
        done = kept
        ends[text + 1] = done
    return hashes[:done].copy(), counts[:done].copy(), ends
