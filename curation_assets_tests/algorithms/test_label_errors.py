"""Planted errors are found, sound labels are left alone, and probabilities are out of sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.label_errors import _balanced, likely_errors, out_of_sample_probabilities


def two_topics(n, rng, dimensions=8):
    labels = (rng.random(n) < 0.3).astype(int)
    vectors = rng.standard_normal((n, dimensions)) + 2.5 * np.where(labels[:, None] == 1, 1, -1) * np.eye(dimensions)[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_planted_slips_come_first():
    rng = np.random.default_rng(0)
    vectors, truth = two_topics(400, rng)
    wrong = rng.choice(400, 20, replace=False)
    given_labels = truth.copy()
    given_labels[wrong] = 1 - given_labels[wrong]
    found = likely_errors(given_labels, out_of_sample_probabilities(vectors, given_labels, classes=2))
    assert np.isin(found[:15], wrong).mean() >= 0.9
    assert np.isin(wrong, found).mean() >= 0.8


def test_a_records_own_label_does_not_reach_its_probabilities():
    rng = np.random.default_rng(1)
    vectors, labels = two_topics(60, rng)
    vectors = rng.standard_normal(vectors.shape).astype(np.float32)  # nothing to learn but the labels themselves
    found = out_of_sample_probabilities(vectors, labels, classes=2)
    assert (found.argmax(axis=1) == labels).mean() < 0.85


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 4), st.integers(5, 60), st.randoms(use_true_random=False))
def test_a_label_whose_class_is_the_likeliest_is_never_an_error(classes, n, random):
    rng = np.random.default_rng(random.randrange(2**32))
    labels = rng.integers(0, classes, n)
    probabilities = rng.dirichlet(np.full(classes, 0.5), n)
    found = likely_errors(labels, probabilities)
    assert len(set(found.tolist())) == len(found)
    assert (probabilities[found].argmax(axis=1) != labels[found]).all()
    own = probabilities[found, labels[found]]
    assert (np.diff(own) >= -1e-12).all()
    assert not len(likely_errors(probabilities.argmax(axis=1), probabilities))


@given(st.lists(st.integers(0, 3), min_size=8, max_size=80), st.integers(4, 100))
def test_weights_give_every_class_its_share_back(labels, most):
    labels = np.array(labels)
    rows, weights = _balanced(np.arange(len(labels)), labels, 4, most)
    assert len(set(rows.tolist())) == len(rows) <= most
    for one in np.unique(labels):
        if (labels[rows] == one).any():
            assert weights[labels[rows] == one].sum() == pytest.approx((labels == one).sum())


def test_too_few_labels_are_refused_by_name():
    with pytest.raises(ValueError, match=r"two labels of at least two classes; the classes have \[3, 1\]"):
        out_of_sample_probabilities(np.eye(4, dtype=np.float32), np.array([0, 0, 0, 1]), classes=2)
    assert not len(likely_errors(np.zeros(5, int), np.full((5, 2), 0.5)))
