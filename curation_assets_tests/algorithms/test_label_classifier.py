"""The classifier of the expert loop: right where it can be, calibrated to the pool, stored without loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from curation_assets.algorithms.agreement import cohen_kappa
from curation_assets.algorithms.label_classifier import Classifier, fit, predict, probabilities


def drawn(seed: int, n: int, shares: tuple[float, ...], d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares)
    vectors = 1.5 * np.eye(len(shares), d)[labels] + 0.5 * rng.standard_normal((n, d)) + 0.7
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.6, 0.3, 0.1)])
def test_few_labels_tell_the_classes_apart(shares):
    pool, truth = drawn(0, 3_000, shares)
    chosen = np.concatenate([np.flatnonzero(truth == c)[:15] for c in range(len(shares))])
    classifier = fit(pool[chosen], truth[chosen], classes=len(shares), pool=pool)
    found = probabilities(classifier, pool)
    assert found.shape == (3_000, len(shares)) and np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == truth).mean() > 0.9
    shuffled = np.random.default_rng(0).permutation(truth[chosen])
    by_chance = probabilities(fit(pool[chosen], shuffled, classes=len(shares), pool=pool), pool)
    assert (by_chance.argmax(axis=1) == truth).mean() < 0.8


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1_000), st.floats(0.01, 0.6), st.integers(2, 4))
def test_a_known_prevalence_is_met_on_the_pool(seed, of_last, k):
    pool, _ = drawn(seed, 800, (0.9, *[0.1 / (k - 1)] * (k - 1)))
    chosen, labels = drawn(seed + 1, 60, tuple(np.full(k, 1 / k)))
    prevalence = np.array([*np.full(k - 1, (1 - of_last) / (k - 1)), of_last])
    classifier = fit(chosen, labels, classes=k, pool=pool, prevalence=prevalence)
    assert probabilities(classifier, pool).mean(axis=0) == pytest.approx(prevalence, abs=1e-3)
    plain = fit(chosen, labels, classes=k, pool=pool)
    assert np.array_equal(plain.coefficients, classifier.coefficients)  # only the intercepts move


def test_a_class_without_a_label_is_never_predicted():
    vectors, labels = drawn(0, 80, (0.5, 0.5))
    for among in ([0, 2], [1, 2]):
        found = probabilities(fit(vectors, np.array(among)[labels], classes=3), vectors)
        assert set(found.argmax(axis=1)) == set(among) and np.isfinite(found).all()


def test_weights_count_as_copies():
    vectors, labels = drawn(0, 60, (0.5, 0.5))
    labels = np.where(np.random.default_rng(0).random(60) < 0.2, 1 - labels, labels)
    heavy = fit(vectors, labels, classes=2, item_weights=np.where(labels == 1, 10.0, 1.0))
    light = fit(vectors, labels, classes=2)
    assert probabilities(heavy, vectors)[:, 1].mean() > probabilities(light, vectors)[:, 1].mean() + 0.05


def test_it_is_stored_without_loss_and_fitted_alike_twice():
    vectors, labels = drawn(3, 100, (0.6, 0.2, 0.2))
    classifier = fit(vectors, labels, classes=3, pool=vectors, prevalence=np.array([0.6, 0.2, 0.2]))
    stored = Classifier(**load(save({name: np.ascontiguousarray(a) for name, a in classifier._asdict().items()})))
    assert np.array_equal(probabilities(stored, vectors), probabilities(classifier, vectors))
    again = fit(vectors, labels, classes=3, pool=vectors, prevalence=np.array([0.6, 0.2, 0.2]))
    assert all(np.array_equal(a, b) for a, b in zip(classifier, again, strict=True))


def test_a_rare_class_that_is_hard_to_tell_is_still_decided_for():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((8_000, 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    chance = 1 / (1 + np.exp(3.6 - 4 * vectors[:, 0]))  # nowhere likely, and likelier at one end
    truth = (rng.random(8_000) < chance).astype(int)
    classifier = fit(vectors[:2_000], truth[:2_000], classes=2, pool=vectors)
    by_threshold = cohen_kappa(predict(classifier, vectors[2_000:]), truth[2_000:], replicates=2).value
    by_half = cohen_kappa(probabilities(classifier, vectors[2_000:]).argmax(axis=1), truth[2_000:], replicates=2).value
    assert by_threshold > (by_half or 0) + 0.05 and classifier.threshold[0] < 0.4


def test_errors_say_what_to_do():
    vectors, labels = drawn(0, 10, (0.5, 0.5))
    for message, arguments in {
        "two classes, got only class 0": {"labels": np.zeros(10, dtype=int), "classes": 2},
        "from 0 to 1": {"labels": labels + 1, "classes": 2},
        "one label a vector": {"labels": labels[:5], "classes": 2},
        "needs the pool": {"labels": labels, "classes": 2, "prevalence": np.array([0.5, 0.5])},
        "weight above 0": {"labels": labels, "classes": 2, "item_weights": np.zeros(10)},
    }.items():
        with pytest.raises(ValueError, match=message):
            fit(vectors, **arguments)
