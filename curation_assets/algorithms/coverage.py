"""How much of the corpus a selection still covers, three ways, and the comparison of several selections.

Each measure is a share in [0, 1], 1 = as much as could be. None says whether the selection is good; read them beside
the mean quality.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from curation_assets.algorithms.race import squared_distance_blocks


def clusters_reached_ratio(labels: np.ndarray, selected: np.ndarray) -> float:
    """The share of the clusters present in ``labels`` (int[n]) with at least one ``selected`` (bool[n]) record.

    >>> clusters_reached_ratio(np.array([0, 0, 1, 2]), np.array([True, True, True, False]))
    0.6666666666666666
    """
    present = len(np.unique(labels))
    return len(np.unique(np.asarray(labels)[selected])) / present if present else 0.0


def occupancy_entropy_ratio(labels: np.ndarray, selected: np.ndarray) -> float:
    """How evenly the selected records spread over the clusters present: entropy of their shares / log(clusters).

    1 = the same number in each cluster, 0 = all in one (Pielou's evenness, 1966). One cluster alone counts as 1, an
    empty selection as 0.

    >>> occupancy_entropy_ratio(np.array([0, 0, 1, 1]), np.array([True, False, True, False]))
    1.0
    """
    return occupancy_evenness(labels, np.asarray(selected, dtype=bool).astype(np.float64))


def occupancy_evenness(labels: np.ndarray, taken: np.ndarray) -> float:
    """The same where float64[n] ``taken`` of each record is taken: in expectation, with inclusion probabilities."""
    clusters, position = np.unique(labels, return_inverse=True)
    counts = np.bincount(position, taken, minlength=len(clusters))
    if counts.sum() == 0:
        return 0.0
    if len(clusters) == 1:
        return 1.0
    shares = counts[counts > 0] / counts.sum()
    return abs(float(-(shares * np.log(shares)).sum() / np.log(len(clusters))))


def neighbourhood_radius(reference: np.ndarray, *, neighbour: int = 5) -> float:
    """The radius that makes "within reach": the median distance of a reference vector to its 5th nearest other one.

    ``reference``: float32[m, d], a sample of all vectors (1,000-5,000 do: the work grows with m²). Ours: with this
    radius half of the reference has five of the others within reach, so the measure is neither full nor empty.
    Two sets are comparable only with the same reference and radius.
    """
    if len(reference) <= neighbour:
        raise ValueError(f"neighbourhood_radius needs more than {neighbour} reference vectors, got {len(reference)}.")
    distances = [
        np.sqrt(np.partition(squared, neighbour, axis=1)[:, neighbour])  # position 0 is the vector itself
        for _, squared in squared_distance_blocks(reference, reference)
    ]
    return float(np.median(np.concatenate(distances)))


def space_reached_ratio(reference: np.ndarray, selected_vectors: np.ndarray, radius: float) -> float:
    """The share of the reference vectors (float32[m, d]) with a selected vector (float32[s, d]) within ``radius``."""
    if len(reference) == 0:
        raise ValueError("space_reached_ratio needs at least one reference vector.")
    nearest = np.full(len(reference), np.inf)
    for _, squared in squared_distance_blocks(selected_vectors, reference):
        np.minimum(nearest, squared.min(axis=0), out=nearest)
    return float((nearest <= radius**2).mean())


def compare(
    selections: Mapping[str, np.ndarray],
    quality: np.ndarray,
    density: np.ndarray,
    labels: np.ndarray,
    tokens: np.ndarray,
    *,
    vectors: np.ndarray | None = None,
    reference_records: int = 2_000,
    seed: int = 0,
) -> pl.DataFrame:
    """What each selection (name → bool[n]) took of the same records: one row per selection, in their order.

    Columns: selection, records, tokens, mean_quality, mean_density, clusters_reached_ratio, occupancy_entropy_ratio,
    space_reached_ratio (null without ``vectors``). The reference for the space reached is a seeded sample of all
    vectors, its radius ``neighbourhood_radius``, the same for all selections.
    """
    reference, radius = None, 0.0
    if vectors is not None and len(vectors) > 5:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(vectors), min(reference_records, len(vectors)), replace=False))
        reference = vectors[chosen]
        radius = neighbourhood_radius(reference)
    rows = [
        {
            "selection": name,
            "records": int(selected.sum()),
            "tokens": int(tokens[selected].sum()),
            "mean_quality": float(quality[selected].mean()) if selected.any() else None,
            "mean_density": float(density[selected].mean()) if selected.any() else None,
            "clusters_reached_ratio": clusters_reached_ratio(labels, selected),
            "occupancy_entropy_ratio": occupancy_entropy_ratio(labels, selected),
            "space_reached_ratio": (
                None if reference is None else space_reached_ratio(reference, vectors[selected], radius)
            ),
        }
        for name, selected in selections.items()
    ]
    return pl.DataFrame(rows, schema=COMPARISON)


COMPARISON = {"selection": pl.String, "records": pl.Int64, "tokens": pl.Int64} | dict.fromkeys(
    ("mean_quality", "mean_density", "clusters_reached_ratio", "occupancy_entropy_ratio", "space_reached_ratio"),
    pl.Float64,
)
