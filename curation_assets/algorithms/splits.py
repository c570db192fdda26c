"""Splits by group: what is alike or belongs together stands in one split, so that no test record was seen in training.

Which split a group falls into is a hash of its name, not a shuffle of the records: a record that was held out in one
release is, as long as its group has the same name, held out in the next, whatever was added meanwhile.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from curation_assets.algorithms.duplicates import connected_components

MAIN = "train"
"""The split that gets what no other takes."""

HELD_OUT = "test"
"""The split of what must not be trained on."""


def groups(record_ids: pl.Series, links: pl.DataFrame, keys: Sequence[pl.Series] = ()) -> pl.Series:
    """Name the group of each record: the smallest id in its connected component.

    Two records are connected by a link, by a link of each to a third that need not be among the records (the duplicate of
    both), or by an equal key; and by any chain of these.

    record_ids: str[n], all different. links: two string columns, each row a pair of ids. keys: str[n] each, beside
    record_ids; null connects to nothing. Returns str[n]. Raises ValueError where a key is not as long as record_ids.

    >>> links = pl.DataFrame({"record_id": ["d", "d"], "matched_record_id": ["a", "c"]})
    >>> groups(pl.Series(["a", "b", "c", "e"]), links, [pl.Series([None, "p", None, "p"])]).to_list()
    ['a', 'b', 'a', 'b']
    """
    if strange := [len(key) for key in keys if len(key) != len(record_ids)]:
        raise ValueError(f"{len(record_ids)} records, but keys for {strange[0]}")
    ends = [links.to_series(side).cast(pl.String) for side in (0, 1)]
    nodes = pl.concat([record_ids.cast(pl.String).rename("id"), *(end.rename("id") for end in ends)])
    nodes = nodes.drop_nulls().unique().sort()
    place = nodes.search_sorted(record_ids.cast(pl.String)).to_numpy()
    pairs = [np.column_stack([nodes.search_sorted(end).to_numpy() for end in ends])]
    for key in keys:
        known = pl.DataFrame({"key": key, "place": place}).drop_nulls("key")
        known = known.select("place", pl.col("place").min().over("key").alias("first"))
        pairs.append(known.to_numpy())
    edges = np.concatenate(pairs).astype(np.int64)
    smallest = connected_components(pl.DataFrame(edges, schema=["one", "other"]), len(nodes))  # nodes are sorted
    return nodes.gather(smallest[place]).rename("group")


def assign(
    groups: pl.Series, shares: Mapping[str, float], *, seed: int, held_out: pl.Series | None = None
) -> pl.Series:
    """Give each record the split of its group: one of `shares`, or MAIN for the rest.

    A group's draw is a hash of seed and name, uniform in [0, 1): below the first share it is in the first split, below the
    sum of the first two in the second, and so on; so shares are met in expectation. A group with more records than a split
    is to have stays in MAIN; a split that this leaves empty gets the group of MAIN that fits it and has the smallest draw,
    where MAIN keeps another.

    groups: str[n]. shares: split → share of the records, each in [0, 1), summing to less than 1. held_out: bool[n], records
    that must not be trained on; their groups are in HELD_OUT whatever its share. Returns str[n]. Raises ValueError for other
    shares.
    """
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1 or MAIN in shares:
        raise ValueError(
            f"shares of splits beside {MAIN} are each from 0 to 1 and sum to less than 1; got {dict(shares)}"
        )
    names, place, size = np.unique(groups.to_numpy(), return_inverse=True, return_counts=True)
    drawn = np.array([draw(str(name), seed) for name in names])
    room = {split: max(1, round(share * len(groups))) for split, share in shares.items() if share}
    split_of = np.full(len(names), MAIN, dtype=object)
    start = 0.0
    for split, share in shares.items():
        split_of[(drawn >= start) & (drawn < start + share) & (size <= room.get(split, 0))] = split
        start += share
    if held_out is not None:
        split_of[np.bincount(place, weights=held_out.to_numpy()) > 0] = HELD_OUT
    for split, limit in room.items():
        fitting = np.flatnonzero((split_of == MAIN) & (size <= limit))
        if not (split_of == split).any() and len(fitting) and (split_of == MAIN).sum() > 1:
            split_of[fitting[np.argmin(drawn[fitting])]] = split
    return pl.Series("split", split_of[place].astype(str))


def draw(name: str, seed: int) -> float:
    """A number in [0, 1) that only name and seed decide: the first 53 bits of SHA-256 over both.

    >>> draw("a", 0) == draw("a", 0), draw("a", 0) == draw("a", 1)
    (True, False)
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
