"""Which records a budget takes: weights from quality and density, and weighted sampling without replacement.

Every draw comes from a record's own hash, so it depends on neither the order nor the company of the records, and every
record gets the probability with which it was taken, so a figure over the sample can be weighted back to the whole.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

QUALITY_FLOOR = 0.01  # ours: a quality of 0 would be a silent exclusion; dropping is a verdict, not a weight
LONG = 0.02  # ours: a record of this share of the budget is less likely to fit where a short one still does
NEGLIGIBLE_WEIGHT = 1e-100  # below it a weight counts as 0: keys and their thresholds stay finite


class Sample(NamedTuple):
    """What a budget took out of n records.

    ``selected`` bool[n]; ``inclusion_probability`` float64[n], the probability that a new seed selects the record (1 /
    it is the record's Horvitz-Thompson weight); ``key`` float64[n], the order of selection: smallest first.
    """

    selected: np.ndarray
    inclusion_probability: np.ndarray
    key: np.ndarray


class Ceiling(NamedTuple):
    """What caps on groups leave of n records before a budget is spent.

    ``is_over`` bool[n]: the record's group is full without it; ``tau`` float64[n]: the largest τ at which the group
    takes records (inf without a cap); ``cut`` float64[n]: the largest key its group keeps (inf without a cap).
    """

    is_over: np.ndarray
    tau: np.ndarray
    cut: np.ndarray


def weights(
    quality: np.ndarray,
    density: np.ndarray,
    a: float,
    *,
    sharpness: float = 1.0,
    max_inverse_density_ratio: float | None = 50.0,
) -> np.ndarray:
    """The sampling weight of each record, float64[n]: (quality^a · density^-(1-a))^sharpness.

    a = 1 follows quality alone, a = 0 evens out the embedding space (inverse propensity, arXiv 2402.09668, Theorem
    A.2); mixing the two is ours. At a = .5 each has half its exponent, so the draw is less even than at a = 0;
    ``sharpness`` 2 makes it quality / density. ``quality`` in [0, 1] is raised to at least ``QUALITY_FLOOR``, ``density`` must be
    above 0. An inverse density above ``max_inverse_density_ratio`` × the median is lowered to it (None: not at all): outliers
    have the lowest density and would otherwise be taken first of all.

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
    if not sharpness > 0:
        raise ValueError(f"weights needs a sharpness above 0, got {sharpness}.")
    rarity = 1 / density
    if len(rarity) and max_inverse_density_ratio is not None:
        rarity = np.minimum(rarity, max_inverse_density_ratio * np.median(rarity))
    return (np.maximum(quality, QUALITY_FLOOR) ** a * rarity ** (1 - a)) ** sharpness


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


def keys(weights: np.ndarray, record_hashes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each record's key E / weight with E = -ln(uniform), float64[n] (Efraimidis & Spirakis 2006): smallest first.

    A weight below ``NEGLIGIBLE_WEIGHT`` gives inf: never taken.
    """
    key = np.full(len(weights), np.inf)
    has_weight = weights >= NEGLIGIBLE_WEIGHT
    key[has_weight] = -np.log(uniforms(np.asarray(record_hashes)[has_weight], seed)) / weights[has_weight]
    return key


def ceiling(
    weights: np.ndarray, record_hashes: np.ndarray, labels: np.ndarray, caps: Mapping[int, int], *, seed: int = 0
) -> Ceiling:
    """Keep of each capped group the ``caps[label]`` records of smallest key, before any budget is spent.

    ``labels`` int[n]. The keys are those ``sample`` draws by, so a record is selected exactly if its key is below both
    its group's and the budget's threshold, and its inclusion probability is 1 - exp(-weight · min(τ of both)).
    """
    weights = np.asarray(weights, dtype=np.float64)
    key = keys(weights, record_hashes, seed)
    is_over, tau, cut = np.zeros(len(weights), dtype=bool), np.full(len(weights), np.inf), np.full(len(weights), np.inf)
    for label, cap in caps.items():
        members = np.flatnonzero((labels == label) & np.isfinite(key))
        if len(members) <= cap:
            continue
        order = members[np.argsort(key[members], kind="stable")]
        is_over[order[cap:]] = True
        tau[members] = threshold(weights[members], np.ones(len(members)), cap)
        cut[members] = key[order[cap - 1]] if cap else 0.0
    return Ceiling(is_over, tau, cut)


def sample(
    weights: np.ndarray,
    record_hashes: np.ndarray,
    *,
    budget_records: int | None = None,
    budget_tokens: int | None = None,
    tokens: np.ndarray | None = None,
    under: Ceiling | None = None,
    seed: int = 0,
) -> Sample:
    """Take records with probability growing with their weight, without replacement, until the budget is spent.

    Records are taken in the order of their ``keys``. Give exactly one budget. ``budget_records``: that many.
    ``budget_tokens`` with ``tokens`` (int[n]): up to but without the first record that no longer fits, so that long
    records are not passed over for short ones; a record longer than the whole budget is never taken and has inclusion
    probability 0, as has one of weight 0 (below 1e-100). ``under``: the ``ceiling`` of caps on groups; records over
    their cap are passed over.

    The inclusion probability is 1 - exp(-weight · τ) with τ such that the probabilities (times the tokens) add up to
    the budget (Rosén 1997, sequential order sampling: exact as n grows). Under a token budget about half a record's
    tokens stay unspent: the expected remainder of a renewal process, Σ m·t² / (2 Σ m·t) with m = weight · exp(-weight ·
    τ), is taken off first. A record is taken if what comes before it leaves room for all of it, which counts where one
    may be more than ``LONG`` of the budget: then a record of t tokens has a τ of its own, that at which the expected
    tokens are c - t · exp(-weight · τ), with c such that the sum stays the same (Ours). Of 300 records of unequal
    weight and length (log-normal, σ = 1), the longest up to a third of the budget, the probabilities were within .03 of
    the frequencies over 3,000 seeds; of 30, the longest as long as the budget, within .04.

    What the caps leave differs from draw to draw. Where the budget buys all of it, the caps alone make the chance.

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
    key = np.where(eligible, keys(weights, record_hashes, seed), np.inf)
    may_be_taken = eligible if under is None else eligible & ~under.is_over
    order = np.flatnonzero(may_be_taken)
    order = order[np.argsort(key[order], kind="stable")]
    selected = np.zeros(len(weights), dtype=bool)
    selected[order[np.cumsum(sizes[order]) <= budget]] = True
    highest = np.full(len(weights), np.inf) if under is None else under.tau
    probability, w, top = np.zeros(len(weights)), weights[eligible], highest[eligible]
    if selected[order].all():
        probability[eligible] = -np.expm1(-w * top)
    else:
        probability[eligible] = _chances(w, sizes[eligible], budget, top, is_by_tokens=budget_tokens is not None)
    return Sample(selected, probability, key)


def _chances(
    weights: np.ndarray, sizes: np.ndarray, budget: float, highest: np.ndarray, *, is_by_tokens: bool
) -> np.ndarray:
    """The inclusion probabilities of records that a budget does not buy all of, as `sample` says."""
    tau = threshold(weights, sizes, budget, highest=highest, remainder=is_by_tokens)
    if not is_by_tokens or not np.isfinite(tau) or sizes.max() <= LONG * budget:
        return -np.expm1(-weights * np.minimum(tau, highest))
    grid = tau * np.exp(np.linspace(-10, 5, 151))
    spent = np.array([-np.expm1(-weights * np.minimum(one, highest)) @ sizes for one in grid])
    expected = float(-np.expm1(-weights * np.minimum(tau, highest)) @ sizes)
    own = sizes * np.exp(-weights * np.minimum(tau, highest))

    def chances(c: float) -> np.ndarray:
        taus = np.exp(np.interp(expected + c - own, spent, np.log(grid)))
        return -np.expm1(-weights * np.minimum(taus, highest))

    reach = float(own.max())
    low, high = (float(chances(c) @ sizes) - expected for c in (-reach, reach))
    return chances(brentq(lambda c: float(chances(c) @ sizes) - expected, -reach, reach) if low < 0 < high else reach)


def threshold(
    weights: np.ndarray,
    sizes: np.ndarray,
    budget: float,
    *,
    highest: np.ndarray | None = None,
    remainder: bool = False,
) -> float:
    """τ such that Σ sizes · (1 - exp(-weight · min(τ, highest))) is the budget: inf if it buys all, 0 if nothing."""
    if budget <= 0 or not len(weights):
        return 0.0
    highest = np.full(len(weights), np.inf) if highest is None else highest
    scaled, top = weights / weights.max(), highest * weights.max()
    if -np.expm1(-scaled * top) @ sizes <= budget * (1 + 1e-12):
        return np.inf
    lightest = scaled.min()

    def spent(log_tau: float) -> float:
        return float(-np.expm1(-scaled * np.minimum(np.exp(log_tau), top)) @ sizes) - budget

    def spent_with_remainder(log_tau: float) -> float:
        tau = np.exp(log_tau)
        margin = scaled * np.exp(-(scaled - lightest) * tau) * sizes * (tau <= top)
        expected = float(margin @ sizes / (2 * margin.sum())) if margin.any() else 0.0
        return spent(log_tau) + expected

    low, high = -60.0, np.log(60.0 / lightest)
    function = spent_with_remainder if remainder and spent_with_remainder(low) < 0 else spent
    if function(high) <= 0:  # the budget is all but the whole
        return np.inf
    return float(np.exp(brentq(function, low, high)) / weights.max())
