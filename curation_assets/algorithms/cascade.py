"""The cascade: a language model is asked about few records, a student learns to answer for the rest.

Here: which records are asked about within a budget, the student that predicts the model's P(yes) from features every
record has (embedding, signals, perplexity, cheap score), and what it is worth on records it was not fitted on. The
asking, its cache and its bill live in the stage. The design is ours, with the aims of arXiv 2402.09668, section 3.1.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from curation_assets.algorithms.agreement import Agreement, cohen_kappa
from curation_assets.algorithms.calibration import (
    Figure,
    Reliability,
    calibration_error,
    mean,
    platt,
    reliability,
    spearman,
)
from curation_assets.algorithms.sampling import uniforms

STRATIFIED, UNCERTAIN = "stratified", "uncertain"
LEAST_HELD_OUT = 30
"""Stratified answers below which no held-out figure is worth printing: at 30 the interval of a rank correlation of .5 is
.17 to .73 (Fisher's z)."""

ENDS = 0.01  # a P(yes) closer to 0 or 1 is taken for this far from it, or its logit would outweigh all others
PENALTIES = 10.0 ** np.arange(-3, 3.1, 0.5)  # of the ridge, per record
ROWS_AT_ONCE = 16_384  # standardised in float64 at a time when predicting
TAILS = (0.01, 0.99)  # quantiles beyond which a feature is cut: a text of a million characters is no lever


class Choice(NamedTuple):
    """The records to ask the language model about, m of n, in no telling order."""

    indices: np.ndarray
    """int64[m], ascending."""
    reason: np.ndarray
    """str[m]: "stratified" (drawn at random within its stratum) or "uncertain" (near the threshold)."""
    inclusion_probability: np.ndarray
    """float64[m]: of being chosen for either reason: 1 in the uncertain band, else the stratum's share."""
    stratified_probability: np.ndarray
    """float64[m]: of being drawn as stratified; the stratified records alone, weighted by 1 / it, stand for all n."""


class StudentFigures(NamedTuple):
    """What the student is worth, on stratified records it was not fitted on, weighted back to the whole set."""

    rank_correlation: Figure
    """Spearman with P(yes)."""
    cheap_rank_correlation: Figure | None
    """Spearman of the cheap score with P(yes), on the same records; None if it was not given."""
    squared_error: Figure
    """Mean (student - P(yes))²: the Brier score with P(yes) as the truth."""
    calibration_error: Figure
    reliability: Reliability
    kappa: Agreement
    """Cohen's kappa of student and language model, each saying yes from the threshold on; unweighted."""
    threshold: float
    is_good_enough: bool
    verdict: str
    """One or two sentences for the page."""


class Student(NamedTuple):
    """A fitted student: P(yes) = logistic(slope · (w · x + intercept) + offset) for standardised features x."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    """float64[d]: per standard deviation of a feature, in logits before calibration."""
    intercept: float
    slope: float
    offset: float
    penalty: float
    figures: StudentFigures | None = None

    def predict(self, features: np.ndarray) -> np.ndarray:
        """P(yes) of records, float64[n], for features float[n, d]; a feature that is not a number counts as average."""
        margins = [
            _standardised(self, features[start : start + ROWS_AT_ONCE]) @ self.weights + self.intercept
            for start in range(0, len(features), ROWS_AT_ONCE)
        ]
        return expit(self.slope * np.concatenate(margins or [np.empty(0)]) + self.offset)


def choose_for_llm(
    cheap_scores: np.ndarray,
    record_hashes: np.ndarray,
    budget: int,
    *,
    stratified_share: float = 0.5,
    strata: int = 10,
    threshold: float = 0.5,
    seed: int = 0,
) -> Choice:
    """Choose `budget` of n records: a share drawn at random within strata of the cheap score, the rest by uncertainty.

    Strata hold equally many records by rank of `cheap_scores` (float[n]; records of equal score are parted by their
    draw) and give equally many. What is left of the budget goes to the records whose cheap score is nearest to
    `threshold`, those already drawn being passed over. Draws come from `record_hashes` (uint64[n]) and the seed alone:
    the choice depends on no order.

    The end of the uncertain band depends a little on which records near it were drawn before; the inclusion
    probabilities take it as given.

    Raises ValueError where a score is not a number, hashes and scores differ in number, or a setting is out of range.
    """
    scores, hashes = np.asarray(cheap_scores, dtype=np.float64), np.asarray(record_hashes, dtype=np.uint64)
    if len(scores) != len(hashes):
        raise ValueError(f"choose_for_llm got {len(hashes)} record hashes for {len(scores)} cheap scores.")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"choose_for_llm: {np.count_nonzero(~np.isfinite(scores))} cheap scores are not numbers. "
            "Score every record with the cheap judge first."
        )
    if budget < 0 or strata < 1 or not 0 <= stratified_share <= 1:
        raise ValueError("choose_for_llm needs a budget ≥ 0, a stratum at least and a share between 0 and 1.")
    n = len(scores)
    budget = min(budget, n)
    draws = uniforms(hashes, seed)
    stratum = np.empty(n, np.int64)
    stratum[np.lexsort((draws, scores))] = np.arange(n) * strata // max(n, 1)
    sizes = np.bincount(stratum, minlength=strata)
    quotas = _quotas(sizes, round(budget * stratified_share))
    by_draw = np.lexsort((uniforms(hashes, seed + 1), stratum))  # another draw: the first one parted the ties
    place = np.empty(n, np.int64)
    place[by_draw] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_stratified = place < quotas[stratum]

    by_doubt = np.lexsort((draws, np.abs(scores - threshold)))
    others = by_doubt[~is_stratified[by_doubt]][: budget - np.count_nonzero(is_stratified)]
    is_chosen = is_stratified.copy()
    is_chosen[others] = True
    stratified_probability = (quotas / np.maximum(sizes, 1))[stratum]
    in_band = np.zeros(n, dtype=bool)
    if len(others):
        in_band[by_doubt[: np.flatnonzero(by_doubt == others[-1])[0] + 1]] = True
    indices = np.flatnonzero(is_chosen)
    return Choice(
        indices,
        np.where(is_stratified[indices], STRATIFIED, UNCERTAIN),
        np.where(in_band, 1.0, stratified_probability)[indices],
        stratified_probability[indices],
    )


def _quotas(sizes: np.ndarray, total: int) -> np.ndarray:
    """`total` places over strata as evenly as their sizes allow, int64[strata]; the middle ones get the odd ones."""
    quotas = np.zeros(len(sizes), np.int64)
    from_middle = np.argsort(np.abs(np.arange(len(sizes)) - (len(sizes) - 1) / 2), kind="stable")
    while (left := min(total, int(sizes.sum())) - int(quotas.sum())) > 0:
        open_strata = from_middle[quotas[from_middle] < sizes[from_middle]]
        share, odd = divmod(left, len(open_strata))
        quotas[open_strata] += share + (np.arange(len(open_strata)) < odd)
        quotas = np.minimum(quotas, sizes)
    return quotas


def fit_student(
    features: np.ndarray,
    p_yes: np.ndarray,
    record_hashes: np.ndarray,
    *,
    reason: np.ndarray,
    inclusion_probability: np.ndarray,
    stratified_probability: np.ndarray,
    cheap_scores: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    threshold: float = 0.5,
    least_rank_correlation: float = 0.5,
    folds: int = 5,
    seed: int = 0,
) -> Student:
    """Fit a student on the m answered records: ridge regression of logit P(yes) on the features, then calibrated.

    `features` float[m, d], `p_yes` float[m] in [0, 1]; `reason` and the probabilities as in `Choice`. The penalty is
    that of the least leave-one-out error (Allen 1974, in closed form); slope and offset are fitted to the
    leave-one-out predictions (Platt 1999, with P(yes) as the target and records weighted by 1 / inclusion
    probability; the slope is at least 0). The ridge itself is not weighted: it gains from answers near the threshold.

    The figures are of `folds` folds by record hash: each fold's stratified records are predicted by a fit, penalty and
    calibration included, without the fold. `groups` (int[m]) keeps near-identical records in one fold. Good enough is
    a student whose rank correlation's lower bound reaches `least_rank_correlation`.

    Raises ValueError for fewer than 30 stratified answers, a P(yes) outside [0, 1], and columns of different length.
    """
    features, p_yes = np.asarray(features, dtype=np.float64), np.asarray(p_yes, dtype=np.float64)
    is_stratified = np.asarray(reason) == STRATIFIED
    lengths = {len(c) for c in (features, p_yes, record_hashes, reason, inclusion_probability, stratified_probability)}
    if len(lengths) > 1:
        raise ValueError(f"fit_student needs one entry per answered record in every argument, got {sorted(lengths)}.")
    if not ((p_yes >= 0) & (p_yes <= 1)).all():
        raise ValueError("fit_student needs every P(yes) between 0 and 1; leave unanswered records out.")
    if is_stratified.sum() < LEAST_HELD_OUT:
        raise ValueError(
            f"fit_student got {is_stratified.sum()} stratified answers and needs {LEAST_HELD_OUT} to say what the "
            "student is worth. Raise the budget, or use the cheap judge alone."
        )
    weights = 1 / np.asarray(inclusion_probability, dtype=np.float64)
    fold = _folds(record_hashes, groups, folds, seed)
    predicted = np.empty(len(p_yes))
    for k in range(folds):
        student = _fit(features[fold != k], p_yes[fold != k], weights[fold != k])
        predicted[fold == k] = student.predict(features[fold == k])
    figures = _figures(
        predicted[is_stratified],
        p_yes[is_stratified],
        1 / np.asarray(stratified_probability, dtype=np.float64)[is_stratified],
        fold[is_stratified],
        None if cheap_scores is None else np.asarray(cheap_scores, dtype=np.float64)[is_stratified],
        threshold,
        least_rank_correlation,
    )
    return _fit(features, p_yes, weights)._replace(figures=figures)


def _folds(record_hashes: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """A fold per record, int64[m]: groups dealt out in the order of their smallest draw."""
    draws = uniforms(record_hashes, seed + 2)
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1]
        smallest = np.ones(int(number.max(initial=-1)) + 1)
        np.minimum.at(smallest, number, draws)
        draws = smallest[number]
    return np.unique(draws, return_inverse=True)[1] % folds


def _fit(features: np.ndarray, p_yes: np.ndarray, weights: np.ndarray) -> Student:
    from scipy.linalg import svd

    student = _scaling(features)
    x = _standardised(student, features)
    p = np.clip(p_yes, ENDS, 1 - ENDS)
    y = np.log(p / (1 - p))
    n, centre, middle = len(y), x.mean(axis=0), y.mean()
    left, singular, right = svd(x - centre, full_matrices=False)
    projected = left.T @ (y - middle)
    best = (np.inf, 0.0, y)
    for penalty in PENALTIES * n:
        shrunk = singular**2 / (singular**2 + penalty)
        # In a linear smoother the residual of a record left out is its residual / (1 - its leverage).
        leverage = 1 / n + left**2 @ shrunk
        left_out = y - (y - middle - left @ (shrunk * projected)) / np.maximum(1 - leverage, 1e-9)
        best = min(best, (float(((y - left_out) ** 2).mean()), float(penalty), left_out), key=lambda found: found[0])
    _, penalty, left_out = best
    coefficients = right.T @ (singular / (singular**2 + penalty) * projected)
    slope, offset = platt(left_out, p_yes, weights=weights)
    return student._replace(
        weights=coefficients,
        intercept=float(middle - centre @ coefficients),
        slope=slope,
        offset=offset,
        penalty=penalty / n,
    )


def _scaling(features: np.ndarray) -> Student:
    """A student that only knows how to standardise; features cut to their quantiles, then to mean 0 and deviation 1."""
    is_empty = np.isnan(features).all(axis=0)
    known = np.where(is_empty, 0.0, features)
    low, high = np.nanquantile(known, TAILS, axis=0)
    cut = np.clip(known, low, high)
    deviation = np.nanstd(cut, axis=0)
    deviation[deviation < 1e-12] = 1.0
    return Student(low, high, np.nanmean(cut, axis=0), deviation, np.zeros(len(low)), 0.0, 1.0, 0.0, 0.0)


def _standardised(student: Student, features: np.ndarray) -> np.ndarray:
    cut = np.clip(np.asarray(features, dtype=np.float64), student.low, student.high)
    return np.nan_to_num((cut - student.mean) / student.deviation, nan=0.0)


def _figures(
    predicted: np.ndarray,
    p_yes: np.ndarray,
    weights: np.ndarray,
    fold: np.ndarray,
    cheap_scores: np.ndarray | None,
    threshold: float,
    least: float,
) -> StudentFigures:
    rank = spearman(predicted, p_yes, weights=weights, folds=fold)
    cheap = None if cheap_scores is None else spearman(cheap_scores, p_yes, weights=weights, folds=fold)
    is_good_enough = rank.low is not None and rank.low >= least
    return StudentFigures(
        rank_correlation=rank,
        cheap_rank_correlation=cheap,
        squared_error=mean((predicted - p_yes) ** 2, weights=weights),
        calibration_error=calibration_error(predicted, p_yes, weights=weights),
        reliability=reliability(predicted, p_yes, weights=weights),
        kappa=cohen_kappa(predicted >= threshold, p_yes >= threshold),
        threshold=threshold,
        is_good_enough=is_good_enough,
        verdict=_verdict(rank, cheap, least, is_good_enough),
    )


def _verdict(rank: Figure, cheap: Figure | None, least: float, is_good_enough: bool) -> str:
    if rank.value is None:
        return (
            f"The student is not good enough to answer for the language model: on {rank.n} records it gives every one "
            "the same score, or the language model does. Use the cheap judge, or ask about more records."
        )
    figure = f"rank correlation {rank.value:.2f} [{rank.low:.2f}, {rank.high:.2f}] on {rank.n} held-out records"
    beside = "" if cheap is None or cheap.value is None else f"; the cheap judge alone reaches {cheap.value:.2f}"
    if is_good_enough:
        return f"The student orders records as the language model does: {figure}{beside}."
    return (
        f"The student is not good enough to answer for the language model: {figure}{beside}, and the lower bound is "
        f"under {least:.2f}. Ask about more records, use the language model's answers only, or stay with the cheap judge."
    )
