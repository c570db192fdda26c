"""Semantic duplicates: records that say nearly the same in other words, found by the cosine of their embeddings."""

from typing import NamedTuple

import numpy as np

BLOCK = 1_024  # records compared with one another at a time


class SemanticDuplicates(NamedTuple):
    """The records to drop, in the order found: ``row`` int64[m], the kept ``match`` int64[m], their ``cosine`` float32[m]."""

    row: np.ndarray
    match: np.ndarray
    cosine: np.ndarray


def semantic_duplicates(
    vectors: np.ndarray, labels: np.ndarray, rank: np.ndarray, min_cosine: float
) -> SemanticDuplicates:
    """Find, inside each cluster, the records more than ``min_cosine`` like an earlier one that is kept.

    SemDeDup (Abbas et al. 2023, arXiv 2303.09540, section 3): records of a cluster (``labels`` int[n]) are gone through
    by falling ``rank`` (float[n]; the paper: distance to the centroid, so that the "hard" ones are kept) and one is
    dropped if its cosine to an earlier one exceeds 1 - ε. Their code compares with every earlier record, dropped ones
    too, so a chain a ~ b ~ c loses c although a is unlike it. Here only **kept** records count: every dropped one has a
    kept one that is like it, which is what the ledger shows. ``match`` is the kept earlier record most like it.

    ``vectors``: unit rows, float32[n, d]. Ties in rank go by row. Blocks of a cluster are compared with what its earlier
    blocks kept: O(Σ cluster²) products at most, one block of them in memory; 100,000 × 384 in 223 clusters took 2
    CPU-seconds. Clusters cut pairs apart: a duplicate across their border stays, as in the paper.

    >>> unit = np.float32([[1, 0], [0.995, 0.0999], [0, 1]])
    >>> semantic_duplicates(unit, np.zeros(3), np.array([3.0, 2.0, 1.0]), 0.99)[:2]
    (array([1]), array([0]))
    """
    order = np.lexsort((-np.asarray(rank), labels))
    clusters = np.split(order, np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1) if len(order) else []
    found = [_of_cluster(vectors, members, min_cosine) for members in clusters if len(members) > 1]
    parts = [[part[column] for part in found] for column in range(3)]
    kinds = (np.int64, np.int64, np.float32)
    return SemanticDuplicates(
        *(np.concatenate([np.empty(0, dtype=kind), *part]) for part, kind in zip(parts, kinds, strict=True))
    )


def _of_cluster(
    vectors: np.ndarray, members: np.ndarray, min_cosine: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = np.empty(0, dtype=np.int64)
    rows, matches, cosines = [], [], []
    for start in range(0, len(members), BLOCK):
        block = members[start : start + BLOCK]
        own = vectors[block]
        match, cosine = np.full(len(block), -1), np.full(len(block), -2.0, dtype=np.float32)
        if len(kept):
            match, cosine = _most_like(own, vectors, kept)
        among = own @ own.T
        among[np.tri(len(block), dtype=bool)] = -2.0  # row i: its cosine to those after it
        is_dropped = cosine > min_cosine
        for i in np.flatnonzero((among > min_cosine).any(axis=1)):  # the few that are like a later one
            if not is_dropped[i]:
                is_dropped |= among[i] > min_cosine
        among[is_dropped] = -2.0  # what is dropped matches nobody
        nearest = among.argmax(axis=0)
        inside = among[nearest, np.arange(len(block))]
        closer = inside > cosine
        match = np.where(closer, block[nearest], match)
        cosine = np.where(closer, inside, cosine)
        rows.append(block[is_dropped])
        matches.append(match[is_dropped])
        cosines.append(cosine[is_dropped])
        kept = np.concatenate([kept, block[~is_dropped]])
    return np.concatenate(rows), np.concatenate(matches), np.concatenate(cosines).astype(np.float32)


def _most_like(own: np.ndarray, vectors: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    match, cosine = np.full(len(own), -1), np.full(len(own), -2.0, dtype=np.float32)
    for start in range(0, len(kept), 4 * BLOCK):
        part = kept[start : start + 4 * BLOCK]
        cosines = own @ vectors[part].T
        best = cosines.argmax(axis=1)
        value = cosines[np.arange(len(own)), best]
        closer = value > cosine
        match[closer], cosine[closer] = part[best[closer]], value[closer]
    return match, cosine
