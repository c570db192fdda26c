"""The first model: places within the pool, whatever the cosines' offsets are, and shares that are met."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.prior_shift import prior_shift
from curation_assets.algorithms.prototypes import prototype_probabilities, prototypes


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pool_of(seed, classes=2, records=300, apart=1.0):
    """Records around one direction a class, all of them near one common direction, as sentence embeddings are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, records)
    centres = 3 * np.ones(16) + apart * np.eye(16)[:classes]
    vectors = unit(centres[truth] + 0.5 * rng.normal(size=(records, 16)))
    return vectors.astype(np.float32), truth, unit(centres).astype(np.float32)


@given(seed=st.integers(0, 50), classes=st.integers(2, 4))
def test_probabilities_tell_the_classes_apart_though_all_cosines_are_alike(seed, classes):
    vectors, truth, definitions = pool_of(seed, classes, apart=2.0)
    found = prototype_probabilities(vectors, definitions)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (vectors @ definitions.T).std() < 0.1
    assert (found.argmax(axis=1) == truth).mean() > 1.5 / classes


@given(seed=st.integers(0, 50), share=st.floats(0.02, 0.98))
def test_shares_are_met_and_the_order_stays(seed, share):
    vectors, _, definitions = pool_of(seed)
    plain = prototype_probabilities(vectors, definitions)[:, 1]
    shifted = prototype_probabilities(vectors, definitions, shares=np.array([1 - share, share]))[:, 1]
    assert shifted.mean() == pytest.approx(share, abs=1e-3)
    assert (np.argsort(plain, kind="stable") == np.argsort(shifted, kind="stable")).mean() > 0.98


def test_one_definition_nearer_to_everything_does_not_win_everything():
    vectors, _, definitions = pool_of(0)
    definitions[1] = unit(definitions[1:2] + vectors.mean(axis=0))[0]
    assert 0.3 < (prototype_probabilities(vectors, definitions)[:, 1] > 0.5).mean() < 0.7


def test_examples_move_a_prototype_towards_them():
    definitions, example = np.eye(3, dtype=np.float32)[:2], np.eye(3, dtype=np.float32)[2:]
    moved = prototypes(definitions, example, np.array([1]))
    assert moved[0] == pytest.approx(definitions[0])
    assert moved[1] == pytest.approx([0, 0.5**0.5, 0.5**0.5])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        prototype_probabilities(np.eye(2), np.eye(2), temperature=0)
    with pytest.raises(ValueError, match="share above 0"):
        prior_shift(np.zeros((3, 2)), np.array([1.0, 0.0]))
    assert prototype_probabilities(np.empty((0, 2)), np.eye(2)).shape == (0, 2)
