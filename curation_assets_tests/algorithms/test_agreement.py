"""Published worked examples, scikit-learn as oracle, and what is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from curation_assets.algorithms.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

_ = None
KRIPPENDORFF_2011_C = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
FLEISS_14_RATERS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip


def from_table(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array(table)
    return np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], 0.676),  # Fleiss, Levin & Paik 2003, table 18.1: .68
        ([[45, 15], [25, 15]], 0.130),  # the same 60 % agreement with other margins: .13 and .26 in many textbooks
        ([[25, 35], [5, 35]], 0.259),
    ],
)
def test_cohens_kappa_of_textbook_tables(table, expected):
    found = cohen_kappa(*from_table(table))
    assert found.value == pytest.approx(expected, abs=5e-4)
    assert found.low < found.value < found.high and found.n == np.sum(table)


def test_krippendorffs_examples():
    assert krippendorff_alpha(KRIPPENDORFF_2011_C).value == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(np.array(KRIPPENDORFF_2011_C, dtype=float)) == krippendorff_alpha(KRIPPENDORFF_2011_C)
    assert krippendorff_alpha(KRIPPENDORFF_2011_C).n == 11  # the twelfth unit has one rating
    two = [list("aabbdcccedda"), list("babbbccceddd")]  # section B
    assert krippendorff_alpha(two).value == pytest.approx(0.692, abs=5e-4)
    binary = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]  # section A
    assert krippendorff_alpha(binary).value == pytest.approx(0.095, abs=5e-4)


def test_fleiss_example():
    found = fleiss_kappa(FLEISS_14_RATERS)
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.low < found.value < found.high and found.n == 10


labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=80)
@given(labels, st.sampled_from([None, "linear", "quadratic"]))
def test_cohens_kappa_is_that_of_scikit_learn(pairs, weights):
    first, second = np.array(pairs).T
    found = cohen_kappa(first, second, weights=weights, classes=range(4), replicates=50)
    if len({*first, *second}) == 1:
        assert found.value is None and found.low is None
    else:
        expected = cohen_kappa_score(first, second, weights=weights, labels=range(4))
        assert found.value == pytest.approx(expected, abs=1e-12)
    swapped = cohen_kappa(second, first, weights=weights, classes=range(4), replicates=50)
    assert swapped.value == pytest.approx(found.value)
    if found.low is not None:
        assert -1 <= found.low <= found.high <= 1


@settings(deadline=None, max_examples=50)
@given(labels)
def test_two_raters_by_fleiss_and_krippendorff(pairs):
    """Fleiss' kappa of two is Scott's pi; alpha is it with a small-sample correction: 1 - (1 - pi)(n - 1) / n."""
    counts = np.zeros((len(pairs), 4), int)
    for row, (a, b) in enumerate(pairs):
        counts[row, a] += 1
        counts[row, b] += 1
    pi, alpha = fleiss_kappa(counts, replicates=10).value, krippendorff_alpha(np.array(pairs).T, replicates=10).value
    if pi is None:
        assert alpha is None
    else:
        n = 2 * len(pairs)
        assert alpha == pytest.approx(1 - (1 - pi) * (n - 1) / n)


def test_one_class_is_undefined_and_not_agreement():
    assert cohen_kappa(["spam"] * 50, ["spam"] * 50)[:4] == (None, None, None, 50)
    assert krippendorff_alpha([["x", "x"], ["x", "x"]]).value is None
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])).value is None
    assert cohen_kappa(["a", "a"], ["b", "b"]).value == 0
    assert cohen_kappa([], []).value is None and krippendorff_alpha([]).n == 0


def test_missing_ratings_and_bad_input():
    assert cohen_kappa(["a", None, "b", "a"], ["a", "b", "b", None]).n == 2
    with pytest.raises(ValueError, match=r"\['c'\] are not among the classes"):
        cohen_kappa(["a", "c"], ["a", "b"], classes=["a", "b"])
    with pytest.raises(ValueError, match="2 and 1 labels"):
        cohen_kappa(["a", "c"], ["a"])
    with pytest.raises(ValueError, match="same number of ratings"):
        fleiss_kappa(np.array([[2, 0], [2, 1]]))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    table = np.array([[0.5, 0.1], [0.1, 0.3]])
    truth = (0.8 - (0.36 + 0.16)) / (1 - (0.36 + 0.16))
    hits = 0
    for trial in range(200):
        first, second = np.divmod(rng.choice(4, 150, p=table.ravel()), 2)
        found = cohen_kappa(first, second, replicates=400, seed=trial)
        hits += found.low <= truth <= found.high
    assert 178 <= hits <= 199  # 190 expected, standard deviation 3
