"""Which labels are likely wrong: confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70) by the library cleanlab.

It needs probabilities of every class that come from no model trained on the record itself: those of a model of other,
better labels, or by cross-validation over the labels in question. The latter finds slips; errors made alike on a whole
region of texts are learnt with the rest and not found.
"""

import warnings

import numpy as np

from curation_assets.algorithms import label_classifier

FOLDS = 5
TRAIN_RECORDS = 2_000  # ours: of 384 dimensions; more changes the ranking little and costs time in proportion


def out_of_sample_probabilities(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    folds: int = FOLDS,
    train_records: int = TRAIN_RECORDS,
    seed: int = 0,
) -> np.ndarray:
    """The probability of each class for each record by a model that has not seen its label, float32[n, k].

    ``vectors`` float32[n, d], ``labels`` int[n]. Each of ``folds`` parts, alike in their classes, is predicted by a fit on
    the others; of those at most ``train_records``, as many of each class as there are, with weights that restore the
    classes' shares.

    Raises ValueError where fewer than two classes have two labels or more.
    """
    labels = np.asarray(labels)
    sizes = np.bincount(labels, minlength=classes)
    if (sizes > 1).sum() < 2:
        raise ValueError(
            f"Cross-validation needs two labels of at least two classes; the classes have {sizes.tolist()}."
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    part = np.empty(len(labels), dtype=np.int64)
    part[by_class] = (
        np.arange(len(labels)) % folds
    )  # neighbours in this order are of one class, so every part has its share
    found = np.empty((len(labels), classes), dtype=np.float32)
    for held in range(folds):
        others = shuffled[part[shuffled] != held]
        rows, weights = _balanced(others, labels, classes, train_records)
        model = label_classifier.fit(vectors[rows], labels[rows], classes=classes, item_weights=weights, seed=seed)
        found[part == held] = label_classifier.probabilities(model, vectors[part == held])
    return found


def likely_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions of the labels that are likely wrong, int[m], the least probable label first.

    ``labels`` int[n]; ``probabilities`` float[n, k], out of sample. A label counts for class j beside its own where P(j) is at least the
    mean P(j) of the records labelled j; from these counts the number of wrong labels of each kind follows, and as many
    with the largest margin are taken (pruning by noise rate, section 3.2).
    """
    from cleanlab.filter import find_label_issues

    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:  # nothing is told apart
        return np.empty(0, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class nobody was given has too few examples
        return find_label_issues(
            labels,
            np.asarray(probabilities, dtype=np.float64),
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        ).astype(np.int64)


def _balanced(rows: np.ndarray, labels: np.ndarray, classes: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many of the rows, rare classes whole, and weights that give every class its share back."""
    sizes = np.bincount(labels[rows], minlength=classes)
    room, quota = most, np.zeros(classes, dtype=np.int64)
    for left, one in zip(range(classes, 0, -1), np.argsort(sizes, kind="stable"), strict=True):
        quota[one] = min(sizes[one], room // left)
        room -= quota[one]
    taken = np.concatenate([rows[labels[rows] == one][: quota[one]] for one in range(classes)])
    return taken, (sizes / np.maximum(quota, 1))[labels[taken]]
