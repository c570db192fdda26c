"""Seeded k-means on embeddings, the default number of clusters, and stable cluster ids between two runs.

Blocked BLAS Lloyd on a sample, then one assignment of every vector: memory stays bounded and 100,000 vectors of 384
dimensions fall into 300 clusters in seconds on two cores. What is done *with* clusters (words, coverage, semantic
duplicates, drift) lives in its own module.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

BLOCK_ENTRIES = 1_000_000  # vector × centroid products held at once: 4 MB of float32, near the cores' caches
SEEDING_POOL = (2_048, 8_192)  # fewest and most vectors k-means++ draws seeds from; their distances take at most 256 MB
SEEDINGS = 8  # draws of all seeds, of which the best is kept: each costs a tenth of the pool's distances
COARSE_PER_CENTROID = 64  # vectors a centroid in the first two thirds of the steps: there centroids still move far
ZERO_SQUARED_DISTANCE = 1e-6  # float32 rounding of |x|² + |c|² - 2x·c for unit rows; nearer vectors count as the same


class KMeans(NamedTuple):
    """The clusters of n vectors in d dimensions.

    ``centroids`` float32[k, d] (means, not renormalised), ``labels`` int32[n], ``distances`` float32[n] (Euclidean, to
    the own centroid), ``inertia`` (sum of squared distances). Every cluster has at least one vector, so k here is
    smaller than the k asked for where the vectors hold fewer distinct points.
    """

    centroids: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    inertia: float


def kmeans(
    vectors: np.ndarray,
    k: int,
    *,
    seed: int = 0,
    iterations: int = 10,
    sample_per_centroid: int = 256,
    tolerance: float = 1e-4,
) -> KMeans:
    """Cluster the rows of ``vectors`` (float32[n, d]) into at most ``k`` clusters.

    Seeds by greedy k-means++ (Arthur & Vassilvitskii 2007, section 5) on a few thousand vectors, then runs up to
    ``iterations`` Lloyd steps: two thirds of them on 64 vectors a centroid, the others on ``sample_per_centroid`` of
    them (256 is the figure FAISS uses for the same purpose); either part stops when a step lowers the inertia by less
    than the share ``tolerance``. Then all vectors are assigned once. The coarse part is ours: it halves the work and
    costs .1 % of inertia (benchmarks/kmeans.py). A cluster that falls empty is re-seeded with the vector farthest from
    its centroid. The same input, seed and BLAS thread count give the same result.

    >>> east, north = np.float32([1, 0]), np.float32([0, 1])
    >>> kmeans(np.stack([east, east, north, north]), k=2).inertia
    0.0
    >>> len(kmeans(np.stack([east, east, north, north]), k=4).centroids)  # only two distinct vectors
    2

    Raises ValueError for anything but a non-empty finite matrix and k ≥ 1.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"kmeans needs a matrix of at least one vector, got shape {vectors.shape}.")
    if k < 1:
        raise ValueError(f"kmeans needs k ≥ 1, got {k}.")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"kmeans needs finite vectors, row {row} is not. Drop it or embed it again.")

    rng = np.random.default_rng(seed)
    sample = _subset(vectors, sample_per_centroid * k, rng)
    centroids = _seed_centroids(sample, k, rng)
    coarse_steps = -(-2 * iterations // 3)
    centroids = _lloyd(_subset(sample, COARSE_PER_CENTROID * k, rng), centroids, coarse_steps, tolerance)
    centroids = _lloyd(sample, centroids, iterations - coarse_steps, tolerance)
    return _assign_all(vectors, centroids)


def _subset(vectors: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    if len(vectors) <= size:
        return vectors
    return vectors[np.sort(rng.choice(len(vectors), size, replace=False))]


def _seed_centroids(sample: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """The best of ``SEEDINGS`` draws of greedy k-means++ seeds: the one with the least inertia on the pool.

    The pool holds 4k vectors, within ``SEEDING_POOL``, so that their distances are computed once for all draws. Seeds
    past half of the largest pool (k > 4,096) are drawn evenly: there k-means++ would take nearly every vector of it.
    """
    fewest, most = SEEDING_POOL
    pool = _subset(sample, min(max(fewest, 4 * k), most), rng)
    squared = _squared_distances(pool)
    greedy = k if len(pool) < most else min(k, most // 2)
    _, seeds = min((_draw_seeds(squared, greedy, rng) for _ in range(SEEDINGS)), key=lambda draw: draw[0])
    if greedy < k:
        return np.concatenate([pool[seeds], _subset(sample, k - greedy, rng)])
    return pool[seeds]


def _draw_seeds(squared: np.ndarray, k: int, rng: np.random.Generator) -> tuple[float, list[int]]:
    """Greedy k-means++: of 2 + ln k points drawn by squared distance from the nearest seed, the best becomes a seed."""
    seeds = [int(rng.integers(len(squared)))]
    nearest = squared[seeds[0]]
    trials = 2 + int(np.log(k))
    while len(seeds) < k:
        cumulative = np.cumsum(nearest, dtype=np.float64)
        if cumulative[-1] == 0:
            break
        drawn = np.searchsorted(cumulative, rng.random(trials) * cumulative[-1], side="right")
        after = np.minimum(nearest, squared[drawn])
        best = int(after.sum(axis=1).argmin())
        seeds.append(int(drawn[best]))
        nearest = after[best]
    return float(nearest.sum()), seeds


def _squared_distances(pool: np.ndarray) -> np.ndarray:
    norms = np.einsum("ij,ij->i", pool, pool)
    squared = pool @ pool.T
    squared *= -2
    squared += norms
    squared += norms[:, None]
    squared[squared < ZERO_SQUARED_DISTANCE] = 0
    return squared


def _lloyd(sample: np.ndarray, centroids: np.ndarray, steps: int, tolerance: float) -> np.ndarray:
    inertia = np.inf
    for _ in range(steps):
        labels, squared = nearest_centroids(sample, centroids)
        previous, inertia = inertia, float(squared.sum(dtype=np.float64))
        centroids = _means(sample, labels, squared, len(centroids))
        if previous - inertia <= tolerance * inertia:
            break
    return centroids


def nearest_centroids(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of each vector: labels int32[n] and squared Euclidean distances float32[n].

    The distances come from |x|² + |c|² - 2x·c and so carry float32 rounding (about 1e-7 for unit vectors).
    """
    labels = np.empty(len(vectors), dtype=np.int32)
    squared = np.empty(len(vectors), dtype=np.float32)
    half_norms = np.einsum("ij,ij->i", centroids, centroids) / 2
    rows = max(1, BLOCK_ENTRIES // len(centroids))
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows]
        affinity = block @ centroids.T
        affinity -= half_norms
        best = affinity.argmax(axis=1)
        labels[start : start + rows] = best
        norms = np.einsum("ij,ij->i", block, block)
        squared[start : start + rows] = norms - 2 * affinity[np.arange(len(block)), best]
    return labels, np.maximum(squared, 0)


def _means(vectors: np.ndarray, labels: np.ndarray, squared: np.ndarray, k: int) -> np.ndarray:
    """Each cluster's mean; an empty cluster takes one of the vectors farthest from their centroids, if any is apart."""
    n = len(vectors)
    members = csr_matrix((np.ones(n, dtype=np.float32), (labels, np.arange(n))), shape=(k, n))
    counts = np.bincount(labels, minlength=k)
    means = (members @ vectors) / np.maximum(counts, 1)[:, None].astype(np.float32)
    empty = np.flatnonzero(counts == 0)
    farthest = np.argsort(-squared, kind="stable")[: len(empty)]
    farthest = farthest[squared[farthest] > ZERO_SQUARED_DISTANCE]
    means[empty[: len(farthest)]] = vectors[farthest]
    return np.delete(means, empty[len(farthest) :], axis=0)


def _assign_all(vectors: np.ndarray, centroids: np.ndarray) -> KMeans:
    labels, _ = nearest_centroids(vectors, centroids)
    used, labels = np.unique(labels, return_inverse=True)
    centroids, labels = centroids[used], labels.astype(np.int32)
    distances = np.empty(len(vectors), dtype=np.float32)
    rows = max(1, BLOCK_ENTRIES // vectors.shape[1])
    for start in range(0, len(vectors), rows):  # by difference: exact where a vector sits on its centroid
        difference = vectors[start : start + rows] - centroids[labels[start : start + rows]]
        distances[start : start + rows] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return KMeans(centroids, labels, distances, float(np.square(distances, dtype=np.float64).sum()))


def default_k(n: int) -> int:
    """The default number of clusters for ``n`` vectors: √(n/2), at most n/10 and 1,000, at least 1.

    √(n/2) balances the two costs that follow: n·k products to assign and about n²/(2k) pairs to compare inside clusters
    (semantic duplicates); their sum is least there. It is also the rule of thumb of Mardia, Kent & Bibby (1979,
    *Multivariate Analysis*, 13.3). Ours: n/10 keeps ten records in the mean cluster, 1,000 is as many as a person can
    still page through.

    >>> [default_k(n) for n in (1, 50, 1_000, 100_000, 10_000_000)]
    [1, 5, 22, 223, 1000]
    """
    return max(1, min(int((n / 2) ** 0.5), n // 10, 1_000))


def match_clusters(
    old_centroids: np.ndarray,
    new_centroids: np.ndarray,
    *,
    old_ids: np.ndarray | None = None,
    first_new_id: int | None = None,
    min_cosine: float = 0.7,
) -> np.ndarray:
    """The id of each new cluster, int64[k_new]: that of the old cluster it continues, or a fresh one.

    Pairs old and new one to one so that the sum of cosines is greatest (Hungarian method, Kuhn 1955), among pairs from
    ``min_cosine`` up (ours: on sentence embeddings the nearest *other* centroid of one clustering lies at a cosine
    of .6 in the median and below .77 in 95 %, the same cluster found in two halves of the data at .8-.9). Pairs below
    it count nothing, or clusters found again would be parted for the sake of clusters that are not. ``old_ids``
    are the ids of the old centroids (default 0 … k_old-1). Fresh ids count up from ``first_new_id`` (default: past the
    largest old id); pass the largest id ever given plus one and no id is used twice.

    >>> old = np.float32([[1, 0, 0], [0, 1, 0]])
    >>> match_clusters(old, np.float32([[0, 0, 1], [0, 1, 0.1]]))
    array([2, 1])
    """
    old_ids = np.arange(len(old_centroids)) if old_ids is None else np.asarray(old_ids)
    if len(old_ids) != len(old_centroids):
        raise ValueError(f"match_clusters got {len(old_ids)} old ids for {len(old_centroids)} old centroids.")
    cosines = _unit_rows(old_centroids) @ _unit_rows(new_centroids).T
    old, new = linear_sum_assignment(np.where(cosines >= min_cosine, cosines, 0), maximize=True)
    kept = cosines[old, new] >= min_cosine
    ids = np.full(len(new_centroids), -1, dtype=np.int64)
    ids[new[kept]] = old_ids[old[kept]]
    fresh = np.flatnonzero(ids < 0)
    start = int(old_ids.max(initial=-1)) + 1 if first_new_id is None else first_new_id
    ids[fresh] = start + np.arange(len(fresh))
    return ids


def _unit_rows(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, dtype=np.float64)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
