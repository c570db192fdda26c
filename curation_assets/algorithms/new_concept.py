"""Which of the newly arrived records are of a concept that the older ones did not cover.

Old and new records are clustered together, blind to which is which; a cluster is of a new concept where the new ones in
it are too many for chance and the old ones too few to have covered it. No threshold on distances: what is far is so
relative to how densely the pool covers its surroundings.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import hypergeom

from curation_assets.algorithms.kmeans import kmeans

FALSE_ALARM = 0.01
LEAST_RATIO = 20.0
"""Ours: how many times as frequent among the new records as among the old. Of the new records in such a cluster at most
1 / LEAST_RATIO are to be expected of the old concepts, so at least 95 % are of the new one."""

RECORDS_PER_CLUSTER, MOST_CLUSTERS = 35, 1_000
"""Ours: a concept must fill a cluster nearly by itself to be seen, and in small clusters chance makes known concepts look
new. Tweets planted among 1,000 new headlines, with 3,000 old ones: 40 tweets were found in 3 of 4 draws (with twice as many
records a cluster 120 were needed), and a random quarter of the headlines was never taken for new in 20 draws."""


class NewConcepts(NamedTuple):
    """Where new records stand; arrays over the new records except the last."""

    concept: np.ndarray
    """int64[new]: the concept, numbered from 0, largest first; -1 where the older records cover it."""
    records: np.ndarray
    """int64[concepts]: new records of each."""
    p_value: np.ndarray
    """float64[concepts]: the least of its clusters, times the number of clusters looked at (Bonferroni), at most 1."""
    ratio: np.ndarray
    """float64[concepts]: share of the new records in it over that of the old ones (half a record added where there are none)."""


def new_concepts(
    old: np.ndarray,
    new: np.ndarray,
    *,
    false_alarm: float = FALSE_ALARM,
    least_ratio: float = LEAST_RATIO,
    clusters: int | None = None,
    seed: int = 0,
) -> NewConcepts:
    """Find the concepts among the ``new`` unit vectors (float32[m, d]) that the ``old`` ones (float32[n, d]) did not cover.

    1. k-means over both together (``clusters``, by default one for `RECORDS_PER_CLUSTER` records, at most `MOST_CLUSTERS`).
    2. In each cluster the number of new records is tested one-sidedly: were new and old alike, it would be hypergeometric
       (Fisher's exact test). The clusters know nothing of new and old, so under exchangeability the chance of a
       false alarm anywhere is at most ``false_alarm`` (Bonferroni over clusters), whatever their number and shape.
    3. The cluster's share of the new records must be ``least_ratio`` times its share of the old: a known concept that
       became more frequent is not a new one.
    4. Clusters of which one is the other's nearest by centroid are one concept.

    Records that arrive in groups of near-duplicates are not exchangeable one by one: deduplicate first. A concept of a
    handful of records is not told from chance, nor one that lies in the midst of an old one.

    Raises ValueError for a false alarm rate outside 0 … 1, a ratio of at most 1, and vectors of different length.
    """
    old, new = np.asarray(old, dtype=np.float32), np.asarray(new, dtype=np.float32)
    _check(old, new, false_alarm, least_ratio)
    if not len(old) or not len(new):
        return NewConcepts(np.full(len(new), -1), *(np.empty(0, kind) for kind in (np.int64, np.float64, np.float64)))
    both = np.concatenate([old, new])
    by_size = min(MOST_CLUSTERS, max(1, len(both) // RECORDS_PER_CLUSTER))
    found = kmeans(both, clusters or by_size, seed=seed)
    k = len(found.centroids)
    of_new = np.bincount(found.labels[len(old) :], minlength=k)
    of_old = np.bincount(found.labels[: len(old)], minlength=k)
    p_values = hypergeom.sf(of_new - 1, len(both), len(new), of_new + of_old) * k
    ratios = (of_new / len(new)) / (np.maximum(of_old, 0.5) / len(old))
    is_new = (p_values <= false_alarm) & (ratios >= least_ratio)
    concept_of = _joined(found.centroids, is_new)
    concept = concept_of[found.labels[len(old) :]]
    count = concept_of.max(initial=-1) + 1
    largest_first = np.argsort(-np.bincount(concept[concept >= 0], minlength=count), kind="stable")
    rank = np.argsort(largest_first)
    members = [np.flatnonzero(concept_of == one) for one in largest_first]
    return NewConcepts(
        np.where(concept >= 0, rank[concept] if count else -1, -1),
        np.array([of_new[of].sum() for of in members], dtype=np.int64),
        np.array([min(1.0, p_values[of].min()) for of in members]),
        np.array([of_new[of].sum() / len(new) / (max(of_old[of].sum(), 0.5) / len(old)) for of in members]),
    )


def representatives(vectors: np.ndarray, size: int, *, most_alike: float = 0.95, seed: int = 0) -> np.ndarray:
    """Up to ``size`` of the unit vectors that stand for all: rows, int64[m], those of the largest groups first.

    k-means into ``size`` groups, and of each the member nearest its centroid; of two with a cosine above ``most_alike``
    only the first is taken.

    >>> representatives(np.float32([[1, 0], [1, 0], [0, 1]]), 2)
    array([0, 2])
    """
    if not len(vectors) or size < 1:
        return np.empty(0, dtype=np.int64)
    found = kmeans(vectors, min(size, len(vectors)), seed=seed)
    nearest = np.lexsort((found.distances, found.labels))
    firsts = nearest[np.unique(found.labels[nearest], return_index=True)[1]]
    firsts = firsts[np.argsort(-np.bincount(found.labels)[found.labels[firsts]], kind="stable")]
    taken: list[int] = []
    for row in firsts.tolist():
        if not taken or (vectors[taken] @ vectors[row]).max() <= most_alike:
            taken.append(row)
    return np.array(taken, dtype=np.int64)


def _joined(centroids: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """The concept of each cluster, int64[k], -1 where it is not new: clusters are joined to their nearest if both are new."""
    k, concept_of = len(centroids), np.full(len(centroids), -1)
    rows = np.flatnonzero(is_new)
    if not len(rows):
        return concept_of
    units = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    similarity = units[rows] @ units.T
    similarity[np.arange(len(rows)), rows] = -2
    nearest = similarity.argmax(axis=1)
    joins = is_new[nearest] & (k > 1)
    edges = coo_matrix((np.ones(joins.sum()), (rows[joins], nearest[joins])), shape=(k, k))
    _, component = connected_components(edges, directed=False)
    concept_of[rows] = np.unique(component[rows], return_inverse=True)[1]
    return concept_of


def _check(old: np.ndarray, new: np.ndarray, false_alarm: float, least_ratio: float) -> None:
    if not 0 < false_alarm < 1:
        raise ValueError(f"new_concepts needs a false alarm rate between 0 and 1, got {false_alarm}.")
    if least_ratio <= 1:
        raise ValueError(f"new_concepts needs a least ratio above 1, got {least_ratio}.")
    if len(old) and len(new) and old.shape[1] != new.shape[1]:
        raise ValueError(
            f"new_concepts compares vectors of one model: got {old.shape[1]} and {new.shape[1]} dimensions."
        )
