"""Rare words and phrases that some texts share with others: which record holds the odd words of a text.

Word n-grams (`words.py`) of one to four words, weighted by how rare they are in the corpus, as in BM25's idf (Robertson & Zaragoza
2009, section 3.1). Akyürek et al. 2022 (arXiv 2205.11482) find such term matching at least as good as gradients at naming the
training texts that taught a language model a fact. Streams over the corpus; what is held is one number a shared rare n-gram.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from curation_assets.algorithms.words import Words, words

ORDERS = (1, 2, 3, 4)
"""Lengths of the n-grams, in words. Ours: names and coined words are found by one, turns of phrase by four."""

RARE_SHARE, RARE_RECORDS = 0.01, 3
"""An n-gram counts if at most this share of the records, or so many of them, hold it. Ours: what many share blames none."""

_LONGER = np.uint64(0x9E3779B97F4A7C15)


class SharedPhrases(NamedTuple):
    """The pairs of a text and a record that share rare n-grams."""

    text: np.ndarray
    """int64[pairs]: position of the text."""
    record: np.ndarray
    """int64[pairs]: position of the record."""
    share: np.ndarray
    """float64[pairs]: of all the information in the text's n-grams, the share in rare ones that the record holds too, 0 to 1."""


def shared_phrases(texts: pa.Array, records: pa.Array | pa.ChunkedArray) -> SharedPhrases:
    """Every pair of a text and a record that share a rare n-gram, with how much they share; ordered by text and record.

    An n-gram held by d of n records weighs ln((n + 1) / (d + 1)); one that none holds counts in the text's total, so a text
    of words the corpus does not know shares little with anything.

    >>> found = shared_phrases(pa.array(["purple otters hum"]), pa.array(["the otters hum", "a cat sat", "the dog", "the end"]))
    >>> found.record.tolist(), found.share.round(2).tolist()
    ([0], [0.36])
    """
    text_of, gram_of = _grams_of(texts)
    grams, gram_number = np.unique(gram_of, return_inverse=True)
    pairs = _once(np.stack([text_of, gram_number]), len(grams))  # each n-gram of a text once
    most = max(RARE_RECORDS, int(RARE_SHARE * len(records)))
    held, held_by, frequency = _holders(grams, records, most)
    weight = np.log((len(records) + 1) / (frequency + 1))
    total = np.bincount(pairs[0], weight[pairs[1]], minlength=len(texts))
    uses = pl.DataFrame({"text": pairs[0], "gram": pairs[1]})
    holders = pl.DataFrame({"gram": held, "record": held_by})
    found = uses.join(holders, on="gram")
    shared = (
        found.with_columns(pl.Series("weight", weight[found["gram"].to_numpy()]))
        .group_by("text", "record")
        .agg(pl.col("weight").sum())
        .sort("text", "record")
    )
    text = shared["text"].to_numpy()
    return SharedPhrases(
        text, shared["record"].to_numpy(), shared["weight"].to_numpy() / np.maximum(total[text], 1e-12)
    )


def _holders(
    grams: np.ndarray, records: pa.Array | pa.ChunkedArray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which records hold which of the n-grams uint64[grams], sorted: (gram, record) pairs of the rare ones, and all frequencies."""
    frequency = np.zeros(len(grams), dtype=np.int64)
    kept: list[np.ndarray] = []
    first = 0
    for part in words(records):
        of_part = [_found(grams, *_of_order(part, order)) for order in ORDERS]
        pairs = _once(np.concatenate(of_part, axis=1), len(part.offsets))
        pairs[1] += first
        first += len(part.offsets) - 1
        frequency += np.bincount(pairs[0], minlength=len(grams))
        kept = [one[:, frequency[one[0]] <= most] for one in (*kept, pairs)]
    found = np.concatenate(kept, axis=1) if kept else np.empty((2, 0), np.int64)
    return found[0], found[1], frequency


def _once(pairs: np.ndarray, seconds: int) -> np.ndarray:
    """The different pairs among int64[2, …], ordered; the second of each is below `seconds`."""
    keys = np.unique(pairs[0] * seconds + pairs[1])
    return np.stack([keys // seconds, keys % seconds])


def _found(grams: np.ndarray, record: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """int64[2, hits]: (number of the n-gram, record) for every hash that is among the n-grams."""
    if not len(grams):
        return np.empty((2, 0), np.int64)
    place = np.minimum(np.searchsorted(grams, hashes), len(grams) - 1)
    hit = grams[place] == hashes
    return np.stack([place[hit], record[hit]])


def _grams_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All n-grams of some texts: (position of the text, hash)."""
    text_of, gram_of, first = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 0
    for part in words(texts):
        for order in ORDERS:
            text, hashes = _of_order(part, order)
            text_of.append(text + first)
            gram_of.append(hashes)
        first += len(part.offsets) - 1
    return np.concatenate(text_of), np.concatenate(gram_of)


def _of_order(part: Words, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of a slab's texts: position of the text in the slab, and a hash that depends on the order of the words."""
    count = max(0, len(part.hashes) - order + 1)
    text = np.repeat(np.arange(len(part.offsets) - 1), np.diff(part.offsets))
    hashes = np.full(count, np.uint64(order))
    for step in range(order):
        hashes = (hashes * _LONGER) ^ part.hashes[step : step + count]
        hashes ^= hashes >> np.uint64(29)
    whole = text[:count] == text[order - 1 : order - 1 + count]
    return text[:count][whole], hashes[whole]


def common_runs(text: str, record: str, most: int = 3) -> list[str]:
    """The longest runs of words that two texts share, longest first, as they read once normalised: what a person is shown.

    >>> common_runs("He said that purple otters hum at night.", "Purple otters hum, he said.")
    ['purple otters hum', 'he said']
    """
    ours, theirs = (_spelled(one) for one in (text, record))
    runs: list[tuple[int, int]] = []  # (length, end in ours)
    places: dict[str, list[int]] = {}
    for at, word in enumerate(theirs):
        places.setdefault(word, []).append(at)
    before: dict[int, int] = {}
    for at, word in enumerate(ours):
        ends = {place: before.get(place - 1, 0) + 1 for place in places.get(word, [])}
        runs.extend((length, at + 1) for length in ends.values())
        before = ends
    chosen: list[tuple[int, int]] = []
    for length, end in sorted(set(runs), key=lambda run: (-run[0], run[1])):
        if all(end <= other_end - other or end - length >= other_end for other, other_end in chosen):
            chosen.append((length, end))
        if len(chosen) == most:
            break
    return list(dict.fromkeys(" ".join(ours[end - length : end]) for length, end in chosen))


def _spelled(text: str) -> list[str]:
    (part,) = words(pa.array([text or " "]))
    starts = np.concatenate([[0], part.ends[:-1]]) if len(part.ends) else []
    return [bytes(part.data[start:end]).decode() for start, end in zip(starts, part.ends, strict=True)]
