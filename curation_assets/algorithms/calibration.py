"""What a score is worth against the truth: whether it puts records in the right order and means what it says.

Rank correlation, AUC, reliability curve, squared error and calibration error, each with its number of records and a
percentile interval of the bootstrap over records, or over groups of records that belong together (Efron & Tibshirani
1993, section 13.3). Weights are inverse inclusion probabilities: with them the figures are of the whole set that the
records were drawn from, not of the draw.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import expit

MOST_ENTRIES = 4_000_000  # of resampled weights held at once
REPLICATES = 1_000
BINS = 10


class Figure(NamedTuple):
    """A figure with its interval; None where it is undefined (nothing to rank, one class only)."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Records it was measured on."""


class Reliability(NamedTuple):
    """One entry per bin of about equally many records, by ascending score; all arrays of one length."""

    predicted: np.ndarray
    """float64: the bin's mean score."""
    observed: np.ndarray
    """float64: the mean truth of its records."""
    low: np.ndarray
    """float64: the interval of the observed mean."""
    high: np.ndarray
    n: np.ndarray
    """int64: records in the bin."""


def spearman(
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """Spearman's rank correlation, by weighted mid-ranks.

    `folds` (int[n]): scores of different folds come from different fits, and are ranked only within their fold. (Ranked
    together they correlate *negatively* with the truth when the fits know nothing: each fit predicts about the mean of
    the other folds, which is low where the own fold's is high.) Undefined where the scores or the truth of every fold
    are constant.

    >>> spearman(np.array([1, 2, 3, 4]), np.array([10, 20, 40, 30])).value.__round__(3)
    0.8
    """
    scores, truth = _numbers(scores, truth)
    folds = np.zeros(len(scores), np.int64) if folds is None else np.asarray(folds)
    members = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]

    def correlation(drawn: np.ndarray) -> np.ndarray:
        sums = np.zeros((3, len(drawn)))
        for of_fold in members:
            w = drawn[:, of_fold]
            a, b = _centred_ranks(scores[of_fold], w), _centred_ranks(truth[of_fold], w)
            sums += np.stack([(w * a * b).sum(axis=1), (w * a * a).sum(axis=1), (w * b * b).sum(axis=1)])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.clip(sums[0] / np.sqrt(sums[1] * sums[2]), -1, 1)
            return np.where(np.minimum(sums[1], sums[2]) > 1e-9, found, np.nan)

    return _figure(correlation, _weights(weights, len(scores)), None, replicates, confidence, seed)


def auc(
    scores: np.ndarray,
    is_positive: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """The probability that a positive record scores above a negative one, ties one half (Hanley & McNeil 1982).

    `groups` (int[n]): records of one group are drawn together. Undefined without both classes.

    >>> auc(np.array([.1, .4, .35, .8]), np.array([0, 0, 1, 1])).value
    0.75
    """
    scores, is_positive = _numbers(scores, np.asarray(is_positive, dtype=bool))
    order, starts = _ties(scores)

    def area(drawn: np.ndarray) -> np.ndarray:
        positive = np.add.reduceat((drawn * is_positive)[:, order], starts, axis=1)
        negative = np.add.reduceat((drawn * (1 - is_positive))[:, order], starts, axis=1)
        below = negative.cumsum(axis=1) - negative / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))

    return _figure(area, np.ones(len(scores)), groups, replicates, confidence, seed)


def mean(
    values: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """The mean; of squared differences between probability and truth it is the Brier score (Brier 1950)."""
    values = np.asarray(values, dtype=np.float64)

    def of(drawn: np.ndarray) -> np.ndarray:
        return drawn @ values / drawn.sum(axis=1)

    return _figure(of, _weights(weights, len(values)), None, replicates, confidence, seed)


def reliability(
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    bins: int = BINS,
    confidence: float = 0.95,
    seed: int = 0,
) -> Reliability:
    """Mean truth against mean score in bins of equally many records (DeGroot & Fienberg 1983).

    `truth` in [0, 1], classes or probabilities. Equal scores share a bin, so there may be fewer than `bins`.
    """
    scores, truth = _numbers(scores, truth)
    w, of_bin = _weights(weights, len(scores)), _bins(scores, bins)
    entries = []
    for b in range(of_bin.max(initial=-1) + 1):
        inside = of_bin == b
        observed = mean(truth[inside], weights=w[inside], confidence=confidence, seed=seed)
        entries.append((np.average(scores[inside], weights=w[inside]), *observed))
    columns = np.array(entries, dtype=np.float64).reshape(-1, 5).T
    return Reliability(*columns[:4], columns[4].astype(np.int64))


def calibration_error(
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    bins: int = BINS,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """Expected calibration error: the mean over records of |mean truth - mean score| of their bin (Naeini et al. 2015).

    Bins hold equally many records. It is above 0 by chance alone, about as much as a bin's mean truth is uncertain.
    """
    scores, truth = _numbers(scores, truth)
    of_bin = _bins(scores, bins)
    is_in = (of_bin[:, None] == np.arange(of_bin.max(initial=0) + 1)).astype(np.float64)

    def error(drawn: np.ndarray) -> np.ndarray:
        return np.abs((drawn * (truth - scores)) @ is_in).sum(axis=1) / drawn.sum(axis=1)

    return _figure(error, _weights(weights, len(scores)), None, replicates, confidence, seed)


def platt(margins: np.ndarray, truth: np.ndarray, *, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Slope ≥ 0 and offset of the logistic curve that turns margins into probabilities (Platt 1999), by log loss.

    `truth` in [0, 1], classes or probabilities. Margins that order records the wrong way round get slope 0: all the
    same probability, the mean. Give margins of records that were not fitted on.
    """
    from scipy.optimize import minimize

    margins, truth = _numbers(margins, truth)
    w = _weights(weights, len(margins))
    share = w / w.sum()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * margins + parameters[1]
        error = share * (expit(z) - truth)
        return float(share @ (np.logaddexp(0, z) - truth * z)), np.array([error @ margins, error.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0]), float(found.x[1])


def _numbers(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if scores.shape != truth.shape:
        raise ValueError(f"Scores and truth must be of the same records, got {scores.shape} and {truth.shape}.")
    if not (np.isfinite(scores).all() and np.isfinite(truth).all()):
        raise ValueError("Scores and truth must be numbers throughout; leave records without one out first.")
    return scores, truth


def _weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order by value, and where in it each run of equal values starts."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(values) else order


def _centred_ranks(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Weighted mid-ranks as shares of the weight, less their mean of one half: float64[replicates, n]."""
    order, starts = _ties(values)
    tied = np.add.reduceat(drawn[:, order], starts, axis=1)
    total = np.maximum(tied.sum(axis=1, keepdims=True), 1e-300)
    ranks = np.empty_like(drawn)
    ranks[:, order] = np.repeat((tied.cumsum(axis=1) - tied / 2) / total - 0.5, np.diff([*starts, len(values)]), axis=1)
    return ranks


def _bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each record, int64[n] from 0: equal scores together, empty bins left out."""
    order, starts = _ties(scores)
    of_run = starts * bins // max(len(scores), 1)
    numbers = np.empty(len(scores), np.int64)
    numbers[order] = np.repeat(np.unique(of_run, return_inverse=True)[1], np.diff([*starts, len(scores)]))
    return numbers


def _resampled(n: int, groups: np.ndarray | None, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """How often each record is drawn, float64[some replicates, n] at a time."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max(initial=-1)) + 1
    at_once = max(1, MOST_ENTRIES // max(n, 1))
    for start in range(0, replicates, at_once):
        drawn = rng.multinomial(units, np.full(units, 1 / units), min(at_once, replicates - start))
        yield drawn[:, member].astype(np.float64)


def _figure(
    statistic: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray,
    groups: np.ndarray | None,
    replicates: int,
    confidence: float,
    seed: int,
) -> Figure:
    n = len(weights)
    value = float(statistic(weights[None])[0]) if n else np.nan
    if np.isnan(value):
        return Figure(None, None, None, n)
    drawn = np.concatenate([statistic(times * weights) for times in _resampled(n, groups, replicates, seed)])
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Figure(value, float(low), float(high), n)
