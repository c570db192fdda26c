"""The model that expert labels train: calibrated logistic regression on embeddings, for tens to thousands of labels.

The labelled items are chosen, not drawn: some 40 % of them are positive where the pool has 5 %. What the model says about
the pool is corrected for that, since kappa at 5 % positive depends on where the threshold lies more than on anything else.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse penalties C tried by cross-validation, for vectors of mean square length `dimensions` (unit variance a dimension)."""

FOLDS = 5


class Classifier(NamedTuple):
    """A fitted model: plain arrays, one table row or one safetensors file.

    ``coefficients`` float32[1, d] for two classes, float32[k, d] for more; ``intercepts`` float32[1 or k]; with two
    classes they are of class 1. ``strength`` float32[1]: the inverse penalty that cross-validation chose. ``shift``
    float32[1 or k]: what the correction to the pool added to the intercepts (it is in them).
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    strength: np.ndarray
    shift: np.ndarray


def fit(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    pool: np.ndarray | None = None,
    item_weights: np.ndarray | None = None,
    prevalence: np.ndarray | None = None,
    seed: int = 0,
) -> Classifier:
    """Fit the classes 0 … ``classes`` - 1 of the unit ``vectors`` (float32[m, d]) by their ``labels`` (int[m]).

    ``pool`` float32[n, d]: what the model will be used on, unlabelled. ``item_weights`` float[m]: what each item counts.
    ``prevalence`` float[k]: the known or estimated share of each class in the pool; intercepts are then shifted until the
    mean probability over the pool is that (needs ``pool``).

    Raises ValueError where a label is outside the classes, or fewer than two classes occur.
    """
    from sklearn.linear_model import LogisticRegression

    vectors, labels = np.asarray(vectors, dtype=np.float32), np.asarray(labels)
    _check(vectors, labels, classes, pool, item_weights, prevalence)
    weights = np.ones(len(labels)) if item_weights is None else np.asarray(item_weights, dtype=np.float64)
    weights = weights * len(weights) / weights.sum()
    reference = vectors if pool is None or len(pool) == 0 else pool
    centre = reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.float32(1 / max(float(np.sqrt(reference.var(axis=0, dtype=np.float64).mean())), 1e-6))
    scaled = (vectors - centre) * scale

    def fitted(rows: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        model = LogisticRegression(C=strength, max_iter=1_000).fit(
            scaled[rows], labels[rows], sample_weight=weights[rows]
        )
        return _all_classes(model.classes_, model.coef_, model.intercept_, classes)

    strength = _best_strength(fitted, scaled, labels, weights, seed)
    coefficients, intercepts = fitted(np.arange(len(labels)), strength)
    coefficients = coefficients * scale
    intercepts = intercepts - coefficients @ centre
    shift = np.zeros(len(intercepts))
    if prevalence is not None:
        shift = _shift(_logits(coefficients, intercepts, pool), np.asarray(prevalence, dtype=np.float64), classes)
    return Classifier(
        coefficients.astype(np.float32),
        (intercepts + shift).astype(np.float32),
        np.array([strength], dtype=np.float32),
        shift.astype(np.float32),
    )


def probabilities(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    """The probability of each class, float32[n, k]; rows add up to 1. The predicted class is the largest."""
    logits = _logits(classifier.coefficients, classifier.intercepts, np.asarray(vectors, dtype=np.float32))
    return softmax(logits, axis=1).astype(np.float32)


def _logits(coefficients: np.ndarray, intercepts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    logits = (vectors @ coefficients.astype(np.float32).T).astype(np.float64) + intercepts
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def _all_classes(present: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray, classes: int) -> tuple:
    """Coefficients for every class: a class without a label gets the lowest intercept there is, so it is never predicted."""
    if classes == 2:
        return coefficients, intercepts
    if len(present) == 2:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    all_coefficients, all_intercepts = np.zeros((classes, coefficients.shape[1])), np.full(classes, -30.0)
    all_coefficients[present], all_intercepts[present] = coefficients, intercepts
    return all_coefficients, all_intercepts


def _best_strength(fitted, scaled, labels, weights, seed: int) -> float:  # noqa: ANN001
    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    folds = min(FOLDS, fewest)
    if folds < 2:
        return STRENGTHS[len(STRENGTHS) // 2]
    from sklearn.model_selection import StratifiedKFold

    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(scaled, labels))
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for train, held in splits:
            logits = _logits(*fitted(train, strength), scaled[held])
            loss -= float(weights[held] @ log_softmax(logits, axis=1)[np.arange(len(held)), labels[held]])
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _shift(logits: np.ndarray, prevalence: np.ndarray, classes: int) -> np.ndarray:
    """What to add to the intercepts so that the mean probabilities are the prevalence: fixed point on the log scale."""
    shift = np.zeros(logits.shape[1])
    target = np.log(np.maximum(prevalence / prevalence.sum(), 1e-9))
    for _ in range(200):
        mean = logsumexp(log_softmax(logits + shift, axis=1), axis=0) - np.log(len(logits))
        step = target - mean
        shift += step
        if np.abs(step).max() < 1e-6:
            break
    return shift[1:] - shift[0] if classes == 2 else shift - shift.mean()


def _check(vectors, labels, classes, pool, item_weights, prevalence) -> None:  # noqa: ANN001
    if len(vectors) != len(labels):
        raise ValueError(f"fit needs one label a vector: got {len(labels)} for {len(vectors)}.")
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"fit needs labels from 0 to {classes - 1}, at least one.")
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"fit needs labels of at least two classes, got only class {labels[0]}. Label more items, or seed the missing class."
        )
    if item_weights is not None and (len(item_weights) != len(labels) or not (np.asarray(item_weights) > 0).all()):
        raise ValueError("fit needs one weight above 0 for each label.")
    if prevalence is not None:
        if pool is None or len(pool) == 0:
            raise ValueError("fit needs the pool to correct for the prevalence in it.")
        if np.shape(prevalence) != (classes,) or not (np.asarray(prevalence) > 0).all():
            raise ValueError(f"fit needs the prevalence of all {classes} classes, each above 0.")
