"""How a response stands to its request, told by words alone, and what a bad response to the request would look like.

Here: measures of one pair of texts, in any language, and synthetic bad responses made from a corpus's own pairs. What
is made of them is in `models/response_judge.py`. No Python object is made per word; what a word is stands in `words.py`.

The measures are those by which summaries are held against their source (Grusky et al. 2018, arXiv 1804.11283, section
4.1: coverage and density), here of a response against its request. Weighing words by their inverse document frequency
(Spärck Jones 1972) is ours, as are `covered` and `repeated`.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.sampling import uniforms
from curation_assets.algorithms.words import words

COLUMNS = ("supported", "covered", "copied", "repeated", "new_words")
"""The columns of `response_features`, in order."""

BUCKETS = 1 << 20
"""Words are counted under the top bits of their hashes: 4 MB whatever the corpus; two rare words in a bucket count as one."""

PLANTED = ("another's", "a neighbour's", "cut off", "repeated", "the request")
"""The kinds of bad responses that `planted_responses` makes, in order."""

NEIGHBOURS = 20
ROWS_AT_ONCE = 512  # × 10,000 cosines in float32: 20 MB

_HASHES = types.uint64[::1]
_PLACES = types.int64[::1]
_SHIFT = np.uint64(44)  # 64 - log2(BUCKETS)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def inverse_document_frequencies(requests: pl.Series, responses: pl.Series) -> np.ndarray:
    """Weigh words by log((n + 1) / (records with the word + 1)) over n pairs of texts: float64[BUCKETS]."""
    counts = np.zeros(BUCKETS, np.int64)
    _count_documents(*_words_of(requests), *_words_of(responses), counts)
    return np.log((len(requests) + 1) / (counts + 1))


def response_features(requests: pl.Series, responses: pl.Series, weights: np.ndarray) -> np.ndarray:
    """Measure each response against its request, in order: float64[n, 5], columns as in `COLUMNS`.

    `supported`: the weight (of `inverse_document_frequencies`) of the response's distinct words that stand in the request, over
    that of all of its distinct words. `covered`: the same weight over that of the request's words. `copied`: the share of the
    response's pairs of adjacent words that the request has too. `repeated`: the share of them that stood before in the response.
    `new_words`: the number of the response's distinct words that the request does not have. What has no words has zeros.

    >>> texts = pl.Series(["Name a red fruit."]), pl.Series(["A red fruit is the cherry, the cherry."])
    >>> response_features(*texts, np.ones(BUCKETS)).round(2).tolist()
    [[0.5, 0.75, 0.29, 0.14, 3.0]]
    """
    measured = np.zeros((len(requests), len(COLUMNS)))
    _measure(*_words_of(requests), *_words_of(responses), weights, measured)
    return measured


def planted_responses(
    requests: pl.Series, responses: pl.Series, vectors: np.ndarray, draw_hashes: np.ndarray, *, seed: int = 0
) -> Iterator[tuple[str, np.ndarray, pl.Series]]:
    """Yield, for each kind in `PLANTED`: its name, the rows of the requests, and a bad response to each.

    Bad is the response of another request, that of one of the `NEIGHBOURS` nearest (`vectors`: unit rows of whatever is
    near), the own response cut off after 20 to 80 % of its characters (at a word's end, where it has spaces) or said two to four
    times, and the request itself. A row whose bad response would be its own is left out. Every draw comes from the row's own
    hash (uint64[n]) and the seed; of fewer than two pairs nothing is made.
    """
    n = len(requests)
    if n < 2:
        return
    draws = [uniforms(draw_hashes, seed + at) for at in range(len(PLANTED))]
    in_turn = np.argsort(draws[0], kind="stable")
    other = np.empty(n, np.int64)
    other[in_turn] = np.roll(in_turn, 1)
    share, times = 0.2 + 0.6 * draws[2], 2 + (3 * draws[3]).astype(np.int64)
    length = (responses.str.len_chars().to_numpy() * share).astype(np.int64).clip(1)
    frame = pl.DataFrame({"response": responses, "length": length, "times": times})
    cut = pl.col("response").str.head(pl.col("length")).str.replace(r"\s+\S*$", "")
    made = (
        responses.gather(other),
        responses.gather(_near(vectors, draws[1])),
        frame.select(cut).to_series(),
        frame.select(pl.col("response").repeat_by("times").list.join("\n")).to_series(),
        requests,
    )
    own = responses.str.strip_chars()
    for kind, bad in zip(PLANTED, made, strict=True):
        bad = bad.rename(kind).str.strip_chars()
        rows = np.flatnonzero(((bad != own) & (bad.str.len_bytes() > 0)).to_numpy())
        yield kind, rows, bad.gather(rows)


def _near(vectors: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """For each row one of its nearest others, drawn: int64[n]."""
    n = len(vectors)
    k = min(NEIGHBOURS, n - 1)
    found = np.empty(n, np.int64)
    for start in range(0, n, ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, n))
        cosines = vectors[rows] @ vectors.T
        cosines[rows - start, rows] = -np.inf
        nearest = np.sort(np.argpartition(-cosines, k - 1, axis=1)[:, :k], axis=1)
        found[rows] = nearest[rows - start, (k * draw[rows]).astype(np.int64)]
    return found


def _words_of(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all texts' words, uint64[words], and where each text's begin, int64[n + 1]."""
    hashes, offsets = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)]
    for part in words(texts.to_arrow().cast(pa.large_string())):
        offsets.append(part.offsets[1:] + offsets[-1][-1])
        hashes.append(part.hashes)
    return np.concatenate(hashes), np.concatenate(offsets)


@njit(types.void(_HASHES, _PLACES, _HASHES, _PLACES, types.int64[::1]), cache=True, nogil=True)
def _count_documents(
    asked: np.ndarray, asked_at: np.ndarray, said: np.ndarray, said_at: np.ndarray, counts: np.ndarray
) -> None:
    for row in range(len(asked_at) - 1):
        both = np.concatenate((asked[asked_at[row] : asked_at[row + 1]], said[said_at[row] : said_at[row + 1]]))
        for word in np.unique(both):
            counts[word >> _SHIFT] += 1


@njit(types.boolean(_HASHES, types.uint64), cache=True, nogil=True)
def _has(ordered: np.ndarray, value: int) -> bool:
    at = np.searchsorted(ordered, value)
    return at < len(ordered) and ordered[at] == value


@njit(types.uint64[::1](_HASHES), cache=True, nogil=True)
def _pairs(hashes: np.ndarray) -> np.ndarray:
    pairs = np.empty(max(len(hashes) - 1, 0), np.uint64)
    for at in range(len(pairs)):
        pairs[at] = hashes[at] * _SPREAD ^ hashes[at + 1]
    return pairs


@njit(types.void(_HASHES, _PLACES, _HASHES, _PLACES, types.float64[::1], types.float64[:, ::1]), cache=True, nogil=True)
def _measure(
    asked: np.ndarray,
    asked_at: np.ndarray,
    said: np.ndarray,
    said_at: np.ndarray,
    weights: np.ndarray,
    measured: np.ndarray,
) -> None:
    for row in range(len(asked_at) - 1):
        request, response = asked[asked_at[row] : asked_at[row + 1]], said[said_at[row] : said_at[row + 1]]
        in_request, in_response = np.unique(request), np.unique(response)
        of_request = of_response = shared = 0.0
        new = 0
        for word in in_request:
            of_request += weights[word >> _SHIFT]
        for word in in_response:
            weight = weights[word >> _SHIFT]
            of_response += weight
            if _has(in_request, word):
                shared += weight
            else:
                new += 1
        pairs = _pairs(response)
        pairs_of_request = np.unique(_pairs(request))
        copied = 0
        for pair in pairs:
            copied += _has(pairs_of_request, pair)
        if of_response > 0:
            measured[row, 0] = shared / of_response
        if of_request > 0:
            measured[row, 1] = shared / of_request
        if len(pairs):
            measured[row, 2] = copied / len(pairs)
            measured[row, 3] = 1 - len(np.unique(pairs)) / len(pairs)
        measured[row, 4] = new
