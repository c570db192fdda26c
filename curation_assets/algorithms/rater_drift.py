"""Who drifts or tires over a session of labelling: the last third of the answers held against the first.

What is compared is agreement with the others *on the same items*, since the queue has easy and hard stretches; and only
among items queued for the same reason, of which one session may see more early and more late. Seconds are told and not
tested: everybody gets faster with practice.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import hypergeom


class Difference(NamedTuple):
    """A difference of two shares and its interval."""

    value: float
    low: float
    high: float


def others_majority(answers: pl.DataFrame) -> pl.Series:
    """What most of the other raters gave the record of each answer, leaving the answer itself out; null on a tie or without others.

    `answers` has one row per rater and record: `rater`, `record_id`, `label` (not null).

    >>> others_majority(pl.DataFrame({"rater": list("abc"), "record_id": [1, 1, 1], "label": ["x", "x", "y"]})).to_list()
    [None, None, 'x']
    """
    numbered = answers.select("rater", "record_id", "label").with_row_index("answer")
    tally = (
        numbered.select("answer", "rater", "record_id")
        .join(numbered.drop("answer"), on="record_id", suffix="_other")
        .filter(pl.col("rater") != pl.col("rater_other"))
        .group_by("answer", "label")
        .len()
    )
    most = tally.filter(pl.col("len") == pl.col("len").max().over("answer"))
    alone = most.filter(pl.len().over("answer") == 1)
    return numbered.join(alone.select("answer", others="label"), on="answer", how="left").sort("answer")["others"]


def session_numbers(times: np.ndarray, gap_seconds: float) -> np.ndarray:
    """The session of each answer of one rater, int64[n] from 1: a pause of more than `gap_seconds` starts another.

    `times`: datetime64 in ascending order.
    """
    pauses = np.diff(times).astype("timedelta64[us]").astype(np.int64) / 1e6
    return 1 + np.concatenate([[0], np.cumsum(pauses > gap_seconds)])[: len(times)].astype(np.int64)


def thirds(n: int) -> np.ndarray:
    """The third of a session each of n answers is in, int64[n]: 0 early, 1, 2 late. The outer ones are as large as each other."""
    outer = (n + 1) // 3
    return np.repeat([0, 1, 2], [outer, n - 2 * outer, outer])


def excess_late_p(events: np.ndarray, is_late: np.ndarray, strata: np.ndarray) -> float:
    """How likely so many or more of the events would fall late if early and late were alike: exact, one-sided.

    `events`, `is_late` bool[n]; `strata` int[n]: only items of the same stratum are compared. Given each stratum's numbers
    of events and of late items, the events that fall late are hypergeometric, and their sum over strata is the
    convolution (the exact conditional test of Mantel & Haenszel's tables: Gart 1970, Biometrika 57, section 2; with one
    stratum Fisher's exact test).

    >>> excess_late_p(np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8, int)).__round__(4)
    0.0143
    """
    events, is_late = np.asarray(events, bool), np.asarray(is_late, bool)
    distribution, observed = np.ones(1), int((events & is_late).sum())
    for stratum in np.unique(strata):
        inside = strata == stratum
        n, late, all_events = int(inside.sum()), int((inside & is_late).sum()), int((inside & events).sum())
        distribution = np.convolve(distribution, hypergeom.pmf(np.arange(all_events + 1), n, all_events, late))
    return float(min(1.0, distribution[observed:].sum()))


def difference_of_shares(early: int, of_early: int, late: int, of_late: int, z: float = 1.959964) -> Difference | None:
    """The late share less the early one, with Newcombe's interval (1998, Statistics in Medicine 17, method 10); None without answers.

    >>> difference_of_shares(48, 80, 56, 70).__class__.__name__, [round(x, 4) for x in difference_of_shares(48, 80, 56, 70)]
    ('Difference', [0.2, 0.0524, 0.3339])
    """
    if not of_early or not of_late:
        return None
    (p1, l1, u1), (p2, l2, u2) = _wilson(early, of_early, z), _wilson(late, of_late, z)
    low = p2 - p1 - float(np.hypot(p2 - l2, u1 - p1))
    high = p2 - p1 + float(np.hypot(u2 - p2, p1 - l1))
    return Difference(p2 - p1, low, high)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number, so that any alarm at all is false with the chance it is held to (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted


def _wilson(hits: int, n: int, z: float) -> tuple[float, float, float]:
    """A share and its score interval (Wilson 1927)."""
    p, zz = hits / n, z * z
    middle, half = p + zz / (2 * n), z * float(np.sqrt(p * (1 - p) / n + zz / (4 * n * n)))
    return p, (middle - half) / (1 + zz / n), (middle + half) / (1 + zz / n)
