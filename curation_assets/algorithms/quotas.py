"""How a budget is divided over groups: a domain mix, or the same for each."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Allocation(NamedTuple):
    """What each of g groups may take, in records or tokens.

    ``budgets`` int64[g], beside what is taken already; ``asked`` float64[g]: its share of the whole budget; ``is_short`` bool[g]: it holds
    less than its share; ``taken`` int64[g]: what of it is taken already.
    """

    budgets: np.ndarray
    asked: np.ndarray
    is_short: np.ndarray
    taken: np.ndarray


def allocate(
    budget: int,
    shares: np.ndarray,
    available: np.ndarray,
    *,
    taken: np.ndarray | None = None,
    redistribute: bool = True,
) -> Allocation:
    """Divide ``budget`` by ``shares`` (float64[g], ≥ 0), no group more than it has ``available`` (int[g]).

    ``taken`` (int[g]): what is in already of each group, beside ``budget``. It counts towards the group's share of the two together; a
    group of which more is in gets nothing, and what is left is divided over the others.

    A group with too little takes all it has. What it leaves goes to the others in proportion to their shares, again and
    again until it is used up or nothing is left to take; with ``redistribute`` off it stays unspent. Fractions are
    rounded by largest remainder (Hamilton), so the budgets add up.

    >>> allocate(100, np.array([0.5, 0.25, 0.25]), np.array([1000, 10, 1000])).budgets
    array([60, 10, 30])
    >>> allocate(100, np.array([0.5, 0.25, 0.25]), np.array([1000, 10, 1000]), redistribute=False).budgets
    array([50, 10, 25])
    >>> allocate(60, np.array([0.5, 0.25, 0.25]), np.array([1000, 1000, 1000]), taken=np.array([0, 10, 30])).budgets
    array([47, 13,  0])
    """
    shares, available = np.asarray(shares, dtype=np.float64), np.asarray(available, dtype=np.int64)
    if not (shares >= 0).all() or shares.sum() <= 0:
        raise ValueError("allocate needs shares of at least 0, one of them above it.")
    # A smaller one would overflow what it is divided into, and is less than a record of any budget.
    shares = np.where(shares > 0, np.maximum(shares, 1e-12 * shares.sum()), 0)
    taken = np.zeros(len(shares), dtype=np.int64) if taken is None else np.asarray(taken, dtype=np.int64)
    asked = (budget + taken.sum()) * shares / shares.sum()

    def given(level: float) -> np.ndarray:
        """What groups get when each is filled to ``level`` times its share; more with every level, in straight pieces."""
        return np.where(shares > 0, np.clip(level * shares - taken, 0, available), 0.0)

    bends = np.unique(
        np.concatenate([taken[shares > 0], (taken + available)[shares > 0]]) / np.tile(shares[shares > 0], 2)
    )
    level = np.interp(budget, [given(bend).sum() for bend in bends], bends)
    if not redistribute:
        level = min(level, (budget + taken.sum()) / shares.sum())
    return Allocation(_rounded(given(level), available), asked, available + taken < np.floor(asked), taken)


def _rounded(exact: np.ndarray, available: np.ndarray) -> np.ndarray:
    whole = np.floor(exact + 1e-9).astype(np.int64)
    missing = round(float(exact.sum())) - int(whole.sum())
    remainders = np.where(whole < available, exact - whole, -1.0)
    whole[np.argsort(-remainders, kind="stable")[: max(0, missing)]] += 1
    return np.minimum(whole, available)


def group_shares(names: list[str], shares: Mapping[str, float], *, equal: bool) -> tuple[np.ndarray, np.ndarray]:
    """The group of each distinct name (int[n names]) and each group's share (float64[g]).

    ``equal``: every name is a group and all shares are the same. Else each name of ``shares`` is a group; if they add up
    to less than 1, all other names together form one more group with the rest; if to 1, that group gets nothing.

    Raises ValueError for shares below 0 or above 1 together, for a name that is not there, and for shares below 1 with
    no other name.
    """
    if equal:
        return np.arange(len(names)), np.full(len(names), 1 / max(1, len(names)))
    total = sum(shares.values())
    if not shares or min(shares.values()) < 0 or total > 1 + 1e-6:
        raise ValueError(f"quotas: shares must be at least 0 and add up to at most 1; they add up to {total:g}.")
    if unknown := [name for name in shares if name not in names]:
        raise ValueError(
            f"quotas: no record to draw from has {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, names[:20]))}"
            f"{' …' if len(names) > 20 else ''}."
        )
    positions = {name: position for position, name in enumerate(shares)}
    groups = np.array([positions.get(name, len(positions)) for name in names])
    rest = max(0.0, 1 - total) if total < 1 - 1e-6 else 0.0
    if rest and not (groups == len(positions)).any():
        raise ValueError(f"quotas: the shares add up to {total:g} and there is no other record to take the rest from.")
    return groups, np.array([*shares.values(), rest])
