"""How crowded the embedding space is around a record: the Gaussian kernel sum, exactly and two ways cheaper.

density(y) = Σ_x exp(-|x - y|² / (2h²)) over all records x, with the bandwidth h as standard deviation. The own term
counts exactly 1 and is never estimated, so a density is at least 1. Σ over n × n pairs is too dear from some ten
thousand records on; then

- ``reference_density`` sums over m records drawn at random and scales up (with m = n it is the exact sum);
- ``centroid_density`` sums over the members of the record's own cluster and takes every other cluster as one Gaussian
  blob, as a treecode does (Barnes & Hut 1986; for kernel sums over k-center clusters Yang, Duraiswami & Gumerov 2003,
  the improved fast Gauss transform). With one cluster, or with one cluster a record, it is the exact sum;
- the RACE sketch in ``race`` needs no records at hand, and has a kernel of its own.

Vectors are float32[n, d]; ``rows`` are the positions of the records whose density is wanted. Memory is bounded: blocks
of ``BLOCK_ENTRIES`` distances.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from curation_assets.algorithms.kmeans import KMeans

BLOCK_ENTRIES = 4_000_000  # distances held at once (16 MB of float32); smaller blocks make BLAS slower
REFERENCES_AT_ONCE = 4_096  # references a block, and so BLOCK_ENTRIES / 4,096 rows: both wide enough for BLAS
MOST_NEIGHBOURS = 1_024  # members of the own cluster that are summed over; a larger cluster is sampled
WIDE = 0.4  # wide bandwidth / median distance of two records; see wide_bandwidth
LOCAL = 0.27  # local bandwidth / median distance of two records; see local_bandwidth
SAME_PLACE_DISTANCE = 1e-3  # nearer records are one place: float32 leaves |x - y| of equal unit vectors up to 5e-4


def reference_density(
    vectors: np.ndarray, references: np.ndarray, rows: np.ndarray, *, bandwidth: float, population: int | None = None
) -> np.ndarray:
    """The density at each of ``rows``, float64[len(rows)], from the records at ``references`` (int[m], distinct).

    1 + (population - 1) · mean of the kernel over the references other than the record itself: a reference that counted
    itself would be too dense by up to n / m. ``population`` is the number of records, the rows among them, that the
    references stand for: by default all n. With all of them as references it is the exact sum, in O(n · len(rows) · d).

    >>> points = np.float32([[0, 0], [0, 1], [0, 1]])
    >>> reference_density(points, np.arange(3), np.arange(3), bandwidth=1.0).round(4)  # exp(-½) = .6065
    array([2.2131, 2.6065, 2.6065])
    """
    references = np.sort(references)
    others = np.zeros(len(rows))
    counted = np.full(len(rows), len(references))
    for first in range(0, len(references), REFERENCES_AT_ONCE):
        chosen = references[first : first + REFERENCES_AT_ONCE]
        chosen_vectors = vectors[chosen]
        for start, stop in _blocks(len(rows), len(chosen)):
            block = rows[start:stop]
            exponents = _exponents(vectors[block], chosen_vectors, bandwidth)
            position = np.minimum(np.searchsorted(chosen, block), len(chosen) - 1)
            own = np.flatnonzero(chosen[position] == block)
            exponents[own, position[own]] = -np.inf
            counted[start + own] -= 1
            others[start:stop] += np.exp(exponents, out=exponents).sum(axis=1)
    population = len(vectors) if population is None else population
    return 1 + others * (population - 1) / np.maximum(counted, 1)


def centroid_density(
    vectors: np.ndarray, clusters: KMeans, rows: np.ndarray, *, bandwidth: float, seed: int = 0
) -> np.ndarray:
    """The density at each of ``rows``, float64[len(rows)], given the k-means clusters of all the vectors.

    The own cluster's members are summed over one by one (``MOST_NEIGHBOURS`` drawn of them, leaving the record itself
    out, where it has more). A cluster c of n_c records with mean μ and within-cluster variance s² a dimension counts as
    an isotropic Gaussian, whose convolution with the kernel is n_c · (1 + s²/h²)^(-d/2) · exp(-|y - μ|² / (2(h² + s²))):
    plain centroids (s = 0) would overrate it, 23 times on sentence embeddings with a narrow kernel. Work: len(rows) ·
    (k + members) · d.
    """
    others = _other_clusters(vectors, clusters, rows, bandwidth)
    return others + _own_cluster(vectors, clusters.labels, rows, bandwidth, np.random.default_rng(seed))


def _other_clusters(vectors: np.ndarray, clusters: KMeans, rows: np.ndarray, bandwidth: float) -> np.ndarray:
    others = np.empty(len(rows))
    scale, offset, projections = _blobs(vectors, clusters, bandwidth)
    for start, stop in _blocks(len(rows), len(projections)):
        block = vectors[rows[start:stop]]
        exponents = block @ projections.T
        exponents -= np.einsum("ij,ij->i", block, block)[:, None] * scale
        exponents += offset
        exponents[np.arange(stop - start), clusters.labels[rows[start:stop]]] = -np.inf
        others[start:stop] = np.exp(exponents, out=exponents).sum(axis=1)
    return others


def _own_cluster(
    vectors: np.ndarray, labels: np.ndarray, rows: np.ndarray, bandwidth: float, rng: np.random.Generator
) -> np.ndarray:
    density = np.empty(len(rows))
    by_label, asked = np.argsort(labels, kind="stable"), np.argsort(labels[rows], kind="stable")
    boundaries = np.arange(1, labels.max(initial=0) + 1)
    members_of = np.split(by_label, np.searchsorted(labels[by_label], boundaries))
    asked_of = np.split(asked, np.searchsorted(labels[rows[asked]], boundaries))
    with threadpool_limits(1, user_api="blas"):  # products this small cost four times the CPU on two threads
        for members, here in zip(members_of, asked_of, strict=True):
            references = members  # drawn for every cluster, whatever rows are asked: the draws are always the same
            if len(members) > MOST_NEIGHBOURS:
                references = rng.choice(members, MOST_NEIGHBOURS, replace=False)
            density[here] = reference_density(
                vectors, references, rows[here], bandwidth=bandwidth, population=len(members)
            )
    return density


def _blobs(vectors: np.ndarray, clusters: KMeans, bandwidth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale a, offset b and projections p of each cluster, such that log of its kernel sum at y = y·p - a|y|² + b.

    The means and variances are those of the members, which k-means' centroids, fitted on a sample, are not quite.
    """
    sizes = np.bincount(clusters.labels, minlength=len(clusters.centroids))
    means = np.zeros(clusters.centroids.shape, dtype=np.float64)
    for start, stop in _blocks(len(vectors), vectors.shape[1]):
        order = np.argsort(clusters.labels[start:stop], kind="stable")
        present, first = np.unique(clusters.labels[start:stop][order], return_index=True)
        means[present] += np.add.reduceat(vectors[start:stop][order], first, axis=0, dtype=np.float64)
    means /= sizes[:, None]
    # Σ|x - μ|² = Σ|x - centroid|² - n_c · |μ - centroid|²
    around_centroid = np.bincount(clusters.labels, weights=np.square(clusters.distances, dtype=np.float64))
    drift = np.square(means - clusters.centroids).sum(axis=1)
    variance = np.maximum(around_centroid / sizes - drift, 0) / vectors.shape[1]
    scale = 1 / (2 * (bandwidth**2 + variance))
    offset = np.log(sizes) - vectors.shape[1] / 2 * np.log1p(variance / bandwidth**2)
    offset -= scale * np.square(means).sum(axis=1)
    return scale.astype(np.float32), offset.astype(np.float32), (2 * scale[:, None] * means).astype(np.float32)


def median_distance(vectors: np.ndarray, *, sample: int = 1_000, seed: int = 0) -> float:
    """The median Euclidean distance of two of ``sample`` seeded records that are not in one place; 1 if all are.

    >>> median_distance(np.float32([[0, 0], [0, 0], [0, 2]]))
    2.0
    """
    rows = np.random.default_rng(seed).choice(len(vectors), min(sample, len(vectors)), replace=False)
    chosen = vectors[np.sort(rows)]
    distances = np.sqrt(-2 * _exponents(chosen, chosen, 1.0)[np.triu_indices(len(chosen), 1)])
    distances = distances[distances > SAME_PLACE_DISTANCE]
    return float(np.median(distances)) if len(distances) else 1.0


def wide_bandwidth(median: float) -> float:
    """The bandwidth of the wide kernel: .4 × the median distance of two records.

    Ours: the paper on density sampling publishes no bandwidth. Two unrelated records then share .044, so no density is
    near 1 nor near n. It is a compromise between contrast and harm (benchmarks/density.py, MiniLM vectors, a tenth
    drawn by 1 / density): on three sets of short texts the draw's evenness over clusters stays within .002 of a random
    draw's, on planted topics of 60, 30, 8 and 2 % it rises from .67 to .81. A narrower kernel evens out tight topics
    better (.93), but where topics differ in tightness it prefers the loose ones and lone records: of two mixes whose
    random draws have .82 it makes .64 and .63, the wide one .90 and .77. A wider one has less of both.
    """
    return WIDE * median


def local_bandwidth(median: float) -> float:
    """The bandwidth of the local kernel: .27 × the median distance of two records, of which unrelated ones then share .001.

    Ours: of .25 to .5 the one that evens out planted tight topics most: 60, 30, 8 and 2 % of 9,929 records come out of a
    tenth drawn by 1 / density with an entropy of .956 of the greatest (random .695, wide .856), 3,000 others with .934
    (random .687). It harms where topics are unlike in tightness; see ``wide_bandwidth``.
    """
    return LOCAL * median


def _blocks(n: int, columns: int) -> list[tuple[int, int]]:
    size = max(1, BLOCK_ENTRIES // max(1, columns))
    return [(start, min(n, start + size)) for start in range(0, n, size)]


def _exponents(queries: np.ndarray, vectors: np.ndarray, bandwidth: float) -> np.ndarray:
    """-|x - y|² / (2h²), float32[queries, vectors], from |x|² + |y|² - 2x·y with float32 rounding."""
    exponents = queries @ vectors.T
    exponents -= np.einsum("ij,ij->i", queries, queries)[:, None] / 2
    exponents -= np.einsum("ij,ij->i", vectors, vectors) / 2
    np.minimum(exponents, 0, out=exponents)
    exponents *= np.float32(1 / bandwidth**2)
    return exponents
