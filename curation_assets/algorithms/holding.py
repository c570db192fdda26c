"""The candidates of the curated set, and what is held back of them before the draw.

Held back: clusters that a person drops or sends to review, semantic duplicates, outliers where they are to be dropped.
Every one gets a rule with its value and threshold. Rows are positions in the candidates.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from curation_assets.algorithms.semantic_duplicates import semantic_duplicates


class Candidates(NamedTuple):
    """What is known of n candidates, in the order of their ids: one array a measure."""

    quality: np.ndarray
    """float64[n] in [0, 1]."""
    density: np.ndarray
    """float64[n], at least 1."""
    tokens: np.ndarray
    """int64[n]."""
    chars: np.ndarray
    """int64[n], characters of the text."""
    hashes: np.ndarray
    """uint64[n], stable from run to run: the draw comes from them."""
    clusters: np.ndarray
    """int64[n], cluster ids."""
    distances: np.ndarray
    """float[n], to the cluster's centroid."""
    vectors: np.ndarray | None
    """float32[n, d], unit rows; None where no step needs them."""

    def take(self, rows: np.ndarray) -> "Candidates":
        """Some of the candidates; all of them without a copy."""
        if len(rows) == len(self.quality) and (rows == np.arange(len(rows))).all():
            return self
        return Candidates(*(None if column is None else column[rows] for column in self))


class Verdicts(NamedTuple):
    """One verdict per candidate, filled in place.

    ``rule`` (str[n], '' while there is none), ``value`` and ``threshold`` float64[n] (nan: none), ``match`` int64[n]
    (the row of the other record; -1: none).
    """

    rule: np.ndarray
    value: np.ndarray
    threshold: np.ndarray
    match: np.ndarray

    @property
    def pool(self) -> np.ndarray:
        """The rows without a verdict."""
        return np.flatnonzero(self.rule == "")

    def give(self, rows: np.ndarray, rule: str, value: object, threshold: object, match: object = -1) -> None:
        """Give some rows a verdict."""
        self.rule[rows], self.value[rows], self.threshold[rows], self.match[rows] = rule, value, threshold, match


def no_verdicts(n: int) -> Verdicts:
    """Verdicts before anything is decided."""
    return Verdicts(np.full(n, "", dtype=object), np.full(n, np.nan), np.full(n, np.nan), np.full(n, -1))


def hold_back_clusters(verdicts: Verdicts, candidates: Candidates, held: Mapping[int, str]) -> None:
    """Give the records of some clusters (id → rule) their verdict; its value is the cluster's id."""
    for cluster, rule in held.items():
        rows = np.flatnonzero((candidates.clusters == cluster) & (verdicts.rule == ""))
        verdicts.give(rows, rule, cluster, np.nan)


def hold_back_semantic_duplicates(
    verdicts: Verdicts, candidates: Candidates, min_cosine: float, *, keep_best: bool, first: np.ndarray
) -> None:
    """Give semantic duplicates in the pool their verdict: of each pair stays the farther from the centroid, or the better.

    first: bool[n], records that come before all others, so that what is like them goes.
    """
    pool = verdicts.pool
    among = candidates.take(pool)
    rank = np.where(first[pool], np.inf, among.quality if keep_best else among.distances)
    found = semantic_duplicates(among.vectors, among.clusters, rank, min_cosine)
    verdicts.give(pool[found.row], "semantic_duplicate", found.cosine, min_cosine, pool[found.match])


def outliers(scores: np.ndarray, *, share: float, above: float | None = None) -> tuple[np.ndarray, float]:
    """Which records are outliers (bool[n]) and the largest score that is none: over ``above``, else the top ``share``.

    Of n records at most share · n, rounded down: of 50 records 1 % is none.
    """
    most = int(share * len(scores) + 1e-9)
    cut = float(np.sort(scores)[len(scores) - 1 - most]) if above is None else above
    return scores > cut, cut
