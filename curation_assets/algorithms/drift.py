"""Has a new batch another distribution than what came before? Seven looks at it, each with a size and a p-value.

- `classifier_two_sample`: can a linear classifier tell new from old by the embeddings (Lopez-Paz & Oquab 2017)?
- `shares`: do the new records fall into the clusters, or the languages, in other shares (PSI, Jensen-Shannon divergence)?
- `novelty`: are there clusters of new records that the old ones hardly reach (`new_concept`)?
- `signal_shift`: has a measured signal (length, symbols, …) another distribution (Kolmogorov-Smirnov, PSI)?
- `drop_rate`: does a filter rule drop another share of them (Fisher's exact test, PSI)?
- `kappa_fall`: does a model of expert labels agree less with the experts on them (Cohen's kappa)?

A p-value says whether it could be chance, a size whether it matters: an alarm needs both (`findings`), after Holm's
correction for the number of looks. Nothing here assumes a distribution: p-values come from permutations or are exact.
Clusters must be found in old and new records together, blind to which is which: then old and new are exchangeable where
nothing changed, and a new topic has clusters of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.stats import fisher_exact, ks_2samp

from curation_assets.algorithms.new_concept import NewConcepts

PERMUTATIONS = 9_999
"""Permutations at most. Where nothing changed some 40 are drawn (`_p_value`)."""
ENOUGH = 20
"""Permutations as extreme as what was observed after which no more are drawn: p is then known to a quarter of itself. Ours."""
LEAST_RECORDS = 50
"""Fewer records on either side are not judged. Ours: below it even a batch of another topic may pass unseen."""
LEAST_LABELS = 20
"""Fewer labelled records on either side are not judged. Ours: with 20 the interval of a kappa is some ± .35 wide."""
LEAST_DROPPED = 10
"""A rule that drops fewer records, old and new together, is no look of its own: it could hardly differ beyond chance. Ours."""
BINS = 10
"""Quantile bins of a signal's PSI, as is usual in credit scoring (Siddiqi 2006, chapter on scorecard monitoring)."""
PSI_FLOOR = 1e-4
"""A bin's share is taken as at least this, or an empty one would make PSI infinite."""
SIZES = {
    "classifier": 0.52,
    "occupancy": 0.02,
    "novelty": 0.01,
    "language": 0.1,
    "signal": 0.1,
    "filter": 0.1,
    "kappa": 0.1,
}
"""The least size that counts, ours: a batch of which a tenth is of a new topic reaches an AUC of .55 at most and a PSI over
clusters of some .1. For a signal, the languages and a rule .1 is the usual "some change" (Siddiqi 2006)."""
ALPHA = 0.02
"""Chance of an alarm where nothing changed, at most, over all looks together. Ours: below the usual .05, since batches come often."""
MOST_UNLIKE = 0.1
"""Share of the new records that the classifier's words are of: those it finds newest. Ours."""


class Look(NamedTuple):
    """One comparison of the new records with the old."""

    name: str
    """classifier, occupancy, novelty, language, kappa, signal:NAME or filter:RULE."""
    size: float
    """AUC; PSI above that by chance (occupancy, language); share of the new records in new concepts; PSI of the signal, of the
    rule's drops; by how much kappa fell."""
    p_value: float
    detail: Mapping[str, float | str]
    behind: np.ndarray | None = None
    """bool[new]: the new records that make the difference; None where it is not about single records."""

    @property
    def kind(self) -> str:
        """The name without what it is of: a key of SIZES."""
        return self.name.partition(":")[0]


class Finding(NamedTuple):
    """A look after correction for all looks."""

    look: Look
    adjusted_p: float
    is_drift: bool


def permutations_for(looks: int, alpha: float = ALPHA) -> int:
    """Permutations after which a p-value can be small enough to count as one of so many looks.

    The least p-value is 1 / (permutations + 1), and Holm multiplies it by the number of looks: with 999 permutations and
    alpha = .02, none of more than 20 looks could ever be drift.

    >>> permutations_for(100, 0.02)
    10000
    """
    return max(999, ceil(2 * looks / alpha))


def classifier_two_sample(old: np.ndarray, new: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Look:
    """Tell whether a linear classifier can tell old from new: float32[n, d], float32[m, d].

    The test statistic is the squared distance of the two means after whitening by the pooled covariance, ridged by its
    mean eigenvalue: the direction of Fisher's linear discriminant, whose strength it is (Hotelling 1931, T²). The pooled
    covariance does not change when the labels are permuted, so a permutation costs one product. The size is the AUC of
    the discriminant fitted on one half and read on the other, both ways; .5 = cannot tell. Behind it are the new records
    that score highest.
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

    def exceeds(count: int) -> np.ndarray:
        labels = np.zeros((count, len(both)), dtype=np.float32)
        for row in labels:
            row[rng.permutation(len(both))[:m]] = 1
        return statistic(labels) >= observed

    auc, scores = _held_out(white, is_new, np.random.default_rng(seed))
    newest = scores[is_new] >= np.quantile(scores[is_new], 1 - MOST_UNLIKE)
    return Look("classifier", auc, _p_value(exceeds, permutations), {"distance": float(observed)}, newest)


def _p_value(exceeds: Callable[[int], np.ndarray], most: int) -> float:
    """A Monte Carlo p-value from as few draws as it needs (Besag & Clifford 1991, "Sequential Monte Carlo p-values").

    ``exceeds`` makes so many draws more and says of each whether it is as extreme as what was observed. Drawing ends with the
    h-th that is, at draw l: p = h / l; or after ``most`` with g of them: p = (g + 1) / (most + 1).
    """
    extreme = drawn = 0
    while drawn < most:
        found = np.flatnonzero(exceeds(count := min(100, most - drawn)))
        if extreme + len(found) >= ENOUGH:
            return ENOUGH / (drawn + int(found[ENOUGH - extreme - 1]) + 1)
        extreme, drawn = extreme + len(found), drawn + count
    return (extreme + 1) / (most + 1)


def _whitened(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return (centred @ axes / np.sqrt(np.maximum(values, 0) + values.mean())).astype(np.float32)


def _held_out(white: np.ndarray, is_new: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """AUC of the mean difference of one half on the other half, mean of both ways; and each record's score when held out."""
    half = np.zeros(len(white), dtype=bool)
    for side in (is_new, ~is_new):
        rows = np.flatnonzero(side)
        half[rng.permutation(rows)[: len(rows) // 2]] = True
    areas, scores = [], np.empty(len(white))
    for fit in (half, ~half):
        direction = white[fit & is_new].mean(axis=0) - white[fit & ~is_new].mean(axis=0)
        scores[~fit], labels = white[~fit] @ direction, is_new[~fit]
        ranks = np.argsort(np.argsort(scores[~fit])) + 1
        positives = int(labels.sum())
        areas.append((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))
    return float(np.mean(areas)), scores


def shares(name: str, old: np.ndarray, new: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Look:
    """Tell whether the new records fall into groups in other shares: ``old``, ``new``, the group of each record, int or str.

    The p-value is of the likelihood ratio (G) among tables with the same margins, drawn by chance. The size is PSI, less
    what a batch of this size has by chance alone (the median of 99 drawn tables); `psi` and `jensen_shannon` (bits) in
    the detail are as observed. Groups with fewer than five records together count as one. Behind it are the new records
    of the group whose share grew most, `grown`.
    """
    names, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    counts = np.stack(
        [np.bincount(codes[: len(old)], minlength=len(names)), np.bincount(codes[len(old) :], minlength=len(names))]
    )
    changes = counts[1] / len(new) - counts[0] / len(old)
    most = int(changes.argmax())
    grown = {
        "grown": str(names[most]),
        "grown_from": counts[0, most] / len(old),
        "grown_to": counts[1, most] / len(new),
    }
    small = counts.sum(axis=0) < 5
    if small.sum() > 1:
        counts = np.column_stack([counts[:, ~small], counts[:, small].sum(axis=1)])
    pooled, rng = counts.sum(axis=0), np.random.default_rng(seed)
    observed = _g(counts[None])[0]

    def tables(count: int) -> np.ndarray:
        drawn = rng.multivariate_hypergeometric(pooled, len(new), size=count)
        return np.stack([pooled - drawn, drawn], axis=1)

    found, expected = psi(*counts), float(np.median([psi(*table) for table in tables(99)]))
    p = _p_value(lambda count: _g(tables(count)) >= observed - 1e-9, permutations)
    detail = {"psi": found, "psi_by_chance": expected, "jensen_shannon": jensen_shannon(*counts)}
    detail |= {"largest_change": float(np.abs(changes).max()), **grown}
    return Look(name, max(0.0, found - expected), p, detail, codes[len(old) :] == most)


def _g(tables: np.ndarray) -> np.ndarray:
    """The likelihood ratio of tables int[t, 2, k] against independence, up to a factor 2: float64[t]."""
    shares = tables.sum(axis=2, keepdims=True) / tables.sum(axis=(1, 2), keepdims=True)
    expected = shares * tables.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(tables > 0, tables * np.log(tables / expected), 0.0)
    return terms.sum(axis=(1, 2))


def novelty(found: NewConcepts, new_records: int) -> Look:
    """Which share of the new records is of concepts that the old ones did not cover, as `new_concepts` found them.

    A concept is a cluster and not what is far away: a new topic mostly lies no farther from the centroids than rare old records do.
    Of 40 topics that made up a tenth of 1,000 new texts, 20 were found as clusters and 4 by the share of records farther from every
    centroid than 99 % of the old ones.
    Its p-value is the least of its concepts', 1 where there is none.
    """
    records = int(found.records.sum())
    detail = {"concepts": len(found.records), "records": records}
    p = float(found.p_value.min(initial=1.0))
    return Look("novelty", records / max(1, new_records), p, detail, found.concept >= 0)


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


def drop_rate(rule: str, old_dropped: int, old: int, new_dropped: int, new: int) -> Look:
    """Tell whether a filter rule drops another share of the new records: how many of how many, old and new.

    The p-value is Fisher's exact test, two-sided; the size is PSI over dropped and passed.

    >>> drop_rate("short", 30, 1_000, 180, 1_000).size.__round__(2)
    0.29
    """
    table = np.array([[old_dropped, old - old_dropped], [new_dropped, new - new_dropped]])
    detail = {"old_share": old_dropped / old, "new_share": new_dropped / new}
    return Look(f"filter:{rule}", psi(*table), float(fisher_exact(table).pvalue), detail)


def kappa_fall(old: np.ndarray, new: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Look:
    """Tell whether a model agrees less with the experts on new records: int[n, 2], int[m, 2], the classes both gave each.

    The size is by how much Cohen's kappa fell, 0 where it rose. The p-value, one-sided, is of that fall among draws of the
    new records from all of them. A kappa that is undefined (one class throughout) says nothing: p is 1, and a draw with one
    counts as extreme.
    """
    k = 1 + int(max(old.max(initial=0), new.max(initial=0)))
    tables = np.stack([np.bincount(side[:, 0] * k + side[:, 1], minlength=k * k) for side in (old, new)])
    before, now = _kappas(tables, k)
    detail = {"old_kappa": float(before), "new_kappa": float(now), "old_labels": len(old), "new_labels": len(new)}
    if np.isnan(before - now):
        return Look("kappa", 0.0, 1.0, {name: value for name, value in detail.items() if not np.isnan(value)})
    pooled, rng = tables.sum(axis=0), np.random.default_rng(seed)

    def exceeds(count: int) -> np.ndarray:
        drawn = rng.multivariate_hypergeometric(pooled, len(new), size=count)
        fall = _kappas(pooled - drawn, k) - _kappas(drawn, k)
        return ~(fall < before - now - 1e-12)

    return Look("kappa", max(0.0, float(before - now)), _p_value(exceeds, permutations), detail)


def _kappas(tables: np.ndarray, k: int) -> np.ndarray:
    """Cohen's kappa of tables int[t, k · k]: float64[t], NaN where undefined."""
    tables = tables.reshape(-1, k, k).astype(np.float64)
    n = tables.sum(axis=(1, 2))
    observed = np.trace(tables, axis1=1, axis2=2) / n
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def unlike_both(looks: Sequence[Look], others: Sequence[Look]) -> list[Look]:
    """Looks against one reference, with the lesser size and the greater p-value of the same looks against another.

    What is drift then is unlike both of them: the intersection-union test (Berger 1982), whose chance of a false alarm is no
    greater than that of one. A look that the others do not have stays as it is.
    """
    by_name = {one.name: one for one in others}
    return [
        one
        if (other := by_name.get(one.name)) is None
        else one._replace(
            size=min(one.size, other.size),
            p_value=max(one.p_value, other.p_value),
            detail=dict(one.detail) | {"size_against_all": one.size, "size_against_last_drift": other.size},
        )
        for one in looks
    ]


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
        Finding(look, float(p), bool(p <= alpha and look.size >= sizes[look.kind]))
        for look, p in zip(looks, adjusted, strict=True)
    ]
