"""What a sample says about the whole it was drawn from: means and shares weighted back by 1 / inclusion probability.

The whole is every record that could have been drawn. A record that had no chance is spoken for by nobody, so one
probability of 0 refuses the estimate; samples of deterministic strategies (probability 1 or 0) always do.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import t

LEAST_DEGREES = 4.0
"""Degrees of freedom an interval is given at least (ours): where one record carries the variance, t with 1 spans anything."""


class Estimate(NamedTuple):
    """An estimate of the whole with its interval at the asked confidence, and its standard error."""

    value: float
    low: float
    high: float
    standard_error: float


def mean(
    values: np.ndarray,
    inclusion_probability: np.ndarray,
    selected: np.ndarray,
    *,
    sizes: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the mean of ``values`` over all n records from those ``selected`` (bool[n]).

    ``values`` float64[n] is read where selected only; ``inclusion_probability`` float64[n]. The estimate is Hájek's
    ratio Σ y/π / Σ 1/π over the sample (Hájek 1971; Särndal, Swensson & Wretman 1992, section 5.7): the
    Horvitz-Thompson total over the Horvitz-Thompson count. Its variance is that of the residuals e = y - mean under
    order sampling (Rosén 1997, Theorem 3.1, the sums over the whole estimated by the sample's): Σ (1 - π) (e/π -
    B·size)² · n / (n - 1), B = Σ f·e/π / Σ f·size with f = -(1 - π) ln(1 - π) / π, the pull of the threshold. ``sizes``:
    what the budget counts, ones by default (records), tokens under a token budget. With ``strata`` (int[n]) each has its
    own budget and its own B. The interval uses Student's t with as many degrees of freedom as the contributions c to
    the variance are worth: (Σ c)² / Σ c² - 1 (Ours, after Satterthwaite 1946): a few records of small probability may
    carry it all. At least ``LEAST_DEGREES``.

    Raises ValueError if a record of the whole had no chance, or fewer than two were selected.
    """
    pi = np.asarray(inclusion_probability, dtype=np.float64)
    if not (pi > 0).all():
        raise ValueError(
            f"{np.count_nonzero(~(pi > 0)):,} of {len(pi):,} records had no chance of selection (inclusion probability "
            "0): the sample cannot speak for them. Draw with quality_coverage, density or random and a budget above the "
            "longest record."
        )
    chosen = np.flatnonzero(selected)
    if len(chosen) < 2:
        raise ValueError(f"an interval needs at least 2 selected records, got {len(chosen)}.")
    y, p = np.asarray(values, dtype=np.float64)[chosen], pi[chosen]
    count = (1 / p).sum()
    value = float((y / p).sum() / count)
    size = np.ones(len(chosen)) if sizes is None else np.asarray(sizes, dtype=np.float64)[chosen]
    stratum = (
        np.zeros(len(chosen), dtype=np.int64) if strata is None else np.unique(strata[chosen], return_inverse=True)[1]
    )
    contributions = _contributions((y - value) / p, p, size, stratum)
    variance = float(contributions.sum())
    error = np.sqrt(variance) / count
    if variance == 0:
        return Estimate(value, value, value, 0.0)
    worth = max(LEAST_DEGREES, variance**2 / float(np.square(contributions).sum()) - 1)
    reach = (t.ppf(0.5 + confidence / 2, worth) if worth < 1e6 else ndtri(0.5 + confidence / 2)) * error
    return Estimate(value, value - reach, value + reach, float(error))


def share(
    is_member: np.ndarray,
    inclusion_probability: np.ndarray,
    selected: np.ndarray,
    *,
    sizes: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the share of all n records with ``is_member`` (bool[n]), as ``mean`` does; the interval stays in [0, 1].

    The interval is made on the logit scale, where a share near 0 has a symmetric one (Korn & Graubard 1999, *Analysis of
    Health Surveys*, section 2.4); the variance is that of ``mean``. A sample without a member, or of members only, has
    no variance and still may miss some: there the interval ends where Clopper & Pearson's (1934) does for as many
    records as the sample is worth, (Σ 1/π)² / Σ 1/π² (Kish 1965, section 11.7); it is the point only if the sample is
    the whole.
    """
    plain = mean(is_member, inclusion_probability, selected, sizes=sizes, strata=strata, confidence=confidence)
    if not 0 < plain.value < 1:
        drawn = 1 / np.asarray(inclusion_probability, dtype=np.float64)[selected]
        if drawn.max() == 1:
            return plain
        reach = 1 - (0.5 - confidence / 2) ** (np.square(drawn).sum() / drawn.sum() ** 2)
        low, high = (0.0, reach) if plain.value <= 0 else (1 - reach, 1.0)
        return plain._replace(low=float(low), high=float(high))
    if plain.standard_error == 0:
        return plain
    logit = np.log(plain.value / (1 - plain.value))
    reach = (plain.high - plain.value) / (plain.value * (1 - plain.value))
    low, high = (1 / (1 + np.exp(-np.array([logit - reach, logit + reach])))).tolist()
    return Estimate(plain.value, low, high, plain.standard_error)


def _contributions(scaled: np.ndarray, pi: np.ndarray, size: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Each selected record's part of the variance: (1 - π)(e/π - B·size)², the small-sample factor n / (n - 1) in it."""
    left = 1 - pi
    pull = np.divide(-left * np.log(np.maximum(left, 1e-300)), pi)
    total = np.bincount(stratum, pull * size)
    slope = np.divide(np.bincount(stratum, pull * scaled), total, out=np.zeros_like(total), where=total > 0)
    numbers = np.bincount(stratum)
    factor = numbers / np.maximum(1, numbers - 1)
    return factor[stratum] * left * (scaled - slope[stratum] * size) ** 2
