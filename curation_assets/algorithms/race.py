"""How crowded the embedding space is around a record, by a sketch that never holds the records.

RACE (Coleman & Shrivastava 2020, arXiv 1912.02283; used for density sampling in "How to Train Data-Efficient LLMs",
arXiv 2402.09668, section 3.2 and Algorithm 2): pass 1 counts each vector in one bucket of every row of a table of
counts, pass 2 reads the mean of a vector's own counts, an estimate of the kernel sum Σ_x k(x, y). Memory is rows ×
buckets counts however many vectors go by, and sketches of parts add up.

The density is what weights are made *from*: to even out the space a record is kept with probability proportional to
1 / density (Theorem A.2 of the paper; line 17 of its Algorithm 2 prints the density itself, which would do the
opposite). That step lives in ``sampling``. Records that are at hand have better estimators: ``kernel_density``.
``merge`` is for batches sketched apart, on other machines or days: it is public and used by no stage.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

BLOCK_ENTRIES = 8_000_000  # hashes or distances held at once
SAME_PLACE_DISTANCE = 1e-6  # below it the collision probability is 1 to within rounding


class Sketch(NamedTuple):
    """An empty or filled RACE sketch: its random hash functions and its counts.

    Row r hashes a vector x to the tuple of floor((x·w + b) / width) over its ``hashes`` Gaussian directions w (the
    2-stable hash of Datar et al. 2004), and the tuple to one of the buckets. ``projections`` float32[rows × hashes, d]
    and ``offsets`` float32[rows × hashes, 1] are already divided by the width; ``multipliers`` uint32[rows, hashes] mix
    the tuple (multilinear multiply-shift, Dietzfelbinger 1996); ``counts`` int32[rows, buckets]; ``records``: vectors
    added.
    """

    projections: np.ndarray
    offsets: np.ndarray
    multipliers: np.ndarray
    counts: np.ndarray
    records: int


def empty_sketch(
    d: int, *, width: float, rows: int = 1_000, hashes: int = 8, buckets: int = 1 << 14, seed: int = 0
) -> Sketch:
    """An empty sketch for vectors of ``d`` dimensions; see ``choose_width`` for the width.

    ``rows`` lowers the variance (error falls with 1/√rows), ``hashes`` sharpens the kernel to its power, ``buckets`` (a
    power of two) separate unlike tuples. The default is the paper's 1,000 rows (its 20,000 buckets rounded to 16,384):
    66 MB of counts.
    """
    if not 2 <= buckets <= 1 << 31 or buckets & (buckets - 1):
        raise ValueError(f"empty_sketch needs a power of two of buckets from 2 to 2^31, got {buckets}.")
    if width <= 0:
        raise ValueError(f"empty_sketch needs a width above 0, got {width}. choose_width gives one.")
    rng = np.random.default_rng(seed)
    projections = rng.standard_normal((rows * hashes, d)) / width
    offsets = rng.random((rows * hashes, 1))
    multipliers = rng.integers(0, 1 << 32, (rows, hashes), dtype=np.uint32) | np.uint32(1)
    counts = np.zeros((rows, buckets), dtype=np.int32)
    return Sketch(projections.astype(np.float32), offsets.astype(np.float32), multipliers, counts, 0)


def add(sketch: Sketch, vectors: np.ndarray) -> Sketch:
    """Count ``vectors`` (float32[n, d]) into the sketch **in place**; returns it with the new number of records."""
    for start, stop in _blocks(sketch, len(vectors)):
        for counts, cells in zip(sketch.counts, _buckets_of(sketch, vectors[start:stop]), strict=True):
            counts += np.bincount(cells, minlength=len(counts)).astype(np.int32)
    return sketch._replace(records=sketch.records + len(vectors))


def score(sketch: Sketch, vectors: np.ndarray, *, is_added: bool = True) -> np.ndarray:
    """The density at each vector, float64[n]: the estimated kernel sum over all added records.

    With ``is_added`` each scored vector counts as one of the records: it contributes exactly 1 for itself, so the
    density is ≥ 1. Otherwise it is ≥ 0. Unlike tuples meet in one of B buckets with probability 1/B; that expected
    count is subtracted: mean = s + k + (n - s - k)/B for s self counts and a kernel sum k of the other n - s records.
    """
    counted = np.zeros(len(vectors))
    rows, buckets = sketch.counts.shape
    for start, stop in _blocks(sketch, len(vectors)):
        for counts, cells in zip(sketch.counts, _buckets_of(sketch, vectors[start:stop]), strict=True):
            counted[start:stop] += counts[cells]
    counted /= rows
    itself = 1 if is_added else 0
    if is_added and len(counted) and counted.min() < 1:
        row = int(np.argmin(counted))
        raise ValueError(f"score: vector {row} was never added to this sketch. Add it first or pass is_added=False.")
    others = (counted - itself - (sketch.records - itself) / buckets) / (1 - 1 / buckets)
    return itself + np.maximum(others, 0)


def merge(first: Sketch, second: Sketch) -> Sketch:
    """The sketch of both sets of records; both must come from ``empty_sketch`` with the same arguments."""
    same = first.counts.shape == second.counts.shape and all(
        np.array_equal(a, b) for a, b in zip(first[:3], second[:3], strict=True)
    )
    if not same:
        raise ValueError(
            "merge: the sketches use different hash functions. Make both with the same arguments and seed."
        )
    return first._replace(counts=first.counts + second.counts, records=first.records + second.records)


def _blocks(sketch: Sketch, n: int) -> list[tuple[int, int]]:
    size = max(1, BLOCK_ENTRIES // len(sketch.projections))
    return [(start, min(n, start + size)) for start in range(0, n, size)]


def _buckets_of(sketch: Sketch, vectors: np.ndarray) -> np.ndarray:
    """Each vector's bucket in each row, intp[rows, n]: one row's counts stay in the cache while they are used."""
    projected = sketch.projections @ np.asarray(vectors, dtype=np.float32).T
    projected += sketch.offsets
    steps = np.floor(projected, out=projected).astype(np.int32).view(np.uint32)
    rows, hashes = sketch.multipliers.shape
    steps = steps.reshape(rows, hashes, len(vectors))
    mixed = steps[:, 0] * sketch.multipliers[:, :1]
    for j in range(1, hashes):
        mixed += steps[:, j] * sketch.multipliers[:, j : j + 1]
    shift = 32 - (sketch.counts.shape[1].bit_length() - 1)
    return (mixed >> np.uint32(shift)).astype(np.intp)


def collision_probability(distance: np.ndarray | float, width: float, hashes: int = 1) -> np.ndarray:
    """The kernel k: the probability that two vectors at this Euclidean distance share all hashes of a row.

    Datar et al. 2004, section 3.2, with t = width / distance: 1 - 2Φ(-t) - 2/(√(2π) t) · (1 - exp(-t²/2)), to the power
    of the number of hashes.

    >>> collision_probability(np.array([0.0, 0.5, 1.0]), width=1.0).round(3)
    array([1.   , 0.61 , 0.369])
    """
    t = width / np.maximum(np.asarray(distance, dtype=np.float64), SAME_PLACE_DISTANCE)
    single = 1 - 2 * ndtr(-t) - 2 / (np.sqrt(2 * np.pi) * t) * -np.expm1(-t * t / 2)
    return single**hashes


def choose_width(distance: float, probability: float, *, hashes: int = 8) -> float:
    """The width at which two records at ``distance`` share a row's hashes with ``probability``.

    The paper publishes no bandwidth. The density stage takes the width at which this kernel equals a Gaussian one at
    the median distance of two records.

    >>> width = choose_width(0.9, 0.01, hashes=8)
    >>> float(collision_probability(0.9, width, hashes=8).round(6))
    0.01
    """
    if not distance > 0 or not 0 < probability < 1:
        raise ValueError(
            f"choose_width needs a distance above 0 and a probability between 0 and 1, got {distance} and {probability}."
        )

    def excess(log_width: float) -> float:
        return float(collision_probability(distance, np.exp(log_width), hashes)) - probability

    middle = np.log(distance)
    return float(np.exp(brentq(excess, middle - 12, middle + 12)))


def squared_distance_blocks(vectors: np.ndarray, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, squared distances float32[block, m]) over blocks of ``vectors``."""
    query_norms = np.einsum("ij,ij->i", queries, queries)
    rows = max(1, BLOCK_ENTRIES // max(1, len(queries)))
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows]
        squared = np.einsum("ij,ij->i", block, block)[:, None] + query_norms - 2 * (block @ queries.T)
        yield start, np.maximum(squared, 0, out=squared)
