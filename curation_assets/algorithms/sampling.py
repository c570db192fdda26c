"""Which records a budget takes: weights from quality and density, and weighted sampling without replacement.

Every draw comes from a record's own hash, so it depends on neither the order nor the company of the records, and every
record gets the probability with which it was taken, so a figure over the sample can be weighted back to the whole.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

QUALITY_FLOOR = 0.01  # ours: a quality of 0 would be a silent exclusion; dropping is a verdict, not a weight
NEGLIGIBLE_WEIGHT = 1e-100  # below it a weight counts as 0: keys and their thresholds stay finite


class Sample(NamedTuple):
    """What a budget took out of n records.

    ``selected`` bool[n]; ``inclusion_probability`` float64[n], the probability that a new seed selects the record (1 /
    it is the record's Horvitz-Thompson weight); ``key`` float64[n], the order of selection: smallest first.
    """

    selected: np.ndarray
    inclusion_probability: np.ndarray
    key: np.ndarray


def weights(quality: np.ndarray, density: np.ndarray, a: float, *, max_ratio: float = 50.0) -> np.ndarray:
    """The sampling weight of each record, float64[n]: quality^a · density^-(1-a).

    a = 1 follows quality alone, a = 0 evens out the embedding space (inverse propensity, arXiv 2402.09668, Theorem
    A.2); mixing the two is ours. ``quality`` in [0, 1] is raised to at least ``QUALITY_FLOOR``, ``density`` must be
    above 0. Weights above ``max_ratio`` × the median are lowered to it: outliers have the lowest density and would
    otherwise be taken first of all.

    >>> weights(np.array([0.9, 0.9, 0.1]), np.array([1.0, 4.0, 1.0]), a=0.5).round(3)
    array([0.949, 0.474, 0.316])
    """
    quality, density = np.asarray(quality, dtype=np.float64), np.asarray(density, dtype=np.float64)
    if not 0 <= a <= 1:
        raise ValueError(f"weights needs a between 0 (coverage) and 1 (quality), got {a}.")
    if not ((quality >= 0) & (quality <= 1)).all():
        raise ValueError("weights needs every quality between 0 and 1; some are outside or not a number.")
    if not ((density > 0) & np.isfinite(density)).all():
        raise ValueError("weights needs every density above 0 and finite; score every record first.")
    raw = np.maximum(quality, QUALITY_FLOOR) ** a * density ** (a - 1)
    return np.minimum(raw, max_ratio * np.median(raw)) if len(raw) else raw


def uniforms(record_hashes: np.ndarray, seed: int = 0) -> np.ndarray:
    """One draw in (0, 1) per record, float64[n], from its stable uint64 hash and the seed alone.

    SplitMix64's finaliser (Steele, Lea & Flood 2014) over hash + seed × golden ratio, top 53 bits, half a step off 0.
    """
    mixed = _mix(np.asarray(record_hashes, dtype=np.uint64) ^ _mix(np.array([seed], dtype=np.uint64)))
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sample(
    weights: np.ndarray,
    record_hashes: np.ndarray,
    *,
    budget_records: int | None = None,
    budget_tokens: int | None = None,
    tokens: np.ndarray | None = None,
    seed: int = 0,
) -> Sample:
    """Take records with probability growing with their weight, without replacement, until the budget is spent.

    Each record's key is E / weight with E = -ln(uniform) (Efraimidis & Spirakis 2006); records are taken in the order
    of their keys. Give exactly one budget. ``budget_records``: that many. ``budget_tokens`` with ``tokens`` (int[n]):
    up to but without the first record that no longer fits, so that long records are not passed over for short ones; a
    record longer than the whole budget is never taken and has inclusion probability 0, as has one of weight 0 (below
    1e-100).

    The inclusion probability is 1 - exp(-weight · τ) with τ such that the probabilities (times the tokens) add up to
    the budget (Rosén 1997, sequential order sampling: exact as n grows). Under a token budget about half a record's
    tokens stay unspent: the expected remainder of a renewal process, Σ m·t² / (2 Σ m·t) with m = weight · exp(-weight ·
    τ), is taken off first.

    Raises ValueError for two budgets or none, weights that are negative or not finite, and missing tokens.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if (budget_records is None) == (budget_tokens is None):
        raise ValueError("sample needs exactly one of budget_records and budget_tokens.")
    if not ((weights >= 0) & (weights <= 1 / NEGLIGIBLE_WEIGHT)).all():
        raise ValueError("sample needs every weight between 0 and 1e100; some are outside or not a number.")
    if len(record_hashes) != len(weights):
        raise ValueError(f"sample got {len(record_hashes)} record hashes for {len(weights)} weights.")
    if budget_tokens is None:
        budget, sizes = budget_records, np.ones(len(weights))
    elif tokens is None or len(tokens) != len(weights) or np.min(tokens, initial=1) < 1:
        raise ValueError("sample with budget_tokens needs tokens: one count of at least 1 per record.")
    else:
        budget, sizes = budget_tokens, np.asarray(tokens, dtype=np.float64)

    eligible = (weights >= NEGLIGIBLE_WEIGHT) & (sizes <= budget)
    key = np.full(len(weights), np.inf)
    key[eligible] = -np.log(uniforms(np.asarray(record_hashes)[eligible], seed)) / weights[eligible]
    order = np.argsort(key, kind="stable")[: np.count_nonzero(eligible)]
    selected = np.zeros(len(weights), dtype=bool)
    selected[order[np.cumsum(sizes[order]) <= budget]] = True
    probability = np.zeros(len(weights))
    probability[eligible] = _inclusion_probabilities(
        weights[eligible], sizes[eligible], budget, remainder=budget_tokens is not None
    )
    return Sample(selected, probability, key)


def _inclusion_probabilities(weights: np.ndarray, sizes: np.ndarray, budget: float, *, remainder: bool) -> np.ndarray:
    if sizes.sum() <= budget:
        return np.ones(len(weights))
    if budget <= 0:
        return np.zeros(len(weights))
    scaled = weights / weights.max()
    lightest = scaled.min()

    def spent(log_tau: float) -> float:
        return float(-np.expm1(-scaled * np.exp(log_tau)) @ sizes) - budget

    def spent_with_remainder(log_tau: float) -> float:
        margin = scaled * np.exp(-(scaled - lightest) * np.exp(log_tau)) * sizes
        return spent(log_tau) + float(margin @ sizes / (2 * margin.sum()))

    low, high = -60.0, np.log(60.0 / lightest)
    function = spent_with_remainder if remainder and spent_with_remainder(low) < 0 else spent
    if function(high) <= 0:  # the budget is all but the whole
        return np.ones(len(weights))
    return -np.expm1(-scaled * np.exp(brentq(function, low, high)))
