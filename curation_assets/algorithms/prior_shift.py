"""Probabilities of classes for a pool in which the classes have other shares than where the model was made."""

import numpy as np
from scipy.special import log_softmax, logsumexp

STEPS, TOLERANCE = 200, 1e-6


def prior_shift(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What to add to each class's logits so that the mean probabilities over the rows are the shares, float64[k].

    ``logits`` float[n, k]; ``shares`` float[k], each above 0, normalised here. A change of the priors alone adds a constant
    to each logit (Saerens et al. 2002, eq. 2.4); the constants are found by a fixed point on the log scale, ours. They add
    up to 0, and order two records by no class otherwise than before.

    >>> logits = np.log([[0.5, 0.5], [0.8, 0.2]])
    >>> from scipy.special import softmax
    >>> softmax(logits + prior_shift(logits, np.array([0.9, 0.1])), axis=1).mean(axis=0).round(3)
    array([0.9, 0.1])

    Raises ValueError for shares of other number than the classes, or not above 0.
    """
    logits, shares = np.asarray(logits, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if shares.shape != logits.shape[1:] or not (shares > 0).all():
        raise ValueError(f"prior_shift needs a share above 0 for each of {logits.shape[1]} classes, got {shares}.")
    if not len(logits):
        return np.zeros(len(shares))
    target, shift = np.log(shares / shares.sum()), np.zeros(len(shares))
    for _ in range(STEPS):
        mean = logsumexp(log_softmax(logits + shift, axis=1), axis=0) - np.log(len(logits))
        shift += target - mean
        if np.abs(target - mean).max() < TOLERANCE:
            break
    return shift - shift.mean()
