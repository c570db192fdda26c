"""Which records most likely taught a model its bad outputs: three kinds of evidence, one order, and a threshold for "strongly".

Likeness (cosine of embeddings), shared rare phrases (`shared_phrases.py`) and influence on a small model (`influence.py`). Records are
ordered by reciprocal rank fusion of the three (Cormack, Clarke & Büttcher 2009). What is strong is read off the data: some records of
the set itself, with themselves left out, stand for texts that no record taught, and only what exceeds all but a twentieth of what is
found for them counts.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation_assets.algorithms.shared_phrases import shared_phrases

EVIDENCE = ("cosine", "shared_phrases", "influence")

FUSION = 60
"""The constant of reciprocal rank fusion: 1 / (60 + rank), as in the paper."""

CANDIDATES = 8
"""Records a text that the small model is stepped on: the first by the other two kinds of evidence. Ours: what influence costs."""

CONTROL_QUANTILE = 0.95
"""Of the controls' highest values: what exceeds it is strong evidence. Ours: one control in twenty exceeds it by chance."""

STRONG_KINDS = 2
"""Kinds of evidence that have to be strong for a record to be blamed strongly, of three. Ours."""


class Candidates(NamedTuple):
    """The records each text may have been taught by, first ones first."""

    pairs: np.ndarray
    """int64[pairs, 2]: text and record."""
    cosine: np.ndarray
    """float64[pairs]"""
    shared: np.ndarray
    """float64[pairs]: see SharedPhrases.share."""


def candidates(
    texts: pa.Array,
    vectors: np.ndarray,
    records: pa.Array | pa.ChunkedArray,
    record_vectors: np.ndarray,
    own: np.ndarray,
    most: int = CANDIDATES,
) -> Candidates:
    """The records most like each text and those that share most with it, at most `most` a text, by fusion of the two ranks.

    own: int64[texts], the record a text is, which is left out; -1 where it is none. Vectors are of length 1.
    """
    found = shared_phrases(texts, records)
    bounds = np.searchsorted(found.text, np.arange(len(texts) + 1))
    pairs, cosines, shares = [], [], []
    for text in range(len(texts)):
        likeness = record_vectors @ vectors[text]
        share = np.zeros(len(likeness))
        span = slice(bounds[text], bounds[text + 1])
        share[found.record[span]] = found.share[span]
        if own[text] >= 0:
            likeness[own[text]], share[own[text]] = -np.inf, 0.0
        pool = np.union1d(_highest(likeness, most), _highest(share, most))
        pool = pool[pool != own[text]]
        fused = fuse([likeness[pool], share[pool]])
        pool = pool[np.argsort(-fused, kind="stable")][:most]
        pairs.append(np.stack([np.full(len(pool), text), pool], axis=1))
        cosines.append(likeness[pool])
        shares.append(share[pool])
    return Candidates(np.concatenate(pairs), np.concatenate(cosines).astype(np.float64), np.concatenate(shares))


def _highest(values: np.ndarray, most: int) -> np.ndarray:
    if len(values) <= most:
        return np.arange(len(values))
    return np.argpartition(-values, most - 1)[:most]


def fuse(evidence: list[np.ndarray]) -> np.ndarray:
    """The fused score of some records by several kinds of evidence, float64[records]; equal values share their mean rank.

    >>> fuse([np.array([.9, .2, .1]), np.array([5., 0., 1.])]).argmax()
    np.int64(0)
    """
    from scipy.stats import rankdata

    return np.sum([1 / (FUSION + rankdata(-values)) for values in evidence], axis=0)


def ranked(text_of: np.ndarray, evidence: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The fused score of every pair within its text, float64[pairs], and its rank there from 1, int64[pairs].

    Records of the same fused score are ordered by the phrases they share, then by likeness.
    """
    score, rank = np.zeros(len(text_of)), np.zeros(len(text_of), dtype=np.int64)
    for text in np.unique(text_of):
        rows = np.flatnonzero(text_of == text)
        score[rows] = fuse([evidence[kind][rows] for kind in EVIDENCE])
        order = np.lexsort((-evidence["cosine"][rows], -evidence["shared_phrases"][rows], -score[rows].round(12)))
        rank[rows[order]] = np.arange(1, len(rows) + 1)
    return score, rank


def thresholds(text_of: np.ndarray, evidence: dict[str, np.ndarray], is_control: np.ndarray) -> dict[str, float]:
    """What each kind of evidence has to exceed to be strong: a quantile of the highest value each control reaches.

    is_control: bool[texts]. Infinite without controls: then nothing is strong.
    """
    controls = [text for text in np.unique(text_of) if is_control[text]]
    highest = {kind: [values[text_of == text].max() for text in controls] for kind, values in evidence.items()}
    return {
        kind: float(np.quantile(values, CONTROL_QUANTILE, method="higher")) if values else float("inf")
        for kind, values in highest.items()
    }


def is_strong(evidence: dict[str, np.ndarray], limits: dict[str, float]) -> np.ndarray:
    """Whether each pair exceeds the thresholds of enough kinds of evidence, bool[pairs]."""
    return np.sum([evidence[kind] > limits[kind] for kind in EVIDENCE], axis=0) >= STRONG_KINDS
