"""Has a new batch another distribution than what came before? Four looks at it, each with a size and a p-value.

- `classifier_two_sample`: can a linear classifier tell new from old by the embeddings (Lopez-Paz & Oquab 2017)?
- `occupancy`: do the new records fall into the clusters in other shares (PSI, Jensen-Shannon divergence)?
- `novelty`: are there clusters of new records that the old ones hardly reach (`new_concept`)?
- `signal_shift`: has a measured signal (length, symbols, …) another distribution (Kolmogorov-Smirnov, PSI)?

A p-value says whether it could be chance, a size whether it matters: an alarm needs both (`findings`), after Holm's
correction for the number of looks. Nothing here assumes a distribution: p-values come from permutations or are exact.
Clusters must be found in old and new records together, blind to which is which: then old and new are exchangeable where
nothing changed, and a new topic has clusters of its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from curation_assets.algorithms.new_concept import NewConcepts

PERMUTATIONS = 999
LEAST_RECORDS = 50
"""Fewer records on either side are not judged. Ours: below it even a batch of another topic may pass unseen."""
BINS = 10
"""Quantile bins of a signal's PSI, as is usual in credit scoring (Siddiqi 2006, chapter on scorecard monitoring)."""
PSI_FLOOR = 1e-4
"""A bin's share is taken as at least this, or an empty one would make PSI infinite."""
SIZES = {"classifier": 0.52, "occupancy": 0.02, "novelty": 0.01, "signal": 0.1}
"""The least size that counts, ours: a batch of which a tenth is of a new topic reaches an AUC of .55 at most and a PSI of
some .1. For a signal .1 is the usual "some change" (Siddiqi 2006)."""
ALPHA = 0.02
"""Chance of an alarm where nothing changed, at most, over all looks together. Ours: below the usual .05, since batches come often."""


class Look(NamedTuple):
    """One comparison of the new records with the old."""

    name: str
    """classifier, occupancy, novelty, or signal:NAME."""
    size: float
    """AUC; PSI above that by chance; share of the new records in new concepts; PSI of the signal."""
    p_value: float
    detail: Mapping[str, float]


class Finding(NamedTuple):
    """A look after correction for all looks."""

    look: Look
    adjusted_p: float
    is_drift: bool


def classifier_two_sample(old: np.ndarray, new: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Look:
    """Tell whether a linear classifier can tell old from new: float32[n, d], float32[m, d].

    The test statistic is the squared distance of the two means after whitening by the pooled covariance, ridged by its
    mean eigenvalue: the direction of Fisher's linear discriminant, whose strength it is (Hotelling 1931, T²). The pooled
    covariance does not change when the labels are permuted, so a permutation costs one product. The size is the AUC of
    the discriminant fitted on one half and read on the other, both ways; .5 = cannot tell.
    """
    both = np.concatenate([old, new]).astype(np.float64)
    is_new = np.arange(len(both)) >= len(old)
    white = _whitened(both)
    rng = np.random.default_rng(seed)
    n, m, total = len(old), len(new), white.sum(axis=0)

    def statistic(labels: np.ndarray) -> np.ndarray:  # labels float32[p, n + m]
        of_new = labels @ white
        return (((of_new / m) - (total - of_new) / n) ** 2).sum(axis=1)

    observed = statistic(is_new[None].astype(np.float32))[0]
    exceeding, left = 0, permutations
    while left:
        count = min(left, 100)
        labels = np.zeros((count, len(both)), dtype=np.float32)
        for row in labels:
            row[rng.permutation(len(both))[:m]] = 1
        exceeding += int((statistic(labels) >= observed).sum())
        left -= count
    return Look(
        "classifier",
        _held_out_auc(white, is_new, rng),
        (exceeding + 1) / (permutations + 1),
        {"distance": float(observed)},
    )


def _whitened(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return (centred @ axes / np.sqrt(np.maximum(values, 0) + values.mean())).astype(np.float32)


def _held_out_auc(white: np.ndarray, is_new: np.ndarray, rng: np.random.Generator) -> float:
    """AUC of the mean difference of one half on the other half, mean of both ways."""
    half = np.zeros(len(white), dtype=bool)
    for side in (is_new, ~is_new):
        rows = np.flatnonzero(side)
        half[rng.permutation(rows)[: len(rows) // 2]] = True
    areas = []
    for fit in (half, ~half):
        direction = white[fit & is_new].mean(axis=0) - white[fit & ~is_new].mean(axis=0)
        scores, labels = white[~fit] @ direction, is_new[~fit]
        ranks = np.argsort(np.argsort(scores)) + 1
        positives = int(labels.sum())
        areas.append((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))
    return float(np.mean(areas))


def occupancy(old: np.ndarray, new: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Look:
    """Tell whether the new records fall into the clusters in other shares: ``old``, ``new``, the cluster of each record, int.

    The p-value is of the likelihood ratio (G) among tables with the same margins, drawn by chance. The size is PSI, less
    what a batch of this size has by chance alone (the median of the drawn tables); `psi` and `jensen_shannon` (bits) in
    the detail are as observed. Clusters with fewer than five records together count as one.
    """
    names, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    counts = np.stack(
        [np.bincount(codes[: len(old)], minlength=len(names)), np.bincount(codes[len(old) :], minlength=len(names))]
    )
    small = counts.sum(axis=0) < 5
    if small.sum() > 1:
        counts = np.column_stack([counts[:, ~small], counts[:, small].sum(axis=1)])
    pooled = counts.sum(axis=0)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(pooled, len(new), size=permutations)
    tables = np.stack([pooled - drawn, drawn], axis=1)
    observed, by_chance = _g(counts[None])[0], _g(tables)
    p = (int((by_chance >= observed - 1e-9).sum()) + 1) / (permutations + 1)
    found, expected = psi(counts[0], counts[1]), float(np.median([psi(*table) for table in tables[:99]]))
    changes = counts[1] / len(new) - counts[0] / len(old)
    detail = {"psi": found, "psi_by_chance": expected, "jensen_shannon": jensen_shannon(counts[0], counts[1])}
    return Look("occupancy", max(0.0, found - expected), p, detail | {"largest_change": float(np.abs(changes).max())})


def _g(tables: np.ndarray) -> np.ndarray:
    """The likelihood ratio of tables int[t, 2, k] against independence, up to a factor 2: float64[t]."""
    shares = tables.sum(axis=2, keepdims=True) / tables.sum(axis=(1, 2), keepdims=True)
    expected = shares * tables.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(tables > 0, tables * np.log(tables / expected), 0.0)
    return terms.sum(axis=(1, 2))


def novelty(found: NewConcepts, new_records: int) -> Look:
    """Which share of the new records is of concepts that the old ones did not cover, as `new_concepts` found them.

    Its p-value is the least of its concepts', 1 where there is none.
    """
    records = int(found.records.sum())
    detail = {"concepts": len(found.records), "records": records}
    return Look("novelty", records / max(1, new_records), float(found.p_value.min(initial=1.0)), detail)


def signal_shift(name: str, old: np.ndarray, new: np.ndarray) -> Look:
    """Tell whether a signal (a float of each record; NaN is left out) has another distribution.

    The p-value is the two-sample Kolmogorov-Smirnov test's, conservative where values repeat; the size is PSI over
    `BINS` quantile bins of the old values.
    """
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    if min(len(old), len(new)) < LEAST_RECORDS:
        return Look(f"signal:{name}", 0.0, 1.0, {"records": len(new)})
    found = ks_2samp(old, new)
    edges = np.unique(np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) for values in (old, new)
    ]
    medians = {"old_median": float(np.median(old)), "new_median": float(np.median(new))}
    return Look(f"signal:{name}", psi(*counts), float(found.pvalue), {"ks": float(found.statistic)} | medians)


def psi(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of two counts over the same bins: Σ (q - p) · ln(q / p) (Siddiqi 2006).

    >>> psi(np.array([50, 50]), np.array([50, 50]))
    0.0
    """
    p, q = (np.maximum(counts / counts.sum(), PSI_FLOOR) for counts in (np.asarray(old), np.asarray(new)))
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(old: np.ndarray, new: np.ndarray) -> float:
    """Jensen-Shannon divergence of two counts over the same bins, in bits: 0 (alike) to 1 (nothing in common) (Lin 1991)."""
    p, q = (counts / counts.sum() for counts in (np.asarray(old), np.asarray(new)))
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log2(one / middle), 0).sum() for one in (p, q)]
    return float(sum(parts) / 2)


def findings(looks: Sequence[Look], *, alpha: float = ALPHA, sizes: Mapping[str, float] = SIZES) -> list[Finding]:
    """Each look with its p-value corrected for all of them (Holm 1979), and whether it is drift.

    Drift is a look that chance hardly explains (adjusted p ≤ ``alpha``) and that matters (size ≥ ``sizes`` of its kind).
    """
    order = np.argsort([look.p_value for look in looks], kind="stable")
    adjusted, highest = np.ones(len(looks)), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(looks) - rank) * looks[at].p_value))
        adjusted[at] = highest
    return [
        Finding(look, float(p), bool(p <= alpha and look.size >= sizes[look.name.split(":")[0]]))
        for look, p in zip(looks, adjusted, strict=True)
    ]
