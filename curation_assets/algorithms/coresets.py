"""Selections that cover the embedding space by construction: k-center and facility location.

Both are deterministic: they pick one record after another, each the one that adds most to what the earlier ones cover,
so no record has a chance, and a sample of theirs cannot be weighted back to the whole.
"""

import numpy as np

BLOCK_ENTRIES = 8_000_000  # similarities held at once (32 MB of float32)
POOL = 1_024  # candidates k_center keeps up to date between two passes over all vectors
PENDING = 256  # centres after which it passes over all vectors at the latest
MAX_BLOCK = 4_096  # members of a cluster that facility_location compares with one another (64 MB of float32)


def k_center(vectors: np.ndarray, k: int, *, start: int = 0) -> np.ndarray:
    """Pick ``k`` of the unit vectors, each the farthest from those before it: rows in the order of picking, int64[k].

    Gonzalez 1985: the largest distance of a vector to its nearest pick is at most twice the least possible for k picks.
    ``start``: the first pick. Ties go to the lower row. Exact, yet not n distances per pick: a vector's distance to the
    nearest pick only falls, so the farthest is looked for among the ``POOL`` that were farthest at the last pass over
    all vectors, and a new pass (one matrix product for all picks since) is made when it might lie outside them.
    O(n·k·d) multiply-adds: 10,000 of 100,000 × 384 took 14 CPU-seconds, and a fixed
    share of n costs its square. The farthest vectors are outliers by nature: look at the outlier guard first.
    """
    n = len(vectors)
    k = min(k, n)
    if k <= 0:
        return np.empty(0, dtype=np.int64)
    nearest = np.full(n, -2.0, dtype=np.float32)  # cosine to the nearest pick: the farthest has the lowest
    picked, pending = [start], [start]
    while len(picked) < k:
        _update(nearest, vectors, vectors[pending])
        nearest[picked] = np.inf
        pending = []
        pool = np.sort(np.argpartition(nearest, POOL)[:POOL]) if n > POOL else np.arange(n)
        outside = np.delete(nearest, pool).min(initial=np.inf)
        in_pool, pool_vectors = nearest[pool], vectors[pool]
        while len(picked) < k and len(pending) < PENDING:
            best = int(in_pool.argmin())
            if in_pool[best] > outside or in_pool[best] == np.inf:
                break
            picked.append(int(pool[best]))
            pending.append(int(pool[best]))
            np.maximum(in_pool, pool_vectors @ pool_vectors[best], out=in_pool)
            in_pool[best] = np.inf
        if not pending:
            break
    return np.array(picked, dtype=np.int64)


def _update(nearest: np.ndarray, vectors: np.ndarray, picks: np.ndarray) -> None:
    rows = max(1, BLOCK_ENTRIES // max(1, len(picks)))
    for start in range(0, len(vectors), rows):
        block = nearest[start : start + rows]
        np.maximum(block, (vectors[start : start + rows] @ picks.T).max(axis=1), out=block)


def facility_location(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    quality: np.ndarray | None = None,
    quality_weight: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Rank the unit vectors by how much each adds to what the earlier ones represent: rows int64[m], gains float64[m].

    Greedy over f(S) = (1 - a) Σ_i max(0, max over j in S of i's cluster of cos(i, j)) + a Σ_{j in S} quality_j, with
    a = ``quality_weight``: every record is represented by its most similar pick in its own cluster (``labels`` int[n]),
    similarities across clusters count as 0 (sparse facility location: Lindgren, Wu & Dimakis 2016). f is monotone and
    submodular, so the first k reach at least 1 - 1/e = 63 % of the best k (Nemhauser, Wolsey & Fisher 1978); under token
    budgets the order is the same and no bound is claimed. As clusters do not see each other, each is ranked by itself
    and the rankings are merged by gain, which is the greedy order of the whole. Clusters of more than ``MAX_BLOCK``
    are cut into seeded parts that do not see each other either. ``limit``: ranks needed at most.

    O(Σ cluster²) similarities and memory for one cluster's: 100,000 × 384 in 223
    clusters took 6 CPU-seconds. Picks gain from crowds: outliers come last.
    """
    quality = np.zeros(len(vectors)) if quality is None else np.asarray(quality, dtype=np.float64)
    rows, gains = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for members in _blocks(labels, seed):
        order, gain = _rank(
            np.ascontiguousarray(vectors[members]), quality[members], quality_weight, limit or len(members)
        )
        rows.append(members[order])
        gains.append(gain)
    row, gain = np.concatenate(rows), np.concatenate(gains)
    merged = np.argsort(-gain, kind="stable")  # stable: a block's own order holds where gains are equal
    return row[merged][:limit], gain[merged][:limit]


def _blocks(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    order = np.argsort(labels, kind="stable")
    clusters = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
    rng = np.random.default_rng(seed)
    blocks = []
    for members in clusters:
        if len(members) <= MAX_BLOCK:
            blocks.append(members)
            continue
        parts = -(-len(members) // MAX_BLOCK)
        blocks += [np.sort(part) for part in np.array_split(rng.permutation(members), parts)]
    return blocks


def _rank(vectors: np.ndarray, quality: np.ndarray, a: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The greedy order inside one block: picks and their gains, which never rise."""
    similarity = vectors @ vectors.T
    np.maximum(similarity, 0, out=similarity)
    represented = np.zeros(len(vectors), dtype=np.float32)
    gain = (1 - a) * similarity.sum(axis=0, dtype=np.float64) + a * quality
    order, gains = [], []
    for _ in range(min(limit, len(vectors))):
        best = int(gain.argmax())
        order.append(best)
        gains.append(gain[best])
        gain[best] = -np.inf
        better = np.flatnonzero(similarity[best] > represented)
        if a < 1 and len(better):
            changed, before = similarity[better], represented[better, None]
            after = changed[:, best, None]
            # What each candidate added to a record was max(0, s - before); it is max(0, s - after) from now on.
            lost = np.clip(changed, before, after).sum(axis=0, dtype=np.float64) - before.sum(dtype=np.float64)
            gain -= (1 - a) * lost
            represented[better] = after[:, 0]
    return np.array(order, dtype=np.int64), np.minimum.accumulate(np.array(gains))
