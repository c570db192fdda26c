"""How far raters agree beyond chance: Cohen's kappa for two, Fleiss' kappa and Krippendorff's alpha for more.

Every figure comes with its number of units and a percentile interval of the bootstrap over units (Efron & Tibshirani
1993, section 13.3). Units with the same ratings are interchangeable, so a resample is one multinomial draw over the
distinct kinds of units and costs nothing that grows with their number.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.sparse import identity, spmatrix

WEIGHTS = ("linear", "quadratic")
MOST_ENTRIES = 10_000_000  # of resampled counts held at once


class Agreement(NamedTuple):
    """One coefficient of agreement with its interval.

    None is "undefined": agreement beyond chance has no meaning where everyone gives the same class throughout, and is
    then not 1. The interval is None where fewer than two units or more than half of the resamples leave it undefined.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Units (pairs of ratings, or items) that count."""
    undefined_share: float
    """Share of the resamples in which the coefficient was undefined; the interval is of the others."""


def cohen_kappa(
    first: Sequence | np.ndarray,
    second: Sequence | np.ndarray,
    *,
    weights: str | None = None,
    classes: Sequence | None = None,
    replicates: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of two raters over the same items: (po - pe) / (1 - pe) (Cohen 1960).

    `first`, `second`: one label per item, of any type; items that one of them left out (None) do not count. `weights`:
    "linear" or "quadratic" in the distance between ordered classes (Cohen 1968); the order is that of `classes`, or
    the labels sorted. `classes` may name classes that do not occur.

    >>> cohen_kappa(["yes"] * 25 + ["no"] * 25, ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15).value
    0.4
    >>> cohen_kappa([1, 1, 1], [1, 1, 1]).value is None
    True

    Raises ValueError for lists of different length, unknown weights, and labels outside `classes`.
    """
    if len(first) != len(second):
        raise ValueError(f"cohen_kappa compares the same items: got {len(first)} and {len(second)} labels.")
    if weights is not None and weights not in WEIGHTS:
        raise ValueError(f"cohen_kappa knows the weights {' and '.join(WEIGHTS)}, got {weights!r}.")
    pairs = pl.DataFrame({"first": pl.Series(first), "second": pl.Series(second)}).drop_nulls()
    codes, names = _codes([pairs["first"], pairs["second"]], classes)
    k = len(names)
    table = np.bincount(codes[0] * k + codes[1], minlength=k * k).reshape(k, k)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(np.float64)
    disagreement = {None: distance > 0, "linear": distance, "quadratic": distance**2}[weights].ravel()

    def coefficient(counts: np.ndarray) -> np.ndarray:
        tables = counts.reshape(-1, k, k)
        chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
        observed = counts @ disagreement * counts.sum(axis=1)
        return _one_minus(observed, chance.reshape(-1, k * k) @ disagreement)

    cells = np.flatnonzero(table)
    return _with_interval(coefficient, np.eye(k * k)[cells], table.ravel()[cells], replicates, confidence, seed)


def fleiss_kappa(counts: np.ndarray, *, replicates: int = 1_000, confidence: float = 0.95, seed: int = 0) -> Agreement:
    """Fleiss' kappa (Fleiss 1971): int[items, classes], how many raters gave each item each class.

    Every item needs the same number of raters, two at least, who need not be the same people; where the number
    varies use `krippendorff_alpha`.

    >>> round(fleiss_kappa(np.array([[2, 0], [0, 2], [1, 1]])).value, 3)
    0.333

    Raises ValueError where items have different numbers of ratings, or fewer than two.
    """
    counts = np.atleast_2d(np.asarray(counts, dtype=np.int64))
    raters = np.unique(counts.sum(axis=1))
    if len(raters) > 1 or (raters < 2).any():
        raise ValueError(
            f"fleiss_kappa needs the same number of ratings, at least 2, for every item; got {raters.tolist()}. "
            "krippendorff_alpha takes items with different numbers."
        )

    def coefficient(tables: np.ndarray) -> np.ndarray:
        n, totals = tables[:, 0], tables[:, 2:]
        m = totals.sum(axis=1) / n
        return _one_minus(tables[:, 1] / n, 1 - (totals**2).sum(axis=1) / (n * m) ** 2)

    m = counts.sum(axis=1)
    disagreement = (m**2 - (counts**2).sum(axis=1)) / (m * (m - 1))
    return _over_units(coefficient, disagreement, counts, replicates, confidence, seed)


def krippendorff_alpha(
    ratings: np.ndarray | Sequence[Sequence],
    *,
    replicates: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha for nominal classes (Krippendorff 2011, "Computing Krippendorff's alpha-reliability", C).

    `ratings`: one row per rater, one column per unit; None is missing. Units with fewer than two ratings do not count.
    alpha = 1 - Do / De, observed over expected disagreement among all pairs of ratings within units.

    >>> krippendorff_alpha([["a", "a", "b", "b"], ["b", "a", "b", None]]).value
    0.4444444444444444

    Raises ValueError where the raters' rows differ in length.
    """
    codes, k = _rating_codes(ratings, "krippendorff_alpha")
    counts = np.zeros((codes.shape[1], k), np.int64)
    for code in codes:
        given = np.flatnonzero(code >= 0)
        counts[given, code[given]] += 1

    def coefficient(tables: np.ndarray) -> np.ndarray:
        totals = tables[:, 2:]
        n = totals.sum(axis=1)
        return _one_minus(tables[:, 1] / n, 1 - (totals * (totals - 1)).sum(axis=1) / (n * (n - 1)))

    counts = counts[counts.sum(axis=1) > 1]
    m = counts.sum(axis=1)
    disagreement = (m**2 - (counts**2).sum(axis=1)) / (m - 1)
    return _over_units(coefficient, disagreement, counts, replicates, confidence, seed)


def mean_pairwise_kappa(
    ratings: np.ndarray | Sequence[Sequence],
    *,
    replicates: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
    of: int | None = None,
) -> Agreement:
    """The mean of Cohen's kappa over all pairs of raters (Light 1971, "Measures of response agreement", section 3).

    `of`: only over the pairs that the rater in this row is one of.

    `ratings`: one row per rater, one column per unit; None is missing. A pair counts by the units that both have rated
    (ours: where all have rated all, that is the plain mean), and not at all where its kappa is undefined. The bootstrap
    resamples units with all their ratings, since pairs share them. n: the units with two ratings or more.

    >>> mean_pairwise_kappa([["a", "a", "b", "b"], ["a", "b", "b", "b"], ["a", "a", "b", None]]).value.__round__(3)
    0.62

    Raises ValueError where the raters' rows differ in length.
    """
    codes, k = _rating_codes(ratings, "mean_pairwise_kappa")
    codes = codes[:, (codes >= 0).sum(axis=0) > 1]
    patterns, multiplicity = np.unique(codes.T, axis=0, return_counts=True)
    raters = len(codes)
    pairs = []
    for a in range(raters):
        for b in range(a + 1, raters):
            if of not in (None, a, b):
                continue
            shared = np.flatnonzero((patterns[:, [a, b]] >= 0).all(axis=1))
            if len(shared):
                pairs.append((shared, np.eye(k * k)[patterns[shared, a] * k + patterns[shared, b]]))

    def coefficient(counts: np.ndarray) -> np.ndarray:
        total, weight = np.zeros(len(counts)), np.zeros(len(counts))
        for shared, cells in pairs:
            tables = (counts[:, shared] @ cells).reshape(-1, k, k)
            n = tables.sum(axis=(1, 2))
            chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1)
            kappa = _one_minus((n - np.trace(tables, axis1=1, axis2=2)) * n, n * n - chance)
            is_defined = ~np.isnan(kappa)
            total += np.where(is_defined, kappa * n, 0)
            weight += np.where(is_defined, n, 0)
        return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)

    return _with_interval(
        coefficient, identity(len(patterns), format="csr"), multiplicity, replicates, confidence, seed
    )


def _rating_codes(ratings: np.ndarray | Sequence[Sequence], caller: str) -> tuple[np.ndarray, int]:
    """The ratings as numbers of their classes, int64[raters, units], -1 where missing; and how many classes there are."""
    lengths = {len(row) for row in ratings}
    if len(lengths) > 1:
        raise ValueError(f"{caller} needs one entry per unit from every rater; the rows have {lengths}.")
    raters = [pl.Series(row).fill_nan(None) if _is_float(row) else pl.Series(row) for row in ratings]
    numbers, names = _codes([rater.drop_nulls() for rater in raters], None)
    codes = np.full((len(raters), max(lengths, default=0)), -1, np.int64)
    for row, rater, given in zip(codes, raters, numbers, strict=True):
        row[np.flatnonzero(rater.is_not_null().to_numpy())] = given
    return codes, max(len(names), 1)


def _is_float(row: Sequence | np.ndarray) -> bool:
    return pl.Series(row).dtype.is_float()


def _codes(columns: list[pl.Series], classes: Sequence | None) -> tuple[list[np.ndarray], list]:
    """Each column's labels as numbers of the sorted, or given, classes; and the classes."""
    filled = [column for column in columns if len(column)]
    names = list(classes) if classes is not None else []
    if classes is None and filled:
        names = pl.concat(filled).unique().sort().to_list()
    codes = []
    for column in columns:
        unknown = sorted(set(column.unique().to_list()) - set(names), key=str)
        if unknown:
            raise ValueError(f"The labels {unknown} are not among the classes {names}.")
        numbers = column.replace_strict(names, range(len(names)), return_dtype=pl.Int64) if len(column) else column
        codes.append(numbers.cast(pl.Int64).to_numpy())
    return codes, names


def _one_minus(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """1 - observed / expected disagreement; NaN where none is expected."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def _over_units(
    coefficient: Callable[[np.ndarray], np.ndarray],
    disagreement: np.ndarray,
    counts: np.ndarray,
    replicates: int,
    confidence: float,
    seed: int,
) -> Agreement:
    """The coefficient of the sums (units, disagreement, counts of each class) over units."""
    kinds, multiplicity = np.unique(np.column_stack([disagreement, counts]), axis=0, return_counts=True)
    features = np.column_stack([np.ones(len(kinds)), kinds])
    return _with_interval(coefficient, features, multiplicity, replicates, confidence, seed)


def _with_interval(
    coefficient: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray | spmatrix,
    multiplicity: np.ndarray,
    replicates: int,
    confidence: float,
    seed: int,
) -> Agreement:
    """The coefficient of `multiplicity @ features`, with a bootstrap over the units, of which each kind has so many."""
    n = int(multiplicity.sum())
    if n == 0:
        return Agreement(None, None, None, 0, 1.0)
    value = float(coefficient((multiplicity @ features)[None])[0])
    rng = np.random.default_rng(seed)
    at_once = max(1, MOST_ENTRIES // len(multiplicity))
    drawn = np.concatenate(
        [
            coefficient(rng.multinomial(n, multiplicity / n, min(at_once, replicates - start)) @ features)
            for start in range(0, replicates, at_once)
        ]
    )
    undefined_share = float(np.isnan(drawn).mean())
    if n < 2 or np.isnan(value) or undefined_share > 0.5:
        return Agreement(None if np.isnan(value) else value, None, None, n, undefined_share)
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Agreement(value, float(low), float(high), n, undefined_share)
