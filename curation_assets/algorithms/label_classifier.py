"""The model that expert labels train: calibrated logistic regression on embeddings, for tens to thousands of labels.

The labelled items are chosen, not drawn: some 40 % of them are positive where the pool has 5 %. What the model says about
the pool is corrected for that, since kappa at 5 % positive depends on where the threshold lies more than on anything else.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax
from threadpoolctl import threadpool_limits

STRENGTHS = (0.01, 0.03, 0.1, 0.3)
"""Inverse penalties C tried by cross-validation, for vectors whose components have mean variance 1."""

FOLDS = 5
MANY_LABELS = 2_000  # from here on one fold is held out instead of each in turn: 400 items tell the penalties apart
WHITENING = 0.3
"""Power of the pool's variances taken out of each principal direction: 0 leaves the vectors, 1 whitens them. Ours: whole
whitening loses .1 of kappa, none .01 (best threshold, clickbait titles, 150-300 labels, five seeds)."""

LEAST_VARIANCE = 0.01  # of the mean one: directions with less are not blown up further
POOL_SAMPLE = 4_000  # rows of the pool that the second fit reads; their moments are taken of 20,000
MOMENTS_SAMPLE = 20_000
POOL_WEIGHT = 60.0  # labels that the pool counts for at most in the second fit; fewer where fewer items are labelled
SHARPENING = 3.0  # the pool's logits times this are its targets: between probabilities and hard labels


class Classifier(NamedTuple):
    """A fitted model: plain arrays, one table row or one safetensors file.

    ``coefficients`` float32[1, d] for two classes, float32[k, d] for more; ``intercepts`` float32[1 or k]; with two
    classes they are of class 1. Both hold the calibration already. ``strength`` float32[1]: the inverse penalty that
    cross-validation chose. ``shift`` float32[1 or k]: what the correction to a given prevalence added to the intercepts.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    strength: np.ndarray
    shift: np.ndarray
    threshold: np.ndarray = np.array([0.5], dtype=np.float32)
    """float32[1], two classes: the probability of class 1 above which `predict` says 1."""


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small products: twenty times as long on two busy cores
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
    ``prevalence`` float[k]: the known share of each class in the pool, where it is known.

    1. Directions of much variance in the pool are shrunk (``WHITENING``), then logistic regression with an L2 penalty,
       chosen by ``FOLDS``-fold cross-validation on the log loss *after* calibration.
    2. Calibration: one slope and an offset a class on the cross-validated logits (Platt 1999, with his smoothed targets).
       A strong penalty orders items well and is unsure of everything; without this step a model of few labels predicts no
       positive at all. Choosing by the vector leaves P(class | vector) as it is, so nothing else corrects for the choice.
    3. With a pool, one step of self-training: fitted again on the labels and on up to ``POOL_SAMPLE`` rows of the pool
       with their sharpened probabilities as targets, and calibrated to the probabilities of step 2 over the pool.
    4. With a prevalence, the intercepts are shifted until the mean probability over the pool is that.
    5. With a pool and two classes, the threshold of greatest expected kappa over the pool, for `predict`.

    A class with a single label cannot be cross-validated: then the middle penalty is taken and the slope is left at 1. A
    class without a label is never predicted. The weights and steps are ours, chosen on seeds that the benchmark does
    not report.

    Raises ValueError where a label is outside the classes, or fewer than two classes occur.
    """
    vectors, labels = np.asarray(vectors, dtype=np.float32), np.asarray(labels)
    _check(vectors, labels, classes, pool, item_weights, prevalence)
    weights = np.ones(len(labels)) if item_weights is None else np.asarray(item_weights, dtype=np.float64)
    weights = weights * len(weights) / weights.sum()
    present, codes = np.unique(labels, return_inverse=True)
    has_pool = pool is not None and len(pool) > 0
    rng = np.random.default_rng(seed)
    centre, rotation = _whitening(_sample(pool, MOMENTS_SAMPLE, rng) if has_pool else vectors)
    rotated = (vectors - centre) @ rotation
    targets = np.eye(len(present))[codes]

    strength, slope, offsets = _cross_validated(rotated, codes, targets, weights, rng)
    model = _calibrated(_logistic(rotated, targets, weights, strength), slope, offsets)
    if has_pool:
        rows = (_sample(pool, POOL_SAMPLE, rng) - centre) @ rotation
        logits = _logits(*model, rows)
        weight = min(POOL_WEIGHT, len(labels)) / len(rows)
        student = _logistic(
            np.vstack([rotated, rows]),
            np.vstack([targets, softmax(SHARPENING * logits, axis=1)]),
            np.concatenate([weights, np.full(len(rows), weight)]),
            strength,
        )
        model = _calibrated(student, *_platt(_logits(*student, rows), softmax(logits, axis=1), np.ones(len(rows))))
    coefficients = model[0] @ rotation.T
    coefficients, intercepts = _all_classes(present, coefficients, model[1] - coefficients @ centre, classes)
    shift, threshold = np.zeros(len(intercepts)), 0.5
    if prevalence is not None:
        shift = _shift(_logits(coefficients, intercepts, pool), np.asarray(prevalence, dtype=np.float64))
    if has_pool and classes == 2:
        threshold = _kappa_threshold(softmax(_logits(coefficients, intercepts + shift, pool), axis=1)[:, 1])
    return Classifier(
        coefficients.astype(np.float32),
        (intercepts + shift).astype(np.float32),
        np.array([strength], dtype=np.float32),
        shift.astype(np.float32),
        np.array([threshold], dtype=np.float32),
    )


def predict(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    """The class to decide for, int64[n]: of two classes by the threshold of greatest expected kappa over the pool.

    A rare class that is hard to tell is never more probable than not; the most probable class would then never be it:
    hate speech in tweets, 300 labels, kappa .25 against .16 (one seed). Where classes are easy to tell the most probable class is
    the better choice by .015 (clickbait titles, five seeds), since the probabilities of a model of few labels are cautious.
    """
    found = probabilities(classifier, vectors)
    if found.shape[1] == 2:
        return (found[:, 1] > classifier.threshold[0]).astype(np.int64)
    return found.argmax(axis=1).astype(np.int64)


def probabilities(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    """The probability of each class, float32[n, k]; rows add up to 1. The predicted class is the largest."""
    logits = _logits(classifier.coefficients, classifier.intercepts, np.asarray(vectors, dtype=np.float32))
    return softmax(logits, axis=1).astype(np.float32)


def _logits(coefficients: np.ndarray, intercepts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    logits = (vectors @ coefficients.astype(np.float32).T).astype(np.float64) + intercepts
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def _sample(pool: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.sort(rng.choice(len(pool), size, replace=False)) if len(pool) > size else slice(None)
    return np.asarray(pool[rows], dtype=np.float32)


def _whitening(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre float32[d] and a rotation float32[d, d] that shrinks the widest directions; mean variance 1 after it."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - centre.astype(np.float32)
    variances, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(vectors))
    variances = np.maximum(variances, max(LEAST_VARIANCE * variances.mean(), 1e-9))
    scales = variances ** (-WHITENING / 2)
    scales /= np.sqrt((variances * scales**2).mean())
    return centre.astype(np.float32), (directions * scales).astype(np.float32)


def _logistic(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and intercepts of least Σ weight · cross-entropy + |coefficients|² / (2 · strength), by L-BFGS.

    ``targets`` float64[m, k], rows adding up to 1: classes or probabilities. Two classes have one row of coefficients.
    """
    d, k = vectors.shape[1], targets.shape[1]
    rows = 1 if k == 2 else k
    share = (weights @ targets) / weights.sum()
    start = np.zeros((rows, d + 1))
    start[:, d] = np.log(share[1] / share[0]) if k == 2 else np.log(share)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = flat.reshape(rows, d + 1)
        log_p = log_softmax(_logits(parameters[:, :d], parameters[:, d], vectors), axis=1)
        error = (weights[:, None] * (np.exp(log_p) - targets))[:, k - rows :]
        gradient = np.empty_like(parameters)
        gradient[:, :d] = error.T.astype(np.float32) @ vectors + parameters[:, :d] / strength
        gradient[:, d] = error.sum(axis=0)
        penalty = np.square(parameters[:, :d]).sum() / (2 * strength)
        return float(penalty - weights @ (targets * log_p).sum(axis=1)), gradient.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-7})
    parameters = found.x.reshape(rows, d + 1)
    return parameters[:, :d], parameters[:, d]


def _platt(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The slope ≥ 0 and the offsets float64[k] (the first 0) of least cross-entropy of slope · logits + offsets."""
    k = logits.shape[1]
    share = weights / weights.sum()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(parameters[0] * logits + np.concatenate([[0.0], parameters[1:]]), axis=1)
        error = share[:, None] * (np.exp(log_p) - targets)
        gradient = np.concatenate([[(error * logits).sum()], error.sum(axis=0)[1:]])
        return float(-share @ (targets * log_p).sum(axis=1)), gradient

    bounds = [(0.0, None)] + [(None, None)] * (k - 1)
    found = minimize(loss, np.concatenate([[1.0], np.zeros(k - 1)]), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), np.concatenate([[0.0], found.x[1:]])


def _calibrated(
    model: tuple[np.ndarray, np.ndarray], slope: float, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    coefficients, intercepts = model
    return slope * coefficients, slope * intercepts + offsets[len(offsets) - len(intercepts) :]


def _cross_validated(
    vectors: np.ndarray, codes: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, np.ndarray]:
    """The strength of least log loss on held-out items after calibration, with its slope and offsets."""
    counts = np.bincount(codes)
    folds = min(FOLDS, int(counts.min()))
    if folds < 2:
        return STRENGTHS[len(STRENGTHS) // 2], 1.0, np.zeros(len(counts))
    fold = np.empty(len(codes), dtype=np.int64)
    first = 0
    for code, count in enumerate(counts):  # every class spread over the folds, and the folds of one size
        fold[rng.permutation(np.flatnonzero(codes == code))] = (first + np.arange(count)) % folds
        first += count
    is_judged = fold < (folds if len(codes) < MANY_LABELS else 1)
    right = 1 - 1 / (counts + 2)  # Platt 1999: (N + 1) / (N + 2)
    smoothed = np.where(targets > 0, right[codes][:, None], ((1 - right) / (len(counts) - 1))[codes][:, None])
    best = (np.inf, 0.0, 1.0, np.zeros(len(counts)))
    for strength in STRENGTHS:
        logits = np.empty(targets.shape)
        for held in np.unique(fold[is_judged]):
            out = fold == held
            logits[out] = _logits(*_logistic(vectors[~out], targets[~out], weights[~out], strength), vectors[out])
        slope, offsets = _platt(logits[is_judged], smoothed[is_judged], weights[is_judged])
        of_own = log_softmax(slope * logits[is_judged] + offsets, axis=1)[np.arange(is_judged.sum()), codes[is_judged]]
        loss = float(-weights[is_judged] @ of_own)
        best = min(best, (loss, strength, slope, offsets), key=lambda one: one[0])
    return best[1:]


def _all_classes(
    present: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients for every class; one without a label gets an intercept so low that it is never predicted."""
    if classes == 2:
        return coefficients, intercepts
    if len(present) == 2:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    # Unit vectors bound a logit by its coefficients' length, so this lies below every logit of the others.
    lowest = float((intercepts - np.linalg.norm(coefficients, axis=1)).min()) - 20
    all_coefficients, all_intercepts = np.zeros((classes, coefficients.shape[1])), np.full(classes, lowest)
    all_coefficients[present], all_intercepts[present] = coefficients, intercepts
    return all_coefficients, all_intercepts


def _shift(logits: np.ndarray, prevalence: np.ndarray) -> np.ndarray:
    """What to add to the intercepts so that the mean probabilities are the prevalence: fixed point on the log scale."""
    shift = np.zeros(logits.shape[1])
    target = np.log(prevalence / prevalence.sum())
    for _ in range(500):
        step = target - logsumexp(log_softmax(logits + shift, axis=1), axis=0) + np.log(len(logits))
        shift += step
        if np.abs(step).max() < 1e-6:
            break
    return shift[1:] - shift[0] if len(shift) == 2 else shift - shift.mean()


def _kappa_threshold(positive: np.ndarray) -> float:
    """The threshold of greatest expected kappa, were these probabilities float[n] right: the table's cells are their sums.

    As for the F measure (Lipton, Elkan & Naryanaswamy 2014) the best set is always the top of the score.
    """
    ordered = np.sort(positive.astype(np.float64))[::-1]
    n, total = len(ordered), ordered.sum()
    taken = np.arange(1, n)
    hits = np.cumsum(ordered)[:-1]
    observed = (n - taken - total + 2 * hits) / n
    chance = (taken * total + (n - taken) * (n - total)) / n**2
    if n < 2 or not (chance < 1 - 1e-12).all():
        return 0.5
    best = int(((observed - chance) / (1 - chance)).argmax())
    return float((ordered[best] + ordered[best + 1]) / 2)


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
