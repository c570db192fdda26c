"""Perplexity: how surprising a text is to a word n-gram model of other texts, one more signal of quality.

The idea is CCNet's (Wenzek et al. 2020, arXiv 1911.00359, section 3.3): a text that a model of good text finds
unsurprising reads like it. Low is not good by itself: boilerplate and repetition are unsurprising too, verse and names
are not. Here: fitting on texts the user names, or on the corpus itself in two halves so that no text is read by a
model that saw it, and scoring. What a word is stands in `words.py`: in Korean, Chinese and Thai a character, so that
there the model is one of character n-grams.

The model is interpolated Kneser-Ney with one discount per order (Kneser & Ney 1995; Chen & Goodman 1999, section 2.7):

    p(w | h) = max(c(hw) - D, 0) / c(h·) + D · N1+(h·) / c(h·) · p(w | h less its first word)

where c counts occurrences at the highest order and distinct words before it below, N1+(h·) is the number of distinct
words after h, and D = n1 / (n1 + 2 n2) per order. Below the unigrams stands a model of spelling, p(w) as the product of
its bytes' probabilities given the two bytes before (Witten & Bell 1991 smoothing, fitted on the distinct words), so a
word never seen has a probability too and all words together exactly 1. Chen & Goodman end in a uniform vocabulary;
the spelling model is ours, after Brown et al. 1992 ("An estimate of an upper bound for the entropy of English").
Counts are kept under 64-bit hashes; two n-grams share one with a probability around 1e-5 for ten million of them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.sampling import uniforms
from curation_assets.algorithms.words import Words, mixed, words

ORDER = 3
MOST_BYTES = 32_000_000
"""Text a model is fitted on; its counts take 2 to 8 times as much memory. What is above is sampled by record hash."""

END = 256  # the symbol behind a word's last byte, and before its first
BEFORE = 32  # of the last byte but one the model of spelling knows the low five bits: all of a letter, in 8 MB
LEAST_DISCOUNT, MOST_DISCOUNT = 0.1, 0.95  # ours: where so few n-grams occur once or twice that the estimate is 0 or 1
LARGEST_LOG2 = 1_000.0  # a perplexity above 2^1000 is given as that, to stay a finite float
SAMPLED = 16

_START = np.uint64(0x6A09E667F3BCC909)  # stands before the first word
_ROOT = np.uint64(0x243F6A8885A308D3)  # the key of the empty n-gram
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)

# The columns of a cell of the table of counts; a cell with mark 0 is free.
MARK, COUNT, FOLLOWERS_TOTAL, FOLLOWERS = range(4)

_CELLS = types.uint32[:, ::1]
_HASHES = types.uint64[::1]
_PLACES = types.int64[::1]


class NgramModel(NamedTuple):
    """A fitted model. The same texts in any order give the same probabilities."""

    order: int
    """The longest run of words that is counted."""
    cells: np.ndarray
    """uint32[capacity, 4]: open addressing; mark, count, and the total and number of the words that follow."""
    discounts: np.ndarray
    """float64[order + 1]: the discount of each order, from 1."""
    spelling: np.ndarray
    """float32[257 × BEFORE, 257]: log probability of a byte, or of the word's end, after the two bytes before."""
    words: int
    """Words it was fitted on."""
    n_bytes: int
    """Their UTF-8 bytes."""


class Perplexity(NamedTuple):
    """How surprising n texts are: compare texts of one language by `perplexity`, across languages by `bits_per_byte`."""

    bits: np.ndarray
    """float64[n]: -log2 of the probability of the text's words, one after the other."""
    words: np.ndarray
    """int64[n]: the number of words; in scripts without spaces a character is one."""
    n_bytes: np.ndarray
    """int64[n]: the UTF-8 bytes of the words, what separates them left out."""

    @property
    def perplexity(self) -> np.ndarray:
        """float64[n]: 2^(bits / word), at most 2^1000; NaN for a text without a word."""
        with np.errstate(invalid="ignore"):
            return np.exp2(np.minimum(self.bits / self.words, LARGEST_LOG2))

    @property
    def bits_per_byte(self) -> np.ndarray:
        """float64[n]: bits per byte of the words, not misled by words of a thousand letters; NaN without a word."""
        with np.errstate(invalid="ignore"):
            return self.bits / self.n_bytes


def fit(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array], *, order: int = ORDER) -> NgramModel:
    """Fit a model on texts (Arrow strings, also in chunks from an iterator), in any order.

    Beside the text its words are held (3 bytes a byte of English) and the counts (2 to 8): give about `MOST_BYTES` at
    most; `cross_fit_parts` says which of many records to give.

    >>> model = fit(pa.array(["the cat sat on the mat", "the cat sat on the hat"]))
    >>> score(model, pa.array(["the cat sat on the rug", "rug the on sat cat the"])).bits_per_byte.round(1)
    array([2.2, 3.2])

    Raises:
        ValueError: there is no word in the texts, one is null or not valid UTF-8, or `order` is not 1 to 8.
        TypeError: the texts are not strings.

    """
    if not 1 <= order <= 8:
        raise ValueError(f"An n-gram model needs an order from 1 to 8, got {order}.")
    parts = list(words(texts))
    total = sum(len(part.hashes) for part in parts)
    if not total:
        raise ValueError("An n-gram model needs texts with words in them to be fitted on; there is not one word.")
    capacity = _capacity(parts, order)
    cells = np.zeros((capacity, 4), np.uint32)
    frequencies = np.zeros((order + 1, 3), np.int64)
    singles = np.zeros((END + 1, END + 1), np.uint32)
    pairs = np.zeros(((END + 1) * BEFORE, END + 1), np.uint32)
    for part in parts:
        _count(part.hashes, part.offsets, part.ends, part.data, cells, frequencies, singles, pairs, order)
    once, twice = frequencies[:, 1], frequencies[:, 2]
    discounts = np.clip(once / np.maximum(once + 2 * twice, 1), LEAST_DISCOUNT, MOST_DISCOUNT)
    n_bytes = sum(len(part.data) for part in parts)
    return NgramModel(order, cells, discounts, _spelling(singles, pairs), total, n_bytes)


def score(model: NgramModel, texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array]) -> Perplexity:
    """How surprising each text is to the model, in order; see `Perplexity`. Raises for texts as `fit` does."""
    found = [_score_part(model, part) for part in words(texts)]
    empty = [Perplexity(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))]
    return Perplexity(*(np.concatenate(column) for column in zip(*(found or empty), strict=True)))


def cross_fit_parts(
    record_hashes: np.ndarray, n_bytes: np.ndarray, *, most_bytes: int = MOST_BYTES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Split a corpus for cross-fitting: (half, is_fitted_on), uint8[n] and bool[n].

    Fit a model on the records of half 0 that `is_fitted_on` and score half 1 with it, and the other way round. Both
    come from a record's own hash (uint64[n]) and the seed, so neither depends on the order; about `most_bytes` of
    text of each half are fitted on. Records with equal hashes fall into the same half; near-duplicates may not, and
    then know each other: remove them first.
    """
    sizes = np.asarray(n_bytes, np.float64)
    half = (uniforms(record_hashes, seed) < 0.5).astype(np.uint8)
    largest = max(np.bincount(half, sizes, minlength=2).max(initial=0), 1)
    return half, uniforms(record_hashes, seed + 1) < most_bytes / largest


def cross_fitted(
    texts: pa.Array | pa.ChunkedArray,
    record_hashes: np.ndarray,
    *,
    order: int = ORDER,
    most_bytes: int = MOST_BYTES,
    seed: int = 0,
) -> Perplexity:
    """How surprising each text is to a model of the other half of the corpus; see `cross_fit_parts`.

    Raises ValueError, besides what `fit` raises, where one of the halves has no words: the corpus is too small.
    """
    import pyarrow.compute as pc

    half, is_fitted_on = cross_fit_parts(
        record_hashes, pc.binary_length(texts).to_numpy(zero_copy_only=False), most_bytes=most_bytes, seed=seed
    )
    bits, counts, n_bytes = np.empty(len(half)), np.empty(len(half), np.int64), np.empty(len(half), np.int64)
    for side in (0, 1):
        is_read = half != side
        if not is_read.any():
            continue
        model = fit(texts.filter(pa.array((half == side) & is_fitted_on)), order=order)
        bits[is_read], counts[is_read], n_bytes[is_read] = score(model, texts.filter(pa.array(is_read)))
    return Perplexity(bits, counts, n_bytes)


def _capacity(parts: list[Words], order: int) -> int:
    """Cells for all distinct n-grams and contexts at a load of at most .8, a power of two.

    Their number is estimated from one key in `SAMPLED`, with four standard deviations on top: counting them all takes
    as long as fitting.
    """
    bound = 0.0
    for n in range(1, order + 1):
        sampled = [_sampled_keys(part.hashes, part.offsets, n) for part in parts]
        distinct = len(np.unique(np.concatenate(sampled)))
        bound += SAMPLED * (distinct + 4 * np.sqrt(distinct) + 8)
    return 1 << int(np.ceil(np.log2(bound / 0.8)))


def _score_part(model: NgramModel, part: Words) -> Perplexity:
    n = len(part.offsets) - 1
    bits = np.empty(n)
    _score(*part, model.cells, model.discounts, model.spelling, bits)
    bounds = np.concatenate([[0], part.ends])[part.offsets]
    return Perplexity(bits, np.diff(part.offsets), np.diff(bounds))


@njit(inline="always")
def _longer(key: np.uint64, word: np.uint64) -> np.uint64:
    """The key of the n-gram that is `key`'s and then the word."""
    return mixed((key + _STEP) * _SPREAD ^ word)


@njit(inline="always")
def _find(cells: np.ndarray, key: np.uint64) -> tuple[int, np.uint32]:
    """The cell with `key`'s mark or, if that cell's mark is 0, the free one where it belongs; and the mark."""
    mask = len(cells) - 1
    mark = np.uint32(max(key >> _HALF, np.uint64(1)))
    slot = np.int64(key & np.uint64(mask))
    while cells[slot, MARK] != 0 and cells[slot, MARK] != mark:
        slot = (slot + 1) & mask
    return slot, mark


@njit(_HASHES(_HASHES, _PLACES, types.int64), cache=True, nogil=True)
def _sampled_keys(hashes: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
    """The keys of all runs of n words, those that reach over a text's start included, of which one in `SAMPLED` is kept."""
    keys = np.empty(len(hashes), np.uint64)
    found = 0
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            key = _ROOT
            for k in range(at - n + 1, at + 1):
                key = _longer(key, hashes[k] if k >= offsets[text] else _START)
            keys[found] = key
            found += (key >> _HALF) % SAMPLED == 0
    return keys[:found].copy()


@njit(types.float32[:, ::1](types.uint32[:, ::1], types.uint32[:, ::1]), cache=True, nogil=True)
def _spelling(singles: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Log probabilities float32[257 × BEFORE, 257] from the counts after one byte and after two.

    p2 = (c2 + T2 · p1) / (n2 + T2) with T2 the number of distinct symbols seen there, at least 1 (Witten & Bell 1991,
    method C); p1 likewise over a uniform one.
    """
    spelling = np.empty((len(pairs), END + 1), np.float32)
    lower = np.empty(END + 1)
    for last in range(END + 1):
        total, kinds = singles[last].sum(), max(np.count_nonzero(singles[last]), 1)
        for symbol in range(END + 1):
            lower[symbol] = (singles[last, symbol] + kinds / (END + 1)) / (total + kinds)
        for row in range(last * BEFORE, (last + 1) * BEFORE):
            total, kinds = pairs[row].sum(), max(np.count_nonzero(pairs[row]), 1)
            for symbol in range(END + 1):
                spelling[row, symbol] = np.log((pairs[row, symbol] + kinds * lower[symbol]) / (total + kinds))
    return spelling


@njit(inline="always")
def _count_spelling(data: np.ndarray, start: int, end: int, singles: np.ndarray, pairs: np.ndarray) -> None:
    before, last = END, END
    for k in range(start, end + 1):
        symbol = np.int64(data[k]) if k < end else END
        singles[last, symbol] += np.uint32(1)
        pairs[last * BEFORE + before % BEFORE, symbol] += np.uint32(1)
        before, last = last, symbol


@njit(
    types.void(_HASHES, _PLACES, _PLACES, types.uint8[::1], _CELLS, types.int64[:, ::1],
               types.uint32[:, ::1], types.uint32[:, ::1], types.int64),
    cache=True, nogil=True,
)  # fmt: skip
def _count(
    hashes: np.ndarray,
    offsets: np.ndarray,
    ends: np.ndarray,
    data: np.ndarray,
    cells: np.ndarray,
    frequencies: np.ndarray,
    singles: np.ndarray,
    pairs: np.ndarray,
    order: int,
) -> None:
    """Add some texts to the counts; `frequencies[n, c]` becomes the number of n-grams counted c times, c = 1 or 2."""
    key_before, key = np.empty(order + 1, np.uint64), np.empty(order + 1, np.uint64)
    for text in range(len(offsets) - 1):
        key_before[0] = key[0] = _ROOT
        for n in range(1, order + 1):
            key_before[n] = _longer(key_before[n - 1], _START)
        for at in range(offsets[text], offsets[text + 1]):
            for n in range(1, order + 1):
                key[n] = _longer(key_before[n - 1], hashes[at])
            # Below the highest order an n-gram is counted once for each word it is seen behind: so only as long as
            # the longer one is new.
            n, is_new = order, True
            while is_new and n > 0:
                slot, mark = _find(cells, key[n])
                cells[slot, MARK] = mark
                count = cells[slot, COUNT] + np.uint32(1)
                cells[slot, COUNT] = count
                is_new = count == 1
                if count <= 2:
                    frequencies[n, count] += 1
                if 2 <= count <= 3:
                    frequencies[n, count - 1] -= 1
                slot, mark = _find(cells, key_before[n - 1])
                cells[slot, MARK] = mark
                cells[slot, FOLLOWERS_TOTAL] += np.uint32(1)
                cells[slot, FOLLOWERS] += np.uint32(is_new)
                n -= 1
            if is_new:
                _count_spelling(data, ends[at - 1] if at else 0, ends[at], singles, pairs)
            key_before, key = key, key_before


@njit(
    types.void(_HASHES, _PLACES, _PLACES, types.uint8[::1], _CELLS, types.float64[::1], types.float32[:, ::1],
               types.float64[::1]),
    cache=True, nogil=True,
)  # fmt: skip
def _score(
    hashes: np.ndarray,
    offsets: np.ndarray,
    ends: np.ndarray,
    data: np.ndarray,
    cells: np.ndarray,
    discounts: np.ndarray,
    spelling: np.ndarray,
    bits: np.ndarray,
) -> None:
    """Fill `bits` with each text's -log2 probability."""
    order = len(discounts) - 1
    key_before, key = np.empty(order + 1, np.uint64), np.empty(order + 1, np.uint64)
    # The cells of the n-grams that end at the word before, -1 where it was never seen.
    cell_before, cell = np.empty(order + 1, np.int64), np.empty(order + 1, np.int64)
    root = _find(cells, _ROOT)[0]
    for text in range(len(offsets) - 1):
        key_before[0] = key[0] = _ROOT
        cell_before[0] = cell[0] = root
        for n in range(1, order + 1):
            key_before[n] = _longer(key_before[n - 1], _START)
            cell_before[n] = _find(cells, key_before[n])[0]
        nats = 0.0
        for at in range(offsets[text], offsets[text + 1]):
            # log of a sum: the seen part so far, and the spelling's share, kept as a logarithm as it may underflow.
            seen, unseen = 0.0, 1.0
            is_known = True
            for n in range(1, order + 1):
                key[n] = _longer(key_before[n - 1], hashes[at])
                slot = np.int64(-1)
                count = 0.0
                if is_known:
                    slot = _find(cells, key[n])[0]
                    count = np.float64(cells[slot, COUNT])
                    is_known = cells[slot, MARK] != 0 and count > 0
                    if not is_known:
                        slot = np.int64(-1)
                cell[n] = slot
                context = cell_before[n - 1]
                if context >= 0 and cells[context, FOLLOWERS_TOTAL] > 0:
                    total = np.float64(cells[context, FOLLOWERS_TOTAL])
                    backed_off = discounts[n] * cells[context, FOLLOWERS] / total
                    seen = max(count - discounts[n], 0.0) / total + backed_off * seen
                    unseen *= backed_off
            spelled = 0.0
            before, last = END, END
            for k in range(ends[at - 1] if at else 0, ends[at] + 1):
                symbol = np.int64(data[k]) if k < ends[at] else END
                spelled += spelling[last * BEFORE + before % BEFORE, symbol]
                before, last = last, symbol
            nats -= np.log(seen + unseen * np.exp(spelled)) if seen > 0 else np.log(unseen) + spelled
            key_before, key = key, key_before
            cell_before, cell = cell, cell_before
        bits[text] = nats / np.log(2.0)
