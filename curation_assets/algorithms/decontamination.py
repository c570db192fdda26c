"""Which texts hold the items of a benchmark, and how much of each item.

A record that was copied from a benchmark shares most of the item's word n-grams; one that merely speaks of the same things, or
quotes what the item quotes, shares a few. So the measure is the share of an item's n-grams that the record holds, not one hit.
PaLM calls an item contaminated from 70 % of its 8-grams (Chowdhery et al. 2022, arXiv 2204.02311, section 8); DataTrove drops on a
single 12-gram, and audits of that rule find mostly public passages, code and option lists. N-grams that are common are exempt (see
`common_ngrams`).

Words are those of `words.py`, each number taken for 0, so that an item whose numbers were exchanged is still the same item.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.shingles import shingle
from curation_assets.algorithms.words import words

LEAST_NGRAMS = 3
"""A part with fewer n-grams that count is not looked for: one shared phrase would be all of it. Ours."""

LEAST_CHARACTERS = 12
"""Where words are single characters (Hangul, Han, kana, Thai), a part of fewer is not looked for: eight are three English words. Ours."""

_SINGLE_CHARACTERS = r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_NUMBER = r"\d+(?:[.,:]\d+)*"
_FILTER_BITS = 26  # a bit array of 8 MiB that passes over nearly every n-gram of a corpus before it is searched for


class Ngrams(NamedTuple):
    """The distinct n-grams of a benchmark's parts, ready to be looked for."""

    hashes: np.ndarray
    """uint64[u]: hash of each distinct n-gram, ascending."""
    offsets: np.ndarray
    """int64[u + 1]: n-gram i stands in the parts `parts[offsets[i]:offsets[i + 1]]`."""
    parts: np.ndarray
    """int64[…]: numbers of parts."""
    n_ngrams: np.ndarray
    """int64[p]: distinct n-grams of each part; 0 if it is too short to be looked for (no n-gram, or fewer than LEAST_CHARACTERS)."""
    n_words: np.ndarray
    """int64[p]: normalised words of each part."""
    same_as: np.ndarray
    """int64[p]: for each part the first one of the same words, such as a passage that several questions are about."""
    n: int
    """Words of an n-gram."""


def same_numbers(texts: pl.Series) -> pl.Series:
    """Write every number of the texts as 0.

    >>> same_numbers(pl.Series(["Ann had 1,250 eggs and sold 3.5 dozen."])).item()
    'Ann had 0 eggs and sold 0 dozen.'
    """
    return texts.str.replace_all(_NUMBER, "0")


def ngrams_of(parts: pl.Series, n: int) -> Ngrams:
    """Prepare the texts of a benchmark's parts (questions, answers; a null has no n-grams) to be looked for.

    >>> ngrams_of(pl.Series(["a b c d", "b c d", "c"]), 3).n_ngrams.tolist()
    [2, 1, 0]
    """
    found = shingle(same_numbers(parts.fill_null("")).to_arrow(), n)
    long_enough = found.n_words >= np.where(_of_single_characters(parts, found.n_words), max(n, LEAST_CHARACTERS), n)
    counts = np.where(long_enough, np.diff(found.offsets), 0)
    part_of = np.repeat(np.arange(len(parts)), np.diff(found.offsets))
    kept = long_enough[part_of]
    hashes, part_of = found.hashes[kept], part_of[kept]
    order = np.argsort(hashes, kind="stable")
    distinct, first = np.unique(hashes[order], return_index=True)
    return Ngrams(
        distinct,
        np.append(first, len(order)).astype(np.int64),
        part_of[order],
        counts.astype(np.int64),
        found.n_words,
        _first_of_words(found.word_hash),
        n,
    )


def can_be_found(parts: pl.Series, n: int) -> pl.Series:
    """Whether each part has words enough to be looked for by its n-grams, if none of them is common.

    >>> can_be_found(pl.Series(["How many eggs are in a dozen?", "달걀 한 판은 몇 개?", None]), 5).to_list()
    [True, False, False]
    """
    n_words = shingle(same_numbers(parts.fill_null("")).to_arrow(), n).n_words
    least = n + LEAST_NGRAMS - 1
    is_single = _of_single_characters(parts, n_words)
    return pl.Series("can_be_found", n_words >= np.where(is_single, max(least, LEAST_CHARACTERS), least))


def _of_single_characters(parts: pl.Series, n_words: np.ndarray) -> np.ndarray:
    """Whether most words of each part are single characters, as in `words.py`, bool[p]."""
    return 2 * parts.fill_null("").str.count_matches(_SINGLE_CHARACTERS).to_numpy() > n_words


def hits(texts: Iterable[pa.Array], ngrams: Ngrams) -> pl.DataFrame:
    """Look for the n-grams in texts, batch by batch; one row per text and distinct n-gram it holds.

    Columns: record (Int64, the text's number), ngram (Int64, the n-gram's).

    >>> texts = pa.array(["x a b c y", "b a", "A, b; c! d"])
    >>> hits([texts], ngrams_of(pl.Series(["a b c d"]), 3)).rows()
    [(0, 1), (2, 0), (2, 1)]
    """
    may_be = np.zeros(1 << _FILTER_BITS, bool)
    shift = np.uint64(64 - _FILTER_BITS)
    may_be[ngrams.hashes >> shift] = True
    found, seen = [], 0
    for batch in texts:
        shingles = shingle(same_numbers(pl.from_arrow(batch)).to_arrow(), ngrams.n)
        places = np.flatnonzero(may_be[shingles.hashes >> shift])
        at = np.searchsorted(ngrams.hashes, shingles.hashes[places])
        is_hit = np.zeros(len(places), bool)
        inside = at < len(ngrams.hashes)
        is_hit[inside] = ngrams.hashes[at[inside]] == shingles.hashes[places[inside]]
        record = np.searchsorted(shingles.offsets, places[is_hit], side="right") - 1
        found.append(pl.DataFrame({"record": record + seen, "ngram": at[is_hit]}))
        seen += len(batch)
    empty = pl.DataFrame(schema={"record": pl.Int64, "ngram": pl.Int64})
    return pl.concat([empty, *(frame.cast(pl.Int64) for frame in found)]).sort("record", "ngram")


def common_ngrams(
    found: pl.DataFrame, ngrams: Ngrams, *, min_coverage: float, max_records: int, max_parts: int
) -> np.ndarray:
    """Tell which n-grams are common, bool[u]: they say nothing of where a text comes from.

    An n-gram is common if more than `max_parts` different parts of the benchmark hold it (a template, an option list), or if it
    stands in more than `max_records` texts that hold less than `min_coverage` of every part it belongs to: passages that many quote.
    Texts that hold a part nearly whole do not count there, else an item that had leaked into many pages would be taken for a common
    phrase. Ours.
    """
    held_by = np.repeat(np.arange(len(ngrams.hashes)), np.diff(ngrams.offsets))
    different = np.unique(np.stack([held_by, ngrams.same_as[ngrams.parts]]), axis=1)[0]
    is_common = np.bincount(different, minlength=len(ngrams.hashes)) > max_parts
    found = found.filter(
        ~pl.Series(is_common)[found["ngram"]]
    )  # before they are joined with every part that holds them
    pairs = _pairs(found, ngrams)
    of_pair = pairs.group_by("record", "part").agg(shared=pl.len())
    n_ngrams = pl.DataFrame({"part": np.arange(len(ngrams.n_ngrams)), "of": ngrams.n_ngrams})
    weak = of_pair.join(n_ngrams, on="part").select(
        "record", "part", (pl.col("shared") < min_coverage * pl.col("of")).alias("is_weak")
    )
    in_weak = (
        pairs.join(weak, on=["record", "part"])
        .group_by("ngram", "record")
        .agg(pl.col("is_weak").all())
        .filter("is_weak")
        .group_by("ngram")
        .len()
        .filter(pl.col("len") > max_records)
    )
    is_common[in_weak["ngram"].to_numpy()] = True
    return is_common


def coverage(found: pl.DataFrame, ngrams: Ngrams, is_common: np.ndarray) -> pl.DataFrame:
    """One row per text and part that share an n-gram which is not common.

    Columns: record, part (Int64), shared (Int64, distinct n-grams of the part that the text holds), of (Int64, distinct n-grams of the
    part), coverage (Float64, shared / of, 0 to 1). Common n-grams count in neither, and parts with fewer than LEAST_NGRAMS others are
    left out.

    >>> ngrams = ngrams_of(pl.Series(["a b c d e"]), 3)
    >>> coverage(hits([pa.array(["a b c d x"])], ngrams), ngrams, np.zeros(3, bool)).rows()
    [(0, 0, 2, 3, 0.6666666666666666)]
    """
    counted = np.bincount(ngrams.parts[np.repeat(~is_common, np.diff(ngrams.offsets))], minlength=len(ngrams.n_ngrams))
    of = pl.DataFrame({"part": np.arange(len(counted)), "of": counted})
    return (
        _pairs(found.filter(~pl.Series(is_common)[found["ngram"]]), ngrams)
        .group_by("record", "part")
        .agg(shared=pl.len().cast(pl.Int64))
        .join(of.filter(pl.col("of") >= LEAST_NGRAMS), on="part")
        .with_columns(coverage=pl.col("shared") / pl.col("of"))
        .sort("record", "part")
    )


def longest_shared_run(text: str, part: str) -> str:
    """Return the longest run of words that a text and a part share, normalised, numbers as 0: the evidence in words.

    >>> longest_shared_run("He said: how many eggs did 12 hens lay?", "How many eggs did 7 hens lay in May?")
    'how many eggs did 0 hens lay'
    """
    of_text, of_part = (next(words(same_numbers(pl.Series([one], dtype=pl.String)).to_arrow())) for one in (text, part))
    start, length = _longest_run(of_text.hashes, of_part.hashes)
    bounds = np.append(0, of_text.ends)[start : start + length + 1]
    run = [of_text.data[begin:end].tobytes() for begin, end in itertools.pairwise(bounds)]
    return b" ".join(run).decode("utf-8", "replace")


def _first_of_words(word_hash: np.ndarray) -> np.ndarray:
    """Return int64[n]: per row of uint64[n, 2] the first row that is the same."""
    _, first, group = np.unique(word_hash, axis=0, return_index=True, return_inverse=True)
    return first[group.ravel()].astype(np.int64)


def _pairs(found: pl.DataFrame, ngrams: Ngrams) -> pl.DataFrame:
    """One row per text, n-gram it holds, and part that holds it: record, ngram, part."""
    ngram = found["ngram"].to_numpy()
    counts = ngrams.offsets[ngram + 1] - ngrams.offsets[ngram]
    ends = np.cumsum(counts)
    places = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts - ngrams.offsets[ngram], counts)
    return pl.DataFrame(
        {
            "record": np.repeat(found["record"].to_numpy(), counts),
            "ngram": np.repeat(ngram, counts),
            "part": ngrams.parts[places],
        },
        schema={"record": pl.Int64, "ngram": pl.Int64, "part": pl.Int64},
    )


@njit(types.UniTuple(types.int64, 2)(types.uint64[::1], types.uint64[::1]), cache=True, nogil=True)
def _longest_run(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Where in `a` the longest run that `b` holds too begins, and how long it is (the longest common substring)."""
    before = np.zeros(len(b) + 1, np.int64)
    best = start = np.int64(0)
    for i in range(len(a)):
        diagonal = np.int64(0)
        for j in range(len(b)):
            above = before[j + 1]
            before[j + 1] = diagonal + 1 if a[i] == b[j] else 0
            if before[j + 1] > best:
                best, start = before[j + 1], i + 1 - before[j + 1]
            diagonal = above
    return start, best
