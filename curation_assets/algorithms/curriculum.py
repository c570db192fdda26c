"""In which order a model sees the records of a set: shuffled, or by how hard they are."""

import numpy as np
from scipy.stats import rankdata

from curation_assets.algorithms.sampling import uniforms


def difficulty(chars: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """How hard each record is among its peers, float64[n] in (0, 1]: the mean of two ranks / n.

    Its length (``chars`` int[n]): longer sentences are harder (Spitkovsky et al. 2010; Platanios et al. 2019,
    arXiv 1903.09848, section 3.1), and the distance of its embedding to its cluster's centroid (``distances``
    float[n]): what is far from its prototype is hard (Sorscher et al. 2022, arXiv 2206.14486, section 6). Their equal
    mix is ours. Ties share a rank.

    >>> difficulty(np.array([10, 20, 30]), np.array([0.1, 0.9, 0.2])).round(2)
    array([0.33, 0.83, 0.83])
    """
    n = max(1, len(chars))
    return (rankdata(chars) + rankdata(distances)) / (2 * n)


def positions(
    record_hashes: np.ndarray, seed: int, *, difficulty: np.ndarray | None = None, hardest_first: bool = False
) -> np.ndarray:
    """The place of each record in training, int64[n] from 1: by difficulty if given, else (and among equals) shuffled.

    >>> positions(np.arange(3, dtype=np.uint64), 0, difficulty=np.array([0.5, 0.1, 0.9])).tolist()
    [2, 1, 3]
    """
    shuffle = uniforms(record_hashes, seed ^ 0x706F73)  # another stream of draws than the one that selected
    by = np.zeros(len(shuffle)) if difficulty is None else difficulty * (-1 if hardest_first else 1)
    place = np.empty(len(shuffle), dtype=np.int64)
    place[np.lexsort((shuffle, by))] = np.arange(1, len(shuffle) + 1)
    return place
